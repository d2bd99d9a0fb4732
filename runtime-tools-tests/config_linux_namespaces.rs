//! config-linux.md, from Default Filesystems to Offset for Time Namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::harness::{Need, Sandbox};

clauses! {
    601 SHOULD "Default Filesystems", "make proc available at /proc" => proc = |it| file_system(it, "/proc", "proc");
    602 SHOULD "Default Filesystems", "make sysfs available at /sys" => sys = |it| file_system(it, "/sys", "sysfs");
    603 SHOULD "Default Filesystems", "make devpts available at /dev/pts"
        => dev_pts = |it| file_system(it, "/dev/pts", "devpts");
    604 SHOULD "Default Filesystems", "make tmpfs available at /dev/shm"
        => dev_shm = |it| file_system(it, "/dev/shm", "tmpfs");
    605 SHOULD "Namespaces", "support the type pid: a process sees its own processes" => pid_namespace;
    606 SHOULD "Namespaces", "support the type network: a network stack of its own" => network_namespace;
    607 SHOULD "Namespaces", "support the type mount: a mount table of its own" => mount_namespace;
    608 SHOULD "Namespaces", "support the type ipc: System V objects of its own" => ipc_namespace;
    609 SHOULD "Namespaces", "support the type uts: a hostname of its own" => uts_namespace;
    610 SHOULD "Namespaces", "support the type user: ids are mapped" => user_namespace, Need::UserNamespaces;
    611 SHOULD "Namespaces", "support the type cgroup: a view of the hierarchy of its own" => cgroup_namespace;
    612 SHOULD "Namespaces", "support the type time: clocks of its own"
        => time_namespace, Need::File("/proc/self/ns/time");
    613 MUST "Namespaces", "create a new namespace of each type that has no path" => namespaces_without_a_path_are_new;
    614 MUST "Namespaces", "place the process in the pid namespace at path" => pid_is_joined = |it| joined(it, "pid", "pid");
    615 MUST "Namespaces", "place the process in the network namespace at path"
        => network_is_joined = |it| joined(it, "network", "net");
    616 MUST "Namespaces", "place the process in the ipc namespace at path" => ipc_is_joined = |it| joined(it, "ipc", "ipc");
    617 MUST "Namespaces", "place the process in the uts namespace at path" => uts_is_joined = |it| joined(it, "uts", "uts");
    618 MUST "Namespaces", "place the process in the cgroup namespace at path"
        => cgroup_is_joined = |it| joined(it, "cgroup", "cgroup");
    619 MUST "Namespaces", "place the process in the user namespace at path" => user_is_joined, Need::UserNamespaces;
    620 MUST "Namespaces", "place the process in the time namespace at path"
        => time_is_joined = |it| joined(it, "time", "time"), Need::File("/proc/self/ns/time");
    621 MUST "Namespaces", "generate an error for a path of another type" => paths_of_another_type_are_errors;
    622 MUST "Namespaces", "generate an error for a path that is no namespace" => paths_of_no_namespace_are_errors;
    623 MUST "Namespaces", "refuse a path that is not absolute" => namespace_paths_are_absolute;
    624 MUST "Namespaces", "inherit the runtime's namespaces of types that are not listed"
        => namespaces_that_are_not_listed_are_inherited;
    625 MUST "Namespaces", "generate an error for two namespaces of the same type" => duplicated_namespaces_are_errors;
    626 MUST "User namespace mappings", "map user ids as uidMappings says" => uid_map = |it| id_map(it, "uid"), Need::UserNamespaces;
    627 MUST "User namespace mappings", "map group ids as gidMappings says" => gid_map = |it| id_map(it, "gid"), Need::UserNamespaces;
    628 SHOULD_NOT "User namespace mappings", "change who owns the files, to realise the mapping"
        => owners_are_left_alone, Need::UserNamespaces;
    629 MUST "Offset for Time Namespace", "set the offsets of the clocks"
        => time_offsets, Need::File("/proc/self/timens_offsets");
}

fn file_system(it: &mut Sandbox, point: &str, kind: &str) {
    let table = it.see("cat /proc/self/mountinfo");
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(point));
    let line = line.unwrap_or_else(|| panic!("{point} is not mounted: {table}"));
    assert!(line.contains(&format!(" - {kind} ")), "{line}");
}

fn namespace_of(pid: &str, file: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().display().to_string()
}

fn pid_namespace(it: &mut Sandbox) {
    assert_eq!(it.see("echo $$; ls -d /proc/[0-9]* | wc -l"), "1\n3");
}

fn network_namespace(it: &mut Sandbox) {
    assert_eq!(it.see("ls /sys/class/net; readlink /proc/1/ns/net").lines().next(), Some("lo"));
}

fn mount_namespace(it: &mut Sandbox) {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    it.mount("/mnt", "tmpfs", "conformance-own", &[]);
    assert_eq!(it.see("grep -c conformance-own /proc/self/mountinfo"), "1");
    assert!(!before.contains("conformance-own"));
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("conformance-own"));
}

fn ipc_namespace(it: &mut Sandbox) {
    let made = it.tool_call(&["ipcmk", "-Q"]).finish().ok();
    let id = made.text().rsplit(' ').next().unwrap().to_owned();
    let seen = it.see("ipcs -q | grep -c ^0x; cat /proc/sysvipc/msg | wc -l");
    it.tool_call(&["ipcrm", "-q", &id]).finish().ok();
    assert_eq!(seen, "0\n1");
}

