//! What a process has from the runtime's caller besides its config: descriptors (LISTEN_FDS, --preserve-fds), the way to
//! whoever waits for its readiness (NOTIFY_SOCKET), supplementary groups where that is asked for, no keyring.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Call, Need, Output, Running, Sandbox, example, is_alive, limit, status_field, until};
use crate::userns::{self, USER};

cases! {
    listen_fds_reach_the_container;
    the_example_of_sockets_handed_over;
    listen_fds_come_before_preserved_ones;
    listen_fds_of_somebody_else_are_ignored;
    listen_fds_replace_what_the_config_says;
    listen_pid_is_the_processs_own;
    listen_fds_that_are_none_are_refused;
    listen_fds_reach_a_process_of_exec;
    start_waits_until_the_container_is_ready;
    run_detached_waits_until_the_container_is_ready;
    run_in_the_foreground_passes_on_to_the_end;
    signals_arrive_while_the_container_gets_ready;
    the_end_of_the_container_ends_the_wait;
    what_was_said_last_is_passed_on;
    the_container_sees_its_own_socket_only;
    every_user_of_the_container_reaches_the_socket;
    a_container_in_a_user_namespace_notifies: Need::UserNamespaces;
    a_rootless_container_notifies: Need::UserNamespaces, Need::Program("setpriv");
    an_abstract_socket_is_notified;
    nobody_who_listens_is_a_warning;
    a_notify_socket_of_the_config_is_left_alone;
    created_without_a_socket_is_not_waited_for;
    only_harmless_lines_pass;
    a_flood_is_not_passed_on;
    exec_has_no_notify_socket;
    keyring_is_the_containers_own: Need::File("/proc/keys");
    no_new_keyring_is_the_callers: Need::File("/proc/keys"), Need::Program("keyctl");
    keyring_that_somebody_prepared_is_left: Need::Program("keyctl"), Need::Program("setpriv");
    groups_are_kept_with_the_annotation: Need::Program("setpriv");
    groups_are_kept_for_exec: Need::Program("setpriv");
    other_values_of_the_annotation_keep_nothing: Need::Program("setpriv");
    rootless_groups_stay_with_a_single_mapping: Need::UserNamespaces, Need::Program("setpriv");
    rootless_groups_go_with_newuidmap: Need::UserNamespaces, Need::Program("newuidmap");
    rootless_groups_are_kept_with_the_annotation: Need::UserNamespaces, Need::Program("newuidmap");
}

// LISTEN_FDS

/// The call with these descriptors open from 3 on (at most six) and with these assignments; `$$` is its own pid.
fn with_descriptors(call: Call, files: &[String], environment: &str) -> Call {
    let opened: String = files.iter().enumerate().map(|(i, file)| format!(" {}<{file}", i + 3)).collect();
    call.through(&["sh", "-c", &format!("exec{opened}; export {environment}; exec \"$@\""), "sh"])
}

fn files(sandbox: &Sandbox) -> Vec<String> {
    ["three", "four", "five"].map(|name| sandbox.file(name, &format!("{name}\n"))).into()
}

fn listen_fds_reach_the_container(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    sandbox.script("echo $LISTEN_FDS $LISTEN_PID $$; cat <&3; cat <&4; [ -e /proc/$$/fd/5 ] || echo no five");
    let call = with_descriptors(sandbox.begin("run", &[]), &files, "LISTEN_FDS=2 LISTEN_PID=$$");
    assert_eq!(call.finish().ok().text(), "2 1 1\nthree\nfour\nno five");
}

