//! exec: a further process in a container that is there already. It is planned from the process alone, and from what
//! the container's state says of [`Joining`] it; config.json is not read again. Pure.

use super::host::Host;
use super::lsm;
use super::process::{Becoming, Handed};
use super::property;
use super::seccomp::Loading;
use super::step::{Become, Birth, Field, Handle, HandleId, Namespace, Point, Property, Step, Steps};
use crate::error::Result;
use crate::spec::mask::Mask;
use oci_spec::runtime::{LinuxMemoryPolicy, LinuxPersonality, Process};
use serde::{Deserialize, Serialize};

/// What of a container decides about processes that join it later.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Joining {
    /// `CLONE_NEW…` flags of the namespaces in linux.namespaces, new or joined.
    pub(crate) namespaces: i32,
    /// It has a session keyring of its own.
    pub(crate) keyring: bool,
    /// setgroups(2) is allowed in it.
    pub(crate) setgroups: bool,
    /// Its processes keep the supplementary groups of whoever starts them.
    #[serde(default)]
    pub(crate) keep_groups: bool,
    /// `linux.personality`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) personality: Option<LinuxPersonality>,
    /// `linux.memoryPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_policy: Option<LinuxMemoryPolicy>,
    /// `linux.seccomp`: how the filter is loaded; the program itself is a file in the container's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seccomp: Option<Loading>,
    /// `process`: what a further process has where it says nothing of its own; none: the container cannot be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Process>,
}

impl Joining {
    /// What to remember of a container that its first process becomes like this, with this `process` of config.json, these
    /// namespaces (`CLONE_NEW…` flags) and perhaps a session keyring.
    pub(crate) fn of(
        first: &Becoming<'_>,
        process: Option<&Process>,
        namespaces: i32,
        keyring: bool,
    ) -> Self {
        Joining {
            namespaces,
            keyring,
            setgroups: first.setgroups,
            keep_groups: first.keep_groups,
            personality: first.personality.cloned(),
            memory_policy: first.memory_policy.cloned(),
            seccomp: first.seccomp.cloned(),
            process: process.cloned(),
        }
    }

    fn own(&self, kind: Namespace) -> bool {
        self.namespaces & kind.flag() != 0
    }

    /// Gives a process what it does not say of itself, as runc does.
    pub(crate) fn complete(&self, process: &mut Process) {
        let Some(container) = &self.process else { return };
        if process.no_new_privileges().is_none() {
            process.set_no_new_privileges(container.no_new_privileges());
        }
        if process.capabilities().is_none() {
            process.set_capabilities(container.capabilities().clone());
        }
        if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
            process.set_rlimits(container.rlimits().clone());
        }
        if process.oom_score_adj().is_none() {
            process.set_oom_score_adj(container.oom_score_adj());
        }
        if process.user().umask().is_none() {
            let mut user = process.user().clone();
            user.set_umask(container.user().umask());
            process.set_user(user);
        }
        let absent = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if absent(process.apparmor_profile()) {
            process.set_apparmor_profile(container.apparmor_profile().clone());
        }
        if absent(process.selinux_label()) {
            process.set_selinux_label(container.selinux_label().clone());
        }
        if process.scheduler().is_none() {
            process.set_scheduler(container.scheduler().clone());
        }
        if process.io_priority().is_none() {
            process.set_io_priority(*container.io_priority());
        }
        let placed = process.exec_cpu_affinity().as_ref();
        if placed.is_none_or(|cpus| absent(cpus.initial()) && absent(cpus.cpu_affinity_final())) {
            process.set_exec_cpu_affinity(container.exec_cpu_affinity().clone());
        }
    }
}

/// What the caller asks for besides the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// The pid of its process.
    pub(crate) container: i32,
    /// This many descriptors from 3 on reach the process.
    pub(crate) preserve_fds: u32,
    /// So many of them, the first ones, are announced as LISTEN_FDS.
    pub(crate) listen_fds: u32,
    /// Some control groups take the process only once it is born.
    pub(crate) attach: bool,
}

