//! Places inside the container's root: found, or made, without ever leaving it. Every look-up is one openat2(2)
//! below the root's descriptor; what is missing is made component by component on a parent's descriptor.
//! Nothing here trusts that a path still means what it meant a moment ago.

use crate::error::{Error, Result};
use crate::plan::step::{Inside, Links};
use crate::sys::fs;
use nix::libc;
use rustix::fs::{FileType, OFlags};
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

/// As many symbolic links as the kernel itself follows (MAXSYMLINKS).
const MOST_LINKS: u32 = 40;

/// How often a place may vanish or appear under our hands.
const MOST_RACES: u32 = 16;

/// What is made where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644.
    File,
}

/// A place, and whether it had to be made.
pub(super) struct Found {
    pub(super) fd: OwnedFd,
    pub(super) made: bool,
}

/// The root file system, by its descriptor.
pub(super) struct Root {
    /// The mount's own descriptor.
    pub(super) fd: OwnedFd,
    /// The directory that was needed last: /dev is needed a dozen times in a row.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl Root {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Root { fd, parent: None }
    }

    /// The place, if it is there; a symbolic link at its end is followed inside the root.
    pub(super) fn find(&self, at: &CStr) -> Result<OwnedFd> {
        fs::open_in_root(&self.fd, at, OFlags::PATH)
    }

    /// The place, if it is there, or nothing.
    pub(super) fn find_if_there(&self, at: &CStr) -> Result<Option<OwnedFd>> {
        match self.find(at) {
            Ok(fd) => Ok(Some(fd)),
            Err(e) if [libc::ENOENT, libc::ENOTDIR].contains(&e.errno()) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The place, made if it is missing.
    pub(super) fn find_or_make(&mut self, at: &Inside, links: Links, make: Make) -> Result<Found> {
        match links {
            Links::Follow => match self.find_if_there(&at.0)? {
                Some(fd) => Ok(Found { fd, made: false }),
                None => self.make(&at.0, make).map(|fd| Found { fd, made: true }),
            },
            Links::NotLast => self.last_itself(at, make),
            Links::Refuse => {
                let open =
                    |made| fs::open_no_links(&self.fd, &at.0, OFlags::PATH).map(|fd| Found { fd, made });
                match open(false) {
                    Err(e) if e.errno() == libc::ENOENT => self.make(&at.0, make).and_then(|_| open(true)),
                    other => other,
                }
                .map_err(|e| match e.errno() {
                    libc::ELOOP => e.hint("the way there must not be a symbolic link"),
                    _ => e,
                })
            }
        }
    }

    fn last_itself(&mut self, at: &Inside, make: Make) -> Result<Found> {
        let root = self.fd.try_clone().map_err(|e| Error::call("dup", e.raw_os_error().unwrap_or(0)))?;
        let Some((parent, name)) = self.parent(at)? else { return Ok(Found { fd: root, made: false }) };
        let open = |made| fs::open_child(parent, &name, OFlags::PATH).map(|fd| Found { fd, made });
        match open(false) {
            Err(e) if e.errno() == libc::ENOENT => {
                make_child(parent, &name, make)?;
                open(true)
            }
            other => other,
        }
    }

    /// The directory of a place, made if it is missing, and the place's own name; none for the root itself.
    pub(super) fn parent(&mut self, at: &Inside) -> Result<Option<(&OwnedFd, CString)>> {
        if at.bytes() == b"." {
            return Ok(None);
        }
        let (directory, name) = split(at.bytes());
        let fd = match self.parent.take() {
            Some((known, fd)) if known == directory => fd,
            _ => {
                let path = c_string(directory);
                self.find_if_there(&path)?.map_or_else(|| self.make(&path, Make::Directory), Ok)?
            }
        };
        let (_, fd) = self.parent.insert((directory.to_vec(), fd));
        Ok(Some((fd, c_string(name))))
    }

    /// A mount may have covered what was known.
    pub(super) fn forget(&mut self) {
        self.parent = None;
    }

    /// Makes a place that is missing: mostly it is one name in a directory that is there.
    fn make(&self, at: &CStr, make: Make) -> Result<OwnedFd> {
        let (directory, name) = split(at.to_bytes());
        if let Some(parent) = self.find_if_there(&c_string(directory))?
            && make_child(&parent, &c_string(name), make).is_ok()
        {
            return self.find(at);
        }
        self.make_all(at, make)
    }

    /// Walks to a place and makes what is missing; a dangling symbolic link is made to lead somewhere.
    fn make_all(&self, at: &CStr, make: Make) -> Result<OwnedFd> {
        let mut todo: VecDeque<Vec<u8>> = components(at.to_bytes());
        let mut done: Vec<Vec<u8>> = Vec::new();
        let (mut links, mut races) = (0, 0);
        while let Some(name) = todo.pop_front() {
            done.push(name);
            if self.find_if_there(&join(&done))?.is_some() {
                continue;
            }
            let name = c_string(&done.pop().expect("was pushed above"));
            let parent = fs::open_in_root(&self.fd, &join(&done), OFlags::PATH | OFlags::DIRECTORY)?;
            if let Some(target) = link_target(&parent, &name)? {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Error::call(format!("readlinkat({name:?})"), libc::ELOOP));
                }
                if target.to_bytes().starts_with(b"/") {
                    done.clear();
                }
                todo = components(target.to_bytes()).into_iter().chain(todo).collect();
                continue;
            }
            let what = if todo.is_empty() { make } else { Make::Directory };
            match make_child(&parent, &name, what) {
                Ok(()) => done.push(name.into_bytes()),
                Err(e) if e.errno() == libc::EEXIST && races < MOST_RACES => {
                    races += 1;
                    todo.push_front(name.into_bytes());
                }
                Err(e) => return Err(e),
            }
        }
        self.find(&join(&done))
    }
}

