//! linux.cgroupsPath and linux.resources as a cgroup plan (config-linux.md, Control groups). Pure: what is to be made
//! and written in which mounted hierarchy is decided here, and nothing is done. `Display` is the text that
//! `onggi plan` prints.
//!
//! Where the container's cgroup stands, in each hierarchy:
//! - an absolute cgroupsPath: below the mount point;
//! - a relative one, or none (then the container's id): on v1 below the runtime's own cgroup, on v2 beside it, because
//!   a v2 cgroup that has processes cannot give controllers to cgroups below it.
//!
//! With the systemd driver cgroupsPath names a slice and a scope instead, and the cgroup stands where systemd has it.

pub(crate) mod devices;
pub(crate) mod limits;
pub(crate) mod owner;
pub(crate) mod path;
pub(crate) mod program;
pub(crate) mod sub;
pub(crate) mod systemd;
pub(crate) mod update;

pub(crate) use super::layout::{CgroupLayout, Hierarchy};
use super::step::Field;
use crate::error::{Error, Result};
use devices::Rules;
use oci_spec::runtime::{Linux, Spec};
use owner::Owner;
use path::CgroupPath;
use program::Program;
use std::borrow::Cow;
use std::fmt;
use systemd::{Manager, Scope};

/// The control groups of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CgroupPlan {
    /// One for each mounted hierarchy; the unified one, if there is one, is the first.
    pub(crate) places: Vec<Place>,
    /// systemd makes the cgroups, as far as it can; None: the runtime makes all of them.
    pub(crate) scope: Option<Scope>,
    /// The device filter of the unified hierarchy.
    pub(crate) filter: Option<Filter>,
    /// Whom the cgroup of the unified hierarchy is given to.
    pub(crate) owner: Option<Owner>,
    /// What is odd but allowed.
    pub(crate) warnings: Vec<String>,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the hierarchy is mounted on the host, absolute.
    pub(crate) mount: String,
    /// v1: its controllers as mounted, `cpu,cpuacct` or `name=systemd`; empty on v2.
    pub(crate) controllers: String,
    /// The container's cgroup below the mount point.
    pub(crate) path: CgroupPath,
    /// May be left out where the runtime has no permission: rootless, no cgroupsPath, no limit asked for.
    pub(crate) optional: bool,
    /// In this order, before any process is in the cgroup.
    pub(crate) writes: Vec<Write>,
}

/// A hierarchy as a mount of type `cgroup` shows it to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// The directory's name, as on the host: `cpu,cpuacct`, `systemd`, `unified`.
    pub(crate) name: String,
    /// v2
    pub(crate) unified: bool,
    /// What names the hierarchy in a new mount of it: `cpu` and `cpuacct`, or `name=systemd`; nothing on v2.
    pub(crate) options: Vec<(String, Option<String>)>,
    /// The cgroup on the host.
    pub(crate) path: String,
}

impl View {
    fn new(hierarchy: &Hierarchy, path: String) -> Self {
        let option = |option: &str| match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        };
        let controllers = hierarchy.controllers.split(',').filter(|controller| !controller.is_empty());
        View {
            name: hierarchy.mount.rsplit('/').next().unwrap_or_default().to_owned(),
            unified: hierarchy.controllers.is_empty(),
            options: controllers.map(option).collect(),
            path,
        }
    }
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Who asked for it.
    pub(crate) field: Field,
    /// Whose file it is.
    pub(crate) controller: Cow<'static, str>,
    /// The file's name in the cgroup.
    pub(crate) file: Cow<'static, str>,
    /// Written in one write.
    pub(crate) value: String,
    /// What it means that the kernel does not have the file.
    pub(crate) absent: Absent,
    /// The value must be no less than the number in this file, if the cgroup has it (memory.checkBeforeUpdate).
    pub(crate) floor: Option<&'static str>,
}

impl Write {
    /// Whose files are named `cgroup.…` on v2: no controller that could be missing, but the core of each cgroup.
    pub(crate) const CORE: &'static str = "cgroup";

