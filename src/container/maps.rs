//! The id maps of a new user namespace (user_namespaces(7)): written by the runtime, or by newuidmap and newgidmap.

use crate::error::{Error, Result};
use crate::plan::step::IdMap;
use crate::plan::{MapWriter, Maps};
use crate::sys::fs;
use rustix::fs::OFlags;
use std::ffi::CString;
use std::path::Path;
use std::process::{Command, Stdio};

/// Gives the process at `pid`, in its new user namespace, its maps.
pub(super) fn give(pid: i32, maps: &Maps) -> Result<()> {
    let at = |field: &'static str| move |e: Error| e.at(field);
    match &maps.writer {
        MapWriter::Helpers(uids, gids) => {
            help(uids, pid, &maps.uid).map_err(at("linux.uidMappings"))?;
            help(gids, pid, &maps.gid).map_err(at("linux.gidMappings"))
        }
        writer => {
            if *writer == MapWriter::Single {
                put(pid, "setgroups", "deny").map_err(at("linux.gidMappings"))?;
            }
            write(pid, "uid_map", &maps.uid).map_err(at("linux.uidMappings"))?;
            write(pid, "gid_map", &maps.gid).map_err(at("linux.gidMappings"))
        }
    }
}

/// Writes `/proc/PID/uid_map` or `gid_map`: the kernel takes it once, in one write.
pub(super) fn write(pid: i32, file: &str, maps: &[IdMap]) -> Result<()> {
    let lines: Vec<String> =
        maps.iter().map(|m| format!("{} {} {}\n", m.container, m.host, m.size)).collect();
    put(pid, file, &lines.concat())
}

/// Writes a file of a process that is our child and waits, so that its pid is its own.
pub(super) fn put(pid: i32, file: &str, text: &str) -> Result<()> {
    let path = CString::new(format!("/proc/{pid}/{file}")).expect("no NUL in a literal");
    let fd = fs::open_host(&path, OFlags::WRONLY | OFlags::NOFOLLOW)?;
    if fs::magic(&fd)? != fs::PROC_MAGIC {
        return Err(Error::new("/proc is not a procfs"));
    }
    fs::write_once(fd, text.as_bytes(), &path)
}

fn help(helper: &Path, pid: i32, maps: &[IdMap]) -> Result<()> {
    let mut command = Command::new(helper);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.container, map.host, map.size].map(|number| number.to_string()));
    }
    command.stdin(Stdio::null()).env_clear();
    let output = command
        .output()
        .map_err(|e| Error::call(format!("execve({helper:?})"), e.raw_os_error().unwrap_or(0)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let name = helper.file_name().unwrap_or_default().to_string_lossy();
    Err(Error::new(format!("{name} refused: {}", said.trim()))
        .hint("ranges come from /etc/subuid and /etc/subgid; is the helper set-uid root?"))
}
