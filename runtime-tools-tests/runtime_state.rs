//! runtime.md, Scope and State: what the state of a container says, and when.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Sandbox, is_alive};

clauses! {
    201 MUST "Scope of a Container", "let who created a container use every operation on it"
        => every_operation_reaches_it;
    202 MUST "State", "say the version of the specification that the state complies with" => has_a_version;
    203 MUST "State", "say the container's id" => has_the_id;
    204 MUST "State", "say the absolute path of the bundle" => names_an_absolute_bundle;
    205 MUST "State", "say the container process's id while the container is created" => has_the_pid_when_created;
    206 MUST "State", "say the container process's id while the container is running" => names_the_container_process;
    207 MUST "State", "say `created` until the program is executed" => is_created_until_start;
    208 MUST "State", "say `running` while the program runs" => is_running_while_the_program_runs;
    209 MUST "State", "say `stopped` when the process has exited" => is_stopped_after_exit;
    210 MUST "State", "say `creating` while the container is being created" => is_creating_in_create_hooks;
    211 MUST "State", "say `created` to a startContainer hook" => is_created_in_start_container_hooks;
    212 MUST "State", "say `running` to a poststart hook" => is_running_in_poststart_hooks;
    213 MUST "State", "say `stopped` to a poststop hook" => is_stopped_in_poststop_hooks;
    214 MUST "State", "list the annotations" => lists_annotations;
    215 MUST "State", "give hooks in the runtime namespace the pid as the runtime sees it"
        => has_the_pid_of_the_runtime_namespace;
    216 MUST "State", "give hooks in the container namespace the pid as the container sees it"
        => has_the_pid_of_the_container_namespace;
    217 MUST "State", "adhere to the JSON schema of the state" => adheres_to_the_schema;
}

fn every_operation_reaches_it(it: &mut Sandbox) {
    it.alive();
    assert_eq!(it.status(), "running");
    it.stop();
    it.delete();
    it.call(&["state", &it.token]).finish().fails();
}

fn has_a_version(it: &mut Sandbox) {
    it.create();
    let state = it.state();
    let version = state["ociVersion"].as_str().unwrap_or_default().to_owned();
    assert!(version.split('.').count() >= 3 && version.starts_with("1."), "ociVersion {version:?}");
}

fn has_the_id(it: &mut Sandbox) {
    it.create();
    assert_eq!(it.state()["id"], json!(it.token));
}

fn names_an_absolute_bundle(it: &mut Sandbox) {
    it.write_config();
    let call = it.call(&["create", "--bundle", "bundle", &it.token]);
    call.directory(&it.dir).finish().ok();
    assert_eq!(it.state()["bundle"], json!(it.path("bundle")));
}

fn has_the_pid_when_created(it: &mut Sandbox) {
    let pid_file = it.path("pid");
    it.create_as(&it.token, &["--pid-file", &pid_file]).finish().ok();
    let pid = it.pid();
    assert!(is_alive(pid), "{pid} is not alive");
    assert_eq!(fs::read_to_string(pid_file).unwrap().trim(), pid.to_string());
}

fn names_the_container_process(it: &mut Sandbox) {
    let pid = it.alive();
    assert!(is_alive(pid));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap(), "/bin/sleep\x00100\x00");
}

fn is_created_until_start(it: &mut Sandbox) {
    it.script("touch /ran");
    it.create();
    assert_eq!(it.status(), "created");
    assert!(!it.rootfs("/ran").exists());
}

fn is_running_while_the_program_runs(it: &mut Sandbox) {
    it.alive();
    assert_eq!(it.status(), "running");
}

fn is_stopped_after_exit(it: &mut Sandbox) {
    it.args(&["/bin/true"]);
    it.create();
    it.start();
    it.wait_status("stopped");
}

/// Lives a whole life with a hook of this kind, and gives the state that the hook read, and the process's pid.
fn seen_by(it: &mut Sandbox, kind: &str) -> (Value, i32) {
    let (file, path): (PathBuf, String) = match kind {
        "startContainer" => (it.rootfs("/seen"), "/seen".into()),
        _ => (it.dir.join("seen"), it.path("seen")),
    };
    let script = format!("cat > {path}");
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }]);
    it.set("/hooks", json!({ kind: hook }));
    let pid = it.alive();
    it.stop();
    it.delete();
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{kind}: {error}"));
    let state = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text}"));
    (state, pid)
}

fn has_status(it: &mut Sandbox, kind: &str, status: &str) {
    let (seen, _) = seen_by(it, kind);
    assert_eq!(seen["status"], status, "{kind}: {seen}");
    assert_eq!(seen["id"], json!(it.token), "{kind}: {seen}");
}

fn is_creating_in_create_hooks(it: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        has_status(it, kind, "creating");
    }
}

fn is_created_in_start_container_hooks(it: &mut Sandbox) {
    has_status(it, "startContainer", "created");
}

fn is_running_in_poststart_hooks(it: &mut Sandbox) {
    has_status(it, "poststart", "running");
}

fn is_stopped_in_poststop_hooks(it: &mut Sandbox) {
    has_status(it, "poststop", "stopped");
}

fn lists_annotations(it: &mut Sandbox) {
    it.set("/annotations", json!({ "com.example.key": "value", "com.example.empty": "" }));
    it.create();
    let annotations = it.state()["annotations"].clone();
    assert_eq!(
        (&annotations["com.example.key"], &annotations["com.example.empty"]),
        (&json!("value"), &json!(""))
    );
}

fn has_the_pid_of_the_runtime_namespace(it: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "poststart"] {
        let (seen, pid) = seen_by(it, kind);
        assert_eq!(seen["pid"], json!(pid), "{kind}");
    }
}

fn has_the_pid_of_the_container_namespace(it: &mut Sandbox) {
    for kind in ["createContainer", "startContainer"] {
        let (seen, _) = seen_by(it, kind);
        assert_eq!(seen["pid"], json!(1), "{kind}");
    }
}

/// schema/state-schema.json, in short.
fn adheres_to_the_schema(it: &mut Sandbox) {
    it.set("/annotations", json!({ "com.example.key": "value" }));
    it.create();
    let state = it.state();
    for name in ["ociVersion", "id", "status", "bundle"] {
        assert!(state[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {state:#}");
    }
    assert!(state["pid"].as_u64().is_some(), "pid: {state:#}");
    let annotations = state["annotations"].as_object().unwrap();
    assert!(annotations.values().all(Value::is_string), "annotations: {state:#}");
}
