//! linux.seccomp (config-linux.md, Seccomp): what of it decides which system calls are filtered, with which flags the
//! filter is loaded, and who is told of it. Pure: compiling the filter is the business of `container::seccomp`.
//!
//! The filter is loaded as the very last thing before execve, with and without no_new_privs: whatever it forbids, the
//! runtime has nothing left to do. What makes that possible without no_new_privs stands at [`CAP_SYS_ADMIN`]; the one
//! exception at [`Loading::hurries`].

pub(crate) mod enosys;
pub(crate) mod ranges;

use super::capabilities::Sets;
use super::step::Become;
use crate::error::{Error, Result};
use oci_spec::runtime::{
    Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall, Process, Spec,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The flags of linux.seccomp.flags and their bits in seccomp(2), SECCOMP_FILTER_FLAG_….
pub(crate) const FLAGS: [(LinuxSeccompFilterFlag, u32); 4] = [
    (LinuxSeccompFilterFlag::SeccompFilterFlagTsync, 1),
    (LinuxSeccompFilterFlag::SeccompFilterFlagLog, 1 << 1),
    (LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow, 1 << 2),
    (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, 1 << 5), // Linux 5.19
];

/// SECCOMP_FILTER_FLAG_NEW_LISTENER: seccomp(2) gives the descriptor that notifications arrive on.
const NEW_LISTENER: u32 = 1 << 3;

/// SECCOMP_FILTER_FLAG_TSYNC_ESRCH: with a listener seccomp(2) cannot give the thread that TSYNC failed for. Linux 5.7.
const TSYNC_ESRCH: u32 = 1 << 4;

/// Its bit. Without no_new_privs seccomp(2) wants it in the effective set. It stands in the effective and the permitted
/// set only: no execve carries those on, neither a hook's nor the container's own (capabilities(7), Transformation of
/// capabilities during execve), so that nobody but init ever has it, and it need not be dropped by a call that the
/// filter may forbid.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What is filtered, how it is loaded, who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// defaultAction, defaultErrnoRet, architectures and syscalls of the config: all that decides about the program.
    pub(crate) profile: LinuxSeccomp,
    /// What is kept for `exec`.
    pub(crate) loading: Loading,
}

/// How a program is loaded, also that of a container that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loading {
    /// SECCOMP_FILTER_FLAG_… bits.
    pub(crate) flags: u32,
    /// Who gets the descriptor of SCMP_ACT_NOTIFY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<Agent>,
}

/// The seccomp agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// linux.seccomp.listenerPath
    pub(crate) path: PathBuf,
    /// linux.seccomp.listenerMetadata
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
}

/// linux.seccomp of a config that has it.
pub(crate) fn plan(spec: &Spec) -> Option<Filter> {
    let seccomp = spec.linux().as_ref()?.seccomp().as_ref()?;
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(seccomp.default_action())
        .set_default_errno_ret(seccomp.default_errno_ret())
        .set_architectures(seccomp.architectures().clone())
        .set_syscalls(seccomp.syscalls().clone());
    Some(Filter { profile, loading: loading(seccomp) })
}

fn loading(seccomp: &LinuxSeccomp) -> Loading {
    let mut flags = 0;
    for flag in seccomp.flags().iter().flatten() {
        flags |= FLAGS.iter().find(|row| row.0 == *flag).map_or(0, |row| row.1);
    }
    let notifies = |rule: &LinuxSyscall| rule.action() == LinuxSeccompAction::ScmpActNotify;
    if !seccomp.syscalls().iter().flatten().any(notifies) {
        return Loading { flags, agent: None };
    }
    let tsync = if flags & 1 != 0 { TSYNC_ESRCH } else { 0 };
    let agent = seccomp
        .listener_path()
        .clone()
        .map(|path| Agent { path, metadata: seccomp.listener_metadata().clone() });
    Loading { flags: flags | NEW_LISTENER | tsync, agent }
}

impl Loading {
    /// The step: at once, or else the last before execve.
    pub(crate) fn step(&self, at_once: bool) -> Become {
        Become::Seccomp { flags: self.flags, listener: self.flags & NEW_LISTENER != 0, at_once }
    }

    /// A process of `exec` stands among processes that may trace it: where [`CAP_SYS_ADMIN`] would be more than they
    /// have, and they may look into a process of the runtime's own user namespace, it must be gone before they see it.
    /// The filter then has to allow what is still to be done. A listener cannot be handed over before there is the
    /// process that it is for, and comes late also then. Who they are is told by the two process objects; a tracer that
    /// another `exec` brought with more capabilities is not known.
    pub(crate) fn hurries(&self, processes: [Option<&Process>; 2], user_namespace: bool) -> bool {
        let no_new_privileges = processes[0].is_some_and(|one| one.no_new_privileges() == Some(true));
        if self.agent.is_some() || user_namespace || no_new_privileges {
            return false;
        }
        let bounding = |process: &Process| process.capabilities().as_ref().and_then(|c| c.bounding().clone());
        let bounding: Vec<Capability> =
            processes.into_iter().flatten().filter_map(bounding).flatten().collect();
        bounding.contains(&Capability::SysPtrace)
    }

