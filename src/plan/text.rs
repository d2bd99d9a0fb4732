//! The plan as text: what `onggi plan` prints, what golden tests compare. One line per act, the field behind it.

use super::rootfs::propagation_name;
use super::step::{
    Attr, Become, Handle, HandleId, Hook, IdMap, Idmap, Kind, Label, LabelFile, MountCall, MountPoint,
    NAMESPACES, Source, Step, Tree, show,
};
use super::{MapWriter, Plan};
use std::ffi::{CStr, CString};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cgroup)?;
        self.resctrl.iter().try_for_each(|resctrl| write!(f, "{resctrl}"))?;
        self.seccomp.iter().try_for_each(|filter| write!(f, "{filter}"))?;
        for (i, (field, handle)) in self.handles.iter().enumerate() {
            writeln!(f, "open    #{i} {handle}  # {field}")?;
        }
        let birth = flags(self.birth.flags);
        let trampoline = if self.birth.trampoline() { " by a trampoline" } else { "" };
        let undumpable = if self.birth.undumpable { ", undumpable" } else { "" };
        writeln!(f, "birth   clone3({birth}){trampoline}{undumpable}")?;
        for (field, id, kind) in &self.birth.joins {
            writeln!(f, "birth   setns {} {id}  # {field}", kind.name())?;
        }
        for line in self.birth.time.iter().flatten() {
            writeln!(f, "birth   timens_offsets {line}  # linux.timeOffsets")?;
        }
        if let Some(maps) = &self.maps {
            let (uids, gids) = match &maps.writer {
                MapWriter::Runtime => (String::new(), String::new()),
                MapWriter::Single => (String::new(), " after setgroups is denied".to_owned()),
                MapWriter::Helpers(uids, gids) => (format!(" by {uids:?}"), format!(" by {gids:?}")),
            };
            writeln!(f, "runtime uid_map {}{uids}  # linux.uidMappings", ranges(&maps.uid))?;
            writeln!(f, "runtime gid_map {}{gids}  # linux.gidMappings", ranges(&maps.gid))?;
        }
        for device in &self.net_devices {
            writeln!(f, "runtime {device}  # {}", device.field())?;
        }
        for hook in &self.hooks {
            writeln!(f, "runtime {hook}  # {}", hook.field)?;
        }
        for (resource, hard) in &self.hard_limits {
            writeln!(f, "runtime prlimit {resource} hard at least {hard}  # process.rlimits")?;
        }
        if let Some(adjustment) = self.oom_score_adj {
            writeln!(f, "runtime oom_score_adj {adjustment}  # process.oomScoreAdj")?;
        }
        for (field, property) in &self.properties {
            writeln!(f, "runtime {property}, at Created  # {field}")?;
        }
        if self.mount_call == MountCall::Mount {
            writeln!(f, "init    changes mounts by mount(2), once they are attached")?;
        }
        for planned in self.init.iter() {
            writeln!(f, "init    {}  # {}", planned.step, planned.field)?;
        }
        Ok(())
    }
}

impl fmt::Display for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handle::Namespace { path, kind, foreign } => {
                write!(f, "{} namespace {path:?}", kind.name())?;
                foreign.iter().try_for_each(|field| write!(f, " other than the runtime's, for {field}"))
            }
            Handle::Tree(tree) => write!(f, "{tree}"),
            Handle::Root(pid) => write!(f, "root of process {pid}"),
            Handle::Procfs => f.write_str("the runtime's procfs"),
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open_tree {:?}", self.path)?;
        let words = [(self.recursive, " recursive"), (!self.follow, " nofollow"), (self.late, " (by init)")];
        words.iter().filter(|(on, _)| *on).try_for_each(|(_, word)| f.write_str(word))?;
        match self.must_be {
            Kind::Any => {}
            Kind::Character(major, minor) => write!(f, " a character device {major}:{minor}")?,
            Kind::Procfs => f.write_str(" a procfs")?,
        }
        write!(f, "{}", attrs(self.attr, self.deep))?;
        match &self.idmap {
            Some(Idmap { uid, gid, recursive }) => {
                let depth = if *recursive { "ridmap" } else { "idmap" };
                write!(f, " {depth} uid {} gid {}", ranges(uid), ranges(gid))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hook { status, path, args, env, timeout, .. } = self;
        write!(f, "hook {path:?} {args:?} env {env:?} reads {status:?}")?;
        timeout.iter().try_for_each(|seconds| write!(f, " within {seconds} s"))
    }
}

/// Id maps as the kernel reads them, a comma between the lines.
fn ranges(maps: &[IdMap]) -> String {
    let lines = maps.iter().map(|map| format!("{} {} {}", map.container, map.host, map.size));
    lines.collect::<Vec<_>>().join(", ")
}

