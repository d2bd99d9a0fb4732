//! linux.seccomp (config-linux.md, Seccomp): the filter becomes a program of classic BPF, compiled by libseccomp or
//! found in the cache; `exec` finds it in the container's directory; the agent of SCMP_ACT_NOTIFY hears of it. It all
//! happens in the runtime, before a process of the container exists: init loads bytes.

mod agent;
mod cache;
mod compile;

pub(super) use agent::Caller;
pub(crate) use compile::library;

use super::Settings;
use super::saved::{FILTER, Saved};
use crate::error::{Error, Result};
use crate::plan::seccomp::{FLAGS, Filter};
use crate::sys::{dir, seccomp};
use oci_spec::runtime::{
    Arch, LinuxSeccompAction as Action, LinuxSeccompFilterFlag, LinuxSeccompOperator as Operator,
};
use std::os::fd::BorrowedFd;

/// More bytes than any program has.
const LONGEST: u64 = (seccomp::MOST_INSTRUCTIONS as u64 + 1) * 8;

/// The actions of config-linux.md, and what the kernel returns for them.
const ACTIONS: [Action; 9] = [
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActLog,
    Action::ScmpActNotify,
    Action::ScmpActTrace,
    Action::ScmpActTrap,
];

/// The operators of config-linux.md.
const OPERATORS: [Operator; 7] = [
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpMaskedEq,
    Operator::ScmpCmpNe,
];

/// The program of the container's filter, if it has one; also left in the container's directory, for `exec`. Names that
/// are no system call to libseccomp are left out, and said to `Settings::debug`.
///
/// # Errors
/// The kernel knows no filters, or not these flags; libseccomp refuses a rule.
pub(super) fn program(
    settings: &Settings,
    filter: &Option<Filter>,
    container: BorrowedFd<'_>,
) -> Result<Option<Vec<u8>>> {
    let Some(filter) = filter else { return Ok(None) };
    check(filter.loading.flags)?;
    let compiled = cache::find(&settings.root, &filter.profile, || {
        (settings.debug)("linux.seccomp: compiling the filter, which is not in the cache");
        compile::compile(&filter.profile)
    })?;
    for name in &compiled.unknown {
        (settings.debug)(&format!("linux.seccomp: unknown system call {name:?}, skipped"));
    }
    dir::replace(container, FILTER, &compiled.program)?;
    Ok(Some(compiled.program))
}

/// Kernels that lack what is asked for are found here, not when the container starts.
fn check(flags: u32) -> Result<()> {
    if seccomp::knows_flags(flags).map_err(|e| {
        e.at("linux.seccomp")
            .hint("the kernel has no CONFIG_SECCOMP_FILTER, or a filter of our own forbids it")
    })? {
        return Ok(());
    }
    let unknown = FLAGS.iter().find(|row| flags & row.1 != 0 && !is_supported(row.0));
    let name = unknown.map_or_else(|| format!("{flags:#x}"), |row| row.0.to_string());
    let error = Error::new(format!("{name} is not known to this kernel")).at("linux.seccomp.flags");
    Err(error.hint("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19"))
}

/// The program of a container that is there; none: it has no filter.
///
/// # Errors
/// It has one, but the program is gone: no process may join the container without it.
pub(super) fn kept(container: BorrowedFd<'_>, saved: &Saved) -> Result<Option<Vec<u8>>> {
    if saved.joining.seccomp.is_none() {
        return Ok(None);
    }
    let program = dir::read(container, FILTER, LONGEST).map_err(|e| e.at("linux.seccomp"))?;
    match program.len() {
        length if length > 0 && length % 8 == 0 => Ok(Some(program)),
        length => Err(Error::new(format!("{FILTER}: {length} bytes are no program")).at("linux.seccomp")),
    }
}

/// The actions that this kernel knows, for `features`.
pub(super) fn actions() -> Vec<Action> {
    ACTIONS.into_iter().filter(|action| seccomp::knows_action(action.as_u32(Some(0)))).collect()
}

/// The operators, for `features`.
pub(super) fn operators() -> Vec<String> {
    OPERATORS.map(|operator| operator.to_string()).into()
}

/// The architectures that can stand in a filter on this machine, for `features`.
pub(super) fn architectures() -> Vec<Arch> {
    compile::architectures()
}

/// Whether seccomp(2) of this kernel takes the flag. What goes with a listener only is asked for with one.
pub(super) fn is_supported(flag: LinuxSeccompFilterFlag) -> bool {
    const NEW_LISTENER: u32 = 1 << 3;
    let bit = FLAGS.iter().find(|row| row.0 == flag).map_or(0, |row| row.1);
    let listens = flag == LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv;
    seccomp::knows_flags(bit | if listens { NEW_LISTENER } else { 0 }).unwrap_or(false)
}
