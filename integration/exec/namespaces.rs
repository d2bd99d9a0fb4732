//! `exec` into containers with other namespaces than the usual: user namespaces, rootless, joined ones, and less of
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::{exec, inside, refused};
use crate::harness::{Call, Need, Output, Sandbox};
use crate::userns::{PATH, as_user, map, unprivileged};

cases! {
    in_a_user_namespace: Need::UserNamespaces;
    a_user_that_is_not_mapped: Need::UserNamespaces;
    rlimits_and_oom_score_in_a_user_namespace: Need::UserNamespaces;
    rootless_single_mapping: Need::UserNamespaces, Need::Program("setpriv");
    rootless_with_newuidmap: Need::UserNamespaces, Need::Program("newuidmap");
    another_user_may_not: Need::UserNamespaces, Need::Program("setpriv");
    in_joined_namespaces;
    in_a_joined_user_namespace: Need::UserNamespaces;
    a_network_namespace_by_path: Need::Program("unshare");
    without_a_pid_namespace;
    with_nothing_but_a_mount_namespace;
    without_a_mount_namespace;
    without_any_namespace;
    without_pivot_root;
    in_a_time_namespace: Need::File("/proc/self/ns/time");
    in_a_cgroup_namespace;
    with_hidepid;
    with_a_read_only_root;
    without_proc;
    without_dev_and_etc;
    the_sessions_keyring;
}

fn namespaces(pid: impl std::fmt::Display) -> Vec<String> {
    let names = ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"];
    names
        .iter()
        .map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string())
        .collect()
}

/// It is in every namespace that the container's process is in.
#[track_caller]
fn in_all_of_them(sandbox: &Sandbox) {
    let seen =
        inside(sandbox, &[], "for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done");
    assert_eq!(seen.lines().collect::<Vec<_>>(), namespaces(sandbox.pid()));
}

fn in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.capabilities(&["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    let pid = sandbox.start_sleeper();
    in_all_of_them(sandbox);
    let seen = inside(sandbox, &["-g", "10"], "id -u; id -G; echo > /mine; grep ^CapEff /proc/self/status");
    assert_eq!(seen, "0\n0 10\nCapEff:\t0000000000200001");
    assert_eq!(fs::metadata(sandbox.rootfs("mine")).unwrap().uid(), 100_000);
    assert_eq!(
        inside(sandbox, &["-u", "1000:7"], "id -u; id -g; grep ^Uid /proc/1/status"),
        "1000\n7\nUid:\t0\t0\t0\t0"
    );
    assert_eq!(sandbox.pid(), pid);
}

fn a_user_that_is_not_mapped(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.start_sleeper();
    for user in ["65536", "0:65536", "100000:0"] {
        refused(sandbox, &["-u", user], &["/bin/true"], &["process.user", "EINVAL"]);
    }
}

fn rlimits_and_oom_score_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.set("/process/oomScoreAdj", json!(345));
    sandbox.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "hard": 900, "soft": 800 }]));
    sandbox.start_sleeper();
    let seen = inside(sandbox, &[], "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj");
    assert_eq!(seen, "800\n900\n345");
}

