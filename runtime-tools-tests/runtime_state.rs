//! runtime.md, State: what the state of a container says, and when.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Sandbox, is_alive};

cases! {
    has_the_required_properties;
    is_created_until_start;
    is_running_while_the_program_runs;
    is_stopped_after_exit;
    names_the_container_process;
    names_an_absolute_bundle;
    lists_annotations;
    is_creating_created_running_stopped_in_hooks;
    has_the_pid_of_the_hooks_namespace;
}

fn has_the_required_properties(sandbox: &mut Sandbox) {
    sandbox.create();
    let state = sandbox.state();
    let version = state["ociVersion"].as_str().unwrap();
    assert!(version.split('.').count() == 3 && version.starts_with("1."), "ociVersion {version:?}");
    assert_eq!(state["id"], json!(sandbox.token));
    assert!(state["pid"].as_i64().unwrap() > 1, "{state}");
    assert_eq!(state["bundle"], json!(sandbox.path("bundle")));
    for (name, value) in state["annotations"].as_object().into_iter().flatten() {
        assert!(value.is_string(), "annotation {name} is {value}");
    }
}

fn is_created_until_start(sandbox: &mut Sandbox) {
    sandbox.script("touch /ran");
    sandbox.create();
    assert_eq!(sandbox.status(), "created");
    assert!(!sandbox.rootfs("/ran").exists());
}

fn is_running_while_the_program_runs(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    assert_eq!(sandbox.status(), "running");
}

fn is_stopped_after_exit(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/true"]);
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
}

fn names_the_container_process(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    assert!(is_alive(pid));
    let program = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(program(), "/bin/sleep\x00100\x00");
}

fn names_an_absolute_bundle(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let token = sandbox.token.clone();
    let call = sandbox.onggi(&["create", "--bundle", "bundle", &token]);
    call.directory(&sandbox.dir).finish().ok();
    assert_eq!(sandbox.state()["bundle"], json!(sandbox.path("bundle")));
}

fn lists_annotations(sandbox: &mut Sandbox) {
    sandbox.set("/annotations", json!({ "com.example.key": "value", "com.example.empty": "" }));
    sandbox.create();
    assert_eq!(sandbox.state()["annotations"]["com.example.key"], "value");
    assert_eq!(sandbox.state()["annotations"]["com.example.empty"], "");
}

/// The state that the hook of this kind read.
fn seen_by(sandbox: &Sandbox, kind: &str) -> Value {
    let file = if kind == "startContainer" { sandbox.rootfs("/seen") } else { sandbox.dir.join(kind) };
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{kind}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text}"))
}

/// Lets a hook of every kind keep the state that it reads, and lives a whole life.
fn live_with_all_hooks(sandbox: &mut Sandbox) -> i32 {
    let mut hooks = json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /seen"] }] });
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let script = format!("cat > {}", sandbox.path(kind));
        hooks[kind] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }]);
    }
    sandbox.set("/hooks", hooks);
    let pid = sandbox.start_sleeper();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    pid
}

fn is_creating_created_running_stopped_in_hooks(sandbox: &mut Sandbox) {
    live_with_all_hooks(sandbox);
    let expected = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    for (kind, status) in expected {
        let seen = seen_by(sandbox, kind);
        assert_eq!(seen["status"], status, "{kind}: {seen}");
        assert_eq!(seen["id"], json!(sandbox.token), "{kind}: {seen}");
        assert_eq!(seen["bundle"], json!(sandbox.path("bundle")), "{kind}: {seen}");
    }
}

fn has_the_pid_of_the_hooks_namespace(sandbox: &mut Sandbox) {
    let pid = live_with_all_hooks(sandbox);
    for kind in ["prestart", "createRuntime", "poststart"] {
        assert_eq!(seen_by(sandbox, kind)["pid"], json!(pid), "{kind}, in the runtime namespace");
    }
    for kind in ["createContainer", "startContainer"] {
        assert_eq!(seen_by(sandbox, kind)["pid"], json!(1), "{kind}, in the container namespace");
    }
}
