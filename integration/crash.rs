//! A runtime killed with SIGKILL at any moment leaves only what `delete --force` then removes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Call, Need, Sandbox, until};

cases! {
    create_killed_after_a_while;
    run_killed_after_a_while;
    start_killed_after_a_while;
    delete_killed_after_a_while;
    create_killed_at_its_system_calls: Need::Program("strace");
    delete_killed_at_its_system_calls: Need::Program("strace");
    start_killed_at_its_system_calls: Need::Program("strace");
    exec_killed_at_its_system_calls: Need::Program("strace");
    create_killed_in_a_hook;
    foreground_runtime_killed;
    create_again_after_a_crash;
    interrupted_create_leaves_nothing;
}

/// `delete --force` must succeed and leave nothing.
#[track_caller]
fn swept(sandbox: &Sandbox, when: &str) {
    let output = sandbox.force(&sandbox.token);
    assert!(output.status.success(), "{when}: {}", output.describe());
    sandbox.clean(&output);
}

/// Kills `call` after `part` of `whole`.
fn killed(call: Call, whole: Duration, part: f64) {
    let running = call.spawn();
    sleep(whole.mul_f64(part));
    running.signal(Signal::SIGKILL);
    drop(running);
}

const MOMENTS: u32 = 16;

/// How long the call takes when it is left alone.
fn measured(call: Call) -> Duration {
    let begun = Instant::now();
    call.finish().ok();
    begun.elapsed()
}

fn create_killed_after_a_while(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let whole = measured(sandbox.begin("create", &[]));
    swept(sandbox, "unharmed");
    for moment in 0..MOMENTS {
        killed(sandbox.begin("create", &[]), whole, f64::from(moment) / f64::from(MOMENTS));
        swept(sandbox, &format!("killed at {moment}/{MOMENTS} of {whole:?}"));
    }
}

fn run_killed_after_a_while(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let whole = measured(sandbox.begin("run", &["--detach"]));
    swept(sandbox, "unharmed");
    for moment in 0..MOMENTS {
        killed(sandbox.begin("run", &[]), whole, f64::from(moment) / f64::from(MOMENTS - 2));
        swept(sandbox, &format!("killed at {moment}/{MOMENTS} of {whole:?}"));
    }
}

fn start_killed_after_a_while(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    for moment in 0..MOMENTS {
        sandbox.create();
        let start = sandbox.onggi(&["start", &sandbox.token]);
        killed(start, Duration::from_millis(12), f64::from(moment) / f64::from(MOMENTS));
        assert!(["created", "running", "stopped"].contains(&sandbox.status().as_str()));
        swept(sandbox, &format!("start killed at {moment}/{MOMENTS}"));
    }
}

fn delete_killed_after_a_while(sandbox: &mut Sandbox) {
    for moment in 0..MOMENTS {
        sandbox.start_sleeper();
        let delete = sandbox.onggi(&["delete", "--force", &sandbox.token]);
        killed(delete, Duration::from_millis(25), f64::from(moment) / f64::from(MOMENTS));
        swept(sandbox, &format!("delete killed at {moment}/{MOMENTS}"));
    }
}

/// Kills the runtime by strace on the `nth` entry into one of its system calls; whether that was reached.
fn killed_at(sandbox: &Sandbox, call: Call, system_call: &str, nth: u32) -> bool {
    let inject = format!("inject={system_call}:signal=KILL:when={nth}");
    let trace = sandbox.path("trace");
    let words = ["strace", "-o", &trace, "-e", &format!("trace={system_call}"), "-e", &inject];
    let output = call.through(&words).finish();
    std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9)
        || output.status.code() == Some(137)
}

fn create_killed_at_its_system_calls(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let calls = [
        "mkdir,mkdirat",
        "rename,renameat,renameat2",
        "clone3",
        "sendmsg,sendto",
        "recvmsg,recvfrom",
        "socketpair",
        "write",
        "bpf",
    ];
    for system_call in calls {
        for nth in [1, 2, 3, 5, 8] {
            let reached = killed_at(sandbox, sandbox.begin("create", &[]), system_call, nth);
            swept(sandbox, &format!("killed at {system_call} number {nth}"));
            if !reached {
                break;
            }
        }
    }
}

