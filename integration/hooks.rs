//! Hooks: the six kinds, their order, namespaces, input, environment, time limits and failures (config.md,
//! POSIX-platform Hooks; runtime.md, Lifecycle).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Sandbox, is_alive, limit, until};

cases! {
    all_six_in_order;
    several_of_a_kind_in_order;
    each_runs_in_its_operation;
    namespaces_of_each_kind;
    paths_resolve_where_the_spec_says;
    prestart_can_prepare_the_network_namespace;
    create_container_sees_the_mounts_before_pivot;
    state_comes_on_standard_input;
    a_hook_that_does_not_read_its_input;
    environment_is_empty_when_none_is_given;
    environment_is_exactly_the_one_given;
    arguments_are_passed;
    only_three_descriptors;
    no_signal_is_blocked_in_the_foreground;
    output_of_a_hook_does_not_hold_the_caller;
    a_slow_hook_within_its_time;
    time_over_kills_the_whole_group;
    time_over_in_every_kind;
    failing_prestart_leaves_nothing;
    failing_create_runtime_leaves_nothing;
    failing_create_container_leaves_nothing;
    failing_start_container_stops_the_container;
    failing_poststart_stops_the_container;
    failing_poststop_is_a_warning;
    killed_hook_is_a_failure;
    a_failing_hook_ends_the_row;
    poststop_runs_after_forced_delete;
    poststop_runs_when_the_last_act_of_create_fails;
    a_hundred_hooks;
}

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A folder that host and container both see under the same path, for what hooks have to tell.
fn shared(sandbox: &mut Sandbox) -> String {
    let dir = sandbox.path("shared");
    fs::create_dir_all(&dir).unwrap();
    let own = dir.clone();
    sandbox.mount(&own, "bind", &own, &["rbind"]);
    dir
}