/// docs/processes.md
fn the_example_of_sockets_handed_over(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    let [script] = example("Descriptors and sockets handed over");
    let (script, wanted) = script.trim().strip_prefix("$ ").and_then(|all| all.split_once('\n')).unwrap();
    sandbox.script("echo $LISTEN_FDS $LISTEN_PID; ls -C /proc/self/fd");
    sandbox.write_config();
    let binary = crate::harness::binary();
    let onggi = format!("{} --root {}", binary.display(), sandbox.path("state"));
    let script = script.replace("onggi", &onggi).replace("web1", &sandbox.token);
    let script =
        script.replace("http.sock", &files[0]).replace("admin.sock", &files[1]).replace("extra", &files[2]);
    let call = sandbox.tool_call(&["sh", "-c", &script]).directory(&sandbox.bundle());
    // ls has its own descriptor of the directory, the last one.
    assert_eq!(
        call.finish().ok().text().split_whitespace().collect::<Vec<_>>().join(" "),
        wanted.replace('\n', " ")
    );
}

fn listen_fds_come_before_preserved_ones(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    sandbox.script("echo $LISTEN_FDS; cat <&3; cat <&4; [ -e /proc/$$/fd/5 ] || echo no five");
    let call = sandbox.begin("run", &["--preserve-fds", "1"]);
    let call = with_descriptors(call, &files, "LISTEN_FDS=1 LISTEN_PID=$$");
    assert_eq!(call.finish().ok().text(), "1\nthree\nfour\nno five");
}

fn listen_fds_of_somebody_else_are_ignored(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    sandbox.script("echo [$LISTEN_FDS$LISTEN_PID]; [ -e /proc/$$/fd/3 ] || echo none");
    for environment in
        ["LISTEN_FDS=2", "LISTEN_FDS=2 LISTEN_PID=1", "LISTEN_FDS=x LISTEN_PID=x", "LISTEN_PID=$$"]
    {
        let call = with_descriptors(sandbox.begin("run", &[]), &files, environment);
        assert_eq!(call.finish().ok().text(), "[]\nnone", "{environment}");
    }
}

fn listen_fds_replace_what_the_config_says(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    for entry in ["LISTEN_FDS=7", "LISTEN_PID=7", "LISTEN_FDNAMES=seven", "LISTEN_FDS_X=stays"] {
        sandbox.set("/process/env/-", json!(entry));
    }
    sandbox.script("tr '\\0' '\\n' < /proc/$$/environ | grep LISTEN_");
    let call = with_descriptors(sandbox.begin("run", &[]), &files, "LISTEN_FDS=1 LISTEN_PID=$$");
    assert_eq!(call.finish().ok().text(), "LISTEN_FDS_X=stays\nLISTEN_FDS=1\nLISTEN_PID=1");
    // Without any, the config has its way.
    let output = sandbox.run().ok();
    assert!(output.text().contains("LISTEN_FDS=7"), "{}", output.describe());
}

fn listen_pid_is_the_processs_own(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    sandbox.without_namespace("pid");
    sandbox.script("[ $LISTEN_PID = $$ ] && [ $$ != 1 ] && echo mine");
    let call = with_descriptors(sandbox.begin("run", &[]), &files, "LISTEN_FDS=1 LISTEN_PID=$$");
    assert_eq!(call.finish().ok().text(), "mine");
}

fn listen_fds_that_are_none_are_refused(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    for number in ["x", "-1", "+1", "1x", "'1 '", "4294967296"] {
        let environment = format!("LISTEN_FDS={number} LISTEN_PID=$$");
        let call = with_descriptors(sandbox.begin("create", &[]), &files, &environment);
        let output = call.finish().error(&["LISTEN_FDS", "not a number of descriptors"]);
        sandbox.clean(&output);
    }
    for (number, options, field) in
        [("4", ["--preserve-fds=0"], "LISTEN_FDS \"4\""), ("2", ["--preserve-fds=2"], "--preserve-fds")]
    {
        let environment = format!("LISTEN_FDS={number} LISTEN_PID=$$");
        let call = with_descriptors(sandbox.begin("create", &options), &files, &environment);
        let output = call.finish().error(&[field, "descriptor 6 is not open"]);
        sandbox.clean(&output);
    }
}

