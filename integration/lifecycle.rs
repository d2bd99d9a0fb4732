//! Lifecycle truth: what create, start, kill, state, delete and list say and do (runtime-spec, runtime.md).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Need, Sandbox, forget, hold, is_alive, reap_orphans, start_time, until};

cases! {
    create_waits_for_start;
    start_runs_the_process_once;
    a_stopped_container_cannot_be_started;
    start_reports_a_failed_execve;
    start_of_unknown_container;
    a_container_without_process_is_created_and_not_started;
    run_wants_a_process;
    state_has_every_field_of_the_schema;
    state_of_a_stopped_container_has_no_pid;
    state_of_unknown_container;
    state_tells_created_from_running;
    status_is_stopped_although_nobody_reaped_init;
    status_of_a_created_container_whose_init_died;
    status_paused_comes_from_the_freezer;
    config_changes_after_create_have_no_effect;
    pid_file_is_complete_and_replaced;
    state_files_are_private;
    kill_unknown_container;
    kill_stopped_container;
    kill_created_container;
    kill_all_reaches_every_process;
    kill_all_of_a_stopped_container;
    recycled_pid_is_not_signalled: Need::Program("unshare"), Need::File("/proc/sys/kernel/ns_last_pid");
    delete_removes_everything;
    delete_of_a_running_container_names_force;
    delete_of_a_created_container_names_force;
    delete_of_unknown_container;
    delete_force_of_unknown_container_succeeds;
    delete_force_kills_a_running_container;
    delete_force_kills_a_created_container;
    delete_force_of_a_stopped_container;
    delete_of_a_paused_container_names_force;
    delete_force_of_a_paused_container;
    many_containers_side_by_side;
    an_id_is_used_again_after_delete;
    an_id_in_use_is_refused;
    an_id_belongs_to_one_of_many_creators;
    one_of_many_starts_succeeds;
    many_deletes_end_with_nothing;
    list_and_state_while_containers_come_and_go;
    list_survives_a_broken_state;
    as_containerd_calls_it;
    as_conmon_calls_it;
    good_ids_are_taken;
    bad_ids_are_refused;
    containers_of_two_roots_do_not_meet;
    stdio_is_that_of_create;
    create_keeps_no_descriptor_of_its_own;
    inherited_descriptors_do_not_reach_the_container;
}

fn create_waits_for_start(sandbox: &mut Sandbox) {
    sandbox.script("echo here > /ran; sleep 100");
    sandbox.create();
    assert_eq!(sandbox.status(), "created");
    assert!(!sandbox.rootfs("ran").exists(), "the process ran before start");
    let inside = fs::read_link(format!("/proc/{}/ns/mnt", sandbox.pid())).unwrap();
    assert_ne!(inside, fs::read_link("/proc/self/ns/mnt").unwrap(), "created means: namespaces exist");
    sandbox.start();
    assert_eq!(sandbox.status(), "running");
    sandbox.wait_file(sandbox.rootfs("ran"), "here");
}

fn start_runs_the_process_once(sandbox: &mut Sandbox) {
    sandbox.script("echo x >> /ran; sleep 100");
    sandbox.create();
    sandbox.start();
    sandbox.onggi(&["start", &sandbox.token]).finish().error(&["cannot start an already running container"]);
    assert_eq!(sandbox.wait_file(sandbox.rootfs("ran"), "x"), "x\n");
    assert_eq!(sandbox.status(), "running");
}

fn a_stopped_container_cannot_be_started(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/true"]);
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    sandbox.onggi(&["start", &sandbox.token]).finish().error(&["cannot start a container that has stopped"]);
}

