//! One call of the binary under test: its arguments, environment and descriptors, always with a time limit.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use super::{Pty, patience, processes};

/// A call that has not started yet.
pub(crate) struct Call {
    words: Vec<OsString>,
    before: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    stdin: Option<PathBuf>,
    stdout: PathBuf,
    stderr: PathBuf,
    limit: Duration,
    hidden: Option<&'static str>,
    /// Standard input, and perhaps standard output and error.
    terminal: Option<(OwnedFd, bool)>,
}

/// A call under way.
pub(crate) struct Running {
    child: Child,
    shown: String,
    stdout: PathBuf,
    stderr: PathBuf,
    deadline: Instant,
    ended: bool,
}

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it, and a container that it started, wrote until then.
    pub(crate) stdout: String,
    /// As stdout.
    pub(crate) stderr: String,
    /// The command line, for messages.
    pub(crate) shown: String,
}

impl Call {
    /// A call of `words` whose output goes to `output`.stdout and `output`.stderr.
    pub(crate) fn new<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>, output: &Path) -> Call {
        let stdout = output.with_extension("stdout");
        Call {
            words: words.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            before: Vec::new(),
            environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
            directory: None,
            stdin: None,
            stderr: output.with_extension("stderr"),
            stdout,
            limit: patience::limit(20),
            hidden: None,
            terminal: None,
        }
    }

    /// Adds to the environment, which is otherwise only PATH.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Call {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The working directory.
    pub(crate) fn directory(mut self, directory: &Path) -> Call {
        self.directory = Some(directory.to_owned());
        self
    }

    /// A file as standard input, which is otherwise /dev/null.
    pub(crate) fn stdin(mut self, file: &Path) -> Call {
        self.stdin = Some(file.to_owned());
        self
    }

    /// On a terminal: standard input, output and error, and in a session of its own the controlling one.
    pub(crate) fn on(self, pty: &Pty) -> Call {
        Call { terminal: Some((pty.peer(), true)), ..self.through(&["setsid", "-c"]) }
    }

    /// The same, but standard output and error are files all the same.
    pub(crate) fn typed_on(self, pty: &Pty) -> Call {
        Call { terminal: Some((pty.peer(), false)), ..self.through(&["setsid", "-c"]) }
    }

    /// Puts words in front of the command line: `setpriv …`, `sh -c '…; exec "$@"' sh`.
    pub(crate) fn through(mut self, words: &[&str]) -> Call {
        let mut before: Vec<OsString> = words.iter().map(Into::into).collect();
        before.append(&mut self.before);
        self.before = before;
        self
    }

    /// Another time limit than 20 seconds (of this machine: [`patience`]).
    pub(crate) fn limit(mut self, seconds: u64) -> Call {
        self.limit = patience::limit(seconds);
        self
    }

    /// On a kernel that lacks this system call, as far as the call and its children can tell.
    pub(crate) fn without(mut self, syscall: &'static str) -> Call {
        self.hidden = Some(syscall);
        self
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn spawn(self) -> Running {
        let words: Vec<OsString> = self.before.into_iter().chain(self.words).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.environment);
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let stdin = self.stdin.map_or_else(Stdio::null, |file| File::open(file).unwrap().into());
        command.stdin(stdin);
        command.stdout(File::create(&self.stdout).unwrap()).stderr(File::create(&self.stderr).unwrap());
        if let Some((terminal, all)) = &self.terminal {
            let end = || Stdio::from(terminal.try_clone().unwrap());
            command.stdin(end());
            if *all {
                command.stdout(end()).stderr(end());
            }
        }
        let shown = words.iter().map(|word| shorten(&word.to_string_lossy())).collect::<Vec<_>>().join(" ");
        let child = match self.hidden {
            None => processes::spawn(&mut command),
            // A filter holds for the thread that loads it and for what that thread starts.
            Some(syscall) => std::thread::scope(|scope| {
                let start = || {
                    hide(syscall);
                    processes::spawn(&mut command)
                };
                scope.spawn(start).join().unwrap()
            }),
        };
        let deadline = Instant::now() + self.limit;
        Running { child, shown, stdout: self.stdout, stderr: self.stderr, deadline, ended: false }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub(crate) fn finish(self) -> Output {
        self.spawn().finish()
    }
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        processes::as_pid(self.child.id())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The files that its standard output and standard error go to.
    pub(crate) fn files(&self) -> (PathBuf, PathBuf) {
        (self.stdout.clone(), self.stderr.clone())
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What was written to its standard output so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap()).into_owned()
    }

    /// What was written to its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits for its end; it is killed, and the test fails, when its time is over.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        if !self.ends_in_time() {
            self.kill();
            panic!("{} took too long; stdout: {:?}; stderr: {:?}", self.shown, self.stdout(), self.stderr());
        }
        let status = self.child.wait().unwrap();
        self.ended = true;
        processes::forget(self.pid());
        Output { status, stdout: self.stdout(), stderr: self.stderr(), shown: self.shown.clone() }
    }

    fn ends_in_time(&self) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid()) else { return true };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => panic!("poll: {errno}"),
                Ok(ready) => return ready > 0,
            }
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended = true;
        processes::forget(self.pid());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

impl Output {
    /// It must have ended with status 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Output {
        assert!(self.status.success(), "{}", self.describe());
        self
    }

    /// It must have ended with this status.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Output {
        assert!(self.status.code() == Some(code), "wanted exit status {code}: {}", self.describe());
        self
    }

    /// It must have failed as the contract says: status 1, one line on stderr that starts with `error: ` and has
    /// every one of `parts`.
    #[track_caller]
    pub(crate) fn error(self, parts: &[&str]) -> Output {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(self.status.code() == Some(1), "wanted exit status 1: {}", self.describe());
        assert!(lines.len() == 1, "wanted one line `error: …`: {}", self.describe());
        for part in parts {
            assert!(lines[0].contains(part), "{part:?} is missing: {}", self.describe());
        }
        self
    }

    /// Standard output without the last newline.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim_end_matches('\n')
    }

    /// Everything about it, for a message.
    pub(crate) fn describe(&self) -> String {
        let end = match self.status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exit status {}", self.status.code().unwrap_or(-1)),
        };
        let (stdout, stderr) = (shorten(&self.stdout), shorten(&self.stderr));
        format!("{}: {end}\n    stdout: {stdout:?}\n    stderr: {stderr:?}", self.shown)
    }
}

/// From now on the kernel answers ENOSYS to this system call of this thread.
fn hide(syscall: &str) {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
    let syscall = ScmpSyscall::from_name(syscall).unwrap();
    filter.add_rule(ScmpAction::Errno(nix::libc::ENOSYS), syscall).unwrap();
    filter.set_ctl_nnp(false).unwrap();
    filter.load().unwrap();
}

/// Keeps a message readable when something is long on purpose.
fn shorten(text: &str) -> String {
    if text.len() <= 3000 {
        return text.to_owned();
    }
    let head: String = text.chars().take(300).collect();
    format!("{head}… ({} bytes)", text.len())
}
