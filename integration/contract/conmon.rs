//! conmon between an engine and the runtime, called as CRI-O and podman call it: a pipe for its answers, one for the word to
//! begin, the runtime's global options through `--runtime-arg`. What it tells the engine is what counts: the pid, the
//! status, the message of a failure.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Call, Layout, Need, Sandbox, binary, is_alive, reap_orphans, until};

cases! {
    crio_creates_starts_and_stops: Need::Program("conmon");
    crio_shows_why_a_container_cannot_be_created: Need::Program("conmon"), Need::Only(Layout::V2);
    crio_runs_a_process_and_reads_its_output: Need::Program("conmon"), Need::Only(Layout::V2);
    crio_learns_that_a_process_cannot_be_run: Need::Program("conmon"), Need::Only(Layout::V2);
    crio_ends_a_process_that_takes_too_long: Need::Program("conmon"), Need::Only(Layout::V2);
    crio_gives_a_terminal: Need::Program("conmon"), Need::Only(Layout::V2);
    podman_reads_the_log_for_the_reason: Need::Program("conmon"), Need::Only(Layout::V2);
    crio_asks_without_a_log_and_without_an_environment: Need::Only(Layout::V2);
}

/// conmon's two descriptors are files here: what it writes is read when it has ended, what it waits for is there already.
const DESCRIPTORS: &str =
    "exec 3>\"$1\" 4<\"$2\"; export _OCI_SYNCPIPE=3 _OCI_STARTPIPE=4; shift 2; exec \"$@\"";

/// conmon with what it always gets: who the container is, the runtime, its root, where sockets and logs go.
fn conmon(sandbox: &Sandbox, name: &str, words: &[&str]) -> Call {
    let path = |name: &str| sandbox.path(name);
    for folder in ["sockets", "exits", "persist"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    let start = sandbox.file("start", "x");
    let (sync, log) = (path(&format!("{name}.sync")), path(&format!("{name}.log")));
    let (runtime, root) = (binary().display().to_string(), format!("--root={}", path("state")));
    let (sockets, id) = (path("sockets"), sandbox.token.as_str());
    let always = [
        "conmon",
        "-c",
        id,
        "-n",
        name,
        "-r",
        &runtime,
        "--runtime-arg",
        &root,
        "-l",
        &log,
        "--log-level",
        "info",
        "--socket-dir-path",
        &sockets,
    ];
    let call = sandbox.tool_call(&[&always[..], words].concat());
    call.through(&["sh", "-c", DESCRIPTORS, "sh", &sync, &start])
}

/// What conmon wrote for the engine.
#[track_caller]
fn answer(sandbox: &Sandbox, name: &str) -> Value {
    let text = sandbox.wait_file(sandbox.path(&format!("{name}.sync")), "}\n");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

/// Creates the usual container as CRI-O does.
#[track_caller]
fn create(sandbox: &Sandbox, words: &[&str]) -> Value {
    sandbox.write_config();
    let path = |name: &str| sandbox.path(name);
    let (bundle, exits, persist) = (path("bundle"), path("exits"), path("persist"));
    let (pid, own, id) = (path("pidfile"), path("conmon-pidfile"), sandbox.token.as_str());
    let usual =
        ["-b", &bundle, "--exit-dir", &exits, "--persist-dir", &persist, "-p", &pid, "-P", &own, "-u", id];
    conmon(sandbox, "create", &[&usual[..], words].concat()).finish().ok();
    answer(sandbox, "create")
}

/// The status that conmon left for the engine.
#[track_caller]
fn exit_file(sandbox: &Sandbox) -> String {
    let file = Path::new(&sandbox.path("exits")).join(&sandbox.token);
    assert!(until(10, || file.exists()), "conmon has not seen the end");
    let text = fs::read_to_string(file).unwrap();
    let conmon: i32 = fs::read_to_string(sandbox.path("conmon-pidfile")).unwrap().parse().unwrap();
    assert!(until(10, || {
        reap_orphans();
        !is_alive(conmon)
    }));
    text
}

/// The lines of a log in the form of Kubernetes, without their times.
fn logged(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(&format!("{name}.log"))).unwrap();
    let cut = |line: &str| line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned();
    text.lines().map(cut).collect()
}

fn crio_creates_starts_and_stops(sandbox: &mut Sandbox) {
    sandbox.script("echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.05; done");
    let answer = create(sandbox, &[]);
    let pid = sandbox.pid();
    assert_eq!(answer, json!({ "pid": pid }));
    assert_eq!(fs::read_to_string(sandbox.path("pidfile")).unwrap(), pid.to_string());
    assert_eq!(sandbox.status(), "created");
    sandbox.start();
    sandbox.wait_file(sandbox.path("create.log"), "err");
    let mut lines = logged(sandbox, "create");
    lines.sort();
    assert_eq!(lines, ["stderr F err", "stdout F out"]);
    // A name, as CRI-O's stop signal is.
    sandbox.kill("SIGTERM");
    assert_eq!(exit_file(sandbox), "7");
    assert_eq!(sandbox.status(), "stopped");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

fn crio_shows_why_a_container_cannot_be_created(sandbox: &mut Sandbox) {
    sandbox.args(&["nope"]);
    let answer = create(sandbox, &[]);
    assert_eq!(answer["pid"], json!(-1), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("exec: \"nope\": executable file not found in $PATH"), "{message}");
    assert!(!sandbox.root().join(&sandbox.token).exists());
}

/// `exec` of a process file, as for probes.
#[track_caller]
fn exec(sandbox: &Sandbox, name: &str, process: &Value, words: &[&str]) -> (i32, Value) {
    let file = sandbox.file("process.json", &process.to_string());
    let pid = sandbox.file("exec.pid", "");
    let usual = ["-e", "--sync", "-p", &pid, "--exec-process-spec", &file];
    let output = conmon(sandbox, name, &[&usual[..], words].concat()).finish();
    (output.status.code().unwrap_or(-1), answer(sandbox, name))
}

fn shell(script: &str, terminal: bool) -> Value {
    json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"], "terminal": terminal,
            "args": ["/bin/sh", "-c", script] })
}

