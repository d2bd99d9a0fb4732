//! State directories that are not ours to touch: another runtime's with the same `--root`, as when onggi takes the place
//! of runc while containers run, or a newer onggi's. What such a state names is not known here, so that nothing can be
//! ended or removed by it; an error that says so is all there may be.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::gate;
use super::saved::{FILTER, STATE, VERSION};
use crate::error::{Error, Result};
use crate::plan::notify;
use crate::spec;
use crate::sys::dir::{self, ENOENT};

/// A state of another runtime is no longer than this; larger ones are told by what they are: not read.
const LIMIT: u64 = 64 << 20;

/// How the names of our files begin: a runtime that was killed leaves some of them, and parts of them.
const OURS: [&str; 4] = [STATE, gate::NAME, notify::NAME, FILTER];

/// Why the directory `at`, whose state could not be read, is somebody else's; none: it is ours, and damaged, or its
/// creator was killed.
pub(super) fn why(at: BorrowedFd<'_>, path: &Path) -> Result<Option<Error>> {
    let owner = match dir::read(at, STATE, LIMIT) {
        Ok(text) => maker(&text),
        // crun, for one, has no file of this name.
        Err(error) if error.errno() == ENOENT => {
            let ours = |name: &String| OURS.iter().any(|ours| name.starts_with(ours));
            // One that was deleted just now cannot be listed.
            let others = !dir::names(at).unwrap_or_default().iter().all(ours);
            others.then(|| "another runtime".to_owned())
        }
        Err(_) => None,
    };
    Ok(owner.map(|owner| {
        Error::new(format!("the state of a container that {owner} made"))
            .at(path.display())
            .hint("only the runtime that made it can stop and delete it")
    }))
}

/// Who wrote this state, as far as it is not us. Every state of ours has a version; text that is no object is anybody's.
fn maker(text: &[u8]) -> Option<String> {
    let state: serde_json::Map<String, serde_json::Value> = spec::decode(text).ok()?;
    match state.get("version").map(serde_json::Value::as_u64) {
        None if state.is_empty() => None,
        Some(Some(version)) if version == u64::from(VERSION) => None,
        Some(Some(version)) => Some(format!("an onggi with states of version {version}")),
        _ => Some("another runtime".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_maker_is_told_from_what_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir::open(temp.path()).unwrap();
        let why = || why(dir.as_fd(), temp.path()).unwrap().map(|error| error.to_string());
        assert_eq!(why(), None, "its creator was killed at once");
        for (text, words) in [
            ("", None),
            ("{", None),
            ("[1]", None),
            ("{}", None),
            (r#"{"version": 1, "pid": "x"}"#, None),
            (r#"{"version": 2}"#, Some("an onggi with states of version 2")),
            (r#"{"id": "a", "init_process_pid": 7}"#, Some("another runtime")),
            (r#"{"version": "1.0.0"}"#, Some("another runtime")),
        ] {
            std::fs::write(temp.path().join(STATE), text).unwrap();
            match (why(), words) {
                (None, None) => {}
                (Some(why), Some(words)) => assert!(why.contains(words), "{text}: {why}"),
                (why, _) => panic!("{text}: {why:?}"),
            }
        }
        std::fs::remove_file(temp.path().join(STATE)).unwrap();
        for name in ["state.json.new", "gate", "seccomp", "notify.sock"] {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        assert_eq!(why(), None, "somebody was killed in between");
        std::fs::write(temp.path().join("status"), "{}").unwrap();
        assert!(why().unwrap().contains("another runtime"));
    }
}
