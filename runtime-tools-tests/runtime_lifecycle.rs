//! runtime.md, Lifecycle and Errors: the thirteen steps in their order, and what a failure does to them.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Sandbox, is_alive, until};
use crate::runtime::is_ours;

clauses! {
    220 MUST "Lifecycle", "create the environment that config.json describes (step 2)" => creates_the_environment;
    221 MUST "Lifecycle", "generate an error if that environment cannot be created (step 2)"
        => an_environment_that_cannot_be_created;
    222 MUST_NOT "Lifecycle", "run the program before start (step 2)" => does_not_run_the_program;
    223 MUST_NOT "Lifecycle", "let updates of config.json after create affect the container (step 2)"
        => ignores_changes_of_the_config_after_create;
    224 MUST "Lifecycle", "invoke prestart hooks (step 3)" => invokes_prestart = |it| invokes(it, "prestart");
    225 MUST "Lifecycle", "end the container when a prestart hook fails (step 3)"
        => ends_when_a_prestart_hook_fails = |it| ends_create(it, "prestart");
    226 MUST "Lifecycle", "invoke createRuntime hooks (step 4)"
        => invokes_create_runtime = |it| invokes(it, "createRuntime");
    227 MUST "Lifecycle", "end the container when a createRuntime hook fails (step 4)"
        => ends_when_a_create_runtime_hook_fails = |it| ends_create(it, "createRuntime");
    228 MUST "Lifecycle", "invoke createContainer hooks (step 5)"
        => invokes_create_container = |it| invokes(it, "createContainer");
    229 MUST "Lifecycle", "end the container when a createContainer hook fails (step 5)"
        => ends_when_a_create_container_hook_fails = |it| ends_create(it, "createContainer");
    230 MUST "Lifecycle", "invoke startContainer hooks (step 7)" => invokes_start_container;
    231 MUST "Lifecycle", "end the container when a startContainer hook fails (step 7)"
        => ends_when_a_start_container_hook_fails;
    232 MUST "Lifecycle", "run the program on start (step 8)" => runs_the_program;
    233 MUST "Lifecycle", "invoke poststart hooks (step 9)" => invokes_poststart = |it| invokes(it, "poststart");
    234 MUST "Lifecycle", "end the container when a poststart hook fails (step 9)"
        => ends_when_a_poststart_hook_fails;
    235 MUST "Lifecycle", "undo the steps of create when the container is deleted (step 12)"
        => undoes_the_steps_of_create;
    236 MUST "Lifecycle", "invoke poststop hooks (step 13)" => invokes_poststop = |it| invokes(it, "poststop");
    237 MUST "Lifecycle", "invoke poststop hooks after a failing createRuntime hook too (steps 4, 12, 13)"
        => invokes_poststop_after_a_failing_hook;
    238 MUST "Lifecycle", "go on with the remaining hooks and the lifecycle when a poststop hook fails (step 13)"
        => goes_on_when_a_poststop_hook_fails;
    239 MUST "Lifecycle", "call the hooks of all kinds in the order of the steps"
        => calls_the_hooks_in_the_order_of_the_steps;
    240 MUST "Errors", "leave the environment as if create had never been tried" => leaves_nothing_after_an_error;
    241 MUST "Errors", "leave the environment as it was when a hook of create fails"
        => leaves_nothing_after_a_failing_hook;
    242 MUST "Warnings", "go on after a warning" => goes_on_after_a_warning;
}

fn creates_the_environment(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "tmpfs", &["size=64k"]);
    it.create();
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", it.pid())).unwrap();
    assert!(mounts.lines().any(|line| line.split(' ').nth(4) == Some("/mnt")), "{mounts}");
}

fn an_environment_that_cannot_be_created(it: &mut Sandbox) {
    it.mount("/mnt", "nosuchfs", "nosuchfs", &[]);
    it.refuses(&["mounts[", "nosuchfs"]);
}

fn does_not_run_the_program(it: &mut Sandbox) {
    it.script("touch /ran");
    it.create();
    assert_eq!(it.status(), "created");
    assert!(!it.rootfs("/ran").exists());
    it.start();
    it.wait_status("stopped");
    assert!(it.rootfs("/ran").exists());
}

fn ignores_changes_of_the_config_after_create(it: &mut Sandbox) {
    it.script("touch /first");
    it.create();
    it.script("touch /second");
    it.write_config();
    it.start();
    it.wait_status("stopped");
    assert!(it.rootfs("/first").exists() && !it.rootfs("/second").exists());
}

/// A hook of the host that adds `word` to the file `order`, then runs `more`.
fn noting(it: &Sandbox, word: &str, more: &str) -> Value {
    let script = format!("echo {word} >> {}; {more}", it.path("order"));
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] })
}

