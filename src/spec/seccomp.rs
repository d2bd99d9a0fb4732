//! linux.seccomp (config-linux.md, Seccomp). Names of actions, architectures, flags and operators are refused while
//! loading; system calls that nobody knows are none of this: they are skipped when the filter is compiled.

use super::{Quoted, Rule, list, quoted, require};
use crate::error::{Error, Result};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall, Spec,
};

const SECTION: &str = "config-linux.md, Seccomp";

/// The demands.
pub(super) const RULES: &[Rule] = &[
    Rule { field: "linux.seccomp.defaultAction", section: SECTION, check: default_action },
    Rule { field: "linux.seccomp.defaultErrnoRet", section: SECTION, check: default_errno },
    Rule { field: "linux.seccomp.syscalls[*].names", section: SECTION, check: names },
    Rule { field: "linux.seccomp.syscalls[*].action", section: SECTION, check: notified },
    Rule { field: "linux.seccomp.syscalls[*].errnoRet", section: SECTION, check: errnos },
    Rule { field: "linux.seccomp.syscalls[*].args", section: SECTION, check: args },
    Rule { field: "linux.seccomp.listenerPath", section: SECTION, check: listener },
    Rule { field: "linux.seccomp.listenerMetadata", section: SECTION, check: metadata },
    Rule { field: "linux.seccomp.flags", section: "config-linux.md, Seccomp; seccomp(2)", check: flags },
];

/// The kernel cuts what is more than 4095 down to it (MAX_ERRNO, linux/err.h); libseccomp takes only what is less.
const MAX_ERRNO: u32 = 4094;

/// SECCOMP_RET_DATA: what a tracer gets has 16 bits.
const MAX_DATA: u32 = 0xffff;

/// A system call has so many arguments.
const ARGUMENTS: usize = 6;

fn with(spec: &Spec, check: impl Fn(&LinuxSeccomp) -> Result<()>) -> Result<()> {
    spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()).map_or(Ok(()), check)
}

fn each(spec: &Spec, check: impl Fn(usize, &LinuxSyscall) -> Result<()>) -> Result<()> {
    with(spec, |seccomp| list(seccomp.syscalls()).iter().enumerate().try_for_each(|(i, rule)| check(i, rule)))
}

fn notifies(seccomp: &LinuxSeccomp) -> bool {
    list(seccomp.syscalls()).iter().any(|rule| rule.action() == Action::ScmpActNotify)
}

/// The calls that start the program would wait for an agent that has not heard of the listener.
fn default_action(spec: &Spec) -> Result<()> {
    with(spec, |seccomp| {
        require(seccomp.default_action() != Action::ScmpActNotify, "SCMP_ACT_NOTIFY cannot be the default")
    })
}

fn default_errno(spec: &Spec) -> Result<()> {
    with(spec, |seccomp| errno(seccomp.default_action(), seccomp.default_errno_ret()))
}

fn errnos(spec: &Spec) -> Result<()> {
    each(spec, |i, rule| {
        errno(rule.action(), rule.errno_ret())
            .map_err(|error| error.at(format_args!("linux.seccomp.syscalls[{i}].errnoRet")))
    })
}

fn errno(action: Action, errno: Option<u32>) -> Result<()> {
    let Some(errno) = errno else { return Ok(()) };
    let most = match action {
        Action::ScmpActErrno => MAX_ERRNO,
        Action::ScmpActTrace => MAX_DATA,
        other => return Err(Error::new(format!("{other} takes no errno"))),
    };
    require(errno <= most, format!("{errno} is more than {most}"))
}

fn names(spec: &Spec) -> Result<()> {
    each(spec, |i, rule| {
        let field = || format!("linux.seccomp.syscalls[{i}].names");
        require(!rule.names().is_empty(), "is empty").map_err(|error| error.at(field()))?;
        rule.names().iter().enumerate().try_for_each(|(j, name)| {
            let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            require(good, "not a name")
                .map_err(|error| error.at(format_args!("{}[{j}] {}", field(), Quoted(name))))
        })
    })
}

/// The call by which the listener reaches the agent cannot wait for the agent.
fn notified(spec: &Spec) -> Result<()> {
    each(spec, |i, rule| {
        let waits =
            rule.action() == Action::ScmpActNotify && rule.names().iter().any(|name| name == "sendmsg");
        require(!waits, "SCMP_ACT_NOTIFY cannot be used for sendmsg")
            .map_err(|error| error.at(format_args!("linux.seccomp.syscalls[{i}].action")))
    })
}

fn args(spec: &Spec) -> Result<()> {
    each(spec, |i, rule| {
        list(rule.args()).iter().enumerate().try_for_each(|(j, arg)| {
            one_arg(arg).map_err(|error| error.at(format_args!("linux.seccomp.syscalls[{i}].args[{j}]")))
        })
    })
}

fn one_arg(arg: &LinuxSeccompArg) -> Result<()> {
    let index = arg.index();
    require(index < ARGUMENTS, format!("index {index} is not between 0 and {}", ARGUMENTS - 1))?;
    let masked = arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq;
    let unused = arg.value_two().is_none_or(|value| value == 0);
    require(masked || unused, format!("valueTwo is for SCMP_CMP_MASKED_EQ, not for {}", arg.op()))
}

fn listener(spec: &Spec) -> Result<()> {
    with(spec, |seccomp| {
        let path = seccomp.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
        match path {
            _ if !notifies(seccomp) => Ok(()),
            None => Err(Error::new("missing, and SCMP_ACT_NOTIFY needs it")),
            Some(path) => require(path.is_absolute(), "not an absolute path")
                .map_err(|error| error.at(format_args!("linux.seccomp.listenerPath {}", quoted(path)))),
        }
    })
}

fn metadata(spec: &Spec) -> Result<()> {
    with(spec, |seccomp| {
        let said = seccomp.listener_metadata().as_deref().is_some_and(|text| !text.is_empty());
        let heard = seccomp.listener_path().as_deref().is_some_and(|path| !path.as_os_str().is_empty());
        require(!said || heard, "without listenerPath")
    })
}

/// The kernel takes it with a listener only.
fn flags(spec: &Spec) -> Result<()> {
    with(spec, |seccomp| {
        let killable = LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv;
        let asked = list(seccomp.flags()).contains(&killable);
        require(!asked || notifies(seccomp), format!("{killable} needs SCMP_ACT_NOTIFY"))
    })
}
