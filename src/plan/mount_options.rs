//! The one table of mount options (config.md, Linux mount options; mount(8); mount_setattr(2)): it drives the parser,
//! `features` and the documentation. Says what an option means, never what is done about it. Pure.

use super::step::Attr;
use crate::error::{Error, Result};
use nix::libc;

/// An option: its name in config.json and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountOption {
    /// As in config.json.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) effect: Effect,
}

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// `defaults`: nothing.
    Nothing,
    /// A bind mount; true: with everything below.
    Bind(bool),
    /// A change of an existing mount.
    Remount,
    /// A flag of the mount.
    Flag(Scope, Flag, Switch),
    /// The access time mode of the mount; off: the kernel's default again.
    Atime(Scope, Atime, Switch),
    /// A flag of the file system behind the mount.
    Super(SuperFlag, Switch),
    /// A propagation type: MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE, with MS_REC or without.
    Propagation(u64),
    /// The directory's content is copied up into a tmpfs.
    CopyUp,
    /// An id-mapped mount.
    Idmap(Idmapped),
    /// A symbolic link at the source is made again instead of followed.
    CopySymlink,
    /// A symbolic link at the destination is covered instead of followed.
    DestNofollow,
    /// A symbolic link at the source is mounted instead of followed.
    SrcNofollow,
}

/// On which mounts of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The topmost one.
    Top,
    /// All of them: the `r…` options.
    Deep,
}

/// Is it set or cleared?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Set.
    On,
    /// Cleared.
    Off,
}

/// A flag of a mount, for both of the kernel's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag {
    /// `MOUNT_ATTR_…` of linux/mount.h, for fsmount(2) and mount_setattr(2).
    pub(crate) attr: u64,
    /// `MS_…`, for mount(2).
    pub(crate) ms: u64,
}

/// An access time mode: MOUNT_ATTR__ATIME has room for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atime {
    /// The kernel's default.
    Relative,
    /// Never.
    Never,
    /// Always.
    Strict,
}

/// A flag of a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SuperFlag {
    /// `MS_…`, for mount(2).
    pub(crate) ms: u64,
    /// The name for fsconfig(FSCONFIG_SET_FLAG) as fs/fs_context.c knows it; none: only mount(2) can say it.
    pub(crate) fsconfig: Option<&'static str>,
}

/// How far an id mapping reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Idmapped {
    /// None is asked for by an option.
    #[default]
    No,
    /// `idmap`: the topmost mount.
    Plain,
    /// `ridmap`: all mounts of the tree.
    Recursive,
}

// linux/mount.h, the same on every architecture; libc has not all of them for every target.
/// MOUNT_ATTR__ATIME, the mask of the access time modes.
const ATTR_ATIME: u64 = 0x70;
/// MOUNT_ATTR_NOATIME
const ATTR_NOATIME: u64 = 0x10;
/// MOUNT_ATTR_STRICTATIME
const ATTR_STRICTATIME: u64 = 0x20;

const RDONLY: Flag = Flag { attr: 0x1, ms: libc::MS_RDONLY };
const NOSUID: Flag = Flag { attr: 0x2, ms: libc::MS_NOSUID };
const NODEV: Flag = Flag { attr: 0x4, ms: libc::MS_NODEV };
const NOEXEC: Flag = Flag { attr: 0x8, ms: libc::MS_NOEXEC };
const NODIRATIME: Flag = Flag { attr: 0x80, ms: libc::MS_NODIRATIME };
const NOSYMFOLLOW: Flag = Flag { attr: 0x20_0000, ms: 0x100 }; // MS_NOSYMFOLLOW, Linux 5.10; the attribute 5.14

const SYNC: SuperFlag = SuperFlag { ms: libc::MS_SYNCHRONOUS, fsconfig: Some("sync") };
const DIRSYNC: SuperFlag = SuperFlag { ms: libc::MS_DIRSYNC, fsconfig: Some("dirsync") };
const LAZYTIME: SuperFlag = SuperFlag { ms: 1 << 25, fsconfig: Some("lazytime") }; // MS_LAZYTIME
const MAND: SuperFlag = SuperFlag { ms: libc::MS_MANDLOCK, fsconfig: Some("mand") };
const IVERSION: SuperFlag = SuperFlag { ms: libc::MS_I_VERSION, fsconfig: None };
const SILENT: SuperFlag = SuperFlag { ms: libc::MS_SILENT, fsconfig: None };

