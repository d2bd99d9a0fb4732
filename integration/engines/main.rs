//! The programs that people already run, with the onggi under test below them: containerd, CRI-O and the kubelet, podman,
//! docker, buildah. One file or folder per engine, one test per feature, so that the results are a table engine × feature
//! (`make engines`).
//!
//! The tests speak to an engine only as its users do: through its own command line, the CRI, or manifests. An engine is
//! started once for all tests of its file, since under emulation a daemon takes longer to start than most tests; a test
//! that stops or kills its engine has one of its own. Each lives in a [`place::Place`]: mounts and a network of its own,
//! with empty folders where the engine keeps things, and with the configuration that the documents tell people to copy.

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

use std::process::ExitCode;

use harness::needs::{release, version};

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
    println!("kernel {}", release());
    for name in ["containerd", "crio", "kubelet", "podman", "buildah", "dockerd"] {
        if let Some(version) = version(name) {
            println!("engine {name} {version}");
        }
    }
}
