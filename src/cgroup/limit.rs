//! Limits written into cgroups: into new ones, and into those of a container that runs, where either all of them are
//! taken or none. It decides no value.
//!
//! Nobody can ask the kernel whether it would take a value. So what a changed file had before is read first, and put
//! back when the kernel refuses a later one.

use super::device_list::{self, Rewritten};
use super::directory::Directory;
use super::filter::{self, Replaced};
use super::hint;
use super::record::Record;
use crate::error::{Error, Result};
use crate::plan::cgroup::update::{Devices, Update};
use crate::plan::cgroup::{Absent, Place, Version, Write};
use nix::errno::Errno;

/// One of the container's cgroups.
#[derive(Debug)]
pub(super) struct Site<'p> {
    /// Its plan.
    pub(super) place: &'p Place,
    /// The mount point.
    pub(super) top: Directory,
    /// The container's cgroup.
    pub(super) leaf: Directory,
}

/// Writes in order. Old values may stand in the way of new ones (a memory limit above the old limit of memory and
/// swap): what the kernel calls invalid is tried again after all others, as long as that helps.
fn in_turn<T: Copy>(items: impl Iterator<Item = T>, write: impl Fn(T) -> Result<()>) -> Result<()> {
    let mut left: Vec<T> = items.collect();
    loop {
        let (count, mut again, mut first) = (left.len(), Vec::new(), None);
        for item in left {
            match write(item) {
                Err(error) if error.errno() == Errno::EINVAL as i32 => {
                    again.push(item);
                    first.get_or_insert(error);
                }
                result => result?,
            }
        }
        match first {
            Some(error) if again.len() == count => return Err(error),
            None => return Ok(()),
            Some(_) => left = again,
        }
    }
}

impl Site<'_> {
    pub(super) fn is_v2(&self) -> bool {
        self.place.version() == Version::V2
    }

    /// All of the plan's, before anybody is in the cgroup.
    pub(super) fn write_all(&self) -> Result<()> {
        in_turn(self.place.writes.iter(), |write| self.write(write))
    }

    fn write(&self, write: &Write) -> Result<()> {
        let written = self.reach(write, |file, value| self.leaf.write(file, value));
        written.map(drop).map_err(|error| hint::add(error, write).at(&write.field))
    }

    /// Which file takes the limit, with the value for it: as [`Site::write`] finds it, but nothing is written yet. None:
    /// none needs to.
    fn target<'w>(&self, write: &'w Write) -> Result<Option<(&'w str, &'w str)>> {
        let there = |file, value| self.leaf.open(file, rustix::fs::OFlags::WRONLY).map(|_| (file, value));
        self.reach(write, there)
    }

    /// Attempts the limit's file, then, where it is not there, what may stand in for it. None: nothing needs to.
    fn reach<'w, T>(
        &self,
        write: &'w Write,
        attempt: impl Fn(&'w str, &'w str) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut error = match attempt(&write.file, &write.value) {
            Err(error) if missing(&error) => error,
            done => return done.map(Some),
        };
        if write.absent == Absent::Fine {
            return Ok(None);
        }
        if self.is_v2() && write.controller != Write::CORE {
            self.enable(&write.controller)?;
            match attempt(&write.file, &write.value) {
                Err(again) if missing(&again) => error = again,
                done => return done.map(Some),
            }
        }
        match &write.absent {
            Absent::Instead { file, value } => match attempt(file, value) {
                Err(neither) if missing(&neither) => Err(error),
                done => done.map(Some),
            },
            Absent::Error | Absent::Fine => Err(error),
        }
    }

    /// Before anything is written: no value may be below what is in use, where the plan says so.
    pub(super) fn check(&self) -> Result<()> {
        for write in &self.place.writes {
            let Some(file) = write.floor else { continue };
            let used = match self.leaf.read(file) {
                Err(error) if missing(&error) => continue,
                used => used.map_err(|error| error.at(&write.field))?,
            };
            if let (Ok(used), Ok(value)) = (used.trim().parse::<u64>(), write.value.parse::<u64>())
                && value < used
            {
                let reason = format!("{} = {value} is below what is in use, {file} = {used}", write.file);
                return Err(Error::new(reason)
                    .at(&write.field)
                    .hint("linux.resources.memory.checkBeforeUpdate asks for this check"));
            }
        }
        Ok(())
    }

    /// Gives a controller to the container's v2 cgroup, from the top down. Asked for only when a limit was, and when
    /// its file is missing, so that nothing is changed above the container without need.
    fn enable(&self, controller: &str) -> Result<()> {
        let names = self.place.path.names();
        for depth in 0..names.len() {
            let above = self.top.descend(&names[..depth])?;
            above.write("cgroup.subtree_control", &format!("+{controller}")).map_err(|error| match error.errno() {
                e if e == Errno::EBUSY as i32 => error.hint(format!(
                    "{} has processes of its own, so that it cannot limit cgroups below it: choose another linux.cgroupsPath",
                    above.path()
                )),
                e if e == Errno::ENOENT as i32 || e == Errno::EINVAL as i32 => {
                    error.hint(format!("the {controller} controller is not available there: see cgroup.controllers"))
                }
                e if e == Errno::EOPNOTSUPP as i32 => {
                    error.hint(format!("{} is, or is among, threaded cgroups: see its cgroup.type", above.path()))
                }
                _ => error,
            })?;
        }
        Ok(())
    }
}

