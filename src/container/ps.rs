//! `ps`: the processes of a container (runc's command; the runtime-spec has none). Who they are is told by the
//! container's control groups, and by nothing that the container can write; ps(1) only says more about each. Nothing
//! here may change a container, or wait for ps(1) without an end.

use std::ffi::OsString;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Settings;
use super::id::ContainerId;
use super::state::{Facts, Status};
use super::store::Seen;
use crate::error::{Error, Result, phrases};
use crate::sys::poll::{Interest, poll};
use crate::sys::{pidfd, process};

/// How long ps(1) may take; of a machine with many thousand processes it takes a second.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest row of ps(1), in bytes. Its own limit for a command line is lower.
const LONGEST: usize = 1 << 20;
/// The rows of one container altogether, in bytes.
const MOST: usize = 64 << 20;
/// So much of what ps(1) says on standard error goes into the error, in bytes.
const MOST_SAID: u64 = 2048;

/// All processes in the container's control groups and below, as numbers of the runtime's pid namespace, sorted; of a
/// stopped container usually none.
///
/// # Errors
/// The container does not exist, or lives without control groups.
pub(crate) fn processes(settings: &Settings, id: &str) -> Result<Vec<i32>> {
    listed(settings, id).map_err(|error| error.during(format!("ps {id}")))
}

fn listed(settings: &Settings, id: &str) -> Result<Vec<i32>> {
    let mut seen = Seen::open(&settings.root, &ContainerId::new(id)?)?;
    let status = Facts::roughly(&mut seen)?.status;
    match &seen.saved().cgroup {
        Some(cgroup) if !cgroup.entries.is_empty() => cgroup.processes(),
        _ if status == Status::Stopped => Ok(Vec::new()),
        _ => Err(Error::new("the container has no control groups, which tell its processes")),
    }
}

/// The rows of ps(1) with these options that are about the container's processes, below the header; lines end in LF.
///
/// # Errors
/// As [`processes`]; ps(1) is not there, fails or takes too long; its options give no column PID.
pub(crate) fn table(settings: &Settings, id: &str, options: &[OsString]) -> Result<String> {
    let act = || {
        let pids = listed(settings, id)?;
        let said = rustix::fs::memfd_create("ps stderr", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|errno| Error::call("memfd_create", errno.raw_os_error()))?;
        let mut said = std::fs::File::from(said);
        let mut child = start(options, &said)?;
        let mut table = Table::new(&pids);
        let read = read(&mut child, &mut table, Instant::now() + LIMIT);
        if read.is_err() {
            // It may be stuck, or be writing on.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| call("waitid", &error))?;
        read?;
        if !status.success() {
            return Err(Error::new(format!("ps: {status}: {}", words(&mut said))));
        }
        table.finish()
    };
    act().map_err(|error: Error| error.during(format!("ps {id}")))
}

fn start(options: &[OsString], said: &std::fs::File) -> Result<Child> {
    let said = said.try_clone().map_err(|error| call("dup", &error))?;
    let mut command = Command::new("ps");
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
    process::die_with_us(&mut command);
    process::start_with_default_signals(&mut command);
    command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(format!("exec: \"ps\": {}", phrases::NOT_IN_PATH))
            .hint("ps(1) is in the package procps; --format json does without it"),
        _ => call("execve(\"ps\")", &error),
    })
}

/// Feeds all that ps(1) writes to the table, as it comes, and waits for its end.
fn read(child: &mut Child, table: &mut Table<'_>, end: Instant) -> Result<()> {
    let Some(mut output) = child.stdout.take() else { return Ok(()) };
    let late = || Error::new(format!("ps takes longer than {} s", LIMIT.as_secs()));
    let mut chunk = vec![0; 1 << 16];
    loop {
        if poll(&[(output.as_fd(), Interest::Read)], Some(end))? == [false] {
            return Err(late());
        }
        match output.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => table.feed(&chunk[..length])?,
            Err(error) => return Err(call("read(ps)", &error)),
        }
    }
    // Our child: whether it lives or not, the number is its own.
    let pidfd = pidfd::pidfd_open(child.id() as i32)?;
    let ended = pidfd.map_or(Ok(vec![true]), |pidfd| poll(&[(pidfd.as_fd(), Interest::Read)], Some(end)))?;
    if ended == [false] { Err(late()) } else { Ok(()) }
}

