//! The bundles that every peer runs: busybox as root filesystem, the default `spec` as config.json, with `/bin/true` as
//! process and no terminal; the same that waits, and the same with docker's default seccomp profile.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::filter;
use crate::peers::{Peer, install, output};

/// Where the arena sees the bundle of `run`.
pub(crate) const PLAIN: &str = "/bundle";
/// The root filesystem of all bundles.
pub(crate) const ROOTFS: &str = "/bundle/rootfs";
/// The bundle whose process reads its standard input to the end.
pub(crate) const HOLDER: &str = "/bundle/holder";
/// The bundle with a seccomp profile.
pub(crate) const SECCOMP: &str = "/bundle/seccomp";
/// The same profile as a program of the kernel's.
pub(crate) const FILTER: &str = "/bundle/seccomp/filter";
/// The process of `exec --process`.
pub(crate) const PROCESS: &str = "/bundle/process.json";

/// The bundle, as far as the floor and the report must know it.
pub(crate) struct Bundle {
    /// Who wrote config.json: `onggi spec`, or `runc spec` while onggi cannot.
    pub(crate) origin: String,
    /// `hostname` of config.json.
    pub(crate) hostname: String,
    /// `linux.maskedPaths` of config.json.
    pub(crate) masked: Vec<String>,
    /// `linux.readonlyPaths` of config.json.
    pub(crate) readonly: Vec<String>,
}

/// Makes the bundles anew inside the peers' root.
pub(crate) fn make(root: &Path, peers: &[Peer]) -> Result<Bundle> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let bundle = inside(PLAIN);
    if bundle.exists() {
        std::fs::remove_dir_all(&bundle).with_context(|| bundle.display().to_string())?;
    }
    rootfs(&bundle)?;
    let origin = write_spec(root, &bundle, peers)?;
    let path = bundle.join("config.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut config: Value = serde_json::from_str(&text).with_context(|| format!("{origin}: config.json"))?;
    let Some(process) = config.get_mut("process").and_then(Value::as_object_mut) else {
        bail!("{origin}: config.json has no process");
    };
    process.insert("terminal".into(), json!(false));
    process.insert("args".into(), json!(["/bin/true"]));
    write(&path, &config)?;
    write(&inside(PROCESS), &config["process"])?;

    config["root"]["path"] = json!(ROOTFS);
    let profile = filter::profile()?;
    let mut filtered = config.clone();
    filtered["linux"]["seccomp"] = profile.clone();
    write(&inside(SECCOMP).join("config.json"), &filtered)?;
    filter::write(&profile, &inside(FILTER))?;
    config["process"]["args"] = json!(["/bin/cat"]);
    write(&inside(HOLDER).join("config.json"), &config)?;

    Ok(Bundle {
        origin,
        hostname: config["hostname"].as_str().unwrap_or("onggi").to_owned(),
        masked: strings(&config["linux"]["maskedPaths"]),
        readonly: strings(&config["linux"]["readonlyPaths"]),
    })
}

fn write(path: &Path, value: &Value) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(path, serde_json::to_string_pretty(value)?).with_context(|| path.display().to_string())
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// busybox, /etc/passwd as in every image, and the mount points that a runtime would otherwise make in its first run.
fn rootfs(bundle: &Path) -> Result<()> {
    install("/bin/busybox", "busybox-static")?;
    let rootfs = bundle.join("rootfs");
    for name in ["bin", "dev", "proc", "sys", "etc"] {
        let path = rootfs.join(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).context("/bin/busybox")?;
    std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").context("etc/passwd")?;
    for name in ["true", "cat"] {
        symlink("busybox", rootfs.join("bin").join(name)).context(name)?;
    }
    Ok(())
}

/// Lets onggi write its default config.json; runc when onggi cannot yet.
fn write_spec(root: &Path, bundle: &Path, peers: &[Peer]) -> Result<String> {
    let mut why = "onggi is not built".to_owned();
    if let Some(onggi) = peers.iter().find(|peer| peer.name == "onggi" && peer.problem.is_none()) {
        let program = root.join(onggi.program.trim_start_matches('/'));
        match output(Command::new(program).arg("spec").arg("--bundle").arg(bundle)) {
            Ok(_) if bundle.join("config.json").is_file() => return Ok("onggi spec".into()),
            Ok(_) => why = "onggi spec wrote no config.json".into(),
            Err(error) => why = format!("onggi spec does not work: {error:#}"),
        }
    }
    output(Command::new("chroot").arg(root).args(["/usr/sbin/runc", "spec", "--bundle", PLAIN]))?;
    Ok(format!("runc spec ({why})"))
}
