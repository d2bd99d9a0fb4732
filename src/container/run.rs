//! create and start in one; in the foreground the runtime stays until the container's process has ended.

use super::create::{Created, Creation};
use super::start::run_poststart;
use super::state::Status;
use super::{CreateOptions, RunOptions, Settings, attend, delete, foreground, seccomp};
use crate::error::{Error, Result};
use crate::sys::process;
use std::sync::atomic::AtomicU32;

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
            foreground::hold_signals()?;
        }
        let created = creation.carry_out(settings, options)?;
        let pid = AtomicU32::new(created.newborn.pid as u32);
        let agent = || {
            let agent = seccomp::Caller::connect(created.locked.saved()?, Status::Creating, &pid)?;
            if created.told { Ok(agent) } else { created.link.go().map(|()| agent) }
        };
        let gone = agent().and_then(|agent| attend::until_gone(&created.link, agent));
        if let Err(error) = gone.and_then(|()| run_poststart(created.locked.saved()?)) {
            return created.undo(settings, options).and(Err(error));
        }
        let Created { locked, newborn, .. } = created;
        // Others may act on the container while it runs.
        drop(locked);
        if run.detach {
            return Ok(0);
        }
        let status = foreground::attend(&newborn)?;
        if !run.keep {
            delete::delete(settings, id, true)?;
        }
        Ok(status)
    };
    act().map_err(|e: Error| e.during(format!("run {id}")))
}
