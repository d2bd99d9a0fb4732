//! What happens in a container, and what it uses (`runc events`, which the runtime-spec does not have). It reads, and
//! waits on descriptors: the end of the container, a lack of memory, a reader that has left, the next time to tell.
//! Nothing here may change a container or its cgroups.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Settings;
use super::id::ContainerId;
use super::interfaces::{self, Interface};
use super::process::Process;
use super::state::{Facts, Status};
use super::store::Seen;
use crate::cgroup::Record;
use crate::cgroup::oom::{Notice, OomWatch};
use crate::cgroup::resctrl::{self, usage::Usage};
use crate::cgroup::stats::Stats;
use crate::error::{Error, Result, phrases};
use crate::sys::poll::{Interest, poll};

/// One line of the output, in runc's words.
#[derive(Debug, Serialize)]
struct Event<'e> {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The container's.
    id: &'e str,
    /// The figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

/// All figures of a container.
#[derive(Debug, Serialize)]
struct Data {
    #[serde(flatten)]
    cgroup: Stats,
    /// Of the container's resctrl group; empty without one.
    intel_rdt: Usage,
    /// None: the network is not the container's own.
    network_interfaces: Option<Vec<Interface>>,
}

impl Event<'_> {
    fn line(&self) -> Result<String> {
        let json =
            serde_json::to_string(self).map_err(|error| Error::new(format!("{}: {error}", self.kind)))?;
        Ok(json + "\n")
    }
}

/// A container whose process lives.
struct Watched {
    id: ContainerId,
    process: Process,
    cgroup: Record,
    resctrl: Option<resctrl::Record>,
}

impl Watched {
    fn find(settings: &Settings, id: &str) -> Result<Self> {
        let id = ContainerId::new(id)?;
        let mut seen = Seen::open(&settings.root, &id)?;
        let Facts { status, process } = Facts::roughly(&mut seen)?;
        let process = process.filter(|_| status != Status::Stopped).ok_or_else(|| not_running(&id))?;
        let saved = seen.saved();
        let (cgroup, resctrl) = (saved.cgroup.clone().unwrap_or_default(), saved.resctrl.clone());
        Ok(Watched { id, process, cgroup, resctrl })
    }

    /// The line of what it uses now; none if it has ended, since then the figures may be anything's.
    fn stats(&self) -> Result<Option<String>> {
        let read = || {
            let cgroup = Stats::of(&self.cgroup)?;
            let network_interfaces = interfaces::of(self.process.pid())?;
            let intel_rdt =
                self.resctrl.as_ref().map_or(Ok(None), resctrl::Record::usage)?.unwrap_or_default();
            Ok(Data { cgroup, intel_rdt, network_interfaces })
        };
        let data = read();
        if self.process.exited(Duration::ZERO)? {
            return Ok(None);
        }
        Event { kind: "stats", id: self.id.as_str(), data: Some(data?) }.line().map(Some)
    }

    fn oom(&self) -> Result<String> {
        Event { kind: "oom", id: self.id.as_str(), data: None }.line()
    }
}

/// runc's phrase.
fn not_running(id: &ContainerId) -> Error {
    Error::new(format!("container with id {} {}", id.as_str(), phrases::NOT_RUNNING_WITH_ID))
}

/// What the container uses now, as one line of JSON with its end.
///
/// # Errors
/// The container does not exist, or is not running.
pub(crate) fn stats(settings: &Settings, id: &str) -> Result<String> {
    let look = || {
        let watched = Watched::find(settings, id)?;
        watched.stats()?.ok_or_else(|| not_running(&watched.id))
    };
    look().map_err(|error| error.during(format!("events {id}")))
}

/// Gives `tell` a line of what the container uses every `interval`, and one each time that it was out of memory, until
/// the container stops or its reader has left. `reader`: the descriptor that `tell` writes to.
///
/// # Errors
/// The container does not exist, or is not running; `tell` fails. Figures that cannot be read are warned about: the
/// next ones may be.
pub(crate) fn follow(
    settings: &Settings,
    id: &str,
    interval: Duration,
    reader: BorrowedFd<'_>,
    mut tell: impl FnMut(&str) -> io::Result<()>,
) -> Result<()> {
    let mut act = || {
        let watched = Watched::find(settings, id)?;
        told(watch(settings, &watched, interval, reader, &mut tell))
    };
    act().map_err(|error: Error| error.during(format!("events {id}")))
}

/// Why the watching ended early.
enum Stop {
    /// An error of ours.
    Failed(Error),
    /// `tell` could not.
    Untold(io::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Untold(error)
    }
}

