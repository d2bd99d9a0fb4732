//! `run` in the foreground and detached: signals, orphans, exit statuses, standard input and output.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Running, Sandbox, is_alive, parent, processes_in_state, until};

cases! {
    exit_status_is_passed_on;
    death_by_a_signal_is_128_and_its_number;
    signals_are_forwarded;
    a_forwarded_signal_that_kills;
    orphans_are_reaped;
    orphans_go_to_the_caller_without_subreaper;
    leftover_processes_end_with_the_container;
    run_ends_although_someone_holds_the_output;
    output_of_a_megabyte_is_whole;
    detached_init_belongs_to_the_caller;
    detached_container_outlives_the_runtime;
    created_init_belongs_to_the_caller;
    run_of_a_failing_start_leaves_nothing;
    status_while_running_in_the_foreground;
    deleted_from_elsewhere_while_in_the_foreground;
    closed_standard_descriptors;
    a_caller_that_ignores_sigchld;
    an_orphan_killed_by_a_real_time_signal;
}

fn exit_status_is_passed_on(sandbox: &mut Sandbox) {
    for status in [0, 1, 2, 42, 126, 127, 255] {
        sandbox.script(&format!("exit {status}"));
        let output = sandbox.run().code(status);
        assert_eq!(output.stderr, "", "{}", output.describe());
    }
}

fn death_by_a_signal_is_128_and_its_number(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("USR1", 10)] {
        sandbox.script(&format!("kill -{name} $$; sleep 100"));
        sandbox.run().code(128 + number);
    }
}

/// The container in the foreground, up.
fn foreground(sandbox: &mut Sandbox, script: &str, options: &[&str]) -> Running {
    sandbox.script(&format!("{script} echo up > /up; while :; do sleep 0.02; done"));
    let running = sandbox.begin("run", options).spawn();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    running
}

fn signals_are_forwarded(sandbox: &mut Sandbox) {
    let traps = "for s in HUP INT QUIT USR1 USR2 ALRM; do trap \"echo $s >> /got\" $s; done; \
        trap 'echo TERM >> /got; exit 7' TERM;";
    let running = foreground(sandbox, traps, &[]);
    let all = [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGALRM, "ALRM"),
        (Signal::SIGTERM, "TERM"),
    ];
    for (signal, name) in all {
        running.signal(signal);
        sandbox.wait_file(sandbox.rootfs("got"), &format!("{name}\n"));
    }
    running.finish().code(7);
}

fn a_forwarded_signal_that_kills(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    let running = foreground(sandbox, "", &[]);
    running.signal(Signal::SIGTERM);
    let output = running.finish().code(128 + 15);
    sandbox.clean(&output);
}

fn orphans_are_reaped(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    let running = foreground(sandbox, "(sleep 0.1 & sleep 0.1 & echo $! > /orphan);", &[]);
    let orphan: i32 = fs::read_to_string(sandbox.rootfs("orphan")).unwrap().trim().parse().unwrap();
    assert!(
        until(5, || !std::path::Path::new(&format!("/proc/{orphan}")).exists()),
        "{orphan} is not reaped"
    );
    let none = until(5, || processes_in_state(running.pid(), 'Z').is_empty());
    assert!(none, "the runtime has zombies");
    running.signal(Signal::SIGTERM);
    running.finish().code(143);
}

fn orphans_go_to_the_caller_without_subreaper(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    let script = "(sleep 100 & echo $! > /orphan);";
    let running = foreground(sandbox, script, &["--no-subreaper"]);
    let orphan: i32 = fs::read_to_string(sandbox.rootfs("orphan")).unwrap().trim().parse().unwrap();
    assert_eq!(parent(orphan), Some(i32::try_from(std::process::id()).unwrap()));
    running.signal(Signal::SIGTERM);
    running.finish().code(143);

    fs::remove_file(sandbox.rootfs("up")).unwrap();
    let running = foreground(sandbox, script, &[]);
    let orphan: i32 = fs::read_to_string(sandbox.rootfs("orphan")).unwrap().trim().parse().unwrap();
    assert_eq!(parent(orphan), Some(running.pid()), "with it they are the runtime's");
    running.signal(Signal::SIGTERM);
    running.finish().code(143);
}

