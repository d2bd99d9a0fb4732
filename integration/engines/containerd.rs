//! containerd, through its own client `ctr`, with its shim for runc and this runtime as BinaryName. Where systemd manages
//! the machine, systemd makes the cgroups; elsewhere the runtime does.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::features::sized;
use crate::harness::{Call, Layout, Need, Output, Pty, Sandbox, is_alive, limit, output, patience, until};
use crate::image::{self, IMAGE};
use crate::place::{ONGGI, Place, shared};

/// The daemon, its client, and the limits that ctr always asks for.
const CTR: Need = Need::Program("ctr");
const CPU: Need = Need::Controller("cpu");
const MEMORY: Need = Need::Controller("memory");

cases! {
    the_configuration_names_the_runtime: CTR, CPU;
    import_of_an_image: CTR, CPU;
    run_in_the_foreground: CTR, CPU;
    exit_codes: CTR, CPU;
    errors: CTR, CPU;
    run_detached: CTR, CPU;
    logs: CTR, CPU;
    tty: CTR, CPU;
    exec: CTR, CPU;
    exec_with_tty: CTR, CPU;
    pause_and_resume: CTR, CPU, Need::Controller("freezer");
    kill_with_a_signal: CTR, CPU;
    processes: CTR, CPU;
    metrics: CTR, CPU, MEMORY;
    oom_event: CTR, CPU, MEMORY;
    user_namespace: CTR, CPU, Need::UserNamespaces;
    cgroupfs: CTR, CPU;
    daemon_restarted: CTR, CPU;
    daemon_killed: CTR, CPU;
    all_killed_at_any_moment: CTR, CPU;
    shim_killed: CTR, CPU;
    runtime_replaced: CTR, CPU;
    a_hundred_in_parallel: CTR, CPU;
}

/// Where the daemon listens.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd with the image imported.
fn open(layout: Layout) -> Place {
    let place = Place::open(layout);
    configure(&place, "");
    start(&place);
    import(&place, "default", &image::make(place.sandbox()));
    place
}

/// Whether it is containerd 2, whose configuration has other names.
pub(crate) fn is_second() -> bool {
    let version = output(std::process::Command::new("containerd").arg("--version"));
    String::from_utf8_lossy(&version.stdout).contains(" 2.")
}

/// Writes what docs/engines.md says, and `more`. A machine without systemd has no scopes.
pub(crate) fn configure(place: &Place, more: &str) {
    const DOCUMENTED: [&str; 2] =
        [include_str!("config/containerd-1.toml"), include_str!("config/containerd-2.toml")];
    let mut config = DOCUMENTED[usize::from(is_second())].to_owned();
    if !Need::Systemd.is_met(place.sandbox().layout) {
        config = config.replace("    SystemdCgroup = true\n", "");
    }
    place.write("/etc/containerd/config.toml", &(config + more));
}

pub(crate) fn start(place: &Place) {
    place.start_daemon(&["containerd"], &["ctr", "version"]);
    assert!(place.inside(SOCKET).exists());
}

/// Imports an image for those who use this namespace of containerd.
#[track_caller]
pub(crate) fn import(place: &Place, namespace: &str, archive: &Path) {
    let words = ["--namespace", namespace, "images", "import", archive.to_str().unwrap()];
    ctr(place, place.sandbox(), &words).finish().ok();
}

fn containerd(sandbox: &Sandbox) -> Arc<Place> {
    shared("containerd", sandbox.layout, open)
}

fn ctr(place: &Place, sandbox: &Sandbox, words: &[&str]) -> Call {
    // ctr by itself gives up after ten seconds, which a machine under load may need.
    place.call(sandbox, &[&["ctr", "--connect-timeout", "100s"], words].concat())
}