/// A place's directory and its own name.
fn split(at: &[u8]) -> (&[u8], &[u8]) {
    match at.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&at[..slash], &at[slash + 1..]),
        None => (b".", at),
    }
}

fn make_child(parent: &OwnedFd, name: &CStr, make: Make) -> Result<()> {
    match make {
        Make::Directory => fs::mkdirat(parent, name, 0o755),
        Make::File => fs::create_file(parent, name, 0o644).map(drop),
    }
}

fn link_target(parent: &OwnedFd, name: &CStr) -> Result<Option<CString>> {
    match fs::stat_child(parent, name) {
        Ok(stat) if fs::kind(&stat) == FileType::Symlink => fs::readlinkat(parent, name).map(Some),
        Ok(_) => Ok(None),
        Err(e) if e.errno() == libc::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/');
    parts.filter(|part| !part.is_empty() && part != b".").map(<[u8]>::to_vec).collect()
}

fn join(parts: &[Vec<u8>]) -> CString {
    if parts.is_empty() { c".".to_owned() } else { c_string(&parts.join(&b'/')) }
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("part of a C string, or what readlink gave: no NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn root(path: &Path) -> Root {
        let path = CString::new(path.to_str().expect("utf-8")).expect("no NUL");
        Root::new(fs::open_host(&path, OFlags::PATH).expect("temporary folder"))
    }

    fn inside(path: &str) -> Inside {
        Inside::new(path).expect(path)
    }

    #[test]
    fn makes_directories_and_files() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut root = root(dir.path());
        root.find_or_make(&inside("/a/b/c"), Links::Follow, Make::Directory).expect("directory");
        root.find_or_make(&inside("/a/b/f"), Links::Follow, Make::File).expect("file");
        assert!(dir.path().join("a/b/c").is_dir() && dir.path().join("a/b/f").is_file());
    }

    #[test]
    fn dangling_links_lead_somewhere_inside() {
        let (dir, outside) = (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
        let mut root = root(dir.path());
        symlink("/run/deep", dir.path().join("var")).expect("symlink");
        symlink(outside.path(), dir.path().join("out")).expect("symlink");
        symlink("../../../../../../up", dir.path().join("climb")).expect("symlink");
        for at in ["/var/x", "/out/y", "/climb/z"] {
            root.find_or_make(&inside(at), Links::Follow, Make::Directory).expect(at);
        }
        assert!(dir.path().join("run/deep/x").is_dir() && dir.path().join("up/z").is_dir());
        assert_eq!(std::fs::read_dir(outside.path()).expect("outside").count(), 0);
        assert!(dir.path().join(outside.path().strip_prefix("/").expect("absolute")).join("y").is_dir());
    }

    #[test]
    fn endless_links_end() {
        let dir = tempfile::tempdir().expect("tempdir");
        symlink("loop", dir.path().join("loop")).expect("symlink");
        let error = root(dir.path()).find_or_make(&inside("/loop/x"), Links::Follow, Make::Directory);
        assert_eq!(error.map(drop).expect_err("a loop").errno(), libc::ELOOP);
    }

    #[test]
    fn links_are_refused_or_taken_for_themselves() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("real")).expect("mkdir");
        symlink("real", dir.path().join("link")).expect("symlink");
        let mut root = root(dir.path());
        let refused = root.find_or_make(&inside("/link"), Links::Refuse, Make::Directory);
        assert_eq!(refused.map(drop).expect_err("a link").errno(), libc::ELOOP);
        let itself = root.find_or_make(&inside("/link"), Links::NotLast, Make::Directory).expect("link");
        assert_eq!(fs::kind(&fs::fstat(itself.fd).expect("fstat")), FileType::Symlink);
    }
}
