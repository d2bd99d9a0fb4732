//! config-linux.md: namespaces, id mappings, devices, control groups, sysctl, and what is hidden or read-only.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Layout, Need, Sandbox, status_field};

cases! {
    default_file_systems_are_in_the_default_config;
    namespaces_without_a_path_are_new;
    namespaces_with_a_path_are_joined;
    namespaces_with_a_path_of_another_type_are_errors;
    namespace_paths_are_absolute;
    namespaces_that_are_not_listed_are_inherited;
    duplicated_namespaces_are_errors;
    user_namespaces_are_mapped: Need::UserNamespaces;
    mappings_without_a_user_namespace_are_errors;
    time_namespaces_have_their_offsets: Need::File("/proc/self/timens_offsets");
    devices_are_made_as_listed;
    a_file_in_a_devices_place_is_an_error;
    default_devices_are_there;
    cgroups_paths_are_below_the_mount_point;
    relative_cgroups_paths_are_accepted;
    cgroups_paths_lead_to_the_same_place_again;
    allowed_devices_are_applied_in_the_listed_order;
    pids_limit_is_applied: Need::Controller("pids");
    memory_limit_is_applied: Need::Controller("memory");
    cpu_limits_are_applied: Need::Controller("cpu");
    unified_controllers_that_are_missing_are_errors: Need::Only(Layout::V2);
    sysctls_are_written;
    rootfs_propagation_is_that_of_the_root;
    masked_paths_cannot_be_read;
    readonly_paths_cannot_be_written;
    personality_is_set;
}

fn default_file_systems_are_in_the_default_config(sandbox: &mut Sandbox) {
    let bundle = sandbox.path("calls");
    sandbox.onggi(&["spec", "--bundle", &bundle]).finish().ok();
    let config: Value =
        serde_json::from_slice(&fs::read(sandbox.path("calls/config.json")).unwrap()).unwrap();
    let mounts = config["mounts"].as_array().unwrap();
    for (place, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
    {
        let found = mounts.iter().any(|mount| mount["destination"] == place && mount["type"] == kind);
        assert!(found, "no {kind} at {place}: {config:#}");
    }
}

/// The namespaces' names in config.json and in /proc/PID/ns, those that need nothing else.
const KINDS: &[(&str, &str)] = &[
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
];

fn namespace_of(pid: &str, file: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().display().to_string()
}

fn namespaces_without_a_path_are_new(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper().to_string();
    for (kind, file) in KINDS {
        assert_ne!(namespace_of(&pid, file), namespace_of("self", file), "{kind}");
    }
}

fn namespaces_with_a_path_are_joined(sandbox: &mut Sandbox) {
    let first = sandbox.start_sleeper().to_string();
    for kind in ["network", "ipc", "uts"] {
        let file = KINDS.iter().find(|it| it.0 == kind).unwrap().1;
        sandbox.namespace(kind, Some(&format!("/proc/{first}/ns/{file}")));
    }
    sandbox.unset("/hostname");
    sandbox.set("/linux/cgroupsPath", json!(format!("/{0}/{0}-second", sandbox.token)));
    sandbox.script("for kind in net ipc uts; do readlink /proc/self/ns/$kind; done");
    sandbox.write_config();
    let (bundle, second) = (sandbox.path("bundle"), format!("{}-second", sandbox.token));
    let output = sandbox.onggi(&["run", "--bundle", &bundle, &second]).finish().ok();
    let expected: Vec<String> = ["net", "ipc", "uts"].iter().map(|file| namespace_of(&first, file)).collect();
    assert_eq!(output.text().lines().collect::<Vec<_>>(), expected);
}

fn namespaces_with_a_path_of_another_type_are_errors(sandbox: &mut Sandbox) {
    let file = sandbox.file("file", "");
    for path in ["/proc/self/ns/uts", "/nonexistent", &file] {
        sandbox.namespace("network", Some(path));
        sandbox.refused(&["linux.namespaces[", path]);
    }
}

fn namespace_paths_are_absolute(sandbox: &mut Sandbox) {
    sandbox.namespace("network", Some("proc/self/ns/net"));
    sandbox.refused(&["linux.namespaces["]);
}

fn namespaces_that_are_not_listed_are_inherited(sandbox: &mut Sandbox) {
    for kind in ["network", "ipc", "uts", "cgroup"] {
        sandbox.without_namespace(kind);
    }
    sandbox.unset("/hostname");
    let seen = sandbox.prove("for kind in net ipc uts cgroup; do readlink /proc/self/ns/$kind; done");
    let own: Vec<String> =
        ["net", "ipc", "uts", "cgroup"].iter().map(|file| namespace_of("self", file)).collect();
    assert_eq!(seen.lines().collect::<Vec<_>>(), own);
}

fn duplicated_namespaces_are_errors(sandbox: &mut Sandbox) {
    sandbox.set("/linux/namespaces/-", json!({ "type": "uts" }));
    sandbox.refused(&["linux.namespaces", "uts"]);
}

fn user_namespaces_are_mapped(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let maps = sandbox.prove("cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /made");
    let words: Vec<&str> = maps.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "65536", "0", "100000", "65536", "0"]);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(sandbox.rootfs("/made")).unwrap());
    assert_eq!(owner, 100_000);
}

