//! What a process does to itself (and, for limits, to its child): ids, capabilities, limits, prctl(2), execve(2).

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

fn failed(call: impl Into<String>) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::call(call, errno as i32)
}

fn refused(call: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |errno| Error::call(call, errno.raw_os_error())
}

fn prctl(name: &str, option: libc::c_int, args: [libc::c_ulong; 4]) -> Result<i32> {
    // Formatted for an error only: a start makes some fifty of these calls.
    plain_prctl(option, args)
        .map_err(|errno| Error::call(format!("prctl({name}, {})", args[0]), errno as i32))
}

/// For calls whose failure is an answer.
fn plain_prctl(option: libc::c_int, args: [libc::c_ulong; 4]) -> nix::Result<i32> {
    // SAFETY: all options used here take numbers only.
    Errno::result(unsafe { libc::prctl(option, args[0], args[1], args[2], args[3]) })
}

/// SIGKILL to this process when its parent ends (PR_SET_PDEATHSIG); false takes it back.
pub(crate) fn die_with_parent(on: bool) -> Result<()> {
    let signal = if on { libc::SIGKILL as libc::c_ulong } else { 0 };
    prctl("PR_SET_PDEATHSIG", libc::PR_SET_PDEATHSIG, [signal, 0, 0, 0]).map(drop)
}

/// SIGKILL to a command when this process ends: nobody would know of it any more.
pub(crate) fn die_with_us(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let parent = std::process::id() as i32;
    let arrange = move || {
        die_with_parent(true).map_err(|e| std::io::Error::from_raw_os_error(e.errno()))?;
        // Across pid namespaces the parent's id reads 0: then it cannot be told whether it has just died.
        let now = nix::unistd::getppid().as_raw();
        if now == parent || now == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: between fork and execve the closure makes system calls; it allocates for an error only, and the runtime
    // has one thread.
    unsafe { command.pre_exec(arrange) };
}

/// Not readable through /proc, not traceable, no core dump (PR_SET_DUMPABLE 0), until execve.
pub(crate) fn undumpable() -> Result<()> {
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, [0; 4]).map(drop)
}

/// Orphans of this process's descendants become its children (PR_SET_CHILD_SUBREAPER).
pub(crate) fn become_subreaper() -> Result<()> {
    prctl("PR_SET_CHILD_SUBREAPER", libc::PR_SET_CHILD_SUBREAPER, [1, 0, 0, 0]).map(drop)
}