/// exec as the unprivileged user.
fn of_the_user(sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Output {
    as_user(sandbox, exec(sandbox, options, command), PATH).finish()
}

fn started_by_the_user(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let call: Call = sandbox.begin("run", &["--detach"]);
    as_user(sandbox, call, PATH).finish().ok();
}

fn rootless_single_mapping(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    sandbox.set("/process/oomScoreAdj", json!(345));
    started_by_the_user(sandbox);
    let script =
        ["/bin/sh", "-c", "id -u; id -G; hostname; cat /proc/self/oom_score_adj /proc/1/comm; echo > /mine"];
    let file = sandbox.path("home/pid");
    let output = of_the_user(sandbox, &["--pid-file", &file], &script).ok();
    assert_eq!(output.text().replace(" 65534", ""), "0\n0\nonggi\n345\nsleep");
    assert_eq!(fs::metadata(sandbox.rootfs("mine")).unwrap().uid(), 12345);
    assert!(fs::read_to_string(&file).is_ok());
    let output = of_the_user(sandbox, &["-g", "10"], &["/bin/true"]).code(255);
    assert!(output.stderr.contains("process.user.additionalGids"), "{}", output.describe());
    of_the_user(sandbox, &["-u", "1"], &["/bin/true"]).code(255);
    of_the_user(sandbox, &[], &["/bin/sh", "-c", "exit 9"]).code(9);
}

fn rootless_with_newuidmap(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let rows = map(&[(0, 12345, 1), (1, 200_000, 65536)]);
    sandbox.set("/linux/uidMappings", rows.clone()).set("/linux/gidMappings", rows);
    sandbox.set("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [10] }));
    started_by_the_user(sandbox);
    let script = ["/bin/sh", "-c", "id -u; id -G; echo > /tmp/x"];
    assert_eq!(of_the_user(sandbox, &["-u", "1000:7", "-g", "20"], &script).ok().text(), "1000\n7 10 20");
    assert_eq!(fs::metadata(sandbox.rootfs("tmp/x")).unwrap().uid(), 200_999);
}

/// The state is its owner's, and so are the namespaces.
fn another_user_may_not(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let words = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", "--inh-caps=-all"];
    let output = exec(sandbox, &[], &["/bin/true"]).through(&words).finish().code(255);
    assert!(output.stderr.contains("permission denied"), "{}", output.describe());
    assert_eq!(super::processes(sandbox).len(), 1);
}

/// Starts the usual container and makes the configuration that of a second one, whose name is given.
fn second(sandbox: &mut Sandbox) -> (i32, String) {
    let pid = sandbox.start_sleeper();
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    (pid, format!("{}-b", sandbox.token))
}

fn start_second(sandbox: &Sandbox, id: &str) -> i32 {
    sandbox.write_config();
    let file = sandbox.path("second.pid");
    let words = ["run", "--detach", "--pid-file", &file, "--bundle", &sandbox.path("bundle"), id];
    sandbox.onggi(&words).finish().ok();
    fs::read_to_string(file).unwrap().parse().unwrap()
}

fn in_joined_namespaces(sandbox: &mut Sandbox) {
    let (first, id) = second(sandbox);
    sandbox.unset("/hostname");
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        sandbox.namespace(kind, Some(&format!("/proc/{first}/ns/{file}")));
    }
    let pid = start_second(sandbox, &id);
    let script = "for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done";
    let output = sandbox.onggi(&["exec", &id, "/bin/sh", "-c", script]).finish().ok();
    assert_eq!(output.text().lines().collect::<Vec<_>>(), namespaces(pid));
    assert_ne!(namespaces(pid), namespaces(first));
}

fn in_a_joined_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let (first, id) = second(sandbox);
    sandbox.unset("/linux/uidMappings").unset("/linux/gidMappings");
    sandbox.namespace("user", Some(&format!("/proc/{first}/ns/user")));
    let pid = start_second(sandbox, &id);
    let script = "for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done; id -u";
    let output = sandbox.onggi(&["exec", "-u", "5", &id, "/bin/sh", "-c", script]).finish().ok();
    let mut wanted = namespaces(pid);
    wanted.push("5".to_owned());
    assert_eq!(output.text().lines().collect::<Vec<_>>(), wanted);
}

fn a_network_namespace_by_path(sandbox: &mut Sandbox) {
    let file = sandbox.file("netns", "");
    sandbox.tool_call(&["unshare", &format!("--net={file}"), "true"]).finish().ok();
    let mounted = crate::mounts::Mounted(file.clone());
    let wanted = format!("net:[{}]", fs::metadata(&file).unwrap().ino());
    sandbox.namespace("network", Some(&file));
    sandbox.start_sleeper();
    // The path may be gone by now: the container's process is what counts.
    drop(mounted);
    assert_eq!(inside(sandbox, &[], "readlink /proc/self/ns/net"), wanted);
}

fn without_a_pid_namespace(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    sandbox.start_sleeper();
    in_all_of_them(sandbox);
    let file = sandbox.path("pid");
    let seen = inside(sandbox, &["--pid-file", &file], "echo $$");
    assert_eq!(seen, fs::read_to_string(file).unwrap());
    exec(sandbox, &[], &["/bin/sh", "-c", "exit 9"]).finish().code(9);
}

fn with_nothing_but_a_mount_namespace(sandbox: &mut Sandbox) {
    sandbox.unset("/hostname").set("/linux/namespaces", json!([{ "type": "mount" }]));
    sandbox.start_sleeper();
    in_all_of_them(sandbox);
    assert_eq!(inside(sandbox, &[], "ls /bin/busybox; ls /home"), "/bin/busybox\nuser");
}

/// The container stands in a chroot, in the mounts of the host: so does the newcomer.
fn without_a_mount_namespace(sandbox: &mut Sandbox) {
    sandbox.without_namespace("mount").set("/mounts", json!([]));
    sandbox.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.begin("run", &["--detach"]).finish().ok();
    let mounts = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{}/ns/mnt", sandbox.pid())).unwrap(), mounts);
    let up = "../".repeat(40);
    let script =
        format!("pwd; ls /home; [ -e {up}bin/busybox ] && echo inside; ls {up}proc | wc -l; echo > /mine");
    for options in [&[][..], &["--user", "1000:1000", "--cwd", "/home/user"]] {
        let output = exec(sandbox, options, &["/bin/sh", "-c", &script]).finish();
        let place = options.last().unwrap_or(&"/");
        assert_eq!(output.text(), format!("{place}\nuser\ninside\n0"), "{}", output.describe());
    }
    assert!(sandbox.rootfs("mine").exists());
    refused(sandbox, &["--cwd", "/home/../../nowhere"], &["/bin/true"], &["process.cwd"]);
}

