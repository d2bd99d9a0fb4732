//! linux.netDevices (config-linux.md, Network Devices), as far as it can be wrong in itself: names that the kernel would
//! not take, two devices for one name, no network namespace to move them to.

use super::{Quoted, Rule, namespace, require};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::collections::BTreeMap;

const SECTION: &str = "config-linux.md, Network Devices";

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "linux.netDevices", section: SECTION, check: names },
    Rule { field: "linux.netDevices", section: SECTION, check: own_namespace },
    Rule { field: "linux.netDevices", section: SECTION, check: distinct },
];

/// IFNAMSIZ of linux/if.h, without the NUL at the end.
const LONGEST: usize = 15;

/// The devices, sorted: the name on the host, and the name in the container if another is asked for.
fn devices(spec: &Spec) -> BTreeMap<&str, Option<&str>> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let mut all = BTreeMap::new();
    for (key, device) in devices.into_iter().flatten() {
        all.insert(key.as_str(), device.name().as_deref().filter(|name| !name.is_empty()));
    }
    all
}

fn names(spec: &Spec) -> Result<()> {
    devices(spec).into_iter().try_for_each(|(key, name)| {
        let at = |e: Error| e.at(format_args!("linux.netDevices {}", Quoted(key)));
        valid(key)
            .and_then(|()| require(!key.contains('%'), "a template is no name of a device"))
            .map_err(at)?;
        let Some(name) = name else { return Ok(()) };
        let at = |e: Error| e.at(format_args!("linux.netDevices {}.name {}", Quoted(key), Quoted(name)));
        let stem = name.strip_suffix("%d").unwrap_or(name);
        valid(name)
            .and_then(|()| require(!stem.contains('%'), "a template has one %d, at its end"))
            .map_err(at)
    })
}

/// dev_valid_name of the kernel.
fn valid(name: &str) -> Result<()> {
    let bytes = name.len();
    require(!name.is_empty(), "is empty")?;
    require(bytes <= LONGEST, format!("a name of {bytes} bytes, the kernel takes at most {LONGEST}"))?;
    require(![".", ".."].contains(&name), "is no name of a device")?;
    let odd = |c: char| matches!(c, '/' | ':' | '\0' | '\x0b' | ' ' | '\t' | '\n' | '\x0c' | '\r');
    match name.find(odd) {
        Some(at) => Err(Error::new(format!("{:?} at position {at} is not allowed", &name[at..=at]))),
        None => Ok(()),
    }
}

fn own_namespace(spec: &Spec) -> Result<()> {
    let own = namespace(spec, LinuxNamespaceType::Network).is_some();
    require(
        own || devices(spec).is_empty(),
        "linux.namespaces has no network namespace that they could be moved to",
    )
}

fn distinct(spec: &Spec) -> Result<()> {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, name) in devices(spec) {
        let name = name.unwrap_or(key);
        if name.ends_with("%d") {
            continue;
        }
        if let Some(other) = taken.insert(name, key) {
            let field = format!("linux.netDevices {}", Quoted(key));
            return Err(Error::new(format!("{} is also called {name:?}", Quoted(other))).at(field));
        }
    }
    Ok(())
}
