//! Devices: the default ones, the links, the extra ones, and what the device cgroup lets through (config-linux.md).

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox};

cases! {
    default_devices_are_there;
    default_devices_work;
    default_links_are_there;
    extra_devices_are_made;
    extra_devices_outside_dev;
    extra_devices_in_folders_that_do_not_exist;
    extra_device_with_the_name_of_a_default_one;
    fifos_are_made;
    bad_devices_are_refused;
    everything_is_denied_but_the_defaults;
    a_rule_allows_a_device;
    a_rule_allows_reading_only;
    a_rule_with_a_wildcard;
    later_rules_win;
    mknod_needs_a_rule;
    rules_hold_for_started_processes;
    no_rules_means_no_limit;
    bad_rules_are_refused;
    devices_in_a_user_namespace: Need::UserNamespaces;
}

fn default_devices_are_there(sandbox: &mut Sandbox) {
    let wanted = "null 1:3\nzero 1:5\nfull 1:7\nrandom 1:8\nurandom 1:9\ntty 5:0";
    let script =
        "cd /dev; for d in null zero full random urandom tty; do stat -c '%n %t:%T %f %u:%g' $d; done";
    let seen = sandbox.prove(script);
    let wanted: Vec<String> = wanted.lines().map(|line| format!("{line} 21b6 0:0")).collect();
    assert_eq!(seen.lines().collect::<Vec<_>>(), wanted, "character devices, mode 0666, root's");
}

fn default_devices_work(sandbox: &mut Sandbox) {
    let script = "echo x > /dev/null; head -c 5 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; \
        head -c 3 /dev/random | wc -c; (echo x > /dev/full) 2>&1 | grep -c 'No space left'; cat /dev/null | wc -c";
    assert_eq!(sandbox.prove(script), "5\n3\n3\n1\n0");
}

fn default_links_are_there(sandbox: &mut Sandbox) {
    let seen = sandbox
        .prove("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done; echo x >> /dev/stdout");
    let wanted = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\nx";
    assert_eq!(seen.replace("/dev/pts/ptmx", "pts/ptmx"), wanted);
}

fn device(path: &str, kind: &str, major: i64, minor: i64) -> Value {
    json!({ "path": path, "type": kind, "major": major, "minor": minor })
}

