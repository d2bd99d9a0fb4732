//! Over and over: what a thousand containers leave, and what becomes of a cgroup that cannot be removed.

use std::fs;
use std::path::Path;

use crate::harness::{Need, Sandbox, patience, state_of, until};
use crate::pause::Frozen;

cases! {
    a_thousand_cycles_leave_nothing;
    a_process_that_cannot_die_is_named:
        Need::Program("mkfs.ext4"), Need::Program("fsfreeze"), Need::File("/dev/loop-control");
}

/// How often a container is created and deleted; a slow machine, which asks for patience, does its part of it.
const CYCLES: u32 = 1000;

/// The cgroups below this one, and the mounts that are seen from here and bear the token.
fn count(sandbox: &Sandbox) -> (usize, usize) {
    fn below(dir: &Path) -> usize {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).map(|entry| 1 + below(&entry.path())).sum()
    }
    let hierarchies = sandbox.layout.hierarchies();
    let cgroups = hierarchies.iter().map(|one| below(&one.mount.join(&sandbox.token))).sum();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    (cgroups, mounts.lines().filter(|line| line.contains(&sandbox.token)).count())
}

fn a_thousand_cycles_leave_nothing(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let before = count(sandbox);
    for done in 1..=CYCLES / patience() {
        sandbox.create();
        if done % 2 == 0 {
            sandbox.start();
        }
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        assert_eq!(count(sandbox), before, "after {done} containers");
        if done % 50 == 0 {
            // What the calls have printed is not needed any more.
            fs::remove_dir_all(sandbox.dir.join("calls")).unwrap();
            fs::create_dir(sandbox.dir.join("calls")).unwrap();
            crate::harness::reap_orphans();
        }
    }
}

/// It waits in the kernel for a frozen file system, so that SIGKILL has to wait too.
fn a_process_that_cannot_die_is_named(sandbox: &mut Sandbox) {
    let point = sandbox.path("slow");
    sandbox
        .mount("/mnt", "bind", &point, &["rbind"])
        .without_namespace("pid")
        .script("(until [ -e /go ]; do sleep 0.02; done; echo x > /mnt/x) & echo up > /up; exec sleep 100");
    let slow = Frozen::new(sandbox);
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    slow.freeze("--freeze");
    fs::write(sandbox.rootfs("go"), "").unwrap();
    let cgroup = sandbox.cgroup("devices");
    let stuck = || {
        let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        text.lines().find(|pid| state_of(pid.parse().unwrap()) == Some('D')).map(str::to_owned)
    };
    let mut pid = None;
    assert!(until(5, || {
        pid = stuck();
        pid.is_some()
    }));
    let words = ["delete", "--force", &sandbox.token];
    let output = sandbox.onggi(&words).limit(60).finish();
    output.error(&["SIGKILL", &format!("held by processes {}", pid.unwrap())]);
    assert!(cgroup.exists() && sandbox.root().join(&sandbox.token).exists(), "forgotten, but not gone");
    slow.freeze("--unfreeze");
    let output = sandbox.onggi(&words).finish().ok();
    drop(slow);
    sandbox.clean(&output);
}
