//! linux.devices, the default devices and the default symbolic links of /dev (config-linux.md, Default Devices).

use super::host::Host;
use super::namespaces::Namespaces;
use super::rootfs::{baseline, tree};
use super::step::{Attr, Inside, Kind, Links, MountPoint, Namespace, Source, Step, Tree};
use super::{Plan, mount_options};
use crate::error::{Error, Result};
use nix::libc;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use std::ffi::{CStr, CString};

/// The devices that every container has: path, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links that every container has: path, target.
const LINKS: [(&str, &CStr); 5] = [
    ("/dev/fd", c"/proc/self/fd"),
    ("/dev/stdin", c"/proc/self/fd/0"),
    ("/dev/stdout", c"/proc/self/fd/1"),
    ("/dev/stderr", c"/proc/self/fd/2"),
    ("/dev/ptmx", c"pts/ptmx"),
];

/// A device node to be.
struct Node {
    field: String,
    path: String,
    kind: u32,
    number: (u32, u32),
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Device nodes and links, after the mounts: /dev is usually one of them.
pub(crate) fn make(plan: &mut Plan, spec: &Spec, host: &Host, namespaces: &Namespaces) -> Result<()> {
    let dev_is_bound = spec.mounts().iter().flatten().any(|mount| {
        let bind = mount_options::parse(mount.options().as_deref().unwrap_or_default()).is_ok_and(|o| o.bind);
        bind && Inside::new(mount.destination()).is_ok_and(|at| at.bytes() == b"dev")
    });
    let configured: Vec<Node> = configured(spec)?;
    let defaults =
        DEFAULT.iter().filter(|_| !dev_is_bound).filter(|row| configured.iter().all(|n| n.path != row.0));
    let defaults = defaults.map(|&(path, major, minor)| Node {
        field: format!("linux.devices {path:?}"),
        path: path.into(),
        kind: libc::S_IFCHR,
        number: (major, minor),
        mode: 0o666,
        uid: 0,
        gid: 0,
    });
    // mknod(2) of a device needs CAP_MKNOD in the initial user namespace.
    let bind = !host.privileged || host.nested || namespaces.own(Namespace::User);
    for node in defaults.collect::<Vec<_>>().into_iter().chain(configured) {
        let field = node.field.clone();
        node.push(plan, spec, host, bind).map_err(|e| e.at(field))?;
    }
    for (path, target) in LINKS.iter().filter(|_| !dev_is_bound) {
        plan.push("linux.devices", Step::Symlink { target: (*target).to_owned(), at: Inside::new(path)? });
    }
    Ok(())
}

fn configured(spec: &Spec) -> Result<Vec<Node>> {
    let list = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let node = |(i, device): (usize, &LinuxDevice)| {
        let field = format!("linux.devices[{i}] {:?}", device.path());
        Node::of(field.clone(), device).map_err(|e| e.at(field))
    };
    list.into_iter().flatten().enumerate().map(node).collect()
}

impl Node {
    fn of(field: String, device: &LinuxDevice) -> Result<Self> {
        let number = |n: i64, name: &str| {
            u32::try_from(n).map_err(|_| Error::new(format!("{name} {n} is out of range")))
        };
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
            LinuxDeviceType::B => libc::S_IFBLK,
            LinuxDeviceType::P => libc::S_IFIFO,
            LinuxDeviceType::A => return Err(Error::new("type \"a\" is no device node").hint("c, b, u or p")),
        };
        let number = match kind {
            libc::S_IFIFO => (0, 0),
            _ if device.major() == 0 => {
                return Err(Error::new("major 0 is no device").hint("is \"major\" missing?"));
            }
            _ => (number(device.major(), "major")?, number(device.minor(), "minor")?),
        };
        Ok(Node {
            field,
            path: device.path().to_string_lossy().into_owned(),
            kind,
            number,
            // Engines hand over st_mode as they found it; spec refuses what is neither type nor permission.
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        })
    }

    fn push(self, plan: &mut Plan, spec: &Spec, host: &Host, bind: bool) -> Result<()> {
        let at = Inside::new(&self.path)?;
        if !bind || self.kind == libc::S_IFIFO {
            let (mode, number) = (self.kind | self.mode, self.number);
            plan.push(self.field, Step::Device { at, mode, number, uid: self.uid, gid: self.gid });
            return Ok(());
        }
        let must_be = match self.kind {
            libc::S_IFCHR => Kind::Character(self.number.0, self.number.1),
            _ => Kind::Any,
        };
        let path = CString::new(self.path).map_err(|_| Error::new("contains a NUL byte"))?;
        let tree = plan.open(&self.field, Tree { must_be, ..tree(path, false, host) });
        let propagation = baseline(spec)?;
        let (source, point, attr) = (Source::Tree(tree), MountPoint::LikeSource, Attr::default());
        plan.push(self.field, Step::Mount { at, source, point, links: Links::Follow, attr, propagation });
        Ok(())
    }
}
