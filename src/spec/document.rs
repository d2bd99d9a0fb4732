//! What belongs to no part: root, annotations, other platforms (config.md, Root, Annotations, Platform-specific
//! configuration).

use super::{Advice, Rule, require};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "root", section: "config.md, Root", check: root },
    Rule { field: "root.path", section: "config.md, Root", check: root_path },
    Rule { field: "annotations", section: "config.md, Annotations", check: annotations },
];

/// The oddities.
pub(super) const ADVICE: &[Advice] = &[
    |spec, out| other(spec.solaris().is_some(), "solaris", out),
    |spec, out| other(spec.windows().is_some(), "windows", out),
    |spec, out| other(spec.vm().is_some(), "vm", out),
    |spec, out| other(spec.zos().is_some(), "zos", out),
];

fn root(spec: &Spec) -> Result<()> {
    require(spec.root().is_some(), "missing")
}

fn root_path(spec: &Spec) -> Result<()> {
    require(spec.root().as_ref().is_some_and(|root| !root.path().as_os_str().is_empty()), "missing or empty")
}

fn annotations(spec: &Spec) -> Result<()> {
    let empty = spec.annotations().iter().flatten().any(|(key, _)| key.is_empty());
    if empty { Err(Error::new("a key is empty")) } else { Ok(()) }
}

fn other(present: bool, field: &str, out: &mut Vec<String>) {
    if present {
        out.push(format!("{field}: not for Linux containers, ignored"));
    }
}
