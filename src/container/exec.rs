//! exec: a further process in a container that is there already (no operation of the runtime-spec; as runc has it).
//!
//! Nothing of the container is changed, so that no lock is taken, and any number may come at once. What fails leaves
//! nothing: the process is known to nobody until its program runs.

use super::child::Child;
use super::id::ContainerId;
use super::process::Process as Alive;
use super::state::{Facts, Status};
use super::store::{Saved, Seen};
use super::terminal::{Console, Terminal};
use super::{ExecOptions, Settings, attend, create, foreground, handles, maps, pid_file, probe, seccomp};
use crate::cgroup::entrance::Entrance;
use crate::error::{Error, Result};
use crate::init::birth::{self, Newborn};
use crate::init::link::{Heard, Link};
use crate::init::{self, Inheritance};
use crate::plan::cgroup::sub::SubCgroups;
use crate::plan::exec::{self as planning, ExecPlan, Joining, Request};
use crate::plan::host::Host;
use crate::plan::step::{MountCall, Point, StateText, Step};
use crate::spec;
use crate::sys::namespace::Shared;
use crate::sys::{pidfd, process, scheduler, socket};
use nix::errno::Errno;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Runs a process in a container.
///
/// # Returns
/// In the foreground its exit status, 128+n if signal n killed it; detached, 0 once its program runs.
pub(crate) fn exec(settings: &Settings, id: &str, options: &ExecOptions) -> Result<u8> {
    let act = || {
        let id = ContainerId::new(id)?;
        let (preserve_fds, listen_fds) = create::handed_over(settings, options.preserve_fds)?;
        let mut seen = Seen::open(&settings.root, &id)?;
        let container = enterable(&mut seen, options.ignore_paused)?;
        let joining = &seen.saved().joining;
        let process = complete(options, joining)?;
        spec::check_process(&process)?;
        let wanted = process.terminal().unwrap_or(false);
        let console = Console::of(wanted, options.detach, options.console_socket.as_deref())?;
        let chosen = SubCgroups::parse(&options.cgroups)?;
        let entrance = seen.saved().cgroup.as_ref().map(|record| record.entrance(&chosen)).transpose()?;
        let attach = entrance.as_ref().is_some_and(Entrance::attaches_after_birth);
        let request =
            Request { id: id.as_str(), container: container.pid(), preserve_fds, listen_fds, attach };
        let host = Host { lsm: probe::lsm(Some(&process), None), ..probe::rights()? };
        let plan = planning::plan(&process, joining, &host, &request)?;
        plan.warnings.iter().for_each(|warning| (settings.warn)(warning));
        let filter = seccomp::kept(seen.dir(), seen.saved())?;
        let (newborn, terminal) =
            give_birth(&plan, options, &container, entrance, &console, filter, seen.saved())?;
        if options.detach { Ok(0) } else { foreground::attend(&newborn, terminal, None) }
    };
    act().map_err(|error: Error| error.during(format!("exec {id}")))
}

/// The container's process, if the container is in a state to enter; in runc's words.
fn enterable(seen: &mut Seen, ignore_paused: bool) -> Result<Alive> {
    let Facts { status, process } = Facts::roughly(seen)?;
    match (status, process) {
        (Status::Running, Some(process)) => Ok(process),
        (Status::Paused, Some(process)) if ignore_paused => Ok(process),
        (Status::Paused, _) => {
            Err(Error::new("cannot exec in a paused container (use --ignore-paused to override)"))
        }
        (Status::Creating, _) => Err(Error::new("cannot exec in a container that is being created")),
        _ => Err(stopped()),
    }
}

fn stopped() -> Error {
    Error::new("cannot exec in a stopped container")
}

/// The process that is asked for.
fn complete(options: &ExecOptions, joining: &Joining) -> Result<Process> {
    let mut process = match &options.process {
        Some(path) => spec::load_process(path)?,
        None => described(options, joining)?,
    };
    joining.complete(&mut process);
    Ok(process)
}

