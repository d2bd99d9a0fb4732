//! What CRI-O calls, without CRI-O, which Debian does not have: conmon with its arguments for a container, then the runtime
//! itself. Each test is one conversation.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Call, Layout, Need, Sandbox, binary, until};

const CONMON: Need = Need::Program("conmon");
const LIMITS: Need = Need::Controller("memory");

cases! {
    a_container_from_create_to_delete: CONMON;
    a_container_that_cannot_be_created: CONMON;
    exec_and_probes: CONMON;
    update: CONMON, LIMITS;
    kill_by_name: CONMON;
    what_is_gone: CONMON;
    features: CONMON;
}

/// conmon as CRI-O starts it.
fn conmon(sandbox: &Sandbox) -> Call {
    sandbox.write_config();
    for folder in ["exits", "persist", "sockets"] {
        fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    let option = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let file = |name: &str, path: &str| option(name, &sandbox.path(path));
    let words = [
        option("--bundle", &sandbox.path("bundle")),
        option("--cid", &sandbox.token),
        file("--exit-dir", "exits"),
        file("--log-path", "log"),
        option("--log-level", "info"),
        option("--name", &sandbox.token),
        file("--conmon-pidfile", "conmon.pid"),
        file("--container-pidfile", "pid"),
        file("--persist-dir", "persist"),
        option("--runtime", &binary().display().to_string()),
        option("--runtime-arg", &format!("--root={}", sandbox.path("state"))),
        option("--runtime-arg", "--log-format=json"),
        option("--runtime-arg", &format!("--log={}", sandbox.path("runtime.log"))),
        file("--socket-dir-path", "sockets"),
        option("--cuuid", &sandbox.token),
    ];
    let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
    sandbox.tool_call(&[&["conmon"], &words[..]].concat())
}

/// The usual container with this script, created and started.
fn begin(sandbox: &mut Sandbox, script: &str) {
    sandbox.script(script);
    conmon(sandbox).finish().ok();
    // conmon goes into the background first.
    assert!(until(20, || Path::new(&sandbox.path("pid")).exists()), "no pid file");
    sandbox.wait_status("created");
    sandbox.start();
}

/// Waits for the exit code that conmon leaves for CRI-O, then deletes the container.
#[track_caller]
fn end(sandbox: &Sandbox, code: &str) {
    sandbox.wait_file(Path::new(&sandbox.path("exits")).join(&sandbox.token), code);
    sandbox.wait_status("stopped");
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

/// Sleeps until it is told to end, with status 33.
const SLEEPER: &str = "trap 'exit 33' TERM; echo ready; while :; do sleep 0.1; done";

fn a_container_from_create_to_delete(sandbox: &mut Sandbox) {
    begin(sandbox, "echo out; echo err >&2; exit 42");
    let log = sandbox.wait_file(sandbox.path("log"), " out\n");
    assert!(log.lines().any(|line| line.ends_with(" stdout F out")), "{log}");
    sandbox.wait_file(sandbox.path("log"), " stderr F err\n");
    let pid: i32 = fs::read_to_string(sandbox.path("pid")).unwrap().parse().unwrap();
    assert!(pid > 0);
    end(sandbox, "42");
}

/// The last line of the log, in JSON, has the reason that the pod's events will show.
fn a_container_that_cannot_be_created(sandbox: &mut Sandbox) {
    sandbox.args(&["nope"]);
    let output = conmon(sandbox).finish();
    let text = sandbox.wait_file(sandbox.path("runtime.log"), "error");
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("executable file not found in $PATH"), "{line}");
    sandbox.clean(&output);
}

/// Probes are processes in the foreground, whose exit codes pass.
fn exec_and_probes(sandbox: &mut Sandbox) {
    begin(sandbox, SLEEPER);
    for code in [0, 7] {
        let args = ["sh", "-c", &format!("echo out; echo err >&2; exit {code}")];
        let mut process = sandbox.config["process"].clone();
        process["args"] = json!(args);
        let file = sandbox.file("process.json", &process.to_string());
        let output = sandbox.onggi(&["exec", "--process", &file, &sandbox.token]).finish().code(code);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    }
    sandbox.kill("SIGTERM");
    end(sandbox, "33");
}

fn update(sandbox: &mut Sandbox) {
    begin(sandbox, SLEEPER);
    let resources = json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 50 } });
    let file = sandbox.file("resources.json", &resources.to_string());
    sandbox.onggi(&["update", "--resources", "-", &sandbox.token]).stdin(file.as_ref()).finish().ok();
    let name = if sandbox.layout == Layout::V1 { "memory.limit_in_bytes" } else { "memory.max" };
    let limit = fs::read_to_string(sandbox.cgroup("memory").join(name)).unwrap();
    assert_eq!(limit.trim(), "67108864");
    sandbox.kill("SIGTERM");
    end(sandbox, "33");
}

fn kill_by_name(sandbox: &mut Sandbox) {
    begin(sandbox, "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    sandbox.wait_file(sandbox.path("log"), "ready");
    sandbox.kill("SIGTERM");
    assert_eq!(sandbox.status(), "running");
    sandbox.kill("KILL");
    end(sandbox, "137");
}

/// CRI-O takes these words for an answer.
fn what_is_gone(sandbox: &mut Sandbox) {
    begin(sandbox, "exit 0");
    sandbox.wait_status("stopped");
    let output = sandbox.onggi(&["kill", &sandbox.token, "SIGTERM"]).finish().code(1);
    let said = ["no such process", "container not running"].iter().any(|words| output.stderr.contains(words));
    assert!(said, "{}", output.describe());
    end(sandbox, "0");
    let output = sandbox.onggi(&["state", &sandbox.token]).finish().code(1);
    assert!(output.stderr.contains("does not exist"), "{}", output.describe());
    assert!(until(1, || sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().status.success()));
}

/// CRI-O looks for id-mapped mounts and recursive read-only ones, and for what a seccomp profile may say.
fn features(sandbox: &mut Sandbox) {
    let output = sandbox.bare(&["features"]).finish().ok();
    let features: Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
    assert!(features["linux"]["namespaces"].as_array().unwrap().contains(&json!("user")));
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}
