//! The C programs of the benchmark: the stopwatch and the kernel's floors, compiled static.
//!
//! They are C so that they owe nothing to the runtime that they measure, and so small that they do not show in
//! what they measure. musl, because glibc asks the processor some 75 times for its properties before `main`; each
//! question leaves a virtual machine, which makes half a millisecond that is not the kernel's.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::bundle::Bundle;
use crate::peers::{install, output};

/// The stopwatch, where the arena sees it.
pub(crate) const STOPWATCH: &str = "/usr/bin/onggi-stopwatch";
/// The floor of `run`, where the arena sees it.
pub(crate) const FLOOR_RUN: &str = "/usr/bin/onggi-floor-run";
/// The floor of `exec`.
pub(crate) const FLOOR_EXEC: &str = "/usr/bin/onggi-floor-exec";
/// The floor of `create`, `start` and `delete`.
pub(crate) const FLOOR_LIFECYCLE: &str = "/usr/bin/onggi-floor-lifecycle";

/// Compiles all programs into the peers' root; the floors hide the same paths as the bundle.
pub(crate) fn compile(folder: &Path, root: &Path, bundle: &Bundle) -> Result<()> {
    install("/usr/bin/musl-gcc", "musl-tools")?;
    install("/usr/include/linux/sched.h", "linux-libc-dev")?;
    let header = folder.join("bundle.h");
    std::fs::write(&header, header_of(bundle)?).with_context(|| header.display().to_string())?;
    gcc(folder, "stopwatch.c", root, STOPWATCH)?;
    gcc(folder, "floor/run.c", root, FLOOR_RUN)?;
    gcc(folder, "floor/exec.c", root, FLOOR_EXEC)?;
    gcc(folder, "floor/lifecycle.c", root, FLOOR_LIFECYCLE)
}

fn gcc(include: &Path, source: &str, root: &Path, target: &str) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/bench").join(source);
    let target = root.join(target.trim_start_matches('/'));
    let mut gcc = Command::new("musl-gcc");
    gcc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-I"]).arg(include);
    // The kernel's headers, behind musl's own.
    for headers in ["/usr/include", "/usr/include/x86_64-linux-gnu"] {
        gcc.arg("-idirafter").arg(headers);
    }
    output(gcc.arg(source).arg("-o").arg(target)).map(drop)
}

/// The C header that tells the floors what the bundle's config.json says.
fn header_of(bundle: &Bundle) -> Result<String> {
    let mut text = format!("#define HOSTNAME {:?}\n", bundle.hostname);
    for (name, paths) in [("masked", &bundle.masked), ("readonly", &bundle.readonly)] {
        writeln!(text, "static const char *const {name}[] = {{")?;
        for path in paths {
            writeln!(text, "\t{:?},", path.trim_start_matches('/'))?;
        }
        writeln!(text, "\t0,\n}};")?;
    }
    Ok(text)
}
