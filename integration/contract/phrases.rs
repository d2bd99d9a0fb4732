//! Every phrase of `src/error/phrases.rs` in the situation in which a caller looks for it: in the last error of the log,
//! and on standard error where there is no log.

use std::fs;

use onggi::PHRASES;
use serde_json::json;

use super::last_error;
use crate::harness::{Layout, Need, Output, Sandbox};

cases! {
    every_phrase_has_its_situation: Need::Only(Layout::V2);
    phrases_of_a_container_that_is_not_there;
    phrases_of_a_created_container;
    phrases_of_a_running_container;
    phrases_of_a_paused_container;
    phrases_of_a_stopped_container;
    phrases_of_programs_that_cannot_be_run: Need::Only(Layout::V2);
    a_program_that_only_execve_refuses_is_named_by_start: Need::Only(Layout::V2);
    an_error_of_exec_has_the_status_of_runc;
}

/// A command in which `ID` is the container, its exit status, and the phrase, in which `<ID>` is.
type Situation = (&'static [&'static str], i32, &'static str);

const GONE: &str = "container does not exist";
const NOT_RUNNING: &str = "container not running";

const ABSENT: &[Situation] = &[
    (&["state", "ID"], 1, GONE),
    (&["start", "ID"], 1, GONE),
    (&["kill", "ID", "9"], 1, GONE),
    (&["kill", "--all", "ID", "9"], 1, GONE),
    (&["delete", "ID"], 1, GONE),
    (&["pause", "ID"], 1, GONE),
    (&["resume", "ID"], 1, GONE),
    (&["ps", "--format", "json", "ID"], 1, GONE),
    (&["update", "--pids-limit", "9", "ID"], 1, GONE),
    (&["events", "--stats", "ID"], 1, GONE),
    (&["exec", "ID", "true"], 255, GONE),
    (&["state", "a/b"], 1, "invalid container ID format"),
    (&["create", "--bundle", "BUNDLE", ".."], 1, "invalid container ID format"),
];

const CREATED: &[Situation] = &[
    (&["create", "--bundle", "BUNDLE", "ID"], 1, "container with given ID already exists"),
    (&["resume", "ID"], 1, "container not paused"),
    (&["delete", "ID"], 1, "cannot delete container <ID> that is not stopped: created"),
];

const RUNNING: &[Situation] = &[
    (&["run", "--bundle", "BUNDLE", "ID"], 1, "container with given ID already exists"),
    (&["start", "ID"], 1, "cannot start an already running container"),
    (&["resume", "ID"], 1, "container not paused"),
    (&["delete", "ID"], 1, "cannot delete container <ID> that is not stopped: running"),
    (&["exec", "ID", "nope"], 255, "exec: \"nope\": executable file not found in $PATH"),
    (&["exec", "ID", "/nope"], 255, "exec: \"/nope\": stat /nope: no such file or directory"),
    (&["exec", "ID", "/etc/passwd"], 255, "exec: \"/etc/passwd\": permission denied"),
    (&["exec", "ID", "/etc"], 255, "exec: \"/etc\": permission denied"),
    (&["exec", "ID", "/etc/passwd/x"], 255, "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory"),
    (&["exec", "--cwd", "/nope", "ID", "true"], 255, "no such file or directory"),
];

const PAUSED: &[Situation] = &[
    (&["start", "ID"], 1, "cannot start a container in the paused state"),
    (&["pause", "ID"], 1, NOT_RUNNING),
    (&["exec", "ID", "true"], 255, "cannot exec in a paused container (use --ignore-paused to override)"),
    (&["delete", "ID"], 1, "cannot delete container <ID> that is not stopped: paused"),
];

const STOPPED: &[Situation] = &[
    (&["start", "ID"], 1, "cannot start a container that has stopped"),
    (&["kill", "ID", "15"], 1, NOT_RUNNING),
    (&["kill", "ID", "9"], 1, NOT_RUNNING),
    (&["pause", "ID"], 1, NOT_RUNNING),
    (&["resume", "ID"], 1, "container not paused"),
    (&["update", "--pids-limit", "9", "ID"], 1, NOT_RUNNING),
    (&["events", "--stats", "ID"], 1, "container with id <ID> is not running"),
    (&["exec", "ID", "true"], 255, "cannot exec in a stopped container"),
];

/// Phrases of `create`, which a configuration brings about and not a state.
const BY_CONFIG: &[(&str, &str)] = &[
    ("", "exec: \"\": executable file not found in $PATH"),
    ("nope", "exec: \"nope\": executable file not found in $PATH"),
    ("/nope", "exec: \"/nope\": stat /nope: no such file or directory"),
    ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ("/etc/passwd/x", "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory"),
];

