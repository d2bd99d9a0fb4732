//! `tmpcopyup`: what a directory holds is copied into the tmpfs that is about to cover it. Both are descriptors; no
//! symbolic link is followed, nothing but regular files, directories and links is copied.

use crate::error::{Error, Result};
use crate::sys::fs;
use crate::sys::mount;
use nix::libc;
use rustix::fs::{FileType, OFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// Directories nested deeper than this are refused: they would exhaust descriptors.
const DEEPEST: u32 = 256;

/// Copies the content of `from` into the mount `to`; a read-only one is opened up meanwhile: nobody sees it yet.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, attr: u64) -> Result<()> {
    let read_only = attr & 1 != 0;
    if read_only {
        mount::change(to, false, 0, 1)?;
    }
    let source = fs::open_child(from, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let target = fs::open_child(to, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    fs::set_owner_and_mode(&target, &fs::fstat(&source)?)?;
    copy_directory(&source, &target, DEEPEST)?;
    if read_only { mount::change(to, false, 1, 0) } else { Ok(()) }
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, left: u32) -> Result<()> {
    if left == 0 {
        return Err(Error::call("tmpcopyup", libc::ELOOP).hint("directories are nested too deeply"));
    }
    for name in fs::names(from)? {
        let stat = fs::stat_child(from, &name)?;
        match fs::kind(&stat) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let source = fs::open_child(from, &name, flags)?;
                fs::mkdirat(to, &name, 0o700)?;
                let target = fs::open_child(to, &name, flags)?;
                copy_directory(&source, &target, left - 1)?;
                fs::set_owner_and_mode(&target, &fs::fstat(&source)?)?;
            }
            FileType::Symlink => {
                fs::symlinkat(&fs::readlinkat(from, &name)?, to, &name)?;
                fs::chown(to, &name, stat.st_uid, stat.st_gid)?;
            }
            FileType::RegularFile => copy_file(from, to, &name)?,
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let source = fs::open_child(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = fs::fstat(&source)?;
    if fs::kind(&stat) != FileType::RegularFile {
        return Ok(());
    }
    let target = fs::create_file(to, name, 0o600)?;
    loop {
        let copied = rustix::fs::sendfile(target.as_fd(), source.as_fd(), None, 1 << 30);
        if copied.map_err(|e| Error::call(format!("sendfile({name:?})"), e.raw_os_error()))? == 0 {
            return fs::set_owner_and_mode(&target, &stat);
        }
    }
}
