//! Linux before 5.12 has no mount_setattr(2), Linux 5.10 is the oldest that is served: a finished plan is turned into
//! one that changes mounts by mount(2), each by itself and once it is attached. What mount(2) cannot say is refused,
//! never left out. Nothing else in `plan` knows of old kernels.

use super::Plan;
use super::host::Host;
use super::rootfs::READ_ONLY;
use super::step::{Handle, MountCall, Planned, Source, Step, Tree};
use crate::error::{Error, Result};

/// # Errors
/// Recursive attributes and id-mapped mounts. Read-only paths lose only their reach: mounts below them stay writable,
/// as with every runtime on such a kernel.
pub(crate) fn do_without_mount_setattr(plan: &mut Plan, host: &Host) -> Result<()> {
    if host.mount_setattr {
        return Ok(());
    }
    plan.mount_call = MountCall::Mount;
    for Planned { field, step } in plan.init.iter_mut() {
        match step {
            Step::Mount { source: Source::Tree(id), attr, .. } => {
                if let Handle::Tree(tree) = &mut plan.handles[id.0].1 {
                    refuse(tree).map_err(|e| e.at(field))?;
                    *attr = std::mem::take(&mut tree.attr);
                }
            }
            // It is read-only only after it was filled.
            Step::Mount { source: Source::New { attr: new, copy_up: true, .. }, attr, .. } => {
                attr.set = *new & READ_ONLY;
                *new &= !READ_ONLY;
            }
            Step::SetAttr { deep, .. } if !deep.is_empty() => return Err(recursive().at(field)),
            Step::ReadOnly { recursive, .. } => *recursive = false,
            _ => {}
        }
    }
    Ok(())
}

fn refuse(tree: &Tree) -> Result<()> {
    if tree.idmap.is_some() {
        return Err(missing("an id-mapped mount"));
    }
    if tree.deep.is_empty() { Ok(()) } else { Err(recursive()) }
}

fn recursive() -> Error {
    missing("a recursive option")
}

fn missing(what: &str) -> Error {
    Error::new(format!("{what} needs mount_setattr(2), which this kernel lacks")).hint("needs Linux 5.12")
}
