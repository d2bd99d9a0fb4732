//! The other side of a process's terminal. Its master goes to `--console-socket`, or stays here: then [`Terminal`]
//! copies between it and the runtime's own standard input and output, until the process has ended. The caller's
//! terminal is raw meanwhile, and becomes what it was before, whatever happens to the runtime short of SIGKILL.
//!
//! Nothing here may block but in poll(2): signals have to reach the process also while nobody reads what it writes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::init::console::Attendant;
use crate::sys::poll::{Interest, poll};
use crate::sys::terminal::{self, Edge, Raw};
use crate::sys::{process, socket};

/// What may wait on its way in each direction: as much as a pipe takes at once when it can be written.
const BUFFER: usize = 4096;

/// More than a terminal holds (drivers/tty/pty.c): what comes after the end of the process beyond this was written by
/// others since.
const MOST_LEFT: usize = 256 * 1024;

/// Where the master goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Console {
    /// There is no terminal.
    None,
    /// To whoever listens at this socket.
    Socket(PathBuf),
    /// To the runtime, which stays in the foreground.
    Here,
}

/// Both ends of the way that the master takes.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Init's.
    pub(super) far: Option<Attendant>,
    /// The runtime's, if it is to attend the terminal: [`Terminal::attend`].
    pub(super) near: Option<OwnedFd>,
}

impl Console {
    /// `terminal`: the process wants one; `detached`: the runtime does not stay.
    ///
    /// # Errors
    /// runc's, in its words: a terminal that nobody could attend, a socket to which nothing would be sent.
    pub(super) fn of(terminal: bool, detached: bool, socket: Option<&Path>) -> Result<Self> {
        match (terminal, detached, socket) {
            (true, true, None) => {
                Err(Error::new("cannot allocate tty if runc will detach without setting console socket")
                    .at("process.terminal")
                    .hint("pass --console-socket, or set process.terminal to false"))
            }
            (true, true, Some(path)) => Ok(Console::Socket(path.to_owned())),
            (true, false, None) => Ok(Console::Here),
            (false, _, None) => Ok(Console::None),
            (_, _, Some(_)) => {
                Err(Error::new("cannot use console socket if runc will not detach or allocate tty")
                    .at("--console-socket"))
            }
        }
    }

    /// Before anything is made: somebody has to be there.
    pub(super) fn open(&self) -> Result<Way> {
        match self {
            Console::None => Ok(Way::default()),
            Console::Socket(path) => {
                let socket = socket::connect_stream(path).map_err(|e| e.at("--console-socket"))?;
                Ok(Way { far: Some(Attendant { socket, size: None, plain: false }), near: None })
            }
            Console::Here => {
                let (near, socket) = socket::pair()?;
                // A file or a pipe gets line ends as files have them; a screen those of the process's own terminal.
                let plain = process::stdio(1).is_none_or(|output| !terminal::is_terminal(output));
                let size = screen().and_then(terminal::size);
                Ok(Way { far: Some(Attendant { socket, size, plain }), near: Some(near) })
            }
        }
    }
}

/// The caller's terminal, whose size is the size of ours.
fn screen() -> Option<BorrowedFd<'static>> {
    [0, 1, 2].into_iter().filter_map(process::stdio).find(|fd| terminal::is_terminal(fd))
}

/// A terminal that the runtime attends. Dropped, it is hung up, and the caller's own is what it was before.
pub(super) struct Terminal {
    master: Option<Master>,
    input: Option<OwnedFd>,
    output: OwnedFd,
    /// From input to master.
    typed: Buffer,
    /// From master to output.
    said: Buffer,
    /// The input is a person's, who ends it by typing.
    by_hand: bool,
    /// The last byte typed was a line end.
    line_start: bool,
    /// So much may still come once the process has ended.
    left: usize,
    _raw: Option<Raw>,
}

struct Master {
    fd: OwnedFd,
    edge: Edge,
    readable: bool,
    writable: bool,
}