    /// What seccomp(2) needs is added to the sets, which are `grantable` at most.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn need(&self, sets: &mut Sets, no_new_privileges: bool, grantable: u64) -> Result<()> {
        if no_new_privileges {
            return Ok(());
        }
        if grantable & CAP_SYS_ADMIN == 0 {
            return Err(Error::new("a filter needs CAP_SYS_ADMIN, which the runtime itself lacks")
                .at("linux.seccomp")
                .hint("or process.noNewPrivileges: true"));
        }
        sets.effective |= CAP_SYS_ADMIN;
        sets.permitted |= CAP_SYS_ADMIN;
        Ok(())
    }
}

/// Lines of `onggi plan`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = &self.profile;
        let default = shown(profile.default_action(), profile.default_errno_ret());
        let architectures: Vec<String> =
            profile.architectures().iter().flatten().map(ToString::to_string).collect();
        let architectures =
            if architectures.is_empty() { "the native".into() } else { architectures.join(" ") };
        writeln!(f, "runtime seccomp default {default} on {architectures}  # linux.seccomp")?;
        for (i, rule) in profile.syscalls().iter().flatten().enumerate() {
            write!(
                f,
                "runtime seccomp {} {}",
                shown(rule.action(), rule.errno_ret()),
                rule.names().join(" ")
            )?;
            let args: Vec<String> = rule.args().iter().flatten().map(condition).collect();
            if !args.is_empty() {
                write!(f, " if {}", args.join(", "))?;
            }
            writeln!(f, "  # linux.seccomp.syscalls[{i}]")?;
        }
        let Some(agent) = &self.loading.agent else { return Ok(()) };
        writeln!(f, "runtime seccomp listener to {:?}  # linux.seccomp.listenerPath", agent.path)
    }
}

fn shown(action: LinuxSeccompAction, errno: Option<u32>) -> String {
    errno.map_or_else(|| action.to_string(), |errno| format!("{action}({errno})"))
}

fn condition(arg: &LinuxSeccompArg) -> String {
    let (index, value) = (arg.index(), arg.value());
    let operator = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => "!=",
        LinuxSeccompOperator::ScmpCmpLt => "<",
        LinuxSeccompOperator::ScmpCmpLe => "<=",
        LinuxSeccompOperator::ScmpCmpEq => "==",
        LinuxSeccompOperator::ScmpCmpGe => ">=",
        LinuxSeccompOperator::ScmpCmpGt => ">",
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            return format!("arg{index} & {value:#x} == {:#x}", arg.value_two().unwrap_or(0));
        }
    };
    format!("arg{index} {operator} {value:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seccomp(text: &str) -> LinuxSeccomp {
        serde_json::from_str(text).expect("a profile")
    }

    #[test]
    fn flags_are_those_of_the_kernel() {
        let names =
            r#"["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#;
        let plain = seccomp(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":{names}}}"#));
        assert_eq!(loading(&plain), Loading { flags: 7, agent: None });
        let notify = seccomp(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":{names},"listenerPath":"/a","listenerMetadata":"m",
                "syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}}]}}"#
        ));
        let agent = Agent { path: "/a".into(), metadata: Some("m".into()) };
        assert_eq!(loading(&notify), Loading { flags: 7 | 8 | 16, agent: Some(agent) });
        let unused = seccomp(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a"}"#);
        assert_eq!(
            loading(&unused),
            Loading { flags: 0, agent: None },
            "without SCMP_ACT_NOTIFY it is ignored"
        );
    }

    #[test]
    fn without_no_new_privs_one_capability_is_held_until_execve() {
        let loading = Loading { flags: 0, agent: None };
        let mut sets = Sets { bounding: 1, ..Sets::default() };
        loading.need(&mut sets, true, 0).unwrap();
        assert_eq!(sets, Sets { bounding: 1, ..Sets::default() });
        loading.need(&mut sets, false, CAP_SYS_ADMIN).unwrap();
        let held =
            Sets { bounding: 1, effective: CAP_SYS_ADMIN, permitted: CAP_SYS_ADMIN, ..Sets::default() };
        assert_eq!(sets, held);
        let error = loading.need(&mut sets, false, !CAP_SYS_ADMIN).unwrap_err().to_string();
        assert!(error.starts_with("linux.seccomp: a filter needs CAP_SYS_ADMIN"), "{error}");
    }

    #[test]
    fn only_who_could_be_traced_hurries() {
        let process = |capability: &str, no_new_privileges: Option<bool>| -> Process {
            serde_json::from_value(serde_json::json!({
                "cwd": "/", "args": ["/bin/true"], "user": { "uid": 0, "gid": 0 },
                "noNewPrivileges": no_new_privileges, "capabilities": { "bounding": [capability] }
            }))
            .unwrap()
        };
        let (tracer, other) = (process("CAP_SYS_PTRACE", None), process("CAP_KILL", None));
        let plain = Loading { flags: 0, agent: None };
        assert!(plain.hurries([Some(&tracer), Some(&other)], false));
        assert!(plain.hurries([Some(&other), Some(&tracer)], false), "the container's own processes");
        assert!(!plain.hurries([Some(&other), None], false));
        assert!(!plain.hurries([Some(&tracer), Some(&tracer)], true), "of another user namespace");
        assert!(!plain.hurries([Some(&process("CAP_SYS_PTRACE", Some(true))), None], false), "holds nothing");
        let agent = Some(Agent { path: "/a".into(), metadata: None });
        assert!(!Loading { flags: 0, agent }.hurries([Some(&tracer), None], false));
    }
}
