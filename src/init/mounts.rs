//! The steps that build the container's file system: everything by descriptor, flags final before a mount is seen.

use super::Init;
use super::root::{Found, Make, Root};
use crate::error::{Error, Result};
use crate::plan::step::{Attr, HandleId, Inside, Links, MountCall, MountPoint, Source, Tree, show};
use crate::sys::mount::{self, Filesystem, MountAttr};
use crate::sys::{fs, process};
use nix::libc;
use rustix::fs::{FileType, OFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

/// fsconfig(2) takes values up to this length (fs/fsopen.c); longer ones go through mount(2).
const LONGEST_VALUE: usize = 255;

/// Of mountinfo so much is read.
const LONGEST_TABLE: usize = 16 << 20;

/// MOUNT_ATTR_RDONLY | NOSUID | NODEV | NOEXEC, linux/mount.h.
const LOCKED_DOWN: u64 = 0x1 | 0x2 | 0x4 | 0x8;

/// MOUNT_ATTR_RDONLY, set.
const READ_ONLY: Attr = Attr { set: 0x1, clear: 0 };

/// The host's /dev/null as a cover: nobody inside may change the mode or owner of the host's node through it
/// (MOUNT_ATTR_RDONLY | NOSUID | NOEXEC; a device can be opened all the same), and it is private, since what is mounted
/// over it must not appear on the host, whose mount the clone would else remain a peer of.
const NULL_COVER: Attr = Attr { set: 0x1 | 0x2 | 0x8, clear: 0 };

/// What covers masked paths: made once, then cloned.
#[derive(Default)]
pub(super) struct Covers {
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
}

impl Init<'_> {
    pub(super) fn attach_root(&mut self, tree: HandleId, at: &CStr, propagation: u64) -> Result<()> {
        let tree = self.take(tree);
        let target = fs::open_host(at, OFlags::PATH | OFlags::DIRECTORY)?;
        mount::move_mount(&tree, target)?;
        self.change(&tree, Attr::default(), &[propagation])?;
        self.root = Some(Root::new(tree));
        Ok(())
    }

    pub(super) fn open_root(&mut self, at: &CStr) -> Result<()> {
        self.root = Some(Root::new(fs::open_host(at, OFlags::PATH | OFlags::DIRECTORY)?));
        Ok(())
    }

    /// Gives the mount that was attached.
    pub(super) fn mount(
        &mut self,
        at: &Inside,
        source: &Source,
        point: MountPoint,
        links: Links,
    ) -> Result<OwnedFd> {
        let placed = match source {
            Source::Tree(id) => {
                let tree = self.take(*id);
                let directory = fs::kind(&fs::fstat(&tree)?) == FileType::Directory;
                let make = match point {
                    MountPoint::LikeSource if !directory => Make::File,
                    MountPoint::LikeSource | MountPoint::Directory => Make::Directory,
                };
                let target = self.mount_point(at, links, make)?;
                mount::move_mount(&tree, target.fd)?;
                tree
            }
            Source::New { fstype, source, options, attr, copy_up, label } => {
                let Found { fd: target, made } = self.mount_point(at, links, Make::Directory)?;
                let new = New { fstype, source, options, attr: *attr, label: label.as_deref() };
                if new.too_long() {
                    new.mount_classic(&target)?;
                    self.root().find(&at.0)?
                } else {
                    let tree = new.mount((!made).then_some(&target), *copy_up)?;
                    mount::move_mount(&tree, &target)?;
                    tree
                }
            }
        };
        self.root().forget();
        Ok(placed)
    }

    /// Changes one attached mount: its attributes, then its propagation, with MS_REC that of those below it.
    pub(super) fn change(&self, fd: &OwnedFd, attr: Attr, propagation: &[u64]) -> Result<()> {
        match self.inherited.mounts {
            MountCall::MountSetattr => {
                apply_attr(fd, attr, Attr::default())?;
                propagation.iter().try_for_each(|&flags| propagate(fd, flags))
            }
            MountCall::Mount => {
                if !attr.is_empty() {
                    mount::remount(fd, attr.set, attr.clear)?;
                }
                let each = |&flags: &u64| mount::mount_on_fd(None, fd, None, flags, None);
                propagation.iter().try_for_each(each)
            }
        }
    }

    /// The place to mount on. Whatever the path says, nothing but the known files of procfs is ever covered.
    pub(super) fn mount_point(&mut self, at: &Inside, links: Links, make: Make) -> Result<Found> {
        let target = self.root().find_or_make(at, links, make)?;
        let named = at.bytes() == b"proc" || at.bytes().starts_with(b"proc/");
        if !named && fs::magic(&target.fd)? == fs::PROC_MAGIC {
            return Err(Error::new("cannot be mounted: it leads into procfs"));
        }
        Ok(target)
    }

    /// Not being let in is no failure yet: the container's user may be, and is asked later.
    pub(super) fn make_directory(&mut self, at: &Inside) -> Result<()> {
        match self.root().find_or_make(at, Links::Follow, Make::Directory) {
            Err(e) if e.errno() != libc::EACCES => Err(e),
            _ => Ok(()),
        }
    }

    pub(super) fn set_attr(
        &mut self,
        at: &Inside,
        attr: Attr,
        deep: Attr,
        propagation: &[u64],
    ) -> Result<()> {
        let target = self.root().find(&at.0)?;
        apply_attr(&target, Attr::default(), deep)?;
        self.change(&target, attr, propagation)
    }

    pub(super) fn remount(&mut self, at: &Inside, flags: u64, data: &CStr) -> Result<()> {
        let target = self.root().find(&at.0)?;
        mount::mount_on_fd(None, target, None, flags, Some(data))
    }

    /// `label`: of the tmpfs that covers a directory; the host's /dev/null keeps its own.
    pub(super) fn mask(&mut self, at: &Inside, null: HandleId, label: Option<&CStr>) -> Result<()> {
        let Some(target) = self.root().find_if_there(&at.0)? else { return Ok(()) };
        let directory = fs::kind(&fs::fstat(&target)?) == FileType::Directory;
        let known = if directory { &self.covers.directory } else { &self.covers.file };
        if let Some(first) = known {
            return mount::move_mount(mount::clone_fd(first, false)?, target);
        }
        if directory {
            let tmpfs = Filesystem::open(c"tmpfs")?;
            label.map_or(Ok(()), |label| tmpfs.set(c"context", Some(label)))?;
            let cover = tmpfs.mount(LOCKED_DOWN)?;
            mount::move_mount(&cover, target)?;
            self.covers.directory = Some(cover);
        } else {
            let cover = self.take(null);
            self.attach_changed(&cover, target, NULL_COVER, libc::MS_PRIVATE)?;
            self.covers.file = Some(cover);
        }
        Ok(())
    }

    /// Attaches a tree and changes it: before anybody can see it, where the kernel can do that.
    fn attach_changed(&self, tree: &OwnedFd, onto: OwnedFd, attr: Attr, propagation: u64) -> Result<()> {
        let early = self.inherited.mounts == MountCall::MountSetattr;
        if early {
            self.change(tree, attr, &[propagation])?;
        }
        mount::move_mount(tree, onto)?;
        if early { Ok(()) } else { self.change(tree, attr, &[propagation]) }
    }

    pub(super) fn read_only(&mut self, at: &Inside, recursive: bool) -> Result<()> {
        let Some(target) = self.root().find_if_there(&at.0)? else { return Ok(()) };
        let tree = mount::clone_fd(&target, true)?;
        if recursive {
            apply_attr(&tree, Attr::default(), READ_ONLY)?;
            return mount::move_mount(tree, target);
        }
        mount::move_mount(&tree, target)?;
        self.change(&tree, READ_ONLY, &[])
    }

    pub(super) fn root_readonly(&mut self) -> Result<()> {
        let root = self.root.as_ref().expect("the plan attaches the root before its first use");
        self.change(&root.fd, READ_ONLY, &[])
    }

    pub(super) fn device(
        &mut self,
        at: &Inside,
        mode: u32,
        number: (u32, u32),
        (uid, gid): (u32, u32),
    ) -> Result<()> {
        let Some((parent, name)) = self.root().parent(at)? else {
            return Err(Error::new("the root cannot be a device"));
        };
        match fs::mknodat(parent, &name, mode, number) {
            Ok(()) if (uid, gid) == (0, 0) => Ok(()),
            Ok(()) => fs::chown(parent, &name, uid, gid),
            Err(e) if e.errno() == libc::EEXIST => {
                let stat = fs::stat_child(parent, &name)?;
                let same = fs::kind(&stat) == FileType::from_raw_mode(mode);
                if same && (fs::kind(&stat) == FileType::Fifo || fs::device(&stat) == number) {
                    return Ok(());
                }
                Err(Error::new("something else is in its place").hint("remove it from the root file system"))
            }
            Err(e) => Err(e),
        }
    }

    pub(super) fn symlink(&mut self, target: &CStr, at: &Inside) -> Result<()> {
        let Some((parent, name)) = self.root().parent(at)? else { return Ok(()) };
        match fs::symlinkat(target, parent, &name) {
            Err(e) if e.errno() == libc::EEXIST => Ok(()),
            other => other,
        }
    }

    pub(super) fn copy_symlink(&mut self, source: &CStr, at: &Inside) -> Result<()> {
        let target = fs::readlinkat(rustix::fs::CWD, source).map_err(|e| {
            if e.errno() == libc::EINVAL { e.hint("copy-symlink needs a symbolic link") } else { e }
        })?;
        self.symlink(&target, at)
    }

    pub(super) fn sysctl(&mut self, path: &CStr, value: &str) -> Result<()> {
        if self.proc.is_none() {
            self.proc = Some(Filesystem::open(c"proc")?.mount(LOCKED_DOWN & !1)?);
        }
        let proc = self.proc.as_ref().expect("was set above");
        let inside = CString::new(format!("sys/{}", show(path))).expect("no NUL in a C string");
        let file = fs::open_same_mount(proc, &inside, OFlags::WRONLY)?;
        fs::write_once(file, value.as_bytes(), &inside)
    }
}