impl Terminal {
    /// Receives the master, once init has come beyond it; the caller's terminal becomes raw.
    pub(super) fn attend(near: &OwnedFd) -> Result<Self> {
        let received = socket::recv(near.as_fd(), &mut [0; 64])?;
        let master = received.and_then(|mut received| received.fds[0].take());
        let fd = master.ok_or_else(|| Error::new("init sent no terminal").at("process.terminal"))?;
        Self::of(fd).map_err(|e| e.at("process.terminal"))
    }

    fn of(fd: OwnedFd) -> Result<Self> {
        let output = process::stdio(1).ok_or_else(|| Error::new("standard output is closed"))?;
        let shown = terminal::is_terminal(output);
        let input = process::stdio(0);
        let by_hand = input.is_some_and(terminal::is_terminal);
        terminal::unblock(&fd)?;
        let master = Master { edge: Edge::watch(&fd)?, fd, readable: true, writable: true };
        let input = input.map(terminal::own_end).transpose()?;
        let raw = input.as_ref().filter(|_| by_hand).map(|input| {
            let terminal =
                input.try_clone().map_err(|e| Error::call("dup", e.raw_os_error().unwrap_or(0)))?;
            Raw::enter(terminal, shown)
        });
        Ok(Terminal {
            master: Some(master),
            input,
            output: terminal::own_end(output)?,
            typed: Buffer::new(),
            said: Buffer::new(),
            by_hand,
            line_start: true,
            left: MOST_LEFT,
            _raw: raw.transpose()?,
        })
    }

    /// Passes the size of the caller's terminal on. False: the caller has none.
    pub(super) fn resize(&self) -> bool {
        let Some(screen) = screen() else { return false };
        if let (Some(master), Some(size)) = (&self.master, terminal::size(screen)) {
            // It is hung up at worst; what it says, and SIGCHLD, are what counts.
            let _ = terminal::resize(&master.fd, size);
        }
        true
    }

    /// Copies in both directions until `stop` can be read.
    pub(super) fn copy_until(&mut self, stop: BorrowedFd<'_>) -> Result<()> {
        loop {
            self.serve_master()?;
            let input = self.input.as_ref().filter(|_| self.typed.is_empty() && self.master.is_some());
            let output = (!self.said.is_empty()).then_some(&self.output);
            let places = [
                Some((stop, Interest::Read)),
                self.master.as_ref().map(|master| (master.edge.fd(), Interest::Read)),
                input.map(|fd| (fd.as_fd(), Interest::Read)),
                output.map(|fd| (fd.as_fd(), Interest::Write)),
            ];
            let [stopped, _, typed, heard] = poll_some(places)?;
            if heard {
                self.write_output();
            }
            if typed {
                self.read_input();
            }
            if stopped {
                return Ok(());
            }
        }
    }

    /// The process has ended: writes what it said last. False: `stop` can be read before all is written.
    pub(super) fn drain_until(&mut self, stop: BorrowedFd<'_>) -> Result<bool> {
        self.typed.clear();
        loop {
            if self.said.is_empty() {
                let Some(master) = self.master.as_mut().filter(|_| self.left > 0) else { return Ok(true) };
                // Whatever was seen of it before: the kernel has what was written by now.
                master.readable = true;
                master.read(&mut self.said);
                self.left = self.left.saturating_sub(self.said.len());
                if self.said.is_empty() {
                    return Ok(true);
                }
            }
            let places = [Some((stop, Interest::Read)), Some((self.output.as_fd(), Interest::Write))];
            let [stopped, heard] = poll_some(places)?;
            if heard {
                self.write_output();
            }
            if stopped {
                return Ok(false);
            }
        }
    }

    fn serve_master(&mut self) -> Result<()> {
        let Some(master) = &mut self.master else { return Ok(()) };
        let (readable, writable) = master.edge.changed()?;
        master.readable |= readable;
        master.writable |= writable;
        master.write(&mut self.typed);
        if self.said.is_empty() {
            master.read(&mut self.said);
        }
        Ok(())
    }