/// That nobody reads any more is a good end.
fn told(end: std::result::Result<(), Stop>) -> Result<()> {
    match end {
        Ok(()) => Ok(()),
        Err(Stop::Untold(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Untold(error)) => {
            Err(Error::call("write(standard output)", error.raw_os_error().unwrap_or(nix::libc::EIO)))
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn watch(
    settings: &Settings,
    watched: &Watched,
    interval: Duration,
    reader: BorrowedFd<'_>,
    tell: &mut impl FnMut(&str) -> io::Result<()>,
) -> std::result::Result<(), Stop> {
    let mut oom = OomWatch::on(&watched.cgroup).unwrap_or_else(|error| {
        (settings.warn)(&format!("a lack of memory will not be told: {error}"));
        None
    });
    let mut next = Instant::now().checked_add(interval);
    loop {
        let mut fds = vec![(watched.process.fd(), Interest::Read), (reader, Interest::HangUp)];
        fds.extend(oom.as_ref().map(OomWatch::wake));
        let ready = poll(&fds, next)?;
        let (ended, unread) = (ready[0], ready[1]);
        if unread {
            return Ok(());
        }
        // Also without a call: the kernel tells of changes at most every 10 ms, and the container's end may be sooner.
        let notice = oom.as_mut().map_or(Ok(Notice::None), OomWatch::look)?;
        if matches!(notice, Notice::Oom | Notice::Gone(true)) {
            tell(&watched.oom()?)?;
        }
        if ended || matches!(notice, Notice::Gone(_)) {
            return Ok(());
        }
        let now = Instant::now();
        if next.is_some_and(|next| next <= now) {
            match watched.stats() {
                Ok(Some(line)) => tell(&line)?,
                Ok(None) => continue,
                Err(error) => (settings.warn)(&error.to_string()),
            }
            next = later(next, interval, Instant::now());
        }
    }
}

/// When to tell next: times that have passed meanwhile are left out.
fn later(last: Option<Instant>, interval: Duration, now: Instant) -> Option<Instant> {
    let next = last?.checked_add(interval)?;
    if next > now { Some(next) } else { now.checked_add(interval) }
}

#[cfg(test)]
mod tests {
    use super::super::state::fixture;
    use super::*;
    use std::os::fd::AsFd;

    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn times_that_have_passed_are_left_out() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(later(Some(start), SHORT, after(3)), Some(after(10)));
        assert_eq!(later(Some(start), SHORT, after(95)), Some(after(105)));
        assert_eq!(later(Some(start), Duration::MAX, start), None);
        assert_eq!(later(None, SHORT, start), None);
    }

    #[test]
    fn lines_have_runcs_form() {
        let data = Data { cgroup: Stats::default(), intel_rdt: Usage::default(), network_interfaces: None };
        let line = Event { kind: "stats", id: "a", data: Some(data) }.line().unwrap();
        assert!(line.starts_with(r#"{"type":"stats","id":"a","data":{"cpu":{"#), "{line}");
        assert!(line.ends_with(",\"hugetlb\":{},\"intel_rdt\":{},\"network_interfaces\":null}}\n"), "{line}");
        let line = Event { kind: "oom", id: "a", data: None }.line().unwrap();
        assert_eq!(line, "{\"type\":\"oom\",\"id\":\"a\"}\n");
    }

    #[test]
    fn tells_until_the_container_stops() {
        let temp = tempfile::tempdir().unwrap();
        let settings = fixture::settings(temp.path());
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut child = Some(fixture::running(&settings, "a"));
        let mut lines = 0;
        follow(&settings, "a", SHORT, null.as_fd(), |line| {
            assert!(line.starts_with(r#"{"type":"stats","id":"a","data":{"#) && line.ends_with("}\n"));
            lines += 1;
            if lines == 3 {
                fixture::end(child.take().unwrap());
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(lines, 3);
        let error = stats(&settings, "a").unwrap_err().to_string();
        assert_eq!(error, "events a: container with id a is not running");
        let error = follow(&settings, "a", SHORT, null.as_fd(), |_| Ok(())).unwrap_err().to_string();
        assert_eq!(error, "events a: container with id a is not running");
        let error = stats(&settings, "b").unwrap_err().to_string();
        assert_eq!(error, "events b: container does not exist");
        assert!(fixture::warnings().is_empty());
    }

    #[test]
    fn ends_with_its_reader() {
        let temp = tempfile::tempdir().unwrap();
        let settings = fixture::settings(temp.path());
        let child = fixture::running(&settings, "a");
        let null = std::fs::File::open("/dev/null").unwrap();
        let fails = |kind: io::ErrorKind| move |_: &str| Err(io::Error::from(kind));
        follow(&settings, "a", SHORT, null.as_fd(), fails(io::ErrorKind::BrokenPipe)).unwrap();
        let error = follow(&settings, "a", SHORT, null.as_fd(), |_| Err(io::Error::from_raw_os_error(28)));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "events a: write(standard output): ENOSPC: no space left on device");
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        follow(&settings, "a", Duration::MAX, writer.as_fd(), |_| unreachable!()).unwrap();
        fixture::end(child);
    }
}
