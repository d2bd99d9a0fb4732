//! Notice of a container out of memory: memory.events of v2, which counts what its cgroups below do too; an eventfd
//! on memory.oom_control of v1, which tells of the container's own limit and of those above it. Waiting is the
//! caller's: here is what to wait for, and what it meant.

use super::Record;
use super::directory::Directory;
use super::tree::unless_gone;
use super::wait::gone;
use crate::error::{Error, Result};
use crate::sys::poll::Interest;
use rustix::event::EventfdFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Room for memory.events, some ten short lines.
const EVENTS_BYTES: usize = 1024;

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Nothing since the last look.
    None,
    /// Memory ran out at least once since the last look.
    Oom,
    /// The cgroup was removed, and nothing will come any more. True: memory ran out before.
    Gone(bool),
}

/// Watches one container's memory.
#[derive(Debug)]
pub(crate) enum OomWatch {
    /// memory.events, and how many processes were killed when it was looked at last.
    V2 {
        /// The open file.
        events: OwnedFd,
        /// `oom_kill`
        kills: u64,
        /// For people.
        path: String,
    },
    /// An eventfd that the kernel counts up.
    V1 {
        /// The container's cgroup, to see whether it is still there.
        cgroup: Directory,
        /// Non-blocking.
        events: OwnedFd,
    },
}

impl OomWatch {
    /// From now on. None where no memory controller counts.
    pub(crate) fn on(record: &Record) -> Result<Option<Self>> {
        let v1 = |controllers: &str| controllers.split(',').any(|controller| controller == "memory");
        let mut found = None;
        for entry in record.entries.iter().filter(|entry| entry.is_v2() || v1(&entry.controllers)) {
            let Some(cgroup) = entry.open()? else { continue };
            let watch = if entry.is_v2() { Self::on_v2(&cgroup) } else { Self::on_v1(cgroup) };
            found = unless_gone(watch)?.or(found);
        }
        Ok(found)
    }

    fn on_v2(cgroup: &Directory) -> Result<Self> {
        let events = cgroup.open("memory.events", OFlags::RDONLY)?;
        let path = format!("{}/memory.events", cgroup.path());
        let kills = oom_kills(&events, &path)?;
        Ok(OomWatch::V2 { events, kills, path })
    }

    /// The kernel's cgroup-v1/memory.rst, 10: an eventfd, memory.oom_control, and the order to connect them.
    fn on_v1(cgroup: Directory) -> Result<Self> {
        let control = cgroup.open("memory.oom_control", OFlags::RDONLY)?;
        let events = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::call("eventfd2", errno.raw_os_error()))?;
        let order = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
        cgroup.write("cgroup.event_control", &order)?;
        Ok(OomWatch::V1 { cgroup, events })
    }

    /// What to wait for before the next look.
    pub(crate) fn wake(&self) -> (BorrowedFd<'_>, Interest) {
        match self {
            OomWatch::V2 { events, .. } => (events.as_fd(), Interest::Change),
            OomWatch::V1 { events, .. } => (events.as_fd(), Interest::Read),
        }
    }

    /// Looks, without waiting.
    pub(crate) fn look(&mut self) -> Result<Notice> {
        match self {
            OomWatch::V2 { events, kills, path } => match oom_kills(events, path) {
                Err(error) if gone(&error) => Ok(Notice::Gone(false)),
                now => {
                    let before = std::mem::replace(kills, now?);
                    Ok(if *kills > before { Notice::Oom } else { Notice::None })
                }
            },
            OomWatch::V1 { cgroup, events } => {
                // The kernel counts the removal of the cgroup as one more, after it: whoever sees that count sees
                // the removal too.
                let count = taken(events)?;
                let removed = unless_gone(cgroup.open("memory.oom_control", OFlags::PATH))?.is_none();
                Ok(match (removed, count) {
                    (true, count) => Notice::Gone(count > 1),
                    (false, 0) => Notice::None,
                    (false, _) => Notice::Oom,
                })
            }
        }
    }
}

/// `oom_kill` of memory.events: how many processes were killed, whoever's limit it was.
fn oom_kills(events: &OwnedFd, path: &str) -> Result<u64> {
    let mut bytes = [0; EVENTS_BYTES];
    let length = loop {
        match rustix::io::pread(events, &mut bytes, 0) {
            Ok(length) => break length,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call(format!("read({path:?})"), errno.raw_os_error())),
        }
    };
    kills_in(&String::from_utf8_lossy(&bytes[..length]))
        .ok_or_else(|| Error::new("no line \"oom_kill N\"").at(path))
}

fn kills_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The eventfd's count since the last time.
fn taken(events: &OwnedFd) -> Result<u64> {
    let mut count = [0; 8];
    loop {
        match rustix::io::read(events, &mut count) {
            Ok(_) => return Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("read(eventfd)", errno.raw_os_error())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_not_tries() {
        let text = "low 0\nhigh 0\nmax 1417\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(kills_in(text), Some(2));
        assert_eq!(kills_in("low 0\noom 3\n"), None);
        assert_eq!(kills_in("oom_kill x\n"), None);
        assert_eq!(kills_in(""), None);
    }

    #[test]
    fn an_eventfd_is_emptied_by_looking() {
        let events = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        assert_eq!(taken(&events).unwrap(), 0);
        for _ in 0..3 {
            rustix::io::write(&events, &1_u64.to_ne_bytes()).unwrap();
        }
        assert_eq!(taken(&events).unwrap(), 3);
        assert_eq!(taken(&events).unwrap(), 0);
    }

    #[test]
    fn without_a_memory_controller_there_is_nothing_to_watch() {
        assert!(OomWatch::on(&Record::default()).unwrap().is_none());
    }
}