fn listen_fds_reach_a_process_of_exec(sandbox: &mut Sandbox) {
    let files = files(sandbox);
    sandbox.start_sleeper();
    let script = "echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && echo mine; cat <&3; cat <&4; [ -e /proc/$$/fd/5 ] || echo no five";
    let call = sandbox.onggi(&["exec", "--preserve-fds", "1", &sandbox.token, "/bin/sh", "-c", script]);
    let call = with_descriptors(call, &files, "LISTEN_FDS=1 LISTEN_PID=$$");
    assert_eq!(call.finish().ok().text(), "1\nmine\nthree\nfour\nno five");
}

// NOTIFY_SOCKET

/// What systemd is to a service.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(sandbox: &Sandbox) -> Manager {
        let path = sandbox.path("manager.sock");
        let manager = Manager { socket: UnixDatagram::bind(&path).unwrap(), path };
        fs::set_permissions(&manager.path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        manager.patient(limit(10))
    }

    fn patient(self, wait: Duration) -> Manager {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        self
    }

    fn call(&self, call: Call) -> Call {
        call.env("NOTIFY_SOCKET", &self.path)
    }

    /// The next datagram; descriptors that come with it are closed, which is how a barrier is passed.
    #[track_caller]
    fn hears(&self) -> String {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).expect("the manager is told nothing");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[track_caller]
    fn hears_nothing_more(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 8192];
        let heard = self
            .socket
            .recv(&mut buffer)
            .map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        assert!(heard.is_err(), "the manager is told {heard:?}");
        self.socket.set_nonblocking(false).unwrap();
    }
}

const INSIDE: &str = "/run/notify/notify.sock";

/// The container's process says these, one datagram each: from inside its mount namespace.
#[track_caller]
fn say(pid: i32, datagrams: &[&str]) {
    let namespace = fs::File::open(format!("/proc/{pid}/ns/mnt")).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    let talk = || {
        unshare(CloneFlags::CLONE_FS).unwrap();
        setns(&namespace, CloneFlags::CLONE_NEWNS).unwrap();
        datagrams.iter().try_for_each(|text| socket.send_to(text.as_bytes(), INSIDE).map(drop))
    };
    std::thread::scope(|scope| scope.spawn(talk).join().unwrap()).unwrap();
}

/// Waits until the container's process runs its program, with a socket to talk to.
#[track_caller]
fn until_it_listens(sandbox: &Sandbox) -> i32 {
    let running = || {
        let output = sandbox.onggi(&["state", &sandbox.token]).finish();
        output.stdout.contains(r#""status": "running""#)
    };
    assert!(until(10, running), "not running");
    let pid = sandbox.pid();
    // `run` need not stop at `created`: the process may still be on its way.
    let gone_on = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"/bin/s"));
    assert!(until(5, gone_on), "no program");
    let socket = PathBuf::from(format!("/proc/{pid}/root{INSIDE}"));
    assert!(until(5, || socket.exists()), "no socket");
    pid
}

/// `call`, which starts the container, must not end before it says READY, and must end then.
#[track_caller]
fn waits_for_ready(sandbox: &Sandbox, manager: &Manager, call: Call) {
    let mut running = manager.call(call).spawn();
    let pid = until_it_listens(sandbox);
    say(pid, &["STATUS=half way\nMAINPID=1", "MAINPID=1"]);
    assert_eq!(manager.hears(), "STATUS=half way");
    assert!(!running.has_ended(), "before it is ready");
    say(pid, &["READY=1\nSTATUS=there"]);
    assert_eq!(manager.hears(), format!("READY=1\nSTATUS=there\nMAINPID={pid}"));
    assert_eq!(manager.hears(), "BARRIER=1");
    running.finish().ok();
    assert!(!Path::new(&format!("/proc/{pid}/root{INSIDE}")).exists(), "nobody listens any more");
    assert!(is_alive(pid));
    manager.hears_nothing_more();
}

