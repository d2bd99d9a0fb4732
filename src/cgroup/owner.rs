//! Gives a v2 cgroup to the container's user (config-linux.md, Cgroup ownership; cgroups(7), Cgroup delegation): the
//! directory, and of its files those that the kernel names for it. All others, the limits above all, stay as they are.

use super::directory::Directory;
use super::{not_permitted, wait::gone};
use crate::error::{Error, Result};
use crate::plan::cgroup::owner::{Owner, User};
use crate::plan::step::IdMap;
use crate::sys::fs;
use std::ffi::{CStr, CString};

/// The kernel's list of files, one a line (Linux 4.15).
const LIST: &CStr = c"/sys/kernel/cgroup/delegate";
/// The list where the kernel has none.
const FILES: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Gives it. `pid`: the container's process, in its user namespace.
pub(crate) fn give(cgroup: &Directory, owner: Owner, pid: i32) -> Result<()> {
    let given = uid(owner.user, pid).and_then(|uid| {
        cgroup.give(".", uid)?;
        let list = fs::read_text(LIST);
        for file in list.as_deref().unwrap_or(FILES).lines().filter(|file| is_name(file)) {
            match cgroup.give(file, uid) {
                Err(error) if gone(&error) => {}
                given => given?,
            }
        }
        Ok(())
    });
    match given {
        Err(error) if owner.optional && not_permitted(&error) => Ok(()),
        given => given.map_err(|error| error.at("linux.cgroupsPath")),
    }
}

/// Not every file of the kernel's list is in every cgroup; a path is in none.
fn is_name(file: &str) -> bool {
    !file.is_empty() && !file.contains('/') && !file.starts_with("..")
}

fn uid(user: User, pid: i32) -> Result<u32> {
    let inside = match user {
        User::Here(uid) => return Ok(uid),
        User::Inside(uid) => uid,
    };
    let path = CString::new(format!("/proc/{pid}/uid_map")).map_err(|_| Error::new("a path with NUL"))?;
    mapped(&fs::read_text(&path)?, inside).ok_or_else(|| {
        Error::new(format!("user {inside} is not mapped in the joined user namespace")).at("process.user.uid")
    })
}

/// The uid here of a uid there, by the text of a uid_map.
fn mapped(text: &str, inside: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        IdMap { container: next()?, host: next()?, size: next()? }.host_id(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_maps_are_read_as_the_kernel_writes_them() {
        let text = "         0     100000      65536\n     70000       1000          1\n";
        for (inside, here) in [(0, Some(100_000)), (65535, Some(165_535)), (65536, None), (70000, Some(1000))]
        {
            assert_eq!(mapped(text, inside), here);
        }
        assert_eq!(mapped("0 0 4294967295\n", 5), Some(5));
        assert_eq!(mapped("", 0), None);
    }

    #[test]
    fn only_names_are_taken_from_the_list() {
        assert!(FILES.lines().all(is_name));
        assert!(["", "a/b", "..", "/x"].iter().all(|file| !is_name(file)));
    }
}
