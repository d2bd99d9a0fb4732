//! config-linux.md, Seccomp and The Container Process State.

use serde_json::{Value, json};

use crate::agent;
use crate::harness::Sandbox;

clauses! {
    730 MUST "Seccomp", "apply defaultAction to calls that no entry names" => default_action;
    731 MUST "Seccomp", "return defaultErrnoRet" => default_errno;
    732 MUST "Seccomp", "return EPERM by default" => errno_is_eperm_by_default;
    733 MUST "Seccomp", "return errnoRet" => errno_of_an_entry;
    734 MUST "Seccomp", "fail for an errnoRet of an action that has none" => errno_without_a_use;
    735 MUST "Seccomp", "fail for a defaultErrnoRet of an action that has none" => default_errno_without_a_use;
    736 MUST "Seccomp", "refuse an entry without names" => names_has_at_least_one_entry;
    737 MUST "Seccomp", "refuse an action that is not in the list" => actions_are_those_listed;
    738 MUST "Seccomp", "refuse an architecture that is not in the list" => architectures_are_those_listed;
    739 MUST "Seccomp", "refuse an operator that is not in the list" => operators_are_those_listed;
    740 MUST "Seccomp", "implement SCMP_ACT_KILL" => action_kill = |it| deadly(it, "SCMP_ACT_KILL");
    741 MUST "Seccomp", "implement SCMP_ACT_KILL_PROCESS" => action_kill_process = |it| deadly(it, "SCMP_ACT_KILL_PROCESS");
    742 MUST "Seccomp", "implement SCMP_ACT_KILL_THREAD" => action_kill_thread = |it| deadly(it, "SCMP_ACT_KILL_THREAD");
    743 MUST "Seccomp", "implement SCMP_ACT_TRAP" => action_trap = |it| deadly(it, "SCMP_ACT_TRAP");
    744 MUST "Seccomp", "implement SCMP_ACT_ALLOW" => action_allow = |it| harmless(it, "SCMP_ACT_ALLOW");
    745 MUST "Seccomp", "implement SCMP_ACT_LOG" => action_log = |it| harmless(it, "SCMP_ACT_LOG");
    746 MUST "Seccomp", "implement SCMP_ACT_TRACE: without a tracer the call fails" => action_trace;
    747 MUST "Seccomp", "implement SCMP_CMP_EQ" => operator_eq = |it| operator(it, "SCMP_CMP_EQ", [false, true, false]);
    748 MUST "Seccomp", "implement SCMP_CMP_NE" => operator_ne = |it| operator(it, "SCMP_CMP_NE", [true, false, true]);
    749 MUST "Seccomp", "implement SCMP_CMP_LT" => operator_lt = |it| operator(it, "SCMP_CMP_LT", [true, false, false]);
    750 MUST "Seccomp", "implement SCMP_CMP_LE" => operator_le = |it| operator(it, "SCMP_CMP_LE", [true, true, false]);
    751 MUST "Seccomp", "implement SCMP_CMP_GE" => operator_ge = |it| operator(it, "SCMP_CMP_GE", [false, true, true]);
    752 MUST "Seccomp", "implement SCMP_CMP_GT" => operator_gt = |it| operator(it, "SCMP_CMP_GT", [false, false, true]);
    753 MUST "Seccomp", "implement SCMP_CMP_MASKED_EQ" => operator_masked_eq;
    754 MUST "Seccomp", "apply an entry only where all its arguments match" => all_arguments_must_match;
    755 MUST "Seccomp", "load the filter with the flags" => flags_are_taken;
    756 MUST "Seccomp", "send the container process state to listenerPath" => an_agent_hears;
    757 MUST "Seccomp", "send one state per connection, and close it" => the_connection_is_closed;
    758 MUST "Seccomp", "generate an error if it cannot be sent" => without_an_agent_it_is_an_error;
    759 MUST "Seccomp", "ignore listenerPath if SCMP_ACT_NOTIFY is not used" => listener_is_ignored_without_its_action;
    760 MUST "Seccomp", "send listenerMetadata" => metadata_is_sent;
    761 MUST "The Container Process State", "name the descriptors, and send them by SCM_RIGHTS" => descriptors_are_named;
    762 MUST "The Container Process State", "say the version, the pid and the state of the container" => the_state_is_whole;
}

