//! A directory of the runtime's own, by descriptor: mkdirat(2), openat(2), renameat(2), unlinkat(2), flock(2).
//!
//! For trusted places only (the state root): names are single components and are never followed, but nothing here
//! defends against a hostile owner of the directory. The container's root is the business of `sys::fs`.

use std::ffi::CStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The errno of an error that says that a name does not exist.
pub(crate) const ENOENT: i32 = nix::libc::ENOENT;

/// The errno of an error that says that a name is taken.
pub(crate) const EEXIST: i32 = nix::libc::EEXIST;

fn failed(call: &str, name: &str) -> impl FnOnce(Errno) -> Error {
    let call = format!("{call}({name:?})");
    move |errno| Error::call(call, errno.raw_os_error())
}

fn broken(call: &str, name: &str) -> impl FnOnce(std::io::Error) -> Error {
    let call = format!("{call}({name:?})");
    move |error| Error::call(call, error.raw_os_error().unwrap_or(nix::libc::EIO))
}

/// Opens a directory by its path, following links.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(failed("open", &path.to_string_lossy()))
}

/// Opens the directory `name` in `dir`, following nothing.
pub(crate) fn open_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(failed("openat", name))
}

/// mkdir(2), mode 0700, with all parents; what exists stays as it is.
pub(crate) fn make_all(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(broken("mkdir", &path.to_string_lossy()))
}

/// mkdirat(2), mode 0700; one caller of many succeeds.
pub(crate) fn make_at(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    rustix::fs::mkdirat(dir, name, Mode::RWXU).map_err(failed("mkdirat", name))
}

/// Writes the file `name`, mode 0600, so that a reader sees the old content or the new, whole.
pub(crate) fn replace(dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> Result<()> {
    replace_by(dir, name, &format!("{name}.new"), content)
}

/// The same for several writers at once, each with a name of its own for the file that is renamed.
pub(crate) fn replace_by(dir: BorrowedFd<'_>, name: &str, new: &str, content: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, new, flags, Mode::RUSR | Mode::WUSR).map_err(failed("openat", new))?;
    let written = File::from(file).write_all(content).map_err(broken("write", new));
    let renamed =
        written.and_then(|()| rustix::fs::renameat(dir, new, dir, name).map_err(failed("renameat", name)));
    if renamed.is_err() {
        // A full disk is reported by the error above; what is left of the new file helps nobody.
        let _ = rustix::fs::unlinkat(dir, new, AtFlags::empty());
    }
    renamed
}

/// Reads the regular file `name`, at most `limit` bytes.
pub(crate) fn read(dir: BorrowedFd<'_>, name: &str, limit: u64) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(failed("openat", name))?;
    let mut content = Vec::with_capacity(4096);
    File::from(file).take(limit).read_to_end(&mut content).map_err(broken("read", name))?;
    if content.len() as u64 == limit {
        return Err(Error::new(format!("larger than {limit} bytes")).at(name));
    }
    Ok(content)
}

/// mkdirat(2), mode 0755 whatever the umask says.
pub(crate) fn make_for_all(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
    rustix::fs::mkdirat(dir, name, mode).map_err(failed("mkdirat", name))?;
    rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).map_err(failed("fchmodat", name))
}

/// Removes a directory with everything in it, following no link; one that is not there is fine. However deep it is, a few
/// descriptors are open at a time: what stands in an inner directory is moved up first.
pub(crate) fn remove_all(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let top = match open_at(dir, name) {
        Err(error) if error.errno() == ENOENT => return Ok(()),
        Err(error) if [nix::libc::ENOTDIR, nix::libc::ELOOP].contains(&error.errno()) => {
            return unlink(dir, name);
        }
        other => other?,
    };
    let mut number = 0;
    loop {
        let names = super::fs::names(&top)?;
        if names.is_empty() {
            return remove(dir, name).map(drop);
        }
        for inner in names {
            match gone(rustix::fs::unlinkat(&top, &inner, AtFlags::empty())) {
                Err(Errno::ISDIR) => empty_into(top.as_fd(), &inner, &mut number),
                other => other,
            }
            .map_err(failed("unlinkat", &inner.to_string_lossy()))?;
        }
    }
}

/// Removes a directory in `top`; the directories in it go to `top`, by numbers that are free there.
fn empty_into(top: BorrowedFd<'_>, name: &CStr, number: &mut u64) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(top, name, flags, Mode::empty())?;
    for inner in super::fs::names(&dir).map_err(|e| Errno::from_raw_os_error(e.errno()))? {
        match rustix::fs::unlinkat(&dir, &inner, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            other => {
                gone(other)?;
                continue;
            }
        }
        loop {
            *number += 1;
            let free = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&dir, &inner, top, number.to_string(), free) {
                Err(Errno::EXIST) => {}
                other => break other?,
            }
        }
    }
    rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR)
}

