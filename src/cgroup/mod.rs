//! Carries out a cgroup plan (config-linux.md, Control groups): create, join, limit, freeze, kill, remove. It decides
//! no value and reads no config.
//!
//! The order of a birth: [`Survey::of`] looks and touches nothing, its [`Survey::record`] goes into the state file,
//! [`Survey::create`] makes the cgroups and [`Cgroup::limit`] writes the limits; then the process is born, on v2
//! directly into [`Cgroup::birth_fd`]; [`Cgroup::attach`] puts it into all others and [`Cgroup::load_filter`] adds
//! the device filter of v2, [`Cgroup::delegate`] the owner, all before the process may go on. A scope of systemd needs
//! its process to exist: there [`Cgroup::attach`] is where the cgroups are made, limited and given away.
//! [`Cgroup::keep`] once all is well: until then, dropping it removes what it made.

pub(crate) mod cpuset;
pub(crate) mod device_list;
pub(crate) mod directory;
pub(crate) mod entrance;
pub(crate) mod filter;
pub(crate) mod freezer;
mod hint;
pub(crate) mod limit;
pub(crate) mod oom;
pub(crate) mod owner;
pub(crate) mod record;
pub(crate) mod resctrl;
pub(crate) mod stats;
pub(crate) mod survey;
pub(crate) mod systemd;
pub(crate) mod tree;
pub(crate) mod wait;

use crate::error::{Error, Result};
use crate::plan::cgroup::CgroupPlan;
use limit::Site;
use nix::errno::Errno;
pub(crate) use record::Record;
use std::os::fd::{AsFd, BorrowedFd};

pub(crate) use survey::Survey;
use survey::Waiting;

/// The container's cgroups, made or joined.
#[derive(Debug)]
pub(crate) struct Cgroup<'p> {
    plan: &'p CgroupPlan,
    sites: Vec<Site<'p>>,
    record: Record,
    /// The process cannot be born into the v2 cgroup, but perhaps be put there.
    unborn: bool,
    /// systemd is still to be told.
    waiting: Option<Waiting<'p>>,
    kept: bool,
}

