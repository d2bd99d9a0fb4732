//! config.md, Mounts: their order, destinations, sources and options.

use std::fs;

use serde_json::json;

use crate::harness::{Need, Sandbox};

cases! {
    are_mounted_in_the_listed_order;
    relative_destinations_are_below_the_root;
    bind_sources_are_absolute_or_relative_to_the_bundle;
    a_bind_option_makes_a_bind_mount_of_any_type;
    rbind_brings_what_is_mounted_below;
    options_of_mount_8_are_implemented;
    later_options_win;
    recursive_options_reach_what_is_mounted_below;
    propagation_is_set;
    remount_changes_a_mount;
    unknown_options_go_to_the_file_system;
    id_mappings_come_in_pairs;
    idmap_without_any_mapping_is_an_error;
    mappings_translate_owners: Need::IdMappedMounts;
}

fn are_mounted_in_the_listed_order(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "tmpfs", "first", &[]);
    sandbox.mount("/mnt/below", "tmpfs", "second", &[]);
    sandbox.mount("/mnt", "tmpfs", "third", &[]);
    let seen = sandbox.prove("grep ' /mnt' /proc/self/mounts | cut -d ' ' -f 1,2; ls -A /mnt | wc -l");
    assert_eq!(seen, "first /mnt\nsecond /mnt/below\nthird /mnt\n0");
}

fn relative_destinations_are_below_the_root(sandbox: &mut Sandbox) {
    sandbox.mount("mnt/sub", "tmpfs", "relative", &[]);
    sandbox.script("cd /tmp; grep -c ' /mnt/sub tmpfs ' /proc/self/mounts");
    let output = sandbox.run().ok();
    assert_eq!(output.text(), "1");
}

fn bind_sources_are_absolute_or_relative_to_the_bundle(sandbox: &mut Sandbox) {
    let absolute = sandbox.file("absolute", "one");
    sandbox.file("bundle/beside", "two");
    sandbox.mount("/tmp/absolute", "bind", &absolute, &["bind"]);
    sandbox.mount("/tmp/relative", "bind", "beside", &["bind"]);
    assert_eq!(sandbox.prove("cat /tmp/absolute; echo; cat /tmp/relative"), "one\ntwo");
}

fn a_bind_option_makes_a_bind_mount_of_any_type(sandbox: &mut Sandbox) {
    let source = sandbox.file("source", "bound");
    for (kind, option) in [("none", "bind"), ("tmpfs", "rbind"), ("nosuchfs", "bind")] {
        sandbox.mount(&format!("/tmp/{kind}"), kind, &source, &[option]);
    }
    assert_eq!(sandbox.prove("cd /tmp; cat none tmpfs nosuchfs"), "boundboundbound");
}

fn rbind_brings_what_is_mounted_below(sandbox: &mut Sandbox) {
    let below = mounts_below_sys();
    sandbox.mount("/one", "none", "/proc/sys", &["bind", "ro"]);
    sandbox.mount("/all", "none", "/sys", &["rbind", "ro"]);
    let seen = sandbox.prove("cut -d ' ' -f 5 /proc/self/mountinfo");
    assert_eq!(seen.lines().filter(|line| line.starts_with("/one")).count(), 1, "{seen}");
    assert_eq!(seen.lines().filter(|line| line.starts_with("/all")).count(), below, "{seen}");
}

/// How many mounts this process has at or below /sys.
fn mounts_below_sys() -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| *point == "/sys" || point.starts_with("/sys/")).count()
}

/// Each option on a tmpfs of its own; the words that mountinfo then shows, or must not show (`!`).
const OPTIONS: &[(&str, &str)] = &[
    ("async", "!sync"),
    ("atime", "!noatime"),
    ("defaults", "rw"),
    ("dev", "!nodev"),
    ("diratime", "!nodiratime"),
    ("dirsync", "dirsync"),
    ("exec", "!noexec"),
    ("iversion", "rw"),
    ("lazytime", "rw"),
    ("loud", "rw"),
    ("mand", "rw"),
    ("noatime", "noatime"),
    ("nodev", "nodev"),
    ("nodiratime", "nodiratime"),
    ("noexec", "noexec"),
    ("noiversion", "rw"),
    ("nolazytime", "!lazytime"),
    ("nomand", "rw"),
    ("norelatime", "rw"),
    ("nostrictatime", "rw"),
    ("nosuid", "nosuid"),
    ("nosymfollow", "nosymfollow"),
    ("relatime", "relatime"),
    ("ro", "ro"),
    ("rw", "rw"),
    ("silent", "rw"),
    ("strictatime", "!relatime"),
    ("suid", "!nosuid"),
    ("symfollow", "!nosymfollow"),
    ("sync", "sync"),
];

fn options_of_mount_8_are_implemented(sandbox: &mut Sandbox) {
    for (option, _) in OPTIONS {
        sandbox.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    let table = sandbox.prove("cat /proc/self/mountinfo");
    for (option, wanted) in OPTIONS {
        let words = words_of(&table, &format!("/mnt/{option}"));
        let found = |word: &str| words.iter().any(|it| it == word);
        let right = wanted.strip_prefix('!').map_or_else(|| found(wanted), |word| !found(word));
        assert!(right, "{option}: wanted {wanted}, mounted {words:?}");
    }
}

/// The options that mountinfo shows for a mount point, the mount's and the file system's.
fn words_of(table: &str, point: &str) -> Vec<String> {
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(point));
    let line = line.unwrap_or_else(|| panic!("{point} is not mounted:\n{table}"));
    let (mount, file_system) = line.split_once(" - ").unwrap();
    let mount = mount.split(' ').nth(5).unwrap();
    let file_system = file_system.split(' ').nth(2).unwrap();
    mount
        .split(',')
        .chain(file_system.split(',').filter(|word| !["ro", "rw"].contains(word)))
        .map(str::to_owned)
        .collect()
}