/// Reads the file `name` as [`read`], but only if it is ours alone ([`is_private`]) and a regular file; None: it is not.
pub(crate) fn read_private(dir: BorrowedFd<'_>, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(failed("openat", name))?;
    let stat = rustix::fs::fstat(&file).map_err(failed("fstat", name))?;
    let size = stat.st_size as u64;
    let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile;
    if !regular || !is_ours_alone(&stat) || size > limit {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(size as usize + 1);
    File::from(file).take(limit).read_to_end(&mut content).map_err(broken("read", name))?;
    Ok(Some(content))
}

/// Whether it belongs to us, and nobody else may write it: then nobody else did.
pub(crate) fn is_private(fd: BorrowedFd<'_>) -> Result<bool> {
    rustix::fs::fstat(fd).map(|stat| is_ours_alone(&stat)).map_err(failed("fstat", "."))
}

fn is_ours_alone(stat: &rustix::fs::Stat) -> bool {
    let others = (Mode::WGRP | Mode::WOTH).as_raw_mode();
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & others == 0
}

/// unlinkat(2) of a file; one that is not there is fine.
pub(crate) fn unlink(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    gone(rustix::fs::unlinkat(dir, name, AtFlags::empty())).map_err(failed("unlinkat", name))
}

/// unlinkat(2) of a directory; one that is not there is fine. False: it is not empty.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &str) -> Result<bool> {
    match gone(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        other => other.map(|()| true).map_err(failed("unlinkat", name)),
    }
}

fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

/// The names in the directory, without `.` and `..`, in no order; what is not UTF-8 is shown with replacements.
pub(crate) fn names(dir: BorrowedFd<'_>) -> Result<Vec<String>> {
    let entries = rustix::fs::Dir::read_from(dir).map_err(failed("getdents64", "."))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("getdents64", "."))?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Whether `name` in `parent` still is the directory that `dir` has open.
pub(crate) fn is_at(dir: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let open = rustix::fs::fstat(dir).map_err(failed("fstat", name))?;
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed("fstatat", name)(errno)),
    }
}

/// Whether what is stored here ends with the machine's run: a tmpfs.
pub(crate) fn is_volatile(dir: BorrowedFd<'_>) -> Result<bool> {
    let stat = rustix::fs::fstatfs(dir).map_err(failed("fstatfs", "."))?;
    Ok(stat.f_type == nix::libc::TMPFS_MAGIC)
}

/// The id of this run of the machine (random(4), boot_id).
pub(crate) fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    std::fs::read_to_string(path).map(|id| id.trim_end().to_owned()).map_err(broken("read", path))
}

/// flock(2), exclusive, without waiting. False: somebody has it, shared or exclusive.
pub(crate) fn try_lock(dir: BorrowedFd<'_>) -> Result<bool> {
    flock(dir, FlockOperation::NonBlockingLockExclusive)
}

/// flock(2), shared, without waiting. False: somebody has it exclusively.
pub(crate) fn try_lock_shared(dir: BorrowedFd<'_>) -> Result<bool> {
    flock(dir, FlockOperation::NonBlockingLockShared)
}

/// Gives the lock up, also when a child process still has a copy of the descriptor, as fork(2) leaves it.
pub(crate) fn unlock(dir: BorrowedFd<'_>) -> Result<()> {
    flock(dir, FlockOperation::Unlock).map(|_| ())
}

fn flock(dir: BorrowedFd<'_>, operation: FlockOperation) -> Result<bool> {
    loop {
        match rustix::fs::flock(dir, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("flock", errno.raw_os_error())),
        }
    }
}

/// As [`try_lock`], but waits at most this long for the holder to let go.
///
/// flock(2) itself knows no time limit; the wait is for inotify(7) to report that a descriptor of the directory was
/// closed. A process that dies has its descriptor reported a moment before its lock is gone, hence the slices.
pub(crate) fn lock(dir: BorrowedFd<'_>, wait: Duration) -> Result<bool> {
    const SLICE: Duration = Duration::from_millis(100);
    if try_lock(dir)? {
        return Ok(true);
    }
    let start = Instant::now();
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(|errno| Error::call("inotify_init1", errno.raw_os_error()))?;
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    inotify::add_watch(&watch, &path, WatchFlags::CLOSE_NOWRITE | WatchFlags::DELETE_SELF)
        .map_err(failed("inotify_add_watch", &path))?;
    let mut watch = File::from(watch);
    loop {
        if try_lock(dir)? {
            return Ok(true);
        }
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        super::socket::readable(watch.as_fd(), Some(left.min(SLICE)))?;
        drain(&mut watch)?;
    }
}

