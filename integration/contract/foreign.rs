//! States that another runtime has written, or another version of onggi, in the root that onggi is called with: a host
//! where onggi took the place of runc while containers ran. They are left alone and said to be somebody else's; they must
//! never be taken for damaged ones, which `delete --force` removes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Layout, Need, Sandbox};

cases! {
    a_state_of_runc_is_left_alone: Need::Only(Layout::V2);
    a_directory_of_crun_is_left_alone: Need::Only(Layout::V2);
    a_state_of_a_newer_version_is_left_alone: Need::Only(Layout::V2);
    others_are_managed_beside_it: Need::Only(Layout::V2);
    unknown_fields_of_a_newer_onggi_are_passed_over;
    fields_that_an_older_onggi_did_not_write_are_not_missed;
    what_a_killed_onggi_left_is_still_removed: Need::Only(Layout::V2);
}

/// Every file below a directory with what is in it.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| (entry.path(), fs::read(entry.path()).unwrap_or_default()))
        .collect();
    all.sort();
    all
}

/// No command changes anything, and each says why.
#[track_caller]
fn left_alone(sandbox: &Sandbox, id: &str, words: &[&str]) {
    let folder = sandbox.root().join(id);
    let before = content(&folder);
    for command in [
        &["state", id][..],
        &["kill", id, "9"],
        &["kill", "--all", id, "9"],
        &["delete", id],
        &["delete", "--force", id],
        &["start", id],
        &["pause", id],
        &["resume", id],
        &["update", "--pids-limit", "5", id],
    ] {
        let output = sandbox.onggi(command).finish().error(words);
        assert!(
            !output.stderr.contains("does not exist"),
            "it would be taken for gone: {}",
            output.describe()
        );
    }
    sandbox.onggi(&["list", "-q"]).finish().ok();
    assert_eq!(content(&folder), before);
    fs::remove_dir_all(folder).unwrap();
}

/// Puts a file into the directory of a container.
fn put(sandbox: &Sandbox, id: &str, name: &str, text: &str) {
    let folder = sandbox.root().join(id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

fn a_state_of_runc_is_left_alone(sandbox: &mut Sandbox) {
    let state = json!({
        "id": "old", "init_process_pid": 1, "init_process_start": 2, "created": "2026-01-01T00:00:00Z",
        "config": {}, "rootless": false, "cgroup_paths": {}, "namespace_paths": {}
    });
    put(sandbox, "old", "state.json", &state.to_string());
    left_alone(sandbox, "old", &["old", "another runtime", "hint"]);
}

/// crun keeps its state in a file of another name.
fn a_directory_of_crun_is_left_alone(sandbox: &mut Sandbox) {
    put(sandbox, "old", "status", "{}");
    put(sandbox, "old", "config.json", "{}");
    left_alone(sandbox, "old", &["old", "another runtime"]);
}

fn a_state_of_a_newer_version_is_left_alone(sandbox: &mut Sandbox) {
    put(sandbox, "new", "state.json", &json!({ "version": 2, "id": "new" }).to_string());
    left_alone(sandbox, "new", &["new", "version 2"]);
}

fn others_are_managed_beside_it(sandbox: &mut Sandbox) {
    put(sandbox, "old", "state.json", "{\"init_process_pid\": 1}");
    sandbox.start_sleeper();
    let list = sandbox.onggi(&["list", "-q"]).finish().ok();
    assert_eq!(list.stdout, format!("{}\n", sandbox.token));
    assert!(list.stderr.contains("old") && list.stderr.contains("another runtime"), "{}", list.describe());
    let bundle = sandbox.path("bundle");
    sandbox.onggi(&["create", "--bundle", &bundle, "old"]).finish().error(&["already exists"]);
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    fs::remove_dir_all(sandbox.root().join("old")).unwrap();
}

/// Rewrites the state of the usual container.
fn rewrite(sandbox: &Sandbox, change: impl Fn(&mut serde_json::Map<String, Value>)) {
    let file = sandbox.root().join(&sandbox.token).join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(state.as_object_mut().unwrap());
    fs::write(file, state.to_string()).unwrap();
}

#[track_caller]
fn managed_to_the_end(sandbox: &Sandbox) {
    let id = sandbox.token.as_str();
    assert_eq!(sandbox.status(), "running");
    sandbox.onggi(&["exec", id, "true"]).finish().ok();
    sandbox.onggi(&["pause", id]).finish().ok();
    sandbox.onggi(&["resume", id]).finish().ok();
    sandbox.onggi(&["ps", "--format", "json", id]).finish().ok();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
}

fn unknown_fields_of_a_newer_onggi_are_passed_over(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    rewrite(sandbox, |state| {
        state.insert("future".into(), json!({ "a": [1, 2] }));
        state["cgroup"]["future"] = json!(true);
        state["joining"]["future"] = json!("x");
    });
    managed_to_the_end(sandbox);
}

fn fields_that_an_older_onggi_did_not_write_are_not_missed(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    rewrite(sandbox, |state| {
        for name in ["annotations", "resctrl", "resources", "poststart", "poststop", "boot"] {
            state.remove(name);
        }
    });
    managed_to_the_end(sandbox);
}

fn what_a_killed_onggi_left_is_still_removed(sandbox: &mut Sandbox) {
    for names in [&[][..], &["state.json.new"], &["gate", "seccomp"], &["notify.sock"]] {
        fs::create_dir_all(sandbox.root().join("half")).unwrap();
        names.iter().for_each(|name| put(sandbox, "half", name, ""));
        sandbox.onggi(&["delete", "--force", "half"]).finish().ok();
        assert!(!sandbox.root().join("half").exists(), "{names:?}");
    }
}
