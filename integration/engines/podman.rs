//! podman as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crate::client::{Client, Kind};
use crate::harness::{Layout, Need, Sandbox};
use crate::image;
use crate::place::{Place, shared};

const PODMAN: Need = Need::Program("podman");
const LIMITS: Need = Need::Controller("memory");

whole_engine! { PODMAN, podman, LIMITS, "catatonit" {
    as_the_default_runtime: LIMITS;
    user_namespace: LIMITS, Need::UserNamespaces;
    id_mapped_volume: LIMITS, Need::UserNamespaces, Need::IdMappedMounts;
    systemd_scope: LIMITS, Need::Systemd;
    cgroupfs: LIMITS;
    without_cgroups: LIMITS;
    engine_killed: LIMITS;
}}

/// podman with its configuration and the image; shared with buildah, which has the same storage.
pub(crate) fn place(sandbox: &Sandbox) -> Arc<Place> {
    shared("podman", sandbox.layout, open)
}

fn open(layout: Layout) -> Place {
    let mut place = Place::open(layout);
    configure(&place);
    place.at_the_end(&["podman", "--runtime", "onggi", "rm", "--all", "--force"]);
    let archive = image::make(place.sandbox());
    place.call(place.sandbox(), &["podman", "load", "--input", archive.to_str().unwrap()]).finish().ok();
    place
}

/// What docs/engines.md says, and a range of ids for `--userns=auto`.
pub(crate) fn configure(place: &Place) {
    let configure =
        |name: &str, text| place.write(&format!("/etc/containers/containers.conf.d/{name}"), text);
    configure("onggi.conf", include_str!("config/podman.conf"));
    if !Need::SYS_RESOURCE.is_met(place.sandbox().layout) {
        // podman asks for limits that may not be given here.
        configure(
            "limits.conf",
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n",
        );
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ranges = fs::read_to_string(place.inside(file)).unwrap_or_default();
        place.write(file, &format!("{ranges}containers:2000000:200000\n"));
    }
}

fn podman(sandbox: &Sandbox) -> Client {
    client(sandbox, &["--runtime", "onggi"])
}

fn client(sandbox: &Sandbox, options: &[&str]) -> Client {
    let program = [&["podman"], options].concat().into_iter().map(str::to_owned).collect();
    Client { kind: Kind::Podman, place: place(sandbox), program, chosen: Vec::new() }
}

fn as_the_default_runtime(sandbox: &mut Sandbox) {
    let place = Place::open(sandbox.layout);
    configure(&place);
    place.write("/etc/containers/containers.conf.d/runtime.conf", include_str!("config/podman-default.conf"));
    let words = ["podman", "info", "--format", "{{.Host.OCIRuntime.Path}}"];
    assert_eq!(place.call(sandbox, &words).finish().ok().text(), crate::place::ONGGI);
    assert_eq!(place.close(), Vec::<String>::new());
}

fn user_namespace(sandbox: &mut Sandbox) {
    let script = "read inside outside size </proc/self/uid_map; echo $inside $outside $size; id -u";
    let seen = podman(sandbox).prove(sandbox, &["--userns", "auto:size=4096"], script);
    let words: Vec<&str> = seen.split_whitespace().collect();
    let outside: u32 = words[1].parse().unwrap();
    assert!(outside >= 2_000_000 && (words[0], words[2], words[3]) == ("0", "4096", "0"), "{seen}");
}

/// Files of the volume have the same owner inside as outside, and new ones belong to the host's root.
fn id_mapped_volume(sandbox: &mut Sandbox) {
    let client = podman(sandbox);
    let data = client.folder(sandbox, "data");
    fs::write(format!("{data}/old"), "").unwrap();
    let options = ["--userns", "auto:size=4096", "--volume", &format!("{data}:/data:idmap")];
    assert_eq!(client.prove(sandbox, &options, "stat -c %u:%g /data/old; touch /data/new"), "0:0");
    assert_eq!(fs::metadata(format!("{data}/new")).unwrap().uid(), 0);
}

/// The cgroup of the container's process, as the kernel has it.
fn cgroup(client: &Client, sandbox: &Sandbox) -> String {
    client.start(sandbox, &[], &["sleep", "1000"]);
    let pid = client.inspect(sandbox, ".State.Pid");
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

fn systemd_scope(sandbox: &mut Sandbox) {
    let client = client(sandbox, &["--runtime", "onggi", "--cgroup-manager", "systemd"]);
    let cgroup = cgroup(&client, sandbox);
    assert!(cgroup.contains("/machine.slice/libpod-") && cgroup.contains(".scope"), "{cgroup}");
    client.remove(sandbox);
}

fn cgroupfs(sandbox: &mut Sandbox) {
    let client = client(sandbox, &["--runtime", "onggi", "--cgroup-manager", "cgroupfs"]);
    let cgroup = cgroup(&client, sandbox);
    assert!(cgroup.contains("/libpod_parent/libpod-"), "{cgroup}");
    client.remove(sandbox);
}

fn without_cgroups(sandbox: &mut Sandbox) {
    let client = podman(sandbox);
    client.start(sandbox, &["--cgroups", "disabled"], &["sleep", "1000"]);
    let pid = client.inspect(sandbox, ".State.Pid");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(!cgroup.contains("libpod-"), "{cgroup}");
    client.remove(sandbox);
}

/// conmon, which stands between podman and the container, is killed: podman still ends the container, but does not have
/// the runtime delete it.
fn engine_killed(sandbox: &mut Sandbox) {
    let client = podman(sandbox);
    client.start(sandbox, &[], &["sleep", "1000"]);
    let id = client.inspect(sandbox, ".Id");
    let conmon = client.inspect(sandbox, ".State.ConmonPid").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(conmon), nix::sys::signal::Signal::SIGKILL).unwrap();
    client.remove(sandbox);
    client.place.call(sandbox, &[crate::place::ONGGI, "delete", "--force", &id]).finish().ok();
    assert!(!client.place.inside(&format!("/run/onggi/{id}")).exists());
}
