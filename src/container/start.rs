//! The start operation (runtime.md, Start): the gate opens, and we learn whether execve succeeded.

use super::id::ContainerId;
use super::notify::Forwarder;
use super::saved::Saved;
use super::state::{Facts, State, Status};
use super::store::Locked;
use super::{Settings, attend, gate, seccomp};
use crate::error::{Error, Result, phrases};
use crate::init::hook;
use crate::init::link::Link;
use crate::spec;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;

/// Starts a created container.
pub(crate) fn start(settings: &Settings, id: &str) -> Result<()> {
    let act = || {
        let locked = Locked::open(&settings.root, &ContainerId::new(id)?)?;
        locked.saved()?;
        let Facts { status, process } = Facts::of_locked(&locked)?;
        match status {
            Status::Created => {
                spec::process::wanted(locked.saved()?.joining.process.as_ref())?;
                let notify = Forwarder::listen(settings, locked.dir())?;
                go(settings, &locked)?;
                // Others may act on the container while it gets ready.
                drop(locked);
                if let (Some(notify), Some(process)) = (notify, process) {
                    notify.until_ready(process.fd().as_fd(), process.pid());
                }
                Ok(())
            }
            Status::Stopped => Err(Error::new(phrases::START_STOPPED)),
            Status::Running => Err(Error::new(phrases::START_RUNNING)),
            other => Err(Error::new(format!("{} {other} state", phrases::START_IN_STATE))),
        }
    };
    act().map_err(|e: Error| e.during(format!("start {id}")))
}

fn go(settings: &Settings, locked: &Locked) -> Result<()> {
    let saved = locked.saved()?;
    let pid = AtomicU32::new(saved.pid.unwrap_or(0) as u32);
    let agent = seccomp::Caller::connect(saved, Status::Creating, &pid)?;
    let listens = agent.is_some();
    let gate = gate::connect(locked.dir())?;
    let gate = gate.ok_or_else(|| Error::new(phrases::START_RUNNING))?;
    let link = Link::of(gate);
    link.go()?;
    attend::until_gone(&link, agent).inspect_err(|_| {
        if listens {
            // It runs, but nobody hears of it.
            let _ = super::delete::stop(saved);
        }
    })?;
    // It runs: a state directory that has become read-only does not change that.
    if let Err(error) = gate::remove(locked.dir()) {
        (settings.warn)(&error.at(format_args!("start {}", saved.id)).to_string());
    }
    run_poststart(saved).inspect_err(|_| {
        // The error that brought us here is the one to report; `delete --force` finishes what fails now.
        let _ = super::delete::stop(saved);
    })
}

/// Runs the poststart hooks, until one fails: then the container must not go on (runtime.md, Lifecycle, 9).
pub(super) fn run_poststart(saved: &Saved) -> Result<()> {
    if saved.poststart.is_empty() {
        return Ok(());
    }
    let state = State::new(saved, Status::Running).json()?;
    saved.poststart.iter().try_for_each(|one| hook::run(one, &state))
}
