//! Opens, before birth, what the plan wants of the host: namespaces to join, trees to mount.

use crate::error::{Error, Result};
use crate::init::mounts;
use crate::plan::step::{Field, Handle, Idmap, Namespace, show};
use crate::sys::{fs, namespace};
use rustix::fs::OFlags;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

/// All handles of a plan, in its order; those that init opens itself are left out.
pub(super) fn open(handles: &[(Field, Handle)]) -> Result<Vec<Option<OwnedFd>>> {
    handles.iter().map(|(field, handle)| open_one(handle).map_err(|e| e.at(field))).collect()
}

fn open_one(handle: &Handle) -> Result<Option<OwnedFd>> {
    match handle {
        Handle::Namespace { path, kind, foreign } => open_namespace(path, *kind, foreign.as_ref()).map(Some),
        Handle::Procfs => open_procfs().map(Some),
        Handle::Root(pid) => open_root(*pid).map(Some),
        Handle::Tree(tree) if tree.late => Ok(None),
        Handle::Tree(tree) => {
            let namespace = tree.idmap.as_ref().map(user_namespace).transpose()?;
            mounts::open_tree(tree, namespace.as_ref()).map(Some)
        }
    }
}

/// The runtime's own /proc: it shows every process that the runtime gives birth to, in whatever namespaces.
fn open_procfs() -> Result<OwnedFd> {
    let fd = fs::open_host(c"/proc", OFlags::PATH | OFlags::DIRECTORY)?;
    if fs::magic(&fd)? == fs::PROC_MAGIC { Ok(fd) } else { Err(Error::new("/proc is not a procfs")) }
}

/// The caller knows whether the process is the one that it means, and lives.
fn open_root(pid: i32) -> Result<OwnedFd> {
    let path = CString::new(format!("/proc/{pid}/root")).expect("digits have no NUL");
    fs::open_host(&path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens a namespace, of the right kind, on nsfs.
fn open_namespace(path: &CStr, kind: Namespace, foreign: Option<&Field>) -> Result<OwnedFd> {
    let fd = fs::open_host(path, OFlags::RDONLY)?;
    if fs::magic(&fd)? != fs::NSFS_MAGIC || namespace::namespace_type(&fd)? != kind.flag() {
        return Err(Error::new(format!("{:?} is not a {} namespace", show(path), kind.name())));
    }
    if let Some(field) = foreign {
        let own = CString::new(format!("/proc/self/ns/{}", kind.file())).expect("no NUL in a literal");
        let (own, joined) = (fs::fstat(fs::open_host(&own, OFlags::RDONLY)?)?, fs::fstat(&fd)?);
        if (own.st_dev, own.st_ino) == (joined.st_dev, joined.st_ino) {
            return Err(Error::new(format!(
                "would change the host: its {} namespace is the host's",
                kind.name()
            ))
            .at(field));
        }
    }
    Ok(fd)
}

/// A user namespace with these maps, which lives as long as the descriptor: what an id-mapped mount refers to.
fn user_namespace(idmap: &Idmap) -> Result<OwnedFd> {
    let flags = nix::libc::CLONE_NEWUSER;
    let (asleep, awake) = crate::sys::socket::pair()?;
    let clone = namespace::Clone { flags, cgroup: None, exit_signal: nix::libc::SIGCHLD, pid: None };
    let (pid, pidfd) = match namespace::clone3(&clone)? {
        namespace::Side::Child => {
            drop(awake);
            // Ends when the runtime hangs up, however the runtime ends.
            let _ = crate::sys::socket::recv(std::os::fd::AsFd::as_fd(&asleep), &mut [0]);
            crate::sys::process::exit_now(0)
        }
        namespace::Side::Parent(pid, pidfd) => (pid, namespace::own(pidfd)),
    };
    drop(asleep);
    let made = super::maps::write(pid, "uid_map", &idmap.uid)
        .and_then(|()| super::maps::write(pid, "gid_map", &idmap.gid))
        .and_then(|()| {
            let path = CString::new(format!("/proc/{pid}/ns/user")).expect("digits have no NUL");
            fs::open_host(&path, OFlags::RDONLY)
        });
    drop(awake);
    crate::sys::pidfd::reap(std::os::fd::AsFd::as_fd(&pidfd))?;
    made
}
