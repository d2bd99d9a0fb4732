//! exec joins a container with the container's own filter.

use std::fs;

use serde_json::json;

use super::program::{Program, numbers};
use super::{agent, docker, only};
use crate::harness::{Need, Sandbox};

cases! {
    exec_has_the_filter;
    exec_compiles_nothing;
    exec_under_the_strictest_filter: Need::Machine("x86_64");
    exec_without_no_new_privs_has_no_capability_left;
    exec_of_a_notified_call_has_a_listener_of_its_own: Need::Machine("x86_64");
    exec_without_an_agent_is_refused: Need::Machine("x86_64");
    exec_without_the_kept_program_is_refused;
    exec_loads_the_filter_unseen_where_it_could_be_traced: Need::Program("strace");
}

const PAUSE: u64 = 34;
const SCHED_YIELD: u64 = 24;

fn exec(sandbox: &Sandbox, script: &str) -> String {
    sandbox.onggi(&["exec", &sandbox.token, "/bin/sh", "-c", script]).finish().ok().text().to_owned()
}

fn exec_has_the_filter(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    sandbox.start_sleeper();
    let of = |pid: &str| exec(sandbox, &format!("grep ^Seccomp /proc/{pid}/status"));
    assert_eq!(of("self"), of("1"), "as many filters as the container's own process");
    assert!(of("self").contains("Seccomp:\t2"));
    assert_eq!(exec(sandbox, "unshare -n true 2>/dev/null || echo denied"), "denied");
    sandbox.unset("/linux/seccomp");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.start_sleeper();
    assert!(exec(sandbox, "grep ^Seccomp: /proc/self/status").ends_with('0'));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

fn exec_compiles_nothing(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    sandbox.start_sleeper();
    fs::remove_dir_all(sandbox.root().join(":seccomp")).unwrap();
    assert_eq!(exec(sandbox, "unshare -n true 2>/dev/null || echo denied"), "denied");
    assert!(!sandbox.root().join(":seccomp").exists(), "it needs neither cache nor libseccomp");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

/// A container that waits for ever, and a second program beside it.
fn waiting(sandbox: &mut Sandbox, second: Program) -> i32 {
    second.install(sandbox);
    fs::rename(sandbox.rootfs("/program"), sandbox.rootfs("/second")).unwrap();
    Program::new().call(PAUSE, &[]).install(sandbox);
    sandbox.create();
    sandbox.start();
    sandbox.pid()
}

fn exec_under_the_strictest_filter(sandbox: &mut Sandbox) {
    for no_new_privileges in [true, false] {
        sandbox.set("/process/noNewPrivileges", json!(no_new_privileges));
        sandbox.set(
            "/linux/seccomp",
            only("SCMP_ACT_KILL_PROCESS", &["execve", "write", "exit_group", "pause"]),
        );
        waiting(sandbox, Program::new());
        sandbox.onggi(&["exec", &sandbox.token, "/second"]).finish().ok();
        let denied = sandbox.onggi(&["exec", &sandbox.token, "/bin/true"]).finish();
        assert_eq!(denied.status.code(), Some(159), "{}", denied.describe());
        assert_eq!(sandbox.status(), "running");
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}

fn exec_without_no_new_privs_has_no_capability_left(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false)).capabilities(&["CAP_KILL"]);
    let sets = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
    let mut seen = Vec::new();
    for filter in [None, Some(docker())] {
        sandbox.set("/linux/seccomp", filter.unwrap_or_default());
        sandbox.start_sleeper();
        for user in ["0:0", "1000:1000"] {
            let call = sandbox.onggi(&["exec", "--user", user, &sandbox.token, "/bin/sh", "-c", sets]);
            seen.push(call.finish().ok().text().to_owned());
        }
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
    assert_eq!(seen[..2], seen[2..], "with a filter as without one");
    assert!(seen[0].contains("CapEff:\t0000000000000020") && seen[1].contains("CapEff:\t0000000000000000"));
}

fn exec_of_a_notified_call_has_a_listener_of_its_own(sandbox: &mut Sandbox) {
    for no_new_privileges in [true, false] {
        sandbox.set("/process/noNewPrivileges", json!(no_new_privileges));
        let _ = fs::remove_file(sandbox.path("agent"));
        let listener = super::notify::notifying(sandbox);
        let first = agent::serve(listener.try_clone().unwrap());
        let init = waiting(sandbox, Program::new().call(SCHED_YIELD, &[99]));
        let second = agent::serve(listener);
        let (pid_file, words) = (sandbox.path("pid"), ["/second"]);
        let call = sandbox.onggi(&["exec", "--pid-file", &pid_file, &sandbox.token, words[0]]).spawn();
        let (stdout, _) = call.files();
        call.finish().ok();
        assert_eq!(numbers(&fs::read(stdout).unwrap()), [100]);
        let heard = second.join().unwrap();
        let state = &heard.state;
        let pid: i64 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        assert_eq!((&state["pid"], &state["state"]["pid"]), (&json!(pid), &json!(init)), "{state}");
        assert_eq!(state["state"]["status"], "running", "{state}");
        assert_eq!(state["metadata"], "opaque: {\"ü\"}", "{state}");
        let calls: Vec<_> = heard.calls.iter().map(|call| (i64::from(call.0), call.2)).collect();
        assert_eq!(calls, [(pid, 99)]);
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        let heard = first.join().unwrap();
        assert_eq!((&heard.state["pid"], heard.calls.len()), (&json!(init), 0));
    }
}

fn exec_without_an_agent_is_refused(sandbox: &mut Sandbox) {
    let listener = super::notify::notifying(sandbox);
    let first = agent::serve(listener);
    waiting(sandbox, Program::new());
    fs::remove_file(sandbox.path("agent")).unwrap();
    let output = sandbox.onggi(&["exec", &sandbox.token, "/second"]).finish();
    let text = &output.stderr;
    assert!(!output.status.success() && text.contains("linux.seccomp.listenerPath"), "{}", output.describe());
    assert_eq!(sandbox.status(), "running");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    first.join().unwrap();
}

fn exec_without_the_kept_program_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    sandbox.start_sleeper();
    let kept = sandbox.root().join(&sandbox.token).join("seccomp");
    let program = fs::read(&kept).unwrap();
    for bad in [Some(Vec::new()), Some(program[..20].to_vec()), None] {
        match bad {
            Some(bytes) => fs::write(&kept, bytes).unwrap(),
            None => fs::remove_file(&kept).unwrap(),
        }
        let output = sandbox.onggi(&["exec", &sandbox.token, "/bin/true"]).finish();
        assert!(!output.status.success(), "{}", output.describe());
        assert!(output.stderr.contains("linux.seccomp"), "{}", output.describe());
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

/// Whoever holds CAP_SYS_PTRACE in the container could trace a process that holds CAP_SYS_ADMIN to load its filter.
fn exec_loads_the_filter_unseen_where_it_could_be_traced(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false)).set("/linux/seccomp", docker());
    for (capability, first) in [("CAP_SYS_PTRACE", "seccomp("), ("CAP_KILL", "clone3(")] {
        sandbox.capabilities(&[capability]);
        sandbox.start_sleeper();
        let trace = sandbox.path("trace");
        let words = ["strace", "-f", "-o", &trace, "-e", "trace=seccomp,clone,clone3,setns"];
        let script = "grep -E '^(CapEff|Seccomp:)' /proc/self/status";
        let call = sandbox.onggi(&["exec", &sandbox.token, "/bin/sh", "-c", script]);
        let output = call.through(&words).limit(60).finish().ok();
        assert!(output.stdout.contains("Seccomp:\t2"), "{}", output.describe());
        assert!(!output.stdout.contains("CapEff:\t0000000000200000"), "{}", output.describe());
        let text = fs::read_to_string(&trace).unwrap();
        let (_, inside) = text.split_once("setns(").unwrap();
        let next =
            ["seccomp(", "clone3("].into_iter().min_by_key(|call| inside.find(call).unwrap_or(usize::MAX));
        assert_eq!(next, Some(first), "{text}");
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}
