//! The create operation (runtime.md, Create): config.json becomes a plan, the plan a process that waits.
//!
//! Whatever fails undoes what was done before it: each act of the runtime before `created` is held by a value that
//! takes it back when dropped. Whatever is killed leaves a state that names what exists, for `delete --force`.

use super::child::{self, Child};
use super::id::ContainerId;
use super::notify::{self, Forwarder};
use super::saved::Saved;
use super::store::{Claim, Locked, already_exists, exists};
use super::terminal::Console;
use super::{CgroupManager, CreateOptions, Settings, gate, handles, pid_file, probe, seccomp};
use super::{attend, delete};
use crate::cgroup::resctrl::Resctrl;
use crate::cgroup::systemd::Systemd;
use crate::cgroup::{Cgroup, Survey};
use crate::error::{Error, Result};
use crate::init::birth::{self, Newborn};
use crate::init::link::Link;
use crate::init::{self, Inheritance};
use crate::plan::host::Host;
use crate::plan::step::Namespace;
use crate::plan::{self, Plan, Request};
use crate::spec;
use crate::sys::namespace::Shared;
use crate::sys::{pidfd, process, socket};
use oci_spec::runtime::Spec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Creates a container, which then waits for `start`.
pub(crate) fn create(settings: &Settings, id: &str, options: &CreateOptions) -> Result<()> {
    let act = || {
        let creation = Creation::prepare(settings, id, options, true)?.with_console(true, options)?;
        let created = creation.carry_out(settings, options)?;
        match created.link.go() {
            Ok(()) => Ok(()),
            Err(error) => created.undo(settings, options).and(Err(error)),
        }
    };
    act().map_err(|e: Error| e.during(format!("create {id}")))
}

/// The plan of a bundle; nothing is done.
pub(crate) fn plan(settings: &Settings, options: &CreateOptions) -> Result<Plan> {
    let act = || Creation::prepare(settings, "plan", options, true).map(|creation| creation.plan);
    act().map_err(|e| e.during(format!("plan {}", options.bundle.display())))
}

/// The caller's open descriptors from 3 on are none of ours, and go no further than `--preserve-fds` says. Call it
/// before anything is opened but `own`, if that is there. Nor does it count that the caller ignores SIGCHLD: whoever does
/// so cannot wait for children.
///
/// # Returns
/// How many are open without a gap: as many can be preserved.
pub(crate) fn mark_inherited(own: Option<i32>) -> Result<u32> {
    process::default_child_signal()?;
    process::cloexec_from(3)?;
    Ok((3..).take_while(|&fd| Some(fd) != own && process::is_open(fd)).count() as u32)
}

/// What of the caller's descriptors reaches the process: those of LISTEN_FDS, then those of `--preserve-fds`. Only what is
/// open can be handed over.
///
/// # Returns
/// How many from 3 on, and how many of them are LISTEN_FDS.
pub(super) fn handed_over(settings: &Settings, preserve_fds: u32) -> Result<(u32, u32)> {
    let listen_fds = settings.listen_fds.as_ref().map_or(Ok(0), |text| {
        let digits = text.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|text| text.parse().ok()).ok_or_else(|| {
            let reason = Error::new("not a number of descriptors").at(format_args!("LISTEN_FDS {text:?}"));
            reason.hint("LISTEN_PID names this process: see sd_listen_fds(3)")
        })
    })?;
    let missing = || Error::new(format!("descriptor {} is not open", 3 + settings.inherited));
    if listen_fds > settings.inherited {
        return Err(missing().at(format_args!("LISTEN_FDS \"{listen_fds}\"")));
    }
    match listen_fds.checked_add(preserve_fds).filter(|all| *all <= settings.inherited) {
        Some(all) => Ok((all, listen_fds)),
        None => Err(missing().at("--preserve-fds")),
    }
}

/// Everything that is decided before anything is done.
pub(super) struct Creation {
    id: ContainerId,
    root: PathBuf,
    plan: Plan,
    saved: Saved,
    systemd: Option<Systemd>,
    gate: bool,
    terminal: bool,
    console: Console,
    nonstop: bool,
}

/// A container at `created`: its process waits for a word on `link`.
pub(super) struct Created {
    pub(super) locked: Locked,
    pub(super) newborn: Newborn,
    pub(super) link: Link,
    /// Its terminal's master has been sent here, for the runtime in the foreground.
    pub(super) console: Option<OwnedFd>,
    /// `run`: what the container says of itself is passed on.
    pub(super) notify: Option<Forwarder>,
    /// It has its word already, and does not wait.
    pub(super) told: bool,
}

impl Created {
    /// Takes it all back: it was created, but cannot go on.
    pub(super) fn undo(self, settings: &Settings, options: &CreateOptions) -> Result<()> {
        child::end(&self.newborn.pidfd);
        if let Some(path) = &options.pid_file {
            // It was ours; if it cannot be removed, the error that brought us here is the one to report.
            let _ = std::fs::remove_file(path);
        }
        delete::finish(settings, self.locked)
    }
}

