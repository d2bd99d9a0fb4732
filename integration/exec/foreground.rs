//! `exec` in the foreground: exit statuses, signals, standard input and output, and what becomes of the process when
//! the runtime is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{exec, processes};
use crate::harness::{Need, Running, Sandbox, binary, forget, is_alive, processes_in_state, spawn, until};

cases! {
    the_exit_status_is_passed_on;
    death_by_a_signal_is_128_and_its_number;
    signals_are_forwarded;
    a_forwarded_signal_that_kills;
    standard_streams_are_passed_on;
    a_megabyte_each_way;
    closed_standard_descriptors;
    a_caller_that_ignores_sigchld: Need::Program("env");
    it_ends_although_someone_holds_the_output;
    the_process_outlives_a_killed_runtime;
    a_runtime_killed_at_any_moment_leaves_nothing_half_done: Need::Program("strace");
    a_session_of_its_own;
}

fn the_exit_status_is_passed_on(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for status in [0, 1, 2, 7, 126, 127, 128, 254, 255] {
        let output = exec(sandbox, &[], &["/bin/sh", "-c", &format!("exit {status}")]).finish().code(status);
        assert_eq!(output.stderr, "", "{}", output.describe());
    }
}

fn death_by_a_signal_is_128_and_its_number(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for (name, number) in [("HUP", 1), ("KILL", 9), ("SEGV", 11), ("TERM", 15), ("USR2", 12)] {
        let script = format!("kill -{name} $$; sleep 77");
        exec(sandbox, &[], &["/bin/sh", "-c", &script]).finish().code(128 + number);
    }
    exec(sandbox, &[], &["/bin/sh", "-c", "kill -40 $$; sleep 77"]).finish().code(168);
}

/// A process that says in /up that it is up, and then waits.
fn waiting(sandbox: &Sandbox, script: &str) -> Running {
    let _ = fs::remove_file(sandbox.rootfs("up"));
    let script = format!("{script} echo up > /up; while :; do sleep 0.02; done");
    let running = exec(sandbox, &[], &["/bin/sh", "-c", &script]).spawn();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    running
}

fn signals_are_forwarded(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let traps = "for s in HUP INT QUIT USR1 USR2 ALRM WINCH; do trap \"echo $s >> /got\" $s; done; \
        trap 'echo TERM >> /got; exit 7' TERM;";
    let running = waiting(sandbox, traps);
    let all =
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM];
    for signal in all.into_iter().chain([Signal::SIGWINCH, Signal::SIGTERM]) {
        running.signal(signal);
        sandbox.wait_file(sandbox.rootfs("got"), &format!("{}\n", &signal.as_str()[3..]));
    }
    running.finish().code(7);
}

fn a_forwarded_signal_that_kills(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let before = processes(sandbox);
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let running = waiting(sandbox, "");
        running.signal(signal);
        running.finish().code(status);
    }
    assert!(until(3, || processes(sandbox) == before), "processes are left");
}

