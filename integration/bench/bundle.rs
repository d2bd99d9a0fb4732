//! The one bundle that every peer runs: busybox as root filesystem, the default `spec` as config.json, with
//! `/bin/true` as its process and no terminal.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::peers::{Peer, install, output};

/// Where the arena sees the bundle.
pub(crate) const BUNDLE: &str = "/bundle";

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

/// Makes the bundle anew inside the peers' root.
pub(crate) fn make(root: &Path, peers: &[Peer]) -> Result<Bundle> {
    let bundle = root.join(BUNDLE.trim_start_matches('/'));
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
    std::fs::write(&path, serde_json::to_string_pretty(&config)?)
        .with_context(|| path.display().to_string())?;
    Ok(Bundle {
        origin,
        hostname: config["hostname"].as_str().unwrap_or("onggi").to_owned(),
        masked: strings(&config["linux"]["maskedPaths"]),
        readonly: strings(&config["linux"]["readonlyPaths"]),
    })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// busybox, and the mount points that a runtime would otherwise make in its first run.
fn rootfs(bundle: &Path) -> Result<()> {
    install("/bin/busybox", "busybox-static")?;
    let rootfs = bundle.join("rootfs");
    for name in ["bin", "dev", "proc", "sys", "etc"] {
        let path = rootfs.join(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).context("/bin/busybox")?;
    symlink("busybox", rootfs.join("bin/true")).context("bin/true")
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
    output(Command::new("chroot").arg(root).args(["/usr/sbin/runc", "spec", "--bundle", BUNDLE]))?;
    Ok(format!("runc spec ({why})"))
}
