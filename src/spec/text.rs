//! Every string of the config that reaches the kernel: none holds a NUL byte, which would cut it short, and no path
//! is longer than the kernel takes (config.md, Valid values: an error for invalid or unsupported values).

use super::{Rule, linux_list, list};
use crate::error::{Error, Result};
use oci_spec::runtime::{Hook, Mount, Process, Spec};
use std::fmt;
use std::path::Path;

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "root", section: "config.md, Root", check: root },
    Rule { field: "mounts[*]", section: "config.md, Mounts", check: mounts },
    Rule { field: "process", section: "config.md, Process", check: process },
    Rule { field: "hostname", section: "config.md, Hostname", check: names },
    Rule { field: "hooks", section: "config.md, POSIX-platform Hooks", check: hooks },
    Rule { field: "linux", section: "config-linux.md", check: linux },
];

/// PATH_MAX of linux/limits.h, without the NUL at the end.
const PATH_MAX: usize = 4095;

/// Any text.
fn text(value: &str, field: fmt::Arguments<'_>) -> Result<()> {
    match value.bytes().position(|byte| byte == 0) {
        Some(at) => Err(Error::new(format!("NUL byte at position {at}")).at(field)),
        None => Ok(()),
    }
}

/// A path.
fn path(value: &Path, field: fmt::Arguments<'_>) -> Result<()> {
    let bytes = value.as_os_str().as_encoded_bytes();
    if bytes.len() > PATH_MAX {
        let reason = format!("a path of {} bytes, the kernel takes at most {PATH_MAX}", bytes.len());
        return Err(Error::new(reason).at(field));
    }
    text(&value.to_string_lossy(), field)
}

fn texts(values: &Option<Vec<String>>, field: fmt::Arguments<'_>) -> Result<()> {
    list(values).iter().enumerate().try_for_each(|(i, value)| text(value, format_args!("{field}[{i}]")))
}

fn root(spec: &Spec) -> Result<()> {
    spec.root().as_ref().map_or(Ok(()), |root| path(root.path(), format_args!("root.path")))
}

fn mounts(spec: &Spec) -> Result<()> {
    list(spec.mounts()).iter().enumerate().try_for_each(|(i, mount)| one_mount(i, mount))
}

fn one_mount(i: usize, mount: &Mount) -> Result<()> {
    path(mount.destination(), format_args!("mounts[{i}].destination"))?;
    if let Some(source) = mount.source() {
        path(source, format_args!("mounts[{i}].source"))?;
    }
    if let Some(typ) = mount.typ() {
        text(typ, format_args!("mounts[{i}].type"))?;
    }
    texts(mount.options(), format_args!("mounts[{i}].options"))
}

fn process(spec: &Spec) -> Result<()> {
    let Some(process) = spec.process() else { return Ok(()) };
    path(process.cwd(), format_args!("process.cwd"))?;
    texts(process.args(), format_args!("process.args"))?;
    texts(process.env(), format_args!("process.env"))?;
    labels(process)
}

fn labels(process: &Process) -> Result<()> {
    if let Some(profile) = process.apparmor_profile() {
        text(profile, format_args!("process.apparmorProfile"))?;
    }
    process.selinux_label().as_ref().map_or(Ok(()), |label| text(label, format_args!("process.selinuxLabel")))
}

fn names(spec: &Spec) -> Result<()> {
    if let Some(name) = spec.hostname() {
        text(name, format_args!("hostname"))?;
    }
    spec.domainname().as_ref().map_or(Ok(()), |name| text(name, format_args!("domainname")))
}

fn hooks(spec: &Spec) -> Result<()> {
    super::hooks::each(spec, one_hook)
}

fn one_hook(name: &str, i: usize, hook: &Hook) -> Result<()> {
    path(hook.path(), format_args!("hooks.{name}[{i}].path"))?;
    texts(hook.args(), format_args!("hooks.{name}[{i}].args"))?;
    texts(hook.env(), format_args!("hooks.{name}[{i}].env"))
}

fn linux(spec: &Spec) -> Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    for (i, namespace) in linux_list(spec, |linux| linux.namespaces()).iter().enumerate() {
        if let Some(value) = namespace.path() {
            path(value, format_args!("linux.namespaces[{i}].path"))?;
        }
    }
    for (i, device) in list(linux.devices()).iter().enumerate() {
        path(device.path(), format_args!("linux.devices[{i}].path"))?;
    }
    for (i, value) in list(linux.masked_paths()).iter().enumerate() {
        path(Path::new(value), format_args!("linux.maskedPaths[{i}]"))?;
    }
    for (i, value) in list(linux.readonly_paths()).iter().enumerate() {
        path(Path::new(value), format_args!("linux.readonlyPaths[{i}]"))?;
    }
    for (key, value) in linux.sysctl().iter().flatten() {
        path(Path::new(key), format_args!("linux.sysctl"))?;
        text(value, format_args!("linux.sysctl {}", super::Quoted(key)))?;
    }
    if let Some(value) = linux.seccomp().as_ref().and_then(|seccomp| seccomp.listener_path().as_ref()) {
        path(value, format_args!("linux.seccomp.listenerPath"))?;
    }
    linux.cgroups_path().as_ref().map_or(Ok(()), |value| path(value, format_args!("linux.cgroupsPath")))
}
