//! Files and directories by descriptor: openat2(2) and its family. A path that a container could have shaped is
//! only ever resolved here, below a root descriptor, and never through a magic link.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// PROC_SUPER_MAGIC, linux/magic.h.
pub(crate) const PROC_MAGIC: i64 = 0x9fa0;
/// CGROUP2_SUPER_MAGIC, linux/magic.h.
pub(crate) const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// DEVPTS_SUPER_MAGIC, linux/magic.h.
pub(crate) const DEVPTS_MAGIC: i64 = 0x1cd1;
/// NSFS_MAGIC, linux/magic.h.
pub(crate) const NSFS_MAGIC: i64 = 0x6e73_6673;

/// SELINUX_MAGIC, linux/magic.h.
pub(crate) const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

/// openat2(2) says EAGAIN when a rename or mount elsewhere raced with `..`; it is asked this often.
const ATTEMPTS: u32 = 128;

pub(crate) fn failed(call: &str, path: &CStr) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::call(format!("{call}({path:?})"), errno.raw_os_error())
}

/// openat2(2) below `root`, which is `/` for this look-up: no magic links, no way out. Linux 5.6.
pub(crate) fn open_in_root(root: impl AsFd, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    open_how(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// openat2(2) below `root` where no symbolic link at all may be met.
pub(crate) fn open_no_links(root: impl AsFd, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    open_how(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// openat2(2) from the working directory, as execve(2) would look, but through no magic link.
pub(crate) fn open_here(path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    open_how(rustix::fs::CWD, path, flags, ResolveFlags::NO_MAGICLINKS)
}

/// openat2(2) within one mount below `root`: for procfs, whose files nothing may cover.
pub(crate) fn open_same_mount(root: impl AsFd, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    open_how(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV)
}

/// openat2(2) of one name in a directory, itself and nothing else.
pub(crate) fn open_child(parent: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    open_how(parent, name, flags | OFlags::NOFOLLOW, resolve)
}

fn open_how(root: impl AsFd, path: &CStr, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    let mut left = ATTEMPTS;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if left > 0 => left -= 1,
            other => return other.map_err(failed("openat2", path)),
        }
    }
}

/// open(2) of a path of the host.
pub(crate) fn open_host(path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(failed("open", path))
}

/// Creates an empty regular file that was not there; never follows.
pub(crate) fn create_file(parent: impl AsFd, name: &CStr, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode)).map_err(failed("openat", name))
}

/// mkdirat(2).
pub(crate) fn mkdirat(parent: impl AsFd, name: &CStr, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)).map_err(failed("mkdirat", name))
}

/// symlinkat(2).
pub(crate) fn symlinkat(target: &CStr, parent: impl AsFd, name: &CStr) -> Result<()> {
    rustix::fs::symlinkat(target, parent, name).map_err(failed("symlinkat", name))
}

/// readlinkat(2) of a name in a directory.
pub(crate) fn readlinkat(parent: impl AsFd, name: &CStr) -> Result<CString> {
    rustix::fs::readlinkat(parent, name, Vec::new()).map_err(failed("readlinkat", name))
}

/// mknodat(2): `mode` with its type bits.
pub(crate) fn mknodat(parent: impl AsFd, name: &CStr, mode: u32, (major, minor): (u32, u32)) -> Result<()> {
    let device = rustix::fs::makedev(major, minor);
    let (kind, mode) = (FileType::from_raw_mode(mode), Mode::from_raw_mode(mode));
    rustix::fs::mknodat(parent, name, kind, mode, device).map_err(failed("mknodat", name))
}

/// fchownat(2), never following.
pub(crate) fn chown(parent: impl AsFd, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("fchownat", name))
}

/// fchown(2) and fchmod(2) of a descriptor that was opened for reading or writing.
pub(crate) fn set_owner_and_mode(fd: impl AsFd, stat: &Stat) -> Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&fd, Some(uid), Some(gid)).map_err(failed("fchown", c""))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(stat.st_mode)).map_err(failed("fchmod", c""))
}

/// fstat(2).
pub(crate) fn fstat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(fd).map_err(failed("fstat", c""))
}

/// statat(2) of a name in a directory, never following.
pub(crate) fn stat_child(parent: impl AsFd, name: &CStr) -> Result<Stat> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("fstatat", name))
}

/// The kind of a file.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The major and minor number of a device node.
pub(crate) fn device(stat: &Stat) -> (u32, u32) {
    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
}

