//! What stands where the plan wants cgroups, before anything is done; and the making of what is missing.

use super::directory::Directory;
use super::freezer::Freezer;
use super::limit::Site;
use super::record::{Entry, Record};
use super::systemd::{Started, Systemd};
use super::wait::gone;
use super::{Cgroup, not_permitted, tree};
use crate::error::{Error, Result};
use crate::plan::cgroup::systemd::Scope;
use crate::plan::cgroup::{CgroupPlan, Place, Version};
use nix::errno::Errno;
use std::collections::BTreeSet;

/// A directory above may be removed between look and act, by another runtime; looked again this often.
const ATTEMPTS: u32 = 16;

/// What stands where.
#[derive(Debug)]
pub(crate) struct Survey<'p> {
    plan: &'p CgroupPlan,
    spots: Vec<Spot<'p>>,
    systemd: Option<Systemd>,
}

/// A scope that is still to be started, because it needs its process.
#[derive(Debug)]
pub(super) struct Waiting<'p> {
    scope: &'p Scope,
    spots: Vec<Spot<'p>>,
    systemd: Systemd,
}

/// One place of the plan.
#[derive(Debug)]
struct Spot<'p> {
    place: &'p Place,
    top: Directory,
    /// The deepest directory of the path that exists, if it is not the mount point.
    base: Option<Directory>,
    /// How many names of the path lead there.
    existing: usize,
    /// It is the cgroup of a scope.
    scope: bool,
    /// Its process is in it: it is in use, by us.
    joined: bool,
}

impl<'p> Survey<'p> {
    /// Looks.
    ///
    /// # Errors
    /// A cgroup that exists and has processes in it, or is frozen: the container would share its limits and its end
    /// with somebody.
    pub(crate) fn of(plan: &'p CgroupPlan, systemd: Option<Systemd>) -> Result<Self> {
        let mut spots = Vec::with_capacity(plan.places.len());
        for place in &plan.places {
            match Spot::of(place, plan.scope.is_some()) {
                Err(error) if place.optional && not_permitted(&error) => {}
                spot => spots.push(spot.map_err(|error| error.at(place.field()))?),
            }
        }
        Ok(Survey { plan, spots, systemd })
    }

    /// What is about to exist.
    pub(crate) fn record(&self) -> Record {
        let scope = self.plan.scope.as_ref().zip(self.systemd.as_ref());
        let scope = scope.map(|(scope, systemd)| systemd.record(scope));
        Record { entries: self.spots.iter().map(Spot::entry).collect(), scope }
    }

    /// Makes what is missing. On failure nothing of it is left. Of a scope there is nothing yet: see
    /// [`Cgroup::attach`].
    pub(crate) fn create(self) -> Result<Cgroup<'p>> {
        let record = Record::default();
        if let (Some(scope), true) = (&self.plan.scope, self.systemd.is_some()) {
            let record = self.record();
            let waiting = self.systemd.map(|systemd| Waiting { scope, spots: self.spots, systemd });
            return Ok(Cgroup {
                plan: self.plan,
                sites: Vec::new(),
                record,
                unborn: false,
                waiting,
                kept: false,
            });
        }
        let mut cgroup = Cgroup {
            plan: self.plan,
            sites: Vec::with_capacity(self.spots.len()),
            record,
            unborn: false,
            waiting: None,
            kept: false,
        };
        for spot in self.spots {
            let (place, known) = (spot.place, cgroup.record.entries.len());
            match spot.create(&mut cgroup.record) {
                Err(error) if place.optional && not_permitted(&error) => {
                    cgroup.record.entries.truncate(known)
                }
                site => cgroup.sites.push(site.map_err(|error| error.at(place.field()))?),
            }
        }
        Ok(cgroup)
    }
}

impl<'p> Waiting<'p> {
    /// Starts the scope around the process, then makes what systemd has left out: on v1 it knows not all controllers.
    /// `record` says afterwards what is there.
    pub(super) fn start(self, pid: i32, record: &mut Record) -> Result<Vec<Site<'p>>> {
        let Waiting { scope, spots, mut systemd } = self;
        if let Started::Refused(error) = systemd.start(scope, pid)? {
            *record = Record::default();
            return Err(error);
        }
        let mut found = Record { entries: Vec::new(), scope: record.scope.clone() };
        let mut sites = Vec::with_capacity(spots.len());
        for mut spot in spots {
            spot.joined = true;
            let (place, known) = (spot.place, found.entries.len());
            match spot.look().and_then(|()| spot.create(&mut found)) {
                Err(error) if place.optional && not_permitted(&error) => found.entries.truncate(known),
                site => sites.push(site.map_err(|error| error.at(place.field()))?),
            }
        }
        *record = found;
        Ok(sites)
    }
}

