//! Bounded waiting for what happens in a cgroup. On v2 the kernel tells (poll(2) on cgroup.events); for processes
//! their pidfds do; cgroup v1 has no event for a freezer's progress or for the end of a removal, so that there the
//! question is asked again after a short poll without descriptors.

use super::directory::Directory;
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::time::{Duration, Instant};

/// Between two questions that no event answers.
const MOMENT: Duration = Duration::from_millis(1);
/// Room for cgroup.events, two short lines.
const EVENTS_BYTES: usize = 256;
/// How many processes are waited for at once.
const MOST_PIDFDS: usize = 64;

/// The end of all patience.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub(crate) fn after(bound: Duration) -> Self {
        Deadline(Instant::now() + bound)
    }

    /// It has come.
    pub(crate) fn passed(self) -> bool {
        self.left().is_none()
    }

    fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Waits until a descriptor has something to say; false when the time is over.
    fn poll(self, fds: &mut [PollFd<'_>], at_most: Option<Duration>) -> Result<bool> {
        loop {
            let Some(left) = self.left() else { return Ok(false) };
            let left = at_most.map_or(left, |at_most| left.min(at_most));
            let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            match rustix::event::poll(fds, Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::call("poll", errno.raw_os_error())),
            }
        }
    }

    /// A short while, for a state that has no event.
    pub(crate) fn moment(self) -> Result<()> {
        self.poll(&mut [], Some(MOMENT)).map(drop)
    }

    /// Until one of the processes has exited, or one is gone already; a while at most, since others may come.
    pub(crate) fn exits(self, pids: &[i32]) -> Result<()> {
        let mut pidfds = Vec::new();
        for pid in pids.iter().take(MOST_PIDFDS).filter_map(|pid| Pid::from_raw(*pid)) {
            match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => pidfds.push(pidfd),
                Err(_) => return self.moment(),
            }
        }
        let mut fds: Vec<PollFd<'_>> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if self.poll(&mut fds, Some(Duration::from_millis(100)))? { self.moment() } else { Ok(()) }
    }

    /// Until cgroup.events of a v2 cgroup has one of these lines; false when the time is over, true also when the
    /// cgroup is gone.
    pub(crate) fn event(self, cgroup: &Directory, wanted: &[&str]) -> Result<bool> {
        let file = match cgroup.open("cgroup.events", OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if gone(&error) => return Ok(true),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; EVENTS_BYTES];
        loop {
            let length = match rustix::io::pread(&file, &mut bytes, 0) {
                Ok(length) => length,
                Err(Errno::NODEV | Errno::NOENT) => return Ok(true),
                Err(errno) => {
                    let call = format!("read({:?})", format!("{}/cgroup.events", cgroup.path()));
                    return Err(Error::call(call, errno.raw_os_error()));
                }
            };
            let text = String::from_utf8_lossy(&bytes[..length]);
            if text.lines().any(|line| wanted.contains(&line)) {
                return Ok(true);
            }
            if !self.poll(&mut [PollFd::new(&file, PollFlags::PRI)], None)? {
                return Ok(false);
            }
        }
    }
}

/// The cgroup was removed: it cannot be found, or its open files are dead.
pub(crate) fn gone(error: &Error) -> bool {
    [Errno::NOENT, Errno::NODEV].iter().any(|errno| errno.raw_os_error() == error.errno())
}
