//! The container's view of its own cgroup, and what it may do with it: mounts of type `cgroup` with and without a cgroup
//! namespace, ownership, cgroups made inside (config-linux.md, Control groups, Cgroup ownership).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Layout, Need, Sandbox, until};

cases! {
    every_hierarchy_shows_the_own_cgroup;
    a_joined_cgroup_namespace_shows_the_own_cgroup_too;
    writable_only_where_the_config_says_so;
    unknown_options_are_refused;
    options_of_the_machine_stay;
    the_cgroup_is_given_to_the_containers_root: Need::Only(Layout::V2), Need::UserNamespaces;
    the_containers_root_divides_its_cgroup: Need::Only(Layout::V2), Need::UserNamespaces;
    limits_are_divided_but_not_raised: Need::Only(Layout::V2), Need::UserNamespaces, Need::Controller("pids");
    the_user_that_runs_the_process_is_the_owner: Need::Only(Layout::V2), Need::UserNamespaces;
    a_joined_user_namespace_is_asked_for_its_maps: Need::Only(Layout::V2), Need::UserNamespaces;
    not_given_unless_all_conditions_hold: Need::Only(Layout::V2), Need::UserNamespaces;
    never_given_on_v1: Need::Only(Layout::V1), Need::UserNamespaces;
    deep_and_many_made_inside_are_removed;
    frozen_ones_made_inside_are_removed;
    threaded_ones_made_inside_are_removed: Need::Only(Layout::V2);
    below_a_threaded_cgroup_is_refused: Need::Only(Layout::V2);
    empty_ancestors_get_cpus: Need::Only(Layout::V1), Need::Controller("cpuset");
}

/// The user of the host that is root in [`Sandbox::user_namespace`].
const ROOT_INSIDE: u32 = 100_000;

/// The container may write to its cgroup mount.
fn writable(sandbox: &mut Sandbox) {
    sandbox.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
}

/// Prints, per hierarchy, its name and the processes that its topmost directory lists. v1 shows a directory each.
const LISTS: &str = "cd /sys/fs/cgroup; for d in . *; do [ -L $d ] || [ ! -f $d/cgroup.procs ] || \
    echo $d: $(cat $d/cgroup.procs); done";

/// Each hierarchy's topmost directory is the container's own cgroup: it lists init and the helper, nobody else.
fn shows_only_itself(sandbox: &Sandbox, seen: &str) {
    let all = sandbox.layout.hierarchies().len();
    let wrong: Vec<&str> = seen
        .lines()
        .filter(|line| !line.split_once(": ").is_some_and(|(_, pids)| pids.split(' ').any(|pid| pid == "1")))
        .collect();
    assert!(wrong.is_empty(), "without init: {wrong:?}, all: {seen}");
    assert_eq!(seen.lines().count(), if sandbox.layout == Layout::V1 { all } else { 1 }, "{seen}");
    assert!(
        seen.lines().all(|line| line.split(' ').filter(|pid| *pid == "0").count() == 0),
        "others: {seen}"
    );
}

fn every_hierarchy_shows_the_own_cgroup(sandbox: &mut Sandbox) {
    for namespace in [true, false] {
        if !namespace {
            sandbox.without_namespace("cgroup");
        }
        let seen = sandbox.prove(LISTS);
        shows_only_itself(sandbox, &seen);
    }
}

/// The namespace's root is the first container's cgroup; what is mounted is the second one's.
fn a_joined_cgroup_namespace_shows_the_own_cgroup_too(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    sandbox.namespace("cgroup", Some(&format!("/proc/{pid}/ns/cgroup")));
    sandbox.script(LISTS).write_config();
    let second = format!("{}-b", sandbox.token);
    let output = sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();
    shows_only_itself(sandbox, output.stdout.trim());
}

