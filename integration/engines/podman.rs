//! podman as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crate::client::{Client, Kind};
use crate::harness::{Layout, Need, Sandbox, is_alive, until};
use crate::image;
use crate::place::{ONGGI, Place, shared};

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
    // Newer libraries know ranges only of users that there are.
    let (user, range) = ("containers:x:60000:60000::/:/usr/sbin/nologin", "containers:2000000:200000");
    for (file, line) in [("/etc/passwd", user), ("/etc/subuid", range), ("/etc/subgid", range)] {
        let lines = fs::read_to_string(place.inside(file)).unwrap_or_default();
        place.write(file, &format!("{lines}{line}\n"));
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
    assert_eq!(place.call(sandbox, &words).finish().ok().text(), ONGGI);
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

/// conmon, which stands between podman and the container, is killed. podman 4 ends the container and forgets it, without
/// having the runtime delete it. podman 5 has it deleted; 5.4 says once that the exit status is lost, whatever the runtime,
/// and forgets the container when asked again.
fn engine_killed(sandbox: &mut Sandbox) {
    let client = podman(sandbox);
    client.start(sandbox, &[], &["sleep", "1000"]);
    let (id, pid) = (client.inspect(sandbox, ".Id"), client.inspect(sandbox, ".State.Pid"));
    let conmon = client.inspect(sandbox, ".State.ConmonPid").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(conmon), nix::sys::signal::Signal::SIGKILL).unwrap();
    let first = client.force(sandbox);
    if !first.status.success() {
        assert!(first.stderr.contains("conmon exited prematurely"), "{}", first.describe());
        client.force(sandbox).ok();
    }
    let output = client.call(sandbox, &["container", "exists", &sandbox.token]).finish().code(1);
    client.place.call(sandbox, &[ONGGI, "delete", "--force", &id]).finish().ok();
    assert!(!client.place.inside(&format!("/run/onggi/{id}")).exists());
    assert!(!is_alive(pid.parse().unwrap()));
    let mounts = client.place.call(sandbox, &["cat", "/proc/self/mountinfo"]).finish().ok();
    assert!(!mounts.stdout.contains(&id), "{}", mounts.describe());
    let cgroups = || sandbox.layout.cgroups().into_iter().filter(|dir| dir.to_string_lossy().contains(&id));
    assert!(until(5, || cgroups().next().is_none()), "{:?}", cgroups().collect::<Vec<_>>());
    sandbox.clean(&output);
}
