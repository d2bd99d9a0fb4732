//! `ps`: who is in the container, told by its control groups, as numbers and as rows of ps(1).

use std::fs;

use serde_json::json;

use crate::harness::{Layout, Need, Sandbox, until};

/// procps' ps; busybox has a lesser one.
const PS: Need = Need::Program("ps");

cases! {
    json_lists_the_containers_processes;
    processes_of_cgroups_below_are_listed: Need::Only(Layout::V2);
    the_table_has_the_containers_rows: PS;
    options_behind_the_id_are_for_ps: PS;
    what_ps_cannot_do_is_said: PS;
    without_ps_the_package_is_named;
    a_created_and_a_paused_container_are_listed;
    a_stopped_container_has_no_processes: PS;
    without_control_groups_nobody_can_tell;
}

/// Starts a container of a shell and two children; gives their pids on the host, sorted.
fn start_three(sandbox: &mut Sandbox) -> Vec<i32> {
    sandbox.script("sleep 1001 & sleep 1002 & wait");
    sandbox.create();
    sandbox.start();
    let file = sandbox.cgroup("devices").join("cgroup.procs");
    let mut pids = Vec::new();
    let all = until(10, || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        pids = text.lines().filter_map(|line| line.parse().ok()).collect();
        pids.len() == 3 && command_lines(&pids).iter().filter(|line| line.contains("sleep")).count() >= 3
    });
    assert!(all, "{pids:?} instead of three processes");
    pids.sort_unstable();
    pids
}

fn command_lines(pids: &[i32]) -> Vec<String> {
    pids.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()).collect()
}

fn ps(sandbox: &Sandbox, before: &[&str], after: &[&str]) -> crate::harness::Output {
    let words: Vec<&str> = [&["ps"], before, &[sandbox.token.as_str()], after].concat();
    sandbox.onggi(&words).finish()
}

/// The output of `--format json`, as engines read it.
fn pids(sandbox: &Sandbox) -> Vec<i32> {
    let output = ps(sandbox, &["--format", "json"], &[]).ok();
    serde_json::from_str(&output.stdout).unwrap()
}

fn json_lists_the_containers_processes(sandbox: &mut Sandbox) {
    let three = start_three(sandbox);
    let wanted = format!("{}\n", json!(three));
    for words in [["--format", "json"].as_slice(), &["-f", "json"], &["-format=json"]] {
        assert_eq!(ps(sandbox, words, &[]).ok().stdout, wanted);
    }
}

/// A container may sort its processes into cgroups of its own.
fn processes_of_cgroups_below_are_listed(sandbox: &mut Sandbox) {
    let three = start_three(sandbox);
    let below = sandbox.cgroup("cgroup").join("own/deep");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("cgroup.procs"), three[2].to_string()).unwrap();
    assert_eq!(pids(sandbox), three);
}

fn the_table_has_the_containers_rows(sandbox: &mut Sandbox) {
    let three = start_three(sandbox);
    let output = ps(sandbox, &[], &[]).ok();
    let rows: Vec<Vec<&str>> = output.text().lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let mut found: Vec<i32> = rows[1..].iter().map(|row| row[1].parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, three, "{}", output.describe());
    for row in ["sleep 1001", "sleep 1002", "/bin/sh -c sleep 1001 & sleep 1002 & wait"] {
        assert!(output.text().lines().any(|line| line.ends_with(row)), "{row}: {}", output.describe());
    }
}

fn options_behind_the_id_are_for_ps(sandbox: &mut Sandbox) {
    let three = start_three(sandbox);
    let output = ps(sandbox, &["--format", "table"], &["-A", "-o", "pid,comm"]).ok();
    let rows: Vec<Vec<&str>> = output.text().lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), rows[0].as_slice()), (4, ["PID", "COMMAND"].as_slice()));
    assert!(rows[1..].iter().all(|row| three.contains(&row[0].parse().unwrap())), "{}", output.describe());
    // Both are options of ours before the id.
    assert!(ps(sandbox, &[], &["-f", "-A"]).ok().text().starts_with("UID"));
    assert!(ps(sandbox, &[], &["aux"]).ok().text().starts_with("USER"));
    assert_eq!(ps(sandbox, &[], &["-p", &std::process::id().to_string()]).ok().text().lines().count(), 1);
}

fn what_ps_cannot_do_is_said(sandbox: &mut Sandbox) {
    ps(sandbox, &[], &[]).error(&["ps ", "container does not exist"]);
    ps(sandbox, &["--format", "json"], &[]).error(&["container does not exist"]);
    ps(sandbox, &["--format", "xml"], &[]).error(&["xml"]);
    start_three(sandbox);
    ps(sandbox, &[], &["-A", "-o", "comm"]).error(&["couldn't find PID field in ps output", "-o pid"]);
    ps(sandbox, &[], &["-A", "-o", "args,pid"]).error(&["unable to parse pid"]);
    ps(sandbox, &[], &["--frobnicate"]).error(&["ps: exit status: 1: error: unknown gnu long option"]);
    // A ps(1) that never ends its output.
    let endless = sandbox.tool("ps", "echo PID; while :; do echo 1; done | tr -d '\\n'");
    let path = format!("{}:/usr/bin:/bin", endless.trim_end_matches("/ps"));
    let words = ["ps", &sandbox.token];
    sandbox.onggi(&words).env("PATH", path).finish().error(&["ps: a row is longer than"]);
}

fn without_ps_the_package_is_named(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let empty = sandbox.path("no-programs");
    let words = ["ps", &sandbox.token];
    let output = sandbox.onggi(&words).env("PATH", &empty).finish();
    output.error(&["exec: \"ps\": executable file not found in $PATH", "procps", "--format json"]);
    let words = ["ps", "--format", "json", &sandbox.token];
    sandbox.onggi(&words).env("PATH", &empty).finish().ok();
}

fn a_created_and_a_paused_container_are_listed(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    assert_eq!(pids(sandbox), [sandbox.pid()]);
    sandbox.start();
    sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
    assert_eq!(pids(sandbox), [sandbox.pid()]);
}

fn a_stopped_container_has_no_processes(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    assert_eq!(ps(sandbox, &["--format", "json"], &[]).ok().stdout, "[]\n");
    assert_eq!(ps(sandbox, &[], &["-o", "pid", "-A"]).ok().text().trim(), "PID");
}

fn without_control_groups_nobody_can_tell(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.unset("/linux/cgroupsPath").unset("/linux/resources");
    let (root, bundle) = (sandbox.path("state"), sandbox.path("bundle"));
    sandbox.write_config();
    let words = ["--root", &root, "--cgroup-manager", "disabled", "create", "--bundle", &bundle];
    sandbox.bare(&[&words[..], &[sandbox.token.as_str()]].concat()).finish().ok();
    ps(sandbox, &["--format", "json"], &[]).error(&["the container has no control groups"]);
}
