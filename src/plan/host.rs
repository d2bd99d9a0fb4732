//! What planning may know of the machine: a plain value, filled by `container::probe`, invented by tests.

use super::layout::CgroupLayout;

/// Security modules that give labels. Looked for only when a config has such a label: else both are false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lsm {
    /// AppArmor is enabled.
    pub(crate) apparmor: bool,
    /// SELinux is enabled, and has a policy.
    pub(crate) selinux: bool,
}

/// The machine as a plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Effective user and group of the runtime.
    pub(crate) ids: (u32, u32),
    /// CAP_SYS_ADMIN over the runtime's own mount namespace: it may clone mounts and make device nodes.
    pub(crate) privileged: bool,
    /// The runtime itself runs in a user namespace other than the initial one.
    pub(crate) nested: bool,
    /// mount_setattr(2) is there (Linux 5.12).
    pub(crate) mount_setattr: bool,
    /// Bits of the capabilities that this kernel knows.
    pub(crate) capabilities: u64,
    /// Bits of the runtime's own permitted capabilities.
    pub(crate) permitted: u64,
    /// The set-uid helpers of rootless containers, if installed.
    pub(crate) newuidmap: Option<std::path::PathBuf>,
    /// The same for groups.
    pub(crate) newgidmap: Option<std::path::PathBuf>,
    /// How control groups are mounted here.
    pub(crate) cgroups: CgroupLayout,
    /// The security modules, of those that the config asks for.
    pub(crate) lsm: Lsm,
    /// Where resctrl is mounted; looked up only for a config that has linux.intelRdt.
    pub(crate) resctrl: Option<String>,
    /// The systemd that shall make the control groups; none: the runtime makes them.
    pub(crate) systemd: Option<super::cgroup::systemd::Manager>,
}
