//! The vocabulary of a plan: [`Step`], the [`Field`] of config.json it comes from, the [`Point`]s where runtime and
//! init meet, the [`Handle`]s that the runtime opens before birth. Data only: nothing here decides or does;
//! `Display` is the text that `onggi plan` prints and that golden tests compare.

pub(crate) use super::property::{Property, SchedulerAttributes};
use crate::error::{Error, Result};
use std::ffi::{CStr, CString};
use std::fmt;

/// Where in config.json a step comes from, as a JSON path: `mounts[3] "/etc/resolv.conf"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Field(pub(crate) String);

impl Field {
    /// A field by its JSON path.
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Field(path.into())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of the plan: what init does, and the field that asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The field of config.json.
    pub(crate) field: Field,
    /// The act.
    pub(crate) step: Step,
}

/// A list of acts in the making.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Steps(Vec<Planned>);

impl Steps {
    /// The next step.
    pub(crate) fn push(&mut self, field: impl Into<String>, step: impl Into<Step>) {
        self.0.push(Planned { field: Field(field.into()), step: step.into() });
    }

    /// The caller's descriptors that reach the process: [`Become::KeepDescriptors`].
    pub(crate) fn preserved(&self) -> Vec<i32> {
        let kept = self.0.iter().find_map(|planned| match planned.step {
            Step::Become(Become::KeepDescriptors(count)) => Some(count),
            _ => None,
        });
        (3..).take(kept.unwrap_or(0) as usize).collect()
    }
}

impl std::ops::Deref for Steps {
    type Target = [Planned];

    fn deref(&self) -> &[Planned] {
        &self.0
    }
}

impl std::ops::DerefMut for Steps {
    fn deref_mut(&mut self) -> &mut [Planned] {
        &mut self.0
    }
}

/// A named meeting of runtime and init. Init says `At(point)`, does nothing more until it hears `Go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Point {
    /// Born, nothing done: the runtime writes id maps, attaches the process to cgroup v1 hierarchies, raises hard limits.
    Born = 1,
    /// The network namespace is there, with nothing in it yet: linux.netDevices.
    Network = 2,
    /// Namespaces and mounts stand, the root is not yet changed: prestart and createRuntime hooks.
    Mounted = 3,
    /// Everything but the user's program: the state becomes `created`. With `exec`: what only the runtime may set of the
    /// process that was born last.
    Created = 4,
    /// The container was started and startContainer hooks are done: execve comes next.
    Going = 5,
    /// The filter is loaded; the descriptor of its notifications comes along. Nobody waits.
    Listening = 6,
}

impl Point {
    /// The point with this number, as it stands in a message.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let all =
            [Point::Born, Point::Network, Point::Mounted, Point::Created, Point::Going, Point::Listening];
        all.into_iter().find(|point| *point as u8 == byte)
    }
}

/// The kinds of namespaces, named as the runtime-spec names them (config-linux.md, Namespaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Namespace {
    /// CLONE_NEWPID
    Pid,
    /// CLONE_NEWNET
    Network,
    /// CLONE_NEWNS
    Mount,
    /// CLONE_NEWIPC
    Ipc,
    /// CLONE_NEWUTS
    Uts,
    /// CLONE_NEWUSER
    User,
    /// CLONE_NEWCGROUP
    Cgroup,
    /// CLONE_NEWTIME
    Time,
}

/// Every kind once: its name in config.json, its file in `/proc/PID/ns`, its clone flag.
pub(crate) const NAMESPACES: [(Namespace, &str, &str, i32); 8] = [
    (Namespace::Pid, "pid", "pid", nix::libc::CLONE_NEWPID),
    (Namespace::Network, "network", "net", nix::libc::CLONE_NEWNET),
    (Namespace::Mount, "mount", "mnt", nix::libc::CLONE_NEWNS),
    (Namespace::Ipc, "ipc", "ipc", nix::libc::CLONE_NEWIPC),
    (Namespace::Uts, "uts", "uts", nix::libc::CLONE_NEWUTS),
    (Namespace::User, "user", "user", nix::libc::CLONE_NEWUSER),
    (Namespace::Cgroup, "cgroup", "cgroup", nix::libc::CLONE_NEWCGROUP),
    (Namespace::Time, "time", "time", 0x80), // CLONE_NEWTIME, Linux 5.6; libc lacks it
];