/// What ps(1) said on standard error, as one line.
fn words(said: &mut std::fs::File) -> String {
    let mut text = Vec::new();
    let _ = said.rewind().and_then(|()| said.take(MOST_SAID).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn call(call: &str, error: &std::io::Error) -> Error {
    Error::call(call, error.raw_os_error().unwrap_or(0))
}

/// The output of ps(1), of which the header and the rows of some processes are kept.
struct Table<'p> {
    /// Sorted.
    pids: &'p [i32],
    /// Which word of a row is the pid; none before the header.
    column: Option<usize>,
    /// A row that has not ended yet.
    begun: Vec<u8>,
    kept: Vec<u8>,
}

impl<'p> Table<'p> {
    fn new(pids: &'p [i32]) -> Self {
        Table { pids, column: None, begun: Vec::new(), kept: Vec::new() }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.row()?;
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() > LONGEST {
            return Err(Error::new(format!("ps: a row is longer than {LONGEST} bytes")));
        }
        Ok(())
    }

    /// The row has come to its end.
    fn row(&mut self) -> Result<()> {
        let mut row = std::mem::take(&mut self.begun);
        let keep = match self.column {
            None => {
                let header = String::from_utf8_lossy(&row);
                let column = header.split_whitespace().position(|title| title == "PID");
                self.column = Some(column.ok_or_else(no_pids)?);
                true
            }
            Some(column) => pid(&row, column)?.is_some_and(|pid| self.pids.binary_search(&pid).is_ok()),
        };
        if keep {
            row.push(b'\n');
            self.kept.append(&mut row);
        }
        if self.kept.len() > MOST {
            return Err(Error::new(format!("ps: the container's rows are longer than {MOST} bytes")));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<String> {
        if !self.begun.is_empty() || self.column.is_none() {
            self.row()?;
        }
        Ok(String::from_utf8_lossy(&self.kept).into_owned())
    }
}

/// runc's phrase.
fn no_pids() -> Error {
    Error::new("couldn't find PID field in ps output")
        .hint("give ps options that print a column PID, as -o pid,comm; the default is -ef")
}

/// The number in this column of a row; none of an empty row.
fn pid(row: &[u8], column: usize) -> Result<Option<i32>> {
    let row = String::from_utf8_lossy(row);
    if row.trim().is_empty() {
        return Ok(None);
    }
    let word = row.split_whitespace().nth(column).unwrap_or_default();
    word.parse().map(Some).map_err(|_| {
        Error::new(format!("unable to parse pid: {word:?}"))
            .hint("put pid before the columns that may be empty or hold blanks")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::fixture::*;

    fn filtered(pids: &[i32], pieces: &[&str]) -> Result<String> {
        let mut table = Table::new(pids);
        pieces.iter().try_for_each(|piece| table.feed(piece.as_bytes()))?;
        table.finish()
    }

    #[test]
    fn waits_for_its_output_and_its_end_with_a_bound() {
        for script in ["exec sleep 60", "echo PID; exec >&-; exec sleep 60", "echo PID"] {
            let mut command = Command::new("sh");
            let mut child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
            let wait = Duration::from_millis(if script.contains("sleep") { 200 } else { 10_000 });
            let read = read(&mut child, &mut Table::new(&[]), Instant::now() + wait);
            assert_eq!(read.is_err(), script.contains("sleep"), "{script}");
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    #[test]
    fn keeps_the_header_and_the_containers_rows() {
        let pieces =
            ["UID   PID  C", "MD\nroot    1  init 7\nro", "ot    7  sh\n\n", "user  70  x\nroot 9  last"];
        assert_eq!(filtered(&[7, 9], &pieces).unwrap(), "UID   PID  CMD\nroot    7  sh\nroot 9  last\n");
        assert_eq!(filtered(&[], &pieces).unwrap(), "UID   PID  CMD\n");
        assert_eq!(filtered(&[5], &["PID\n5\n"]).unwrap(), "PID\n5\n");
    }

    #[test]
    fn what_it_cannot_read_is_an_error() {
        for header in ["", "UID CMD\n1 2\n", "PPID XPID\n1 2\n"] {
            let text = filtered(&[1], &[header]).unwrap_err().to_string();
            assert!(text.starts_with("couldn't find PID field in ps output (hint: "), "{text}");
        }
        for row in ["a b 7", "one"] {
            let text = filtered(&[7], &["CMD PID\n", row]).unwrap_err().to_string();
            assert!(text.starts_with("unable to parse pid: "), "{text}");
        }
    }

    #[test]
    fn its_length_is_bounded() {
        let long = "x".repeat(LONGEST + 1);
        assert!(filtered(&[1], &["PID CMD\n1 ", &long]).unwrap_err().to_string().contains("a row is longer"));
        let row = format!("1 {}\n", &long[..LONGEST - 9]);
        let rows = vec![row.as_str(); 66];
        let others = [&["PID CMD\n"], rows.as_slice()].concat();
        assert_eq!(filtered(&[2], &others).unwrap(), "PID CMD\n");
        assert!(filtered(&[1], &others).unwrap_err().to_string().contains("rows are longer"));
    }

    #[test]
    fn only_a_stopped_container_does_without_control_groups() {
        let temp = tempfile::tempdir().unwrap();
        let settings = settings(temp.path());
        let refusal = |id: &str| processes(&settings, id).unwrap_err().to_string();
        assert_eq!(refusal("a"), "ps a: container does not exist");
        let child = running(&settings, "a");
        assert!(refusal("a").contains("has no control groups"), "{}", refusal("a"));
        end(child);
        assert!(processes(&settings, "a").unwrap().is_empty());
    }
}
