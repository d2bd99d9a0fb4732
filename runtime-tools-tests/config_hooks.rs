//! config.md, POSIX-platform Hooks: where each kind runs, when, and with what.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Sandbox, limit};

clauses! {
    555 MUST "POSIX-platform Hooks", "refuse a path that is not absolute" => paths_are_absolute;
    556 MUST "POSIX-platform Hooks", "run the hook with its args" => args_are_those_of_execv;
    557 MUST "POSIX-platform Hooks", "run the hook with its env" => env_is_the_environment;
    558 MUST "POSIX-platform Hooks", "refuse a timeout that is not greater than zero" => timeouts_are_greater_than_zero;
    559 MUST "POSIX-platform Hooks", "abort a hook after timeout seconds" => a_hook_that_takes_too_long_fails;
    560 MUST "POSIX-platform Hooks", "call hooks in the listed order" => are_called_in_the_listed_order;
    561 MUST "POSIX-platform Hooks", "pass the state to prestart hooks over stdin"
        => state_for_prestart = |it| state(it, "prestart");
    562 MUST "POSIX-platform Hooks", "pass the state to createRuntime hooks over stdin"
        => state_for_create_runtime = |it| state(it, "createRuntime");
    563 MUST "POSIX-platform Hooks", "pass the state to createContainer hooks over stdin"
        => state_for_create_container = |it| state(it, "createContainer");
    564 MUST "POSIX-platform Hooks", "pass the state to startContainer hooks over stdin"
        => state_for_start_container = |it| state(it, "startContainer");
    565 MUST "POSIX-platform Hooks", "pass the state to poststart hooks over stdin"
        => state_for_poststart = |it| state(it, "poststart");
    566 MUST "POSIX-platform Hooks", "pass the state to poststop hooks over stdin"
        => state_for_poststop = |it| state(it, "poststop");
    567 MUST "Prestart", "resolve the path in the runtime namespace"
        => path_of_prestart = |it| resolves_outside(it, "prestart");
    568 MUST "Prestart", "execute the hook in the runtime namespace"
        => namespace_of_prestart = |it| runs_outside(it, "prestart");
    569 MUST "Prestart", "call the hook as part of create" => prestart_in_create = |it| in_create(it, "prestart");
    570 MUST "Prestart", "call the hook after the environment is there, before pivot_root"
        => prestart_before_pivot_root = |it| before_pivot_root(it, "prestart");
    571 MUST "Prestart", "call the hook before createRuntime hooks" => prestart_before_create_runtime;
    572 MUST "CreateRuntime Hooks", "resolve the path in the runtime namespace"
        => path_of_create_runtime = |it| resolves_outside(it, "createRuntime");
    573 MUST "CreateRuntime Hooks", "execute the hook in the runtime namespace"
        => namespace_of_create_runtime = |it| runs_outside(it, "createRuntime");
    574 MUST "CreateRuntime Hooks", "call the hook as part of create"
        => create_runtime_in_create = |it| in_create(it, "createRuntime");
    575 MUST "CreateRuntime Hooks", "call the hook after the environment is there, before pivot_root"
        => create_runtime_before_pivot_root = |it| before_pivot_root(it, "createRuntime");
    576 MUST "CreateContainer Hooks", "resolve the path in the runtime namespace"
        => path_of_create_container = |it| resolves_outside(it, "createContainer");
    577 MUST "CreateContainer Hooks", "execute the hook in the container namespace" => namespace_of_create_container;
    578 MUST "CreateContainer Hooks", "call the hook as part of create"
        => create_container_in_create = |it| in_create(it, "createContainer");
    579 MUST "CreateContainer Hooks", "call the hook after the environment is there, before pivot_root"
        => create_container_before_pivot_root;
    580 MUST "CreateContainer Hooks", "call the hook after createRuntime hooks" => create_container_after_create_runtime;
    581 MUST "StartContainer Hooks", "resolve the path in the container namespace" => path_of_start_container;
    582 MUST "StartContainer Hooks", "execute the hook in the container namespace" => namespace_of_start_container;
    583 MUST "StartContainer Hooks", "call the hook as part of start, before the program"
        => start_container_runs_before_the_program;
    584 MUST "Poststart", "resolve the path in the runtime namespace"
        => path_of_poststart = |it| resolves_outside(it, "poststart");
    585 MUST "Poststart", "execute the hook in the runtime namespace"
        => namespace_of_poststart = |it| runs_outside(it, "poststart");
    586 MUST "Poststart", "call the hook after the program is executed, before start returns"
        => poststart_runs_after_the_program_is_executed;
    587 MUST "Poststop", "resolve the path in the runtime namespace"
        => path_of_poststop = |it| resolves_outside(it, "poststop");
    588 MUST "Poststop", "execute the hook in the runtime namespace"
        => namespace_of_poststop = |it| runs_outside(it, "poststop");
    589 MUST "Poststop", "call the hook after the container is deleted, before delete returns"
        => poststop_runs_after_the_container_is_deleted;
}

