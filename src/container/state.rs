//! The state operation (runtime.md, Query State).
//!
//! The status is told from facts: is the process alive (pidfd and start time), does it wait at the gate, is its
//! cgroup frozen, does its creator hold the lock. Nothing here may change a container.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use serde::Serialize;

use super::id::ContainerId;
use super::process::Process;
use super::saved::Saved;
use super::store::{Locked, Seen};
use super::{Settings, gate};
use crate::cgroup::Record;
use crate::error::{Error, Result};

/// runtime.md, State: `status`; `paused` is the field's own addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Its creator is at work.
    Creating,
    /// The process waits at the start gate.
    Created,
    /// The process lives and has been started.
    Running,
    /// The process lives in a frozen cgroup.
    Paused,
    /// There is no process, or only a dead one.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The state as people, engines and hooks read it: the runtime-spec's, with runc's additions in runc's order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct State {
    /// `ociVersion` of config.json.
    #[serde(rename = "ociVersion")]
    pub(crate) oci_version: String,
    /// The container's id.
    pub(crate) id: String,
    /// The container process, in the runtime's pid namespace; 0 when stopped.
    pub(crate) pid: i32,
    /// What it is doing.
    pub(crate) status: Status,
    /// The bundle directory, absolute.
    pub(crate) bundle: PathBuf,
    /// The root file system, absolute.
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    /// `annotations` of config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The name of the user who created it; hooks do without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
}

impl State {
    /// The state of a container that has this status, as hooks get it.
    pub(crate) fn new(saved: &Saved, status: Status) -> Self {
        let pid = if status == Status::Stopped { 0 } else { saved.pid.unwrap_or(0) };
        State {
            oci_version: saved.oci_version.clone(),
            id: saved.id.clone(),
            pid,
            status,
            bundle: saved.bundle.clone(),
            rootfs: saved.rootfs.clone(),
            created: saved.created.clone(),
            annotations: saved.annotations.clone(),
            owner: None,
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::new(format!("state: {error}")))
    }
}

/// The status of a container, and its process if that lives.
#[derive(Debug)]
pub(crate) struct Facts {
    /// What it is doing.
    pub(crate) status: Status,
    /// Alive unless the status is `stopped`; the process of a container whose creator died may live a little longer.
    pub(crate) process: Option<Process>,
}

impl Facts {
    /// For a reader. What is read along with it is up to date afterwards.
    pub(crate) fn of(seen: &mut Seen) -> Result<Self> {
        Self::creating(seen)?.map_or_else(|| Self::settled(Some(seen.dir()), seen.saved()), Ok)
    }

    /// For a reader to whom a container that waits for `start` is as good as running: to tell them apart takes a
    /// connection to the gate. Such a container is `running` here.
    pub(crate) fn roughly(seen: &mut Seen) -> Result<Self> {
        Self::creating(seen)?.map_or_else(|| Self::settled(None, seen.saved()), Ok)
    }

    fn creating(seen: &mut Seen) -> Result<Option<Self>> {
        if seen.saved().ready || !seen.creator_lives()? {
            return Ok(None);
        }
        Ok(Some(Facts { status: Status::Creating, process: process(seen.saved())? }))
    }

    /// For who holds the lock: nobody is creating this container now.
    pub(crate) fn of_locked(locked: &Locked) -> Result<Self> {
        Self::settled(Some(locked.dir()), locked.rest())
    }

    fn settled(dir: Option<BorrowedFd<'_>>, saved: &Saved) -> Result<Self> {
        let process = process(saved)?;
        let status = match &process {
            // Without its creator the process of an unfinished container is about to die, and can never start.
            _ if !saved.ready => Status::Stopped,
            None => Status::Stopped,
            Some(_) if is_frozen(saved)? => Status::Paused,
            Some(_) if dir.map_or(Ok(false), gate::is_waiting)? => Status::Created,
            Some(_) => Status::Running,
        };
        Ok(Facts { status, process })
    }
}

pub(super) fn process(saved: &Saved) -> Result<Option<Process>> {
    match (saved.pid, saved.start_time) {
        (Some(pid), Some(start_time)) => Process::find(pid, start_time),
        _ => Ok(None),
    }
}

pub(super) fn is_frozen(saved: &Saved) -> Result<bool> {
    saved.cgroup.as_ref().map_or(Ok(false), Record::is_frozen)
}

/// The state of one container.
pub(crate) fn state(settings: &Settings, id: &str) -> Result<State> {
    let look = || {
        let id = ContainerId::new(id)?;
        of(&mut Seen::open(&settings.root, &id)?)
    };
    look().map_err(|error: Error| error.during(format!("state {id}")))
}

/// The state of a container, with its owner.
pub(super) fn of(seen: &mut Seen) -> Result<State> {
    let status = Facts::of(seen)?.status;
    Ok(State { owner: Some(owner(seen.saved().owner)), ..State::new(seen.saved(), status) })
}

