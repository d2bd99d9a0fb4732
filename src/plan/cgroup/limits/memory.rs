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
        if value.is_some_and(|value| value > 0) {
            list.warn(
                field,
                "ignored: the runtime-spec advises against it, and memory.limit counts such memory too",
            );
        }
    }
    let limits = Memory::of(memory)?;
    match list.version {
        Version::V1 => v1(list, memory, &limits),
        Version::V2 => v2(list, memory, &limits),
    }
}

/// limit, reservation and swap (which counts memory too); none: not set, -1: no limit.
struct Memory {
    limit: Option<i64>,
    reservation: Option<i64>,
    swap: Option<i64>,
    /// checkBeforeUpdate: no limit may be below what is in use. v1 refuses that by itself, v2 would kill.
    check: bool,
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
            // -1 is no limit: neither version can count swap together with memory without one.
            (None | Some(-1), Some(1..)) => {
                Err(wrong("memory.swap", "a limit on memory and swap needs memory.limit too"))
            }
            (Some(limit @ 1..), Some(swap @ 1..)) if swap < limit => {
                Err(wrong("memory.swap", format!("{swap} is below memory.limit, {limit}, which it includes")))
            }
            _ => Ok(Memory {
                limit,
                reservation: number("memory.reservation", memory.reservation())?,
                swap,
                check: memory.check_before_update() == Some(true),
            }),
        }
    }
}

fn v1(list: &mut List, memory: &LinuxMemory, limits: &Memory) -> Result<()> {
    let Memory { limit, reservation, swap, check } = *limits;
    if let Some(limit) = limit {
        let write = list.push("memory.limit", "memory.limit_in_bytes", limit);
        write.not_below("memory.usage_in_bytes", check);
    }
    // Memory without limit and nothing said about swap: swap without limit too.
    let swap = swap.or(limit.filter(|limit| *limit == -1));
    if let Some(swap) = swap {
        let write = list.push("memory.swap", "memory.memsw.limit_in_bytes", swap);
        write.not_below("memory.memsw.usage_in_bytes", check);
        write.or_fine(swap == -1);
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

fn v2(list: &mut List, memory: &LinuxMemory, limits: &Memory) -> Result<()> {
    let bytes = |value: i64| if value == -1 { "max".to_owned() } else { value.to_string() };
    let Memory { limit, reservation, swap, check } = *limits;
    if let Some(limit) = limit {
        list.push("memory.limit", "memory.max", bytes(limit)).not_below("memory.current", check);
    }
    let swap = match (limit, swap) {
        (Some(-1), None) => Some(-1),
        (Some(limit @ 1..), Some(swap @ 1..)) => Some(swap - limit),
        (_, swap) => swap,
    };
    if let Some(swap) = swap {
        let write = list.push("memory.swap", "memory.swap.max", bytes(swap));
        write.not_below("memory.swap.current", check);
        // A kernel without swap accounting, or without swap, grants what is asked for here.
        write.or_fine(matches!(swap, -1 | 0));
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
    use super::super::tests::{refused, text, warnings};
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_as_the_kernel_wants_them() {
        for (memory, v1, v2) in [
            (json!({"limit": 4096}), "memory.limit_in_bytes=4096", "memory.max=4096"),
            (
                json!({"limit": 4096, "swap": 8192, "reservation": 1024}),
                "memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes=8192 memory.soft_limit_in_bytes=1024",
                "memory.max=4096 memory.swap.max=4096 memory.low=1024",
            ),
            (
                json!({"limit": 4096, "swap": 4096}),
                "memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes=4096",
                "memory.max=4096 memory.swap.max?=0",
            ),
            (
                json!({"limit": 4096, "swap": -1}),
                "memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes?=-1",
                "memory.max=4096 memory.swap.max?=max",
            ),
            (
                json!({"limit": -1, "reservation": -1}),
                "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes?=-1 memory.soft_limit_in_bytes=-1",
                "memory.max=max memory.swap.max?=max memory.low=max",
            ),
            (json!({"swap": -1}), "memory.memsw.limit_in_bytes?=-1", "memory.swap.max?=max"),
            (json!({"limit": 0, "swap": 0, "reservation": 0}), "", ""),
            (json!({"disableOOMKiller": false}), "", ""),
            (json!({"useHierarchy": true}), "memory.use_hierarchy?=1", ""),
        ] {
            let resources = json!({ "memory": memory });
            assert_eq!(text(&resources, Version::V1), v1, "v1 {resources}");
            assert_eq!(text(&resources, Version::V2), v2, "v2 {resources}");
        }
        let v1 = json!({"memory": {"swappiness": 60, "disableOOMKiller": true, "useHierarchy": false}});
        assert_eq!(
            text(&v1, Version::V1),
            "memory.swappiness=60 memory.oom_control=1 memory.use_hierarchy=0"
        );
    }

    #[test]
    fn check_before_update_is_in_the_plan() {
        let checked =
            json!({"memory": {"limit": 4096, "swap": 8192, "reservation": 1, "checkBeforeUpdate": true}});
        assert_eq!(
            text(&checked, Version::V1),
            "memory.limit_in_bytes=4096>memory.usage_in_bytes \
             memory.memsw.limit_in_bytes=8192>memory.memsw.usage_in_bytes memory.soft_limit_in_bytes=1"
        );
        assert_eq!(
            text(&checked, Version::V2),
            "memory.max=4096>memory.current memory.swap.max=4096>memory.swap.current memory.low=1"
        );
        let none = json!({"memory": {"limit": -1, "checkBeforeUpdate": true}});
        assert_eq!(text(&none, Version::V2), "memory.max=max memory.swap.max?=max");
    }

    #[test]
    fn kernel_limits_are_ignored_aloud() {
        for version in [Version::V1, Version::V2] {
            let kernel = json!({"memory": {"kernel": 5, "kernelTCP": 5}});
            assert_eq!(text(&kernel, version), "");
            let warnings = warnings(&kernel, version);
            assert!(warnings[0].starts_with("linux.resources.memory.kernel: ignored"), "{warnings:?}");
            assert!(warnings[1].starts_with("linux.resources.memory.kernelTCP: ignored"), "{warnings:?}");
        }
        let none = json!({"memory": {"kernel": -1, "kernelTCP": 0}});
        assert!(warnings(&none, Version::V1).is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        let both = &[Version::V1, Version::V2];
        for (memory, field, versions) in [
            (json!({"limit": -2}), "limit", &both[..]),
            (json!({"reservation": -5}), "reservation", both),
            (json!({"swap": 4096}), "swap", both),
            (json!({"limit": -1, "swap": 4096}), "swap", both),
            (json!({"limit": 4096, "swap": 4095}), "swap", both),
            (json!({"swappiness": 101}), "swappiness", both),
            (json!({"swappiness": 60}), "swappiness", &both[1..]),
            (json!({"disableOOMKiller": true}), "disableOOMKiller", &both[1..]),
            (json!({"useHierarchy": false}), "useHierarchy", &both[1..]),
        ] {
            refused(&json!({ "memory": memory }), &format!("memory.{field}"), versions);
        }
    }
}
