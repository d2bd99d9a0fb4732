//! process (config.md, Process; POSIX and Linux process): everything between the root being `/` and execve.

use super::capabilities;
use super::host::Host;
use super::namespaces::{self, Namespaces};
use super::step::{Namespace, Step};
use super::{Plan, Request};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxPersonalityDomain, PosixRlimitType, Process, Spec};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// PER_LINUX and PER_LINUX32, linux/personality.h.
const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

/// Where a program is looked for when process.env has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn process(spec: &Spec) -> Result<&Process> {
    spec.process().as_ref().ok_or_else(|| Error::new("is required").at("process"))
}

fn variable<'a>(process: &'a Process, name: &str) -> Option<&'a str> {
    let env = process.env().iter().flatten().rev();
    env.filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Limits, identity and rights of the process; its executable is found.
pub(crate) fn become_it(plan: &mut Plan, spec: &Spec, host: &Host, namespaces: &Namespaces) -> Result<()> {
    let process = process(spec)?;
    for (i, limit) in process.rlimits().iter().flatten().enumerate() {
        let field = format!("process.rlimits[{i}] {:?}", limit.typ().to_string());
        plan.push(field, Step::Rlimit(rlimit_number(limit.typ()), limit.soft(), limit.hard()));
    }
    if let Some(personality) = spec.linux().as_ref().and_then(|linux| linux.personality().as_ref()) {
        let persona = match personality.domain() {
            LinuxPersonalityDomain::PerLinux => PER_LINUX,
            LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
        };
        plan.push("linux.personality", Step::Personality(persona));
    }
    let field = format!("process.cwd {:?}", process.cwd());
    let path = CString::new(process.cwd().as_os_str().as_bytes())
        .map_err(|_| Error::new("contains a NUL byte").at(&field))?;
    plan.push(&field, Step::Chdir { path: path.clone(), again: false });
    identity(plan, process, host, namespaces)?;
    plan.push(&field, Step::Chdir { path, again: true });
    if variable(process, "HOME").is_none() {
        plan.push("process.env", Step::Home(process.user().uid()));
    }
    let (name, _) = strings(process)?;
    let name = name.into_iter().next().ok_or_else(|| Error::new("is empty").at("process.args"))?;
    let path = variable(process, "PATH").unwrap_or(DEFAULT_PATH).to_owned();
    plan.push(format!("process.args[0] {name:?}"), Step::FindExecutable { name, path });
    Ok(())
}

fn identity(plan: &mut Plan, process: &Process, host: &Host, namespaces: &Namespaces) -> Result<()> {
    let user = process.user();
    plan.push("process.user.umask", Step::Umask(user.umask().unwrap_or(0o022)));
    let setgroups = namespaces::may_set_groups(plan, host, namespaces);
    let groups = user.additional_gids().clone().unwrap_or_default();
    if !setgroups && !groups.is_empty() {
        return Err(Error::new("supplementary groups cannot be set in this user namespace")
            .at("process.user.additionalGids")
            .hint("install newuidmap and newgidmap, and map the ids of /etc/subuid and /etc/subgid"));
    }
    // In a user namespace of its own the process holds all capabilities, whatever the runtime holds.
    let grantable = if namespaces.own(Namespace::User) { host.capabilities } else { host.permitted };
    let (sets, warnings) = capabilities::plan(process.capabilities().as_ref(), host.capabilities, grantable);
    plan.warnings.extend(warnings);
    plan.push("process.capabilities.bounding", Step::Bounding(sets.bounding));
    let (uid, gid) = (user.uid(), user.gid());
    plan.push("process.user", Step::User { uid, gid, groups, setgroups });
    let capabilities::Sets { effective, permitted, inheritable, ambient, .. } = sets;
    plan.push("process.capabilities", Step::Capabilities { effective, permitted, inheritable, ambient });
    if process.no_new_privileges().unwrap_or(false) {
        plan.push("process.noNewPrivileges", Step::NoNewPrivileges);
    }
    Ok(())
}

/// execve(2), and what survives it.
pub(crate) fn go(plan: &mut Plan, spec: &Spec, request: &Request<'_>) -> Result<()> {
    let process = process(spec)?;
    let (args, env) = strings(process)?;
    plan.push("process", Step::KeepDescriptors(request.preserve_fds));
    plan.push(format!("process.args[0] {:?}", args[0]), Step::Execve { args, env });
    Ok(())
}

fn strings(process: &Process) -> Result<(Vec<CString>, Vec<CString>)> {
    let all = |list: &Option<Vec<String>>, field: &str| -> Result<Vec<CString>> {
        let one = |(i, text): (usize, &String)| {
            CString::new(text.as_str())
                .map_err(|_| Error::new("contains a NUL byte").at(format!("process.{field}[{i}]")))
        };
        list.iter().flatten().enumerate().map(one).collect()
    };
    Ok((all(process.args(), "args")?, all(process.env(), "env")?))
}

/// The hard limits that init could not raise by itself.
pub(crate) fn hard_limits(spec: &Spec, namespaces: &Namespaces) -> Vec<(u32, u64)> {
    let limits = spec.process().as_ref().and_then(|process| process.rlimits().as_ref());
    let limits = limits.filter(|_| namespaces.own(Namespace::User)).into_iter().flatten();
    limits.map(|limit| (rlimit_number(limit.typ()), limit.hard())).collect()
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
