//! linux.netDevices (config-linux.md, Network Devices): which devices of the host the runtime moves into the container's
//! network namespace, and when. Whether they exist, and whether their names are free there, is seen when it is done.

use super::Plan;
use super::host::Host;
use super::namespaces::Namespaces;
use super::step::{Field, Handle, Namespace, Point, Step};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;
use std::fmt;

/// A device to move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetDevice {
    /// Its name in the runtime's network namespace.
    pub(crate) host: String,
    /// Its name in the container's, if it is to have another one; with `%d` at the end, a template.
    pub(crate) name: Option<String>,
}

impl NetDevice {
    /// Where it comes from.
    pub(crate) fn field(&self) -> Field {
        Field(format!("linux.netDevices {:?}", self.host))
    }
}

impl fmt::Display for NetDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move network device {:?}", self.host)?;
        self.name.iter().try_for_each(|name| write!(f, " as {name:?}"))
    }
}

/// The devices, sorted by name, and the meeting at which they are moved: the network namespace is there, and no hook has
/// run. A container without any has no such meeting.
///
/// # Errors
/// The runtime is not privileged: devices of the host are not its to move.
pub(crate) fn meet(plan: &mut Plan, spec: &Spec, host: &Host, namespaces: &Namespaces) -> Result<()> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let devices = devices.into_iter().flatten().map(|(host, device)| NetDevice {
        host: host.clone(),
        name: device.name().clone().filter(|name| !name.is_empty()),
    });
    plan.net_devices = devices.collect();
    plan.net_devices.sort();
    let Some(first) = plan.net_devices.first() else { return Ok(()) };
    let field = first.field();
    if !host.privileged {
        return Err(Error::new("a device of the host cannot be moved without privileges")
            .at(field)
            .hint("run as root; rootless, the network is set up by the engine (slirp4netns, pasta)"));
    }
    if !namespaces.own(Namespace::Network) {
        return Err(Error::new("there is no network namespace to move it to").at(field));
    }
    for (_, handle) in &mut plan.handles {
        if let Handle::Namespace { kind: Namespace::Network, foreign, .. } = handle {
            *foreign = Some(field.clone());
        }
    }
    plan.push("linux.netDevices", Step::Meet(Point::Network));
    Ok(())
}
