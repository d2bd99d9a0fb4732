//! runtime.md, Lifecycle, Errors and Warnings: the thirteen steps in their order, and what a failure does to them.

use std::fs;

use serde_json::json;

use crate::harness::Sandbox;

cases! {
    creates_the_environment_but_does_not_run_the_program;
    ignores_changes_of_the_config_after_create;
    calls_the_hooks_in_the_order_of_the_steps;
    ends_when_a_prestart_hook_fails;
    ends_when_a_create_runtime_hook_fails;
    ends_when_a_create_container_hook_fails;
    ends_when_a_start_container_hook_fails;
    ends_when_a_poststart_hook_fails;
    goes_on_when_a_poststop_hook_fails;
    leaves_nothing_after_an_error;
    goes_on_after_a_warning;
}

fn creates_the_environment_but_does_not_run_the_program(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "tmpfs", "tmpfs", &["size=64k"]);
    sandbox.script("touch /ran");
    sandbox.create();
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", sandbox.pid())).unwrap();
    assert!(mounts.lines().any(|line| line.split(' ').nth(4) == Some("/mnt")), "{mounts}");
    assert!(!sandbox.rootfs("/ran").exists());
    sandbox.start();
    sandbox.wait_status("stopped");
    assert!(sandbox.rootfs("/ran").exists());
}

fn ignores_changes_of_the_config_after_create(sandbox: &mut Sandbox) {
    sandbox.script("touch /first");
    sandbox.create();
    sandbox.script("touch /second");
    sandbox.write_config();
    sandbox.start();
    sandbox.wait_status("stopped");
    assert!(sandbox.rootfs("/first").exists());
    assert!(!sandbox.rootfs("/second").exists());
}

/// A hook of the host that adds `word` to the file `order`, then runs `more`.
fn noting(sandbox: &Sandbox, word: &str, more: &str) -> serde_json::Value {
    let script = format!("echo {word} >> {}; {more}", sandbox.path("order"));
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

fn order(sandbox: &Sandbox) -> String {
    let text = fs::read_to_string(sandbox.path("order")).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes the test's folder visible inside, so that the container can add to `order` too.
fn share_order(sandbox: &mut Sandbox) {
    let order = sandbox.file("order", "");
    sandbox.mount("/order", "none", &order, &["bind"]);
}

fn calls_the_hooks_in_the_order_of_the_steps(sandbox: &mut Sandbox) {
    share_order(sandbox);
    let hook = |word: &str| json!([noting(sandbox, word, "")]);
    let inside = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >> /order"] }]);
    let hooks = json!({
        "poststop": hook("poststop"), "poststart": hook("poststart"), "startContainer": inside,
        "createContainer": hook("createContainer"), "createRuntime": hook("createRuntime"), "prestart": hook("prestart")
    });
    sandbox.set("/hooks", hooks);
    sandbox.script("echo program >> /order");
    sandbox.create();
    assert_eq!(order(sandbox), "prestart createRuntime createContainer");
    sandbox.start();
    sandbox.wait_status("stopped");
    sandbox.wait_file(sandbox.path("order"), "program");
    let words = order(sandbox);
    assert!(words.starts_with("prestart createRuntime createContainer startContainer "), "{words}");
    assert!(words.contains("poststart") && !words.contains("poststop"), "{words}");
    sandbox.delete();
    assert!(order(sandbox).ends_with(" poststop"), "{}", order(sandbox));
}

/// Steps 3 to 5: an error, the container is destroyed (step 12), poststop hooks are called (step 13).
fn ends_create(sandbox: &mut Sandbox, kind: &str) {
    let hooks = json!({
        kind: [noting(sandbox, "bad", "exit 3"), noting(sandbox, "next", "")],
        "poststop": [noting(sandbox, "poststop", "")]
    });
    sandbox.set("/hooks", hooks);
    sandbox.refused(&[&format!("hooks.{kind}[0]")]);
    assert_eq!(order(sandbox), "bad poststop");
}

fn ends_when_a_prestart_hook_fails(sandbox: &mut Sandbox) {
    ends_create(sandbox, "prestart");
}

fn ends_when_a_create_runtime_hook_fails(sandbox: &mut Sandbox) {
    ends_create(sandbox, "createRuntime");
}

fn ends_when_a_create_container_hook_fails(sandbox: &mut Sandbox) {
    ends_create(sandbox, "createContainer");
}

/// Steps 7 and 9: `start` is an error and nothing runs any more.
fn ends_start(sandbox: &mut Sandbox, kind: &str) {
    sandbox.create();
    let pid = sandbox.pid();
    let token = sandbox.token.clone();
    sandbox.onggi(&["start", &token]).finish().error(&[&format!("hooks.{kind}[0]")]);
    assert!(crate::harness::until(5, || !crate::harness::is_alive(pid)), "the container process lives on");
    let state = sandbox.onggi(&["state", &token]).finish();
    assert!(!state.status.success() || state.stdout.contains("\"stopped\""), "{}", state.describe());
}

fn ends_when_a_start_container_hook_fails(sandbox: &mut Sandbox) {
    let bad = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "exit 3"] }]);
    sandbox.set("/hooks", json!({ "startContainer": bad }));
    sandbox.script("touch /ran; sleep 100");
    ends_start(sandbox, "startContainer");
    assert!(!sandbox.rootfs("/ran").exists(), "the program was run");
}

fn ends_when_a_poststart_hook_fails(sandbox: &mut Sandbox) {
    sandbox.set("/hooks", json!({ "poststart": [noting(sandbox, "bad", "exit 3")] }));
    sandbox.args(&["/bin/sleep", "100"]);
    ends_start(sandbox, "poststart");
    assert_eq!(order(sandbox), "bad");
}

fn goes_on_when_a_poststop_hook_fails(sandbox: &mut Sandbox) {
    sandbox.set(
        "/hooks",
        json!({ "poststop": [noting(sandbox, "bad", "exit 3"), noting(sandbox, "next", "")] }),
    );
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let token = sandbox.token.clone();
    let output = sandbox.onggi(&["delete", &token]).finish().ok();
    assert_eq!(order(sandbox), "bad next");
    assert!(output.stderr.contains("hooks.poststop[0]"), "no warning: {}", output.describe());
    sandbox.onggi(&["state", &token]).finish().error(&["does not exist"]);
}

fn leaves_nothing_after_an_error(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "none", "/nonexistent-source", &["bind"]);
    sandbox.refused(&["mounts[", "/nonexistent-source"]);
}

fn goes_on_after_a_warning(sandbox: &mut Sandbox) {
    sandbox.mount("relative", "tmpfs", "tmpfs", &[]);
    sandbox.script("echo runs");
    let output = sandbox.run().ok();
    assert_eq!(output.text(), "runs");
    assert!(output.stderr.contains("relative"), "no warning: {}", output.describe());
}
