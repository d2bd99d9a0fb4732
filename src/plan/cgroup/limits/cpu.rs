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
    idle(list, cpu)
}

fn v2(list: &mut List, cpu: &LinuxCpu) -> Result<()> {
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
