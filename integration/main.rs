//! Black-box tests of the built binary, as root, on real containers.
//!
//! Every test runs twice: on the host's cgroup v1 hierarchies (`v1::…`) and on a cgroup2 mount of its own (`v2::…`),
//! each time in a mount namespace of its own, so that neither touches the host. Proof is taken from inside the
//! container or from /proc and /sys; afterwards nothing may be left behind. What the machine lacks is said, never
//! passed over: such a test is listed as ignored, with the reason as its kind.
//!
//! The binary is the one Cargo built, or `ONGGI_BIN`. Filters and flags are those of `cargo test`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

#[macro_use]
mod harness;

mod cgroup_mounts;
mod cgroups;
mod cli;
mod contract;
mod counts;
mod crash;
mod cve;
mod cycles;
mod devices;
mod errors;
mod events;
mod exec;
mod foreground;
mod hooks;
mod idmap;
mod inherit;
mod lifecycle;
mod limits;
mod lsm;
mod machine;
mod mounts;
mod namespaces;
mod netdevices;
mod old_kernel;
mod paths;
mod pause;
mod process;
mod properties;
mod ps;
mod resctrl;
mod seccomp;
mod sysctl;
mod systemd;
mod terminal;
mod update;
mod userns;

use std::process::ExitCode;

/// Every file of tests, by the name that its tests begin with.
const FILES: &[(&str, &[harness::Case])] = &[
    ("cgroup_mounts", cgroup_mounts::CASES),
    ("cgroups", cgroups::CASES),
    ("cli", cli::CASES),
    ("contract::conmon", contract::conmon::CASES),
    ("contract::faults", contract::faults::CASES),
    ("contract::foreign", contract::foreign::CASES),
    ("contract::json", contract::json::CASES),
    ("contract::log", contract::log::CASES),
    ("contract::name", contract::name::CASES),
    ("contract::options", contract::options::CASES),
    ("contract::phrases", contract::phrases::CASES),
    ("contract::upgrade", contract::upgrade::CASES),
    ("counts", counts::CASES),
    ("crash", crash::CASES),
    ("cve::binary", cve::binary::CASES),
    ("cve::cgroups", cve::cgroups::CASES),
    ("cve::descriptors", cve::descriptors::CASES),
    ("cve::exec", cve::exec::CASES),
    ("cve::hooks", cve::hooks::CASES),
    ("cve::identity", cve::identity::CASES),
    ("cve::links", cve::links::CASES),
    ("cve::masks", cve::masks::CASES),
    ("cve::names", cve::names::CASES),
    ("cve::passwd", cve::passwd::CASES),
    ("cve::procfs", cve::procfs::CASES),
    ("cve::race", cve::race::CASES),
    ("cve::state", cve::state::CASES),
    ("cve::terminals", cve::terminals::CASES),
    ("cycles", cycles::CASES),
    ("devices", devices::CASES),
    ("errors", errors::CASES),
    ("events", events::CASES),
    ("exec::cgroups", exec::cgroups::CASES),
    ("exec::crowd", exec::crowd::CASES),
    ("exec::document", exec::document::CASES),
    ("exec::executable", exec::executable::CASES),
    ("exec::foreground", exec::foreground::CASES),
    ("exec::namespaces", exec::namespaces::CASES),
    ("exec::options", exec::options::CASES),
    ("exec::process_file", exec::process_file::CASES),
    ("exec::status", exec::status::CASES),
    ("foreground", foreground::CASES),
    ("hooks", hooks::CASES),
    ("idmap", idmap::CASES),
    ("inherit", inherit::CASES),
    ("lifecycle", lifecycle::CASES),
    ("lsm", lsm::CASES),
    ("machine", machine::CASES),
    ("limits::block_io", limits::block_io::CASES),
    ("limits::cpu", limits::cpu::CASES),
    ("limits::hugetlb", limits::hugetlb::CASES),
    ("limits::memory", limits::memory::CASES),
    ("limits::network", limits::network::CASES),
    ("limits::pids", limits::pids::CASES),
    ("limits::rdma", limits::rdma::CASES),
    ("limits::systemd", limits::systemd::CASES),
    ("limits::unified", limits::unified::CASES),
    ("mounts", mounts::CASES),
    ("namespaces", namespaces::CASES),
    ("netdevices", netdevices::CASES),
    ("old_kernel", old_kernel::CASES),
    ("paths", paths::CASES),
    ("pause", pause::CASES),
    ("process", process::CASES),
    ("properties", properties::CASES),
    ("ps", ps::CASES),
    ("resctrl", resctrl::CASES),
    ("seccomp", seccomp::CASES),
    ("seccomp::cache", seccomp::cache::CASES),
    ("seccomp::exec", seccomp::exec::CASES),
    ("seccomp::notify", seccomp::notify::CASES),
    ("sysctl", sysctl::CASES),
    ("systemd", systemd::CASES),
    ("terminal", terminal::CASES),
    ("update", update::CASES),
    ("userns", userns::CASES),
];

fn main() -> ExitCode {
    harness::main(FILES)
}
