//! CRI-O, asked through the Container Runtime Interface like containerd (`cri`). Its images are podman's.
//!
//! No Debian package has CRI-O; docs/testing.md says how to bring it. What it calls is tried without it in `conmon`.

use std::sync::Arc;

use crate::cri::client::Cri;
use crate::cri::features;
use crate::harness::{Layout, Need, Sandbox};
use crate::image::{self, PAUSE};
use crate::place::{Place, shared};

pub(crate) const CRIO: Need = Need::Programs(&["crio", "podman"]);

cri_engine! { CRIO, crio {
    // What holds the pod's processes is to be the last that the OOM killer takes.
    processes_of_the_pod: Need::SYS_RESOURCE;
    user_namespace: Need::IdMappedMounts;
    recursive_read_only_mounts:;
  }
    daemon_restarted:;
}

/// Where the daemon listens.
const SOCKET: &str = "/run/crio/crio.sock";

/// Where config/crio.conf tells the runtime to keep what it knows.
pub(crate) const ROOT: &str = "/run/onggi";

/// What this machine needs beyond what docs/kubernetes.md says: our pause image, and Debian's folder of network plugins.
const MACHINE: &str = r#"
[crio]
storage_driver = "overlay"
[crio.image]
pause_image = "PAUSE"
pause_command = ""
[crio.network]
plugin_dirs = ["/usr/lib/cni"]
"#;

/// No systemd, no scopes.
const CGROUPFS: &str = r#"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
"#;

/// CRI-O as docs/kubernetes.md configures it, with a network for pods and the images.
pub(crate) fn open(layout: Layout) -> Place {
    let place = Place::open(layout);
    let mut machine = MACHINE.replace("PAUSE", PAUSE);
    if !Need::Systemd.is_met(layout) {
        machine.push_str(CGROUPFS);
    }
    for (name, text) in [
        ("onggi.conf", include_str!("config/crio.conf")),
        ("onggi-default.conf", include_str!("config/crio-default.conf")),
        ("machine.conf", &machine),
    ] {
        place.write(&format!("/etc/crio/crio.conf.d/{name}"), text);
    }
    place.write("/etc/cni/net.d/10-pods.conflist", include_str!("config/pods.conflist"));
    for archive in [image::make(place.sandbox()), image::make_pause(place.sandbox())] {
        let words = ["podman", "--storage-driver", "overlay", "load", "--input", archive.to_str().unwrap()];
        place.call(place.sandbox(), &words).finish().ok();
    }
    start(&place);
    place
}

fn start(place: &Place) {
    place.start_daemon(&["crio"], &["crio", "status", "info"]);
}

pub(crate) fn connect(place: Arc<Place>) -> Cri {
    Cri::open(place, SOCKET, ROOT)
}

fn crio(sandbox: &Sandbox) -> Cri {
    connect(shared("crio", sandbox.layout, open))
}

fn daemon_restarted(sandbox: &mut Sandbox) {
    features::daemon_restarted(open(sandbox.layout), connect, start, sandbox);
}
