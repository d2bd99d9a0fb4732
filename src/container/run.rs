//! create and start in one; in the foreground the runtime stays until the container's process has ended.

use super::create::{Created, Creation};
use super::notify::Forwarder;
use super::start::run_poststart;
use super::state::Status;
use super::terminal::Terminal;
use super::{CreateOptions, RunOptions, Settings, attend, delete, foreground, seccomp};
use crate::error::{Error, Result};
use crate::sys::process;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;

/// Creates and starts a container.
///
/// # Returns
/// In the foreground the exit status of its process, 128+n if signal n killed it; detached, 0.
pub(crate) fn run(settings: &Settings, id: &str, options: &CreateOptions, run: RunOptions) -> Result<u8> {
    let act = || {
        let creation = Creation::prepare(settings, id, options, false)?.with_console(run.detach, options)?;
        if !run.detach {
            if !run.no_subreaper {
                process::become_subreaper()?;
            }
            foreground::hold_signals()?;
        }
        let created = creation.carry_out(settings, options)?;
        let terminal = match go(&created) {
            Ok(terminal) => terminal,
            Err(error) => return created.undo(settings, options).and(Err(error)),
        };
        let Created { locked, newborn, mut notify, .. } = created;
        // Others may act on the container while it runs.
        drop(locked);
        if run.detach {
            notify.into_iter().for_each(|notify| notify.until_ready(newborn.pidfd.as_fd(), newborn.pid));
            return Ok(0);
        }
        let status = foreground::attend(&newborn, terminal, notify.as_mut())?;
        // Its last words.
        notify.iter_mut().for_each(Forwarder::attend);
        if !run.keep {
            delete::delete(settings, id, true)?;
        }
        Ok(status)
    };
    act().map_err(|e: Error| e.during(format!("run {id}")))
}

/// Lets it go on to execve; poststart hooks run; its terminal is attended.
fn go(created: &Created) -> Result<Option<Terminal>> {
    let pid = AtomicU32::new(created.newborn.pid as u32);
    let agent = seccomp::Caller::connect(created.locked.saved()?, Status::Creating, &pid)?;
    if !created.told {
        created.link.go()?;
    }
    attend::until_gone(&created.link, agent)?;
    run_poststart(created.locked.saved()?)?;
    created.console.as_ref().map(Terminal::attend).transpose()
}