impl Creation {
    /// Reads, checks, plans. `gate`: the container will wait for `start`.
    pub(super) fn prepare(
        settings: &Settings,
        id: &str,
        options: &CreateOptions,
        gate: bool,
    ) -> Result<Self> {
        let id = ContainerId::new(id)?;
        let (preserve_fds, listen_fds) = handed_over(settings, options.preserve_fds)?;
        let notify = settings.notify_socket.as_ref().map(|_| notify::directory(&settings.root, &id));
        let absolute = |path: &Path, field: &str| {
            path.canonicalize().map_err(|e| {
                Error::call(format!("realpath({path:?})"), e.raw_os_error().unwrap_or(0)).at(field.to_owned())
            })
        };
        let bundle = absolute(&options.bundle, "--bundle")?;
        let config = options.config.clone().unwrap_or_else(|| bundle.join("config.json"));
        let mut warnings = Vec::new();
        let spec = spec::load(&config, &mut warnings)?;
        warnings.extend(spec::check(&spec)?);
        if !gate {
            spec::process::wanted(spec.process().as_ref())?;
        }
        spec::check_files(&spec, &bundle)?;
        let no_cgroups = settings.cgroups == CgroupManager::Disabled;
        let mount_label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
        let lsm = probe::lsm(spec.process().as_ref(), mount_label);
        let mut host = Host { lsm, resctrl: probe::resctrl(&spec)?, ..probe::host()? };
        let systemd = (settings.cgroups == CgroupManager::Systemd)
            .then(|| probe::systemd(&mut host, settings.rootless))
            .transpose()?;
        let request = Request {
            id: id.as_str(),
            bundle: &bundle,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds,
            listen_fds,
            notify: notify.as_deref(),
            gate,
            rootless: settings.rootless,
            no_cgroups,
        };
        let plan = plan::plan(&spec, &host, &request)?;
        let warnings = warnings.iter().chain(&plan.warnings).chain(&plan.cgroup.warnings);
        warnings.for_each(|warning| (settings.warn)(warning));
        let saved = saved(&id, &spec, &plan, bundle, config);
        let terminal = spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
        // Where nothing is left to do at `Created`, `Go` is said ahead: init need not stop there for two wake-ups.
        let told = options.pid_file.is_some() || options.pidfd_socket.is_some();
        let nothing_to_do = !told && plan.oom_score_adj.is_none() && plan.properties.is_empty();
        let agent = saved.joining.seccomp.as_ref().is_some_and(|loading| loading.agent.is_some());
        let nonstop = !gate && nothing_to_do && !agent && plan.meets_only_at_created();
        let (root, console) = (settings.root.clone(), Console::None);
        Ok(Creation { id, root, plan, saved, systemd, gate, terminal, console, nonstop })
    }

    /// Decides where its terminal goes. `detached`: the runtime will not stay.
    pub(super) fn with_console(self, detached: bool, options: &CreateOptions) -> Result<Self> {
        let console = Console::of(self.terminal, detached, options.console_socket.as_deref())?;
        Ok(Creation { console, ..self })
    }

