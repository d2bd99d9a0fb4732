//! bpf(2): device programs of cgroup v2 (linux/bpf.h). Loads and attaches what it is given; decides nothing.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// BPF_F_ALLOW_MULTI: programs of this and of the cgroups above all have to agree.
const ALLOW_MULTI: u32 = 2;
/// A loaded program may be interrupted by a signal while it is verified; it is asked this often.
const ATTEMPTS: u32 = 32;
/// Room for the verifier's words.
const LOG_BYTES: usize = 64 * 1024;

/// The first fields of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest as zero.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// The same for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program. Linux 4.15. A program that the verifier refuses (EACCES,
/// EINVAL) is loaded once more to have its last words in the error.
pub(crate) fn prog_load_cgroup_device(instructions: &[[u8; 8]]) -> Result<OwnedFd> {
    let mut load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    let errno = match program(&load) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let error = Error::call("bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE)", errno as i32);
    if !matches!(errno, Errno::EACCES | Errno::EINVAL) {
        return Err(error);
    }
    let mut log = vec![0u8; LOG_BYTES];
    (load.log_level, load.log_size, load.log_buf) = (1, LOG_BYTES as u32, log.as_mut_ptr() as u64);
    if let Ok(fd) = program(&load) {
        return Ok(fd);
    }
    let text = String::from_utf8_lossy(&log);
    let last = text.trim_end_matches('\0').lines().rev().find(|line| !line.starts_with("processed"));
    Err(match last.filter(|line| !line.is_empty()) {
        Some(line) => error.hint(format!("the kernel's verifier says: {line}")),
        None => error,
    })
}

fn program(load: &Load) -> nix::Result<OwnedFd> {
    let mut left = ATTEMPTS;
    loop {
        // SAFETY: `load` has the size given and points to instructions, licence and log that outlive the call.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, load as *const Load, size_of::<Load>()) };
        match Errno::result(fd) {
            // SAFETY: a new descriptor, close-on-exec by itself, that nobody else owns.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            Err(Errno::EAGAIN | Errno::EINTR) if left > 0 => left -= 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// BPF_PROG_ATTACH to a cgroup v2 directory, beside other programs (BPF_F_ALLOW_MULTI).
pub(crate) fn prog_attach_cgroup_device(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let attach = Attach {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_bpf_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` has the size given; both descriptors are borrowed for the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    let failed = |errno: Errno| Error::call("bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE)", errno as i32);
    Errno::result(done).map(drop).map_err(failed)
}
