//! Stopping and releasing all processes of a cgroup at once: cgroup.freeze on v2 (Linux 5.2), the freezer controller
//! on v1. Waits, bounded, until the kernel says that it is so.

use super::directory::Directory;
use super::wait::Deadline;
use crate::error::{Error, Result};
use std::time::Duration;

/// How long a freeze or thaw may take. A process in an uninterruptible call holds a freeze up.
const BOUND: Duration = Duration::from_secs(5);
/// v1 may stay in FREEZING while processes keep coming; thawing in between lets it get past them.
const THAW_EVERY: u32 = 50;

/// The hierarchy that freezes.
#[derive(Debug)]
pub(crate) enum Freezer {
    /// cgroup.freeze
    V2(Directory),
    /// freezer.state
    V1(Directory),
}

impl Freezer {
    /// Stops all processes; if that does not work in time, they run on and it is an error.
    pub(crate) fn freeze(&self) -> Result<()> {
        let deadline = Deadline::after(BOUND);
        let frozen = match self {
            Freezer::V2(cgroup) => {
                cgroup.write("cgroup.freeze", "1")?;
                deadline.event(cgroup, "frozen", "1")
            }
            Freezer::V1(cgroup) => freeze_v1(cgroup, deadline),
        };
        if matches!(frozen, Ok(true)) {
            return Ok(());
        }
        self.release()?;
        frozen?;
        Err(Error::new(format!("{} did not freeze within {} s", self.path(), BOUND.as_secs()))
            .hint("a process waits in the kernel and cannot be stopped"))
    }

    /// Releases all processes.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.release()?;
        let deadline = Deadline::after(BOUND);
        let thawed = match self {
            Freezer::V2(cgroup) => deadline.event(cgroup, "frozen", "0")?,
            Freezer::V1(cgroup) => until(deadline, || Ok(state(cgroup)? == "THAWED"))?,
        };
        if thawed {
            return Ok(());
        }
        Err(Error::new(format!("{} did not thaw", self.path())).hint("a cgroup above it is frozen"))
    }

    /// Whether the processes are stopped, also by a freeze of a cgroup above.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        match self {
            Freezer::V2(cgroup) => Ok(cgroup.read("cgroup.events")?.lines().any(|line| line == "frozen 1")),
            Freezer::V1(cgroup) => Ok(state(cgroup)? != "THAWED"),
        }
    }

    /// Says so, without waiting.
    pub(crate) fn release(&self) -> Result<()> {
        match self {
            Freezer::V2(cgroup) => cgroup.write("cgroup.freeze", "0"),
            Freezer::V1(cgroup) => cgroup.write("freezer.state", "THAWED"),
        }
    }

    fn path(&self) -> &str {
        let (Freezer::V2(cgroup) | Freezer::V1(cgroup)) = self;
        cgroup.path()
    }
}

/// THAWED, FREEZING or FROZEN.
fn state(cgroup: &Directory) -> Result<String> {
    cgroup.read("freezer.state").map(|state| state.trim().to_owned())
}

/// The kernel looks at the processes again whenever freezer.state is read or written.
fn freeze_v1(cgroup: &Directory, deadline: Deadline) -> Result<bool> {
    let mut asked = 0;
    until(deadline, || {
        asked += 1;
        if asked % THAW_EVERY == 0 {
            cgroup.write("freezer.state", "THAWED")?;
        }
        cgroup.write("freezer.state", "FROZEN")?;
        Ok(state(cgroup)? == "FROZEN")
    })
}

/// Asks until it is so; false when the time is over.
fn until(deadline: Deadline, mut so: impl FnMut() -> Result<bool>) -> Result<bool> {
    while !so()? {
        if deadline.passed() {
            return Ok(false);
        }
        deadline.moment()?;
    }
    Ok(true)
}
