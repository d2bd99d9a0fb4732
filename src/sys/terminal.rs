//! Terminals: pty(7), ioctl_tty(2), termios(3). The only state is what the caller's terminal was before it became raw,
//! kept where a handler of fatal signals finds it, so that a crash does not leave it raw. Nothing here copies.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask};
use rustix::event::epoll;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize};

use crate::error::{Error, Result};

fn failed(call: &str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::call(call, errno.raw_os_error())
}

/// The other side of a master (TIOCSPTLCK, TIOCGPTPEER): by descriptor, whatever stands at its path. Linux 4.13.
pub(crate) fn peer(master: impl AsFd) -> Result<OwnedFd> {
    rustix::pty::unlockpt(&master).map_err(failed("ioctl(TIOCSPTLCK)"))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).map_err(failed("ioctl(TIOCGPTPEER)"))
}

/// TIOCSCTTY: the controlling terminal of this session, which has none yet.
pub(crate) fn become_controlling(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).map_err(failed("ioctl(TIOCSCTTY)"))
}

/// dup2(2) onto 0, 1 and 2, which survive execve.
pub(crate) fn become_stdio(terminal: impl AsFd) -> Result<()> {
    let failed = |errno: nix::Error| Error::call("dup2(terminal)", errno as i32);
    nix::unistd::dup2_stdin(&terminal).map_err(failed)?;
    nix::unistd::dup2_stdout(&terminal).map_err(failed)?;
    nix::unistd::dup2_stderr(&terminal).map_err(failed)
}

/// Is it a terminal?
pub(crate) fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// So many rows and columns, of unknown pixels.
pub(crate) fn cells((rows, columns): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// TIOCSWINSZ. The foreground process group of the terminal gets SIGWINCH if the size is new.
pub(crate) fn resize(terminal: impl AsFd, size: Winsize) -> Result<()> {
    rustix::termios::tcsetwinsize(terminal, size).map_err(failed("ioctl(TIOCSWINSZ)"))
}

/// TIOCGWINSZ, if the terminal knows its size.
pub(crate) fn size(terminal: impl AsFd) -> Option<Winsize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_row != 0 && size.ws_col != 0).then_some(size)
}

/// From now on a line end stays what it is (ONLCR off), until the terminal's owner says otherwise.
pub(crate) fn plain_line_ends(terminal: impl AsFd) -> Result<()> {
    let mut modes = rustix::termios::tcgetattr(&terminal).map_err(failed("ioctl(TCGETS)"))?;
    modes.output_modes.remove(OutputModes::ONLCR);
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, &modes).map_err(failed("ioctl(TCSETS)"))
}

/// The character that means end of file: ctrl-D, unless somebody changed it.
pub(crate) fn end_of_file(terminal: impl AsFd) -> u8 {
    let modes = rustix::termios::tcgetattr(terminal);
    modes.map_or(4, |modes| modes.special_codes[SpecialCodeIndex::VEOF])
}

/// O_NONBLOCK for everybody who has this open file: not for what the caller handed over.
pub(crate) fn unblock(fd: impl AsFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(failed("fcntl(F_GETFL)"))?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(failed("fcntl(F_SETFL)"))
}

/// A second descriptor: of a terminal one that never blocks, as a new open file of ours alone, where the terminal lets
/// itself be opened; else the same file, as it is.
pub(crate) fn own_end(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    if is_terminal(fd) {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(own) = rustix::fs::open(&path, flags, Mode::empty()) {
            return Ok(own);
        }
    }
    fd.try_clone_to_owned().map_err(|e| Error::call("dup", e.raw_os_error().unwrap_or(libc::EMFILE)))
}

/// Tells of changes only (EPOLLET). A master whose last peer was closed is hung up until one is opened again: asked by
/// poll(2), it would answer at once for ever.
pub(crate) struct Edge(OwnedFd);

impl Edge {
    /// Watches a descriptor, to read and to write.
    pub(crate) fn watch(fd: impl AsFd) -> Result<Self> {
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create1"))?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&watch, fd, epoll::EventData::new_u64(0), flags).map_err(failed("epoll_ctl"))?;
        Ok(Edge(watch))
    }

    /// To be polled for reading: something has changed.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// What has changed since the last time, without waiting: (to read or hung up, to write).
    pub(crate) fn changed(&self) -> Result<(bool, bool)> {
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = match epoll::wait(&self.0, &mut events, Some(&now)) {
            Err(Errno::INTR) => 0,
            other => other.map_err(failed("epoll_wait"))?,
        };
        let flags = if count == 0 { epoll::EventFlags::empty() } else { events[0].flags };
        let read = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        Ok((flags.intersects(read), flags.contains(epoll::EventFlags::OUT)))
    }
}

/// The caller's terminal is raw as long as this lives.
pub(crate) struct Raw(());

/// The caller's terminal and what it was. One of them in the life of a process.
static BEFORE: OnceLock<(OwnedFd, Termios)> = OnceLock::new();

/// The signals of a crash: none of them is ever held back to be forwarded.
const FAULTS: [Signal; 6] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT, Signal::SIGTRAP];