    fn read_input(&mut self) {
        let Some(input) = &self.input else { return };
        match self.typed.fill(input) {
            Ok(0) if !self.by_hand => self.end_input(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // End of file, or a terminal that is gone.
            Ok(0) | Err(_) => self.input = None,
            Ok(_) => self.line_start = self.typed.last() == Some(b'\n'),
        }
    }

    /// A terminal has no end of file but a character for it; in the middle of a line the first one ends the line.
    fn end_input(&mut self) {
        self.input = None;
        let Some(master) = &self.master else { return };
        let character = terminal::end_of_file(&master.fd);
        let characters = [character; 2];
        self.typed.put(&characters[usize::from(self.line_start)..]);
    }

    /// Nobody is left to show anything to: hang up, as a terminal does that is gone.
    fn write_output(&mut self) {
        match self.said.drain(&self.output) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.said.clear();
                self.master = None;
            }
        }
    }
}

impl Master {
    /// As much as there is and fits. Nothing to read now, and nobody there now, are the same: the edge tells of both.
    fn read(&mut self, said: &mut Buffer) {
        if !self.readable {
            return;
        }
        match said.fill(&self.fd) {
            Ok(count) if count > 0 => {}
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => self.readable = false,
        }
    }

    fn write(&mut self, typed: &mut Buffer) {
        while self.writable && !typed.is_empty() {
            match typed.drain(&self.fd) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                // Nobody is there to read it.
                Err(_) => typed.clear(),
            }
        }
    }
}

/// poll(2) without a bound on those places that are filled; for the others the answer is no.
fn poll_some<const N: usize>(places: [Option<(BorrowedFd<'_>, Interest)>; N]) -> Result<[bool; N]> {
    let filled: Vec<_> = places.iter().flatten().copied().collect();
    let mut answers = poll(&filled, None)?.into_iter();
    Ok(places.map(|place| place.is_some() && answers.next().unwrap_or(false)))
}

/// Bytes on their way.
struct Buffer {
    bytes: [u8; BUFFER],
    from: usize,
    to: usize,
}

impl Buffer {
    fn new() -> Self {
        Buffer { bytes: [0; BUFFER], from: 0, to: 0 }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn len(&self) -> usize {
        self.to - self.from
    }

    fn clear(&mut self) {
        (self.from, self.to) = (0, 0);
    }

    fn last(&self) -> Option<u8> {
        self.bytes[self.from..self.to].last().copied()
    }

    /// One read(2) into the empty buffer; gives how much.
    fn fill(&mut self, from: &OwnedFd) -> rustix::io::Result<usize> {
        self.clear();
        self.to = rustix::io::read(from, &mut self.bytes)?;
        Ok(self.to)
    }

    /// Into the empty buffer.
    fn put(&mut self, bytes: &[u8]) {
        self.clear();
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.to = bytes.len();
    }

    /// One write(2) of what is there.
    fn drain(&mut self, to: &OwnedFd) -> rustix::io::Result<()> {
        self.from += rustix::io::write(to, &self.bytes[self.from..self.to])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runcs_rules_for_console_sockets() {
        let path = Path::new("/s");
        for (terminal, detached, socket, expected) in [
            (false, false, None, Ok(Console::None)),
            (false, true, None, Ok(Console::None)),
            (true, false, None, Ok(Console::Here)),
            (true, true, Some(path), Ok(Console::Socket(path.to_owned()))),
            (true, true, None, Err("cannot allocate tty if runc will detach without setting console socket")),
            (
                true,
                false,
                Some(path),
                Err("cannot use console socket if runc will not detach or allocate tty"),
            ),
            (
                false,
                false,
                Some(path),
                Err("cannot use console socket if runc will not detach or allocate tty"),
            ),
            (
                false,
                true,
                Some(path),
                Err("cannot use console socket if runc will not detach or allocate tty"),
            ),
        ] {
            let decided = Console::of(terminal, detached, socket).map_err(|e| e.parts()[2].to_owned());
            assert_eq!(decided, expected.map_err(str::to_owned), "{terminal} {detached} {socket:?}");
        }
    }
}
