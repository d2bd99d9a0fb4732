//! The conformance suite: every MUST, MUST NOT and SHOULD of the runtime-spec 1.3 that can be seen from outside on Linux,
//! as a numbered test that cites its section.
//!
//! It is written from the specification's text, and drives any runtime by the command line that all share: `RUNTIME=runc`.
//! Tests never ask how a runtime does something, nor what it says: an error is a status that is not 0. Only onggi is held
//! to its own words, and to leaving nothing behind. Every test runs on both cgroup layouts, in the worlds of
//! `integration/harness`, as root. The output is TAP; docs/conformance.md says what came of it, and which sentences
//! nobody can test from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

#[allow(dead_code, unused_imports, unused_macros, reason = "what only the integration tests need")]
#[path = "../integration/harness/mod.rs"]
#[macro_use]
mod harness;

#[path = "../integration/seccomp/agent.rs"]
mod agent;
#[macro_use]
mod clause;
mod console;
mod exceptions;
mod operations;
mod runtime;
mod suite;
mod tap;
mod validation;
mod verdict;
mod worker;

mod bundle;
mod config_hooks;
mod config_hostname;
mod config_linux_cgroups;
mod config_linux_devices;
mod config_linux_machine;
mod config_linux_namespaces;
mod config_linux_net_devices;
mod config_linux_paths;
mod config_linux_seccomp;
mod config_mount_options;
mod config_mounts;
mod config_process;
mod config_root;
mod config_values;
mod features;
mod features_linux;
mod runtime_lifecycle;
mod runtime_linux;
mod runtime_operations;
mod runtime_state;

use std::process::ExitCode;

use clause::File;

/// A file of tests.
macro_rules! file {
    ($document:literal $module:ident) => {
        File { document: $document, module: stringify!($module), clauses: $module::CLAUSES }
    };
}

/// In the order of the numbers.
const FILES: &[File] = &[
    file!("bundle.md" bundle),
    file!("runtime.md" runtime_state),
    file!("runtime.md" runtime_lifecycle),
    file!("runtime.md" runtime_operations),
    file!("runtime-linux.md" runtime_linux),
    file!("config.md" config_root),
    file!("config.md" config_mounts),
    file!("config.md" config_mount_options),
    file!("config.md" config_process),
    file!("config.md" config_hostname),
    file!("config.md" config_hooks),
    file!("config.md" config_values),
    file!("config-linux.md" config_linux_namespaces),
    file!("config-linux.md" config_linux_devices),
    file!("config-linux.md" config_linux_net_devices),
    file!("config-linux.md" config_linux_cgroups),
    file!("config-linux.md" config_linux_machine),
    file!("config-linux.md" config_linux_seccomp),
    file!("config-linux.md" config_linux_paths),
    file!("features.md" features),
    file!("features-linux.md" features_linux),
];

fn main() -> ExitCode {
    suite::main(FILES)
}
