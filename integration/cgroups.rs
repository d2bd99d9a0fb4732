//! Cgroups: where the container is put, what the limits write and do, what is removed (config-linux.md, Control
//! groups).

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
    a_frozen_cgroup_does_not_hang_create;
    cgroups_made_inside_are_removed: Need::Only(Layout::V2);
    paths_that_leave_the_hierarchy_are_refused;
    init_is_born_in_its_cgroup: Need::Only(Layout::V2), Need::Program("strace");
    a_limit_without_its_controller_is_an_error: Need::Only(Layout::V2), Need::NoController("pids");
    pids_limit: Need::Controller("pids");
    pids_unlimited: Need::Controller("pids");
    memory_limit_kills: Need::Controller("memory");
    memory_files_v1: Need::Only(Layout::V1), Need::Controller("memory");
    memory_files_v2: Need::Only(Layout::V2), Need::Controller("memory");
    memory_unlimited: Need::Controller("memory");
    memory_swap_below_the_limit_is_refused: Need::Controller("memory");
    cpu_files_v1: Need::Only(Layout::V1), Need::Controller("cpu");
    cpu_files_v2: Need::Only(Layout::V2), Need::Controller("cpu");
    cpu_quota_throttles: Need::Controller("cpu");
    cpu_set: Need::Controller("cpuset");
    bad_cpu_set_is_refused: Need::Controller("cpuset");
    a_value_the_kernel_refuses_leaves_nothing: Need::Controller("cpu");
    limits_hold_before_the_process_starts: Need::Controller("pids");
}

/// The lines of /proc/PID/cgroup that matter here: those of real controllers and of cgroup2.
fn own(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().filter(|line| !line.contains("name=")).map(str::to_owned).collect()
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

fn a_limit_without_its_controller_is_an_error(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 10 }));
    sandbox.refused(&["linux.resources.pids", "controller"]);
}

fn read(sandbox: &Sandbox, controller: &str, file: &str) -> String {
    let path = sandbox.cgroup(controller).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn pids_limit(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 7 }));
    let script = "for n in $(seq 20); do sleep 100 & done; echo up > /up; wait";
    sandbox.script(script);
    sandbox.create();
    assert_eq!(read(sandbox, "pids", "pids.max"), "7");
    sandbox.start();
    let refused = || read(sandbox, "pids", "pids.events").split(' ').nth(1).unwrap().parse::<u32>().unwrap();
    assert!(until(5, || refused() > 0), "no fork was refused");
    assert!(read(sandbox, "pids", "pids.current").parse::<u32>().unwrap() <= 7);
}

fn pids_unlimited(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": -1 }));
    sandbox.create();
    assert_eq!(read(sandbox, "pids", "pids.max"), "max");
}

fn memory_limit_kills(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 16 << 20, "swap": 16 << 20 }));
    sandbox.script(
        "head -c 8m /dev/zero > /dev/shm/small && echo small; head -c 64m /dev/zero | tail > /dev/null",
    );
    let output = sandbox.run();
    assert!(output.stdout.contains("small") && !output.status.success(), "{}", output.describe());
}

fn memory_files_v1(sandbox: &mut Sandbox) {
    sandbox.set(
        "/linux/resources/memory",
        json!({ "limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20, "swappiness": 17, "disableOOMKiller": true }),
    );
    sandbox.create();
    assert_eq!(read(sandbox, "memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read(sandbox, "memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert_eq!(read(sandbox, "memory", "memory.swappiness"), "17");
    assert!(read(sandbox, "memory", "memory.oom_control").contains("oom_kill_disable 1"));
    if sandbox.cgroup("memory").join("memory.memsw.limit_in_bytes").exists() {
        assert_eq!(read(sandbox, "memory", "memory.memsw.limit_in_bytes"), (96 << 20).to_string());
    }
}

fn memory_files_v2(sandbox: &mut Sandbox) {
    let memory = json!({ "limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20 });
    sandbox.set("/linux/resources/memory", memory);
    sandbox.create();
    assert_eq!(read(sandbox, "memory", "memory.max"), (64 << 20).to_string());
    assert_eq!(read(sandbox, "memory", "memory.low"), (32 << 20).to_string());
    assert_eq!(read(sandbox, "memory", "memory.swap.max"), (32 << 20).to_string(), "v2 counts swap alone");
}

fn memory_unlimited(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": -1 }));
    sandbox.create();
    let (file, wanted) = match sandbox.layout {
        Layout::V1 => ("memory.limit_in_bytes", "9223372036854771712"),
        Layout::V2 => ("memory.max", "max"),
    };
    assert_eq!(read(sandbox, "memory", file), wanted);
}

fn memory_swap_below_the_limit_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 64 << 20, "swap": 32 << 20 }));
    sandbox.refused(&["linux.resources.memory.swap"]);
}

fn cpu_files_v1(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "shares": 512, "quota": 25000, "period": 50000 }));
    sandbox.create();
    assert_eq!(read(sandbox, "cpu", "cpu.shares"), "512");
    assert_eq!(read(sandbox, "cpu", "cpu.cfs_quota_us"), "25000");
    assert_eq!(read(sandbox, "cpu", "cpu.cfs_period_us"), "50000");
}

fn cpu_files_v2(sandbox: &mut Sandbox) {
    for (shares, weights) in [(2, 1..=1), (1024, 39..=100), (262_144, 10000..=10000)] {
        sandbox.set("/linux/resources/cpu", json!({ "shares": shares, "quota": 25000, "period": 50000 }));
        sandbox.create();
        assert_eq!(read(sandbox, "cpu", "cpu.max"), "25000 50000");
        let weight: u32 = read(sandbox, "cpu", "cpu.weight").parse().unwrap();
        assert!(weights.contains(&weight), "{shares} shares are weight {weight}");
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}

fn cpu_quota_throttles(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "quota": 5000, "period": 100_000 }));
    sandbox.script("while :; do :; done");
    sandbox.create();
    sandbox.start();
    let throttled = || {
        let text = read(sandbox, "cpu", "cpu.stat");
        let line = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap().to_owned();
        line.parse::<u32>().unwrap()
    };
    assert!(until(5, || throttled() > 1));
    kill(Pid::from_raw(sandbox.pid()), Signal::SIGKILL).unwrap();
}

fn cpu_set(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "cpus": "0", "mems": "0" }));
    assert_eq!(sandbox.prove("grep Cpus_allowed_list /proc/self/status"), "Cpus_allowed_list:\t0");
    sandbox.create();
    assert_eq!(
        (read(sandbox, "cpuset", "cpuset.cpus"), read(sandbox, "cpuset", "cpuset.mems")),
        ("0".into(), "0".into())
    );
}

fn bad_cpu_set_is_refused(sandbox: &mut Sandbox) {
    for cpus in ["9999", "zero", "0-", "../x"] {
        sandbox.set("/linux/resources/cpu", json!({ "cpus": cpus }));
        sandbox.refused(&["linux.resources.cpu.cpus"]);
    }
}

fn a_value_the_kernel_refuses_leaves_nothing(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "quota": 50000, "period": 1 }));
    sandbox.refused(&["linux.resources.cpu", "invalid argument"]);
}

fn limits_hold_before_the_process_starts(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 3 }));
    sandbox.create();
    assert_eq!(read(sandbox, "pids", "pids.max"), "3");
    assert_eq!(read(sandbox, "pids", "cgroup.procs"), sandbox.pid().to_string());
    assert!(Path::new(&sandbox.cgroup("pids")).exists());
}
