//! process.terminal (config.md, Process): a terminal from the container's own devpts. Whatever the image or another
//! process of the container put at its paths, nothing but a devpts gives the terminal, and /dev/console is covered by
//! descriptor (CVE-2025-52565).

use super::Init;
use super::root::Make;
use crate::error::{Error, Result};
use crate::plan::step::{Inside, Links};
use crate::sys::{fs, mount, process, socket, terminal};
use nix::libc;
use rustix::fs::{FileType, OFlags};
use rustix::termios::Winsize;
use std::os::fd::{AsFd, OwnedFd};

/// What comes with the master, as runc sends it.
const NAME: &[u8] = b"/dev/ptmx";

/// Major and minor number of every devpts' ptmx.
const PTMX: (u32, u32) = (5, 2);

/// Whoever attends a terminal, which begins as it suits them.
#[derive(Debug)]
pub(crate) struct Attendant {
    /// Where the master is sent.
    pub(crate) socket: OwnedFd,
    /// The size of the screen it is shown on, which counts more than process.consoleSize.
    pub(crate) size: Option<Winsize>,
    /// It is shown on no screen: line ends stay plain.
    pub(crate) plain: bool,
}

impl Init<'_> {
    /// The terminal becomes 0, 1 and 2; whoever attends it gets the master, last of all.
    pub(super) fn console(&mut self, size: Option<(u16, u16)>, bind: bool) -> Result<()> {
        let attendant = self.inherited.console.take();
        let attendant = attendant.ok_or_else(|| Error::new("nobody is there to attend it"))?;
        let master = self.master()?;
        let peer = terminal::peer(&master)?;
        if let Some(size) = attendant.size.or(size.map(terminal::cells)) {
            terminal::resize(&master, size)?;
        }
        if attendant.plain {
            terminal::plain_line_ends(&master)?;
        }
        if bind {
            self.bind_console(&peer)?;
        }
        terminal::become_stdio(&peer)?;
        socket::send(attendant.socket.as_fd(), NAME, &[master.as_fd()]).map_err(|e| match e.errno() {
            libc::EAGAIN => e.at("--console-socket").hint("nobody reads from it"),
            _ => e.at("--console-socket"),
        })
    }

    /// A new master, by the name `ptmx` in the directory at /dev/pts: on a devpts, whose names are the kernel's, and
    /// through no other mount.
    fn master(&self) -> Result<OwnedFd> {
        let missing = |e: Error| e.hint("a terminal needs a devpts: mounts has none at /dev/pts");
        let here;
        let root = match &self.root {
            Some(root) => root.fd.as_fd(),
            None => {
                here = fs::open_host(c"/", OFlags::PATH | OFlags::DIRECTORY)?;
                here.as_fd()
            }
        };
        let devpts = fs::open_in_root(root, c"dev/pts", OFlags::PATH | OFlags::DIRECTORY).map_err(missing)?;
        if fs::magic(&devpts)? != fs::DEVPTS_MAGIC {
            return Err(missing(Error::new("/dev/pts is no devpts")));
        }
        let master = fs::open_same_mount(&devpts, c"ptmx", OFlags::RDWR | OFlags::NOCTTY)?;
        let stat = fs::fstat(&master)?;
        if fs::kind(&stat) != FileType::CharacterDevice || fs::device(&stat) != PTMX {
            return Err(Error::new("/dev/pts/ptmx is not the character device 5:2"));
        }
        Ok(master)
    }

    fn bind_console(&mut self, peer: &OwnedFd) -> Result<()> {
        let at = Inside(c"dev/console".to_owned());
        // Hooks may have mounted something since.
        self.root().forget();
        let target = self.mount_point(&at, Links::NotLast, Make::File)?.fd;
        match fs::kind(&fs::fstat(&target)?) {
            FileType::Symlink => return Err(Error::new("/dev/console is a symbolic link")),
            FileType::Directory => return Err(Error::new("/dev/console is a directory")),
            _ => {}
        }
        mount::move_mount(mount::clone_fd(peer, false)?, target)?;
        self.root().forget();
        Ok(())
    }
}

/// The session that just began gets the terminal that is standard input.
pub(super) fn control() -> Result<()> {
    let terminal = process::stdio(0).ok_or_else(|| Error::new("standard input is closed"))?;
    terminal::become_controlling(terminal)
}