fn order(it: &Sandbox) -> String {
    let text = fs::read_to_string(it.path("order")).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn invokes(it: &mut Sandbox, kind: &str) {
    it.set("/hooks", json!({ kind: [noting(it, kind, "")] }));
    it.create();
    it.start();
    it.wait_status("stopped");
    it.delete();
    assert_eq!(order(it), kind);
}

fn invokes_start_container(it: &mut Sandbox) {
    it.set("/hooks", json!({ "startContainer": [{ "path": "/bin/touch", "args": ["touch", "/invoked"] }] }));
    it.live();
    assert!(it.rootfs("/invoked").exists());
}

/// Steps 3 to 5: an error, the container is destroyed (step 12), no further hook of create is called.
fn ends_create(it: &mut Sandbox, kind: &str) {
    it.set("/hooks", json!({ kind: [noting(it, "bad", "exit 3"), noting(it, "next", "")] }));
    it.create_as(&it.token, &[]).finish().fails_with(&[&format!("hooks.{kind}[0]")]);
    assert_eq!(order(it), "bad");
    let state = it.call(&["state", &it.token]).finish();
    assert!(!state.status.success() || state.stdout.contains("\"stopped\""), "{}", state.describe());
}

fn runs_the_program(it: &mut Sandbox) {
    assert_eq!(it.see("echo ran"), "ran");
}

/// Steps 7 and 9: `start` is an error and nothing runs any more.
fn ends_start(it: &mut Sandbox, kind: &str) {
    it.create();
    let pid = it.pid();
    it.call(&["start", &it.token]).finish().fails_with(&[&format!("hooks.{kind}[0]")]);
    assert!(until(5, || !is_alive(pid)), "the container process lives on");
    let state = it.call(&["state", &it.token]).finish();
    assert!(!state.status.success() || state.stdout.contains("\"stopped\""), "{}", state.describe());
}

fn ends_when_a_start_container_hook_fails(it: &mut Sandbox) {
    it.set("/hooks", json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "exit 3"] }] }));
    it.script("touch /ran; sleep 100");
    ends_start(it, "startContainer");
    assert!(!it.rootfs("/ran").exists(), "the program was run");
}

fn ends_when_a_poststart_hook_fails(it: &mut Sandbox) {
    it.set("/hooks", json!({ "poststart": [noting(it, "bad", "exit 3")] }));
    it.args(&["/bin/sleep", "100"]);
    ends_start(it, "poststart");
    assert_eq!(order(it), "bad");
}

fn undoes_the_steps_of_create(it: &mut Sandbox) {
    it.create();
    let cgroup = it.cgroup("devices");
    assert!(cgroup.exists(), "{}", cgroup.display());
    it.stop();
    it.delete();
    assert!(!cgroup.exists(), "{} is still there", cgroup.display());
}

fn invokes_poststop_after_a_failing_hook(it: &mut Sandbox) {
    let hooks =
        json!({ "createRuntime": [noting(it, "bad", "exit 3")], "poststop": [noting(it, "poststop", "")] });
    it.set("/hooks", hooks);
    it.create_as(&it.token, &[]).finish().fails();
    assert_eq!(order(it), "bad poststop");
}

fn goes_on_when_a_poststop_hook_fails(it: &mut Sandbox) {
    it.set("/hooks", json!({ "poststop": [noting(it, "bad", "exit 3"), noting(it, "next", "")] }));
    it.create();
    it.start();
    it.wait_status("stopped");
    let output = it.call(&["delete", &it.token]).finish();
    assert_eq!(order(it), "bad next");
    let warned = !is_ours() || output.stderr.contains("hooks.poststop[0]");
    assert!(warned, "no warning: {}", output.describe());
    it.call(&["state", &it.token]).finish().fails_with(&["does not exist"]);
}

fn calls_the_hooks_in_the_order_of_the_steps(it: &mut Sandbox) {
    let shared = it.file("order", "");
    it.mount("/order", "none", &shared, &["bind"]);
    let hook = |word: &str| json!([noting(it, word, "")]);
    let inside = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >> /order"] }]);
    let hooks = json!({
        "poststop": hook("poststop"), "poststart": hook("poststart"), "startContainer": inside,
        "createContainer": hook("createContainer"), "createRuntime": hook("createRuntime"), "prestart": hook("prestart")
    });
    it.set("/hooks", hooks);
    it.script("echo program >> /order");
    it.create();
    assert_eq!(order(it), "prestart createRuntime createContainer");
    it.start();
    it.wait_status("stopped");
    let words = order(it);
    assert!(words.starts_with("prestart createRuntime createContainer startContainer "), "{words}");
    assert!(words.contains("poststart") && words.contains("program"), "{words}");
    assert!(!words.contains("poststop"), "{words}");
    it.delete();
    assert!(order(it).ends_with(" poststop"), "{}", order(it));
}

/// What of the container there still is.
#[track_caller]
fn nothing_is_left(it: &Sandbox) {
    it.call(&["state", &it.token]).finish().fails();
    let cgroup = it.cgroup("devices");
    let mounts = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.contains(&it.token)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(until(3, || mounts().is_empty()), "mounts: {:#?}", mounts());
    assert!(until(3, || !cgroup.exists()), "cgroup {}", cgroup.display());
    let state = it.root().join(&it.token);
    assert!(!state.exists(), "state {}", state.display());
}

fn leaves_nothing_after_an_error(it: &mut Sandbox) {
    it.mount("/mnt", "none", "/nonexistent-source", &["bind"]);
    it.create_as(&it.token, &[]).finish().fails_with(&["mounts[", "/nonexistent-source"]);
    nothing_is_left(it);
}

fn leaves_nothing_after_a_failing_hook(it: &mut Sandbox) {
    it.set("/hooks", json!({ "createContainer": [noting(it, "bad", "exit 3")] }));
    it.create_as(&it.token, &[]).finish().fails();
    nothing_is_left(it);
}

/// A poststop hook that fails is the one warning that every runtime has to give.
fn goes_on_after_a_warning(it: &mut Sandbox) {
    it.set("/hooks", json!({ "poststop": [noting(it, "bad", "exit 3")] }));
    it.script("echo runs > /runs");
    it.create();
    it.start();
    it.wait_status("stopped");
    it.delete();
    it.create();
    it.start();
    it.wait_file(it.rootfs("/runs"), "runs");
}
