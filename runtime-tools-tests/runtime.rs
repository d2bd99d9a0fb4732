//! The runtime under test: which program it is, whether it is ours, and whether it can run a container here at all.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Layout, Sandbox, binary, output};

/// The program that `RUNTIME` names, a path or a name in PATH; without it the one that the tests were built with, or
/// `ONGGI_BIN`.
pub(crate) fn chosen() -> Result<PathBuf, String> {
    let Some(name) = std::env::var_os("RUNTIME").filter(|name| !name.is_empty()).map(PathBuf::from) else {
        return Ok(binary());
    };
    let found = if name.components().count() > 1 {
        std::path::absolute(&name).ok().filter(|path| path.is_file())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join(&name)).find(|path| path.is_file())
    };
    found.ok_or_else(|| format!("RUNTIME={}: no such program", name.display()))
}

/// The first line of what a program says of its version.
pub(crate) fn version(program: &PathBuf) -> String {
    let said = Command::new(program).arg("--version").output().map(|it| it.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("no version").to_owned()
}

/// Whether the runtime under test is onggi: then it must also say what we promise, and leave nothing behind.
pub(crate) fn is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        let said = output(Command::new(binary()).arg("--version")).stdout;
        said.starts_with(b"onggi ")
    })
}

/// Why a runtime of others cannot even create the usual container here; three times asked, because some fail at times.
pub(crate) fn refusal(layout: Layout) -> Option<String> {
    let mut why = None;
    for _ in 0..3 {
        let sandbox = Sandbox::new(layout);
        let output = sandbox.create_as(&sandbox.token, &[]).finish();
        if output.status.success() {
            return None;
        }
        let said = output.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        why = Some(format!("creates no container here: {}", said.trim()));
    }
    why
}
