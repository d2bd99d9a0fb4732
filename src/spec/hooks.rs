//! Hooks (config.md, POSIX-platform Hooks). Whether their files exist is asked by [`super::check_files`].

use super::{Advice, Rule, list, quoted, require};
use crate::error::Result;
use oci_spec::runtime::{Hook, Hooks, Spec};

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "hooks.*[*].path", section: "config.md, POSIX-platform Hooks", check: path },
    Rule { field: "hooks.*[*].timeout", section: "config.md, POSIX-platform Hooks", check: timeout },
];

/// The oddities.
pub(super) const ADVICE: &[Advice] = &[env];

type Kind = (&'static str, fn(&Hooks) -> &Option<Vec<Hook>>);

/// The six kinds in the order in which they run.
const KINDS: [Kind; 6] = [
    ("prestart", |hooks| hooks.prestart()),
    ("createRuntime", |hooks| hooks.create_runtime()),
    ("createContainer", |hooks| hooks.create_container()),
    ("startContainer", |hooks| hooks.start_container()),
    ("poststart", |hooks| hooks.poststart()),
    ("poststop", |hooks| hooks.poststop()),
];

/// Visits every hook: kind, place, entry.
pub(super) fn each(
    spec: &Spec,
    mut visit: impl FnMut(&'static str, usize, &Hook) -> Result<()>,
) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for (name, get) in KINDS {
        for (i, hook) in list(get(hooks)).iter().enumerate() {
            visit(name, i, hook)?;
        }
    }
    Ok(())
}

fn path(spec: &Spec) -> Result<()> {
    each(spec, |name, i, hook| {
        require(hook.path().is_absolute(), "not an absolute path")
            .map_err(|error| error.at(format_args!("hooks.{name}[{i}] {}", quoted(hook.path()))))
    })
}

fn timeout(spec: &Spec) -> Result<()> {
    each(spec, |name, i, hook| {
        let timeout = hook.timeout().unwrap_or(1);
        require(timeout > 0, format!("{timeout} is not greater than zero"))
            .map_err(|error| error.at(format_args!("hooks.{name}[{i}].timeout")))
    })
}

fn env(spec: &Spec, out: &mut Vec<String>) {
    let visited = each(spec, |name, i, hook| {
        for (j, entry) in list(hook.env()).iter().enumerate() {
            if entry.find('=').is_none_or(|at| at == 0) {
                out.push(format!("hooks.{name}[{i}].env[{j}]: not of the form NAME=value, left out"));
            }
        }
        Ok(())
    });
    debug_assert!(visited.is_ok());
}
