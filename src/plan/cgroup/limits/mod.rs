//! linux.resources as files and values of cgroup v1 and v2 (config-linux.md, Control groups), one file of this folder
//! per property. Pure. 0 means "not set" wherever the kernel could not take it as a limit; a resource that is not
//! supported is refused, never left out.
//!
//! [`set`] is the one way in, for `create` as for `update`: all limits of these resources, written into these places.

mod cpu;
mod memory;
mod pids;

use super::{Absent, Place, Version, Write};
use crate::error::{Error, Result};
use crate::plan::step::Field;
use oci_spec::runtime::{Linux, LinuxResources};

/// A controller with limits here.
struct Family {
    /// Its name.
    controller: &'static str,
    /// Collects what the resources want of it.
    limits: fn(&mut List, &LinuxResources) -> Result<()>,
}

const fn family(controller: &'static str, limits: fn(&mut List, &LinuxResources) -> Result<()>) -> Family {
    Family { controller, limits }
}

/// All of them, in the order in which their limits are set.
const FAMILIES: [Family; 4] = [
    family("cpuset", cpu::set),
    family("cpu", cpu::time),
    family("memory", memory::limit),
    family("pids", pids::limit),
];

/// Adds every limit that the resources ask for to the place whose hierarchy has its controller. `disabled`: there are
/// no places because the caller wants none.
///
/// # Returns
/// What is odd but allowed, one text each.
///
/// # Errors
/// A limit that makes no sense, or whose controller no place has; with its field.
pub(crate) fn set(resources: &LinuxResources, places: &mut [Place], disabled: bool) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for family in &FAMILIES {
        let home = super::home(places, family.controller);
        let version = home.map_or(Version::V1, |at| places[at].version());
        let list = list(resources, family, version)?;
        match (home, list.writes.first()) {
            (Some(at), _) => places[at].writes.extend(list.writes),
            (None, Some(first)) => {
                return Err(super::missing(family.controller, disabled).at(&first.field));
            }
            (None, None) => {}
        }
        warnings.extend(list.warnings);
    }
    Ok(warnings)
}

/// The limits of one controller.
fn list(resources: &LinuxResources, family: &Family, version: Version) -> Result<List> {
    let mut list = List { controller: family.controller, version, writes: Vec::new(), warnings: Vec::new() };
    (family.limits)(&mut list, resources)?;
    Ok(list)
}

/// What a later version brings; empty objects and lists ask for nothing.
///
/// # Errors
/// The first field that asks for something.
pub(crate) fn refuse_unsupported(linux: Option<&Linux>) -> Result<()> {
    let Some(linux) = linux else { return Ok(()) };
    let refuse = |field: &str, asked: bool| match asked {
        true => Err(Error::new("not supported yet").at(field)),
        false => Ok(()),
    };
    refuse("linux.intelRdt", linux.intel_rdt().as_ref().is_some_and(|rdt| *rdt != Default::default()))?;
    let Some(resources) = linux.resources() else { return Ok(()) };
    let some = |number: Option<u64>| number.is_some_and(|number| number != 0);
    refuse("linux.resources.blockIO", resources.block_io().as_ref().is_some_and(asks_for_block_io))?;
    refuse(
        "linux.resources.hugepageLimits",
        resources.hugepage_limits().as_ref().is_some_and(|l| !l.is_empty()),
    )?;
    refuse("linux.resources.rdma", resources.rdma().as_ref().is_some_and(|r| !r.is_empty()))?;
    refuse("linux.resources.unified", resources.unified().as_ref().is_some_and(|u| !u.is_empty()))?;
    if let Some(network) = resources.network() {
        refuse("linux.resources.network.classID", some(network.class_id().map(u64::from)))?;
        let priorities = network.priorities().as_ref();
        refuse("linux.resources.network.priorities", priorities.is_some_and(|list| !list.is_empty()))?;
    }
    if let Some(cpu) = resources.cpu() {
        refuse(
            "linux.resources.cpu.realtimeRuntime",
            cpu.realtime_runtime().is_some_and(|value| value != 0),
        )?;
        refuse("linux.resources.cpu.realtimePeriod", some(cpu.realtime_period()))?;
    }
    Ok(())
}

