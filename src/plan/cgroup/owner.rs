//! Who owns the container's cgroup (config-linux.md, Cgroup ownership): the user that runs the container's process,
//! so that a process manager inside can divide what the container has. Pure.
//!
//! Only where that is safe and of use: cgroup v2 alone, a new cgroup namespace, and a mount of the cgroup file system
//! at its usual place that the container may write to. A joined user namespace keeps its maps to itself until a process
//! is in it; the runtime then reads them there.

use super::Version;
use crate::plan::Plan;
use crate::plan::namespaces::Namespaces;
use crate::plan::step::Namespace;
use oci_spec::runtime::{Mount, Spec};
use std::fmt;
use std::path::Path;

/// Where the mount must be.
const DESTINATION: &str = "/sys/fs/cgroup";
/// What its source must be called.
const SOURCE: &str = "cgroup";
/// What makes it read-only.
const READ_ONLY: [&str; 2] = ["ro", "rro"];

/// The owner to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: User,
    /// The runtime may lack the permission, and nobody insists.
    pub(crate) optional: bool,
}

/// A user of the runtime's user namespace, or of the one that the container joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// A uid of the runtime's.
    Here(u32),
    /// process.user.uid, to be read through the uid_map of the container's process.
    Inside(u32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user {
            User::Here(uid) => write!(f, "{uid}")?,
            User::Inside(uid) => write!(f, "{uid} of the joined user namespace")?,
        }
        f.write_str(if self.optional { ", if permitted" } else { "" })
    }
}

/// The owner, if it is to be another than the runtime. `plan` has its cgroup and id maps; `own`: the runtime's own uid.
pub(crate) fn owner(
    plan: &Plan,
    spec: &Spec,
    own: u32,
    rootless: bool,
    namespaces: &Namespaces,
) -> Option<Owner> {
    let places = &plan.cgroup.places;
    let v2_alone = !places.is_empty() && places.iter().all(|place| place.version() == Version::V2);
    let writable = spec.mounts().iter().flatten().any(is_writable_cgroup);
    if !v2_alone || !namespaces.is_new(Namespace::Cgroup) || !writable {
        return None;
    }
    let uid = spec.process().as_ref().map_or(0, |process| process.user().uid());
    let user = match &plan.maps {
        Some(maps) => User::Here(maps.uid.iter().find_map(|map| map.host_id(uid))?),
        None if namespaces.joined(Namespace::User).is_some() => User::Inside(uid),
        None => User::Here(uid),
    };
    (user != User::Here(own)).then_some(Owner { user, optional: rootless })
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let read_only = |option: &String| READ_ONLY.contains(&option.as_str());
    mount.source().as_deref() == Some(Path::new(SOURCE))
        && mount.destination() == Path::new(DESTINATION)
        && !mount.options().iter().flatten().any(read_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_writable_mount_at_its_place_counts() {
        for (mount, writable) in [
            (json!({"source": "cgroup", "destination": "/sys/fs/cgroup"}), true),
            (json!({"source": "cgroup", "destination": "/sys/fs/cgroup", "options": ["nosuid", "rw"]}), true),
            (json!({"source": "cgroup", "destination": "/sys/fs/cgroup", "options": ["ro"]}), false),
            (json!({"source": "cgroup", "destination": "/sys/fs/cgroup", "options": ["rro"]}), false),
            (json!({"source": "cgroup2", "destination": "/sys/fs/cgroup"}), false),
            (json!({"source": "cgroup", "destination": "/cgroup"}), false),
            (json!({"destination": "/sys/fs/cgroup"}), false),
        ] {
            assert_eq!(
                is_writable_cgroup(&serde_json::from_value(mount.clone()).unwrap()),
                writable,
                "{mount}"
            );
        }
    }
}
