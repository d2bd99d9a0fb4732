//! process.apparmorProfile, process.selinuxLabel and linux.mountLabel (config.md, Linux Process; config-linux.md, Mount
//! Label): what the kernel would cut off or misread. Whether it knows the name, only the kernel can say.

use super::{Quoted, Rule, require};
use crate::error::Result;
use oci_spec::runtime::Spec;

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "process.apparmorProfile", section: "config.md, Linux Process", check: profile },
    Rule { field: "process.selinuxLabel", section: "config.md, Linux Process", check: label },
    Rule { field: "linux.mountLabel", section: "config-linux.md, Mount Label", check: mount_label },
];

/// A write to a file of /proc/PID/attr is cut off at a page; the longest has `exec ` in front.
const LONGEST: usize = 4096 - 5;

fn checked(value: Option<&String>, check: impl Fn(&str) -> Result<()>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    require(value.len() <= LONGEST, format!("{} bytes, the kernel takes at most {LONGEST}", value.len()))?;
    check(value)
}

/// The kernel takes blanks away at both ends; what is left would be another profile.
fn profile(spec: &Spec) -> Result<()> {
    let profile = spec.process().as_ref().and_then(|process| process.apparmor_profile().as_ref());
    checked(profile, |profile| {
        require(profile.trim() == profile, "a blank at its start or end")
            .map_err(|error| error.at(format_args!("process.apparmorProfile {}", Quoted(profile))))
    })
}

fn label(spec: &Spec) -> Result<()> {
    let label = spec.process().as_ref().and_then(|process| process.selinux_label().as_ref());
    checked(label, |label| {
        require(!label.ends_with('\n'), "ends in a line feed")
            .map_err(|error| error.at(format_args!("process.selinuxLabel {}", Quoted(label))))
    })
}

/// It stands in quotes where options of mount(2) are one text.
fn mount_label(spec: &Spec) -> Result<()> {
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_ref());
    checked(label, |label| {
        let odd = label.find(['"', '\0']);
        require(odd.is_none(), format!("holds {:?}", odd.map_or("", |at| &label[at..at + 1])))
            .map_err(|error| error.at(format_args!("linux.mountLabel {}", Quoted(label))))
    })
}
