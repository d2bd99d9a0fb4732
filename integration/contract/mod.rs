//! runc's contract, as those who call a runtime hold it: what they parse, what they look for in errors, what they pass, and
//! what they may rely on when something goes wrong. Expectations are runc's own answers (1.1.5 and 1.3.6), written down
//! here; docs/runc.md says where onggi differs and why. runc itself is not needed.

pub(crate) mod conmon;
pub(crate) mod faults;
pub(crate) mod foreign;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod name;
pub(crate) mod options;
pub(crate) mod phrases;
pub(crate) mod upgrade;

use std::fs;

use serde_json::Value;

/// The lines of a log in JSON.
#[track_caller]
fn lines_of(log: &str) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_else(|error| panic!("{log}: {error}"));
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    text.lines().map(read).collect()
}

/// What an engine shows its user: the message of the last line of level `error`.
#[track_caller]
fn last_error(log: &str) -> String {
    let lines = lines_of(log);
    let error = lines.iter().rfind(|line| line["level"] == "error");
    error.and_then(|line| line["msg"].as_str()).unwrap_or_else(|| panic!("no error in {lines:?}")).to_owned()
}
