//! The steps that turn init into the container's process: ids, capabilities, limits, working directory, executable.

use super::Init;
use crate::error::{Error, Result, phrases};
use crate::plan::step::{Become, show};
use crate::sys::fs;
use crate::sys::process::{self, CapabilitySets};
use nix::libc;
use rustix::fs::{FileType, OFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// /etc/passwd is read up to here (security.md: files of the container are read bounded and typed).
const LONGEST_PASSWD: usize = 1 << 20;

impl Init<'_> {
    /// One act on the way to being the container's process. All arms on one screen.
    pub(super) fn become_it(&mut self, act: &Become) -> Result<()> {
        match act {
            Become::Rlimit(resource, soft, hard) => process::setrlimit(*resource, *soft, *hard),
            Become::RaiseLimit(resource, hard) => process::raise_limit(*resource, *hard),
            Become::Personality(persona) => process::personality(*persona),
            Become::Property(property) => super::property::set(0, property),
            Become::Label(label) => self.label(label),
            Become::Umask(mask) => {
                process::umask(*mask);
                Ok(())
            }
            Become::NoNewPrivileges => process::no_new_privileges(),
            Become::Bounding(keep) => self.bounding(*keep),
            Become::User { uid, gid, groups, setgroups } => {
                self.user(*uid, *gid, setgroups.then_some(groups.as_slice()))
            }
            Become::Capabilities { effective, permitted, inheritable, ambient } => {
                let (effective, permitted, inheritable) = (*effective, *permitted, *inheritable);
                self.capabilities(CapabilitySets { effective, permitted, inheritable }, *ambient)
            }
            Become::Chdir { path, again } => self.chdir(path, *again),
            Become::Home(uid) => self.home(*uid),
            Become::FindExecutable { name, path } => self.find_executable(name, path),
            Become::Control => super::console::control(),
            Become::ListenFds(count) => self.listen_fds(*count),
            Become::KeepDescriptors(count) => self.keep_descriptors(*count),
            Become::Seccomp { flags, listener, at_once: true } => self.load_filter(*flags, *listener),
            Become::Seccomp { flags, listener, at_once: false } => {
                self.filter = Some((*flags, *listener));
                Ok(())
            }
            Become::Execve { args, env } => self.execve(args, env),
        }
    }

    pub(super) fn become_root(&self, setgroups: bool) -> Result<()> {
        process::set_ids(0, 0, setgroups.then_some(&[]))
    }

    /// SIGKILL if the runtime dies; whoever looks into /proc meanwhile sees nothing.
    pub(super) fn guard(&self) -> Result<()> {
        process::undumpable()?;
        process::die_with_parent(true)?;
        // It may have died before the line above.
        if self.link_is_closed() {
            process::exit_now(1)
        }
        Ok(())
    }

    pub(super) fn user(&self, uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
        for fd in [0, 1, 2] {
            own_stdio(fd, uid)?;
        }
        process::set_ids(uid, gid, groups)
    }

    pub(super) fn bounding(&self, keep: u64) -> Result<()> {
        for capability in 0..64 {
            if keep >> capability & 1 == 1 {
                continue;
            }
            if !process::drop_bounding(capability)? {
                // Beyond the last capability of this kernel.
                break;
            }
        }
        Ok(())
    }

    pub(super) fn capabilities(&self, sets: CapabilitySets, ambient: u64) -> Result<()> {
        process::capset(sets)?;
        process::clear_ambient()?;
        let bits = (0..64).filter(|bit| ambient >> bit & 1 == 1);
        bits.into_iter().try_for_each(process::raise_ambient)
    }

    /// The first try is root's, the second the container's user's: either may be refused where the other is not.
    pub(super) fn chdir(&mut self, path: &CStr, again: bool) -> Result<()> {
        if self.arrived {
            return Ok(());
        }
        match enter(path) {
            Err(e) if e.errno() == libc::EACCES && !again => return Ok(()),
            other => other?,
        }
        self.arrived = true;
        if process::getcwd()?.to_bytes().starts_with(b"/") {
            return Ok(());
        }
        Err(Error::call("getcwd", libc::ENOENT)
            .hint("the working directory leads out of the container's root"))
    }

    /// HOME as /etc/passwd of the container says it.
    pub(super) fn home(&mut self, uid: u32) -> Result<()> {
        let home = passwd().and_then(|text| home_of(&text, uid)).unwrap_or_else(|| b"/".to_vec());
        let entry = [b"HOME=", home.as_slice()].concat();
        self.home = CString::new(entry).ok();
        Ok(())
    }

    fn listen_fds(&mut self, count: u32) -> Result<()> {
        let all = [format!("LISTEN_FDS={count}"), format!("LISTEN_PID={}", process::getpid())];
        self.announced.extend(all.map(|entry| CString::new(entry).expect("digits have no NUL")));
        Ok(())
    }

    pub(super) fn find_executable(&mut self, name: &CStr, path: &str) -> Result<()> {
        if name.to_bytes().contains(&b'/') {
            executable(name).map_err(|e| not_executable(name, &e))?;
            self.executable = Some(name.to_owned());
            return Ok(());
        }
        let mut denied = None;
        for directory in path.split(':') {
            let directory = if directory.is_empty() { "." } else { directory };
            let Ok(candidate) = CString::new([directory.as_bytes(), b"/", name.to_bytes()].concat()) else {
                continue;
            };
            match executable(&candidate) {
                Ok(()) => {
                    self.executable = Some(candidate);
                    return Ok(());
                }
                Err(e) if e.errno() == libc::EACCES => denied = Some(not_executable(name, &e)),
                Err(_) => {}
            }
        }
        let name = show(name);
        Err(denied.unwrap_or_else(|| {
            Error::new(format!("exec: {name:?}: {}", phrases::NOT_IN_PATH)).hint(format!("PATH={path}"))
        }))
    }
}

