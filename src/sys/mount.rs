//! The mount API by descriptor (Linux 5.2 to 5.12); mount(2) only where nothing newer can say it, and then only
//! through a checked descriptor.

use super::fs::failed;
use crate::error::{Error, Result};
use nix::libc;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at a path of the host. Linux 5.2.
pub(crate) fn clone_tree(path: &CStr, recursive: bool, follow: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, !follow);
    rustix::mount::open_tree(CWD, path, flags).map_err(failed("open_tree", path))
}

/// open_tree(2) with OPEN_TREE_CLONE of what a descriptor stands for.
pub(crate) fn clone_fd(fd: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(fd, c"", flags).map_err(failed("open_tree", c""))
}

/// move_mount(2), descriptor onto descriptor: nothing is resolved. Linux 5.2.
pub(crate) fn move_mount(tree: impl AsFd, onto: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", onto, c"", flags).map_err(failed("move_mount", c""))
}

/// `struct mount_attr`, linux/mount.h.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MountAttr {
    /// MOUNT_ATTR_… bits to set.
    pub(crate) set: u64,
    /// MOUNT_ATTR_… bits to clear.
    pub(crate) clear: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; 0: as it is.
    pub(crate) propagation: u64,
    /// With MOUNT_ATTR_IDMAP: the user namespace.
    pub(crate) user_namespace: u64,
}

/// mount_setattr(2) of the mount that a descriptor stands for. Linux 5.12.
pub(crate) fn mount_setattr(fd: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `attr` lives over the call and its size is the one given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    nix::errno::Errno::result(done).map(drop).map_err(|errno| {
        Error::call(format!("mount_setattr(set {:#x}, clear {:#x})", attr.set, attr.clear), errno as i32)
    })
}

/// Does this kernel know mount_setattr(2)?
pub(crate) fn has_mount_setattr() -> bool {
    // A size of 0 is refused with EINVAL before anything else is looked at; an unknown call with ENOSYS.
    // SAFETY: no pointer is followed.
    let done =
        unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null::<u8>(), 0) };
    done == 0 || nix::errno::Errno::last_raw() != libc::ENOSYS
}

/// Sets and clears `MOUNT_ATTR_…` bits.
pub(crate) fn change(fd: impl AsFd, recursive: bool, set: u64, clear: u64) -> Result<()> {
    mount_setattr(fd, recursive, &MountAttr { set, clear, ..MountAttr::default() })
}

/// Gives a detached mount the id mapping of a user namespace (MOUNT_ATTR_IDMAP). Linux 5.12.
pub(crate) fn idmap(fd: impl AsFd, recursive: bool, user_namespace: impl AsFd) -> Result<()> {
    let user_namespace = user_namespace.as_fd().as_raw_fd() as u64;
    let attr = MountAttr { set: libc::MOUNT_ATTR_IDMAP, user_namespace, ..MountAttr::default() };
    mount_setattr(fd, recursive, &attr).map_err(|e| match e.errno() {
        libc::EINVAL => e.hint("the file system, or the kernel, knows no id-mapped mounts"),
        _ => e,
    })
}

/// A file system being configured: fsopen(2), fsconfig(2), fsmount(2). Linux 5.2.
pub(crate) struct Filesystem(OwnedFd, CString);

impl Filesystem {
    /// fsopen(2).
    pub(crate) fn open(fstype: &CStr) -> Result<Self> {
        let fd =
            rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed("fsopen", fstype))?;
        Ok(Filesystem(fd, fstype.to_owned()))
    }

    /// fsconfig(2): `key`, or `key=value`.
    pub(crate) fn set(&self, key: &CStr, value: Option<&CStr>) -> Result<()> {
        match value {
            None => rustix::mount::fsconfig_set_flag(&self.0, key),
            Some(value) => rustix::mount::fsconfig_set_string(&self.0, key, value),
        }
        .map_err(|errno| {
            let value = value.map(|v| format!("={}", v.to_string_lossy())).unwrap_or_default();
            self.explain(&format!("fsconfig({:?}, {}{value})", self.1, key.to_string_lossy()), errno)
        })
    }

    /// FSCONFIG_CMD_CREATE and fsmount(2): a detached mount with these `MOUNT_ATTR_…` bits.
    pub(crate) fn mount(self, attr: u64) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.0)
            .map_err(|errno| self.explain(&format!("fsconfig({:?}, create)", self.1), errno))?;
        let attr = MountAttrFlags::from_bits_retain(attr as u32);
        rustix::mount::fsmount(&self.0, FsMountFlags::FSMOUNT_CLOEXEC, attr)
            .map_err(|errno| self.explain(&format!("fsmount({:?})", self.1), errno))
    }

    /// The kernel writes why it refused into the descriptor: `e tmpfs: Unknown parameter 'foo'`.
    fn explain(&self, call: &str, errno: Errno) -> Error {
        let mut message = [0; 512];
        let said = rustix::io::read(&self.0, &mut message).unwrap_or(0);
        let said = String::from_utf8_lossy(&message[..said]).trim().to_owned();
        let error = Error::call(call, errno.raw_os_error());
        if said.is_empty() { error } else { error.hint(format!("the kernel says: {said}")) }
    }
}