fn start_waits_until_the_container_is_ready(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.args(&["/bin/sleep", "100"]);
    manager.call(sandbox.begin("create", &[])).finish().ok();
    waits_for_ready(sandbox, &manager, sandbox.onggi(&["start", &sandbox.token]));
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

fn run_detached_waits_until_the_container_is_ready(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.args(&["/bin/sleep", "100"]);
    waits_for_ready(sandbox, &manager, sandbox.begin("run", &["--detach"]));
    let output = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.clean(&output);
}

/// `run` in the foreground, its container listening.
fn in_the_foreground(sandbox: &mut Sandbox, manager: &Manager) -> (Running, i32) {
    sandbox.script("trap 'exit 7' TERM; echo up > /up; while true; do sleep 0.05; done");
    let running = manager.call(sandbox.begin("run", &[])).spawn();
    let pid = until_it_listens(sandbox);
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    (running, pid)
}

/// The runtime stays, and so is the main process itself.
fn run_in_the_foreground_passes_on_to_the_end(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    let (running, pid) = in_the_foreground(sandbox, &manager);
    for datagram in
        ["STATUS=half way", "READY=1", "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC=7", "READY=1", "STOPPING=1"]
    {
        say(pid, &[datagram]);
        assert_eq!(manager.hears(), datagram);
    }
    running.signal(Signal::SIGTERM);
    let output = running.finish().code(7);
    manager.hears_nothing_more();
    sandbox.clean(&output);
}

fn signals_arrive_while_the_container_gets_ready(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    let (running, _) = in_the_foreground(sandbox, &manager);
    running.signal(Signal::SIGTERM);
    running.finish().code(7);
    manager.hears_nothing_more();
}

fn the_end_of_the_container_ends_the_wait(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.script("exit 3");
    manager.call(sandbox.begin("create", &[])).finish().ok();
    manager.call(sandbox.onggi(&["start", &sandbox.token])).finish().ok();
    sandbox.wait_status("stopped");
    sandbox.delete();
    manager.call(sandbox.begin("run", &["--detach"])).finish().ok();
    sandbox.wait_status("stopped");
    sandbox.delete();
    manager.call(sandbox.begin("run", &[])).finish().code(3);
    manager.hears_nothing_more();
}

/// Who says something and is gone at once has said it.
fn what_was_said_last_is_passed_on(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    let (running, pid) = in_the_foreground(sandbox, &manager);
    running.signal(Signal::SIGSTOP);
    say(pid, &["STOPPING=1"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    running.signal(Signal::SIGCONT);
    running.finish().code(137);
    assert_eq!(manager.hears(), "STOPPING=1");
}

fn the_container_sees_its_own_socket_only(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    let seen = sandbox.path("seen");
    fs::create_dir(&seen).unwrap();
    sandbox.mount("/seen", "bind", &seen, &["rbind"]);
    sandbox.capabilities(&["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
    sandbox.script(
        "(echo $NOTIFY_SOCKET; ls -A /run/notify; stat -c '%F %a' /run/notify /run/notify/notify.sock; \
        touch /run/notify/x 2>/dev/null || echo read-only; grep ' /run/notify ' /proc/self/mountinfo) > /seen/all.new; \
        mv /seen/all.new /seen/all; sleep 100",
    );
    let running = manager.call(sandbox.begin("run", &[])).spawn();
    let text = sandbox.wait_file(format!("{seen}/all"), "notify");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..5], [INSIDE, "notify.sock", "directory 755", "socket 777", "read-only"], "{text}");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(lines[5].split([' ', ',']).any(|word| word == option), "{option}: {text}");
    }
    let environment = fs::read_to_string(format!("/proc/{}/environ", sandbox.pid())).unwrap();
    assert!(!environment.contains(&manager.path), "{environment}");
    drop(running);
}

fn every_user_of_the_container_reaches_the_socket(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    sandbox.script("[ -w $NOTIFY_SOCKET ] && echo yes");
    let call = sandbox.begin("run", &[]).through(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    assert_eq!(manager.call(call).finish().ok().text(), "yes");
}

fn a_container_in_a_user_namespace_notifies(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.user_namespace().args(&["/bin/sleep", "100"]);
    waits_for_ready(sandbox, &manager, sandbox.begin("run", &["--detach"]));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.script("[ -w $NOTIFY_SOCKET ] && echo yes");
    assert_eq!(manager.call(sandbox.begin("run", &[])).finish().ok().text(), "yes");
}

fn a_rootless_container_notifies(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    userns::unprivileged(sandbox);
    sandbox.args(&["/bin/sleep", "100"]);
    let call = userns::as_user(sandbox, sandbox.begin("run", &["--detach"]), userns::PATH);
    waits_for_ready(sandbox, &manager, call);
    let output =
        userns::as_user(sandbox, sandbox.onggi(&["delete", "--force", &sandbox.token]), userns::PATH);
    sandbox.clean(&output.finish().ok());
}

fn an_abstract_socket_is_notified(sandbox: &mut Sandbox) {
    let name = format!("{}/notify", sandbox.token);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let manager = Manager { socket, path: format!("@{name}") }.patient(limit(10));
    sandbox.args(&["/bin/sleep", "100"]);
    waits_for_ready(sandbox, &manager, sandbox.begin("run", &["--detach"]));
}

fn nobody_who_listens_is_a_warning(sandbox: &mut Sandbox) {
    sandbox.script("echo runs");
    for address in
        [&sandbox.path("none"), "vsock:2:1", "relative", "@onggi-none", &format!("/{}", "x".repeat(200))]
    {
        let output = sandbox.begin("run", &[]).env("NOTIFY_SOCKET", address).finish().ok();
        assert_eq!(output.text(), "runs");
        assert!(output.stderr.starts_with("warning: NOTIFY_SOCKET"), "{}", output.describe());
    }
    let output = sandbox.begin("run", &[]).env("NOTIFY_SOCKET", "").finish().ok();
    assert_eq!(output.stderr, "", "an empty one is none");
}

fn a_notify_socket_of_the_config_is_left_alone(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.set("/process/env/-", json!("NOTIFY_SOCKET=/run/mine"));
    sandbox.script("echo $NOTIFY_SOCKET; ls /run");
    assert_eq!(manager.call(sandbox.begin("run", &[])).finish().ok().text(), "/run/mine");
}

fn created_without_a_socket_is_not_waited_for(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    manager.call(sandbox.onggi(&["start", &sandbox.token])).finish().ok();
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    manager.call(sandbox.begin("create", &[])).finish().ok();
    sandbox.start();
}

/// Nothing of what a container says may act for the service: no process, no descriptor, no further rights.
fn only_harmless_lines_pass(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    let (running, pid) = in_the_foreground(sandbox, &manager);
    let long = format!("STATUS={}\nREADY=1", "x".repeat(5000));
    let bad = [
        "MAINPID=1",
        "FDSTORE=1",
        "NOTIFYACCESS=all",
        "EXTEND_TIMEOUT_USEC=9",
        "BARRIER=1",
        "STATUS=\u{1b}c",
        "x",
        &long,
    ];
    say(pid, &bad);
    say(pid, &["MAINPID=1\nREADY=1\nFDSTORE=1"]);
    assert_eq!(manager.hears(), "READY=1");
    manager.hears_nothing_more();
    running.signal(Signal::SIGTERM);
    running.finish().code(7);
}

fn a_flood_is_not_passed_on(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    let (running, pid) = in_the_foreground(sandbox, &manager);
    let reader = manager.socket.try_clone().unwrap();
    let counter = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let next = || reader.recv(&mut buffer).is_ok_and(|length| length != "READY=1".len());
        std::iter::repeat_with(next).take_while(|more| *more).count()
    });
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        say(pid, &["STATUS=flood"; 100]);
    }
    say(pid, &["READY=1"]);
    let passed = counter.join().unwrap();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert!((1..=64 * seconds).contains(&passed), "{passed} of 2000 in {seconds} s");
    running.signal(Signal::SIGTERM);
    running.finish().code(7);
}