fn writable_only_where_the_config_says_so(sandbox: &mut Sandbox) {
    let dir = if sandbox.layout == Layout::V1 { "/sys/fs/cgroup/devices" } else { "/sys/fs/cgroup" };
    let script = format!("mkdir {dir}/child 2>/dev/null && rmdir {dir}/child && echo made || echo refused");
    sandbox.capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let good = sandbox.config.clone();
    for namespace in [true, false] {
        for (options, wanted) in [
            (json!(["nosuid", "noexec", "nodev", "ro"]), "refused"),
            (json!(["nosuid", "noexec", "nodev", "rro"]), "refused"),
            (json!(["nosuid", "noexec", "nodev"]), "made"),
        ] {
            sandbox.config = good.clone();
            sandbox.config["mounts"][6]["options"] = options.clone();
            if !namespace {
                sandbox.without_namespace("cgroup");
            }
            assert_eq!(sandbox.prove(&script), wanted, "{options} {namespace}");
        }
    }
}

fn unknown_options_are_refused(sandbox: &mut Sandbox) {
    for option in ["nonsdelegate", "nsdelegate=1", "memory", "mode=755", "name=x"] {
        sandbox.config["mounts"][6]["options"] = json!(["ro", option]);
        sandbox.refused(&["mounts[6] \"/sys/fs/cgroup\"", "unknown option", option]);
    }
}

/// containerd 2 names the machine's own options for privileged containers. A mount would set them, or take them away.
fn options_of_the_machine_stay(sandbox: &mut Sandbox) {
    sandbox.script("true");
    let good = sandbox.config.clone();
    let before = unified_options();
    for namespace in [true, false] {
        for options in [&[][..], &["nsdelegate"], &["pids_localevents", "favordynmods"]] {
            sandbox.config = good.clone();
            sandbox.config["mounts"][6]["options"] = json!([&["ro"], options].concat());
            if !namespace {
                sandbox.without_namespace("cgroup");
            }
            let output = sandbox.run().ok();
            for option in options {
                let warning = format!("mounts[6] \"/sys/fs/cgroup\": {option:?} is ignored");
                assert!(output.stderr.contains(&warning), "{}", output.describe());
            }
            assert_eq!(unified_options(), before, "{options:?} {namespace}");
        }
    }
}

/// What cgroup2 has for options, wherever it is mounted: of the file system, not of a mount.
fn unified_options() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines = table.lines().filter_map(|line| line.split_once(" - cgroup2 "));
    lines.map(|(_, options)| options.to_owned()).collect()
}

fn owner(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display())).uid()
}

/// The container's v2 cgroup.
fn cgroup(sandbox: &Sandbox) -> PathBuf {
    sandbox.cgroup("cgroup")
}

fn the_cgroup_is_given_to_the_containers_root(sandbox: &mut Sandbox) {
    writable(sandbox);
    sandbox.user_namespace();
    sandbox.create();
    let listed = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    assert_eq!(owner(cgroup(sandbox)), ROOT_INSIDE);
    for file in fs::read_dir(cgroup(sandbox)).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        let wanted = if listed.lines().any(|line| line == name) { ROOT_INSIDE } else { 0 };
        assert_eq!(owner(file.path()), wanted, "{name}");
    }
    assert_eq!(owner(cgroup(sandbox).parent().unwrap()), 0, "those above stay");
}

fn the_containers_root_divides_its_cgroup(sandbox: &mut Sandbox) {
    writable(sandbox);
    sandbox.user_namespace();
    let limits = "for f in *.max cgroup.freeze cgroup.max.depth; do [ ! -f $f ] || { (echo 1 > $f) && echo set $f; }; done";
    let script = format!(
        "cd /sys/fs/cgroup; mkdir a && echo $$ > a/cgroup.procs && grep ^0: /proc/self/cgroup; {{ {limits}; }} 2>&1; true"
    );
    let seen = sandbox.prove(&script);
    let (cgroups, limits): (Vec<&str>, Vec<&str>) = seen.lines().partition(|line| line.starts_with("0::"));
    assert_eq!(cgroups, ["0::/a"], "{seen}");
    assert!(limits.len() >= 2 && limits.iter().all(|line| line.contains("Permission denied")), "{limits:?}");
}

