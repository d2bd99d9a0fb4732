//! linux.resources.cpu (config-linux.md, CPU): the controllers cpu and cpuset. Pure. Conversions from v1 to v2 are the
//! ones that runc and crun document.

use super::{List, wrong};
use crate::error::Result;
use crate::plan::cgroup::Version;
use oci_spec::runtime::{LinuxCpu, LinuxResources};

/// The kernel's default period of cpu.max, in microseconds (admin-guide/cgroup-v2.rst).
const DEFAULT_PERIOD: u64 = 100_000;

/// The values of cpu.shares that the kernel takes as they are.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// cpus and mems, of the cpuset controller.
pub(super) fn set(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
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

/// All else, of the cpu controller.
pub(super) fn time(list: &mut List, resources: &LinuxResources) -> Result<()> {
    match (resources.cpu(), list.version) {
        (None, _) => Ok(()),
        (Some(cpu), Version::V1) => v1(list, cpu),
        (Some(cpu), Version::V2) => v2(list, cpu),
    }
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

fn v1(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
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
    // The kernel holds a period against the runtime that was there: where it refuses one, it is tried again at the end.
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        list.push("cpu.realtimePeriod", "cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        list.push("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime);
    }
    idle(list, cpu)
}

fn v2(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
    let runtime = cpu.realtime_runtime().is_some_and(|runtime| runtime != 0);
    let period = cpu.realtime_period().is_some_and(|period| period != 0);
    for (field, asked) in [("cpu.realtimeRuntime", runtime), ("cpu.realtimePeriod", period)] {
        if asked {
            return Err(wrong(field, "cgroup v2 cannot share out realtime processor time"));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, text};
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_as_the_kernel_wants_them() {
        for (cpu, v1, v2) in [
            (json!({"shares": 1024}), "cpu.shares=1024", "cpu.weight=100"),
            (
                json!({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0}),
                "",
                "",
            ),
            (
                json!({"quota": 50000, "period": 200000, "burst": 10}),
                "cpu.cfs_period_us=200000 cpu.cfs_quota_us=50000 cpu.cfs_burst_us=10",
                "cpu.max=50000 200000 cpu.max.burst=10",
            ),
            (json!({"quota": 50000}), "cpu.cfs_quota_us=50000", "cpu.max=50000 100000"),
            (json!({"quota": -1}), "cpu.cfs_quota_us=-1", "cpu.max=max 100000"),
            (json!({"period": 5000}), "cpu.cfs_period_us=5000", "cpu.max=max 5000"),
            (json!({"burst": 0}), "cpu.cfs_burst_us?=0", "cpu.max.burst?=0"),
            (json!({"idle": 1}), "cpu.idle=1", "cpu.idle=1"),
            (json!({"idle": 0}), "cpu.idle?=0", "cpu.idle?=0"),
            (
                json!({"cpus": "0-1,3", "mems": "0"}),
                "cpuset.cpus=0-1,3 cpuset.mems=0",
                "cpuset.cpus=0-1,3 cpuset.mems=0",
            ),
            (json!({"cpus": "", "mems": ""}), "", ""),
        ] {
            let resources = json!({ "cpu": cpu });
            assert_eq!(text(&resources, Version::V1), v1, "v1 {resources}");
            assert_eq!(text(&resources, Version::V2), v2, "v2 {resources}");
        }
        let realtime = json!({"cpu": {"realtimeRuntime": 950_000, "realtimePeriod": 1_000_000}});
        assert_eq!(text(&realtime, Version::V1), "cpu.rt_period_us=1000000 cpu.rt_runtime_us=950000");
    }

    #[test]
    fn nonsense_is_refused() {
        let both = &[Version::V1, Version::V2];
        for (cpu, field, versions) in [
            (json!({"shares": 1}), "shares", &both[..1]),
            (json!({"shares": 262_145}), "shares", &both[..1]),
            (json!({"quota": -2}), "quota", both),
            (json!({"idle": 2}), "idle", both),
            (json!({"cpus": "0\n1"}), "cpus", both),
            (json!({"mems": "../x"}), "mems", both),
            (json!({"realtimeRuntime": 1}), "realtimeRuntime", &both[1..]),
            (json!({"realtimePeriod": 1}), "realtimePeriod", &both[1..]),
        ] {
            refused(&json!({ "cpu": cpu }), &format!("cpu.{field}"), versions);
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
}
