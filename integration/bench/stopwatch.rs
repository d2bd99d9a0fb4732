//! One run under the stopwatch, stopwatch.c: what it is told, and what it says.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs::STOPWATCH;

/// The limit of one run in milliseconds; youki hangs now and then.
pub(crate) const LIMIT_MS: &str = "5000";
/// Where the output of the last run is.
const LOG: &str = "/run/bench.log";

/// One run, as the stopwatch saw it.
pub(crate) enum Outcome {
    Good { wall_ns: u64, peak_kb: u64 },
    Failed(String),
    Hung,
}

/// Runs steps under the stopwatch.
///
/// # Errors
/// The stopwatch itself fails; what the steps do is the outcome.
pub(crate) fn timed(steps: &[Vec<String>], stdin: Stdio) -> Result<Outcome> {
    let comma = [",".to_owned()];
    let words = steps.join(comma.as_slice());
    let output = Command::new(STOPWATCH).args([LIMIT_MS, LOG]).args(words).stdin(stdin).output();
    let output = output.context(STOPWATCH)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall_ns, peak_kb, status, hung] = numbers[..] else {
        bail!("{STOPWATCH}: {}", String::from_utf8_lossy(&output.stderr));
    };
    if hung == 1 {
        return Ok(Outcome::Hung);
    }
    if status == 0 {
        return Ok(Outcome::Good { wall_ns, peak_kb });
    }
    let said = std::fs::read_to_string(LOG).unwrap_or_default();
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    Ok(Outcome::Failed(format!("exit status {status}: {said}")))
}

/// Where the id of a measurement's process is written; the step `@FILE` waits for its end.
pub(crate) fn pid_file(id: &str) -> String {
    Path::new("/run").join(id).with_extension("pid").display().to_string()
}
