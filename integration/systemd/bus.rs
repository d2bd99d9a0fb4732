//! A D-Bus that a test plays itself, with a systemd behind it that does as the test says: as far as it goes, and no
//! further. It needs neither on the machine.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What becomes of the call that would start the scope, or of the connection before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// Nobody says a word, not even to be authenticated.
    Silence,
    /// Somebody talks without end, and never says a whole line.
    Endless,
    /// The door is closed after Hello.
    ClosedAfterHello,
    /// The door is closed when the scope shall be started.
    ClosedAtStart,
    /// The start is never answered.
    SilenceAtStart,
    /// The start is refused.
    Refused,
    /// The job fails, though somebody else says that it is done.
    JobFailed,
    /// The job is done, but the process is where it was.
    Nothing,
    /// What comes back is no message.
    Garbage,
    /// New properties are taken, but nobody says so the first time.
    SilenceAtSet,
    /// There is a unit of the name, with this cgroup.
    UnitAt(&'static str),
}

/// systemd's connection, as the bus names it.
const SYSTEMD: &str = ":1.0";
/// The method that changes a unit.
pub(super) const SET: &str = "SetUnitProperties";
/// Somebody else's.
const STRANGER: &str = ":1.66";

/// All that was asked for, as it came.
type Calls = Mutex<Vec<Vec<u8>>>;

/// A bus that somebody plays; it ends with its owner.
pub(super) struct Played {
    path: PathBuf,
    over: Arc<AtomicBool>,
    callers: Arc<AtomicUsize>,
    calls: Arc<Calls>,
    thread: Option<JoinHandle<()>>,
}

/// A bus at `path`.
pub(super) fn play(path: impl Into<PathBuf>, fate: Fate) -> Played {
    let path = path.into();
    let listener = UnixListener::bind(&path).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let callers = Arc::new(AtomicUsize::new(0));
    let come = Arc::clone(&callers);
    let calls = Arc::new(Calls::default());
    let heard = Arc::clone(&calls);
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if is_over.load(Relaxed) {
                return;
            }
            come.fetch_add(1, Relaxed);
            serve(stream, fate, &heard);
        }
    });
    Played { path, over, callers, calls, thread: Some(thread) }
}

impl Played {
    /// How many connections there were.
    pub(super) fn callers(&self) -> usize {
        self.callers.load(Relaxed)
    }

    /// How often this was asked for.
    pub(super) fn count(&self, method: &str) -> usize {
        count(&self.calls, method)
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        drop(UnixStream::connect(&self.path));
        self.thread.take().map(JoinHandle::join);
    }
}

fn count(calls: &Calls, method: &str) -> usize {
    calls.lock().unwrap().iter().filter(|call| has(call, method)).count()
}

