//! linux.memoryPolicy (config-linux.md, Memory policy; set_mempolicy(2)): which nodes and flags go with which mode.
//! Whether the machine has the nodes, only the kernel knows.

use super::mask::Mask;
use super::{Rule, list, require};
use crate::error::{Error, Result};
use oci_spec::runtime::MemoryPolicyFlagType::{
    MpolFNumaBalancing as Balancing, MpolFRelativeNodes as Relative, MpolFStaticNodes as Static,
};
use oci_spec::runtime::MemoryPolicyModeType::{
    MpolBind as Bind, MpolDefault as Default, MpolLocal as Local, MpolPreferred as Preferred,
    MpolPreferredMany as PreferredMany,
};
use oci_spec::runtime::{LinuxMemoryPolicy, Spec};

const SECTION: &str = "config-linux.md, Memory policy; set_mempolicy(2)";

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "linux.memoryPolicy.nodes", section: SECTION, check: |spec| with(spec, nodes) },
    Rule { field: "linux.memoryPolicy.flags", section: SECTION, check: |spec| with(spec, flags) },
];

fn with(spec: &Spec, check: fn(&LinuxMemoryPolicy) -> Result<()>) -> Result<()> {
    let policy = spec.linux().as_ref().and_then(|linux| linux.memory_policy().as_ref());
    policy.map_or(Ok(()), check)
}

fn mask(policy: &LinuxMemoryPolicy) -> Result<Mask> {
    Mask::new(policy.nodes().as_deref().unwrap_or_default())
}

fn nodes(policy: &LinuxMemoryPolicy) -> Result<()> {
    let (mode, nodes) = (policy.mode(), mask(policy)?);
    match mode {
        Default | Local => require(nodes.is_empty(), format!("{mode} takes none")),
        Preferred => Ok(()),
        _ => require(!nodes.is_empty(), format!("{mode} needs at least one")),
    }
}

/// `sanitize_mpol_flags` and `mpol_new` of mm/mempolicy.c.
fn flags(policy: &LinuxMemoryPolicy) -> Result<()> {
    let (mode, flags) = (policy.mode(), list(policy.flags()));
    let has = |flag| flags.contains(&flag);
    if has(Static) && has(Relative) {
        return Err(Error::new(format!("{Static} and {Relative} exclude each other")));
    }
    let balanced = !has(Balancing) || [Bind, PreferredMany].contains(&mode);
    require(balanced, format!("{Balancing} is for {Bind} and {PreferredMany} only"))?;
    let numbered = mode != Local && (mode != Preferred || !mask(policy)?.is_empty());
    match [Static, Relative].into_iter().find(|&flag| has(flag) && !numbered) {
        Some(flag) => Err(Error::new(format!("{flag} says nothing without nodes"))),
        None => Ok(()),
    }
}