fn exec_has_no_notify_socket(sandbox: &mut Sandbox) {
    let manager = Manager::new(sandbox);
    sandbox.args(&["/bin/sleep", "100"]);
    manager.call(sandbox.begin("create", &[])).finish().ok();
    let call = sandbox.onggi(&["exec", &sandbox.token, "/bin/sh", "-c", "echo [$NOTIFY_SOCKET]"]);
    assert_eq!(manager.call(call).finish().ok().text(), "[]");
}

// Keyrings

/// The line of /proc/keys with this description.
fn keyring<'a>(output: &'a Output, name: &str) -> Option<&'a str> {
    output.stdout.lines().find(|line| line.contains(&format!(" keyring   {name}:")))
}

fn keyring_is_the_containers_own(sandbox: &mut Sandbox) {
    sandbox.set("/linux/maskedPaths", json!([]));
    sandbox.script("cat /proc/keys");
    let output = sandbox.run().ok();
    let name = format!("_ses.{}", sandbox.token);
    assert!(keyring(&output, &name).is_some_and(|line| line.contains(": empty")), "{}", output.describe());
    // Nobody who only knows the name may join it, neither another container nor exec, which has one of its own.
    let second = format!("{}-b", sandbox.token);
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    sandbox.onggi(&["create", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();
    let output = sandbox.onggi(&["exec", &second, "/bin/cat", "/proc/keys"]).finish().ok();
    assert_eq!(output.stdout.matches(&format!(" _ses.{second}:")).count(), 2, "{}", output.describe());
}

fn no_new_keyring_is_the_callers(sandbox: &mut Sandbox) {
    sandbox.set("/linux/maskedPaths", json!([]));
    sandbox.script("cat /proc/keys");
    let own = format!("{}-caller", sandbox.token);
    let call = sandbox.begin("run", &["--no-new-keyring"]).through(&["keyctl", "session", &own]);
    let output = call.finish().ok();
    assert!(keyring(&output, &own).is_some(), "{}", output.describe());
    assert!(keyring(&output, &format!("_ses.{}", sandbox.token)).is_none(), "{}", output.describe());
}

/// Another user of the host has made a keyring of the container's name, and lets everybody find it: what a container puts
/// into its session keyring must not go there.
fn keyring_that_somebody_prepared_is_left(sandbox: &mut Sandbox) {
    let name = format!("_ses.{}", sandbox.token);
    let ready = sandbox.path("ready");
    let script = "keyctl setperm @s 0x3f3f003f && grep \" keyring   $0:\" /proc/keys && exec sleep 60";
    let mut other = std::process::Command::new("setpriv")
        .args(["--reuid", "1234", "--clear-groups", "keyctl", "session", &name, "sh", "-c", script, &name])
        .stdout(fs::File::create(&ready).unwrap())
        .spawn()
        .unwrap();
    let is_there = || fs::read_to_string(&ready).unwrap().contains("1234");
    assert!(until(10, is_there), "the other user has no keyring");
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.begin("create", &[]).finish().ok();
    other.kill().unwrap();
    other.wait().unwrap();
    let is_used = |keys: String| keys.lines().any(|line| line.contains(" 1234 ") && line.contains(&name));
    let is_gone = || !is_used(fs::read_to_string("/proc/keys").unwrap());
    assert!(until(10, is_gone), "the container's processes are in the other user's keyring");
}

// Supplementary groups

const KEEP: &str = "run.oci.keep_original_groups";
const RICH: [&str; 4] = ["setpriv", "--groups", "4242,6", "--"];

/// The groups of the container's process, as its caller sees them.
fn groups(call: Call, sandbox: &Sandbox) -> String {
    call.finish().ok();
    let groups = status_field(sandbox.pid(), "Groups").unwrap();
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    groups
}

fn groups_are_kept_with_the_annotation(sandbox: &mut Sandbox) {
    let [annotation] = example("Groups of a rootless user");
    let annotation: serde_json::Value = serde_json::from_str(&annotation).unwrap();
    assert_eq!(annotation["annotations"][KEEP], "1");
    sandbox.config["annotations"] = annotation["annotations"].clone();
    for user in [
        json!({ "uid": 0, "gid": 0 }),
        json!({ "uid": 1000, "gid": 1000 }),
        json!({ "uid": 1000, "gid": 1000, "additionalGids": [10] }),
    ] {
        sandbox.set("/process/user", user).args(&["/bin/sleep", "100"]);
        assert_eq!(groups(sandbox.begin("create", &[]).through(&RICH), sandbox), "6 4242");
    }
}

fn groups_are_kept_for_exec(sandbox: &mut Sandbox) {
    sandbox.config["annotations"] = json!({ KEEP: "1" });
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [10] }));
    sandbox.start_sleeper();
    let call = sandbox.onggi(&["exec", &sandbox.token, "/bin/grep", "Groups", "/proc/self/status"]);
    assert_eq!(
        call.through(&RICH).finish().ok().text().split_whitespace().collect::<Vec<_>>(),
        ["Groups:", "6", "4242"]
    );
}

