//! The device filter of a v2 cgroup, loaded and attached. A container whose filter cannot be loaded does not start,
//! unless the plan says that it is optional. Ours are known by their name; programs of others are never touched.

use super::directory::Directory;
use crate::error::{Error, Result};
use crate::plan::cgroup::Filter;
use crate::sys::bpf;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::os::fd::{AsFd, OwnedFd};

/// Of the program, as `bpftool cgroup show` prints it.
const NAME: &str = "onggi_devices";

/// Who asked for it.
const FIELD: &str = "linux.resources.devices";

/// Loads the filter and attaches it to a cgroup that has none of ours. The kernel keeps it as long as the cgroup lives.
pub(crate) fn load(filter: &Filter, cgroup: &Directory) -> Result<()> {
    let attached = program(filter).and_then(|new| bpf::prog_attach_cgroup_device(cgroup, new, None));
    match attached {
        Err(error) if filter.optional && super::not_permitted(&error) => Ok(()),
        result => result.map_err(|error| explained(error, filter)),
    }
}

/// The filter of a cgroup as it was, to be put back.
#[derive(Debug)]
pub(crate) struct Replaced {
    cgroup: Directory,
    old: Vec<OwnedFd>,
    new: Option<OwnedFd>,
}

/// Puts the filter in the place of one of ours, in one step; none: everything is allowed.
///
/// # Errors
/// The old one still holds: a filter that cannot be loaded opens nothing.
pub(crate) fn replace(filter: Option<&Filter>, cgroup: &Directory) -> Result<Replaced> {
    let act = || {
        let new = filter.map(program).transpose()?;
        let old = bpf::attached_cgroup_device(cgroup, NAME)?;
        let replaced = Replaced { cgroup: cgroup.descend(&[])?, old, new };
        match exchange(cgroup, &replaced.old, replaced.new.as_slice()) {
            Ok(()) => Ok(replaced),
            Err(error) => Err(error.undone(replaced.undo())),
        }
    };
    act().map_err(|error| match filter {
        Some(filter) => explained(error, filter),
        None => error.at(FIELD),
    })
}

impl Replaced {
    /// Puts the old one back.
    pub(crate) fn undo(&self) -> Result<()> {
        let now = bpf::attached_cgroup_device(&self.cgroup, NAME)?;
        exchange(&self.cgroup, &now, &self.old).map_err(|error| error.at(FIELD))
    }
}

/// The first takes the place of the first, so that there is no moment without; the others come and go.
fn exchange(cgroup: &Directory, old: &[OwnedFd], new: &[OwnedFd]) -> Result<()> {
    for (at, program) in new.iter().enumerate() {
        bpf::prog_attach_cgroup_device(cgroup, program, old.get(at).map(AsFd::as_fd))?;
    }
    old.iter().skip(new.len()).try_for_each(|program| bpf::prog_detach_cgroup_device(cgroup, program))
}

fn explained(error: Error, filter: &Filter) -> Error {
    let error = error.at(FIELD);
    if error.errno() == Errno::E2BIG as i32 {
        let count = filter.rules.rules.len();
        return error.hint(format!("{count} rules are too many for one program"));
    }
    error
}

/// kernel < 5.11 counts programs as locked memory: where that is the trouble, the limit is lifted for the moment.
fn program(filter: &Filter) -> Result<OwnedFd> {
    let loaded = bpf::prog_load_cgroup_device(&filter.program.0, NAME);
    match loaded {
        Err(error) if error.errno() == Errno::EPERM as i32 => {
            let failed = |errno: Errno| Error::call("setrlimit(RLIMIT_MEMLOCK)", errno as i32);
            let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(failed)?;
            if soft == RLIM_INFINITY
                || setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err()
            {
                return Err(error);
            }
            let loaded = bpf::prog_load_cgroup_device(&filter.program.0, NAME);
            setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).map_err(failed)?;
            loaded
        }
        loaded => loaded,
    }
}
