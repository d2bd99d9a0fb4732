//! Runs a hook (config.md, POSIX-platform Hooks): its own arguments, exactly its own environment, the container's
//! state on stdin, nothing else open; when its time is up, its whole process group is killed.

use crate::error::{Error, Result};
use crate::plan::step::Hook;
use crate::sys::{pidfd, process, socket};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// So much of what a hook says on stderr goes into the error.
const MOST_SAID: usize = 2048;

/// Runs one hook to its end.
///
/// # Errors
/// It cannot be started, exits with another status than 0, or takes longer than its timeout.
pub(crate) fn run(hook: &Hook, state: &str) -> Result<()> {
    run_it(hook, state).map_err(|e| e.at(format!("{} {:?}", hook.field, hook.path)))
}

fn run_it(hook: &Hook, state: &str) -> Result<()> {
    let said = memory_file("hook stderr", "")?;
    let mut child = start(hook, state, &said)?;
    let pidfd = pidfd::pidfd_open(child.id() as i32)?;
    let limit = hook.timeout.map(Duration::from_secs);
    let in_time = pidfd.is_none_or(|fd| socket::readable(fd.as_fd(), limit).unwrap_or(true));
    if !in_time {
        kill_group(&mut child);
        return Err(Error::new(format!("took longer than its timeout of {} s", hook.timeout.unwrap_or(0))));
    }
    let status = child.wait().map_err(|e| call("waitid", &e))?;
    if status.success() { Ok(()) } else { Err(failure(status, said)) }
}

fn start(hook: &Hook, state: &str, said: &std::fs::File) -> Result<Child> {
    let input = memory_file("hook state", state)?;
    let said = said.try_clone().map_err(|e| call("dup", &e))?;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    let env = hook.env.iter().filter_map(|entry| entry.split_once('='));
    command.env_clear().envs(env).process_group(0).stdin(input).stdout(Stdio::null()).stderr(said);
    process::die_with_us(&mut command);
    process::start_with_default_signals(&mut command);
    command.spawn().map_err(|e| call(&format!("execve({:?})", hook.path), &e))
}

/// A file in memory, read from its start: it holds a state of any size and blocks nobody.
fn memory_file(name: &str, content: &str) -> Result<std::fs::File> {
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|e| Error::call("memfd_create", e.raw_os_error()))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content.as_bytes()).and_then(|()| file.rewind()).map_err(|e| call("write(memfd)", &e))?;
    Ok(file)
}

fn kill_group(child: &mut Child) {
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    // The leader is not reaped yet: its group id cannot have been given to anybody else.
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait();
}

fn failure(status: ExitStatus, mut said: std::fs::File) -> Error {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
    };
    let mut text = vec![0; MOST_SAID];
    let read = said.rewind().and_then(|()| said.read(&mut text)).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..read]);
    match text.trim() {
        "" => Error::new(how),
        text => Error::new(format!("{how}: {}", text.replace('\n', "; "))),
    }
}

fn call(call: &str, error: &std::io::Error) -> Error {
    Error::call(call, error.raw_os_error().unwrap_or(0))
}
