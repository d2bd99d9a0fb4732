//! The place where all are measured side by side: the peers' root in a mount namespace of its own, with proc,
//! sysfs, control groups, an empty /run and the host's /dev.
//!
//! The host's mounts are never touched; they reappear when this process ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Where runtimes make their cgroups.
const CGROUP: &str = "/sys/fs/cgroup";

/// Which control groups are mounted in the arena.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// A plain cgroup2.
    V2,
    /// What the host has.
    Host,
}

/// Enters the arena; afterwards `/` is the peers' root. Only before any thread is started.
pub(crate) fn enter(root: &Path, cgroups: Cgroups) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
    attach("none", Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    // pivot_root, which the runtimes will call, wants the root to be a mount.
    attach(&root.display().to_string(), root, None, MsFlags::MS_BIND)?;
    attach("proc", &root.join("proc"), Some("proc"), MsFlags::empty())?;
    attach("sysfs", &root.join("sys"), Some("sysfs"), MsFlags::empty())?;
    let place = root.join("sys/fs/cgroup");
    match cgroups {
        Cgroups::V2 => attach("cgroup2", &place, Some("cgroup2"), MsFlags::empty())?,
        Cgroups::Host => attach(CGROUP, &place, None, MsFlags::MS_BIND | MsFlags::MS_REC)?,
    }
    attach("tmpfs", &root.join("run"), Some("tmpfs"), MsFlags::empty())?;
    attach("/dev", &root.join("dev"), None, MsFlags::MS_BIND | MsFlags::MS_REC)?;
    // No chroot: a process that `exec` sends into a container's mount namespace finds itself in the root of that, which
    // the container's own pivot_root changes only where the caller's root is the namespace's.
    std::env::set_current_dir(root).with_context(|| root.display().to_string())?;
    nix::unistd::pivot_root(".", ".").context("pivot_root")?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH).context("umount2(the host's root)")?;
    std::env::set_current_dir("/").context("chdir(/)")
}

fn attach(source: &str, target: &Path, fstype: Option<&str>, flags: MsFlags) -> Result<()> {
    mount(Some(source), target, fstype, flags, None::<&str>)
        .with_context(|| format!("mount({source}, {})", target.display()))
}

/// Kills and removes the cgroups that runs with ids of this prefix left behind, deepest first.
pub(crate) fn sweep(prefix: &str) {
    for path in cgroups(prefix).iter().rev() {
        let said = std::fs::write(path.join("cgroup.kill"), "1").and_then(|()| empty(path));
        if let Err(error) = said.and_then(|()| std::fs::remove_dir(path)) {
            eprintln!("bench: left behind: {}: {error}", path.display());
        }
    }
}

/// Waits, five seconds at most, until no process is left in the cgroup.
fn empty(cgroup: &Path) -> std::io::Result<()> {
    for _ in 0..500 {
        if std::fs::read_to_string(cgroup.join("cgroup.events"))?.contains("populated 0") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(())
}

/// The cgroups with the prefix somewhere in their path: others are none of ours.
fn cgroups(prefix: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::from(CGROUP)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
                if entry.path().to_string_lossy().contains(prefix) {
                    found.insert(entry.path());
                }
            }
        }
    }
    found
}
