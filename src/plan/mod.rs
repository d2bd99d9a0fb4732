//! Policy, pure: (config, [`Host`], [`Request`]) becomes a [`Plan`], a list of steps that can be printed and compared.
//! Never touches the kernel, a file, the environment or the clock. [`plan`] reads like a score, one line per family
//! of steps; the order of its lines is the order of execution.

pub(crate) mod capabilities;
pub(crate) mod cgroup;
pub(crate) mod devices;
pub(crate) mod exec;
#[cfg(test)]
mod golden;
pub(crate) mod hooks;
pub(crate) mod host;
pub(crate) mod layout;
pub(crate) mod lsm;
pub(crate) mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
pub(crate) mod notify;
mod older;
pub(crate) mod process;
pub(crate) mod property;
pub(crate) mod resctrl;
pub(crate) mod rootfs;
pub(crate) mod seccomp;
pub(crate) mod step;
pub(crate) mod sysctl;
mod text;

use crate::error::Result;
use crate::spec;
use cgroup::CgroupPlan;
use exec::Joining;
use host::Host;
use namespaces::Namespaces;
use oci_spec::runtime::Spec;
use process::Handed;
use resctrl::ResctrlPlan;
use std::path::Path;
use step::{Birth, Field, Handle, HandleId, Hook, IdMap, MountCall, Property, StateText, Step, Steps};

/// What the caller asks for besides config.json.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// The bundle, absolute.
    pub(crate) bundle: &'a Path,
    /// MS_MOVE instead of pivot_root.
    pub(crate) no_pivot: bool,
    /// Keep the session keyring.
    pub(crate) no_new_keyring: bool,
    /// This many descriptors from 3 on reach the container.
    pub(crate) preserve_fds: u32,
    /// So many of them, the first ones, are announced as LISTEN_FDS.
    pub(crate) listen_fds: u32,
    /// The directory of the host in which a socket for sd_notify(3) will be.
    pub(crate) notify: Option<&'a Path>,
    /// Wait at the start gate (`create`) instead of going straight on (`run`).
    pub(crate) gate: bool,
    /// `--rootless`: control groups that cannot be had are done without; none: as the machine says.
    pub(crate) rootless: Option<bool>,
    /// `--cgroup-manager disabled`.
    pub(crate) no_cgroups: bool,
}

impl Request<'_> {
    /// What the process finds besides what its config says; `notify`: also a socket for sd_notify(3).
    fn handed(&self, notify: bool) -> Handed {
        Handed {
            descriptors: self.preserve_fds,
            listening: self.listen_fds,
            notify: notify.then(notify::variable),
        }
    }
}

/// Everything that will happen, decided before anything has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// What is odd but allowed.
    pub(crate) warnings: Vec<String>,
    /// The control group.
    pub(crate) cgroup: CgroupPlan,
    /// linux.intelRdt.
    pub(crate) resctrl: Option<ResctrlPlan>,
    /// linux.seccomp.
    pub(crate) seccomp: Option<seccomp::Filter>,
    /// What the runtime opens before birth; steps name them by place.
    pub(crate) handles: Vec<(Field, Handle)>,
    /// How the container's process is born.
    pub(crate) birth: Birth,
    /// How init changes mounts.
    pub(crate) mount_call: MountCall,
    /// The id maps of a new user namespace.
    pub(crate) maps: Option<Maps>,
    /// linux.netDevices: moved by the runtime at `Network`.
    pub(crate) net_devices: Vec<net_devices::NetDevice>,
    /// process.oomScoreAdj, written by the runtime.
    pub(crate) oom_score_adj: Option<i32>,
    /// What the runtime sets of the process at `Created`.
    pub(crate) properties: Vec<(Field, Property)>,
    /// process.rlimits as (resource, hard): with a user namespace only the runtime may raise a hard limit; init sets
    /// the limits themselves, late, when it needs no more than they leave.
    pub(crate) hard_limits: Vec<(u32, u64)>,
    /// prestart and createRuntime hooks: run by the runtime at `Mounted`.
    pub(crate) hooks: Vec<Hook>,
    /// The container finds a socket for sd_notify(3).
    pub(crate) notify: bool,
    /// poststart hooks, run by `start`.
    pub(crate) poststart: Vec<Hook>,
    /// poststop hooks, run by `delete`.
    pub(crate) poststop: Vec<Hook>,
    /// What of the container decides about processes that join it later.
    pub(crate) joining: Joining,
    /// The container's state as its own hooks read it.
    pub(crate) state: StateText,
    /// What init does.
    pub(crate) init: Steps,
}

/// The id maps of a new user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maps {
    /// Lines of uid_map.
    pub(crate) uid: Vec<IdMap>,
    /// Lines of gid_map.
    pub(crate) gid: Vec<IdMap>,
    /// Who writes them.
    pub(crate) writer: MapWriter,
}

/// Who writes id maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapWriter {
    /// The runtime is privileged.
    Runtime,
    /// The runtime maps its own ids only, after it denied setgroups(2).
    Single,
    /// newuidmap(1) and newgidmap(1), at these paths.
    Helpers(std::path::PathBuf, std::path::PathBuf),
}

