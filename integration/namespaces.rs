//! Namespaces: all eight kinds, new, shared with the host, and joined by path; host name, domain name, clock offsets.

use std::fs;

use serde_json::json;

use crate::harness::{Need, Sandbox};

cases! {
    listed_namespaces_are_new;
    unlisted_namespaces_are_the_callers;
    an_empty_list_is_the_callers_namespaces_but_mount;
    every_kind_is_joined_by_path: Need::UserNamespaces;
    one_kind_alone_is_joined;
    a_namespace_bound_to_a_file_is_joined: Need::Program("unshare");
    path_of_another_kind_is_refused;
    path_that_does_not_exist_is_refused;
    path_that_is_no_namespace_is_refused;
    relative_path_is_refused;
    init_is_pid_1;
    init_in_the_hosts_pid_namespace;
    hostname_is_set_inside_only;
    hostname_is_set_in_a_joined_namespace;
    hostname_without_uts_namespace_is_refused;
    hostname_too_long_is_refused;
    domainname_is_set_inside_only;
    domainname_without_uts_namespace_is_refused;
    loopback_is_up;
    ipc_namespace_is_empty;
    cgroup_namespace_hides_the_parents;
    time_offsets_apply: Need::File("/proc/self/ns/time");
    time_namespace_without_offsets: Need::File("/proc/self/ns/time");
    time_offsets_without_time_namespace_are_refused;
    bad_time_offsets_are_refused: Need::File("/proc/self/ns/time");
}

/// The kinds: name in config.json, name below /proc/PID/ns.
const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

fn namespace_of(pid: impl std::fmt::Display, file: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap().display().to_string()
}

fn listed_namespaces_are_new(sandbox: &mut Sandbox) {
    let time = Need::File("/proc/self/ns/time").is_met(sandbox.layout);
    let user = Need::UserNamespaces.is_met(sandbox.layout);
    if time {
        sandbox.namespace("time", None);
    }
    if user {
        sandbox.user_namespace();
    }
    let pid = sandbox.start_sleeper();
    let more = [("time", "time", time), ("user", "user", user)];
    let all = KINDS.iter().map(|&(kind, file)| (kind, file, true)).chain(more);
    for (kind, file, wanted) in all {
        let (inside, outside) = (namespace_of(pid, file), namespace_of("self", file));
        assert_eq!(inside != outside, wanted, "{kind}: {inside} inside, {outside} outside");
    }
}

fn unlisted_namespaces_are_the_callers(sandbox: &mut Sandbox) {
    sandbox.unset("/hostname");
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        sandbox.without_namespace(kind);
    }
    let pid = sandbox.start_sleeper();
    for (kind, file) in KINDS.into_iter().chain([("user", "user")]).filter(|&(kind, _)| kind != "mount") {
        assert_eq!(namespace_of(pid, file), namespace_of("self", file), "{kind}");
    }
    assert_ne!(namespace_of(pid, "mnt"), namespace_of("self", "mnt"));
}

fn an_empty_list_is_the_callers_namespaces_but_mount(sandbox: &mut Sandbox) {
    sandbox.unset("/hostname");
    sandbox.set("/linux/namespaces", json!([{ "type": "mount" }]));
    let inside = sandbox.prove("readlink /proc/self/ns/uts; readlink /proc/self/ns/net");
    assert_eq!(inside, format!("{}\n{}", namespace_of("self", "uts"), namespace_of("self", "net")));
}

/// Starts the usual container, then makes the configuration that of a second one in another cgroup.
fn start_first(sandbox: &mut Sandbox) -> i32 {
    let pid = sandbox.start_sleeper();
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    pid
}

/// Runs the configuration as a second container.
#[track_caller]
fn run_second(sandbox: &mut Sandbox, script: &str) -> String {
    sandbox.script(script);
    sandbox.write_config();
    let second = format!("{}-b", sandbox.token);
    let output = sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &second]).finish();
    output.ok().text().to_owned()
}

