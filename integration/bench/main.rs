//! `make bench`: onggi beside crun, runc, youki and the kernel's floor, on one machine, in one run.
//!
//! Obtains the peers without touching the host (`peers`), gathers everybody in one place (`arena`), has each do the
//! same (`scenario`) with the same bundles (`bundle`) in turn (`run`), and prints tables and JSON (`report`). It never
//! fails because of a slow machine: the verdicts are printed, and only what could not be measured is an error.

#[allow(dead_code, reason = "what only the comparison of conformance needs")]
mod arena;
mod bundle;
mod filter;
mod holder;
mod peers;
mod programs;
mod report;
mod run;
mod scenario;
mod stopwatch;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use peers::{Kind, Peer};

/// Rounds when `BENCH_RUNS` does not say otherwise; every round runs each peer once in each scenario.
const ROUNDS: usize = 40;

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benchmarks too, without this flag.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("skipped: the comparison with other runtimes runs under `make bench` only");
        return ExitCode::SUCCESS;
    }
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: onggi was not measured in everything; the tables say why");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; says whether onggi was among the measured in every scenario.
fn bench() -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        bail!("needs root: it makes mounts, namespaces and cgroups");
    }
    let rounds = rounds()?;
    let scenarios = scenario::Scenario::selected()?;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let json_path = folder.join("peers.json");
    let machine = report::Machine::read()?;

    let root = peers::root(&folder)?;
    let mut peers = peers::gather(&folder, &root);
    peers.push(Peer::own("floor", Kind::Floor, ""));
    peers.push(Peer::own("no container", Kind::Bare, &format!("{}/bin/true", bundle::ROOTFS)));
    let bundle = bundle::make(&root, &peers)?;
    programs::compile(&folder, &root, &bundle)?;
    // Opened before the arena is entered, where this path no longer exists.
    let mut json_file = File::create(&json_path).with_context(|| json_path.display().to_string())?;

    arena::enter(&root, arena::Cgroups::V2)?;
    for peer in &mut peers {
        peer.ask_version();
    }
    let lanes = run::interleaved(&peers, &scenarios, rounds)?;

    let report = report::Report::new(machine, bundle.origin, rounds, scenarios, &lanes);
    print!("{}", report.text());
    let json = serde_json::to_string_pretty(&report.json())?;
    println!("\n{json}");
    writeln!(json_file, "{json}").with_context(|| json_path.display().to_string())?;
    eprintln!("bench: the same JSON is in {}", json_path.display());
    Ok(report.is_whole())
}

fn rounds() -> Result<usize> {
    match std::env::var("BENCH_RUNS") {
        Err(_) => Ok(ROUNDS),
        Ok(text) => match text.parse() {
            Ok(rounds) if rounds > 0 => Ok(rounds),
            _ => bail!("BENCH_RUNS={text:?}: not a positive number"),
        },
    }
}