/// Below its own cgroup the container's root may set what it likes; its own limit stays out of reach.
fn limits_are_divided_but_not_raised(sandbox: &mut Sandbox) {
    writable(sandbox);
    sandbox.user_namespace();
    sandbox.set("/linux/resources/pids", json!({ "limit": 20 }));
    let seen = sandbox.prove(
        "cd /sys/fs/cgroup; mkdir a; echo $$ > a/cgroup.procs; echo +pids > cgroup.subtree_control; \
         echo 9 > a/pids.max; cat a/pids.max; (echo max > pids.max) 2>&1; cat pids.max",
    );
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!((lines[0], lines[2]), ("9", "20"), "{seen}");
    assert!(lines[1].contains("Permission denied"), "{seen}");
}

fn the_user_that_runs_the_process_is_the_owner(sandbox: &mut Sandbox) {
    writable(sandbox);
    sandbox.set("/process/user", json!({ "uid": 7, "gid": 7 }));
    for (map, wanted) in [(false, 7), (true, ROOT_INSIDE + 7)] {
        if map {
            sandbox.user_namespace();
        }
        sandbox.create();
        assert_eq!(owner(cgroup(sandbox).join("cgroup.procs")), wanted);
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}

fn a_joined_user_namespace_is_asked_for_its_maps(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    let pid = sandbox.start_sleeper();
    writable(sandbox);
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    sandbox.unset("/linux/uidMappings").unset("/linux/gidMappings");
    sandbox.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    sandbox.script("mkdir /sys/fs/cgroup/a && echo made").write_config();
    let second = format!("{}-b", sandbox.token);
    let output = sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();
    assert_eq!(output.text(), "made");
}

fn not_given_unless_all_conditions_hold(sandbox: &mut Sandbox) {
    writable(sandbox);
    sandbox.user_namespace();
    let good = sandbox.config.clone();
    type Change = fn(&mut Sandbox);
    let changes: [(&str, Change); 4] = [
        ("read-only", |sandbox| sandbox.config["mounts"][6]["options"] = json!(["rw", "ro"])),
        ("another source", |sandbox| sandbox.config["mounts"][6]["source"] = json!("cgroup2")),
        ("another place", |sandbox| sandbox.config["mounts"][6]["destination"] = json!("/mnt")),
        ("no cgroup namespace", |sandbox| {
            sandbox.without_namespace("cgroup");
        }),
    ];
    for (what, change) in changes {
        sandbox.config = good.clone();
        change(sandbox);
        sandbox.create();
        assert_eq!((owner(cgroup(sandbox)), owner(cgroup(sandbox).join("cgroup.procs"))), (0, 0), "{what}");
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}

fn never_given_on_v1(sandbox: &mut Sandbox) {
    writable(sandbox);
    sandbox.user_namespace();
    sandbox.create();
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    for hierarchy in sandbox.layout.hierarchies() {
        let dir = hierarchy.mount.join(path.trim_start_matches('/'));
        if dir.exists() {
            assert_eq!((owner(&dir), owner(dir.join("cgroup.procs"))), (0, 0), "{}", dir.display());
        }
    }
}

/// Runs a script that makes cgroups in each directory of the mount and goes on; `delete --force` must remove them all.
fn removed_with_the_container(sandbox: &mut Sandbox, script: &str) {
    writable(sandbox);
    let script = format!("cd /sys/fs/cgroup; {script}; echo ready > /ready; sleep 100");
    sandbox.script(&script);
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("ready"), "ready");
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

fn deep_and_many_made_inside_are_removed(sandbox: &mut Sandbox) {
    let tops = if sandbox.layout == Layout::V1 { "devices freezer pids" } else { "." };
    let script = format!(
        "for top in {tops}; do ( cd $top; for n in $(seq 100); do mkdir many$n; done; \
         for n in $(seq 30); do mkdir deep && cd deep; done; sleep 100 & echo $! > cgroup.procs ); done"
    );
    removed_with_the_container(sandbox, &script);
}

/// A process that the container has frozen itself does not hear SIGKILL on v1 before it is thawed.
fn frozen_ones_made_inside_are_removed(sandbox: &mut Sandbox) {
    let script = if sandbox.layout == Layout::V1 {
        "mkdir -p freezer/a/b; sleep 100 & echo $! > freezer/a/b/cgroup.procs; echo FROZEN > freezer/a/b/freezer.state; \
         until [ $(cat freezer/a/b/freezer.state) = FROZEN ]; do :; done"
    } else {
        "mkdir -p a/b; sleep 100 & echo $! > a/b/cgroup.procs; echo 1 > a/b/cgroup.freeze; \
         until grep -q 'frozen 1' a/b/cgroup.events; do :; done"
    };
    removed_with_the_container(sandbox, script);
}

fn threaded_ones_made_inside_are_removed(sandbox: &mut Sandbox) {
    let script = "mkdir t; echo threaded > t/cgroup.type; mkdir t/u; echo threaded > t/u/cgroup.type; \
        sleep 100 & echo $! > t/u/cgroup.threads; cat cgroup.type t/u/cgroup.threads > /threads";
    removed_with_the_container(sandbox, script);
    let seen = fs::read_to_string(sandbox.rootfs("threads")).unwrap();
    assert!(seen.lines().count() == 2 && seen.starts_with("domain threaded"), "{seen}");
}

/// Neither a cgroup below a threaded one takes processes in, nor one beside it; the reason is said, nothing is left.
fn below_a_threaded_cgroup_is_refused(sandbox: &mut Sandbox) {
    let above = sandbox.layout.cgroup("cgroup", &format!("/{}/t", sandbox.token)).unwrap();
    fs::create_dir_all(&above).unwrap();
    fs::write(above.join("cgroup.type"), "threaded").unwrap();
    for path in ["t/c", "t/c/d", "c", "t"] {
        sandbox.set("/linux/cgroupsPath", json!(format!("/{}/{path}", sandbox.token)));
        let output = sandbox.begin("create", &[]).finish();
        output.error(&[
            "linux.cgroupsPath",
            "hint: ",
            if path == "t" { "threaded" } else { "domain invalid" },
        ]);
        let left: Vec<_> = fs::read_dir(&above).unwrap().flatten().filter(|it| it.path().is_dir()).collect();
        assert!(left.is_empty(), "{path}: {left:?}");
    }
    assert!(until(3, || fs::remove_dir(&above).is_ok()), "{} has something in it", above.display());
}

/// A v1 cpuset takes no process in before it has CPUs and memory nodes, and so must those above it.
fn empty_ancestors_get_cpus(sandbox: &mut Sandbox) {
    for cpus in [None, Some("0")] {
        sandbox.set("/linux/cgroupsPath", json!(format!("/{}/a/b/c", sandbox.token)));
        if let Some(cpus) = cpus {
            sandbox.set("/linux/resources/cpu", json!({ "cpus": cpus }));
        }
        sandbox.create();
        let leaf = sandbox.cgroup("cpuset");
        let value = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).unwrap().trim().to_owned();
        let top = leaf.ancestors().nth(4).unwrap();
        for dir in leaf.ancestors().skip(1).take(3) {
            assert_eq!(value(dir, "cpuset.cpus"), value(top, "cpuset.cpus"), "{}", dir.display());
            assert_eq!(value(dir, "cpuset.mems"), value(top, "cpuset.mems"), "{}", dir.display());
        }
        assert_eq!(value(&leaf, "cpuset.cpus"), cpus.map_or_else(|| value(top, "cpuset.cpus"), Into::into));
        assert_eq!(value(&leaf, "cgroup.procs"), sandbox.pid().to_string());
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        assert!(!leaf.exists());
        ["a/b", "a"].iter().for_each(|part| sandbox.remove_cgroups(&format!("/{}/{part}", sandbox.token)));
    }
}
