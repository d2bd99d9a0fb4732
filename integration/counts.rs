//! Speed held by counts, which do not depend on the machine's mood: processes exactly, system calls at most.

use std::collections::BTreeSet;
use std::fs;

use crate::exec::exec;
use crate::harness::{Layout, Need, Sandbox};

cases! {
    two_processes_and_no_more: Need::Program("strace");
    system_calls_of_the_standard_bundle: Need::Program("strace");
    one_clone_and_one_exec: Need::Program("strace");
    nothing_sleeps: Need::Program("strace");
    exec_makes_two_processes: Need::Program("strace");
    system_calls_of_exec: Need::Program("strace");
}

/// Runs the standard bundle under strace with these options; the lines of the trace, pid first.
fn traced(sandbox: &Sandbox, options: &[&str]) -> Vec<String> {
    let trace = sandbox.path("trace");
    let words: Vec<&str> =
        ["strace", "-f", "-o", &trace].into_iter().chain(options.iter().copied()).collect();
    sandbox.begin("run", &[]).through(&words).limit(60).finish().ok();
    fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect()
}

fn pids(lines: &[String]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line.split_whitespace().next()).collect()
}

/// The trace for a message, long lines cut.
fn shown(lines: &[String]) -> String {
    lines.iter().take(30).map(|line| line.chars().take(120).collect::<String>() + "\n").collect()
}

fn two_processes_and_no_more(sandbox: &mut Sandbox) {
    let lines = traced(sandbox, &["-e", "trace=clone,clone3,fork,vfork,execve"]);
    assert_eq!(pids(&lines).len(), 2, "the runtime and the container's process:\n{}", shown(&lines));
}

/// How many are promised on cgroup v2; to be lowered when they become fewer, raised only with a reason. Measured 455
/// with musl, 472 with static glibc; what there is to hide differs a little from kernel to kernel.
const MOST: usize = 490;

/// What each v1 hierarchy may add: its cgroup, its limits, its place in the container's cgroup mount.
const EACH_HIERARCHY: usize = 50;

/// What the dynamic loader may add; the released binary is static.
const LOADER: usize = 120;

/// How many system calls are in the trace, those of the container's program left out.
fn until_execve(lines: &[String]) -> usize {
    // Not calls: ends and signals. Not ours: std checks descriptors before it closes them, in debug builds.
    let foreign = ["+++ ", "--- ", "F_GETFD"];
    let ours: Vec<_> = lines.iter().filter(|line| !foreign.iter().any(|word| line.contains(word))).collect();
    let exec =
        ours.iter().position(|line| line.contains("execve(\"/bin/true\"")).expect("the container's execve");
    let init = ours[exec].split_whitespace().next().unwrap();
    let after = ours[exec + 1..].iter().filter(|line| line.starts_with(init)).count();
    ours.iter().filter(|line| !line.contains("resumed>")).count() - after
}

/// Up to the container's own execve; the re-opening of the own binary, where the defence needs one, included.
fn system_calls_of_the_standard_bundle(sandbox: &mut Sandbox) {
    let lines = traced(sandbox, &[]);
    let count = until_execve(&lines);
    let hierarchies = match sandbox.layout {
        Layout::V1 => sandbox.layout.hierarchies().len(),
        Layout::V2 => 0,
    };
    let loader = if lines.iter().any(|line| line.contains("ld.so.cache")) { LOADER } else { 0 };
    let most = MOST + EACH_HIERARCHY * hierarchies + loader;
    assert!(count <= most, "{count} system calls, at most {most} were promised");
}

fn one_clone_and_one_exec(sandbox: &mut Sandbox) {
    let lines = traced(sandbox, &["-e", "trace=clone,clone3,fork,vfork,execve,unshare"]);
    let count = |name: &str| lines.iter().filter(|line| line.contains(&format!("{name}("))).count();
    assert_eq!(count("clone3"), 1, "{}", shown(&lines));
    assert_eq!(count("clone") + count("fork") + count("vfork"), 0, "{}", shown(&lines));
    assert!(count("execve") <= 3, "the call, at most one re-exec, the container's:\n{}", shown(&lines));
    assert!(count("unshare") <= 1, "{}", shown(&lines));
}

fn nothing_sleeps(sandbox: &mut Sandbox) {
    let lines = traced(sandbox, &["-e", "trace=nanosleep,clock_nanosleep,sched_yield"]);
    let sleeps: Vec<_> = lines.iter().filter(|line| line.contains('(') && !line.contains("+++")).collect();
    assert!(sleeps.is_empty(), "{}", shown(&lines));
}

/// Runs exec of /bin/true in the standard bundle under strace with these options; the lines of the trace, pid first.
fn traced_exec(sandbox: &mut Sandbox, options: &[&str]) -> Vec<String> {
    sandbox.start_sleeper();
    let trace = sandbox.path("trace");
    let words: Vec<&str> =
        ["strace", "-f", "-o", &trace].into_iter().chain(options.iter().copied()).collect();
    exec(sandbox, &[], &["/bin/true"]).through(&words).limit(60).finish().ok();
    fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect()
}

/// The one that enters the namespaces, and the one that it gives birth to in the pid namespace.
fn exec_makes_two_processes(sandbox: &mut Sandbox) {
    let lines = traced_exec(sandbox, &["-e", "trace=clone,clone3,fork,vfork,execve,setns,unshare"]);
    let count = |name: &str| lines.iter().filter(|line| line.contains(&format!("{name}("))).count();
    assert_eq!(pids(&lines).len(), 3, "the runtime and two:\n{}", shown(&lines));
    assert_eq!((count("clone3"), count("setns")), (2, 1), "{}", shown(&lines));
    assert_eq!(count("clone") + count("fork") + count("vfork") + count("unshare"), 0, "{}", shown(&lines));
    assert!(count("execve") <= 3, "the call, at most one re-exec, the program's:\n{}", shown(&lines));
}

/// As [`MOST`] for an exec, until its program runs. Measured 343 on cgroup v2 with the dynamic loader, 433 on ten v1
/// hierarchies.
const MOST_OF_EXEC: usize = 235;
const EXEC_EACH_HIERARCHY: usize = 11;

fn system_calls_of_exec(sandbox: &mut Sandbox) {
    let lines = traced_exec(sandbox, &[]);
    let count = until_execve(&lines);
    let hierarchies = match sandbox.layout {
        Layout::V1 => sandbox.layout.hierarchies().len(),
        Layout::V2 => 0,
    };
    let loader = if lines.iter().any(|line| line.contains("ld.so.cache")) { LOADER } else { 0 };
    let most = MOST_OF_EXEC + EXEC_EACH_HIERARCHY * hierarchies + loader;
    assert!(count <= most, "{count} system calls, at most {most} were promised");
}
