//! The systemd driver's part of a cgroup plan: which transient scope is asked for, in which slice, with which
//! properties (config-linux.md, Control groups; systemd.scope(5), systemd.resource-control(5)). Pure: whether systemd
//! runs, which version it is and where its own cgroup stands arrive in [`Manager`].
//!
//! The limits stay the writes of [`super::Place`]: those that systemd has a property for are told to it besides, so
//! that it does not put its own idea in their place when it next looks at the unit.

mod annotations;
mod devices;
pub(crate) mod name;
pub(crate) mod property;
mod variant;

use super::Place;
use super::devices::Rules;
use crate::error::{Error, Result};
use name::{SliceName, UnitName};
use oci_spec::runtime::{Linux, LinuxDeviceCgroup, Spec};
pub(crate) use property::{Property, Value, properties};
use std::fmt;

/// The systemd that makes the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manager {
    /// Its major version; 0 if it could not be told.
    pub(crate) version: u32,
    /// Its own cgroup, below the mount point of each hierarchy: empty for the whole machine's.
    pub(crate) control_group: String,
    /// A user's own systemd, not the machine's.
    pub(crate) user: bool,
}

/// The transient scope to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Its name.
    pub(crate) unit: UnitName,
    /// Where it stands.
    pub(crate) slice: SliceName,
    /// All properties but the processes, in the order in which systemd is to take them.
    pub(crate) properties: Vec<Property>,
}

impl Scope {
    /// Reads linux.cgroupsPath as `slice:prefix:name`.
    ///
    /// # Errors
    /// Another form; a name that is none of systemd's.
    pub(crate) fn new(linux: Option<&Linux>, id: &str, manager: &Manager) -> Result<Self> {
        let named = linux.and_then(super::path::named);
        let (slice, unit) = name::parse(named, id, manager.user).map_err(|e| e.at(FIELD))?;
        Ok(Scope { unit, slice, properties: Vec::new() })
    }

    /// The scope's cgroup below the mount point of each hierarchy.
    pub(crate) fn path(&self, manager: &Manager) -> Result<super::path::CgroupPath> {
        let path = format!("{}{}/{}", manager.control_group, self.slice.path(), self.unit.cgroup());
        super::path::CgroupPath::new(&path).map_err(|e| e.at(FIELD))
    }

    /// Fills the properties: what every container's scope has, the annotations, the limits, the v1 device list. Of two
    /// with the same name systemd keeps the last, so that no annotation lifts a limit.
    pub(crate) fn describe(
        &mut self,
        spec: &Spec,
        id: &str,
        manager: &Manager,
        places: &[Place],
    ) -> Result<()> {
        let v1 = places.iter().any(|place| !place.controllers.is_empty() && !place.controllers.contains('='));
        self.properties = always(id, &self.slice, v1);
        self.properties.extend(annotations::properties(spec.annotations().as_ref())?);
        for place in places {
            self.properties.extend(properties(&place.writes, place.version(), manager.version));
        }
        if places.iter().any(|place| place.controllers == "devices" && !place.writes.is_empty()) {
            let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
            let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
            self.properties.extend(device_list(rules)?);
        }
        Ok(())
    }
}

/// linux.resources.devices for systemd on cgroup v1, in place of any list that it has.
///
/// # Errors
/// A rule that v1 cannot express.
pub(crate) fn device_list(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Property>> {
    devices::list(&Rules::parse(rules)?)
}

/// The field that asks for the scope.
const FIELD: &str = "linux.cgroupsPath";

/// What does not depend on the config. Delegate: everything below the scope is the container's own. No default
/// dependencies: the scope neither waits for the machine to be up nor is it ended before the engine at shutdown.
/// A scope that failed is collected like one that ended.
fn always(id: &str, slice: &SliceName, v1: bool) -> Vec<Property> {
    let property = |name: &'static str, value| Property::new(FIELD, name, value);
    let io = if v1 { "BlockIOAccounting" } else { "IOAccounting" };
    let on = [("Delegate", true), ("DefaultDependencies", false)];
    let accounting = ["CPUAccounting", "MemoryAccounting", "TasksAccounting", io].map(|name| (name, true));
    let mut list = vec![
        property("Description", Value::Text(format!("onggi container {id}"))),
        property("Slice", Value::Text(slice.as_str().to_owned())),
    ];
    list.extend(on.into_iter().chain(accounting).map(|(name, on)| property(name, Value::Bool(on))));
    list.push(property("CollectMode", Value::Text("inactive-or-failed".to_owned())));
    list
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FIELD}: scope {:?} of {:?}", self.unit.as_str(), self.slice.as_str())?;
        self.properties.iter().try_for_each(|property| write!(f, "\n{property}"))
    }
}

/// `org.systemd.property.*` without the systemd driver does nothing; said once.
pub(crate) fn warn_without(spec: &Spec) -> Option<String> {
    let names = spec.annotations().iter().flatten().map(|(name, _)| name);
    let name = names.filter(|name| name.starts_with(annotations::PREFIX)).min()?;
    Some(format!("annotations {name:?}: without effect: control groups are not made by systemd"))
}

/// Why a plan with systemd needs a hierarchy.
pub(crate) fn no_hierarchy() -> Error {
    Error::new("no cgroup hierarchy is mounted").at(FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::{CgroupLayout, of};
    use serde_json::json;

    #[test]
    fn annotations_lift_no_limit() {
        let spec = json!({"ociVersion": "1.3.0", "root": {"path": "r"},
            "annotations": {
                "org.systemd.property.MemoryHigh": "uint64 18446744073709551615",
                "org.systemd.property.CPUWeight": "uint64 10000"},
            "linux": {"resources": {"cpu": {"shares": 1024}, "unified": {"memory.high": "4096"}}}});
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let mountinfo = "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let layout = CgroupLayout::parse(mountinfo, "0::/\n");
        let manager = Manager { version: 257, control_group: String::new(), user: false };
        let plan = of(&spec, "web1", &layout, false, false, Some(&manager)).unwrap();
        let scope = plan.scope.unwrap();
        let last = |name: &str| {
            let property = scope.properties.iter().rev().find(|property| property.name == name).unwrap();
            (property.field.to_string(), property.value.clone())
        };
        assert_eq!(last("CPUWeight"), ("linux.resources.cpu.shares".into(), Value::U64(100)));
        assert_eq!(last("MemoryHigh"), ("linux.resources.unified \"memory.high\"".into(), Value::U64(4096)));
    }
}
