//! `pause` and `resume`: all processes of a container are stopped where they are, and let go again. Not of the
//! runtime-spec, but of every engine; conditions and phrases are runc's. Nothing here is remembered: that a container
//! is paused is told by the kernel (see [`super::state`]).

use super::Settings;
use super::id::ContainerId;
use super::process::Process;
use super::saved::Saved;
use super::state::{Facts, Status};
use super::store::Locked;
use crate::cgroup::Record;
use crate::error::{Error, Result, phrases};

/// Stops a created or running container, and waits until it stands still.
///
/// # Errors
/// The container is in another state; it has no cgroup; or one of its processes cannot be stopped within a few
/// seconds, then it runs on.
pub(crate) fn pause(settings: &Settings, id: &str) -> Result<()> {
    let act = || {
        let locked = Locked::open(&settings.root, &ContainerId::new(id)?)?;
        let cgroup = cgroup(locked.saved()?);
        let facts = Facts::of_locked(&locked)?;
        match (facts.status, &facts.process) {
            (Status::Created | Status::Running, Some(process)) => freeze(cgroup?, process),
            (other, _) => Err(Error::new(phrases::NOT_RUNNING).hint(format!("it is {other}"))),
        }
    };
    act().map_err(|error: Error| error.during(format!("pause {id}")))
}

/// `kill` takes no lock. If it came in between, the container must not stay frozen: on cgroup v1 it could not die.
fn freeze(cgroup: &Record, process: &Process) -> Result<()> {
    let frozen = cgroup.freeze(process.pid());
    if process.is_doomed()? {
        cgroup.thaw()?;
        return Err(Error::new(phrases::NOT_RUNNING).hint("it was killed meanwhile"));
    }
    frozen
}

/// Lets a paused container run on.
///
/// # Errors
/// The container is in another state; or a cgroup above its own is frozen, and with it the container.
pub(crate) fn resume(settings: &Settings, id: &str) -> Result<()> {
    let act = || {
        let locked = Locked::open(&settings.root, &ContainerId::new(id)?)?;
        let cgroup = cgroup(locked.saved()?);
        match Facts::of_locked(&locked)?.status {
            Status::Paused => cgroup?.thaw(),
            // A pause that was killed on its way: some processes may stand.
            Status::Created | Status::Running
                if cgroup.as_ref().is_ok_and(|c| c.is_freezing() == Ok(true)) =>
            {
                cgroup?.thaw()
            }
            other => Err(Error::new(phrases::NOT_PAUSED).hint(format!("it is {other}"))),
        }
    };
    act().map_err(|error: Error| error.during(format!("resume {id}")))
}

fn cgroup(saved: &Saved) -> Result<&Record> {
    saved.cgroup.as_ref().ok_or_else(|| Error::new("the container has no control groups"))
}
