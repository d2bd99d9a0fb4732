//! linux.resources.memory (config-linux.md, Memory). Pure. Conversions from v1 to v2 are the ones that runc and crun
//! document.

use super::{List, wrong};
use crate::error::Result;
use crate::plan::cgroup::Version;
use oci_spec::runtime::{LinuxMemory, LinuxResources};

/// The memory controller.
pub(super) fn limit(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    for (field, value) in [("memory.kernel", memory.kernel()), ("memory.kernelTCP", memory.kernel_tcp())] {
        if value.is_some_and(|value| value != 0) {
            list.warn(field, "ignored: the spec says NOT RECOMMENDED, and Linux has dropped it");
        }
    }
    match list.version {
        Version::V1 => v1(list, memory),
        Version::V2 => v2(list, memory),
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

fn v1(list: &mut List, memory: &LinuxMemory) -> Result<()> {
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

fn v2(list: &mut List, memory: &LinuxMemory) -> Result<()> {
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
