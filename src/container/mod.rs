//! The operations of the runtime-spec (runtime.md, Operations), one file each. They never print and never parse flags.

mod attend;
mod child;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
mod foreground;
mod foreign;
pub(crate) mod gate;
mod handles;
mod id;
mod interfaces;
pub(crate) mod kill;
pub(crate) mod list;
mod maps;
mod net_devices;
mod notify;
pub(crate) mod pause;
mod pid_file;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod saved;
pub(crate) mod seal;
pub(crate) mod seccomp;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod store;
mod terminal;
pub(crate) mod update;

use std::ffi::OsString;
use std::path::PathBuf;

/// What holds for every command: the global options.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where states live; each container has a directory of its name here.
    pub(crate) root: PathBuf,
    /// Who makes control groups.
    pub(crate) cgroups: CgroupManager,
    /// `--rootless`: none is `auto`.
    pub(crate) rootless: Option<bool>,
    /// How many descriptors from 3 on the caller left open: [`create::mark_inherited`].
    pub(crate) inherited: u32,
    /// LISTEN_FDS of the environment, if LISTEN_PID says that it is for us (sd_listen_fds(3)).
    pub(crate) listen_fds: Option<OsString>,
    /// NOTIFY_SOCKET of the environment (sd_notify(3)).
    pub(crate) notify_socket: Option<OsString>,
    /// Where warnings go; the command line decides.
    pub(crate) warn: fn(&str),
    /// Where that goes which only matters to who looks for a mistake.
    pub(crate) debug: fn(&str),
}

/// `--cgroup-manager`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupManager {
    /// The runtime writes into the cgroup file systems itself.
    Cgroupfs,
    /// systemd makes a scope.
    Systemd,
    /// No control groups at all.
    Disabled,
}

/// What `create` and `run` are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateOptions {
    /// The bundle directory.
    pub(crate) bundle: PathBuf,
    /// `--config`: instead of BUNDLE/config.json.
    pub(crate) config: Option<PathBuf>,
    /// Where init's pid is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Where the terminal's master would be sent.
    pub(crate) console_socket: Option<PathBuf>,
    /// Where init's pidfd is sent.
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// MS_MOVE instead of pivot_root.
    pub(crate) no_pivot: bool,
    /// Keep the session keyring.
    pub(crate) no_new_keyring: bool,
    /// Descriptors 3 to 3+N-1 reach the container.
    pub(crate) preserve_fds: u32,
}

/// What `exec` is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExecOptions {
    /// A file with the whole process as JSON; the options that describe a process then say nothing.
    pub(crate) process: Option<PathBuf>,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Working directory inside.
    pub(crate) cwd: Option<String>,
    /// NAME=value, added to the container's environment.
    pub(crate) env: Vec<String>,
    /// It gets a terminal.
    pub(crate) terminal: bool,
    /// UID[:GID]
    pub(crate) user: Option<String>,
    /// Supplementary groups, added to the container's.
    pub(crate) additional_gids: Vec<u32>,
    /// SELinux label.
    pub(crate) process_label: Option<String>,
    /// AppArmor profile.
    pub(crate) apparmor: Option<String>,
    /// PR_SET_NO_NEW_PRIVS; none: as the container.
    pub(crate) no_new_privileges: Option<bool>,
    /// Capabilities, added to the container's.
    pub(crate) capabilities: Vec<String>,
    /// Return once the process runs.
    pub(crate) detach: bool,
    /// Also in a paused container: the process begins when it is resumed.
    pub(crate) ignore_paused: bool,
    /// `[CONTROLLER:]PATH` below the container's cgroups.
    pub(crate) cgroups: Vec<String>,
    /// Where its pid is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Where the terminal's master is sent.
    pub(crate) console_socket: Option<PathBuf>,
    /// Where its pidfd is sent.
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Descriptors 3 to 3+N-1 reach it.
    pub(crate) preserve_fds: u32,
}

/// What `run` is asked for besides.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunOptions {
    /// Return once the process runs.
    pub(crate) detach: bool,
    /// Do not delete the container when it has exited.
    pub(crate) keep: bool,
    /// Do not become a subreaper.
    pub(crate) no_subreaper: bool,
}
