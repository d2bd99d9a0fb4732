//! `exec` into containers in every state, in runc's words and with runc's exit status; what is logged.

use std::fs;

use serde_json::{Value, json};

use super::{exec, inside, process_file, processes, refused, script};
use crate::harness::{Sandbox, reap_orphans, until};

cases! {
    into_a_created_container;
    into_a_paused_container;
    ignore_paused_waits_for_resume;
    into_a_stopped_container;
    into_an_unknown_container;
    into_a_container_whose_name_is_none;
    the_error_is_logged_as_json;
    nothing_is_written_on_success;
    the_state_stays_as_it_was;
    killed_with_the_container;
    deleted_with_the_container;
    outliving_the_container_without_a_pid_namespace;
}

/// As in runc: a container that waits for its start may be entered.
fn into_a_created_container(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    assert_eq!(inside(sandbox, &[], "hostname; id -u"), "onggi\n0");
    assert_eq!(sandbox.status(), "created");
    sandbox.start();
    assert_eq!(inside(sandbox, &[], "cat /proc/1/comm"), "sleep");
}

fn into_a_paused_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
    let parts = ["cannot exec in a paused container (use --ignore-paused to override)"];
    refused(sandbox, &[], &["/bin/true"], &parts);
    sandbox.onggi(&["resume", &sandbox.token]).finish().ok();
    assert_eq!(inside(sandbox, &[], "echo alive"), "alive");
}

fn ignore_paused_waits_for_resume(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
    let mut running = exec(sandbox, &["--ignore-paused"], &["/bin/echo", "alive"]).spawn();
    assert!(until(5, || processes(sandbox).len() > 1), "nothing was born into the frozen cgroup");
    assert!(!running.has_ended(), "it ended in a frozen cgroup");
    sandbox.onggi(&["resume", &sandbox.token]).finish().ok();
    assert_eq!(running.finish().ok().text(), "alive");
}

fn into_a_stopped_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    reap_orphans();
    refused(sandbox, &[], &["/bin/true"], &["cannot exec in a stopped container"]);
    refused(
        sandbox,
        &["--ignore-paused", "--detach"],
        &["/bin/true"],
        &["cannot exec in a stopped container"],
    );
}

fn into_an_unknown_container(sandbox: &mut Sandbox) {
    let output = refused(sandbox, &[], &["/bin/true"], &["container does not exist"]);
    sandbox.clean(&output);
    // Not even a folder for the state.
    assert!(!sandbox.root().exists());
}

fn into_a_container_whose_name_is_none(sandbox: &mut Sandbox) {
    for id in ["..", ".", "a/b", "", "x\ny", "../../etc"] {
        let output = sandbox.onggi(&["exec", id, "/bin/true"]).finish().code(255);
        assert!(output.stderr.starts_with("error: exec "), "{}", output.describe());
    }
}

fn the_error_is_logged_as_json(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let log = sandbox.path("log.json");
    let words = ["--log", &log, "--log-format", "json", "exec", &sandbox.token, "nonsense"];
    sandbox.onggi(&words).finish().code(255);
    let words = ["--log", &log, "--log-format", "json", "exec", "nobody", "/bin/true"];
    sandbox.onggi(&words).finish().code(255);
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<&str> = lines
        .iter()
        .filter(|line| line["level"] == "error")
        .map(|line| line["msg"].as_str().unwrap())
        .collect();
    assert_eq!(errors.len(), 2, "{text}");
    assert!(errors[0].contains("exec: \"nonsense\": executable file not found in $PATH"), "{text}");
    assert!(errors[1].contains("container does not exist"), "{text}");
    assert!(lines.iter().all(|line| line["time"].is_string()), "{text}");
}

fn nothing_is_written_on_success(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let log = sandbox.path("log.json");
    let words = ["--log", &log, "--log-format", "json", "exec", &sandbox.token, "/bin/true"];
    let output = sandbox.onggi(&words).finish().ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

fn the_state_stays_as_it_was(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let snapshot = |sandbox: &Sandbox| {
        let mut files: Vec<_> =
            fs::read_dir(sandbox.root().join(&sandbox.token)).unwrap().flatten().collect();
        files.sort_by_key(fs::DirEntry::path);
        let texts = files.iter().map(|file| (file.path(), fs::read(file.path()).unwrap_or_default()));
        (texts.collect::<Vec<_>>(), sandbox.state())
    };
    let before = snapshot(sandbox);
    inside(sandbox, &[], "true");
    exec(sandbox, &["--detach"], &["/bin/sleep", "77"]).finish().ok();
    refused(sandbox, &[], &["nonsense"], &[]);
    assert_eq!(snapshot(sandbox), before);
}

fn killed_with_the_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let running = exec(sandbox, &[], &["/bin/sh", "-c", "echo up > /up; exec sleep 77"]).spawn();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    sandbox.kill("KILL");
    running.finish().code(137);
    sandbox.wait_status("stopped");
}

fn deleted_with_the_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let running = exec(sandbox, &[], &["/bin/sh", "-c", "echo up > /up; exec sleep 77"]).spawn();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let output = running.finish().code(137);
    sandbox.clean(&output);
}

/// The first process may end before others: the container then is stopped, and `delete --force` ends what is left.
fn outliving_the_container_without_a_pid_namespace(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    sandbox.start_sleeper();
    let pid_file = sandbox.path("pid");
    let file = process_file(sandbox, &script("echo up > /up; exec sleep 77"));
    exec(sandbox, &["--process", &file, "--detach", "--pid-file", &pid_file], &[]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    sandbox.onggi(&["kill", &sandbox.token, "TERM"]).finish().ok();
    sandbox.wait_status("stopped");
    refused(sandbox, &[], &["/bin/true"], &["cannot exec in a stopped container"]);
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
    assert_eq!(json!(processes(sandbox).len()), json!(0));
}