/// A hook that runs this script with the busybox that is in the container as on the host; it has no environment.
fn hook(script: &str) -> Value {
    json!({ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", format!("PATH=/bin:/usr/bin; {script}")] })
}

/// One hook of each kind.
fn each(sandbox: &mut Sandbox, script: impl Fn(&str) -> String) {
    let hooks = KINDS.map(|kind| (kind.to_owned(), json!([hook(&script(kind))])));
    sandbox.set("/hooks", Value::Object(hooks.into_iter().collect()));
}

fn all_six_in_order(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    each(sandbox, |kind| format!("echo {kind} >> {dir}/log"));
    sandbox.script(&format!("echo process >> {dir}/log; sleep 0.2"));
    sandbox.run().ok();
    let log = fs::read_to_string(format!("{dir}/log")).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    // The process runs beside poststart; all else has one order.
    let process = lines.iter().position(|&line| line == "process").unwrap();
    assert!((4..=5).contains(&process), "{lines:?}");
    lines.remove(process);
    assert_eq!(lines, KINDS);
}

fn several_of_a_kind_in_order(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let row = |kind: &str| Value::Array((0..5).map(|n| hook(&format!("echo {n} >> {dir}/{kind}"))).collect());
    let hooks = KINDS.map(|kind| (kind.to_owned(), row(kind)));
    sandbox.set("/hooks", Value::Object(hooks.into_iter().collect()));
    sandbox.run().ok();
    for kind in KINDS {
        assert_eq!(fs::read_to_string(format!("{dir}/{kind}")).unwrap(), "0\n1\n2\n3\n4\n", "{kind}");
    }
}

fn each_runs_in_its_operation(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    each(sandbox, |kind| format!("echo {kind} >> {dir}/log"));
    sandbox.args(&["/bin/sleep", "100"]);
    let ran = || fs::read_to_string(format!("{dir}/log")).unwrap_or_default().lines().count();
    sandbox.create();
    assert_eq!(ran(), 3);
    sandbox.start();
    assert_eq!(ran(), 5);
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    assert_eq!(ran(), 5);
    sandbox.delete();
    assert_eq!(ran(), 6);
}

fn namespaces_of_each_kind(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let names = "mnt net pid ipc uts cgroup user";
    each(sandbox, |kind| {
        format!(
            "for n in {names}; do readlink /proc/self/ns/$n; done > {dir}/{kind}; echo $$ >> {dir}/{kind}"
        )
    });
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    sandbox.start();
    let pid = sandbox.pid();
    let of = |pid: &str| {
        let links = names.split(' ').map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap());
        links.map(|link| link.display().to_string()).collect::<Vec<_>>()
    };
    let (host, inside) = (of("self"), of(&pid.to_string()));
    for kind in &KINDS[..5] {
        let seen = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        let seen: Vec<&str> = seen.lines().take(7).collect();
        match *kind {
            // Its /proc may still be the host's: at least mount, network, ipc and uts are the container's.
            "createContainer" => assert!(
                [0, 1, 3, 4].iter().all(|&at| seen.get(at).is_some_and(|it| **it == inside[at])),
                "{kind}: {seen:?}, inside {inside:?}"
            ),
            "startContainer" => assert_eq!(seen, inside, "{kind}"),
            _ => assert_eq!(seen, host, "{kind}"),
        }
    }
}

fn paths_resolve_where_the_spec_says(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let outside = sandbox.tool("outside", &format!("echo outside >> {dir}/log"));
    let inside = sandbox.rootfs("opt/inside");
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::write(&inside, format!("#!/bin/sh\necho inside >> {dir}/log\n")).unwrap();
    fs::set_permissions(&inside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let host = json!([{ "path": outside }]);
    sandbox.set(
        "/hooks",
        json!({ "createContainer": host, "startContainer": [{ "path": "/opt/inside" }], "poststop": host }),
    );
    sandbox.run().ok();
    assert_eq!(fs::read_to_string(format!("{dir}/log")).unwrap(), "outside\ninside\noutside\n");
}

/// What docker does: its prestart hook finds the network namespace by the pid in the state.
fn prestart_can_prepare_the_network_namespace(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let script = format!(
        "state=$(cat); pid=${{state#*'\"pid\":'}}; pid=$(echo $pid | tr -dc '0-9,' | cut -d, -f1); \
        nsenter -t $pid -n ip link add probe0 type dummy 2> {dir}/err || \
        nsenter -t $pid -n ip addr add 10.99.0.1/32 dev lo 2>> {dir}/err"
    );
    sandbox.set("/hooks", json!({ "prestart": [hook(&script)] }));
    let seen = sandbox.prove("ip addr show; ip link show");
    let error = fs::read_to_string(format!("{dir}/err")).unwrap_or_default();
    assert!(seen.contains("probe0") || seen.contains("10.99.0.1"), "{seen}; {error}");
}

fn create_container_sees_the_mounts_before_pivot(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let rootfs = sandbox.rootfs("/").display().to_string();
    let rootfs = rootfs.trim_end_matches('/');
    sandbox.mount("/mnt/inner", "tmpfs", "tmpfs", &[]);
    let script = format!("cp /proc/self/mountinfo {dir}/table; ls {rootfs}/bin/busybox > {dir}/seen");
    sandbox.set("/hooks", json!({ "createContainer": [hook(&script)] }));
    sandbox.run().ok();
    assert_eq!(fs::read_to_string(format!("{dir}/seen")).unwrap(), format!("{rootfs}/bin/busybox\n"));
    let table = fs::read_to_string(format!("{dir}/table")).unwrap();
    assert!(table.contains(&format!(" {rootfs}/mnt/inner ")), "{table}");
}

fn state_comes_on_standard_input(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    sandbox.set("/annotations", json!({ "key": "value" }));
    each(sandbox, |kind| format!("cat > {dir}/{kind}"));
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    let pid = sandbox.pid();
    sandbox.start();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    let wanted = ["creating", "creating", "creating", "created", "running", "stopped"];
    for (kind, status) in KINDS.into_iter().zip(wanted) {
        let text = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        let state: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text:?}"));
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["id"], sandbox.token, "{kind}");
        assert_eq!(state["bundle"], sandbox.path("bundle"), "{kind}");
        assert_eq!(state["annotations"]["key"], "value", "{kind}");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}");
        match kind {
            "prestart" | "createRuntime" | "poststart" => assert_eq!(state["pid"], pid, "{kind}"),
            "poststop" => assert_eq!(state["pid"].as_i64().unwrap_or(0), 0, "{kind}"),
            _ => assert!(state["pid"].as_i64().unwrap() > 0, "{kind}"),
        }
    }
}

fn a_hook_that_does_not_read_its_input(sandbox: &mut Sandbox) {
    sandbox.set("/annotations", json!({ "big": "x".repeat(500_000) }));
    let hooks = KINDS.map(|kind| (kind.to_owned(), json!([{ "path": "/bin/busybox", "args": ["true"] }])));
    sandbox.set("/hooks", Value::Object(hooks.into_iter().collect()));
    sandbox.run().ok();
}

fn environment_is_empty_when_none_is_given(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let entry = |kind: &str| json!([{ "path": "/bin/busybox", "args": ["cp", "/proc/self/environ", format!("{dir}/{kind}")] }]);
    let hooks = KINDS.map(|kind| (kind.to_owned(), entry(kind)));
    sandbox.set("/hooks", Value::Object(hooks.into_iter().collect()));
    sandbox.begin("run", &[]).env("LD_PRELOAD_TEST", "leaked").env("SECRET", "leaked").finish().ok();
    for kind in KINDS {
        let seen = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        assert_eq!(seen, "", "{kind}");
    }
}