/// Everything that will happen, decided before anything has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecPlan {
    /// What is odd but allowed.
    pub(crate) warnings: Vec<String>,
    /// How the process is born.
    pub(crate) birth: Birth,
    /// process.oomScoreAdj, written by the runtime.
    pub(crate) oom_score_adj: Option<i32>,
    /// As in a plan of a container: what only the runtime may raise.
    pub(crate) hard_limits: Vec<(u32, u64)>,
    /// process.execCPUAffinity.initial: where the runtime itself runs when it gives birth.
    pub(crate) initial_cpus: Mask,
    /// What the runtime sets of the process, before its program is executed.
    pub(crate) properties: Vec<(Field, Property)>,
    /// What the runtime opens before birth; steps name them by place.
    pub(crate) handles: Vec<(Field, Handle)>,
    /// What the process does.
    pub(crate) init: Steps,
}

/// Decides everything.
///
/// # Errors
/// A field of the process that cannot be had in this container.
pub(crate) fn plan(
    process: &Process,
    container: &Joining,
    host: &Host,
    request: &Request<'_>,
) -> Result<ExecPlan> {
    let becoming = Becoming {
        process,
        personality: container.personality.as_ref(),
        memory_policy: container.memory_policy.as_ref(),
        user_namespace: container.own(Namespace::User),
        setgroups: container.setgroups,
        keep_groups: container.keep_groups,
        forks: true,
        seccomp: container.seccomp.as_ref(),
        hurries: container.seccomp.as_ref().is_some_and(|seccomp| {
            seccomp.hurries([Some(process), container.process.as_ref()], container.own(Namespace::User))
        }),
    };
    let undumpable = host.privileged && !host.nested;
    let birth = Birth { undumpable, ..Birth::default() };
    let (oom_score_adj, hard_limits) = (process.oom_score_adj(), becoming.hard_limits());
    let (initial_cpus, final_cpus) = property::affinity(process)?;
    let (mut init, mut handles) = (Steps::default(), Vec::new());
    if request.attach || oom_score_adj.is_some() || !hard_limits.is_empty() {
        init.push("process", Step::Meet(Point::Born));
    }
    init.push("process", Step::Guard);
    if !final_cpus.is_empty() {
        init.push("process.execCPUAffinity.final", Become::Property(Property::Affinity(final_cpus)));
    }
    if container.namespaces != 0 {
        init.push("linux.namespaces", Step::Enter(container.namespaces));
    }
    if !container.own(Namespace::Mount) {
        handles.push((Field::new("root.path"), Handle::Root(request.container)));
        init.push("root.path", Step::EnterRoot(HandleId(handles.len() - 1)));
    }
    if container.own(Namespace::User) {
        init.push("process.user", Step::BecomeRoot { setgroups: container.setgroups });
    }
    if container.keyring {
        lsm::join_keyring(&mut init, &mut handles, request.id, Some(process), host)?;
    }
    lsm::confine(&mut init, &mut handles, process, host)?;
    becoming.terminal(&mut init, false)?;
    let warnings = becoming.become_it(&mut init, host)?;
    // Only now does a process appear among those of the container, who may be allowed to trace it: it has no more rights
    // than they have.
    init.push("process", Step::Fork);
    becoming.limit(&mut init, true);
    init.push("process", Step::Guard);
    init.push("process", Step::Setsid);
    becoming.control(&mut init);
    let properties = becoming.schedule(&mut init, host);
    if !properties.is_empty() {
        init.push("process", Step::Meet(Point::Created));
    }
    init.push("process", Step::Unguard);
    let (descriptors, listening) = (request.preserve_fds, request.listen_fds);
    becoming.go(&mut init, Handed { descriptors, listening, notify: None })?;
    Ok(ExecPlan { warnings, birth, oom_score_adj, hard_limits, initial_cpus, properties, handles, init })
}