/// fstatfs(2): the file system's magic number.
pub(crate) fn magic(fd: impl AsFd) -> Result<i64> {
    rustix::fs::fstatfs(fd).map(|s| s.f_type).map_err(failed("fstatfs", c""))
}

/// statfs(2) of a path of the host: the file system's magic number.
pub(crate) fn magic_of(path: &CStr) -> Result<i64> {
    rustix::fs::statfs(path).map(|s| s.f_type).map_err(failed("statfs", path))
}

/// Sets the SELinux label of a directory (fsetxattr(2) of `security.selinux`), which may be open by O_PATH alone.
pub(crate) fn set_label(directory: impl AsFd, label: &CStr) -> Result<()> {
    let directory = open_child(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::fsetxattr(directory, c"security.selinux", label.to_bytes(), flags)
        .map_err(failed("fsetxattr", label))
}

/// Is the mount that this file was opened on read-only (fstatvfs(3), ST_RDONLY)?
pub(crate) fn on_read_only_mount(fd: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstatvfs(fd).map_err(failed("fstatvfs", c""))?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The flags of the mount that this file was opened on, as mount(2) takes them: `MS_…`.
pub(crate) fn mount_flags(fd: impl AsFd) -> Result<u64> {
    // ST_… of linux/statfs.h, and MS_…: the first six are the same.
    const ROWS: [(u64, u64); 8] = [
        (0x1, nix::libc::MS_RDONLY),
        (0x2, nix::libc::MS_NOSUID),
        (0x4, nix::libc::MS_NODEV),
        (0x8, nix::libc::MS_NOEXEC),
        (0x400, nix::libc::MS_NOATIME),
        (0x800, nix::libc::MS_NODIRATIME),
        (0x1000, nix::libc::MS_RELATIME),
        (0x2000, 256), // MS_NOSYMFOLLOW, Linux 5.10
    ];
    let has = rustix::fs::fstatvfs(fd).map_err(failed("fstatvfs", c""))?.f_flag.bits();
    Ok(ROWS.iter().filter(|(seen, _)| has & seen != 0).fold(0, |flags, (_, flag)| flags | flag))
}

/// Is this a memfd that can never be written again? Anything else is not.
pub(crate) fn is_sealed_memory(path: &CStr) -> bool {
    let seals = open_host(path, OFlags::RDONLY).ok().and_then(|fd| rustix::fs::fcntl_get_seals(fd).ok());
    seals.is_some_and(|seals| seals.contains(rustix::fs::SealFlags::WRITE))
}

/// One write(2) of all the bytes; a short one is an error.
pub(crate) fn write_once(fd: impl AsFd, bytes: &[u8], path: &CStr) -> Result<()> {
    let written = rustix::io::write(fd, bytes).map_err(failed("write", path))?;
    if written == bytes.len() { Ok(()) } else { Err(Error::call(format!("write({path:?})"), nix::libc::EIO)) }
}

/// Reads at most `limit` bytes. The memory grows with what is read: to zero a MiB for a small file takes longer than
/// all else that a process of `exec` does.
pub(crate) fn read_bounded(fd: impl AsFd, limit: usize, path: &CStr) -> Result<Vec<u8>> {
    let mut bytes = vec![0; limit.min(4096)];
    let mut filled = 0;
    while filled < limit {
        if filled == bytes.len() {
            bytes.resize((2 * filled).min(limit), 0);
        }
        match rustix::io::read(&fd, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("read", path)(errno)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The text of a file of procfs, which does not tell its size: usually one read(2) and one more that finds the end.
pub(crate) fn read_text(path: &CStr) -> Result<String> {
    let mut text = String::with_capacity(4096);
    let read = std::fs::File::from(open_host(path, OFlags::RDONLY)?).take(u64::MAX).read_to_string(&mut text);
    read.map_err(|e| Error::call(format!("read({path:?})"), e.raw_os_error().unwrap_or(nix::libc::EILSEQ)))?;
    Ok(text)
}

/// The names in a directory, without `.` and `..`.
pub(crate) fn names(directory: impl AsFd) -> Result<Vec<CString>> {
    let entries = rustix::fs::Dir::read_from(directory).map_err(failed("getdents64", c""))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("getdents64", c""))?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn reads_all_up_to_the_limit() {
        let content: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        for limit in [0, 1, 4095, 4096, 4097, 9_999, 10_000, 10_001, 1 << 20] {
            file.rewind().unwrap();
            let read = read_bounded(&file, limit, c"").unwrap();
            assert!(read == content[..limit.min(10_000)], "limit {limit}");
        }
    }
}