fn environment_is_exactly_the_one_given(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let entry = |kind: &str| {
        let args = ["cp", "/proc/self/environ", &format!("{dir}/{kind}")].map(str::to_owned);
        json!([{ "path": "/bin/busybox", "args": args, "env": ["A=1", "B=two words", format!("KIND={kind}")] }])
    };
    let hooks = KINDS.map(|kind| (kind.to_owned(), entry(kind)));
    sandbox.set("/hooks", Value::Object(hooks.into_iter().collect()));
    sandbox.begin("run", &[]).env("SECRET", "leaked").finish().ok();
    for kind in KINDS {
        let seen = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        assert_eq!(seen, format!("A=1\0B=two words\0KIND={kind}\0"), "{kind}");
    }
}

fn arguments_are_passed(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let args = ["any name", "first", "", "third word"];
    let tool = sandbox.tool("hook", &format!("for a in \"$@\"; do echo \"<$a>\"; done > {dir}/args"));
    sandbox.set(
        "/hooks",
        json!({ "createRuntime": [{ "path": tool, "args": args }], "poststop": [{ "path": tool }] }),
    );
    sandbox.create();
    assert_eq!(fs::read_to_string(format!("{dir}/args")).unwrap(), "<first>\n<>\n<third word>\n");
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    assert_eq!(fs::read_to_string(format!("{dir}/args")).unwrap(), "", "without args there is only the path");
}

fn only_three_descriptors(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    each(sandbox, |kind| {
        format!(
            "exec >> {dir}/{kind}; for n in $(seq 3 200); do [ -L /proc/$$/fd/$n ] && readlink /proc/$$/fd/$n; done; true"
        )
    });
    let words = ["sh", "-c", "exec 3</etc/passwd 7</; exec \"$@\"", "sh"];
    sandbox.begin("run", &[]).through(&words).finish().ok();
    for kind in KINDS {
        let seen = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        assert_eq!(seen, "", "{kind} has more than 0, 1, 2");
    }
}

fn output_of_a_hook_does_not_hold_the_caller(sandbox: &mut Sandbox) {
    sandbox.set("/hooks", json!({ "poststart": [hook("echo out; echo err >&2")] }));
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    sandbox.start();
    assert_eq!(sandbox.status(), "running");
}

fn a_slow_hook_within_its_time(sandbox: &mut Sandbox) {
    let mut slow = hook("sleep 0.5");
    slow["timeout"] = json!(10);
    sandbox.set("/hooks", json!({ "createRuntime": [slow] }));
    sandbox.run().ok();
}

fn time_over_kills_the_whole_group(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let mut slow = hook(&format!("sleep 1000 & echo $! $$ > {dir}/pids; sleep 1000"));
    slow["timeout"] = json!(1);
    sandbox.set("/hooks", json!({ "createRuntime": [slow] }));
    let begun = Instant::now();
    sandbox.refused(&["hooks.createRuntime[0]", "1"]);
    let took = begun.elapsed();
    assert!((Duration::from_secs(1)..limit(6)).contains(&took), "{took:?}");
    let pids = fs::read_to_string(format!("{dir}/pids")).unwrap();
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(until(3, || pids.iter().all(|&pid| !is_alive(pid))), "some of {pids:?} live");
}

fn time_over_in_every_kind(sandbox: &mut Sandbox) {
    for kind in KINDS {
        let mut slow = hook("sleep 1000");
        slow["timeout"] = json!(1);
        sandbox.set("/hooks", json!({ kind: [slow] }));
        let begun = Instant::now();
        let output = sandbox.begin("run", &[]).finish();
        assert!(begun.elapsed() < limit(8), "{kind}: {:?}", begun.elapsed());
        if kind != "poststop" {
            sandbox.clean(&output.error(&[&format!("hooks.{kind}[0]")]));
        }
    }
}

/// `create` must fail by the hook of this kind and undo everything; the poststop hooks run, as the spec says.
fn fails_in_create(sandbox: &mut Sandbox, kind: &str) {
    let dir = shared(sandbox);
    let poststop = hook(&format!("echo poststop >> {dir}/log"));
    sandbox.set("/hooks", json!({ kind: [hook("true"), hook("exit 3")], "poststop": [poststop] }));
    sandbox.refused(&[&format!("hooks.{kind}[1]"), "3"]);
    assert_eq!(fs::read_to_string(format!("{dir}/log")).unwrap_or_default(), "poststop\n");
    let output = sandbox.begin("run", &[]).finish().error(&[&format!("hooks.{kind}[1]")]);
    sandbox.clean(&output);
}

fn failing_prestart_leaves_nothing(sandbox: &mut Sandbox) {
    fails_in_create(sandbox, "prestart");
}

