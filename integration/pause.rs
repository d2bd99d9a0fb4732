//! `pause` and `resume`, and the end of paused containers and of those that fork without an end: on v2's freezer, on
//! v1's, and without cgroup.kill.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Call, Layout, Need, Sandbox, is_alive, limit, reap_orphans, state_of, until};

cases! {
    a_frozen_process_makes_no_progress;
    a_process_frozen_by_v1_makes_no_progress: Need::Only(Layout::V1);
    a_nested_cgroup_is_frozen_too: Need::Only(Layout::V2);
    a_created_container_is_paused_and_started;
    pause_and_resume_say_what_is_wrong;
    a_paused_container_is_killed_and_deleted;
    a_container_frozen_by_v1_is_killed_and_deleted: Need::Only(Layout::V1);
    a_signal_waits_for_resume;
    a_container_is_killed_while_it_is_paused;
    a_pause_killed_halfway_is_resumed;
    without_a_cgroup_nothing_is_paused;
    a_process_in_the_kernel_ends_the_wait:
        Need::Program("mkfs.ext4"), Need::Program("fsfreeze"), Need::File("/dev/loop-control");
    a_fork_chain_is_paused;
    kill_all_ends_a_fork_chain;
    delete_force_ends_a_fork_chain;
    kill_all_ends_a_fork_chain_on_v1_alone: Need::Only(Layout::V1);
    delete_force_ends_a_fork_chain_without_cgroup_kill: Need::Only(Layout::V2);
    delete_force_in_a_cgroup_that_was_there_before;
}

/// How the runtime is called: as usual, or where it sees no cgroup v2, so that v1's freezer is all there is.
type World = fn(Call) -> Call;

fn usual(call: Call) -> Call {
    call
}

fn v1_alone(call: Call) -> Call {
    let script = "grep -o ' /sys/fs/cgroup[^ ]* .* - cgroup2' /proc/self/mountinfo | cut -d ' ' -f 2 | \
        while read -r point; do umount \"$point\"; done; exec \"$@\"";
    call.through(&["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"])
}

/// Creates and starts a container that writes one more byte to /count as fast as it can.
fn start_counter(sandbox: &mut Sandbox, world: World) {
    sandbox.script("while :; do echo >> /count; done");
    world(sandbox.begin("run", &["--detach"])).finish().ok();
    sandbox.wait_file(sandbox.rootfs("count"), "\n");
}

fn counted(sandbox: &Sandbox) -> u64 {
    fs::metadata(sandbox.rootfs("count")).unwrap().len()
}

fn onggi(sandbox: &Sandbox, world: World, command: &[&str]) -> Call {
    let words: Vec<&str> = command.iter().copied().chain([sandbox.token.as_str()]).collect();
    world(sandbox.onggi(&words))
}

fn stands_still(sandbox: &mut Sandbox, world: World) {
    start_counter(sandbox, world);
    for _ in 0..3 {
        onggi(sandbox, world, &["pause"]).finish().ok();
        let before = counted(sandbox);
        assert_eq!(sandbox.status(), "paused");
        sleep(Duration::from_millis(150));
        assert_eq!(counted(sandbox), before, "it went on while it was paused");
        onggi(sandbox, world, &["resume"]).finish().ok();
        assert_eq!(sandbox.status(), "running");
        assert!(until(5, || counted(sandbox) > before), "it does not go on");
    }
}

fn a_frozen_process_makes_no_progress(sandbox: &mut Sandbox) {
    stands_still(sandbox, usual);
}

fn a_process_frozen_by_v1_makes_no_progress(sandbox: &mut Sandbox) {
    stands_still(sandbox, v1_alone);
    onggi(sandbox, v1_alone, &["pause"]).finish().ok();
    let state = fs::read_to_string(sandbox.cgroup("freezer").join("freezer.state"));
    assert_eq!(state.unwrap_or_default().trim(), "FROZEN");
}

/// A cgroup that the container has made for its own purposes.
fn a_nested_cgroup_is_frozen_too(sandbox: &mut Sandbox) {
    start_counter(sandbox, usual);
    let nested = sandbox.cgroup("cgroup").join("own/deep");
    fs::create_dir_all(&nested).unwrap();
    fs::write(nested.join("cgroup.procs"), sandbox.pid().to_string()).unwrap();
    onggi(sandbox, usual, &["pause"]).finish().ok();
    let before = counted(sandbox);
    sleep(Duration::from_millis(100));
    assert_eq!((counted(sandbox), sandbox.status().as_str()), (before, "paused"));
}

