//! A Dockerfile that says what a build asks of a runtime: commands as root and as a user, in a working directory, with an
//! environment, and files from outside.

use std::path::Path;

use crate::harness::{Output, Sandbox};
use crate::image::IMAGE;

/// A folder with the Dockerfile and what it copies.
pub(crate) fn folder(sandbox: &Sandbox) -> String {
    sandbox.file("build/added", "added\n");
    let file = sandbox.file("build/Dockerfile", include_str!("config/Dockerfile"));
    Path::new(&file).parent().unwrap().display().to_string()
}

/// A folder with a Dockerfile whose only command cannot be started.
pub(crate) fn impossible(sandbox: &Sandbox) -> String {
    let file = sandbox.file("impossible/Dockerfile", &format!("FROM {IMAGE}\nRUN [\"nope\"]\n"));
    Path::new(&file).parent().unwrap().display().to_string()
}

/// What the image that was built prints.
#[track_caller]
pub(crate) fn check(output: &Output) {
    assert!(output.status.success() && output.stdout == "hello from 0\n", "{}", output.describe());
}
