//! SCMP_ACT_NOTIFY: a real agent hears of the container and answers its calls (config-linux.md, The Container Process
//! State).

use std::fs;

use serde_json::{Value, json};

use super::agent;
use super::program::{Program, numbers};
use crate::harness::{Need, Sandbox};

cases! {
    an_agent_answers: Need::Machine("x86_64");
    an_agent_answers_a_created_container: Need::Machine("x86_64");
    an_agent_answers_without_no_new_privs: Need::Machine("x86_64");
    with_killable_waits: Need::Machine("x86_64"), Need::Kernel(5, 19, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    without_metadata: Need::Machine("x86_64");
    write_and_execve_can_be_notified: Need::Machine("x86_64");
    without_an_agent_nothing_starts;
    an_agent_that_never_answers;
    a_filter_that_forbids_the_way_out_is_reported;
    the_agents_path_is_checked;
}

const SCHED_YIELD: u64 = 24;

/// sched_yield asks the agent, which listens at `socket`.
pub(super) fn notifying(sandbox: &mut Sandbox) -> std::os::unix::net::UnixListener {
    let path = sandbox.path("agent");
    sandbox.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "listenerMetadata": "opaque: {\"ü\"}",
            "syscalls": [{ "names": ["sched_yield"], "action": "SCMP_ACT_NOTIFY" }]
        }),
    );
    sandbox.set("/annotations", json!({ "org.example.key": "value" }));
    agent::listen(&path)
}

fn program() -> Program {
    Program::new().call(SCHED_YIELD, &[41]).call(SCHED_YIELD, &[6])
}

fn check(heard: &agent::Heard, sandbox: &Sandbox, pid: Option<i32>) {
    let state = &heard.state;
    assert_eq!(state["ociVersion"], "1.2.0", "{state}");
    assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
    assert_eq!(state["metadata"], "opaque: {\"ü\"}", "{state}");
    assert!(heard.closed, "one state for each connection");
    let inner = &state["state"];
    assert_eq!(inner["ociVersion"], "1.2.0", "{state}");
    assert_eq!(inner["id"], sandbox.token.as_str(), "{state}");
    assert_eq!(inner["status"], "creating", "{state}");
    assert_eq!(inner["bundle"], sandbox.path("bundle").as_str(), "{state}");
    assert_eq!(inner["annotations"], json!({ "org.example.key": "value" }), "{state}");
    assert_eq!(state["pid"], inner["pid"], "{state}");
    let told = state["pid"].as_i64().unwrap() as i32;
    assert!(pid.is_none_or(|pid| pid == told), "{state}");
    let calls: Vec<_> = heard.calls.iter().map(|call| (call.1 as u64, call.2)).collect();
    assert_eq!(calls, [(SCHED_YIELD, 41), (SCHED_YIELD, 6)]);
    assert!(heard.calls.iter().all(|call| call.0 == told), "{:?} {told}", heard.calls);
}

fn an_agent_answers(sandbox: &mut Sandbox) {
    let agent = agent::serve(notifying(sandbox));
    assert_eq!(program().run(sandbox), [42, 7]);
    check(&agent.join().unwrap(), sandbox, None);
}

fn an_agent_answers_a_created_container(sandbox: &mut Sandbox) {
    let agent = agent::serve(notifying(sandbox));
    program().install(sandbox);
    let created = sandbox.begin("create", &[]).spawn();
    let (stdout, _) = created.files();
    created.finish().ok();
    let pid = sandbox.pid();
    assert!(!agent.is_finished());
    sandbox.start();
    sandbox.wait_status("stopped");
    assert_eq!(numbers(&fs::read(stdout).unwrap()), [42, 7]);
    check(&agent.join().unwrap(), sandbox, Some(pid));
    sandbox.delete();
}

fn an_agent_answers_without_no_new_privs(sandbox: &mut Sandbox) {
    sandbox
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let agent = agent::serve(notifying(sandbox));
    assert_eq!(program().run(sandbox), [42, 7]);
    check(&agent.join().unwrap(), sandbox, None);
}

fn with_killable_waits(sandbox: &mut Sandbox) {
    let agent = agent::serve(notifying(sandbox));
    let flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]
        .map(|name| format!("SECCOMP_FILTER_FLAG_{name}"));
    sandbox.set("/linux/seccomp/flags", json!(flags));
    assert_eq!(program().run(sandbox), [42, 7]);
    check(&agent.join().unwrap(), sandbox, None);
}

