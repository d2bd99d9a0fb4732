//! An image without a registry: one archive that is an OCI layout and a docker archive at the same time, so that every
//! engine loads it. Its only layer is the root filesystem of the tests, with busybox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Sandbox, output};

/// Its name.
pub(crate) const IMAGE: &str = "docker.io/library/onggi-test:latest";

/// The same with a first process that waits and reaps, for what holds the namespaces of a pod.
pub(crate) const PAUSE: &str = "docker.io/library/onggi-pause:latest";

/// Makes the archive in the sandbox's folder.
pub(crate) fn make(sandbox: &Sandbox) -> PathBuf {
    archive(sandbox, IMAGE, &["/bin/sh"])
}

/// Makes that of [`PAUSE`].
pub(crate) fn make_pause(sandbox: &Sandbox) -> PathBuf {
    archive(sandbox, PAUSE, &["/bin/sh", "-c", "while :; do sleep 1000000 & wait; done"])
}

fn archive(sandbox: &Sandbox, image: &str, command: &[&str]) -> PathBuf {
    let name = image.replace(['/', ':', '.'], "-");
    let folder = sandbox.dir.join(&name);
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let archive = sandbox.dir.join(name + ".tar");

    let whole = [".".to_owned()];
    let layer_file = folder.join("layer.tar");
    tar(&layer_file, &sandbox.rootfs("/"), &whole);
    let layer = keep(&blobs, &layer_file, "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "config": { "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": command },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = keep_json(&blobs, &config, "application/vnd.oci.image.config.v1+json");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let mut entry = keep_json(&blobs, &manifest, kind);
    entry["annotations"] =
        json!({ "io.containerd.image.name": image, "org.opencontainers.image.ref.name": "latest" });

    let write = |name: &str, value: Value| fs::write(folder.join(name), value.to_string()).unwrap();
    write("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }));
    write("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }));
    let blob = |descriptor: &Value| descriptor["digest"].as_str().unwrap().replace(':', "/");
    let (config, layer) = (format!("blobs/{}", blob(&config)), format!("blobs/{}", blob(&layer)));
    write("manifest.json", json!([{ "Config": config, "RepoTags": [image], "Layers": [layer] }]));
    tar(&archive, &folder, &["oci-layout", "index.json", "manifest.json", "blobs"].map(str::to_owned));
    archive
}

fn keep_json(blobs: &Path, value: &Value, kind: &str) -> Value {
    let file = blobs.join("new");
    fs::write(&file, value.to_string()).unwrap();
    keep(blobs, &file, kind)
}

/// Moves the file to where its digest says, and returns its descriptor.
fn keep(blobs: &Path, file: &Path, kind: &str) -> Value {
    let sum = output(Command::new("sha256sum").arg(file));
    let text = String::from_utf8(sum.stdout).unwrap();
    let digest = text.split(' ').next().unwrap();
    let size = fs::metadata(file).unwrap().len();
    fs::rename(file, blobs.join(digest)).unwrap();
    json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": size })
}

fn tar(archive: &Path, folder: &Path, names: &[String]) {
    let mut command = Command::new("tar");
    command.args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--file"]);
    let made = output(command.arg(archive).arg("--directory").arg(folder).args(names));
    assert!(made.status.success(), "tar: {}", String::from_utf8_lossy(&made.stderr));
}
