//! runtime.md, Operations: state, create, start, kill and delete, what each must do and must refuse.

use std::fs;

use serde_json::json;

use crate::harness::{Sandbox, is_alive, until};
use crate::runtime::is_ours;

clauses! {
    245 MUST "Query State", "generate an error without an id" => state_wants_an_id = |it| wants_an_id(it, "state");
    246 MUST "Query State", "generate an error for a container that does not exist"
        => state_of_an_unknown_container_is_an_error;
    250 MUST "Create", "generate an error without an id or without a bundle" => create_wants_an_id_and_a_bundle;
    251 MUST "Create", "generate an error for an id that is in use, and leave its container alone"
        => create_refuses_a_used_id;
    252 MUST "Create", "generate an error for an id that is not valid, and create nothing"
        => create_refuses_invalid_ids;
    253 MUST "Create", "create a new container" => create_makes_a_container;
    254 MUST "Create", "apply all properties but process" => create_applies_all_but_the_process;
    255 MUST_NOT "Create", "apply process.args" => create_does_not_apply_the_arguments;
    256 MUST "Create", "generate an error for a property that cannot be applied" => create_refuses_what_cannot_be_applied;
    257 MUST_NOT "Create", "create a container then" => create_makes_none_after_an_error;
    260 MUST "Start", "generate an error without an id" => start_wants_an_id = |it| wants_an_id(it, "start");
    261 MUST "Start", "generate an error for a container that does not exist"
        => start_of_an_unknown_container_is_an_error;
    262 MUST "Start", "generate an error for a running container, without effect on it"
        => start_of_a_running_container_is_an_error_without_effect;
    263 MUST "Start", "generate an error for a stopped container, without effect on it"
        => start_of_a_stopped_container_is_an_error;
    264 MUST "Start", "run the program with its arguments" => start_runs_the_program;
    265 MUST "Start", "generate an error if process was not set" => start_without_a_process_is_an_error;
    270 MUST "Kill", "generate an error without an id" => kill_wants_an_id = |it| wants_an_id(it, "kill");
    271 MUST "Kill", "generate an error for a container that does not exist" => kill_of_an_unknown_container_is_an_error;
    272 MUST "Kill", "generate an error for a stopped container, without effect on it"
        => kill_of_a_stopped_container_is_an_error;
    273 MUST "Kill", "send the signal that is named" => kill_sends_the_signal;
    274 MUST "Kill", "send a signal that is given as a number" => kill_takes_numbers;
    275 MUST "Kill", "reach the process of a created container" => kill_reaches_a_created_container;
    280 MUST "Delete", "generate an error without an id" => delete_wants_an_id = |it| wants_an_id(it, "delete");
    281 MUST "Delete", "generate an error for a container that does not exist"
        => delete_of_an_unknown_container_is_an_error;
    282 MUST "Delete", "generate an error for a created container, without effect on it"
        => delete_of_a_created_container_is_an_error;
    283 MUST "Delete", "generate an error for a running container, without effect on it"
        => delete_of_a_running_container_is_an_error;
    284 MUST "Delete", "delete what create made" => delete_removes_what_create_made;
    285 MUST_NOT "Delete", "delete what create did not make" => delete_keeps_what_create_did_not_make;
    286 MUST "Delete", "let the id be used again" => delete_frees_the_id;
}

fn wants_an_id(it: &mut Sandbox, operation: &str) {
    it.call(&[operation]).finish().fails();
}

/// An error for a container that was never created.
fn unknown(it: &mut Sandbox, words: &[&str]) {
    it.call(words).finish().fails_with(&["does not exist", &it.token]);
}

fn state_of_an_unknown_container_is_an_error(it: &mut Sandbox) {
    let token = it.token.clone();
    unknown(it, &["state", &token]);
}

fn create_wants_an_id_and_a_bundle(it: &mut Sandbox) {
    it.write_config();
    let (bundle, nothing) = (it.path("bundle"), it.path("calls"));
    it.call(&["create", "--bundle", &bundle]).finish().fails();
    it.call(&["create", "--bundle", &nothing, &it.token]).finish().fails_with(&["config.json"]);
    let inside = it.call(&["create", &it.token]).directory(&it.dir.join("calls"));
    inside.finish().fails_with(&["config.json"]);
    it.call(&["create"]).finish().fails();
}

