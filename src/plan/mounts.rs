//! mounts (config.md, Mounts; config-linux.md, Linux mount options): each entry becomes one step, a cgroup mount
//! becomes what this machine's layout needs.

use super::cgroup::View;
use super::host::Host;
use super::lsm::{self, Labelling};
use super::mount_options::{self, Idmapped, MountOptions};
use super::namespaces::{Namespaces, id_maps};
use super::rootfs::{READ_ONLY, baseline, host_path, tree};
use super::step::{Attr, Idmap, Inside, Kind, Links, MountPoint, Namespace, Source, Step, Tree, c_string};
use super::{Plan, Request};
use crate::error::{Error, Result};
use nix::libc;
use oci_spec::runtime::{Mount, Spec};
use std::ffi::{CStr, CString};
use std::path::Path;

/// What may be mounted below /proc: single files that lxcfs and the engines replace (security.md, 4).
const BELOW_PROC: [&str; 11] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/net/dev",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

/// Options that cgroup2 has for the whole machine: a mount of it in the first cgroup namespace sets them, and takes away
/// those that it does not name (admin-guide/cgroup-v2.rst, Mounting). containerd names the machine's own for privileged
/// containers, so that these do not lose them.
const OF_THE_MACHINE: [&str; 6] = [
    "nsdelegate",
    "favordynmods",
    "memory_localevents",
    "memory_recursiveprot",
    "memory_hugetlb_accounting",
    "pids_localevents",
];

/// One entry of `mounts`, taken apart.
struct Entry<'a> {
    field: String,
    at: Inside,
    mount: &'a Mount,
    options: MountOptions,
    baseline: Vec<u64>,
    /// linux.mountLabel
    label: Option<&'a CStr>,
}

/// All of `mounts`, in the listed order.
pub(crate) fn mount_all(
    plan: &mut Plan,
    spec: &Spec,
    host: &Host,
    request: &Request<'_>,
    namespaces: &Namespaces,
) -> Result<()> {
    let baseline = baseline(spec)?;
    let label = lsm::mount_label(spec, host)?;
    let label = label.as_deref();
    for (i, mount) in spec.mounts().iter().flatten().enumerate() {
        let field = format!("mounts[{i}] {:?}", mount.destination());
        let one = || -> Result<()> {
            let at = Inside::new(mount.destination())?;
            let options = mount_options::parse(mount.options().as_deref().unwrap_or_default())?;
            let entry = Entry { field: field.clone(), at, mount, options, baseline: baseline.clone(), label };
            entry.plan(plan, spec, host, request, namespaces)
        };
        let mut one = one;
        one().map_err(|e| e.at(&field))?;
    }
    Ok(())
}

