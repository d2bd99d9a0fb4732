//! The container's process as facts: pidfd and start time, never a bare pid.
//!
//! A pid from a file may by now be another process. It is opened first and compared after: if the process with this
//! pid started when ours did, it is ours, and the descriptor opened before cannot be anyone else. Nothing here may
//! signal a process that was not found like this.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::error::Result;
use crate::sys::pidfd;

/// A process that was alive when it was found.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// The process with this pid and this start time (clock ticks since boot). None if it has exited, zombies
    /// included, or if the pid is another's now.
    pub(crate) fn find(pid: i32, start_time: u64) -> Result<Option<Process>> {
        let Some(fd) = pidfd::pidfd_open(pid)? else { return Ok(None) };
        if pidfd::start_time(pid)? != Some(start_time) || pidfd::exited(fd.as_fd(), Duration::ZERO)? {
            return Ok(None);
        }
        Ok(Some(Process { pid, fd }))
    }

    /// Its pid, for people and for the state; not for system calls.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends a signal, by the kernel's number. False: there is no such process any more.
    pub(crate) fn signal(&self, signal: i32) -> Result<bool> {
        pidfd::pidfd_send_signal(self.fd(), signal)
    }

    /// Whether it has exited, or is about to once it is not frozen.
    pub(crate) fn is_doomed(&self) -> Result<bool> {
        Ok(pidfd::is_killed(self.pid) || self.exited(Duration::ZERO)?)
    }

    /// Whether it has exited, waiting for it at most this long.
    pub(crate) fn exited(&self, wait: Duration) -> Result<bool> {
        pidfd::exited(self.fd(), wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn finds_only_the_very_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let start = pidfd::start_time(pid).unwrap().unwrap();
        assert!(Process::find(pid, start + 1).unwrap().is_none(), "a recycled pid");
        assert!(Process::find(pid, start - 1).unwrap().is_none(), "a recycled pid");
        let process = Process::find(pid, start).unwrap().unwrap();
        assert_eq!(process.pid(), pid);
        assert!(!process.exited(Duration::ZERO).unwrap());
        assert!(process.signal(9).unwrap());
        assert!(process.exited(Duration::from_secs(10)).unwrap());
        assert!(Process::find(pid, start).unwrap().is_none(), "a zombie has stopped");
        child.wait().unwrap();
        assert!(!process.signal(9).unwrap());
        assert!(Process::find(pid, start).unwrap().is_none());
    }
}
