//! NOTIFY_SOCKET (sd_notify(3)): what a container says about its readiness is passed on to whoever started the runtime.
//!
//! The container finds a socket of ours, never the manager's, and what it says there is hostile: only the lines of
//! [`LINES`] pass, so many a second, never a descriptor, and never a word about processes; MAINPID is the runtime's to
//! say. A `run` in the foreground passes on as long as the container runs, a detached one and `start` until READY=1.

use super::Settings;
use super::id::ContainerId;
use crate::error::Result;
use crate::plan::notify::NAME;
use crate::sys::poll::{Interest, poll};
use crate::sys::{dir, process, socket};
use nix::libc;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directory's name in the container's own.
const DIRECTORY: &str = "notify";

/// Longer datagrams are none of sd_notify(3); systemd takes no longer ones either.
const LONGEST: usize = 4096;

/// A status line is for people.
const LONGEST_STATUS: usize = 256;

/// How many datagrams are passed on in a second; more of them are dropped.
const RATE: u32 = 64;

/// How many datagrams are read before something else has its turn.
const TURN: usize = 256;

/// How long the manager may take to read what it is told last (as runc: sd_notify_barrier(3)).
const BARRIER_WAIT: Duration = Duration::from_secs(30);

/// How long a place in the manager's queue may take.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Whether a value may pass.
type Check = fn(&str) -> bool;

/// What passes: a name, and what its value must be. Everything else, MAINPID and descriptors to be stored above all,
/// would let a container act for the service.
const LINES: [(&str, Check); 7] = [
    ("READY", |value| value == "1"),
    ("STOPPING", |value| value == "1"),
    ("RELOADING", |value| value == "1"),
    ("WATCHDOG", |value| value == "1"),
    ("MONOTONIC_USEC", is_number),
    ("ERRNO", is_number),
    ("STATUS", |value| value.len() <= LONGEST_STATUS && !value.contains(char::is_control)),
];

