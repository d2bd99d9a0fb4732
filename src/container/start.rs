//! The start operation (runtime.md, Start): the gate opens, and we learn whether execve succeeded.

use super::create::run_tolerantly;
use super::state::{Facts, State, Status};
use super::store::{ContainerId, Locked};
use super::{Settings, attend, gate};
use crate::error::{Error, Result};
use crate::init::link::Link;

/// Starts a created container.
pub(crate) fn start(settings: &Settings, id: &str) -> Result<()> {
    let act = || {
        let locked = Locked::open(&settings.root, &ContainerId::new(id)?)?;
        locked.saved()?;
        match Facts::of_locked(&locked)?.status {
            Status::Created => go(settings, &locked),
            Status::Stopped => Err(Error::new("cannot start a container that has stopped")),
            Status::Running => Err(Error::new("cannot start an already running container")),
            other => Err(Error::new(format!("cannot start a container that is {other}"))),
        }
    };
    act().map_err(|e: Error| e.during(format!("start {id}")))
}

fn go(settings: &Settings, locked: &Locked) -> Result<()> {
    let gate = gate::connect(locked.dir())?;
    let gate = gate.ok_or_else(|| Error::new("cannot start an already running container"))?;
    attend::until_gone(&Link::of(gate))?;
    gate::remove(locked.dir())?;
    let state = State::new(locked.saved()?, Status::Running).json()?;
    run_tolerantly(settings, &locked.saved()?.poststart, &state);
    Ok(())
}