impl<'p> Cgroup<'p> {
    /// What exists now, which of it we made.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The v2 cgroup, to be born into (CLONE_INTO_CGROUP).
    pub(crate) fn birth_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2().filter(|_| !self.unborn).map(|site| site.leaf.as_fd())
    }

    fn v2(&self) -> Option<&Site<'p>> {
        self.sites.iter().find(|site| site.is_v2())
    }

    /// The birth failed like this: may it be tried again without the cgroup? Rootless, leaving the cgroup one is in
    /// needs a permission above both, and a cgroup that nobody asked for may be done without.
    pub(crate) fn forgo_birth(&mut self, error: &Error) -> bool {
        let optional = self.v2().is_some_and(|site| site.place.optional);
        self.unborn = optional && not_permitted(error);
        self.unborn
    }

    /// Why no process can be born into the v2 cgroup, where clone3(2) has but an errno for it.
    pub(crate) fn explain_birth(&self, error: Error) -> Error {
        let Some(site) = self.v2().filter(|_| error.errno() == Errno::EOPNOTSUPP as i32) else {
            return error;
        };
        let kind = site.leaf.read("cgroup.type").unwrap_or_default();
        let reason = format!(
            "{} is of cgroup.type {:?} and takes no process in: choose a linux.cgroupsPath outside of threaded cgroups",
            site.leaf.path(),
            kind.trim()
        );
        error.at("linux.cgroupsPath").hint(reason)
    }

    /// Writes the limits; nothing is in the cgroups yet.
    ///
    /// # Errors
    /// The field, the file, the value and the kernel's reason.
    pub(crate) fn limit(&self) -> Result<()> {
        self.sites.iter().try_for_each(Site::check)?;
        for site in &self.sites {
            if site.place.needs_cpuset() {
                cpuset::fill(site.place, &site.top, &site.leaf)?;
            }
            site.write_all()?;
        }
        Ok(())
    }

    /// Puts the process into every cgroup that it was not born into; a scope is started around it first, limited, and
    /// given its device filter.
    ///
    /// # Errors
    /// Also a process that is not in its scope afterwards.
    pub(crate) fn attach(&mut self, pid: i32) -> Result<()> {
        if let Some(waiting) = self.waiting.take() {
            self.sites =
                waiting.start(pid, &mut self.record).map_err(|error| error.at("linux.cgroupsPath"))?;
            self.limit().map_err(not_delegated)?;
            self.enter(pid)?;
            self.verify(pid).map_err(|error| error.at("linux.cgroupsPath"))?;
            self.load_filter()?;
            return self.delegate(pid);
        }
        self.enter(pid)
    }

    /// systemd has put the process where the plan says.
    fn verify(&self, pid: i32) -> Result<()> {
        for site in self.sites.iter().filter(|site| site.place.is_systemds()) {
            let inside = site.leaf.read("cgroup.procs")?;
            if !inside.lines().any(|line| line.parse() == Ok(pid)) {
                let reason = format!("systemd has not put process {pid} into {}", site.leaf.path());
                return Err(Error::new(reason).hint(format!("it is where /proc/{pid}/cgroup says")));
            }
        }
        Ok(())
    }

    fn enter(&self, pid: i32) -> Result<()> {
        for site in self.sites.iter().filter(|site| self.unborn || !site.is_v2()) {
            match site.leaf.write("cgroup.procs", &pid.to_string()) {
                Err(error) if site.place.optional && not_permitted(&error) => {}
                result => result.map_err(|error| error.at("linux.cgroupsPath"))?,
            }
        }
        Ok(())
    }

    /// Loads the device filter of the v2 cgroup, if the plan has one. The process need not be held back while the
    /// kernel verifies it, but must not run the user's program before.
    pub(crate) fn load_filter(&self) -> Result<()> {
        let Some(site) = self.v2() else { return Ok(()) };
        // An earlier container may have left its own in a cgroup that was there before.
        if self.record.entries.iter().any(|entry| entry.is_v2() && entry.made == 0) {
            let optional = self.plan.filter.as_ref().is_none_or(|filter| filter.optional);
            return match filter::replace(self.plan.filter.as_ref(), &site.leaf) {
                Err(error) if optional && not_permitted(&error) => Ok(()),
                replaced => replaced.map(drop),
            };
        }
        self.plan.filter.as_ref().map_or(Ok(()), |filter| filter::load(filter, &site.leaf))
    }

    /// Gives the v2 cgroup to the container's user, if the plan says so. `pid`: the container's process.
    pub(crate) fn delegate(&self, pid: i32) -> Result<()> {
        match (self.plan.owner, self.v2()) {
            (Some(owner), Some(site)) => owner::give(&site.leaf, owner, pid),
            _ => Ok(()),
        }
    }

    /// All is well: the cgroups stay.
    pub(crate) fn keep(mut self) -> Record {
        self.kept = true;
        std::mem::take(&mut self.record)
    }
}

impl Drop for Cgroup<'_> {
    /// Undoes what was made. Nobody hears of a failure here, the caller is on its way out with an error of its own.
    fn drop(&mut self) {
        if !self.kept {
            // That error may be a lack of descriptors; these are done with.
            self.sites.clear();
            self.record.made().destroy(true).ok();
        }
    }
}

/// A user's systemd has not all controllers, and gives the scope those that it has.
fn not_delegated(error: Error) -> Error {
    match not_permitted(&error) {
        true => error.hint("has the user's systemd this controller? see Delegate= in docs/systemd.md"),
        false => error,
    }
}

/// The runtime lacks the permission, or the cgroup file system is mounted read-only.
fn not_permitted(error: &Error) -> bool {
    [Errno::EACCES, Errno::EPERM, Errno::EROFS].iter().any(|errno| *errno as i32 == error.errno())
}

#[cfg(test)]
mod tests {
    //! With real cgroups: as root, `cargo test --lib cgroup::tests -- --ignored --test-threads 1`, also in a mount
    //! namespace of one's own where /sys/fs/cgroup is cgroup2.

    use super::*;
    use crate::plan::cgroup::CgroupLayout;
    use nix::sys::signal::Signal;
    use serde_json::{Value, json};
    use std::io::Write as _;
    use std::process::{Child, Command, Stdio};

    fn planned(linux: Value) -> CgroupPlan {
        planned_on(linux, |_| {})
    }

