//! All containers of a root.
//!
//! One container that cannot be read must never hide the others.

use super::Settings;
use super::state::{self, State};
use super::store::{self, Seen};
use crate::error::Result;

/// The states of all containers, sorted by id. What is not a container, or has no valid state, is warned about; what
/// is being created or deleted at this very moment is passed over.
pub(crate) fn list(settings: &Settings) -> Result<Vec<State>> {
    let foreign = |path: &std::path::Path| (settings.warn)(&format!("{path:?} is no container, skipped"));
    let mut states = Vec::new();
    for id in store::ids(&settings.root, foreign).map_err(|error| error.during("list"))? {
        match Seen::open(&settings.root, &id).and_then(|mut seen| state::of(&mut seen)) {
            Ok(state) => states.push(state),
            Err(error) => {
                if !matches!(store::in_flux(&settings.root, &id), Ok(true)) {
                    (settings.warn)(&format!("{}, skipped", error.during(format!("list: {id}"))));
                }
            }
        }
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::fixture::*;

    #[test]
    fn lists_what_can_be_read() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(&temp.path().join("root"));
        assert!(list(&settings).unwrap().is_empty() && warnings().is_empty());
        let long = "x".repeat(1024);
        let one = claim(&settings, "b");
        let two = [claim(&settings, &long).keep(), claim(&settings, "a").keep()];
        drop(two);
        std::fs::create_dir(settings.root.join("empty")).unwrap();
        std::fs::create_dir(settings.root.join("bad")).unwrap();
        std::fs::write(settings.root.join("bad/state.json"), "{").unwrap();
        std::fs::write(settings.root.join("file"), "").unwrap();
        std::fs::create_dir(settings.root.join("a b")).unwrap();
        let states = list(&settings).unwrap();
        let ids: Vec<_> = states.iter().map(|state| (state.id.as_str(), state.status.to_string())).collect();
        let want = [("a", "stopped"), ("b", "creating"), (&long, "stopped")];
        assert_eq!(ids, want.map(|(id, status)| (id, status.to_owned())));
        assert!(states.iter().all(|state| state.owner.is_some()));
        let warnings = warnings();
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        drop(one);
    }
}
