//! linux.resources.memory, cpu and pids as files and values of cgroup v1 and v2 (config-linux.md, Memory, CPU, PIDs).
//! Pure. 0 means "not set" wherever the kernel could not take it as a limit; a resource that is not supported is
//! refused, never left out. Conversions from v1 to v2 are the ones that runc and crun document.

use super::{Absent, Version, Write};
use crate::error::{Error, Result};
use crate::plan::step::Field;
use oci_spec::runtime::{Linux, LinuxCpu, LinuxMemory, LinuxResources};

/// The controllers with limits here, in the order in which they are set.
pub(crate) const CONTROLLERS: [&str; 4] = ["cpuset", "cpu", "memory", "pids"];

/// The kernel's default period of cpu.max, in microseconds (admin-guide/cgroup-v2.rst).
const DEFAULT_PERIOD: u64 = 100_000;

/// The values of cpu.shares that the kernel takes as they are.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// The limits of one controller.
pub(crate) fn writes(
    resources: Option<&LinuxResources>,
    controller: &'static str,
    version: Version,
) -> Result<Vec<Write>> {
    let Some(resources) = resources else { return Ok(Vec::new()) };
    let mut list = List { controller, writes: Vec::new() };
    match (controller, resources.cpu(), resources.memory(), resources.pids()) {
        ("cpuset", Some(cpu), ..) => cpuset(&mut list, cpu)?,
        ("cpu", Some(cpu), ..) if version == Version::V1 => cpu_v1(&mut list, cpu)?,
        ("cpu", Some(cpu), ..) => cpu_v2(&mut list, cpu)?,
        ("memory", _, Some(memory), _) => match version {
            Version::V1 => memory_v1(&mut list, memory)?,
            Version::V2 => memory_v2(&mut list, memory)?,
        },
        ("pids", .., Some(pids)) => list.pids(pids.limit())?,
        _ => {}
    }
    Ok(list.writes)
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
    writes: Vec<Write>,
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

    /// 0 is a limit, but one that the kernel would hold against the container's first process; 1 is the same for all
    /// others.
    fn pids(&mut self, limit: i64) -> Result<()> {
        let value = match limit {
            -1 => "max".to_owned(),
            0.. => limit.max(1).to_string(),
            _ => return Err(wrong("pids.limit", format!("{limit} is neither a number of processes nor -1"))),
        };
        self.push("pids.limit", "pids.max", value);
        Ok(())
    }
}

fn wrong(field: &str, reason: impl Into<String>) -> Error {
    Error::new(reason).at(format!("linux.resources.{field}"))
}

fn cpuset(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
    for (field, file, value) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { continue };
        if !value.chars().all(|c| c.is_ascii_digit() || [',', '-', ' '].contains(&c)) {
            return Err(wrong(field, format!("{value:?} is no list of numbers and ranges")));
        }
        list.push(field, file, value);
    }
    Ok(())
}

/// What cpu limits say on both versions: quota (none: not set; -1: no limit) and burst.
fn quota(cpu: &LinuxCpu) -> Result<Option<i64>> {
    match cpu.quota().filter(|quota| *quota != 0) {
        Some(quota) if quota < -1 => Err(wrong("cpu.quota", format!("{quota} is neither a time nor -1"))),
        quota => Ok(quota),
    }
}

fn idle(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
    match cpu.idle() {
        None => {}
        Some(idle @ (0 | 1)) => list.push("cpu.idle", "cpu.idle", idle).or_fine(idle == 0),
        Some(idle) => return Err(wrong("cpu.idle", format!("{idle} is neither 0 nor 1"))),
    }
    Ok(())
}

fn cpu_v1(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        if !SHARES.contains(&shares) {
            return Err(wrong(
                "cpu.shares",
                format!("{shares} is not between {} and {}", SHARES.start(), SHARES.end()),
            ));
        }
        list.push("cpu.shares", "cpu.shares", shares);
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        list.push("cpu.period", "cpu.cfs_period_us", period);
    }
    if let Some(quota) = quota(cpu)? {
        list.push("cpu.quota", "cpu.cfs_quota_us", quota);
    }
    if let Some(burst) = cpu.burst() {
        list.push("cpu.burst", "cpu.cfs_burst_us", burst).or_fine(burst == 0);
    }
    idle(list, cpu)
}

fn cpu_v2(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        list.push("cpu.shares", "cpu.weight", weight(shares));
    }
    let (quota, period) = (quota(cpu)?, cpu.period().filter(|period| *period != 0));
    if quota.is_some() || period.is_some() {
        let field = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        let quota = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        list.push(field, "cpu.max", format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)));
    }
    if let Some(burst) = cpu.burst() {
        list.push("cpu.burst", "cpu.max.burst", burst).or_fine(burst == 0);
    }
    idle(list, cpu)
}

