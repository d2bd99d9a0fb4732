//! What the state file keeps of a container's control groups, and all that can be done with them from there, by any
//! later process: list, signal, freeze, kill, remove. A cgroup that is gone is fine everywhere.

use super::directory::Directory;
use super::freezer::Freezer;
use super::systemd::{self, ScopeRecord};
use super::tree;
use super::wait::Deadline;
use crate::error::{Error, Result};
use crate::plan::cgroup::Place;
use crate::plan::cgroup::path::CgroupPath;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::time::Duration;

/// How long processes may take to die of SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(10);
/// How long systemd may take to see that a scope is empty, and to remove its cgroup.
const SYSTEMD_BOUND: Duration = Duration::from_secs(2);
/// How long the cgroups may stay busy after that.
const REMOVE_BOUND: Duration = Duration::from_secs(5);

/// The control groups that exist for a container, or are about to.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Record {
    /// One for each hierarchy; the unified one, if there is one, is the first.
    pub(crate) entries: Vec<Entry>,
    /// systemd has made them, as far as it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<ScopeRecord>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Where its hierarchy is mounted.
    pub(crate) mount: String,
    /// Its controllers; empty on v2.
    pub(crate) controllers: String,
    /// The cgroup below the mount point.
    pub(crate) path: CgroupPath,
    /// How many directories at the end of the path the runtime made. 0: all was there before, and stays.
    pub(crate) made: usize,
}

/// What came of the kernel's own way to kill all of a cgroup.
enum End {
    /// There is no cgroup.
    Gone,
    /// It is at work.
    Coming(Directory),
    /// It has none: v1, or an old kernel.
    Refused,
}

impl Entry {
    /// The unified hierarchy's.
    pub(super) fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    fn top(&self) -> Result<Directory> {
        Directory::mounted(&self.mount, self.is_v2())
    }

    /// None if it is gone.
    pub(super) fn open(&self) -> Result<Option<Directory>> {
        let Some(top) = tree::unless_gone(self.top())? else { return Ok(None) };
        tree::unless_gone(top.descend(self.path.names()))
    }

    /// v2: cgroup.kill (Linux 5.14). Not of a cgroup that stays: newer kernels (seen on 6.18) then kill at its birth
    /// whoever is born into it later from elsewhere.
    fn end(&self) -> Result<End> {
        let Some(cgroup) = self.open()? else { return Ok(End::Gone) };
        let killed = self.is_v2() && self.made > 0 && cgroup.write("cgroup.kill", "1").is_ok();
        Ok(if killed { End::Coming(cgroup) } else { End::Refused })
    }

    /// Removes the cgroup with all below it, then those above it that the runtime made and that nobody else uses.
    /// A busy one is waited for, with `patience`; else the answer is false.
    fn remove(&self, patience: Option<Deadline>) -> Result<bool> {
        let names = self.path.names();
        let (Some(first), Some(top)) = (names.len().checked_sub(self.made), tree::unless_gone(self.top())?)
        else {
            return Ok(true);
        };
        for depth in (first..names.len()).rev() {
            let name = c_name(&names[depth])?;
            let between = match depth {
                0 => None,
                _ => match tree::unless_gone(top.descend(&names[..depth]))? {
                    None => continue,
                    parent => parent,
                },
            };
            let parent = between.as_ref().unwrap_or(&top);
            if tree::removed(parent.remove(&name))? {
                continue;
            }
            if depth + 1 < names.len() {
                return Ok(true); // somebody else's cgroup is in it
            }
            let Some(deadline) = patience else { return Ok(false) };
            self.remove_busy(parent, &name, deadline)?;
        }
        Ok(true)
    }

    /// Processes may have exited only now, and the kernel takes its time; cgroups may be inside.
    fn remove_busy(&self, parent: &Directory, name: &CStr, deadline: Deadline) -> Result<()> {
        loop {
            let Some(cgroup) = tree::unless_gone(parent.child(name))? else { return Ok(()) };
            tree::clear(&cgroup)?;
            let attempt = parent.remove(name);
            let Err(error) = &attempt else { return Ok(()) };
            if tree::removed(attempt.clone())? {
                return Ok(());
            }
            let mut pids = BTreeSet::new();
            tree::unless_gone(tree::processes(&cgroup, &mut pids))?;
            if deadline.passed() {
                return Err(error.clone().hint(held_by(&pids)));
            }
            if pids.is_empty() {
                deadline.moment()?;
            } else if self.is_v2() {
                deadline.event(&cgroup, &["populated 0"])?;
            } else {
                deadline.exits(&Vec::from_iter(pids))?;
            }
        }
    }
}

fn c_name(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::new("a cgroup's name contains NUL"))
}

