//! The process that `exec` is asked for: from a file, or the container's own, changed by options.

use crate::container::ExecOptions;
use crate::error::{Error, Result};
use crate::plan::exec::Joining;
use crate::spec;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process};

/// The process that is asked for; appends what is odd but allowed to `warnings`.
pub(super) fn process(
    options: &ExecOptions,
    joining: &Joining,
    warnings: &mut Vec<String>,
) -> Result<Process> {
    let mut process = match &options.process {
        Some(path) => spec::load_process(path, warnings)?,
        None => described(options, joining)?,
    };
    joining.complete(&mut process);
    Ok(process)
}

/// The container's own process, changed by options.
fn described(options: &ExecOptions, joining: &Joining) -> Result<Process> {
    let mut process = spec::process::or_nobody(joining.process.as_ref())?.into_owned();
    process.set_args(Some(options.args.clone()));
    process.set_terminal(Some(options.terminal));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.into());
    }
    if !options.env.is_empty() {
        process.set_env(Some([process.env().clone().unwrap_or_default(), options.env.clone()].concat()));
    }
    let mut user = process.user().clone();
    if let Some(words) = &options.user {
        let (uid, gid) = ids(words).map_err(|error| error.at(format_args!("--user {words:?}")))?;
        user.set_uid(uid);
        gid.map(|gid| user.set_gid(gid));
    }
    if !options.additional_gids.is_empty() {
        let groups = user.additional_gids().clone().unwrap_or_default();
        user.set_additional_gids(Some([groups, options.additional_gids.clone()].concat()));
    }
    process.set_user(user);
    if let Some(on) = options.no_new_privileges {
        process.set_no_new_privileges(Some(on));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if !options.capabilities.is_empty() {
        process.set_capabilities(Some(with_capabilities(process.capabilities(), &options.capabilities)?));
    }
    Ok(process)
}

/// UID[:GID] in decimal digits; a name never becomes a number, nor a number a name.
fn ids(words: &str) -> Result<(u32, Option<u32>)> {
    let id = |word: &str| {
        let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| word.parse().ok()).flatten().ok_or_else(|| {
            Error::new("not UID[:GID], each a number below 4294967295")
                .hint("names are in the container's /etc/passwd, which no runtime should trust")
        })
    };
    match words.split_once(':') {
        None => Ok((id(words)?, None)),
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
    }
}

/// Added to the bounding, effective and permitted sets; never to the inheritable one (CVE-2022-29162), and so to the
/// ambient one only what is inheritable already.
fn with_capabilities(held: &Option<LinuxCapabilities>, names: &[String]) -> Result<LinuxCapabilities> {
    let mut sets = held.clone().unwrap_or_default();
    if held.is_none() {
        let none = || Some(Default::default());
        sets.set_bounding(none()).set_effective(none()).set_permitted(none());
        sets.set_inheritable(none()).set_ambient(none());
    }
    for name in names {
        let unknown = || Error::new("unknown capability").at(format_args!("--cap {name:?}"));
        let value = serde_json::Value::from(name.as_str());
        let capability: Capability = serde_json::from_value(value).map_err(|_| unknown())?;
        let with = |set: &Option<oci_spec::runtime::Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective) = (with(sets.bounding()), with(sets.effective()));
        let permitted = with(sets.permitted());
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        if sets.inheritable().as_ref().is_some_and(|set| set.contains(&capability)) {
            let ambient = with(sets.ambient());
            sets.set_ambient(ambient);
        }
    }
    Ok(sets)
}