fn extra_devices_are_made(sandbox: &mut Sandbox) {
    sandbox.set(
        "/linux/devices",
        json!([
            { "path": "/dev/onefuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8 },
            { "path": "/dev/oneblock", "type": "b", "major": 7, "minor": 250, "fileMode": 0o600 },
            { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 5 }
        ]),
    );
    let seen = sandbox
        .prove("cd /dev; stat -c '%n %F %t:%T %a %u:%g' onefuse oneblock; stat -c '%F %t:%T' unbuffered");
    let wanted = "onefuse character special file a:e5 640 7:8\noneblock block special file 7:fa 600 0:0\n\
        character special file 1:5";
    assert_eq!(seen, wanted);
}

fn extra_devices_outside_dev(sandbox: &mut Sandbox) {
    sandbox.set("/linux/devices", json!([device("/mnt/null", "c", 1, 3)]));
    assert_eq!(sandbox.prove("stat -c %t:%T /mnt/null"), "1:3");
}

fn extra_devices_in_folders_that_do_not_exist(sandbox: &mut Sandbox) {
    sandbox.set("/linux/devices", json!([device("/dev/net/deep/tun", "c", 10, 200)]));
    assert_eq!(sandbox.prove("stat -c %t:%T /dev/net/deep/tun"), "a:c8");
}

fn extra_device_with_the_name_of_a_default_one(sandbox: &mut Sandbox) {
    let mut again = device("/dev/null", "c", 1, 3);
    again["fileMode"] = json!(0o666);
    sandbox.set("/linux/devices", json!([again]));
    assert_eq!(sandbox.prove("stat -c '%t:%T %a' /dev/null"), "1:3 666");
}

fn fifos_are_made(sandbox: &mut Sandbox) {
    sandbox.set("/linux/devices", json!([{ "path": "/dev/pipe", "type": "p", "fileMode": 0o644 }]));
    assert_eq!(sandbox.prove("stat -c '%F %a' /dev/pipe"), "fifo 644");
}

fn bad_devices_are_refused(sandbox: &mut Sandbox) {
    for bad in [
        device("/dev/x", "z", 1, 3),
        device("dev/x", "c", 1, 3),
        device("/dev/x", "c", -5, 3),
        device("/dev/x", "c", 1, 1 << 40),
        json!({ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o200_000 }),
        json!({ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": 4_294_967_295_u32 }),
    ] {
        sandbox.set("/linux/devices", json!([device("/dev/good", "c", 1, 3), bad]));
        sandbox.refused(&["linux.devices[1]"]);
    }
}

/// Which ways of opening /dev/kmsg (1:11), which no default rule allows, the container is let to use.
#[track_caller]
fn kmsg(sandbox: &mut Sandbox, rules: Value) -> String {
    sandbox.set("/linux/devices", json!([device("/dev/kmsg", "c", 1, 11)]));
    sandbox.set("/linux/resources/devices", rules);
    sandbox.capabilities(&["CAP_SYSLOG", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    sandbox.prove(
        "(: < /dev/kmsg) 2>/dev/null && echo -n r; (: >> /dev/kmsg) 2>/dev/null && echo -n w; \
        mknod /dev/again c 1 11 2>/dev/null && echo -n m; echo; echo x > /dev/null && echo null",
    )
}

fn everything_is_denied_but_the_defaults(sandbox: &mut Sandbox) {
    let seen = kmsg(sandbox, json!([{ "allow": false, "access": "rwm" }]));
    assert_eq!(seen.trim_start_matches('m'), "\nnull", "neither read nor written");
}

fn a_rule_allows_a_device(sandbox: &mut Sandbox) {
    let allow = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm" });
    assert_eq!(kmsg(sandbox, json!([{ "allow": false, "access": "rwm" }, allow])), "rwm\nnull");
}

fn a_rule_allows_reading_only(sandbox: &mut Sandbox) {
    let allow = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    let seen = kmsg(sandbox, json!([{ "allow": false, "access": "rwm" }, allow]));
    assert!(seen.starts_with('r') && !seen.contains('w'), "{seen}");
}

fn a_rule_with_a_wildcard(sandbox: &mut Sandbox) {
    let allow = json!({ "allow": true, "type": "c", "major": 1, "access": "rwm" });
    assert_eq!(kmsg(sandbox, json!([{ "allow": false, "access": "rwm" }, allow])), "rwm\nnull");
}

fn later_rules_win(sandbox: &mut Sandbox) {
    let rule = |allow: bool| json!({ "allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rw" });
    let seen = kmsg(sandbox, json!([{ "allow": false, "access": "rwm" }, rule(true), rule(false)]));
    assert_eq!(seen.trim_start_matches('m'), "\nnull");
}

/// The engines let containers make any node (the default rules of runc and crun), but not open it.
fn mknod_needs_a_rule(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_MKNOD"]);
    let seen = sandbox
        .prove("mknod /dev/own c 1 11 2>/dev/null; (: < /dev/own) 2>&1; mknod /dev/n c 1 3 && echo made");
    assert!(seen.contains("Operation not permitted") || seen.contains("No such file"), "{seen}");
    assert!(seen.ends_with("made"), "{seen}");
}

fn rules_hold_for_started_processes(sandbox: &mut Sandbox) {
    sandbox.set("/linux/devices", json!([device("/dev/kmsg", "c", 1, 11)])).capabilities(&["CAP_SYSLOG"]);
    let seen = sandbox.prove("sh -c 'sh -c \"(: < /dev/kmsg) 2>&1\"'; true");
    assert!(seen.contains("Operation not permitted"), "{seen}");
}

fn no_rules_means_no_limit(sandbox: &mut Sandbox) {
    assert_eq!(kmsg(sandbox, json!([{ "allow": true, "access": "rwm" }])), "rwm\nnull");
}

fn bad_rules_are_refused(sandbox: &mut Sandbox) {
    for bad in [
        json!({ "allow": true, "type": "z", "access": "r" }),
        json!({ "allow": true, "type": "c", "access": "x" }),
        json!({ "allow": true, "type": "c", "major": "one", "access": "r" }),
    ] {
        sandbox.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }, bad]));
        sandbox.refused(&["linux.resources.devices[1]"]);
    }
}

fn devices_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let seen = sandbox.prove(
        "stat -c '%t:%T' /dev/null; echo x > /dev/null; head -c 3 /dev/zero | wc -c; readlink /dev/stdin",
    );
    assert_eq!(seen, "1:3\n3\n/proc/self/fd/0");
    assert_eq!(fs::read_dir(sandbox.rootfs("dev")).unwrap().count(), 0, "nothing on disk: /dev is a tmpfs");
}