/// Every option, sorted by name.
pub(crate) const OPTIONS: &[MountOption] = {
    use Atime::{Never, Relative, Strict};
    use Effect::{Atime as Time, Bind, CopySymlink, CopyUp, DestNofollow, Flag, Idmap};
    use Effect::{Nothing, Propagation, Remount, SrcNofollow, Super};
    use Scope::{Deep, Top};
    use Switch::{Off, On};
    const fn row(name: &'static str, effect: Effect) -> MountOption {
        MountOption { name, effect }
    }
    &[
        row("async", Super(SYNC, Off)),
        row("atime", Time(Top, Never, Off)),
        row("bind", Bind(false)),
        row("copy-symlink", CopySymlink),
        row("defaults", Nothing),
        row("dest-nofollow", DestNofollow),
        row("dev", Flag(Top, NODEV, Off)),
        row("diratime", Flag(Top, NODIRATIME, Off)),
        row("dirsync", Super(DIRSYNC, On)),
        row("exec", Flag(Top, NOEXEC, Off)),
        row("idmap", Idmap(Idmapped::Plain)),
        row("iversion", Super(IVERSION, On)),
        row("lazytime", Super(LAZYTIME, On)),
        row("loud", Super(SILENT, Off)),
        row("mand", Super(MAND, On)),
        row("noatime", Time(Top, Never, On)),
        row("nodev", Flag(Top, NODEV, On)),
        row("nodiratime", Flag(Top, NODIRATIME, On)),
        row("noexec", Flag(Top, NOEXEC, On)),
        row("noiversion", Super(IVERSION, Off)),
        row("nolazytime", Super(LAZYTIME, Off)),
        row("nomand", Super(MAND, Off)),
        row("norelatime", Time(Top, Relative, Off)),
        row("nostrictatime", Time(Top, Strict, Off)),
        row("nosuid", Flag(Top, NOSUID, On)),
        row("nosymfollow", Flag(Top, NOSYMFOLLOW, On)),
        row("private", Propagation(libc::MS_PRIVATE)),
        row("ratime", Time(Deep, Never, Off)),
        row("rbind", Bind(true)),
        row("rdev", Flag(Deep, NODEV, Off)),
        row("rdiratime", Flag(Deep, NODIRATIME, Off)),
        row("relatime", Time(Top, Relative, On)),
        row("remount", Remount),
        row("rexec", Flag(Deep, NOEXEC, Off)),
        row("ridmap", Idmap(Idmapped::Recursive)),
        row("rnoatime", Time(Deep, Never, On)),
        row("rnodev", Flag(Deep, NODEV, On)),
        row("rnodiratime", Flag(Deep, NODIRATIME, On)),
        row("rnoexec", Flag(Deep, NOEXEC, On)),
        row("rnorelatime", Time(Deep, Relative, Off)),
        row("rnostrictatime", Time(Deep, Strict, Off)),
        row("rnosuid", Flag(Deep, NOSUID, On)),
        row("rnosymfollow", Flag(Deep, NOSYMFOLLOW, On)),
        row("ro", Flag(Top, RDONLY, On)),
        row("rprivate", Propagation(libc::MS_PRIVATE | libc::MS_REC)),
        row("rrelatime", Time(Deep, Relative, On)),
        row("rro", Flag(Deep, RDONLY, On)),
        row("rrw", Flag(Deep, RDONLY, Off)),
        row("rshared", Propagation(libc::MS_SHARED | libc::MS_REC)),
        row("rslave", Propagation(libc::MS_SLAVE | libc::MS_REC)),
        row("rstrictatime", Time(Deep, Strict, On)),
        row("rsuid", Flag(Deep, NOSUID, Off)),
        row("rsymfollow", Flag(Deep, NOSYMFOLLOW, Off)),
        row("runbindable", Propagation(libc::MS_UNBINDABLE | libc::MS_REC)),
        row("rw", Flag(Top, RDONLY, Off)),
        row("shared", Propagation(libc::MS_SHARED)),
        row("silent", Super(SILENT, On)),
        row("slave", Propagation(libc::MS_SLAVE)),
        row("src-nofollow", SrcNofollow),
        row("strictatime", Time(Top, Strict, On)),
        row("suid", Flag(Top, NOSUID, Off)),
        row("symfollow", Flag(Top, NOSYMFOLLOW, Off)),
        row("sync", Super(SYNC, On)),
        row("tmpcopyup", CopyUp),
        row("unbindable", Propagation(libc::MS_UNBINDABLE)),
    ]
};

