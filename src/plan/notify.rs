//! NOTIFY_SOCKET (sd_notify(3)): who is started by systemd with one hands it on to the container, never as it is. The
//! container finds a directory of its own at /run/notify, read-only, in which the runtime listens; `process.env` says so.
//! Not of the runtime-spec; as runc does it.

use super::host::Host;
use super::namespaces::Namespaces;
use super::process;
use super::rootfs::{baseline, host_path, tree};
use super::step::{Attr, Inside, Links, MountPoint, Namespace, Source, Step, Tree};
use super::{Plan, Request};
use crate::error::Result;
use oci_spec::runtime::Spec;
use std::ffi::CString;

/// What errors call it.
const FIELD: &str = "NOTIFY_SOCKET";

/// Where the container finds the directory.
const PLACE: &str = "/run/notify";

/// The socket's name in the directory.
pub(crate) const NAME: &str = "notify.sock";

/// MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC (linux/mount.h).
const ATTR: u64 = 0x1 | 0x2 | 0x4 | 0x8;

/// The entry of the container's environment.
pub(super) fn variable() -> CString {
    CString::new(format!("{FIELD}={PLACE}/{NAME}")).expect("literals have no NUL")
}

/// Mounts the directory, unless the config has a NOTIFY_SOCKET of its own, or shares the host's mounts.
pub(crate) fn mount(
    plan: &mut Plan,
    spec: &Spec,
    host: &Host,
    request: &Request<'_>,
    namespaces: &Namespaces,
) -> Result<()> {
    let configured = spec.process().as_ref().is_some_and(|own| process::variable(own, FIELD).is_some());
    let Some(directory) = request.notify else { return Ok(()) };
    if configured || !namespaces.own(Namespace::Mount) {
        return Ok(());
    }
    let attr = Attr { set: ATTR, clear: 0 };
    let tree = Tree { attr, ..tree(host_path(request.bundle, directory)?, false, host) };
    let source = Source::Tree(plan.open(FIELD, tree));
    let (at, point, links, attr) =
        (Inside::new(PLACE)?, MountPoint::LikeSource, Links::Follow, Attr::default());
    plan.push(FIELD, Step::Mount { at, source, point, links, attr, propagation: baseline(spec)? });
    plan.notify = true;
    Ok(())
}