fn later_options_win(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt/a", "tmpfs", "tmpfs", &["ro", "nosuid", "rw", "suid", "nodev"]);
    sandbox.mount("/mnt/b", "tmpfs", "tmpfs", &["noexec", "nodev", "defaults"]);
    let table = sandbox.prove("cat /proc/self/mountinfo");
    let a = words_of(&table, "/mnt/a");
    assert!(
        a.contains(&"rw".into()) && a.contains(&"nodev".into()) && !a.contains(&"nosuid".into()),
        "{a:?}"
    );
    let b = words_of(&table, "/mnt/b");
    assert!(b.contains(&"rw".into()), "{b:?}");
}

fn recursive_options_reach_what_is_mounted_below(sandbox: &mut Sandbox) {
    sandbox.mount("/plain", "none", "/sys", &["rbind", "ro"]);
    sandbox.mount("/deep", "none", "/sys", &["rbind", "rro", "rnosuid", "rnodev", "rnoexec"]);
    let table = sandbox.prove("cat /proc/self/mountinfo");
    let points = |top: &str| {
        let all = table.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
        all.filter(|point| point.starts_with(top)).collect::<Vec<_>>()
    };
    assert!(words_of(&table, "/plain").contains(&"ro".into()));
    assert!(points("/deep").len() > 1, "the machine has nothing mounted below /sys");
    for point in points("/deep") {
        let words = words_of(&table, &point);
        for word in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(words.contains(&word.into()), "{point}: no {word} in {words:?}");
        }
    }
}

fn propagation_is_set(sandbox: &mut Sandbox) {
    for option in ["private", "slave", "shared", "unbindable", "rprivate", "rslave", "rshared", "runbindable"]
    {
        let source = sandbox.path("bundle/rootfs/var");
        sandbox.mount(&format!("/mnt/{option}"), "none", &source, &["rbind", option]);
    }
    let table = sandbox.prove("cat /proc/self/mountinfo");
    let tags = |name: &str| {
        let point = format!("/mnt/{name}");
        let line = table.lines().find(|line| line.split(' ').nth(4) == Some(&point)).unwrap().to_owned();
        line.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ")
    };
    for recursive in ["", "r"] {
        assert_eq!(tags(&format!("{recursive}private")), "");
        assert!(tags(&format!("{recursive}shared")).contains("shared:"), "{table}");
        assert!(!tags(&format!("{recursive}slave")).contains("shared:"), "{table}");
        assert_eq!(tags(&format!("{recursive}unbindable")), "unbindable");
    }
}

fn remount_changes_a_mount(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "tmpfs", "tmpfs", &["size=1m"]);
    sandbox.mount("/mnt", "tmpfs", "tmpfs", &["remount", "ro", "nosuid"]);
    let table = sandbox.prove("cat /proc/self/mountinfo");
    assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == Some("/mnt")).count(), 1, "{table}");
    assert!(words_of(&table, "/mnt").contains(&"ro".into()), "{table}");
}

fn unknown_options_go_to_the_file_system(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "tmpfs", "tmpfs", &["size=128k", "mode=1751", "nr_inodes=50"]);
    let table = sandbox.prove("cat /proc/self/mountinfo");
    let words = words_of(&table, "/mnt");
    for word in ["size=128k", "mode=1751", "nr_inodes=50"] {
        assert!(words.contains(&word.into()), "no {word} in {words:?}");
    }
    sandbox.mount("/tmp", "tmpfs", "tmpfs", &["no-such-option"]);
    sandbox.refused(&["mounts[", "no-such-option"]);
}

fn id_mappings_come_in_pairs(sandbox: &mut Sandbox) {
    let source = sandbox.path("bundle/rootfs/var");
    sandbox.mount("/mnt", "none", &source, &["rbind", "idmap"]);
    let last = sandbox.config["mounts"].as_array().unwrap().len() - 1;
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    sandbox.set(&format!("/mounts/{last}/uidMappings"), map);
    sandbox.refused(&[&format!("mounts[{last}]"), "gidMappings"]);
}

fn idmap_without_any_mapping_is_an_error(sandbox: &mut Sandbox) {
    let source = sandbox.path("bundle/rootfs/var");
    sandbox.mount("/mnt", "none", &source, &["rbind", "idmap"]);
    let last = sandbox.config["mounts"].as_array().unwrap().len() - 1;
    sandbox.refused(&[&format!("mounts[{last}]"), "idmap"]);
}

fn mappings_translate_owners(sandbox: &mut Sandbox) {
    let file = sandbox.file("owned/file", "");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
    let source = sandbox.path("owned");
    let mount = json!({
        "destination": "/mnt", "type": "none", "source": source, "options": ["bind", "idmap"],
        "uidMappings": [{ "containerID": 1000, "hostID": 7000, "size": 10 }],
        "gidMappings": [{ "containerID": 1000, "hostID": 8000, "size": 10 }]
    });
    sandbox.set("/mounts/-", mount);
    assert_eq!(sandbox.prove("stat -c %u:%g /mnt/file"), "7000:8001");
}
