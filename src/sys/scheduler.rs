//! When and where a process runs: sched_setattr(2), sched_setaffinity(2), ioprio_set(2), of a process with one thread
//! (pid 0: the caller); set_mempolicy(2) of the caller beside them. They take the kernel's numbers, and know what it
//! means by its refusals.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::libc;

/// `struct sched_attr`, linux/sched/types.h, in the size of Linux 5.3 (SCHED_ATTR_SIZE_VER1).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SchedAttr {
    /// Of this structure; the call fills it in.
    pub(crate) size: u32,
    /// `SCHED_…`
    pub(crate) policy: u32,
    /// `SCHED_FLAG_…`
    pub(crate) flags: u64,
    /// -20 to 19.
    pub(crate) nice: i32,
    /// 1 to 99, for real time.
    pub(crate) priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub(crate) runtime: u64,
    /// Nanoseconds.
    pub(crate) deadline: u64,
    /// Nanoseconds; 0: as the deadline.
    pub(crate) period: u64,
    /// SCHED_FLAG_UTIL_CLAMP_MIN, 0 to 1024.
    pub(crate) util_min: u32,
    /// SCHED_FLAG_UTIL_CLAMP_MAX, 0 to 1024.
    pub(crate) util_max: u32,
}

const SCHED_ISO: u32 = 4;
const SCHED_DEADLINE: u32 = 6;

/// sched_setattr(2).
pub(crate) fn sched_setattr(pid: i32, attr: &SchedAttr) -> Result<()> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: `attr` lives over the call, and says its own size.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, std::ptr::from_ref(&attr), 0) };
    Errno::result(done).map(drop).map_err(|errno| {
        let error = Error::call(format!("sched_setattr(policy {})", attr.policy), errno as i32);
        match (errno, attr.policy) {
            (Errno::EINVAL, SCHED_ISO) => error.hint("Linux has reserved SCHED_ISO, and never had it"),
            (Errno::EINVAL, SCHED_DEADLINE) => error.hint(
                "is the period within sysctl kernel.sched_deadline_period_min_us and kernel.sched_deadline_period_max_us?",
            ),
            (Errno::EPERM, SCHED_DEADLINE) => error.hint(
                "SCHED_DEADLINE needs CAP_SYS_NICE of the host, and all CPUs: no linux.resources.cpu.cpus, no affinity",
            ),
            (Errno::EPERM, _) => error.hint(
                "needs CAP_SYS_NICE of the host, or a process.rlimits RLIMIT_NICE or RLIMIT_RTPRIO that allows it; \
                 real time on cgroup v1 also linux.resources.cpu.realtimeRuntime",
            ),
            (Errno::EBUSY, SCHED_DEADLINE) => error.hint("the CPUs have not that much time left for SCHED_DEADLINE"),
            (Errno::EOPNOTSUPP, _) => error.hint("this kernel clamps no utilization (CONFIG_UCLAMP_TASK)"),
            _ => error,
        }
    })
}

/// sched_setaffinity(2): bit n of word n / 64 is CPU n.
pub(crate) fn sched_setaffinity(pid: i32, cpus: &[u64]) -> Result<()> {
    // SAFETY: the words live over the call, and their length in bytes is the one given.
    let done = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(cpus), cpus.as_ptr()) };
    Errno::result(done).map(drop).map_err(|errno| {
        let error = Error::call("sched_setaffinity", errno as i32);
        match errno {
            Errno::EINVAL => error.hint("none of these CPUs is there, or in the container's cpuset"),
            _ => error,
        }
    })
}

/// ioprio_set(2): class << 13 | level.
pub(crate) fn ioprio_set(pid: i32, priority: i32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: takes numbers.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) };
    Errno::result(done).map(drop).map_err(|errno| {
        let error =
            Error::call(format!("ioprio_set(class {}, {})", priority >> 13, priority & 7), errno as i32);
        match errno {
            Errno::EPERM => error.hint("IOPRIO_CLASS_RT needs CAP_SYS_NICE of the host"),
            _ => error,
        }
    })
}

/// set_mempolicy(2): `MPOL_…` with its flags; bit n of word n / 64 is node n.
pub(crate) fn set_mempolicy(mode: i32, nodes: &[u64]) -> Result<()> {
    // get_nodes of mm/mempolicy.c reads one bit less than it is told of.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: so many bits are there, and the words live over the call.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) };
    Errno::result(done).map(drop).map_err(|errno| {
        let error = Error::call(format!("set_mempolicy({mode:#x})"), errno as i32);
        match errno {
            Errno::EINVAL => error.hint(
                "has the machine these nodes (/sys/devices/system/node/online), and linux.resources.cpu.mems? \
                 MPOL_PREFERRED_MANY needs Linux 5.15, MPOL_WEIGHTED_INTERLEAVE 6.9, MPOL_F_NUMA_BALANCING 5.12",
            ),
            Errno::ENOSYS => error.hint("this kernel knows no memory nodes (CONFIG_NUMA)"),
            _ => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_the_kernels() {
        assert_eq!(size_of::<SchedAttr>(), 56);
        assert_eq!(std::mem::offset_of!(SchedAttr, runtime), 24);
    }
}