impl Namespace {
    fn row(self) -> &'static (Namespace, &'static str, &'static str, i32) {
        NAMESPACES.iter().find(|row| row.0 == self).expect("NAMESPACES has a row for each variant")
    }

    /// The name in config.json.
    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// The file below `/proc/PID/ns/`.
    pub(crate) fn file(self) -> &'static str {
        self.row().2
    }

    /// The `CLONE_NEW…` flag.
    pub(crate) fn flag(self) -> i32 {
        self.row().3
    }
}

/// The place of an open descriptor in the list that runtime and init share: [`super::Plan::handles`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandleId(pub(crate) usize);

/// Something of the host that is opened before anything hostile can interfere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handle {
    /// A namespace to join. `foreign` names the sysctl that may only be set if it is not the host's own.
    Namespace {
        /// The path in config.json.
        path: CString,
        /// Its kind, checked on the descriptor.
        kind: Namespace,
        /// The field that is refused when the namespace is the runtime's own.
        foreign: Option<Field>,
    },
    /// A detached copy of a mount, ready to be moved into place.
    Tree(Tree),
    /// The runtime's own /proc, checked to be procfs.
    Procfs,
    /// The root directory of the process with this pid, a container's.
    Root(i32),
}

/// A bind mount's source, cloned by open_tree(2) and given its attributes while nobody can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The path on the host, absolute.
    pub(crate) path: CString,
    /// With all mounts below it (`rbind`).
    pub(crate) recursive: bool,
    /// False: a symbolic link at the end is itself the source (`src-nofollow`).
    pub(crate) follow: bool,
    /// Attributes of the topmost mount.
    pub(crate) attr: Attr,
    /// Attributes of all of its mounts (the `r…` options).
    pub(crate) deep: Attr,
    /// The user namespace whose mapping the mount gets: `idmap`, `ridmap`.
    pub(crate) idmap: Option<Idmap>,
    /// What the source must be, checked on the descriptor.
    pub(crate) must_be: Kind,
    /// Opened by init, in its own namespaces, because the runtime may not clone mounts (rootless), or because it is not
    /// there before birth.
    pub(crate) late: bool,
}

/// What a bind mount's source must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything.
    Any,
    /// The character device with this major and minor number.
    Character(u32, u32),
    /// On a procfs: the only thing that may be bound over /proc.
    Procfs,
}

/// How symbolic links of the container are treated on the way to a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Followed inside the root.
    Follow,
    /// The last component is itself the place (`dest-nofollow`).
    NotLast,
    /// None at all may be met: procfs and sysfs.
    Refuse,
}

/// An id-mapped mount (mount_setattr(2), Linux 5.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idmap {
    /// uid mappings of the mount.
    pub(crate) uid: Vec<IdMap>,
    /// gid mappings of the mount.
    pub(crate) gid: Vec<IdMap>,
    /// With all mounts below it (`ridmap`).
    pub(crate) recursive: bool,
}

/// One line of a uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct IdMap {
    /// First id inside.
    pub(crate) container: u32,
    /// First id outside.
    pub(crate) host: u32,
    /// How many.
    pub(crate) size: u32,
}

impl IdMap {
    /// The id outside of an id inside, if this line maps it.
    pub(crate) fn host_id(&self, inside: u32) -> Option<u32> {
        let offset = inside.checked_sub(self.container).filter(|offset| *offset < self.size)?;
        self.host.checked_add(offset)
    }
}

/// What mount_setattr(2) sets and clears: `MOUNT_ATTR_…` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attr {
    /// Bits to set.
    pub(crate) set: u64,
    /// Bits to clear.
    pub(crate) clear: u64,
}

