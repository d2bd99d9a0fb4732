//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2), and their start times.
//!
//! A pid names a process only as long as nobody reaps it; a pidfd names it for ever. Nothing here may signal or wait
//! for a bare pid. (runtime.md, Kill and Delete, stand on this.)

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::error::{Error, Result};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// exit(2) with this status, 0 to 255.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// The status that a shell would show: 128+n for signal n.
    pub(crate) fn status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// pidfd_open(2), close-on-exec. None: no process has this pid (it may be free, or name a thread).
pub(crate) fn pidfd_open(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(number) = (pid > 0).then(|| Pid::from_raw(pid)).flatten() else { return Ok(None) };
    match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // Without flags, EINVAL (ENOENT since Linux 6.15) only says that the number belongs to a thread.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::call(format!("pidfd_open({pid})"), errno.raw_os_error())),
    }
}

/// pidfd_send_signal(2); `signal` as the kernel numbers it, real-time signals and 0 included. False: the process has
/// been reaped. A zombie still takes signals, to no effect.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<bool> {
    // SAFETY: the descriptor is open for the length of the call; a null siginfo means that the kernel fills it in.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0_u32,
        )
    };
    match nix::errno::Errno::result(done) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::ESRCH) => Ok(false),
        Err(errno) => Err(Error::call(format!("pidfd_send_signal({signal})"), errno as i32)),
    }
}

/// Whether the whole process, all of its threads, has exited (a zombie has), waiting for it at most this long.
pub(crate) fn exited(pidfd: BorrowedFd<'_>, wait: Duration) -> Result<bool> {
    super::socket::readable(pidfd, Some(wait)).map_err(|error| error.at("pidfd"))
}

/// waitid(2): waits for our own child without a bound, and reaps it.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                let code = status.exit_status().map(Exit::Code);
                let exit = code.or_else(|| status.terminating_signal().map(Exit::Signal));
                return exit.ok_or_else(|| Error::new("waitid: neither exited nor killed"));
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("waitid(P_PIDFD)", errno.raw_os_error())),
        }
    }
}

/// waitpid(2): reaps a child of ours that has ended, without waiting; its pid and how it ended. None: there is none.
/// Not by nix, which takes a death by a real-time signal for an error.
pub(crate) fn reap_any() -> Result<Option<(i32, Exit)>> {
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let exit = status.exit_status().map(Exit::Code);
                let exit = exit.or_else(|| status.terminating_signal().map(Exit::Signal));
                let exit = exit.ok_or_else(|| Error::new("waitpid: neither exited nor killed"))?;
                return Ok(Some((pid.as_raw_nonzero().get(), exit)));
            }
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("waitpid", errno.raw_os_error())),
        }
    }
}

/// When the process with this pid was started: clock ticks since boot, field 22 of `/proc/PID/stat` (proc(5)).
/// None: there is no such process.
pub(crate) fn start_time(pid: i32) -> Result<Option<u64>> {
    let path = format!("/proc/{pid}/stat");
    let text = match read_stat(&path) {
        Ok(text) => text,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::ESRCH) => Ok(None),
                errno => Err(Error::call(format!("read({path:?})"), errno.unwrap_or(libc::EIO))),
            };
        }
    };
    parse_start_time(&text).map(Some).ok_or_else(|| Error::new("no start time in field 22").at(path))
}

/// Whether the process sleeps in a call of the kernel that no signal ends: state D, field 3 of `/proc/PID/stat`. One
/// that is gone does not.
pub(crate) fn is_uninterruptible(pid: i32) -> bool {
    read_stat(&format!("/proc/{pid}/stat")).is_ok_and(|text| parse_field(&text, 3) == Some("D"))
}

/// Whether a SIGKILL waits for the process, which is stopped where none is delivered: SigPnd of `/proc/PID/status`. The
/// kernel gives it to every thread. One that is gone waits for nothing.
pub(crate) fn is_killed(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (libc::SIGKILL - 1) != 0
}

fn read_stat(path: &str) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(512);
    File::open(path)?.take(4096).read_to_end(&mut text)?;
    Ok(text)
}

fn parse_start_time(stat: &[u8]) -> Option<u64> {
    parse_field(stat, 22)?.parse().ok()
}

/// A field by its number in proc(5), from 3 on. The second field, the program's name, may hold spaces, parentheses
/// and any other byte; the last `)` ends it.
fn parse_field(stat: &[u8], number: usize) -> Option<&str> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().nth(number - 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::Instant;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn reads_the_start_time_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["sh", "a b", "a) S 1 2", ")", "((", "x\n) R"] {
            assert_eq!(parse_start_time(format!("77 ({name}) {rest}").as_bytes()), Some(4711), "{name:?}");
        }
        assert_eq!(parse_start_time("77 (sh) S 1 2".as_bytes()), None);
        assert_eq!(parse_start_time(&[b'7', b'(', 0xff, b')', b' ', b'S']), None);
        assert_eq!(parse_start_time(b""), None);
    }

    #[test]
    fn signals_waits_and_reaps() {
        let mut child = sleeper();
        let pid = child.id() as i32;
        let fd = pidfd_open(pid).unwrap().unwrap();
        assert!(start_time(pid).unwrap().unwrap() > 0);
        assert!(pidfd_send_signal(fd.as_fd(), 0).unwrap());
        let before = Instant::now();
        assert!(!exited(fd.as_fd(), Duration::from_millis(30)).unwrap());
        assert!(before.elapsed() >= Duration::from_millis(30));
        assert!(pidfd_send_signal(fd.as_fd(), 9).unwrap());
        assert!(exited(fd.as_fd(), Duration::from_secs(10)).unwrap());
        assert!(start_time(pid).unwrap().is_some(), "a zombie keeps its start time");
        assert_eq!(reap(fd.as_fd()).unwrap(), Exit::Signal(9));
        assert!(!pidfd_send_signal(fd.as_fd(), 9).unwrap());
        assert!(exited(fd.as_fd(), Duration::ZERO).unwrap());
        assert_eq!(reap(fd.as_fd()).unwrap_err().errno(), libc::ECHILD);
        assert_eq!(start_time(pid).unwrap(), None);
        assert!(child.wait().is_err(), "reaped above");
    }

    #[test]
    fn statuses_are_the_shells() {
        assert_eq!([Exit::Code(3).status(), Exit::Signal(9).status()], [3, 137]);
    }

    #[test]
    fn no_process_is_not_an_error() {
        for pid in [0, -1, i32::MIN, i32::MAX] {
            assert!(pidfd_open(pid).unwrap().is_none(), "{pid}");
            assert_eq!(start_time(pid).unwrap(), None, "{pid}");
        }
    }
}
