//! A cgroup with all cgroups below it, which the container may have made: as deep and as many as it liked, so that
//! nothing here recurses or holds more than a few descriptors.

use super::directory::Directory;
use super::wait::gone;
use crate::error::Result;
use nix::errno::Errno;
use std::ffi::CString;

/// Calls `visit` for the cgroup and for each below it. One that is removed meanwhile does not count.
pub(crate) fn walk(top: &Directory, mut visit: impl FnMut(&Directory) -> Result<()>) -> Result<()> {
    visit(top)?;
    let mut here = top.descend(&[])?;
    let mut names = here.children()?;
    let mut above: Vec<Vec<CString>> = Vec::new();
    loop {
        if let Some(name) = names.pop() {
            let Some(below) = unless_gone(here.child(&name))? else { continue };
            unless_gone(visit(&below))?;
            let inside = unless_gone(below.children())?.unwrap_or_default();
            if !inside.is_empty() {
                above.push(std::mem::replace(&mut names, inside));
                here = below;
            }
        } else {
            let Some(rest) = above.pop() else { return Ok(()) };
            here = here.above()?;
            names = rest;
        }
    }
}

/// Removes all cgroups below this one, deepest first. What is busy stays; the caller will see.
pub(crate) fn clear(top: &Directory) -> Result<()> {
    let mut here = top.descend(&[])?;
    let mut names = here.children()?;
    let mut above: Vec<(CString, Vec<CString>)> = Vec::new();
    loop {
        if let Some(name) = names.pop() {
            if removed(here.remove(&name))? {
                continue;
            }
            let Some(below) = unless_gone(here.child(&name))? else { continue };
            let inside = unless_gone(below.children())?.unwrap_or_default();
            if !inside.is_empty() {
                above.push((name, std::mem::replace(&mut names, inside)));
                here = below;
            }
        } else {
            let Some((name, rest)) = above.pop() else { return Ok(()) };
            here = here.above()?;
            names = rest;
            removed(here.remove(&name))?;
        }
    }
}

/// The processes of a cgroup and of all below it, as numbers of the runtime's pid namespace; those it cannot name
/// (0) are left out, and so are those of threaded cgroups, which their domain lists.
pub(crate) fn processes(top: &Directory, into: &mut std::collections::BTreeSet<i32>) -> Result<()> {
    walk(top, |cgroup| match cgroup.read("cgroup.procs") {
        Ok(text) => {
            let pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
            into.extend(pids.filter(|pid| *pid > 0));
            Ok(())
        }
        Err(error) if error.errno() == Errno::EOPNOTSUPP as i32 || gone(&error) => Ok(()),
        Err(error) => Err(error),
    })
}

/// Whether the cgroup is no longer there after an attempt to remove it; false: it is busy.
pub(crate) fn removed(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if gone(&error) => Ok(true),
        Err(error) if [Errno::EBUSY as i32, Errno::ENOTEMPTY as i32].contains(&error.errno()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// None where the cgroup is gone.
pub(crate) fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
