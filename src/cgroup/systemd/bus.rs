//! One connection to a D-Bus (D-Bus Specification, Authentication Protocol, Message Protocol), as far as a client of
//! systemd needs it: calls, their answers, and the signals that come meanwhile. The messages are made and read by
//! `rustbus`; the connection is ours, because every wait must have an end and nothing may start a thread.
//!
//! It must never be opened where nobody asked for systemd.

use super::address;
use crate::error::{Error, Result};
use crate::sys::socket;
use rustbus::message_builder::{MarshalledMessage, MessageBuilder, MessageType};
use rustbus::wire::{marshal, unmarshal};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an answer may take, and how long what is sent may stay unread.
const ANSWER_BOUND: Duration = Duration::from_secs(10);
/// The longest message that is read; the protocol allows 128 MiB, systemd's answers to us have some hundred bytes.
const LONGEST: usize = 1 << 20;
/// The longest line of the authentication that is read, in bytes, as D-Bus's own library has it.
const LONGEST_LINE: usize = 16 << 10;
/// What every message begins with: 12 fixed bytes and the length of its header fields.
const HEAD: usize = 16;

const BUS: &str = "org.freedesktop.DBus";

/// A connection.
#[derive(Debug)]
pub(crate) struct Bus {
    socket: OwnedFd,
    /// Where it leads.
    address: String,
    /// Bytes that have come and are not yet a whole message.
    inbox: Vec<u8>,
    serial: u32,
    signals: VecDeque<Signal>,
    /// Answers to calls that nobody has asked for yet.
    answers: Vec<MarshalledMessage>,
    /// What is being done, for errors.
    doing: String,
}

/// A method call, to be filled with arguments: [`Call::with`].
#[derive(Debug)]
pub(crate) struct Call {
    message: MarshalledMessage,
    /// As it is called in errors.
    name: String,
}

/// A call that was sent and is to be answered.
#[derive(Debug)]
#[must_use]
pub(crate) struct Sent {
    serial: u32,
    name: String,
}

/// What came back.
pub(crate) type Answer = std::result::Result<MarshalledMessage, Refusal>;

/// An error message of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The call that was refused.
    call: String,
    /// D-Bus's name of the error.
    pub(crate) name: String,
    /// The other side's own words.
    text: String,
}

/// A signal.
#[derive(Debug)]
pub(crate) struct Signal {
    /// `JobRemoved`
    pub(crate) member: String,
    /// With its arguments.
    pub(crate) message: MarshalledMessage,
}

impl Refusal {
    /// As an error, in the other side's words.
    pub(crate) fn error(self) -> Error {
        let Refusal { call, name, text } = self;
        let error = Error::new(format!("{call}: {name}: {text}"));
        match name.rsplit('.').next() {
            Some("ServiceUnknown" | "NameHasNoOwner") => error
                .hint("systemd is not running here: leave the control groups to --cgroup-manager cgroupfs"),
            Some("NoReply" | "Disconnected") => error.hint("was systemd or D-Bus restarted? try again"),
            _ => error,
        }
    }
}

impl Call {
    /// A method of an interface of an object; `argument` is what errors show in the brackets.
    pub(crate) fn new(to: (&str, &str, &str), method: &str, argument: &str) -> Self {
        let (service, path, interface) = to;
        let message =
            MessageBuilder::new().call(method).with_interface(interface).on(path).at(service).build();
        let shown = if argument.is_empty() { String::new() } else { format!("{argument:?}") };
        Call { message, name: format!("{method}({shown})") }
    }

    /// One more argument.
    pub(crate) fn with(mut self, argument: impl rustbus::Marshal) -> Result<Self> {
        self.message.body.push_param(argument).map_err(|e| Error::new(format!("{}: {e}", self.name)))?;
        Ok(self)
    }
}

/// The bus itself.
pub(crate) const fn the_bus() -> (&'static str, &'static str, &'static str) {
    (BUS, "/org/freedesktop/DBus", BUS)
}