fn drain(watch: &mut File) -> Result<()> {
    let mut events = [0; 4096];
    loop {
        match watch.read(&mut events) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken("read", "inotify")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_whole_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path()).unwrap();
        replace(dir.as_fd(), "f", b"one").unwrap();
        replace(dir.as_fd(), "f", b"2").unwrap();
        assert_eq!(read(dir.as_fd(), "f", 10).unwrap(), b"2");
        assert_eq!(names(dir.as_fd()).unwrap(), ["f"]);
        assert_eq!(temp.path().join("f").metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(read(dir.as_fd(), "f", 1).is_err());
        std::os::unix::fs::symlink("f", temp.path().join("l")).unwrap();
        assert_eq!(read(dir.as_fd(), "l", 10).unwrap_err().errno(), nix::libc::ELOOP);
        assert_eq!(read(dir.as_fd(), "nope", 10).unwrap_err().errno(), ENOENT);
    }

    #[test]
    fn a_whole_tree_goes_but_not_what_links_point_to() {
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path()).unwrap();
        remove_all(dir.as_fd(), "d").unwrap();
        make_for_all(dir.as_fd(), "d").unwrap();
        assert_eq!(temp.path().join("d").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        std::fs::write(temp.path().join("kept"), "").unwrap();
        std::fs::create_dir_all(temp.path().join("d/a/b")).unwrap();
        std::os::unix::fs::symlink("../..", temp.path().join("d/a/l")).unwrap();
        std::os::unix::fs::symlink("../kept", temp.path().join("d/k")).unwrap();
        remove_all(dir.as_fd(), "d").unwrap();
        assert_eq!(names(dir.as_fd()).unwrap(), ["kept"]);
        std::os::unix::fs::symlink(".", temp.path().join("d")).unwrap();
        remove_all(dir.as_fd(), "d").unwrap();
        assert_eq!(names(dir.as_fd()).unwrap(), ["kept"]);
    }

    /// Deeper than a process may have descriptors open, and than a recursion gets.
    #[test]
    fn a_deep_tree_with_odd_names_goes() {
        use std::os::unix::ffi::OsStrExt;
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path()).unwrap();
        make_at(dir.as_fd(), "d").unwrap();
        std::fs::write(temp.path().join("d/1"), "").unwrap();
        std::fs::create_dir_all(temp.path().join("d/2/3")).unwrap();
        std::fs::write(temp.path().join("d/2").join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        let mut inner = open_at(dir.as_fd(), "d").unwrap();
        for _ in 0..5000 {
            make_at(inner.as_fd(), "2x").unwrap();
            inner = open_at(inner.as_fd(), "2x").unwrap();
        }
        remove_all(dir.as_fd(), "d").unwrap();
        assert!(names(dir.as_fd()).unwrap().is_empty());
    }

    #[test]
    fn makes_and_removes_directories() {
        let temp = tempfile::tempdir().unwrap();
        make_all(&temp.path().join("a/b")).unwrap();
        make_all(&temp.path().join("a/b")).unwrap();
        let a = open(&temp.path().join("a")).unwrap();
        assert_eq!(make_at(a.as_fd(), "b").unwrap_err().errno(), EEXIST);
        assert_eq!(temp.path().join("a/b").metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        let b = open_at(a.as_fd(), "b").unwrap();
        assert!(is_at(b.as_fd(), a.as_fd(), "b").unwrap());
        replace(b.as_fd(), "f", b"").unwrap();
        assert!(!remove(a.as_fd(), "b").unwrap());
        unlink(b.as_fd(), "f").unwrap();
        unlink(b.as_fd(), "f").unwrap();
        assert!(remove(a.as_fd(), "b").unwrap() && remove(a.as_fd(), "b").unwrap());
        assert!(!is_at(b.as_fd(), a.as_fd(), "b").unwrap());
        assert_eq!(
            replace(b.as_fd(), "f", b"").unwrap_err().errno(),
            ENOENT,
            "a removed directory takes no file"
        );
        make_at(a.as_fd(), "b").unwrap();
        assert!(!is_at(b.as_fd(), a.as_fd(), "b").unwrap());
    }

    #[test]
    fn waits_for_a_lock_with_a_bound() {
        let temp = tempfile::tempdir().unwrap();
        let (one, two) = (open(temp.path()).unwrap(), open(temp.path()).unwrap());
        assert!(try_lock(one.as_fd()).unwrap());
        assert!(!try_lock_shared(two.as_fd()).unwrap());
        let before = Instant::now();
        assert!(!lock(two.as_fd(), Duration::from_millis(150)).unwrap());
        assert!(before.elapsed() >= Duration::from_millis(150));
        let copy = one.try_clone().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let holder = std::thread::spawn(move || {
            told.recv().unwrap();
            unlock(one.as_fd()).unwrap();
        });
        tell.send(()).unwrap();
        assert!(lock(two.as_fd(), Duration::from_secs(20)).unwrap());
        holder.join().unwrap();
        drop(copy);
    }

    #[test]
    fn a_lock_ends_with_its_holder() {
        let temp = tempfile::tempdir().unwrap();
        let mut holder = std::process::Command::new("flock")
            .args([temp.path().to_str().unwrap(), "sh", "-c", "echo; read x"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        holder.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let dir = open(temp.path()).unwrap();
        assert!(!try_lock(dir.as_fd()).unwrap());
        drop(holder.stdin.take());
        assert!(lock(dir.as_fd(), Duration::from_secs(20)).unwrap());
        holder.wait().unwrap();
    }
}