fn create_refuses_a_used_id(it: &mut Sandbox) {
    it.create();
    let pid = it.pid();
    it.create_as(&it.token, &[]).finish().fails_with(&["already exists"]);
    assert_eq!((it.pid(), it.status().as_str()), (pid, "created"));
    assert!(is_alive(pid));
}

fn create_refuses_invalid_ids(it: &mut Sandbox) {
    it.write_config();
    let bundle = it.path("bundle");
    for id in ["", "..", "a/b", "../a"] {
        it.call(&["create", "--bundle", &bundle, "--", id]).finish().fails();
        let made = fs::read_dir(it.root()).into_iter().flatten().flatten();
        let made: Vec<_> = made.map(|entry| entry.file_name()).filter(|name| name != ".cache").collect();
        assert!(made.is_empty(), "{id:?} made {made:?}");
    }
    if is_ours() {
        for id in [".", "a b", "a\n", "ä", &"x".repeat(1025)] {
            it.clean(&it.call(&["create", "--bundle", &bundle, "--", id]).finish().fails());
        }
    }
}

fn create_makes_a_container(it: &mut Sandbox) {
    it.call(&["state", &it.token]).finish().fails();
    it.create();
    assert_eq!(it.status(), "created");
}

fn create_applies_all_but_the_process(it: &mut Sandbox) {
    it.set("/hostname", json!("applied"));
    it.create();
    let pid = it.pid();
    for kind in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
        let link = |who: &str| fs::read_link(format!("/proc/{who}/ns/{kind}")).unwrap();
        assert_ne!(link(&pid.to_string()), link("self"), "{kind} namespace");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    for point in ["/proc", "/dev", "/dev/pts", "/dev/shm", "/sys"] {
        assert!(mounts.lines().any(|line| line.split(' ').nth(4) == Some(point)), "{point}: {mounts}");
    }
    assert!(fs::metadata(format!("/proc/{pid}/root/dev/null")).is_ok());
    assert!(it.cgroup("devices").join("cgroup.procs").exists());
    let words = ["nsenter", "-u", "-t", &pid.to_string(), "cat", "/proc/sys/kernel/hostname"];
    let enter = it.tool_call(&words).finish();
    assert_eq!(enter.ok().text(), "applied");
}

fn create_does_not_apply_the_arguments(it: &mut Sandbox) {
    it.args(&["/bin/sleep", "100"]);
    it.create();
    let words = fs::read_to_string(format!("/proc/{}/cmdline", it.pid())).unwrap();
    assert_ne!(words, "/bin/sleep\x00100\x00");
}

fn create_refuses_what_cannot_be_applied(it: &mut Sandbox) {
    let file = it.file("file", "");
    it.set("/root/path", json!(file));
    it.refuses(&["root.path"]);
}

fn create_makes_none_after_an_error(it: &mut Sandbox) {
    it.set("/linux/sysctl", json!({ "net.no.such": "1" }));
    it.create_as(&it.token, &[]).finish().fails_with(&["linux.sysctl"]);
    it.call(&["state", &it.token]).finish().fails();
}

fn start_of_an_unknown_container_is_an_error(it: &mut Sandbox) {
    let token = it.token.clone();
    unknown(it, &["start", &token]);
}

fn start_of_a_running_container_is_an_error_without_effect(it: &mut Sandbox) {
    let pid = it.alive();
    it.call(&["start", &it.token]).finish().fails_with(&["running"]);
    assert_eq!((it.pid(), it.status().as_str()), (pid, "running"));
}

fn start_of_a_stopped_container_is_an_error(it: &mut Sandbox) {
    it.create();
    it.start();
    it.wait_status("stopped");
    it.call(&["start", &it.token]).finish().fails_with(&["stopped"]);
    assert_eq!(it.status(), "stopped");
}

