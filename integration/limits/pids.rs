//! linux.resources.pids.

use std::fs;

use serde_json::json;

use super::{holds, keyed, lifts, prepared, read, refuses};
use crate::harness::{Layout, Need, Sandbox, until};

cases! {
    a_fork_bomb_stops: Need::Controller("pids");
    limit: Need::Controller("pids");
    zero_is_a_limit: Need::Controller("pids");
    no_limit: Need::Controller("pids");
    unset_is_untouched: Need::Controller("pids");
    holds_before_the_process_starts: Need::Controller("pids");
    nonsense_is_refused;
    without_its_controller_is_an_error: Need::Only(Layout::V2), Need::NoController("pids");
}

/// Each process starts two: 127 in all, so that a runtime that sets no limit is found out and nobody else suffers.
fn a_fork_bomb_stops(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 7 }));
    sandbox
        .script("bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) & bomb $(($1 - 1)) & wait; }; sleep 1; }; bomb 6");
    sandbox.create();
    sandbox.start();
    assert!(until(10, || keyed(sandbox, "pids", "pids.events", "max") > 0), "no fork was refused");
    let peak = if sandbox.cgroup("pids").join("pids.peak").exists() { "pids.peak" } else { "pids.current" };
    assert!(read(sandbox, "pids", peak).parse::<u32>().unwrap() <= 7);
}

fn limit(sandbox: &mut Sandbox) {
    holds(sandbox, "pids", json!({ "limit": 4242 }), "pids", &[("pids.max", "4242")]);
}

/// The container's own process lives, and is alone.
fn zero_is_a_limit(sandbox: &mut Sandbox) {
    holds(sandbox, "pids", json!({ "limit": 0 }), "pids", &[("pids.max", "1")]);
    sandbox.set("/linux/resources/pids", json!({ "limit": 0 }));
    sandbox.script("echo alive; /bin/true; echo not reached");
    let output = sandbox.run();
    assert!(output.stdout == "alive\n" && !output.status.success(), "{}", output.describe());
}

fn no_limit(sandbox: &mut Sandbox) {
    lifts(sandbox, "pids", json!({ "limit": -1 }), "pids", &[("pids.max", "50", "max")]);
}

/// An object without a limit asks for none: not for the limit 0.
fn unset_is_untouched(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({}));
    assert_eq!(sandbox.prove("/bin/true; echo alive"), "alive");
    let dir = prepared(sandbox, "pids");
    fs::write(dir.join("pids.max"), "50").unwrap();
    holds(sandbox, "pids", json!({}), "pids", &[("pids.max", "50")]);
    fs::remove_dir(dir).unwrap();
}

fn holds_before_the_process_starts(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 3 }));
    sandbox.create();
    assert_eq!(read(sandbox, "pids", "pids.max"), "3");
    assert_eq!(read(sandbox, "pids", "cgroup.procs"), sandbox.pid().to_string());
}

fn nonsense_is_refused(sandbox: &mut Sandbox) {
    refuses(sandbox, "pids", json!({ "limit": -2 }), "pids.limit", &["-2"]);
}

fn without_its_controller_is_an_error(sandbox: &mut Sandbox) {
    refuses(sandbox, "pids", json!({ "limit": 10 }), "pids.limit", &["controller"]);
}
