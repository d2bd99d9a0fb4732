//! What is kept of a container: the record in state.json, which names things (pid and start time, cgroup) and believes
//! nothing of them; the names of the files beside it. `store` says where they stand and who may touch them.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::SystemTime;

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::id::ContainerId;
use crate::cgroup::{Record, resctrl};
use crate::error::{Error, Result};
use crate::plan::exec::Joining;
use crate::plan::step::Hook;
use crate::spec;
use crate::sys::dir;

/// The record.
pub(super) const STATE: &str = "state.json";
/// The program of linux.seccomp in a container's directory.
pub(super) const FILTER: &str = "seccomp";
/// Of the record's format.
pub(super) const VERSION: u32 = 1;
/// Annotations and hooks come from a config.json, which has a bound of its own.
const STATE_LIMIT: u64 = 64 << 20;

/// What is known of a container, as state.json holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Of this format.
    pub(crate) version: u32,
    /// `ociVersion` of config.json.
    pub(crate) oci_version: String,
    /// The container's id.
    pub(crate) id: String,
    /// The bundle directory, absolute.
    pub(crate) bundle: PathBuf,
    /// The root file system, absolute.
    pub(crate) rootfs: PathBuf,
    /// The config.json that was read, absolute.
    pub(crate) config: PathBuf,
    /// RFC 3339, UTC.
    pub(crate) created: String,
    /// Who created it: effective user id.
    pub(crate) owner: u32,
    /// `annotations` of config.json.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The container process, in the pid namespace of its creator; none: not yet born.
    #[serde(default)]
    pub(crate) pid: Option<i32>,
    /// Its start time, in clock ticks since boot; a pid without one is nobody's.
    #[serde(default)]
    pub(crate) start_time: Option<u64>,
    /// It has a pid namespace of its own, so that all its processes end with the first.
    #[serde(default)]
    pub(crate) own_pids: bool,
    /// The creator is done: the process waits at the gate, or did, or (`run`) needs nobody to go on.
    #[serde(default)]
    pub(crate) ready: bool,
    /// The run of the machine in which this was written; none on a tmpfs, which does not outlive it.
    #[serde(default)]
    pub(crate) boot: Option<String>,
    /// The control groups.
    #[serde(default)]
    pub(crate) cgroup: Option<Record>,
    /// The group of resctrl.
    #[serde(default)]
    pub(crate) resctrl: Option<resctrl::Record>,
    /// `linux.resources`: of config.json, with every `update` since put over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<LinuxResources>,
    /// What processes of `exec` must know.
    #[serde(default)]
    pub(crate) joining: Joining,
    /// `hooks.poststart` of config.json.
    #[serde(default)]
    pub(crate) poststart: Vec<Hook>,
    /// `hooks.poststop` of config.json.
    #[serde(default)]
    pub(crate) poststop: Vec<Hook>,
}

impl Saved {
    /// A container of which nothing exists yet, created now by the caller.
    pub(crate) fn new(id: &ContainerId) -> Self {
        Saved {
            version: VERSION,
            oci_version: String::new(),
            id: id.as_str().to_owned(),
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            config: PathBuf::new(),
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            owner: nix::unistd::geteuid().as_raw(),
            annotations: BTreeMap::new(),
            pid: None,
            start_time: None,
            own_pids: false,
            ready: false,
            boot: None,
            cgroup: None,
            resctrl: None,
            resources: None,
            joining: Joining::default(),
            poststart: Vec::new(),
            poststop: Vec::new(),
        }
    }

    pub(super) fn load(at: BorrowedFd<'_>, id: &ContainerId) -> Result<Self> {
        let bytes = dir::read(at, STATE, STATE_LIMIT)?;
        let bad = |reason: String| Error::new(reason).at(STATE);
        let mut saved: Saved = spec::decode(&bytes).map_err(|fault| bad(format!("not a state: {fault}")))?;
        if saved.version != VERSION {
            return Err(bad(format!("version {} is not known, only {VERSION}", saved.version)));
        }
        if saved.id != id.as_str() {
            return Err(bad(format!("the state of another container, {:?}", saved.id)));
        }
        if saved.boot.is_some() && saved.boot != Some(dir::boot_id()?) {
            // Whatever has these names now, it is not ours.
            (saved.pid, saved.start_time, saved.cgroup, saved.resctrl) = (None, None, None, None);
        }
        Ok(saved)
    }

    pub(super) fn store(&self, at: BorrowedFd<'_>) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::new(e.to_string()).at(STATE))?;
        dir::replace(at, STATE, &bytes)
    }
}
