//! The kubelet without an API server: static pods, whose manifests lie in a folder, over an engine with onggi as the runtime
//! of every pod that names none. What the kubelet thinks of its pods it says on its read-only port.
//!
//! No Debian package has a kubelet; docs/testing.md says how to bring one.

/// Declares the `CASES` of a kubelet over an engine: all features of `features.rs`, and those that not every version of the
/// engine has with what they need. `$open` starts both, `$connect` connects to the engine. All need `$program`.
macro_rules! kubelet_over {
    ($program:ident, $name:literal, $open:ident, $connect:ident { $($some:ident: $($need:expr),+;)* }) => {
        kubelet_over! { @cases $program, kubelet {
            two_containers,
            limits,
            probes,
            restart_policy,
            killed_for_memory,
            init_and_sidecar,
            volumes,
            security_context,
            namespaces_of_the_machine,
            hooks,
            errors,
            metrics,
          } { $($some: $($need),+;)* }
        }

        fn kubelet(sandbox: &$crate::harness::Sandbox) -> $crate::cri::client::Cri {
            $connect($crate::place::shared($name, sandbox.layout, $open))
        }

        fn kubelet_killed(sandbox: &mut $crate::harness::Sandbox) {
            let place = std::sync::Arc::new($open(sandbox.layout));
            $crate::kubelet::features::kubelet_killed(&$connect(place.clone()), sandbox);
            let left = std::sync::Arc::into_inner(place).map($crate::place::Place::close);
            assert_eq!(left, Some(Vec::new()));
        }
    };
    (@cases $program:ident, $kubelet:ident { $($all:ident,)* } { $($some:ident: $($need:expr),+;)* }) => {
        $(fn $all(sandbox: &mut $crate::harness::Sandbox) {
            $crate::kubelet::features::$all(&$kubelet(sandbox), sandbox);
        })*
        $(fn $some(sandbox: &mut $crate::harness::Sandbox) {
            $crate::kubelet::features::$some(&$kubelet(sandbox), sandbox);
        })*
        cases! {
            $($all: $crate::kubelet::KUBELET, $program, $crate::cri::features::BRIDGE, $crate::cri::features::LIMITS;)*
            $($some: $crate::kubelet::KUBELET, $program, $crate::cri::features::BRIDGE, $crate::cri::features::LIMITS,
                $($need),+;)*
            kubelet_killed: $crate::kubelet::KUBELET, $program, $crate::cri::features::BRIDGE, $crate::cri::features::LIMITS;
        }
    };
}

pub(crate) mod crio;
pub(crate) mod features;
mod pod;

use std::fs;

use crate::containerd::is_second;
use crate::cri::{self, ROOT, connect};
use crate::harness::{Layout, Need, patience};
use crate::place::Place;

pub(crate) const KUBELET: Need = Need::Program("kubelet");
const CONTAINERD: Need = Need::Program("containerd");

kubelet_over! { CONTAINERD, "kubelet over containerd", open, connect {
    user_namespace: Need::Version("containerd", 2, 0, "hostUsers: false"), Need::IdMappedMounts;
}}

/// What the kubelet calls this machine: an address, which it need not look up.
pub(crate) const NODE: &str = "192.0.2.2";

/// Where it reads manifests.
const MANIFESTS: &str = "/etc/kubernetes/manifests";

/// The port that anybody may read from.
const READ_ONLY: u16 = 10255;

/// What the tests need beyond what docs/kubernetes.md says: no API server, a root of their own for the pods' cgroups, and
/// a kubelet that is quick, and content with any machine.
const TESTS: &str = "
staticPodPath: /etc/kubernetes/manifests
cgroupRoot: /CGROUP
address: 127.0.0.1
readOnlyPort: 10255
fileCheckFrequency: 1s
syncFrequency: 1s
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
volumePluginDir: /var/lib/kubelet/plugins
enforceNodeAllocatable: []
evictionHard: { memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0% }
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
failSwapOn: false
failCgroupV1: false
protectKernelDefaults: true
oomScoreAdj: SCORE
";

