//! linux.resources.hugepageLimits.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::{by_layout, refuses};
use crate::harness::{Need, Sandbox};

cases! {
    limits_of_what_is_used_and_reserved: Need::Controller("hugetlb"), Need::HugePages(0);
    a_page_beyond_the_limit_is_not_to_be_had: Need::Controller("hugetlb"), Need::HugePages(2);
    a_size_that_is_none_is_refused: Need::Controller("hugetlb");
    without_its_controller_is_an_error: Need::NoController("hugetlb");
}

/// Removes what the runtime enabled at the top of a v2 hierarchy that is the host's own, when it was not so before. One
/// test at a time, so that none takes another's for the host's.
struct Restore {
    file: std::path::PathBuf,
    enabled: bool,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Restore {
    fn new(sandbox: &Sandbox) -> Restore {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = sandbox.cgroup_of("hugetlb", "/").join("cgroup.subtree_control");
        let text = fs::read_to_string(&file).unwrap_or_default();
        Restore { enabled: text.split_whitespace().any(|name| name == "hugetlb"), file, _alone: alone }
    }

    fn now(self, sandbox: &Sandbox) {
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        sandbox.remove_cgroups(&format!("/{}", sandbox.token));
        if !self.enabled {
            // Another container may need it by now.
            let _ = fs::write(self.file, "-hugetlb");
        }
    }
}

fn limits_of_what_is_used_and_reserved(sandbox: &mut Sandbox) {
    let restore = Restore::new(sandbox);
    sandbox.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }]));
    sandbox.create();
    // A hybrid layout has v2's files, if the controller is there.
    let v2 = sandbox.cgroup("hugetlb").join("hugetlb.2MB.max").exists();
    let end = if v2 { "max" } else { "limit_in_bytes" };
    for file in [format!("hugetlb.2MB.{end}"), format!("hugetlb.2MB.rsvd.{end}")] {
        assert_eq!(super::read(sandbox, "hugetlb", &file), "4194304", "{file}");
    }
    restore.now(sandbox);
}

/// Two pages of 2 MiB on a hugetlbfs, of which the second is too much.
fn a_page_beyond_the_limit_is_not_to_be_had(sandbox: &mut Sandbox) {
    let restore = Restore::new(sandbox);
    sandbox.mount("/mnt", "hugetlbfs", "hugetlbfs", &["pagesize=2M"]);
    let script = "fallocate -l 2097152 /mnt/one && echo one; fallocate -l 2097152 /mnt/two && echo two";
    sandbox.script(script);
    assert_eq!(sandbox.run().stdout, "one\ntwo\n");
    sandbox.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 2 << 20 }]));
    assert_eq!(sandbox.run().stdout, "one\n");
    restore.now(sandbox);
}

fn a_size_that_is_none_is_refused(sandbox: &mut Sandbox) {
    let restore = Restore::new(sandbox);
    let size = |size: &str| json!([{ "pageSize": "2MB", "limit": 0 }, { "pageSize": size, "limit": 0 }]);
    let file = by_layout(sandbox, "hugetlb.3MB.", "hugetlb.3MB.max");
    let parts = [file, "\"0\"", "ENOENT", "/sys/kernel/mm/hugepages"];
    refuses(sandbox, "hugepageLimits", size("3MB"), "hugepageLimits[1]", &parts);
    refuses(sandbox, "hugepageLimits", size("2M"), "hugepageLimits[1].pageSize", &["\"2M\""]);
    restore.now(sandbox);
}

fn without_its_controller_is_an_error(sandbox: &mut Sandbox) {
    let limit = json!([{ "pageSize": "2MB", "limit": 0 }]);
    refuses(sandbox, "hugepageLimits", limit, "hugepageLimits[0]", &["controller"]);
}
