//! The file of `--log`: JSON lines for engines, text for people. containerd decodes the whole file and shows the last error.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::{last_error, lines_of};
use crate::harness::{Layout, Need, Sandbox};
use crate::lifecycle::is_rfc3339;

cases! {
    a_line_has_level_msg_and_time: Need::Only(Layout::V2);
    the_last_error_is_what_standard_error_says: Need::Only(Layout::V2);
    many_writers_keep_their_lines_apart: Need::Only(Layout::V2);
    a_hostile_name_cannot_forge_a_line: Need::Only(Layout::V2);
    text_has_the_form_of_runc: Need::Only(Layout::V2);
    a_log_that_cannot_be_written_to_is_said_and_changes_nothing: Need::Only(Layout::V2);
    a_log_that_cannot_be_opened_stops_every_command: Need::Only(Layout::V2);
    success_logs_no_error: Need::Only(Layout::V2);
}

/// A call that fails, with this log.
fn failing(sandbox: &Sandbox, log: &str) -> crate::harness::Call {
    sandbox.onggi(&["--log", log, "--log-format", "json", "state", "nobody"])
}

fn a_line_has_level_msg_and_time(sandbox: &mut Sandbox) {
    let log = sandbox.path("log.json");
    sandbox.set("/process/oomScoreAdj", json!(5000));
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let debug = ["--debug", "--log", &log, "--log-format", "json", "create", "--bundle", &bundle, "x"];
    sandbox.onggi(&debug).finish().error(&["oomScoreAdj"]);
    let lines = lines_of(&log);
    assert!(lines.len() > 1, "{lines:?}");
    for line in &lines {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["level", "msg", "time"], "{line}");
        let level = line["level"].as_str().unwrap();
        assert!(["error", "warning", "info", "debug"].contains(&level), "{line}");
        assert!(line["time"].as_str().is_some_and(is_rfc3339), "{line}");
        assert!(line["msg"].as_str().is_some_and(|msg| !msg.is_empty() && !msg.contains('\n')), "{line}");
    }
    let errors = lines.iter().filter(|line| line["level"] == "error").count();
    assert_eq!(errors, 1, "one failure, one error: {lines:?}");
}

fn the_last_error_is_what_standard_error_says(sandbox: &mut Sandbox) {
    let log = sandbox.path("log.json");
    for _ in 0..2 {
        let output = failing(sandbox, &log).finish().error(&[]);
        assert_eq!(output.stderr, format!("error: {}\n", last_error(&log)));
    }
    assert_eq!(lines_of(&log).len(), 2, "the file is appended to");
}

fn many_writers_keep_their_lines_apart(sandbox: &mut Sandbox) {
    let log = sandbox.path("log.json");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| drop(failing(sandbox, &log).finish().error(&[]))));
        }
    });
    assert_eq!(lines_of(&log).len(), 20);
}

/// The name of a program is the image's.
fn a_hostile_name_cannot_forge_a_line(sandbox: &mut Sandbox) {
    let log = sandbox.path("log.json");
    sandbox
        .args(&["x\"}\n{\"level\":\"error\",\"msg\":\"forged\",\"time\":\"2026-01-01T00:00:00Z\"}\u{1b}[2J"]);
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let create = ["--log", &log, "--log-format", "json", "create", "--bundle", &bundle, "x"];
    let output = sandbox.onggi(&create).finish().error(&["forged"]);
    let lines = lines_of(&log);
    assert!(lines.iter().all(|line| line["msg"] != "forged"), "{lines:?}");
    assert!(!output.stderr.contains('\u{1b}') && output.stderr.trim_end().lines().count() == 1);
    let message: Value = lines.last().unwrap()["msg"].clone();
    assert!(message.as_str().unwrap().contains("forged"), "it is still there to be read: {message}");
}

fn text_has_the_form_of_runc(sandbox: &mut Sandbox) {
    let log = sandbox.path("log");
    sandbox.onggi(&["--log", &log, "state", "nobody"]).finish().error(&[]);
    let text = fs::read_to_string(&log).unwrap();
    let (time, rest) = text.strip_prefix("time=\"").unwrap().split_once("\" level=error msg=\"").unwrap();
    assert!(is_rfc3339(time), "{text}");
    assert_eq!(rest, "state nobody: container does not exist\"\n");
}

/// /dev/full takes no byte, as a full disk. What was asked for is done all the same, and the user told.
fn a_log_that_cannot_be_written_to_is_said_and_changes_nothing(sandbox: &mut Sandbox) {
    let output = failing(sandbox, "/dev/full").finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("error: state nobody: container does not exist"), "{}", output.describe());
    assert!(
        output.stderr.contains("--log") && output.stderr.contains("No space left"),
        "{}",
        output.describe()
    );
    sandbox.args(&["/bin/true"]);
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    sandbox
        .onggi(&["--debug", "--log", "/dev/full", "run", "--bundle", &bundle, &sandbox.token])
        .finish()
        .ok();
}

fn a_log_that_cannot_be_opened_stops_every_command(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let folder = sandbox.path("bundle");
    for log in ["/no/such/folder/log", &folder] {
        for words in [&["kill", &sandbox.token, "9"][..], &["delete", "--force", &sandbox.token]] {
            let all = [&["--log", log], words].concat();
            let output = sandbox.onggi(&all).finish().error(&["--log", log]);
            assert_eq!(output.stdout, "");
        }
    }
    assert_eq!((sandbox.status(), sandbox.pid()), ("running".into(), pid));
}

fn success_logs_no_error(sandbox: &mut Sandbox) {
    let log = sandbox.path("log.json");
    let bundle = sandbox.path("bundle");
    sandbox.write_config();
    let run = ["--log", &log, "--log-format", "json", "run", "--bundle", &bundle, &sandbox.token];
    let output = sandbox.onggi(&run).finish().ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    assert_eq!(lines_of(&log), Vec::<Value>::new());
}