/// `--no-pivot`, from the root as the working directory. The host's mounts stay in the namespace below the new root;
/// while a procfs or sysfs without masks is among them, the kernel lets whoever makes a user namespace inside mount
/// another one without masks (mount_too_revealing, fs/namespace.c): so these are taken off or covered first.
pub(super) fn leave_and_move_root() -> Result<()> {
    let root = process::getcwd()?;
    let table = fs::open_host(c"/proc/self/mountinfo", OFlags::RDONLY)?;
    let table = fs::read_bounded(table, LONGEST_TABLE, c"/proc/self/mountinfo")?;
    let table = String::from_utf8_lossy(&table);
    for point in table.lines().rev().filter_map(|line| revealing(line, root.to_bytes())) {
        mount::take_off_or_cover(&point)?;
    }
    mount::move_to_root()
}

/// The mount point of a line of mountinfo if a procfs or sysfs of the host stands there.
fn revealing(line: &str, root: &[u8]) -> Option<CString> {
    let (front, back) = line.split_once(" - ")?;
    let fstype = back.split(' ').next()?;
    let point = front.split(' ').nth(4)?.replace("\\040", " ").replace("\\134", "\\");
    let inside =
        point.as_bytes().strip_prefix(root).is_some_and(|rest| [None, Some(&b'/')].contains(&rest.first()));
    if ["proc", "sysfs"].contains(&fstype) && !inside { CString::new(point).ok() } else { None }
}

