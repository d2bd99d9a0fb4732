//! The start gate: a socket on which a created container waits for start.
//!
//! Init listens at `gate` in the container's directory and waits for a connection that says Go; who connects and says
//! nothing only wanted to know whether somebody waits (end of file without a word: init accepts the next). Nothing
//! here may speak: the words are those of `init::link`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::{dir, socket};

/// The socket's name in the container's directory.
pub(super) const NAME: &str = "gate";

/// How long `start` waits for its turn when many others knock.
const QUEUE_WAIT: Duration = Duration::from_secs(10);

/// The listener, SEQPACKET, mode 0600, close-on-exec; init gets it. From now on connections succeed, even if nobody
/// accepts them yet.
pub(crate) fn bind(container: BorrowedFd<'_>) -> Result<OwnedFd> {
    socket::listen_at(container, NAME)
}

/// A connection to the waiting init; None if none waits: it has been started, or is dead.
pub(crate) fn connect(container: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    match socket::connect_at(container, NAME, QUEUE_WAIT) {
        Err(error) if error.errno() == nix::libc::EAGAIN => {
            Err(error.hint(format!("init does not answer within {QUEUE_WAIT:?}: is it frozen or stopped?")))
        }
        other => other,
    }
}

/// Whether an init waits, or is about to.
pub(crate) fn is_waiting(container: BorrowedFd<'_>) -> Result<bool> {
    match socket::connect_at(container, NAME, Duration::ZERO) {
        Ok(connection) => Ok(connection.is_some()),
        // So many knock that the queue is full: there is a queue.
        Err(error) if error.errno() == nix::libc::EAGAIN => Ok(true),
        Err(error) => Err::<bool, Error>(error),
    }
}

/// Takes the name away; one that is not there is fine.
pub(crate) fn remove(container: BorrowedFd<'_>) -> Result<()> {
    dir::unlink(container, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn tells_whether_somebody_waits() {
        let temp = tempfile::tempdir().unwrap();
        let at = std::fs::File::open(temp.path()).unwrap();
        assert!(!is_waiting(at.as_fd()).unwrap());
        let listener = bind(at.as_fd()).unwrap();
        assert!(is_waiting(at.as_fd()).unwrap());
        let alarm = socket::accept(listener.as_fd()).unwrap();
        assert!(socket::recv(alarm.as_fd(), &mut [0; 8]).unwrap().is_none(), "asked, and said nothing");
        let start = connect(at.as_fd()).unwrap().unwrap();
        let init = socket::accept(listener.as_fd()).unwrap();
        socket::send(start.as_fd(), b"go", &[]).unwrap();
        assert_eq!(socket::recv(init.as_fd(), &mut [0; 8]).unwrap().unwrap().len, 2);
        // Not by closing: a child that another test has just forked may still have a copy.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        assert!(!is_waiting(at.as_fd()).unwrap() && connect(at.as_fd()).unwrap().is_none());
        remove(at.as_fd()).unwrap();
        remove(at.as_fd()).unwrap();
        assert!(connect(at.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_crowd_is_a_waiting_gate() {
        let temp = tempfile::tempdir().unwrap();
        let at = std::fs::File::open(temp.path()).unwrap();
        let _listener = bind(at.as_fd()).unwrap();
        assert!((0..1000).all(|_| is_waiting(at.as_fd()).unwrap()));
    }
}
