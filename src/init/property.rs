//! What a process keeps over execve is set: by itself, or by the runtime. Decides nothing: the plan has the numbers.

use crate::error::Result;
use crate::plan::step::{Property, SchedulerAttributes};
use crate::sys::scheduler::{self, SchedAttr};

/// Sets one, of the process with this pid; 0: of the caller. The memory policy is always the caller's.
pub(crate) fn set(pid: i32, property: &Property) -> Result<()> {
    match property {
        Property::Scheduler(attributes) => {
            let SchedulerAttributes { policy, flags, nice, priority, runtime, deadline, period } =
                *attributes;
            let times = SchedAttr { runtime, deadline, period, ..SchedAttr::default() };
            scheduler::sched_setattr(pid, &SchedAttr { policy, flags, nice, priority, ..times })
        }
        Property::IoPriority(priority) => scheduler::ioprio_set(pid, *priority),
        Property::Affinity(cpus) => scheduler::sched_setaffinity(pid, cpus.words()),
        Property::MemoryPolicy(mode, nodes) => scheduler::set_mempolicy(*mode, nodes.words()),
    }
}