fn every_kind_is_joined_by_path(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let pid = start_first(sandbox);
    sandbox.unset("/hostname");
    sandbox.set("/linux/uidMappings", json!([])).set("/linux/gidMappings", json!([]));
    for (kind, file) in [("user", "user"), ("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")]
    {
        sandbox.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    }
    sandbox.namespace("cgroup", Some(&format!("/proc/{pid}/ns/cgroup")));
    // The first one's procfs shows the pid namespace that both are in.
    let script = "for n in user pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/1/comm";
    let inside = run_second(sandbox, script);
    let mut wanted: Vec<String> =
        ["user", "pid", "net", "ipc", "uts", "cgroup"].iter().map(|file| namespace_of(pid, file)).collect();
    wanted.push("sleep".into());
    assert_eq!(inside.lines().collect::<Vec<_>>(), wanted);
}

fn one_kind_alone_is_joined(sandbox: &mut Sandbox) {
    let pid = start_first(sandbox);
    let good = sandbox.config.clone();
    for (kind, file) in KINDS.into_iter().filter(|&(kind, _)| kind != "mount") {
        sandbox.config = good.clone();
        if kind == "uts" {
            sandbox.unset("/hostname");
        }
        sandbox.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
        let inside =
            run_second(sandbox, "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done");
        for (line, (other, name)) in inside.lines().zip(KINDS) {
            assert_eq!(line == namespace_of(pid, name), other == kind, "{other} when {kind} is joined");
        }
    }
}

fn a_namespace_bound_to_a_file_is_joined(sandbox: &mut Sandbox) {
    let file = sandbox.file("netns", "");
    let words = ["unshare", &format!("--net={file}"), "true"];
    sandbox.tool_call(&words).finish().ok();
    let _mounted = crate::mounts::Mounted(file.clone());
    let wanted = format!("net:[{}]", std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap()));
    sandbox.namespace("network", Some(&file));
    assert_eq!(sandbox.prove("readlink /proc/self/ns/net"), wanted);
}

fn path_of_another_kind_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/namespaces/1", json!({ "type": "network", "path": "/proc/self/ns/ipc" }));
    sandbox.refused(&["linux.namespaces[1]", "/proc/self/ns/ipc"]);
    sandbox.set("/linux/namespaces/1", json!({ "type": "network" }));
    sandbox.set("/linux/namespaces/0", json!({ "type": "pid", "path": "/proc/self/ns/uts" }));
    sandbox.refused(&["linux.namespaces[0]", "/proc/self/ns/uts"]);
}

fn path_that_does_not_exist_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/namespaces/1", json!({ "type": "network", "path": "/no/such/netns" }));
    sandbox.refused(&["linux.namespaces[1]", "/no/such/netns", "no such file or directory"]);
}

fn path_that_is_no_namespace_is_refused(sandbox: &mut Sandbox) {
    for path in ["/etc/passwd", "/proc", "/dev/null"] {
        sandbox.set("/linux/namespaces/1", json!({ "type": "network", "path": path }));
        sandbox.refused(&["linux.namespaces[1]", path]);
    }
}

/// "This value MUST be an absolute path in the runtime mount namespace" (config-linux.md, Namespaces).
fn relative_path_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/namespaces/1", json!({ "type": "network", "path": "proc/self/ns/net" }));
    sandbox.refused(&["linux.namespaces[1]", "absolute"]);
}

fn init_is_pid_1(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("echo $$; ls -d /proc/[0-9]* | head -1"), "1\n/proc/1");
}

fn init_in_the_hosts_pid_namespace(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    let pid = sandbox.start_sleeper();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let own = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert_eq!(own.split_whitespace().count(), 2, "{own}");
}

fn hostname_is_set_inside_only(sandbox: &mut Sandbox) {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    sandbox.set("/hostname", json!("box.example"));
    assert_eq!(sandbox.prove("hostname"), "box.example");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

fn hostname_is_set_in_a_joined_namespace(sandbox: &mut Sandbox) {
    let pid = start_first(sandbox);
    sandbox.namespace("uts", Some(&format!("/proc/{pid}/ns/uts")));
    sandbox.set("/hostname", json!("second"));
    assert_eq!(run_second(sandbox, "hostname"), "second");
}

fn hostname_without_uts_namespace_is_refused(sandbox: &mut Sandbox) {
    sandbox.without_namespace("uts");
    sandbox.refused(&["hostname", "namespace"]);
}

fn hostname_too_long_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/hostname", json!("x".repeat(65)));
    sandbox.refused(&["hostname"]);
}