/// The user's name in /etc/passwd, or else the number behind a #, as runc has it. Not by getpwuid(3): a static program has no NSS.
fn owner(uid: u32) -> String {
    let mut passwd = Vec::new();
    let read = File::open("/etc/passwd").and_then(|file| file.take(1 << 20).read_to_end(&mut passwd));
    let passwd = if read.is_ok() { String::from_utf8_lossy(&passwd) } else { "".into() };
    name_of(uid, &passwd).unwrap_or_else(|| format!("#{uid}"))
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A root with containers in it, for the tests of the operations.
#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use crate::container::CgroupManager;
    use crate::container::store::Claim;
    use crate::sys::pidfd;
    use std::cell::RefCell;
    use std::path::Path;
    use std::process::{Child, Command};

    thread_local!(static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

    /// What was warned about in this test since the last call.
    pub(crate) fn warnings() -> Vec<String> {
        WARNINGS.take()
    }

    pub(crate) fn settings(root: &Path) -> Settings {
        Settings {
            inherited: 0,
            listen_fds: None,
            notify_socket: None,
            root: root.to_owned(),
            cgroups: CgroupManager::Disabled,
            rootless: None,
            warn: |text| WARNINGS.with_borrow_mut(|all| all.push(text.to_owned())),
            debug: |_| {},
        }
    }

    pub(crate) fn claim(settings: &Settings, id: &str) -> Claim {
        let id = ContainerId::new(id).unwrap();
        let saved = Saved { oci_version: "1.2.1".into(), bundle: "/b".into(), ..Saved::new(&id) };
        Claim::new(&settings.root, &id, saved).unwrap()
    }

    /// A claim whose process is born.
    pub(crate) fn birth(settings: &Settings, id: &str) -> (Claim, Child) {
        let mut claim = claim(settings, id);
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let start_time = pidfd::start_time(pid).unwrap();
        claim.update(|saved| (saved.pid, saved.start_time) = (Some(pid), start_time)).unwrap();
        (claim, child)
    }

    /// A container that runs.
    pub(crate) fn running(settings: &Settings, id: &str) -> Child {
        let (mut claim, child) = birth(settings, id);
        claim.update(|saved| saved.ready = true).unwrap();
        drop(claim.keep());
        child
    }

    pub(crate) fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::*;
    use super::*;

    fn status(settings: &Settings, id: &str) -> (Status, bool) {
        let state = state(settings, id).unwrap();
        (state.status, state.pid != 0)
    }

    #[test]
    fn tells_the_status_from_facts() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let claim = claim(&settings, "a");
        assert_eq!(status(&settings, "a"), (Status::Creating, false));
        drop(claim.keep());
        assert_eq!(status(&settings, "a"), (Status::Stopped, false), "its creator is gone");

        let (mut claim, child) = birth(&settings, "b");
        assert_eq!(status(&settings, "b"), (Status::Creating, true));
        let listener = gate::bind(claim.dir()).unwrap();
        assert_eq!(status(&settings, "b"), (Status::Creating, true));
        claim.update(|saved| saved.ready = true).unwrap();
        assert_eq!(status(&settings, "b"), (Status::Created, true));
        let locked = claim.keep();
        assert_eq!(status(&settings, "b"), (Status::Created, true), "while start has the lock");
        gate::remove(locked.dir()).unwrap();
        drop(listener);
        assert_eq!(status(&settings, "b"), (Status::Running, true));
        assert_eq!(Facts::of_locked(&locked).unwrap().status, Status::Running);
        drop(locked);
        end(child);
        assert_eq!(status(&settings, "b"), (Status::Stopped, false));
    }

    #[test]
    fn a_recycled_pid_is_a_stopped_container() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let (mut claim, child) = birth(&settings, "a");
        claim
            .update(|saved| {
                saved.ready = true;
                saved.start_time = saved.start_time.map(|ticks| ticks - 1);
            })
            .unwrap();
        drop(claim.keep());
        assert_eq!(status(&settings, "a"), (Status::Stopped, false));
        end(child);
    }

    #[test]
    fn the_creators_death_ends_creating() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let (claim, child) = birth(&settings, "a");
        drop(claim.keep());
        assert_eq!(status(&settings, "a"), (Status::Stopped, false));
        end(child);
    }

    #[test]
    fn json_has_runcs_fields_in_runcs_order() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let mut one = claim(&settings, "a");
        one.update(|saved| saved.created = "2024-01-02T03:04:05.6Z".into()).unwrap();
        let state = State::new(one.saved(), Status::Stopped);
        assert_eq!(
            state.json().unwrap(),
            r#"{"ociVersion":"1.2.1","id":"a","pid":0,"status":"stopped","bundle":"/b","rootfs":"","created":"2024-01-02T03:04:05.6Z"}"#
        );
        one.update(|saved| {
            saved.pid = Some(7);
            saved.annotations.insert("k".into(), "v".into());
        })
        .unwrap();
        let state = State { owner: Some("root".into()), ..State::new(one.saved(), Status::Creating) };
        assert!(
            state.json().unwrap().ends_with(r#""annotations":{"k":"v"},"owner":"root"}"#),
            "{}",
            state.json().unwrap()
        );
        assert_eq!((state.pid, state.status), (7, Status::Creating));
    }

    #[test]
    fn an_unknown_container_does_not_exist() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        assert_eq!(state(&settings, "a").unwrap_err().to_string(), "state a: container does not exist");
        assert!(state(&settings, "a/b").unwrap_err().to_string().contains("invalid container ID format"));
    }

    #[test]
    fn owners_have_names() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\na:x:1000\nb:x:1000:1::\nc:x:x:\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(1000, passwd).as_deref(), Some("a"));
        assert_eq!(name_of(7, passwd), None);
        assert_eq!(owner(4_000_000_000), "#4000000000");
    }
}