/// PR_SET_NO_NEW_PRIVS, read back.
pub(crate) fn no_new_privileges() -> Result<()> {
    prctl("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0])?;
    match prctl("PR_GET_NO_NEW_PRIVS", libc::PR_GET_NO_NEW_PRIVS, [0; 4])? {
        1 => Ok(()),
        other => Err(Error::new(format!("no_new_privs reads {other} after it was set"))),
    }
}

/// setgroups(2), setresgid(2), setresuid(2); permitted capabilities survive until the next execve or capset. The calls
/// themselves, not those of libc, which block signals to reach other threads: there is one thread.
pub(crate) fn set_ids(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    prctl("PR_SET_KEEPCAPS", libc::PR_SET_KEEPCAPS, [1, 0, 0, 0])?;
    if let Some(groups) = groups {
        let list: Vec<_> = groups.iter().map(|&gid| rustix::fs::Gid::from_raw(gid)).collect();
        set_thread_groups(&list).map_err(refused(format!("setgroups({groups:?})")))?;
    }
    let (group, user) = (rustix::fs::Gid::from_raw(gid), rustix::fs::Uid::from_raw(uid));
    set_thread_res_gid(group, group, group).map_err(refused(format!("setresgid({gid})")))?;
    set_thread_res_uid(user, user, user).map_err(refused(format!("setresuid({uid})")))?;
    let (group, user) = (Gid::from_raw(gid), Uid::from_raw(uid));
    let now = (nix::unistd::getresuid(), nix::unistd::getresgid());
    match now {
        (Ok(u), Ok(g))
            if [u.real, u.effective, u.saved] == [user; 3]
                && [g.real, g.effective, g.saved] == [group; 3] =>
        {
            Ok(())
        }
        other => Err(Error::new(format!("ids read {other:?} after they were set to {uid}:{gid}"))),
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`, linux/capability.h.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Effective, permitted and inheritable set, as bits by capability number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CapabilitySets {
    /// Bits.
    pub(crate) effective: u64,
    /// Bits.
    pub(crate) permitted: u64,
    /// Bits.
    pub(crate) inheritable: u64,
}

/// capget(2) of this process.
pub(crate) fn capget() -> Result<CapabilitySets> {
    let header = [CAPABILITY_VERSION, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: version 3 reads a header of two words and writes two times three words.
    let done = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
    Errno::result(done).map_err(failed("capget"))?;
    let set = |i: usize| u64::from(data[0][i]) | u64::from(data[1][i]) << 32;
    Ok(CapabilitySets { effective: set(0), permitted: set(1), inheritable: set(2) })
}

/// capset(2) of this process, read back.
pub(crate) fn capset(sets: CapabilitySets) -> Result<()> {
    let header = [CAPABILITY_VERSION, 0];
    let half =
        |shift: u32| [sets.effective, sets.permitted, sets.inheritable].map(|set| (set >> shift) as u32);
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads a header of two words and two times three words.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    Errno::result(done).map_err(failed(format!("capset({sets:x?})")))?;
    let now = capget()?;
    if now == sets { Ok(()) } else { Err(Error::new(format!("capabilities read {now:x?} after {sets:x?}"))) }
}

/// Drops one capability from the bounding set (PR_CAPBSET_DROP). False: this kernel does not know it.
pub(crate) fn drop_bounding(capability: u32) -> Result<bool> {
    match plain_prctl(libc::PR_CAPBSET_DROP, [capability.into(), 0, 0, 0]) {
        Ok(_) => Ok(true),
        Err(Errno::EINVAL) if capability > 0 => Ok(false),
        Err(errno) => Err(failed(format!("prctl(PR_CAPBSET_DROP, {capability})"))(errno)),
    }
}

/// Whether a capability is in the bounding set; none: this kernel does not know it (PR_CAPBSET_READ).
pub(crate) fn in_bounding_set(capability: u32) -> Option<bool> {
    let read = plain_prctl(libc::PR_CAPBSET_READ, [capability.into(), 0, 0, 0]);
    read.ok().map(|held| held == 1)
}

/// Empties the ambient set (PR_CAP_AMBIENT_CLEAR_ALL).
pub(crate) fn clear_ambient() -> Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    prctl("PR_CAP_AMBIENT", libc::PR_CAP_AMBIENT, [clear, 0, 0, 0]).map(drop)
}

/// Raises one ambient capability (PR_CAP_AMBIENT_RAISE).
pub(crate) fn raise_ambient(capability: u32) -> Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    prctl("PR_CAP_AMBIENT", libc::PR_CAP_AMBIENT, [raise, capability.into(), 0, 0]).map(drop)
}

/// prlimit(2): the old limit, soft and hard, of a process (0: this one), and perhaps a new one.
fn prlimit(pid: i32, resource: u32, new: Option<(u64, u64)>) -> std::result::Result<(u64, u64), Errno> {
    let new = new.map(|(soft, hard)| libc::rlimit64 { rlim_cur: soft, rlim_max: hard });
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both structures live over the call; a null pointer means no new limit.
    let done =
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, std::ptr::from_mut(&mut old)) };
    Errno::result(done).map(|_| (old.rlim_cur, old.rlim_max))
}

/// setrlimit(2) of this process; RLIM_INFINITY is u64::MAX.
pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    prlimit(0, resource, Some((soft, hard))).map(drop).map_err(|errno| {
        let error = Error::call(format!("setrlimit(soft {soft}, hard {hard})"), errno as i32);
        if errno == Errno::EPERM { error.hint("raising a hard limit needs CAP_SYS_RESOURCE") } else { error }
    })
}

/// Raises the hard limit of a child to at least this. Not being allowed to is no error yet: the child may have
/// enough, and says so itself when it does not.
pub(crate) fn raise_hard_limit(pid: i32, resource: u32, hard: u64) -> Result<()> {
    let failed = |errno: Errno| Error::call(format!("prlimit({pid}, hard {hard})"), errno as i32);
    let (soft, now) = prlimit(pid, resource, None).map_err(failed)?;
    if now >= hard {
        return Ok(());
    }
    match prlimit(pid, resource, Some((soft, hard))) {
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Raises both limits of this process to this hard limit or to the one it has, whatever is more; to what it has if more
/// is not permitted.
pub(crate) fn raise_limit(resource: u32, hard: u64) -> Result<()> {
    let failed = |errno: Errno| Error::call(format!("prlimit({hard})"), errno as i32);
    let (_, now) = prlimit(0, resource, None).map_err(failed)?;
    match prlimit(0, resource, Some((hard.max(now), hard.max(now)))) {
        Err(Errno::EPERM) => prlimit(0, resource, Some((now, now))).map(drop).map_err(failed),
        raised => raised.map(drop).map_err(failed),
    }
}

/// personality(2).
pub(crate) fn personality(persona: u64) -> Result<()> {
    // SAFETY: takes a number.
    let done = unsafe { libc::personality(persona) };
    Errno::result(done).map(drop).map_err(failed(format!("personality({persona:#x})")))
}

/// umask(2).
pub(crate) fn umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a new session keyring of this name. Whoever has made one of this name before, and
/// lets us find it, would have the kernel give us that one: then it is a new one without a name.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<()> {
    let join = |name: *const libc::c_char| {
        const JOIN: libc::c_long = 1;
        // SAFETY: a null pointer, or a C string that lives over the call.
        let done = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name) };
        Errno::result(done).map(drop)
    };
    let joined = join(name.as_ptr())
        .and_then(|()| if is_as_new(&session_keyring()) { Ok(()) } else { join(std::ptr::null()) });
    joined.map_err(failed(format!("keyctl(JOIN_SESSION_KEYRING, {name:?})")))
}

/// KEYCTL_DESCRIBE: `keyring;0;0;3f130000;_ses.web1`; nothing if it may not be looked at.
fn session_keyring() -> Vec<u8> {
    const DESCRIBE: libc::c_long = 6;
    const KEY_SPEC_SESSION_KEYRING: libc::c_long = -3;
    /// KEY_MAX_DESC_SIZE, security/keys/internal.h, and room for the numbers.
    const LONGEST: usize = 4096 + 64;
    let mut text = vec![0; LONGEST];
    // SAFETY: the kernel writes at most as many bytes as it is told of.
    let done = unsafe {
        libc::syscall(libc::SYS_keyctl, DESCRIBE, KEY_SPEC_SESSION_KEYRING, text.as_mut_ptr(), text.len())
    };
    text.truncate(usize::try_from(done).unwrap_or(0));
    text
}

/// Whether a keyring is as the kernel makes them: our user's, and found by name by nobody (include/linux/key.h).
fn is_as_new(described: &[u8]) -> bool {
    /// KEY_USR_SEARCH, and all that group and others may.
    const OPEN: u32 = 0x0008_3f3f;
    let Ok(text) = std::str::from_utf8(described) else { return false };
    let mut fields = text.split(';').skip(1);
    let uid = fields.next().and_then(|uid| uid.parse().ok());
    let permissions = fields.nth(1).and_then(|text| u32::from_str_radix(text, 16).ok());
    uid == Some(nix::unistd::geteuid().as_raw()) && permissions.is_some_and(|it| it & OPEN == 0)
}

/// sethostname(2).
pub(crate) fn sethostname(name: &str) -> Result<()> {
    nix::unistd::sethostname(name).map_err(failed(format!("sethostname({name:?})")))
}

/// setdomainname(2).
pub(crate) fn setdomainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes())
        .map_err(|errno| Error::call(format!("setdomainname({name:?})"), errno.raw_os_error()))
}

/// Sets the loopback interface of this network namespace up (SIOCSIFFLAGS; netdevice(7)).
pub(crate) fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::call("socket(AF_INET)", errno.raw_os_error()))?;
    // SAFETY: all zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the ifreq, which lives over the call.
    let done = unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, std::ptr::from_ref(&request))
    };
    Errno::result(done).map(drop).map_err(failed("ioctl(SIOCSIFFLAGS, lo)"))
}

/// kill(2) to this very process.
pub(crate) fn signal_self(signal: i32) -> Result<()> {
    let signal = nix::sys::signal::Signal::try_from(signal).map_err(failed("kill"))?;
    nix::sys::signal::kill(nix::unistd::Pid::this(), signal).map_err(failed("kill"))
}

/// Signals as a program expects them: none blocked, SIGPIPE not ignored (Rust's start-up ignores it, and an ignored
/// signal survives execve).
pub(crate) fn default_signals() {
    // SAFETY: the default action installs no handler.
    let pipe =
        unsafe { nix::sys::signal::signal(nix::sys::signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) };
    let mask = nix::sys::signal::SigSet::empty().thread_set_mask();
    debug_assert!(pipe.is_ok() && mask.is_ok(), "both calls fail for invalid arguments only");
}

/// SIGCHLD as the kernel has it, whatever the caller made of it: ignored, the kernel would reap our children itself.
pub(crate) fn default_child_signal() -> Result<()> {
    // SAFETY: the default action installs no handler.
    let set =
        unsafe { nix::sys::signal::signal(nix::sys::signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) };
    set.map(drop).map_err(failed("signal(SIGCHLD)"))
}

/// A command has no signal blocked, also when this process has (in the foreground it takes them from a descriptor).
pub(crate) fn start_with_default_signals(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let arrange = || {
        default_signals();
        Ok(())
    };
    // SAFETY: between fork and execve the closure makes system calls only.
    unsafe { command.pre_exec(arrange) };
}

/// setsid(2).
pub(crate) fn setsid() -> Result<()> {
    nix::unistd::setsid().map(drop).map_err(failed("setsid"))
}

/// fchdir(2).
pub(crate) fn fchdir(fd: impl AsFd) -> Result<()> {
    rustix::process::fchdir(fd).map_err(super::fs::failed("fchdir", c""))
}

/// getcwd(2); the kernel says `(unreachable)…` when it is outside the root.
pub(crate) fn getcwd() -> Result<CString> {
    rustix::process::getcwd(Vec::new()).map_err(super::fs::failed("getcwd", c""))
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC: descriptors from `first` on are closed on execve. Linux 5.11; the kernel
/// before it marks them one by one.
pub(crate) fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: descriptors are only marked.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    match Errno::result(done) {
        Ok(_) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOSYS) => cloexec_one_by_one(first),
        Err(errno) => Err(Error::call(format!("close_range({first}, ~0, CLOEXEC)"), errno as i32)),
    }
}

fn cloexec_one_by_one(first: u32) -> Result<()> {
    let list =
        super::fs::open_host(c"/proc/self/fd", rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY)?;
    for name in super::fs::names(&list)? {
        let Some(fd) = name.to_str().ok().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if fd as u32 >= first {
            // SAFETY: changes a flag; a descriptor that is gone by now is no harm.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Closes every descriptor from 3 on that is not in the list.
pub(crate) fn close_all_but(keep: &mut [i32]) {
    keep.sort_unstable();
    let mut first = 3;
    for &fd in keep.iter() {
        close_gap(first, fd - 1);
        first = fd + 1;
    }
    close_gap(first, i32::MAX);
}

fn close_gap(first: i32, last: i32) {
    if first <= last {
        // Linux 5.9; without it they stay open, marked close-on-exec.
        // SAFETY: whoever calls this goes on with what it keeps, and never comes back to what it had.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Is there a descriptor of this number?
pub(crate) fn is_open(fd: i32) -> bool {
    // SAFETY: asks for flags only.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Lets a descriptor that the caller of the runtime handed over survive execve.
pub(crate) fn survive_execve(fd: i32) -> Result<()> {
    // SAFETY: changes a flag of a descriptor that the runtime does not own.
    let done = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    Errno::result(done).map(drop).map_err(failed(format!("fcntl({fd}, F_SETFD)")))
}

/// Takes a descriptor that this program left open for itself over execve.
pub(crate) fn inherit(fd: i32) -> OwnedFd {
    // SAFETY: who left it open says so once, to a process that just begins.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// 0, 1 or 2, if it is open.
pub(crate) fn stdio(fd: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: the runtime never closes the first three descriptors.
    is_open(fd).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// execve(2), with a last act when all that is left is the call itself; returns only if one of them failed.
pub(crate) fn execve(
    path: &CStr,
    args: &[CString],
    env: &[CString],
    last: impl FnOnce() -> Result<()>,
) -> Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    if let Err(error) = last() {
        return error;
    }
    // SAFETY: a C string, and arrays of C strings that end in a null pointer; all outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error::call(format!("execve({path:?})"), Errno::last_raw())
}

/// execveat(2) of the file that a descriptor stands for; returns only if it failed.
pub(crate) fn execve_fd(fd: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Error {
    let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
    match nix::unistd::execveat(fd, c"", args, env, flags) {
        Err(errno) => Error::call("execveat(the sealed runtime)", errno as i32),
        Ok(never) => match never {},
    }
}

/// faccessat2(2) with the effective ids: may this process execute the file? Linux 5.8.
pub(crate) fn may_execute(fd: impl AsFd, path: &CStr) -> Result<()> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    // SAFETY: the path is a C string; numbers otherwise.
    let done = unsafe {
        libc::syscall(libc::SYS_faccessat2, fd.as_fd().as_raw_fd(), c"".as_ptr(), libc::X_OK, flags)
    };
    Errno::result(done).map(drop).map_err(failed(format!("access({path:?}, X_OK)")))
}

/// _exit(2): without running anything that the runtime would run at its own end. Where a filter forbids even that, libc
/// would try for ever: this ends in an instruction that kills.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::syscall(libc::SYS_exit_group, status) };
    std::process::abort()
}

/// This process's id in its own pid namespace.
pub(crate) fn getpid() -> i32 {
    // std caches nothing, and glibc 2.25 and later does not either: true after clone3, too.
    std::process::id() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_somebody_prepared_is_not_new() {
        let own = nix::unistd::geteuid().as_raw();
        let described = |uid: u32, permissions: &str| format!("keyring;{uid};0;{permissions};_ses.web1");
        assert!(is_as_new(described(own, "3f130000").as_bytes()));
        let prepared = [
            described(own + 1, "3f130000"),
            described(own, "3f1b0000"),
            described(own, "3f130008"),
            described(own, "3f130100"),
            described(own, ""),
            format!("keyring;{own}"),
            String::new(),
        ];
        for text in prepared {
            assert!(!is_as_new(text.as_bytes()), "{text}");
        }
    }
}