/// mount(2) onto a descriptor, named through `/proc/thread-self/fd`, whose procfs is checked.
pub(crate) fn mount_on_fd(
    source: Option<&CStr>,
    target: impl AsFd,
    fstype: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    if super::fs::magic_of(c"/proc/thread-self/fd")? != super::fs::PROC_MAGIC {
        return Err(Error::new("/proc is not a procfs").hint("onggi needs /proc of the host"));
    }
    let path = fd_path(&target);
    mount(source, &path, fstype, flags, data)
}

/// As [`change`], of one attached mount, for kernels without mount_setattr(2). mount(2) takes all flags at once: what
/// the mount has already is kept.
pub(crate) fn remount(fd: impl AsFd, set: u64, clear: u64) -> Result<()> {
    let kept = super::fs::mount_flags(&fd)? & !flags_of(clear);
    let flags = kept & !if clear & ATTR_ATIME != 0 { MS_ATIME } else { 0 } | flags_of(set);
    // Of these one must be said, or mount(2) takes the default.
    let atime = match (flags & MS_ATIME, clear & ATTR_ATIME) {
        (0, 0) => libc::MS_STRICTATIME,
        (0, _) => libc::MS_RELATIME,
        _ => 0,
    };
    mount_on_fd(None, fd, None, libc::MS_REMOUNT | libc::MS_BIND | flags | atime, None)
}

/// MOUNT_ATTR__ATIME, linux/mount.h; a mode of 0 in it is relatime.
const ATTR_ATIME: u64 = 0x70;
/// The same as `MS_…` flags; with none of them in statfs(2) the mode is strictatime.
const MS_ATIME: u64 = libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;

/// `MOUNT_ATTR_…` bits as `MS_…` flags (linux/mount.h).
pub(crate) fn flags_of(attr: u64) -> u64 {
    const ROWS: [(u64, u64); 8] = [
        (0x1, libc::MS_RDONLY),
        (0x2, libc::MS_NOSUID),
        (0x4, libc::MS_NODEV),
        (0x8, libc::MS_NOEXEC),
        (0x10, libc::MS_NOATIME),
        (0x20, libc::MS_STRICTATIME),
        (0x80, libc::MS_NODIRATIME),
        (0x20_0000, 256), // MS_NOSYMFOLLOW, Linux 5.10
    ];
    ROWS.iter().filter(|(new, _)| attr & new != 0).fold(0, |flags, (_, old)| flags | old)
}

/// mount(2) of a path that is the runtime's own: `/`, `.`, or a descriptor's.
fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fstype: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    let flags = nix::mount::MsFlags::from_bits_retain(flags);
    nix::mount::mount(source, target, fstype, flags, data)
        .map_err(|errno| Error::call(format!("mount({target:?}, flags {:#x})", flags.bits()), errno as i32))
}

/// `/proc/thread-self/fd/N`.
pub(crate) fn fd_path(fd: impl AsFd) -> CString {
    CString::new(format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd())).expect("digits have no NUL")
}

/// Sets the propagation of `/` (flags with MS_REC: of all mounts).
pub(crate) fn propagate_root(flags: u64) -> Result<()> {
    mount(None, c"/", None, flags, None)
}

/// pivot_root(".", "."): the working directory becomes the root, the old root is stacked on it and taken off.
pub(crate) fn pivot_to_working_directory() -> Result<()> {
    rustix::process::pivot_root(c".", c".").map_err(failed("pivot_root", c"."))?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).map_err(failed("umount2", c"."))?;
    rustix::process::chdir(c"/").map_err(failed("chdir", c"/"))
}

/// umount2(2) with MNT_DETACH; where the mount is locked (it came from a more privileged namespace), an empty tmpfs is
/// mounted over it.
pub(crate) fn take_off_or_cover(point: &CStr) -> Result<()> {
    match rustix::mount::unmount(point, UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::PERM) => {
            mount(Some(c"tmpfs"), point, Some(c"tmpfs"), libc::MS_RDONLY, None)
        }
        // It went with one above it.
        Err(Errno::NOENT) => Ok(()),
        other => other.map_err(failed("umount2", point)),
    }
}

/// `--no-pivot`: the working directory's mount is moved to `/`, then chroot(2).
pub(crate) fn move_to_root() -> Result<()> {
    mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
    chroot_here()
}

/// chroot(2) to the working directory.
pub(crate) fn chroot_here() -> Result<()> {
    rustix::process::chroot(c".").map_err(failed("chroot", c"."))?;
    rustix::process::chdir(c"/").map_err(failed("chdir", c"/"))
}
