//! process (config.md, Process; POSIX and Linux process): everything between the root being `/` and execve.

use super::Maps;
use super::capabilities::{self, Sets};
use super::host::Host;
use super::namespaces::{self, Namespaces};
use super::property;
use super::seccomp::Loading;
use super::step::{Become, Field, Namespace, Property, Step, Steps};
use crate::error::{Error, Result};
use oci_spec::runtime::{
    LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, PosixRlimitType, Process, Spec,
};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// PER_LINUX and PER_LINUX32, linux/personality.h.
const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

/// linux/capability.h.
const CAP_SYS_NICE: u32 = 23;

/// Where a program is looked for when process.env has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The value of a variable in `process.env`.
pub(super) fn variable<'a>(process: &'a Process, name: &str) -> Option<&'a str> {
    let env = process.env().iter().flatten().rev();
    env.filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// crun's annotation, which podman sets for `--group-add keep-groups`: setgroups(2) is not called if it is `1`.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// What the runtime says about descriptors is not the config's to say (sd_listen_fds(3)).
const LISTEN: [&[u8]; 3] = [b"LISTEN_FDS=", b"LISTEN_PID=", b"LISTEN_FDNAMES="];

/// What reaches a process besides what its config says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Handed {
    /// This many descriptors from 3 on.
    pub(crate) descriptors: u32,
    /// So many of them, the first ones, are announced as LISTEN_FDS.
    pub(crate) listening: u32,
    /// Where it finds a socket for sd_notify(3), an entry of its environment.
    pub(crate) notify: Option<CString>,
}

/// A process of a container, its first or one that `exec` adds, and what of the container decides about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Becoming<'a> {
    /// `process` of config.json, or of `exec`.
    pub(crate) process: &'a Process,
    /// `linux.personality` of the container.
    pub(crate) personality: Option<&'a LinuxPersonality>,
    /// `linux.memoryPolicy` of the container.
    pub(crate) memory_policy: Option<&'a LinuxMemoryPolicy>,
    /// It is in a user namespace that is not the runtime's: there it holds all capabilities, whatever the runtime holds.
    pub(crate) user_namespace: bool,
    /// setgroups(2) is allowed, and called.
    pub(crate) setgroups: bool,
    /// The supplementary groups of the caller are wanted, and none of the config's.
    pub(crate) keep_groups: bool,
    /// It forks once more when it has its ids: RLIMIT_NPROC is for what comes after.
    pub(crate) forks: bool,
    /// `linux.seccomp` of the container.
    pub(crate) seccomp: Option<&'a Loading>,
    /// Its filter is loaded before the fork, not before execve: see [`Loading::hurries`].
    pub(crate) hurries: bool,
}

impl<'a> Becoming<'a> {
    /// The container's first process.
    pub(crate) fn of(
        spec: &'a Spec,
        process: &'a Process,
        host: &Host,
        maps: Option<&Maps>,
        namespaces: &Namespaces,
    ) -> Self {
        let linux = spec.linux().as_ref();
        let annotation = spec.annotations().as_ref().and_then(|all| all.get(KEEP_GROUPS));
        let keep_groups = annotation.is_some_and(|value| value == "1");
        Becoming {
            process,
            personality: linux.and_then(|linux| linux.personality().as_ref()),
            memory_policy: linux.and_then(|linux| linux.memory_policy().as_ref()),
            user_namespace: namespaces.own(Namespace::User),
            setgroups: !keep_groups && namespaces::may_set_groups(maps, host, namespaces),
            keep_groups,
            forks: false,
            seccomp: None,
            hurries: false,
        }
    }

    /// process.terminal and consoleSize, once the container's devpts is mounted and before anything becomes read-only.
    /// `bind`: /dev/console is this terminal, too.
    pub(crate) fn terminal(&self, steps: &mut Steps, bind: bool) -> Result<()> {
        if !self.process.terminal().unwrap_or(false) {
            return Ok(());
        }
        let number = |name: &str, value: u64| {
            let field = format!("process.consoleSize.{name}");
            u16::try_from(value).map_err(|_| Error::new(format!("{value} is more than 65535")).at(field))
        };
        let size = self.process.console_size().as_ref().map(|size| -> Result<_> {
            Ok((number("height", size.height())?, number("width", size.width())?))
        });
        // Nothing is that small: like a size that is not given.
        let size = size.transpose()?.filter(|&(rows, columns)| rows != 0 && columns != 0);
        steps.push("process.terminal", Step::Console { size, bind });
        Ok(())
    }

