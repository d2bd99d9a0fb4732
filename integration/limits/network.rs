//! linux.resources.network, which only cgroup v1 has. Its hierarchies are mounted where nobody else sees them.

use serde_json::json;

use super::{holds, read, refuses};
use crate::harness::{Layout, Need, Sandbox, until};

cases! {
    class_and_priorities: Need::Only(Layout::V1), Need::FreeController("net_cls"), Need::FreeController("net_prio");
    class_where_it_is_mounted: Need::Only(Layout::V1), Need::Controller("net_cls");
    priorities_where_they_are_mounted: Need::Only(Layout::V1), Need::Controller("net_prio");
    are_refused: Need::Only(Layout::V2);
    without_their_controllers_is_an_error: Need::Only(Layout::V1), Need::NoController("net_cls");
}

/// In a mount namespace with both controllers, from `create` to `delete`. The hierarchy goes with its last mount only if
/// no cgroup is left by then, also none that the kernel has yet to free.
fn class_and_priorities(sandbox: &mut Sandbox) {
    let network = json!({ "classID": 1_048_577, "priorities": [{ "name": "lo", "priority": 7 }] });
    sandbox.set("/linux/resources/network", network);
    let top = sandbox.path("net");
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let script = format!(
        "mkdir {top} && mount -t cgroup -o net_cls,net_prio none {top} || exit 9
        \"$@\" && cat {top}{path}/net_cls.classid && grep '^lo ' {top}{path}/net_prio.ifpriomap
        {} --root {} delete --force {}
        rmdir {top}{path} {top}/{} 2>/dev/null
        n=0; until grep -qE '^net_cls\\s+[0-9]+\\s+1\\s' /proc/cgroups || [ $n = 100 ]; do n=$((n+1)); sleep 0.05; done
        umount {top}",
        crate::harness::binary().display(),
        sandbox.path("state"),
        sandbox.token,
        sandbox.token,
    );
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let output = sandbox.begin("create", &[]).through(&words).finish().ok();
    assert_eq!(output.stdout, "1048577\nlo 7\n", "{}", output.describe());
    let free = || Need::FreeController("net_cls").is_met(sandbox.layout);
    assert!(until(5, free), "the hierarchy is left");
}

fn class_where_it_is_mounted(sandbox: &mut Sandbox) {
    holds(sandbox, "network", json!({ "classID": 1_048_577 }), "net_cls", &[("net_cls.classid", "1048577")]);
}

fn priorities_where_they_are_mounted(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/network", json!({ "priorities": [{ "name": "lo", "priority": 7 }] }));
    sandbox.create();
    let map = read(sandbox, "net_prio", "net_prio.ifpriomap");
    assert!(map.lines().any(|line| line == "lo 7"), "{map}");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let none = json!({ "priorities": [{ "name": "onggi-none0", "priority": 7 }] });
    let parts = ["net_prio.ifpriomap", "\"onggi-none0 7\"", "ENODEV", "network namespace"];
    refuses(sandbox, "network", none, "network.priorities[0]", &parts);
}

fn are_refused(sandbox: &mut Sandbox) {
    refuses(sandbox, "network", json!({ "classID": 1 }), "network.classID", &["cgroup v2 has no net_cls"]);
    let priorities = json!({ "priorities": [{ "name": "lo", "priority": 7 }] });
    refuses(sandbox, "network", priorities, "network.priorities[0]", &["cgroup v2 has no net_prio"]);
    sandbox.set("/linux/resources/network", json!({ "classID": 0, "priorities": [] }));
    assert_eq!(sandbox.prove("echo alive"), "alive");
}

fn without_their_controllers_is_an_error(sandbox: &mut Sandbox) {
    refuses(sandbox, "network", json!({ "classID": 1 }), "network.classID", &["net_cls"]);
}
