//! Many at once: a thousand `exec`s into one container, and `exec` while the container comes to its end.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use super::{exec, processes};
use crate::harness::{Call, Output, Running, Sandbox, reap_orphans, until};

cases! {
    a_thousand_and_nothing_is_left;
    while_the_container_is_killed;
    while_the_container_is_deleted;
    while_the_container_ends_by_itself;
    while_the_container_is_paused_and_resumed;
}

/// How many there are, and how many of them at the same time.
const ALL: u32 = 1000;
const AT_ONCE: u32 = 50;

/// All that a container may hold more of than before: processes in its cgroups, descriptors and mounts of its process,
/// files of its state.
fn holdings(sandbox: &Sandbox, pid: i32) -> Vec<String> {
    let count = |dir: &Path| fs::read_dir(dir).unwrap().count();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    vec![
        format!("{:?}", processes(sandbox)),
        format!("{} descriptors", count(Path::new(&format!("/proc/{pid}/fd")))),
        format!("{} mounts", mounts.lines().count()),
        format!("{} files", count(&sandbox.root().join(&sandbox.token))),
    ]
}

fn a_thousand_and_nothing_is_left(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let before = holdings(sandbox, pid);
    let (next, sandbox) = (AtomicU32::new(0), &*sandbox);
    scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ALL {
                        break;
                    }
                    let text = number.to_string();
                    let output = exec(sandbox, &[], &["/bin/echo", &text]).limit(60).finish().ok();
                    assert_eq!((output.text(), output.stderr.as_str()), (text.as_str(), ""));
                }
            });
        }
    });
    let mut after = Vec::new();
    let same = until(5, || {
        after = holdings(sandbox, pid);
        after == before
    });
    assert!(same, "before {before:?}, after {after:?}");
    assert_eq!(sandbox.status(), "running");
}

/// So many execs of a program that takes a while.
fn crowd(sandbox: &Sandbox, count: u32) -> Vec<Running> {
    let start = |_| exec(sandbox, &[], &["/bin/sleep", "0.05"]).limit(30).spawn();
    (0..count).map(start).collect()
}

/// Each ended: well, by the container's end, or with a reason.
#[track_caller]
fn accounted_for(outputs: Vec<Output>) {
    for output in outputs {
        match output.status.code() {
            Some(0 | 137) => assert_eq!(output.stderr, "", "{}", output.describe()),
            Some(255) => {
                let line = output.stderr.strip_prefix("error: exec ");
                assert!(line.is_some_and(|line| line.lines().count() == 1), "{}", output.describe());
            }
            _ => panic!("{}", output.describe()),
        }
    }
}

/// Rounds of a container, a crowd of execs into it, and its end at another moment each time.
fn race(sandbox: &mut Sandbox, end: fn(&Sandbox) -> Call) {
    sandbox.args(&["/bin/sleep", "100"]);
    for round in 0..8 {
        sandbox.begin("run", &["--detach"]).finish().ok();
        let running = crowd(sandbox, 12);
        sleep(Duration::from_millis(5 * round));
        end(sandbox).finish().ok();
        accounted_for(running.into_iter().map(Running::finish).collect());
        let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        reap_orphans();
        sandbox.clean(&output);
    }
}

fn while_the_container_is_killed(sandbox: &mut Sandbox) {
    race(sandbox, |sandbox| sandbox.onggi(&["kill", &sandbox.token, "KILL"]));
}

fn while_the_container_is_deleted(sandbox: &mut Sandbox) {
    race(sandbox, |sandbox| sandbox.onggi(&["delete", "--force", &sandbox.token]));
}

fn while_the_container_ends_by_itself(sandbox: &mut Sandbox) {
    for round in 0..8 {
        sandbox.script(&format!("sleep 0.{:02}", 2 * round + 1));
        sandbox.begin("run", &["--detach"]).finish().ok();
        accounted_for(crowd(sandbox, 12).into_iter().map(Running::finish).collect());
        let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        reap_orphans();
        sandbox.clean(&output);
    }
}

/// Refused or delayed, but never lost.
fn while_the_container_is_paused_and_resumed(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let before = holdings(sandbox, pid);
    let mut outputs = Vec::new();
    for _ in 0..5 {
        let running = crowd(sandbox, 8);
        for _ in 0..2 {
            sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
            sandbox.onggi(&["resume", &sandbox.token]).finish().ok();
        }
        outputs.extend(running.into_iter().map(Running::finish));
    }
    for output in &outputs {
        let refused = output.stderr.contains("cannot exec in a paused container");
        assert!(output.status.code() == Some(if refused { 255 } else { 0 }), "{}", output.describe());
    }
    assert_eq!(holdings(sandbox, pid), before);
}
