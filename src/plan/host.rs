//! What planning may know of the machine: a plain value, filled by `container::probe`, invented by tests.

use super::layout::CgroupLayout;

/// The machine as a plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Kernel version: major, minor.
    pub kernel: (u32, u32),
    /// Effective user and group of the runtime.
    pub ids: (u32, u32),
    /// CAP_SYS_ADMIN over the runtime's own mount namespace: it may clone mounts and make device nodes.
    pub privileged: bool,
    /// The runtime itself runs in a user namespace other than the initial one.
    pub nested: bool,
    /// mount_setattr(2) is there (Linux 5.12).
    pub mount_setattr: bool,
    /// Bits of the capabilities that this kernel knows.
    pub capabilities: u64,
    /// Bits of the runtime's own permitted capabilities.
    pub permitted: u64,
    /// The set-uid helpers of rootless containers, if installed.
    pub newuidmap: Option<std::path::PathBuf>,
    /// The same for groups.
    pub newgidmap: Option<std::path::PathBuf>,
    /// How control groups are mounted here.
    pub cgroups: CgroupLayout,
}