    /// The terminal controls the process's session, which has begun.
    pub(crate) fn control(&self, steps: &mut Steps) {
        if self.process.terminal().unwrap_or(false) {
            steps.push("process.terminal", Become::Control);
        }
    }

    /// Under this filter.
    pub(crate) fn filtered(self, seccomp: Option<&'a Loading>) -> Self {
        Becoming { seccomp, ..self }
    }

    /// Limits, identity and rights of the process; its executable is found. Gives warnings.
    pub(crate) fn become_it(&self, steps: &mut Steps, host: &Host) -> Result<Vec<String>> {
        let process = self.process;
        self.limit(steps, false);
        self.properties(steps)?;
        let field = format!("process.cwd {:?}", process.cwd());
        let path = CString::new(process.cwd().as_os_str().as_bytes())
            .map_err(|_| Error::new("contains a NUL byte").at(&field))?;
        steps.push(&field, Become::Chdir { path: path.clone(), again: false });
        let (sets, warnings) = self.identity(steps, host)?;
        steps.push(&field, Become::Chdir { path, again: true });
        if variable(process, "HOME").is_none() {
            steps.push("process.env", Become::Home(process.user().uid()));
        }
        if let Some(name) = args(process)?.into_iter().next() {
            let path = variable(process, "PATH").unwrap_or(DEFAULT_PATH).to_owned();
            steps.push(format!("process.args[0] {name:?}"), Become::FindExecutable { name, path });
        }
        if let Some(seccomp) = self.seccomp.filter(|_| self.hurries) {
            steps.push("linux.seccomp", seccomp.step(true));
            steps.push("process.capabilities", take(sets));
        }
        Ok(warnings)
    }

    /// process.rlimits; `forked`: those that had to wait for the fork.
    pub(crate) fn limit(&self, steps: &mut Steps, forked: bool) {
        for (i, limit) in self.process.rlimits().iter().flatten().enumerate() {
            let number = rlimit_number(limit.typ());
            let waits = self.forks && limit.typ() == PosixRlimitType::RlimitNproc;
            let step = match (waits, forked) {
                (true, false) => Become::RaiseLimit(number, limit.hard()),
                (false, true) => continue,
                _ => Become::Rlimit(number, limit.soft(), limit.hard()),
            };
            steps.push(format!("process.rlimits[{i}] {:?}", limit.typ().to_string()), step);
        }
    }

    /// process.scheduler and process.ioPriority. The kernel asks for CAP_SYS_NICE of the host, which a user namespace
    /// does not give, and a process of SCHED_DEADLINE forks no more: so the runtime sets them, when the process is about
    /// to go. A runtime without that capability leaves it to the process, which may do what its rlimits allow.
    ///
    /// # Returns
    /// What the runtime sets.
    pub(crate) fn schedule(&self, steps: &mut Steps, host: &Host) -> Vec<(Field, Property)> {
        let scheduler = self.process.scheduler().as_ref().map(property::scheduler);
        let priority = self.process.io_priority().as_ref().map(property::io_priority);
        let both = [("process.scheduler", scheduler), ("process.ioPriority", priority)];
        let given = both.into_iter().filter_map(|(field, property)| Some((Field::new(field), property?)));
        if !host.nested && host.permitted >> CAP_SYS_NICE & 1 == 1 {
            return given.collect();
        }
        given.for_each(|(field, property)| steps.push(field.0, Become::Property(property)));
        Vec::new()
    }

    /// linux.personality and linux.memoryPolicy.
    fn properties(&self, steps: &mut Steps) -> Result<()> {
        if let Some(personality) = self.personality {
            let persona = match personality.domain() {
                LinuxPersonalityDomain::PerLinux => PER_LINUX,
                LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
            };
            steps.push("linux.personality", Become::Personality(persona));
        }
        if let Some(policy) = self.memory_policy {
            steps.push("linux.memoryPolicy", Become::Property(property::memory_policy(policy)?));
        }
        Ok(())
    }

