//! Containers that run while others are measured: what `exec` enters, one of each runtime.
//!
//! Its process reads a pipe that this program holds: however this program ends, the pipe does, and so the container.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::bundle;
use crate::peers::Peer;
use crate::stopwatch::{Outcome, pid_file, timed};

/// A running container; deleted when dropped.
pub(crate) struct Holder {
    /// What its runtime knows it by.
    pub(crate) id: String,
    /// Its process.
    pub(crate) pid: i32,
    /// Its folder on the cgroup2 mount.
    pub(crate) cgroup: String,
    delete: Vec<String>,
    alive: Option<OwnedFd>,
}

impl Holder {
    /// Creates and starts one.
    pub(crate) fn start(peer: &Peer, id: String) -> Result<Self> {
        let (input, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("pipe2")?;
        let file = pid_file(&id);
        let create = peer.command("create", &["--bundle", bundle::HOLDER, "--pid-file", &file, &id]);
        let delete = peer.command("delete", &["--force", &id]);
        // From here on it is deleted, whatever comes.
        let mut holder = Holder { id, pid: 0, cgroup: String::new(), delete, alive: Some(alive) };
        let steps = [create, peer.command("start", &[&holder.id])];
        match timed(&steps, Stdio::from(input))? {
            Outcome::Good { .. } => {}
            Outcome::Failed(why) => bail!("a container to enter: {why}"),
            Outcome::Hung => bail!("a container to enter: create or start hung"),
        }
        let text = std::fs::read_to_string(&file).context(file)?;
        holder.pid = text.trim().parse().with_context(|| format!("{}: {text:?}", peer.name))?;
        holder.cgroup = cgroup_of(holder.pid)?;
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.alive = None;
        if let Err(error) = timed(std::slice::from_ref(&self.delete), Stdio::null()) {
            eprintln!("bench: {}: not deleted: {error:#}", self.id);
        }
    }
}

/// Where a process is on the arena's cgroup2 mount; it may be a hybrid machine.
fn cgroup_of(pid: i32) -> Result<String> {
    let file = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    match text.lines().find_map(|line| line.strip_prefix("0::")) {
        Some(path) => Ok(format!("/sys/fs/cgroup{path}")),
        None => bail!("{file}: no cgroup v2"),
    }
}