fn domainname_is_set_inside_only(sandbox: &mut Sandbox) {
    let before = fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    sandbox.set("/domainname", json!("example.org"));
    assert_eq!(sandbox.prove("cat /proc/sys/kernel/domainname"), "example.org");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), before);
}

fn domainname_without_uts_namespace_is_refused(sandbox: &mut Sandbox) {
    sandbox.unset("/hostname");
    sandbox.without_namespace("uts").set("/domainname", json!("example.org"));
    sandbox.refused(&["domainname", "namespace"]);
}

fn loopback_is_up(sandbox: &mut Sandbox) {
    let seen = sandbox.prove("ip link show lo; ping -c 1 -W 2 127.0.0.1 >/dev/null 2>&1; ip addr show lo");
    assert!(seen.contains("UP") && seen.contains("127.0.0.1/8"), "{seen}");
}

fn ipc_namespace_is_empty(sandbox: &mut Sandbox) {
    let seen = sandbox.prove("wc -l < /proc/sysvipc/shm; ls /dev/mqueue | wc -l");
    assert_eq!(seen, "1\n0", "one line of heads, no queue");
}

fn cgroup_namespace_hides_the_parents(sandbox: &mut Sandbox) {
    let seen = sandbox.prove("cat /proc/self/cgroup");
    let inside: Vec<&str> =
        seen.lines().filter(|line| !line.contains("name=") || line.ends_with(":/")).collect();
    assert!(inside.iter().all(|line| line.ends_with(":/")), "{seen}");
    sandbox.without_namespace("cgroup");
    let seen = sandbox.prove("cat /proc/self/cgroup");
    assert!(seen.contains(&sandbox.token), "without the namespace the whole path is seen: {seen}");
}

fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn time_offsets_apply(sandbox: &mut Sandbox) {
    sandbox.namespace("time", None);
    sandbox.set(
        "/linux/timeOffsets",
        json!({ "boottime": { "secs": 864_000, "nanosecs": 500 },
                                              "monotonic": { "secs": 172_800 } }),
    );
    let outside = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    sandbox.script("cat /proc/uptime; sleep 100");
    let create = sandbox.begin("create", &[]).spawn();
    let (stdout, _) = create.files();
    create.finish().ok();
    sandbox.start();
    let inside = uptime(&sandbox.wait_file(stdout, "\n"));
    assert!((inside - outside - 864_000.0).abs() < 60.0, "{outside} outside, {inside} inside");
    let offsets = fs::read_to_string(format!("/proc/{}/timens_offsets", sandbox.pid())).unwrap();
    let rows: Vec<Vec<&str>> = offsets.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["monotonic", "172800", "0"], ["boottime", "864000", "500"]]);
}

fn time_namespace_without_offsets(sandbox: &mut Sandbox) {
    sandbox.namespace("time", None);
    let inside = sandbox.prove("readlink /proc/self/ns/time");
    assert_ne!(inside, namespace_of("self", "time"));
}

fn time_offsets_without_time_namespace_are_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } }));
    sandbox.refused(&["linux.timeOffsets", "time namespace"]);
}

fn bad_time_offsets_are_refused(sandbox: &mut Sandbox) {
    sandbox.namespace("time", None);
    for bad in [
        json!({ "sundial": { "secs": 1 } }),
        json!({ "boottime": { "secs": 1, "nanosecs": 1_000_000_000 } }),
        json!({ "boottime": { "secs": i64::MAX } }),
        json!({ "boottime": { "secs": -4_000_000_000_i64 } }),
    ] {
        sandbox.set("/linux/timeOffsets", bad);
        sandbox.refused(&["linux.timeOffsets"]);
    }
}
