//! Mounts (config.md, Mounts, Linux mount options, POSIX-platform Mounts), as far as a single entry can be wrong in
//! itself. What the options mean is the plan's business.

use super::{Advice, Rule, ids, list, namespace, quoted, require};
use crate::error::Result;
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "mounts[*].destination", section: "config.md, Mounts", check: destination },
    Rule { field: "mounts[*].source", section: "config.md, Mounts", check: source },
    Rule {
        field: "mounts[*].uidMappings",
        section: "config.md, POSIX-platform Mounts",
        check: mappings_pair,
    },
    Rule {
        field: "mounts[*].uidMappings",
        section: "config-linux.md, User namespace mappings",
        check: mappings,
    },
    Rule {
        field: "mounts[*].options",
        section: "config.md, Linux mount options; mount_setattr(2)",
        check: idmap_bind,
    },
    Rule { field: "mounts[*].options", section: "config.md, Linux mount options", check: idmap_mapping },
    Rule { field: "mounts[*].options", section: "config.md, Linux mount options", check: tmpcopyup },
];

/// The oddities.
pub(super) const ADVICE: &[Advice] = &[relative, idmap];

fn each(spec: &Spec, check: impl Fn(&Mount) -> Result<()>, part: &str) -> Result<()> {
    list(spec.mounts()).iter().enumerate().try_for_each(|(i, mount)| {
        check(mount)
            .map_err(|error| error.at(format_args!("mounts[{i}]{part} {}", quoted(mount.destination()))))
    })
}

/// Does the mount have this option? An element of `options` may hold several, as mount(8) takes them.
fn has(mount: &Mount, name: &str) -> bool {
    list(mount.options()).iter().flat_map(|element| element.split(',')).any(|option| option == name)
}

fn is_bind(mount: &Mount) -> bool {
    has(mount, "bind") || has(mount, "rbind")
}

fn is_idmapped(mount: &Mount) -> bool {
    has(mount, "idmap") || has(mount, "ridmap") || has_mappings(mount)
}

fn has_mappings(mount: &Mount) -> bool {
    !list(mount.uid_mappings()).is_empty() || !list(mount.gid_mappings()).is_empty()
}

fn destination(spec: &Spec) -> Result<()> {
    each(spec, |mount| require(!mount.destination().as_os_str().is_empty(), "empty"), ".destination")
}

fn source(spec: &Spec) -> Result<()> {
    each(
        spec,
        |mount| {
            let given = mount.source().as_ref().is_some_and(|source| !source.as_os_str().is_empty());
            require(given || !is_bind(mount) || has(mount, "remount"), "a bind mount needs a source")
        },
        ".source",
    )
}

fn mappings_pair(spec: &Spec) -> Result<()> {
    each(
        spec,
        |mount| {
            let (uid, gid) = (list(mount.uid_mappings()).is_empty(), list(mount.gid_mappings()).is_empty());
            require(uid == gid, "uidMappings and gidMappings must be given together")
        },
        "",
    )
}

fn mappings(spec: &Spec) -> Result<()> {
    list(spec.mounts()).iter().enumerate().try_for_each(|(i, mount)| {
        ids::mappings(list(mount.uid_mappings()), format_args!("mounts[{i}].uidMappings"))?;
        ids::mappings(list(mount.gid_mappings()), format_args!("mounts[{i}].gidMappings"))
    })
}

fn idmap_bind(spec: &Spec) -> Result<()> {
    each(
        spec,
        |mount| require(!is_idmapped(mount) || is_bind(mount), "only a bind mount can be id-mapped"),
        "",
    )
}

fn idmap_mapping(spec: &Spec) -> Result<()> {
    let user_namespace = namespace(spec, LinuxNamespaceType::User).is_some();
    each(
        spec,
        |mount| {
            let known = !is_idmapped(mount) || has_mappings(mount) || user_namespace;
            require(known, "idmap needs uidMappings and gidMappings, or a user namespace to take them from")
        },
        "",
    )
}

fn tmpcopyup(spec: &Spec) -> Result<()> {
    each(
        spec,
        |mount| {
            let tmpfs = mount.typ().as_deref() == Some("tmpfs") && !is_bind(mount);
            require(tmpfs || !has(mount, "tmpcopyup"), "tmpcopyup is for a tmpfs")
        },
        "",
    )
}

fn relative(spec: &Spec, out: &mut Vec<String>) {
    for (i, mount) in list(spec.mounts()).iter().enumerate() {
        let path = mount.destination();
        if !path.is_absolute() {
            out.push(format!(
                "mounts[{i}].destination {}: relative (deprecated), taken from /",
                quoted(path)
            ));
        }
    }
}

fn idmap(spec: &Spec, out: &mut Vec<String>) {
    for (i, mount) in list(spec.mounts()).iter().enumerate() {
        if has_mappings(mount) && !has(mount, "idmap") && !has(mount, "ridmap") {
            let path = quoted(mount.destination());
            out.push(format!("mounts[{i}] {path}: uidMappings without idmap or ridmap, taken as idmap"));
        }
    }
}
