//! How control groups are mounted on a machine: v1, v2, both, or not at all. A plain value, parsed from the text of
//! `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5), cgroups(7)); must never look at the machine itself.

use std::borrow::Cow;
use std::collections::HashMap;

/// Where cgroup v2 stands on a machine that uses nothing else.
const STANDARD: &str = "/sys/fs/cgroup";

/// The layout of control groups: neither part filled is a machine without them, both is the hybrid layout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CgroupLayout {
    /// The mounted v1 hierarchies, one row each.
    pub(crate) v1: Vec<Hierarchy>,
    /// The mounted v2 hierarchy.
    pub(crate) unified: Option<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// The mount point, absolute.
    pub(crate) mount: String,
    /// v1: its controllers as mounted, `cpu,cpuacct` or `name=systemd`; empty on v2.
    pub(crate) controllers: String,
    /// The runtime's own cgroup, as a path below the mount point that begins with a slash.
    pub(crate) own: String,
}

impl Hierarchy {
    #[cfg(test)]
    /// Whether this v1 hierarchy manages the controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|c| c == controller)
    }
}

impl CgroupLayout {
    #[cfg(test)]
    /// Only v2 is in use.
    pub(crate) fn is_v2(&self) -> bool {
        self.v1.is_empty() && self.unified.is_some()
    }

    /// v2 alone, at its standard place, with the runtime in the topmost cgroup that it sees: whatever the root of the
    /// mount, that one is the mount point. None if `/proc/self/cgroup` says otherwise.
    pub(crate) fn topmost(proc_self_cgroup: &str) -> Option<Self> {
        let mut lines = proc_self_cgroup.lines().filter_map(own_line);
        lines.find(|(controllers, _)| controllers.is_empty()).filter(|(_, path)| *path == "/").map(|_| {
            let unified = Hierarchy { mount: STANDARD.into(), controllers: String::new(), own: "/".into() };
            CgroupLayout { v1: Vec::new(), unified: Some(unified) }
        })
    }

    /// Reads the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`. Lines that are not understood do not count;
    /// neither do mounts hidden below a later one. v2 at `/sys/fs/cgroup` itself means v2 only, whatever v1 hierarchy
    /// somebody mounted elsewhere for purposes of their own.
    pub(crate) fn parse(mountinfo: &str, proc_self_cgroup: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let tree = Tree::of(&mounts);
        let seen = || mounts.iter().filter(|mount| tree.shows(mount));
        let own: Vec<(&str, &str)> = proc_self_cgroup.lines().filter_map(own_line).collect();

        let path = own.iter().find(|(controllers, _)| controllers.is_empty()).map_or("/", |(_, path)| path);
        let unified = best(seen().filter(|mount| mount.fstype == "cgroup2")).map(|mount| Hierarchy {
            mount: mount.point.to_string(),
            controllers: String::new(),
            own: below(path, &mount.root),
        });
        if unified.as_ref().is_some_and(|unified| unified.mount == STANDARD) {
            return CgroupLayout { v1: Vec::new(), unified };
        }
        let v1 = own.iter().filter(|(controllers, _)| !controllers.is_empty()).filter_map(
            |(controllers, path)| {
                let mount =
                    best(seen().filter(|mount| mount.fstype == "cgroup" && mount.manages(controllers)))?;
                let (controllers, own) = ((*controllers).to_owned(), below(path, &mount.root));
                Some(Hierarchy { mount: mount.point.to_string(), controllers, own })
            },
        );
        CgroupLayout { v1: v1.collect(), unified }
    }
}

/// Where resctrl is mounted as a whole, by the text of `/proc/self/mountinfo`.
pub(crate) fn resctrl(mountinfo: &str) -> Option<String> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
    let tree = Tree::of(&mounts);
    let mut whole = mounts.iter().filter(|mount| mount.fstype == "resctrl" && mount.root == "/");
    whole.find(|mount| tree.shows(mount)).map(|mount| mount.point.to_string())
}

/// Of several mounts of one hierarchy the one below `/sys/fs/cgroup`, else the first.
fn best<'a, 'b: 'a>(mounts: impl Iterator<Item = &'a Mount<'b>>) -> Option<&'a Mount<'b>> {
    mounts.min_by_key(|mount| (!is_below(&mount.point, STANDARD), !is_below(&mount.root, "/")))
}

/// A line of `/proc/self/cgroup`: its controllers, empty on v2, and the path.
fn own_line(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':').filter(|(_, path)| path.starts_with('/'))
}

