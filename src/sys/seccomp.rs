//! seccomp(2): loads a program of classic BPF, and tells what this kernel knows (linux/seccomp.h). What is filtered is
//! decided elsewhere.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{FromRawFd, OwnedFd};

const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;

/// SECCOMP_FILTER_FLAG_NEW_LISTENER
const NEW_LISTENER: u32 = 1 << 3;

/// Bytes of `struct sock_filter`.
const INSTRUCTION: usize = 8;

/// BPF_MAXINSNS: the kernel takes no longer program.
pub(crate) const MOST_INSTRUCTIONS: usize = 4096;

/// SECCOMP_SET_MODE_FILTER for this thread. `program` is an array of `struct sock_filter`. With
/// SECCOMP_FILTER_FLAG_NEW_LISTENER among the flags, gives the descriptor of the notifications, close-on-exec. Allocates
/// nothing unless it fails: from the moment of success on, the program decides about every system call.
pub(crate) fn set_mode_filter(program: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    let length = (program.len() / INSTRUCTION) as u16;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel copies `len` instructions of 8 bytes, which the slice has, and writes nothing.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) };
    match Errno::result(done) {
        // SAFETY: a new descriptor that nobody else owns.
        Ok(fd) if flags & NEW_LISTENER != 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        Ok(0) => Ok(None),
        // SECCOMP_FILTER_FLAG_TSYNC gives the thread that cannot follow.
        Ok(thread) => Err(Error::new(format!("seccomp: thread {thread} cannot take the filter"))),
        Err(errno) => {
            let call = format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {length} instructions)");
            Err(Error::call(call, errno as i32))
        }
    }
}

/// Whether this kernel knows the flags: asked for a program at address 0, it complains of the address only when it has
/// nothing against the flags.
///
/// # Errors
/// There are no filters on this kernel, or seccomp(2) is itself filtered.
pub(crate) fn knows_flags(flags: u32) -> Result<bool> {
    let none: *const libc::sock_fprog = std::ptr::null();
    // SAFETY: no program, so that nothing is loaded.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, none) };
    match Errno::result(done) {
        Ok(_) | Err(Errno::EFAULT) => Ok(true),
        Err(Errno::EINVAL) if flags != 0 => Ok(false),
        Err(errno) => Err(Error::call("seccomp(SECCOMP_SET_MODE_FILTER)", errno as i32)),
    }
}

/// SECCOMP_GET_ACTION_AVAIL: whether this kernel knows an action, SECCOMP_RET_…. Linux 4.14.
pub(crate) fn knows_action(action: u32) -> bool {
    // SAFETY: reads one number.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) };
    done == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_without_loading() {
        assert!(knows_flags(0).unwrap());
        assert!(knows_flags(0b111).unwrap());
        assert!(!knows_flags(1 << 30).unwrap());
        assert!(knows_action(0x7fff_0000) && !knows_action(0x1234_0000));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(
            status.contains("Seccomp:\t0") || status.contains("Seccomp:\t2"),
            "nothing was loaded: {status}"
        );
    }
}