    /// The text of a plan.
    fn line(&self) -> String {
        let Write { field, file, value, absent, floor, .. } = self;
        let instead = match absent {
            Absent::Instead { file: other, value: second } if second == value => format!(", or {other}"),
            Absent::Instead { file: other, value: second } => format!(", or {other} = {second}"),
            Absent::Error | Absent::Fine => String::new(),
        };
        let floor = floor.map(|file| format!(", not below {file}")).unwrap_or_default();
        format!("{field}: {file} = {value}{instead}{floor}")
    }

    /// Without the file all is well, if so: the kernel does by itself what this value asks for.
    fn or_fine(&mut self, so: bool) {
        if so {
            self.absent = Absent::Fine;
        }
    }

    /// Without the file, another one does the same.
    fn or_else(&mut self, file: &'static str, value: impl ToString) {
        self.absent = Absent::Instead { file: file.into(), value: value.to_string() };
    }

    /// The number in this file is the least that may be written, if so. No limit (`max`, -1) is never too low.
    fn not_below(&mut self, file: &'static str, so: bool) {
        if so && self.value.parse::<u64>().is_ok() {
            self.floor = Some(file);
        }
    }
}

/// What it means that a limit's file is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Absent {
    /// What is asked for cannot be had.
    #[default]
    Error,
    /// The kernel does what is asked anyway.
    Fine,
    /// This file takes this value then.
    Instead {
        /// Its name in the same cgroup.
        file: Cow<'static, str>,
        /// Written in one write.
        value: String,
    },
}

/// An eBPF device filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// What it lets through.
    pub(crate) rules: Rules,
    /// The same as instructions.
    pub(crate) program: Program,
    /// Rootless: devices cannot be made there anyway, so that a kernel that refuses the filter is no danger.
    pub(crate) optional: bool,
}

/// The two kinds of hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// cgroup v1
    V1,
    /// cgroup v2
    V2,
}

impl CgroupPlan {
    /// The process has to be put into v1 cgroups once it is born, or systemd has to be told of it.
    pub(crate) fn attaches_after_birth(&self) -> bool {
        self.scope.is_some() || self.places.iter().any(|place| place.version() == Version::V1)
    }

    /// What a mount of type `cgroup` shows, one hierarchy each: the container's own cgroup. Where it has none, or,
    /// without a cgroup namespace (`own`), perhaps none, it is in that of the runtime.
    pub(crate) fn views(&self, layout: &CgroupLayout, own: bool) -> Vec<View> {
        let hierarchies = layout.unified.iter().chain(&layout.v1);
        let place_of = |mount: &str| self.places.iter().find(|place| place.mount == mount);
        let view = |hierarchy: &Hierarchy| match place_of(&hierarchy.mount) {
            Some(place) if own || !place.optional => View::new(hierarchy, place.directory()),
            _ => View::new(hierarchy, format!("{}{}", hierarchy.mount.trim_end_matches('/'), hierarchy.own)),
        };
        hierarchies.map(view).collect()
    }

    /// The text of a plan, line by line; no lines without control groups.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.scope.iter().map(Scope::to_string));
        for place in &self.places {
            let kind = if place.version() == Version::V2 { "v2" } else { &place.controllers };
            let optional = if place.optional { ", if permitted" } else { "" };
            lines.push(format!("linux.cgroupsPath: cgroup {:?} ({kind}{optional})", place.directory()));
            lines.extend(place.writes.iter().map(Write::line));
        }
        lines.extend(
            self.filter.iter().map(|filter| format!("linux.resources.devices: filter {}", filter.rules)),
        );
        lines.extend(self.owner.iter().map(|owner| format!("linux.cgroupsPath: given to user {owner}")));
        lines
    }
}

impl fmt::Display for CgroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Place {
    /// v1 or v2.
    pub(crate) fn version(&self) -> Version {
        if self.controllers.is_empty() { Version::V2 } else { Version::V1 }
    }

    /// A hierarchy in which systemd keeps all its units.
    pub(crate) fn is_systemds(&self) -> bool {
        self.version() == Version::V2 || self.controllers == "name=systemd"
    }

    /// Who needs this cgroup most: its first limit, else its path.
    pub(crate) fn field(&self) -> &str {
        self.writes.first().map_or("linux.cgroupsPath", |write| &write.field.0)
    }

