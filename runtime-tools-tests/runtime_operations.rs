//! runtime.md, Operations: state, create, start, kill and delete, what each must do and must refuse.

use std::fs;

use serde_json::json;

use crate::harness::{Sandbox, is_alive};

cases! {
    state_wants_an_id;
    state_of_an_unknown_container_is_an_error;
    create_wants_an_id_and_a_bundle;
    create_refuses_a_used_id;
    create_refuses_invalid_ids;
    create_applies_all_but_the_process;
    create_refuses_what_cannot_be_applied;
    start_wants_an_id;
    start_of_an_unknown_container_is_an_error;
    start_runs_the_program;
    start_of_a_running_container_is_an_error_without_effect;
    start_of_a_stopped_container_is_an_error;
    start_without_a_process_is_an_error;
    kill_wants_an_id;
    kill_of_an_unknown_container_is_an_error;
    kill_sends_the_signal;
    kill_reaches_a_created_container;
    kill_of_a_stopped_container_is_an_error;
    delete_wants_an_id;
    delete_of_a_container_that_is_not_stopped_is_an_error_without_effect;
    delete_removes_what_create_made;
    delete_keeps_what_create_did_not_make;
    delete_frees_the_id;
}

fn state_wants_an_id(sandbox: &mut Sandbox) {
    sandbox.onggi(&["state"]).finish().code(1);
}

fn state_of_an_unknown_container_is_an_error(sandbox: &mut Sandbox) {
    let token = sandbox.token.clone();
    sandbox.onggi(&["state", &token]).finish().error(&["does not exist", &token]);
}

fn create_wants_an_id_and_a_bundle(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let (bundle, nothing) = (sandbox.path("bundle"), sandbox.path("calls"));
    let output = sandbox.onggi(&["create", "--bundle", &bundle]).finish().code(1);
    sandbox.clean(&output);
    let token = sandbox.token.clone();
    let output = sandbox.onggi(&["create", "--bundle", &nothing, &token]).finish().error(&["config.json"]);
    sandbox.clean(&output);
}

fn create_refuses_a_used_id(sandbox: &mut Sandbox) {
    sandbox.create();
    let pid = sandbox.pid();
    sandbox.begin("create", &[]).finish().error(&["already exists"]);
    assert_eq!((sandbox.pid(), sandbox.status().as_str()), (pid, "created"));
    assert!(is_alive(pid));
}

fn create_refuses_invalid_ids(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let long = "x".repeat(1025);
    for id in ["", ".", "..", "a/b", "../a", "a b", "a\n", "ä", &long] {
        let output = sandbox.onggi(&["create", "--bundle", &bundle, "--", id]).finish().code(1);
        sandbox.clean(&output);
    }
}

fn create_applies_all_but_the_process(sandbox: &mut Sandbox) {
    sandbox.set("/hostname", json!("applied"));
    sandbox.script("touch /ran");
    sandbox.create();
    let pid = sandbox.pid();
    for kind in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
        let link = |who: &str| fs::read_link(format!("/proc/{who}/ns/{kind}")).unwrap();
        assert_ne!(link(&pid.to_string()), link("self"), "{kind} namespace");
    }
    let root = format!("/proc/{pid}/root");
    assert!(
        fs::metadata(format!("{root}/proc/self/stat")).is_ok()
            || fs::metadata(format!("{root}/proc/1")).is_ok()
    );
    assert!(fs::metadata(format!("{root}/dev/null")).is_ok());
    assert!(sandbox.cgroup("devices").join("cgroup.procs").exists());
    assert!(!sandbox.rootfs("/ran").exists());
}

fn create_refuses_what_cannot_be_applied(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "nosuchfs", "nosuchfs", &[]);
    sandbox.refused(&["mounts[", "nosuchfs"]);
}

fn start_wants_an_id(sandbox: &mut Sandbox) {
    sandbox.onggi(&["start"]).finish().code(1);
}

fn start_of_an_unknown_container_is_an_error(sandbox: &mut Sandbox) {
    let token = sandbox.token.clone();
    sandbox.onggi(&["start", &token]).finish().error(&["does not exist", &token]);
}

fn start_runs_the_program(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sh", "-c", "echo \"$0 $1\" > /said", "zero", "one two"]);
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("/said"), "zero one two\n");
}

