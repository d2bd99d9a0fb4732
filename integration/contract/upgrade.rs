//! onggi is replaced while containers run: what was made by the old file is managed by the new one.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::harness::{Call, Sandbox, binary};

cases! {
    containers_outlive_the_file_of_their_runtime;
    a_runtime_in_the_foreground_outlives_its_file;
}

/// A program of the package manager's: it comes by a rename, the old file goes with it.
fn install(sandbox: &Sandbox) -> PathBuf {
    let place = sandbox.dir.join("sbin/onggi");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    let new = place.with_extension("new");
    fs::copy(binary(), &new).unwrap();
    fs::rename(new, &place).unwrap();
    place
}

fn call(sandbox: &Sandbox, program: &Path, words: &[&str]) -> Call {
    let (program, root) = (program.display().to_string(), sandbox.path("state"));
    sandbox.tool_call(&[&[program.as_str(), "--root", &root], words].concat())
}

fn containers_outlive_the_file_of_their_runtime(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let bundle = sandbox.path("bundle");
    let onggi = install(sandbox);
    let ids = ["created", "running", "paused", "stopped"].map(|name| format!("{}-{name}", sandbox.token));
    for id in &ids {
        sandbox.set("/linux/cgroupsPath", format!("/{}/{id}", sandbox.token).into());
        sandbox.write_config();
        call(sandbox, &onggi, &["create", "--bundle", &bundle, id]).finish().ok();
    }
    let [created, running, paused, stopped] = &ids;
    for id in [running, paused, stopped] {
        call(sandbox, &onggi, &["start", id]).finish().ok();
    }
    call(sandbox, &onggi, &["pause", paused]).finish().ok();
    call(sandbox, &onggi, &["kill", stopped, "KILL"]).finish().ok();
    fs::remove_file(&onggi).unwrap();
    let onggi = install(sandbox);
    let status = |id: &str| {
        let output = call(sandbox, &onggi, &["state", id]).finish().ok();
        serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap()["status"].clone()
    };
    crate::harness::until(5, || status(stopped) == "stopped");
    for (id, name) in ids.iter().zip(["created", "running", "paused", "stopped"]) {
        assert_eq!(status(id), name);
    }
    call(sandbox, &onggi, &["start", created]).finish().ok();
    call(sandbox, &onggi, &["resume", paused]).finish().ok();
    for id in [created, running, paused] {
        assert_eq!(call(sandbox, &onggi, &["exec", id, "hostname"]).finish().ok().text(), "onggi");
        call(sandbox, &onggi, &["events", "--stats", id]).finish().ok();
        call(sandbox, &onggi, &["kill", id, "KILL"]).finish().ok();
        assert!(crate::harness::until(5, || status(id) == "stopped"), "{id}");
    }
    for id in &ids {
        call(sandbox, &onggi, &["delete", id]).finish().ok();
    }
}

/// It has what it needs in memory: also `delete`, with which `run` ends.
fn a_runtime_in_the_foreground_outlives_its_file(sandbox: &mut Sandbox) {
    sandbox.script("echo up; trap 'exit 7' TERM; while :; do sleep 0.05; done");
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    let old = install(sandbox);
    let running = call(sandbox, &old, &["run", "--bundle", &bundle, &id]).spawn();
    sandbox.wait_file(running.files().0, "up");
    fs::remove_file(&old).unwrap();
    let new = install(sandbox);
    call(sandbox, &new, &["exec", &id, "true"]).finish().ok();
    running.signal(Signal::SIGTERM);
    running.finish().code(7);
    call(sandbox, &new, &["state", &id]).finish().error(&["does not exist"]);
}