fn uts_namespace(it: &mut Sandbox) {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    it.set("/hostname", json!("conformance"));
    assert_eq!(it.see("hostname"), "conformance");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

fn user_namespace(it: &mut Sandbox) {
    it.user_namespace();
    assert_eq!(it.see("id -u; touch /made"), "0");
    assert_eq!(fs::metadata(it.rootfs("/made")).unwrap().uid(), 100_000);
}

fn cgroup_namespace(it: &mut Sandbox) {
    let seen = it.see("cut -d : -f 3 /proc/self/cgroup");
    assert!(!seen.contains(&it.token), "{seen}");
}

fn time_namespace(it: &mut Sandbox) {
    it.namespace("time", None);
    assert_ne!(it.see("readlink /proc/self/ns/time"), namespace_of("self", "time"));
}

fn namespaces_without_a_path_are_new(it: &mut Sandbox) {
    let pid = it.alive().to_string();
    for file in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
        assert_ne!(namespace_of(&pid, file), namespace_of("self", file), "{file}");
    }
}

/// A second container's namespace is that of the first.
fn joined(it: &mut Sandbox, kind: &str, file: &str) {
    if kind == "time" {
        it.namespace("time", None);
    }
    let first = it.alive().to_string();
    let wanted = namespace_of(&first, file);
    it.namespace(kind, Some(&format!("/proc/{first}/ns/{file}")));
    if kind == "uts" {
        it.unset("/hostname");
    }
    assert_eq!(second(it, &format!("readlink /proc/self/ns/{file}")), wanted);
}

fn second(it: &mut Sandbox, script: &str) -> String {
    it.set("/linux/cgroupsPath", json!(format!("/{0}/{0}-second", it.token)));
    it.script(script);
    it.live_as(&format!("{}-second", it.token), |create| create)
}

fn user_is_joined(it: &mut Sandbox) {
    it.user_namespace();
    let first = it.alive().to_string();
    let wanted = namespace_of(&first, "user");
    it.namespace("user", Some(&format!("/proc/{first}/ns/user")));
    it.unset("/linux/uidMappings").unset("/linux/gidMappings");
    assert_eq!(second(it, "readlink /proc/self/ns/user"), wanted);
}

fn paths_of_another_type_are_errors(it: &mut Sandbox) {
    for (kind, file) in [("network", "uts"), ("uts", "net"), ("ipc", "mnt")] {
        it.unset("/hostname").set("/hostname", json!("x"));
        let path = format!("/proc/self/ns/{file}");
        it.namespace(kind, Some(&path));
        it.refuses(&["linux.namespaces[", &path]);
        it.namespace(kind, None);
    }
}

fn paths_of_no_namespace_are_errors(it: &mut Sandbox) {
    let file = it.file("file", "");
    for path in ["/nonexistent", &file] {
        it.namespace("network", Some(path));
        it.refuses(&["linux.namespaces[", path]);
    }
}

/// From a directory where the path leads to a namespace all the same.
fn namespace_paths_are_absolute(it: &mut Sandbox) {
    it.namespace("network", Some("proc/self/ns/net"));
    let output = it.create_as(&it.token, &[]).directory(std::path::Path::new("/")).finish();
    output.fails_with(&["linux.namespaces["]);
}

fn namespaces_that_are_not_listed_are_inherited(it: &mut Sandbox) {
    for kind in ["network", "ipc", "uts", "cgroup"] {
        it.without_namespace(kind);
    }
    it.unset("/hostname");
    let seen = it.see("for kind in net ipc uts cgroup; do readlink /proc/self/ns/$kind; done");
    let own = ["net", "ipc", "uts", "cgroup"].map(|file| namespace_of("self", file));
    assert_eq!(seen.lines().collect::<Vec<_>>(), own);
}

fn duplicated_namespaces_are_errors(it: &mut Sandbox) {
    it.set("/linux/namespaces/-", json!({ "type": "uts" }));
    it.refuses(&["linux.namespaces", "uts"]);
}

fn id_map(it: &mut Sandbox, kind: &str) {
    it.user_namespace();
    let other = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }, { "containerID": 1000, "hostID": 101_000, "size": 7 }]);
    it.set(&format!("/linux/{kind}Mappings"), other);
    let text = it.see(&format!("cat /proc/self/{kind}_map"));
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "1000", "1000", "101000", "7"]);
}

fn owners_are_left_alone(it: &mut Sandbox) {
    it.user_namespace();
    let file = it.rootfs("/etc/passwd");
    std::os::unix::fs::chown(&file, Some(7), Some(8)).unwrap();
    assert_eq!(it.see("stat -c %u:%g /etc/passwd"), "65534:65534");
    let owner = fs::metadata(file).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (7, 8));
}

fn time_offsets(it: &mut Sandbox) {
    it.namespace("time", None);
    let offsets = json!({ "boottime": { "secs": 1_000_000, "nanosecs": 0 }, "monotonic": { "secs": 500, "nanosecs": 7 } });
    it.set("/linux/timeOffsets", offsets);
    let text = it.see("cat /proc/self/timens_offsets; cut -d ' ' -f 1 /proc/uptime");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[..6], ["monotonic", "500", "7", "boottime", "1000000", "0"], "{text}");
    let outside = fs::read_to_string("/proc/uptime").unwrap();
    let seconds = |text: &str| text.split(' ').next().unwrap().parse::<f64>().unwrap();
    let ahead = seconds(words[6]) - seconds(&outside);
    assert!((ahead - 1_000_000.0).abs() < 60.0, "ahead by {ahead}");
}