fn is_number(value: &str) -> bool {
    (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// The lines of a datagram that pass, in its order.
fn passing(datagram: &[u8]) -> Vec<&str> {
    let Ok(text) = std::str::from_utf8(datagram) else { return Vec::new() };
    let passes = |line: &&str| {
        let (name, value) = line.split_once('=').unwrap_or_default();
        LINES.iter().any(|(known, check)| *known == name && check(value))
    };
    text.lines().filter(passes).collect()
}

/// Where a container's directory for the socket is on the host.
pub(super) fn directory(root: &Path, id: &ContainerId) -> PathBuf {
    root.join(id.components().join("/")).join(DIRECTORY)
}

/// Makes the directory in the container's own; everybody may enter it who gets as far as this.
pub(super) fn prepare(container: BorrowedFd<'_>) -> Result<()> {
    dir::make_for_all(container, DIRECTORY)
}

/// Removes the directory with what is in it. A rootless container may have remounted it, and made files there.
pub(super) fn remove(container: BorrowedFd<'_>) -> Result<()> {
    dir::remove_all(container, DIRECTORY)
}

/// The socket in the container's reach, and the manager's.
pub(super) struct Forwarder {
    manager: OwnedFd,
    own: OwnedFd,
    directory: OwnedFd,
    window: Instant,
    passed: u32,
    warn: fn(&str),
}

impl Forwarder {
    /// Listens. None: nobody wants to be notified, or can be, which is a warning; or the container was created without
    /// the directory.
    pub(super) fn listen(settings: &Settings, container: BorrowedFd<'_>) -> Result<Option<Self>> {
        let Some(manager) = &settings.notify_socket else { return Ok(None) };
        let directory = match dir::open_at(container, DIRECTORY) {
            Err(e) if e.errno() == libc::ENOENT => return Ok(None),
            other => other?,
        };
        let manager = match socket::connect_datagrams(manager) {
            Err(error) => {
                (settings.warn)(&format!("NOTIFY_SOCKET {manager:?}: nobody is notified: {error}"));
                return Ok(None);
            }
            Ok(manager) => manager,
        };
        // Of a start that was killed.
        dir::unlink(directory.as_fd(), NAME)?;
        let own = socket::datagrams_at(directory.as_fd(), NAME)?;
        let (window, passed, warn) = (Instant::now(), 0, settings.warn);
        Ok(Some(Forwarder { manager, own, directory, window, passed, warn }))
    }

    /// The runtime is about to leave: waits until the container is ready, or its process, `pid`, has ended; however long
    /// that takes, it is the manager's to end it. Then the manager knows the process as the service's main one.
    pub(super) fn until_ready(mut self, process: BorrowedFd<'_>, pid: i32) {
        let mut wait = || -> Result<()> {
            loop {
                let fds = [(self.own.as_fd(), Interest::Read), (process, Interest::Read)];
                let [_, ended] = poll(&fds, None)?[..] else { return Ok(()) };
                if self.pass_on(Some(pid))?.ready {
                    return self.barrier();
                }
                if ended {
                    return Ok(());
                }
            }
        };
        if let Err(error) = wait() {
            (self.warn)(&format!("NOTIFY_SOCKET: {error}"));
        }
    }

    /// The runtime stays, and is the service's main process itself: from now on a SIGIO says that something has arrived.
    pub(super) fn signal_arrivals(&mut self) -> Result<()> {
        socket::signal_arrivals(self.own.as_fd())?;
        self.attend();
        Ok(())
    }

    /// Passes on what has arrived. If it is too much for now, there will be another SIGIO.
    pub(super) fn attend(&mut self) {
        let passed = self.pass_on(None);
        let again = passed.and_then(|passed| match passed.more {
            true => process::signal_self(libc::SIGIO),
            false => Ok(()),
        });
        if let Err(error) = again {
            (self.warn)(&format!("NOTIFY_SOCKET: {error}"));
        }
    }

    /// Passes on what has arrived, up to READY=1 if then `main` is to be known as the main process.
    fn pass_on(&mut self, main: Option<i32>) -> Result<Passed> {
        let mut buffer = [0; LONGEST];
        for _ in 0..TURN {
            let Some(length) = socket::recv_datagram(self.own.as_fd(), &mut buffer)? else {
                return Ok(Passed { ready: false, more: false });
            };
            let mut lines: Vec<String> =
                passing(buffer.get(..length).unwrap_or_default()).into_iter().map(str::to_owned).collect();
            let ready = lines.iter().any(|line| line == "READY=1");
            if lines.is_empty() || !self.within_rate() && !ready {
                continue;
            }
            lines.extend(main.filter(|_| ready).map(|pid| format!("MAINPID={pid}")));
            self.tell(lines.join("\n").as_bytes(), ready)?;
            if ready && main.is_some() {
                return Ok(Passed { ready, more: true });
            }
        }
        Ok(Passed { ready: false, more: true })
    }

    fn within_rate(&mut self) -> bool {
        if self.window.elapsed() >= Duration::from_secs(1) {
            (self.window, self.passed) = (Instant::now(), 0);
        }
        self.passed += 1;
        self.passed <= RATE
    }

    /// What does not matter much is dropped where the manager does not keep up.
    fn tell(&self, text: &[u8], matters: bool) -> Result<()> {
        let full = |sent: &Result<()>| sent.as_ref().is_err_and(|error| error.errno() == libc::EAGAIN);
        let sent = socket::send(self.manager.as_fd(), text, &[]);
        if !full(&sent) {
            return sent;
        }
        if !matters {
            return Ok(());
        }
        poll(&[(self.manager.as_fd(), Interest::Write)], Some(Instant::now() + QUEUE_WAIT))?;
        socket::send(self.manager.as_fd(), text, &[])
    }

    /// sd_notify_barrier(3): a manager that has read the datagram closes the pipe that came with it. It knows us by our pid:
    /// before that we must not be gone.
    fn barrier(&self) -> Result<()> {
        let failed = |errno: rustix::io::Errno| crate::error::Error::call("pipe2", errno.raw_os_error());
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
        socket::send(self.manager.as_fd(), b"BARRIER=1", &[writer.as_fd()])?;
        drop(writer);
        socket::readable(reader.as_fd(), Some(BARRIER_WAIT)).map(drop)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Whoever still wants to say something learns that nobody listens. If this fails, `delete` does it.
        let _ = dir::unlink(self.directory.as_fd(), NAME);
    }
}

/// What one turn came to.
struct Passed {
    /// READY=1 was among it, and nothing was read after it.
    ready: bool,
    /// There may be more.
    more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_lines_pass() {
        for line in [
            "READY=1",
            "STOPPING=1",
            "RELOADING=1",
            "WATCHDOG=1",
            "MONOTONIC_USEC=18446744073709551615",
            "ERRNO=2",
            "STATUS=",
            "STATUS=50 % of größe=x",
        ] {
            assert_eq!(passing(line.as_bytes()), [line]);
        }
        for line in [
            "",
            "=",
            "READY",
            "READY=0",
            "READY=11",
            " READY=1",
            "ready=1",
            "READY=1\0",
            "MAINPID=1",
            "MAINPIDFDID=1",
            "FDSTORE=1",
            "FDSTOREREMOVE=1",
            "FDNAME=x",
            "BARRIER=1",
            "NOTIFYACCESS=all",
            "WATCHDOG=trigger",
            "WATCHDOG_USEC=1",
            "EXTEND_TIMEOUT_USEC=1",
            "BUSERROR=x",
            "EXIT_STATUS=0",
            "ERRNO=-1",
            "ERRNO=",
            "MONOTONIC_USEC=999999999999999999999",
            "STATUS=\u{1b}[2J",
            "STATUS=a\tb",
        ] {
            assert!(passing(line.as_bytes()).is_empty(), "{line:?}");
        }
        assert!(passing(b"READY=1\n\xff").is_empty());
        assert!(passing(format!("STATUS={}", "x".repeat(LONGEST_STATUS + 1)).as_bytes()).is_empty());
    }

    #[test]
    fn the_rest_of_a_datagram_passes_without_them() {
        let datagram = b"RELOADING=1\nMAINPID=1\nMONOTONIC_USEC=7\nFDSTORE=1\nSTATUS=x\n";
        assert_eq!(passing(datagram), ["RELOADING=1", "MONOTONIC_USEC=7", "STATUS=x"]);
    }
}
