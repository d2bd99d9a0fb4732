//! `--pid-file`: the container's pid for the engine. It is whole when it appears, and until then has no name that
//! somebody would find if the runtime was killed. It must follow no link at its own name.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Somebody may make a file of this name between our unlink and link; tried this often.
const ATTEMPTS: u32 = 16;

/// Writes the pid as decimal digits without a newline, in place of a file that may be there.
///
/// # Errors
/// The field `--pid-file`, the call and its reason; then there is no new file.
pub(super) fn write(path: &Path, pid: i32) -> Result<()> {
    let digits = pid.to_string();
    placed(path, digits.as_bytes()).map_err(|error| error.at("--pid-file"))
}

fn placed(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |call: &'static str| {
        move |errno: Errno| Error::call(format!("{call}({path:?})"), errno.raw_os_error())
    };
    path.file_name().ok_or_else(|| Error::new("is no file name"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let nameless = match rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)) {
        // Not every file system has nameless files.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => return renamed(path, content),
        opened => opened.map_err(failed("open"))?,
    };
    let length = rustix::io::write(&nameless, content).map_err(failed("write"))?;
    if length != content.len() {
        return Err(failed("write")(Errno::NOSPC));
    }
    named(&nameless, path).map_err(failed("linkat"))
}

/// linkat(2) replaces nothing: what has the name goes first.
fn named(nameless: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    let descriptor = format!("/proc/self/fd/{}", nameless.as_raw_fd());
    let link = || rustix::fs::linkat(CWD, &descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW);
    for _ in 0..ATTEMPTS {
        match link() {
            Err(Errno::EXIST) => {}
            linked => return linked,
        }
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    link()
}

/// The same by way of a name that nobody looks for.
fn renamed(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |call: &str, e: std::io::Error| {
        Error::call(format!("{call}({path:?})"), e.raw_os_error().unwrap_or(0))
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = std::fs::write(&part, content).map_err(|e| failed("write", e));
    let placed = written.and_then(|()| std::fs::rename(&part, path).map_err(|e| failed("rename", e)));
    placed.inspect_err(|_| drop(std::fs::remove_file(&part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn is_there_whole_in_place_of_what_was() {
        for write in [placed, renamed] {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("pid");
            let read = || fs::read_to_string(&path).unwrap();
            write(&path, b"17").unwrap();
            assert_eq!(read(), "17");
            write(&path, b"8").unwrap();
            assert_eq!(read(), "8");
            let elsewhere = temp.path().join("elsewhere");
            fs::write(&elsewhere, "kept").unwrap();
            fs::remove_file(&path).unwrap();
            symlink(&elsewhere, &path).unwrap();
            write(&path, b"9").unwrap();
            assert_eq!((read(), fs::read_to_string(&elsewhere).unwrap()), ("9".into(), "kept".into()));
            assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "no other name is left");
        }
    }

    #[test]
    fn a_place_where_it_cannot_be() {
        let temp = tempfile::tempdir().unwrap();
        for path in ["nowhere/pid", "."] {
            let error = write(&temp.path().join(path), 1).unwrap_err().to_string();
            assert!(error.starts_with("--pid-file: "), "{error}");
        }
        fs::create_dir(temp.path().join("folder")).unwrap();
        assert!(write(&temp.path().join("folder"), 1).is_err());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
