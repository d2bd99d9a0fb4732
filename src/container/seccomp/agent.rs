//! The seccomp agent: who hears of SCMP_ACT_NOTIFY. It gets the listener's descriptor with the container process state
//! (config-linux.md, The Container Process State), one connection for one process.
//!
//! It is called before the process may go on, so that nothing runs when there is no agent, and told as soon as the
//! filter is loaded. Both waits are bounded.

use crate::container::saved::Saved;
use crate::container::state::{State, Status};
use crate::error::{Error, Result};
use crate::plan::seccomp::Agent;
use crate::sys::socket;
use serde::Serialize;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long an agent may take to accept us, and again to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of the one descriptor (runtime-spec, specs-go/state.go).
const SECCOMP_FD: &str = "seccompFd";

/// config-linux.md, The Container Process State.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: State,
}

/// A connection to the agent, on which nothing was said yet.
pub(in crate::container) struct Caller<'a> {
    socket: OwnedFd,
    saved: &'a Saved,
    status: Status,
    pid: &'a AtomicU32,
}

impl<'a> Caller<'a> {
    /// Connects, if the container's filter has a listener: for a process of a container with this status. The
    /// process's pid, in the runtime's pid namespace, may be unknown until it has loaded the filter.
    ///
    /// # Errors
    /// Nobody listens at linux.seccomp.listenerPath, or accepts.
    pub(in crate::container) fn connect(
        saved: &'a Saved,
        status: Status,
        pid: &'a AtomicU32,
    ) -> Result<Option<Self>> {
        let Some(agent) = agent(saved) else { return Ok(None) };
        let socket = socket::connect_stream_within(&agent.path, PATIENCE).map_err(|e| {
            e.at(field(agent)).hint("the seccomp agent must listen before the container starts")
        })?;
        Ok(Some(Caller { socket, saved, status, pid }))
    }

    /// Hands the listener over; the connection ends with it.
    pub(in crate::container) fn tell(self, listener: OwnedFd) -> Result<()> {
        let Some(agent) = agent(self.saved) else { return Ok(()) };
        let state = ProcessState {
            oci_version: &self.saved.oci_version,
            fds: [SECCOMP_FD],
            pid: self.pid.load(Relaxed) as i32,
            metadata: agent.metadata.as_deref(),
            state: State::new(self.saved, self.status),
        };
        let state = serde_json::to_vec(&state).map_err(|e| Error::new(e.to_string()).at(field(agent)))?;
        socket::send(self.socket.as_fd(), &state, &[listener.as_fd()])
            .map_err(|e| e.at(field(agent)).hint(format!("the agent does not read within {PATIENCE:?}")))
    }
}

fn agent(saved: &Saved) -> Option<&Agent> {
    saved.joining.seccomp.as_ref()?.agent.as_ref()
}

fn field(agent: &Agent) -> String {
    format!("linux.seccomp.listenerPath {:?}", agent.path)
}
