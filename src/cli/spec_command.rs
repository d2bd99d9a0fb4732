//! `spec`: a config.json to start from (config.md, config-linux.md), as runc writes it but tighter: more is masked,
//! a cgroup namespace of its own, no inheritable and no ambient capabilities. Types of our own, because the order of keys is for people and oci-spec keeps capabilities in sets.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use super::args::{Words, parse};
use crate::container::{Settings, features};
use crate::error::Error;

/// What the engines of today hide, all of them together: runc, crun, podman, docker, containerd.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/devices/virtual/tpm",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// The same for what they make read-only, without what is masked above.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

#[derive(Debug, Parser)]
#[command(name = "spec")]
struct Arguments {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// For a container without privileges: a user namespace with one's own ids
    #[arg(long)]
    rootless: bool,
}

/// `onggi spec [--bundle DIR] [--rootless]`
pub(crate) fn spec(_: &Settings, words: Words) -> Result<u8> {
    let Arguments { bundle, rootless } = parse(words)?;
    let ids = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let text = text(&config(rootless.then_some(ids), throttles()))?;
    write_new(&bundle.join("config.json"), &text)?;
    Ok(0)
}

/// Never over a file that is there, also not through a link.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let failed = |call: &str, error: std::io::Error| {
        Error::call(format!("{call}({path:?})"), error.raw_os_error().unwrap_or_default()).during("spec")
    };
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => failed("open", error).hint("remove it first"),
                _ => failed("open", error),
            }
        })?;
    Ok(file.write_all(text.as_bytes()).map_err(|error| failed("write", error))?)
}

fn text(config: &Config) -> Result<String> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
    text.push(b'\n');
    Ok(String::from_utf8(text)?)
}

/// Thermal throttling counters tell what the neighbours compute; one directory for each processor, if at all.
fn throttles() -> Vec<String> {
    let Ok(cpus) = std::fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let mut paths: Vec<PathBuf> = cpus.flatten().map(|cpu| cpu.path().join("thermal_throttle")).collect();
    paths.retain(|path| path.is_dir());
    paths.sort_unstable();
    paths.iter().filter_map(|path| path.to_str().map(String::from)).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

#[derive(Serialize)]
struct Rlimit {
    r#type: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    r#type: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uid_mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gid_mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: Vec<String>,
    readonly_paths: [&'static str; 5],
}

#[derive(Serialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [Device; 1],
}

#[derive(Serialize)]
struct Device {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    r#type: &'static str,
}

/// `rootless`: the user and group who will run it.
fn config(rootless: Option<(u32, u32)>, throttles: Vec<String>) -> Config {
    Config {
        oci_version: features::VERSION_MAX,
        process: Process {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: ["sh"],
            env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            cwd: "/",
            capabilities: Capabilities {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
            },
            rlimits: [Rlimit { r#type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
            no_new_privileges: true,
        },
        root: Root { path: "rootfs", readonly: true },
        hostname: "onggi",
        mounts: mounts(rootless.is_some()),
        linux: linux(rootless, throttles),
    }
}

fn linux(rootless: Option<(u32, u32)>, throttles: Vec<String>) -> Linux {
    let map = |host| vec![Mapping { container: 0, host, size: 1 }];
    let (uid_mappings, gid_mappings) = rootless.map(|(uid, gid)| (map(uid), map(gid))).unwrap_or_default();
    // Rootless: nobody connects a new network namespace, and only root may write device rules.
    let kinds = match rootless {
        None => ["pid", "network", "ipc", "uts", "mount", "cgroup"],
        Some(_) => ["pid", "ipc", "uts", "mount", "cgroup", "user"],
    };
    let resources = Resources { devices: [Device { allow: false, access: "rwm" }] };
    Linux {
        uid_mappings,
        gid_mappings,
        resources: rootless.is_none().then_some(resources),
        namespaces: kinds.map(|r#type| Namespace { r#type }).into(),
        masked_paths: MASKED.iter().map(ToString::to_string).chain(throttles).collect(),
        readonly_paths: READONLY,
    }
}

fn mounts(rootless: bool) -> Vec<Mount> {
    let mount = |destination, r#type, source, options: &'static str| {
        let options = options.split_terminator(',').collect();
        Mount { destination, r#type, source, options }
    };
    let pts = match rootless {
        false => "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        true => "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620", // group 5 is not mapped
    };
    let sys = match rootless {
        false => mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        // A new sysfs needs a network namespace of one's own.
        true => mount("/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro"),
    };
    vec![
        mount("/proc", "proc", "proc", ""),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        sys,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(config: &Config, golden: &str) {
        let text = text(config).unwrap();
        assert_eq!(text, golden, "to accept: write it to the golden file\n{text}");
        serde_json::from_str::<oci_spec::runtime::Spec>(&text).expect("valid by oci-spec's types");
    }

    #[test]
    fn the_default_is_the_golden_one() {
        same(&config(None, Vec::new()), include_str!("spec_command/default.json"));
    }

    #[test]
    fn the_rootless_one_is_the_golden_one() {
        same(&config(Some((1000, 100)), Vec::new()), include_str!("spec_command/rootless.json"));
    }

    #[test]
    fn throttling_counters_are_masked_where_they_are() {
        let path = "/sys/devices/system/cpu/cpu0/thermal_throttle".to_owned();
        assert!(config(None, vec![path.clone()]).linux.masked_paths.contains(&path));
    }

    #[test]
    fn a_file_that_is_there_is_kept() {
        let bundle = tempfile::tempdir().unwrap();
        let path = bundle.path().join("config.json");
        write_new(&path, "a").unwrap();
        let error = write_new(&path, "b").unwrap_err().to_string();
        assert!(
            error.starts_with("spec: open(")
                && error.ends_with("EEXIST: file exists (hint: remove it first)")
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a");
        assert!(
            write_new(&bundle.path().join("no/config.json"), "c").unwrap_err().to_string().contains("ENOENT")
        );
    }
}
