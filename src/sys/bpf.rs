//! bpf(2): device programs of cgroup v2 (linux/bpf.h). Loads, finds, attaches and detaches what it is told to; decides
//! nothing.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const PROG_QUERY: i32 = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// BPF_F_ALLOW_MULTI: programs of this and of the cgroups above all have to agree.
const ALLOW_MULTI: u32 = 2;
/// BPF_F_REPLACE: in the place of another program, in one step. Linux 5.6.
const REPLACE: u32 = 4;
/// BPF_OBJ_NAME_LEN, the last byte is NUL.
const NAME_BYTES: usize = 16;
/// More programs than the kernel takes for one cgroup (BPF_CGROUP_MAX_PROGS, 64).
const MOST_PROGRAMS: usize = 128;
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
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_BYTES],
}

/// The same for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The same for BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The same for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the name.
#[repr(C)]
#[derive(Default)]
struct Info {
    before: [u64; 8],
    name: [u8; NAME_BYTES],
}

/// BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program with this name (letters, digits, `_`, `.`, 15 bytes at most).
/// Linux 4.15. A program that the verifier refuses (EACCES, EINVAL) is loaded once more to have its last words in the
/// error.
pub(crate) fn prog_load_cgroup_device(instructions: &[[u8; 8]], name: &str) -> Result<OwnedFd> {
    let mut load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: padded(name),
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

/// A name as the kernel holds it.
fn padded(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    let length = name.len().min(NAME_BYTES - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

/// BPF_PROG_ATTACH to a cgroup v2 directory: beside other programs (BPF_F_ALLOW_MULTI), or in the place of one that is
/// attached there (BPF_F_REPLACE), without a moment between the two.
pub(crate) fn prog_attach_cgroup_device(
    cgroup: impl AsFd,
    program: impl AsFd,
    in_place_of: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let attach = Attach {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_bpf_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if in_place_of.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: in_place_of.map_or(0, |program| program.as_raw_fd() as u32),
    };
    // SAFETY: `attach` has the size given; the descriptors are borrowed for the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    result("BPF_PROG_ATTACH, BPF_CGROUP_DEVICE", done).map(drop)
}

/// BPF_PROG_DETACH from a cgroup v2 directory.
pub(crate) fn prog_detach_cgroup_device(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let attach = Attach {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_bpf_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: `attach` has the size given; both descriptors are borrowed for the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_DETACH, &raw const attach, size_of::<Attach>()) };
    result("BPF_PROG_DETACH, BPF_CGROUP_DEVICE", done).map(drop)
}

/// The device programs with this name that are attached to just this cgroup v2 directory, in the order in which they
/// run: BPF_PROG_QUERY, and BPF_OBJ_GET_INFO_BY_FD for each. Linux 4.15.
pub(crate) fn attached_cgroup_device(cgroup: impl AsFd, name: &str) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = Query {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_type: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: `query` has the size given and names room for as many ids as it says.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) };
    result("BPF_PROG_QUERY, BPF_CGROUP_DEVICE", done)?;
    let mut programs = Vec::new();
    for id in ids.iter().take(query.prog_cnt as usize) {
        // SAFETY: the attribute is one number, of the size given.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_FD_BY_ID, &raw const *id, size_of::<u32>()) };
        let program = match Errno::result(fd) {
            // SAFETY: a new descriptor, close-on-exec by itself, that nobody else owns.
            Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd as i32) },
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(Error::call("bpf(BPF_PROG_GET_FD_BY_ID)", errno as i32)),
        };
        if name_of(&program)? == padded(name) {
            programs.push(program);
        }
    }
    Ok(programs)
}

fn name_of(program: &OwnedFd) -> Result<[u8; NAME_BYTES]> {
    let mut info = Info::default();
    let mut get = GetInfo {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of::<Info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: `get` has the size given and names room of the length that it says, which is zeroed.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw mut get, size_of::<GetInfo>()) };
    result("BPF_OBJ_GET_INFO_BY_FD", done)?;
    Ok(info.name)
}

fn result(call: &str, done: i64) -> Result<i64> {
    Errno::result(done).map_err(|errno| Error::call(format!("bpf({call})"), errno as i32))
}
