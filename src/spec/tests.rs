//! A table of configs and the exact words with which each is refused, or the warnings with which it is taken.

use super::*;
use serde_json::{Value, json};

/// A config that breaks no rule.
fn good() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "uts" }] },
    })
}

/// Values by JSON pointer; null takes one away.
type Changes<'a> = &'a [(&'a str, Value)];

/// The good config with the value at a JSON pointer replaced or added.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut config = good();
    for (pointer, value) in changes {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
        let parent =
            config.pointer_mut(parent).expect("the parent is there").as_object_mut().expect("an object");
        if value.is_null() {
            parent.remove(last);
        } else {
            parent.insert(last.to_owned(), value.clone());
        }
    }
    config
}

fn judge(changes: &[(&str, Value)]) -> Result<Vec<String>> {
    check(&serde_json::from_value(with(changes)).expect("fits the types"))
}

/// Each change is refused with these words, hint included.
fn refused(cases: &[(Changes<'_>, &str)]) {
    for (changes, expected) in cases {
        let text = judge(changes).expect_err(expected).to_string();
        assert_eq!(&text, expected);
    }
}

/// Each change is taken without a warning.
fn accepted(cases: &[Changes<'_>]) {
    for changes in cases {
        assert_eq!(judge(changes), Ok(vec![]), "{changes:?}");
    }
}

const NAMESPACES: &str = "/linux/namespaces";

#[test]
fn the_good_config_is_good() {
    accepted(&[&[]]);
}

#[test]
fn every_rule_names_field_and_section() {
    for rule in rules() {
        assert!(rule.section.starts_with("config.md, ") || rule.section.starts_with("config-linux.md"));
        assert!(!rule.field.is_empty());
    }
}

#[test]
fn root_and_annotations() {
    refused(&[
        (&[("/root", Value::Null)], "root: missing (hint: see config.md, Root)"),
        (&[("/root", json!({}))], "root.path: missing or empty (hint: see config.md, Root)"),
        (&[("/root/path", json!(""))], "root.path: missing or empty (hint: see config.md, Root)"),
        (&[("/root/path", json!("a\0b"))], "root.path: NUL byte at position 1 (hint: see config.md, Root)"),
        (
            &[("/root/path", json!("x".repeat(4096)))],
            "root.path: a path of 4096 bytes, the kernel takes at most 4095 (hint: see config.md, Root)",
        ),
        (
            &[("/annotations", json!({"": "x"}))],
            "annotations: a key is empty (hint: see config.md, Annotations)",
        ),
    ]);
    accepted(&[&[("/root/path", json!("x".repeat(4095)))], &[("/annotations", json!({"a": ""}))]]);
}

#[test]
fn process_and_its_strings() {
    let process = "(hint: see config.md, Process)";
    let cwd = |value: &str| format!("process.cwd {value:?}: not an absolute path {process}");
    refused(&[
        (&[("/process/cwd", json!(""))], &cwd("")),
        (&[("/process/cwd", json!("tmp"))], &cwd("tmp")),
        (&[("/process/cwd", json!("/\0"))], &format!("process.cwd: NUL byte at position 1 {process}")),
        (&[("/process/args", Value::Null)], &format!("process.args: missing or empty {process}")),
        (&[("/process/args", json!([]))], &format!("process.args: missing or empty {process}")),
        (
            &[("/process/args", json!([""]))],
            &format!("process.args[0]: exec: \"\": executable file not found in $PATH {process}"),
        ),
        (
            &[("/process/args", json!(["a", "b\0"]))],
            &format!("process.args[1]: NUL byte at position 1 {process}"),
        ),
        (
            &[("/process/env", json!(["A=1", "SECRET"]))],
            "process.env[1] \"SECRET\": not of the form NAME=value (hint: see config.md, Process; POSIX environ)",
        ),
        (
            &[("/process/env", json!(["=x"]))],
            "process.env[0] \"\": not of the form NAME=value (hint: see config.md, Process; POSIX environ)",
        ),
        (&[("/process/env", json!(["A=\0"]))], &format!("process.env[0]: NUL byte at position 2 {process}")),
        (
            &[("/process/cwd", json!(format!("/{}", "é".repeat(2500))))],
            &format!("process.cwd: a path of 5001 bytes, the kernel takes at most 4095 {process}"),
        ),
    ]);
    accepted(&[
        &[("/process", Value::Null)],
        &[("/process/args", json!(["a", ""]))],
        &[("/process/env", json!(["A=", "B==", "C=é"]))],
        &[("/process/terminal", json!(false)), ("/process/apparmorProfile", json!(""))],
    ]);
}

#[test]
fn ids_and_umask() {
    let user = "(hint: see config.md, POSIX-platform User)";
    let not = "4294967295 is not an id: to the kernel it means \"leave unchanged\"";
    refused(&[
        (&[("/process/user/uid", json!(u32::MAX))], &format!("process.user.uid: {not} {user}")),
        (&[("/process/user/gid", json!(u32::MAX))], &format!("process.user.gid: {not} {user}")),
        (
            &[("/process/user/additionalGids", json!([5, u32::MAX]))],
            &format!("process.user.additionalGids[1]: {not} {user}"),
        ),
        (
            &[("/process/user/umask", json!(512))],
            "process.user.umask: 512 is more than 511 (0777 octal) \
             (hint: see config.md, POSIX-platform User; umask(2))",
        ),
    ]);
    accepted(&[&[(
        "/process/user",
        json!({"uid": u32::MAX - 1, "gid": 1, "umask": 511, "additionalGids": [1, 1]}),
    )]]);
}

#[test]
fn limits_of_the_process() {
    let limit = |typ: &str, soft: u64, hard: u64| json!({"type": typ, "soft": soft, "hard": hard});
    refused(&[
        (
            &[(
                "/process/rlimits",
                json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_NOFILE", 1, 1), limit("RLIMIT_CPU", 2, 2)]),
            )],
            "process.rlimits[2] \"RLIMIT_CPU\": already given by entry [0] (hint: see config.md, POSIX process)",
        ),
        (
            &[("/process/rlimits", json!([limit("RLIMIT_NOFILE", 2, 1)]))],
            "process.rlimits[0] \"RLIMIT_NOFILE\": soft limit 2 is above the hard limit 1 \
             (hint: see config.md, POSIX process; setrlimit(2))",
        ),
        (
            &[("/process/oomScoreAdj", json!(1001))],
            "process.oomScoreAdj: 1001 is not between -1000 and 1000 (hint: see config.md, Linux Process; proc(5))",
        ),
    ]);
    accepted(&[&[
        ("/process/oomScoreAdj", json!(-1000)),
        ("/process/rlimits", json!([limit("RLIMIT_CPU", 7, u64::MAX)])),
    ]]);
}

#[test]
fn namespaces_are_unique_and_their_paths_absolute() {
    let hint = "(hint: see config-linux.md, Namespaces)";
    refused(&[
        (
            &[(
                NAMESPACES,
                json!([{"type": "mount"}, {"type": "network"}, {"type": "network", "path": "/a"}]),
            )],
            &format!("linux.namespaces[2] \"network\": already given by entry [1] {hint}"),
        ),
        (
            &[(NAMESPACES, json!([{"type": "mount"}, {"type": "mount"}]))],
            &format!("linux.namespaces[1] \"mount\": already given by entry [0] {hint}"),
        ),
        (
            &[(NAMESPACES, json!([{"type": "pid", "path": "proc/1/ns/pid"}]))],
            &format!("linux.namespaces[0].path \"proc/1/ns/pid\": not an absolute path {hint}"),
        ),
    ]);
    accepted(&[
        &[(
            NAMESPACES,
            json!([{"type": "pid", "path": ""}, {"type": "time"}, {"type": "cgroup"}, {"type": "ipc"}]),
        )],
        &[("/linux", Value::Null)],
    ]);
}

#[test]
fn mappings_and_user_namespaces() {
    let hint = "(hint: see config-linux.md, User namespace mappings)";
    let user = json!([{"type": "user"}, {"type": "mount"}]);
    let map = |c: u32, h: u32, size: u32| json!({"containerID": c, "hostID": h, "size": size});
    let one = json!([map(0, 1000, 1)]);
    let both = |list: Value| {
        [(NAMESPACES, user.clone()), ("/linux/uidMappings", list), ("/linux/gidMappings", one.clone())]
    };
    refused(&[
        (
            &[("/linux/uidMappings", one.clone())],
            &format!("linux.uidMappings: linux.namespaces has no user namespace {hint}"),
        ),
        (
            &[("/linux/gidMappings", one.clone())],
            &format!("linux.gidMappings: linux.namespaces has no user namespace {hint}"),
        ),
        (
            &[(NAMESPACES, user.clone())],
            &format!(
                "linux.uidMappings: missing or empty: a new user namespace needs uid and gid mappings {hint}"
            ),
        ),
        (
            &[
                (NAMESPACES, user.clone()),
                ("/linux/uidMappings", one.clone()),
                ("/linux/gidMappings", json!([])),
            ],
            &format!(
                "linux.gidMappings: missing or empty: a new user namespace needs uid and gid mappings {hint}"
            ),
        ),
        (&both(json!([map(0, 0, 0)])), &format!("linux.uidMappings[0]: size is 0 {hint}")),
        (
            &both(json!([map(0, 1, 1), map(4294967000, 5, 296)])),
            &format!(
                "linux.uidMappings[1]: containerID 4294967000 and size 296 go beyond id 4294967294 {hint}"
            ),
        ),
        (
            &both(json!([map(0, u32::MAX, 1)])),
            &format!("linux.uidMappings[0]: hostID 4294967295 and size 1 go beyond id 4294967294 {hint}"),
        ),
        (
            &both(json!([map(0, 1000, 10), map(9, 5000, 1)])),
            &format!("linux.uidMappings[1]: overlaps entry [0] {hint}"),
        ),
        (
            &both(json!([map(0, 1000, 10), map(10, 5000, 5), map(90, 1009, 1)])),
            &format!("linux.uidMappings[2]: overlaps entry [0] {hint}"),
        ),
        (
            &[&both(one.clone())[..], &[("/process/user/uid", json!(5))]].concat(),
            &format!("process.user.uid: 5 is not in linux.uidMappings {hint}"),
        ),
        (
            &[&both(one.clone())[..], &[("/process/user/gid", json!(1))]].concat(),
            &format!("process.user.gid: 1 is not in linux.gidMappings {hint}"),
        ),
        (
            &[&both(one.clone())[..], &[("/process/user/additionalGids", json!([0, 7]))]].concat(),
            &format!("process.user.additionalGids[1]: 7 is not in linux.gidMappings {hint}"),
        ),
    ]);
}

#[test]
fn mappings_that_the_kernel_takes() {
    let hint = "(hint: see config-linux.md, User namespace mappings)";
    let user = json!([{"type": "user"}, {"type": "mount"}]);
    let map = |c: u32, h: u32, size: u32| json!({"containerID": c, "hostID": h, "size": size});
    let one = json!([map(0, 1000, 1)]);
    let both = |list: Value| {
        [(NAMESPACES, user.clone()), ("/linux/uidMappings", list), ("/linux/gidMappings", one.clone())]
    };
    let lines: Vec<Value> = (0..341).map(|i| map(i, i, 1)).collect();
    refused(&[(
        &both(json!(lines)),
        &format!("linux.uidMappings: 341 entries, the kernel takes at most 340 {hint}"),
    )]);
    accepted(&[
        &both(one.clone()),
        &both(json!([map(0, 0, u32::MAX)])),
        &both(json!([map(0, 1000, 10), map(10, 990, 10)])),
        &[
            (NAMESPACES, json!([{"type": "user", "path": "/proc/1/ns/user"}])),
            ("/process/user/uid", json!(77)),
        ],
        &[("/linux/uidMappings", json!([])), ("/linux/gidMappings", json!([]))],
    ]);
}

#[test]
fn names_need_a_uts_namespace() {
    let none = json!([{"type": "mount"}]);
    refused(&[
        (
            &[(NAMESPACES, none.clone()), ("/hostname", json!("a"))],
            "hostname: linux.namespaces has no uts namespace: it would rename the host (hint: see config.md, Hostname)",
        ),
        (
            &[("/linux", Value::Null), ("/domainname", json!("a"))],
            "domainname: linux.namespaces has no uts namespace: it would rename the host (hint: see config.md, Domainname)",
        ),
        (
            &[("/hostname", json!("x".repeat(65)))],
            "hostname: 65 bytes, the kernel takes at most 64 (hint: see config.md, Hostname)",
        ),
        (&[("/hostname", json!("\0"))], "hostname: NUL byte at position 0 (hint: see config.md, Hostname)"),
    ]);
    accepted(&[
        &[("/hostname", json!("x".repeat(64))), ("/domainname", json!("y"))],
        &[(NAMESPACES, none), ("/hostname", json!("")), ("/domainname", json!(""))],
        &[(NAMESPACES, json!([{"type": "uts", "path": "/run/ns"}])), ("/hostname", json!("a"))],
    ]);
}

#[test]
fn time_offsets() {
    let hint = "(hint: see config-linux.md, Offset for Time Namespace)";
    let time = json!([{"type": "time"}]);
    let offsets = json!({"monotonic": {"secs": 1, "nanosecs": 999_999_999}, "boottime": {"secs": -3}});
    refused(&[
        (
            &[("/linux/timeOffsets", offsets.clone())],
            &format!("linux.timeOffsets: linux.namespaces has no time namespace {hint}"),
        ),
        (
            &[(NAMESPACES, json!([{"type": "time", "path": "/a"}])), ("/linux/timeOffsets", offsets.clone())],
            &format!(
                "linux.timeOffsets: the time namespace is joined: its offsets can no longer be changed {hint}"
            ),
        ),
        (
            &[(NAMESPACES, time.clone()), ("/linux/timeOffsets", json!({"realtime": {"secs": 1}}))],
            &format!("linux.timeOffsets \"realtime\": unknown clock: monotonic or boottime {hint}"),
        ),
        (
            &[
                (NAMESPACES, time.clone()),
                ("/linux/timeOffsets", json!({"boottime": {"nanosecs": 1_000_000_000}})),
            ],
            &format!("linux.timeOffsets \"boottime\": nanosecs 1000000000 is not below 1000000000 {hint}"),
        ),
    ]);
    accepted(&[&[(NAMESPACES, time), ("/linux/timeOffsets", offsets)], &[("/linux/timeOffsets", json!({}))]]);
}

#[test]
fn nothing_is_mounted_on_the_host() {
    let none = json!([{"type": "uts"}]);
    refused(&[
        (
            &[(NAMESPACES, none.clone()), ("/mounts", json!([{"destination": "/proc", "type": "proc"}]))],
            "mounts: linux.namespaces has no mount namespace: they would be the host's and stay behind \
             (hint: see config.md, Mounts)",
        ),
        (
            &[(NAMESPACES, none.clone()), ("/linux/maskedPaths", json!(["/proc/kcore"]))],
            "linux.maskedPaths: linux.namespaces has no mount namespace: they would be masked on the host \
             (hint: see config-linux.md, Masked Paths)",
        ),
        (
            &[(NAMESPACES, none.clone()), ("/linux/readonlyPaths", json!(["/proc/sys"]))],
            "linux.readonlyPaths: linux.namespaces has no mount namespace: they would be read-only on the host \
             (hint: see config-linux.md, Readonly Paths)",
        ),
    ]);
    accepted(&[&[(NAMESPACES, none), ("/mounts", json!([])), ("/linux/maskedPaths", json!([]))]]);
}

#[test]
fn mounts() {
    let posix = "(hint: see config.md, POSIX-platform Mounts)";
    let options = "(hint: see config.md, Linux mount options)";
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let bind = |more: Value| {
        let mut mount = json!({"destination": "/d", "source": "/s", "options": ["rbind"]});
        mount.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!([mount])
    };
    refused(&[
        (
            &[("/mounts", json!([{"destination": "/a"}, {"destination": ""}]))],
            "mounts[1].destination \"\": empty (hint: see config.md, Mounts)",
        ),
        (
            &[("/mounts", json!([{"destination": "/a\0"}]))],
            "mounts[0].destination: NUL byte at position 2 (hint: see config.md, Mounts)",
        ),
        (
            &[("/mounts", json!([{"destination": "/a", "options": ["ro", "x\0y"]}]))],
            "mounts[0].options[1]: NUL byte at position 1 (hint: see config.md, Mounts)",
        ),
        (
            &[("/mounts", json!([{"destination": format!("/{}", "a".repeat(4999))}]))],
            "mounts[0].destination: a path of 5000 bytes, the kernel takes at most 4095 (hint: see config.md, Mounts)",
        ),
        (
            &[("/mounts", json!([{"destination": "/a", "options": ["ro,bind"]}]))],
            "mounts[0].source \"/a\": a bind mount needs a source (hint: see config.md, Mounts)",
        ),
        (
            &[("/mounts", bind(json!({"uidMappings": map})))],
            &format!("mounts[0] \"/d\": uidMappings and gidMappings must be given together {posix}"),
        ),
        (
            &[(
                "/mounts",
                bind(
                    json!({"uidMappings": map, "gidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]}),
                ),
            )],
            "mounts[0].gidMappings[0]: size is 0 (hint: see config-linux.md, User namespace mappings)",
        ),
        (
            &[("/mounts", bind(json!({"uidMappings": map, "gidMappings": map, "options": ["idmap"]})))],
            "mounts[0] \"/d\": only a bind mount can be id-mapped \
             (hint: see config.md, Linux mount options; mount_setattr(2))",
        ),
        (
            &[("/mounts", bind(json!({"options": ["bind", "ridmap"]})))],
            &format!(
                "mounts[0] \"/d\": idmap needs uidMappings and gidMappings, or a user namespace to take them from {options}"
            ),
        ),
        (
            &[("/mounts", bind(json!({"type": "tmpfs", "options": ["bind", "tmpcopyup"]})))],
            &format!("mounts[0] \"/d\": tmpcopyup is for a tmpfs {options}"),
        ),
    ]);
    accepted(&[
        &[("/mounts", bind(json!({"uidMappings": map, "gidMappings": map, "options": ["rbind", "ridmap"]})))],
        &[("/mounts", json!([{"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]}]))],
        &[("/mounts", json!([{"destination": "/a", "options": ["remount", "bind", "ro"]}]))],
    ]);
}

#[test]
fn devices() {
    let hint = "(hint: see config-linux.md, Devices)";
    let mknod = "(hint: see config-linux.md, Devices; mknod(2))";
    let device = |path: &str, typ: &str, major: i64, minor: i64| json!({"path": path, "type": typ, "major": major, "minor": minor});
    let one = |value: Value| [("/linux/devices", json!([value]))];
    let mut odd = device("/dev/a", "c", 1, 3);
    odd["fileMode"] = json!(0o200_000);
    let mut owned = device("/dev/a", "c", 1, 3);
    owned["gid"] = json!(u32::MAX);
    let mut typed = device("/dev/a", "c", 1, 3);
    typed["fileMode"] = json!(0o20_666);
    refused(&[
        (
            &one(device("dev/a", "c", 1, 3)),
            &format!("linux.devices[0] \"dev/a\": not an absolute path {hint}"),
        ),
        (&one(device("/", "c", 1, 3)), &format!("linux.devices[0] \"/\": names a directory {hint}")),
        (
            &one(device("/dev/..", "c", 1, 3)),
            &format!("linux.devices[0] \"/dev/..\": names a directory {hint}"),
        ),
        (
            &one(device("/dev/a", "a", 1, 3)),
            &format!("linux.devices[0] \"/dev/a\": type a is none: c, b, u or p {mknod}"),
        ),
        (
            &one(device("/dev/a", "b", 4096, 3)),
            &format!("linux.devices[0] \"/dev/a\": major 4096 is not between 0 and 4095 {mknod}"),
        ),
        (
            &one(device("/dev/a", "u", 1, -1)),
            &format!("linux.devices[0] \"/dev/a\": minor -1 is not between 0 and 1048575 {mknod}"),
        ),
        (&one(odd), &format!("linux.devices[0] \"/dev/a\": fileMode 65536 is not a file mode {mknod}")),
        (
            &one(owned),
            "linux.devices[0].gid: 4294967295 is not an id: to the kernel it means \"leave unchanged\" \
             (hint: see config-linux.md, Devices; chown(2))",
        ),
        (
            &[("/linux/devices", json!([device("/dev/a", "c", 1, 3), device("/dev//a", "c", 1, 5)]))],
            &format!("linux.devices[1] \"/dev//a\": entry [0] puts another device there {hint}"),
        ),
    ]);
    accepted(&[
        &one(typed),
        &one(json!({"path": "/run/fifo", "type": "p"})),
        &[("/linux/devices", json!([device("/dev/a", "c", 1, 3), device("/dev/a", "c", 1, 3)]))],
    ]);
}

#[test]
fn the_rest_of_linux() {
    refused(&[
        (
            &[("/linux/cgroupsPath", json!("/a/../b"))],
            "linux.cgroupsPath \"/a/../b\": holds \"..\" (hint: see config-linux.md, Cgroups Path)",
        ),
        (
            &[("/linux/cgroupsPath", json!("a\0"))],
            "linux.cgroupsPath: NUL byte at position 1 (hint: see config-linux.md)",
        ),
        (
            &[("/linux/rootfsPropagation", json!("public"))],
            "linux.rootfsPropagation \"public\": not one of private, rprivate, rshared, rslave, runbindable, shared, \
             slave, unbindable (hint: see config-linux.md, Rootfs Mount Propagation)",
        ),
        (
            &[("/linux/maskedPaths", json!(["/a", "proc"]))],
            "linux.maskedPaths[1] \"proc\": not an absolute path (hint: see config-linux.md, Masked Paths)",
        ),
        (
            &[("/linux/readonlyPaths", json!([""]))],
            "linux.readonlyPaths[0] \"\": not an absolute path (hint: see config-linux.md, Readonly Paths)",
        ),
        (
            &[("/linux/personality", json!({"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]}))],
            "linux.personality.flags[0] \"ADDR_NO_RANDOMIZE\": the spec has no flags yet \
             (hint: see config-linux.md, Personality)",
        ),
        (
            &[("/linux/sysctl", json!({"net.a": "1\0"}))],
            "linux.sysctl \"net.a\": NUL byte at position 1 (hint: see config-linux.md)",
        ),
    ]);
    accepted(&[
        &[("/linux/cgroupsPath", json!("/a..b/...")), ("/linux/rootfsPropagation", json!("rslave"))],
        &[("/linux/cgroupsPath", json!("")), ("/linux/rootfsPropagation", json!(""))],
        &[("/linux/personality", json!({"domain": "LINUX", "flags": []}))],
    ]);
}

#[test]
fn network_devices() {
    let hint = "(hint: see config-linux.md, Network Devices)";
    let network = (NAMESPACES, json!([{"type": "mount"}, {"type": "uts"}, {"type": "network"}]));
    let refuse = |devices: Value, expected: &str| {
        let expected = format!("linux.netDevices{expected} {hint}");
        refused(&[(&[network.clone(), ("/linux/netDevices", devices)], &expected)]);
    };
    refuse(json!({"": {}}), " \"\": is empty");
    refuse(
        json!({"eth0": {}, "a-name-of-16-byt": {}}),
        " \"a-name-of-16-byt\": a name of 16 bytes, the kernel takes at most 15",
    );
    refuse(json!({"..": {}}), " \"..\": is no name of a device");
    refuse(json!({"eth0": {"name": "a/b"}}), " \"eth0\".name \"a/b\": \"/\" at position 1 is not allowed");
    refuse(
        json!({"eth0": {"name": "eth0:1"}}),
        " \"eth0\".name \"eth0:1\": \":\" at position 4 is not allowed",
    );
    refuse(json!({"eth0": {"name": "a\0"}}), " \"eth0\".name \"a\\0\": \"\\0\" at position 1 is not allowed");
    refuse(json!({"eth%d": {}}), " \"eth%d\": a template is no name of a device");
    for name in ["%dx", "x%d%d", "x%", "x%s"] {
        refuse(
            json!({"eth0": {"name": name}}),
            &format!(" \"eth0\".name {name:?}: a template has one %d, at its end"),
        );
    }
    refuse(json!({"eth0": {}, "eth1": {"name": "eth0"}}), " \"eth1\": \"eth0\" is also called \"eth0\"");
    refused(&[(
        &[("/linux/netDevices", json!({"eth0": {}}))],
        &format!(
            "linux.netDevices: linux.namespaces has no network namespace that they could be moved to {hint}"
        ),
    )]);
    accepted(&[
        &[("/linux/netDevices", json!({}))],
        &[
            network.clone(),
            ("/linux/netDevices", json!({"eth0": {"name": ""}, "eth1": {"name": "a-name-of-15-by"}})),
        ],
        &[network.clone(), ("/linux/netDevices", json!({"a": {"name": "b"}, "b": {"name": "a"}}))],
        &[
            network.clone(),
            ("/linux/netDevices", json!({"a": {"name": "x%d"}, "b": {"name": "x%d"}, "ä€": {}})),
        ],
    ]);
}

#[test]
fn hooks() {
    let hint = "(hint: see config.md, POSIX-platform Hooks)";
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        refused(&[
            (
                &[("/hooks", json!({kind: [{"path": "/a"}, {"path": "bin/x"}]}))],
                &format!("hooks.{kind}[1] \"bin/x\": not an absolute path {hint}"),
            ),
            (
                &[("/hooks", json!({kind: [{"path": "/a", "timeout": 0}]}))],
                &format!("hooks.{kind}[0].timeout: 0 is not greater than zero {hint}"),
            ),
            (
                &[("/hooks", json!({kind: [{"path": "/a", "timeout": -5}]}))],
                &format!("hooks.{kind}[0].timeout: -5 is not greater than zero {hint}"),
            ),
            (
                &[("/hooks", json!({kind: [{"path": "/a", "args": ["a", "\0"]}]}))],
                &format!("hooks.{kind}[0].args[1]: NUL byte at position 0 {hint}"),
            ),
        ]);
        accepted(&[&[("/hooks", json!({kind: [{"path": "/a", "timeout": 1, "args": [], "env": ["A=1"]}]}))]]);
    }
}

/// A config whose `process.scheduler` is this.
fn scheduler(value: Value) -> [(&'static str, Value); 1] {
    [("/process/scheduler", value)]
}

#[test]
fn schedulers_and_their_parameters() {
    let hint = "(hint: see config.md, Linux Process; sched_setattr(2))";
    let deadline = |runtime: u64, deadline: u64, period: u64| json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period});
    for (value, reason) in [
        (json!({"policy": "SCHED_OTHER", "nice": 20}), "nice: 20 is not between -20 and 19"),
        (json!({"policy": "SCHED_BATCH", "nice": -21}), "nice: -21 is not between -20 and 19"),
        (
            json!({"policy": "SCHED_FIFO", "priority": 1, "nice": 1}),
            "nice: SCHED_FIFO has none: only SCHED_OTHER and SCHED_BATCH do",
        ),
        (
            json!({"policy": "SCHED_IDLE", "nice": 1}),
            "nice: SCHED_IDLE has none: only SCHED_OTHER and SCHED_BATCH do",
        ),
        (json!({"policy": "SCHED_FIFO"}), "priority: 0 is not between 1 and 99 for SCHED_FIFO"),
        (
            json!({"policy": "SCHED_RR", "priority": 100}),
            "priority: 100 is not between 1 and 99 for SCHED_RR",
        ),
        (json!({"policy": "SCHED_RR", "priority": -1}), "priority: -1 is not between 1 and 99 for SCHED_RR"),
        (
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "priority: SCHED_OTHER has none: only SCHED_FIFO and SCHED_RR have one above 0",
        ),
        (json!({"policy": "SCHED_OTHER", "runtime": 1}), "runtime: only SCHED_DEADLINE has one"),
        (json!({"policy": "SCHED_IDLE", "period": 1}), "period: only SCHED_DEADLINE has one"),
        (deadline(0, 0, 0), "runtime: 0 ns, the kernel takes 1024 or more"),
        (deadline(1023, 2000, 0), "runtime: 1023 ns, the kernel takes 1024 or more"),
        (deadline(5000, 4000, 0), "deadline: 4000 ns is less than the runtime, 5000 ns"),
        (deadline(5000, 6000, 5999), "period: 5999 ns is less than the deadline, 6000 ns"),
        (deadline(5000, 1 << 63, 0), "deadline: 9223372036854775808 is above 9223372036854775807"),
        (
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM"]}),
            "flags: SCHED_FLAG_RECLAIM is for SCHED_DEADLINE only",
        ),
    ] {
        refused(&[(&scheduler(value), &format!("process.scheduler.{reason} {hint}"))]);
    }
    let hooks = ("/hooks", json!({"startContainer": [{"path": "/a"}]}));
    let [deadline_only] = scheduler(deadline(5000, 6000, 0));
    let text = "process.scheduler: a process of SCHED_DEADLINE starts no hooks.startContainer without \
                SCHED_FLAG_RESET_ON_FORK";
    refused(&[(&[deadline_only, hooks], &format!("{text} {hint}"))]);
    for value in [
        json!({"policy": "SCHED_OTHER"}),
        json!({"policy": "SCHED_BATCH", "nice": -20, "priority": 0}),
        json!({"policy": "SCHED_IDLE", "nice": 0}),
        json!({"policy": "SCHED_RR", "priority": 99}),
        json!({"policy": "SCHED_FIFO", "flags": ["SCHED_FLAG_KEEP_POLICY"]}),
        json!({"policy": "SCHED_ISO"}),
        deadline(1024, 1024, 0),
        deadline(5000, 6000, 6000),
    ] {
        accepted(&[&scheduler(value)]);
    }
}

#[test]
fn io_priorities_and_affinities() {
    let io = |priority: i64| json!({"class": "IOPRIO_CLASS_RT", "priority": priority});
    for bad in [-1, 8] {
        refused(&[(
            &[("/process/ioPriority", io(bad))],
            &format!(
                "process.ioPriority.priority: {bad} is not between 0 and 7 \
                 (hint: see config.md, Linux Process; ioprio_set(2))"
            ),
        )]);
    }
    refused(&[
        (
            &[("/process/execCPUAffinity", json!({"initial": "0", "final": "3-1"}))],
            "process.execCPUAffinity.final: \"3-1\" is no range: 3 is above 1 \
             (hint: see config.md, Linux Process)",
        ),
        (
            &[("/process/execCPUAffinity", json!({"initial": "65536"}))],
            "process.execCPUAffinity.initial: 65536 is above 65535 (hint: see config.md, Linux Process)",
        ),
    ]);
    accepted(&[
        &[("/process/ioPriority", io(0))],
        &[("/process/ioPriority", io(7))],
        &[("/process/execCPUAffinity", json!({"initial": "0-3,7"}))],
        &[("/process/execCPUAffinity", json!({}))],
    ]);
}

#[test]
fn memory_policies() {
    let hint = "(hint: see config-linux.md, Memory policy; set_mempolicy(2))";
    let policy = |mode: &str, nodes: &str, flags: &[&str]| {
        [("/linux/memoryPolicy", json!({"mode": mode, "nodes": nodes, "flags": flags}))]
    };
    let (fixed, relative, balancing) =
        ("MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES", "MPOL_F_NUMA_BALANCING");
    for (mode, nodes, flags, reason) in [
        ("MPOL_DEFAULT", "0", &[][..], "nodes: MPOL_DEFAULT takes none".to_owned()),
        ("MPOL_LOCAL", "0-1", &[], "nodes: MPOL_LOCAL takes none".to_owned()),
        ("MPOL_BIND", "", &[], "nodes: MPOL_BIND needs at least one".to_owned()),
        ("MPOL_INTERLEAVE", "", &[], "nodes: MPOL_INTERLEAVE needs at least one".to_owned()),
        ("MPOL_BIND", "0-", &[], "nodes: \"0-\" is no number or range".to_owned()),
        ("MPOL_BIND", "0", &[fixed, relative], format!("flags: {fixed} and {relative} exclude each other")),
        (
            "MPOL_INTERLEAVE",
            "0",
            &[balancing],
            format!("flags: {balancing} is for MPOL_BIND and MPOL_PREFERRED_MANY only"),
        ),
        ("MPOL_PREFERRED", "", &[relative], format!("flags: {relative} says nothing without nodes")),
        ("MPOL_LOCAL", "", &[fixed], format!("flags: {fixed} says nothing without nodes")),
    ] {
        refused(&[(&policy(mode, nodes, flags), &format!("linux.memoryPolicy.{reason} {hint}"))]);
    }
    accepted(&[
        &policy("MPOL_DEFAULT", "", &[]),
        &policy("MPOL_PREFERRED", "", &[]),
        &policy("MPOL_BIND", "0, 2-3", &[fixed, balancing]),
        &policy("MPOL_WEIGHTED_INTERLEAVE", "0", &[relative]),
        &[("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL"}))],
    ]);
}

#[test]
fn labels() {
    let process = "(hint: see config.md, Linux Process)";
    let mount = "(hint: see config-linux.md, Mount Label)";
    let long = "x".repeat(4092);
    refused(&[
        (
            &[("/process/apparmorProfile", json!(" a"))],
            &format!("process.apparmorProfile \" a\": a blank at its start or end {process}"),
        ),
        (
            &[("/process/apparmorProfile", json!("a\n"))],
            &format!("process.apparmorProfile \"a\\n\": a blank at its start or end {process}"),
        ),
        (
            &[("/process/apparmorProfile", json!(long))],
            &format!("process.apparmorProfile: 4092 bytes, the kernel takes at most 4091 {process}"),
        ),
        (
            &[("/process/selinuxLabel", json!("a:b:c\n"))],
            &format!("process.selinuxLabel \"a:b:c\\n\": ends in a line feed {process}"),
        ),
        (
            &[("/linux/mountLabel", json!("a\"b"))],
            &format!("linux.mountLabel \"a\\\"b\": holds \"\\\"\" {mount}"),
        ),
        (
            &[("/linux/mountLabel", json!("a\0"))],
            &format!("linux.mountLabel \"a\\0\": holds \"\\0\" {mount}"),
        ),
    ]);
    accepted(&[&[
        ("/process/apparmorProfile", json!("a b//&c")),
        ("/process/selinuxLabel", json!("system_u:system_r:container_t:s0:c1,c2")),
        ("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0:c1,c2")),
    ]]);
}

#[test]
fn seccomp() {
    let see = "(hint: see config-linux.md, Seccomp)";
    let profile = |more: Value| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        profile.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        [("/linux/seccomp", profile)]
    };
    let rule = |rule: Value| profile(json!({"listenerPath": "/a", "syscalls": [rule]}));
    let arg = |arg: Value| rule(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [arg]}));
    let notify = json!([{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]);
    let killable = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    for (changes, expected) in [
        (
            profile(json!({"defaultAction": "SCMP_ACT_NOTIFY"})),
            "defaultAction: SCMP_ACT_NOTIFY cannot be the default",
        ),
        (profile(json!({"defaultErrnoRet": 1})), "defaultErrnoRet: SCMP_ACT_ALLOW takes no errno"),
        (rule(json!({"names": [], "action": "SCMP_ACT_ERRNO"})), "syscalls[0].names: is empty"),
        (
            rule(json!({"names": ["a", "b c"], "action": "SCMP_ACT_ERRNO"})),
            "syscalls[0].names[1] \"b c\": not a name",
        ),
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_LOG", "errnoRet": 1})),
            "syscalls[0].errnoRet: SCMP_ACT_LOG takes no errno",
        ),
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095})),
            "syscalls[0].errnoRet: 4095 is more than 4094",
        ),
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
            "syscalls[0].errnoRet: 65536 is more than 65535",
        ),
        (
            rule(json!({"names": ["b", "sendmsg"], "action": "SCMP_ACT_NOTIFY"})),
            "syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for sendmsg",
        ),
        (
            arg(json!({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"})),
            "syscalls[0].args[0]: index 6 is not between 0 and 5",
        ),
        (
            arg(json!({"index": 0, "value": 0, "valueTwo": 1, "op": "SCMP_CMP_NE"})),
            "syscalls[0].args[0]: valueTwo is for SCMP_CMP_MASKED_EQ, not for SCMP_CMP_NE",
        ),
        (profile(json!({"syscalls": notify})), "listenerPath: missing, and SCMP_ACT_NOTIFY needs it"),
        (
            profile(json!({"syscalls": notify, "listenerPath": "a"})),
            "listenerPath \"a\": not an absolute path",
        ),
        (profile(json!({"listenerMetadata": "m"})), "listenerMetadata: without listenerPath"),
    ] {
        refused(&[(&changes, &format!("linux.seccomp.{expected} {see}"))]);
    }
    let expected = "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY \
                    (hint: see config-linux.md, Seccomp; seccomp(2))";
    refused(&[(&profile(json!({"flags": killable})), expected)]);
    accepted(&[
        &profile(json!({})),
        &profile(
            json!({"syscalls": notify, "listenerPath": "/a", "listenerMetadata": "m", "flags": killable}),
        ),
        &profile(json!({"listenerPath": "relative, but unused", "syscalls": []})),
        &arg(json!({"index": 5, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_NE"})),
        &arg(json!({"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"})),
    ]);
}

#[test]
fn oddities_are_warnings() {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let cases: &[(Changes<'_>, &str)] = &[
        (
            &[("/mounts", json!([{"destination": "proc", "type": "proc"}]))],
            "mounts[0].destination \"proc\": relative (deprecated), taken from /",
        ),
        (
            &[(
                "/mounts",
                json!([{"destination": "/d", "source": "/s", "options": ["bind"], "uidMappings": map, "gidMappings": map}]),
            )],
            "mounts[0] \"/d\": uidMappings without idmap or ridmap, taken as idmap",
        ),
        (
            &[
                (NAMESPACES, json!([{"type": "user", "path": "/u"}])),
                ("/linux/uidMappings", map.clone()),
                ("/linux/gidMappings", map.clone()),
            ],
            "linux.uidMappings: the user namespace \"/u\" keeps its own mappings",
        ),
        (
            &[("/hooks", json!({"poststop": [{"path": "/a", "env": ["A"]}]}))],
            "hooks.poststop[0].env[0]: not of the form NAME=value, left out",
        ),
        (&[("/vm", json!({"kernel": {"path": "/k"}}))], "vm: not for Linux containers, ignored"),
        (&[("/solaris", json!({}))], "solaris: not for Linux containers, ignored"),
    ];
    for (changes, warning) in cases {
        assert_eq!(judge(changes), Ok(vec![(*warning).to_owned()]));
    }
}

#[test]
fn long_values_are_shortened() {
    assert_eq!(Quoted(&"é".repeat(65)).to_string(), format!("\"{}\"…", "é".repeat(64)));
    assert_eq!(Quoted("a\"b").to_string(), r#""a\"b""#);
}