impl Raw {
    /// cfmakeraw(3): what is typed goes to whoever reads, byte by byte, and makes no signal here. `output`: what is
    /// written is left alone as well, because a program behind us cares for line ends. In the background this stops the
    /// process until it is in the foreground (SIGTTOU).
    pub(crate) fn enter(terminal: OwnedFd, output: bool) -> Result<Self> {
        let before = rustix::termios::tcgetattr(&terminal).map_err(failed("ioctl(TCGETS)"))?;
        let mut raw = before.clone();
        raw.make_raw();
        if !output {
            raw.output_modes = before.output_modes;
        }
        let (terminal, _) = BEFORE.get_or_init(|| (terminal, before));
        for signal in FAULTS {
            let flags = SaFlags::SA_RESETHAND | SaFlags::SA_ONSTACK;
            let action = SigAction::new(SigHandler::Handler(restore_and_die), flags, SigSet::empty());
            // SAFETY: the handler makes system calls and reads what never changes.
            let set = unsafe { nix::sys::signal::sigaction(signal, &action) };
            set.map_err(|errno| Error::call("sigaction", errno as i32))?;
        }
        let guard = Raw(());
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw).map_err(failed("ioctl(TCSETS)"))?;
        Ok(guard)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

extern "C" fn restore_and_die(signal: libc::c_int) {
    restore();
    // SAFETY: raise(3) is allowed in a handler; the default action is back, and takes place once this returns.
    unsafe { libc::raise(signal) };
}

/// Also from the background: SIGTTOU would stop us with the terminal left raw.
fn restore() {
    let Some((terminal, before)) = BEFORE.get() else { return };
    let mut held = SigSet::empty();
    held.add(Signal::SIGTTOU);
    let mut mask = SigSet::empty();
    let blocked = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut mask));
    // A terminal that is gone needs nothing.
    let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, before);
    if blocked.is_ok() {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::{Interest, poll};
    use rustix::pty::openpt;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        let peer = peer(&master).unwrap();
        (master, peer)
    }

    fn read(fd: &OwnedFd) -> std::result::Result<Vec<u8>, Errno> {
        let mut bytes = [0; 64];
        rustix::io::read(fd, &mut bytes).map(|count| bytes[..count].to_vec())
    }

    #[test]
    fn the_peer_is_the_other_side() {
        let (master, peer) = pair();
        assert!(is_terminal(&peer) && is_terminal(&master));
        rustix::io::write(&peer, b"a\n").unwrap();
        assert_eq!(read(&master).unwrap(), b"a\r\n");
        plain_line_ends(&master).unwrap();
        rustix::io::write(&peer, b"a\n").unwrap();
        assert_eq!(read(&master).unwrap(), b"a\n");
        assert_eq!(end_of_file(&master), 4);
        let known = Winsize { ws_xpixel: 640, ws_ypixel: 480, ..cells((33, 77)) };
        resize(&master, known).unwrap();
        assert_eq!(format!("{:?}", size(&peer)), format!("{:?}", Some(known)));
        resize(&peer, cells((0, 0))).unwrap();
        assert!(size(&peer).is_none(), "an unknown size is none");
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_terminal(&null) && super::peer(&null).is_err());
    }

    #[test]
    fn a_terminal_of_our_own_does_not_block() {
        let (_master, peer) = pair();
        let own = own_end(peer.as_fd()).unwrap();
        assert_eq!(read(&own), Err(Errno::AGAIN));
        assert!(
            !rustix::fs::fcntl_getfl(&peer).unwrap().contains(OFlags::NONBLOCK),
            "the caller's is as it was"
        );
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let same = own_end(reader.as_fd()).unwrap();
        assert!(!rustix::fs::fcntl_getfl(&same).unwrap().contains(OFlags::NONBLOCK), "a pipe is shared");
    }

    #[test]
    fn a_hung_up_master_is_told_once() {
        let (master, peer) = pair();
        unblock(&master).unwrap();
        let edge = Edge::watch(&master).unwrap();
        assert_eq!(edge.changed().unwrap(), (false, true));
        assert_eq!(edge.changed().unwrap(), (false, false), "nothing new");
        drop(peer);
        assert!(edge.changed().unwrap().0);
        assert_eq!(read(&master), Err(Errno::IO));
        assert_eq!(edge.changed().unwrap(), (false, false), "still hung up, and nothing new");
        let again = super::peer(&master).unwrap();
        rustix::io::write(&again, b"x").unwrap();
        let soon = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let told = poll(&[(edge.fd(), Interest::Read)], Some(soon)).unwrap();
        assert!(told[0] && edge.changed().unwrap().0, "somebody came back");
        assert_eq!(read(&master).unwrap(), b"x");
    }

    /// The one test of it: there is one in the life of a process.
    #[test]
    fn raw_mode_ends_with_its_guard() {
        let (_master, peer) = pair();
        let modes = || format!("{:?}", rustix::termios::tcgetattr(&peer).unwrap());
        let before = modes();
        let raw = Raw::enter(peer.try_clone().unwrap(), true).unwrap();
        assert_ne!(modes(), before);
        drop(raw);
        assert_eq!(modes(), before);
    }
}