impl Bus {
    /// Connects, authenticates and says hello.
    ///
    /// # Errors
    /// Nobody listens, or nobody answers in time; why the other side does not want us.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let mut refused = None;
        for path in address::paths(address)? {
            match socket::connect_stream_within(&path, ANSWER_BOUND) {
                Ok(socket) => return Bus::greet(socket, address),
                Err(error) => refused = Some(error),
            }
        }
        let error = refused.unwrap_or_else(|| Error::new("no socket"));
        Err(error.hint("is D-Bus running? without systemd, use --cgroup-manager cgroupfs"))
    }

    fn greet(socket: OwnedFd, address: &str) -> Result<Self> {
        let address = address.to_owned();
        let (inbox, signals, answers) = (Vec::new(), VecDeque::new(), Vec::new());
        let doing = "authentication".to_owned();
        let mut bus = Bus { socket, address, inbox, serial: 0, signals, answers, doing };
        bus.authenticate()?;
        let hello = bus.send(Call::new(the_bus(), "Hello", ""))?;
        bus.answer(&hello)?.map_err(Refusal::error)?;
        Ok(bus)
    }

    /// Where it leads, to connect again later.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// EXTERNAL, with no name: the other side takes the user that the kernel tells it, which is the right one also
    /// when we are somebody else inside a user namespace. All is said at once, as systemd's own clients do.
    fn authenticate(&mut self) -> Result<()> {
        let deadline = Instant::now() + ANSWER_BOUND;
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)?;
        let lines = [self.line(deadline)?, self.line(deadline)?];
        if lines[0].starts_with("DATA") && lines[1].starts_with("OK ") {
            return Ok(());
        }
        let said = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join(", ");
        Err(self.failed(&format!("refused it: {said:?}")))
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        loop {
            if let Some(end) = self.inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.inbox.drain(..end + 2).collect::<Vec<u8>>();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.inbox.len() > LONGEST_LINE {
                return Err(self.failed(&format!("sent a line of more than {LONGEST_LINE} bytes")));
            }
            self.fill(HEAD, deadline)?;
        }
    }

    /// Sends a call; several may be under way.
    pub(crate) fn send(&mut self, call: Call) -> Result<Sent> {
        self.serial += 1;
        let mut bytes = Vec::new();
        marshal::marshal(&call.message, self.serial, &mut bytes)
            .map_err(|e| Error::new(format!("{}: {e}", call.name)))?;
        bytes.extend_from_slice(call.message.get_buf());
        self.doing.clone_from(&call.name);
        self.write(&bytes, Instant::now() + ANSWER_BOUND)?;
        Ok(Sent { serial: self.serial, name: call.name })
    }

    /// Waits for the answer. What else comes first is kept.
    pub(crate) fn answer(&mut self, sent: &Sent) -> Result<Answer> {
        let deadline = Instant::now() + ANSWER_BOUND;
        loop {
            let ours = |message: &MarshalledMessage| message.dynheader.response_serial == Some(sent.serial);
            if let Some(at) = self.answers.iter().position(ours) {
                let message = self.answers.swap_remove(at);
                if message.typ != MessageType::Error {
                    return Ok(Ok(message));
                }
                let name = message.dynheader.error_name.clone().unwrap_or_default();
                let text = message.body.parser().get::<String>().unwrap_or_default();
                return Ok(Err(Refusal { call: sent.name.clone(), name, text }));
            }
            self.doing.clone_from(&sent.name);
            let message = self.message(deadline)?;
            self.keep(message);
        }
    }

    /// Calls and waits.
    pub(crate) fn call(&mut self, call: Call) -> Result<Answer> {
        let sent = self.send(call)?;
        self.answer(&sent)
    }

    /// The next signal; None when the time is over.
    pub(crate) fn signal(&mut self, deadline: Instant) -> Result<Option<Signal>> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(Some(signal));
            }
            match self.message(deadline) {
                Ok(message) => self.keep(message),
                Err(error) if error.errno() == Errno::TIMEDOUT.raw_os_error() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn keep(&mut self, message: MarshalledMessage) {
        match message.typ {
            MessageType::Signal => {
                let member = message.dynheader.member.clone().unwrap_or_default();
                self.signals.push_back(Signal { member, message });
            }
            MessageType::Reply | MessageType::Error => self.answers.push(message),
            _ => {}
        }
    }

    /// The next whole message.
    fn message(&mut self, deadline: Instant) -> Result<MarshalledMessage> {
        while self.inbox.len() < HEAD {
            self.fill(HEAD, deadline)?;
        }
        let length = whole(&self.inbox).filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| self.failed("sent what is no message"))?;
        while self.inbox.len() < length {
            self.fill(length, deadline)?;
        }
        let bytes: Vec<u8> = self.inbox.drain(..length).collect();
        let read = || {
            let (at, header) = unmarshal::unmarshal_header(&bytes, 0)?;
            let (fields, dynamic) = unmarshal::unmarshal_dynamic_header(&header, &bytes, at)?;
            unmarshal::unmarshal_next_message(&header, dynamic, &bytes, at + fields)
                .map(|(_, message)| message)
        };
        read().map_err(|e| self.failed(&format!("sent what is no message: {e}")))
    }

    /// Reads more, so that about `wanted` bytes are there.
    fn fill(&mut self, wanted: usize, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !socket::readable(self.socket.as_fd(), Some(left))? {
            let error = Error::call(self.doing("read"), Errno::TIMEDOUT.raw_os_error());
            return Err(
                error.hint("nobody answers: see `systemctl status dbus` and `systemctl is-system-running`")
            );
        }
        let filled = self.inbox.len();
        self.inbox.resize(filled + wanted.saturating_sub(filled).max(512), 0);
        let read = rustix::io::read(&self.socket, &mut self.inbox[filled..]);
        self.inbox.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) | Err(Errno::CONNRESET) => Err(self.failed("closed the connection")),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::call(self.doing("read"), errno.raw_os_error())),
        }
    }

    /// All of it; the socket has a bound for sending from [`socket::connect_stream_within`].
    fn write(&self, mut bytes: &[u8], deadline: Instant) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::INTR) if Instant::now() < deadline => {}
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    return Err(self.failed("closed the connection"));
                }
                Err(errno) => {
                    return Err(Error::call(self.doing("send"), errno.raw_os_error()));
                }
            }
        }
        Ok(())
    }

    fn doing(&self, call: &str) -> String {
        format!("{}: {call}(D-Bus at {})", self.doing, self.address)
    }

    fn failed(&self, what: &str) -> Error {
        Error::new(format!("{}: D-Bus at {} {what}", self.doing, self.address))
            .hint("was D-Bus stopped or restarted? try again")
    }
}

/// The length of the message whose first 16 bytes these are; None if they are no message's.
fn whole(head: &[u8]) -> Option<usize> {
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        Some(if head[0] == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
    };
    let (body, fields) = (number(4)?, number(12)?);
    let header = HEAD.checked_add(fields)?.checked_next_multiple_of(8)?;
    if [b'l', b'B'].contains(&head[0]) { header.checked_add(body) } else { None }
}
