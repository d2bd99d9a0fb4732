//! linux.resources.memory.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{by_layout, holds, keyed, lifts, prepared, read, refuses};
use crate::harness::{Layout, Need, Sandbox, is_alive, output, until};

cases! {
    a_hog_is_killed: Need::Controller("memory");
    below_the_limit_all_is_well: Need::Controller("memory");
    a_hog_waits_without_the_killer: Need::Only(Layout::V1), Need::Controller("memory");
    limit: Need::Controller("memory");
    reservation: Need::Controller("memory");
    swap: Need::Controller("memory");
    no_limit: Need::Controller("memory");
    swappiness: Need::Only(Layout::V1), Need::Controller("memory");
    use_hierarchy: Need::Only(Layout::V1), Need::Controller("memory");
    what_v2_cannot_do_is_refused: Need::Only(Layout::V2);
    swap_without_a_limit_is_refused: Need::Controller("memory");
    swap_below_the_limit_is_refused: Need::Controller("memory");
    kernel_memory_is_ignored_with_a_warning;
    check_before_update: Need::Controller("memory");
}

const MIB: u64 = 1 << 20;

/// 128 + SIGKILL, and the kernel has counted one.
fn a_hog_is_killed(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB }));
    sandbox.args(&["/bin/tail", "/dev/zero"]);
    sandbox.run().code(137);
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let file = by_layout(sandbox, "memory.oom_control", "memory.events");
    assert!(keyed(sandbox, "memory", file, "oom_kill") > 0);
}

fn below_the_limit_all_is_well(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB }));
    assert_eq!(
        sandbox.prove("head -c 4m /dev/zero > /dev/shm/x && wc -c < /dev/shm/x"),
        (4 * MIB).to_string()
    );
}

