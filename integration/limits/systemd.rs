//! Limits that systemd has no property for, in a scope that systemd has made: written besides, and left alone by it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::bfq_turn;
use super::block_io::Loop;
use crate::harness::{Layout, Need, Sandbox, output};

cases! {
    what_has_no_property_is_written: Need::Systemd, Need::Only(Layout::V2), Need::Controller("io"), Need::LoopDevices,
        Need::Kernel(5, 15, "cpu.idle");
    what_v2_cannot_do_is_refused: Need::Systemd, Need::Only(Layout::V2);
}

const MIB: u64 = 1 << 20;

/// The cgroup of the scope that the config then asks for.
fn scope(sandbox: &mut Sandbox) -> PathBuf {
    sandbox.set("/linux/cgroupsPath", json!(format!("system.slice:limits:{}", sandbox.token)));
    sandbox.args(&["/bin/sleep", "100"]);
    PathBuf::from(format!("/sys/fs/cgroup/system.slice/limits-{}.scope", sandbox.token))
}

fn what_has_no_property_is_written(sandbox: &mut Sandbox) {
    let _turn = bfq_turn();
    let scope = scope(sandbox);
    let disk = Loop::new(sandbox);
    disk.use_bfq();
    let name = disk.name();
    sandbox.set(
        "/linux/resources",
        json!({
            "memory": { "limit": 64 * MIB, "swap": -1, "kernel": 1, "checkBeforeUpdate": true },
            "cpu": { "quota": 50_000, "period": 100_000, "burst": 10_000, "mems": "0", "idle": 1 },
            "pids": { "limit": 0 },
            "blockIO": {
                "weight": 300,
                "weightDevice": [disk.entry("weight", 500)],
                "throttleReadBpsDevice": [disk.entry("rate", 1000)],
                "throttleWriteBpsDevice": [disk.entry("rate", 2000)],
                "throttleReadIOPSDevice": [disk.entry("rate", 30)],
                "throttleWriteIOPSDevice": [disk.entry("rate", 40)]
            },
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 * MIB }],
            "unified": { "cgroup.max.depth": "3", "memory.oom.group": "1" }
        }),
    );
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let args = ["--systemd-cgroup", "create", "--bundle", &bundle, &sandbox.token];
    sandbox.onggi(&args).limit(60).finish().ok();
    let bfq = scope.join("io.bfq.weight").exists();
    let (weight_file, weights) = if bfq {
        ("io.bfq.weight", format!("default 300\n{name} 500"))
    } else {
        ("io.weight", format!("default 2930\n{name} 4950"))
    };
    let io = format!("{name} rbps=1000 wbps=2000 riops=30 wiops=40");
    for reloaded in [false, true] {
        for (file, wanted) in [
            ("memory.max", "67108864"),
            ("memory.swap.max", "max"),
            ("memory.oom.group", "1"),
            ("cpu.max", "50000 100000"),
            ("cpu.max.burst", "10000"),
            ("cpu.idle", "1"),
            ("cpuset.mems", "0"),
            ("pids.max", "1"),
            (weight_file, &weights),
            ("io.max", &io),
            ("hugetlb.2MB.max", "4194304"),
            ("hugetlb.2MB.rsvd.max", "4194304"),
            ("cgroup.max.depth", "3"),
        ] {
            let text = fs::read_to_string(scope.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(text.trim(), wanted, "{file}, systemd reloaded: {reloaded}");
        }
        output(Command::new("systemctl").arg("daemon-reload"));
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).limit(60).finish().ok();
}

/// As without systemd, and before it is asked.
fn what_v2_cannot_do_is_refused(sandbox: &mut Sandbox) {
    scope(sandbox);
    for (property, value, field) in [
        ("memory", json!({ "swappiness": 60 }), "memory.swappiness"),
        ("memory", json!({ "disableOOMKiller": true }), "memory.disableOOMKiller"),
        ("memory", json!({ "useHierarchy": false }), "memory.useHierarchy"),
        ("memory", json!({ "swap": MIB }), "memory.swap"),
        ("cpu", json!({ "realtimeRuntime": 5000 }), "cpu.realtimeRuntime"),
        ("blockIO", json!({ "leafWeight": 10 }), "blockIO.leafWeight"),
        ("network", json!({ "classID": 1 }), "network.classID"),
    ] {
        sandbox.set(&format!("/linux/resources/{property}"), value);
        sandbox.write_config();
        let bundle = sandbox.path("bundle");
        let args = ["--systemd-cgroup", "create", "--bundle", &bundle, &sandbox.token];
        let output = sandbox.onggi(&args).limit(60).finish().error(&[&format!("linux.resources.{field}: ")]);
        sandbox.clean(&output);
        sandbox.unset(&format!("/linux/resources/{property}"));
    }
}