fn crio_runs_a_process_and_reads_its_output(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (status, answer) = exec(sandbox, "exec", &shell("echo out; echo err >&2; exit 7", false), &[]);
    assert_eq!((status, answer), (7, json!({ "exit_code": 7 })));
    let mut lines = logged(sandbox, "exec");
    lines.sort();
    assert_eq!(lines, ["stderr F err", "stdout F out"]);
}

fn crio_learns_that_a_process_cannot_be_run(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let mut process = shell("", false);
    process["args"] = json!(["nope"]);
    let (status, answer) = exec(sandbox, "exec", &process, &[]);
    assert_ne!(status, 0);
    assert_eq!(answer["exit_code"], json!(-1), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("exec: \"nope\": executable file not found in $PATH"), "{message}");
}

/// The probe of a kubelet has a bound; the process that is given up must not stay.
fn crio_ends_a_process_that_takes_too_long(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (_, answer) = exec(sandbox, "exec", &shell("exec sleep 100", false), &["-T", "1"]);
    assert_eq!(answer, json!({ "exit_code": -1, "message": "command timed out" }));
    let only = format!("[{}]\n", sandbox.pid());
    let ps = || sandbox.onggi(&["ps", "--format", "json", &sandbox.token]).finish().ok().stdout;
    assert!(until(5, || ps() == only), "{}", ps());
}

fn crio_gives_a_terminal(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    sandbox.script("test -t 0 && test -t 1 && echo a terminal; exec sleep 100");
    assert_eq!(create(sandbox, &["-t"]), json!({ "pid": sandbox.pid() }));
    sandbox.start();
    sandbox.wait_file(sandbox.path("create.log"), "a terminal");
    let (status, _) = exec(sandbox, "exec", &shell("test -t 0 && echo another", true), &["-t"]);
    assert_eq!((status, logged(sandbox, "exec").concat().contains("another")), (0, true));
    sandbox.kill("KILL");
    assert_eq!(exit_file(sandbox), "137");
}

/// podman has the runtime's errors in a file of its own, and reads conmon's answers by version 1 of its protocol.
fn podman_reads_the_log_for_the_reason(sandbox: &mut Sandbox) {
    let log = sandbox.path("oci-log");
    let format = ["--runtime-arg", "--log-format=json", "--runtime-arg", "--log", "--runtime-arg", &log];
    sandbox.args(&["/etc/passwd"]);
    let answer = create(sandbox, &[&["--api-version", "1"], &format[..]].concat());
    assert!(answer["data"].as_i64().is_some_and(|data| data < 0), "{answer}");
    let message = super::last_error(&log);
    assert!(message.contains("exec: \"/etc/passwd\": permission denied"), "{message}");
}

/// CRI-O calls the runtime itself with XDG_RUNTIME_DIR at most, podman with an empty one.
fn crio_asks_without_a_log_and_without_an_environment(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let id = sandbox.token.clone();
    let bare = |words: &[&str]| sandbox.onggi(words).through(&["env", "-i", "XDG_RUNTIME_DIR="]);
    let resources = sandbox.file("resources.json", "{\"devices\": null}");
    bare(&["features"]).finish().ok();
    bare(&["state", &id]).finish().ok();
    bare(&["update", "--resources", "-", &id]).stdin(Path::new(&resources)).finish().ok();
    bare(&["pause", &id]).finish().ok();
    bare(&["resume", &id]).finish().ok();
    bare(&["kill", &id, "KILL"]).finish().ok();
    sandbox.wait_status("stopped");
    let again = bare(&["kill", &id, "KILL"]).finish();
    assert!(
        again.stderr.contains("container not running"),
        "CRI-O takes that for stopped: {}",
        again.describe()
    );
    bare(&["kill", "-a", &id, "9"]).finish().ok();
    bare(&["delete", "--force", &id]).finish().ok();
    bare(&["delete", "--force", &id]).finish().ok();
}
