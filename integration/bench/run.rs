//! The runs: each round runs every peer once, so that what else the machine does strikes all alike.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arena;
use crate::peers::Peer;
use crate::programs::STOPWATCH;

/// Runs of each peer before counting: caches are warm afterwards.
const WARM_UP: usize = 3;
/// The limit of one run in milliseconds; youki hangs now and then.
const LIMIT_MS: &str = "5000";
/// Where the output of the last run is.
const LOG: &str = "/run/bench.log";

/// What one peer's runs gave.
#[derive(Default)]
pub(crate) struct Series {
    /// Wall time of each good run, in nanoseconds.
    pub(crate) wall_ns: Vec<u64>,
    /// Peak memory of each good run's largest process, in kilobytes.
    pub(crate) peak_kb: Vec<u64>,
    /// Runs that ended with an error.
    pub(crate) failed: usize,
    /// Runs that were killed at the limit.
    pub(crate) hung: usize,
}

/// One run, as the stopwatch saw it.
enum Outcome {
    Good { wall_ns: u64, peak_kb: u64 },
    Failed(String),
    Hung,
}

/// Runs all peers in turn; a peer with a problem, or whose warm-up never succeeds, is left out.
pub(crate) fn interleaved(peers: &mut [Peer], rounds: usize) -> Result<Vec<Series>> {
    let prefix = format!("bench-{}-", std::process::id());
    let mut number = 0;
    let mut next = || {
        number += 1;
        format!("{prefix}{number}")
    };
    for peer in peers.iter_mut().filter(|peer| peer.problem.is_none()) {
        // One good run is enough: youki hangs now and then and is still a peer.
        let mut problem = Some(String::new());
        for _ in 0..WARM_UP {
            let why = match once(peer, &next())? {
                Outcome::Good { .. } => None,
                Outcome::Failed(text) => Some(text),
                Outcome::Hung => Some(format!("hung: killed after {LIMIT_MS} ms")),
            };
            problem = problem.and(why);
        }
        peer.problem = problem;
    }
    let mut results: Vec<Series> = peers.iter().map(|_| Series::default()).collect();
    for _ in 0..rounds {
        for (peer, series) in peers.iter().zip(&mut results).filter(|(peer, _)| peer.problem.is_none()) {
            match once(peer, &next())? {
                Outcome::Good { wall_ns, peak_kb } => {
                    series.wall_ns.push(wall_ns);
                    series.peak_kb.push(peak_kb);
                }
                Outcome::Failed(text) => {
                    eprintln!("bench: {}: {text}", peer.name);
                    series.failed += 1;
                }
                Outcome::Hung => series.hung += 1,
            }
        }
    }
    arena::sweep(&prefix);
    Ok(results)
}

/// One run under the stopwatch; what a bad run leaves is deleted.
fn once(peer: &Peer, id: &str) -> Result<Outcome> {
    let output = Command::new(STOPWATCH).args([LIMIT_MS, LOG]).args(peer.run_command(id)).output();
    let output = output.context(STOPWATCH)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall_ns, peak_kb, status, hung] = numbers[..] else {
        bail!("{STOPWATCH}: {}", String::from_utf8_lossy(&output.stderr));
    };
    if status == 0 && hung == 0 {
        return Ok(Outcome::Good { wall_ns, peak_kb });
    }
    let said = std::fs::read_to_string(LOG).unwrap_or_default();
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned();
    if let Some(delete) = peer.delete_command(id) {
        let limited = ["5000", LOG].map(str::to_owned).into_iter().chain(delete);
        Command::new(STOPWATCH).args(limited).output().context(STOPWATCH)?;
    }
    Ok(if hung == 1 { Outcome::Hung } else { Outcome::Failed(format!("exit status {status}: {said}")) })
}