fn start_reports_a_failed_execve(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("bin/odd"), b"\x7fELF, but not really").unwrap();
    fs::set_permissions(sandbox.rootfs("bin/odd"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.args(&["/bin/odd"]);
    sandbox.create();
    sandbox.onggi(&["start", &sandbox.token]).finish().error(&["process.args[0]", "/bin/odd", "ENOEXEC"]);
    sandbox.wait_status("stopped");
    sandbox.delete();
}

/// config.md, Process: `process` is optional until `start`. Until then others may work in the container, without rights.
fn a_container_without_process_is_created_and_not_started(sandbox: &mut Sandbox) {
    sandbox.unset("/process");
    sandbox.create();
    let pid = sandbox.pid();
    sandbox.onggi(&["start", &sandbox.token]).finish().error(&["process: missing", "config.md, Process"]);
    assert_eq!((sandbox.status().as_str(), sandbox.pid()), ("created", pid));
    let words = ["exec", &sandbox.token, "sh", "-c", "id -u; pwd; grep CapBnd /proc/self/status"];
    let output = sandbox.onggi(&words).finish().ok();
    assert_eq!(output.stdout, "0\n/\nCapBnd:\t0000000000000000\n");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

fn run_wants_a_process(sandbox: &mut Sandbox) {
    sandbox.unset("/process");
    let output = sandbox.begin("run", &[]).finish().error(&["process: missing", "config.md, Process"]);
    sandbox.clean(&output);
}

fn start_of_unknown_container(sandbox: &mut Sandbox) {
    sandbox.onggi(&["start", "nobody"]).finish().error(&["nobody", "does not exist"]);
}

fn state_has_every_field_of_the_schema(sandbox: &mut Sandbox) {
    sandbox.set("/annotations", json!({ "org.example.key": "värde" }));
    let pid = sandbox.start_sleeper();
    let state = sandbox.state();
    assert_eq!(state["ociVersion"].as_str().unwrap().split('.').next(), Some("1"), "{state}");
    assert_eq!(state["id"], sandbox.token);
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"], pid);
    assert_eq!(state["bundle"], sandbox.path("bundle"));
    assert_eq!(state["rootfs"], sandbox.path("bundle/rootfs"));
    assert_eq!(state["annotations"], json!({ "org.example.key": "värde" }));
    assert_eq!(state["owner"], "root");
    assert!(is_rfc3339(state["created"].as_str().unwrap()), "{state}");
    assert!(is_alive(pid));
}

/// `2024-05-06T07:08:09.123456789Z`, or with an offset.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let numbers = [0..4, 5..7, 8..10, 11..13, 14..16, 17..19];
    let zone = text.trim_end_matches('Z').len() < text.len() || text.rfind(['+', '-']) > Some(18);
    zone && marks.iter().all(|&(at, mark)| text.get(at..=at) == Some(mark)) && numbers.into_iter().all(digits)
}

fn state_of_a_stopped_container_has_no_pid(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/true"]);
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    assert_eq!(sandbox.state()["pid"].as_i64().unwrap_or(0), 0);
}

fn state_of_unknown_container(sandbox: &mut Sandbox) {
    sandbox.onggi(&["state", "nobody"]).finish().error(&["nobody", "does not exist"]);
}

fn state_tells_created_from_running(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    let created = sandbox.state();
    let born = start_time(sandbox.pid());
    sandbox.start();
    let running = sandbox.state();
    assert_eq!((&created["status"], &running["status"]), (&json!("created"), &json!("running")));
    assert_eq!(created["pid"], running["pid"], "the container's process stays the same one");
    assert_eq!(created["created"], running["created"]);
    assert_eq!(start_time(sandbox.pid()), born);
}

fn status_is_stopped_although_nobody_reaped_init(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    hold(pid);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(until(5, || !is_alive(pid)));
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "still a zombie of this test");
    assert_eq!(sandbox.status(), "stopped");
    forget(pid);
    reap_orphans();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(sandbox.status(), "stopped");
    sandbox.delete();
}

fn status_of_a_created_container_whose_init_died(sandbox: &mut Sandbox) {
    sandbox.create();
    let pid = sandbox.pid();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(until(5, || !is_alive(pid)));
    assert_eq!(sandbox.status(), "stopped");
    let start = sandbox.onggi(&["start", &sandbox.token]).finish();
    start.error(&["cannot start a container that has stopped"]);
    sandbox.delete();
}

/// The freezer of the container's cgroup: the file, and what freezes and thaws.
fn freezer(sandbox: &Sandbox) -> (PathBuf, &'static str, &'static str) {
    let cgroup = sandbox.cgroup("freezer");
    let v2 = cgroup.join("cgroup.freeze");
    if v2.exists() { (v2, "1", "0") } else { (cgroup.join("freezer.state"), "FROZEN", "THAWED") }
}

fn status_paused_comes_from_the_freezer(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (file, freeze, thaw) = freezer(sandbox);
    fs::write(&file, freeze).unwrap();
    sandbox.wait_status("paused");
    fs::write(&file, thaw).unwrap();
    sandbox.wait_status("running");
}

fn delete_of_a_paused_container_names_force(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let (file, freeze, thaw) = freezer(sandbox);
    fs::write(&file, freeze).unwrap();
    sandbox.wait_status("paused");
    sandbox.onggi(&["delete", &sandbox.token]).finish().error(&["not stopped: paused", "--force"]);
    fs::write(&file, thaw).unwrap();
    assert!(is_alive(pid));
}

