//! User namespaces: mappings as root, and rootless, as an unprivileged user that exists only for the test (a
//! mount namespace with a passwd, subuid and subgid of its own).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use serde_json::{Value, json};

use crate::harness::{Call, Need, Output, Sandbox};

cases! {
    maps_are_written: Need::UserNamespaces;
    maps_of_several_lines: Need::UserNamespaces;
    root_inside_is_nobody_outside: Need::UserNamespaces;
    user_inside_is_mapped: Need::UserNamespaces;
    files_belong_to_the_mapped_user: Need::UserNamespaces;
    capabilities_are_those_inside: Need::UserNamespaces;
    standard_mounts_work: Need::UserNamespaces;
    namespaces_belong_to_the_user_namespace: Need::UserNamespaces;
    message_queues_belong_to_the_root_inside: Need::UserNamespaces;
    unmapped_user_is_refused: Need::UserNamespaces;
    unmapped_additional_group_is_refused: Need::UserNamespaces;
    overlapping_maps_are_refused: Need::UserNamespaces;
    new_user_namespace_without_maps_is_refused: Need::UserNamespaces;
    more_than_340_lines_are_refused: Need::UserNamespaces;
    root_of_a_user_namespace_needs_none_of_its_own: Need::UserNamespaces;
    user_namespaces_off_has_a_hint: Need::UserNamespaces;
    joined_user_namespace: Need::UserNamespaces;
    maps_with_a_joined_namespace_change_nothing: Need::UserNamespaces;
    rootless_single_mapping: Need::UserNamespaces, Need::Program("setpriv");
    rootless_oom_score_adj: Need::UserNamespaces, Need::Program("setpriv");
    rootless_lifecycle: Need::UserNamespaces, Need::Program("setpriv");
    rootless_with_newuidmap: Need::UserNamespaces, Need::Program("newuidmap");
    rootless_beyond_subuid_is_an_error: Need::UserNamespaces, Need::Program("newuidmap");
    rootless_without_newuidmap_is_an_error: Need::UserNamespaces, Need::Program("setpriv");
    rootless_default_root_is_the_runtime_folder: Need::UserNamespaces, Need::Program("setpriv");
    rootless_empty_runtime_folder_counts_as_unset: Need::Program("setpriv");
    rootless_spec_runs: Need::UserNamespaces, Need::Program("setpriv");
    rootless_without_user_namespace_has_a_hint: Need::Program("setpriv");
    rootless_limits_are_not_ignored: Need::UserNamespaces, Need::Program("setpriv");
}

pub(crate) fn map(rows: &[(u32, u32, u32)]) -> Value {
    let row = |&(inside, outside, size): &(u32, u32, u32)| json!({ "containerID": inside, "hostID": outside, "size": size });
    Value::Array(rows.iter().map(row).collect())
}

/// A map file as rows of numbers.
fn rows(text: &str) -> Vec<Vec<u32>> {
    text.lines().map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect()).collect()
}

fn maps_are_written(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let pid = sandbox.start_sleeper();
    for name in ["uid_map", "gid_map"] {
        let text = fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
        assert_eq!(rows(&text), [[0, 100_000, 65536]], "{name}");
    }
}

fn maps_of_several_lines(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let uid = [(0, 100_000, 1000), (1000, 5000, 1), (1001, 101_001, 60000)];
    let gid = [(0, 100_000, 10), (10, 7, 1)];
    sandbox.set("/linux/uidMappings", map(&uid)).set("/linux/gidMappings", map(&gid));
    sandbox.config["mounts"][2]["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666"]);
    let pid = sandbox.start_sleeper();
    let read = |name: &str| rows(&fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap());
    assert_eq!(read("uid_map"), uid.map(|(a, b, c)| vec![a, b, c]));
    assert_eq!(read("gid_map"), gid.map(|(a, b, c)| vec![a, b, c]));
}

fn root_inside_is_nobody_outside(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let pid = sandbox.start_sleeper();
    let process = fs::metadata(format!("/proc/{pid}")).unwrap();
    assert_eq!((process.uid(), process.gid()), (100_000, 100_000));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert_eq!(sandbox.prove("id -u; id -g; cat /proc/self/setgroups"), "0\n0\nallow");
}

fn user_inside_is_mapped(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 10] }));
    let pid = sandbox.start_sleeper();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), ["101000"; 4].join("\t"));
    assert_eq!(field("Gid:"), ["101001"; 4].join("\t"));
    assert_eq!(field("Groups:"), "100005 100010");
}