impl Attr {
    /// Nothing to change.
    pub(crate) fn is_empty(self) -> bool {
        self == Attr::default()
    }
}

/// The call that changes mounts: their attributes, their propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MountCall {
    /// mount_setattr(2): whole trees, and mounts that nobody sees yet. Linux 5.12.
    #[default]
    MountSetattr,
    /// mount(2) through a checked descriptor: the attributes of one mount, once it is attached.
    Mount,
}

/// A path inside the container: cleaned, without the leading slash (`.` is the root), no `..`, no NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inside(pub(crate) CString);

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        if path == "." { f.write_str("/") } else { write!(f, "/{path}") }
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A bind mount: a tree opened before.
    Tree(HandleId),
    /// A new file system: type, source, and the options that are the file system's own.
    New {
        /// As in /proc/filesystems.
        fstype: CString,
        /// What /proc/mounts shows as the device.
        source: CString,
        /// `key=value` or a flag, in order.
        options: Vec<(CString, Option<CString>)>,
        /// `MOUNT_ATTR_…` bits.
        attr: u64,
        /// `tmpcopyup`: the directory's content is copied up before the mount covers it.
        copy_up: bool,
        /// The SELinux label that its root directory gets, where a mount option cannot give it.
        label: Option<CString>,
    },
}

/// What a mount point has to be when it does not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountPoint {
    /// A directory.
    Directory,
    /// As the source is: a directory for a directory, else an empty file.
    LikeSource,
}

/// A security label that a process gives itself, for its next execve or the keys that it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// [`Handle::Procfs`].
    pub(crate) proc: HandleId,
    /// Where it is written.
    pub(crate) file: LabelFile,
    /// What is written; nothing takes the label away.
    pub(crate) text: CString,
}

/// A file of /proc/PID/attr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelFile {
    /// apparmor/exec, or exec where there is only one security module.
    AppArmorExec,
    /// exec
    Exec,
    /// keycreate
    KeyCreate,
}