fn mappings_without_a_user_namespace_are_errors(sandbox: &mut Sandbox) {
    sandbox.set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]));
    sandbox.refused(&["linux.uidMappings"]);
}

fn time_namespaces_have_their_offsets(sandbox: &mut Sandbox) {
    sandbox.namespace("time", None);
    sandbox.set("/linux/timeOffsets", json!({ "boottime": { "secs": 1_000_000, "nanosecs": 0 } }));
    let inside: f64 = sandbox.prove("cut -d ' ' -f 1 /proc/uptime").parse().unwrap();
    let outside = fs::read_to_string("/proc/uptime").unwrap();
    let outside: f64 = outside.split(' ').next().unwrap().parse().unwrap();
    assert!((inside - outside - 1_000_000.0).abs() < 60.0, "inside {inside}, outside {outside}");
}

fn devices_are_made_as_listed(sandbox: &mut Sandbox) {
    let devices = json!([
        { "path": "/dev/own", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 12, "gid": 34 },
        { "path": "/dev/deep/block", "type": "b", "major": 7, "minor": 0 },
        { "path": "/dev/pipe", "type": "p", "fileMode": 0o600 }
    ]);
    sandbox.set("/linux/devices", devices);
    let seen = sandbox.prove(
        "stat -c '%F %a %u:%g %t:%T' /dev/own; stat -c '%F %t:%T' /dev/deep/block; stat -c '%F %a' /dev/pipe",
    );
    assert_eq!(seen, "character special file 640 12:34 1:7\nblock special file 7:0\nfifo 600");
}

fn a_file_in_a_devices_place_is_an_error(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("/taken"), "").unwrap();
    sandbox.set("/linux/devices", json!([{ "path": "/taken", "type": "c", "major": 1, "minor": 3 }]));
    sandbox.refused(&["linux.devices[0]", "/taken"]);
}

fn default_devices_are_there(sandbox: &mut Sandbox) {
    let seen = sandbox.prove(
        "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; readlink ptmx; ls console 2>&1; true",
    );
    let expected = "null 1:3\nzero 1:5\nfull 1:7\nrandom 1:8\nurandom 1:9\ntty 5:0\npts/ptmx";
    assert!(seen.starts_with(expected), "{seen}");
    assert!(seen.contains("No such file"), "a console without a terminal: {seen}");
}

/// The cgroup of the usual container's init, as the host names it, in the hierarchy of `controller`.
fn cgroup_of(sandbox: &Sandbox, controller: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", sandbox.pid())).unwrap();
    let wanted = |line: &&str| match sandbox.layout {
        Layout::V2 => line.starts_with("0::"),
        Layout::V1 => {
            line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller))
        }
    };
    text.lines().find(wanted).unwrap().rsplit(':').next().unwrap().to_owned()
}

fn cgroups_paths_are_below_the_mount_point(sandbox: &mut Sandbox) {
    sandbox.create();
    let path = format!("/{0}/{0}", sandbox.token);
    assert!(cgroup_of(sandbox, "devices").ends_with(&path), "{}", cgroup_of(sandbox, "devices"));
    let members = fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap();
    assert_eq!(members.trim(), sandbox.pid().to_string());
}

fn relative_cgroups_paths_are_accepted(sandbox: &mut Sandbox) {
    sandbox.set("/linux/cgroupsPath", json!(format!("{0}/{0}", sandbox.token)));
    sandbox.create();
    let place = cgroup_of(sandbox, "devices");
    assert!(place.contains(&format!("{0}/{0}", sandbox.token)), "{place}");
}

fn cgroups_paths_lead_to_the_same_place_again(sandbox: &mut Sandbox) {
    let mut places = Vec::new();
    for _ in 0..2 {
        sandbox.create();
        places.push(cgroup_of(sandbox, "devices"));
        sandbox.kill("KILL");
        sandbox.wait_status("stopped");
        sandbox.delete();
    }
    assert_eq!(places[0], places[1]);
}