/// `MOUNT_ATTR_…` bits as mount options; MOUNT_ATTR__ATIME has several for one mode, and is `atime` where it is cleared.
fn words(bits: u64) -> String {
    const ATTRS: [(u64, &str); 9] = [
        (0x1, "ro"),
        (0x2, "nosuid"),
        (0x4, "nodev"),
        (0x8, "noexec"),
        (0x70, "atime"),
        (0x10, "noatime"),
        (0x20, "strictatime"),
        (0x80, "nodiratime"),
        (0x20_0000, "nosymfollow"),
    ];
    let mut left = bits;
    let mut words: Vec<String> = Vec::new();
    for (bit, word) in ATTRS {
        if left & bit == bit {
            left &= !bit;
            words.push(word.to_owned());
        }
    }
    if left != 0 {
        words.push(format!("{left:#x}"));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(",") }
}

fn attrs(attr: Attr, deep: Attr) -> String {
    let one = |name: &str, Attr { set, clear }: Attr| match (set, clear) {
        (0, 0) => String::new(),
        (set, 0) => format!(" {name} +{}", words(set)),
        (0, clear) => format!(" {name} -{}", words(clear)),
        (set, clear) => format!(" {name} -{} +{}", words(clear), words(set)),
    };
    one("attr", attr) + &one("rattr", deep)
}

fn flags(bits: i32) -> String {
    let names: Vec<&str> = NAMESPACES.iter().filter(|row| bits & row.3 != 0).map(|row| row.1).collect();
    names.join(" ")
}

fn list(texts: &[CString]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{:?}", show(text))).collect();
    format!("[{}]", texts.join(", "))
}

fn option((key, value): &(CString, Option<CString>)) -> String {
    let key = show(key);
    value.as_deref().map_or_else(|| key.clone(), |value: &CStr| format!("{key}={}", show(value)))
}

/// Nothing without a label.
fn labelled(what: &str, label: Option<&CStr>) -> String {
    label.map_or_else(String::new, |label| format!("{what} labelled {label:?}"))
}

fn mount(f: &mut fmt::Formatter<'_>, source: &Source, point: MountPoint) -> fmt::Result {
    match source {
        Source::Tree(id) => write!(f, "{id}")?,
        Source::New { fstype, source, options, attr, copy_up, label } => {
            let options: Vec<String> = options.iter().map(option).collect();
            write!(f, "{} {source:?} [{}] attr {}", show(fstype), options.join(" "), words(*attr))?;
            if *copy_up {
                f.write_str(" after copying up")?;
            }
            f.write_str(&labelled(" root", label.as_deref()))?;
        }
    }
    if point == MountPoint::LikeSource { f.write_str(" on a place like it") } else { Ok(()) }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = match self.file {
            LabelFile::AppArmorExec => "apparmor/exec",
            LabelFile::Exec => "exec",
            LabelFile::KeyCreate => "keycreate",
        };
        write!(f, "label attr/{file} {:?} by {}", self.text, self.proc)
    }
}

fn capabilities(f: &mut fmt::Formatter<'_>, sets: [u64; 4]) -> fmt::Result {
    f.write_str("capabilities")?;
    let mut named = ["effective", "permitted", "inheritable", "ambient"].into_iter().zip(sets);
    named.try_for_each(|(name, set)| write!(f, " {name} {set:#x}"))
}

