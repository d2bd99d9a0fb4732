//! The kill operation (runtime.md, Kill).
//!
//! Signals go through a pidfd whose start time was compared, or through the cgroup; nothing here may signal a bare
//! pid. No lock is taken: a container whose `start` hangs in a hook can be killed.

use super::Settings;
use super::state::{self, Facts, Status};
use super::store::{ContainerId, Saved, Seen};
use crate::error::{Error, Result};

const SIGKILL: i32 = nix::libc::SIGKILL;

/// Sends `signal` (the kernel's number) to the container process; with `all`, to every process of the container's
/// cgroup, also when the container process is dead already.
pub(crate) fn kill(settings: &Settings, id: &str, signal: i32, all: bool) -> Result<()> {
    let act = || {
        let id = ContainerId::new(id)?;
        let mut seen = Seen::open(&settings.root, &id)?;
        let facts = Facts::of(&mut seen)?;
        send(seen.saved(), &facts, signal, all)
    };
    act().map_err(|error: Error| error.during(format!("kill {id}")))
}

fn send(saved: &Saved, facts: &Facts, signal: i32, all: bool) -> Result<()> {
    if facts.status == Status::Creating {
        return Err(Error::new("cannot signal a container that is being created")
            .hint("wait for create to end, or kill it and then delete --force the container"));
    }
    let cgroup = saved.cgroup.as_ref().filter(|_| all);
    // By the cgroup every process gets the signal once, the container process too; only SIGKILL can come twice.
    let process = facts.process.as_ref().filter(|_| facts.status != Status::Stopped);
    let reached = match process {
        Some(process) if cgroup.is_none() || signal == SIGKILL => process.signal(signal)?,
        Some(_) => true,
        None => false,
    };
    match cgroup {
        Some(cgroup) if signal == SIGKILL => cgroup.kill()?,
        Some(cgroup) => cgroup.signal_all(signal)?,
        None if !reached && !all => return Err(Error::new("container not running")),
        None => {}
    }
    if signal == SIGKILL { thaw(saved) } else { Ok(()) }
}

/// A frozen process of cgroup v1 dies only when it is thawed.
pub(super) fn thaw(saved: &Saved) -> Result<()> {
    match &saved.cgroup {
        Some(cgroup) if state::is_frozen(saved)? => cgroup.thaw(),
        _ => Ok(()),
    }
}