/// A hook that runs this script with the machine's (or the container's) shell.
fn shell(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] })
}

/// The state's pid, in a script that reads the state from its standard input.
const PID: &str = "pid=$(tr -d '\\n' | sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')";

/// A whole life with these hooks.
///
/// # Returns
/// The process's namespaces while it ran.
fn life(it: &mut Sandbox, hooks: Value) -> Vec<String> {
    it.set("/hooks", hooks);
    let pid = it.alive();
    let namespaces = namespaces_of(&pid.to_string());
    it.stop();
    it.delete();
    namespaces
}

fn paths_are_absolute(it: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        it.set("/hooks", json!({ kind: [{ "path": "bin/true" }] }));
        it.refuses(&[&format!("hooks.{kind}[0]")]);
    }
}

fn args_are_those_of_execv(it: &mut Sandbox) {
    let out = it.path("out");
    let script = format!("echo \"$0,$1,$#\" > {out}");
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one two"] });
    life(it, json!({ "createRuntime": [hook] }));
    assert_eq!(fs::read_to_string(&out).unwrap(), "zero,one two,1\n");
}

fn env_is_the_environment(it: &mut Sandbox) {
    let out = it.path("out");
    let script = format!("/usr/bin/env -u PWD -u SHLVL -u _ > {out}");
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["ONLY=this one", "EMPTY="] });
    life(it, json!({ "createRuntime": [hook] }));
    let mut seen = lines(&out);
    seen.sort();
    assert_eq!(seen, ["EMPTY=", "ONLY=this one"]);
}

fn timeouts_are_greater_than_zero(it: &mut Sandbox) {
    for timeout in [0, -1] {
        it.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/true", "timeout": timeout }] }));
        it.refuses(&["hooks.createRuntime[0].timeout"]);
    }
}

fn a_hook_that_takes_too_long_fails(it: &mut Sandbox) {
    let mut slow = shell("sleep 15");
    slow["timeout"] = json!(1);
    it.set("/hooks", json!({ "createRuntime": [slow] }));
    let start = Instant::now();
    it.refuses(&["hooks.createRuntime[0]", "1 s"]);
    assert!(start.elapsed() < limit(10), "took {:?}", start.elapsed());
}

/// A hook of the host that adds a word to the file `order`.
fn noting(it: &Sandbox, word: &str) -> Value {
    shell(&format!("echo {word} >> {}", it.path("order")))
}

fn order(it: &Sandbox) -> String {
    let text = fs::read_to_string(it.path("order")).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn are_called_in_the_listed_order(it: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let _ = fs::remove_file(it.path("order"));
        let hooks = ["1", "2", "3"].map(|word| noting(it, word));
        life(it, json!({ kind: hooks }));
        assert_eq!(order(it), "1 2 3", "{kind}");
    }
}

/// Where a hook of this kind writes, as it and as the test names it.
fn report(it: &Sandbox, kind: &str) -> (String, PathBuf) {
    match kind {
        "startContainer" => ("/report".into(), it.rootfs("/report")),
        _ => (it.path("report"), it.dir.join("report")),
    }
}

fn state(it: &mut Sandbox, kind: &str) {
    let (name, file) = report(it, kind);
    life(it, json!({ kind: [shell(&format!("cat > {name}"))] }));
    let state: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!((&state["id"], &state["bundle"]), (&json!(it.token), &json!(it.path("bundle"))), "{state}");
    assert!(state["ociVersion"].is_string() && state["status"].is_string(), "{state}");
}

/// The host's tool is not in the container.
fn resolves_outside(it: &mut Sandbox, kind: &str) {
    let out = it.path("ran");
    let tool = it.tool("tool", &format!("echo ran > {out}"));
    life(it, json!({ kind: [{ "path": tool }] }));
    assert!(Path::new(&out).exists(), "the {kind} hook did not run");
}

