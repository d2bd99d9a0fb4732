//! When and where a process runs: process.scheduler, process.ioPriority, process.execCPUAffinity (config.md, Linux
//! Process; sched_setattr(2), ioprio_set(2)). What the kernel would refuse without a reason, or take and ignore, is
//! refused here by name.

use super::mask::Mask;
use super::{Rule, list, require};
use crate::error::{Error, Result};
use oci_spec::runtime::LinuxSchedulerFlag::{
    SchedFlagDLOverrun, SchedFlagKeepParams, SchedFlagKeepPolicy, SchedFlagReclaim, SchedResetOnFork,
};
use oci_spec::runtime::LinuxSchedulerPolicy::{SchedBatch, SchedDeadline, SchedFifo, SchedOther, SchedRr};
use oci_spec::runtime::{Process, Scheduler, Spec};

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "process.scheduler.nice", section: SCHEDULER, check: |spec| scheduler(spec, nice) },
    Rule { field: "process.scheduler.priority", section: SCHEDULER, check: |spec| scheduler(spec, priority) },
    Rule { field: "process.scheduler", section: SCHEDULER, check: |spec| scheduler(spec, deadline) },
    Rule { field: "process.scheduler.flags", section: SCHEDULER, check: |spec| scheduler(spec, flags) },
    Rule { field: "process.scheduler", section: SCHEDULER, check: hooks_can_be_started },
    Rule {
        field: "process.ioPriority.priority",
        section: "config.md, Linux Process; ioprio_set(2)",
        check: io_priority,
    },
    Rule { field: "process.execCPUAffinity", section: "config.md, Linux Process", check: affinity },
];

const SCHEDULER: &str = "config.md, Linux Process; sched_setattr(2)";

/// The shortest runtime that the kernel schedules, in nanoseconds (DL_SCALE, kernel/sched/deadline.c).
const SHORTEST: u64 = 1 << 10;
/// The kernel keeps the highest bit of runtime, deadline and period for itself.
const LONGEST: u64 = (1 << 63) - 1;

fn process(spec: &Spec, check: impl Fn(&Process) -> Result<()>) -> Result<()> {
    spec.process().as_ref().map_or(Ok(()), check)
}

fn scheduler(spec: &Spec, check: fn(&Scheduler) -> Result<()>) -> Result<()> {
    process(spec, |process| process.scheduler().as_ref().map_or(Ok(()), check))
}

/// The policy, or else its parameters, stay as they are: they need not fit each other here.
fn keeps(scheduler: &Scheduler) -> bool {
    let flags = list(scheduler.flags());
    flags.contains(&SchedFlagKeepPolicy) || flags.contains(&SchedFlagKeepParams)
}

fn nice(scheduler: &Scheduler) -> Result<()> {
    let (nice, policy) = (scheduler.nice().unwrap_or(0), scheduler.policy());
    require((-20..=19).contains(&nice), format!("{nice} is not between -20 and 19"))?;
    let meant = nice == 0 || [SchedOther, SchedBatch].contains(policy) || keeps(scheduler);
    require(meant, format!("{policy} has none: only SCHED_OTHER and SCHED_BATCH do"))
}

fn priority(scheduler: &Scheduler) -> Result<()> {
    let (priority, policy) = (scheduler.priority().unwrap_or(0), scheduler.policy());
    match [SchedFifo, SchedRr].contains(policy) {
        _ if keeps(scheduler) => {
            require((0..=99).contains(&priority), format!("{priority} is not between 0 and 99"))
        }
        true => {
            require((1..=99).contains(&priority), format!("{priority} is not between 1 and 99 for {policy}"))
        }
        false => require(
            priority == 0,
            format!("{policy} has none: only SCHED_FIFO and SCHED_RR have one above 0"),
        ),
    }
}

/// `__checkparam_dl` of kernel/sched/deadline.c, but for its sysctls.
fn deadline(scheduler: &Scheduler) -> Result<()> {
    let runtime = scheduler.runtime().unwrap_or(0);
    let deadline = scheduler.deadline().unwrap_or(0);
    let period = scheduler.period().unwrap_or(0);
    let each = [("runtime", runtime), ("deadline", deadline), ("period", period)];
    if keeps(scheduler) {
        return Ok(());
    }
    if *scheduler.policy() != SchedDeadline {
        return match each.iter().find(|(_, value)| *value != 0) {
            Some((name, _)) => {
                Err(Error::new("only SCHED_DEADLINE has one").at(format_args!("process.scheduler.{name}")))
            }
            None => Ok(()),
        };
    }
    for (name, value) in each {
        require(value <= LONGEST, format!("{value} is above {LONGEST}"))
            .map_err(|error| error.at(format_args!("process.scheduler.{name}")))?;
    }
    require(runtime >= SHORTEST, format!("{runtime} ns, the kernel takes {SHORTEST} or more"))
        .map_err(|error| error.at("process.scheduler.runtime"))?;
    require(runtime <= deadline, format!("{deadline} ns is less than the runtime, {runtime} ns"))
        .map_err(|error| error.at("process.scheduler.deadline"))?;
    require(
        period == 0 || deadline <= period,
        format!("{period} ns is less than the deadline, {deadline} ns"),
    )
    .map_err(|error| error.at("process.scheduler.period"))
}

fn flags(scheduler: &Scheduler) -> Result<()> {
    let odd = [(SchedFlagReclaim, "SCHED_FLAG_RECLAIM"), (SchedFlagDLOverrun, "SCHED_FLAG_DL_OVERRUN")];
    for (flag, name) in odd {
        let meant = *scheduler.policy() == SchedDeadline || keeps(scheduler);
        require(
            meant || !list(scheduler.flags()).contains(&flag),
            format!("{name} is for SCHED_DEADLINE only"),
        )?;
    }
    Ok(())
}

/// fork(2) of a process of SCHED_DEADLINE is refused (EAGAIN), unless its children are of SCHED_OTHER.
fn hooks_can_be_started(spec: &Spec) -> Result<()> {
    let hooks = spec.hooks().as_ref().is_some_and(|hooks| !list(hooks.start_container()).is_empty());
    process(spec, |process| match process.scheduler() {
        Some(scheduler) if hooks && *scheduler.policy() == SchedDeadline => require(
            list(scheduler.flags()).contains(&SchedResetOnFork),
            "a process of SCHED_DEADLINE starts no hooks.startContainer without SCHED_FLAG_RESET_ON_FORK",
        ),
        _ => Ok(()),
    })
}

fn io_priority(spec: &Spec) -> Result<()> {
    process(spec, |process| match process.io_priority() {
        Some(io) => {
            require((0..=7).contains(&io.priority()), format!("{} is not between 0 and 7", io.priority()))
        }
        None => Ok(()),
    })
}

fn affinity(spec: &Spec) -> Result<()> {
    process(spec, |process| {
        let Some(affinity) = process.exec_cpu_affinity() else { return Ok(()) };
        let each = [("initial", affinity.initial()), ("final", affinity.cpu_affinity_final())];
        each.into_iter().try_for_each(|(name, cpus)| {
            Mask::new(cpus.as_deref().unwrap_or_default())
                .map(drop)
                .map_err(|error| error.at(format_args!("process.execCPUAffinity.{name}")))
        })
    })
}