fn a_created_container_is_paused_and_started(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    let before = sandbox.state();
    onggi(sandbox, usual, &["pause"]).finish().ok();
    assert_eq!((sandbox.status().as_str(), &sandbox.state()["pid"]), ("paused", &before["pid"]));
    onggi(sandbox, usual, &["start"]).finish().error(&["cannot start a container in the paused state"]);
    onggi(sandbox, usual, &["resume"]).finish().ok();
    assert_eq!(sandbox.state(), before);
    sandbox.start();
    assert_eq!(sandbox.status(), "running");
}

fn pause_and_resume_say_what_is_wrong(sandbox: &mut Sandbox) {
    for command in ["pause", "resume"] {
        onggi(sandbox, usual, &[command]).finish().error(&["container does not exist"]);
    }
    let pid = sandbox.start_sleeper();
    onggi(sandbox, usual, &["resume"]).finish().error(&["container not paused", "running"]);
    onggi(sandbox, usual, &["pause"]).finish().ok();
    onggi(sandbox, usual, &["pause"]).finish().error(&["container not running", "paused"]);
    assert_eq!(sandbox.status(), "paused");
    onggi(sandbox, usual, &["delete"]).finish().error(&["not stopped: paused", "--force"]);
    onggi(sandbox, usual, &["resume"]).finish().ok();
    assert!(is_alive(pid));
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    onggi(sandbox, usual, &["pause"]).finish().error(&["container not running", "stopped"]);
    onggi(sandbox, usual, &["resume"]).finish().error(&["container not paused", "stopped"]);
}

fn dies_paused(sandbox: &mut Sandbox, world: World) {
    let kill = |sandbox: &Sandbox, words: &[&str]| {
        let words: Vec<&str> =
            ["kill"].iter().chain(words).copied().chain([&*sandbox.token, "KILL"]).collect();
        world(sandbox.onggi(&words)).finish().ok();
        sandbox.wait_status("stopped");
        onggi(sandbox, world, &["delete"]).finish().ok()
    };
    let ends: [&dyn Fn(&Sandbox) -> crate::harness::Output; 3] =
        [&|sandbox| kill(sandbox, &[]), &|sandbox| kill(sandbox, &["--all"]), &|sandbox| {
            onggi(sandbox, world, &["delete", "--force"]).finish().ok()
        }];
    for end in ends {
        start_counter(sandbox, world);
        let pid = sandbox.pid();
        onggi(sandbox, world, &["pause"]).finish().ok();
        let output = end(sandbox);
        assert!(!is_alive(pid));
        sandbox.clean(&output);
        fs::remove_file(sandbox.rootfs("count")).unwrap();
    }
}

fn a_paused_container_is_killed_and_deleted(sandbox: &mut Sandbox) {
    dies_paused(sandbox, usual);
}

fn a_container_frozen_by_v1_is_killed_and_deleted(sandbox: &mut Sandbox) {
    dies_paused(sandbox, v1_alone);
}

