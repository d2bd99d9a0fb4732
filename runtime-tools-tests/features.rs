//! features.md and features-linux.md: what `features` says is there, and true.

use serde_json::Value;

use crate::harness::Sandbox;

cases! {
    names_the_versions_it_understands;
    names_the_hooks;
    names_the_mount_options;
    names_the_namespaces;
    names_capabilities_and_cgroups;
    says_what_it_mounts_with_id_mappings;
}

fn features(sandbox: &Sandbox) -> Value {
    let output = sandbox.bare(&["features"]).finish().ok();
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.describe()))
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect()
}

fn names_the_versions_it_understands(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1.3."), "{features:#}");
}

fn names_the_hooks(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        assert!(strings(&features["hooks"]).contains(&kind), "no {kind}: {features:#}");
    }
}

fn names_the_mount_options(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    let known = strings(&features["mountOptions"]);
    for option in [
        "ro",
        "rw",
        "nosuid",
        "rbind",
        "rprivate",
        "rslave",
        "rro",
        "idmap",
        "ridmap",
        "tmpcopyup",
        "remount",
    ] {
        assert!(known.contains(&option), "no {option}: {features:#}");
    }
}

fn names_the_namespaces(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    let known = strings(&features["linux"]["namespaces"]);
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
        assert!(known.contains(&kind), "no {kind}: {features:#}");
    }
}

fn names_capabilities_and_cgroups(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    let known = strings(&features["linux"]["capabilities"]);
    assert!(known.contains(&"CAP_CHOWN") && known.contains(&"CAP_CHECKPOINT_RESTORE"), "{known:?}");
    let cgroup = &features["linux"]["cgroup"];
    for name in ["v1", "v2", "systemd"] {
        assert_eq!(cgroup[name], Value::Bool(true), "{name}: {cgroup}");
    }
}

fn says_what_it_mounts_with_id_mappings(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean(), "{features:#}");
}