fn without_metadata(sandbox: &mut Sandbox) {
    let agent = agent::serve(notifying(sandbox));
    sandbox.unset("/linux/seccomp/listenerMetadata");
    assert_eq!(program().run(sandbox), [42, 7]);
    let heard = agent.join().unwrap();
    assert_eq!(heard.state.get("metadata"), None::<&Value>, "{}", heard.state);
}

/// The agent has the listener before the program is executed: it can decide about execve itself, and about calls that
/// runc needs for its own way out.
fn write_and_execve_can_be_notified(sandbox: &mut Sandbox) {
    let agent = agent::serve(notifying(sandbox));
    let rule = json!({ "names": ["write"], "action": "SCMP_ACT_NOTIFY" });
    sandbox.set("/linux/seccomp/syscalls/-", rule);
    assert!(program().run(sandbox).is_empty(), "the agent wrote nothing");
    let heard = agent.join().unwrap();
    assert_eq!(heard.calls.iter().map(|call| call.1).collect::<Vec<_>>(), [24, 24, 1]);
}

fn without_an_agent_nothing_starts(sandbox: &mut Sandbox) {
    drop(notifying(sandbox));
    let path = sandbox.path("agent");
    fs::remove_file(&path).unwrap();
    sandbox.script("touch /tmp/ran");
    let field = format!("linux.seccomp.listenerPath \"{path}\"");
    let output = sandbox.run().error(&[&field, "connect(", "ENOENT", "hint: the seccomp agent must listen"]);
    sandbox.clean(&output);
    sandbox.create();
    sandbox.onggi(&["start", &sandbox.token]).finish().error(&[&field, "ENOENT"]);
    assert_eq!(sandbox.status(), "created", "it can be started once there is an agent");
    assert!(!sandbox.rootfs("/tmp/ran").exists());
    let agent = agent::serve(agent::listen(&path));
    sandbox.start();
    sandbox.wait_status("stopped");
    assert!(sandbox.rootfs("/tmp/ran").exists());
    assert_eq!(agent.join().unwrap().state["fds"], json!(["seccompFd"]));
    sandbox.delete();
}

/// It takes the listener, and lets execve wait: `start` gives up, and lets go of the container.
fn an_agent_that_never_answers(sandbox: &mut Sandbox) {
    let _listener = notifying(sandbox);
    let rule = json!({ "names": ["execve"], "action": "SCMP_ACT_NOTIFY" });
    sandbox.set("/linux/seccomp/syscalls/-", rule).script("touch /tmp/ran");
    sandbox.create();
    let started = sandbox.onggi(&["start", &sandbox.token]).finish();
    started.error(&["linux.seccomp.listenerPath", "does not run after 10s", "does the agent answer"]);
    sandbox.wait_status("stopped");
    assert!(!sandbox.rootfs("/tmp/ran").exists());
    sandbox.delete();
}

fn a_filter_that_forbids_the_way_out_is_reported(sandbox: &mut Sandbox) {
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let _ = fs::remove_file(sandbox.path("agent"));
        let _listener = notifying(sandbox);
        let rule = json!({ "names": ["sendmsg"], "action": action });
        sandbox.set("/linux/seccomp/syscalls/-", rule).script("touch /tmp/ran");
        let output = sandbox.run().error(&["linux.seccomp", "the filter must allow sendmsg"]);
        assert!(!sandbox.rootfs("/tmp/ran").exists());
        sandbox.clean(&output);
        sandbox.create();
        let started = sandbox.onggi(&["start", &sandbox.token]).finish();
        started.error(&["linux.seccomp", "the filter must allow sendmsg"]);
        sandbox.wait_status("stopped");
        sandbox.delete();
    }
}

fn the_agents_path_is_checked(sandbox: &mut Sandbox) {
    drop(notifying(sandbox));
    sandbox.set("/linux/seccomp/listenerPath", json!("relative"));
    sandbox.refused(&["linux.seccomp.listenerPath \"relative\": not an absolute path"]);
    sandbox.set("/linux/seccomp/listenerPath", json!(""));
    sandbox.refused(&["linux.seccomp.listenerPath: missing"]);
    sandbox.unset("/linux/seccomp/listenerPath");
    sandbox.refused(&["linux.seccomp.listenerPath: missing"]);
    sandbox.set("/linux/seccomp/listenerPath", json!("/a"));
    sandbox.set("/linux/seccomp/syscalls/-", json!({ "names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY" }));
    sandbox.refused(&["linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY cannot be used for sendmsg"]);
    // Nobody is notified: the path does not matter.
    sandbox.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere" }));
    sandbox.run().ok();
}
