//! The runtime as the parent in the foreground: it forwards signals to one process, reaps orphans, and learns the
//! process's exit status.

use super::notify::Forwarder;
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

/// Waits for the process, forwarding signals, reaping orphans, and passing on what the container notifies of meanwhile.
///
/// # Returns
/// Its exit status, 128+n if signal n killed it.
pub(super) fn attend(newborn: &Newborn, mut notify: Option<&mut Forwarder>) -> Result<u8> {
    let failed = |call: &'static str| move |errno: nix::Error| Error::call(call, errno as i32);
    let incoming = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC).map_err(failed("signalfd"))?;
    notify.as_mut().map_or(Ok(()), |notify| notify.signal_arrivals())?;
    // It may have ended before we listened.
    if let Some(status) = reap(newborn.pid)? {
        return Ok(status);
    }
    loop {
        let Some(info) = incoming.read_signal().map_err(failed("read(signalfd)"))? else { continue };
        if info.ssi_signo as i32 == libc::SIGCHLD {
            if let Some(status) = reap(newborn.pid)? {
                return Ok(status);
            }
            continue;
        }
        if let (libc::SIGIO, Some(notify)) = (info.ssi_signo as i32, &mut notify) {
            notify.attend();
            continue;
        }
        // False, it has just ended: its SIGCHLD is under way.
        pidfd::pidfd_send_signal(newborn.pidfd.as_fd(), info.ssi_signo as i32)?;
    }
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
