//! The wire between runtime and init: three messages, one packet each. `At(point)`: init has come to a meeting; at `Listening` a descriptor comes along.
//! `Go`: the runtime lets it on. `Failed(error)`: init gives up; the error names the field of its step. No configuration ever travels here; the
//! order of meetings stands in the plan, which both sides hold.

use crate::error::{Error, Result};
use crate::plan::step::Point;
use crate::sys::socket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Long enough for an error with a path of 4,096 bytes in it, and a hint.
const LONGEST: usize = 16 * 1024;

const AT: u8 = b'A';
const GO: u8 = b'G';
const FAILED: u8 = b'F';

/// One end of the wire.
pub(crate) struct Link(OwnedFd);

/// What the runtime hears from init.
pub(crate) enum Heard {
    /// Init waits for `Go` (or, at `Going`, is about to execve).
    At(Point),
    /// Init has loaded its filter; notifications arrive on this descriptor.
    Listening(OwnedFd),
    /// Init gave up.
    Failed(Error),
    /// The wire is closed: execve succeeded, or init is dead.
    End,
}

impl Link {
    /// Both ends; each closes on execve.
    pub(crate) fn pair() -> Result<(Link, Link)> {
        socket::pair().map(|(a, b)| (Link(a), Link(b)))
    }

    /// An end that came through the start gate.
    pub(crate) fn of(fd: OwnedFd) -> Self {
        Link(fd)
    }

    /// The runtime: from now on [`Link::hear`] waits no longer than this for a word.
    pub(crate) fn hear_within(&self, wait: Duration) -> Result<()> {
        socket::receive_within(self.0.as_fd(), wait)
    }

    /// The descriptor, to wait on.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Init: a meeting is reached.
    pub(crate) fn at(&self, point: Point) -> Result<()> {
        socket::send(self.0.as_fd(), &[AT, point as u8], &[])
    }

    /// Init: the filter is loaded, and this is its listener.
    pub(crate) fn listening(&self, listener: BorrowedFd<'_>) -> Result<()> {
        socket::send(self.0.as_fd(), &[AT, Point::Listening as u8], &[listener])
    }

    /// The runtime: go on.
    pub(crate) fn go(&self) -> Result<()> {
        socket::send(self.0.as_fd(), &[GO], &[])
    }

    /// Init: waits for `Go`. False: the other side is gone, or hung up without a word.
    pub(crate) fn wait_for_go(&self) -> Result<bool> {
        let mut byte = [0; 1];
        Ok(socket::recv(self.0.as_fd(), &mut byte)?.is_some() && byte == [GO])
    }

    /// Init: gives up.
    pub(crate) fn failed(&self, error: &Error) -> Result<()> {
        let mut message = vec![FAILED];
        message.extend_from_slice(&error.errno().to_le_bytes());
        message.extend_from_slice(error.parts().join("\0").as_bytes());
        message.truncate(LONGEST);
        socket::send(self.0.as_fd(), &message, &[])
    }

    /// The runtime: waits for the next word, without a bound unless [`Link::hear_within`] gave one.
    pub(crate) fn hear(&self) -> Result<Heard> {
        let mut buffer = [0; LONGEST];
        let mut received = socket::recv(self.0.as_fd(), &mut buffer);
        if matches!(&received, Err(e) if e.errno() == nix::libc::ECONNRESET) {
            // Init died with our words unread. The kernel says so once, before the last words of init itself.
            received = socket::recv(self.0.as_fd(), &mut buffer);
        }
        let late = |e: Error| match e.errno() {
            nix::libc::EAGAIN => e.hint("the process says nothing: is it stopped or frozen?"),
            _ => e,
        };
        let Some(mut received) = received.map_err(late)? else { return Ok(Heard::End) };
        match &buffer[..received.len] {
            [AT, point] if *point == Point::Listening as u8 => {
                received.fds[0].take().map(Heard::Listening).ok_or_else(garbled)
            }
            [AT, point] => Point::from_byte(*point).map(Heard::At).ok_or_else(garbled),
            [FAILED, a, b, c, d, text @ ..] => {
                let text = String::from_utf8_lossy(text);
                let mut parts = text.splitn(4, '\0');
                let parts = [(); 4].map(|()| parts.next().unwrap_or_default());
                Ok(Heard::Failed(Error::from_parts(i32::from_le_bytes([*a, *b, *c, *d]), parts)))
            }
            _ => Err(garbled()),
        }
    }
}

fn garbled() -> Error {
    Error::new("a message of init makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_said() {
        let (runtime, init) = Link::pair().unwrap();
        init.at(Point::Created).unwrap();
        assert!(matches!(runtime.hear().unwrap(), Heard::At(Point::Created)));
        runtime.go().unwrap();
        assert!(init.wait_for_go().unwrap());
        let error = Error::call("chdir(\"/x\")", 13).hint("h");
        init.failed(&error).unwrap();
        let Heard::Failed(heard) = runtime.hear().unwrap() else { panic!("not failed") };
        assert_eq!(heard, error);
        init.listening(init.fd().as_fd()).unwrap();
        assert!(matches!(runtime.hear().unwrap(), Heard::Listening(_)));
        drop(init);
        assert!(matches!(runtime.hear().unwrap(), Heard::End));
    }

    #[test]
    fn last_words_are_heard_although_ours_were_not() {
        let (runtime, init) = Link::pair().unwrap();
        runtime.go().unwrap();
        init.failed(&Error::new("no")).unwrap();
        drop(init);
        assert!(matches!(runtime.hear().unwrap(), Heard::Failed(_)));
        assert!(matches!(runtime.hear().unwrap(), Heard::End));
    }

    #[test]
    fn silence_has_a_bound_that_is_given() {
        let (runtime, init) = Link::pair().unwrap();
        runtime.hear_within(Duration::from_millis(20)).unwrap();
        let error = runtime.hear().err().unwrap();
        assert_eq!(error.errno(), nix::libc::EAGAIN);
        assert!(error.to_string().contains("is it stopped or frozen?"), "{error}");
        init.at(Point::Going).unwrap();
        assert!(matches!(runtime.hear().unwrap(), Heard::At(Point::Going)));
    }

    #[test]
    fn silence_is_no_go() {
        let (runtime, init) = Link::pair().unwrap();
        drop(runtime);
        assert!(!init.wait_for_go().unwrap());
    }
}
