//! Cgroups: where the container is put, what is removed (config-linux.md, Control groups). Limits have a folder of
//! their own.

use std::fs;

use serde_json::json;

use crate::harness::{Layout, Need, Sandbox, until};

cases! {
    init_is_in_the_cgroup_of_the_config;
    children_are_in_the_same_cgroup;
    a_nested_path_is_created;
    a_relative_path_is_taken;
    without_a_path_there_is_a_default;
    the_same_path_gives_the_same_place;
    an_existing_cgroup_is_joined_and_kept;
    a_cgroup_in_use_is_refused;
    who_took_over_a_dead_containers_cgroup_is_spared;
    what_a_dead_container_left_running_ends;
    sigkill_ends_all_without_a_pid_namespace;
    a_frozen_cgroup_does_not_hang_create;
    cgroups_made_inside_are_removed: Need::Only(Layout::V2);
    paths_that_leave_the_hierarchy_are_refused;
    init_is_born_in_its_cgroup: Need::Only(Layout::V2), Need::Program("strace");
}

/// The lines of /proc/PID/cgroup that matter here: those of real controllers, mounted for all to see, and of cgroup2.
fn own(pid: i32) -> Vec<String> {
    let mounted: Vec<String> =
        Layout::V1.hierarchies().into_iter().flat_map(|hierarchy| hierarchy.controllers).collect();
    let counts = |line: &&str| {
        let mut controllers = line.split(':').nth(1).unwrap_or_default().split(',');
        controllers
            .all(|name| name.is_empty() || (!name.contains('=') && mounted.iter().any(|it| it == name)))
    };
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().filter(counts).map(str::to_owned).collect()
}

fn init_is_in_the_cgroup_of_the_config(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let lines = own(pid);
    if sandbox.layout == Layout::V2 {
        assert!(lines.contains(&format!("0::{path}")), "{lines:?}");
    } else {
        let v1 = lines.iter().filter(|line| !line.starts_with("0:"));
        assert!(v1.clone().all(|line| line.ends_with(&format!(":{path}"))), "every v1 hierarchy: {lines:?}");
    }
    let listed = fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap();
    assert_eq!(listed.trim(), pid.to_string());
}

fn children_are_in_the_same_cgroup(sandbox: &mut Sandbox) {
    sandbox.without_namespace("cgroup").script("cat /proc/self/cgroup; sh -c 'cat /proc/self/cgroup'");
    let output = sandbox.run().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..lines.len() / 2], lines[lines.len() / 2..]);
}

fn a_nested_path_is_created(sandbox: &mut Sandbox) {
    let path = format!("/{}/a/b/c", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(path));
    sandbox.create();
    assert!(sandbox.cgroup("devices").join("cgroup.procs").exists());
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert!(!sandbox.cgroup("devices").exists());
    // The parents on the way are an engine's; here nobody else removes them.
    for part in ["a/b", "a"] {
        sandbox.remove_cgroups(&format!("/{}/{part}", sandbox.token));
    }
}

fn a_relative_path_is_taken(sandbox: &mut Sandbox) {
    let path = format!("{}-relative", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(path));
    let pid = sandbox.start_sleeper();
    assert!(own(pid).iter().any(|line| line.ends_with(&format!("/{path}"))), "{:?}", own(pid));
}

fn without_a_path_there_is_a_default(sandbox: &mut Sandbox) {
    sandbox.unset("/linux/cgroupsPath");
    let pid = sandbox.start_sleeper();
    let lines = own(pid);
    assert!(lines.iter().any(|line| line.contains(&sandbox.token)), "a cgroup of its own: {lines:?}");
}

fn the_same_path_gives_the_same_place(sandbox: &mut Sandbox) {
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(own(sandbox.start_sleeper()));
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
    assert_eq!(seen[0], seen[1]);
}

/// Every directory of the configured path, in each hierarchy, as an engine would prepare it.
fn prepared(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap();
    let controllers = ["devices", "pids", "memory", "cpu", "cpuacct", "freezer", "blkio", "cgroup"];
    let all = controllers.iter().filter_map(|controller| sandbox.layout.cgroup(controller, path));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all.dedup();
    all.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    all
}