    fn identity(&self, steps: &mut Steps, host: &Host) -> Result<(Sets, Vec<String>)> {
        let (process, user) = (self.process, self.process.user());
        steps.push("process.user.umask", Become::Umask(user.umask().unwrap_or(0o022)));
        let groups = user.additional_gids().clone().filter(|_| !self.keep_groups).unwrap_or_default();
        if !self.setgroups && !groups.is_empty() {
            return Err(Error::new("supplementary groups cannot be set in this user namespace")
                .at("process.user.additionalGids")
                .hint("install newuidmap and newgidmap, and map the ids of /etc/subuid and /etc/subgid"));
        }
        let grantable = if self.user_namespace { host.capabilities } else { host.permitted };
        let no_new_privileges = process.no_new_privileges().unwrap_or(false);
        let (sets, warnings) =
            capabilities::plan(process.capabilities().as_ref(), host.capabilities, grantable);
        let mut held = sets;
        if let Some(seccomp) = self.seccomp {
            seccomp.need(&mut held, no_new_privileges, grantable)?;
        }
        steps.push("process.capabilities.bounding", Become::Bounding(sets.bounding));
        let (uid, gid, setgroups) = (user.uid(), user.gid(), self.setgroups);
        steps.push("process.user", Become::User { uid, gid, groups, setgroups });
        steps.push("process.capabilities", take(held));
        if no_new_privileges {
            steps.push("process.noNewPrivileges", Become::NoNewPrivileges);
        }
        Ok((sets, warnings))
    }

    /// execve(2), and what survives it.
    pub(crate) fn go(&self, steps: &mut Steps, handed: Handed) -> Result<()> {
        let (args, mut env) = (args(self.process)?, env(self.process)?);
        let name = args.first().ok_or_else(|| Error::new("is empty").at("process.args"))?;
        let field = format!("process.args[0] {name:?}");
        steps.push("process", Become::KeepDescriptors(handed.descriptors));
        if handed.listening > 0 {
            env.retain(|entry| !LISTEN.iter().any(|name| entry.to_bytes().starts_with(name)));
            steps.push("LISTEN_FDS", Become::ListenFds(handed.listening));
        }
        env.extend(handed.notify);
        if let Some(seccomp) = self.seccomp.filter(|_| !self.hurries) {
            steps.push("linux.seccomp", seccomp.step(false));
        }
        steps.push(field, Become::Execve { args, env });
        Ok(())
    }

    /// The hard limits that init could not raise by itself, as (resource, hard).
    pub(crate) fn hard_limits(&self) -> Vec<(u32, u64)> {
        let limits = self.process.rlimits().iter().flatten().filter(|_| self.user_namespace);
        limits.map(|limit| (rlimit_number(limit.typ()), limit.hard())).collect()
    }
}

/// The step that takes these sets; the bounding one was taken before.
fn take(sets: Sets) -> Become {
    let Sets { effective, permitted, inheritable, ambient, .. } = sets;
    Become::Capabilities { effective, permitted, inheritable, ambient }
}

/// An entry of `process.args` or `process.env`.
fn string(field: &str, i: usize, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("contains a NUL byte").at(format!("process.{field}[{i}]")))
}

fn args(process: &Process) -> Result<Vec<CString>> {
    process.args().iter().flatten().enumerate().map(|(i, text)| string("args", i, text)).collect()
}

fn env(process: &Process) -> Result<Vec<CString>> {
    // Of two values for a name the last counts, as in runc; a program might look at the first.
    let mut names = BTreeSet::new();
    let env = process.env().as_deref().unwrap_or_default().iter().enumerate().rev();
    let env = env.filter(|(_, text)| names.insert(text.split_once('=').map_or(text.as_str(), |it| it.0)));
    let mut env = env.map(|(i, text)| string("env", i, text)).collect::<Result<Vec<_>>>()?;
    env.reverse();
    Ok(env)
}

/// asm-generic/resource.h; libc gives them another type on each C library.
fn rlimit_number(typ: PosixRlimitType) -> u32 {
    match typ {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}