/// A new file system.
struct New<'a> {
    fstype: &'a CStr,
    source: &'a CStr,
    options: &'a [(CString, Option<CString>)],
    attr: u64,
    label: Option<&'a CStr>,
}

impl New<'_> {
    fn too_long(&self) -> bool {
        let long = |value: &Option<CString>| value.as_ref().is_some_and(|v| v.count_bytes() > LONGEST_VALUE);
        self.source.count_bytes() > LONGEST_VALUE || self.options.iter().any(|(_, value)| long(value))
    }

    /// `covered`: the directory that was there before, whose mode a tmpfs takes over and whose content it copies up.
    fn mount(&self, covered: Option<&OwnedFd>, copy_up: bool) -> Result<OwnedFd> {
        let filesystem = Filesystem::open(self.fstype)?;
        if !self.source.is_empty() {
            filesystem.set(c"source", Some(self.source))?;
        }
        for (key, value) in self.options {
            filesystem.set(key, value.as_deref())?;
        }
        let has_mode = self.options.iter().any(|(key, _)| key.as_c_str() == c"mode");
        if let (true, Some(directory), false) = (self.fstype == c"tmpfs", covered, has_mode) {
            let mode = fs::fstat(directory)?.st_mode & 0o7777;
            let mode = CString::new(format!("{mode:o}")).expect("digits have no NUL");
            filesystem.set(c"mode", Some(&mode))?;
        }
        let tree = filesystem.mount(self.attr)?;
        if let Some(label) = self.label {
            fs::set_label(&tree, label)?;
        }
        if let (true, Some(directory)) = (copy_up, covered) {
            super::copy_up::copy(directory, &tree, self.attr)?;
        }
        Ok(tree)
    }

    /// mount(2), for values that fsconfig(2) does not take.
    fn mount_classic(&self, target: &OwnedFd) -> Result<()> {
        let text = |(key, value): &(CString, Option<CString>)| match value {
            // SELinux reads its options in quotes: a context may hold commas.
            Some(value) if key.to_bytes().ends_with(b"context") => format!("{}={value:?}", show(key)),
            Some(value) => format!("{}={}", show(key), show(value)),
            None => show(key),
        };
        let data: Vec<String> = self.options.iter().map(text).collect();
        let data = CString::new(data.join(",")).expect("no NUL in C strings");
        let flags = mount::flags_of(self.attr);
        mount::mount_on_fd(Some(self.source), target, Some(self.fstype), flags, Some(&data))
    }
}