/// Both ways: no phrase without a situation, and no situation that the table knows nothing of.
fn every_phrase_has_its_situation(_: &mut Sandbox) {
    let tables = [ABSENT, CREATED, RUNNING, PAUSED, STOPPED].concat();
    let found: Vec<&str> = tables.iter().map(|row| row.2).chain(BY_CONFIG.iter().map(|row| row.1)).collect();
    for phrase in PHRASES {
        assert!(found.iter().any(|words| words.contains(phrase)), "no situation for {phrase:?}");
    }
    for words in found {
        assert!(PHRASES.iter().any(|phrase| words.contains(phrase)), "no phrase in {words:?}");
    }
}

/// Runs each command twice, with a log as engines ask for it and without one.
#[track_caller]
fn each_says(sandbox: &Sandbox, situations: &[Situation]) {
    let bundle = sandbox.path("bundle");
    for (at, (words, status, phrase)) in situations.iter().enumerate() {
        let phrase = phrase.replace("<ID>", &sandbox.token);
        let log = sandbox.path(&format!("log{at}.json"));
        let words = words.iter().map(|word| match *word {
            "ID" => sandbox.token.as_str(),
            "BUNDLE" => bundle.as_str(),
            word => word,
        });
        let words: Vec<&str> = words.collect();
        let logged = [&["--log", log.as_str(), "--log-format", "json"], &words[..]].concat();
        for output in [sandbox.onggi(&logged).finish(), sandbox.onggi(&words).finish()] {
            says(&output, *status, &phrase);
        }
        assert!(last_error(&log).contains(&phrase), "{phrase:?} is not in the log: {}", last_error(&log));
        fs::remove_file(log).unwrap();
    }
}

#[track_caller]
fn says(output: &Output, status: i32, phrase: &str) {
    assert!(output.status.code() == Some(status), "wanted status {status}: {}", output.describe());
    let lines: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains(phrase), "wanted {phrase:?}: {}", output.describe());
    assert_eq!(output.stdout, "", "{}", output.describe());
}

fn phrases_of_a_container_that_is_not_there(sandbox: &mut Sandbox) {
    sandbox.write_config();
    each_says(sandbox, ABSENT);
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

fn phrases_of_a_created_container(sandbox: &mut Sandbox) {
    sandbox.create();
    each_says(sandbox, CREATED);
    assert_eq!(sandbox.status(), "created");
}

fn phrases_of_a_running_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    each_says(sandbox, RUNNING);
    assert_eq!(sandbox.status(), "running");
}

fn phrases_of_a_paused_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
    each_says(sandbox, PAUSED);
    assert_eq!(sandbox.status(), "paused");
}

fn phrases_of_a_stopped_container(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    each_says(sandbox, STOPPED);
    // containerd calls this at every end of a container, and takes only success for one.
    sandbox.onggi(&["kill", "--all", &sandbox.token, "9"]).finish().ok();
}

/// docker wants the command in the message besides the phrase before it gives 127 or 126.
fn phrases_of_programs_that_cannot_be_run(sandbox: &mut Sandbox) {
    for (program, phrase) in BY_CONFIG {
        sandbox.args(&[program]);
        for command in ["create", "run"] {
            let output = sandbox.begin(command, &[]).finish();
            says(&output, 1, phrase);
            assert!(output.stderr.contains(program), "{}", output.describe());
        }
    }
}

/// A script whose interpreter is missing looks fine until it is executed.
fn a_program_that_only_execve_refuses_is_named_by_start(sandbox: &mut Sandbox) {
    let script = sandbox.tool("bundle/rootfs/script", "");
    fs::write(&script, "#!/nope\n").unwrap();
    sandbox.args(&["/script"]);
    sandbox.create();
    let start = sandbox.onggi(&["start", &sandbox.token]).finish();
    says(&start, 1, "no such file or directory");
    assert!(start.stderr.contains("/script"), "{}", start.describe());
}

/// Statuses below 255 may be the process's own.
fn an_error_of_exec_has_the_status_of_runc(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 0, "gid": 0 }));
    sandbox.start_sleeper();
    let id = sandbox.token.clone();
    for (words, status) in [
        (&["exec", &id, "sh", "-c", "exit 7"][..], 7),
        (&["exec", &id, "sh", "-c", "kill -9 $$"], 137),
        (&["exec", &id, "sh", "-c", "exit 255"], 255),
        (&["exec", "--detach", &id, "sh", "-c", "exit 7"], 0),
        (&["exec", "--process", "/nope", &id], 255),
        (&["exec", &id], 255),
        (&["exec", "--nope", &id], 1),
        (&["exec"], 1),
    ] {
        sandbox.onggi(words).finish().code(status);
    }
}