/// The container's own process, changed by options.
fn described(options: &ExecOptions, joining: &Joining) -> Result<Process> {
    let mut process = joining.process.clone().unwrap_or_default();
    process.set_args(Some(options.args.clone()));
    process.set_terminal(Some(options.terminal));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.into());
    }
    if !options.env.is_empty() {
        process.set_env(Some([process.env().clone().unwrap_or_default(), options.env.clone()].concat()));
    }
    let mut user = process.user().clone();
    if let Some(words) = &options.user {
        let (uid, gid) = ids(words).map_err(|error| error.at(format_args!("--user {words:?}")))?;
        user.set_uid(uid);
        gid.map(|gid| user.set_gid(gid));
    }
    if !options.additional_gids.is_empty() {
        let groups = user.additional_gids().clone().unwrap_or_default();
        user.set_additional_gids(Some([groups, options.additional_gids.clone()].concat()));
    }
    process.set_user(user);
    if let Some(on) = options.no_new_privileges {
        process.set_no_new_privileges(Some(on));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if !options.capabilities.is_empty() {
        process.set_capabilities(Some(with_capabilities(process.capabilities(), &options.capabilities)?));
    }
    Ok(process)
}

/// UID[:GID] in decimal digits; a name never becomes a number, nor a number a name.
fn ids(words: &str) -> Result<(u32, Option<u32>)> {
    let id = |word: &str| {
        let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| word.parse().ok()).flatten().ok_or_else(|| {
            Error::new("not UID[:GID], each a number below 4294967295")
                .hint("names are in the container's /etc/passwd, which no runtime should trust")
        })
    };
    match words.split_once(':') {
        None => Ok((id(words)?, None)),
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
    }
}

/// Added to the bounding, effective and permitted sets; never to the inheritable one (CVE-2022-29162), and so to the
/// ambient one only what is inheritable already.
fn with_capabilities(held: &Option<LinuxCapabilities>, names: &[String]) -> Result<LinuxCapabilities> {
    let mut sets = held.clone().unwrap_or_default();
    if held.is_none() {
        let none = || Some(Default::default());
        sets.set_bounding(none()).set_effective(none()).set_permitted(none());
        sets.set_inheritable(none()).set_ambient(none());
    }
    for name in names {
        let unknown = || Error::new("unknown capability").at(format_args!("--cap {name:?}"));
        let value = serde_json::Value::from(name.as_str());
        let capability: Capability = serde_json::from_value(value).map_err(|_| unknown())?;
        let with = |set: &Option<oci_spec::runtime::Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective) = (with(sets.bounding()), with(sets.effective()));
        let permitted = with(sets.permitted());
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        if sets.inheritable().as_ref().is_some_and(|set| set.contains(&capability)) {
            let ambient = with(sets.ambient());
            sets.set_ambient(ambient);
        }
    }
    Ok(sets)
}

