//! The global options and the environment become [`Settings`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::Globals;
use super::name;
use crate::container::{CgroupManager, Settings};
use crate::log;

/// What the global options mean here.
pub(crate) fn from(globals: Globals) -> Settings {
    let cgroups = match globals.cgroup_manager {
        _ if globals.systemd_cgroup => CgroupManager::Systemd,
        Some(manager) => manager,
        None => CgroupManager::Cgroupfs,
    };
    let root = globals.root.unwrap_or_else(|| {
        let uid = nix::unistd::geteuid().as_raw();
        default_root(name::own(), std::env::var_os("XDG_RUNTIME_DIR"), || uid != 0 || is_mapped())
    });
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    Settings {
        root: absolute(root),
        cgroups,
        rootless: globals.rootless.0,
        inherited: 0,
        listen_fds: listen_fds(variable, std::process::id()),
        notify_socket: variable("NOTIFY_SOCKET"),
        warn: log::warn,
        debug: log::debug,
    }
}

/// LISTEN_FDS counts only for the process that LISTEN_PID names: whoever inherits both by mistake is not meant.
fn listen_fds(variable: impl Fn(&str) -> Option<OsString>, own: u32) -> Option<OsString> {
    let pid = variable("LISTEN_PID")?;
    (pid.to_str() == Some(own.to_string().as_str())).then(|| variable("LISTEN_FDS")).flatten()
}

/// A path that stays right wherever the working directory goes later.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// `/run/NAME`, or the user's own runtime directory. podman sets XDG_RUNTIME_DIR to nothing, which means unset.
fn default_root(name: &str, runtime_dir: Option<OsString>, rootless: impl FnOnce() -> bool) -> PathBuf {
    match runtime_dir {
        Some(directory) if !directory.is_empty() && rootless() => Path::new(&directory).join(name),
        _ => Path::new("/run").join(name),
    }
}

/// Root, but of a user namespace whose root is somebody else outside: rootless podman calls runtimes like this.
fn is_mapped() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| root_is_mapped(&map))
}

/// The first line of uid_map is `inside outside count`.
fn root_is_mapped(map: &str) -> bool {
    let mut line = map.split_whitespace();
    line.next() == Some("0") && line.next().is_some_and(|outside| outside != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_is_the_users_own_only_when_rootless() {
        let root = |dir: Option<&str>, rootless| default_root("onggi", dir.map(OsString::from), || rootless);
        assert_eq!(root(None, false), Path::new("/run/onggi"));
        assert_eq!(root(Some("/run/user/0"), false), Path::new("/run/onggi"));
        assert_eq!(root(Some("/run/user/7"), true), Path::new("/run/user/7/onggi"));
        assert_eq!(root(Some(""), true), Path::new("/run/onggi"));
        assert_eq!(root(None, true), Path::new("/run/onggi"));
        assert_eq!(default_root("runc", None, || false), Path::new("/run/runc"));
    }

    #[test]
    fn sockets_are_for_the_process_that_is_named() {
        let given = |pid: Option<&str>| {
            let variable = |name: &str| match name {
                "LISTEN_PID" => pid.map(OsString::from),
                _ => Some("2".into()),
            };
            listen_fds(variable, 7)
        };
        assert_eq!(given(Some("7")), Some("2".into()));
        for pid in [None, Some("8"), Some("07"), Some(" 7"), Some("x")] {
            assert_eq!(given(pid), None, "{pid:?}");
        }
    }

    #[test]
    fn a_mapped_root_is_rootless() {
        assert!(root_is_mapped("         0       1000          1\n         1     100000      65536\n"));
        assert!(!root_is_mapped("         0          0 4294967295\n"));
        assert!(!root_is_mapped(""));
    }

    #[test]
    fn systemd_by_either_option() {
        let settings = |text: &str| {
            let words = text.split_whitespace().map(OsString::from).collect();
            from(super::super::args::parse_with(words, |command| command).unwrap())
        };
        assert_eq!(settings("--systemd-cgroup list").cgroups, CgroupManager::Systemd);
        assert_eq!(settings("--cgroup-manager systemd list").cgroups, CgroupManager::Systemd);
        assert_eq!(settings("list").cgroups, CgroupManager::Cgroupfs);
        assert!(settings("--root rel list").root.is_absolute());
    }
}