fn held_by(pids: &BTreeSet<i32>) -> String {
    if pids.is_empty() {
        return "no process of this pid namespace is in it: somebody else's, or the kernel, holds it"
            .to_owned();
    }
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    format!("held by processes {}", pids.join(", "))
}

impl Record {
    /// Without those that were there before the container, with whoever is in them.
    pub(super) fn made(&self) -> Self {
        let entries = self.entries.iter().filter(|entry| entry.made > 0).cloned().collect();
        Record { entries, scope: self.scope.clone() }
    }

    /// Where they are, without limits.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |entry: &Entry| {
            let Entry { mount, controllers, path, .. } = entry.clone();
            Place { mount, controllers, path, optional: false, writes: Vec::new() }
        };
        self.entries.iter().map(place).collect()
    }

    /// All processes in the container's cgroups and below, as numbers of the runtime's pid namespace.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = BTreeSet::new();
        for entry in &self.entries {
            if let Some(cgroup) = entry.open()? {
                tree::unless_gone(tree::processes(&cgroup, &mut pids))?;
            }
        }
        pids.remove(&(std::process::id() as i32));
        Ok(Vec::from_iter(pids))
    }

    /// Calls `send` for every process, all of them frozen meanwhile where that is possible, so that none escapes by
    /// forking. `send` decides which errors count; the first stops it.
    pub(crate) fn signal_all(&self, send: impl FnMut(i32) -> Result<()>) -> Result<()> {
        let freezer = self.freezer()?;
        let was_frozen = freezer.as_ref().is_some_and(|freezer| freezer.is_frozen().unwrap_or(false));
        let frozen = !was_frozen && freezer.as_ref().is_some_and(|freezer| freezer.freeze().is_ok());
        let sent = self.processes().and_then(|pids| pids.into_iter().try_for_each(send));
        if let Some(freezer) = freezer.filter(|_| frozen) {
            tree::unless_gone(freezer.release())?;
        }
        sent
    }

    /// SIGKILL to everything, frozen or not, and a bounded wait until nothing is left.
    pub(crate) fn kill(&self) -> Result<()> {
        let deadline = Deadline::after(KILL_BOUND);
        let mut dead = true;
        for entry in &self.entries {
            dead &= match entry.end()? {
                End::Gone => true,
                End::Refused => false,
                End::Coming(cgroup) => {
                    if !self.entries.iter().all(Entry::is_v2) {
                        self.release_all()?;
                    }
                    deadline.event(&cgroup, &["populated 0"])?
                }
            };
        }
        if dead { Ok(()) } else { self.kill_each(deadline) }
    }

    /// cgroup v1, and v2 before Linux 5.14: freeze, kill, thaw, until no process is left.
    pub(super) fn kill_each(&self, deadline: Deadline) -> Result<()> {
        let freezer = self.freezer()?;
        loop {
            let mut pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            if deadline.passed() {
                let pids = BTreeSet::from_iter(pids);
                return Err(Error::new("processes live on after SIGKILL").hint(held_by(&pids)));
            }
            let frozen = freezer.as_ref().is_some_and(|freezer| freezer.freeze().is_ok());
            if frozen {
                pids = self.processes()?;
            }
            for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                // Only ESRCH can come of it, or EPERM of somebody else's process, which then is reported as left.
                kill_process(pid, Signal::KILL).ok();
            }
            self.release_all()?;
            deadline.exits(&pids)?;
        }
    }

    /// A bounded wait until no process is left, without doing anything about it.
    fn left_alone(&self) -> Result<()> {
        let deadline = Deadline::after(REMOVE_BOUND);
        loop {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            if deadline.passed() {
                let reason = "the container is dead, but its cgroup is in use";
                return Err(Error::new(reason).hint(held_by(&BTreeSet::from_iter(pids))));
            }
            deadline.exits(&pids)?;
        }
    }

    /// Every freezer that the container is in: the hybrid layout has two, and either may have stopped it. That of v2
    /// comes first, since a process frozen there can still be killed.
    fn freezers(&self) -> Result<Vec<Freezer>> {
        let v1 = |entry: &&Entry| entry.controllers.split(',').any(|controller| controller == "freezer");
        let mut freezers = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.is_v2()) {
            freezers.extend(entry.open()?.map(Freezer::V2));
        }
        for entry in self.entries.iter().filter(v1) {
            freezers.extend(entry.open()?.map(Freezer::V1));
        }
        Ok(freezers)
    }

    /// Lets the dying die: a process frozen by cgroup v1 does not.
    fn release_all(&self) -> Result<()> {
        self.freezers()?.iter().try_for_each(|freezer| tree::unless_gone(freezer.release()).map(drop))?;
        self.release_below()
    }

    /// Releases what the container has frozen in cgroups of its own, for the dying.
    pub(crate) fn release_below(&self) -> Result<()> {
        self.freezers()?.iter().try_for_each(|freezer| tree::unless_gone(freezer.release_below()).map(drop))
    }

    /// The one to freeze with.
    pub(super) fn freezer(&self) -> Result<Option<Freezer>> {
        Ok(self.freezers()?.into_iter().next())
    }

    /// Stops all processes, this one among them, and waits until they stand still.
    ///
    /// # Errors
    /// There is nothing to freeze with, or, rootless, the process is not in it; or a process cannot be stopped in
    /// time, then all of them run on.
    pub(crate) fn freeze(&self, pid: i32) -> Result<()> {
        let none = || Error::new("the container has no cgroup that could be frozen");
        let freezer = self.freezer()?.ok_or_else(none)?;
        if freezer.holds(pid)? { freezer.freeze() } else { Err(none()) }
    }

    /// Does something while the container stands still; one that is paused stays so.
    ///
    /// # Errors
    /// Of the act, or of the freezer: then nothing was done.
    pub(crate) fn while_frozen(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.is_frozen()? {
            return act();
        }
        let none = || {
            Error::new("the device list cannot be changed without opening devices for a moment")
                .hint("that needs a freezer, which this container does not have")
        };
        let freezer = self.freezer()?.ok_or_else(none)?;
        freezer.freeze()?;
        match act() {
            Ok(()) => freezer.thaw(),
            Err(error) => Err(error.undone(freezer.thaw())),
        }
    }

    /// Whether a freeze was asked for that may not have come to its end: the runtime that asked was killed.
    pub(crate) fn is_freezing(&self) -> Result<bool> {
        for freezer in self.freezers()? {
            if tree::unless_gone(freezer.is_asked())?.unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Releases all processes, whoever stopped them. systemd takes a scope away as soon as nobody is left in it.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.freezers()?.iter().try_for_each(|freezer| tree::unless_gone(freezer.thaw()).map(drop))
    }

    /// Whether the container is paused.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        for freezer in self.freezers()? {
            if tree::unless_gone(freezer.is_frozen())?.unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what the runtime made: the container's cgroups with everything below them, and those above them that
    /// it made on the way if nobody else uses them. A cgroup that was there before stays.
    ///
    /// # Errors
    /// A cgroup that stays busy, with the processes that hold it; the others are removed all the same.
    pub(crate) fn remove(&self) -> Result<()> {
        let patience = Some(Deadline::after(REMOVE_BOUND));
        self.entries.iter().map(|entry| entry.remove(patience).map(drop)).fold(Ok(()), Result::and)
    }

    /// The end, after that of the container's process: what the runtime made is removed; where nothing runs any more
    /// this is one rmdir(2) for each cgroup. `rest`: the container had no pid namespace of its own, so that those it
    /// has started may still run, also in a cgroup that was there before, and are killed. Otherwise they went with
    /// it, and who is in its cgroup now belongs to somebody else. A scope is ended by systemd, whatever driver the
    /// caller believes in.
    ///
    /// # Errors
    /// As [`Record::remove`].
    pub(crate) fn destroy(&self, rest: bool) -> Result<()> {
        if let Some(scope) = &self.scope {
            return self.destroy_scope(scope, rest);
        }
        let quickly = |entry: &Entry| (entry.made > 0 || !rest) && matches!(entry.remove(None), Ok(true));
        if self.entries.iter().all(quickly) {
            return Ok(());
        }
        if rest {
            self.kill()?;
        }
        self.remove()
    }

    /// No process is left before systemd is asked, since it would kill any. Where it cannot be reached, all that it
    /// has made is removed without it: it sees that the scope is empty, and forgets it.
    fn destroy_scope(&self, scope: &ScopeRecord, rest: bool) -> Result<()> {
        if rest {
            self.kill()?;
        } else {
            self.left_alone()?;
        }
        let paths: Vec<&CgroupPath> = self.entries.iter().map(|entry| &entry.path).collect();
        let stopped = systemd::stop(scope, &paths);
        self.leave_to_systemd()?;
        self.remove()?;
        stopped
    }

    /// A systemd that could not be asked removes an empty cgroup by itself. If it was removed at once, the kernel might
    /// not come to tell that it is empty, and systemd would have the scope for ever.
    fn leave_to_systemd(&self) -> Result<()> {
        let deadline = Deadline::after(SYSTEMD_BOUND);
        let Some(unified) = self.entries.iter().find(|entry| entry.is_v2()) else { return Ok(()) };
        while unified.open()?.is_some() && !deadline.passed() {
            deadline.moment()?;
        }
        Ok(())
    }
}