fn start_of_a_running_container_is_an_error_without_effect(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let token = sandbox.token.clone();
    sandbox.onggi(&["start", &token]).finish().error(&["running"]);
    assert_eq!((sandbox.pid(), sandbox.status().as_str()), (pid, "running"));
}

fn start_of_a_stopped_container_is_an_error(sandbox: &mut Sandbox) {
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let token = sandbox.token.clone();
    sandbox.onggi(&["start", &token]).finish().error(&["stopped"]);
    assert_eq!(sandbox.status(), "stopped");
}

/// `process` is optional until `start`: either `create` refuses, or `start` does.
fn start_without_a_process_is_an_error(sandbox: &mut Sandbox) {
    sandbox.unset("/process");
    let output = sandbox.begin("create", &[]).finish();
    if !output.status.success() {
        sandbox.clean(&output.error(&["process"]));
        return;
    }
    let token = sandbox.token.clone();
    sandbox.onggi(&["start", &token]).finish().error(&["process"]);
}

fn kill_wants_an_id(sandbox: &mut Sandbox) {
    sandbox.onggi(&["kill"]).finish().code(1);
}

fn kill_of_an_unknown_container_is_an_error(sandbox: &mut Sandbox) {
    let token = sandbox.token.clone();
    sandbox.onggi(&["kill", &token, "TERM"]).finish().error(&["does not exist", &token]);
}

fn kill_sends_the_signal(sandbox: &mut Sandbox) {
    sandbox.script(
        "trap 'echo USR1 >> /said' USR1; trap 'echo WINCH >> /said' WINCH; echo up > /said; \
                    while :; do sleep 0.05; done",
    );
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("/said"), "up");
    sandbox.kill("SIGUSR1");
    sandbox.wait_file(sandbox.rootfs("/said"), "up\nUSR1\n");
    sandbox.kill("28");
    sandbox.wait_file(sandbox.rootfs("/said"), "up\nUSR1\nWINCH\n");
    assert_eq!(sandbox.status(), "running");
}

fn kill_reaches_a_created_container(sandbox: &mut Sandbox) {
    sandbox.create();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
}

fn kill_of_a_stopped_container_is_an_error(sandbox: &mut Sandbox) {
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let token = sandbox.token.clone();
    sandbox.onggi(&["kill", &token, "TERM"]).finish().error(&["not running"]);
    assert_eq!(sandbox.status(), "stopped");
}

fn delete_wants_an_id(sandbox: &mut Sandbox) {
    sandbox.onggi(&["delete"]).finish().code(1);
}

fn delete_of_a_container_that_is_not_stopped_is_an_error_without_effect(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    let (pid, token) = (sandbox.pid(), sandbox.token.clone());
    sandbox.onggi(&["delete", &token]).finish().error(&["--force"]);
    assert_eq!((sandbox.pid(), sandbox.status().as_str()), (pid, "created"));
    sandbox.start();
    sandbox.onggi(&["delete", &token]).finish().error(&["--force"]);
    assert_eq!((sandbox.pid(), sandbox.status().as_str()), (pid, "running"));
}

fn delete_removes_what_create_made(sandbox: &mut Sandbox) {
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let token = sandbox.token.clone();
    let output = sandbox.onggi(&["delete", &token]).finish().ok();
    sandbox.clean(&output);
}

fn delete_keeps_what_create_did_not_make(sandbox: &mut Sandbox) {
    let volume = sandbox.file("volume/kept", "kept");
    sandbox.mount("/mnt", "none", &sandbox.path("volume"), &["bind"]);
    let parent = sandbox.cgroup("devices").parent().unwrap().to_owned();
    fs::create_dir_all(&parent).unwrap();
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    sandbox.delete();
    assert_eq!(fs::read_to_string(volume).unwrap(), "kept");
    assert!(sandbox.bundle().join("config.json").exists() && sandbox.rootfs("/bin/busybox").exists());
    assert!(parent.is_dir(), "the parent cgroup was there before");
}

fn delete_frees_the_id(sandbox: &mut Sandbox) {
    for _ in 0..2 {
        sandbox.create();
        sandbox.start();
        sandbox.wait_status("stopped");
        sandbox.delete();
    }
}