fn failing_create_runtime_leaves_nothing(sandbox: &mut Sandbox) {
    fails_in_create(sandbox, "createRuntime");
}

fn failing_create_container_leaves_nothing(sandbox: &mut Sandbox) {
    fails_in_create(sandbox, "createContainer");
}

/// `start` must fail by the hook of this kind; the container is stopped, the poststop hooks run.
fn fails_in_start(sandbox: &mut Sandbox, kind: &str) -> bool {
    let dir = shared(sandbox);
    let poststop = hook(&format!("echo poststop >> {dir}/log"));
    sandbox.set("/hooks", json!({ kind: [hook("exit 3")], "poststop": [poststop] }));
    sandbox.script("echo ran > /ran; sleep 100");
    sandbox.create();
    let pid = sandbox.pid();
    sandbox.onggi(&["start", &sandbox.token]).finish().error(&[&format!("hooks.{kind}[0]"), "3"]);
    assert!(until(3, || !is_alive(pid)), "the container runs on");
    // Whether the runtime destroys it at once or leaves that to delete, poststop has run once in the end.
    let delete = sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert_eq!(fs::read_to_string(format!("{dir}/log")).unwrap_or_default(), "poststop\n");
    sandbox.clean(&delete);
    sandbox.rootfs("ran").exists()
}

fn failing_start_container_stops_the_container(sandbox: &mut Sandbox) {
    assert!(!fails_in_start(sandbox, "startContainer"), "the process ran");
}

fn failing_poststart_stops_the_container(sandbox: &mut Sandbox) {
    fails_in_start(sandbox, "poststart");
}

fn failing_poststop_is_a_warning(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let second = hook(&format!("echo second >> {dir}/log"));
    sandbox.set("/hooks", json!({ "poststop": [hook("exit 3"), second] }));
    let output = sandbox.run().ok();
    assert_eq!(fs::read_to_string(format!("{dir}/log")).unwrap(), "second\n", "the others run all the same");
    assert!(output.stderr.contains("hooks.poststop[0]"), "a warning: {}", output.describe());
    sandbox.clean(&output);
}

fn killed_hook_is_a_failure(sandbox: &mut Sandbox) {
    sandbox.set("/hooks", json!({ "createRuntime": [hook("kill -9 $$")] }));
    sandbox.refused(&["hooks.createRuntime[0]", "9"]);
}

fn a_failing_hook_ends_the_row(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let next = hook(&format!("echo ran > {dir}/log"));
    sandbox.set("/hooks", json!({ "prestart": [hook("exit 1"), next], "createRuntime": [next] }));
    sandbox.refused(&["hooks.prestart[0]"]);
    assert!(!Path::new(&format!("{dir}/log")).exists());
}

fn poststop_runs_after_forced_delete(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    sandbox.set("/hooks", json!({ "poststop": [hook(&format!("cat > {dir}/state"))] }));
    sandbox.start_sleeper();
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let state: Value = serde_json::from_str(&fs::read_to_string(format!("{dir}/state")).unwrap()).unwrap();
    assert_eq!(state["status"], "stopped");
}

/// Init stands at `created` when the pid file cannot be written.
fn poststop_runs_when_the_last_act_of_create_fails(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let tell = |word: &str| json!([hook(&format!("echo {word} >> {dir}/log"))]);
    sandbox.set("/hooks", json!({ "createRuntime": tell("created"), "poststop": tell("stopped") }));
    for command in ["create", "run"] {
        let output = sandbox.begin(command, &["--pid-file", "/nowhere/pid"]).finish();
        sandbox.clean(&output.error(&["--pid-file", "/nowhere", "no such file"]));
        assert_eq!(fs::read_to_string(format!("{dir}/log")).unwrap(), "created\nstopped\n", "{command}");
        fs::remove_file(format!("{dir}/log")).unwrap();
    }
}

fn a_hundred_hooks(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    let row: Vec<Value> = (0..100).map(|n| hook(&format!("echo {n} >> {dir}/log"))).collect();
    sandbox.set("/hooks", json!({ "createRuntime": row }));
    sandbox.begin("run", &[]).limit(60).finish().ok();
    assert_eq!(fs::read_to_string(format!("{dir}/log")).unwrap().lines().count(), 100);
}

/// In the foreground the runtime itself takes its signals from a descriptor and has them blocked.
fn no_signal_is_blocked_in_the_foreground(sandbox: &mut Sandbox) {
    let dir = shared(sandbox);
    each(sandbox, |kind| format!("grep SigBlk /proc/self/status > {dir}/{kind}"));
    sandbox.script("true");
    sandbox.run().ok();
    for kind in KINDS {
        let seen = fs::read_to_string(format!("{dir}/{kind}")).unwrap();
        assert_eq!(seen.split_whitespace().last(), Some("0000000000000000"), "{kind}");
    }
}