/// The options of a mount, understood. Where options contradict each other, the later one holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MountOptions {
    /// `bind` or `rbind`.
    pub(crate) bind: bool,
    /// `rbind`.
    pub(crate) recursive: bool,
    /// `remount`.
    pub(crate) remount: bool,
    /// Of the topmost mount. Of a new mount only [`Attr::set`] matters.
    pub(crate) attr: Attr,
    /// Of all mounts of the tree, applied after [`MountOptions::attr`].
    pub(crate) deep: Attr,
    /// Flags for fsconfig(2) of a new file system, `ro` included, which a block device's file system must know before
    /// it touches the device. Without `ro` where a tmpfs has yet to be filled ([`MountOptions::tmpcopyup`]).
    pub(crate) superblock: Vec<&'static str>,
    /// All `MS_…` flags for mount(2), MS_BIND, MS_REC and MS_REMOUNT included, propagation not.
    pub(crate) ms_flags: u64,
    /// MS_SHARED … to set afterwards, one mount(2) each, in order.
    pub(crate) propagation: Vec<u64>,
    /// `tmpcopyup`
    pub(crate) tmpcopyup: bool,
    /// `idmap`, `ridmap`
    pub(crate) idmap: Idmapped,
    /// `copy-symlink`
    pub(crate) copy_symlink: bool,
    /// `dest-nofollow`
    pub(crate) dest_nofollow: bool,
    /// `src-nofollow`
    pub(crate) src_nofollow: bool,
    /// The file system's own options, in order: a flag, or a key and its value.
    pub(crate) data: Vec<(String, Option<String>)>,
}

/// Understands the options of one mount. An element that holds several options, separated by commas, is taken apart as
/// mount(8) does it: double quotes and backslashes protect a comma.
///
/// # Errors
/// A quote without its end, a value without a name, and an unknown flag on a bind mount, where the kernel would ignore
/// it.
pub(crate) fn parse(options: &[String]) -> Result<MountOptions> {
    let mut found = MountOptions::default();
    let (mut top, mut deep) = (Attributes::default(), Attributes::default());
    let mut superblock = Vec::new();
    for option in options.iter().map(|element| split(element)).collect::<Result<Vec<_>>>()?.concat() {
        let Some(row) = OPTIONS.iter().find(|row| row.name == option) else {
            found.data.push(data(option)?);
            continue;
        };
        match row.effect {
            Effect::Nothing => {}
            Effect::Bind(recursive) => {
                found.bind = true;
                found.recursive |= recursive;
            }
            Effect::Remount => found.remount = true,
            Effect::Flag(Scope::Top, flag, switch) => top.flag(flag, switch),
            Effect::Flag(Scope::Deep, flag, switch) => deep.flag(flag, switch),
            Effect::Atime(Scope::Top, mode, switch) => top.atime(mode, switch),
            Effect::Atime(Scope::Deep, mode, switch) => deep.atime(mode, switch),
            Effect::Super(flag, switch) => {
                superblock.retain(|&other| other != flag);
                if switch == Switch::On {
                    superblock.push(flag);
                }
            }
            Effect::Propagation(flags) => found.propagation.push(flags),
            Effect::CopyUp => found.tmpcopyup = true,
            Effect::Idmap(reach) => found.idmap = reach,
            Effect::CopySymlink => found.copy_symlink = true,
            Effect::DestNofollow => found.dest_nofollow = true,
            Effect::SrcNofollow => found.src_nofollow = true,
        }
    }
    found.finish(&top, &deep, &superblock)
}

