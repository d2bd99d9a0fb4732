//! The kill operation (runtime.md, Kill).
//!
//! Signals go through a pidfd whose start time was compared, or through the cgroup; nothing here may signal a bare
//! pid. No lock is taken: a container whose `start` hangs in a hook can be killed.

use super::Settings;
use super::id::ContainerId;
use super::saved::Saved;
use super::state::{self, Facts, Status};
use super::store::Seen;
use crate::error::{Error, Result, phrases};
use crate::sys::pidfd;
use std::os::fd::AsFd;

const SIGKILL: i32 = nix::libc::SIGKILL;

/// Sends `signal` (the kernel's number) to the container process; with `all`, to every process of the container's
/// cgroup, also when the container process is dead already. SIGKILL reaches all in any case.
pub(crate) fn kill(settings: &Settings, id: &str, signal: i32, all: bool) -> Result<()> {
    let act = || {
        let id = ContainerId::new(id)?;
        let mut seen = Seen::open(&settings.root, &id)?;
        let facts = Facts::roughly(&mut seen)?;
        send(seen.saved(), &facts, signal, all)
    };
    act().map_err(|error: Error| error.during(format!("kill {id}")))
}

fn send(saved: &Saved, facts: &Facts, signal: i32, all: bool) -> Result<()> {
    if facts.status == Status::Creating {
        return Err(Error::new("cannot signal a container that is being created")
            .hint("wait for create to end, or kill it and then delete --force the container"));
    }
    let process = facts.process.as_ref().filter(|_| facts.status != Status::Stopped);
    // As runc has it: SIGKILL ends the container, also where no pid namespace of its own does that.
    let all = all || (signal == SIGKILL && process.is_some() && !saved.own_pids);
    // In a pid namespace of its own nothing is left of a dead container; who is in its cgroup is somebody else's.
    let cgroup = saved.cgroup.as_ref().filter(|_| all && (process.is_some() || !saved.own_pids));
    // By the cgroup every process gets the signal once; only SIGKILL can come twice.
    let mut reached = match process {
        Some(process) if cgroup.is_none() || signal == SIGKILL => process.signal(signal)?,
        _ => false,
    };
    match cgroup {
        Some(cgroup) if signal == SIGKILL => cgroup.kill()?,
        Some(cgroup) => cgroup.signal_all(|pid| {
            reached |= process.is_some_and(|process| process.pid() == pid);
            reach(pid, signal)
        })?,
        None if !reached && !all => return Err(Error::new(phrases::NOT_RUNNING)),
        None => {}
    }
    // Without control groups, or rootless, the process may be in none of those that are recorded.
    if let Some(process) = process.filter(|_| !reached) {
        process.signal(signal)?;
    }
    if signal == SIGKILL { thaw(saved) } else { Ok(()) }
}

/// A process that the cgroup has just named; that it is gone by now is fine.
fn reach(pid: i32, signal: i32) -> Result<()> {
    let process = pidfd::pidfd_open(pid)?;
    process.map_or(Ok(()), |process| pidfd::pidfd_send_signal(process.as_fd(), signal).map(drop))
}

/// A frozen process of cgroup v1 dies only when it is thawed, and init only after all others of its pid namespace.
pub(super) fn thaw(saved: &Saved) -> Result<()> {
    let Some(cgroup) = &saved.cgroup else { return Ok(()) };
    if state::is_frozen(saved)? {
        cgroup.thaw()?;
    }
    cgroup.release_below()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::fixture::*;
    use std::os::unix::process::ExitStatusExt;

    fn refusal(settings: &Settings, signal: i32) -> String {
        kill(settings, "a", signal, false).unwrap_err().to_string()
    }

    #[test]
    fn reaches_the_container_process() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        for (signal, all) in [(15, false), (9, true), (34, false), (64, true)] {
            let mut child = running(&settings, &format!("a{signal}"));
            kill(&settings, &format!("a{signal}"), 0, false).unwrap();
            kill(&settings, &format!("a{signal}"), signal, all).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal));
        }
    }

    #[test]
    fn all_reaches_a_process_that_is_in_no_cgroup() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let (mut claim, mut child) = birth(&settings, "a");
        claim.update(|saved| (saved.ready, saved.cgroup) = (true, Some(Default::default()))).unwrap();
        drop(claim.keep());
        kill(&settings, "a", 15, true).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn a_stopped_container_takes_no_signal() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        assert_eq!(refusal(&settings, 9), "kill a: container does not exist");
        end(running(&settings, "a"));
        assert_eq!(refusal(&settings, 9), "kill a: container not running");
        kill(&settings, "a", 9, true).unwrap();
        let bad = running(&settings, "b");
        assert_eq!(kill(&settings, "b", 99, false).unwrap_err().errno(), nix::libc::EINVAL);
        end(bad);
    }

    #[test]
    fn a_container_being_created_takes_no_signal() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let (claim, mut child) = birth(&settings, "a");
        assert!(refusal(&settings, 9).contains("is being created"));
        drop(claim.keep());
        assert!(refusal(&settings, 9).contains("container not running"), "its creator is dead");
        assert!(child.try_wait().unwrap().is_none());
        end(child);
    }
}