/// There is no such file.
fn missing(error: &Error) -> bool {
    error.errno() == Errno::ENOENT as i32
}

/// One write into a cgroup that is in use, and how to take it back.
#[derive(Debug)]
struct Step<'p> {
    site: usize,
    write: &'p Write,
    file: &'p str,
    value: &'p str,
    /// None: the kernel does not tell what the file has.
    old: Option<String>,
}

/// What was changed of a container's cgroups. Dropped, it is taken back, unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Changed<'p> {
    sites: Vec<Site<'p>>,
    /// Those that may have been taken.
    steps: Vec<Step<'p>>,
    filter: Option<Replaced>,
    list: Option<Rewritten>,
}

/// Carries out an update of the container with these cgroups.
///
/// # Errors
/// The field, the file, the value and the kernel's reason. Everything is as it was; what could not be put back is
/// named.
pub(crate) fn change<'p>(record: &Record, update: &'p Update) -> Result<Changed<'p>> {
    let mut sites = Vec::with_capacity(update.places.len());
    for place in &update.places {
        let (top, leaf) = open(place)?;
        sites.push(Site { place, top, leaf });
    }
    sites.iter().try_for_each(Site::check)?;
    let steps = steps(&sites)?;
    let mut changed = Changed { sites, steps, filter: None, list: None };
    match changed.carry_out(record, update) {
        Ok(()) => Ok(changed),
        Err(error) => Err(changed.undo(error)),
    }
}

fn open(place: &Place) -> Result<(Directory, Directory)> {
    let top = Directory::mounted(&place.mount, place.version() == Version::V2)?;
    let leaf = top.descend(place.path.names())?;
    Ok((top, leaf))
}

/// All writes of these sites, each with the value that its file has now.
fn steps<'p>(sites: &[Site<'p>]) -> Result<Vec<Step<'p>>> {
    let mut steps = Vec::new();
    for (at, site) in sites.iter().enumerate() {
        let place: &'p Place = site.place;
        for write in &place.writes {
            let target = site.target(write).map_err(|error| hint::add(error, write).at(&write.field))?;
            if let Some((file, value)) = target {
                // Some can only be written.
                let old = site.leaf.read(file).ok().and_then(|text| restoring(file, value, &text));
                steps.push(Step { site: at, write, file, value, old });
            }
        }
    }
    Ok(steps)
}

impl Changed<'_> {
    fn carry_out(&mut self, record: &Record, update: &Update) -> Result<()> {
        in_turn(self.steps.iter(), |step| {
            let written = self.sites[step.site].leaf.write(step.file, step.value);
            written.map_err(|error| hint::add(error, step.write).at(&step.write.field))
        })?;
        match &update.devices {
            None => {}
            Some(Devices::Filter(place, filter)) => {
                self.filter = Some(filter::replace(filter.as_ref(), &open(place)?.1)?);
            }
            Some(Devices::Lists { place, before, after }) => {
                self.list = Some(device_list::rewrite(&open(place)?.1, record, before, after)?);
            }
        }
        Ok(())
    }

    /// It stays.
    pub(crate) fn keep(mut self) {
        self.forget();
    }

    /// Takes it back because of this error, which says what could not be put back.
    pub(crate) fn undo(mut self, error: Error) -> Error {
        let undone = self.take_back();
        self.forget();
        error.undone(undone)
    }

    fn take_back(&self) -> Result<()> {
        let list = self.list.as_ref().map_or(Ok(()), Rewritten::undo);
        let filter = self.filter.as_ref().map_or(Ok(()), Replaced::undo);
        let limits = in_turn(self.steps.iter().rev(), |step| match &step.old {
            Some(old) => self.restore(step, old),
            None => Ok(()),
        });
        list.and(filter).and(limits)
    }

    /// The kernel may refuse a value that it shows itself, as that of cpu.shares beside cpu.idle = 1.
    fn restore(&self, step: &Step<'_>, old: &str) -> Result<()> {
        let leaf = &self.sites[step.site].leaf;
        let written = leaf.write(step.file, old);
        let now = |text: String| restoring(step.file, step.value, &text);
        match written.is_err() && leaf.read(step.file).ok().and_then(now).as_deref() == Some(old) {
            true => Ok(()),
            false => written,
        }
    }

    fn forget(&mut self) {
        (self.filter, self.list) = (None, None);
        self.steps.clear();
    }
}