/// A filter that allows everything but this.
fn filter(it: &mut Sandbox, entries: Value) {
    it.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": entries }));
}

/// What mkdir makes of it.
fn mkdir(it: &mut Sandbox) -> String {
    it.see("mkdir /made 2>&1 && echo made; echo over")
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

/// Most calls fail: what a shell needs to live, and say so, is allowed.
fn default_action(it: &mut Sandbox) {
    let (kind, calls) = (json!("SCMP_ACT_ALLOW"), json!(["mkdir", "mkdirat"]));
    it.set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [everything_but(calls, kind)] }),
    );
    assert_eq!(mkdir(it), "mkdir: can't create directory '/made': Operation not permitted\nover");
}

fn default_errno(it: &mut Sandbox) {
    let entry = everything_but(json!(["mkdir", "mkdirat"]), json!("SCMP_ACT_ALLOW"));
    let filter = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28, "syscalls": [entry] });
    it.set("/linux/seccomp", filter);
    assert_eq!(mkdir(it), "mkdir: can't create directory '/made': No space left on device\nover");
}

/// An entry for all calls that libseccomp knows by these numbers, without those.
fn everything_but(calls: Value, action: Value) -> Value {
    let known = (0..500).filter_map(|number| libseccomp::ScmpSyscall::from(number).get_name().ok());
    let names: Vec<String> = known.filter(|name| !calls.as_array().unwrap().contains(&json!(name))).collect();
    json!({ "names": names, "action": action })
}

fn errno_is_eperm_by_default(it: &mut Sandbox) {
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]));
    assert_eq!(mkdir(it), "mkdir: can't create directory '/made': Operation not permitted\nover");
}

fn errno_of_an_entry(it: &mut Sandbox) {
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }]));
    assert_eq!(mkdir(it), "mkdir: can't create directory '/made': No space left on device\nover");
}

fn errno_without_a_use(it: &mut Sandbox) {
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_KILL", "errnoRet": 28 }]));
    it.refuses(&["linux.seccomp"]);
}

fn default_errno_without_a_use(it: &mut Sandbox) {
    it.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 28 }));
    it.refuses(&["linux.seccomp"]);
}

fn names_has_at_least_one_entry(it: &mut Sandbox) {
    filter(it, json!([{ "names": [], "action": "SCMP_ACT_ERRNO" }]));
    it.refuses(&["linux.seccomp"]);
}

fn actions_are_those_listed(it: &mut Sandbox) {
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_NO_SUCH" }]));
    it.refuses(&["linux.seccomp"]);
}

fn architectures_are_those_listed(it: &mut Sandbox) {
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NO_SUCH"],
        "syscalls": [{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }] });
    it.set("/linux/seccomp", filter);
    it.refuses(&["linux.seccomp"]);
}

fn operators_are_those_listed(it: &mut Sandbox) {
    let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_NO_SUCH" }]);
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO", "args": args }]));
    it.refuses(&["linux.seccomp"]);
}

/// The process that makes the call is killed.
fn deadly(it: &mut Sandbox, action: &str) {
    filter(it, json!([{ "names": MKDIR, "action": action }]));
    let seen = it.see("/bin/busybox mkdir /made; echo status $?");
    assert!(seen.ends_with("status 159"), "SIGSYS is 128 + 31: {seen}");
    assert!(!it.rootfs("/made").exists());
}

fn harmless(it: &mut Sandbox, action: &str) {
    filter(it, json!([{ "names": MKDIR, "action": action }]));
    assert_eq!(mkdir(it), "made\nover");
}

fn action_trace(it: &mut Sandbox) {
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_TRACE" }]));
    assert_eq!(mkdir(it), "mkdir: can't create directory '/made': Function not implemented\nover");
}

/// Files are made as long as 99, 100 and 101 bytes; an entry about their length denies those that it matches.
fn lengths(it: &mut Sandbox, arguments: Value, wanted: [bool; 3]) {
    let names = ["ftruncate", "truncate"];
    filter(it, json!([{ "names": names, "action": "SCMP_ACT_ERRNO", "args": arguments }]));
    let seen =
        it.see("for n in 99 100 101; do truncate -s $n /file 2>/dev/null && echo made || echo denied; done");
    let seen: Vec<bool> = seen.lines().map(|line| line == "denied").collect();
    assert_eq!(seen, wanted);
}

