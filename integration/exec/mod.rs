//! `exec`: a further process in a container, with every option of runc's, proven from inside. docs/processes.md says
//! what a user may expect.

pub(crate) mod cgroups;
pub(crate) mod crowd;
pub(crate) mod document;
pub(crate) mod executable;
pub(crate) mod foreground;
pub(crate) mod namespaces;
pub(crate) mod options;
pub(crate) mod process_file;
pub(crate) mod status;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Call, Output, Sandbox};

/// A call of exec into the usual container.
pub(crate) fn exec(sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Call {
    let words = [&["exec"], options, &[sandbox.token.as_str()], command].concat();
    sandbox.onggi(&words)
}

/// What a shell script prints that exec runs in the usual container.
#[track_caller]
pub(crate) fn inside(sandbox: &Sandbox, options: &[&str], script: &str) -> String {
    exec(sandbox, options, &["/bin/sh", "-c", script]).finish().ok().text().to_owned()
}

/// Writes a process and gives the path of its file.
pub(crate) fn process_file(sandbox: &Sandbox, process: &Value) -> String {
    sandbox.file("process.json", &process.to_string())
}

/// The smallest process there is: a shell script.
pub(crate) fn script(script: &str) -> Value {
    json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "args": ["/bin/sh", "-c", script] })
}

/// exec must fail as runc's does: status 255, one line `error: exec ID: …` with every one of `parts`, no pid file; and
/// no process, cgroup or file more than before.
#[track_caller]
pub(crate) fn refused(sandbox: &Sandbox, options: &[&str], command: &[&str], parts: &[&str]) -> Output {
    let pid_file = sandbox.path("refused.pid");
    let before = (processes(sandbox), cgroups(sandbox));
    let options = [&["--pid-file", &pid_file], options].concat();
    let output = exec(sandbox, &options, command).finish().code(255);
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with("warning: ")).collect();
    let start = format!("error: exec {}: ", sandbox.token);
    assert!(lines.len() == 1 && lines[0].starts_with(&start), "one line {start:?}: {}", output.describe());
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is missing: {}", output.describe());
    }
    assert!(!Path::new(&pid_file).exists(), "a pid file after {}", output.describe());
    assert_eq!((processes(sandbox), cgroups(sandbox)), before, "left by {}", output.describe());
    output
}

/// The processes in the cgroups of the usual container.
pub(crate) fn processes(sandbox: &Sandbox) -> BTreeSet<String> {
    let files = cgroups(sandbox).into_iter().map(|dir| format!("{dir}/cgroup.procs"));
    let texts = files.map(|file| fs::read_to_string(file).unwrap_or_default());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The directories of the container's cgroups and all that are below.
fn cgroups(sandbox: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    let hierarchies = sandbox.layout.hierarchies();
    let mut todo: Vec<_> = hierarchies.iter().map(|one| one.mount.join(&sandbox.token)).collect();
    while let Some(dir) = todo.pop() {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        todo.extend(entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir())).map(|it| it.path()));
        found.push(dir.display().to_string());
    }
    found.sort();
    found
}