impl Drop for Changed<'_> {
    /// Nobody hears of a failure here, the caller is on its way out with an error of its own.
    fn drop(&mut self) {
        let _ = self.take_back();
    }
}

/// The value that brings back what a file had, `text`, before `value` was written into it. None: there is none.
fn restoring(file: &str, value: &str, text: &str) -> Option<String> {
    let key = value.split(' ').next().filter(|_| value.contains(' ')).unwrap_or_default();
    let line = |key: &str| text.lines().find(|line| line.split(' ').next() == Some(key)).map(str::to_owned);
    let reset = match file {
        "memory.oom_control" => {
            return text.lines().find_map(|line| line.strip_prefix("oom_kill_disable ")).map(str::to_owned);
        }
        "rdma.max" => "hca_handle=max hca_object=max",
        "net_prio.ifpriomap" => "0",
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.latency" => "target=0",
        _ if file.starts_with("blkio.throttle.") => "0",
        _ if file.contains("weight")
            && text.starts_with("default ")
            && (key.is_empty() || key == "default") =>
        {
            return line("default");
        }
        _ if key.contains(':') => "default",
        // An idle cgroup has no weight of its own.
        "cpu.weight" if text.trim() == "0" => return None,
        _ if text.trim().is_empty() => return Some("\n".to_owned()),
        _ => return Some(text.trim().to_owned()),
    };
    Some(line(key).unwrap_or_else(|| format!("{key} {reset}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn every_kind_of_file_gets_its_old_value() {
        for (file, value, text, expected) in [
            ("pids.max", "7", "max\n", Some("max")),
            ("cpu.max", "max 50000", "5000 100000\n", Some("5000 100000")),
            ("cpu.weight", "7", "0\n", None),
            ("cpuset.cpus", "0-1", "\n", Some("\n")),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", Some("0")),
            (
                "io.max",
                "8:0 rbps=1",
                "8:16 rbps=1 wbps=2 riops=max wiops=max\n",
                Some("8:0 rbps=max wbps=max riops=max wiops=max"),
            ),
            (
                "io.max",
                "8:16 rbps=9",
                "8:16 rbps=1 wbps=2 riops=max wiops=max\n",
                Some("8:16 rbps=1 wbps=2 riops=max wiops=max"),
            ),
            ("io.bfq.weight", "300", "default 100\n8:0 500\n", Some("default 100")),
            ("io.weight", "default 300", "default 100\n", Some("default 100")),
            ("io.bfq.weight", "8:0 300", "default 100\n8:0 500\n", Some("8:0 500")),
            ("io.bfq.weight", "8:0 300", "default 100\n", Some("8:0 default")),
            ("blkio.throttle.read_bps_device", "8:0 5", "", Some("8:0 0")),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:0 7\n", Some("8:0 7")),
            (
                "rdma.max",
                "mlx4_0 hca_object=1",
                "mlx4_0 hca_handle=max hca_object=5\n",
                Some("mlx4_0 hca_handle=max hca_object=5"),
            ),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 3\n", Some("eth0 3")),
        ] {
            assert_eq!(restoring(file, value, text).as_deref(), expected, "{file} {value:?}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_waited_for() {
        let done = RefCell::new(Vec::new());
        let write = |item: i32| {
            if item > 0 && !done.borrow().contains(&(item - 1)) {
                return Err(Error::call("write", Errno::EINVAL as i32));
            }
            done.borrow_mut().push(item);
            Ok(())
        };
        in_turn([3, 2, 1, 0].into_iter(), write).unwrap();
        assert_eq!(*done.borrow(), [0, 1, 2, 3]);
        done.borrow_mut().clear();
        assert_eq!(in_turn([5, 4, 0].into_iter(), write).unwrap_err().errno(), Errno::EINVAL as i32);
    }
}