impl<'p> Spot<'p> {
    fn of(place: &'p Place, scope: bool) -> Result<Self> {
        let top = Directory::mounted(&place.mount, place.version() == Version::V2)?;
        let mut spot = Spot { place, top, base: None, existing: 0, scope, joined: false };
        spot.look()?;
        Ok(spot)
    }

    /// How much of the path exists.
    fn look(&mut self) -> Result<()> {
        let names = self.place.path.names();
        (self.base, self.existing) = (None, 0);
        for depth in (1..=names.len()).rev() {
            if let Some(base) = tree::unless_gone(self.top.descend(&names[..depth]))? {
                if depth == names.len() && !self.joined {
                    unused(&base, self.place)?;
                }
                (self.base, self.existing) = (Some(base), depth);
                break;
            }
        }
        Ok(())
    }

    /// A scope's own cgroup counts as made, since it goes with the scope; those above it in systemd's own hierarchies
    /// are systemd's affair.
    fn entry(&self) -> Entry {
        let Place { mount, controllers, path, .. } = self.place;
        let made = match path.names().len() - self.existing {
            _ if self.scope && self.place.is_systemds() => 1,
            missing if self.scope => missing.max(1),
            missing => missing,
        };
        Entry { mount: mount.clone(), controllers: controllers.clone(), path: path.clone(), made }
    }

    /// The record is ahead of the deed, so that a failure in between can be undone. In doubt it counts a directory
    /// above the container's as made, since such a one is only removed when nobody uses it; the container's own
    /// counts only when it was not there.
    fn create(mut self, record: &mut Record) -> Result<Site<'p>> {
        let mut entry = self.entry();
        let mut left = ATTEMPTS;
        loop {
            record.entries.push(entry.clone());
            match self.make_missing() {
                Ok(leaf) => return Ok(Site { place: self.place, top: self.top, leaf }),
                Err(error) if left > 0 && (gone(&error) || error.errno() == Errno::EEXIST as i32) => {
                    left -= 1;
                    record.entries.pop();
                    self.look()?;
                    let made = self.entry().made;
                    entry.made = if made == 0 { 0 } else { made.max(entry.made) };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The container's own cgroup, with what is missing on the way to it.
    fn make_missing(&mut self) -> Result<Directory> {
        let names = self.place.path.names();
        let mut here = self.base.take();
        for (depth, name) in names.iter().enumerate().skip(self.existing) {
            let parent = here.as_ref().unwrap_or(&self.top);
            match parent.make(name) {
                // Another container is being made below the same parent.
                Err(error) if error.errno() == Errno::EEXIST as i32 && depth + 1 < names.len() => {}
                result => result?,
            }
            here = Some(parent.descend(std::slice::from_ref(name))?);
        }
        here.ok_or_else(|| Error::new("no cgroup of its own"))
    }
}

/// A cgroup that is there already is joined only when nobody uses it.
fn unused(cgroup: &Directory, place: &Place) -> Result<()> {
    let threaded = |error: &Error| error.errno() == Errno::EOPNOTSUPP as i32;
    if place.version() == Version::V2 && cgroup.read("cgroup.procs").is_err_and(|error| threaded(&error)) {
        let reason = format!("{} is threaded: what is in it could not be killed as a whole", cgroup.path());
        return Err(Error::new(reason).hint("choose a linux.cgroupsPath outside of threaded cgroups"));
    }
    let mut pids = BTreeSet::new();
    tree::processes(cgroup, &mut pids)?;
    if !pids.is_empty() {
        let reason = format!("{} is in use: {} processes are in it or below", cgroup.path(), pids.len());
        return Err(Error::new(reason).hint("choose another linux.cgroupsPath"));
    }
    let v1_freezer = place.controllers.split(',').any(|controller| controller == "freezer");
    let freezer = match place.version() {
        Version::V2 => Freezer::V2(cgroup.descend(&[])?),
        Version::V1 if v1_freezer => Freezer::V1(cgroup.descend(&[])?),
        Version::V1 => return Ok(()),
    };
    match freezer.is_frozen()? {
        true => Err(Error::new(format!("{} is frozen", cgroup.path())).hint("thaw it first")),
        false => Ok(()),
    }
}