    fn planned_on(linux: Value, change: fn(&mut CgroupLayout)) -> CgroupPlan {
        let read = |file| std::fs::read_to_string(file).unwrap();
        let mut layout = CgroupLayout::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        change(&mut layout);
        let linux = serde_json::from_value(linux).unwrap();
        crate::plan::cgroup::plan(Some(&linux), "onggi-unit", &layout, false, false, None).unwrap()
    }

    /// The script begins once its shell is in the cgroup.
    fn process(cgroup: &Cgroup<'_>, script: &str) -> Child {
        let script = format!("read go; {script}");
        let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        cgroup.sites.iter().for_each(|site| site.leaf.write("cgroup.procs", &pid).unwrap());
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    fn exists(record: &Record) -> Vec<bool> {
        let path = |e: &record::Entry| format!("{}{}", e.mount, e.path);
        record.entries.iter().map(|e| std::path::Path::new(&path(e)).exists()).collect()
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn whole_life() {
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-parent/whole"}));
        let survey = Survey::of(&plan, None).unwrap();
        let before = survey.record();
        assert!(exists(&before).iter().all(|there| !there));
        let cgroup = survey.create().unwrap();
        assert_eq!(cgroup.record(), &before);
        cgroup.limit().unwrap();
        assert!(exists(&before).iter().all(|there| *there));
        let mut child = process(&cgroup, "sleep 100 & exec sleep 100");
        cgroup.load_filter().unwrap();
        let taken = Survey::of(&plan, None).unwrap_err().to_string();
        assert!(taken.contains("is in use"), "{taken}");
        let record = cgroup.keep();
        let pids = record.processes().unwrap();
        assert!(pids.contains(&(child.id() as i32)), "{pids:?}");
        assert!(!record.is_frozen().unwrap());
        record.freezer().unwrap().unwrap().freeze().unwrap();
        assert!(record.is_frozen().unwrap());
        record.thaw().unwrap();
        assert!(!record.is_frozen().unwrap());
        record.freezer().unwrap().unwrap().freeze().unwrap();
        record.kill().unwrap();
        child.wait().unwrap();
        record.remove().unwrap();
        assert!(exists(&record).iter().all(|there| !there));
        record.remove().unwrap();
        record.kill().unwrap();
        assert!(record.processes().unwrap().is_empty() && !record.is_frozen().unwrap());
        for entry in &record.entries {
            assert!(!std::path::Path::new(&format!("{}/onggi-unit-parent", entry.mount)).exists());
        }
    }

    /// systemd removes the cgroup of a scope as soon as its last process is dead, also while we thaw it.
    #[test]
    #[ignore = "makes cgroups"]
    fn a_cgroup_that_is_removed_meanwhile_is_thawed() {
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-fleeting"}));
        let make = || Survey::of(&plan, None).unwrap().create().unwrap().keep();
        let record = make();
        record.remove().unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..500 {
                    make().remove().unwrap();
                }
                over.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                record.thaw().unwrap();
                record.signal_all(|_| Ok(())).unwrap();
            }
        });
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn without_cgroup_kill() {
        let config = json!({"cgroupsPath": "/onggi-unit-old"});
        let v1_only = |layout: &mut CgroupLayout| drop(layout.unified.take_if(|_| !layout.v1.is_empty()));
        let no_freezer = |layout: &mut CgroupLayout| layout.v1.retain(|row| !row.has("freezer"));
        for change in [v1_only, no_freezer] {
            let plan = planned_on(config.clone(), change);
            let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
            cgroup.limit().unwrap();
            let forks = "while :; do sleep 0.01 & done";
            let mut children = [process(&cgroup, forks), process(&cgroup, "exec sleep 100")];
            let record = cgroup.keep();
            let freeze = || record.freezer().unwrap().unwrap().freeze().unwrap();
            for _ in 0..5 {
                freeze();
                assert!(record.is_frozen().unwrap());
                let before = record.processes().unwrap();
                assert_eq!(before, record.processes().unwrap());
                record.thaw().unwrap();
            }
            freeze();
            record.kill_each(wait::Deadline::after(std::time::Duration::from_secs(10))).unwrap();
            assert!(record.processes().unwrap().is_empty());
            record.remove().unwrap();
            assert!(exists(&record).iter().all(|there| !there));
            children.iter_mut().for_each(|child| assert!(!child.wait().unwrap().success()));
        }
    }

