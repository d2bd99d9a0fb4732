//! config.md, Process: what the container process is born with.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox};

cases! {
    cwd_is_absolute_and_is_where_the_process_starts;
    env_is_exactly_the_environment;
    args_has_at_least_one_entry;
    args_zero_is_looked_up_as_execvp_does;
    console_size_is_ignored_without_a_terminal;
    rlimits_are_those_of_getrlimit;
    unknown_rlimits_are_errors;
    duplicated_rlimits_are_errors;
    capabilities_are_exactly_those_listed;
    names_that_are_no_capability_are_refused;
    no_new_privileges_is_as_configured;
    oom_score_adj_is_set;
    oom_score_adj_is_left_alone_when_unset;
    user_is_uid_gid_groups_and_umask;
    scheduler_and_io_priority_are_applied_or_refused: Need::File("/proc/self/sched");
}

fn cwd_is_absolute_and_is_where_the_process_starts(sandbox: &mut Sandbox) {
    sandbox.set("/process/cwd", json!("/usr/bin"));
    assert_eq!(sandbox.prove("pwd; readlink /proc/self/cwd"), "/usr/bin\n/usr/bin");
    for bad in ["usr/bin", ""] {
        sandbox.set("/process/cwd", json!(bad));
        sandbox.refused(&["process.cwd"]);
    }
}

fn env_is_exactly_the_environment(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["PATH=/bin", "HOME=/tmp", "EMPTY=", "TWO=a=b", "SPACE= x "]));
    sandbox.args(&["/bin/busybox", "env"]);
    assert_eq!(sandbox.run().ok().text(), "PATH=/bin\nHOME=/tmp\nEMPTY=\nTWO=a=b\nSPACE= x ");
}

fn args_has_at_least_one_entry(sandbox: &mut Sandbox) {
    sandbox.args(&[]);
    sandbox.refused(&["process.args"]);
    sandbox.unset("/process/args");
    sandbox.refused(&["process.args"]);
}

fn args_zero_is_looked_up_as_execvp_does(sandbox: &mut Sandbox) {
    sandbox.args(&["echo", "from PATH"]);
    assert_eq!(sandbox.run().ok().text(), "from PATH");
    sandbox.set("/process/cwd", json!("/bin")).args(&["./echo", "from cwd"]);
    assert_eq!(sandbox.run().ok().text(), "from cwd");
    sandbox.args(&["no-such-program"]);
    sandbox.refused(&["process.args[0]", "no-such-program"]);
}

fn console_size_is_ignored_without_a_terminal(sandbox: &mut Sandbox) {
    sandbox.set("/process/consoleSize", json!({ "height": 25, "width": 80 }));
    sandbox.run().ok();
}

fn rlimits_are_those_of_getrlimit(sandbox: &mut Sandbox) {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_FSIZE", "soft": 1_048_576, "hard": 2_097_152 },
        { "type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 4_194_304 }
    ]);
    sandbox.set("/process/rlimits", limits);
    let table = sandbox.prove("cat /proc/self/limits");
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("Max open files"), "100 200");
    assert_eq!(row("Max core file size"), "0 0");
    assert_eq!(row("Max file size"), "1048576 2097152");
    assert_eq!(row("Max stack size"), "4194304 4194304");
}

fn unknown_rlimits_are_errors(sandbox: &mut Sandbox) {
    sandbox.set("/process/rlimits", json!([{ "type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 1 }]));
    sandbox.refused(&["process.rlimits[0]"]);
}

fn duplicated_rlimits_are_errors(sandbox: &mut Sandbox) {
    let one = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
    sandbox.set("/process/rlimits", json!([one, one]));
    sandbox.refused(&["process.rlimits", "RLIMIT_CORE"]);
}

/// The five capability sets of a process inside: inheritable, permitted, effective, bounding, ambient.
fn capability_sets(sandbox: &mut Sandbox) -> Vec<u64> {
    let table = sandbox.prove("grep ^Cap /proc/self/status | cut -f 2");
    table.lines().map(|line| u64::from_str_radix(line, 16).unwrap()).collect()
}

fn capabilities_are_exactly_those_listed(sandbox: &mut Sandbox) {
    let [chown, kill, bind] = [1, 1 << 5, 1 << 10];
    let sets = |all: Value, some: Value| json!({ "bounding": all, "permitted": all, "effective": all, "inheritable": some, "ambient": some });
    let all = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    sandbox.set("/process/capabilities", sets(all, json!(["CAP_KILL"])));
    // execve of a file without capabilities as an ordinary user: what is ambient stays permitted and effective.
    assert_eq!(capability_sets(sandbox), [kill, kill, kill, chown | kill | bind, kill]);
    sandbox.set("/process/user", json!({ "uid": 0, "gid": 0 }));
    sandbox.set("/process/capabilities", sets(json!(["CAP_CHOWN"]), json!([])));
    assert_eq!(capability_sets(sandbox), [0, chown, chown, chown, 0]);
    sandbox.unset("/process/capabilities");
    assert_eq!(capability_sets(sandbox), [0, 0, 0, 0, 0]);
}

/// config.md wants a warning for what the kernel does not know. A name that is no capability at all is a mistake in the
/// config, and refused: see docs/spec-coverage.md.
fn names_that_are_no_capability_are_refused(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_CHOWN", "CAP_MADE_UP"]);
    sandbox.refused(&["process.capabilities.", "CAP_MADE_UP", "unknown capability"]);
}

fn no_new_privileges_is_as_configured(sandbox: &mut Sandbox) {
    for (value, shown) in [(json!(true), "1"), (json!(false), "0")] {
        sandbox.set("/process/noNewPrivileges", value);
        assert_eq!(sandbox.prove("grep NoNewPrivs /proc/self/status | cut -f 2"), shown);
    }
}

fn oom_score_adj_is_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/oomScoreAdj", json!(777));
    assert_eq!(sandbox.prove("cat /proc/self/oom_score_adj"), "777");
}

fn oom_score_adj_is_left_alone_when_unset(sandbox: &mut Sandbox) {
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(sandbox.prove("cat /proc/self/oom_score_adj"), own.trim());
    sandbox.script("cat /proc/self/oom_score_adj");
    let raised = ["/bin/sh", "-c", "echo 500 > /proc/self/oom_score_adj; exec \"$@\"", "sh"];
    assert_eq!(sandbox.begin("run", &[]).through(&raised).finish().ok().text(), "500");
}

fn user_is_uid_gid_groups_and_umask(sandbox: &mut Sandbox) {
    let user = json!({ "uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [5, 6] });
    sandbox.set("/process/user", user);
    let seen = sandbox.prove("grep -E '^(Uid|Gid|Groups|Umask)' /proc/self/status | tr '\\t' ' '");
    let lines: Vec<&str> = seen.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["Umask: 0027", "Uid: 1000 1000 1000 1000", "Gid: 1001 1001 1001 1001", "Groups: 5 6"]);
}

/// What a runtime does not support it must refuse, not ignore.
fn scheduler_and_io_priority_are_applied_or_refused(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }));
    sandbox.script("cut -d ' ' -f 19,41 /proc/self/stat");
    let output = sandbox.run();
    let applied = output.status.success() && output.text() == "5 3";
    assert!(applied || output.stderr.contains("process.scheduler"), "{}", output.describe());
    sandbox.unset("/process/scheduler");
    sandbox.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 7 }));
    sandbox.script("ionice -p $$");
    let output = sandbox.run();
    let applied = output.status.success() && output.text() == "best-effort: prio 7";
    assert!(applied || output.stderr.contains("process.ioPriority"), "{}", output.describe());
}
