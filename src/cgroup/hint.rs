//! What a person can do about a limit that the kernel refuses. It decides nothing, and touches nothing.

use crate::error::Error;
use crate::plan::cgroup::Write;
use nix::errno::Errno;

const IDLE: &str = "an idle cgroup has no weight: is cpu.idle 1? set linux.resources.cpu.idle to 0 as well";

/// The beginning of a file's name, what its name contains besides, what the kernel says, and what that means.
const HINTS: [(&str, &str, Errno, &str); 14] = [
    (
        "memory.",
        "sw",
        Errno::ENOENT,
        "the kernel does not count swap: boot it with swapaccount=1, or give it swap",
    ),
    ("memory.limit_in_bytes", "", Errno::EBUSY, "more than that is in use and cannot be freed"),
    ("memory.memsw", "", Errno::EBUSY, "more than that is in use and cannot be freed"),
    ("hugetlb.", "", Errno::ENOENT, "the kernel has no pages of this size: see /sys/kernel/mm/hugepages"),
    (
        "blkio.leaf_weight",
        "",
        Errno::ENOENT,
        "Linux 5.0 dropped leaf weights together with the CFQ scheduler",
    ),
    ("blkio.weight", "", Errno::ENOENT, "weights need the BFQ scheduler: load the module bfq"),
    (
        "io.bfq.weight",
        "",
        Errno::ENOENT,
        "weights need the BFQ scheduler (load the module bfq) or CONFIG_BLK_CGROUP_IOCOST",
    ),
    ("cpu.rt_", "", Errno::ENOENT, "the kernel is built without CONFIG_RT_GROUP_SCHED"),
    ("cpu.rt_", "", Errno::EINVAL, "each cgroup above needs a cpu.rt_runtime_us of its own that is no less"),
    ("cpu.", "burst", Errno::ENOENT, "cpu.burst needs Linux 5.14"),
    ("cpu.weight", "", Errno::EINVAL, IDLE),
    ("cpu.shares", "", Errno::EINVAL, IDLE),
    ("cpu.idle", "", Errno::ENOENT, "cpu.idle needs Linux 5.15"),
    ("net_prio.", "", Errno::ENODEV, "the runtime's network namespace has no such interface"),
];

/// Adds the hint for this limit, if there is one.
pub(super) fn add(error: Error, write: &Write) -> Error {
    let fits = |(start, part, errno, _): &&(&str, &str, Errno, &str)| {
        write.file.starts_with(start) && write.file.contains(part) && error.errno() == *errno as i32
    };
    match HINTS.iter().find(fits) {
        Some((.., text)) => error.hint(*text),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::Absent;
    use crate::plan::step::Field;

    #[test]
    fn known_causes_are_named() {
        let hint = |file: &'static str, errno: Errno| {
            let write = Write {
                field: Field::new("linux.resources"),
                controller: "any".into(),
                file: file.into(),
                value: "1".into(),
                absent: Absent::Error,
                floor: None,
            };
            add(Error::call("write", errno as i32), &write).parts()[3].to_owned()
        };
        assert!(hint("memory.memsw.limit_in_bytes", Errno::ENOENT).contains("swapaccount"));
        assert!(hint("memory.swap.max", Errno::ENOENT).contains("swapaccount"));
        assert!(hint("cpu.cfs_burst_us", Errno::ENOENT).contains("5.14"));
        assert!(hint("cpu.max.burst", Errno::ENOENT).contains("5.14"));
        assert!(hint("cpu.weight", Errno::EINVAL).contains("cpu.idle"));
        assert!(hint("cpu.shares", Errno::EINVAL).contains("cpu.idle"));
        assert_eq!(hint("cpu.weight", Errno::ERANGE), "");
        assert_eq!(hint("cpu.max", Errno::EINVAL), "");
        assert_eq!(hint("memory.max", Errno::ENOENT), "");
    }
}
