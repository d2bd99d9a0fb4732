//! What machines parse from standard output: the JSON of `state`, `list`, `ps`, `events` and `features`, and the lines of
//! `--version`. Names, types and order of the fields are those that runc 1.1.5 and 1.3.6 print.

use serde_json::{Value, json};

use crate::harness::{Layout, Need, Output, Sandbox};
use crate::lifecycle::is_rfc3339;

cases! {
    state_has_the_fields_of_runc_in_their_order;
    state_of_each_status: Need::Only(Layout::V2);
    list_is_an_array_of_states_on_one_line: Need::Only(Layout::V2);
    ps_is_an_array_of_numbers_on_one_line;
    events_have_the_figures_of_runc;
    features_have_the_form_of_the_runtime_spec: Need::Only(Layout::V2);
    version_is_parsed_as_docker_and_containerd_do: Need::Only(Layout::V2);
}

/// The keys of an object in the order of the text.
fn keys(value: &Value, text: &str) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort_by_key(|key| text.find(&format!("\"{key}\":")));
    keys
}

#[track_caller]
fn parsed(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.describe()))
}

const STATE: [&str; 9] =
    ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];

fn state_has_the_fields_of_runc_in_their_order(sandbox: &mut Sandbox) {
    sandbox.set("/annotations", json!({ "org.example": "a" }));
    sandbox.create();
    let output = sandbox.onggi(&["state", &sandbox.token]).finish().ok();
    let state = parsed(&output);
    assert_eq!(keys(&state, &output.stdout), STATE, "{}", output.describe());
    assert!(output.stdout.starts_with("{\n  \"ociVersion\"") && output.stdout.ends_with("\n}\n"));
    for (key, value) in state.as_object().unwrap() {
        let right = match key.as_str() {
            "pid" => value.is_i64(),
            "annotations" => value == &json!({ "org.example": "a" }),
            "created" => value.as_str().is_some_and(is_rfc3339),
            _ => value.is_string(),
        };
        assert!(right, "{key}: {}", output.describe());
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.unset("/annotations");
    sandbox.create();
    assert!(sandbox.state().get("annotations").is_none(), "without annotations there is no such field");
}

fn state_of_each_status(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    let id = sandbox.token.clone();
    let said = |sandbox: &Sandbox| (sandbox.status(), sandbox.pid() > 0);
    assert_eq!(said(sandbox), ("created".into(), true));
    sandbox.start();
    assert_eq!(said(sandbox), ("running".into(), true));
    sandbox.onggi(&["pause", &id]).finish().ok();
    assert_eq!(said(sandbox), ("paused".into(), true));
    sandbox.onggi(&["resume", &id]).finish().ok();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    // CRI-O and buildah decode a number that is always there.
    assert_eq!(sandbox.state()["pid"], json!(0));
}

fn list_is_an_array_of_states_on_one_line(sandbox: &mut Sandbox) {
    let list = |sandbox: &Sandbox| sandbox.onggi(&["list", "--format=json"]).finish().ok();
    assert_eq!(list(sandbox).stdout, "[]\n");
    sandbox.create();
    let output = list(sandbox);
    assert_eq!(output.stdout.lines().count(), 1);
    assert_eq!(parsed(&output), json!([sandbox.state()]));
    let quiet = sandbox.onggi(&["list", "-q"]).finish().ok();
    assert_eq!(quiet.stdout, format!("{}\n", sandbox.token));
}

fn ps_is_an_array_of_numbers_on_one_line(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let ps = |sandbox: &Sandbox| sandbox.onggi(&["ps", "--format", "json", &sandbox.token]).finish().ok();
    assert_eq!(ps(sandbox).stdout, format!("[{pid}]\n"));
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    assert_eq!(ps(sandbox).stdout, "[]\n");
}

/// What is there in any layout and on any machine; the rest is where its controller is.
const FIGURES: [&str; 24] = [
    "/cpu/usage/total",
    "/cpu/usage/kernel",
    "/cpu/usage/user",
    "/cpu/throttling",
    "/cpuset/cpu_exclusive",
    "/cpuset/mem_hardwall",
    "/cpuset/mem_exclusive",
    "/cpuset/memory_migrate",
    "/cpuset/memory_spread_page",
    "/cpuset/memory_spread_slab",
    "/cpuset/memory_pressure",
    "/cpuset/sched_load_balance",
    "/cpuset/sched_relax_domain_level",
    "/memory/usage/limit",
    "/memory/usage/failcnt",
    "/memory/swap/limit",
    "/memory/swap/failcnt",
    "/memory/kernel/limit",
    "/memory/kernel/failcnt",
    "/memory/kernelTCP/limit",
    "/pids/current",
    "/blkio",
    "/hugetlb",
    "/intel_rdt",
];

fn events_have_the_figures_of_runc(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let output = sandbox.onggi(&["events", "--stats", &sandbox.token]).finish().ok();
    let event = parsed(&output);
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.describe());
    assert_eq!(keys(&event, &output.stdout), ["type", "id", "data"]);
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(sandbox.token)));
    let data = &event["data"];
    for pointer in FIGURES {
        let value = data.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}: {}", output.describe()));
        assert!(value.is_i64() || value.is_u64() || value.is_object(), "{pointer}: {value}");
    }
    assert!(data["network_interfaces"].is_array() || data["network_interfaces"].is_null());
    assert_eq!(data["pids"]["current"], json!(1));
    if sandbox.layout == Layout::V1 && sandbox.layout.cgroup("cpuacct", "/").is_some() {
        for list in ["percpu", "percpu_kernel", "percpu_user"] {
            assert!(data["cpu"]["usage"][list].as_array().is_some_and(|cpus| !cpus.is_empty()), "{list}");
        }
    }
}

