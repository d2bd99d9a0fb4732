//! The programs that people already run, with the onggi under test below them: containerd, podman, docker, buildah. One
//! file per engine, one test per feature, so that the results are a table engine × feature (`make engines`).
//!
//! The tests speak to an engine only through its own command line. An engine is started once for all tests of its file,
//! since under emulation a daemon takes longer to start than most tests; a test that stops or kills its engine has one of
//! its own. Each lives in a [`place::Place`]: mounts and a network of its own, with empty folders where the engine keeps
//! things, and with the configuration that `docs/engines.md` tells people to copy.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what only the integration tests need")]
#[path = "../harness/mod.rs"]
#[macro_use]
mod harness;

#[macro_use]
mod features;

mod buildah;
mod client;
mod conmon;
mod containerd;
#[macro_use]
mod cri;
mod crio;
mod docker;
mod docker_default;
mod dockerfile;
mod image;
#[macro_use]
mod kubelet;
mod place;
mod podman;
mod rootless;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    say_versions();
    let groups = [
        ("containerd", containerd::CASES),
        ("cri", cri::CASES),
        ("crio", crio::CASES),
        ("kubelet", kubelet::CASES),
        ("kubelet_crio", kubelet::crio::CASES),
        ("podman", podman::CASES),
        ("rootless", rootless::CASES),
        ("buildah", buildah::CASES),
        ("conmon", conmon::CASES),
        ("docker", docker::CASES),
        ("docker_default", docker_default::CASES),
    ];
    harness::main_and_then(&groups, place::close_all)
}

/// The kernel and the engines that are here, for the table.
fn say_versions() {
    let first = |name: &str, option: &str| {
        let printed = Command::new(name).arg(option).output().ok()?;
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        let mut words = text.split_whitespace().map(|word| word.trim_end_matches(',').to_owned());
        words.find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    println!("kernel {}", first("uname", "-r").unwrap_or_default());
    for name in ["containerd", "crio", "kubelet", "podman", "buildah", "dockerd"] {
        if let Some(version) = first(name, "--version") {
            println!("engine {name} {version}");
        }
    }
}