/// Clones a mount of the host and gives it its attributes while nobody can see it.
pub(crate) fn open_tree(tree: &Tree, user_namespace: Option<&OwnedFd>) -> Result<OwnedFd> {
    let fd = mount::clone_tree(&tree.path, tree.recursive, tree.follow)?;
    check(&fd, tree)?;
    apply_attr(&fd, tree.attr, tree.deep)?;
    if let (Some(idmap), Some(namespace)) = (&tree.idmap, user_namespace) {
        mount::idmap(&fd, idmap.recursive, namespace)?;
    }
    Ok(fd)
}

fn check(fd: &OwnedFd, tree: &Tree) -> Result<()> {
    use crate::plan::step::Kind;
    match tree.must_be {
        Kind::Any => Ok(()),
        Kind::Character(major, minor) => {
            let stat = fs::fstat(fd)?;
            if fs::kind(&stat) == FileType::CharacterDevice && fs::device(&stat) == (major, minor) {
                return Ok(());
            }
            Err(Error::new(format!("{} is not the character device {major}:{minor}", show(&tree.path))))
        }
        Kind::Procfs if fs::magic(fd)? == fs::PROC_MAGIC => Ok(()),
        Kind::Procfs => Err(Error::new("cannot be mounted over /proc: the source is no procfs")),
    }
}

fn apply_attr(fd: impl AsFd, attr: Attr, deep: Attr) -> Result<()> {
    for (recursive, Attr { set, clear }) in [(true, deep), (false, attr)] {
        if set | clear != 0 {
            mount::change(&fd, recursive, set, clear)?;
        }
    }
    Ok(())
}

fn propagate(fd: impl AsFd, flags: u64) -> Result<()> {
    let attr = MountAttr { propagation: flags & !libc::MS_REC, ..MountAttr::default() };
    mount::mount_setattr(fd, flags & libc::MS_REC != 0, &attr)
}