/// What containerd, dockerd and CRI-O look up; a missing part means no to them.
fn features_have_the_form_of_the_runtime_spec(sandbox: &mut Sandbox) {
    let output = sandbox.bare(&["features"]).finish().ok();
    let features = parsed(&output);
    let order = keys(&features, &output.stdout);
    assert_eq!(order[..5], ["ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux"], "{order:?}");
    let text = |pointer: &str| features.pointer(pointer).is_some_and(Value::is_string);
    let names = |pointer: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
    };
    let truth = |pointer: &str| features.pointer(pointer).is_some_and(Value::is_boolean);
    assert!(text("/ociVersionMin") && text("/ociVersionMax"));
    for pointer in ["/hooks", "/mountOptions", "/linux/namespaces", "/linux/capabilities"] {
        assert!(names(pointer), "{pointer}");
    }
    for list in ["actions", "operators", "archs", "knownFlags", "supportedFlags"] {
        assert!(names(&format!("/linux/seccomp/{list}")), "{list}");
    }
    for switch in [
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser",
        "/linux/cgroup/rdma",
        "/linux/seccomp/enabled",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
    ] {
        assert!(truth(switch), "{switch}: {}", output.describe());
    }
    // CRI's user_namespaces and recursive_read_only_mounts hang on these.
    let has = |pointer: &str, name: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array).unwrap();
        list.iter().any(|entry| entry == name)
    };
    assert!(has("/mountOptions", "rro") && has("/linux/namespaces", "user"));
    assert!(has("/linux/seccomp/actions", "SCMP_ACT_NOTIFY"));
}

/// dockerd takes any line with the word `version` for that of the version, and the last such line counts; containerd and
/// podman read the first line, `commit: ` and `spec: `.
fn version_is_parsed_as_docker_and_containerd_do(sandbox: &mut Sandbox) {
    for option in ["--version", "-v", "-version"] {
        let output = sandbox.bare(&[option]).finish().ok();
        let lines: Vec<&str> = output.stdout.lines().collect();
        let version: Vec<&&str> = lines.iter().filter(|line| line.contains("version")).collect();
        assert_eq!(version, [&lines[0]], "{}", output.describe());
        assert_eq!(lines[0].split(" version ").count(), 2);
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("spec: "));
    }
}
