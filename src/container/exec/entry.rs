//! The way of a process into a container: the runtime's side of the choreography of `exec`.

use crate::cgroup::entrance::Entrance;
use crate::container::child::Child;
use crate::container::process::Process as Alive;
use crate::container::saved::Saved;
use crate::container::state::Status;
use crate::container::terminal::{Console, Terminal};
use crate::container::{ExecOptions, attend, foreground, handles, maps, pid_file, seccomp};
use crate::error::{Error, Result};
use crate::init::birth::{self, Newborn};
use crate::init::console::Attendant;
use crate::init::link::{Heard, Link};
use crate::init::{self, Inheritance};
use crate::plan::exec::ExecPlan;
use crate::plan::step::{MountCall, Point, StateText, Step};
use crate::sys::namespace::Shared;
use crate::sys::{pidfd, process, scheduler, socket};
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long the process may say nothing on its way, unless it may have to wait in a paused container: once it is seen,
/// whoever is root there may stop it.
const SILENCE: Duration = Duration::from_secs(60);

/// There are no hooks that would read a state.
static NO_HOOKS: StateText = StateText { head: String::new(), tail: String::new() };

/// A process that was decided about, and all that it needs on its way.
pub(super) struct Entry<'a> {
    /// What will happen.
    pub(super) plan: &'a ExecPlan,
    /// What the caller wants to know of it.
    pub(super) options: &'a ExecOptions,
    /// The container's process.
    pub(super) container: &'a Alive,
    /// The container.
    pub(super) saved: &'a Saved,
    /// Where its terminal goes.
    pub(super) console: Console,
    /// The control groups.
    pub(super) entrance: Option<Entrance<'a>>,
    /// The compiled program of linux.seccomp.
    pub(super) filter: Option<Vec<u8>>,
}

impl<'a> Entry<'a> {
    /// Goes up to the moment when the process's program runs and the caller knows its pid.
    pub(super) fn carry_out(mut self) -> Result<(Newborn, Option<Terminal>)> {
        let pidfd_socket = self.options.pidfd_socket.as_deref().map(socket::connect_stream).transpose();
        let pidfd_socket = pidfd_socket.map_err(|e| e.at("--pidfd-socket"))?;
        let shared = Shared::new()?;
        let [_, born, ..] = shared.cells();
        let agent = seccomp::Caller::connect(self.saved, Status::Running, born)?;
        if !self.options.detach {
            foreground::hold_signals()?;
        }
        let (link, far) = Link::pair()?;
        if !self.options.ignore_paused {
            link.hear_within(SILENCE)?;
        }
        let way = self.console.open()?;
        let inheritance = self.inheritance(&shared, far, way.far)?;
        let first = self.first(inheritance, &shared)?;
        let ready = self.settle(first.get(), &link).and_then(|()| self.set_properties(&link, born));
        let gone = ready.and_then(|()| attend::until_gone(&link, agent));
        // Its work is done, or in vain.
        drop(first);
        let child = newborn(born)?;
        gone?;
        let child = child.ok_or_else(|| Error::new("nothing was born"))?;
        let newborn = child.get();
        if let Some(socket) = pidfd_socket {
            let pidfd = newborn.pidfd.as_fd();
            socket::send(socket.as_fd(), b"pidfd", &[pidfd]).map_err(|e| e.at("--pidfd-socket"))?;
        }
        let terminal = way.near.as_ref().map(Terminal::attend).transpose()?;
        self.options.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, newborn.pid))?;
        Ok((child.keep(), terminal))
    }

    /// What the first process is born with.
    fn inheritance(
        &mut self,
        shared: &Shared,
        link: Link,
        console: Option<Attendant>,
    ) -> Result<Inheritance<'a>> {
        let beside = self.container.fd().try_clone_to_owned();
        let beside = beside.map_err(|e| Error::call("dup(pidfd)", e.raw_os_error().unwrap_or(0)))?;
        let opened = handles::open(&self.plan.handles)?;
        if self.container.exited(Duration::ZERO)? {
            // What was opened by its pid may be another's.
            return Err(super::stopped());
        }
        let [progress, born, ..] = shared.cells();
        Ok(Inheritance {
            steps: &self.plan.init,
            handles: &self.plan.handles,
            opened,
            mounts: MountCall::default(),
            state: &NO_HOOKS,
            link,
            gate: None,
            console,
            progress,
            born,
            preserved: self.plan.init.preserved(),
            filter: self.filter.take(),
            beside: Some(beside),
        })
    }

    /// The process that enters, and gives birth inside.
    fn first(&mut self, inheritance: Inheritance<'_>, shared: &Shared) -> Result<Child> {
        if !self.plan.initial_cpus.is_empty() {
            let set = scheduler::sched_setaffinity(0, self.plan.initial_cpus.words());
            set.map_err(|error| error.at("process.execCPUAffinity.initial"))?;
        }
        loop {
            let cgroup = self.entrance.as_ref().and_then(Entrance::birth_fd);
            match birth::be_born(&self.plan.birth, &inheritance, cgroup, shared) {
                Ok(None) => init::run(inheritance),
                Ok(Some(first)) => return Ok(Child::of(first)),
                Err(error) => {
                    let detour = |entrance: &mut Entrance<'_>| entrance.detour(&error, self.container.pid());
                    if !self.entrance.as_mut().map_or(Ok(false), detour)? {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// At `Born`: what only the runtime can do for the process, whose child has it, too.
    fn settle(&self, first: &Newborn, link: &Link) -> Result<()> {
        if self.plan.init.first().is_none_or(|first| first.step != Step::Meet(Point::Born)) {
            return Ok(());
        }
        meet(link, Point::Born)?;
        let entrance = self.entrance.as_ref();
        entrance.map_or(Ok(()), |entrance| entrance.attach(first.pid, self.container.pid()))?;
        for &(resource, hard) in &self.plan.hard_limits {
            process::raise_hard_limit(first.pid, resource, hard)?;
        }
        if let Some(adjustment) = self.plan.oom_score_adj {
            let put = maps::put(first.pid, "oom_score_adj", &adjustment.to_string());
            put.map_err(|error| error.at("process.oomScoreAdj"))?;
        }
        go(link)
    }

    /// At `Created`: what only the runtime can set of the process itself, since a fork would not pass it on.
    fn set_properties(&self, link: &Link, born: &AtomicU32) -> Result<()> {
        if self.plan.properties.is_empty() {
            return Ok(());
        }
        meet(link, Point::Created)?;
        attend::set_properties(&self.plan.properties, born.load(Relaxed) as i32)?;
        go(link)
    }
}

/// Waits for the process at this meeting.
fn meet(link: &Link, point: Point) -> Result<()> {
    match link.hear()? {
        Heard::At(at) if at == point => Ok(()),
        Heard::Failed(error) => Err(error),
        Heard::At(_) | Heard::Listening(_) | Heard::End => Err(killed()),
    }
}

fn go(link: &Link) -> Result<()> {
    link.go().map_err(|error| if error.errno() == Errno::EPIPE as i32 { killed() } else { error })
}

/// It ended without a word of its own, most likely with its container.
fn killed() -> Error {
    Error::new("the process was killed as it was born")
}

/// Whom the first process has given birth to; our child, so that the pid is its own until we reap it.
fn newborn(born: &AtomicU32) -> Result<Option<Child>> {
    let pid = born.load(Relaxed) as i32;
    Ok(pidfd::pidfd_open(pid)?.map(|pidfd| Child::of(Newborn { pid, pidfd })))
}
