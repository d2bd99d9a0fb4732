//! podman as a user, with that user's systemd.

use std::fs;

use crate::client::{Client, Kind};
use crate::dockerfile;
use crate::harness::{Layout, Need, Sandbox};
use crate::image;
use crate::place::{ONGGI, Place, shared};
use crate::podman::configure;

/// The bus of the user `tester`, who has a manager and subordinate ids in the big machines.
const USER: Need = Need::File("/run/user/1000/bus");
const PODMAN: Need = Need::Program("podman");
const V2: Need = Need::Only(Layout::V2);

engine! { PODMAN, podman {
    run: USER;
    exit_codes: USER;
    tty: USER;
    exec: USER;
    exec_with_tty: USER;
    healthcheck: USER;
    limits: USER, V2;
    update_and_stats: USER, V2;
    pause_and_kill: USER, V2;
    init: USER, Need::Program("catatonit");
    pid_of_another_container: USER;
    network_none: USER;
    network_bridge: USER;
    volumes: USER;
    read_only_root: USER;
    device: USER, Need::File("/dev/fuse");
    seccomp_profile: USER;
    no_new_privileges: USER;
    capabilities: USER;
    stop_with_timeout: USER;
    restart_policy: USER;
  }
    network_host: USER;
    network_of_the_user: USER, Need::Program("pasta");
    user_namespace: USER;
    build_of_a_dockerfile: USER, Need::Program("buildah");
}

/// The words before podman's own.
const AS_TESTER: [&str; 8] = [
    "runuser",
    "-u",
    "tester",
    "--",
    "env",
    "HOME=/home/tester",
    "XDG_RUNTIME_DIR=/run/user/1000",
    "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus",
];

fn open(layout: Layout) -> Place {
    let mut place = Place::open(layout);
    configure(&place);
    let archive = image::make(place.sandbox());
    let load = ["podman", "load", "--input", archive.to_str().unwrap()];
    place.call(place.sandbox(), &[&AS_TESTER[..], &load].concat()).finish().ok();
    // Also ends the process that keeps the user's namespaces.
    let end = "podman --runtime onggi rm --all --force; podman system migrate";
    place.at_the_end(&[&AS_TESTER[..], &["sh", "-c", end]].concat());
    place
}

fn podman(sandbox: &Sandbox) -> Client {
    let place = shared("rootless", sandbox.layout, open);
    let program = [&AS_TESTER[..], &["podman", "--runtime", "onggi"]].concat();
    let program = program.into_iter().map(str::to_owned).collect();
    Client { kind: Kind::Rootless, place, program, chosen: Vec::new() }
}

/// The network that the user's processes are in.
fn network_host(sandbox: &mut Sandbox) {
    crate::features::network_host(&podman(sandbox), sandbox);
}

/// An interface of the user's own, without any privilege.
fn network_of_the_user(sandbox: &mut Sandbox) {
    let seen = podman(sandbox).prove(sandbox, &["--network", "pasta"], "ip -o -4 addr | wc -l");
    assert!(seen.trim().parse::<u32>().unwrap() >= 2, "{seen}");
}

/// The user is the same inside, and what it writes is its own.
fn user_namespace(sandbox: &mut Sandbox) {
    let client = podman(sandbox);
    let data = client.folder(sandbox, "data");
    let options = ["--userns", "keep-id", "--volume", &format!("{data}:/data")];
    assert_eq!(client.prove(sandbox, &options, "id -u; touch /data/new; stat -c %u /data/new"), "1000\n1000");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("{data}/new")).unwrap());
    assert_eq!(owner, 1000);
}

/// By buildah, which as a user asks less of the runtime: no cgroup, no keyring, the host's /sys.
fn build_of_a_dockerfile(sandbox: &mut Sandbox) {
    let client = podman(sandbox);
    let folder = dockerfile::folder(sandbox);
    let words =
        ["buildah", "build", "--isolation", "rootless", "--runtime", ONGGI, "--network=none", "--tag"];
    let words = [&AS_TESTER[..], &words, &["localhost/built", &folder]].concat();
    client.place.call(sandbox, &words).limit(60).finish().ok();
    dockerfile::check(&client.call(sandbox, &["run", "--rm", "localhost/built"]).finish());
}
