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
