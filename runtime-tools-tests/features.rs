//! features.md and features-linux.md: what `features` claims is true. Nobody has to have the command.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Sandbox;
use crate::worker::skip;

clauses! {
    801 MUST "Specification version", "accept ociVersionMin as ociVersion" => accepts_its_oldest = |it| accepts(it, "ociVersionMin");
    802 MUST "Specification version", "accept ociVersionMax as ociVersion" => accepts_its_newest = |it| accepts(it, "ociVersionMax");
    803 MUST_NOT "Specification version", "claim an ociVersionMax below ociVersionMin" => versions_are_in_order;
    804 MUST_NOT "Specification version", "contain properties that the specification does not define" => properties_are_defined;
    805 MUST "Hooks", "support the hooks that it names" => hooks_are_supported;
    806 MUST "Mount Options", "recognize the mount options that it names" => mount_options_are_recognized;
    807 SHOULD_NOT "Mount Options", "name options of file systems" => mount_options_are_no_file_systems;
    808 MUST "Annotations", "have annotations with names and strings only" => annotations_are_strings;
    809 MUST "Unsafe annotations in config.json", "name annotations as strings" => unsafe_annotations_are_strings;
}

/// The structure, or the test is skipped.
pub(crate) fn features(it: &Sandbox) -> Value {
    let output = it.bare(&["features"]).finish();
    if !output.status.success() {
        skip("the runtime has no features command");
    }
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.describe()))
}

/// The strings at a JSON pointer, or the test is skipped: any property may be absent.
pub(crate) fn strings(it: &Sandbox, pointer: &str) -> Vec<String> {
    let features = features(it);
    match features.pointer(pointer) {
        None | Some(Value::Null) => skip("the features structure does not say it"),
        Some(value) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{pointer} is no list: {value}")).iter();
            list.map(|it| it.as_str().unwrap_or_else(|| panic!("{pointer} has {it}")).to_owned()).collect()
        }
    }
}

fn accepts(it: &mut Sandbox, name: &str) {
    let version = features(it)[name].clone();
    assert!(version.is_string(), "{name} is {version}");
    it.set("/ociVersion", version);
    assert_eq!(it.see("echo accepted"), "accepted");
}

/// Major, minor and patch number; what stands behind them.
fn version(features: &Value, name: &str) -> (Vec<u64>, bool, String) {
    let text = features[name].as_str().unwrap_or_else(|| panic!("{name} is {}", features[name])).to_owned();
    let (numbers, rest) = text.split_once('-').unwrap_or((&text, ""));
    let numbers = numbers.split('.').map(|number| number.parse().unwrap()).collect();
    // A version without anything behind its numbers is the newest.
    (numbers, rest.is_empty(), rest.to_owned())
}

fn versions_are_in_order(it: &mut Sandbox) {
    let features = features(it);
    assert!(version(&features, "ociVersionMin") <= version(&features, "ociVersionMax"), "{features:#}");
}

/// Where properties are defined, and which.
const DEFINED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ociVersionMin",
            "ociVersionMax",
            "hooks",
            "mountOptions",
            "linux",
            "annotations",
            "potentiallyUnsafeConfigAnnotations",
        ],
    ),
    (
        "/linux",
        &[
            "namespaces",
            "capabilities",
            "cgroup",
            "seccomp",
            "apparmor",
            "selinux",
            "memoryPolicy",
            "intelRdt",
            "mountExtensions",
            "netDevices",
        ],
    ),
    ("/linux/cgroup", &["v1", "v2", "systemd", "systemdUser", "rdma"]),
    ("/linux/seccomp", &["enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"]),
    ("/linux/apparmor", &["enabled"]),
    ("/linux/selinux", &["enabled"]),
    ("/linux/memoryPolicy", &["modes", "flags"]),
    ("/linux/intelRdt", &["enabled", "schemata", "monitoring"]),
    ("/linux/mountExtensions", &["idmap"]),
    ("/linux/mountExtensions/idmap", &["enabled"]),
    ("/linux/netDevices", &["enabled"]),
];

fn properties_are_defined(it: &mut Sandbox) {
    let features = features(it);
    for (pointer, defined) in DEFINED {
        for name in
            features.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(|map| map.keys())
        {
            assert!(defined.contains(&name.as_str()), "{pointer}/{name} is not defined");
        }
    }
}

fn hooks_are_supported(it: &mut Sandbox) {
    for kind in strings(it, "/hooks") {
        it.set("/hooks", json!({ &kind: [{ "path": "/bin/true" }] }));
        it.see("true");
        let out = if kind == "startContainer" { "/ran".to_owned() } else { it.path("ran") };
        it.set("/hooks", json!({ &kind: [{ "path": "/bin/touch", "args": ["touch", out] }] }));
        it.alive();
        it.stop();
        it.delete();
        let seen = if kind == "startContainer" { it.rootfs("/ran") } else { it.dir.join("ran") };
        assert!(fs::remove_file(seen).is_ok(), "the hook {kind} did not run");
    }
}

/// A tmpfs refuses what is handed to it as its own; options about other mounts need these. All in one container.
fn mount_options_are_recognized(it: &mut Sandbox) {
    it.mount("/again", "tmpfs", "tmpfs", &[]);
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let source = it.path("bundle/rootfs/var");
    for option in strings(it, "/mountOptions") {
        let point = format!("/mnt/{option}");
        match option.as_str() {
            "remount" => it.mount("/again", "tmpfs", "tmpfs", &["remount"]),
            "bind" | "rbind" => it.mount(&point, "none", &source, &[&option]),
            "idmap" | "ridmap" => it.set(
                "/mounts/-",
                json!({ "destination": point, "type": "none", "source": source, "options": ["rbind", option],
                    "uidMappings": map, "gidMappings": map }),
            ),
            "acl" | "noacl" => continue,
            name if name.starts_with('r') && !["ro", "rw", "relatime"].contains(&name) => {
                it.mount(&point, "none", &source, &["rbind", &option])
            }
            _ => it.mount(&point, "tmpfs", "tmpfs", &[&option]),
        };
    }
    assert_eq!(it.see("echo mounted"), "mounted");
}

fn mount_options_are_no_file_systems(it: &mut Sandbox) {
    let known = strings(it, "/mountOptions");
    for option in ["size", "mode", "uid", "gid", "nr_inodes", "newinstance", "ptmxmode", "hidepid", "subset"]
    {
        assert!(
            !known.iter().any(|name| name.split('=').next() == Some(option)),
            "{option} is a file system's"
        );
    }
}

fn annotations_are_strings(it: &mut Sandbox) {
    let features = features(it);
    match &features["annotations"] {
        Value::Null => skip("the features structure does not say it"),
        value => {
            let map = value.as_object().unwrap_or_else(|| panic!("annotations: {value}"));
            assert!(map.iter().all(|(key, value)| !key.is_empty() && value.is_string()), "{value:#}");
        }
    }
}

fn unsafe_annotations_are_strings(it: &mut Sandbox) {
    assert!(strings(it, "/potentiallyUnsafeConfigAnnotations").iter().all(|name| !name.is_empty()));
}