fn console(f: &mut fmt::Formatter<'_>, size: Option<(u16, u16)>, bind: bool) -> fmt::Result {
    f.write_str("terminal")?;
    size.iter().try_for_each(|(rows, columns)| write!(f, " of {rows} rows, {columns} columns"))?;
    if bind { f.write_str(", also as /dev/console") } else { Ok(()) }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Meet(point) => write!(f, "meet the runtime: {point:?}"),
            Step::BecomeRoot { setgroups } => write!(f, "become 0:0 (setgroups {setgroups})"),
            Step::Guard => f.write_str("guard: die with the runtime, undumpable"),
            Step::Unguard => f.write_str("guard no more: outlive the runtime"),
            Step::Unshare(bits) => write!(f, "unshare {}", flags(*bits)),
            Step::Setns(id, kind) => write!(f, "setns {} {id}", kind.name()),
            Step::Enter(bits) => write!(f, "setns to the container's process: {}", flags(*bits)),
            Step::EnterRoot(id) => write!(f, "chroot to the container's root {id}"),
            Step::Fork => f.write_str("clone3(CLONE_PARENT), exit: the newborn goes on"),
            Step::Setsid => f.write_str("setsid"),
            Step::SessionKeyring(name) => write!(f, "session keyring {name:?}"),
            Step::LoopbackUp => f.write_str("loopback up"),
            Step::Hostname(name) => write!(f, "sethostname {name:?}"),
            Step::Domainname(name) => write!(f, "setdomainname {name:?}"),
            Step::IsolateMounts(bits) => write!(f, "propagation of all mounts {}", propagation_name(*bits)),
            Step::OpenTree(id) => write!(f, "open {id}"),
            Step::AttachRoot { tree, at, propagation } => {
                write!(f, "attach root {tree} at {at:?} propagation {}", propagation_name(*propagation))
            }
            Step::OpenRoot(at) => write!(f, "open root {at:?}"),
            Step::Mount { at, source, point, links, attr, propagation } => {
                write!(f, "mount {at} ({links:?}): ")?;
                mount(f, source, *point)?;
                write!(f, "{}", attrs(*attr, Attr::default()))?;
                propagation.iter().try_for_each(|bits| write!(f, " propagation {}", propagation_name(*bits)))
            }
            Step::SetAttr { at, attr, deep, propagation } => {
                write!(f, "set {at}{}", attrs(*attr, *deep))?;
                propagation.iter().try_for_each(|bits| write!(f, " propagation {}", propagation_name(*bits)))
            }
            Step::Remount { at, flags, data } => write!(f, "remount {at} flags {flags:#x} {data:?}"),
            Step::CopySymlink { source, at } => write!(f, "copy symlink {source:?} to {at}"),
            Step::Device { at, mode, number: (major, minor), uid, gid } => {
                write!(f, "mknod {at} {mode:o} {major}:{minor} owner {uid}:{gid}")
            }
            Step::Symlink { target, at } => write!(f, "symlink {at} -> {}", show(target)),
            Step::Mask { at, null, label } => {
                write!(f, "mask {at} by {null}{}", labelled(" or a tmpfs", label.as_deref()))
            }
            Step::ReadOnly { at, recursive } => {
                write!(f, "read-only {at}{}", if *recursive { " recursive" } else { "" })
            }
            Step::Sysctl { path, value } => write!(f, "sysctl {} = {value:?}", show(path)),
            Step::Hook(hook) => write!(f, "{hook}"),
            Step::Console { size, bind } => console(f, *size, *bind),
            Step::PivotRoot => f.write_str("pivot_root"),
            Step::MoveRoot => f.write_str("move root, chroot"),
            Step::Chroot => f.write_str("chroot"),
            Step::RootPropagation(bits) => write!(f, "propagation of / {}", propagation_name(*bits)),
            Step::RootReadonly => f.write_str("root read-only"),
            Step::MakeDirectory(at) => write!(f, "mkdir {at} if missing"),
            Step::Gate => f.write_str("wait for start"),
            Step::Become(act) => write!(f, "{act}"),
        }
    }
}

impl fmt::Display for Become {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Become::Rlimit(resource, soft, hard) => write!(f, "setrlimit {resource} soft {soft} hard {hard}"),
            Become::RaiseLimit(resource, hard) => write!(f, "setrlimit {resource} to {hard} or more for now"),
            Become::Personality(persona) => write!(f, "personality {persona:#x}"),
            Become::Property(property) => write!(f, "{property}"),
            Become::Label(label) => write!(f, "{label}"),
            Become::Umask(mask) => write!(f, "umask {mask:04o}"),
            Become::NoNewPrivileges => f.write_str("no_new_privs"),
            Become::Bounding(keep) => write!(f, "bounding set {keep:#x}"),
            Become::User { uid, gid, groups, setgroups } => {
                write!(f, "become {uid}:{gid} groups {groups:?} (setgroups {setgroups})")
            }
            Become::Capabilities { effective, permitted, inheritable, ambient } => {
                capabilities(f, [*effective, *permitted, *inheritable, *ambient])
            }
            Become::Chdir { path, again } => {
                write!(f, "chdir {path:?}{}", if *again { " if not yet there" } else { "" })
            }
            Become::Home(uid) => write!(f, "HOME of uid {uid}"),
            Become::FindExecutable { name, path } => write!(f, "find {name:?} in PATH={path}"),
            Become::Control => f.write_str("controlling terminal"),
            Become::ListenFds(count) => write!(f, "LISTEN_FDS={count} and LISTEN_PID"),
            Become::KeepDescriptors(count) => write!(f, "keep descriptors 0 to {}", 2 + count),
            Become::Seccomp { flags, listener, at_once } => {
                let listener = if *listener { ", the listener to the runtime" } else { "" };
                let now = if *at_once { ", at once" } else { "" };
                write!(f, "seccomp filter with flags {flags:#x}{listener}{now}")
            }
            Become::Execve { args, env } => write!(f, "execve {} env {}", list(args), list(env)),
        }
    }
}