    #[test]
    #[ignore = "asks the kernel"]
    fn the_verifier_takes_every_program() {
        let rule = |n: usize| {
            let (kind, major) = (["a", "b", "c"][n % 3], [-1, 1, 4_294_967_295i64][n / 3 % 3]);
            json!({"allow": n / 9 % 2 == 0, "type": kind, "major": major, "access": (["rwm", "w"][n / 18 % 2])})
        };
        for one in 0..36 {
            for two in 0..36 {
                let rules = serde_json::from_value::<Vec<_>>(json!([rule(one), rule(two)])).unwrap();
                let rules = crate::plan::cgroup::devices::Rules::parse(&rules).unwrap();
                let Some(program) = crate::plan::cgroup::program::Program::build(&rules) else { continue };
                crate::sys::bpf::prog_load_cgroup_device(&program.0, "onggi_test").unwrap();
            }
        }
        let many: Vec<Value> = (0..2_000)
            .map(|n| json!({"allow": true, "type": "b", "major": n / 3, "minor": n, "access": "rwm"}))
            .collect();
        let rules = crate::plan::cgroup::devices::Rules::parse(
            &serde_json::from_value::<Vec<_>>(many.into()).unwrap(),
        );
        let program = crate::plan::cgroup::program::Program::build(&rules.unwrap()).unwrap();
        crate::sys::bpf::prog_load_cgroup_device(&program.0, "onggi_test").unwrap();
        let bad =
            crate::sys::bpf::prog_load_cgroup_device(&program.0[..1], "onggi_test").unwrap_err().to_string();
        assert!(bad.contains("the kernel's verifier says"), "{bad}");
    }