impl Plan {
    /// The next step.
    pub(crate) fn push(&mut self, field: impl Into<String>, step: impl Into<Step>) {
        self.init.push(field, step);
    }

    /// No meeting comes before `Created`.
    pub(crate) fn meets_only_at_created(&self) -> bool {
        let mut meetings = self.init.iter().filter(|planned| matches!(planned.step, Step::Meet(_)));
        meetings.all(|planned| planned.step == Step::Meet(step::Point::Created))
    }

    /// Something to open before birth.
    pub(crate) fn handle(&mut self, field: impl Into<String>, handle: Handle) -> HandleId {
        self.handles.push((Field(field.into()), handle));
        HandleId(self.handles.len() - 1)
    }
}

/// The state as far as it is known now.
fn state_text(spec: &Spec, request: &Request<'_>) -> StateText {
    let json = |value: &str| serde_json::Value::from(value).to_string();
    let head = format!("{{\"ociVersion\":{},\"id\":{},\"status\":\"", json(spec.version()), json(request.id));
    let bundle = json(&request.bundle.to_string_lossy());
    let annotations: std::collections::BTreeMap<_, _> = spec.annotations().iter().flatten().collect();
    let annotations = serde_json::to_string(&annotations).expect("a map of strings is JSON");
    StateText { head, tail: format!(",\"bundle\":{bundle},\"annotations\":{annotations}}}") }
}

/// Decides everything.
///
/// # Errors
/// The first field of the config that this machine cannot honour.
pub(crate) fn plan(spec: &Spec, host: &Host, request: &Request<'_>) -> Result<Plan> {
    let namespaces = Namespaces::of(spec)?;
    let maps = namespaces::maps(spec, host, &namespaces)?;
    let seccomp = seccomp::plan(spec);
    let loading = seccomp.as_ref().map(|filter| filter.loading.clone());
    let process = spec.process().as_ref();
    let someone = spec::process::or_nobody(process)?;
    let becoming =
        process::Becoming::of(spec, &someone, host, maps.as_ref(), &namespaces).filtered(loading.as_ref());
    let rootless = request.rootless.unwrap_or(!host.privileged || host.nested);
    let hooks = hooks::plan(spec)?;
    let mut plan = Plan {
        warnings: Vec::new(),
        cgroup: cgroup::of(
            spec,
            request.id,
            &host.cgroups,
            request.no_cgroups,
            rootless,
            host.systemd.as_ref(),
        )?,
        resctrl: resctrl::plan(spec, request.id, host.resctrl.as_deref())?,
        seccomp,
        handles: Vec::new(),
        birth: Birth::default(),
        mount_call: MountCall::default(),
        maps,
        net_devices: Vec::new(),
        oom_score_adj: becoming.process.oom_score_adj(),
        properties: Vec::new(),
        hard_limits: becoming.hard_limits(),
        hooks: [hooks.prestart, hooks.create_runtime].concat(),
        notify: false,
        poststart: hooks.poststart,
        poststop: hooks.poststop,
        joining: Joining::of(&becoming, process, namespaces.flags(), !request.no_new_keyring),
        state: state_text(spec, request),
        init: Steps::default(),
    };
    namespaces::be_born(&mut plan, spec, host, &namespaces, becoming.setgroups);
    plan.cgroup.owner = cgroup::owner::owner(&plan, spec, host.ids.0, rootless, &namespaces);
    namespaces::enter(&mut plan, spec, host, request, &namespaces)?;
    net_devices::meet(&mut plan, spec, host, &namespaces)?;
    rootfs::attach(&mut plan, spec, host, request, &namespaces)?;
    mounts::mount_all(&mut plan, spec, host, request, &namespaces)?;
    notify::mount(&mut plan, spec, host, request, &namespaces)?;
    devices::make(&mut plan, spec, host, &namespaces)?;
    if !plan.hooks.is_empty() {
        plan.push("hooks", Step::Meet(step::Point::Mounted));
    }
    hooks::push(&mut plan, hooks.create_container);
    becoming.terminal(&mut plan.init, namespaces.own(step::Namespace::Mount))?;
    becoming.control(&mut plan.init);
    rootfs::hide(&mut plan, spec, host)?;
    sysctl::set(&mut plan, spec, &namespaces)?;
    rootfs::enter(&mut plan, spec, request, &namespaces);
    lsm::confine(&mut plan.init, &mut plan.handles, becoming.process, host)?;
    plan.warnings.extend(becoming.become_it(&mut plan.init, host)?);
    plan.properties = becoming.schedule(&mut plan.init, host);
    plan.push("process", Step::Meet(step::Point::Created));
    if request.gate {
        plan.push("process", Step::Gate);
    }
    hooks::push(&mut plan, hooks.start_container);
    if process.is_some() {
        becoming.go(&mut plan.init, request.handed(plan.notify))?;
    }
    older::do_without_mount_setattr(&mut plan, host)?;
    Ok(plan)
}
