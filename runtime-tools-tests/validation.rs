//! The validation executables of the OCI runtime-tools, where somebody has built them: which are clean, and whether those
//! that are not are known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::exceptions::{self, Exception};
use crate::harness::processes::{children, reap_all};
use crate::harness::{Call, Layout, binary, until};
use crate::verdict::Sum;

/// What one executable said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct File {
    /// Its name, that of the folder it lies in.
    pub(crate) name: String,
    /// Assertions that hold, and that do not.
    pub(crate) held: usize,
    pub(crate) broken: usize,
    /// Why it did not come to its end.
    pub(crate) problem: Option<String>,
}

/// The folder that `RUNTIME_TOOLS` names: a checkout of the runtime-tools with `validation/*/*.t` and `runtimetest`.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("RUNTIME_TOOLS").filter(|name| !name.is_empty()).map(PathBuf::from)
}

/// The executables in it, in order.
///
/// # Errors
/// There are none.
pub(crate) fn executables(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries(&folder.join("validation"))
        .flat_map(|dir| entries(&dir).collect::<Vec<_>>())
        .filter(|file| file.extension().is_some_and(|end| end == "t"))
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(format!("RUNTIME_TOOLS={}: no validation/*/*.t; they must be built", folder.display()));
    }
    Ok(found)
}

/// Runs one executable from its folder against the runtime under test, and takes away what it leaves.
pub(crate) fn run(folder: &Path, executable: &Path, layout: Layout) -> File {
    let name = executable.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let place = tempfile::tempdir().unwrap();
    let (before, known) = (layout.cgroups(), containers(place.path()));
    let call = Call::new([executable], &place.path().join("said"));
    let call = call.env("RUNTIME", binary()).env("HOME", "/root").directory(folder).limit(60);
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.finish()));
    for id in containers(place.path()).difference(&known) {
        let _ = ask(&["delete", "--force", id], place.path());
    }
    sweep(layout, &before);
    let Ok(output) = said else {
        return File { name, held: 0, broken: 0, problem: Some("it takes more than 60 seconds".into()) };
    };
    let count = |start: &str| output.stdout.lines().filter(|line| line.starts_with(start)).count();
    let (held, broken) = (count("ok "), count("not ok "));
    let problem = if !output.status.success() {
        let last = output.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        Some(format!("{}: {last}", output.status))
    } else if held + broken == 0 && output.stdout.contains("\"error\":") {
        // Some assert nothing when all is well.
        Some("it complains without an assertion".into())
    } else {
        None
    };
    File { name, held, broken, problem }
}

impl File {
    /// Everything held, and it came to its end.
    fn is_clean(&self) -> bool {
        self.broken == 0 && self.problem.is_none()
    }

    fn exception(&self, layout: &str) -> Option<&'static Exception> {
        exceptions::ALL.iter().find(|it| it.name == self.name && it.layout.is_none_or(|only| only == layout))
    }

    /// A line for people.
    pub(crate) fn line(&self, layout: &str) -> String {
        let File { name, held, broken, problem } = self;
        let counts = format!("{held} of {} assertions", held + broken);
        if self.is_clean() {
            return format!("runtime-tools {layout} {name}: clean, {counts}");
        }
        let problem = problem.as_ref().map_or_else(String::new, |why| format!("; {why}"));
        match self.exception(layout) {
            Some(known) => {
                format!("runtime-tools {layout} {name}: known, {counts}{problem}: {}", known.reason)
            }
            None => format!("runtime-tools {layout} {name}: NOT CLEAN, {counts}{problem}"),
        }
    }
}

/// Of these, on this layout.
pub(crate) fn sum(files: &[File], layout: &str) -> Sum {
    Sum {
        files: files.len(),
        clean: files.iter().filter(|file| file.is_clean()).count(),
        held: files.iter().map(|file| file.held).sum(),
        broken: files.iter().map(|file| file.broken).sum(),
        unknown: files.iter().filter(|it| !it.is_clean() && it.exception(layout).is_none()).count(),
    }
}

/// What the runtime knows of; nothing where it cannot be asked as runc can.
fn containers(place: &Path) -> BTreeSet<String> {
    ask(&["list", "--quiet"], place).lines().map(str::to_owned).collect()
}

/// What the runtime under test prints.
fn ask(words: &[&str], place: &Path) -> String {
    let program = binary().into_os_string();
    let words = std::iter::once(program).chain(words.iter().map(Into::into));
    let output = Call::new(words, &place.join("asked")).finish();
    if output.status.success() { output.stdout } else { String::new() }
}

/// Named by the executables: by a UUID, or by these words. Others may use the hierarchies meanwhile.
fn is_theirs(dir: &Path) -> bool {
    dir.iter().filter_map(|part| part.to_str()).any(|part| {
        let lengths: Vec<usize> = part.split('-').map(str::len).collect();
        let digits = part.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        ["cgrouptest", "testdir"].contains(&part) || (digits && lengths == [8, 4, 4, 4, 12])
    })
}

/// Ends the processes that this program has inherited, and removes the cgroups that are new.
fn sweep(layout: Layout, before: &BTreeSet<PathBuf>) {
    until(5, || {
        for (pid, _) in children() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        reap_all();
        let new: Vec<PathBuf> =
            layout.cgroups().difference(before).filter(|dir| is_theirs(dir)).cloned().collect();
        // The deepest stand last.
        new.iter().rev().for_each(|dir| drop(fs::remove_dir(dir)));
        new.is_empty() && children().is_empty()
    });
}
