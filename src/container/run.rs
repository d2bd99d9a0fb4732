//! create and start in one. In the foreground the runtime stays as the parent: it forwards signals, reaps orphans,
//! and returns the container's exit status.

use super::create::{Created, Creation};
use super::start::run_poststart;
use super::{CreateOptions, RunOptions, Settings, attend, delete};
use crate::error::{Error, Result};
use crate::init::birth::Newborn;
use crate::sys::{pidfd, process};
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

/// Creates and starts a container.
///
/// # Returns
/// In the foreground the exit status of its process, 128+n if signal n killed it; detached, 0.
pub(crate) fn run(settings: &Settings, id: &str, options: &CreateOptions, run: RunOptions) -> Result<u8> {
    let act = || {
        let creation = Creation::prepare(settings, id, options, false)?;
        if !run.detach {
            if !run.no_subreaper {
                process::become_subreaper()?;
            }
            // What arrives from now on waits until the container can have it.
            signals().thread_block().map_err(|errno| Error::call("sigprocmask", errno as i32))?;
        }
        let created = creation.carry_out(settings, options)?;
        let go = if created.told { Ok(()) } else { created.link.go() };
        let gone = go.and_then(|()| attend::until_gone(&created.link));
        if let Err(error) = gone.and_then(|()| run_poststart(created.locked.saved()?)) {
            return created.undo(settings, options).and(Err(error));
        }
        let Created { locked, newborn, .. } = created;
        // Others may act on the container while it runs.
        drop(locked);
        if run.detach {
            return Ok(0);
        }
        let status = attend_signals(&newborn)?;
        if !run.keep {
            delete::delete(settings, id, true)?;
        }
        Ok(status)
    };
    act().map_err(|e: Error| e.during(format!("run {id}")))
}

/// What the runtime takes over in the foreground: everything that can be blocked, to forward or to reap.
fn signals() -> SigSet {
    let mut set = SigSet::all();
    NOT_FORWARDED.iter().skip(1).for_each(|&signal| set.remove(signal));
    set
}

/// Waits for the container's process, forwarding signals and reaping orphans meanwhile.
fn attend_signals(newborn: &Newborn) -> Result<u8> {
    let failed = |call: &'static str| move |errno: nix::Error| Error::call(call, errno as i32);
    let incoming = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC).map_err(failed("signalfd"))?;
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
        // False, it has just ended: its SIGCHLD is under way.
        pidfd::pidfd_send_signal(newborn.pidfd.as_fd(), info.ssi_signo as i32)?;
    }
}

/// Reaps every child that has ended; the status of the container's process if it is among them.
fn reap(init: i32) -> Result<Option<u8>> {
    let mut found = None;
    while let Some((pid, exit)) = pidfd::reap_any()? {
        if pid == init {
            found = Some(exit.status() as u8);
        }
    }
    Ok(found)
}