fn allowed_devices_are_applied_in_the_listed_order(sandbox: &mut Sandbox) {
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" },
        { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "w" }
    ]);
    sandbox.set("/linux/resources/devices", rules);
    sandbox.set(
        "/linux/devices",
        json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 }]),
    );
    sandbox.capabilities(&["CAP_SYSLOG", "CAP_SYS_ADMIN"]);
    let seen = sandbox.prove(
        "(exec 3< /dev/kmsg) 2>/dev/null && echo read; (exec 3> /dev/kmsg) 2>/dev/null || echo refused",
    );
    assert_eq!(seen, "read\nrefused");
}

/// The first of these files of the container's cgroup that exists.
fn limit(sandbox: &Sandbox, controller: &str, names: &[&str]) -> String {
    let cgroup = sandbox.cgroup(controller);
    let file = names.iter().map(|name| cgroup.join(name)).find(|file| file.exists());
    fs::read_to_string(file.unwrap_or_else(|| panic!("none of {names:?} in {}", cgroup.display())))
        .unwrap()
        .trim()
        .to_owned()
}

fn pids_limit_is_applied(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 17 }));
    sandbox.create();
    assert_eq!(limit(sandbox, "pids", &["pids.max"]), "17");
}

fn memory_limit_is_applied(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 67_108_864 }));
    sandbox.create();
    assert_eq!(limit(sandbox, "memory", &["memory.limit_in_bytes", "memory.max"]), "67108864");
}

fn cpu_limits_are_applied(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "quota": 20_000, "period": 50_000 }));
    sandbox.create();
    let seen = limit(sandbox, "cpu", &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["20000", "20000 50000"].contains(&seen.as_str()), "{seen}");
}

fn unified_controllers_that_are_missing_are_errors(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/unified", json!({ "nosuch.max": "1" }));
    sandbox.refused(&["linux.resources.unified"]);
}

fn sysctls_are_written(sandbox: &mut Sandbox) {
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "net.ipv4.ping_group_range": "0 1000" });
    sandbox.set("/linux/sysctl", sysctl);
    let seen = sandbox
        .prove("cd /proc/sys; cat net/ipv4/ip_forward kernel/shm_rmid_forced net/ipv4/ping_group_range");
    assert_eq!(seen, "1\n1\n0\t1000");
}

fn rootfs_propagation_is_that_of_the_root(sandbox: &mut Sandbox) {
    for (value, tag) in
        [("shared", "shared:"), ("slave", "master:"), ("private", ""), ("unbindable", "unbindable")]
    {
        sandbox.set("/linux/rootfsPropagation", json!(value));
        let table = sandbox.prove("grep -E '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ / ' /proc/self/mountinfo");
        let tags = table.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
        // The suite's own mounts are shared, so that a slave has a master.
        let right = tags.starts_with(tag) && (!tag.is_empty() || tags.is_empty());
        assert!(right, "{value}: {table}");
    }
}

fn masked_paths_cannot_be_read(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("/secret"), "secret").unwrap();
    fs::create_dir_all(sandbox.rootfs("/vault")).unwrap();
    fs::write(sandbox.rootfs("/vault/gold"), "gold").unwrap();
    sandbox.set("/linux/maskedPaths", json!(["/secret", "/vault", "/not-there"]));
    let seen = sandbox.prove("cat /secret; ls -A /vault; touch /vault/x 2>/dev/null || echo refused");
    assert_eq!(seen, "refused");
}

fn readonly_paths_cannot_be_written(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt", "tmpfs", "tmpfs", &[]);
    sandbox.mount("/mnt/below", "tmpfs", "tmpfs", &[]);
    sandbox.set("/linux/readonlyPaths", json!(["/etc", "/mnt", "/not-there"]));
    let seen = sandbox
        .prove("for dir in /etc /mnt /mnt/below /tmp; do touch $dir/x 2>/dev/null && echo $dir; done; true");
    assert_eq!(seen, "/tmp");
}

fn personality_is_set(sandbox: &mut Sandbox) {
    sandbox.set("/linux/personality", json!({ "domain": "LINUX32" }));
    let pid = sandbox.start_sleeper();
    let value = fs::read_to_string(format!("/proc/{pid}/personality")).unwrap();
    assert_eq!(value.trim(), "00000008", "{:?}", status_field(pid, "Name"));
}
