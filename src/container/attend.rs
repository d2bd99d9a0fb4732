//! The runtime's side of the choreography: it waits for init at each meeting and does there what only it can do.

use super::net_devices::Moved;
use super::{maps, seal, seccomp};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::init::birth::Newborn;
use crate::init::hook;
use crate::init::link::{Heard, Link};
use crate::init::property;
use crate::plan::Plan;
use crate::plan::step::{Field, Point, Property};
use crate::sys::namespace::Shared;
use crate::sys::{pidfd, process, socket};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a process that closed its wire may take to be gone.
pub(super) const DEATH_WAIT: Duration = Duration::from_secs(10);

/// How long the agent of SCMP_ACT_NOTIFY may think about the call that executes the program.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Goes with init from meeting to meeting, until it stands at `Created` and waits there.
///
/// # Returns
/// What has to be kept once nothing can fail any more; `warn` hears what cannot be taken back.
pub(super) fn until_created(
    plan: &Plan,
    newborn: &Newborn,
    link: &Link,
    cgroup: &mut Cgroup<'_>,
    progress: &Shared,
    warn: fn(&str),
) -> Result<Moved> {
    let mut moved = Moved::none(warn);
    loop {
        match link.hear()? {
            Heard::At(Point::Born) => {
                if let Some(maps) = &plan.maps {
                    maps::give(newborn.pid, maps)?;
                }
                cgroup.attach(newborn.pid)?;
                for &(resource, hard) in &plan.hard_limits {
                    process::raise_hard_limit(newborn.pid, resource, hard)?;
                }
                if !plan.birth.undumpable {
                    adjust_oom_score(plan, newborn.pid)?;
                }
            }
            Heard::At(Point::Network) => moved.move_all(&plan.net_devices, newborn.pid)?,
            Heard::At(Point::Mounted) => {
                for hook in &plan.hooks {
                    hook::run(hook, &plan.state.with(&hook.status, newborn.pid))?;
                }
            }
            Heard::At(Point::Created) => {
                return Ok(moved);
            }
            Heard::At(Point::Going | Point::Listening) | Heard::Listening(_) => {
                return Err(Error::new("init went before it was told to"));
            }
            Heard::Failed(error) => return Err(error),
            Heard::End => return Err(died(plan, newborn, progress)),
        }
        link.go()?;
    }
}

/// Init has been told to go: hears whether execve succeeded; then the wire closes behind `Going`. The listener of its
/// filter goes to the agent, who may have to let it pass.
pub(super) fn until_gone(link: &Link, mut agent: Option<seccomp::Caller<'_>>) -> Result<()> {
    let (mut going, bound) = (false, agent.is_some().then_some(ANSWER_WAIT));
    loop {
        if going && bound.is_some() && !socket::readable(link.fd().as_fd(), bound)? {
            return Err(Error::new(format!("the program does not run after {ANSWER_WAIT:?}"))
                .at("linux.seccomp.listenerPath")
                .hint("does the agent answer, and let execve pass?"));
        }
        match link.hear()? {
            Heard::At(Point::Going) => {
                going = true;
                // While it executes its program.
                seal::let_go();
            }
            Heard::Listening(listener) => {
                let agent =
                    agent.take().ok_or_else(|| Error::new("init has a listener that nobody asked for"))?;
                agent.tell(listener)?;
            }
            Heard::End if agent.is_some() && going => {
                return Err(Error::new("the container's process was killed when its filter was loaded")
                    .at("linux.seccomp")
                    .hint("the filter must allow sendmsg: the listener leaves by it"));
            }
            Heard::At(_) => return Err(Error::new("init met us where nobody waits")),
            Heard::Failed(error) => return Err(error),
            Heard::End if going => return Ok(()),
            Heard::End => {
                return Err(Error::new("the container's process was killed before it could start")
                    .hint("out of memory? see the kernel's log, and linux.resources.memory"));
            }
        }
    }
}

/// process.oomScoreAdj: lowering it is for the runtime to do, as long as the process waits; without privileges only
/// while the process is still dumpable, since afterwards the file is root's.
pub(super) fn adjust_oom_score(plan: &Plan, pid: i32) -> Result<()> {
    let Some(adjustment) = plan.oom_score_adj else { return Ok(()) };
    maps::put(pid, "oom_score_adj", &adjustment.to_string()).map_err(|e| e.at("process.oomScoreAdj"))
}

/// What only the runtime may set of a process, or only while it stands still.
pub(super) fn set_properties(properties: &[(Field, Property)], pid: i32) -> Result<()> {
    let set = |(field, property): &(Field, Property)| property::set(pid, property).map_err(|e| e.at(field));
    properties.iter().try_for_each(set)
}

/// Why init is gone without a word.
fn died(plan: &Plan, newborn: &Newborn, progress: &Shared) -> Error {
    let step = progress.cells()[0].load(Relaxed) as usize;
    let gone = pidfd::exited(newborn.pidfd.as_fd(), DEATH_WAIT).unwrap_or(false);
    let how = match gone.then(|| pidfd::reap(newborn.pidfd.as_fd())) {
        Some(Ok(exit)) => format!("ended with status {}", exit.status()),
        _ => "closed its wire".to_owned(),
    };
    let (field, doing) = plan
        .init
        .get(step)
        .map_or_else(Default::default, |planned| (planned.field.to_string(), planned.step.to_string()));
    Error::new(format!("the container's process {how} while doing: {doing}"))
        .at(field)
        .hint("killed by a memory limit? see linux.resources.memory and the kernel's log")
}
