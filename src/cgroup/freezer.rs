//! Stopping and releasing all processes of a cgroup at once: cgroup.freeze on v2 (Linux 5.2), the freezer controller
//! on v1. Waits, bounded, until the kernel says that it is so.

use super::directory::Directory;
use super::tree;
use super::wait::Deadline;
use crate::error::{Error, Result};
use crate::sys::pidfd;
use std::collections::BTreeSet;
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
                // Nobody is left to be frozen once all are dead, however often others thaw.
                deadline.event(cgroup, &["frozen 1", "populated 0"])
            }
            Freezer::V1(cgroup) => freeze_v1(cgroup, deadline),
        };
        if matches!(frozen, Ok(true)) {
            return Ok(());
        }
        // v2 wakes whoever it releases; on v1 the frozen look as if they waited.
        let early = matches!(self, Freezer::V2(_)).then(|| self.obstacle());
        self.release()?;
        frozen?;
        let error =
            Error::new(format!("{} did not freeze within {} s", self.cgroup().path(), BOUND.as_secs()));
        Err(error.hint(early.unwrap_or_else(|| self.obstacle())?))
    }

    /// Who holds a freeze up: processes in an uninterruptible call.
    fn obstacle(&self) -> Result<String> {
        let mut pids = BTreeSet::new();
        tree::unless_gone(tree::processes(self.cgroup(), &mut pids))?;
        pids.retain(|pid| pidfd::is_uninterruptible(*pid));
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        Ok(match pids.first() {
            None => "a process was in the kernel and could not be stopped".to_owned(),
            Some(first) => {
                format!(
                    "waiting in the kernel, not to be stopped: {}; see /proc/{first}/stack",
                    pids.join(", ")
                )
            }
        })
    }

    /// Releases all processes.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.release()?;
        let deadline = Deadline::after(BOUND);
        let thawed = match self {
            Freezer::V2(cgroup) => deadline.event(cgroup, &["frozen 0"])?,
            Freezer::V1(cgroup) => until(deadline, || Ok(state(cgroup)? == "THAWED"))?,
        };
        if thawed {
            return Ok(());
        }
        let error = Error::new(format!("{} did not thaw", self.cgroup().path()));
        Err(error.hint("a cgroup above it is frozen"))
    }

    /// Whether the processes are stopped, also by a freeze of a cgroup above.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        match self {
            Freezer::V2(cgroup) => Ok(cgroup.read("cgroup.events")?.lines().any(|line| line == "frozen 1")),
            Freezer::V1(cgroup) => Ok(state(cgroup)? != "THAWED"),
        }
    }

    /// Whether this process would be frozen; one that ends just now would not.
    pub(crate) fn holds(&self, pid: i32) -> Result<bool> {
        let mut pids = BTreeSet::new();
        tree::unless_gone(tree::processes(self.cgroup(), &mut pids))?;
        Ok(pids.contains(&pid))
    }

    /// Whether somebody has asked for a freeze of just this cgroup, be it done or not.
    pub(crate) fn is_asked(&self) -> Result<bool> {
        match self {
            Freezer::V2(cgroup) => Ok(cgroup.read("cgroup.freeze")?.trim() == "1"),
            Freezer::V1(cgroup) => Ok(cgroup.read("freezer.self_freezing")?.trim() == "1"),
        }
    }

    /// Says so, without waiting.
    pub(crate) fn release(&self) -> Result<()> {
        match self {
            Freezer::V2(cgroup) => cgroup.write("cgroup.freeze", "0"),
            Freezer::V1(cgroup) => cgroup.write("freezer.state", "THAWED"),
        }
    }

    /// The same for everything below, which the container may have frozen itself: on v1 a process that is frozen does
    /// not die. On v2 it does.
    pub(crate) fn release_below(&self) -> Result<()> {
        match self {
            Freezer::V2(_) => Ok(()),
            Freezer::V1(cgroup) => tree::walk(cgroup, |below| below.write("freezer.state", "THAWED")),
        }
    }

    fn cgroup(&self) -> &Directory {
        let (Freezer::V2(cgroup) | Freezer::V1(cgroup)) = self;
        cgroup
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
