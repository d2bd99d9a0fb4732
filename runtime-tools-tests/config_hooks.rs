//! config.md, POSIX-platform Hooks: where each kind runs, when, and with what.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Sandbox, limit};

cases! {
    paths_are_absolute;
    timeouts_are_greater_than_zero;
    a_hook_that_takes_too_long_fails;
    args_and_env_are_those_of_execv;
    are_called_in_the_listed_order;
    run_in_the_namespaces_of_their_kind;
    paths_resolve_in_the_namespace_of_their_kind;
    create_hooks_run_before_the_root_is_changed;
    start_container_runs_before_the_program;
    poststart_runs_after_the_program_is_executed_and_before_start_returns;
    poststop_runs_after_the_container_is_deleted;
}

/// A hook that runs this script with the machine's (or the container's) shell.
fn shell(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] })
}

fn paths_are_absolute(sandbox: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        sandbox.set("/hooks", json!({ kind: [{ "path": "bin/true" }] }));
        sandbox.refused(&[&format!("hooks.{kind}[0]")]);
    }
}

fn timeouts_are_greater_than_zero(sandbox: &mut Sandbox) {
    for timeout in [0, -1] {
        sandbox.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/true", "timeout": timeout }] }));
        sandbox.refused(&["hooks.createRuntime[0].timeout"]);
    }
}

fn a_hook_that_takes_too_long_fails(sandbox: &mut Sandbox) {
    let mut slow = shell("sleep 30");
    slow["timeout"] = json!(1);
    sandbox.set("/hooks", json!({ "createRuntime": [slow] }));
    let start = Instant::now();
    sandbox.refused(&["hooks.createRuntime[0]", "1 s"]);
    assert!(start.elapsed() < limit(10), "took {:?}", start.elapsed());
}

fn args_and_env_are_those_of_execv(sandbox: &mut Sandbox) {
    let out = sandbox.path("out");
    let script = format!("echo \"$0,$1,$#\" > {out}; /usr/bin/env -u PWD -u SHLVL -u _ >> {out}");
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one two"], "env": ["ONLY=this one"] });
    sandbox.set("/hooks", json!({ "createRuntime": [hook] }));
    sandbox.create();
    assert_eq!(fs::read_to_string(&out).unwrap(), "zero,one two,1\nONLY=this one\n");
    let bare =
        sandbox.tool("bare", &format!("echo \"$0,$#\" > {out}; /usr/bin/env -u PWD -u SHLVL -u _ >> {out}"));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.set("/hooks", json!({ "createRuntime": [{ "path": bare }] }));
    sandbox.create();
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("{bare},0\n"));
}

fn are_called_in_the_listed_order(sandbox: &mut Sandbox) {
    let out = sandbox.path("out");
    let hook = |word: &str| shell(&format!("echo {word} >> {out}"));
    let hooks = json!({
        "createContainer": [hook("5"), hook("6")], "createRuntime": [hook("3"), hook("4")], "prestart": [hook("1"), hook("2")]
    });
    sandbox.set("/hooks", hooks);
    sandbox.create();
    assert_eq!(fs::read_to_string(&out).unwrap(), "1\n2\n3\n4\n5\n6\n");
}

/// A script that writes its namespaces to `file`.
fn namespaces_to(file: &str) -> Value {
    shell(&format!("for kind in pid mnt net uts ipc; do readlink /proc/self/ns/$kind; done > {file}"))
}

fn namespaces_of(pid: &str) -> Vec<String> {
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    ["pid", "mnt", "net", "uts", "ipc"].map(link).to_vec()
}

fn lines(path: impl AsRef<Path>) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn run_in_the_namespaces_of_their_kind(sandbox: &mut Sandbox) {
    let mut hooks = json!({ "startContainer": [namespaces_to("/start")] });
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        hooks[kind] = json!([namespaces_to(&sandbox.path(kind))]);
    }
    sandbox.set("/hooks", hooks);
    let pid = sandbox.start_sleeper();
    let (host, container) = (namespaces_of("self"), namespaces_of(&pid.to_string()));
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        assert_eq!(lines(sandbox.path(kind)), host, "{kind}");
    }
    assert_eq!(lines(sandbox.path("createContainer")), container, "createContainer");
    assert_eq!(lines(sandbox.rootfs("/start")), container, "startContainer");
}

fn paths_resolve_in_the_namespace_of_their_kind(sandbox: &mut Sandbox) {
    // The host's tool is not in the container, and the container's is not on the host.
    let host = sandbox.tool("tool", "true");
    let inside = sandbox.rootfs("/only-inside");
    fs::write(&inside, "#!/bin/sh\ntouch /inside-ran\n").unwrap();
    fs::set_permissions(&inside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut hooks = json!({ "startContainer": [{ "path": "/only-inside" }] });
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        hooks[kind] = json!([{ "path": host }]);
    }
    sandbox.set("/hooks", hooks);
    sandbox.run().ok();
    assert!(sandbox.rootfs("/inside-ran").exists());
}

fn create_hooks_run_before_the_root_is_changed(sandbox: &mut Sandbox) {
    let (runtime, container) = (sandbox.path("runtime"), sandbox.path("container"));
    // The runtime namespace's view of init: the mounts stand, below the root file system's own path.
    let script = format!(
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | tr -d '\\n'); cat /proc/$pid/mountinfo > {runtime}"
    );
    let inside = format!("cat /proc/self/mountinfo > {container}");
    sandbox.set("/hooks", json!({ "createRuntime": [shell(&script)], "createContainer": [shell(&inside)] }));
    sandbox.create();
    let proc = sandbox.rootfs("/proc").display().to_string();
    for file in [runtime, container] {
        let table = lines(&file);
        assert!(table.iter().any(|line| line.split(' ').nth(4) == Some(&proc)), "{file}: {table:#?}");
    }
}

fn start_container_runs_before_the_program(sandbox: &mut Sandbox) {
    sandbox.set("/hooks", json!({ "startContainer": [shell("sleep 0.2; echo hook >> /order")] }));
    sandbox.script("echo program >> /order");
    sandbox.create();
    assert!(!sandbox.rootfs("/order").exists(), "a startContainer hook ran in create");
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("/order"), "hook\nprogram\n");
}

fn poststart_runs_after_the_program_is_executed_and_before_start_returns(sandbox: &mut Sandbox) {
    let out = sandbox.path("out");
    let script = format!(
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | tr -d '\\n'); sleep 0.1; tr '\\0' ' ' < /proc/$pid/cmdline > {out}"
    );
    sandbox.set("/hooks", json!({ "poststart": [shell(&script)] }));
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    assert!(!Path::new(&out).exists(), "a poststart hook ran in create");
    sandbox.start();
    assert_eq!(fs::read_to_string(&out).unwrap(), "/bin/sleep 100 ");
}

fn poststop_runs_after_the_container_is_deleted(sandbox: &mut Sandbox) {
    let (out, cgroup) = (sandbox.path("out"), sandbox.cgroup("devices"));
    let script = format!("test -e {} && echo cgroup > {out} || echo gone > {out}", cgroup.display());
    sandbox.set("/hooks", json!({ "poststop": [shell(&script)] }));
    sandbox.create();
    assert!(cgroup.exists());
    sandbox.start();
    sandbox.wait_status("stopped");
    assert!(!Path::new(&out).exists(), "a poststop hook ran before delete");
    sandbox.delete();
    assert_eq!(fs::read_to_string(&out).unwrap(), "gone\n");
}