fn files_belong_to_the_mapped_user(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.prove("echo > /mine; mkdir /dir");
    assert_eq!(fs::metadata(sandbox.rootfs("mine")).unwrap().uid(), 100_000);
    assert_eq!(fs::metadata(sandbox.rootfs("dir")).unwrap().gid(), 100_000);
}

fn capabilities_are_those_inside(sandbox: &mut Sandbox) {
    sandbox.user_namespace().capabilities(&["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    let seen = sandbox.prove(
        "echo > /x; chown 7 /x && stat -c %u /x; hostname changed && hostname; grep CapEff /proc/self/status",
    );
    assert_eq!(seen, "7\nchanged\nCapEff:\t0000000000200001");
}

fn standard_mounts_work(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let script = "echo x > /dev/shm/x && touch /dev/mqueue/q && ls /sys/class >/dev/null && ls -d /proc/1 /dev/pts/ptmx; \
        stat -c %u /proc/1 /dev/shm /dev/pts/ptmx";
    assert_eq!(sandbox.prove(script), "/dev/pts/ptmx\n/proc/1\n0\n0\n0");
}

/// A namespace made before the user namespace would belong to the host: these sysctls tell by their owner's rights.
fn namespaces_belong_to_the_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace().capabilities(&["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    sandbox.set("/linux/readonlyPaths", json!([]));
    let script = "ip link set lo mtu 1400 && ip link show lo | grep -o 'mtu 1400'; hostname new && hostname; \
        echo 0 > /proc/sys/net/ipv4/ip_forward && echo net; mount -t tmpfs tmpfs /mnt && echo mnt";
    assert_eq!(sandbox.prove(script), "mtu 1400\nnew\nnet\nmnt");
}

fn message_queues_belong_to_the_root_inside(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    assert_eq!(sandbox.prove("stat -c '%u:%g' /dev/mqueue"), "0:0");
}

fn unmapped_user_is_refused(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.set("/process/user", json!({ "uid": 70000, "gid": 0 }));
    sandbox.refused(&["process.user.uid", "70000"]);
    sandbox.set("/process/user", json!({ "uid": 0, "gid": 70000 }));
    sandbox.refused(&["process.user.gid", "70000"]);
}

fn unmapped_additional_group_is_refused(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.set("/process/user/additionalGids", json!([1, 70000]));
    sandbox.refused(&["process.user.additionalGids[1]", "70000"]);
}

fn overlapping_maps_are_refused(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.set("/linux/uidMappings", map(&[(0, 100_000, 100), (50, 200_000, 100)]));
    sandbox.refused(&["linux.uidMappings"]);
    sandbox.set("/linux/uidMappings", map(&[(0, 100_000, 100), (500, 100_050, 100)]));
    sandbox.refused(&["linux.uidMappings"]);
}

fn new_user_namespace_without_maps_is_refused(sandbox: &mut Sandbox) {
    sandbox.namespace("user", None);
    sandbox.refused(&["linux.uidMappings"]);
}

fn more_than_340_lines_are_refused(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let many: Vec<_> = (0..341).map(|n| (n * 2, 100_000 + n * 2, 1)).collect();
    sandbox.set("/linux/uidMappings", map(&many));
    sandbox.refused(&["linux.uidMappings"]);
}

/// Mounts that came from outside cannot be taken one by one there; rootless podman has the runtime run like that. With a
/// single id it gets as far as the groups.
fn root_of_a_user_namespace_needs_none_of_its_own(sandbox: &mut Sandbox) {
    sandbox.unset("/linux/resources").unset("/linux/cgroupsPath");
    sandbox.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
    let words = ["unshare", "--user", "--map-root-user", "--mount"];
    let output = sandbox.begin("run", &[]).through(&words).finish();
    output.error(&["process.user", "setgroups"]);
}

fn user_namespaces_off_has_a_hint(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    // In a user namespace of the test's own the limit is its own too.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    let map = map(&[(0, 0, 1)]);
    sandbox.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    sandbox.unset("/linux/resources").unset("/linux/cgroupsPath");
    let output = sandbox.begin("create", &[]).through(&words).finish();
    output.error(&["ENOSPC", "hint: ", "max_user_namespaces"]);
}

fn joined_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let pid = sandbox.start_sleeper();
    let second = format!("{}-b", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    sandbox.unset("/linux/uidMappings").unset("/linux/gidMappings");
    sandbox.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    sandbox
        .script("readlink /proc/self/ns/user; cat /proc/self/uid_map; echo > /joined; id -u")
        .write_config();
    let output = sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[0], fs::read_link(format!("/proc/{pid}/ns/user")).unwrap().display().to_string());
    assert_eq!(rows(lines[1]), [[0, 100_000, 65536]]);
    assert_eq!(lines[2], "0");
    assert_eq!(fs::metadata(sandbox.rootfs("joined")).unwrap().uid(), 100_000);
}

/// What engines ask for: the namespace of the pod by path, and the pod's mappings beside it.
fn maps_with_a_joined_namespace_change_nothing(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let pid = sandbox.start_sleeper();
    let second = format!("{}-b", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    sandbox.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    sandbox.script("cat /proc/self/uid_map").write_config();
    let output = sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();
    assert_eq!(rows(&output.stdout), [[0, 100_000, 65536]]);
}

/// The unprivileged user.
pub(crate) const USER: u32 = 12345;

/// Makes the sandbox that of the unprivileged user: rootfs, folder and state are the user's, and the configuration
/// asks for nothing that only root may do.
pub(crate) fn unprivileged(sandbox: &mut Sandbox) {
    let rows = map(&[(0, USER, 1)]);
    sandbox.namespace("user", None).set("/linux/uidMappings", rows.clone()).set("/linux/gidMappings", rows);
    sandbox.unset("/linux/resources").unset("/linux/cgroupsPath");
    sandbox.config["mounts"][2]["options"] =
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    sandbox.give(USER);
    for dir in [sandbox.dir.clone(), sandbox.bundle()] {
        chown(dir, Some(USER), Some(USER)).unwrap();
    }
    fs::create_dir_all(sandbox.path("home")).unwrap();
    chown(sandbox.path("home"), Some(USER), Some(USER)).unwrap();
    sandbox.file("passwd", &format!("root:x:0:0::/root:/bin/sh\ntester:x:{USER}:{USER}::/home:/bin/sh\n"));
    sandbox.file("group", &format!("root:x:0:\ntester:x:{USER}:\n"));
    sandbox.file("subuid", "tester:200000:65536\n");
    sandbox.file("subgid", "tester:200000:65536\n");
}

/// The call as that user, who has an entry in passwd and ranges in subuid and subgid.
pub(crate) fn as_user(sandbox: &Sandbox, call: Call, path: &str) -> Call {
    as_user_in(sandbox, call, path, "--clear-groups")
}

/// The same, with supplementary groups as setpriv(1) takes them.
pub(crate) fn as_user_in(sandbox: &Sandbox, call: Call, path: &str, groups: &str) -> Call {
    let dir = sandbox.dir.display();
    let script = format!(
        "for f in passwd group subuid subgid; do [ ! -e /etc/$f ] || mount --bind {dir}/$f /etc/$f || exit 99; done; \
        export PATH={path} HOME={dir}/home; \
        exec setpriv --reuid {USER} --regid {USER} {groups} --inh-caps=-all \"$@\""
    );
    call.through(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
}

/// With newuidmap and newgidmap, where they are installed.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn run_as_user(sandbox: &mut Sandbox, script: &str) -> Output {
    sandbox.script(script);
    let call = sandbox.begin("run", &[]);
    as_user(sandbox, call, PATH).finish()
}

fn rootless_single_mapping(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/setgroups; hostname; echo > /mine; echo $$";
    let output = run_as_user(sandbox, script).ok();
    let lines: Vec<&str> = output.stdout.lines().map(str::trim).collect();
    assert_eq!((lines[0], lines[1]), ("0", "0"));
    assert_eq!(rows(lines[2]), [[0, USER, 1]]);
    assert_eq!(lines[3..], ["deny", "onggi", "1"]);
    assert_eq!(fs::metadata(sandbox.rootfs("mine")).unwrap().uid(), USER);
    sandbox.clean(&output);
}

fn rootless_oom_score_adj(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    sandbox.set("/process/oomScoreAdj", json!(345));
    let output = run_as_user(sandbox, "cat /proc/self/oom_score_adj").ok();
    assert_eq!(output.text(), "345");
    sandbox.clean(&output);
}

fn rootless_lifecycle(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    sandbox.args(&["/bin/sleep", "100"]);
    as_user(sandbox, sandbox.begin("create", &[]), PATH).finish().ok();
    let id = sandbox.token.clone();
    let user = |args: &[&str]| as_user(sandbox, sandbox.onggi(args), PATH).finish();
    let status = || {
        let state: Value = serde_json::from_str(&user(&["state", &id]).ok().stdout).unwrap();
        (state["status"].as_str().unwrap().to_owned(), state["owner"].as_str().unwrap().to_owned())
    };
    assert_eq!(status().0, "created");
    user(&["start", &id]).ok();
    assert_eq!(status().0, "running");
    user(&["kill", &id, "KILL"]).ok();
    assert!(crate::harness::until(5, || status().0 == "stopped"));
    let output = user(&["delete", &id]).ok();
    sandbox.clean(&output);
}

fn rootless_with_newuidmap(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let rows_wanted = [(0, USER, 1), (1, 200_000, 65536)];
    sandbox.set("/linux/uidMappings", map(&rows_wanted)).set("/linux/gidMappings", map(&rows_wanted));
    sandbox.set("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [10] }));
    sandbox.capabilities(&["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]);
    let output =
        run_as_user(sandbox, "cat /proc/self/uid_map /proc/self/gid_map; id -G; echo > /x; chown 1000 /x")
            .ok();
    let seen: Vec<&str> = output.stdout.lines().collect();
    let wanted = rows_wanted.map(|(a, b, c)| vec![a, b, c]);
    assert_eq!(rows(&seen[..2].join("\n")), wanted);
    assert_eq!(rows(&seen[2..4].join("\n")), wanted);
    assert_eq!(seen[4], "0 10");
    assert_eq!(fs::metadata(sandbox.rootfs("x")).unwrap().uid(), 200_999);
    sandbox.clean(&output);
}

fn rootless_beyond_subuid_is_an_error(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let beyond = map(&[(0, USER, 1), (1, 900_000, 100)]);
    sandbox.set("/linux/uidMappings", beyond.clone()).set("/linux/gidMappings", beyond);
    let output = run_as_user(sandbox, "true").error(&["linux.uidMappings", "newuidmap"]);
    sandbox.clean(&output);
}

fn rootless_without_newuidmap_is_an_error(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let two = map(&[(0, USER, 1), (1, 200_000, 100)]);
    sandbox.set("/linux/uidMappings", two.clone()).set("/linux/gidMappings", two);
    sandbox.args(&["/bin/true"]);
    let call = as_user(sandbox, sandbox.begin("create", &[]), PATH);
    let hide = "for tool in newuidmap newgidmap; do [ ! -e /usr/bin/$tool ] || mount --bind /dev/null /usr/bin/$tool; done; \
        exec \"$@\"";
    let call = call.through(&["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, "sh"]);
    let output = call.finish().error(&["newuidmap"]);
    sandbox.clean(&output);
}

fn rootless_default_root_is_the_runtime_folder(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    sandbox.args(&["/bin/true"]);
    sandbox.write_config();
    let runtime = sandbox.path("home");
    let bundle = sandbox.path("bundle");
    let call =
        |args: &[&str]| as_user(sandbox, sandbox.bare(args).env("XDG_RUNTIME_DIR", &runtime), PATH).finish();
    call(&["create", "--bundle", &bundle, &sandbox.token]).ok();
    let state = sandbox.dir.join("home/onggi").join(&sandbox.token);
    assert!(state.exists());
    let output = call(&["delete", "--force", &sandbox.token]).ok();
    assert!(!state.exists());
    sandbox.clean(&output);
}

/// podman calls runtimes with `XDG_RUNTIME_DIR=` in the environment.
fn rootless_empty_runtime_folder_counts_as_unset(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let call = sandbox.bare(&["list"]).env("XDG_RUNTIME_DIR", "").directory(&sandbox.dir);
    let output = as_user(sandbox, call, PATH).finish();
    assert!(!sandbox.dir.join("onggi").exists(), "{}", output.describe());
    assert!(output.status.success() || output.stderr.contains("/run/onggi"), "{}", output.describe());
}

fn rootless_spec_runs(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    let bundle = sandbox.path("bundle");
    as_user(sandbox, sandbox.onggi(&["spec", "--rootless", "--bundle", &bundle]), PATH).finish().ok();
    let file = sandbox.bundle().join("config.json");
    sandbox.config = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(sandbox.config["linux"]["uidMappings"], map(&[(0, USER, 1)]));
    sandbox.set("/process/terminal", json!(false));
    let output = run_as_user(sandbox, "id -u; echo $$").ok();
    assert_eq!(output.text(), "0\n1");
    sandbox.clean(&output);
}

fn rootless_without_user_namespace_has_a_hint(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    sandbox.without_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
    let output = run_as_user(sandbox, "true").error(&["linux.namespaces", "user namespace"]);
    sandbox.clean(&output);
}

fn rootless_limits_are_not_ignored(sandbox: &mut Sandbox) {
    unprivileged(sandbox);
    sandbox.set("/linux/resources", json!({ "pids": { "limit": 10 } }));
    let output = run_as_user(sandbox, "true").error(&["cgroup", "permission denied"]);
    sandbox.clean(&output);
}