    /// Does it, up to `created`. If anything fails, nothing is left.
    pub(super) fn carry_out(self, settings: &Settings, options: &CreateOptions) -> Result<Created> {
        let Creation { id, root, plan, saved, systemd, gate, console, nonstop, .. } = self;
        let taken = |e: Error| if exists(&root, &id) { already_exists() } else { e };
        let survey = Survey::of(&plan.cgroup, systemd).map_err(taken)?;
        let mut resctrl = plan.resctrl.as_ref().map(Resctrl::survey).transpose().map_err(taken)?;
        let planned = resctrl.as_ref().map(|resctrl| resctrl.record().clone());
        let saved = Saved { cgroup: Some(survey.record()), resctrl: planned, ..saved };
        let mut claim = Claim::new(&root, &id, saved)?;
        let filter = seccomp::program(settings, &plan.seccomp, claim.dir()).map_err(|e| claim.at(e))?;
        let pidfd_socket = options.pidfd_socket.as_deref().map(socket::connect_stream).transpose();
        let pidfd_socket = pidfd_socket.map_err(|e| e.at("--pidfd-socket"))?;
        let way = console.open()?;
        let mut cgroup = survey.create()?;
        cgroup.limit()?;
        resctrl.iter_mut().try_for_each(Resctrl::prepare)?;
        let (gate, notify) = open_doors(settings, &plan, claim.dir(), gate).map_err(|e| claim.at(e))?;
        let opened = handles::open(&plan.handles)?;
        let shared = Shared::new()?;
        let (link, far) = Link::pair()?;
        let (steps, handles, state) = (&plan.init[..], &plan.handles[..], &plan.state);
        let (mounts, [progress, born, ..]) = (plan.mount_call, shared.cells());
        let inheritance = Inheritance {
            steps,
            handles,
            opened,
            mounts,
            state,
            link: far,
            gate,
            console: way.far,
            progress,
            born,
            preserved: plan.init.preserved(),
            filter,
            beside: None,
        };
        let Some(newborn) = give_birth(&plan, &inheritance, &mut cgroup, &shared)? else {
            init::run(inheritance)
        };
        drop(inheritance);
        let child = Child::of(newborn);
        let newborn = child.get();
        let start_time = pidfd::start_time(newborn.pid)?;
        claim.update(|saved| {
            (saved.pid, saved.start_time, saved.ready) = (Some(newborn.pid), start_time, nonstop);
            saved.cgroup = Some(cgroup.record().clone());
            saved.resctrl = resctrl.as_ref().map(|resctrl| resctrl.record().clone());
        })?;
        cgroup.load_filter()?;
        cgroup.delegate(newborn.pid)?;
        resctrl.iter().try_for_each(|resctrl| resctrl.record().attach(newborn.pid))?;
        if nonstop {
            // An init that is dead already says why below.
            let _ = link.go();
        }
        let reached = attend::until_created(&plan, newborn, &link, &mut cgroup, &shared, settings.warn);
        let created = reached.and_then(|moved| {
            let told = Self::announce(&plan, newborn, &mut claim, options, pidfd_socket, nonstop);
            told.map(|()| moved.keep())
        });
        if let Err(error) = created {
            drop((child, link, cgroup, resctrl));
            delete::run_poststop(settings, claim.saved())?;
            return Err(error);
        }
        resctrl.into_iter().for_each(Resctrl::keep);
        cgroup.keep();
        let newborn = child.keep();
        Ok(Created { locked: claim.keep(), newborn, link, console: way.near, notify, told: nonstop })
    }

    /// The process stands at `Created`: what is left is done, and the world told. The pid file comes last, so that it
    /// is there only when nothing can fail any more.
    fn announce(
        plan: &Plan,
        newborn: &Newborn,
        claim: &mut Claim,
        options: &CreateOptions,
        pidfd_socket: Option<OwnedFd>,
        nonstop: bool,
    ) -> Result<()> {
        if plan.birth.undumpable {
            attend::adjust_oom_score(plan, newborn.pid)?;
        }
        attend::set_properties(&plan.properties, newborn.pid)?;
        if let Some(socket) = pidfd_socket {
            let pidfd = newborn.pidfd.as_fd();
            socket::send(socket.as_fd(), b"pidfd", &[pidfd]).map_err(|e| e.at("--pidfd-socket"))?;
        }
        if !nonstop {
            claim.update(|saved| saved.ready = true)?;
        }
        options.pid_file.as_deref().map_or(Ok(()), |path| pid_file::write(path, newborn.pid))
    }
}

/// None: in the newborn.
fn give_birth(
    plan: &Plan,
    inheritance: &Inheritance<'_>,
    cgroup: &mut Cgroup<'_>,
    shared: &Shared,
) -> Result<Option<Newborn>> {
    let mut born = birth::be_born(&plan.birth, inheritance, cgroup.birth_fd(), shared);
    if born.as_ref().is_err_and(|error| cgroup.forgo_birth(error)) {
        born = birth::be_born(&plan.birth, inheritance, None, shared);
    }
    born.map_err(|error| cgroup.explain_birth(error))
}

/// What is reached from outside while it waits, and from inside while it runs: the start gate, and a socket to say READY on,
/// for which a container without a gate needs no `start`.
fn open_doors(
    settings: &Settings,
    plan: &Plan,
    container: BorrowedFd<'_>,
    gate: bool,
) -> Result<(Option<OwnedFd>, Option<Forwarder>)> {
    if plan.notify {
        notify::prepare(container)?;
    }
    match gate {
        true => Ok((Some(gate::bind(container)?), None)),
        false => Ok((None, Forwarder::listen(settings, container)?)),
    }
}

/// What the state says of a container that is about to exist.
fn saved(id: &ContainerId, spec: &Spec, plan: &Plan, bundle: PathBuf, config: PathBuf) -> Saved {
    let annotations = spec.annotations().iter().flatten();
    let rootfs = spec.root().as_ref().map(|root| bundle.join(root.path())).unwrap_or_default();
    Saved {
        oci_version: spec.version().clone(),
        rootfs,
        bundle,
        config,
        annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
        resources: spec.linux().as_ref().and_then(|linux| linux.resources().clone()),
        own_pids: plan.birth.flags & Namespace::Pid.flag() != 0,
        joining: plan.joining.clone(),
        poststart: plan.poststart.clone(),
        poststop: plan.poststop.clone(),
        ..Saved::new(id)
    }
}