/// The own cgroup `path` as seen below a mount whose topmost directory is `root`; `/` when it is not below it, which
/// is so for a mount that shows more than the runtime's cgroup namespace.
fn below(path: &str, root: &str) -> String {
    match path.strip_prefix(root.trim_end_matches('/')) {
        Some(rest) if rest.starts_with('/') && !escapes(rest) => rest.to_owned(),
        _ => "/".to_owned(),
    }
}

fn escapes(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn is_below(path: &str, top: &str) -> bool {
    !escapes(path)
        && path
            .strip_prefix(top.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A line of mountinfo.
struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    root: Cow<'a, str>,
    point: Cow<'a, str>,
    fstype: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ');
        let (id, parent, _device) = (front.next()?, front.next()?, front.next()?);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        let mut back = back.split(' ');
        let (fstype, _source, options) = (back.next()?, back.next()?, back.next().unwrap_or(""));
        Some(Mount { id, parent, root, point, fstype, options })
    }

    /// Whether this is the v1 hierarchy with exactly these controllers.
    fn manages(&self, controllers: &str) -> bool {
        controllers.split(',').all(|controller| self.options.split(',').any(|option| option == controller))
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    Cow::Owned(escapes.iter().fold(text.to_owned(), |text, (octal, plain)| text.replace(octal, plain)))
}

/// The mounts as the kernel walks them, to tell which one a path leads to.
struct Tree<'a> {
    root: Option<&'a str>,
    on: HashMap<(&'a str, &'a str), &'a str>,
}

impl<'a> Tree<'a> {
    fn of(mounts: &'a [Mount<'_>]) -> Self {
        let ids: std::collections::HashSet<&str> = mounts.iter().map(|mount| mount.id).collect();
        let root = mounts.iter().find(|mount| mount.point == "/" && !ids.contains(mount.parent));
        let root = root.or_else(|| mounts.iter().find(|mount| mount.point == "/")).map(|mount| mount.id);
        let on = mounts.iter().filter(|mount| mount.id != mount.parent && Some(mount.id) != root);
        Tree { root, on: on.map(|mount| ((mount.parent, &*mount.point), mount.id)).collect() }
    }

    /// Whether the mount's own path leads to it, and not to another mount that covers it or a directory above it.
    fn shows(&self, mount: &Mount<'_>) -> bool {
        let Some(mut here) = self.root else { return true };
        let ends = mount.point.match_indices('/').map(|(at, _)| at).skip(1).chain([mount.point.len()]);
        for end in std::iter::once(1).chain(ends) {
            // A mount may cover another at the same point.
            while let Some(top) = self.on.get(&(here, &mount.point[..end])) {
                here = top;
            }
        }
        here == mount.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "23 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n24 23 0:20 / /sys rw - sysfs sysfs rw\n";
    const TMPFS: &str = "31 24 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
    const OWN: &str = "9:name=systemd:/user.slice\n4:memory:/a/b\n3:hugetlb:/\n1:cpu,cpuacct:/\n0::/own\n";

    fn row(mount: &str, controllers: &str, own: &str) -> Hierarchy {
        Hierarchy { mount: mount.into(), controllers: controllers.into(), own: own.into() }
    }

    fn v1_rows() -> Vec<Hierarchy> {
        vec![
            row("/sys/fs/cgroup/systemd", "name=systemd", "/user.slice"),
            row("/sys/fs/cgroup/memory", "memory", "/a/b"),
            row("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct", "/"),
        ]
    }

    #[test]
    fn tells_v1_hybrid_and_v2() {
        let v1 = CgroupLayout::parse(&[ROOT, TMPFS, V1].concat(), OWN);
        assert_eq!(v1, CgroupLayout { v1: v1_rows(), unified: None });
        assert!(v1.v1[2].has("cpuacct") && !v1.v1[2].has("cp"));

        let hybrid = CgroupLayout::parse(&[ROOT, TMPFS, V1, UNIFIED].concat(), OWN);
        let unified = Some(row("/sys/fs/cgroup/unified", "", "/own"));
        assert_eq!(hybrid, CgroupLayout { v1: v1_rows(), unified });
        assert!(!hybrid.is_v2());

        let v2 = "31 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let v2 = CgroupLayout::parse(&[ROOT, v2].concat(), "0::/user.slice/user-1.slice/s.scope\n");
        let unified = Some(row("/sys/fs/cgroup", "", "/user.slice/user-1.slice/s.scope"));
        assert_eq!(v2, CgroupLayout { v1: vec![], unified });
        assert!(v2.is_v2());

        assert_eq!(CgroupLayout::parse(ROOT, "0::/\n"), CgroupLayout::default());
        assert_eq!(CgroupLayout::parse("", ""), CgroupLayout::default());
    }

    #[test]
    fn mounts_hidden_below_a_later_one_do_not_count() {
        let over = "99 31 0:38 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        let layout = CgroupLayout::parse(&[ROOT, TMPFS, V1, UNIFIED, over].concat(), OWN);
        assert_eq!(layout, CgroupLayout { v1: vec![], unified: Some(row("/sys/fs/cgroup", "", "/own")) });
        let covered = "98 35 0:50 / /sys/fs/cgroup/memory rw - tmpfs none rw\n";
        let layout = CgroupLayout::parse(&[ROOT, TMPFS, V1, covered].concat(), OWN);
        assert_eq!(layout.v1.len(), 2);
        let sys = "99 24 0:50 / /sys rw - tmpfs none rw\n";
        assert_eq!(CgroupLayout::parse(&[ROOT, TMPFS, V1, sys].concat(), OWN), CgroupLayout::default());
    }

    #[test]
    fn the_topmost_cgroup_needs_no_table_of_mounts() {
        let v2 = "31 24 0:28 /some/root /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        for own in ["0::/\n", "1:net_cls:/x\n0::/\n"] {
            let parsed = CgroupLayout::parse(&[ROOT, v2].concat(), own);
            assert_eq!(CgroupLayout::topmost(own), Some(parsed), "{own}");
        }
        for own in ["0::/user.slice\n", "0::/../x\n", "4:memory:/\n", ""] {
            assert_eq!(CgroupLayout::topmost(own), None, "{own}");
        }
    }

    #[test]
    fn resctrl_is_found_by_its_type() {
        let at =
            |root: &str, point: &str| format!("60 24 0:70 {root} {point} rw,relatime - resctrl none rw\n");
        let found = |text: &[&str]| resctrl(&text.concat());
        assert_eq!(found(&[ROOT, TMPFS, V1]), None);
        assert_eq!(found(&[ROOT, &at("/", "/sys/fs/resctrl")]), Some("/sys/fs/resctrl".to_owned()));
        assert_eq!(found(&[ROOT, &at("/", "/sys/a\\040b")]), Some("/sys/a b".to_owned()));
        assert_eq!(found(&[ROOT, &at("/gold", "/sys/fs/resctrl")]), None, "a part of it");
        let covered = "61 60 0:71 / /sys/fs/resctrl rw - tmpfs none rw\n";
        assert_eq!(found(&[ROOT, &at("/", "/sys/fs/resctrl"), covered]), None, "covered");
    }

    #[test]
    fn own_cgroup_is_seen_through_the_mounts_root() {
        for (root, own, seen) in [
            ("/", "/", "/"),
            ("/", "/docker/x", "/docker/x"),
            ("/docker/x", "/docker/x", "/"),
            ("/docker/x", "/docker/x/sub", "/sub"),
            ("/docker/x", "/docker/xy", "/"),
            ("/../..", "/", "/"),
            ("/", "/../sibling", "/"),
        ] {
            let expected = if root == own { "/" } else { seen };
            assert_eq!(below(own, root), expected, "{root} {own}");
        }
    }

    #[test]
    fn a_v1_hierarchy_elsewhere_leaves_v2_alone() {
        let v2 = "31 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let own = "1:net_cls:/\n0::/\n";
        for point in ["/sys/fs/cgroup/net_cls", "/opt/vpn/net\\040cls"] {
            let extra = format!("50 31 0:60 / {point} rw - cgroup net_cls rw,net_cls\n");
            assert!(CgroupLayout::parse(&[ROOT, v2, &extra].concat(), own).is_v2());
        }
        let extra = "50 23 0:60 / /opt/net\\040cls rw - cgroup net_cls rw,net_cls\n";
        let layout = CgroupLayout::parse(&[ROOT, extra].concat(), own);
        assert_eq!(layout.v1, vec![row("/opt/net cls", "net_cls", "/")]);
    }

    #[test]
    fn of_two_mounts_of_a_hierarchy_the_standard_one_counts() {
        let other = "30 23 0:32 / /mnt/memory rw - cgroup cgroup rw,memory\n29 23 0:38 / /mnt/two rw - cgroup2 none rw\n";
        let layout = CgroupLayout::parse(&[ROOT, other, TMPFS, V1, UNIFIED].concat(), OWN);
        assert_eq!(layout.v1, v1_rows());
        assert_eq!(layout.unified, Some(row("/sys/fs/cgroup/unified", "", "/own")));
    }
}
