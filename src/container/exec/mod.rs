//! exec: a further process in a container that is there already (no operation of the runtime-spec; as runc has it).
//!
//! Nothing of the container is changed, so that no lock is taken, and any number may come at once. What fails leaves
//! nothing: the process is known to nobody until its program runs.

mod entry;
mod wanted;

use super::id::ContainerId;
use super::process::Process as Alive;
use super::state::{Facts, Status};
use super::store::Seen;
use super::terminal::Console;
use super::{ExecOptions, Settings, create, foreground, probe, seccomp};
use crate::cgroup::entrance::Entrance;
use crate::error::{Error, Result, phrases};
use crate::plan::cgroup::sub::SubCgroups;
use crate::plan::exec::{self as planning, Request};
use crate::plan::host::Host;
use crate::spec;
use entry::Entry;

/// Runs a process in a container.
///
/// # Returns
/// In the foreground its exit status, 128+n if signal n killed it; detached, 0 once its program runs.
pub(crate) fn exec(settings: &Settings, id: &str, options: &ExecOptions) -> Result<u8> {
    let act = || {
        let id = ContainerId::new(id)?;
        let (preserve_fds, listen_fds) = create::handed_over(settings, options.preserve_fds)?;
        let mut seen = Seen::open(&settings.root, &id)?;
        let container = enterable(&mut seen, options.ignore_paused)?;
        let joining = &seen.saved().joining;
        let mut warnings = Vec::new();
        let process = wanted::process(options, joining, &mut warnings)?;
        spec::check_process(&process)?;
        let terminal = process.terminal().unwrap_or(false);
        let console = Console::of(terminal, options.detach, options.console_socket.as_deref())?;
        let chosen = SubCgroups::parse(&options.cgroups)?;
        let entrance = seen.saved().cgroup.as_ref().map(|record| record.entrance(&chosen)).transpose()?;
        let attach = entrance.as_ref().is_some_and(Entrance::attaches_after_birth);
        let request =
            Request { id: id.as_str(), container: container.pid(), preserve_fds, listen_fds, attach };
        let host = Host { lsm: probe::lsm(Some(&process), None), ..probe::rights()? };
        let plan = planning::plan(&process, joining, &host, &request)?;
        warnings.iter().chain(&plan.warnings).for_each(|warning| (settings.warn)(warning));
        let filter = seccomp::kept(seen.dir(), seen.saved())?;
        let (plan, container, saved) = (&plan, &container, seen.saved());
        let entry = Entry { plan, options, container, saved, console, entrance, filter };
        let (newborn, terminal) = entry.carry_out()?;
        if options.detach { Ok(0) } else { foreground::attend(&newborn, terminal, None) }
    };
    act().map_err(|error: Error| error.during(format!("exec {id}")))
}

/// The container's process, if the container is in a state to enter; in runc's words.
fn enterable(seen: &mut Seen, ignore_paused: bool) -> Result<Alive> {
    let Facts { status, process } = Facts::roughly(seen)?;
    match (status, process) {
        (Status::Running, Some(process)) => Ok(process),
        (Status::Paused, Some(process)) if ignore_paused => Ok(process),
        (Status::Paused, _) => Err(Error::new(phrases::EXEC_PAUSED)),
        (Status::Creating, _) => Err(Error::new("cannot exec in a container that is being created")),
        _ => Err(stopped()),
    }
}

fn stopped() -> Error {
    Error::new(phrases::EXEC_STOPPED)
}
