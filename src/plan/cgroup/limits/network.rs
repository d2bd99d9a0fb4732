//! linux.resources.network (config-linux.md, Network): the controllers net_cls and net_prio, which only v1 has. Pure.

use super::{List, wrong};
use crate::error::{Error, Result};
use crate::plan::cgroup::Version;
use oci_spec::runtime::LinuxResources;

/// IFNAMSIZ without its NUL (linux/if.h).
const LONGEST_NAME: usize = 15;

/// The net_cls controller.
pub(super) fn class(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let class = resources.network().as_ref().and_then(|network| network.class_id());
    match class.filter(|class| *class != 0) {
        Some(_) if list.version == Version::V2 => Err(only_v1("network.classID", "net_cls")),
        Some(class) => {
            list.push("network.classID", "net_cls.classid", class);
            Ok(())
        }
        None => Ok(()),
    }
}

/// The net_prio controller.
pub(super) fn priorities(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let entries = resources.network().iter().flat_map(|network| network.priorities().iter().flatten());
    for (index, entry) in entries.enumerate() {
        let field = format!("network.priorities[{index}]");
        if !is_interface(entry.name()) {
            let reason = format!("{:?} is no name of a network interface", entry.name());
            return Err(wrong(&format!("{field}.name"), reason));
        }
        if list.version == Version::V2 {
            return Err(only_v1(&field, "net_prio"));
        }
        list.push(&field, "net_prio.ifpriomap", format!("{} {}", entry.name(), entry.priority()));
    }
    Ok(())
}

fn only_v1(field: &str, controller: &str) -> Error {
    wrong(field, format!("cgroup v2 has no {controller} controller"))
        .hint(format!("limit it outside of the container, or mount the {controller} hierarchy of cgroup v1"))
}

/// As the kernel names them (dev_valid_name): what stands between two spaces of the file is nothing else.
fn is_interface(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    (1..=LONGEST_NAME).contains(&name.len()) && name != "." && name != ".." && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, text};
    use super::*;
    use serde_json::json;

    #[test]
    fn only_v1_has_them() {
        let network = json!({"network": {"classID": 1_048_577, "priorities": [
            {"name": "eth0", "priority": 500}, {"name": "lo", "priority": 0}]}});
        assert_eq!(
            text(&network, Version::V1),
            "net_cls.classid=1048577 net_prio.ifpriomap=eth0 500 net_prio.ifpriomap=lo 0"
        );
        refused(&json!({"network": {"classID": 1}}), "network.classID", &[Version::V2]);
        let one = json!({"network": {"priorities": [{"name": "lo", "priority": 0}]}});
        refused(&one, "network.priorities[0]", &[Version::V2]);
        let nothing = json!({"network": {"classID": 0, "priorities": []}});
        assert_eq!(
            (text(&nothing, Version::V1), text(&nothing, Version::V2)),
            (String::new(), String::new())
        );
    }

    #[test]
    fn interfaces_are_checked() {
        for name in ["", ".", "..", "a b", "a\n", "a/b", "a:1", "a\0", "sixteen-letters-"] {
            let one = json!({"network": {"priorities": [{"name": name, "priority": 0}]}});
            refused(&one, "network.priorities[0].name", &[Version::V1, Version::V2]);
        }
    }
}
