//! Carries out linux.intelRdt (config-linux.md, IntelRdt) in a mounted resctrl file system: groups of processes that
//! share a part of the caches and of the memory bandwidth. It decides no value; what must be so is the plan's.
//!
//! [`Resctrl::survey`] looks and touches nothing, its [`Resctrl::record`] goes into the state file,
//! [`Resctrl::prepare`] makes the group and writes its `schemata`, [`Record::attach`] puts the process in before it
//! runs the user's program. [`Resctrl::keep`] once all is well: until then, dropping it removes what it made.
//!
//! What takes several calls is done under the lock that resctrl's users agree on: flock(2) on its top
//! (arch/x86/resctrl.rst, Locking).

pub(crate) mod usage;

use super::directory::Directory;
use super::tree;
use crate::error::{Error, Result};
use crate::plan::resctrl::{Name, Origin, ResctrlPlan, Schema};
use crate::sys::dir;
use nix::errno::Errno;
use rustix::fs::OFlags;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How long others may be at work in resctrl.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Where monitoring groups stand inside a group.
const MONITORS: &str = "mon_groups";

/// What the state file keeps of a container's group.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Record {
    /// Where resctrl is mounted.
    mount: String,
    /// The group; none is the top itself.
    group: Option<Name>,
    /// The group was made for this container alone, and ends with it.
    made: bool,
    /// The container's monitoring group inside it.
    monitor: Option<Name>,
}

/// A container's group, made or joined.
#[derive(Debug)]
pub(crate) struct Resctrl<'p> {
    plan: &'p ResctrlPlan,
    top: Directory,
    record: Record,
    /// The group, and whether we made it.
    made_group: bool,
    made_monitor: bool,
    kept: bool,
}

impl<'p> Resctrl<'p> {
    /// Looks.
    ///
    /// # Errors
    /// A group that must be there and is not; one of the container's name that others use.
    pub(crate) fn survey(plan: &'p ResctrlPlan) -> Result<Self> {
        let at = |error: Error| error.at("linux.intelRdt");
        let top = Directory::resctrl(&plan.mount)
            .map_err(at)?
            .ok_or_else(|| at(Error::new(format!("{} is no longer a resctrl file system", plan.mount))))?;
        let there = tree::unless_gone(top.descend(names(plan.group.as_ref()).as_slice())).map_err(at)?;
        match (plan.origin, &there) {
            (Origin::There, None) => {
                return Err(Error::new(format!("{} does not exist", plan.directory()))
                    .at("linux.intelRdt.closID")
                    .hint("make it before, or say in schemata what it shall have"));
            }
            (Origin::Own, Some(group)) if !group.read("tasks").map_err(at)?.trim().is_empty() => {
                return Err(at(Error::new(format!("{} is in use", group.path())).hint("choose a closID")));
            }
            _ => {}
        }
        let record = Record {
            mount: plan.mount.clone(),
            group: plan.group.clone(),
            made: plan.origin == Origin::Own && there.is_none(),
            monitor: plan.monitor.clone(),
        };
        Ok(Resctrl { plan, top, record, made_group: false, made_monitor: false, kept: false })
    }