impl MountOptions {
    /// An option without a value that nobody knows: on a bind mount a mistake in writing, while `mode=755` is a file
    /// system's, which mount(2) ignores there.
    pub(crate) fn unknown_flag(&self) -> Option<&str> {
        self.data.iter().find(|(_, value)| value.is_none()).map(|(name, _)| name.as_str())
    }

    fn finish(mut self, top: &Attributes, deep: &Attributes, superblock: &[SuperFlag]) -> Result<Self> {
        if let (true, false, Some(name)) = (self.bind, self.remount, self.unknown_flag()) {
            return Err(Error::new(format!("{name:?} is no option of a bind mount"))
                .hint("a bind mount shares the file system of its source and cannot change its options"));
        }
        self.attr = top.attr();
        self.deep = deep.attr();
        let read_only = top.set.contains(&RDONLY) && !self.tmpcopyup;
        self.superblock = read_only.then_some("ro").into_iter().collect();
        self.superblock.extend(superblock.iter().filter_map(|flag| flag.fsconfig));
        let flags =
            [(self.bind, libc::MS_BIND), (self.recursive, libc::MS_REC), (self.remount, libc::MS_REMOUNT)];
        let own = flags.into_iter().filter(|flag| flag.0).fold(0, |bits, flag| bits | flag.1);
        self.ms_flags = superblock.iter().fold(own | top.ms(), |bits, flag| bits | flag.ms);
        Ok(self)
    }
}

/// The flags of a mount while options are read.
#[derive(Default)]
struct Attributes {
    set: Vec<Flag>,
    clear: Vec<Flag>,
    atime: Option<Atime>,
}

impl Attributes {
    fn flag(&mut self, flag: Flag, switch: Switch) {
        self.set.retain(|&other| other != flag);
        self.clear.retain(|&other| other != flag);
        match switch {
            Switch::On => self.set.push(flag),
            Switch::Off => self.clear.push(flag),
        }
    }

    /// Turning a mode off means the kernel's default, unless another mode was asked for.
    fn atime(&mut self, mode: Atime, switch: Switch) {
        match switch {
            Switch::On => self.atime = Some(mode),
            Switch::Off if self.atime.is_none_or(|old| old == mode) => self.atime = Some(Atime::Relative),
            Switch::Off => {}
        }
    }

    /// mount_setattr(2): a mode is only taken together with its whole mask in `clear`.
    fn attr(&self) -> Attr {
        let bits = |flags: &[Flag]| flags.iter().fold(0, |bits, flag| bits | flag.attr);
        let (set, clear) = match self.atime {
            None => (0, 0),
            Some(Atime::Relative) => (0, ATTR_ATIME),
            Some(Atime::Never) => (ATTR_NOATIME, ATTR_ATIME),
            Some(Atime::Strict) => (ATTR_STRICTATIME, ATTR_ATIME),
        };
        // A mask in `clear` may meet bits in `set`; a single flag never stands in both.
        Attr { set: set | bits(&self.set), clear: clear | bits(&self.clear) }
    }

    fn ms(&self) -> u64 {
        let atime = match self.atime {
            None => 0,
            Some(Atime::Relative) => libc::MS_RELATIME,
            Some(Atime::Never) => libc::MS_NOATIME,
            Some(Atime::Strict) => libc::MS_STRICTATIME,
        };
        self.set.iter().fold(atime, |bits, flag| bits | flag.ms)
    }
}

/// One element of `options` at its commas.
fn split(element: &str) -> Result<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in element.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&element[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err(Error::new(format!("{element:?}: a quote has no end")));
    }
    parts.push(&element[start..]);
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