/// Up to the moment when the process's program runs and the caller knows its pid.
fn give_birth(
    plan: &ExecPlan,
    options: &ExecOptions,
    container: &Alive,
    mut entrance: Option<Entrance<'_>>,
    console: &Console,
    filter: Option<Vec<u8>>,
    saved: &Saved,
) -> Result<(Newborn, Option<Terminal>)> {
    let pidfd_socket = options.pidfd_socket.as_deref().map(socket::connect_stream).transpose();
    let pidfd_socket = pidfd_socket.map_err(|e| e.at("--pidfd-socket"))?;
    let beside = container.fd().try_clone_to_owned();
    let beside = beside.map_err(|e| Error::call("dup(pidfd)", e.raw_os_error().unwrap_or(0)))?;
    let shared = Shared::new()?;
    let [progress, born, ..] = shared.cells();
    let agent = seccomp::Caller::connect(saved, Status::Running, born)?;
    let (link, far) = Link::pair()?;
    if !options.detach {
        foreground::hold_signals()?;
    }
    let opened = handles::open(&plan.handles)?;
    if container.exited(Duration::ZERO)? {
        // What was opened by its pid may be another's.
        return Err(stopped());
    }
    let way = console.open()?;
    let inheritance = Inheritance {
        steps: &plan.init,
        handles: &plan.handles,
        opened,
        mounts: MountCall::default(),
        state: &StateText::default(),
        link: far,
        gate: None,
        console: way.far,
        progress,
        born,
        preserved: plan.init.preserved(),
        filter,
        beside: Some(beside),
    };
    if !plan.initial_cpus.is_empty() {
        let set = scheduler::sched_setaffinity(0, plan.initial_cpus.words());
        set.map_err(|error| error.at("process.execCPUAffinity.initial"))?;
    }
    let first = loop {
        let cgroup = entrance.as_ref().and_then(Entrance::birth_fd);
        match birth::be_born(&plan.birth, &inheritance, cgroup, &shared) {
            Ok(None) => init::run(inheritance),
            Ok(Some(first)) => break Child::of(first),
            Err(error) => {
                let detour = |entrance: &mut Entrance<'_>| entrance.detour(&error, container.pid());
                if !entrance.as_mut().map_or(Ok(false), detour)? {
                    return Err(error);
                }
            }
        }
    };
    drop(inheritance);
    let settled = match plan.init.first().map(|first| &first.step) {
        Some(Step::Meet(Point::Born)) => settle(plan, first.get(), &link, entrance.as_ref(), container.pid()),
        _ => Ok(()),
    };
    let set = settled.and_then(|()| set_properties(plan, first.get(), &link, born));
    let gone = set.and_then(|()| attend::until_gone(&link, agent));
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
    options.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, newborn.pid))?;
    Ok((child.keep(), terminal))
}

/// At `Created`: what only the runtime can set of the process itself, since a fork would not pass it on.
fn set_properties(plan: &ExecPlan, first: &Newborn, link: &Link, born: &AtomicU32) -> Result<()> {
    if plan.properties.is_empty() {
        return Ok(());
    }
    match link.hear()? {
        Heard::At(Point::Created) => {}
        Heard::Failed(error) => return Err(error),
        Heard::At(_) | Heard::Listening(_) | Heard::End => return Err(killed()),
    }
    // Who gave birth leaves the pid behind, and ends; the newborn may well be ahead of it.
    if !pidfd::exited(first.pidfd.as_fd(), attend::DEATH_WAIT)? {
        return Err(Error::new("the process that enters the container does not end"));
    }
    attend::set_properties(&plan.properties, born.load(Relaxed) as i32)?;
    go(link)
}

/// Whom the first process has given birth to; our child, so that the pid is its own until we reap it.
fn newborn(born: &AtomicU32) -> Result<Option<Child>> {
    let pid = born.load(Relaxed) as i32;
    Ok(pidfd::pidfd_open(pid)?.map(|pidfd| Child::of(Newborn { pid, pidfd })))
}

/// At `Born`: what only the runtime can do for the process, whose child has it, too.
fn settle(
    plan: &ExecPlan,
    newborn: &Newborn,
    link: &Link,
    entrance: Option<&Entrance<'_>>,
    init: i32,
) -> Result<()> {
    match link.hear()? {
        Heard::At(Point::Born) => {}
        Heard::Failed(error) => return Err(error),
        Heard::At(_) | Heard::Listening(_) | Heard::End => return Err(killed()),
    }
    entrance.map_or(Ok(()), |entrance| entrance.attach(newborn.pid, init))?;
    for &(resource, hard) in &plan.hard_limits {
        process::raise_hard_limit(newborn.pid, resource, hard)?;
    }
    if let Some(adjustment) = plan.oom_score_adj {
        let put = maps::put(newborn.pid, "oom_score_adj", &adjustment.to_string());
        put.map_err(|error| error.at("process.oomScoreAdj"))?;
    }
    go(link)
}

fn go(link: &Link) -> Result<()> {
    link.go().map_err(|error| if error.errno() == Errno::EPIPE as i32 { killed() } else { error })
}

/// It ended without a word of its own, most likely with its container.
fn killed() -> Error {
    Error::new("the process was killed as it was born")
}