    /// What exists now, or is about to.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Makes what is missing, and writes the schemata. Nobody is in the group on our behalf yet.
    ///
    /// # Errors
    /// The field, the file, the value, the kernel's reason and resctrl's own words; a group whose values differ from
    /// those it must have.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        let _lock = lock(&self.top)?;
        self.make_group()?;
        self.limit()?;
        self.make_monitor()
    }

    fn make_group(&mut self) -> Result<()> {
        let Some(name) = self.plan.group.as_ref().filter(|_| self.plan.origin != Origin::There) else {
            return Ok(());
        };
        match self.top.make(name.as_str()) {
            Err(error) if error.errno() == dir::EEXIST => {}
            Err(error) if error.errno() == Errno::ENOSPC as i32 => {
                let hint = "the processor has no more classes of service: see info/*/num_closids";
                return Err(explained(&self.top, error).at("linux.intelRdt").hint(hint));
            }
            made => {
                made.map_err(|error| explained(&self.top, error).at("linux.intelRdt"))?;
                self.made_group = true;
            }
        }
        self.record.made = self.made_group && self.plan.origin == Origin::Own;
        Ok(())
    }

    fn group(&self) -> Result<Directory> {
        self.top.descend(&names(self.plan.group.as_ref())).map_err(|error| error.at("linux.intelRdt"))
    }

    fn limit(&self) -> Result<()> {
        let group = self.group()?;
        let others = !self.made_group && self.plan.origin != Origin::Own;
        if others && self.plan.schemata.iter().any(|schema| schema.compared) {
            self.compare(&group)?;
        }
        write_all(&self.top, &group, &self.plan.schemata)
    }

    /// A group that exists must have the values that the container asks for.
    fn compare(&self, group: &Directory) -> Result<()> {
        let there = group.read("schemata").map_err(|error| error.at("linux.intelRdt"))?;
        let granularity = number(&self.top, "info/MB/bandwidth_gran")?.unwrap_or(0);
        for schema in self.plan.schemata.iter().filter(|schema| schema.compared) {
            if let Some(line) = schema.unlike(&there, granularity) {
                let there: Vec<&str> = there.lines().map(str::trim).collect();
                let reason = format!("{} exists, and has not {line:?} but {there:?}", group.path());
                return Err(Error::new(reason)
                    .at(&schema.field)
                    .hint("choose another closID, or the same values"));
            }
        }
        Ok(())
    }

    fn make_monitor(&mut self) -> Result<()> {
        let Some(name) = &self.plan.monitor else { return Ok(()) };
        let at = |error: Error| explained(&self.top, error).at("linux.intelRdt.enableMonitoring");
        let group = self.group()?;
        let monitors = group
            .descend(&[MONITORS.to_owned()])
            .map_err(|error| at(error).hint("does the processor have RDT monitoring? see info/L3_MON"))?;
        monitors.make(name.as_str()).map_err(|error| match error.errno() {
            e if e == Errno::ENOSPC as i32 => {
                at(error).hint("the processor has no more monitoring ids: see info/L3_MON/num_rmids")
            }
            _ => at(error),
        })?;
        self.made_monitor = true;
        Ok(())
    }

    /// All is well: the group stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Takes back what was made. A shared group that somebody has joined meanwhile stays.
    fn undo(&self) -> Result<()> {
        let _lock = lock(&self.top)?;
        let made_monitor = self.record.monitor.clone().filter(|_| self.made_monitor);
        Record { made: self.record.made, monitor: made_monitor, ..self.record.clone() }
            .remove_from(&self.top)?;
        match &self.plan.group {
            Some(name) if self.made_group && self.plan.origin == Origin::Shared => {
                let tasks = tree::unless_gone(self.group()?.read("tasks"))?;
                if tasks.is_none_or(|tasks| tasks.trim().is_empty()) {
                    remove(&self.top, name)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Resctrl<'_> {
    /// Nobody hears of a failure here: the caller is on its way out with an error of its own.
    fn drop(&mut self) {
        if !self.kept {
            self.undo().ok();
        }
    }
}

impl Record {
    /// Puts a process into the group, then into its monitoring group. One that is dead is somebody else's to report.
    pub(crate) fn attach(&self, pid: i32) -> Result<()> {
        let Some((top, group)) = self.open().map_err(|error| error.at("linux.intelRdt"))? else {
            return Err(Error::new(format!("{} is gone", self.mount)).at("linux.intelRdt"));
        };
        let monitor = self.monitor.iter().map(|name| group.descend(&[MONITORS.into(), name.as_str().into()]));
        for group in std::iter::once(group.descend(&[])).chain(monitor) {
            match group.and_then(|group| group.write("tasks", &pid.to_string())) {
                Err(error) if error.errno() == Errno::ESRCH as i32 => return Ok(()),
                written => written.map_err(|error| explained(&top, error).at("linux.intelRdt"))?,
            }
        }
        Ok(())
    }

    /// Top and group; none if resctrl is mounted no more, or the group is gone.
    fn open(&self) -> Result<Option<(Directory, Directory)>> {
        let Some(top) = Directory::resctrl(&self.mount)? else { return Ok(None) };
        let group = tree::unless_gone(top.descend(&names(self.group.as_ref())))?;
        Ok(group.map(|group| (top, group)))
    }

    /// Removes what the runtime made for the container. What is gone is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        let Some(top) = Directory::resctrl(&self.mount)? else { return Ok(()) };
        let _lock = lock(&top)?;
        self.remove_from(&top)
    }

    fn remove_from(&self, top: &Directory) -> Result<()> {
        let place = [names(self.group.as_ref()), vec![MONITORS.to_owned()]].concat();
        if let (Some(name), Some(monitors)) = (&self.monitor, tree::unless_gone(top.descend(&place))?) {
            remove(&monitors, name)?;
        }
        match &self.group {
            Some(name) if self.made => remove(top, name),
            _ => Ok(()),
        }
    }

    /// Changes the group's schemata, all or nothing: what the kernel refuses leaves the old values.
    ///
    /// # Returns
    /// The old ones, for [`Record::restore`].
    pub(crate) fn replace(&self, schemata: &[Schema]) -> Result<String> {
        let Some((top, group)) = self.open().map_err(|error| error.at("linux.intelRdt"))? else {
            return Err(Error::new(format!("{} or the group in it is gone", self.mount)).at("linux.intelRdt"));
        };
        let _lock = lock(&top)?;
        let old = group.read("schemata").map_err(|error| error.at("linux.intelRdt"))?;
        if let Err(error) = write_all(&top, &group, schemata) {
            // The error that brought us here is the one to report.
            group.write("schemata", &old).ok();
            return Err(error);
        }
        Ok(old)
    }

    /// Writes schemata back as [`Record::replace`] gave them.
    pub(crate) fn restore(&self, old: &str) -> Result<()> {
        let Some((top, group)) = self.open()? else { return Ok(()) };
        let _lock = lock(&top)?;
        group.write("schemata", old).map_err(|error| explained(&top, error).at("linux.intelRdt"))
    }
}

fn names(group: Option<&Name>) -> Vec<String> {
    group.iter().map(|name| name.as_str().to_owned()).collect()
}

/// The kernel wants a newline behind each line.
fn write_all(top: &Directory, group: &Directory, schemata: &[Schema]) -> Result<()> {
    schemata.iter().try_for_each(|schema| {
        let written = group.write("schemata", &format!("{}\n", schema.text));
        written.map_err(|error| explained(top, error).at(&schema.field))
    })
}

/// The kernel's errno is coarse; resctrl says in words what was wrong with the last command.
fn explained(top: &Directory, error: Error) -> Error {
    let words = top.read("info/last_cmd_status").unwrap_or_default();
    match words.trim() {
        "" | "ok" => error,
        words => error.hint(format!("resctrl says: {}", words.replace('\n', "; "))),
    }
}

/// A file with one number; none if there is no such file.
fn number(top: &Directory, file: &str) -> Result<Option<u64>> {
    Ok(tree::unless_gone(top.read(file))?.and_then(|text| text.trim().parse().ok()))
}

/// rmdir(2) of a group, whose processes then fall back to the group around it.
fn remove(parent: &Directory, name: &Name) -> Result<()> {
    let c_name = CString::new(name.as_str()).map_err(|_| Error::new("a group's name contains NUL"))?;
    tree::unless_gone(parent.remove(&c_name)).map(drop)
}

/// Held until it is dropped.
fn lock(top: &Directory) -> Result<OwnedFd> {
    let fd = top.open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    if dir::lock(fd.as_fd(), LOCK_WAIT)? {
        return Ok(fd);
    }
    Err(Error::new(format!("others have locked {} for {} s", top.path(), LOCK_WAIT.as_secs()))
        .at("linux.intelRdt"))
}

#[cfg(test)]
mod tests {
    //! A directory stands in for resctrl. The test plays the kernel's part between two calls: it fills a group that
    //! was made with its files, and empties one that is about to be removed.

    use super::*;
    use crate::plan::resctrl::plan;
    use serde_json::{Value, json};
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    const SCHEMATA: &str = "    L3:0=fff;1=fff\n    MB:0=100;1=100\n";

    fn file(path: impl AsRef<Path>, text: &str) {
        fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// As the kernel fills a new group.
    fn fill(group: &Path) {
        for (name, text) in [("tasks", ""), ("schemata", SCHEMATA)] {
            file(group.join(name), text);
        }
        fs::create_dir_all(group.join("mon_groups")).unwrap();
    }

    fn empty(group: &Path) {
        fs::read_dir(group).unwrap().flatten().for_each(|entry| match entry.path() {
            path if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            path => fs::remove_file(path).unwrap(),
        });
    }

    fn stand_in() -> TempDir {
        let temp = tempfile::tempdir().unwrap();
        fill(temp.path());
        file(temp.path().join("info/last_cmd_status"), "ok\n");
        file(temp.path().join("info/MB/bandwidth_gran"), "10\n");
        temp
    }

    fn planned(temp: &TempDir, rdt: Value) -> ResctrlPlan {
        let spec = json!({"ociVersion": "1.3.0", "linux": {"intelRdt": rdt}});
        let spec = serde_json::from_value(spec).unwrap();
        plan(&spec, "web1", temp.path().to_str()).unwrap().unwrap()
    }

    fn read(temp: &TempDir, file: &str) -> String {
        fs::read_to_string(temp.path().join(file)).unwrap()
    }

    fn exists(temp: &TempDir, group: &str) -> bool {
        temp.path().join(group).exists()
    }

    /// What [`Resctrl::prepare`] does, with the kernel's part in between.
    fn prepare(resctrl: &mut Resctrl<'_>, temp: &TempDir) -> Result<()> {
        let group = temp.path().join(resctrl.plan.group.as_ref().map_or(".", Name::as_str));
        resctrl.make_group()?;
        if resctrl.made_group {
            fill(&group);
        }
        resctrl.limit()?;
        resctrl.make_monitor()?;
        if let Some(monitor) = resctrl.plan.monitor.as_ref() {
            file(group.join("mon_groups").join(monitor.as_str()).join("tasks"), "");
        }
        Ok(())
    }

    #[test]
    fn the_containers_own_group_ends_with_it() {
        let temp = stand_in();
        let plan = planned(&temp, json!({"l3CacheSchema": "L3:0=f", "enableMonitoring": true}));
        let mut resctrl = Resctrl::survey(&plan).unwrap();
        let ahead = resctrl.record().clone();
        assert!(ahead.made && !exists(&temp, "web1"), "looking touches nothing");
        prepare(&mut resctrl, &temp).unwrap();
        assert_eq!(resctrl.record(), &ahead);
        assert_eq!(read(&temp, "web1/schemata").lines().next(), Some("L3:0=f"));
        let record = resctrl.record().clone();
        resctrl.keep();
        record.attach(4711).unwrap();
        assert_eq!(
            (read(&temp, "web1/tasks"), read(&temp, "web1/mon_groups/web1/tasks")),
            ("4711".into(), "4711".into())
        );
        assert_eq!(read(&temp, "tasks"), "", "the default group");
        let kept: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        empty(&temp.path().join("web1/mon_groups/web1"));
        let busy = kept.remove().unwrap_err().to_string();
        assert!(busy.contains("rmdir") && !exists(&temp, "web1/mon_groups/web1"), "{busy}");
        empty(&temp.path().join("web1"));
        kept.remove().unwrap();
        assert!(!exists(&temp, "web1") && exists(&temp, "tasks"));
        kept.remove().unwrap();
    }

    #[test]
    fn a_group_that_was_there_stays() {
        let temp = stand_in();
        for rdt in
            [json!({}), json!({"closID": "web1"}), json!({"closID": "web1", "l3CacheSchema": "L3:0=0FFF"})]
        {
            fill(&temp.path().join("web1"));
            let plan = planned(&temp, rdt);
            for keep in [true, false] {
                let mut resctrl = Resctrl::survey(&plan).unwrap();
                prepare(&mut resctrl, &temp).unwrap();
                let record = resctrl.record().clone();
                record.attach(7).unwrap();
                if keep {
                    resctrl.keep();
                } else {
                    drop(resctrl);
                }
                record.remove().unwrap();
                assert_eq!(read(&temp, "web1/tasks"), "7");
                fill(&temp.path().join("web1"));
            }
        }
        file(temp.path().join("web1/tasks"), "1\n");
        let error = Resctrl::survey(&planned(&temp, json!({}))).unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt: ") && error.contains("web1 is in use"), "{error}");
    }

    #[test]
    fn a_shared_group_is_made_once_and_stays() {
        let temp = stand_in();
        let plan =
            planned(&temp, json!({"closID": "gold", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}));
        let mut first = Resctrl::survey(&plan).unwrap();
        prepare(&mut first, &temp).unwrap();
        let record = first.record().clone();
        first.keep();
        record.remove().unwrap();
        assert!(exists(&temp, "gold"), "closID is set: it must not be removed");

        file(temp.path().join("gold/schemata"), "    L3:0=00f;1=fff\n    MB:0= 20;1=100\n");
        let mut second = Resctrl::survey(&plan).unwrap();
        prepare(&mut second, &temp).unwrap();
        drop(second);
        assert!(exists(&temp, "gold"));

        file(temp.path().join("gold/schemata"), "    L3:0=00f;1=fff\n    MB:0= 30;1=100\n");
        let mut third = Resctrl::survey(&plan).unwrap();
        let error = prepare(&mut third, &temp).unwrap_err().to_string();
        assert!(
            error.starts_with("linux.intelRdt.memBwSchema: ") && error.contains("gold exists"),
            "{error}"
        );
        assert_eq!(read(&temp, "gold/schemata").lines().nth(1), Some("    MB:0= 30;1=100"), "not written");
    }

    #[test]
    fn a_failed_create_takes_back_what_it_made_unless_others_use_it() {
        let temp = stand_in();
        for (closid, group) in [(Value::Null, "web1"), (json!("gold"), "gold")] {
            let plan = planned(&temp, json!({"closID": closid, "schemata": ["L3:0=f"]}));
            let mut unused = Resctrl::survey(&plan).unwrap();
            unused.make_group().unwrap();
            assert!(exists(&temp, group));
            drop(unused);
            assert!(!exists(&temp, group));

            let mut used = Resctrl::survey(&plan).unwrap();
            used.make_group().unwrap();
            file(temp.path().join(group).join("tasks"), "5\n");
            // A directory with a file in it cannot be removed here, so that an attempt shows.
            assert_eq!(used.undo().is_ok(), plan.origin == Origin::Shared);
        }
    }

    #[test]
    fn a_group_that_must_be_there() {
        let temp = stand_in();
        let plan = planned(&temp, json!({"closID": "gold", "enableMonitoring": true}));
        let error = Resctrl::survey(&plan).unwrap_err().to_string();
        assert!(
            error.starts_with("linux.intelRdt.closID: ") && error.contains("gold does not exist"),
            "{error}"
        );
        let plan = planned(&temp, json!({"closID": "/", "enableMonitoring": true}));
        let mut resctrl = Resctrl::survey(&plan).unwrap();
        prepare(&mut resctrl, &temp).unwrap();
        resctrl.record().attach(9).unwrap();
        assert_eq!((read(&temp, "tasks"), read(&temp, "mon_groups/web1/tasks")), ("9".into(), "9".into()));
        assert_eq!(read(&temp, "schemata"), SCHEMATA, "nothing asked for, nothing written");
        empty(&temp.path().join("mon_groups/web1"));
        drop(resctrl);
        assert!(!exists(&temp, "mon_groups/web1") && exists(&temp, "tasks"));
    }

    #[test]
    fn a_monitoring_group_is_dedicated() {
        let temp = stand_in();
        fs::create_dir(temp.path().join("mon_groups/web1")).unwrap();
        let plan = planned(&temp, json!({"closID": "/", "enableMonitoring": true}));
        let mut resctrl = Resctrl::survey(&plan).unwrap();
        let error = prepare(&mut resctrl, &temp).unwrap_err().to_string();
        assert!(
            error.starts_with("linux.intelRdt.enableMonitoring: mkdirat") && error.contains("EEXIST"),
            "{error}"
        );
        drop(resctrl);
        assert!(exists(&temp, "mon_groups/web1"), "somebody else's");
    }

    #[test]
    fn resctrls_own_words_are_shown() {
        let temp = stand_in();
        file(temp.path().join("info/last_cmd_status"), "Mask 9 has non-consecutive 1-bits\n");
        let plan = planned(&temp, json!({"schemata": ["L3:0=9"]}));
        let mut resctrl = Resctrl::survey(&plan).unwrap();
        resctrl.make_group().unwrap();
        let error = resctrl.limit().unwrap_err().to_string();
        let file = format!("linux.intelRdt.schemata: write(\"{}/web1/schemata\"", temp.path().display());
        assert!(error.starts_with(&file) && error.contains("ENOENT"), "{error}");
        assert!(error.contains("resctrl says: Mask 9 has non-consecutive 1-bits"), "{error}");
    }

    #[test]
    fn the_lock_of_resctrl_is_waited_for() {
        let temp = stand_in();
        let top = Directory::resctrl(temp.path().to_str().unwrap()).unwrap().unwrap();
        let held = lock(&top).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let locked = lock(&top).is_ok();
            tell.send(locked).unwrap();
        });
        told.recv_timeout(Duration::from_millis(200)).unwrap_err();
        drop(held);
        assert!(told.recv_timeout(LOCK_WAIT).unwrap());
        other.join().unwrap();
    }

    #[test]
    fn update_changes_and_restores() {
        let temp = stand_in();
        fill(&temp.path().join("gold"));
        let plan = planned(&temp, json!({"closID": "gold"}));
        let record = Resctrl::survey(&plan).unwrap().record().clone();
        let new = crate::plan::resctrl::schemata(Some("L3:0=1"), Some("MB:0=50"), &[]).unwrap();
        let old = record.replace(&new).unwrap();
        assert_eq!((old.as_str(), read(&temp, "gold/schemata").lines().next()), (SCHEMATA, Some("MB:0=50")));
        record.restore(&old).unwrap();
        assert!(read(&temp, "gold/schemata").starts_with(SCHEMATA));
        fs::remove_dir_all(temp.path().join("gold")).unwrap();
        assert!(record.replace(&new).unwrap_err().to_string().starts_with("linux.intelRdt: "));
    }

    #[test]
    fn figures_in_the_shape_of_runc() {
        let temp = stand_in();
        let top = temp.path();
        for (name, text) in [
            ("info/L3/cbm_mask", "fff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
            ("mon_groups/web1/mon_data/mon_L3_00/llc_occupancy", "1024\n"),
            ("mon_groups/web1/mon_data/mon_L3_00/mbm_total_bytes", "5\n"),
            ("mon_groups/web1/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n"),
            ("mon_groups/web1/mon_data/mon_L3_01/llc_occupancy", "0\n"),
        ] {
            file(top.join(name), text);
        }
        let plan = planned(&temp, json!({"closID": "/"}));
        let mut record = Resctrl::survey(&plan).unwrap().record().clone();
        record.monitor = Some(Name::new("web1").unwrap());
        let wanted = json!({
            "l3_cache_info": {"cbm_mask": "fff", "min_cbm_bits": 1, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=fff;1=fff", "l3_cache_schema": "L3:0=fff;1=fff",
            "mem_bw_info": {"bandwidth_gran": 10},
            "mem_bw_schema_root": "MB:0=100;1=100", "mem_bw_schema": "MB:0=100;1=100",
            "schemata": ["L3:0=fff;1=fff", "MB:0=100;1=100"],
            "mbm_stats": [{"mbm_total_bytes": 5}, {}],
            "cmt_stats": [{"llc_occupancy": 1024}, {"llc_occupancy": 0}],
        });
        assert_eq!(serde_json::to_value(record.usage().unwrap().unwrap()).unwrap(), wanted);
        record.mount += "/nowhere";
        assert!(record.usage().unwrap().is_none());
        record.remove().unwrap();
    }
}