/// One act of init. The order of a plan's steps is the order of execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Say `At`, wait for `Go`.
    Meet(Point),
    /// uid 0, gid 0 and no supplementary group in the new user namespace.
    BecomeRoot {
        /// setgroups(2) is allowed (it is not with a single mapping of an unprivileged user).
        setgroups: bool,
    },
    /// SIGKILL when the runtime dies before `created`; not dumpable until execve.
    Guard,
    /// What `Guard` arranged for the runtime's death is taken back: execve comes next.
    Unguard,
    /// New namespaces, one unshare(2).
    Unshare(i32),
    /// Join a namespace that only init may stand in.
    Setns(HandleId, Namespace),
    /// exec: these namespaces of the container's process are entered, by its pidfd in one setns(2) (Linux 5.8).
    Enter(i32),
    /// exec: the root of the container's process becomes the root; for containers that share the runtime's mounts.
    EnterRoot(HandleId),
    /// exec: the process that the rest of the list is for is born, a child of the runtime, into the namespaces entered
    /// before; the one before it ends.
    Fork,
    /// A new session.
    Setsid,
    /// A new session keyring of this name (keyctl JOIN_SESSION_KEYRING).
    SessionKeyring(CString),
    /// The loopback interface is set up.
    LoopbackUp,
    /// sethostname(2).
    Hostname(String),
    /// setdomainname(2).
    Domainname(String),
    /// mount(2) propagation of `/` and everything below, before the root is attached.
    IsolateMounts(u64),
    /// Clone this mount in init's namespaces (rootless).
    OpenTree(HandleId),
    /// The root file system is attached at its own path and becomes the root handle.
    AttachRoot {
        /// The detached clone.
        tree: HandleId,
        /// Where it stands on the host.
        at: CString,
        /// Its propagation, MS_REC included; never shared, or pivot_root(2) refuses.
        propagation: u64,
    },
    /// Without a mount namespace: the root directory as it is.
    OpenRoot(CString),
    /// A mount of config.json.
    Mount {
        /// Where.
        at: Inside,
        /// What.
        source: Source,
        /// What to create when nothing is there.
        point: MountPoint,
        /// Symbolic links on the way.
        links: Links,
        /// Bits to change once it is attached: what [`MountCall::Mount`] could not change before.
        attr: Attr,
        /// MS_SHARED … to set afterwards, MS_REC included.
        propagation: Vec<u64>,
    },
    /// A recursive change of an existing mount's attributes; also makes a mount read-only after it was filled.
    SetAttr {
        /// Where.
        at: Inside,
        /// Bits of the mount itself.
        attr: Attr,
        /// Bits of all mounts below.
        deep: Attr,
        /// MS_SHARED … to set.
        propagation: Vec<u64>,
    },
    /// `remount`: mount(2) flags and data for an existing mount.
    Remount {
        /// Where.
        at: Inside,
        /// MS_… flags.
        flags: u64,
        /// Options of the file system.
        data: CString,
    },
    /// `copy-symlink`: the source is a symbolic link to this target, which is made again inside.
    CopySymlink {
        /// The link on the host.
        source: CString,
        /// Where it is made.
        at: Inside,
    },
    /// A device node.
    Device {
        /// Where.
        at: Inside,
        /// S_IFCHR, S_IFBLK or S_IFIFO, and the permissions.
        mode: u32,
        /// Major and minor number.
        number: (u32, u32),
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A symbolic link of the spec, if nothing is there.
    Symlink {
        /// What it says.
        target: CString,
        /// Where.
        at: Inside,
    },
    /// Cover a file by /dev/null, a directory by an empty read-only tmpfs; nothing there is fine.
    Mask {
        /// Where.
        at: Inside,
        /// /dev/null of the host.
        null: HandleId,
        /// The SELinux label of the tmpfs.
        label: Option<CString>,
    },
    /// Make a path read-only; nothing there is fine.
    ReadOnly {
        /// Where.
        at: Inside,
        /// With all mounts below.
        recursive: bool,
    },
    /// A sysctl below /proc/sys, written in one write.
    Sysctl {
        /// `net/ipv4/ip_forward`.
        path: CString,
        /// Verbatim.
        value: String,
    },
    /// A hook that runs in the container's namespaces.
    Hook(Hook),
    /// A new terminal of the container's own devpts becomes 0, 1 and 2; its master is sent to whoever attends it.
    Console {
        /// Rows and columns, process.consoleSize.
        size: Option<(u16, u16)>,
        /// It is mounted on /dev/console, too.
        bind: bool,
    },
    /// pivot_root(2): the old root is gone.
    PivotRoot,
    /// `--no-pivot`: MS_MOVE and chroot(2).
    MoveRoot,
    /// No new mount namespace: chroot(2) only.
    Chroot,
    /// mount(2) propagation of the container's `/`.
    RootPropagation(u64),
    /// The root mount becomes read-only.
    RootReadonly,
    /// A directory is made if it is missing, while the root can still be written.
    MakeDirectory(Inside),
    /// The start gate: wait until `start` comes; from here on it is the peer of every message.
    Gate,
    /// What turns init into the container's process.
    Become(Become),
}

impl From<Become> for Step {
    fn from(act: Become) -> Self {
        Step::Become(act)
    }
}