fn asks_for_block_io(block: &oci_spec::runtime::LinuxBlockIo) -> bool {
    let throttles = [
        block.throttle_read_bps_device(),
        block.throttle_write_bps_device(),
        block.throttle_read_iops_device(),
        block.throttle_write_iops_device(),
    ];
    block.weight().is_some_and(|weight| weight != 0)
        || block.leaf_weight().is_some_and(|weight| weight != 0)
        || block.weight_device().as_ref().is_some_and(|list| !list.is_empty())
        || throttles.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

/// The writes of one controller as they are collected.
struct List {
    controller: &'static str,
    version: Version,
    writes: Vec<Write>,
    warnings: Vec<String>,
}

impl List {
    fn push(&mut self, field: &str, file: &'static str, value: impl ToString) -> &mut Write {
        let (field, value) = (Field::new(format!("linux.resources.{field}")), value.to_string());
        self.writes.push(Write {
            field,
            controller: self.controller.into(),
            file: file.into(),
            value,
            absent: Absent::Error,
        });
        self.writes.last_mut().expect("one was pushed")
    }

    fn warn(&mut self, field: &str, text: &str) {
        self.warnings.push(format!("linux.resources.{field}: {text}"));
    }
}

fn wrong(field: &str, reason: impl Into<String>) -> Error {
    Error::new(reason).at(format!("linux.resources.{field}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// All writes, as `file=value`, `?` for those that may be missing.
    fn text(resources: &Value, version: Version) -> Result<String> {
        let resources: LinuxResources = serde_json::from_value(resources.clone()).unwrap();
        let mut all = Vec::new();
        for family in &FAMILIES {
            for write in list(&resources, family, version)?.writes {
                assert_eq!(write.controller, family.controller);
                all.push(format!(
                    "{}{}={}",
                    write.file,
                    if write.absent == Absent::Fine { "?" } else { "" },
                    write.value
                ));
            }
        }
        Ok(all.join(" "))
    }

    #[test]
    fn limits_as_the_kernel_wants_them() {
        for (resources, v1, v2) in [
            (json!({}), "", ""),
            (json!({"cpu": {}, "memory": {}}), "", ""),
            (json!({"pids": {"limit": 100}}), "pids.max=100", "pids.max=100"),
            (json!({"pids": {"limit": -1}}), "pids.max=max", "pids.max=max"),
            (json!({"pids": {"limit": 0}}), "pids.max=1", "pids.max=1"),
            (json!({"memory": {"limit": 4096}}), "memory.limit_in_bytes=4096", "memory.max=4096"),
            (
                json!({"memory": {"limit": 4096, "swap": 8192, "reservation": 1024}}),
                "memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes=8192 memory.soft_limit_in_bytes=1024",
                "memory.max=4096 memory.swap.max=4096 memory.low=1024",
            ),
            (
                json!({"memory": {"limit": 4096, "swap": 4096}}),
                "memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes=4096",
                "memory.max=4096 memory.swap.max?=0",
            ),
            (
                json!({"memory": {"limit": 4096, "swap": -1}}),
                "memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes?=-1",
                "memory.max=4096 memory.swap.max?=max",
            ),
            (
                json!({"memory": {"limit": -1, "reservation": -1}}),
                "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes?=-1 memory.soft_limit_in_bytes=-1",
                "memory.max=max memory.swap.max?=max memory.low=max",
            ),
            (json!({"memory": {"swap": -1}}), "memory.memsw.limit_in_bytes?=-1", "memory.swap.max?=max"),
            (json!({"memory": {"kernel": 5, "kernelTCP": 5, "checkBeforeUpdate": true}}), "", ""),
            (json!({"memory": {"disableOOMKiller": false}}), "", ""),
            (json!({"memory": {"useHierarchy": true}}), "memory.use_hierarchy?=1", ""),
            (json!({"cpu": {"shares": 1024}}), "cpu.shares=1024", "cpu.weight=100"),
            (json!({"cpu": {"shares": 0, "quota": 0, "period": 0}}), "", ""),
            (
                json!({"cpu": {"quota": 50000, "period": 200000, "burst": 10}}),
                "cpu.cfs_period_us=200000 cpu.cfs_quota_us=50000 cpu.cfs_burst_us=10",
                "cpu.max=50000 200000 cpu.max.burst=10",
            ),
            (json!({"cpu": {"quota": 50000}}), "cpu.cfs_quota_us=50000", "cpu.max=50000 100000"),
            (json!({"cpu": {"quota": -1}}), "cpu.cfs_quota_us=-1", "cpu.max=max 100000"),
            (json!({"cpu": {"period": 5000}}), "cpu.cfs_period_us=5000", "cpu.max=max 5000"),
            (json!({"cpu": {"idle": 1}}), "cpu.idle=1", "cpu.idle=1"),
            (
                json!({"cpu": {"cpus": "0-1,3", "mems": "0"}}),
                "cpuset.cpus=0-1,3 cpuset.mems=0",
                "cpuset.cpus=0-1,3 cpuset.mems=0",
            ),
        ] {
            assert_eq!(text(&resources, Version::V1).unwrap(), v1, "v1 {resources}");
            assert_eq!(text(&resources, Version::V2).unwrap(), v2, "v2 {resources}");
        }
        let v1 = json!({"memory": {"swappiness": 60, "disableOOMKiller": true}});
        assert_eq!(text(&v1, Version::V1).unwrap(), "memory.swappiness=60 memory.oom_control=1");
    }

    #[test]
    fn nonsense_is_refused() {
        for (resources, field, v1, v2) in [
            (json!({"pids": {"limit": -2}}), "pids.limit", true, true),
            (json!({"memory": {"limit": -2}}), "memory.limit", true, true),
            (json!({"memory": {"reservation": -5}}), "memory.reservation", true, true),
            (json!({"memory": {"swap": 4096}}), "memory.swap", true, true),
            (json!({"memory": {"limit": 4096, "swap": 4095}}), "memory.swap", true, true),
            (json!({"memory": {"swappiness": 101}}), "memory.swappiness", true, true),
            (json!({"memory": {"swappiness": 60}}), "memory.swappiness", false, true),
            (json!({"memory": {"disableOOMKiller": true}}), "memory.disableOOMKiller", false, true),
            (json!({"memory": {"useHierarchy": false}}), "memory.useHierarchy", false, true),
            (json!({"cpu": {"shares": 1}}), "cpu.shares", true, false),
            (json!({"cpu": {"shares": 262145}}), "cpu.shares", true, false),
            (json!({"cpu": {"quota": -2}}), "cpu.quota", true, true),
            (json!({"cpu": {"idle": 2}}), "cpu.idle", true, true),
            (json!({"cpu": {"cpus": "0\n1"}}), "cpu.cpus", true, true),
            (json!({"cpu": {"mems": "../x"}}), "cpu.mems", true, true),
        ] {
            for (version, refused) in [(Version::V1, v1), (Version::V2, v2)] {
                match text(&resources, version) {
                    Err(error) if refused => {
                        let error = error.to_string();
                        assert!(error.starts_with(&format!("linux.resources.{field}: ")), "{error}");
                    }
                    other => assert!(!refused, "{version:?} {resources}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn shares_become_weight_as_documented() {
        for (shares, expected) in
            [(1, 1), (2, 1), (3, 2), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(cpu::weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (linux, field) in [
            (json!({"intelRdt": {"closID": "x"}}), "linux.intelRdt"),
            (json!({"resources": {"blockIO": {"weight": 10}}}), "linux.resources.blockIO"),
            (
                json!({"resources": {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 1, "rate": 1}]}}}),
                "linux.resources.blockIO",
            ),
            (
                json!({"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}}),
                "linux.resources.hugepageLimits",
            ),
            (json!({"resources": {"network": {"classID": 1}}}), "linux.resources.network.classID"),
            (
                json!({"resources": {"network": {"priorities": [{"name": "lo", "priority": 1}]}}}),
                "linux.resources.network.priorities",
            ),
            (json!({"resources": {"rdma": {"mlx5_1": {"hcaHandles": 3}}}}), "linux.resources.rdma"),
            (json!({"resources": {"unified": {"memory.high": "1"}}}), "linux.resources.unified"),
            (json!({"resources": {"cpu": {"realtimeRuntime": 1}}}), "linux.resources.cpu.realtimeRuntime"),
            (json!({"resources": {"cpu": {"realtimePeriod": 1}}}), "linux.resources.cpu.realtimePeriod"),
        ] {
            let linux: Linux = serde_json::from_value(linux).unwrap();
            let error = refuse_unsupported(Some(&linux)).unwrap_err().to_string();
            assert_eq!(error, format!("{field}: not supported yet"));
        }
        let empty = json!({"intelRdt": {}, "resources": {
            "blockIO": {"weight": 0, "weightDevice": [], "throttleReadBpsDevice": []}, "hugepageLimits": [],
            "network": {"classID": 0, "priorities": []}, "rdma": {}, "unified": {}, "cpu": {"realtimeRuntime": 0},
        }});
        let empty: Linux = serde_json::from_value(empty).unwrap();
        refuse_unsupported(Some(&empty)).unwrap();
        refuse_unsupported(None).unwrap();
    }
}