fn start_runs_the_program(it: &mut Sandbox) {
    it.args(&["/bin/sh", "-c", "echo \"$0 $1\" > /said", "zero", "one two"]);
    it.create();
    it.start();
    it.wait_file(it.rootfs("/said"), "zero one two\n");
}

/// `process` is optional until `start`: either `create` refuses, or `start` does.
fn start_without_a_process_is_an_error(it: &mut Sandbox) {
    it.unset("/process");
    let output = it.create_as(&it.token, &[]).finish();
    if output.status.success() {
        it.call(&["start", &it.token]).finish().fails_with(&["process"]);
    } else {
        output.fails_with(&["process"]);
    }
}

fn kill_of_an_unknown_container_is_an_error(it: &mut Sandbox) {
    let token = it.token.clone();
    unknown(it, &["kill", &token, "TERM"]);
}

fn kill_of_a_stopped_container_is_an_error(it: &mut Sandbox) {
    it.create();
    it.start();
    it.wait_status("stopped");
    it.call(&["kill", &it.token, "TERM"]).finish().fails_with(&["not running"]);
    assert_eq!(it.status(), "stopped");
}

/// A container that writes down which signals it gets, ready for them.
fn listener(it: &mut Sandbox) {
    it.script(
        "trap 'echo USR1 >> /said' USR1; trap 'echo WINCH >> /said' WINCH; echo up > /said; \
         while :; do sleep 0.05; done",
    );
    it.create();
    it.start();
    it.wait_file(it.rootfs("/said"), "up");
}

fn kill_sends_the_signal(it: &mut Sandbox) {
    listener(it);
    it.kill("SIGUSR1");
    it.wait_file(it.rootfs("/said"), "up\nUSR1\n");
    assert_eq!(it.status(), "running");
}

fn kill_takes_numbers(it: &mut Sandbox) {
    listener(it);
    it.kill("28");
    it.wait_file(it.rootfs("/said"), "up\nWINCH\n");
    assert_eq!(it.status(), "running");
}

fn kill_reaches_a_created_container(it: &mut Sandbox) {
    it.create();
    it.kill("KILL");
    it.wait_status("stopped");
}

fn delete_of_an_unknown_container_is_an_error(it: &mut Sandbox) {
    let token = it.token.clone();
    unknown(it, &["delete", &token]);
}

fn delete_of_a_created_container_is_an_error(it: &mut Sandbox) {
    it.create();
    let pid = it.pid();
    it.call(&["delete", &it.token]).finish().fails_with(&["--force"]);
    assert_eq!((it.pid(), it.status().as_str()), (pid, "created"));
}

fn delete_of_a_running_container_is_an_error(it: &mut Sandbox) {
    let pid = it.alive();
    it.call(&["delete", &it.token]).finish().fails_with(&["--force"]);
    assert_eq!((it.pid(), it.status().as_str()), (pid, "running"));
}

fn delete_removes_what_create_made(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "tmpfs", &[]);
    it.create();
    it.start();
    it.wait_status("stopped");
    let output = it.call(&["delete", &it.token]).finish().ok();
    assert!(until(3, || !it.cgroup("devices").exists()), "{}", it.cgroup("devices").display());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&it.token), "{table}");
    assert!(!it.root().join(&it.token).exists(), "its state is still there");
    if is_ours() {
        it.clean(&output);
    }
}

fn delete_keeps_what_create_did_not_make(it: &mut Sandbox) {
    let volume = it.file("volume/kept", "kept");
    it.mount("/mnt", "none", &it.path("volume"), &["bind"]);
    let parent = it.cgroup("devices").parent().unwrap().to_owned();
    fs::create_dir_all(&parent).unwrap();
    it.create();
    it.start();
    it.wait_status("stopped");
    it.delete();
    assert_eq!(fs::read_to_string(volume).unwrap(), "kept");
    assert!(it.bundle().join("config.json").exists() && it.rootfs("/bin/busybox").exists());
    assert!(parent.is_dir(), "the parent cgroup was there before");
}

fn delete_frees_the_id(it: &mut Sandbox) {
    for _ in 0..2 {
        it.create();
        it.start();
        it.wait_status("stopped");
        it.delete();
    }
}
