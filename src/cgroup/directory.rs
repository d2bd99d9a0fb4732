//! A directory of a cgroup file system, or of resctrl, by descriptor. Reached only from a mount point whose file system is checked,
//! beneath it, within the same mount, and through no symbolic link; the path it carries is for people.

use crate::error::{Error, Result};
use crate::sys::fs::CGROUP2_MAGIC;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// CGROUP_SUPER_MAGIC, linux/magic.h.
const V1_MAGIC: i64 = 0x0027_e0eb;

/// RDTGROUP_SUPER_MAGIC, linux/magic.h.
const RESCTRL_MAGIC: i64 = 0x0765_5821;

/// openat2(2) says EAGAIN when something was renamed or mounted meanwhile; it is asked this often.
const ATTEMPTS: u32 = 128;
/// What is read at once.
const CHUNK: usize = 4096;

/// A cgroup.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: String,
}

impl Directory {
    /// The topmost directory of the hierarchy mounted here.
    pub(crate) fn mounted(point: &str, v2: bool) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |call, errno: Errno| Error::call(format!("{call}({point:?})"), errno.raw_os_error());
        let fd = rustix::fs::open(point, flags, Mode::empty()).map_err(|errno| failed("open", errno))?;
        let magic = rustix::fs::fstatfs(&fd).map_err(|errno| failed("fstatfs", errno))?.f_type as i64;
        if magic != if v2 { CGROUP2_MAGIC } else { V1_MAGIC } {
            let version = if v2 { "2" } else { "1" };
            return Err(Error::new(format!("{point} is no longer a cgroup v{version} file system")));
        }
        Ok(Directory { fd, path: point.trim_end_matches('/').to_owned() })
    }

    /// The top of resctrl mounted here; none if it is mounted no more. In unit tests any directory stands in for it.
    pub(crate) fn resctrl(point: &str) -> Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |call, errno: Errno| Error::call(format!("{call}({point:?})"), errno.raw_os_error());
        let fd = match rustix::fs::open(point, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            fd => fd.map_err(|errno| failed("open", errno))?,
        };
        let magic = rustix::fs::fstatfs(&fd).map_err(|errno| failed("fstatfs", errno))?.f_type as i64;
        let path = point.trim_end_matches('/').to_owned();
        Ok((magic == RESCTRL_MAGIC || cfg!(test)).then_some(Directory { fd, path }))
    }

    /// The directory that these names lead to; no names are the directory itself.
    pub(crate) fn descend(&self, names: &[String]) -> Result<Self> {
        let below = if names.is_empty() { "." } else { &names.join("/") };
        let path = names.iter().fold(self.path.clone(), |path, name| path + "/" + name);
        self.beneath(below, path)
    }

    /// The directory of this name in this one.
    pub(crate) fn child(&self, name: &CStr) -> Result<Self> {
        self.beneath(name, format!("{}/{}", self.path, name.to_string_lossy()))
    }

    fn beneath(&self, below: impl Arg + Copy, path: String) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let mut left = ATTEMPTS;
        loop {
            match rustix::fs::openat2(&self.fd, below, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Directory { fd, path }),
                Err(Errno::AGAIN | Errno::INTR) if left > 0 => left -= 1,
                Err(errno) => return Err(Error::call(format!("openat2({path:?})"), errno.raw_os_error())),
            }
        }
    }

    /// The directory above; the caller knows that this one is not the topmost.
    pub(crate) fn above(&self) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, "..", flags, Mode::empty())
            .map_err(|errno| self.failed("openat", "..", errno))?;
        let path = self.path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        Ok(Directory { fd, path })
    }

    /// mkdirat(2).
    pub(crate) fn make(&self, name: &str) -> Result<()> {
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755))
            .map_err(|errno| self.failed("mkdirat", name, errno))
    }

    /// rmdir(2), by unlinkat(2).
    pub(crate) fn remove(&self, name: &CStr) -> Result<()> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
            .map_err(|errno| self.failed("rmdir", &name.to_string_lossy(), errno))
    }

    /// The names of the cgroups directly below.
    pub(crate) fn children(&self) -> Result<Vec<CString>> {
        let failed = |errno| self.failed("getdents64", "", errno);
        let listing = self.open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(listing).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The text of a file, however long.
    pub(crate) fn read(&self, file: &str) -> Result<String> {
        let fd = self.open(file, OFlags::RDONLY)?;
        let (mut bytes, mut filled) = (vec![0; CHUNK], 0);
        loop {
            match rustix::io::read(&fd, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read", file, errno)),
            }
            if filled == bytes.len() {
                bytes.resize(filled * 2, 0);
            }
        }
        bytes.truncate(filled);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// One write(2) of the value. Where the file cannot even be opened, the error names the value all the same.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        let call = |errno: Errno| {
            Error::call(format!("write({:?}, {value:?})", self.file(file)), errno.raw_os_error())
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, file, flags, Mode::empty()).map_err(call)?;
        loop {
            match rustix::io::write(&fd, value.as_bytes()) {
                Ok(written) if written == value.len() => return Ok(()),
                Ok(_) => return Err(call(Errno::IO)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(call(errno)),
            }
        }
    }

    /// Opens a file of the directory.
    pub(crate) fn open(&self, file: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.fd, file, flags, Mode::empty())
            .map_err(|errno| self.failed("openat", file, errno))
    }

    /// fchownat(2) of a file of the directory, or of itself (`.`), to a user; the group stays.
    pub(crate) fn give(&self, file: &str, uid: u32) -> Result<()> {
        let owner = Some(rustix::process::Uid::from_raw(uid));
        rustix::fs::chownat(&self.fd, file, owner, None, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.failed("fchownat", file, errno))
    }

    /// The path, for people.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn failed(&self, call: &str, name: &str, errno: Errno) -> Error {
        Error::call(format!("{call}({:?})", self.file(name)), errno.raw_os_error())
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