/// cpu.shares (2 to 262144, default 1024) as cpu.weight (1 to 10000, default 100): the quadratic curve through these
/// three points that runc and crun use, y = 10^((log2(x)² + 125 log2(x)) / 612 - 7/34), rounded up.
pub(crate) fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// limit, reservation and swap (which counts memory too); none: not set, -1: no limit.
struct Memory {
    limit: Option<i64>,
    reservation: Option<i64>,
    swap: Option<i64>,
}

impl Memory {
    fn of(memory: &LinuxMemory) -> Result<Self> {
        let number = |field, value: Option<i64>| match value.filter(|value| *value != 0) {
            Some(bytes) if bytes < -1 => {
                Err(wrong(field, format!("{bytes} is neither a number of bytes nor -1")))
            }
            value => Ok(value),
        };
        let limit = number("memory.limit", memory.limit())?;
        let swap = number("memory.swap", memory.swap())?;
        match (limit, swap) {
            (None, Some(1..)) => {
                Err(wrong("memory.swap", "a limit on memory and swap needs memory.limit too"))
            }
            (Some(limit @ 1..), Some(swap @ 1..)) if swap < limit => {
                Err(wrong("memory.swap", format!("{swap} is below memory.limit, {limit}, which it includes")))
            }
            _ => Ok(Memory { limit, reservation: number("memory.reservation", memory.reservation())?, swap }),
        }
    }
}

fn memory_v1(list: &mut List, memory: &LinuxMemory) -> Result<()> {
    let Memory { limit, reservation, swap } = Memory::of(memory)?;
    if let Some(limit) = limit {
        list.push("memory.limit", "memory.limit_in_bytes", limit);
    }
    // Memory without limit and nothing said about swap: swap without limit too.
    let swap = swap.or(limit.filter(|limit| *limit == -1));
    if let Some(swap) = swap {
        list.push("memory.swap", "memory.memsw.limit_in_bytes", swap).or_fine(swap == -1);
    }
    if let Some(reservation) = reservation {
        list.push("memory.reservation", "memory.soft_limit_in_bytes", reservation);
    }
    match memory.swappiness() {
        None => {}
        Some(swappiness @ 0..=100) => drop(list.push("memory.swappiness", "memory.swappiness", swappiness)),
        Some(swappiness) => return Err(wrong("memory.swappiness", format!("{swappiness} is above 100"))),
    }
    if memory.disable_oom_killer() == Some(true) {
        list.push("memory.disableOOMKiller", "memory.oom_control", 1);
    }
    if let Some(hierarchy) = memory.use_hierarchy() {
        list.push("memory.useHierarchy", "memory.use_hierarchy", u8::from(hierarchy)).or_fine(hierarchy);
    }
    Ok(())
}

fn memory_v2(list: &mut List, memory: &LinuxMemory) -> Result<()> {
    let bytes = |value: i64| if value == -1 { "max".to_owned() } else { value.to_string() };
    let Memory { limit, reservation, swap } = Memory::of(memory)?;
    if let Some(limit) = limit {
        list.push("memory.limit", "memory.max", bytes(limit));
    }
    let swap = match (limit, swap) {
        (Some(-1), None) => Some(-1),
        (Some(limit @ 1..), Some(swap @ 1..)) => Some(swap - limit),
        (_, swap) => swap,
    };
    if let Some(swap) = swap {
        // A kernel without swap accounting, or without swap, grants what is asked for here.
        list.push("memory.swap", "memory.swap.max", bytes(swap)).or_fine(matches!(swap, -1 | 0));
    }
    if let Some(reservation) = reservation {
        list.push("memory.reservation", "memory.low", bytes(reservation));
    }
    let absent = |field, what| Err(wrong(field, format!("cgroup v2 cannot {what}")));
    if memory.swappiness().is_some() {
        return absent("memory.swappiness", "set it for one cgroup");
    }
    if memory.disable_oom_killer() == Some(true) {
        return absent("memory.disableOOMKiller", "disable the OOM killer");
    }
    if memory.use_hierarchy() == Some(false) {
        return absent("memory.useHierarchy", "count memory without its hierarchy");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// All writes, as `file=value`, `?` for those that may be missing.
    fn text(resources: &Value, version: Version) -> Result<String> {
        let resources: LinuxResources = serde_json::from_value(resources.clone()).unwrap();
        let mut all = Vec::new();
        for controller in CONTROLLERS {
            for write in writes(Some(&resources), controller, version)? {
                assert_eq!(write.controller, controller);
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
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (linux, field) in [
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
        let empty = json!({"resources": {
            "blockIO": {"weight": 0, "weightDevice": [], "throttleReadBpsDevice": []}, "hugepageLimits": [],
            "network": {"classID": 0, "priorities": []}, "rdma": {}, "unified": {}, "cpu": {"realtimeRuntime": 0},
        }});
        let empty: Linux = serde_json::from_value(empty).unwrap();
        refuse_unsupported(Some(&empty)).unwrap();
        refuse_unsupported(None).unwrap();
    }
}
