//! buildah with `--isolation oci`, which has this runtime run what a Dockerfile says.

use crate::dockerfile;
use crate::harness::{Call, Need, Sandbox};
use crate::image::IMAGE;
use crate::place::ONGGI;
use crate::podman;

const BUILDAH: Need = Need::Program("buildah");
const PODMAN: Need = Need::Program("podman");
const LIMITS: Need = Need::Controller("memory");

cases! {
    build_of_a_dockerfile: BUILDAH, PODMAN, LIMITS;
    run: BUILDAH, PODMAN, LIMITS;
}

/// The options that choose the runtime.
const CHOSEN: [&str; 5] = ["--isolation", "oci", "--runtime", ONGGI, "--network=none"];

fn buildah(sandbox: &Sandbox, words: &[&str]) -> Call {
    podman::place(sandbox).call(sandbox, &[&["buildah"], words].concat())
}

fn build_of_a_dockerfile(sandbox: &mut Sandbox) {
    let folder = dockerfile::folder(sandbox);
    let words = [&["build"], &CHOSEN[..], &["--tag", "localhost/built", &folder]].concat();
    buildah(sandbox, &words).limit(60).finish().ok();
    let words = ["podman", "--runtime", "onggi", "run", "--rm", "localhost/built"];
    dockerfile::check(&podman::place(sandbox).call(sandbox, &words).finish());
}

/// A process in a container that an image is made of, with its exit code.
fn run(sandbox: &mut Sandbox) {
    let container = buildah(sandbox, &["from", IMAGE]).finish().ok().text().to_owned();
    let script = "echo out; echo err >&2; cat /proc/1/comm; exit 9";
    let words = [&["run"], &CHOSEN[..], &[&container, "sh", "-c", script]].concat();
    let output = buildah(sandbox, &words).finish().code(9);
    assert_eq!(output.stdout, "out\nsh\n", "{}", output.describe());
    let output = buildah(sandbox, &["rm", &container]).finish().ok();
    sandbox.clean(&output);
}