/// Starts the kubelet. It wants some settings of the kernel to be its own, and finds them so in files that hide the true
/// ones from it alone.
const START: &str = r#"
    set -e
    mount --make-private /proc
    mkdir -p /run/settings
    while read name value; do
        echo $value >/run/settings/$name
        mount --bind /run/settings/$name /proc/sys/$(echo $name | tr . /)
    done <<END
vm.overcommit_memory 1
vm.panic_on_oom 0
kernel.panic 10
kernel.panic_on_oops 1
kernel.keys.root_maxkeys 1000000
kernel.keys.root_maxbytes 25000000
END
    echo $$ >/run/kubelet.pid
    exec kubelet --config /etc/kubernetes/kubelet.yaml --hostname-override "$1"
"#;

/// Ends all pods, the kubelet, and the cgroups that it keeps for the next start. $1 is their root, $2 the runtime's, $3 how
/// often to look.
const END: &str = r#"
    looks=$3
    wait_while() {
        while eval "$1" && [ $looks -gt 0 ]; do
            sleep 0.1
            looks=$((looks - 1))
        done
    }
    rm -f /etc/kubernetes/manifests/*
    wait_while '[ -n "$(onggi --root '$2' list --quiet)" ]'
    read pid </run/kubelet.pid
    kill $pid
    wait_while 'ps -o stat= $pid | grep -qv Z'
    [ ! -d /run/systemd/system ] || systemctl stop $1.slice
    find /sys/fs/cgroup -depth -type d -path "*/$1*" -exec rmdir {} + 2>/dev/null
"#;

/// containerd as docs/kubernetes.md configures it, and the kubelet.
fn open(layout: Layout) -> Place {
    const DEFAULT: [&str; 2] = [
        include_str!("../config/containerd-1-default.toml"),
        include_str!("../config/containerd-2-default.toml"),
    ];
    over(
        cri::open_with(layout, DEFAULT[usize::from(is_second())]),
        include_str!("../config/kubelet.yaml"),
        ROOT,
    )
}

/// The kubelet over the engine of this place, in which the runtime keeps what it knows below `runtime`.
fn over(mut place: Place, documented: &str, runtime: &str) -> Place {
    let layout = place.sandbox().layout;
    let systemd = Need::Systemd.is_met(layout);
    // Slices are nested by the dashes in their names.
    let root = place.sandbox().token.replace('-', "");
    make_cgroup(&place, &root, systemd);
    let score = if Need::SYS_RESOURCE.is_met(layout) { "-999" } else { "0" };
    let mut config = documented.to_owned();
    if !systemd {
        config = config.replace("cgroupDriver: systemd", "cgroupDriver: cgroupfs");
    }
    config.push_str(&TESTS.replace("CGROUP", &root).replace("SCORE", score));
    place.write("/etc/kubernetes/kubelet.yaml", &config);
    fs::create_dir_all(place.inside(MANIFESTS)).unwrap();
    start(&place);
    place.at_the_end(&["sh", "-c", END, "sh", &root, runtime, &(100 * patience()).to_string()]);
    place
}

/// Makes the root of the pods' cgroups, with all controllers that the kubelet looks for.
fn make_cgroup(place: &Place, root: &str, systemd: bool) {
    let layout = place.sandbox().layout;
    let name = if systemd { format!("{root}.slice") } else { root.to_owned() };
    if systemd {
        place.call(place.sandbox(), &["systemctl", "start", &name]).finish().ok();
    }
    for hierarchy in layout.hierarchies() {
        if systemd && layout == Layout::V2 {
            // The one that systemd leaves to others.
            fs::write(hierarchy.mount.join("cgroup.subtree_control"), "+hugetlb").unwrap();
        }
        fs::create_dir_all(hierarchy.mount.join(&name)).unwrap();
    }
}

fn start(place: &Place) {
    let words = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", START, "sh", NODE];
    place.start_daemon(&words, &["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:10248/healthz"]);
}