impl Entry<'_> {
    fn plan(
        &self,
        plan: &mut Plan,
        spec: &Spec,
        host: &Host,
        request: &Request<'_>,
        namespaces: &Namespaces,
    ) -> Result<()> {
        if self.at.bytes() == b"." && !self.options.remount {
            return Err(Error::new("the root itself cannot be mounted over").hint("root.path names the root"));
        }
        self.refuse_over_proc()?;
        let fstype = self.fstype();
        if self.options.remount {
            return self.remount(plan);
        }
        if self.options.bind || fstype == "bind" {
            return self.bind(plan, spec, host, request);
        }
        match fstype {
            "cgroup" | "cgroup2" => self.cgroup(plan, host, namespaces),
            "" | "none" if !self.options.propagation.is_empty() => {
                plan.push(&self.field, self.set_attr(self.options.attr));
                Ok(())
            }
            "" | "none" => Err(Error::new("has no type and is no bind mount")
                .hint("give it a \"type\", or \"bind\" among its options")),
            _ => self.filesystem(plan),
        }
    }

    fn fstype(&self) -> &str {
        self.mount.typ().as_deref().unwrap_or("")
    }

    fn below(&self, prefix: &[u8]) -> bool {
        self.at.bytes().strip_prefix(prefix).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Mounts on or below /proc are refused but for procfs itself and the known files. Init checks again, on the
    /// descriptor, whatever the path says.
    fn refuse_over_proc(&self) -> Result<()> {
        let allowed = |path: &&str| path.as_bytes() == self.at.bytes();
        let on_proc = self.at.bytes() == b"proc"
            && !(self.fstype() == "proc"
                || self.options.bind
                || self.fstype() == "bind"
                || self.options.remount);
        if on_proc || self.below(b"proc") && !BELOW_PROC.iter().any(allowed) {
            return Err(Error::new("cannot be mounted: it is inside /proc")
                .hint("only procfs itself and single files such as /proc/meminfo may be mounted there"));
        }
        Ok(())
    }

    fn set_attr(&self, attr: Attr) -> Step {
        let propagation = self.options.propagation.clone();
        Step::SetAttr { at: self.at.clone(), attr, deep: self.options.deep, propagation }
    }

    fn remount(&self, plan: &mut Plan) -> Result<()> {
        let o = &self.options;
        let step = if o.bind {
            self.set_attr(o.attr)
        } else {
            let data: Vec<String> = o.data.iter().map(|(k, v)| option_text(k, v.as_deref())).collect();
            Step::Remount {
                at: self.at.clone(),
                flags: o.ms_flags | libc::MS_REMOUNT,
                data: c_string(data.join(","))?,
            }
        };
        plan.push(&self.field, step);
        Ok(())
    }

    fn links(&self) -> Links {
        match (self.options.dest_nofollow, self.fstype()) {
            (true, _) => Links::NotLast,
            (false, "proc" | "sysfs") if !self.options.bind => Links::Refuse,
            (false, _) => Links::Follow,
        }
    }

    fn bind(&self, plan: &mut Plan, spec: &Spec, host: &Host, request: &Request<'_>) -> Result<()> {
        let o = &self.options;
        let source = self.mount.source().as_ref().ok_or_else(|| Error::new("a bind mount needs a source"))?;
        let path = host_path(request.bundle, source)?;
        if o.copy_symlink {
            plan.push(&self.field, Step::CopySymlink { source: path, at: self.at.clone() });
            return Ok(());
        }
        if let Some(name) = o.unknown_flag() {
            return Err(Error::new(format!("unknown option {name:?} for a bind mount")));
        }
        for (name, _) in &o.data {
            plan.warnings
                .push(format!("{}: {name:?} is ignored: a bind mount keeps its file system's", self.field));
        }
        let tree = Tree {
            follow: !o.src_nofollow,
            attr: o.attr,
            deep: o.deep,
            idmap: self.idmap(spec, host)?,
            must_be: if self.at.bytes() == b"proc" { Kind::Procfs } else { Kind::Any },
            ..tree(path, o.recursive, host)
        };
        let tree = plan.open(&self.field, tree);
        let mount = Step::Mount {
            at: self.at.clone(),
            source: Source::Tree(tree),
            point: MountPoint::LikeSource,
            links: self.links(),
            attr: Attr::default(),
            propagation: self.propagation(),
        };
        plan.push(&self.field, mount);
        Ok(())
    }

    /// The clone was made on the host and is its peer: that tie is cut before the entry's own options apply.
    fn propagation(&self) -> Vec<u64> {
        [self.baseline.as_slice(), &self.options.propagation].concat()
    }

    fn idmap(&self, spec: &Spec, host: &Host) -> Result<Option<Idmap>> {
        let linux = spec.linux().as_ref();
        let mut uid = id_maps(self.mount.uid_mappings().as_deref());
        let mut gid = id_maps(self.mount.gid_mappings().as_deref());
        let recursive = match (self.options.idmap, uid.is_empty()) {
            (Idmapped::No, true) => return Ok(None),
            (option, _) => option == Idmapped::Recursive,
        };
        if !host.privileged {
            return Err(Error::new("an id-mapped mount needs privileges").hint("run as root"));
        }
        if uid.is_empty() {
            uid = id_maps(linux.and_then(|linux| linux.uid_mappings().as_deref()));
            gid = id_maps(linux.and_then(|linux| linux.gid_mappings().as_deref()));
        }
        if uid.is_empty() || gid.is_empty() {
            return Err(Error::new("an id-mapped mount needs mappings")
                .hint("give uidMappings and gidMappings on the mount, or in linux"));
        }
        Ok(Some(Idmap { uid, gid, recursive }))
    }

    fn filesystem(&self, plan: &mut Plan) -> Result<()> {
        if !self.options.deep.is_empty() && self.options.deep.clear != 0 {
            plan.warnings
                .push(format!("{}: recursive options of a new file system reach one mount only", self.field));
        }
        if self.options.idmap != Idmapped::No || self.mount.uid_mappings().is_some() {
            return Err(Error::new("id mappings need a bind mount"));
        }
        let source = self
            .mount
            .source()
            .as_ref()
            .map_or_else(|| self.fstype().into(), |s| s.to_string_lossy().into_owned());
        let step = self.new_filesystem(self.at.clone(), self.fstype(), &source, self.own_options()?)?;
        plan.push(&self.field, step);
        Ok(())
    }

    /// The options that are the file system's own, those of its superblock included.
    fn own_options(&self) -> Result<Vec<(CString, Option<CString>)>> {
        let flags = self.options.superblock.iter().map(|name| Ok((c_string(*name)?, None)));
        let data =
            self.options.data.iter().map(|(key, value)| {
                Ok((c_string(key.as_str())?, value.as_deref().map(c_string).transpose()?))
            });
        flags.chain(data).collect()
    }

    fn new_filesystem(
        &self,
        at: Inside,
        fstype: &str,
        source: &str,
        options: Vec<(CString, Option<CString>)>,
    ) -> Result<Step> {
        let attr = self.options.attr.set | self.options.deep.set;
        let (options, label) = self.labelled(fstype, options);
        let source = Source::New {
            fstype: c_string(fstype)?,
            source: c_string(source)?,
            options,
            attr,
            copy_up: self.options.tmpcopyup,
            label,
        };
        let propagation = self.options.propagation.clone();
        let (point, links, attr) = (MountPoint::Directory, self.links(), Attr::default());
        Ok(Step::Mount { at, source, point, links, attr, propagation })
    }

    /// The options with the mount label, and the label that the root directory gets instead. An entry's own context wins.
    fn labelled(
        &self,
        fstype: &str,
        mut options: Vec<(CString, Option<CString>)>,
    ) -> (Vec<(CString, Option<CString>)>, Option<CString>) {
        let own = options.iter().any(|(key, _)| key.to_bytes().ends_with(b"context"));
        let label = self.label.filter(|_| !own).map(CStr::to_owned);
        match Labelling::of(fstype) {
            Labelling::Root => return (options, label),
            Labelling::Option => options.extend(label.map(|label| (c"context".to_owned(), Some(label)))),
            Labelling::Policy => {}
        }
        (options, None)
    }

    /// The container sees its own cgroup: as a new mount where it has a cgroup namespace, else as a bind mount.
    fn cgroup(&self, plan: &mut Plan, host: &Host, namespaces: &Namespaces) -> Result<()> {
        for (key, value) in &self.options.data {
            let option = option_text(key, value.as_deref());
            if !OF_THE_MACHINE.contains(&option.as_str()) {
                return Err(Error::new(format!("unknown option {option:?} for a cgroup mount"))
                    .hint("its hierarchies are mounted on the host, and have their options from there"));
            }
            plan.warnings
                .push(format!("{}: {option:?} is ignored: it is the whole machine's to have", self.field));
        }
        let own = namespaces.is_new(Namespace::Cgroup);
        let views = plan.cgroup.views(&host.cgroups, own);
        match views.as_slice() {
            [] => Err(Error::new("there is no cgroup file system to show")
                .hint("is /sys/fs/cgroup mounted, and --cgroup-manager not disabled?")),
            [only] if only.unified => {
                let at = self.at.clone();
                self.cgroup_view(plan, host, own, only, at)
            }
            _ => self.cgroup_tmpfs(plan, host, own, &views),
        }
    }

    /// cgroup v1: a tmpfs with a directory per hierarchy, as on the host.
    fn cgroup_tmpfs(&self, plan: &mut Plan, host: &Host, own: bool, views: &[View]) -> Result<()> {
        let attr = (self.options.attr.set | self.options.deep.set) & !READ_ONLY;
        let options = vec![(c"mode".to_owned(), Some(c"755".to_owned()))];
        let tmpfs = Source::New {
            fstype: c"tmpfs".to_owned(),
            source: c"tmpfs".to_owned(),
            options: self.labelled("tmpfs", options).0,
            attr,
            copy_up: false,
            label: None,
        };
        let (at, point, links) = (self.at.clone(), MountPoint::Directory, self.links());
        let attr = Attr::default();
        plan.push(&self.field, Step::Mount { at, source: tmpfs, point, links, attr, propagation: vec![] });
        for view in views {
            let at = Inside::new(format!("{}/{}", self.at.0.to_string_lossy(), view.name))?;
            self.cgroup_view(plan, host, own, view, at)?;
            let controllers: Vec<&str> = view.name.split(',').collect();
            for controller in controllers.iter().filter(|_| controllers.len() > 1) {
                let at = Inside::new(format!("{}/{controller}", self.at.0.to_string_lossy()))?;
                plan.push(&self.field, Step::Symlink { target: c_string(view.name.as_str())?, at });
            }
        }
        if (self.options.attr.set | self.options.deep.set) & READ_ONLY != 0 {
            let attr = Attr { set: READ_ONLY, clear: 0 };
            plan.push(&self.field, self.set_attr(attr));
        } else if !self.options.propagation.is_empty() {
            plan.push(&self.field, self.set_attr(Attr::default()));
        }
        Ok(())
    }

    fn cgroup_view(&self, plan: &mut Plan, host: &Host, own: bool, view: &View, at: Inside) -> Result<()> {
        if own {
            let fstype = if view.unified { "cgroup2" } else { "cgroup" };
            let options = view.options.iter().map(|(key, value)| {
                Ok((c_string(key.as_str())?, value.as_deref().map(c_string).transpose()?))
            });
            let step = self.new_filesystem(at, fstype, "cgroup", options.collect::<Result<_>>()?)?;
            plan.push(&self.field, step);
            return Ok(());
        }
        let path = host_path(Path::new("/"), Path::new(&view.path))?;
        // A scope's cgroups are made around the process: before its birth there is nothing to open.
        let late = !host.privileged || plan.cgroup.scope.is_some();
        let tree = Tree { attr: self.options.attr, deep: self.options.deep, late, ..tree(path, false, host) };
        let tree = plan.open(&self.field, tree);
        let source = Source::Tree(tree);
        let propagation = self.propagation();
        let (point, links, attr) = (MountPoint::Directory, self.links(), Attr::default());
        plan.push(&self.field, Step::Mount { at, source, point, links, attr, propagation });
        Ok(())
    }
}

fn option_text(key: &str, value: Option<&str>) -> String {
    value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"))
}
