//! docker with this runtime as an additional one: `docker run --runtime onggi`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{Client, Kind};
use crate::harness::{Layout, Need, Sandbox, is_alive, parent, until};
use crate::image;
use crate::place::{Place, shared};

/// The daemon; there are other programs of the client's name.
const DOCKER: Need = Need::Program("dockerd");
const LIMITS: Need = Need::Controller("memory");

whole_engine! { DOCKER, docker, LIMITS, "docker-init" {
    daemon_killed: LIMITS;
}}

/// dockerd with this daemon.json, and the image.
pub(crate) fn open(layout: Layout, config: &str) -> Place {
    let mut place = Place::open(layout);
    place.write("/etc/docker/daemon.json", config);
    place.at_the_end(&["sh", "-c", "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force"]);
    start(&place);
    let archive = image::make(place.sandbox());
    place.call(place.sandbox(), &["docker", "load", "--input", archive.to_str().unwrap()]).finish().ok();
    place
}

fn start(place: &Place) {
    // A daemon that may not protect itself from the OOM killer must be told not to.
    let may = Need::SYS_RESOURCE.is_met(place.sandbox().layout);
    let words: &[&str] = if may { &["dockerd"] } else { &["dockerd", "--oom-score-adjust", "0"] };
    place.start_daemon(words, &["docker", "version"]);
}

/// A client of that daemon.
pub(crate) fn client(place: std::sync::Arc<Place>, chosen: &[&str]) -> Client {
    let chosen = chosen.iter().map(|&word| word.to_owned()).collect();
    Client { kind: Kind::Docker, place, program: vec!["docker".into()], chosen }
}

fn additional(layout: Layout) -> Place {
    open(layout, include_str!("config/docker.json"))
}

fn docker(sandbox: &Sandbox) -> Client {
    client(shared("docker", sandbox.layout, additional), &["--runtime", "onggi"])
}

/// Daemon, its containerd and the container's shim are killed; the daemon that starts again cleans up and goes on.
fn daemon_killed(sandbox: &mut Sandbox) {
    let client = client(std::sync::Arc::new(additional(sandbox.layout)), &["--runtime", "onggi"]);
    client.start(sandbox, &[], &["sleep", "1000"]);
    let init: i32 = client.inspect(sandbox, ".State.Pid").parse().unwrap();
    let shim = parent(init).unwrap();
    let containerd: i32 = client.place.read("/run/docker/containerd/containerd.pid").trim().parse().unwrap();
    client.place.end_daemon(Signal::SIGKILL);
    for pid in [containerd, shim] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    start(&client.place);
    assert!(until(20, || !is_alive(init)), "the container still runs");
    client.wait_for(sandbox, ".State.Status", "exited");
    client.call(sandbox, &["start", &sandbox.token]).finish().ok();
    assert_eq!(client.exec(sandbox, &[], &["cat", "/proc/1/comm"]).finish().ok().text(), "sleep");
    client.remove(sandbox);
    let left = std::sync::Arc::into_inner(client.place).map(Place::close);
    assert_eq!(left, Some(Vec::new()));
}