/// On v1 a frozen process does not even die of SIGKILL.
fn delete_force_of_a_paused_container(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let (file, freeze, _) = freezer(sandbox);
    fs::write(&file, freeze).unwrap();
    sandbox.wait_status("paused");
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert!(!is_alive(pid));
    sandbox.clean(&output);
}

/// They share a parent cgroup, a state root and a bundle, and nothing else.
fn many_containers_side_by_side(sandbox: &mut Sandbox) {
    sandbox.unset("/hostname").script("cat /proc/1/cgroup /proc/1/comm; echo $$; exit 3");
    let bundle = sandbox.path("bundle");
    let all: Vec<_> = (0..16)
        .map(|number| {
            let id = format!("{}-{number}", sandbox.token);
            sandbox.set("/linux/cgroupsPath", json!(format!("/{}/{number}", sandbox.token)));
            let config = sandbox.file(&format!("{number}.json"), &sandbox.config.to_string());
            sandbox.onggi(&["run", "--config", &config, "--bundle", &bundle, &id]).spawn()
        })
        .collect();
    for call in all {
        let output = call.finish().code(3);
        assert!(output.text().ends_with("sh\n1") && output.stderr.is_empty(), "{}", output.describe());
    }
}

fn config_changes_after_create_have_no_effect(sandbox: &mut Sandbox) {
    sandbox.script("echo first > /said");
    sandbox.create();
    sandbox.script("echo second > /said");
    sandbox.write_config();
    sandbox.start();
    sandbox.wait_status("stopped");
    assert_eq!(fs::read_to_string(sandbox.rootfs("said")).unwrap(), "first\n");
}

fn pid_file_is_complete_and_replaced(sandbox: &mut Sandbox) {
    let file = sandbox.file("pid", "an older and much longer content");
    let before = fs::metadata(&file).unwrap().ino();
    sandbox.begin("create", &["--pid-file", &file]).finish().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), sandbox.pid().to_string());
    assert_ne!(fs::metadata(&file).unwrap().ino(), before, "replaced as a whole, not written over");
    let names: Vec<_> = fs::read_dir(&sandbox.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.iter().filter(|name| name.to_string_lossy().contains("pid")).count(), 1, "{names:?}");
}

