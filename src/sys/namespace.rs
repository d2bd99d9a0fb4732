//! clone3(2), unshare(2), setns(2), and the memory that survives a fork.

use crate::error::{Error, Result};
use nix::libc;
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;

/// CLONE_INTO_CGROUP, linux/sched.h. Linux 5.7.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What clone3(2) is asked for.
pub(crate) struct Clone<'a> {
    /// `CLONE_…` flags; CLONE_PIDFD is always added.
    pub(crate) flags: i32,
    /// Born into this cgroup v2 directory.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// The kernel leaves the child's pid, as seen here, in this place before the child runs (CLONE_PARENT_SETTID): in
    /// memory that is shared, others know it also if the caller is killed at once.
    pub(crate) pid: Option<&'a AtomicU32>,
    /// Signal to the parent at exit: SIGCHLD, or 0 with CLONE_PARENT (the parent's own then counts).
    pub(crate) exit_signal: i32,
}

/// On which side of clone3(2) the caller finds itself.
pub(crate) enum Side {
    /// In the new process.
    Child,
    /// In the old one: the child's pid as seen here, and its pidfd.
    Parent(i32, RawFd),
}

/// clone3(2) as a fork: the child goes on with a copy of the memory. Linux 5.3.
pub(crate) fn clone3(clone: &Clone<'_>) -> Result<Side> {
    let mut pidfd: RawFd = -1;
    let mut flags = (clone.flags | libc::CLONE_PIDFD) as u32 as u64;
    let mut cgroup = 0;
    if let Some(fd) = clone.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = fd.as_raw_fd() as u64;
    }
    let (pidfd_place, mut pid_place) = (std::ptr::from_mut(&mut pidfd) as u64, 0);
    if let Some(place) = clone.pid {
        flags |= libc::CLONE_PARENT_SETTID as u64;
        pid_place = place.as_ptr() as u64;
    }
    let args: [u64; 11] = [flags, pidfd_place, 0, pid_place, clone.exit_signal as u64, 0, 0, 0, 0, 0, cgroup];
    // SAFETY: `struct clone_args` of 88 bytes, whose two places live over the call; without CLONE_VM and without a stack
    // this is a fork, and the runtime has one thread, so that the child's copy of the memory is whole.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    match nix::errno::Errno::result(pid) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) => Ok(Side::Parent(pid as i32, pidfd)),
        Err(errno) => Err(explain_clone(clone.flags, errno)),
    }
}

fn explain_clone(flags: i32, errno: nix::errno::Errno) -> Error {
    let error = Error::call(format!("clone3(flags {flags:#x})"), errno as i32);
    let user = flags & libc::CLONE_NEWUSER != 0;
    match errno {
        nix::errno::Errno::ENOSPC | nix::errno::Errno::EUSERS if user => {
            error.hint("user namespaces are disabled or used up: sysctl user.max_user_namespaces")
        }
        nix::errno::Errno::ENOSPC | nix::errno::Errno::EUSERS => {
            error.hint("a limit on namespaces is reached: see /proc/sys/user/max_*_namespaces")
        }
        nix::errno::Errno::EAGAIN => error.hint(
            "as many processes as are allowed: linux.resources.pids.limit, or RLIMIT_NPROC of the runtime's caller",
        ),
        nix::errno::Errno::EPERM if user => error.hint(
            "user namespaces are disabled: sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns or user.max_user_namespaces",
        ),
        nix::errno::Errno::EPERM => {
            error.hint("new namespaces need CAP_SYS_ADMIN or a user namespace in linux.namespaces")
        }
        _ => error,
    }
}

