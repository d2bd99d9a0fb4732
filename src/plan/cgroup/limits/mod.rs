//! linux.resources as files and values of cgroup v1 and v2 (config-linux.md, Control groups), one file of this folder
//! per property. Pure. 0 means "not set" wherever the kernel could not take it as a limit; what a layout cannot
//! do is refused, never left out. docs/cgroups.md has the table.
//!
//! [`set`] is the one way in, for `create` as for `update`: all limits of these resources, written into these places.

mod block_io;
mod cpu;
mod hugetlb;
mod memory;
mod network;
mod pids;
mod rdma;
mod unified;

use super::{Absent, Place, Version, Write};
use crate::error::{Error, Result};
use crate::plan::step::Field;
use oci_spec::runtime::LinuxResources;
use std::borrow::Cow;

/// A controller with limits here.
struct Family {
    /// Its names on v1 and v2.
    names: [&'static str; 2],
    /// Collects what the resources want of it.
    limits: fn(&mut List, &LinuxResources) -> Result<()>,
}

const fn family(name: &'static str, limits: fn(&mut List, &LinuxResources) -> Result<()>) -> Family {
    Family { names: [name, name], limits }
}

/// All of them, in the order in which their limits are set.
const FAMILIES: [Family; 9] = [
    family("cpuset", cpu::set),
    family("cpu", cpu::time),
    family("memory", memory::limit),
    family("pids", pids::limit),
    Family { names: ["blkio", "io"], limits: block_io::limit },
    family("hugetlb", hugetlb::limit),
    family("net_cls", network::class),
    family("net_prio", network::priorities),
    family("rdma", rdma::limit),
];

impl Family {
    fn name(&self, version: Version) -> &'static str {
        self.names[usize::from(version == Version::V2)]
    }

    /// The limits of the controller.
    fn list(&self, resources: &LinuxResources, version: Version) -> Result<List> {
        let controller = self.name(version);
        let mut list = List { controller, version, writes: Vec::new(), warnings: Vec::new() };
        (self.limits)(&mut list, resources)?;
        Ok(list)
    }
}

/// Adds every limit that the resources ask for to the place whose hierarchy has its controller. `disabled`: there are
/// no places because the caller wants none.
///
/// # Returns
/// What is odd but allowed, one text each.
///
/// # Errors
/// A limit that makes no sense, or whose controller no place has; with its field.
pub(crate) fn set(resources: &LinuxResources, places: &mut [Place], disabled: bool) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for family in &FAMILIES {
        let home = super::home(places, family.name(Version::V1));
        let version = home.map_or(Version::V1, |at| places[at].version());
        let list = family.list(resources, version)?;
        match (home, list.writes.first()) {
            (Some(at), _) => places[at].writes.extend(list.writes),
            (None, Some(first)) => {
                return Err(super::missing(family.name(version), disabled).at(&first.field));
            }
            (None, None) => {}
        }
        warnings.extend(list.warnings);
    }
    unified::set(resources, places, disabled)?;
    Ok(warnings)
}

/// The writes of one controller as they are collected.
struct List {
    controller: &'static str,
    version: Version,
    writes: Vec<Write>,
    warnings: Vec<String>,
}

impl List {
    fn push(&mut self, field: &str, file: impl Into<Cow<'static, str>>, value: impl ToString) -> &mut Write {
        self.writes.push(Write {
            field: Field::new(format!("linux.resources.{field}")),
            controller: self.controller.into(),
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Error,
            floor: None,
        });
        self.writes.last_mut().expect("one was pushed")
    }

    fn warn(&mut self, field: &str, text: &str) {
        self.warnings.push(format!("linux.resources.{field}: {text}"));
    }
}

fn wrong(field: &str, reason: impl Into<String>) -> Error {
    Error::new(reason).at(format!("linux.resources.{field}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn planned(resources: &Value, version: Version) -> Result<List> {
        let resources: LinuxResources = serde_json::from_value(resources.clone()).unwrap();
        let mut all = List { controller: "all", version, writes: Vec::new(), warnings: Vec::new() };
        for family in &FAMILIES {
            let list = family.list(&resources, version)?;
            assert!(list.writes.iter().all(|write| write.controller == family.name(version)));
            all.writes.extend(list.writes);
            all.warnings.extend(list.warnings);
        }
        Ok(all)
    }

    /// All writes, as `file=value`; `?` for those that may be missing, `else` before what is tried instead, `>` before
    /// the file whose number is the least.
    pub(super) fn text(resources: &Value, version: Version) -> String {
        let list =
            planned(resources, version).unwrap_or_else(|error| panic!("{version:?} {resources}: {error}"));
        let text = |Write { file, value, absent, floor, .. }: &Write| {
            let floor = floor.map(|floor| format!(">{floor}")).unwrap_or_default();
            match absent {
                Absent::Error => format!("{file}={value}{floor}"),
                Absent::Fine => format!("{file}?={value}{floor}"),
                Absent::Instead { file: other, value: second } => {
                    format!("{file}={value}{floor} else {other}={second}")
                }
            }
        };
        list.writes.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    /// What is odd.
    pub(super) fn warnings(resources: &Value, version: Version) -> Vec<String> {
        planned(resources, version).unwrap().warnings
    }

    /// On these versions they must be refused, with the field.
    pub(super) fn refused(resources: &Value, field: &str, versions: &[Version]) {
        for version in [Version::V1, Version::V2] {
            match planned(resources, version) {
                Err(error) if versions.contains(&version) => {
                    let error = error.to_string();
                    assert!(error.starts_with(&format!("linux.resources.{field}: ")), "{error}");
                }
                Ok(_) if !versions.contains(&version) => {}
                Ok(_) => panic!("{version:?} takes {resources}"),
                Err(error) => panic!("{version:?} {resources}: {error}"),
            }
        }
    }

    #[test]
    fn nothing_asked_for_is_nothing_written() {
        let empty = json!({"cpu": {}, "memory": {}, "blockIO": {}, "network": {}, "hugepageLimits": [], "rdma": {}, "unified": {}});
        for version in [Version::V1, Version::V2] {
            assert_eq!((text(&json!({}), version), text(&empty, version)), (String::new(), String::new()));
        }
    }
}
