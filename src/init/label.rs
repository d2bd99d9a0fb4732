//! Security labels: written by the process itself into its own files of procfs (security modules take no other hand).
//! The procfs is the one that the runtime opened before birth: its own, which no container can cover; below it no link
//! is followed and no mount crossed.

use super::Init;
use crate::error::{Error, Result};
use crate::plan::step::{Label, LabelFile};
use crate::sys::fs;
use nix::libc;
use rustix::fs::OFlags;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

impl Init<'_> {
    pub(super) fn label(&mut self, label: &Label) -> Result<()> {
        let proc = self.take(label.proc);
        let (file, path) = open(&proc, label.file)?;
        if fs::magic(&file)? != fs::PROC_MAGIC {
            return Err(Error::new(format!("{path:?} is not a file of procfs")));
        }
        fs::write_once(file, label.text.to_bytes(), &path).map_err(|error| explain(error, label.file))
    }
}

/// The file of this thread. procfs resolves `thread-self` by the caller's ids in the pid namespace of the procfs,
/// whatever namespace the caller is in.
fn open(proc: &OwnedFd, file: LabelFile) -> Result<(OwnedFd, CString)> {
    let thread = fs::readlinkat(proc, c"thread-self")?;
    if !is_thread(thread.to_bytes()) {
        return Err(Error::new(format!("thread-self of the procfs is {thread:?}")));
    }
    let open = |name: &CStr| {
        let path = [thread.to_bytes(), b"/attr/", name.to_bytes()].concat();
        let path = CString::new(path).expect("no NUL in C strings");
        fs::open_same_mount(proc, &path, OFlags::WRONLY).map(|file| (file, path))
    };
    match file {
        LabelFile::AppArmorExec => match open(c"apparmor/exec") {
            // A kernel without a directory for each security module: the file is that of the only one.
            Err(e) if e.errno() == libc::ENOENT => open(c"exec"),
            other => other,
        },
        LabelFile::Exec => open(c"exec"),
        LabelFile::KeyCreate => open(c"keycreate"),
    }
}

/// `17/task/17`.
fn is_thread(link: &[u8]) -> bool {
    let number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let parts: Vec<&[u8]> = link.split(|&byte| byte == b'/').collect();
    matches!(parts[..], [process, b"task", thread] if number(process) && number(thread))
}

fn explain(error: Error, file: LabelFile) -> Error {
    match (file, error.errno()) {
        (LabelFile::AppArmorExec, libc::ENOENT) => {
            error.hint("the profile is not loaded: apparmor_parser --replace FILE loads it")
        }
        (LabelFile::AppArmorExec, libc::EACCES | libc::EPERM) => {
            error.hint("the profile that the runtime itself is confined by does not allow it")
        }
        (LabelFile::Exec | LabelFile::KeyCreate, libc::EINVAL) => {
            error.hint("the loaded policy of SELinux does not know this label")
        }
        (LabelFile::Exec | LabelFile::KeyCreate, libc::EACCES | libc::EPERM) => {
            error.hint("the loaded policy of SELinux does not let the runtime do it")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A directory that stands in for procfs, as it is without a directory for AppArmor.
    fn procfs(link: &str) -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().expect("tempdir");
        let attr = directory.path().join("12/task/12/attr");
        std::fs::create_dir_all(&attr).expect("mkdir");
        for name in ["exec", "keycreate"] {
            std::fs::write(attr.join(name), "").expect("write");
        }
        symlink(link, directory.path().join("thread-self")).expect("symlink");
        let path = CString::new(directory.path().to_str().expect("UTF-8")).expect("no NUL");
        let fd = fs::open_host(&path, OFlags::PATH | OFlags::DIRECTORY).expect("open");
        (directory, fd)
    }

    fn put(proc: &OwnedFd, file: LabelFile, text: &CStr) -> Result<()> {
        let (file, path) = open(proc, file)?;
        fs::write_once(file, text.to_bytes(), &path)
    }

    fn content(directory: &Path, name: &str) -> String {
        std::fs::read_to_string(directory.join("12/task/12/attr").join(name)).expect(name)
    }

    #[test]
    fn each_label_goes_into_its_own_file() {
        let (directory, proc) = procfs("12/task/12");
        let directory = directory.path();
        put(&proc, LabelFile::Exec, c"a:b:c").expect("exec");
        put(&proc, LabelFile::KeyCreate, c"d:e:f").expect("keycreate");
        put(&proc, LabelFile::KeyCreate, c"").expect("nothing");
        assert_eq!(
            (content(directory, "exec"), content(directory, "keycreate")),
            ("a:b:c".into(), "d:e:f".into())
        );
        put(&proc, LabelFile::AppArmorExec, c"exec x").expect("the old file");
        assert_eq!(content(directory, "exec"), "exec x");
        let attr = directory.join("12/task/12/attr/apparmor");
        std::fs::create_dir(&attr).expect("mkdir");
        std::fs::write(attr.join("exec"), "").expect("write");
        put(&proc, LabelFile::AppArmorExec, c"exec y").expect("the new file");
        assert_eq!(
            (content(directory, "exec"), content(directory, "apparmor/exec")),
            ("exec x".into(), "exec y".into())
        );
    }

    #[test]
    fn no_link_is_followed() {
        for link in ["12", "../12/task/12", "/12/task/12", "12/task/", "12/task/12/", "12/fd/12", "x/task/12"]
        {
            let (_directory, proc) = procfs(link);
            let error = open(&proc, LabelFile::Exec).expect_err(link).to_string();
            assert_eq!(error, format!("thread-self of the procfs is {link:?}"));
        }
        let (directory, proc) = procfs("12/task/12");
        let attr = directory.path().join("12/task/12/attr");
        std::fs::remove_file(attr.join("exec")).expect("rm");
        symlink("keycreate", attr.join("exec")).expect("symlink");
        assert_eq!(open(&proc, LabelFile::Exec).expect_err("a link").errno(), libc::ELOOP);
        std::fs::rename(&attr, directory.path().join("elsewhere")).expect("mv");
        symlink("../../../elsewhere", &attr).expect("symlink");
        assert_eq!(open(&proc, LabelFile::KeyCreate).expect_err("a link").errno(), libc::ELOOP);
    }

    /// What is written is written by whoever opened it, into a file of his own: on the kernel's own procfs.
    #[test]
    fn the_kernels_procfs_is_understood() {
        let proc = fs::open_host(c"/proc", OFlags::PATH | OFlags::DIRECTORY).expect("/proc");
        let (file, path) = open(&proc, LabelFile::Exec).expect("attr/exec");
        assert_eq!(fs::magic(&file), Ok(fs::PROC_MAGIC));
        assert!(path.to_bytes().starts_with(format!("{}/task/", std::process::id()).as_bytes()), "{path:?}");
    }
}
