//! The operations of the runtime-spec (runtime.md, Operations), one file each. They never print and never parse flags.

use std::path::PathBuf;

/// What holds for every command: the global options.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where states live; each container has a directory of its name here.
    pub root: PathBuf,
    /// Who makes control groups.
    pub cgroups: CgroupManager,
    /// `--rootless`: none is `auto`.
    pub rootless: Option<bool>,
}

/// `--cgroup-manager`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupManager {
    /// The runtime writes into the cgroup file systems itself.
    Cgroupfs,
    /// systemd makes a scope.
    Systemd,
    /// No control groups at all.
    Disabled,
}

/// What `create` and `run` are asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// `--config`: instead of BUNDLE/config.json.
    pub config: Option<PathBuf>,
    /// Where init's pid is written.
    pub pid_file: Option<PathBuf>,
    /// Where the terminal's master would be sent.
    pub console_socket: Option<PathBuf>,
    /// Where init's pidfd is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// MS_MOVE instead of pivot_root.
    pub no_pivot: bool,
    /// Keep the session keyring.
    pub no_new_keyring: bool,
    /// Descriptors 3 to 3+N-1 reach the container.
    pub preserve_fds: u32,
}

/// What `run` is asked for besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Return once the process runs.
    pub detach: bool,
    /// Do not delete the container when it has exited.
    pub keep: bool,
    /// Do not become a subreaper.
    pub no_subreaper: bool,
}