/// `ctr run` of the sandbox's usual container.
fn run(place: &Place, sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Call {
    run_as(place, sandbox, &sandbox.token, options, command)
}

fn run_as(place: &Place, sandbox: &Sandbox, id: &str, options: &[&str], command: &[&str]) -> Call {
    let scope = format!("system.slice:ctr:{id}");
    let driver: &[&str] = if Need::Systemd.is_met(sandbox.layout) {
        &["--runc-systemd-cgroup", "--cgroup", &scope]
    } else {
        &[]
    };
    run_with(place, sandbox, id, &[driver, options].concat(), command)
}

fn run_with(place: &Place, sandbox: &Sandbox, id: &str, options: &[&str], command: &[&str]) -> Call {
    let words = [&["run", "--runc-binary", ONGGI], options, &[IMAGE, id], command].concat();
    ctr(place, sandbox, &words)
}

/// Starts one that waits to be killed.
fn sleeper(place: &Place, sandbox: &Sandbox, options: &[&str]) {
    run(place, sandbox, &[&["--detach"], options].concat(), &["sleep", "1000"]).finish().ok();
}

/// A word of `ctr task list` about the sandbox's container: its process or its status; none if there is no task.
fn listed(place: &Place, sandbox: &Sandbox, column: usize) -> Option<String> {
    let list = ctr(place, sandbox, &["task", "list"]).finish().ok();
    let line = list.stdout.lines().find(|line| line.split_whitespace().next() == Some(&sandbox.token))?;
    line.split_whitespace().nth(column).map(str::to_owned)
}

fn pid(place: &Place, sandbox: &Sandbox) -> i32 {
    listed(place, sandbox, 1).and_then(|pid| pid.parse().ok()).expect("a process")
}

#[track_caller]
fn wait_status(place: &Place, sandbox: &Sandbox, wanted: &str) {
    let mut last = None;
    let reached = until(10, || {
        last = listed(place, sandbox, 2);
        last.as_deref() == Some(wanted)
    });
    assert!(reached, "the task is {last:?}, wanted {wanted}");
}

/// Kills the container, deletes it, and looks for what it has left.
#[track_caller]
fn remove(place: &Place, sandbox: &Sandbox) {
    ctr(place, sandbox, &["task", "kill", "--signal", "SIGKILL", &sandbox.token]).finish().ok();
    wait_status(place, sandbox, "STOPPED");
    let output = delete(place, sandbox, 137);
    sandbox.clean(&output);
}

/// Deletes the task and the container, whose process must have ended with this status.
#[track_caller]
fn delete(place: &Place, sandbox: &Sandbox, code: i32) -> Output {
    let output = ctr(place, sandbox, &["task", "delete", &sandbox.token]).finish();
    ended_with(&output, code);
    ctr(place, sandbox, &["container", "delete", &sandbox.token]).finish().ok();
    output
}

/// ctr makes the container's exit status its own, or only speaks of it.
#[track_caller]
fn ended_with(output: &Output, code: i32) {
    let said = match code {
        0 => output.stderr.is_empty(),
        code => output.stderr.contains(&format!("non-zero exit code {code}")),
    };
    assert!(output.status.code() == Some(code) || (output.status.success() && said), "{}", output.describe());
}

fn the_configuration_names_the_runtime(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let dump = place.call(sandbox, &["containerd", "config", "dump"]).finish().ok();
    let section = dump.stdout.split("containerd.runtimes.onggi]").nth(1).expect(&dump.stdout);
    assert!(
        section.contains("runtime_type = \"io.containerd.runc.v2\"")
            || section.contains("runtime_type = 'io.containerd.runc.v2'"),
        "{section}"
    );
    assert!(section.contains("/usr/local/sbin/onggi"), "{section}");
}

fn import_of_an_image(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let images = ctr(&place, sandbox, &["images", "list", "--quiet"]).finish().ok();
    assert_eq!(images.text(), IMAGE);
}

fn run_in_the_foreground(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let script = "echo out; cat /proc/1/comm; echo err >&2";
    let output = run(&place, sandbox, &["--rm"], &["sh", "-c", script]).finish().ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\nsh\n", "err\n"));
    sandbox.clean(&output);
}

fn exit_codes(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    for (script, code) in [("exit 42", 42), ("kill -TERM $$", 143)] {
        let outer = format!("sh -c '{script}'; exit $?");
        let output = run(&place, sandbox, &["--rm"], &["sh", "-c", &outer]).finish().code(code);
        sandbox.clean(&output);
    }
}

/// What cannot be started says so with the runtime's words, and leaves nothing.
fn errors(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    for (program, words) in [
        ("nope", "executable file not found in $PATH"),
        ("/bin/nope", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let output = run(&place, sandbox, &["--rm"], &[program]).finish().code(1);
        assert!(output.stderr.contains(words), "{}", output.describe());
        assert!(output.stderr.contains("OCI runtime create failed"), "{}", output.describe());
        sandbox.clean(&output);
    }
}

fn run_detached(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    sleeper(&place, sandbox, &[]);
    assert_eq!(listed(&place, sandbox, 2).as_deref(), Some("RUNNING"));
    assert!(is_alive(pid(&place, sandbox)));
    remove(&place, sandbox);
}

/// What the container writes is what its log has, to the byte.
fn logs(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let log = sandbox.path("log");
    let script = "printf 'no newline at the end'; i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i + 1)); done";
    run(&place, sandbox, &["--detach", "--log-uri", &format!("file://{log}")], &["sh", "-c", script])
        .finish()
        .ok();
    wait_status(&place, sandbox, "STOPPED");
    let output = delete(&place, sandbox, 0);
    let numbers: String = (0..2000).map(|number| format!("{number}\n")).collect();
    assert_eq!(fs::read_to_string(log).unwrap(), format!("no newline at the end{numbers}"));
    sandbox.clean(&output);
}

fn tty(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let pty = Pty::new(33, 101);
    let call = run(&place, sandbox, &["--rm", "--tty"], &["sh"]).on(&pty).spawn();
    pty.see("# ");
    pty.type_in(&sized("33 101"));
    pty.see("/dev/pts/0");
    pty.type_in("exit 7\n");
    let output = call.finish().code(7);
    sandbox.clean(&output);
}

fn exec(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    sleeper(&place, sandbox, &[]);
    let exec = |script: &str| {
        ctr(&place, sandbox, &["task", "exec", "--exec-id", "e1", &sandbox.token, "sh", "-c", script])
            .finish()
    };
    let output = exec("echo out; echo err >&2; cat /proc/1/comm; exit 9").code(9);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\nsleep\n", "err\n"));
    let missing =
        ctr(&place, sandbox, &["task", "exec", "--exec-id", "e2", &sandbox.token, "nope"]).finish().code(1);
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{}", missing.describe());
    remove(&place, sandbox);
}

fn exec_with_tty(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    sleeper(&place, sandbox, &[]);
    let pty = Pty::new(20, 70);
    let words = ["task", "exec", "--exec-id", "e1", "--tty", &sandbox.token, "sh"];
    let call = ctr(&place, sandbox, &words).on(&pty).spawn();
    pty.see("# ");
    pty.type_in(&sized("20 70"));
    pty.see("/dev/pts/0");
    pty.type_in("exit 5\n");
    call.finish().code(5);
    remove(&place, sandbox);
}

fn pause_and_resume(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    sleeper(&place, sandbox, &[]);
    ctr(&place, sandbox, &["task", "pause", &sandbox.token]).finish().ok();
    wait_status(&place, sandbox, "PAUSED");
    ctr(&place, sandbox, &["task", "resume", &sandbox.token]).finish().ok();
    wait_status(&place, sandbox, "RUNNING");
    remove(&place, sandbox);
}

fn kill_with_a_signal(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let script = "trap 'exit 33' USR1; echo ready; while :; do sleep 0.1; done";
    let log = sandbox.path("log");
    run(&place, sandbox, &["--detach", "--log-uri", &format!("file://{log}")], &["sh", "-c", script])
        .finish()
        .ok();
    sandbox.wait_file(&log, "ready");
    ctr(&place, sandbox, &["task", "kill", "--signal", "SIGUSR1", &sandbox.token]).finish().ok();
    wait_status(&place, sandbox, "STOPPED");
    let again = ctr(&place, sandbox, &["task", "kill", &sandbox.token]).finish().code(1);
    assert!(again.stderr.contains("process already finished"), "{}", again.describe());
    let output = delete(&place, sandbox, 33);
    sandbox.clean(&output);
}

fn processes(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    run(&place, sandbox, &["--detach"], &["sh", "-c", "sleep 1000 & wait"]).finish().ok();
    let mut list = String::new();
    let both = until(10, || {
        list = ctr(&place, sandbox, &["task", "ps", &sandbox.token]).finish().ok().stdout;
        list.lines().count() == 3
    });
    assert!(both && list.contains(&pid(&place, sandbox).to_string()), "{list}");
    remove(&place, sandbox);
}

fn metrics(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    sleeper(&place, sandbox, &["--memory-limit", "33554432"]);
    let output = ctr(&place, sandbox, &["task", "metrics", &sandbox.token]).finish().ok();
    assert!(output.stdout.contains("33554432"), "{}", output.describe());
    assert!(output.stdout.contains("pids.current"), "{}", output.describe());
    remove(&place, sandbox);
}

/// A process of the container's is killed, not its first: containerd looks for the cause in the container's cgroup, which
/// systemd removes as soon as nobody is in it.
fn oom_event(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let events = ctr(&place, sandbox, &["events"]).spawn();
    sleeper(&place, sandbox, &["--memory-limit", "16777216"]);
    let exec = |id: &str, script: &str| {
        ctr(&place, sandbox, &["task", "exec", "--exec-id", id, &sandbox.token, "sh", "-c", script]).finish()
    };
    let heard = |topic: &str| {
        events.stdout().lines().any(|line| line.contains(topic) && line.contains(&sandbox.token))
    };
    // Who listens hears nothing of what was before.
    assert!(until(20, || exec("e1", "true").status.success() && heard("/tasks/exec")), "{}", events.stdout());
    exec("e2", "x=x; while :; do x=$x$x; done").code(137);
    assert!(until(20, || heard("/tasks/oom")), "{}", events.stdout());
    drop(events);
    remove(&place, sandbox);
}

fn user_namespace(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let options = ["--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    let script = "read inside outside size </proc/self/uid_map; echo $inside $outside $size";
    let output = run(&place, sandbox, &options, &["sh", "-c", script]).finish().ok();
    assert_eq!(output.text(), "0 100000 65536");
    sandbox.clean(&output);
}

/// Cgroups without systemd, on every machine.
fn cgroupfs(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let parent = format!("/{0}/{0}", sandbox.token);
    let options = ["--detach", "--cgroup", &parent];
    run_with(&place, sandbox, &sandbox.token, &options, &["sleep", "1000"]).finish().ok();
    let own = fs::read_to_string(format!("/proc/{}/cgroup", pid(&place, sandbox))).unwrap();
    assert!(own.contains(&parent), "{own}");
    remove(&place, sandbox);
}

/// A daemon that ends and starts again still manages what it started: killed, and stopped in order.
fn daemon_restarted(sandbox: &mut Sandbox) {
    let place = open(sandbox.layout);
    sleeper(&place, sandbox, &[]);
    let first = pid(&place, sandbox);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        place.end_daemon(signal);
        assert!(is_alive(first));
        start(&place);
        assert_eq!(listed(&place, sandbox, 2).as_deref(), Some("RUNNING"));
        let words = ["task", "exec", "--exec-id", "e1", &sandbox.token, "cat", "/proc/1/comm"];
        assert_eq!(ctr(&place, sandbox, &words).finish().ok().text(), "sleep");
    }
    remove(&place, sandbox);
    let left = place.close();
    assert!(left.is_empty(), "{left:?}");
}

/// Daemon and shim are gone: the runtime by itself cleans up.
fn daemon_killed(sandbox: &mut Sandbox) {
    let place = open(sandbox.layout);
    sleeper(&place, sandbox, &[]);
    let shim = shim(&place, sandbox);
    place.end_daemon(Signal::SIGKILL);
    kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    let root = "/run/containerd/runc/default";
    let output =
        place.call(sandbox, &[ONGGI, "--root", root, "delete", "--force", &sandbox.token]).finish().ok();
    let list = place.call(sandbox, &[ONGGI, "--root", root, "list", "--quiet"]).finish().ok();
    assert_eq!(list.text(), "");
    // A daemon that comes back finds nothing to manage.
    start(&place);
    until(10, || listed(&place, sandbox, 1).is_none());
    ctr(&place, sandbox, &["container", "delete", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
    let left = place.close();
    assert!(left.is_empty(), "{left:?}");
}

/// The same while a container is on its way, a little later each time: whatever there is of it by then, it goes.
fn all_killed_at_any_moment(sandbox: &mut Sandbox) {
    let place = open(sandbox.layout);
    let root = ["--root", "/run/containerd/runc/default"];
    let onggi = |words: &[&str]| place.call(sandbox, &[&[ONGGI], &root[..], words].concat()).finish();
    let (mut known, rounds) = (0, 12);
    for round in 0..rounds {
        let id = format!("{}-{round}", sandbox.token);
        let call = run_as(&place, sandbox, &id, &["--detach"], &["sleep", "1000"]).spawn();
        // From before the shim is there until after the start, by turns.
        std::thread::sleep(limit(1) * round / (4 * rounds));
        place.end_daemon(Signal::SIGKILL);
        place.kill_all(&["containerd", "containerd-shim-runc-v2"]);
        drop(call);
        // A runtime that a shim has started goes on without it, and its container may be known only later. An
        // emulated machine may have so much to do that a delete gives up: it is asked again.
        let (mut left, mut said) = (Vec::new(), String::new());
        let gone = until(10, || {
            let list = onggi(&["list", "--quiet"]).ok();
            for id in list.text().lines() {
                known += 1;
                let output = onggi(&["delete", "--force", id]);
                if !output.status.success() {
                    said = output.describe();
                    assert!(patience() > 1, "after {round}: {said}");
                }
            }
            left = crate::harness::processes::belonging_to(&id);
            left.is_empty() && list.text().is_empty()
        });
        assert!(gone, "after {round}: {left:?} {said}");
        start(&place);
        assert!(until(10, || ctr(&place, sandbox, &["task", "list", "-q"]).finish().ok().text().is_empty()));
        ctr(&place, sandbox, &["container", "delete", &id]).finish();
    }
    assert!(known > 0, "no container got far enough to be known");
    sandbox.clean(&onggi(&["list"]).ok());
    let left = place.close();
    assert!(left.is_empty(), "{left:?}");
}

/// The daemon sees that a shim was killed, and has the runtime clean up.
fn shim_killed(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    sleeper(&place, sandbox, &[]);
    let init = pid(&place, sandbox);
    kill(Pid::from_raw(shim(&place, sandbox)), Signal::SIGKILL).unwrap();
    assert!(until(20, || !is_alive(init)), "the container still runs");
    assert!(until(10, || listed(&place, sandbox, 1).is_none()), "the task is still there");
    let output = ctr(&place, sandbox, &["container", "delete", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

/// The shim's process: the parent of the container's, which the shim adopted.
fn shim(place: &Place, sandbox: &Sandbox) -> i32 {
    crate::harness::parent(pid(place, sandbox)).unwrap()
}

/// Another runtime, installed while a container runs, manages the container on.
fn runtime_replaced(sandbox: &mut Sandbox) {
    let place = open(sandbox.layout);
    sleeper(&place, sandbox, &[]);
    let new = ["sh", "-c", "cp $0 $0.new; printf later >>$0.new; mv $0.new $0", ONGGI];
    place.call(sandbox, &new).finish().ok();
    let words = ["task", "exec", "--exec-id", "e1", &sandbox.token, "echo", "hi"];
    assert_eq!(ctr(&place, sandbox, &words).finish().ok().text(), "hi");
    remove(&place, sandbox);
    let left = place.close();
    assert!(left.is_empty(), "{left:?}");
}

/// All at once; where everything takes ten times as long, a tenth of them.
fn a_hundred_in_parallel(sandbox: &mut Sandbox) {
    let place = containerd(sandbox);
    let count = if patience() == 1 { 100 } else { 10 };
    let ids: Vec<String> = (0..count).map(|number| format!("{}-{number}", sandbox.token)).collect();
    let start =
        |id: &String| run_as(&place, sandbox, id, &["--detach"], &["sleep", "1000"]).limit(120).spawn();
    let calls: Vec<_> = ids.iter().map(start).collect();
    calls.into_iter().for_each(|call| drop(call.finish().ok()));
    let list = ctr(&place, sandbox, &["task", "list"]).finish().ok();
    let running =
        list.stdout.lines().filter(|line| line.starts_with(&sandbox.token) && line.contains("RUNNING"));
    assert_eq!(running.count(), count, "{}", list.describe());
    let remove = |id: &String| {
        let words = ["task", "delete", "--force", id];
        (ctr(&place, sandbox, &words).limit(120).spawn(), id.clone())
    };
    let calls: Vec<_> = ids.iter().map(remove).collect();
    for (call, id) in calls {
        ended_with(&call.finish(), 137);
        ctr(&place, sandbox, &["container", "delete", &id]).finish().ok();
    }
    sandbox.clean(&list);
}