/// Takes what clone3 stored into this process's descriptor table.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us (CLONE_PIDFD) and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Goes on as a new process, a sibling (CLONE_PARENT) with this one's descriptors and memory; this one ends. `pid` gets the
/// new one's id, as seen here, before it runs. The memory is handed over, not copied. By clone3(2), or, where a seccomp
/// filter refuses that, by clone(2).
pub(crate) fn reborn(pid: &AtomicU32) -> Result<()> {
    let shared = if cfg!(target_arch = "x86_64") { libc::CLONE_VM } else { 0 };
    let flags = shared | libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID;
    let pid = pid.as_ptr() as u64;
    let args: [u64; 11] = [flags as u64, 0, 0, pid, 0, 0, 0, 0, 0, 0, 0];
    let size = size_of_val(&args) as u64;
    go_on_as(libc::SYS_clone3, [args.as_ptr() as u64, size, 0, 0, 0])
        .or_else(|errno| go_on_as(libc::SYS_clone, [flags as u64, 0, pid, 0, 0]).map_err(|_| errno))
        .map_err(|errno| explain_clone(flags, errno))
}

/// A system call that makes a process, and returns in that one only.
#[cfg(target_arch = "x86_64")]
fn go_on_as(call: libc::c_long, args: [u64; 5]) -> nix::Result<()> {
    let result: i64;
    // SAFETY: the callers' arguments are those of clone3(2) and clone(2), without a stack: the new process goes on with
    // this one's. This one, from the return of the call to its end by exit_group, touches no memory.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jle 2f",
            "xor edi, edi",
            "mov eax, {exit_group}",
            "syscall",
            "ud2",
            "2:",
            exit_group = const libc::SYS_exit_group,
            inlateout("rax") call => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            out("rcx") _,
            out("r11") _,
        );
    }
    if result == 0 { Ok(()) } else { Err(nix::errno::Errno::from_raw(-result as i32)) }
}

/// As a fork: the end of this process is written in Rust, which may use the stack.
#[cfg(not(target_arch = "x86_64"))]
fn go_on_as(call: libc::c_long, args: [u64; 5]) -> nix::Result<()> {
    // SAFETY: the callers' arguments are those of clone3(2) and clone(2), without CLONE_VM: a fork.
    match nix::errno::Errno::result(unsafe {
        libc::syscall(call, args[0], args[1], args[2], args[3], args[4])
    }) {
        Ok(0) => Ok(()),
        Ok(_) => super::process::exit_now(0),
        Err(errno) => Err(errno),
    }
}

/// unshare(2).
pub(crate) fn unshare(flags: i32) -> Result<()> {
    nix::sched::unshare(CloneFlags::from_bits_retain(flags))
        .map_err(|errno| Error::call(format!("unshare({flags:#x})"), errno as i32))
}

/// setns(2); `kind` is the `CLONE_NEW…` flag that the descriptor must be of.
pub(crate) fn setns(fd: impl AsFd, kind: i32) -> Result<()> {
    nix::sched::setns(fd, CloneFlags::from_bits_retain(kind))
        .map_err(|errno| Error::call(format!("setns({kind:#x})"), errno as i32))
}

/// NS_GET_NSTYPE: the `CLONE_NEW…` flag of a namespace's descriptor. Linux 4.11.
pub(crate) fn namespace_type(fd: impl AsFd) -> Result<i32> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this ioctl takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    nix::errno::Errno::result(kind).map_err(|errno| Error::call("ioctl(NS_GET_NSTYPE)", errno as i32))
}

/// A few numbers in memory that stays common over fork: how far init is, what a trampoline found.
pub(crate) struct Shared(&'static [AtomicU32; 16]);

impl Shared {
    /// Maps one page, all zero; it lives as long as the process.
    pub(crate) fn new() -> Result<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Error::call("mmap", nix::errno::Errno::last_raw()));
        }
        // SAFETY: the page is 4096 zero bytes, aligned, never unmapped: 16 atomics that live for ever.
        Ok(Shared(unsafe { &*page.cast() }))
    }

    /// The numbers.
    pub(crate) fn cells(&self) -> &'static [AtomicU32; 16] {
        self.0
    }
}