/// Until the caller hangs up, or fate has it.
fn serve(mut stream: UnixStream, fate: Fate, calls: &Calls) -> Option<()> {
    if fate == Fate::Silence {
        stream.read_to_end(&mut Vec::new()).ok()?;
        return None;
    }
    if fate == Fate::Endless {
        loop {
            stream.write_all(&[b'x'; 4096]).ok()?;
        }
    }
    let mut said = Vec::new();
    while !said.ends_with(b"BEGIN\r\n") {
        said.push(byte(&mut stream)?);
    }
    stream.write_all(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n").ok()?;
    loop {
        let call = message(&mut stream)?;
        calls.lock().unwrap().push(call.clone());
        let is = |method: &str| has(&call, method);
        let answer = match () {
            () if is("Hello") => reply(&call, b""),
            () if fate == Fate::ClosedAfterHello => return None,
            () if fate == Fate::Garbage => vec![7; 64],
            () if is("Version") => reply(&call, &variant("257.9")),
            () if is("GetUnit") => match fate {
                Fate::UnitAt(_) => reply(&call, &path("/org/freedesktop/systemd1/unit/x")),
                _ => unknown(&call),
            },
            () if is("org.freedesktop.systemd1.Scope") => match fate {
                Fate::UnitAt(path) => reply(&call, &variant(path)),
                _ => unknown(&call),
            },
            () if is("ControlGroup") => reply(&call, &variant("")),
            () if is("StartTransientUnit") => match fate {
                Fate::ClosedAtStart => return None,
                Fate::SilenceAtStart => continue,
                Fate::Refused => refusal(&call, "org.freedesktop.systemd1.UnitMasked", "Unit is masked."),
                Fate::JobFailed => [
                    reply(&call, &path("/job/1")),
                    removed(STRANGER, "/job/1", "done"),
                    removed(SYSTEMD, "/job/1", "failed"),
                ]
                .concat(),
                _ => [reply(&call, &path("/job/1")), removed(SYSTEMD, "/job/1", "done")].concat(),
            },
            () if is("StopUnit") => unknown(&call),
            () if fate == Fate::SilenceAtSet && is(SET) && count(calls, SET) == 1 => continue,
            () => reply(&call, b""),
        };
        stream.write_all(&answer).ok()?;
    }
}

fn byte(stream: &mut UnixStream) -> Option<u8> {
    let mut one = [0];
    stream.read_exact(&mut one).ok()?;
    Some(one[0])
}

fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// A whole message, little-endian.
fn message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 16];
    stream.read_exact(&mut message).ok()?;
    let number = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap()) as usize;
    let whole = (16 + number(12)).next_multiple_of(8) + number(4);
    let mut rest = vec![0; whole - 16];
    stream.read_exact(&mut rest).ok()?;
    message.extend(rest);
    Some(message)
}

/// A message of this type with header fields and a body; the signature is the body's first part, up to `|`.
fn build(kind: u8, fields: &[(u8, u8, &[u8])], body: &[u8]) -> Vec<u8> {
    let (signature, body) = match body.iter().position(|byte| *byte == b'|') {
        Some(at) => (&body[..at], &body[at + 1..]),
        None => (&b""[..], body),
    };
    let mut header = Vec::new();
    let short = [&[signature.len() as u8][..], signature, &[0]].concat();
    let own = (!signature.is_empty()).then_some((8, b'g', &short[..]));
    for (code, typ, value) in fields.iter().copied().chain(own) {
        pad(&mut header, 8);
        header.extend([code, 1, typ, 0]);
        header.extend(value);
    }
    let mut all = vec![b'l', kind, 1, 1];
    all.extend((body.len() as u32).to_le_bytes());
    all.extend(7_u32.to_le_bytes());
    all.extend((header.len() as u32).to_le_bytes());
    all.extend(header);
    pad(&mut all, 8);
    all.extend(body);
    all
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes(), &[0]].concat()
}

fn reply(call: &[u8], body: &[u8]) -> Vec<u8> {
    build(2, &[(5, b'u', &call[8..12]), (7, b's', &text(SYSTEMD))], body)
}

fn refusal(call: &[u8], name: &str, why: &str) -> Vec<u8> {
    let body = [&b"s|"[..], &text(why)].concat();
    build(3, &[(5, b'u', &call[8..12]), (4, b's', &text(name))], &body)
}

fn unknown(call: &[u8]) -> Vec<u8> {
    refusal(call, "org.freedesktop.systemd1.NoSuchUnit", "Unit not loaded.")
}

fn variant(value: &str) -> Vec<u8> {
    [&b"v|\x01s\0\0"[..], &text(value)].concat()
}

fn path(path: &str) -> Vec<u8> {
    [&b"o|"[..], &text(path)].concat()
}

/// JobRemoved.
fn removed(sender: &str, job: &str, result: &str) -> Vec<u8> {
    let mut body = 1_u32.to_le_bytes().to_vec();
    for part in [job, "any.scope", result] {
        pad(&mut body, 4);
        body.extend(text(part));
    }
    let fields: [(u8, u8, &[u8]); 4] = [
        (1, b'o', &text("/org/freedesktop/systemd1")),
        (2, b's', &text("org.freedesktop.systemd1.Manager")),
        (3, b's', &text("JobRemoved")),
        (7, b's', &text(sender)),
    ];
    build(4, &fields, &[&b"uoss|"[..], &body].concat())
}
