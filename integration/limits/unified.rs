//! linux.resources.unified.

use std::fs;

use serde_json::json;

use super::{holds, read, refuses};
use crate::harness::{Layout, Need, Sandbox};

cases! {
    files_of_the_core: Need::Only(Layout::V2);
    files_of_a_controller: Need::Only(Layout::V2), Need::Controller("memory");
    a_value_of_several_lines: Need::Only(Layout::V2), Need::Controller("io"), Need::File("/dev/loop0"), Need::File("/dev/loop1");
    has_the_last_word: Need::Only(Layout::V2), Need::Controller("pids");
    what_the_kernel_refuses_names_the_key: Need::Only(Layout::V2), Need::Controller("memory");
    keys_that_are_no_limits_are_refused;
    is_refused_on_v1: Need::Only(Layout::V1), Need::Controller("memory");
    without_its_controller_is_an_error: Need::Only(Layout::V2), Need::NoController("memory");
}

fn files_of_the_core(sandbox: &mut Sandbox) {
    let core = json!({ "cgroup.max.depth": "3", "cgroup.max.descendants": "max" });
    holds(
        sandbox,
        "unified",
        core,
        "cgroup",
        &[("cgroup.max.depth", "3"), ("cgroup.max.descendants", "max")],
    );
}

fn files_of_a_controller(sandbox: &mut Sandbox) {
    let memory = json!({ "memory.high": "67108864", "memory.min": "4096", "memory.oom.group": "1" });
    let files = [("memory.high", "67108864"), ("memory.min", "4096"), ("memory.oom.group", "1")];
    holds(sandbox, "unified", memory, "memory", &files);
}

fn a_value_of_several_lines(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/unified", json!({ "io.max": "7:0 rbps=1000\n7:1 rbps=2000 wiops=5\n" }));
    sandbox.create();
    let text = read(sandbox, "io", "io.max");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["7:0 rbps=1000 wbps=max riops=max wiops=max", "7:1 rbps=2000 wbps=max riops=max wiops=5"]
    );
}

fn has_the_last_word(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/unified", json!({ "pids.max": "50" }));
    holds(sandbox, "pids", json!({ "limit": 100 }), "pids", &[("pids.max", "50")]);
}

fn what_the_kernel_refuses_names_the_key(sandbox: &mut Sandbox) {
    let field = "unified \"memory.high\"";
    let parts = ["memory.high", "\"lots\"", "EINVAL: invalid argument"];
    refuses(sandbox, "unified", json!({ "memory.high": "lots" }), field, &parts);
    let field = "unified \"memory.nonsense\"";
    refuses(sandbox, "unified", json!({ "memory.nonsense": "1" }), field, &["memory.nonsense", "ENOENT"]);
    let field = "unified \"nonsense.max\"";
    refuses(
        sandbox,
        "unified",
        json!({ "nonsense.max": "1" }),
        field,
        &["nonsense controller is not available"],
    );
}

/// No paths, and nothing that moves, freezes or kills.
fn keys_that_are_no_limits_are_refused(sandbox: &mut Sandbox) {
    for key in [
        "../memory.max",
        "a/memory.max",
        "memory",
        "memory.max\n",
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.kill",
        "cgroup.freeze",
        "cgroup.subtree_control",
        "cgroup.type",
    ] {
        refuses(sandbox, "unified", json!({ key: "1" }), &format!("unified {key:?}"), &[]);
    }
}

/// Also where a v2 hierarchy is mounted besides, which has not got the controller.
fn is_refused_on_v1(sandbox: &mut Sandbox) {
    let field = "unified \"memory.high\"";
    refuses(sandbox, "unified", json!({ "memory.high": "1" }), field, &["cannot use unified", "v1"]);
    assert!(fs::exists(sandbox.cgroup_of("memory", "/")).unwrap());
}

fn without_its_controller_is_an_error(sandbox: &mut Sandbox) {
    let field = "unified \"memory.high\"";
    refuses(
        sandbox,
        "unified",
        json!({ "memory.high": "1" }),
        field,
        &["memory controller is not available"],
    );
}
