//! What a process sets of itself and keeps over execve: scheduler, I/O priority, CPUs, memory policy (config.md, Linux
//! Process; config-linux.md, Memory policy), as the kernel's numbers. Pure; whether the values fit together is for the
//! rules of `spec` to say, whether the machine has what they name, for the kernel.

use crate::error::Result;
use crate::spec::mask::Mask;
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};
use std::fmt;

/// A property, as the kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Property {
    /// sched_setattr(2).
    Scheduler(SchedulerAttributes),
    /// ioprio_set(2): the class and the level within it, as `IOPRIO_PRIO_VALUE` of linux/ioprio.h puts them together.
    IoPriority(i32),
    /// sched_setaffinity(2).
    Affinity(Mask),
    /// set_mempolicy(2): `MPOL_…` with its flags, and the nodes.
    MemoryPolicy(i32, Mask),
}

/// `struct sched_attr` of linux/sched/types.h, but for its size. What it has of utilization clamps the runtime-spec has
/// no value for: 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SchedulerAttributes {
    /// `SCHED_…`
    pub(crate) policy: u32,
    /// `SCHED_FLAG_…`
    pub(crate) flags: u64,
    /// -20 to 19.
    pub(crate) nice: i32,
    /// 1 to 99 for SCHED_FIFO and SCHED_RR.
    pub(crate) priority: u32,
    /// Nanoseconds.
    pub(crate) runtime: u64,
    /// Nanoseconds.
    pub(crate) deadline: u64,
    /// Nanoseconds; 0: as the deadline.
    pub(crate) period: u64,
}

/// linux/mempolicy.h: the modes.
pub(crate) const MODES: [(MemoryPolicyModeType, i32); 7] = [
    (MemoryPolicyModeType::MpolDefault, 0),
    (MemoryPolicyModeType::MpolBind, 2),
    (MemoryPolicyModeType::MpolInterleave, 3),
    (MemoryPolicyModeType::MpolWeightedInterleave, 6), // Linux 6.9
    (MemoryPolicyModeType::MpolPreferred, 1),
    (MemoryPolicyModeType::MpolPreferredMany, 5), // Linux 5.15
    (MemoryPolicyModeType::MpolLocal, 4),
];

/// linux/mempolicy.h: the flags that go with a mode.
pub(crate) const MODE_FLAGS: [(MemoryPolicyFlagType, i32); 3] = [
    (MemoryPolicyFlagType::MpolFNumaBalancing, 1 << 13), // Linux 5.12
    (MemoryPolicyFlagType::MpolFRelativeNodes, 1 << 14),
    (MemoryPolicyFlagType::MpolFStaticNodes, 1 << 15),
];

/// process.scheduler.
pub(crate) fn scheduler(scheduler: &Scheduler) -> Property {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| flags | scheduler_flag(*flag));
    Property::Scheduler(SchedulerAttributes {
        policy,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority: scheduler.priority().unwrap_or(0).unsigned_abs(),
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

/// linux/sched.h.
fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// process.ioPriority.
pub(crate) fn io_priority(priority: &LinuxIOPriority) -> Property {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    // A rule keeps the level between 0 and 7.
    Property::IoPriority(class << 13 | (priority.priority() & 7) as i32)
}

/// linux.memoryPolicy.
///
/// # Errors
/// The nodes are no list.
pub(crate) fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<Property> {
    let mode = MODES.iter().find(|row| row.0 == policy.mode()).expect("MODES has every variant").1;
    let flags = policy.flags().iter().flatten();
    let flags = MODE_FLAGS.iter().filter(|row| flags.clone().any(|flag| *flag == row.0));
    let mode = flags.fold(mode, |mode, row| mode | row.1);
    let nodes = Mask::new(policy.nodes().as_deref().unwrap_or_default())
        .map_err(|error| error.at("linux.memoryPolicy.nodes"))?;
    Ok(Property::MemoryPolicy(mode, nodes))
}

/// process.execCPUAffinity: the CPUs of the runtime that gives birth, and those of the process once it is in the
/// container's control group; an empty mask is none.
///
/// # Errors
/// One of the two is no list.
pub(crate) fn affinity(process: &Process) -> Result<(Mask, Mask)> {
    let Some(affinity) = process.exec_cpu_affinity() else { return Ok((Mask::default(), Mask::default())) };
    let mask = |name: &str, cpus: &Option<String>| {
        Mask::new(cpus.as_deref().unwrap_or_default())
            .map_err(|error| error.at(format!("process.execCPUAffinity.{name}")))
    };
    Ok((mask("initial", affinity.initial())?, mask("final", affinity.cpu_affinity_final())?))
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Property::Scheduler(SchedulerAttributes {
                policy,
                flags,
                nice,
                priority,
                runtime,
                deadline,
                period,
            }) => write!(
                f,
                "sched_setattr policy {policy} flags {flags:#x} nice {nice} priority {priority} \
                 runtime {runtime} deadline {deadline} period {period}"
            ),
            Property::IoPriority(value) => write!(f, "ioprio_set class {} level {}", value >> 13, value & 7),
            Property::Affinity(cpus) => write!(f, "sched_setaffinity {cpus}"),
            Property::MemoryPolicy(mode, nodes) => {
                write!(f, "set_mempolicy {mode:#x} nodes {nodes:?}", nodes = nodes.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_flags_have_the_specs_names() {
        assert!(MODES.iter().all(|row| row.0.to_string().starts_with("MPOL_")));
        assert!(MODE_FLAGS.iter().all(|row| row.0.to_string().starts_with("MPOL_F_")));
        let mut numbers: Vec<_> = MODES.iter().map(|row| row.1).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    }
}