/// What turns init into the container's process: its limits, its rights, its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Become {
    /// setrlimit(2): resource, soft, hard.
    Rlimit(u32, u64, u64),
    /// setrlimit(2), as high as this hard limit, or the one that is held: the step above can then come without rights.
    RaiseLimit(u32, u64),
    /// personality(2).
    Personality(u64),
    /// Something that the process sets of itself and keeps over execve.
    Property(Property),
    /// A security label.
    Label(Label),
    /// umask(2).
    Umask(u32),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// The capabilities outside this set leave the bounding set.
    Bounding(u64),
    /// Supplementary groups, gid, uid; capabilities are kept for the next step.
    User {
        /// process.user.uid
        uid: u32,
        /// process.user.gid
        gid: u32,
        /// process.user.additionalGids
        groups: Vec<u32>,
        /// setgroups(2) is allowed.
        setgroups: bool,
    },
    /// effective, permitted, inheritable, ambient; read back afterwards.
    Capabilities {
        /// Bits by capability number.
        effective: u64,
        /// Bits by capability number.
        permitted: u64,
        /// Bits by capability number.
        inheritable: u64,
        /// Bits by capability number.
        ambient: u64,
    },
    /// chdir(2) to process.cwd; must end inside the root.
    Chdir {
        /// process.cwd
        path: CString,
        /// The second try, as the container's user, if root was not let in.
        again: bool,
    },
    /// HOME from the container's /etc/passwd for this uid, `/` if it says nothing.
    Home(u32),
    /// process.args[0] is found: with a slash as it is, else in this PATH.
    FindExecutable {
        /// process.args[0]
        name: CString,
        /// The container's PATH.
        path: String,
    },
    /// The terminal on 0 becomes the controlling terminal of the session (TIOCSCTTY).
    Control,
    /// The environment says LISTEN_FDS, this number, and LISTEN_PID, the process's own (sd_listen_fds(3)).
    ListenFds(u32),
    /// Only 0, 1, 2 and this many more descriptors stay open over execve.
    KeepDescriptors(u32),
    /// seccomp(2): the program that the runtime has compiled before birth.
    Seccomp {
        /// SECCOMP_FILTER_FLAG_… bits.
        flags: u32,
        /// The listener goes to the runtime, which hands it to the agent.
        listener: bool,
        /// False: it is loaded within the next step, when all that is left to do is execve(2) itself.
        at_once: bool,
    },
    /// execve(2).
    Execve {
        /// process.args
        args: Vec<CString>,
        /// process.env
        env: Vec<CString>,
    },
}

/// How the container's process is born.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Birth {
    /// CLONE_NEWUSER and CLONE_NEWPID: what a process cannot take by itself afterwards.
    pub(crate) flags: i32,
    /// Namespaces joined by a trampoline, in this order.
    pub(crate) joins: Vec<(Field, HandleId, Namespace)>,
    /// A new time namespace, with these lines for timens_offsets.
    pub(crate) time: Option<Vec<String>>,
    /// The runtime makes itself undumpable first, so that the process is from its first moment: in a user namespace
    /// that it shares with other containers, their CAP_SYS_PTRACE would open its /proc/PID/root. Without privileges
    /// the runtime would lose its own way to /proc/PID/uid_map; then the process guards itself, after the maps.
    pub(crate) undumpable: bool,
}

impl Birth {
    /// A process in between has to stand in namespaces that the runtime must not enter.
    pub(crate) fn trampoline(&self) -> bool {
        !self.joins.is_empty() || self.time.is_some()
    }
}

/// The state of the runtime-spec as JSON, but for status and pid, which init fills in for its own hooks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StateText {
    /// Up to the value of `status`, opening quote included.
    pub(crate) head: String,
    /// From behind the value of `pid`.
    pub(crate) tail: String,
}

impl StateText {
    /// The whole text.
    pub(crate) fn with(&self, status: &str, pid: i32) -> String {
        format!("{}{status}\",\"pid\":{pid}{}", self.head, self.tail)
    }
}

/// A hook of config.json (config.md, POSIX-platform Hooks).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Hook {
    /// hooks.startContainer[0]
    pub(crate) field: String,
    /// The status in the state that the hook reads: `creating`, `created`, `running`, `stopped`.
    pub(crate) status: String,
    /// Absolute.
    pub(crate) path: String,
    /// argv, argv[0] included.
    pub(crate) args: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<String>,
    /// Seconds; none: no limit.
    pub(crate) timeout: Option<u64>,
}

/// Text of a C string for people.
pub(crate) fn show(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

/// Text for the kernel; a NUL byte is an error.
pub(super) fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("contains a NUL byte"))
}
