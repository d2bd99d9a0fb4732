//! Where the types of `oci-spec` read `process` otherwise than the runtime-spec writes it (config.md, Process, Linux
//! Process): the document is brought into their form, and what they would take for a default is refused. Judges nothing
//! that the types can express.

use super::load::decode_value;
use super::mask::Mask;
use crate::error::{Error, Result};
use oci_spec::runtime::Capability;
use serde_json::{Value, json};

/// process.scheduler.flags: the runtime-spec's names, and how oci-spec spells them.
const FLAGS: [(&str, &str); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_RECLAIM", "SCHED_FLAG_RECLAIM"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ("SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_POLICY"),
    ("SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_KEEP_PARAMS"),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MIN"),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", "SCHED_FLAG_UTIL_CLAMP_MAX"),
];

/// Brings a process into the form of oci-spec: `user` may be absent, uid and gid are then 0, as in the spec's own
/// bindings; flags have their names; lists of CPUs may hold blanks or be empty; capabilities that nobody knows are left out, with a
/// warning each.
///
/// # Returns
/// Whether anything was changed.
pub(super) fn adapt(process: &mut Value, warnings: &mut Vec<String>) -> bool {
    let before = process.clone();
    if let Some(process) = process.as_object_mut() {
        process.entry("user").or_insert_with(|| json!({}));
    }
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        if let Some((_, ours)) = FLAGS.iter().find(|(name, _)| flag == name) {
            *flag = json!(ours);
        }
    }
    leave_out_unknown_capabilities(process, warnings);
    for name in ["initial", "final"] {
        let Some(affinity) = process.pointer_mut("/execCPUAffinity") else { continue };
        // What is no list stays as it is, and is refused.
        match affinity[name].as_str().map(Mask::new) {
            Some(Ok(mask)) if mask.is_empty() => affinity[name] = Value::Null,
            Some(Ok(mask)) => affinity[name] = json!(mask.to_string()),
            _ => {}
        }
    }
    *process != before
}

/// A name in the form of a capability that nobody knows yet cannot be granted, which is worth a warning (config.md, Linux
/// Process). What has not even the form stays, and is refused.
fn leave_out_unknown_capabilities(process: &mut Value, warnings: &mut Vec<String>) {
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
    for (set, names) in sets.into_iter().flatten() {
        let Some(names) = names.as_array_mut() else { continue };
        names.retain(|name| {
            let unknown =
                name.as_str().is_some_and(is_of_the_form) && decode_value::<Capability>(name).is_err();
            if unknown {
                warnings.push(format!("process.capabilities.{set} {name}: unknown capability, not granted"));
            }
            !unknown
        });
    }
}

fn is_of_the_form(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.strip_prefix("CAP_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(letter))
}

/// Refuses what oci-spec takes: properties without their required members, and names that are its own.
///
/// # Errors
/// The field below `process`, and what is wrong with it.
pub(super) fn judge(process: &Value) -> Result<()> {
    for name in ["class", "priority"] {
        if process.get("ioPriority").is_some_and(|io| io.is_object() && io.get(name).is_none()) {
            return Err(Error::new("missing").at(format_args!("process.ioPriority.{name}")));
        }
    }
    let flags = process.pointer("/scheduler/flags").and_then(Value::as_array);
    for (i, flag) in flags.into_iter().flatten().enumerate() {
        if !FLAGS.iter().any(|(name, _)| flag == name) {
            let names = FLAGS.map(|(name, _)| name).join(", ");
            return Err(Error::new(format!("not one of {names}"))
                .at(format_args!("process.scheduler.flags[{i}] {flag}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxSchedulerFlag, Process};

    fn process(members: Value) -> Value {
        let mut process = json!({"cwd": "/", "args": ["sh"]});
        process.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        process
    }

    fn read(members: Value) -> Process {
        let mut value = process(members);
        assert_eq!(judge(&value), Ok(()));
        assert!(adapt(&mut value, &mut Vec::new()));
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_flag_of_the_spec_is_read() {
        let names = FLAGS.map(|(name, _)| name);
        let read = read(json!({"scheduler": {"policy": "SCHED_OTHER", "flags": names}}));
        use LinuxSchedulerFlag as Flag;
        let expected = [
            Flag::SchedResetOnFork,
            Flag::SchedFlagReclaim,
            Flag::SchedFlagDLOverrun,
            Flag::SchedFlagKeepPolicy,
            Flag::SchedFlagKeepParams,
            Flag::SchedFlagUtilClampMin,
            Flag::SchedFlagUtilClampMax,
        ];
        assert_eq!(read.scheduler().as_ref().unwrap().flags().as_deref(), Some(&expected[..]));
    }

    #[test]
    fn capabilities_that_nobody_knows_are_left_out() {
        let names = json!(["CAP_CHOWN", "CAP_NOT_YET", "cap_kill", "CAP_"]);
        let (mut value, mut warnings) = (process(json!({"capabilities": {"bounding": names}})), Vec::new());
        assert!(adapt(&mut value, &mut warnings));
        assert_eq!(value["capabilities"]["bounding"], json!(["CAP_CHOWN", "cap_kill", "CAP_"]));
        assert_eq!(
            warnings,
            ["process.capabilities.bounding \"CAP_NOT_YET\": unknown capability, not granted"]
        );
    }

    #[test]
    fn lists_of_cpus_may_be_empty_or_hold_blanks() {
        let read = read(json!({"execCPUAffinity": {"initial": "", "final": "0, 2 ,3"}}));
        let affinity = read.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!((affinity.initial(), affinity.cpu_affinity_final().as_deref()), (&None, Some("0,2-3")));
    }

    #[test]
    fn what_the_spec_does_not_have_is_refused() {
        for (members, expected) in [
            (json!({"ioPriority": {"priority": 1}}), "process.ioPriority.class: missing"),
            (json!({"ioPriority": {"class": "IOPRIO_CLASS_BE"}}), "process.ioPriority.priority: missing"),
            (
                json!({"scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"]}}),
                "process.scheduler.flags[0] \"SCHED_RESET_ON_FORK\": not one of SCHED_FLAG_RESET_ON_FORK, \
                 SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS, \
                 SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_FLAG_UTIL_CLAMP_MAX",
            ),
        ] {
            assert_eq!(judge(&process(members)).expect_err(expected).to_string(), expected);
        }
    }
}