fn a_signal_waits_for_resume(sandbox: &mut Sandbox) {
    sandbox.script("trap 'echo got > /got' USR1; echo up > /up; while :; do sleep 0.02; done");
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    onggi(sandbox, usual, &["pause"]).finish().ok();
    sandbox.kill("USR1");
    sandbox.onggi(&["kill", "--all", &sandbox.token, "USR1"]).finish().ok();
    sleep(Duration::from_millis(100));
    assert_eq!((sandbox.status().as_str(), sandbox.rootfs("got").exists()), ("paused", false));
    onggi(sandbox, usual, &["resume"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("got"), "got");
}

/// Whoever comes first: a container that was killed does not live on frozen.
fn a_container_is_killed_while_it_is_paused(sandbox: &mut Sandbox) {
    let worlds: &[World] = if sandbox.layout == Layout::V1 { &[usual, v1_alone] } else { &[usual] };
    for world in worlds {
        for _ in 0..8 {
            start_counter(sandbox, *world);
            let pause = onggi(sandbox, *world, &["pause"]).spawn();
            let kill = world(sandbox.onggi(&["kill", &sandbox.token, "KILL"])).spawn();
            let (pause, kill) = (pause.finish(), kill.finish().ok());
            assert!(
                pause.status.success() || pause.stderr.contains("container not running"),
                "{}",
                pause.describe()
            );
            sandbox.wait_status("stopped");
            sandbox.delete();
            sandbox.clean(&kill);
            fs::remove_file(sandbox.rootfs("count")).unwrap();
        }
    }
}

/// The freeze was asked for, and then nobody waited for its end.
fn a_pause_killed_halfway_is_resumed(sandbox: &mut Sandbox) {
    start_counter(sandbox, usual);
    let freezer = sandbox.cgroup("freezer");
    let v2 = freezer.join("cgroup.freeze");
    let (file, freeze) = if v2.exists() { (v2, "1") } else { (freezer.join("freezer.state"), "FROZEN") };
    fs::write(file, freeze).unwrap();
    onggi(sandbox, usual, &["resume"]).finish().ok();
    let before = counted(sandbox);
    assert!(until(5, || counted(sandbox) > before));
}

fn without_a_cgroup_nothing_is_paused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources", json!({})).args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (root, bundle) = (sandbox.path("state"), sandbox.path("bundle"));
    let words = [
        "--root",
        &root,
        "--cgroup-manager",
        "disabled",
        "run",
        "--detach",
        "--bundle",
        &bundle,
        &sandbox.token,
    ];
    sandbox.bare(&words).finish().ok();
    onggi(sandbox, usual, &["pause"]).finish().error(&["no cgroup"]);
    onggi(sandbox, usual, &["resume"]).finish().error(&["container not paused"]);
    assert_eq!(sandbox.status(), "running");
}

/// A file system of its own that can be frozen, so that a write to it waits in the kernel; thawed and gone at the end
/// also of a test that fails.
pub(crate) struct Frozen<'a>(&'a Sandbox, String);

impl<'a> Frozen<'a> {
    /// Mounted at `slow` in the test's own folder.
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        let image = sandbox.file("image", "");
        fs::File::options().write(true).open(&image).unwrap().set_len(16 << 20).unwrap();
        sandbox.tool_call(&["mkfs.ext4", "-q", &image]).finish().ok();
        let point = sandbox.path("slow");
        fs::create_dir(&point).unwrap();
        sandbox.tool_call(&["mount", "-o", "loop", &image, &point]).finish().ok();
        Frozen(sandbox, point)
    }

    /// `--freeze` or `--unfreeze`
    pub(crate) fn freeze(&self, option: &str) {
        self.0.tool_call(&["fsfreeze", option, &self.1]).finish();
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.freeze("--unfreeze");
        let _ = self.0.onggi(&["delete", "--force", &self.0.token]).finish();
        until(5, || self.0.tool_call(&["umount", &self.1]).finish().status.success());
    }
}

fn a_process_in_the_kernel_ends_the_wait(sandbox: &mut Sandbox) {
    let point = sandbox.path("slow");
    sandbox.mount("/mnt", "bind", &point, &["rbind"]).script(
        "(until [ -e /go ]; do sleep 0.02; done; echo x > /mnt/x) & echo $! > /stuck; while :; do echo >> /count; done",
    );
    let slow = Frozen::new(sandbox);
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("count"), "\n");
    slow.freeze("--freeze");
    fs::write(sandbox.rootfs("go"), "").unwrap();
    let procs = || fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap_or_default();
    let waits = |pid: &&str| state_of(pid.parse().unwrap()) == Some('D');
    let stuck = || procs().lines().find(waits).map(str::to_owned);
    let mut pid = None;
    assert!(until(5, || {
        pid = stuck();
        pid.is_some()
    }));
    let (pid, begun) = (pid.unwrap(), Instant::now());
    let output = onggi(sandbox, usual, &["pause"]).finish();
    if sandbox.layout == Layout::V1 && output.status.success() {
        // From Linux 6.16 on, v1's freezer stops who waits for a frozen file system.
        onggi(sandbox, usual, &["resume"]).finish().ok();
    } else {
        output.error(&["did not freeze", &pid, &format!("/proc/{pid}/stack")]);
        assert!(begun.elapsed() < limit(15));
    }
    assert_eq!(sandbox.status(), "running");
    let before = counted(sandbox);
    assert!(until(5, || counted(sandbox) > before), "it runs on");
    slow.freeze("--unfreeze");
    onggi(sandbox, usual, &["pause"]).finish().ok();
}

