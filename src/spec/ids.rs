//! User and group ids and the mappings between them (config-linux.md, User namespace mappings;
//! user_namespaces(7), "Defining user and group ID mappings").

use super::require;
use crate::error::{Error, Result};
use oci_spec::runtime::LinuxIdMapping;
use std::fmt;

/// 4294967295 is (uid_t)-1: setresuid(2) and chown(2) take it for "leave unchanged".
const UNCHANGED: u32 = u32::MAX;

/// UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h: lines that the kernel takes.
const LINES: usize = 340;

/// A single id.
pub(super) fn id(id: u32, field: fmt::Arguments<'_>) -> Result<()> {
    require(id != UNCHANGED, format!("{id} is not an id: to the kernel it means \"leave unchanged\""))
        .map_err(|error| error.at(field))
}

/// A whole list of mappings as the kernel will judge it.
pub(super) fn mappings(list: &[LinuxIdMapping], field: fmt::Arguments<'_>) -> Result<()> {
    let lines = format!("{} entries, the kernel takes at most {LINES}", list.len());
    require(list.len() <= LINES, lines).map_err(|error| error.at(field))?;
    for (i, entry) in list.iter().enumerate() {
        one(entry).map_err(|error| error.at(format_args!("{field}[{i}]")))?;
        if let Some(j) = list[..i].iter().position(|other| overlap(entry, other)) {
            return Err(Error::new(format!("overlaps entry [{j}]")).at(format_args!("{field}[{i}]")));
        }
    }
    Ok(())
}

fn one(entry: &LinuxIdMapping) -> Result<()> {
    require(entry.size() > 0, "size is 0")?;
    for (name, first) in [("containerID", entry.container_id()), ("hostID", entry.host_id())] {
        // The kernel (map_write in kernel/user_namespace.c) wants first + size to fit 32 bits: the last id that can be
        // mapped is 4294967294.
        let fits = first.checked_add(entry.size()).is_some();
        require(fits, format!("{name} {first} and size {} go beyond id 4294967294", entry.size()))?;
    }
    Ok(())
}

fn overlap(a: &LinuxIdMapping, b: &LinuxIdMapping) -> bool {
    let meet = |a: u32, a_size: u32, b: u32, b_size: u32| {
        u64::from(a) < u64::from(b) + u64::from(b_size) && u64::from(b) < u64::from(a) + u64::from(a_size)
    };
    meet(a.container_id(), a.size(), b.container_id(), b.size())
        || meet(a.host_id(), a.size(), b.host_id(), b.size())
}

/// Is this id of the container mapped?
pub(super) fn mapped(id: u32, list: &[LinuxIdMapping]) -> bool {
    list.iter().any(|entry| id.checked_sub(entry.container_id()).is_some_and(|offset| offset < entry.size()))
}