fn leftover_processes_end_with_the_container(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    sandbox.script("sleep 100 & echo $! > /left; exit 4");
    let output = sandbox.run().code(4);
    let left: i32 = fs::read_to_string(sandbox.rootfs("left")).unwrap().trim().parse().unwrap();
    assert!(until(3, || !is_alive(left)), "{left} outlived its container");
    sandbox.clean(&output);
}

fn run_ends_although_someone_holds_the_output(sandbox: &mut Sandbox) {
    sandbox.script("sleep 100 & exit 4");
    sandbox.run().code(4);
}

fn output_of_a_megabyte_is_whole(sandbox: &mut Sandbox) {
    sandbox.script("dd if=/dev/zero bs=1024 count=1024 2>/dev/null | tr '\\0' x; echo end >&2");
    let output = sandbox.run().ok();
    assert_eq!((output.stdout.len(), output.stderr.as_str()), (1 << 20, "end\n"));
}

fn detached_init_belongs_to_the_caller(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.begin("run", &["--detach"]).finish().ok();
    assert_eq!(parent(sandbox.pid()), Some(i32::try_from(std::process::id()).unwrap()));
}

fn detached_container_outlives_the_runtime(sandbox: &mut Sandbox) {
    sandbox.script("sleep 0.3; echo later > /later; sleep 100");
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("later"), "later");
    assert_eq!(sandbox.status(), "running");
}

fn created_init_belongs_to_the_caller(sandbox: &mut Sandbox) {
    sandbox.create();
    assert_eq!(parent(sandbox.pid()), Some(i32::try_from(std::process::id()).unwrap()));
}

fn run_of_a_failing_start_leaves_nothing(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("bin/odd"), "\x7fELF").unwrap();
    fs::set_permissions(sandbox.rootfs("bin/odd"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    sandbox.args(&["/bin/odd"]);
    for options in [&[][..], &["--detach"], &["--keep"]] {
        let output = sandbox.begin("run", options).finish().error(&["process.args[0]", "ENOEXEC"]);
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        sandbox.clean(&output);
    }
}

fn status_while_running_in_the_foreground(sandbox: &mut Sandbox) {
    let running = foreground(sandbox, "", &[]);
    assert_eq!(sandbox.status(), "running");
    sandbox.kill("KILL");
    let output = running.finish().code(137);
    sandbox.clean(&output);
}

fn deleted_from_elsewhere_while_in_the_foreground(sandbox: &mut Sandbox) {
    let running = foreground(sandbox, "", &[]);
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let output = running.finish().code(137);
    sandbox.clean(&output);
}

/// A caller may start the runtime without any standard descriptor: none of the runtime's own may take their place.
fn closed_standard_descriptors(sandbox: &mut Sandbox) {
    sandbox.script("for n in 0 1 2; do readlink /proc/self/fd/$n; done > /seen 2>/dev/null; true");
    let words = ["sh", "-c", "exec <&- >&- 2>&-; exec \"$@\"", "sh"];
    sandbox.begin("run", &[]).through(&words).finish();
    let seen = fs::read_to_string(sandbox.rootfs("seen")).unwrap_or_default();
    let foreign = seen.lines().find(|line| !["/dev/null", "/seen"].contains(line));
    assert_eq!(foreign, None, "{seen}");
}

/// An ignored SIGCHLD survives execve; the kernel would then reap the children of the runtime itself.
fn a_caller_that_ignores_sigchld(sandbox: &mut Sandbox) {
    sandbox.script("exit 3");
    sandbox.begin("run", &[]).through(&["env", "--ignore-signal=CHLD"]).finish().code(3);
}

fn an_orphan_killed_by_a_real_time_signal(sandbox: &mut Sandbox) {
    sandbox.without_namespace("pid");
    sandbox.script("(sh -c 'kill -40 $$' &); sleep 0.3; exit 5");
    sandbox.run().code(5);
}
