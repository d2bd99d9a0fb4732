//! Limits by their effect, one file per property of linux.resources (config-linux.md, Control groups): what the kernel
//! does to a container that goes too far. The files' contents are checked besides. docs/cgroups.md names these tests.

pub(crate) mod block_io;
pub(crate) mod cpu;
pub(crate) mod hugetlb;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod pids;
pub(crate) mod rdma;
pub(crate) mod systemd;
pub(crate) mod unified;

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::harness::{Layout, Sandbox};

/// BFQ comes with the first disk that asks for it, and brings files of weights: tests that look at weights take turns.
pub(crate) fn bfq_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file of the usual container's cgroup in the hierarchy of `controller`, without its last newline.
#[track_caller]
pub(crate) fn read(sandbox: &Sandbox, controller: &str, file: &str) -> String {
    let path = sandbox.cgroup(controller).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// The number after `key` in a file of lines `key number`.
#[track_caller]
fn keyed(sandbox: &Sandbox, controller: &str, file: &str, key: &str) -> u64 {
    let text = read(sandbox, controller, file);
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {key} in {file}: {text}")).parse().unwrap()
}

/// With this value of a property of linux.resources the files must have these contents; on both layouts the same
/// property, each with its own files.
#[track_caller]
fn holds(sandbox: &mut Sandbox, property: &str, value: Value, controller: &str, files: &[(&str, &str)]) {
    sandbox.set(&format!("/linux/resources/{property}"), value.clone());
    sandbox.create();
    for (file, wanted) in files {
        assert_eq!(read(sandbox, controller, file), *wanted, "{file} for {property} = {value}");
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.unset(&format!("/linux/resources/{property}"));
}

/// With this value of a property, `create` must say no: an error with the field and every one of `parts`.
#[track_caller]
fn refuses(sandbox: &mut Sandbox, property: &str, value: Value, field: &str, parts: &[&str]) {
    sandbox.set(&format!("/linux/resources/{property}"), value);
    let field = format!("linux.resources.{field}: ");
    let parts: Vec<&str> = [field.as_str()].into_iter().chain(parts.iter().copied()).collect();
    sandbox.refused(&parts);
    sandbox.unset(&format!("/linux/resources/{property}"));
}

/// One of two, by layout.
fn by_layout<T>(sandbox: &Sandbox, v1: T, v2: T) -> T {
    match sandbox.layout {
        Layout::V1 => v1,
        Layout::V2 => v2,
    }
}

/// The usual container's cgroup in one hierarchy, made by somebody else before. Who asks for it removes it.
fn prepared(sandbox: &Sandbox, controller: &str) -> PathBuf {
    let (top, dir) = (sandbox.cgroup_of(controller, "/"), sandbox.cgroup(controller));
    fs::create_dir_all(&dir).unwrap();
    if sandbox.layout == Layout::V2 {
        let mut here = top.clone();
        for name in dir.strip_prefix(&top).unwrap() {
            fs::write(here.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
            here.push(name);
        }
    }
    dir
}

/// With this value of a property nothing limits a cgroup that has been limited before: files, their contents before
/// and after.
#[track_caller]
fn lifts(
    sandbox: &mut Sandbox,
    property: &str,
    value: Value,
    controller: &str,
    files: &[(&str, &str, &str)],
) {
    let dir = prepared(sandbox, controller);
    for (file, before, _) in files {
        fs::write(dir.join(file), before).unwrap();
    }
    let after: Vec<(&str, &str)> = files.iter().map(|(file, _, after)| (*file, *after)).collect();
    holds(sandbox, property, value, controller, &after);
    fs::remove_dir(dir).unwrap();
}
