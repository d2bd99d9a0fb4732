//! What the runtime-spec has and this version does not: asked for, it is refused by name, never ignored
//! (config.md, Valid values: an error for unsupported values).

use crate::error::{Error, Result};
use oci_spec::runtime::{Linux, Process, Spec};

struct Later {
    field: &'static str,
    what: &'static str,
    asked: fn(&Spec) -> bool,
}

const LATER: &[Later] = &[
    Later {
        field: "process.terminal",
        what: "terminals",
        asked: |s| process(s, |p| p.terminal() == Some(true)),
    },
    Later {
        field: "linux.netDevices",
        what: "network devices",
        asked: |s| linux(s, |l| l.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
    },
];

/// Refuses the first property of the table that the config uses.
pub(super) fn check(spec: &Spec) -> Result<()> {
    match LATER.iter().find(|later| (later.asked)(spec)) {
        Some(later) => {
            Err(Error::new(format!("{} are not supported by this version of onggi", later.what))
                .at(later.field))
        }
        None => Ok(()),
    }
}

fn process(spec: &Spec, asked: fn(&Process) -> bool) -> bool {
    spec.process().as_ref().is_some_and(asked)
}

fn linux(spec: &Spec, asked: fn(&Linux) -> bool) -> bool {
    spec.linux().as_ref().is_some_and(asked)
}