/// The container's program is not on the host.
fn path_of_start_container(it: &mut Sandbox) {
    let inside = it.rootfs("/only-inside");
    fs::write(&inside, "#!/bin/sh\ntouch /inside-ran\n").unwrap();
    fs::set_permissions(&inside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    life(it, json!({ "startContainer": [{ "path": "/only-inside" }] }));
    assert!(it.rootfs("/inside-ran").exists());
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

fn runs_outside(it: &mut Sandbox, kind: &str) {
    let (name, file) = report(it, kind);
    life(it, json!({ kind: [namespaces_to(&name)] }));
    assert_eq!(lines(file), namespaces_of("self"));
}

fn namespace_of_create_container(it: &mut Sandbox) {
    let (name, file) = report(it, "createContainer");
    let container = life(it, json!({ "createContainer": [namespaces_to(&name)] }));
    assert_eq!(lines(file), container);
}

fn namespace_of_start_container(it: &mut Sandbox) {
    let (name, file) = report(it, "startContainer");
    let container = life(it, json!({ "startContainer": [namespaces_to(&name)] }));
    assert_eq!(lines(file), container);
}

fn in_create(it: &mut Sandbox, kind: &str) {
    it.set("/hooks", json!({ kind: [noting(it, kind)] }));
    it.create();
    assert_eq!(order(it), kind);
    it.start();
    it.wait_status("stopped");
    it.delete();
    assert_eq!(order(it), kind);
}

/// The mounts stand, below the root file system's own path.
fn before_pivot_root(it: &mut Sandbox, kind: &str) {
    let out = it.path("table");
    it.set("/hooks", json!({ kind: [shell(&format!("{PID}; cat /proc/$pid/mountinfo > {out}"))] }));
    it.create();
    mounted_below_the_root(it, &out);
}

fn create_container_before_pivot_root(it: &mut Sandbox) {
    let out = it.path("table");
    it.set("/hooks", json!({ "createContainer": [shell(&format!("cat /proc/self/mountinfo > {out}"))] }));
    it.create();
    mounted_below_the_root(it, &out);
}

fn mounted_below_the_root(it: &Sandbox, file: &str) {
    let proc = it.rootfs("/proc").display().to_string();
    let table = lines(file);
    assert!(table.iter().any(|line| line.split(' ').nth(4) == Some(&proc)), "{table:#?}");
}

fn prestart_before_create_runtime(it: &mut Sandbox) {
    let hooks =
        json!({ "createRuntime": [noting(it, "createRuntime")], "prestart": [noting(it, "prestart")] });
    life(it, hooks);
    assert_eq!(order(it), "prestart createRuntime");
}

fn create_container_after_create_runtime(it: &mut Sandbox) {
    let hooks = json!({ "createContainer": [noting(it, "createContainer")], "createRuntime": [noting(it, "createRuntime")] });
    life(it, hooks);
    assert_eq!(order(it), "createRuntime createContainer");
}

fn start_container_runs_before_the_program(it: &mut Sandbox) {
    it.set("/hooks", json!({ "startContainer": [shell("sleep 0.2; echo hook >> /order")] }));
    it.script("echo program >> /order");
    it.create();
    assert!(!it.rootfs("/order").exists(), "a startContainer hook ran in create");
    it.start();
    it.wait_file(it.rootfs("/order"), "hook\nprogram\n");
}

fn poststart_runs_after_the_program_is_executed(it: &mut Sandbox) {
    let out = it.path("out");
    let script = format!("{PID}; sleep 0.1; tr '\\0' ' ' < /proc/$pid/cmdline > {out}");
    it.set("/hooks", json!({ "poststart": [shell(&script)] }));
    it.args(&["/bin/sleep", "100"]);
    it.create();
    assert!(!Path::new(&out).exists(), "a poststart hook ran in create");
    it.start();
    assert_eq!(fs::read_to_string(&out).unwrap(), "/bin/sleep 100 ");
}

fn poststop_runs_after_the_container_is_deleted(it: &mut Sandbox) {
    let (out, cgroup) = (it.path("out"), it.cgroup("devices"));
    let script = format!("test -e {} && echo cgroup > {out} || echo gone > {out}", cgroup.display());
    it.set("/hooks", json!({ "poststop": [shell(&script)] }));
    it.create();
    assert!(cgroup.exists());
    it.start();
    it.wait_status("stopped");
    assert!(!Path::new(&out).exists(), "a poststop hook ran before delete");
    it.delete();
    assert_eq!(fs::read_to_string(&out).unwrap(), "gone\n");
}
