//! The two cgroup layouts a test runs on, and where the files of a cgroup are in each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Where systemd, D-Bus and the managers of users are reached.
const DOORS: [&str; 3] = ["/run/systemd", "/run/dbus", "/run/user"];

/// Which cgroup layout this run of the tests is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// The host's own hierarchies, pure v1 or hybrid.
    V1,
    /// One cgroup2 mount at /sys/fs/cgroup.
    V2,
}

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    /// Controllers of a v1 hierarchy (or `name=…`); empty for cgroup2.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

impl Layout {
    /// The prefix of the tests' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Layout::V1 => "v1",
            Layout::V2 => "v2",
        }
    }

    /// The layout of that name.
    pub(crate) fn named(name: &str) -> Option<Layout> {
        [Layout::V1, Layout::V2].into_iter().find(|layout| layout.name() == name)
    }

    /// Moves this process into a mount namespace of its own with this layout and a /run that is empty but for the
    /// doors of systemd and D-Bus, where the machine has them. Mounts in it are shared, as on a machine with systemd: a
    /// runtime that forgets to make its own private shows up at once.
    ///
    /// Must be called before the first thread is started. The error says why the layout is not to be had here.
    pub(crate) fn enter(self) -> Result<(), String> {
        let none: Option<&str> = None;
        let step = |what: &str, result: nix::Result<()>| result.map_err(|errno| format!("{what}: {errno}"));
        step("unshare(CLONE_NEWNS)", unshare(CloneFlags::CLONE_NEWNS))?;
        step("private mounts", mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))?;
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let doors = DOORS.map(|path| (path, File::open(path).ok()));
        step("tmpfs on /run", mount(Some("tmpfs"), "/run", Some("tmpfs"), quiet, Some("mode=755")))?;
        for (path, door) in doors.iter().filter_map(|(path, door)| Some((path, door.as_ref()?))) {
            fs::create_dir(path).map_err(|error| format!("mkdir {path}: {error}"))?;
            let source = format!("/proc/self/fd/{}", door.as_raw_fd());
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            step("bind a door into /run", mount(Some(source.as_str()), *path, none, flags, none))?;
        }
        let there = self.hierarchies().iter().any(|hierarchy| hierarchy.controllers.is_empty());
        if self == Layout::V2 && !there {
            let quiet = quiet | MsFlags::MS_NOEXEC;
            let done = mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), quiet, none);
            step("cgroup2 on /sys/fs/cgroup", done)?;
        }
        step("shared mounts", mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none))?;
        let v1 = self.hierarchies().iter().any(|hierarchy| !hierarchy.controllers.is_empty());
        if self == Layout::V1 && !v1 { Err("this machine has no cgroup v1".into()) } else { Ok(()) }
    }

    /// Every cgroup of this layout but the topmost; what stands inside another comes behind it.
    pub(crate) fn cgroups(self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut open: Vec<PathBuf> = self.hierarchies().into_iter().map(|it| it.mount).collect();
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                    found.insert(entry.path());
                }
            }
        }
        found
    }

    /// The hierarchies of this layout, as this process sees them mounted.
    pub(crate) fn hierarchies(self) -> Vec<Hierarchy> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut all: Vec<Hierarchy> = table.lines().filter_map(hierarchy).collect();
        if self == Layout::V2 {
            all.retain(|hierarchy| hierarchy.mount == Path::new("/sys/fs/cgroup"));
        }
        all
    }

    /// The directory of the cgroup `path` (absolute within the hierarchy) in the hierarchy of `controller`;
    /// none if the controller is not there.
    pub(crate) fn cgroup(self, controller: &str, path: &str) -> Option<PathBuf> {
        let below = path.trim_start_matches('/');
        // In a hybrid layout devices and freezer are v1's, wherever cgroup2 stands in the table of mounts.
        let mut all = self.hierarchies();
        all.sort_by_key(|it| it.controllers.is_empty());
        all.into_iter().find(|it| it.carries(controller)).map(|it| it.mount.join(below))
    }
}

impl Hierarchy {
    fn carries(&self, controller: &str) -> bool {
        if !self.controllers.is_empty() {
            // The one that v2 has renamed.
            let same = |name: &String| name == controller || (name == "blkio" && controller == "io");
            return self.controllers.iter().any(same);
        }
        // The core's own files: every cgroup of v2 has them. Devices are eBPF there, no controller.
        if ["cgroup", "devices", "freezer"].contains(&controller) {
            return true;
        }
        let listed = fs::read_to_string(self.mount.join("cgroup.controllers")).unwrap_or_default();
        listed.split_whitespace().any(|name| name == controller)
    }
}

/// The hierarchy that a line of mountinfo describes, if it does.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mount = PathBuf::from(left.split(' ').nth(4)?);
    let mut right = right.split(' ');
    let kind = right.next()?;
    let super_options = right.nth(1)?;
    match kind {
        "cgroup2" => Some(Hierarchy { controllers: Vec::new(), mount }),
        "cgroup" => {
            let skip = ["rw", "ro", "xattr", "clone_children", "noprefix"];
            let names =
                super_options.split(',').filter(|name| !skip.contains(name) && !name.contains("agent"));
            Some(Hierarchy { controllers: names.map(str::to_owned).collect(), mount })
        }
        _ => None,
    }
}
