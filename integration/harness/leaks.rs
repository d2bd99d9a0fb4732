//! What a container may have left behind: mounts, cgroups, processes, state. Everything that belongs to a sandbox
//! bears its token, so parallel tests do not see each other.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Layout, processes};

/// Everything of the sandbox `token` that is still there, one line each; `state` is its state root.
pub(crate) fn find(token: &str, layout: Layout, state: &Path) -> Vec<String> {
    processes::reap_orphans();
    let mut left = Vec::new();
    left.extend(
        processes::belonging_to(token).into_iter().map(|(pid, what)| format!("process {pid}, {what}")),
    );
    left.extend(mounts(token).into_iter().map(|line| format!("mount {line}")));
    left.extend(cgroups(token, layout).into_iter().map(|dir| format!("cgroup {}", dir.display())));
    left.extend(states(state).iter().map(|path| format!("state {}", path.display())));
    left
}

/// What a state root holds of containers. Compiled filters are for the next one: ours in `:seccomp`, crun's in `.cache`.
pub(crate) fn states(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let states =
        entries.filter(|entry| ![":seccomp", ".cache"].iter().any(|name| entry.file_name() == *name));
    states.map(|entry| entry.path()).collect()
}

/// Removes it all by force, for the sake of the tests that follow.
pub(crate) fn sweep(token: &str, layout: Layout) {
    for (pid, _) in processes::belonging_to(token) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    for line in mounts(token).into_iter().rev() {
        if let Some(point) = line.split(' ').nth(4) {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
    for dir in cgroups(token, layout) {
        // What is frozen cannot die on v1.
        let _ = fs::write(dir.join("freezer.state"), "THAWED");
        let _ = fs::write(dir.join("cgroup.freeze"), "0");
    }
    super::until(5, || {
        processes::reap_orphans();
        for hierarchy in layout.hierarchies() {
            let parent = hierarchy.mount.join(token);
            remove_below(&parent);
            let _ = fs::remove_dir(&parent);
            let _ = cgroups(token, layout).iter().map(fs::remove_dir).all(|done| done.is_ok());
        }
        processes::belonging_to(token).is_empty()
    });
}

/// Removes the parent cgroup that the sandbox gave its containers, which is the engine's, not the runtime's.
pub(crate) fn remove_parent(token: &str, layout: Layout) {
    for hierarchy in layout.hierarchies() {
        let _ = fs::remove_dir(hierarchy.mount.join(token));
    }
}

fn mounts(token: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter(|line| line.contains(token)).map(str::to_owned).collect()
}

/// The cgroups that bear the token, without the parent itself.
fn cgroups(token: &str, layout: Layout) -> Vec<PathBuf> {
    let parents: Vec<PathBuf> = layout.hierarchies().iter().map(|it| it.mount.join(token)).collect();
    let own = |dir: &PathBuf| dir.to_string_lossy().contains(token) && !parents.contains(dir);
    layout.cgroups().into_iter().filter(own).collect()
}

fn remove_below(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}