/// It stands still at its limit instead of dying there, if it is the process itself that wants memory: to a system call
/// the kernel says ENOMEM.
fn a_hog_waits_without_the_killer(sandbox: &mut Sandbox) {
    let memory = json!({ "limit": 16 * MIB, "swap": 16 * MIB, "disableOOMKiller": true });
    sandbox.set("/linux/resources/memory", memory);
    sandbox.args(&["/bin/awk", "BEGIN { text = \"x\"; while (1) text = text text }"]);
    sandbox.create();
    assert_eq!(keyed(sandbox, "memory", "memory.oom_control", "oom_kill_disable"), 1);
    sandbox.start();
    let pid = sandbox.pid();
    assert!(until(10, || keyed(sandbox, "memory", "memory.oom_control", "under_oom") == 1));
    assert!(is_alive(pid));
    assert_eq!(keyed(sandbox, "memory", "memory.oom_control", "oom_kill"), 0);
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

fn limit(sandbox: &mut Sandbox) {
    let file = by_layout(sandbox, "memory.limit_in_bytes", "memory.max");
    holds(sandbox, "memory", json!({ "limit": 64 * MIB }), "memory", &[(file, "67108864")]);
}

fn reservation(sandbox: &mut Sandbox) {
    let file = by_layout(sandbox, "memory.soft_limit_in_bytes", "memory.low");
    holds(sandbox, "memory", json!({ "reservation": 32 * MIB }), "memory", &[(file, "33554432")]);
}

/// v1 counts memory with swap, v2 swap alone.
fn swap(sandbox: &mut Sandbox) {
    let both = json!({ "limit": 64 * MIB, "swap": 96 * MIB });
    let files = by_layout(
        sandbox,
        [("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "100663296")],
        [("memory.max", "67108864"), ("memory.swap.max", "33554432")],
    );
    holds(sandbox, "memory", both, "memory", &files);
    let (file, none) = by_layout(
        sandbox,
        ("memory.memsw.limit_in_bytes", "9223372036854771712"),
        ("memory.swap.max", "max"),
    );
    holds(sandbox, "memory", json!({ "limit": 64 * MIB, "swap": -1 }), "memory", &[(file, none)]);
    let (file, same) =
        by_layout(sandbox, ("memory.memsw.limit_in_bytes", "67108864"), ("memory.swap.max", "0"));
    let equal = json!({ "limit": 64 * MIB, "swap": 64 * MIB });
    holds(sandbox, "memory", equal, "memory", &[(file, same)]);
}

fn no_limit(sandbox: &mut Sandbox) {
    const NONE: &str = "9223372036854771712";
    let files = by_layout(
        sandbox,
        [("memory.limit_in_bytes", "67108864", NONE), ("memory.soft_limit_in_bytes", "33554432", NONE)],
        [("memory.max", "67108864", "max"), ("memory.low", "33554432", "max")],
    );
    lifts(sandbox, "memory", json!({ "limit": -1, "reservation": -1 }), "memory", &files);
}

fn swappiness(sandbox: &mut Sandbox) {
    holds(sandbox, "memory", json!({ "swappiness": 17 }), "memory", &[("memory.swappiness", "17")]);
    holds(sandbox, "memory", json!({ "swappiness": 0 }), "memory", &[("memory.swappiness", "0")]);
    refuses(sandbox, "memory", json!({ "swappiness": 101 }), "memory.swappiness", &["101"]);
}

fn use_hierarchy(sandbox: &mut Sandbox) {
    holds(sandbox, "memory", json!({ "useHierarchy": true }), "memory", &[("memory.use_hierarchy", "1")]);
}

fn what_v2_cannot_do_is_refused(sandbox: &mut Sandbox) {
    for (member, value) in
        [("swappiness", json!(60)), ("disableOOMKiller", json!(true)), ("useHierarchy", json!(false))]
    {
        refuses(
            sandbox,
            "memory",
            json!({ member: value }),
            &format!("memory.{member}"),
            &["cgroup v2 cannot"],
        );
    }
}

fn swap_without_a_limit_is_refused(sandbox: &mut Sandbox) {
    refuses(sandbox, "memory", json!({ "swap": 32 * MIB }), "memory.swap", &["memory.limit"]);
}

fn swap_below_the_limit_is_refused(sandbox: &mut Sandbox) {
    let below = json!({ "limit": 64 * MIB, "swap": 32 * MIB });
    refuses(sandbox, "memory", below, "memory.swap", &["below memory.limit"]);
}

fn kernel_memory_is_ignored_with_a_warning(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "kernel": MIB, "kernelTCP": MIB }));
    let output = sandbox.run().ok();
    for field in ["kernel", "kernelTCP"] {
        let warning = format!("warning: linux.resources.memory.{field}: ignored");
        assert!(output.stderr.contains(&warning), "{}", output.describe());
    }
}

/// A cgroup that is there before, and in use: files on a tmpfs count until they are gone.
fn check_before_update(sandbox: &mut Sandbox) {
    let dir = prepared(sandbox, "memory");
    let file = format!("/run/{}", sandbox.token);
    let script = format!("echo $$ > {}/cgroup.procs; head -c 8388608 /dev/zero > {file}", dir.display());
    assert!(output(Command::new("sh").args(["-c", &script])).status.success());
    let (limit, usage) = by_layout(
        sandbox,
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("memory.max", "memory.current"),
    );
    let used: u64 = read(sandbox, "memory", usage).parse().unwrap();
    assert!(used > 4 * MIB, "{used}");
    let before = read(sandbox, "memory", limit);
    sandbox.set("/linux/resources/memory", json!({ "limit": 4 * MIB, "checkBeforeUpdate": true }));
    let refused = sandbox.begin("create", &[]).finish();
    refused.error(&["linux.resources.memory.limit: ", "below what is in use", usage, "checkBeforeUpdate"]);
    assert_eq!(read(sandbox, "memory", limit), before, "nothing is changed");
    sandbox.set("/linux/resources/memory", json!({ "limit": 64 * MIB, "checkBeforeUpdate": true }));
    sandbox.create();
    assert_eq!(read(sandbox, "memory", limit), (64 * MIB).to_string());
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    fs::remove_file(file).unwrap();
    fs::remove_dir(&dir).unwrap();
}