fn operator(it: &mut Sandbox, name: &str, wanted: [bool; 3]) {
    lengths(it, json!([{ "index": 1, "value": 100, "op": name }]), wanted);
}

/// 100 is 0b1100100: with its lowest bit masked out the same as 101.
fn operator_masked_eq(it: &mut Sandbox) {
    let arguments = json!([{ "index": 1, "value": 0xfffe, "valueTwo": 100, "op": "SCMP_CMP_MASKED_EQ" }]);
    lengths(it, arguments, [false, true, true]);
}

fn all_arguments_must_match(it: &mut Sandbox) {
    let arguments = json!([
        { "index": 0, "value": 1_000_000, "op": "SCMP_CMP_LT" }, { "index": 1, "value": 100, "op": "SCMP_CMP_EQ" }
    ]);
    lengths(it, arguments, [false, true, false]);
    let arguments = json!([
        { "index": 0, "value": 1_000_000, "op": "SCMP_CMP_GT" }, { "index": 1, "value": 100, "op": "SCMP_CMP_EQ" }
    ]);
    lengths(it, arguments, [false, false, false]);
}

fn flags_are_taken(it: &mut Sandbox) {
    let syscalls = json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]);
    let flags = json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
    it.set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": syscalls }),
    );
    assert_eq!(mkdir(it), "mkdir: can't create directory '/made': Operation not permitted\nover");
}

/// A filter that asks the agent about umask(2), whose answer is the argument plus one.
fn notifies(it: &mut Sandbox, more: &[(&str, Value)]) {
    filter(it, json!([{ "names": ["umask"], "action": "SCMP_ACT_NOTIFY" }]));
    let path = it.path("agent");
    it.set("/linux/seccomp/listenerPath", json!(path));
    for (name, value) in more {
        it.set(&format!("/linux/seccomp/{name}"), value.clone());
    }
}

/// A life with an agent.
fn heard(it: &mut Sandbox, more: &[(&str, Value)]) -> agent::Heard {
    notifies(it, more);
    let agent = agent::serve(agent::listen(&it.path("agent")));
    it.see("umask 0");
    agent.join().unwrap_or_else(|_| panic!("the agent heard nothing that it understands"))
}

fn an_agent_hears(it: &mut Sandbox) {
    let heard = heard(it, &[]);
    assert!(!heard.calls.is_empty(), "no call was notified");
}

fn the_connection_is_closed(it: &mut Sandbox) {
    assert!(heard(it, &[]).closed);
}

fn without_an_agent_it_is_an_error(it: &mut Sandbox) {
    notifies(it, &[]);
    it.script("umask 0");
    let created = it.create_as(&it.token, &[]).finish();
    if created.status.success() {
        it.call(&["start", &it.token]).finish().fails_with(&["linux.seccomp"]);
    } else {
        created.fails_with(&["linux.seccomp"]);
    }
}

fn listener_is_ignored_without_its_action(it: &mut Sandbox) {
    filter(it, json!([{ "names": MKDIR, "action": "SCMP_ACT_ERRNO" }]));
    it.set("/linux/seccomp/listenerPath", json!("/nonexistent/agent"));
    assert_eq!(it.see("echo runs"), "runs");
}

fn metadata_is_sent(it: &mut Sandbox) {
    let heard = heard(it, &[("listenerMetadata", json!("opaque=1;\u{e4}"))]);
    assert_eq!(heard.state["metadata"], "opaque=1;\u{e4}");
}

fn descriptors_are_named(it: &mut Sandbox) {
    assert_eq!(heard(it, &[]).state["fds"], json!(["seccompFd"]));
}

fn the_state_is_whole(it: &mut Sandbox) {
    let state = heard(it, &[]).state;
    assert!(state["ociVersion"].is_string() && state["pid"].as_i64().is_some_and(|pid| pid > 1), "{state}");
    assert_eq!(state["state"]["id"], json!(it.token));
    assert_eq!(state["state"]["bundle"], json!(it.path("bundle")));
    assert!(state["state"]["status"].is_string() && state["state"]["ociVersion"].is_string(), "{state}");
}
