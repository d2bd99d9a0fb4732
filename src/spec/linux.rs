//! The rest of `linux` (config-linux.md, Devices, Control groups, Rootfs Mount Propagation, Masked and Readonly Paths,
//! Personality). linux.resources is judged where it is planned, linux.sysctl too.

use super::{Quoted, Rule, ids, linux_list, list, quoted, require};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use std::path::{Component, Path};

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "linux.devices[*].path", section: "config-linux.md, Devices", check: device_path },
    Rule {
        field: "linux.devices[*].type",
        section: "config-linux.md, Devices; mknod(2)",
        check: device_number,
    },
    Rule {
        field: "linux.devices[*].fileMode",
        section: "config-linux.md, Devices; mknod(2)",
        check: device_mode,
    },
    Rule {
        field: "linux.devices[*].uid",
        section: "config-linux.md, Devices; chown(2)",
        check: device_owner,
    },
    Rule { field: "linux.devices[*]", section: "config-linux.md, Devices", check: devices_agree },
    Rule { field: "linux.cgroupsPath", section: "config-linux.md, Cgroups Path", check: cgroups_path },
    Rule {
        field: "linux.rootfsPropagation",
        section: "config-linux.md, Rootfs Mount Propagation",
        check: propagation,
    },
    Rule { field: "linux.maskedPaths[*]", section: "config-linux.md, Masked Paths", check: masked_paths },
    Rule {
        field: "linux.readonlyPaths[*]",
        section: "config-linux.md, Readonly Paths",
        check: readonly_paths,
    },
    Rule { field: "linux.personality.flags", section: "config-linux.md, Personality", check: personality },
];

/// Values of rootfsPropagation: the spec's four, and the recursive forms that engines send.
pub(crate) const PROPAGATIONS: [&str; 8] =
    ["private", "rprivate", "rshared", "rslave", "runbindable", "shared", "slave", "unbindable"];

fn each_device(spec: &Spec, check: impl Fn(&LinuxDevice) -> Result<()>) -> Result<()> {
    linux_list(spec, |linux| linux.devices()).iter().enumerate().try_for_each(|(i, device)| {
        check(device).map_err(|error| error.at(format_args!("linux.devices[{i}] {}", quoted(device.path()))))
    })
}

fn device_path(spec: &Spec) -> Result<()> {
    each_device(spec, |device| {
        require(device.path().is_absolute(), "not an absolute path")?;
        let last = device.path().components().next_back();
        require(matches!(last, Some(Component::Normal(_))), "names a directory")
    })
}

fn device_number(spec: &Spec) -> Result<()> {
    each_device(spec, |device| {
        match device.typ() {
            LinuxDeviceType::A => return Err(Error::new("type a is none: c, b, u or p")),
            LinuxDeviceType::P => return Ok(()),
            LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U => {}
        }
        // MINORBITS is 20 and the rest of the kernel's 32-bit dev_t is the major (linux/kdev_t.h).
        for (name, value, max) in [("major", device.major(), 0xfff), ("minor", device.minor(), 0xf_ffff)] {
            require((0..=max).contains(&value), format!("{name} {value} is not between 0 and {max}"))?;
        }
        Ok(())
    })
}

/// Engines send the file type along with the permissions.
fn device_mode(spec: &Spec) -> Result<()> {
    each_device(spec, |device| {
        let mode = device.file_mode().unwrap_or(0);
        require(mode <= 0o177_777, format!("fileMode {mode} is not a file mode"))
    })
}

fn device_owner(spec: &Spec) -> Result<()> {
    let devices = linux_list(spec, |linux| linux.devices());
    devices.iter().enumerate().try_for_each(|(i, device)| {
        ids::id(device.uid().unwrap_or(0), format_args!("linux.devices[{i}].uid"))?;
        ids::id(device.gid().unwrap_or(0), format_args!("linux.devices[{i}].gid"))
    })
}

/// The same device twice is harmless, two devices at one path are not.
fn devices_agree(spec: &Spec) -> Result<()> {
    let devices = linux_list(spec, |linux| linux.devices());
    let what = |device: &LinuxDevice| (device.typ().as_str().to_owned(), device.major(), device.minor());
    for (i, device) in devices.iter().enumerate() {
        let other = |other: &LinuxDevice| other.path() == device.path() && what(other) != what(device);
        if let Some(j) = devices[..i].iter().position(other) {
            let field = format!("linux.devices[{i}] {}", quoted(device.path()));
            return Err(Error::new(format!("entry [{j}] puts another device there")).at(field));
        }
    }
    Ok(())
}

fn cgroups_path(spec: &Spec) -> Result<()> {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    let Some(path) = path else { return Ok(()) };
    require(!path.components().any(|part| part == Component::ParentDir), "holds \"..\"")
        .map_err(|error| error.at(format_args!("linux.cgroupsPath {}", quoted(path))))
}

fn propagation(spec: &Spec) -> Result<()> {
    let value = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or("");
    require(
        value.is_empty() || PROPAGATIONS.contains(&value),
        format!("not one of {}", PROPAGATIONS.join(", ")),
    )
    .map_err(|error| error.at(format_args!("linux.rootfsPropagation {}", Quoted(value))))
}

fn absolute(paths: &[String], name: &str) -> Result<()> {
    paths.iter().enumerate().try_for_each(|(i, path)| {
        require(Path::new(path).is_absolute(), "not an absolute path")
            .map_err(|error| error.at(format_args!("linux.{name}[{i}] {}", Quoted(path))))
    })
}

fn masked_paths(spec: &Spec) -> Result<()> {
    absolute(linux_list(spec, |linux| linux.masked_paths()), "maskedPaths")
}

fn readonly_paths(spec: &Spec) -> Result<()> {
    absolute(linux_list(spec, |linux| linux.readonly_paths()), "readonlyPaths")
}

fn personality(spec: &Spec) -> Result<()> {
    let Some(personality) = spec.linux().as_ref().and_then(|linux| linux.personality().as_ref()) else {
        return Ok(());
    };
    match list(personality.flags()) {
        [] => Ok(()),
        [flag, ..] => Err(Error::new("the spec has no flags yet")
            .at(format_args!("linux.personality.flags[0] {}", Quoted(flag)))),
    }
}
