//! config.json as types, loaded and checked (config.md, config-linux.md): every demand of the runtime-spec is a row,
//! [`Rule`], with its field and its section. Whatever the kernel would truncate, ignore or misread is refused here,
//! before anything happens. Never makes a system call beside reading the files that the caller names.

mod dialect;
mod document;
mod files;
mod hooks;
mod ids;
mod labels;
mod linux;
mod load;
pub(crate) mod mask;
mod memory_policy;
mod mounts;
mod namespaces;
mod net_devices;
pub(crate) mod process;
mod resources;
mod scheduling;
mod seccomp;
mod text;
mod version;

pub(crate) use files::check_files;
pub(crate) use load::{decode, load, load_process};
pub(crate) use resources::Part;

use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Process, Spec};
use std::fmt;

/// One demand of the runtime-spec, or of the kernel below it.
pub(crate) struct Rule {
    /// The JSON path; `[*]` stands for every entry.
    pub(crate) field: &'static str,
    /// Where the demand is written down.
    pub(crate) section: &'static str,
    /// Says what is wrong; an entry of a list names itself, else [`Rule::field`] is named.
    pub(crate) check: fn(&Spec) -> Result<()>,
}

/// Looks for something odd that the spec allows; appends one text, which begins with the field, per finding.
type Advice = fn(&Spec, &mut Vec<String>);

/// Every rule, in the order in which they are checked.
pub(crate) fn rules() -> impl Iterator<Item = &'static Rule> {
    [
        text::RULES,
        document::RULES,
        process::RULES,
        scheduling::RULES,
        labels::RULES,
        namespaces::RULES,
        mounts::RULES,
        linux::RULES,
        memory_policy::RULES,
        net_devices::RULES,
        seccomp::RULES,
        hooks::RULES,
    ]
    .into_iter()
    .flatten()
}

/// Holds the config against every rule; gives the warnings.
///
/// # Errors
/// The first rule that the config breaks, with its field and section.
pub(crate) fn check(spec: &Spec) -> Result<Vec<String>> {
    for rule in rules() {
        (rule.check)(spec).map_err(|error| error.at(rule.field).hint(format!("see {}", rule.section)))?;
    }
    let mut warnings = Vec::new();
    [document::ADVICE, namespaces::ADVICE, mounts::ADVICE, hooks::ADVICE]
        .into_iter()
        .flatten()
        .for_each(|advice| advice(spec, &mut warnings));
    Ok(warnings)
}

/// Holds a process that joins a container against the rules for processes.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_process(process: &Process) -> Result<()> {
    let mut spec: Spec = serde_json::from_str(r#"{"ociVersion":"1.0.0"}"#)
        .map_err(|error| Error::new(format!("an empty config: {error}")))?;
    spec.set_process(Some(process.clone()));
    for rule in [text::RULES, process::RULES, scheduling::RULES, labels::RULES].into_iter().flatten() {
        (rule.check)(&spec).map_err(|error| error.at(rule.field).hint(format!("see {}", rule.section)))?;
    }
    Ok(())
}

/// The entries of a list that may be absent.
fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// The entries of a list of `linux`.
fn linux_list<'a, T>(spec: &'a Spec, get: fn(&'a oci_spec::runtime::Linux) -> &'a Option<Vec<T>>) -> &'a [T] {
    spec.linux().as_ref().map_or(&[], |linux| list(get(linux)))
}

/// The first entry of this kind in linux.namespaces.
fn namespace(spec: &Spec, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    linux_list(spec, |linux| linux.namespaces()).iter().find(|entry| entry.typ() == kind)
}

/// The path of a namespace to join. An empty one counts as none: the spec's own bindings cannot tell them apart.
fn joined(entry: &LinuxNamespace) -> Option<&std::path::Path> {
    entry.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Fails with this reason unless the condition holds.
fn require(condition: bool, reason: impl Into<String>) -> Result<()> {
    if condition { Ok(()) } else { Err(Error::new(reason)) }
}

/// A value of the config in quotes, shortened to what fits a line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// The same for a path.
fn quoted(path: &std::path::Path) -> Quoted<'_> {
    // serde reads paths as JSON strings, so they are UTF-8.
    Quoted(path.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests;