    /// The cgroup as a path of the host, for people and for a mount's source.
    pub(crate) fn directory(&self) -> String {
        format!("{}{}", self.mount.trim_end_matches('/'), self.path)
    }

    /// v1: processes may only enter when the cgroup has CPUs and memory nodes, which it does not get by itself.
    pub(crate) fn needs_cpuset(&self) -> bool {
        self.controllers.split(',').any(|controller| controller == "cpuset")
    }
}

/// Plans the control groups; with the systemd driver (`systemd` says which) in a scope.
///
/// # Errors
/// As [`plan`]; an annotation that systemd shall not be told.
pub(crate) fn of(
    spec: &Spec,
    id: &str,
    layout: &CgroupLayout,
    disabled: bool,
    rootless: bool,
    systemd: Option<&Manager>,
) -> Result<CgroupPlan> {
    let mut plan = plan(spec.linux().as_ref(), id, layout, disabled, rootless, systemd)?;
    match (plan.scope.take(), systemd) {
        (Some(mut scope), Some(manager)) => {
            scope.describe(spec, id, manager, &plan.places)?;
            plan.scope = Some(scope);
        }
        _ => plan.warnings.extend(systemd::warn_without(spec)),
    }
    Ok(plan)
}

/// Plans the control groups. `disabled`: the caller wants none (`--cgroup-manager disabled`); `rootless`: the runtime
/// may lack the permission to make them.
///
/// # Errors
/// A cgroupsPath that is no path below a cgroup; a limit that makes no sense, that is not supported, or whose
/// controller this machine lacks.
pub(crate) fn plan(
    linux: Option<&Linux>,
    id: &str,
    layout: &CgroupLayout,
    disabled: bool,
    rootless: bool,
    systemd: Option<&Manager>,
) -> Result<CgroupPlan> {
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let layout = if disabled { &CgroupLayout::default() } else { layout };
    let scope = systemd.map(|manager| Scope::new(linux, id, manager)).transpose()?;
    let path = scope.as_ref().zip(systemd).map(|(scope, manager)| scope.path(manager)).transpose()?;
    let places = places(linux, id, layout, path.as_ref())?;
    let mut plan = CgroupPlan { places, scope, ..CgroupPlan::default() };
    if plan.scope.is_some() && plan.places.is_empty() {
        return Err(systemd::no_hierarchy());
    }
    if let Some(resources) = resources {
        plan.warnings = limits::set(resources, &mut plan.places, disabled)?;
    }
    let named = linux.is_some_and(|linux| path::named(linux).is_some());
    for place in &mut plan.places {
        // systemd makes its own parts of a scope; a hierarchy that it leaves alone may be root's.
        let wanted = if systemd.is_some() { place.is_systemds() } else { named };
        place.optional = rootless && !wanted && place.writes.is_empty();
    }
    let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
    plan.limit_devices(rules, disabled, rootless)?;
    Ok(plan)
}

/// Why a limit of this controller cannot be set.
fn missing(controller: &str, disabled: bool) -> Error {
    if disabled {
        Error::new("control groups are disabled").hint("leave out --cgroup-manager disabled, or the limit")
    } else {
        Error::new(format!("no mounted cgroup hierarchy has the {controller} controller"))
    }
}

/// The container's cgroup in each mounted hierarchy: `scope`, if systemd makes it.
fn places(
    linux: Option<&Linux>,
    id: &str,
    layout: &CgroupLayout,
    scope: Option<&CgroupPath>,
) -> Result<Vec<Place>> {
    let named = linux.and_then(path::named);
    let place = |hierarchy: &Hierarchy, version| {
        let own = || CgroupPath::of(named, id, &hierarchy.own, version);
        let path = scope.map_or_else(own, |scope| Ok(scope.clone()))?;
        let (mount, controllers) = (hierarchy.mount.clone(), hierarchy.controllers.clone());
        Ok(Place { mount, controllers, path, optional: false, writes: Vec::new() })
    };
    let unified = layout.unified.iter().map(|hierarchy| place(hierarchy, Version::V2));
    unified.chain(layout.v1.iter().map(|hierarchy| place(hierarchy, Version::V1))).collect()
}

