//! The runtime as the parent in the foreground: it forwards signals to one process, reaps orphans, attends the
//! process's terminal, and learns its exit status.

use super::notify::Forwarder;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::init::birth::Newborn;
use crate::sys::pidfd;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;

/// Signals that are the runtime's own affair: of its children, its terminal, its faults.
const NOT_FORWARDED: [Signal; 11] = [
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGURG,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGABRT,
    Signal::SIGTRAP,
];

/// What arrives from now on waits until the process can have it. Call it before birth.
pub(super) fn hold_signals() -> Result<()> {
    signals().thread_block().map_err(|errno| Error::call("sigprocmask", errno as i32))
}

/// What the runtime takes over in the foreground: everything that can be blocked, to forward or to reap.
fn signals() -> SigSet {
    let mut set = SigSet::all();
    NOT_FORWARDED.iter().skip(1).for_each(|&signal| set.remove(signal));
    set
}

/// Who only waits for the last output of a process that has ended need not wait any longer.
const IMPATIENT: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Waits for the process, forwarding signals, reaping orphans, attending its terminal, and passing on what the container
/// notifies of meanwhile.
///
/// # Returns
/// Its exit status, 128+n if signal n killed it.
pub(super) fn attend(
    newborn: &Newborn,
    mut terminal: Option<Terminal>,
    mut notify: Option<&mut Forwarder>,
) -> Result<u8> {
    let failed = |call: &'static str| move |errno: nix::Error| Error::call(call, errno as i32);
    let incoming = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC).map_err(failed("signalfd"))?;
    let next = || incoming.read_signal().map_err(failed("read(signalfd)"));
    notify.as_mut().map_or(Ok(()), |notify| notify.signal_arrivals())?;
    // It may have ended before we listened.
    let mut ended = reap(newborn.pid)?;
    let status = loop {
        if let Some(status) = ended {
            break status;
        }
        if let Some(terminal) = &mut terminal {
            terminal.copy_until(incoming.as_fd())?;
        }
        let Some(info) = next()? else { continue };
        match info.ssi_signo as i32 {
            libc::SIGCHLD => ended = reap(newborn.pid)?,
            libc::SIGWINCH if terminal.as_ref().is_some_and(Terminal::resize) => {}
            libc::SIGIO if notify.is_some() => notify.iter_mut().for_each(|notify| notify.attend()),
            // False, it has just ended: its SIGCHLD is under way.
            signal => drop(pidfd::pidfd_send_signal(newborn.pidfd.as_fd(), signal)?),
        }
    };
    while let Some(left) = &mut terminal
        && !left.drain_until(incoming.as_fd())?
    {
        if next()?.is_some_and(|info| IMPATIENT.contains(&(info.ssi_signo as i32))) {
            break;
        }
    }
    Ok(status)
}

/// Reaps every child that has ended; the status of the process if it is among them.
fn reap(init: i32) -> Result<Option<u8>> {
    let mut found = None;
    while let Some((pid, exit)) = pidfd::reap_any()? {
        if pid == init {
            found = Some(exit.status() as u8);
        }
    }
    Ok(found)
}