/// "Resources associated with the container, but not created by this container, MUST NOT be deleted" (runtime.md).
fn an_existing_cgroup_is_joined_and_kept(sandbox: &mut Sandbox) {
    let made = prepared(sandbox);
    let pid = sandbox.start_sleeper();
    for dir in &made {
        let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert_eq!(listed.trim(), pid.to_string(), "{}", dir.display());
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let kept: Vec<bool> = made.iter().map(|dir| fs::remove_dir(dir).is_ok()).collect();
    assert!(kept.iter().all(|&kept| kept), "removed although it was there before: {made:?}, {kept:?}");
}

/// Two containers in one cgroup could not be killed, frozen or limited apart.
fn a_cgroup_in_use_is_refused(sandbox: &mut Sandbox) {
    let first = sandbox.start_sleeper();
    let second = format!("{}-b", sandbox.token);
    let bundle = sandbox.path("bundle");
    let output = sandbox.onggi(&["run", "--detach", "--bundle", &bundle, &second]).finish();
    output.error(&["linux.cgroupsPath", "in use"]);
    let listed = fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap();
    assert_eq!(listed.trim(), first.to_string());
    assert_eq!(sandbox.status(), "running");
}

/// A dead container has a pid namespace of its own: whoever is in its cgroup now is not its own.
fn who_took_over_a_dead_containers_cgroup_is_spared(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    let (second, bundle) = (format!("{}-b", sandbox.token), sandbox.path("bundle"));
    let pid_file = sandbox.path("second.pid");
    let words = ["run", "--detach", "--pid-file", &pid_file, "--bundle", &bundle, &second];
    sandbox.onggi(&words).finish().ok();
    let pid = fs::read_to_string(&pid_file).unwrap();
    sandbox.onggi(&["kill", "--all", &sandbox.token, "KILL"]).finish().ok();
    let delete = ["delete", "--force", &sandbox.token];
    sandbox.onggi(&delete).finish().error(&[&format!("held by processes {pid}")]);
    let state = sandbox.onggi(&["state", &second]).finish().ok().stdout;
    assert!(state.contains("running"), "{state}");
    sandbox.onggi(&["delete", "--force", &second]).finish().ok();
    sandbox.onggi(&delete).finish().ok();
    assert!(!sandbox.cgroup("devices").exists());
}

/// Without a pid namespace of its own those it has started live on, also in a cgroup that was there before.
fn what_a_dead_container_left_running_ends(sandbox: &mut Sandbox) {
    let made = prepared(sandbox);
    sandbox.without_namespace("pid").script("sleep 100 & exit");
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_status("stopped");
    let left = || fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap();
    assert_eq!(left().lines().count(), 1);
    sandbox.onggi(&["delete", &sandbox.token]).finish().ok();
    assert_eq!(left(), "");
    made.iter().for_each(|dir| fs::remove_dir(dir).unwrap());
}

/// As runc has it: whoever sends SIGKILL wants the container gone.
fn sigkill_ends_all_without_a_pid_namespace(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid").script("sleep 100 & echo up > /up; exec sleep 100");
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    let left = || fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap();
    assert_eq!(left().lines().count(), 2);
    sandbox.kill("KILL");
    assert!(until(5, || left().is_empty()), "{}", left());
}

fn a_frozen_cgroup_does_not_hang_create(sandbox: &mut Sandbox) {
    let made = prepared(sandbox);
    let v1 = sandbox.cgroup("freezer").join("freezer.state");
    let (file, freeze) =
        if v1.exists() { (v1, "FROZEN") } else { (sandbox.cgroup("cgroup").join("cgroup.freeze"), "1") };
    fs::write(&file, freeze).unwrap();
    let output = sandbox.begin("create", &[]).finish();
    output.error(&["linux.cgroupsPath", "frozen"]);
    made.iter().for_each(|dir| fs::remove_dir(dir).unwrap());
}

fn cgroups_made_inside_are_removed(sandbox: &mut Sandbox) {
    sandbox.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
    sandbox.script("cd /sys/fs/cgroup; mkdir -p a/b c; sleep 100 & echo $! > a/b/cgroup.procs; sleep 100");
    sandbox.create();
    sandbox.start();
    let inner = sandbox.cgroup("cgroup").join("a/b/cgroup.procs");
    assert!(until(5, || fs::read_to_string(&inner).is_ok_and(|text| !text.is_empty())));
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

fn paths_that_leave_the_hierarchy_are_refused(sandbox: &mut Sandbox) {
    for path in ["/../../../tmp/x", "../x", "/a/../../b", "a/..", ".."] {
        sandbox.set("/linux/cgroupsPath", json!(path));
        sandbox.refused(&["linux.cgroupsPath"]);
    }
}

fn init_is_born_in_its_cgroup(sandbox: &mut Sandbox) {
    let trace = sandbox.path("trace");
    let call = sandbox.begin("run", &[]).through(&["strace", "-f", "-e", "trace=clone3", "-o", &trace]);
    call.finish().ok();
    let text = fs::read_to_string(&trace).unwrap();
    assert!(text.contains("CLONE_INTO_CGROUP"), "{text}");
}