    /// Without a v2 hierarchy there is nothing to be seen.
    #[test]
    #[ignore = "makes cgroups"]
    fn a_filter_takes_the_place_of_ours_and_of_no_other() {
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-filter"}));
        let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
        let Some(site) = cgroup.v2() else { return };
        let count = |name: &str| crate::sys::bpf::attached_cgroup_device(&site.leaf, name).unwrap().len();
        let filter = |minor: u32| {
            let rules = json!([{"allow": true, "type": "c", "major": 10, "minor": minor, "access": "r"}]);
            let rules = serde_json::from_value::<Vec<_>>(rules).unwrap();
            let rules = crate::plan::cgroup::devices::Rules::parse(&rules).unwrap();
            let program = crate::plan::cgroup::program::Program::build(&rules).unwrap();
            crate::plan::cgroup::Filter { rules, program, optional: false }
        };
        let foreign = crate::sys::bpf::prog_load_cgroup_device(&filter(1).program.0, "sd_devices").unwrap();
        crate::sys::bpf::prog_attach_cgroup_device(&site.leaf, &foreign, None).unwrap();
        filter::load(&filter(2), &site.leaf).unwrap();
        filter::load(&filter(3), &site.leaf).unwrap();
        assert_eq!((count("onggi_devices"), count("sd_devices")), (2, 1));
        let replaced = filter::replace(Some(&filter(4)), &site.leaf).unwrap();
        assert_eq!((count("onggi_devices"), count("sd_devices")), (1, 1));
        replaced.undo().unwrap();
        assert_eq!((count("onggi_devices"), count("sd_devices")), (2, 1));
        let open = filter::replace(None, &site.leaf).unwrap();
        assert_eq!((count("onggi_devices"), count("sd_devices")), (0, 1));
        open.undo().unwrap();
        assert_eq!((count("onggi_devices"), count("sd_devices")), (2, 1));
        let mut bad = filter(5);
        bad.program.0.truncate(3);
        filter::replace(Some(&bad), &site.leaf).unwrap_err();
        assert_eq!(
            (count("onggi_devices"), count("sd_devices")),
            (2, 1),
            "what cannot be loaded opens nothing"
        );
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn dropped_means_undone() {
        let plan = planned(json!({}));
        let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
        cgroup.limit().unwrap();
        let record = cgroup.record().clone();
        let mut child = process(&cgroup, "exec sleep 100");
        drop(cgroup);
        child.wait().unwrap();
        assert!(exists(&record).iter().all(|there| !there));
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn existing_cgroup_is_joined_and_stays() {
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-there"}));
        let first = Survey::of(&plan, None).unwrap().create().unwrap().keep();
        let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
        assert!(cgroup.record().entries.iter().all(|entry| entry.made == 0));
        cgroup.limit().unwrap();
        let mut child = process(&cgroup, "exec sleep 100");
        let second = cgroup.keep();
        second.kill().unwrap();
        child.wait().unwrap();
        second.remove().unwrap();
        assert!(exists(&second).iter().all(|there| *there));
        first.remove().unwrap();
        assert!(exists(&second).iter().all(|there| !there));
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn nested_cgroups_of_the_container_go_too() {
        use std::os::unix::ffi::OsStrExt;
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-nested"}));
        let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
        cgroup.limit().unwrap();
        for entry in &cgroup.record().entries {
            let mut dir = std::path::PathBuf::from(format!("{}{}", entry.mount, entry.path));
            for _ in 0..40 {
                dir.push("x".repeat(20));
                std::fs::create_dir(&dir).unwrap();
                std::fs::create_dir(dir.join(std::ffi::OsStr::from_bytes(b"odd \xff name"))).unwrap();
            }
        }
        let mut child = process(&cgroup, "exec sleep 100");
        let record = cgroup.keep();
        let deep = format!(
            "{}{}/{}",
            record.entries[0].mount,
            record.entries[0].path,
            ["x".repeat(20).as_str(); 40].join("/")
        );
        std::fs::write(format!("{deep}/cgroup.procs"), child.id().to_string()).unwrap();
        assert_eq!(record.processes().unwrap(), [child.id() as i32]);
        record.kill().unwrap();
        child.wait().unwrap();
        record.remove().unwrap();
        assert!(exists(&record).iter().all(|there| !there));
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn signals_reach_all() {
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-signal"}));
        let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
        cgroup.limit().unwrap();
        let mut children: Vec<Child> = (0..5).map(|_| process(&cgroup, "exec sleep 100")).collect();
        let record = cgroup.keep();
        let mut sent = Vec::new();
        record
            .signal_all(|pid| {
                sent.push(pid);
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM)
                    .map_err(|errno| Error::call("kill", errno as i32))
            })
            .unwrap();
        assert_eq!(sent.len(), 5);
        for child in &mut children {
            child.wait().unwrap();
        }
        record.remove().unwrap();
        assert!(exists(&record).iter().all(|there| !there));
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn limits_are_written() {
        if !planned(json!({})).attaches_after_birth() {
            return;
        }
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-deep/a/limits", "resources": {
            "pids": {"limit": 50}, "memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0", "mems": "0"},
            "devices": [{"allow": false, "access": "rwm"}]
        }}));
        for _ in 0..2 {
            let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
            cgroup.limit().unwrap();
            for site in &cgroup.sites {
                for write in site.place.writes.iter().filter(|write| write.controller != "devices") {
                    assert_eq!(site.leaf.read(&write.file).unwrap().trim(), write.value, "{write:?}");
                }
                if site.place.controllers == "devices" {
                    let list = site.leaf.read("devices.list").unwrap();
                    assert!(list.lines().count() == 12 && list.contains("c 1:3 rwm"), "{list}");
                }
            }
            let smaller = planned(json!({"cgroupsPath": "/onggi-unit-deep/a/limits", "resources": {
                "memory": {"limit": 268435456, "swap": 268435456}}}));
            Survey::of(&smaller, None).unwrap().create().unwrap().limit().unwrap();
        }
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-bad", "resources": {"cpu": {"cpus": "900"}}}));
        let error = Survey::of(&plan, None).unwrap().create().unwrap().limit().unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.cpu.cpus: write(\"/sys/fs/cgroup/cpuset/onggi-unit-bad/cpuset.cpus\", \"900\"): E"), "{error}");
    }

    #[test]
    #[ignore = "makes cgroups"]
    fn v2_names_the_missing_controller() {
        let plan = planned(json!({"cgroupsPath": "/onggi-unit-v2/x", "resources": {"pids": {"limit": 5}}}));
        if plan.attaches_after_birth() {
            return;
        }
        let cgroup = Survey::of(&plan, None).unwrap().create().unwrap();
        let error = cgroup.limit().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "linux.resources.pids.limit: write(\"/sys/fs/cgroup/cgroup.subtree_control\", \"+pids\"): E"
            ),
            "{error}"
        );
        let record = cgroup.record().clone();
        drop(cgroup);
        assert!(exists(&record).iter().all(|there| !there));
    }
}
