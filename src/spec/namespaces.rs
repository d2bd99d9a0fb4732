//! Namespaces and what can only be set inside one (config-linux.md, Namespaces, User namespace mappings, Offset for
//! Time Namespace; config.md, Hostname, Domainname). Without a namespace of its own a container would change the
//! host, so such a config is refused.

use super::{Advice, Quoted, Rule, ids, joined, linux_list, namespace, quoted, require};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType as Kind, Spec};

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "linux.namespaces[*].type", section: "config-linux.md, Namespaces", check: differ },
    Rule { field: "linux.namespaces[*].path", section: "config-linux.md, Namespaces", check: absolute },
    Rule {
        field: "linux.uidMappings",
        section: "config-linux.md, User namespace mappings",
        check: uid_mappings,
    },
    Rule {
        field: "linux.gidMappings",
        section: "config-linux.md, User namespace mappings",
        check: gid_mappings,
    },
    Rule {
        field: "process.user",
        section: "config-linux.md, User namespace mappings",
        check: super::process::user_is_mapped,
    },
    Rule { field: "hostname", section: "config.md, Hostname", check: hostname },
    Rule { field: "domainname", section: "config.md, Domainname", check: domainname },
    Rule {
        field: "linux.timeOffsets",
        section: "config-linux.md, Offset for Time Namespace",
        check: time_namespace,
    },
    Rule {
        field: "linux.timeOffsets",
        section: "config-linux.md, Offset for Time Namespace",
        check: time_offsets,
    },
    Rule { field: "mounts", section: "config.md, Mounts", check: mounts },
    Rule { field: "linux.maskedPaths", section: "config-linux.md, Masked Paths", check: masked_paths },
    Rule { field: "linux.readonlyPaths", section: "config-linux.md, Readonly Paths", check: readonly_paths },
];

/// The oddities.
pub(super) const ADVICE: &[Advice] = &[unused_mappings];

/// __NEW_UTS_LEN of linux/utsname.h.
const NAME_MAX: usize = 64;

fn differ(spec: &Spec) -> Result<()> {
    let entries = linux_list(spec, |linux| linux.namespaces());
    for (i, entry) in entries.iter().enumerate() {
        if let Some(j) = entries[..i].iter().position(|other| other.typ() == entry.typ()) {
            let field = format!("linux.namespaces[{i}] \"{}\"", name(entry.typ()));
            return Err(Error::new(format!("already given by entry [{j}]")).at(field));
        }
    }
    Ok(())
}

/// The word of the spec; oci-spec prints the file in /proc/PID/ns instead.
fn name(kind: Kind) -> String {
    match kind {
        Kind::Mount => "mount".to_owned(),
        Kind::Network => "network".to_owned(),
        other => other.to_string(),
    }
}

fn absolute(spec: &Spec) -> Result<()> {
    for (i, entry) in linux_list(spec, |linux| linux.namespaces()).iter().enumerate() {
        let Some(path) = joined(entry) else { continue };
        require(path.is_absolute(), "not an absolute path")
            .map_err(|error| error.at(format_args!("linux.namespaces[{i}].path {}", quoted(path))))?;
    }
    Ok(())
}

fn uid_mappings(spec: &Spec) -> Result<()> {
    let list = linux_list(spec, |linux| linux.uid_mappings());
    fits_user_namespace(spec, list.is_empty())?;
    ids::mappings(list, format_args!("linux.uidMappings"))
}

fn gid_mappings(spec: &Spec) -> Result<()> {
    let list = linux_list(spec, |linux| linux.gid_mappings());
    fits_user_namespace(spec, list.is_empty())?;
    ids::mappings(list, format_args!("linux.gidMappings"))
}

fn fits_user_namespace(spec: &Spec, empty: bool) -> Result<()> {
    match namespace(spec, Kind::User) {
        None if !empty => Err(Error::new("linux.namespaces has no user namespace")),
        Some(entry) if empty && joined(entry).is_none() => {
            Err(Error::new("missing or empty: a new user namespace needs uid and gid mappings"))
        }
        _ => Ok(()),
    }
}

fn hostname(spec: &Spec) -> Result<()> {
    uts_name(spec, spec.hostname())
}

fn domainname(spec: &Spec) -> Result<()> {
    uts_name(spec, spec.domainname())
}

fn uts_name(spec: &Spec, value: &Option<String>) -> Result<()> {
    let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { return Ok(()) };
    let reason = format!("{} bytes, the kernel takes at most {NAME_MAX}", value.len());
    require(value.len() <= NAME_MAX, reason)?;
    needs(spec, Kind::Uts, "it would rename the host")
}

/// New or joined: the kind has to stand in linux.namespaces.
fn needs(spec: &Spec, kind: Kind, otherwise: &str) -> Result<()> {
    let reason = format!("linux.namespaces has no {} namespace: {otherwise}", name(kind));
    require(namespace(spec, kind).is_some(), reason)
}

fn time_namespace(spec: &Spec) -> Result<()> {
    let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    if offsets.is_none_or(|offsets| offsets.is_empty()) {
        return Ok(());
    }
    match namespace(spec, Kind::Time) {
        None => Err(Error::new("linux.namespaces has no time namespace")),
        Some(entry) => require(
            joined(entry).is_none(),
            "the time namespace is joined: its offsets can no longer be changed",
        ),
    }
}

fn time_offsets(spec: &Spec) -> Result<()> {
    let offsets = spec.linux().iter().filter_map(|linux| linux.time_offsets().as_ref()).flatten();
    for (clock, offset) in offsets {
        let field = format!("linux.timeOffsets {}", Quoted(clock));
        let known = ["monotonic", "boottime"].contains(&clock.as_str());
        require(known, "unknown clock: monotonic or boottime").map_err(|error| error.at(&field))?;
        let nanosecs = offset.nanosecs().unwrap_or(0);
        let reason = format!("nanosecs {nanosecs} is not below 1000000000");
        require(nanosecs < 1_000_000_000, reason).map_err(|error| error.at(&field))?;
    }
    Ok(())
}

fn mounts(spec: &Spec) -> Result<()> {
    if super::list(spec.mounts()).is_empty() {
        return Ok(());
    }
    needs(spec, Kind::Mount, "they would be the host's and stay behind")
}

fn masked_paths(spec: &Spec) -> Result<()> {
    if linux_list(spec, |linux| linux.masked_paths()).is_empty() {
        return Ok(());
    }
    needs(spec, Kind::Mount, "they would be masked on the host")
}

fn readonly_paths(spec: &Spec) -> Result<()> {
    if linux_list(spec, |linux| linux.readonly_paths()).is_empty() {
        return Ok(());
    }
    needs(spec, Kind::Mount, "they would be read-only on the host")
}

fn unused_mappings(spec: &Spec, out: &mut Vec<String>) {
    let Some(path) = namespace(spec, Kind::User).and_then(joined) else { return };
    let given = |list: &[_]| !list.is_empty();
    if given(linux_list(spec, |linux| linux.uid_mappings()))
        || given(linux_list(spec, |linux| linux.gid_mappings()))
    {
        out.push(format!("linux.uidMappings: the user namespace {} keeps its own mappings", quoted(path)));
    }
}
