//! The delete operation (runtime.md, Delete).
//!
//! Everything that exists is in the state before it exists, and the state goes last: so whoever was killed in the
//! middle of a create or a delete, the next delete finishes the job. Nothing here may fail because half of the work
//! is already done.

use std::time::Duration;

use super::Settings;
use super::id::ContainerId;
use super::kill::thaw;
use super::process::Process;
use super::saved::Saved;
use super::state::{self, Facts, State, Status};
use super::store::{self, LOCK_WAIT, Locked, Opened, Seen};
use crate::error::{Error, Result, phrases};
use crate::init::hook;

/// How long a process may take to die of SIGKILL.
const DEATH_WAIT: Duration = Duration::from_secs(10);

/// Deletes a stopped container. With `force` it is killed first if need be, and one that does not exist is fine.
pub(crate) fn delete(settings: &Settings, id: &str, force: bool) -> Result<()> {
    let act = || {
        let id = ContainerId::new(id)?;
        match open(settings, &id, force)? {
            Some(locked) => delete_locked(settings, locked, force),
            None if force => store::sweep(&settings.root, &id),
            None => Err(store::no_such_container()),
        }
    };
    act().map_err(|error: Error| error.during(format!("delete {id}")))
}

/// The container, locked; None if it does not exist. While somebody else has the lock, a container that must not be
/// deleted is refused at once, and one that shall be killed is killed, so that whoever works on it gives up.
fn open(settings: &Settings, id: &ContainerId, force: bool) -> Result<Option<Locked>> {
    match Locked::open_within(&settings.root, id, Duration::ZERO)? {
        Opened::Held(locked) => return Ok(Some(*locked)),
        Opened::Absent => return Ok(None),
        Opened::Busy(_) => {}
    }
    // No state to be read: it is just being claimed or removed, and the lock will tell.
    if let Ok(mut seen) = Seen::open(&settings.root, id) {
        let facts = Facts::of(&mut seen)?;
        if force {
            slay(seen.saved(), facts.process.as_ref())?;
        } else {
            refuse_unless_stopped(id.as_str(), &facts)?;
        }
    }
    match Locked::open_within(&settings.root, id, LOCK_WAIT)? {
        Opened::Absent => Ok(None),
        Opened::Held(locked) => Ok(Some(*locked)),
        Opened::Busy(error) => Err(error),
    }
}

fn delete_locked(settings: &Settings, locked: Locked, force: bool) -> Result<()> {
    if let Err(damage) = locked.saved() {
        if !force {
            return Err(damage);
        }
        (settings.warn)(&format!("{damage}; what else is left of the container is not known"));
        return locked.remove();
    }
    let facts = Facts::of_locked(&locked)?;
    if !force {
        refuse_unless_stopped(&locked.rest().id, &facts)?;
    }
    slay(locked.rest(), facts.process.as_ref())?;
    finish(settings, locked)
}

fn refuse_unless_stopped(id: &str, facts: &Facts) -> Result<()> {
    if facts.status == Status::Stopped {
        return Ok(());
    }
    let status = facts.status;
    Err(Error::new(format!("cannot delete container {id} {} {status}", phrases::DELETE_NOT_STOPPED))
        .hint(format!("delete --force {id} kills it first")))
}

/// Removes what a dead container leaves: its cgroup with any process of its own in it, its group of resctrl, then,
/// after the poststop hooks, its state.
pub(crate) fn finish(settings: &Settings, locked: Locked) -> Result<()> {
    let saved = locked.saved()?;
    if let Some(cgroup) = &saved.cgroup {
        cgroup.destroy(!saved.own_pids)?;
    }
    if let Some(resctrl) = &saved.resctrl {
        resctrl.remove()?;
    }
    run_poststop(settings, saved)?;
    locked.remove()
}

/// runtime.md, Lifecycle, 13: a poststop hook that fails is a warning, and the others still run.
pub(super) fn run_poststop(settings: &Settings, saved: &Saved) -> Result<()> {
    if saved.poststop.is_empty() {
        return Ok(());
    }
    let state = State::new(saved, Status::Stopped).json()?;
    for hook in &saved.poststop {
        if let Err(error) = hook::run(hook, &state) {
            (settings.warn)(&error.to_string());
        }
    }
    Ok(())
}

/// Stops a container whose state says all there is to know: nothing but its process is touched.
pub(super) fn stop(saved: &Saved) -> Result<()> {
    slay(saved, state::process(saved)?.as_ref())
}

