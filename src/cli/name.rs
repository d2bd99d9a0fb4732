//! The name under which the program was called. Whoever installs it as `runc` has callers who know that name: they read
//! `runc version` in the first line of `--version`, and look for states in runc's place. Under any other name it is onggi.
//! Nothing else depends on it.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

/// The program's own name.
const OWN: &str = "onggi";
/// The name whose callers are served in its place.
const RUNC: &str = "runc";

/// `runc` if the program was called by that name, by whatever link or copy; else `onggi`.
pub(crate) fn own() -> &'static str {
    static NAME: OnceLock<&str> = OnceLock::new();
    NAME.get_or_init(|| of(&std::env::args_os().next().unwrap_or_default()))
}

/// What `--version` says: semantic versioning lets a build be named behind a plus sign, and nobody shall take this for
/// the runc of that number.
pub(crate) fn version() -> String {
    let build = if own() == OWN { String::new() } else { format!("+{OWN}") };
    format!("{} version {}{build}", own(), env!("CARGO_PKG_VERSION"))
}

fn of(called: &OsStr) -> &'static str {
    if Path::new(called).file_name() == Some(OsStr::new(RUNC)) { RUNC } else { OWN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_name_counts_and_only_runc() {
        for runc in ["runc", "/usr/sbin/runc", "./runc"] {
            assert_eq!(of(OsStr::new(runc)), "runc", "{runc}");
        }
        for own in ["onggi", "/opt/runc/onggi", "runc-1.1", "docker-runc", "", "/", "RUNC"] {
            assert_eq!(of(OsStr::new(own)), "onggi", "{own}");
        }
    }
}