/// Without a namespace at all: a chroot and control groups are what is left.
fn without_any_namespace(sandbox: &mut Sandbox) {
    sandbox.unset("/hostname").set("/linux/namespaces", json!([])).set("/mounts", json!([]));
    sandbox.unset("/linux/maskedPaths").unset("/linux/readonlyPaths").args(&["/bin/sleep", "100"]);
    sandbox.begin("run", &["--detach"]).finish().ok();
    assert_eq!(inside(sandbox, &[], "pwd; ls /home; ls /proc | wc -l"), "/\nuser\n0");
    exec(sandbox, &[], &["/bin/sh", "-c", "exit 9"]).finish().code(9);
}

/// The root of the mount namespace is still the host's there, covered by the container's.
fn without_pivot_root(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.begin("run", &["--detach", "--no-pivot"]).finish().ok();
    let up = "../".repeat(40);
    let script = format!(
        "ls /home; ls {up}home; readlink /proc/self/ns/mnt; [ -e {} ] && echo outside",
        sandbox.path(".")
    );
    let own = fs::read_link(format!("/proc/{}/ns/mnt", sandbox.pid())).unwrap().display().to_string();
    let output = exec(sandbox, &[], &["/bin/sh", "-c", &script]).finish();
    assert_eq!(output.text(), format!("user\nuser\n{own}"), "{}", output.describe());
}

fn in_a_time_namespace(sandbox: &mut Sandbox) {
    sandbox.namespace("time", None);
    sandbox.set(
        "/linux/timeOffsets",
        json!({ "boottime": { "secs": 864_000 }, "monotonic": { "secs": 172_800 } }),
    );
    let pid = sandbox.start_sleeper();
    let seen = inside(sandbox, &[], "readlink /proc/self/ns/time; cut -d . -f 1 /proc/uptime");
    let (name, uptime) = seen.split_once('\n').unwrap();
    assert_eq!(name, fs::read_link(format!("/proc/{pid}/ns/time")).unwrap().display().to_string());
    assert!(uptime.parse::<u64>().unwrap() > 864_000, "{seen}");
}

fn in_a_cgroup_namespace(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let seen = inside(sandbox, &[], "cat /proc/self/cgroup");
    let own: Vec<&str> = seen.lines().filter(|line| !line.contains("name=")).collect();
    assert!(own.iter().all(|line| line.ends_with(":/")), "{seen}");
}

fn with_hidepid(sandbox: &mut Sandbox) {
    sandbox.config["mounts"][0]["options"] = json!(["hidepid=2", "nosuid"]);
    sandbox.start_sleeper();
    assert_eq!(
        inside(sandbox, &["-u", "1000:1000"], "id -u; ls -d /proc/1 2>/dev/null; echo end"),
        "1000\nend"
    );
}

fn with_a_read_only_root(sandbox: &mut Sandbox) {
    sandbox.set("/root/readonly", json!(true));
    sandbox.start_sleeper();
    assert_eq!(inside(sandbox, &["--cwd", "/home"], "pwd; touch x 2>&1 | grep -c Read-only"), "/home\n1");
}

/// Nothing of the container's is needed but the program.
fn without_proc(sandbox: &mut Sandbox) {
    sandbox.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    sandbox.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
    sandbox.start_sleeper();
    assert_eq!(inside(sandbox, &["-c", "CAP_CHOWN", "-u", "5"], "id -u; ls /proc | wc -l"), "5\n0");
}

fn without_dev_and_etc(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    exec(sandbox, &[], &["/bin/rm", "-rf", "/etc"]).finish().ok();
    assert_eq!(inside(sandbox, &[], "echo $HOME"), "/");
}

/// The container's session keyring is the process's own.
fn the_sessions_keyring(sandbox: &mut Sandbox) {
    sandbox.set("/linux/maskedPaths", json!([]));
    sandbox.start_sleeper();
    let host = fs::read_to_string("/proc/keys").unwrap_or_default();
    let name = format!("_ses.{}", sandbox.token);
    let seen = inside(sandbox, &[], "cat /proc/keys");
    assert!(seen.is_empty() || seen.contains(&name), "{seen}");
    assert!(!host.contains("keyring _ses.onggi-test-") || host.contains(&sandbox.token), "{host}");
}
