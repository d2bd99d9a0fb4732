//! The birth of the container's process: one clone3(2); where the process must be born into a namespace that the
//! runtime may not enter, a trampoline, a short-lived process of our own, stands there and gives birth as its parent
//! (CLONE_PARENT), so that init is always the runtime's child.

use super::Inheritance;
use crate::error::{Error, Result};
use crate::plan::step::{Birth, Namespace};
use crate::sys::namespace::{self, Clone, Shared, Side};
use crate::sys::{fs, pidfd, process};
use nix::libc;
use rustix::fs::OFlags;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;

/// The newborn, as its parent knows it.
pub(crate) struct Newborn {
    /// Its pid in the runtime's pid namespace.
    pub(crate) pid: i32,
    /// Its pidfd.
    pub(crate) pidfd: OwnedFd,
}

/// Where a trampoline leaves what it found, in the shared page.
const PID: usize = 1;
const ERRNO: usize = 2;
const PLACE: usize = 3;

/// Places where a trampoline can fail: the time offsets, the clone, or a join (JOIN + its number).
const OFFSETS: u32 = 1;
const CLONE: u32 = 2;
const JOIN: u32 = 3;

/// Gives birth to who gets this inheritance. None: the caller is the newborn.
pub(crate) fn be_born(
    birth: &Birth,
    inheritance: &Inheritance<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    shared: &Shared,
) -> Result<Option<Newborn>> {
    if birth.undumpable {
        process::undumpable()?;
    }
    if birth.trampoline() {
        return by_trampoline(birth, inheritance, cgroup, shared);
    }
    match namespace::clone3(&Clone { flags: birth.flags, cgroup, pid: None, exit_signal: libc::SIGCHLD })? {
        Side::Child => Ok(None),
        Side::Parent(pid, pidfd) => Ok(Some(Newborn { pid, pidfd: namespace::own(pidfd) })),
    }
}

fn by_trampoline(
    birth: &Birth,
    inheritance: &Inheritance<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    shared: &Shared,
) -> Result<Option<Newborn>> {
    // From within a joined cgroup namespace the way into the container's cgroup may be barred (cgroup2 mounted with
    // nsdelegate, as systemd does: ENOENT). The trampoline then is born there, and the newborn stays; else it would
    // count in a cgroup that has room for one.
    let joins_cgroup = birth.joins.iter().any(|(_, _, kind)| *kind == Namespace::Cgroup);
    let (first, second) = if joins_cgroup { (cgroup, None) } else { (None, cgroup) };
    let (trampoline, pidfd) =
        match namespace::clone3(&Clone { flags: 0, cgroup: first, pid: None, exit_signal: libc::SIGCHLD })? {
            Side::Child => match jump(birth, inheritance, second, shared) {
                Ok(true) => return Ok(None),
                Ok(false) => process::exit_now(0),
                Err((place, error)) => {
                    shared.cells()[PLACE].store(place, SeqCst);
                    shared.cells()[ERRNO].store(error.errno() as u32, SeqCst);
                    process::exit_now(1)
                }
            },
            Side::Parent(pid, pidfd) => (pid, namespace::own(pidfd)),
        };
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(trampoline), None)
        .map_err(|errno| Error::call("waitpid(trampoline)", errno as i32))?;
    drop(pidfd);
    let cell = |i: usize| shared.cells()[i].load(SeqCst);
    if cell(PID) != 0 {
        let pid = cell(PID) as i32;
        // It is our child, and nobody else reaps it: the number is its own, whether it lives or not.
        let pidfd = pidfd::pidfd_open(pid)?.ok_or_else(|| Error::new("the newborn was reaped by another"))?;
        return Ok(Some(Newborn { pid, pidfd }));
    }
    let errno = cell(ERRNO) as i32;
    Err(match cell(PLACE) {
        OFFSETS => Error::call("write(\"/proc/self/timens_offsets\")", errno).at("linux.timeOffsets"),
        place if place >= JOIN => {
            let (field, _, kind) = &birth.joins[(place - JOIN) as usize];
            Error::call(format!("setns({})", kind.name()), errno).at(field)
        }
        CLONE => Error::call("clone3(from the joined namespaces)", errno).at("linux.namespaces"),
        _ => Error::new("the process that joins namespaces was killed").at("linux.namespaces"),
    })
}

/// In the trampoline, whose descriptors are its own copies. True: in the newborn.
fn jump(
    birth: &Birth,
    inheritance: &Inheritance<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    shared: &Shared,
) -> std::result::Result<bool, (u32, Error)> {
    // Who is in the namespaces already may look into the newborn at once: nothing of the host's is to be found.
    inheritance.close_others(cgroup);
    if let Some(lines) = &birth.time {
        set_offsets(lines).map_err(|e| (OFFSETS, e))?;
    }
    for (i, (_, handle, kind)) in birth.joins.iter().enumerate() {
        let fd = inheritance.opened[handle.0].as_ref().expect("namespaces are opened before birth");
        namespace::setns(fd, kind.flag()).map_err(|e| (JOIN + i as u32, e))?;
    }
    let flags = birth.flags | libc::CLONE_PARENT;
    let pid = Some(&shared.cells()[PID]);
    match namespace::clone3(&Clone { flags, cgroup, pid, exit_signal: 0 }).map_err(|e| (CLONE, e))? {
        Side::Child => Ok(true),
        Side::Parent(..) => Ok(false),
    }
}

fn set_offsets(lines: &[String]) -> Result<()> {
    namespace::unshare(Namespace::Time.flag())?;
    let path: CString = c"/proc/self/timens_offsets".to_owned();
    let file = fs::open_host(&path, OFlags::WRONLY)?;
    if fs::magic(&file)? != fs::PROC_MAGIC {
        return Err(Error::new("/proc is not a procfs"));
    }
    lines.iter().try_for_each(|line| fs::write_once(&file, line.as_bytes(), &path))
}