fn state_files_are_private(sandbox: &mut Sandbox) {
    sandbox.begin("create", &[]).through(&["sh", "-c", "umask 0; exec \"$@\"", "sh"]).finish().ok();
    let dir = sandbox.root().join(&sandbox.token);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("state.json")), 0o600);
    let text = fs::read_to_string(dir.join("state.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap();
}

fn kill_unknown_container(sandbox: &mut Sandbox) {
    sandbox.onggi(&["kill", "nobody", "KILL"]).finish().error(&["nobody", "does not exist"]);
}

fn kill_stopped_container(sandbox: &mut Sandbox) {
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    sandbox.onggi(&["kill", &sandbox.token, "TERM"]).finish().error(&["container not running"]);
}

fn kill_created_container(sandbox: &mut Sandbox) {
    sandbox.create();
    let pid = sandbox.pid();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    assert!(!is_alive(pid));
    sandbox.delete();
}

fn kill_all_reaches_every_process(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    sandbox.script("sleep 111 & sleep 112 & echo up > /up; exec sleep 113");
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    let procs = || fs::read_to_string(sandbox.cgroup("devices").join("cgroup.procs")).unwrap();
    let before: Vec<i32> = procs().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(before.len(), 3, "{before:?}");
    sandbox.onggi(&["kill", "--all", &sandbox.token, "9"]).finish().ok();
    assert!(until(5, || before.iter().all(|&pid| !is_alive(pid))), "some of {before:?} are alive");
    sandbox.wait_status("stopped");
}

fn kill_all_of_a_stopped_container(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    sandbox.script("sleep 111 & echo $! > /left; exec true");
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let left: i32 = fs::read_to_string(sandbox.rootfs("left")).unwrap().trim().parse().unwrap();
    assert!(is_alive(left));
    sandbox.onggi(&["kill", "--all", &sandbox.token, "9"]).finish().ok();
    assert!(until(5, || !is_alive(left)), "{left} outlived kill --all");
    sandbox.onggi(&["kill", "--all", &sandbox.token, "9"]).finish().ok();
}

/// In a pid namespace of its own, where the next pid can be chosen: the pid of a dead init is given to a bystander,
/// and neither kill nor delete --force may touch it.
fn recycled_pid_is_not_signalled(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let script = r#"
        onggi=$1 root=$2 bundle=$3 id=$4
        $onggi --root $root run --detach --pid-file $bundle/pid --bundle $bundle $id || exit 10
        pid=$(cat $bundle/pid)
        kill -9 $pid
        tries=0
        while [ -e /proc/$pid ] && [ $tries -lt 200 ]; do sleep 0.02; tries=$((tries + 1)); done
        [ -e /proc/$pid ] && exit 11
        tries=0
        while [ $tries -lt 50 ]; do
            echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
            sleep 101 & bystander=$!
            [ $bystander = $pid ] && break
            kill -9 $bystander; tries=$((tries + 1))
        done
        [ $bystander = $pid ] || exit 12
        until read comm < /proc/$pid/comm && [ "$comm" = sleep ]; do [ -e /proc/$pid ] || exit 17; done
        $onggi --root $root state $id
        $onggi --root $root kill $id KILL 2>/dev/null && exit 13
        $onggi --root $root kill --all $id KILL || exit 14
        $onggi --root $root delete --force $id || exit 15
        read comm < /proc/$pid/comm && [ "$comm" = sleep ] || exit 16
        kill -0 $pid && kill -9 $pid
    "#;
    let script = sandbox.tool("recycle", script);
    let binary = crate::harness::binary().display().to_string();
    let (root, bundle) = (sandbox.path("state"), sandbox.path("bundle"));
    let words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let call = sandbox.tool_call(&[&script, &binary, &root, &bundle, &sandbox.token]).through(&words);
    let output = call.limit(60).finish().ok();
    let state: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(state["status"], "stopped", "{state}");
}

fn delete_removes_everything(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let cgroup = sandbox.cgroup("devices");
    assert!(cgroup.exists());
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    assert!(!cgroup.exists());
    assert!(!sandbox.root().join(&sandbox.token).exists());
    sandbox.onggi(&["state", &sandbox.token]).finish().error(&["does not exist"]);
    let output = sandbox.onggi(&["delete", &sandbox.token]).finish().error(&["does not exist"]);
    sandbox.clean(&output);
}

fn delete_of_a_running_container_names_force(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let words = format!("cannot delete container {} that is not stopped: running", sandbox.token);
    sandbox.onggi(&["delete", &sandbox.token]).finish().error(&[&words, "--force"]);
    assert!(is_alive(pid));
    assert_eq!(sandbox.status(), "running");
}

fn delete_of_a_created_container_names_force(sandbox: &mut Sandbox) {
    sandbox.create();
    let words = format!("cannot delete container {} that is not stopped: created", sandbox.token);
    sandbox.onggi(&["delete", &sandbox.token]).finish().error(&[&words, "--force"]);
    assert_eq!(sandbox.status(), "created");
}

fn delete_of_unknown_container(sandbox: &mut Sandbox) {
    sandbox.onggi(&["delete", "nobody"]).finish().error(&["nobody", "does not exist"]);
}

fn delete_force_of_unknown_container_succeeds(sandbox: &mut Sandbox) {
    sandbox.onggi(&["delete", "--force", "nobody"]).finish().ok();
    sandbox.onggi(&["delete", "-f", "nobody"]).finish().ok();
}

fn delete_force_kills_a_running_container(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert!(!is_alive(pid));
    sandbox.clean(&output);
}

fn delete_force_kills_a_created_container(sandbox: &mut Sandbox) {
    sandbox.create();
    let pid = sandbox.pid();
    let output = sandbox.onggi(&["delete", "-f", &sandbox.token]).finish().ok();
    assert!(!is_alive(pid));
    sandbox.clean(&output);
}

fn delete_force_of_a_stopped_container(sandbox: &mut Sandbox) {
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

fn an_id_is_used_again_after_delete(sandbox: &mut Sandbox) {
    for _ in 0..3 {
        sandbox.create();
        sandbox.start();
        sandbox.wait_status("stopped");
        sandbox.delete();
    }
}

fn an_id_in_use_is_refused(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let words = "container with given ID already exists";
    let pid_file = sandbox.path("second.pid");
    sandbox.begin("create", &["--pid-file", &pid_file]).finish().error(&[words]);
    sandbox.begin("run", &[]).finish().error(&[words]);
    assert!(!Path::new(&pid_file).exists());
    assert!(is_alive(pid));
    assert_eq!((sandbox.status(), sandbox.pid()), ("running".into(), pid));
    assert!(sandbox.cgroup("devices").exists());
}

fn an_id_belongs_to_one_of_many_creators(sandbox: &mut Sandbox) {
    for round in 0..3 {
        sandbox.args(&["/bin/sleep", "100"]);
        let all: Vec<_> = (0..8).map(|_| sandbox.begin("create", &[]).spawn()).collect();
        let all: Vec<_> = all.into_iter().map(|call| call.finish()).collect();
        let (won, lost): (Vec<_>, Vec<_>) = all.into_iter().partition(|output| output.status.success());
        assert_eq!(won.len(), 1, "round {round}: {} creators own the id", won.len());
        for output in lost {
            output.error(&["container with given ID already exists"]);
        }
        assert_eq!(sandbox.status(), "created");
        sandbox.start();
        let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        sandbox.clean(&output);
    }
}

fn one_of_many_starts_succeeds(sandbox: &mut Sandbox) {
    sandbox.script("echo x >> /ran; sleep 100");
    sandbox.create();
    let all: Vec<_> = (0..6).map(|_| sandbox.onggi(&["start", &sandbox.token]).spawn()).collect();
    let all: Vec<_> = all.into_iter().map(|call| call.finish()).collect();
    let (won, lost): (Vec<_>, Vec<_>) = all.into_iter().partition(|output| output.status.success());
    assert_eq!((won.len(), lost.len()), (1, 5));
    for output in lost {
        output.error(&["cannot start an already running container"]);
    }
    assert_eq!(sandbox.wait_file(sandbox.rootfs("ran"), "x"), "x\n");
}

fn many_deletes_end_with_nothing(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let all: Vec<_> = (0..6).map(|_| sandbox.onggi(&["delete", "--force", &sandbox.token]).spawn()).collect();
    for call in all {
        let output = call.finish().ok();
        assert_eq!(output.stderr, "");
    }
    let output = sandbox.onggi(&["state", &sandbox.token]).finish().error(&["does not exist"]);
    sandbox.clean(&output);
}

fn list_and_state_while_containers_come_and_go(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/true"]);
    for _ in 0..4 {
        let mut run = sandbox.begin("run", &[]).spawn();
        while !run.has_ended() {
            let list = sandbox.onggi(&["list", "--format", "json"]).finish().ok();
            serde_json::from_str::<Value>(&list.stdout).unwrap();
            let state = sandbox.onggi(&["state", &sandbox.token]).finish();
            if !state.status.success() {
                state.error(&["does not exist"]);
            }
        }
        run.finish().ok();
    }
}

fn list_survives_a_broken_state(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let broken = sandbox.root().join("broken");
    fs::create_dir(&broken).unwrap();
    for content in ["", "{", "[]", "{\"version\": 1, \"pid\": -1}"] {
        fs::write(broken.join("state.json"), content).unwrap();
        let list = sandbox.onggi(&["list", "--quiet"]).finish().ok();
        assert!(list.stdout.lines().any(|line| line == sandbox.token), "{}", list.describe());
        sandbox.onggi(&["state", "broken"]).finish().error(&["state.json"]);
    }
    sandbox.onggi(&["delete", "--force", "broken"]).finish().ok();
    assert!(!broken.exists(), "delete --force finishes the job");
}

/// containerd's shim: the bundle as working directory, its own log, numbers for signals, delete twice.
fn as_containerd_calls_it(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    let (log, pid) = (format!("{bundle}/log.json"), format!("{bundle}/init.pid"));
    let call = |args: &[&str]| {
        let globals = ["--debug", "--log", &log, "--log-format", "json"];
        let all: Vec<&str> = globals.into_iter().chain(args.iter().copied()).collect();
        let call = sandbox
            .onggi(&all)
            .directory(&sandbox.bundle())
            .env("TTRPC_ADDRESS", "/x")
            .env("GOMAXPROCS", "2");
        call.finish()
    };
    call(&["create", "--bundle", &bundle, "--pid-file", &pid, &id]).ok();
    let init: i32 = fs::read_to_string(&pid).unwrap().parse().unwrap();
    assert!(is_alive(init));
    call(&["start", &id]).ok();
    call(&["kill", &id, "15"]).ok();
    call(&["kill", "--all", &id, "9"]).ok();
    assert!(until(5, || !is_alive(init)));
    reap_orphans();
    call(&["kill", "--all", &id, "9"]).ok();
    call(&["kill", &id, "9"]).error(&["container not running"]);
    call(&["delete", &id]).ok();
    call(&["delete", "--force", &id]).ok();
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.iter().rfind(|line| line["level"] == "error").unwrap();
    assert!(last["msg"].as_str().unwrap().contains("container not running"), "{last}");
}

/// conmon and podman: globals with `=`, an empty XDG_RUNTIME_DIR, names for signals.
fn as_conmon_calls_it(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    let (log, pid) = (sandbox.path("oci-log"), sandbox.path("pidfile"));
    let log = format!("--log={log}");
    sandbox
        .onggi(&["--log-format=json", &log, "create", "--bundle", &bundle, "--pid-file", &pid, &id])
        .finish()
        .ok();
    let podman = |args: &[&str]| sandbox.onggi(args).env("XDG_RUNTIME_DIR", "").finish();
    podman(&["start", &id]).ok();
    let state: Value = serde_json::from_str(&podman(&["state", &id]).ok().stdout).unwrap();
    assert_eq!(state["status"], "running");
    podman(&["kill", &id, "SIGKILL"]).ok();
    sandbox.wait_status("stopped");
    podman(&["kill", &id, "KILL"]).error(&["container not running"]);
    podman(&["delete", "--force", &id]).ok();
    podman(&["state", &id]).error(&["does not exist"]);
}

fn good_ids_are_taken(sandbox: &mut Sandbox) {
    let longest = format!("{}{}", sandbox.token, "x".repeat(255 - sandbox.token.len()));
    let odd = format!("_+.-{}", sandbox.token);
    sandbox.write_config();
    for id in [odd, longest] {
        sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &id]).finish().ok();
    }
}