fn delete_killed_at_its_system_calls(sandbox: &mut Sandbox) {
    for system_call in ["unlinkat,unlink", "rmdir", "pidfd_send_signal", "write", "renameat,rename"] {
        for nth in [1, 2, 3, 5] {
            sandbox.start_sleeper();
            let delete = sandbox.onggi(&["delete", "--force", &sandbox.token]);
            let reached = killed_at(sandbox, delete, system_call, nth);
            swept(sandbox, &format!("killed at {system_call} number {nth}"));
            if !reached {
                break;
            }
        }
    }
}

fn start_killed_at_its_system_calls(sandbox: &mut Sandbox) {
    for system_call in ["connect", "sendmsg,sendto", "recvmsg,recvfrom", "unlinkat,unlink"] {
        for nth in [1, 2, 3] {
            sandbox.args(&["/bin/sleep", "100"]);
            sandbox.create();
            let start = sandbox.onggi(&["start", &sandbox.token]);
            let reached = killed_at(sandbox, start, system_call, nth);
            // A container that finds nobody to tell that it begins does not begin.
            let status = sandbox.status();
            assert!(
                ["created", "running", "stopped"].contains(&status.as_str()),
                "{system_call} {nth}: {status}"
            );
            swept(sandbox, &format!("start killed at {system_call} number {nth}"));
            if !reached {
                break;
            }
        }
    }
}

/// The container lives on, and takes further processes.
fn exec_killed_at_its_system_calls(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for system_call in ["clone3", "setns", "socketpair", "sendmsg,sendto", "recvmsg,recvfrom", "write"] {
        for nth in [1, 2, 3] {
            let exec = sandbox.onggi(&["exec", "--detach", &sandbox.token, "/bin/sleep", "100"]);
            // In a session of its own, what it leaves is reaped by us.
            let exec = exec.through(&["setsid"]);
            let reached = killed_at(sandbox, exec, system_call, nth);
            assert_eq!(sandbox.status(), "running", "{system_call} {nth}");
            sandbox.onggi(&["exec", &sandbox.token, "true"]).finish().ok();
            if !reached {
                break;
            }
        }
    }
    swept(sandbox, "exec killed at its system calls");
}

/// The hook dies with the runtime: `delete --force` could not find it.
fn create_killed_in_a_hook(sandbox: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mark = sandbox.path(kind);
        let script = format!("echo up > {mark}; exec /bin/busybox sleep 100");
        let mine = format!("ONGGI_TEST={}", sandbox.token);
        let hook =
            serde_json::json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script], "env": [mine] }]);
        sandbox.set("/hooks", serde_json::json!({ kind: hook }));
        if kind == "createContainer" {
            let dir = sandbox.dir.display().to_string();
            sandbox.mount(&dir, "bind", &dir, &["rbind"]);
        }
        let running = sandbox.begin("create", &[]).spawn();
        sandbox.wait_file(&mark, "up");
        running.signal(Signal::SIGKILL);
        drop(running);
        swept(sandbox, kind);
    }
}

fn foreground_runtime_killed(sandbox: &mut Sandbox) {
    sandbox.script("echo up > /up; sleep 100");
    let running = sandbox.begin("run", &[]).spawn();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    running.signal(Signal::SIGKILL);
    drop(running);
    assert!(["running", "stopped"].contains(&sandbox.status().as_str()));
    swept(sandbox, "in the foreground");
}

/// After a crash the id is either still taken, and says so, or free; never half of both.
fn create_again_after_a_crash(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let whole = measured(sandbox.begin("create", &[]));
    swept(sandbox, "unharmed");
    for moment in 0..8 {
        killed(sandbox.begin("create", &[]), whole, f64::from(moment) / 8.0);
        let again = sandbox.begin("create", &[]).finish();
        if again.status.success() {
            assert_eq!(sandbox.status(), "created");
        } else {
            again.error(&["container with given ID already exists"]);
            sandbox.onggi(&["list"]).finish().ok();
        }
        swept(sandbox, &format!("again after {moment}/8 of {whole:?}"));
    }
}

/// SIGTERM and SIGINT, unlike SIGKILL, can be answered: nothing is left, or all is as after a success.
fn interrupted_create_leaves_nothing(sandbox: &mut Sandbox) {
    let hook = serde_json::json!([{ "path": "/bin/busybox", "args": ["sleep", "1"] }]);
    sandbox.set("/hooks", serde_json::json!({ "createRuntime": hook }));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let running = sandbox.begin("create", &[]).spawn();
        assert!(until(5, || sandbox.root().join(&sandbox.token).exists()));
        running.signal(signal);
        running.finish();
        swept(sandbox, signal.as_str());
    }
}