/// A container in the host's pid namespace whose processes each start their successor and end: nobody who lists them
/// is ever up to date, and no death of an init ends them.
fn start_chains(sandbox: &mut Sandbox, world: World) -> PathBuf {
    let script =
        "f() { f & }; n=0; while [ $n -lt 4 ]; do f & n=$((n + 1)); done; echo up > /up; exec sleep 100";
    sandbox.without_namespace("pid").script(script);
    world(sandbox.begin("run", &["--detach"])).finish().ok();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    sandbox.cgroup("devices")
}

fn processes(cgroup: &std::path::Path) -> Vec<String> {
    reap_orphans();
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn a_fork_chain_is_paused(sandbox: &mut Sandbox) {
    let worlds: &[World] = if sandbox.layout == Layout::V1 { &[usual, v1_alone] } else { &[usual] };
    for world in worlds {
        let cgroup = start_chains(sandbox, *world);
        for _ in 0..3 {
            onggi(sandbox, *world, &["pause"]).finish().ok();
            let before = processes(&cgroup);
            sleep(Duration::from_millis(50));
            assert_eq!(processes(&cgroup), before, "processes come and go");
            onggi(sandbox, *world, &["resume"]).finish().ok();
            assert!(until(5, || processes(&cgroup) != before));
        }
        let output = onggi(sandbox, *world, &["delete", "--force"]).finish().ok();
        sandbox.clean(&output);
    }
}

fn killed(sandbox: &mut Sandbox, world: World) {
    let cgroup = start_chains(sandbox, world);
    world(sandbox.onggi(&["kill", "--all", &sandbox.token, "KILL"])).finish().ok();
    assert_eq!(processes(&cgroup), [""; 0], "right after kill --all");
    sandbox.wait_status("stopped");
    sandbox.delete();
}

fn kill_all_ends_a_fork_chain(sandbox: &mut Sandbox) {
    killed(sandbox, usual);
}

fn kill_all_ends_a_fork_chain_on_v1_alone(sandbox: &mut Sandbox) {
    killed(sandbox, v1_alone);
}

fn delete_force_ends_a_fork_chain(sandbox: &mut Sandbox) {
    let worlds: &[World] = if sandbox.layout == Layout::V1 { &[usual, v1_alone] } else { &[usual] };
    for world in worlds {
        start_chains(sandbox, *world);
        let output = onggi(sandbox, *world, &["delete", "--force"]).finish().ok();
        sandbox.clean(&output);
    }
}

/// Before Linux 5.14: a read-only file in its place refuses as a missing one does.
fn delete_force_ends_a_fork_chain_without_cgroup_kill(sandbox: &mut Sandbox) {
    for command in [&["kill", "--all"][..], &["delete", "--force"]] {
        let file = start_chains(sandbox, usual).join("cgroup.kill");
        let (file, cover) = (file.display().to_string(), sandbox.file("cover", ""));
        let script = "mount --bind \"$1\" \"$0\" && mount -o remount,bind,ro \"$0\" && shift && exec \"$@\"";
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, &file, &cover];
        let signal: &[&str] = if command[0] == "kill" { &["KILL"] } else { &[] };
        let all: Vec<&str> =
            command.iter().copied().chain([&*sandbox.token]).chain(signal.iter().copied()).collect();
        sandbox.onggi(&all).through(&words).finish().ok();
        assert_eq!(processes(&sandbox.cgroup("devices")), [""; 0]);
        let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        assert_eq!(fs::read_to_string(&cover).unwrap(), "", "the cover was written to");
        sandbox.clean(&output);
    }
}

/// The cgroup stays, the container's processes do not.
fn delete_force_in_a_cgroup_that_was_there_before(sandbox: &mut Sandbox) {
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let made: Vec<PathBuf> =
        sandbox.layout.hierarchies().iter().map(|one| one.mount.join(path.trim_start_matches('/'))).collect();
    made.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    let cgroup = start_chains(sandbox, usual);
    onggi(sandbox, usual, &["delete", "--force"]).finish().ok();
    assert_eq!(processes(&cgroup), [""; 0]);
    assert!(made.iter().all(|dir| dir.exists()));
    sandbox.remove_cgroups(&path);
}