fn bad_ids_are_refused(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let long = "x".repeat(1025);
    let bad = ["", ".", "..", "a/b", "../a", "/a", "a b", "a\n", "naïve", "a:b", "a\\b", "a@b", "%2e", &long];
    for id in bad {
        for command in ["create", "run"] {
            let output = sandbox.onggi(&[command, "--bundle", &bundle, id]).finish().error(&["id"]);
            sandbox.clean(&output);
        }
        sandbox.onggi(&["state", id]).finish().error(&[]);
        sandbox.onggi(&["kill", id, "KILL"]).finish().error(&[]);
        sandbox.onggi(&["delete", id]).finish().error(&[]);
    }
}

fn containers_of_two_roots_do_not_meet(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let other = sandbox.path("other");
    let state = sandbox.bare(&["--root", &other, "state", &sandbox.token]).finish();
    state.error(&["does not exist"]);
    sandbox.bare(&["--root", &other, "delete", "--force", &sandbox.token]).finish().ok();
    assert_eq!(sandbox.status(), "running");
}

fn stdio_is_that_of_create(sandbox: &mut Sandbox) {
    sandbox.script("cat; echo err >&2");
    let input = sandbox.file("input", "through the container\n");
    let create = sandbox.begin("create", &[]).stdin(Path::new(&input)).spawn();
    let (stdout, stderr) = create.files();
    create.finish().ok();
    let start = sandbox.onggi(&["start", &sandbox.token]).finish().ok();
    sandbox.wait_status("stopped");
    assert_eq!(fs::read_to_string(stdout).unwrap(), "through the container\n");
    assert_eq!(fs::read_to_string(stderr).unwrap(), "err\n");
    assert_eq!((start.stdout.as_str(), start.stderr.as_str()), ("", ""));
}

/// The engine waits for the end of the container's pipes: after `start` only the container may hold them.
fn create_keeps_no_descriptor_of_its_own(sandbox: &mut Sandbox) {
    sandbox.script("exec >/dev/null 2>&1 </dev/null; echo up > /up; sleep 100");
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(Path::new(&pipe), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let script = format!("exec >{pipe} 2>&1; \"$@\"");
    let mut reader = sandbox.tool_call(&["cat", &pipe]).spawn();
    sandbox.begin("create", &[]).through(&["sh", "-c", &script, "sh"]).finish().ok();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    assert!(until(5, || reader.has_ended()), "somebody still holds the pipe");
    assert_eq!(sandbox.status(), "running");
}

fn inherited_descriptors_do_not_reach_the_container(sandbox: &mut Sandbox) {
    sandbox
        .script("for n in $(seq 3 60); do [ -L /proc/$$/fd/$n ] && readlink /proc/$$/fd/$n; done; echo end");
    let words = ["sh", "-c", "exec 3</etc/passwd 4</ 9</dev/zero; exec \"$@\"", "sh"];
    let output = sandbox.begin("run", &[]).through(&words).finish().ok();
    assert_eq!(output.text(), "end");
}
