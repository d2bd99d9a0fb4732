//! The device filter of a v2 cgroup, loaded and attached. A container whose filter cannot be loaded does not start,
//! unless the plan says that it is optional.

use crate::error::{Error, Result};
use crate::plan::cgroup::Filter;
use crate::sys::bpf;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Loads the filter and attaches it to the cgroup. The kernel keeps it as long as the cgroup lives.
pub(crate) fn load(filter: &Filter, cgroup: BorrowedFd<'_>) -> Result<()> {
    let attached = program(filter).and_then(|program| bpf::prog_attach_cgroup_device(cgroup, program));
    match attached {
        Err(error) if filter.optional && super::not_permitted(&error) => Ok(()),
        Err(error) if error.errno() == Errno::E2BIG as i32 => {
            let count = filter.rules.rules.len();
            Err(error
                .at("linux.resources.devices")
                .hint(format!("{count} rules are too many for one program")))
        }
        result => result.map_err(|error| error.at("linux.resources.devices")),
    }
}

/// kernel < 5.11 counts programs as locked memory: where that is the trouble, the limit is lifted for the moment.
fn program(filter: &Filter) -> Result<OwnedFd> {
    let loaded = bpf::prog_load_cgroup_device(&filter.program.0);
    match loaded {
        Err(error) if error.errno() == Errno::EPERM as i32 => {
            let failed = |errno: Errno| Error::call("setrlimit(RLIMIT_MEMLOCK)", errno as i32);
            let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(failed)?;
            if soft == RLIM_INFINITY
                || setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err()
            {
                return Err(error);
            }
            let loaded = bpf::prog_load_cgroup_device(&filter.program.0);
            setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).map_err(failed)?;
            loaded
        }
        loaded => loaded,
    }
}
