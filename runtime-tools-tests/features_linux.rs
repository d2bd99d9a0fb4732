//! features-linux.md: what `features` claims about Linux is true.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::features::{features, strings};
use crate::harness::{Need, Sandbox};

clauses! {
    901 MUST "Namespaces", "recognize the namespaces that it names" => namespaces_are_recognized, Need::UserNamespaces;
    902 MUST "Capabilities", "recognize the capabilities that it names" => capabilities_are_recognized;
    903 MUST "Cgroup", "say of each manager true or false" => cgroup_managers_are_true_or_false;
    904 MUST "Seccomp", "recognize the actions that it names" => seccomp_actions_are_recognized;
    905 MUST "Seccomp", "recognize the operators that it names" => seccomp_operators_are_recognized;
    906 MUST "Seccomp", "recognize the architectures that it names" => seccomp_architectures_are_recognized;
    907 MUST "Seccomp", "recognize and support the supportedFlags that it names" => seccomp_flags_are_supported;
    908 MUST "Seccomp", "have every supported flag among the known ones" => seccomp_flags_are_known;
    909 MUST "MemoryPolicy", "recognize the modes that it names" => memory_policy_modes_are_recognized;
    910 MUST "MemoryPolicy", "recognize the flags that it names" => memory_policy_flags_are_recognized;
    911 MUST "MountExtensions", "say true if it uses uidMappings and gidMappings of mounts" => idmap_is_told, Need::IdMappedMounts;
}

/// With an error that has nothing to do with the name, or none.
fn recognized(it: &mut Sandbox, name: &str) {
    let output = it.create_as(&it.token, &[]).finish();
    let unknown = !output.status.success() && output.stderr.contains(name);
    it.forget(&it.token);
    assert!(!unknown, "{name}: {}", output.describe());
}

fn namespaces_are_recognized(it: &mut Sandbox) {
    let good = it.config.clone();
    for kind in strings(it, "/linux/namespaces") {
        it.config = good.clone();
        if kind == "user" {
            it.user_namespace();
        }
        it.namespace(&kind, None);
        assert_eq!(it.see("echo recognized"), "recognized", "{kind}");
    }
}

fn capabilities_are_recognized(it: &mut Sandbox) {
    let names = strings(it, "/linux/capabilities");
    it.set("/process/capabilities", json!({ "bounding": names, "effective": names, "permitted": names }));
    assert_eq!(it.see("echo recognized"), "recognized");
}

fn cgroup_managers_are_true_or_false(it: &mut Sandbox) {
    let features = features(it);
    for (name, value) in features["linux"]["cgroup"].as_object().into_iter().flatten() {
        assert!(value.is_boolean() || value.is_null(), "{name} is {value}");
    }
}

fn seccomp(it: &mut Sandbox, property: &str, value: Value) {
    it.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", property: value }));
}

/// An agent that never answers.
fn with_an_agent(it: &mut Sandbox) -> UnixListener {
    let path = it.path("agent");
    it.set("/linux/seccomp/listenerPath", json!(path));
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(path).unwrap()
}

fn seccomp_actions_are_recognized(it: &mut Sandbox) {
    for name in strings(it, "/linux/seccomp/actions") {
        seccomp(it, "syscalls", json!([{ "names": ["swapon"], "action": name }]));
        let _agent = with_an_agent(it);
        recognized(it, &name);
    }
}

fn seccomp_operators_are_recognized(it: &mut Sandbox) {
    let operators = strings(it, "/linux/seccomp/operators");
    let entry = |name: &String| {
        let mut args = json!([{ "index": 0, "value": 1, "op": name }]);
        if name == "SCMP_CMP_MASKED_EQ" {
            args[0]["valueTwo"] = json!(1);
        }
        json!({ "names": ["swapon"], "action": "SCMP_ACT_ERRNO", "args": args })
    };
    seccomp(it, "syscalls", operators.iter().map(entry).collect());
    assert_eq!(it.see("echo recognized"), "recognized");
}

fn seccomp_architectures_are_recognized(it: &mut Sandbox) {
    for name in strings(it, "/linux/seccomp/archs") {
        seccomp(it, "syscalls", json!([{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }]));
        it.set("/linux/seccomp/architectures", json!([name]));
        recognized(it, &name);
    }
}

fn seccomp_flags_are_supported(it: &mut Sandbox) {
    for name in strings(it, "/linux/seccomp/supportedFlags") {
        seccomp(it, "syscalls", json!([{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }]));
        it.set("/linux/seccomp/flags", json!([name]));
        // It has a meaning only for a filter that asks an agent.
        if name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            it.set("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_NOTIFY"));
            let _agent = with_an_agent(it);
            recognized(it, &name);
        } else {
            assert_eq!(it.see("echo supported"), "supported", "{name}");
        }
    }
}

fn seccomp_flags_are_known(it: &mut Sandbox) {
    let known = strings(it, "/linux/seccomp/knownFlags");
    for name in strings(it, "/linux/seccomp/supportedFlags") {
        assert!(known.contains(&name), "{name} is not known");
    }
}

fn memory_policy_modes_are_recognized(it: &mut Sandbox) {
    for name in strings(it, "/linux/memoryPolicy/modes") {
        let nodes = !["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&name.as_str());
        let policy = if nodes { json!({ "mode": name, "nodes": "0" }) } else { json!({ "mode": name }) };
        it.set("/linux/memoryPolicy", policy);
        recognized(it, &name);
    }
}

fn memory_policy_flags_are_recognized(it: &mut Sandbox) {
    for name in strings(it, "/linux/memoryPolicy/flags") {
        it.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [name] }));
        recognized(it, &name);
    }
}

/// Mounts with mappings of their own, and sees whether they are used.
fn idmap_is_told(it: &mut Sandbox) {
    let told = features(it)["linux"]["mountExtensions"]["idmap"]["enabled"].clone();
    let file = it.file("owned/file", "");
    std::os::unix::fs::chown(&file, Some(1000), Some(1000)).unwrap();
    let map = json!([{ "containerID": 1000, "hostID": 7000, "size": 10 }]);
    let source = it.path("owned");
    it.set(
        "/mounts/-",
        json!({
            "destination": "/mnt", "type": "none", "source": source, "options": ["rbind", "idmap"],
            "uidMappings": map, "gidMappings": map
        }),
    );
    it.script("stat -c %u /mnt/file");
    let created = it.create_as(&it.token, &[]).finish().status.success();
    it.forget(&it.token);
    let used = created && it.live() == "7000";
    assert_eq!(told == json!(true), used, "it says {told}");
}