/// exec with pipes of its own, as a program would start it.
fn piped(sandbox: &Sandbox, command: &[&str]) -> std::process::Child {
    let mut call = Command::new(binary());
    call.args(["--root", &sandbox.path("state"), "exec", &sandbox.token]).args(command);
    call.env("ONGGI_TEST", &sandbox.token);
    spawn(call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

fn standard_streams_are_passed_on(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let script = "read line; echo \"out $line\"; echo \"err $line\" >&2; cat; for n in 0 1 2; do stat -c %F -L /proc/self/fd/$n; done";
    let mut child = piped(sandbox, &["/bin/sh", "-c", script]);
    child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let status = child.wait().unwrap();
    forget(i32::try_from(child.id()).unwrap());
    assert_eq!((out.as_str(), err.as_str()), ("out one\ntwo\nfifo\nfifo\nfifo\n", "err one\n"));
    assert!(status.success());
}

fn a_megabyte_each_way(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let mut child = piped(sandbox, &["/bin/cat"]);
    let mut stdin = child.stdin.take().unwrap();
    let text: Vec<u8> = (0..1 << 20).map(|number: u32| number.to_le_bytes()[1]).collect();
    let sent = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut seen = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut seen).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    forget(i32::try_from(child.id()).unwrap());
    assert!(seen == text, "{} bytes came back", seen.len());
}

/// None of the runtime's own descriptors may take the place of one that is missing.
fn closed_standard_descriptors(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let words = ["sh", "-c", "exec <&- >&- 2>&-; exec \"$@\"", "sh"];
    let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done > /seen 2>/dev/null; true";
    exec(sandbox, &[], &["/bin/sh", "-c", script]).through(&words).finish();
    let seen = fs::read_to_string(sandbox.rootfs("seen")).unwrap_or_default();
    let foreign = seen.lines().find(|line| !["/dev/null", "/seen"].contains(line));
    assert_eq!(foreign, None, "{seen}");
}

fn a_caller_that_ignores_sigchld(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let call = exec(sandbox, &[], &["/bin/sh", "-c", "trap; exit 3"]);
    let output = call.through(&["env", "--ignore-signal=CHLD,TERM,PIPE"]).finish().code(3);
    assert_eq!(output.stdout, "", "the program starts with default signals");
}

fn it_ends_although_someone_holds_the_output(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    exec(sandbox, &[], &["/bin/sh", "-c", "sleep 77 & exit 4"]).finish().code(4);
}

/// As in runc: nothing but the container's end, or its own, ends it.
fn the_process_outlives_a_killed_runtime(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let before = processes(sandbox);
    let running = waiting(sandbox, "trap 'echo still >> /still' USR1;");
    let pid: Vec<_> = processes(sandbox).difference(&before).cloned().collect();
    let shell = pid.iter().map(|pid| pid.parse().unwrap()).min().unwrap();
    running.signal(Signal::SIGKILL);
    drop(running);
    kill(Pid::from_raw(shell), Signal::SIGUSR1).unwrap();
    sandbox.wait_file(sandbox.rootfs("still"), "still");
    assert!(is_alive(shell));
    assert_eq!(sandbox.status(), "running");
    kill(Pid::from_raw(shell), Signal::SIGKILL).unwrap();
    gone(sandbox, &before);
}

/// Whoever adopted a process has to reap it: until then the container's pid namespace cannot end. One that did not come
/// as far as a session of its own is in ours, and known by its cgroup only.
#[track_caller]
fn gone(sandbox: &Sandbox, before: &BTreeSet<String>) {
    let me = i32::try_from(std::process::id()).unwrap();
    let left = until(5, || {
        for pid in processes_in_state(me, 'Z') {
            if fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|text| text.contains(&sandbox.token))
            {
                let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
            }
        }
        processes(sandbox) == *before
    });
    assert!(left, "{:?} are left", processes(sandbox));
}

/// The runtime is killed at each of its steps: the program either runs or never will.
fn a_runtime_killed_at_any_moment_leaves_nothing_half_done(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let before = processes(sandbox);
    for system_call in ["clone3", "sendmsg,sendto", "recvmsg,recvfrom", "wait4", "pidfd_open", "socketpair"] {
        for nth in [1, 2, 3] {
            let inject = format!("inject={system_call}:signal=KILL:when={nth}");
            let trace = sandbox.path("trace");
            let words = ["strace", "-o", &trace, "-e", &format!("trace={system_call}"), "-e", &inject];
            exec(sandbox, &[], &["/bin/true"]).through(&words).finish();
            gone(sandbox, &before);
        }
    }
    exec(sandbox, &[], &["/bin/true"]).finish().ok();
}

fn a_session_of_its_own(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let output =
        exec(sandbox, &[], &["/bin/sh", "-c", "set -- $(cat /proc/$$/stat); echo $(($1 - $6)) $(($1 - $5))"]);
    assert_eq!(output.finish().ok().text(), "0 0", "leader of its session and its group");
}
