//! The runtime's own binary cannot be written from inside a container (CVE-2019-5736): whoever reaches it through
//! /proc/PID/exe, `#!/proc/self/exe` or a descriptor kept for later finds a read-only view. The runtime executes
//! itself once more, from a detached, read-only clone of the mount its file is on; where mounts cannot be cloned
//! (rootless, old kernels), from a sealed copy in memory.

use crate::error::{Error, Result};
use crate::sys::{fs, mount, process};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Mutex;

/// MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, linux/mount.h.
const READ_ONLY: u64 = 0x1 | 0x2 | 0x4;

/// The binary is far smaller; a copy in memory is bounded all the same.
const LARGEST: usize = 64 << 20;

/// What of the caller's environment the program still knows when it is sealed: all that it ever reads. The rest may
/// hold what is none of a container's business, and could be read from /proc/PID/environ by a process that may trace
/// init.
const KEPT: [&str; 10] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "LD_LIBRARY_PATH",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "PATH",
    "USER",
    "XDG_RUNTIME_DIR",
];

/// The variable that tells the sealed process which of its descriptors is the view that it was executed from.
const VIEW: &str = "ONGGI_VIEW";

/// The view. Whoever closes it last waits until the kernel has taken its mount down (an RCU grace period, 60 µs on an
/// idle machine, a millisecond on a busy one), and execve would do that, before the program's first instruction.
static KEPT_OPEN: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Closes the view, at a moment when somebody else has work to do. Whoever does not call it closes it by ending.
pub(super) fn let_go() {
    drop(KEPT_OPEN.lock().map(|mut view| view.take()));
}

/// Returns only in a process whose binary is sealed. Call it first: nothing may be open yet.
///
/// # Returns
/// The descriptor that it keeps, which is none of the caller's.
///
/// # Errors
/// Neither a read-only view nor a sealed copy can be had.
pub(crate) fn seal() -> Result<Option<i32>> {
    let own = fs::open_host(c"/proc/self/exe", OFlags::PATH)?;
    if is_sealed(&own)? {
        let view = std::env::var(VIEW).ok().and_then(|text| text.parse().ok());
        if let (Some(fd), Ok(mut kept)) = (view, KEPT_OPEN.lock()) {
            *kept = Some(process::inherit(fd));
        }
        return Ok(view);
    }
    let (view, announced) = match read_only_view() {
        Ok(view) => {
            process::survive_execve(view.as_raw_fd())?;
            let announced = format!("{VIEW}={}", view.as_raw_fd());
            (view, Some(announced.into()))
        }
        Err(_) => (sealed_copy().map_err(|e| e.at("the runtime's own binary"))?, None),
    };
    let strings = |list: &mut dyn Iterator<Item = OsString>| -> Result<Vec<CString>> {
        list.map(|text| CString::new(text.into_vec()).map_err(|_| Error::new("contains a NUL byte")))
            .collect()
    };
    let args = strings(&mut std::env::args_os())?;
    let kept = std::env::vars_os().filter(|(key, _)| KEPT.iter().any(|name| key == name));
    let kept = kept.map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    });
    let env = strings(&mut kept.chain(announced))?;
    Err(process::execve_fd(view.as_fd(), &args, &env))
}

/// On the detached read-only view, or a file that can never be written again. The view is the root of its own mount,
/// so that its path is `/`, which no other program's is. Any other read-only mount does not count: it can be made
/// writable again, and with it what a container kept open.
fn is_sealed(own: &OwnedFd) -> Result<bool> {
    if fs::on_read_only_mount(own)? && fs::readlinkat(rustix::fs::CWD, c"/proc/self/exe")?.as_bytes() == b"/"
    {
        return Ok(true);
    }
    Ok(fs::is_sealed_memory(c"/proc/self/exe"))
}

fn read_only_view() -> Result<OwnedFd> {
    let view = mount::clone_tree(c"/proc/self/exe", false, true)?;
    mount::change(&view, false, READ_ONLY, 0)?;
    Ok(view)
}

fn sealed_copy() -> Result<OwnedFd> {
    let failed = |call: &'static str| move |errno: rustix::io::Errno| Error::call(call, errno.raw_os_error());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3, where vm.memfd_noexec may ask for it; older ones know no such flag.
    let copy = rustix::fs::memfd_create("onggi", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("onggi", flags))
        .map_err(failed("memfd_create"))?;
    let own = fs::open_host(c"/proc/self/exe", OFlags::RDONLY)?;
    let mut total = 0;
    loop {
        let sent = rustix::fs::sendfile(&copy, &own, None, LARGEST).map_err(failed("sendfile"))?;
        total += sent;
        if sent == 0 {
            break;
        }
        if total > LARGEST {
            return Err(Error::new("is larger than 64 MiB"));
        }
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(failed("fcntl(F_ADD_SEALS)"))?;
    Ok(copy)
}
