//! poll(2) on several descriptors at once. Nothing here may wait for no reason, or without an end the caller chose.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something can be read; also the end of a process, by its pidfd.
    Read,
    /// Something can be written.
    Write,
    /// A file of a cgroup has changed since it was read last (POLLPRI), or its cgroup is gone.
    Change,
    /// Nobody is left on the other side.
    HangUp,
}

/// Waits until something is so, or until this moment; none is for ever. Says of each descriptor whether it is; of
/// none when the time is over.
pub(crate) fn poll(fds: &[(BorrowedFd<'_>, Interest)], until: Option<Instant>) -> Result<Vec<bool>> {
    let flags = |interest| match interest {
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
        Interest::Change => PollFlags::PRI,
        Interest::HangUp => PollFlags::empty(),
    };
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|(fd, interest)| PollFd::from_borrowed_fd(*fd, flags(*interest))).collect();
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match rustix::event::poll(&mut polled, left.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("poll", errno.raw_os_error())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn tells_who_it_was_and_keeps_to_the_time() {
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let fds = [(reader.as_fd(), Interest::Read), (writer.as_fd(), Interest::HangUp)];
        let before = Instant::now();
        assert_eq!(poll(&fds, soon()).unwrap(), [false, false]);
        assert!(before.elapsed() >= Duration::from_millis(20));
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(poll(&fds, None).unwrap(), [true, false]);
        drop(reader);
        assert_eq!(poll(&[(writer.as_fd(), Interest::HangUp)], None).unwrap(), [true]);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(poll(&[(null.as_fd(), Interest::HangUp)], soon()).unwrap(), [false]);
        assert_eq!(poll(&[], Some(before)).unwrap(), Vec::<bool>::new(), "a time that is over");
    }
}
