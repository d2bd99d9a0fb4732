//! The container process (config.md, Process, POSIX process, Linux Process, User). Capabilities that cannot be granted
//! are the plan's to drop with a warning; only names that nobody knows are refused, while loading.

use super::{Quoted, Rule, ids, linux_list, list, namespace, quoted, require};
use crate::error::{Error, Result, phrases};
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use std::borrow::Cow;

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "process.cwd", section: "config.md, Process", check: cwd },
    Rule { field: "process.args", section: "config.md, Process", check: args },
    Rule { field: "process.env[*]", section: "config.md, Process; POSIX environ", check: env },
    Rule { field: "process.user", section: "config.md, POSIX-platform User", check: user },
    Rule { field: "process.user.umask", section: "config.md, POSIX-platform User; umask(2)", check: umask },
    Rule { field: "process.rlimits[*]", section: "config.md, POSIX process", check: rlimits_differ },
    Rule {
        field: "process.rlimits[*]",
        section: "config.md, POSIX process; setrlimit(2)",
        check: rlimits_fit,
    },
    Rule { field: "process.oomScoreAdj", section: "config.md, Linux Process; proc(5)", check: oom_score_adj },
];

/// A process without which a container can be created, and not started.
///
/// # Errors
/// There is none.
pub(crate) fn wanted(process: Option<&Process>) -> Result<()> {
    require(process.is_some(), "missing")
        .map_err(|error| error.at("process").hint("start needs one: see config.md, Process"))
}

/// The process, or what stands for it where a config has none: root at `/`, without capabilities and without a program.
///
/// # Errors
/// None that can be met.
pub(crate) fn or_nobody(process: Option<&Process>) -> Result<Cow<'_, Process>> {
    let nobody = || super::decode(br#"{"cwd":"/","user":{"uid":0,"gid":0}}"#).map(Cow::Owned);
    let found = process.map_or_else(nobody, |process| Ok(Cow::Borrowed(process)));
    found.map_err(|fault| Error::new(fault.to_string()))
}

/// Holds a check against the process, if there is one.
fn with(spec: &Spec, check: impl Fn(&Process) -> Result<()>) -> Result<()> {
    spec.process().as_ref().map_or(Ok(()), check)
}

fn cwd(spec: &Spec) -> Result<()> {
    with(spec, |process| {
        let cwd = process.cwd();
        require(cwd.is_absolute(), "not an absolute path")
            .map_err(|error| error.at(format_args!("process.cwd {}", quoted(cwd))))
    })
}

fn args(spec: &Spec) -> Result<()> {
    with(spec, |process| match list(process.args()) {
        [] => Err(Error::new("missing or empty")),
        [first, ..] if first.is_empty() => {
            // docker passes an empty command on, and knows the phrase.
            Err(Error::new(format!("exec: \"\": {}", phrases::NOT_IN_PATH)).at("process.args[0]"))
        }
        _ => Ok(()),
    })
}

fn env(spec: &Spec) -> Result<()> {
    with(spec, |process| {
        for (i, entry) in list(process.env()).iter().enumerate() {
            let named = entry.find('=').is_some_and(|at| at > 0);
            // The value may be a secret: only what stands before "=" is shown.
            let shown = entry.split('=').next().unwrap_or_default();
            require(named, "not of the form NAME=value")
                .map_err(|error| error.at(format_args!("process.env[{i}] {}", Quoted(shown))))?;
        }
        Ok(())
    })
}

fn user(spec: &Spec) -> Result<()> {
    with(spec, |process| {
        ids::id(process.user().uid(), format_args!("process.user.uid"))?;
        ids::id(process.user().gid(), format_args!("process.user.gid"))?;
        let mut groups = list(process.user().additional_gids()).iter().enumerate();
        groups.try_for_each(|(i, &gid)| ids::id(gid, format_args!("process.user.additionalGids[{i}]")))
    })
}

fn umask(spec: &Spec) -> Result<()> {
    with(spec, |process| match process.user().umask() {
        Some(mask) if mask > 0o777 => Err(Error::new(format!("{mask} is more than {} (0777 octal)", 0o777))),
        _ => Ok(()),
    })
}

/// In a new user namespace only mapped ids can be taken; in a joined one its own mapping decides. A rule of
/// [`super::namespaces`], which judges the mappings first.
pub(super) fn user_is_mapped(spec: &Spec) -> Result<()> {
    if namespace(spec, LinuxNamespaceType::User).is_none_or(|entry| super::joined(entry).is_some()) {
        return Ok(());
    }
    let uids = linux_list(spec, |linux| linux.uid_mappings());
    let gids = linux_list(spec, |linux| linux.gid_mappings());
    if uids.is_empty() || gids.is_empty() {
        return Ok(()); // refused by a rule of its own
    }
    with(spec, |process| {
        let user = process.user();
        let uid = [("uid".to_owned(), user.uid(), uids, "uidMappings")];
        let gid = [("gid".to_owned(), user.gid(), gids, "gidMappings")];
        let groups = list(user.additional_gids()).iter().enumerate();
        let groups = groups.map(|(i, &id)| (format!("additionalGids[{i}]"), id, gids, "gidMappings"));
        for (field, id, mappings, name) in uid.into_iter().chain(gid).chain(groups) {
            require(ids::mapped(id, mappings), format!("{id} is not in linux.{name}"))
                .map_err(|error| error.at(format_args!("process.user.{field}")))?;
        }
        Ok(())
    })
}

fn rlimits_differ(spec: &Spec) -> Result<()> {
    with(spec, |process| {
        let limits = list(process.rlimits());
        for (i, limit) in limits.iter().enumerate() {
            if let Some(j) = limits[..i].iter().position(|other| other.typ() == limit.typ()) {
                let field = format!("process.rlimits[{i}] \"{}\"", limit.typ());
                return Err(Error::new(format!("already given by entry [{j}]")).at(field));
            }
        }
        Ok(())
    })
}

fn rlimits_fit(spec: &Spec) -> Result<()> {
    with(spec, |process| {
        for (i, limit) in list(process.rlimits()).iter().enumerate() {
            let reason = format!("soft limit {} is above the hard limit {}", limit.soft(), limit.hard());
            require(limit.soft() <= limit.hard(), reason)
                .map_err(|error| error.at(format_args!("process.rlimits[{i}] \"{}\"", limit.typ())))?;
        }
        Ok(())
    })
}

fn oom_score_adj(spec: &Spec) -> Result<()> {
    with(spec, |process| match process.oom_score_adj() {
        Some(value) if !(-1000..=1000).contains(&value) => {
            Err(Error::new(format!("{value} is not between -1000 and 1000")))
        }
        _ => Ok(()),
    })
}
