//! `make conformance RUNTIME=all`: the suite on onggi, crun, runc and youki, side by side, and the tables that come of it in
//! docs/conformance.md.
//!
//! The peers are those of `make bench`, in the same place. The suite is the static program of the tests; what it finds
//! comes as JSON. It fails only if onggi does.

#[allow(dead_code, reason = "what only the bench needs")]
#[path = "../../integration/bench/arena.rs"]
mod arena;
#[allow(dead_code, reason = "what only the bench needs")]
#[path = "../../integration/bench/peers.rs"]
mod peers;
mod report;
#[allow(dead_code, reason = "what only the suite needs")]
#[path = "../verdict.rs"]
mod verdict;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use peers::Peer;
use report::Column;
use verdict::Results;

/// The suite, where the arena sees it.
const SUITE: &str = "/usr/bin/onggi-conformance";
/// The limit for one runtime, in seconds.
const LIMIT: &str = "3000";

fn main() -> ExitCode {
    // `cargo test --all-targets` starts benchmarks too, without this flag.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!(
            "skipped: the comparison with other runtimes runs under `make conformance RUNTIME=all` only"
        );
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("conformance: onggi failed; docs/conformance.md says where");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all, writes the document; says whether onggi passed everything.
fn compare() -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        bail!("needs root: it makes mounts, namespaces and cgroups");
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.join("target/bench");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let root = peers::root(&folder)?;
    let peers = peers::gather(&folder, &root);
    let suite = package.join("target/static/tests/runtime-tools");
    peers::put(&suite, &root.join(SUITE.trim_start_matches('/')))?;
    // Opened before the arena is entered, where these paths no longer exist.
    let document = package.join("docs/conformance.md");
    let mut document =
        File::options().read(true).write(true).open(&document).context("docs/conformance.md")?;
    let logs: Vec<File> = peers.iter().map(|peer| log(&folder, peer)).collect::<Result<_>>()?;

    arena::enter(&root, arena::Cgroups::Host)?;
    let none: Option<&str> = None;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none).context("tmpfs on /tmp")?;
    // All at once: nothing is measured, and most of the time each waits.
    let columns: Vec<Column> = std::thread::scope(|scope| {
        let one = |(peer, log)| scope.spawn(move || column(peer, log));
        let running: Vec<_> = peers.iter().zip(logs).map(one).collect();
        running.into_iter().map(|thread| thread.join().expect("run does not panic")).collect()
    });
    let mut text = String::new();
    document.read_to_string(&mut text).context("docs/conformance.md")?;
    let text = report::put(&text, &columns)?;
    document.set_len(0).and_then(|()| document.rewind()).context("docs/conformance.md")?;
    document.write_all(text.as_bytes()).context("docs/conformance.md")?;
    Ok(columns[0].results.as_ref().is_ok_and(Results::are_good))
}

/// Where a runtime's TAP goes.
fn log(folder: &Path, peer: &Peer) -> Result<File> {
    let path = folder.join(format!("conformance-{}.tap", peer.name));
    File::create(&path).with_context(|| path.display().to_string())
}

fn column(peer: &Peer, log: File) -> Column {
    Column { name: peer.name, results: run(peer, log) }
}

/// One runtime.
fn run(peer: &Peer, log: File) -> Result<Results> {
    if let Some(problem) = &peer.problem {
        bail!("{problem}");
    }
    eprintln!("conformance: {}", peer.name);
    let file = PathBuf::from("/tmp").join(format!("{}.json", peer.name));
    let threads = std::thread::available_parallelism().map_or(1, usize::from) * 2;
    let mut suite = Command::new("timeout");
    suite.args([LIMIT, SUITE, "--test-threads", &threads.to_string()]);
    suite.env("RUNTIME", &peer.program).env("ONGGI_CONFORMANCE_RESULTS", &file);
    let status = suite.stdout(log).status().context(SUITE)?;
    let text = fs::read(&file).with_context(|| format!("the suite ended with {status}"))?;
    serde_json::from_slice(&text).context("the suite's results")
}