/// Kills the container process, if it lives, and waits until it is dead. Those it has started go with it, also where
/// no pid namespace of its own ends them: as long as the process lives, its cgroup is nobody else's, even one that was
/// there before the container.
fn slay(saved: &Saved, process: Option<&Process>) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    process.signal(nix::libc::SIGKILL)?;
    if let Some(cgroup) = &saved.cgroup {
        cgroup.kill()?;
    }
    thaw(saved)?;
    if process.exited(DEATH_WAIT)? {
        return Ok(());
    }
    Err(Error::new(format!("process {} is not dead {DEATH_WAIT:?} after SIGKILL", process.pid()))
        .hint("it hangs in the kernel: see /proc/PID/stack"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::fixture::*;
    use crate::plan::step::Hook;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;

    fn refusal(settings: &Settings) -> String {
        delete(settings, "a", false).unwrap_err().to_string()
    }

    fn is_empty(path: &Path) -> bool {
        std::fs::read_dir(path).unwrap().next().is_none()
    }

    fn shell(line: String) -> Hook {
        Hook {
            field: "hooks.poststop[0]".into(),
            status: "stopped".into(),
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), line],
            env: Vec::new(),
            timeout: Some(10),
        }
    }

    #[test]
    fn deletes_only_what_is_stopped() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        assert_eq!(refusal(&settings), "delete a: container does not exist");
        let child = running(&settings, "a");
        let id = ContainerId::new("a").unwrap();
        let start = Locked::open(temp.path(), &id).unwrap();
        let busy = refusal(&settings);
        let listener = crate::container::gate::bind(start.dir()).unwrap();
        let created = refusal(&settings);
        crate::container::gate::remove(start.dir()).unwrap();
        drop((start, listener));
        for (refusal, status) in [(&busy, "running"), (&created, "created"), (&refusal(&settings), "running")]
        {
            let words = format!("delete a: cannot delete container a that is not stopped: {status}");
            assert!(refusal.starts_with(&words) && refusal.contains("--force"), "{refusal}");
        }
        end(child);
        delete(&settings, "a", false).unwrap();
        assert!(is_empty(temp.path()));
    }

    #[test]
    fn force_kills_and_is_never_too_late() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        delete(&settings, "a", true).unwrap();
        let mut child = running(&settings, "a");
        delete(&settings, "a", true).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(is_empty(temp.path()));
        assert!(delete(&settings, "..", true).is_err());
    }

    #[test]
    fn finishes_what_a_killed_creator_left() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        for force in [false, true] {
            let (claim, mut child) = birth(&settings, "a");
            drop(claim.keep());
            delete(&settings, "a", force).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            drop(claim_only(&settings));
            delete(&settings, "a", force).unwrap();
            assert!(is_empty(temp.path()));
        }
        std::fs::create_dir(temp.path().join("a")).unwrap();
        assert!(refusal(&settings).contains("--force"));
        delete(&settings, "a", true).unwrap();
        assert_eq!(warnings().len(), 1);
        assert!(is_empty(temp.path()));
    }

    fn claim_only(settings: &Settings) -> Locked {
        claim(settings, "a").keep()
    }

    #[test]
    fn force_makes_a_creator_give_up() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let (claim, mut child) = birth(&settings, "a");
        assert!(refusal(&settings).contains("not stopped: creating"));
        let creator = std::thread::spawn(move || {
            let status = child.wait().unwrap();
            drop(claim);
            status.signal()
        });
        delete(&settings, "a", true).unwrap();
        assert_eq!(creator.join().unwrap(), Some(9));
        assert!(is_empty(temp.path()));
    }

    #[test]
    fn poststop_hooks_run_and_cannot_fail_it() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(&temp.path().join("root"));
        let told = temp.path().join("told");
        let mut one = claim(&settings, "a");
        let hooks = vec![shell("exit 1".into()), shell(format!("read x; echo \"$x\" >{}", told.display()))];
        one.update(|saved| (saved.ready, saved.poststop) = (true, hooks)).unwrap();
        drop(one.keep());
        delete(&settings, "a", false).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(told).unwrap()).unwrap();
        assert_eq!((&state["status"], &state["id"]), (&"stopped".into(), &"a".into()));
        let warnings = warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("hooks.poststop[0]"), "{warnings:?}");
        assert!(is_empty(&settings.root));
    }
}