/// The place whose hierarchy has the controller: a v1 hierarchy that has it, else the unified one, which may.
fn home(places: &[Place], controller: &str) -> Option<usize> {
    let v1 = places.iter().position(|place| place.controllers.split(',').any(|c| c == controller));
    v1.or_else(|| places.iter().position(|place| place.version() == Version::V2))
}

impl CgroupPlan {
    /// linux.resources.devices: always limited, as the field's engines do, also where the config names no rule.
    /// A rootless container can make no device nodes and open none that it may not open anyway: v1 lists, which need
    /// privilege, are then left alone.
    fn limit_devices(
        &mut self,
        rules: &[oci_spec::runtime::LinuxDeviceCgroup],
        disabled: bool,
        rootless: bool,
    ) -> Result<()> {
        let parsed = Rules::parse(rules)?;
        match home(&self.places, "devices") {
            Some(at) if self.places[at].version() == Version::V1 => {
                if !rootless {
                    self.places[at].writes.extend(parsed.v1()?);
                }
            }
            Some(_) => {
                self.filter = Program::build(&parsed).map(|program| Filter {
                    rules: parsed,
                    program,
                    optional: rootless,
                });
            }
            None if rules.is_empty() || rootless => {}
            None if disabled => self
                .warnings
                .push("linux.resources.devices: not enforced, control groups are disabled".into()),
            None => return Err(missing("devices", disabled).at("linux.resources.devices")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn hierarchy(mount: &str, controllers: &str, own: &str) -> Hierarchy {
        Hierarchy { mount: mount.into(), controllers: controllers.into(), own: own.into() }
    }

    fn v2() -> CgroupLayout {
        CgroupLayout { v1: vec![], unified: Some(hierarchy("/sys/fs/cgroup", "", "/user.slice/s.scope")) }
    }

    fn hybrid() -> CgroupLayout {
        let row = |name: &str| hierarchy(&format!("/sys/fs/cgroup/{name}"), name, "/own");
        let systemd = hierarchy("/sys/fs/cgroup/systemd", "name=systemd", "/own");
        let v1 = vec![systemd, row("pids"), row("devices"), row("memory"), row("cpu,cpuacct"), row("cpuset")];
        CgroupLayout { v1, unified: Some(hierarchy("/sys/fs/cgroup/unified", "", "/own")) }
    }

    fn planned(linux: Value, layout: &CgroupLayout, rootless: bool) -> Result<CgroupPlan> {
        let linux: Linux = serde_json::from_value(linux).unwrap();
        plan(Some(&linux), "web1", layout, false, rootless, None)
    }

    #[test]
    fn the_standard_bundle() {
        let standard = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}]}});
        let defaults = "allow b *:* m, allow c *:* m, allow c 10:200 rwm, allow c 136:* rwm, allow c 5:2 rwm, \
            allow c 5:1 rwm, allow c 5:0 rwm, allow c 1:9 rwm, allow c 1:8 rwm, allow c 1:7 rwm, allow c 1:5 rwm, \
            allow c 1:3 rwm";
        let on_v2 = planned(standard.clone(), &v2(), false).unwrap();
        assert_eq!(
            on_v2.to_string(),
            format!(
                "linux.cgroupsPath: cgroup \"/sys/fs/cgroup/user.slice/web1\" (v2)\n\
                 linux.resources.devices: filter deny all, {defaults}\n"
            )
        );
        assert!(!on_v2.attaches_after_birth());

        let on_hybrid = planned(standard, &hybrid(), false).unwrap();
        assert!(on_hybrid.filter.is_none() && on_hybrid.attaches_after_birth());
        let text = on_hybrid.to_string();
        let devices = text.lines().skip_while(|line| !line.contains("/devices/")).collect::<Vec<_>>();
        assert_eq!(
            devices[..4],
            [
                "linux.cgroupsPath: cgroup \"/sys/fs/cgroup/devices/own/web1\" (devices)",
                "linux.resources.devices: devices.deny = a",
                "linux.resources.devices: devices.allow = b *:* m",
                "linux.resources.devices: devices.allow = c *:* m",
            ]
        );
        assert!(
            text.starts_with("linux.cgroupsPath: cgroup \"/sys/fs/cgroup/unified/web1\" (v2)\n"),
            "{text}"
        );
    }

    #[test]
    fn limits_go_where_their_controller_is() {
        let config =
            json!({"cgroupsPath": "/pods/x", "resources": {"pids": {"limit": 7}, "memory": {"limit": 4096}}});
        let on = |layout: &CgroupLayout| {
            let plan = planned(config.clone(), layout, false).unwrap();
            let text = |place: &Place| {
                place
                    .writes
                    .iter()
                    .map(|w| format!("{}/{} {}", place.directory(), w.file, w.value))
                    .collect::<Vec<_>>()
            };
            plan.places.iter().flat_map(text).filter(|line| !line.contains("/devices.")).collect::<Vec<_>>()
        };
        assert_eq!(on(&v2()), ["/sys/fs/cgroup/pods/x/memory.max 4096", "/sys/fs/cgroup/pods/x/pids.max 7"]);
        assert_eq!(
            on(&hybrid()),
            [
                "/sys/fs/cgroup/pids/pods/x/pids.max 7",
                "/sys/fs/cgroup/memory/pods/x/memory.limit_in_bytes 4096"
            ]
        );
        let mut halves = hybrid();
        halves.v1.retain(|hierarchy| !hierarchy.has("pids"));
        assert_eq!(on(&halves)[0], "/sys/fs/cgroup/unified/pods/x/pids.max 7");
    }

    #[test]
    fn a_missing_controller_matters_only_when_asked_for() {
        let mut v1 = hybrid();
        v1.unified = None;
        v1.v1.retain(|hierarchy| hierarchy.has("devices"));
        assert!(planned(json!({}), &v1, false).is_ok());
        let error =
            planned(json!({"resources": {"pids": {"limit": 7}}}), &v1, false).unwrap_err().to_string();
        assert_eq!(error, "linux.resources.pids.limit: no mounted cgroup hierarchy has the pids controller");

        let none = CgroupLayout::default();
        let rules = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}]}});
        assert_eq!(planned(json!({}), &none, false).unwrap(), CgroupPlan::default());
        assert_eq!(planned(rules.clone(), &none, true).unwrap(), CgroupPlan::default());
        let error = planned(rules.clone(), &none, false).unwrap_err().to_string();
        assert_eq!(error, "linux.resources.devices: no mounted cgroup hierarchy has the devices controller");

        let linux: Linux = serde_json::from_value(rules).unwrap();
        let disabled = plan(Some(&linux), "web1", &hybrid(), true, false, None).unwrap();
        assert!(disabled.places.is_empty() && disabled.warnings.len() == 1);
        let linux: Linux = serde_json::from_value(json!({"resources": {"pids": {"limit": 7}}})).unwrap();
        let error = plan(Some(&linux), "web1", &hybrid(), true, false, None).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.pids.limit: control groups are disabled"), "{error}");
    }

    #[test]
    fn rootless_may_go_without_only_when_nothing_was_asked_for() {
        let optional = |linux: Value, rootless| {
            let plan = planned(linux, &hybrid(), rootless).unwrap();
            plan.places.iter().filter(|place| place.optional).count()
        };
        assert_eq!(optional(json!({}), false), 0);
        assert_eq!(optional(json!({}), true), 7);
        assert_eq!(optional(json!({"cgroupsPath": ""}), true), 7);
        assert_eq!(optional(json!({"cgroupsPath": "/x"}), true), 0);
        assert_eq!(optional(json!({"resources": {"pids": {"limit": 7}}}), true), 6);
        assert!(planned(json!({}), &v2(), true).unwrap().filter.is_some_and(|filter| filter.optional));
    }

    #[test]
    fn a_mount_of_type_cgroup_shows_the_containers_own() {
        let plan = planned(json!({}), &hybrid(), false).unwrap();
        let views = plan.views(&hybrid(), true);
        assert!(views[0].unified && views[0].name == "unified" && views[0].options.is_empty());
        assert_eq!(
            (views[1].name.as_str(), views[1].path.as_str()),
            ("systemd", "/sys/fs/cgroup/systemd/own/web1")
        );
        assert_eq!(views[1].options, [("name".to_owned(), Some("systemd".to_owned()))]);
        assert_eq!(views[5].options, [("cpu".to_owned(), None), ("cpuacct".to_owned(), None)]);
    }
}