/// chdir(2), but through no magic link: nobody's descriptor is a working directory.
fn enter(path: &CStr) -> Result<()> {
    process::fchdir(fs::open_here(path, OFlags::PATH | OFlags::DIRECTORY)?)
}

/// A pipe or file that was handed to us belongs to the container's user from now on, so that it can reopen it
/// through /proc/self/fd, and so does a terminal; other devices are the host's and stay as they are.
fn own_stdio(fd: i32, uid: u32) -> Result<()> {
    let Some(fd) = process::stdio(fd) else { return Ok(()) };
    let stat = fs::fstat(fd)?;
    let device = [FileType::CharacterDevice, FileType::BlockDevice].contains(&fs::kind(&stat));
    if stat.st_uid == uid || device && !nix::unistd::isatty(fd).unwrap_or(false) {
        return Ok(());
    }
    match chown_fd(fd, uid) {
        // Read-only file systems, ids that are not mapped: the container has to live with it.
        Err(e) if [libc::EPERM, libc::EINVAL, libc::EROFS].contains(&e.errno()) => Ok(()),
        other => other,
    }
}

/// The group stays: it is a terminal's `tty`, or what the owner of a file lets others read it by.
fn chown_fd(fd: BorrowedFd<'_>, uid: u32) -> Result<()> {
    rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None)
        .map_err(|e| Error::call("fchown(stdio)", e.raw_os_error()))
}

/// Is it a regular file that this process may execute, reached through no magic link?
fn executable(path: &CStr) -> Result<()> {
    let fd = fs::open_here(path, OFlags::PATH)?;
    if fs::kind(&fs::fstat(&fd)?) != FileType::RegularFile {
        return Err(Error::call(format!("execve({path:?})"), libc::EACCES));
    }
    process::may_execute(fd.as_fd(), path)
}

/// The words that engines look for.
fn not_executable(name: &CStr, error: &Error) -> Error {
    let name = show(name);
    let reason = match error.errno() {
        libc::ENOENT => format!("exec: {name:?}: stat {name}: {}", phrases::NO_SUCH_FILE),
        libc::EACCES => format!("exec: {name:?}: {}", phrases::PERMISSION_DENIED),
        libc::ENOTDIR => format!("exec: {name:?}: stat {name}: {}", phrases::NOT_A_DIRECTORY),
        libc::ELOOP => format!("exec: {name:?}: a magic link, or too many links"),
        _ => return error.clone(),
    };
    Error::from_parts(error.errno(), ["", "", &reason, ""])
}

/// The container's /etc/passwd: only if it is a regular file, only its first MiB, never waiting.
fn passwd() -> Option<Vec<u8>> {
    let root = fs::open_host(c"/", OFlags::PATH | OFlags::DIRECTORY).ok()?;
    let path = c"etc/passwd";
    let looked_at = fs::open_in_root(&root, path, OFlags::PATH).ok()?;
    let regular =
        |fd: &std::os::fd::OwnedFd| fs::fstat(fd).is_ok_and(|s| fs::kind(&s) == FileType::RegularFile);
    if !regular(&looked_at) {
        return None;
    }
    let file = fs::open_in_root(&root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
    if !regular(&file) { None } else { fs::read_bounded(file, LONGEST_PASSWD, path).ok() }
}

/// name:password:uid:gid:comment:home:shell (passwd(5)); the first line with this uid counts.
fn home_of(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    let uid = uid.to_string();
    let mut lines = passwd.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':'));
    lines
        .find_map(|mut fields| {
            let id = fields.nth(2)?;
            (id == uid.as_bytes()).then(|| fields.nth(2).map(<[u8]>::to_vec)).flatten()
        })
        .filter(|home| !home.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_found_by_number_only() {
        let text = b"root:x:0:0:root:/root:/bin/sh\nbroken\n7:x:+7:7::/trap:/\nseven:x:7:7::/seven:/\nno:x:8:8:::/\n";
        for (uid, home) in [(0, Some("/root")), (7, Some("/seven")), (8, None), (9, None)] {
            assert_eq!(home_of(text, uid), home.map(|h| h.as_bytes().to_vec()), "{uid}");
        }
    }
}
