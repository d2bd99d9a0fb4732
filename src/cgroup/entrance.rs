//! How `exec` brings a further process into the control groups of a container: into the container's own, or into
//! cgroups below them. Nothing is made, limited or removed here.

use super::Record;
use super::directory::Directory;
use super::not_permitted;
use super::record::Entry;
use crate::error::{Error, Result};
use crate::plan::cgroup::path::CgroupPath;
use crate::plan::cgroup::sub::SubCgroups;
use crate::sys::fs;
use nix::errno::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

/// The cgroups that the process goes into.
#[derive(Debug)]
pub(crate) struct Entrance<'a> {
    entries: Vec<(&'a Entry, Directory)>,
    /// Chosen by the caller: nothing else will do.
    chosen: bool,
    /// The process cannot be born into the v2 cgroup.
    unborn: bool,
}

impl Record {
    /// Opens the container's cgroups, or those below that the caller chose.
    ///
    /// # Errors
    /// One of them is not there.
    pub(crate) fn entrance(&self, chosen: &SubCgroups) -> Result<Entrance<'_>> {
        let hierarchies = self.entries.iter().map(|entry| entry.controllers.as_str());
        if let Some(name) = chosen.unknown(hierarchies) {
            return Err(Error::new(format!("the container is in no v1 hierarchy of controller {name:?}"))
                .at("--cgroup")
                .hint("cgroup v2 has one path for all controllers: --cgroup PATH"));
        }
        let open = |entry: &Entry| open(entry, chosen.below(&entry.controllers).unwrap_or_default());
        let entries = self.entries.iter().map(|entry| open(entry).map(|directory| (entry, directory)));
        let entries = entries.collect::<Result<_>>()?;
        Ok(Entrance { entries, chosen: !chosen.is_empty(), unborn: false })
    }
}

impl Entrance<'_> {
    /// The v2 cgroup, to be born into (CLONE_INTO_CGROUP).
    pub(crate) fn birth_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2().filter(|_| !self.unborn).map(|(_, directory)| directory.as_fd())
    }

    /// Some hierarchies take a process only once it is there.
    pub(crate) fn attaches_after_birth(&self) -> bool {
        self.entries.iter().any(|(entry, _)| self.unborn || !entry.is_v2())
    }

    fn v2(&self) -> Option<&(&Entry, Directory)> {
        self.entries.iter().find(|(entry, _)| entry.is_v2())
    }

    /// The birth failed like this: is there another way, and should it be tried? `init`: the container's process.
    ///
    /// - EBUSY: the container has cgroups of its own below and gave them controllers, so that its own takes no process
    ///   any more (cgroups(7), no internal processes). Then where its first process is.
    /// - Not permitted, rootless: if the container's own process is not in the cgroup either.
    ///
    /// # Errors
    /// EBUSY, and the caller has chosen the cgroup: that is said in place of the birth's own error.
    pub(crate) fn detour(&mut self, error: &Error, init: i32) -> Result<bool> {
        if self.chosen && error.errno() == Errno::EBUSY as i32 {
            return Err(Error::call("clone3(CLONE_INTO_CGROUP)", error.errno()).at("--cgroup").hint(
                "the cgroup has given controllers to cgroups below it, and takes no process: choose one of them",
            ));
        }
        if self.chosen || self.unborn {
            return Ok(false);
        }
        let Some(at) = self.entries.iter().position(|(entry, _)| entry.is_v2()) else { return Ok(false) };
        let (entry, directory) = &mut self.entries[at];
        if error.errno() == Errno::EBUSY as i32 {
            let Some(beside) = where_is(init, entry)? else { return Ok(false) };
            let same = beside.path() == directory.path();
            *directory = beside;
            return Ok(!same);
        }
        if not_permitted(error) && where_is(init, entry)?.is_none() {
            self.entries.remove(at);
            return Ok(true);
        }
        Ok(false)
    }

    /// Puts the process into every cgroup that it was not born into.
    pub(crate) fn attach(&self, pid: i32, init: i32) -> Result<()> {
        for (entry, directory) in self.entries.iter().filter(|(entry, _)| !entry.is_v2()) {
            match directory.write("cgroup.procs", &pid.to_string()) {
                Err(error) if not_permitted(&error) && where_is(init, entry)?.is_none() => {}
                written => written?,
            }
        }
        Ok(())
    }
}

fn open(entry: &Entry, below: &[String]) -> Result<Directory> {
    let top = Directory::mounted(&entry.mount, entry.is_v2())?;
    match below {
        [] => top.descend(entry.path.names()),
        _ => top.descend(&[entry.path.names(), below].concat()).map_err(|error| error.at("--cgroup")),
    }
}

/// The cgroup of the container's process, if it is the container's or below that.
fn where_is(init: i32, entry: &Entry) -> Result<Option<Directory>> {
    let path = CString::new(format!("/proc/{init}/cgroup")).expect("digits have no NUL");
    let text = fs::read_text(&path)?;
    let line = text.lines().find_map(|line| {
        line.split_once(':')?.1.split_once(':').filter(|(names, _)| *names == entry.controllers)
    });
    let Some((_, path)) = line else { return Ok(None) };
    let Ok(path) = CgroupPath::new(path) else { return Ok(None) };
    if !path.names().starts_with(entry.path.names()) {
        return Ok(None);
    }
    Directory::mounted(&entry.mount, entry.is_v2())?.descend(path.names()).map(Some)
}
