//! The sentences of the runtime-spec that say MUST, tested from outside: one test each, in a file per chapter.
//!
//! The tests are written from the specification and speak to the built binary only through its command line; they never
//! ask how it does something. They run on both cgroup layouts in the worlds of `integration/harness`, as root.
//! `docs/spec-coverage.md` says which section is proven where.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

#[allow(dead_code, unused_imports, reason = "what only the integration tests need")]
#[path = "../integration/harness/mod.rs"]
#[macro_use]
mod harness;

mod config_common;
mod config_hooks;
mod config_linux;
mod config_mounts;
mod config_process;
mod features;
mod runtime_lifecycle;
mod runtime_linux;
mod runtime_operations;
mod runtime_state;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main(&[
        ("runtime_state", runtime_state::CASES),
        ("runtime_lifecycle", runtime_lifecycle::CASES),
        ("runtime_operations", runtime_operations::CASES),
        ("runtime_linux", runtime_linux::CASES),
        ("config_common", config_common::CASES),
        ("config_mounts", config_mounts::CASES),
        ("config_process", config_process::CASES),
        ("config_hooks", config_hooks::CASES),
        ("config_linux", config_linux::CASES),
        ("features", features::CASES),
    ])
}