fn other_values_of_the_annotation_keep_nothing(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    for value in ["0", "", "true", "2", "11"] {
        sandbox.config["annotations"] = json!({ KEEP: value });
        assert_eq!(groups(sandbox.begin("create", &[]).through(&RICH), sandbox), "", "{value:?}");
    }
}

/// setgroups(2) is denied there for everybody, or a user could get rid of a group that is to keep it out.
fn rootless_groups_stay_with_a_single_mapping(sandbox: &mut Sandbox) {
    userns::unprivileged(sandbox);
    let create = |sandbox: &Sandbox| {
        userns::as_user_in(sandbox, sandbox.begin("create", &[]), userns::PATH, "--groups 4242,6")
    };
    for kept in [false, true] {
        sandbox.config["annotations"] = if kept { json!({ KEEP: "1" }) } else { json!({}) };
        sandbox.args(&["/bin/sleep", "100"]);
        assert_eq!(groups(create(sandbox), sandbox), "6 4242");
    }
    sandbox.script("id -G");
    let call = userns::as_user_in(sandbox, sandbox.begin("run", &[]), userns::PATH, "--groups 4242,6");
    assert_eq!(call.finish().ok().text(), "0 65534 65534", "they have no names inside");
}

/// As a user with ranges in subuid and subgid.
fn with_ranges(sandbox: &mut Sandbox) {
    userns::unprivileged(sandbox);
    let map = json!([
        { "containerID": 0, "hostID": USER, "size": 1 }, { "containerID": 1, "hostID": 200_000, "size": 65536 }
    ]);
    sandbox.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    sandbox.set("/process/user/additionalGids", json!([10]));
    sandbox.args(&["/bin/sleep", "100"]);
}

fn rootless_groups_go_with_newuidmap(sandbox: &mut Sandbox) {
    with_ranges(sandbox);
    let call = userns::as_user_in(sandbox, sandbox.begin("create", &[]), userns::PATH, "--groups 4242,6");
    assert_eq!(groups(call, sandbox), "200009");
}

fn rootless_groups_are_kept_with_the_annotation(sandbox: &mut Sandbox) {
    with_ranges(sandbox);
    sandbox.config["annotations"] = json!({ KEEP: "1" });
    let call = userns::as_user_in(sandbox, sandbox.begin("create", &[]), userns::PATH, "--groups 4242,6");
    assert_eq!(groups(call, sandbox), "6 4242");
}
