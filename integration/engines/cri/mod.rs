//! containerd through the Container Runtime Interface, as the kubelet asks it: pods, their containers, streams. The client
//! is ours ([`client`]); what is asked for is in [`features`], the same for every engine that speaks the CRI.

pub(crate) mod client;
#[macro_use]
pub(crate) mod features;
pub(crate) mod pod;
pub(crate) mod streams;

use std::sync::Arc;

use crate::containerd::{self, SOCKET};
use crate::harness::{Layout, Need, Sandbox};
use crate::image::{self, PAUSE};
use crate::place::{Place, shared};
use client::Cri;

/// The daemon.
const CONTAINERD: Need = Need::Program("containerd");

cri_engine! { CONTAINERD, cri {
    processes_of_the_pod: Need::Controller("pids");
    user_namespace: Need::Version("containerd", 1, 7, "the user namespace of a pod"), Need::IdMappedMounts;
    recursive_read_only_mounts: Need::Version("containerd", 2, 0, "a mount that is read-only all the way down");
  }
    daemon_restarted: Need::Controller("freezer");
}

/// What this machine needs beyond what docs/engines.md says: our pause image, Debian's folder of network plugins, and no
/// OOM score that may not be set here.
const MACHINE: [&str; 2] = [
    r#"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "PAUSE"
  restrict_oom_score_adj = RESTRICTED
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
"#,
    r#"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "PAUSE"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = RESTRICTED
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
"#,
];

/// Where the runtime keeps what it knows.
pub(crate) const ROOT: &str = "/run/containerd/runc/k8s.io";

/// containerd as docs/engines.md configures it, with a network for pods and the images.
fn open(layout: Layout) -> Place {
    open_with(layout, "")
}

/// The same with more in its configuration.
pub(crate) fn open_with(layout: Layout, more: &str) -> Place {
    let place = Place::open(layout);
    let restricted = !Need::SYS_RESOURCE.is_met(layout);
    let machine = MACHINE[usize::from(containerd::is_second())];
    let machine = machine.replace("PAUSE", PAUSE).replace("RESTRICTED", &restricted.to_string());
    containerd::configure(&place, &(machine + more));
    place.write("/etc/cni/net.d/10-pods.conflist", include_str!("../config/pods.conflist"));
    containerd::start(&place);
    for archive in [image::make(place.sandbox()), image::make_pause(place.sandbox())] {
        containerd::import(&place, "k8s.io", &archive);
    }
    place
}

pub(crate) fn connect(place: Arc<Place>) -> Cri {
    Cri::open(place, SOCKET, ROOT)
}

fn cri(sandbox: &Sandbox) -> Cri {
    connect(shared("cri", sandbox.layout, open))
}

fn daemon_restarted(sandbox: &mut Sandbox) {
    features::daemon_restarted(open(sandbox.layout), connect, containerd::start, sandbox);
}
