//! linux.resources.cpu.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{by_layout, holds, keyed, read, refuses};
use crate::harness::{Layout, Need, Sandbox, output, until};

cases! {
    a_busy_loop_gets_its_quota: Need::Controller("cpu");
    shares_are_proportional: Need::Controller("cpu"), Need::Controller("cpuset");
    shares: Need::Controller("cpu");
    quota_and_period: Need::Controller("cpu");
    burst: Need::Controller("cpu"), Need::Kernel(5, 14, "cpu.burst");
    idle: Need::Controller("cpu"), Need::Kernel(5, 15, "cpu.idle");
    realtime: Need::Only(Layout::V1), Need::TopFile("cpu", "cpu.rt_runtime_us"), Need::Program("chrt");
    realtime_is_refused: Need::Only(Layout::V2);
    cpus_and_mems: Need::Controller("cpuset");
    sets_of_the_cgroups_above_are_filled: Need::Only(Layout::V1), Need::Controller("cpuset");
    a_bad_set_is_refused: Need::Controller("cpuset");
    what_the_kernel_refuses_leaves_nothing: Need::Controller("cpu");
}

/// Processor time that a container's cgroup has had.
fn used(sandbox: &Sandbox, path: &str) -> Duration {
    match sandbox.layout {
        Layout::V1 => {
            let file = sandbox.cgroup_of("cpuacct", path).join("cpuacct.usage");
            Duration::from_nanos(fs::read_to_string(file).unwrap().trim().parse().unwrap())
        }
        Layout::V2 => {
            let text = fs::read_to_string(sandbox.cgroup_of("cpu", path).join("cpu.stat")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
            Duration::from_micros(line.parse().unwrap())
        }
    }
}

/// Within 10 %: thirty periods are measured, so that where they begin and end matters little. Another guest of the
/// machine may take the processor away; then it is measured again.
fn a_busy_loop_gets_its_quota(sandbox: &mut Sandbox) {
    const SHARE: f64 = 0.2;
    sandbox.set("/linux/resources/cpu", json!({ "quota": 20_000, "period": 100_000 }));
    sandbox.script("while :; do :; done");
    sandbox.create();
    sandbox.start();
    let throttled = || keyed(sandbox, "cpu", "cpu.stat", "nr_throttled");
    assert!(until(10, || throttled() > 1));
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap();
    let measured: Vec<f64> = (0..3)
        .map(|_| {
            let (begin, before, stops) = (Instant::now(), used(sandbox, path), throttled());
            sleep(Duration::from_secs(3));
            let share = (used(sandbox, path) - before).as_secs_f64() / begin.elapsed().as_secs_f64();
            assert!(throttled() > stops, "it was never throttled");
            share / SHARE
        })
        .scan(false, |found, ratio| {
            let go_on = !*found;
            *found = (0.9..=1.1).contains(&ratio);
            go_on.then_some(ratio)
        })
        .collect();
    let last = measured.last().unwrap();
    assert!((0.9..=1.1).contains(last), "part of the quota that was used: {measured:?}");
}

/// Two loops on one processor: the one with eight times the shares gets far more of it.
fn shares_are_proportional(sandbox: &mut Sandbox) {
    sandbox.script("while :; do :; done");
    let path = |name: &str| format!("/{}/{name}", sandbox.token);
    let (few, many) = (path("few"), path("many"));
    let bundle = sandbox.path("bundle");
    for (name, shares) in [("few", 256), ("many", 2048)] {
        let path = format!("/{}/{name}", sandbox.token);
        sandbox.set("/linux/cgroupsPath", json!(path));
        sandbox.set("/linux/resources/cpu", json!({ "shares": shares, "cpus": "0" }));
        sandbox.write_config();
        let id = format!("{}-{name}", sandbox.token);
        sandbox.onggi(&["run", "--detach", "--bundle", &bundle, &id]).finish().ok();
    }
    let (a, b) = (used(sandbox, &few), used(sandbox, &many));
    sleep(Duration::from_secs(3));
    let (a, b) = ((used(sandbox, &few) - a).as_secs_f64(), (used(sandbox, &many) - b).as_secs_f64());
    assert!(b > 2.5 * a, "{a} s with 256 shares, {b} s with 2048");
}

fn shares(sandbox: &mut Sandbox) {
    for (shares, weight) in [(2, "1"), (512, "59"), (1024, "100"), (262_144, "10000")] {
        let shares_text = shares.to_string();
        let file = by_layout(sandbox, ("cpu.shares", shares_text.as_str()), ("cpu.weight", weight));
        holds(sandbox, "cpu", json!({ "shares": shares }), "cpu", &[file]);
    }
}

fn quota_and_period(sandbox: &mut Sandbox) {
    let both = json!({ "quota": 25_000, "period": 50_000 });
    let v1 = [("cpu.cfs_quota_us", "25000"), ("cpu.cfs_period_us", "50000")];
    let files = by_layout(sandbox, &v1[..], &[("cpu.max", "25000 50000")]);
    holds(sandbox, "cpu", both, "cpu", files);
    let file = by_layout(sandbox, ("cpu.cfs_period_us", "50000"), ("cpu.max", "max 50000"));
    holds(sandbox, "cpu", json!({ "period": 50_000 }), "cpu", &[file]);
    let file = by_layout(sandbox, ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000"));
    holds(sandbox, "cpu", json!({ "quota": -1 }), "cpu", &[file]);
}

fn burst(sandbox: &mut Sandbox) {
    let file = by_layout(sandbox, "cpu.cfs_burst_us", "cpu.max.burst");
    holds(sandbox, "cpu", json!({ "quota": 50_000, "burst": 10_000 }), "cpu", &[(file, "10000")]);
    let above = json!({ "quota": 50_000, "burst": 60_000 });
    refuses(sandbox, "cpu", above, "cpu.burst", &[file, "\"60000\"", "EINVAL: invalid argument"]);
}

fn idle(sandbox: &mut Sandbox) {
    holds(sandbox, "cpu", json!({ "idle": 1 }), "cpu", &[("cpu.idle", "1")]);
    holds(sandbox, "cpu", json!({ "idle": 0, "shares": 512 }), "cpu", &[("cpu.idle", "0")]);
    refuses(sandbox, "cpu", json!({ "idle": 2 }), "cpu.idle", &["neither 0 nor 1"]);
}

/// A process may only become a realtime one in a cgroup that has realtime to give.
fn realtime(sandbox: &mut Sandbox) {
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}", sandbox.token)));
    let becomes = |pid: i32| {
        let pid = pid.to_string();
        output(Command::new("chrt").args(["--fifo", "--pid", "1", &pid])).status.success()
    };
    assert!(!becomes(sandbox.start_sleeper()), "realtime without a limit");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let cpu = json!({ "realtimeRuntime": 5000, "realtimePeriod": 500_000 });
    sandbox.set("/linux/resources/cpu", cpu);
    let pid = sandbox.start_sleeper();
    assert_eq!(read(sandbox, "cpu", "cpu.rt_runtime_us"), "5000");
    assert_eq!(read(sandbox, "cpu", "cpu.rt_period_us"), "500000");
    assert!(becomes(pid));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    // The cgroup above has no realtime that it could share.
    sandbox.set("/linux/cgroupsPath", json!(format!("/{0}/{0}", sandbox.token)));
    let runtime = json!({ "realtimeRuntime": 5000 });
    refuses(
        sandbox,
        "cpu",
        runtime,
        "cpu.realtimeRuntime",
        &["cpu.rt_runtime_us", "\"5000\"", "EINVAL", "above"],
    );
}

fn realtime_is_refused(sandbox: &mut Sandbox) {
    for member in ["realtimeRuntime", "realtimePeriod"] {
        refuses(sandbox, "cpu", json!({ member: 5000 }), &format!("cpu.{member}"), &["cgroup v2 cannot"]);
    }
    sandbox.set("/linux/resources/cpu", json!({ "realtimeRuntime": 0, "realtimePeriod": 0 }));
    assert_eq!(sandbox.prove("echo alive"), "alive");
}

fn cpus_and_mems(sandbox: &mut Sandbox) {
    let last = std::thread::available_parallelism().unwrap().get() - 1;
    sandbox.set("/linux/resources/cpu", json!({ "cpus": last.to_string(), "mems": "0" }));
    assert_eq!(
        sandbox.prove("grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status"),
        format!("Cpus_allowed_list:\t{last}\nMems_allowed_list:\t0")
    );
    let last = last.to_string();
    let files = [("cpuset.cpus", last.as_str()), ("cpuset.mems", "0")];
    holds(sandbox, "cpu", json!({ "cpus": last, "mems": "0" }), "cpuset", &files);
}

/// v1: a cgroup has no more than the ones above it, and a new one has nothing.
fn sets_of_the_cgroups_above_are_filled(sandbox: &mut Sandbox) {
    let path = format!("/{}/a/b", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(path));
    sandbox.set("/linux/resources/cpu", json!({ "cpus": "0" }));
    sandbox.create();
    let file = |path: &str, file: &str| {
        fs::read_to_string(sandbox.cgroup_of("cpuset", path).join(file)).unwrap().trim().to_owned()
    };
    assert_eq!(
        (file(&path, "cpuset.cpus"), file(&path, "cpuset.mems")),
        ("0".into(), file("/", "cpuset.mems"))
    );
    for above in [format!("/{}/a", sandbox.token), format!("/{}", sandbox.token)] {
        for name in ["cpuset.cpus", "cpuset.mems"] {
            assert_eq!(file(&above, name), file("/", name), "{name} of {above}");
        }
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.remove_cgroups(&format!("/{}/a", sandbox.token));
}

fn a_bad_set_is_refused(sandbox: &mut Sandbox) {
    for cpus in ["9999", "zero", "0-", "../x"] {
        refuses(sandbox, "cpu", json!({ "cpus": cpus }), "cpu.cpus", &[cpus]);
    }
    refuses(sandbox, "cpu", json!({ "mems": "999" }), "cpu.mems", &["cpuset.mems", "\"999\""]);
}

fn what_the_kernel_refuses_leaves_nothing(sandbox: &mut Sandbox) {
    let (field, file) = by_layout(sandbox, ("cpu.period", "cpu.cfs_period_us"), ("cpu.quota", "cpu.max"));
    let period = json!({ "quota": 50_000, "period": 1 });
    refuses(sandbox, "cpu", period, field, &[file, "1\"", "EINVAL: invalid argument"]);
}