/// An option of the file system; quotes around the value have done their work.
fn data(option: &str) -> Result<(String, Option<String>)> {
    let (name, value) = match option.split_once('=') {
        None => (option, None),
        Some((name, value)) => {
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            (name, Some(bare.unwrap_or(value).to_owned()))
        }
    };
    if name.is_empty() {
        return Err(Error::new(format!("{option:?}: a value without a name")));
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[&str]) -> MountOptions {
        parse(&list.iter().map(|&option| option.to_owned()).collect::<Vec<_>>()).expect("valid options")
    }

    fn refused(list: &[&str]) -> String {
        let list: Vec<_> = list.iter().map(|&option| option.to_owned()).collect();
        parse(&list).expect_err("must be refused").to_string()
    }

    fn pairs(list: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn the_table_is_sorted_and_whole() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        // config.md, Linux mount options.
        let spec = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
            nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime \
            rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow \
            runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";
        for name in spec.split_whitespace() {
            assert!(OPTIONS.iter().any(|option| option.name == name), "{name}");
        }
        // Not in the spec's table, but in runc, crun or both.
        let more = ["rnodev", "copy-symlink", "dest-nofollow", "src-nofollow"];
        assert_eq!(OPTIONS.len(), spec.split_whitespace().count() + more.len());
    }

    #[test]
    fn attributes_set_and_clear() {
        let cases: &[(&[&str], u64, u64)] = &[
            (&[], 0, 0),
            (&["defaults"], 0, 0),
            (&["ro"], 0x1, 0),
            (&["rw"], 0, 0x1),
            (&["ro", "rw"], 0, 0x1),
            (&["rw", "ro"], 0x1, 0),
            (&["nosuid", "nodev", "noexec"], 0xe, 0),
            (&["suid", "dev", "exec"], 0, 0xe),
            (&["nosuid", "suid", "nosuid"], 0x2, 0),
            (&["nodiratime"], 0x80, 0),
            (&["diratime"], 0, 0x80),
            (&["nosymfollow"], 0x20_0000, 0),
            (&["symfollow"], 0, 0x20_0000),
            (&["noatime"], 0x10, 0x70),
            (&["strictatime"], 0x20, 0x70),
            (&["relatime"], 0, 0x70),
            (&["atime"], 0, 0x70),
            (&["norelatime"], 0, 0x70),
            (&["nostrictatime"], 0, 0x70),
            (&["noatime", "atime"], 0, 0x70),
            (&["strictatime", "noatime"], 0x10, 0x70),
            (&["noatime", "strictatime"], 0x20, 0x70),
            (&["noatime", "norelatime"], 0x10, 0x70),
            (&["strictatime", "atime"], 0x20, 0x70),
            (&["noatime", "nodiratime", "ro"], 0x91, 0x70),
        ];
        for (list, set, clear) in cases {
            let expected = Attr { set: *set, clear: *clear };
            assert_eq!(options(list).attr, expected, "{list:?}");
            assert_eq!(options(list).deep, Attr::default(), "{list:?}");
            let deep: Vec<String> = list.iter().map(|name| format!("r{name}")).collect();
            let deep: Vec<&str> =
                deep.iter().map(String::as_str).filter(|name| *name != "rdefaults").collect();
            assert_eq!(options(&deep).deep, expected, "{deep:?}");
            assert_eq!(options(&deep).attr, Attr::default(), "{deep:?}");
        }
    }

    #[test]
    fn flags_of_mount() {
        let cases: &[(&[&str], u64)] = &[
            (&[], 0),
            (&["bind"], libc::MS_BIND),
            (&["rbind", "ro"], libc::MS_BIND | libc::MS_REC | libc::MS_RDONLY),
            (&["remount", "bind", "nosuid"], libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID),
            (&["noatime", "nodiratime"], libc::MS_NOATIME | libc::MS_NODIRATIME),
            (
                &["strictatime", "sync", "dirsync"],
                libc::MS_STRICTATIME | libc::MS_SYNCHRONOUS | libc::MS_DIRSYNC,
            ),
            (&["relatime", "silent", "iversion"], libc::MS_RELATIME | libc::MS_SILENT | libc::MS_I_VERSION),
            (&["lazytime", "mand", "nolazytime"], libc::MS_MANDLOCK),
            (&["ro", "rw", "sync", "async", "nosymfollow", "symfollow"], 0),
            (&["rro", "rnosuid", "shared", "tmpcopyup", "idmap"], 0),
            (&["nosymfollow"], 0x100),
            (&["lazytime"], 0x200_0000),
        ];
        for (list, flags) in cases {
            assert_eq!(options(list).ms_flags, *flags, "{list:?}");
        }
    }

    #[test]
    fn flags_of_the_file_system() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&["ro"], &["ro"]),
            (&["ro", "rw"], &[]),
            (&["sync", "ro", "dirsync"], &["ro", "sync", "dirsync"]),
            (&["sync", "async"], &[]),
            (&["lazytime", "mand", "silent", "iversion"], &["lazytime", "mand"]),
            (&["sync", "sync"], &["sync"]),
            (&["ro", "tmpcopyup"], &[]),
            (&["rro"], &[]),
        ];
        for (list, names) in cases {
            assert_eq!(options(list).superblock, *names, "{list:?}");
        }
    }

    #[test]
    fn the_rest_of_the_table() {
        let found = options(&["rbind", "rslave", "private", "ridmap"]);
        assert!(found.bind && found.recursive && !found.remount);
        assert_eq!(found.propagation, [libc::MS_SLAVE | libc::MS_REC, libc::MS_PRIVATE]);
        assert_eq!(found.idmap, Idmapped::Recursive);
        let found = options(&["bind", "idmap", "copy-symlink", "dest-nofollow", "src-nofollow"]);
        assert!(
            found.bind && !found.recursive && found.copy_symlink && found.dest_nofollow && found.src_nofollow
        );
        assert_eq!(found.idmap, Idmapped::Plain);
        assert!(options(&["rbind", "bind"]).recursive);
        assert!(options(&["tmpcopyup"]).tmpcopyup && options(&["remount"]).remount);
        let all =
            ["private", "slave", "shared", "unbindable", "rprivate", "rslave", "rshared", "runbindable"];
        let bits = [1 << 18, 1 << 19, 1 << 20, 1 << 17].map(|bit: u64| bit);
        let expected: Vec<u64> = bits.into_iter().chain(bits.map(|bit| bit | 0x4000)).collect();
        assert_eq!(options(&all).propagation, expected);
    }

    #[test]
    fn what_is_unknown_belongs_to_the_file_system() {
        type Case<'a> = (&'a [&'a str], &'a [(&'a str, Option<&'a str>)]);
        let cases: &[Case<'_>] = &[
            (&["mode=755", "size=65536k"], &[("mode", Some("755")), ("size", Some("65536k"))]),
            (&["mode=755,size=65536k,nosuid"], &[("mode", Some("755")), ("size", Some("65536k"))]),
            (&["newinstance", "gid=5"], &[("newinstance", None), ("gid", Some("5"))]),
            (&["a=", "b=c=d"], &[("a", Some("")), ("b", Some("c=d"))]),
            (&[r#"context="u:r:t:s0:c1,c2",ro"#], &[("context", Some("u:r:t:s0:c1,c2"))]),
            (
                &[r"lowerdir=/a\,b:/c,upperdir=/d"],
                &[("lowerdir", Some(r"/a\,b:/c")), ("upperdir", Some("/d"))],
            ),
            (&[r#"k=a\"b,l"#], &[("k", Some(r#"a\"b"#)), ("l", None)]),
            (&["", ",", "a,,b"], &[("a", None), ("b", None)]),
            (&["RO", " ro", "ro=1"], &[("RO", None), (" ro", None), ("ro", Some("1"))]),
            (&["größe=1,ü"], &[("größe", Some("1")), ("ü", None)]),
        ];
        for (list, expected) in cases {
            assert_eq!(options(list).data, pairs(expected), "{list:?}");
        }
        assert_eq!(options(&["mode=755,nosuid"]).attr.set, 0x2);
    }

    #[test]
    fn refuses_what_would_be_ignored_or_misread() {
        assert_eq!(refused(&["context=\"a,b"]), r#""context=\"a,b": a quote has no end"#);
        assert_eq!(refused(&["=1"]), r#""=1": a value without a name"#);
        let text = refused(&["rbind", "ro", "noexce"]);
        assert!(text.starts_with(r#""noexce" is no option of a bind mount (hint: "#), "{text}");
    }
}
