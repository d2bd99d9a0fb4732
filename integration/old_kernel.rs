//! What newer kernels have is done without: the calls run under a seccomp filter that answers ENOSYS
//! (docs/kernel-features.md).

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Layout, Need, Output, Sandbox};
use crate::mounts::{line, tree};

cases! {
    the_standard_bundle_without_mount_setattr;
    flags_and_propagation_without_mount_setattr;
    read_only_paths_without_mount_setattr;
    tmpcopyup_read_only_without_mount_setattr;
    a_user_namespace_without_mount_setattr;
    recursive_options_need_mount_setattr;
    idmap_needs_mount_setattr;
    device_rules_of_v2_need_bpf: Need::Only(Layout::V2);
}

fn run(sandbox: &mut Sandbox, script: &str) -> String {
    sandbox.script(script);
    sandbox.begin("run", &[]).without("mount_setattr").finish().ok().text().to_owned()
}

fn refused(sandbox: &Sandbox, parts: &[&str]) -> Output {
    let output = sandbox.begin("create", &[]).without("mount_setattr").finish().error(parts);
    sandbox.clean(&output);
    output
}

fn the_standard_bundle_without_mount_setattr(sandbox: &mut Sandbox) {
    sandbox.set("/root/readonly", json!(true));
    fs::write(sandbox.rootfs("/etc/secret"), "secret").unwrap();
    sandbox.set("/linux/maskedPaths/-", json!("/etc/secret")).set("/linux/maskedPaths/-", json!("/home"));
    let script = "for file in /x /proc/sys/vm/swappiness /home/x; do echo 2>/dev/null >$file || echo denied; done; \
        cat /etc/secret; ls /home /sys/firmware";
    assert_eq!(run(sandbox, script), "denied\ndenied\ndenied\n/home:\n\n/sys/firmware:");
}

fn flags_and_propagation_without_mount_setattr(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    sandbox.mount("/mnt/ro", "bind", &source, &["bind", "ro", "nosuid", "nodev"]);
    sandbox.mount("/mnt/times", "bind", &source, &["bind", "noatime", "noexec"]);
    sandbox.mount("/mnt/strict", "bind", &source, &["bind", "strictatime", "nodiratime"]);
    sandbox.mount("/mnt/again", "bind", &source, &["rbind", "ro", "rshared"]);
    sandbox.mount("/mnt/again", "none", "none", &["remount", "bind", "rw", "noexec"]);
    sandbox.mount("/mnt/private", "bind", &source, &["rbind", "rprivate"]);
    let table = run(sandbox, "cat /proc/self/mountinfo; touch /mnt/ro/x 2>/dev/null || echo denied");
    assert!(table.ends_with("denied"), "{table}");
    let has = |point: &str, options: &[&str]| {
        let line = line(&table, point);
        let lacks = options.iter().find(|option| !line.has(option));
        assert!(lacks.is_none(), "{point} lacks {lacks:?}: {table}");
    };
    has("/mnt/ro", &["ro", "nosuid", "nodev", "relatime"]);
    has("/mnt/times", &["rw", "noatime", "noexec"]);
    has("/mnt/strict", &["rw", "nodiratime"]);
    has("/mnt/again", &["rw", "noexec", "relatime"]);
    assert!(!line(&table, "/mnt/strict").has("relatime"), "{table}");
    let words = |point: &str| {
        let found = table.lines().find(|line| line.split(' ').nth(4) == Some(point));
        found.unwrap_or_else(|| panic!("no {point}: {table}")).to_owned()
    };
    assert!(words("/mnt/again").contains(" shared:"), "{table}");
    for point in ["/", "/mnt/private", "/mnt/ro"] {
        assert!(!words(point).contains(" shared:"), "{table}");
    }
    assert!(!words("/mnt/private").contains(" master:"), "{table}");
}

fn read_only_paths_without_mount_setattr(sandbox: &mut Sandbox) {
    fs::create_dir_all(sandbox.rootfs("/locked/below")).unwrap();
    sandbox.mount("/locked/below", "tmpfs", "tmpfs", &[]);
    sandbox.set("/linux/readonlyPaths/-", json!("/locked"));
    let seen = run(sandbox, "touch /locked/x 2>/dev/null || echo denied; touch /locked/below/x && echo done");
    assert_eq!(
        seen, "denied\ndone",
        "the path, and as with every runtime on such a kernel no mount below it"
    );
}

fn tmpcopyup_read_only_without_mount_setattr(sandbox: &mut Sandbox) {
    fs::create_dir_all(sandbox.rootfs("/filled")).unwrap();
    fs::write(sandbox.rootfs("/filled/file"), "content").unwrap();
    sandbox.mount("/filled", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    let seen = run(sandbox, "cat /filled/file; touch /filled/x 2>/dev/null || echo ' denied'");
    assert_eq!(seen, "content denied");
}

fn a_user_namespace_without_mount_setattr(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    sandbox.mount("/mnt", "bind", &source, &["bind", "ro"]);
    let seen = run(sandbox, "id -u; touch /mnt/x 2>/dev/null || echo denied; echo >/dev/null && echo null");
    assert_eq!(seen, "0\ndenied\nnull");
}

fn recursive_options_need_mount_setattr(sandbox: &mut Sandbox) {
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    sandbox.mount("/mnt", "bind", &source, &["rbind", "rro"]);
    refused(sandbox, &["mounts[7] \"/mnt\"", "mount_setattr(2)", "hint: needs Linux 5.12"]);
    assert!(Path::new(&source).exists());
}

fn idmap_needs_mount_setattr(sandbox: &mut Sandbox) {
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    sandbox.mount("/mnt", "bind", &source, &["bind"]);
    sandbox.set("/mounts/7/uidMappings", map.clone()).set("/mounts/7/gidMappings", map);
    refused(sandbox, &["mounts[7] \"/mnt\"", "id-mapped", "hint: needs Linux 5.12"]);
}

/// What cannot be filtered is refused, not opened: also where the config has no rule, since the defaults are one.
fn device_rules_of_v2_need_bpf(sandbox: &mut Sandbox) {
    let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    for rules in [json!([{ "allow": false, "access": "rwm" }, rule]), json!([])] {
        sandbox.set("/linux/resources/devices", rules);
        let output = sandbox.begin("create", &[]).without("bpf").finish();
        let output = output.error(&["linux.resources.devices: ", "bpf(BPF_PROG_LOAD", "ENOSYS"]);
        sandbox.clean(&output);
    }
}
