//! config-linux.md, Control groups: the path, who owns it, the allowed devices, and the limits.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Layout, Need, Sandbox};

clauses! {
    660 MUST "Cgroups Path", "take an absolute path to be relative to the cgroup mount point"
        => absolute_paths_are_below_the_mount_point;
    661 MUST "Cgroups Path", "take a relative path" => relative_paths_are_taken;
    662 MUST "Cgroups Path", "attach to the same place again given the same path" => lead_to_the_same_place_again;
    663 MUST "Cgroups Path", "create cgroups that do not exist" => are_created;
    664 SHOULD_NOT "Cgroup ownership", "change the owner on cgroup v1"
        => never_given_on_v1, Need::Only(Layout::V1), Need::UserNamespaces;
    665 SHOULD_NOT "Cgroup ownership", "change the owner without a new cgroup namespace"
        => not_given_without_a_namespace, Need::Only(Layout::V2), Need::UserNamespaces;
    666 SHOULD "Cgroup ownership", "change the owner if the cgroup file system is mounted read/write"
        => given_with_a_writable_mount, Need::Only(Layout::V2), Need::UserNamespaces;
    667 SHOULD_NOT "Cgroup ownership", "change the owner if it is mounted read-only"
        => not_given_with_a_readonly_mount, Need::Only(Layout::V2), Need::UserNamespaces;
    668 SHOULD_NOT "Cgroup ownership", "change the owner if it is not mounted at /sys/fs/cgroup"
        => not_given_without_a_mount, Need::Only(Layout::V2), Need::UserNamespaces;
    669 SHOULD_NOT "Cgroup ownership", "change the owner of files that are not listed in /sys/kernel/cgroup/delegate"
        => other_files_are_not_given, Need::Only(Layout::V2), Need::UserNamespaces;
    670 MUST "Allowed Device list", "apply entries in the listed order" => devices_in_the_listed_order;
    671 MUST "Allowed Device list", "deny what an entry denies" => devices_are_denied;
    672 MUST "Allowed Device list", "take unset major and minor numbers for all" => device_numbers_may_be_unset;
    673 MUST "Allowed Device list", "tell reading from writing" => device_access_is_told_apart;
    675 MUST "Memory", "set limit" => memory_limit = |it| holds(it, "memory", json!({ "limit": 67_108_864 }), "memory",
            ["memory.limit_in_bytes 67108864", "memory.max 67108864"]), Need::Controller("memory");
    676 MUST "Memory", "set reservation" => memory_reservation = |it| holds(it, "memory", json!({ "reservation": 33_554_432 }),
            "memory", ["memory.soft_limit_in_bytes 33554432", "memory.low 33554432"]), Need::Controller("memory");
    677 MUST "Memory", "set swap, the limit of memory and swap together" => memory_swap = |it| holds(it, "memory",
            json!({ "limit": 67_108_864, "swap": 100_663_296 }), "memory",
            ["memory.memsw.limit_in_bytes 100663296", "memory.swap.max 33554432"]),
        Need::Controller("memory");
    678 MUST "Memory", "take -1 for no limit" => memory_unlimited = |it| holds(it, "memory", json!({ "limit": -1 }), "memory",
            ["memory.limit_in_bytes 9223372036854771712", "memory.max max"]), Need::Controller("memory");
    679 MUST "Memory", "set swappiness" => memory_swappiness = |it| holds(it, "memory", json!({ "swappiness": 33 }), "memory",
            ["memory.swappiness 33", ""]), Need::Only(Layout::V1), Need::Controller("memory");
    680 MUST "Memory", "disable the OOM killer" => memory_oom_killer, Need::Only(Layout::V1), Need::Controller("memory");
    682 MUST "CPU", "set shares" => cpu_shares = |it| holds(it, "cpu", json!({ "shares": 1024 }), "cpu",
            ["cpu.shares 1024", "cpu.weight 39|cpu.weight 100"]), Need::Controller("cpu");
    683 MUST "CPU", "set quota and period" => cpu_quota = |it| holds(it, "cpu", json!({ "quota": 20_000, "period": 50_000 }),
            "cpu", ["cpu.cfs_quota_us 20000", "cpu.max 20000 50000"]), Need::Controller("cpu");
    684 MUST "CPU", "set burst" => cpu_burst = |it| holds(it, "cpu",
            json!({ "quota": 20_000, "period": 50_000, "burst": 10_000 }), "cpu",
            ["cpu.cfs_burst_us 10000", "cpu.max.burst 10000"]), Need::Controller("cpu");
    685 MUST "CPU", "set cpus" => cpu_cpus = |it| holds(it, "cpu", json!({ "cpus": "0" }), "cpuset", ["cpuset.cpus 0"; 2]),
        Need::Controller("cpuset");
    686 MUST "CPU", "set mems" => cpu_mems = |it| holds(it, "cpu", json!({ "mems": "0" }), "cpuset", ["cpuset.mems 0"; 2]),
        Need::Controller("cpuset");
    687 MUST "CPU", "set idle" => cpu_idle = |it| holds(it, "cpu", json!({ "idle": 1 }), "cpu", ["cpu.idle 1"; 2]),
        Need::Controller("cpu"), Need::Kernel(5, 15, "cpu.idle");
    689 MUST "Block IO", "set weight" => block_weight = |it| holds(it, "blockIO", json!({ "weight": 200 }), "io",
            ["blkio.weight 200|blkio.bfq.weight 200", "io.bfq.weight default 200|io.weight default 1920"]),
        Need::Controller("io");
    690 MUST "Block IO", "set throttleReadBpsDevice" => block_read_bps = |it| throttle(it, "throttleReadBpsDevice",
            ["blkio.throttle.read_bps_device", "rbps"]), Need::Controller("io");
    691 MUST "Block IO", "set throttleWriteBpsDevice" => block_write_bps = |it| throttle(it, "throttleWriteBpsDevice",
            ["blkio.throttle.write_bps_device", "wbps"]), Need::Controller("io");
    692 MUST "Block IO", "set throttleReadIOPSDevice" => block_read_iops = |it| throttle(it, "throttleReadIOPSDevice",
            ["blkio.throttle.read_iops_device", "riops"]), Need::Controller("io");
    693 MUST "Block IO", "set throttleWriteIOPSDevice" => block_write_iops = |it| throttle(it, "throttleWriteIOPSDevice",
            ["blkio.throttle.write_iops_device", "wiops"]), Need::Controller("io");
    695 MUST "Huge page limits", "set the limit of a page size" => huge_pages = |it| holds(it, "hugepageLimits",
            json!([{ "pageSize": "2MB", "limit": 4_194_304 }]), "hugetlb",
            ["hugetlb.2MB.rsvd.limit_in_bytes 4194304", "hugetlb.2MB.rsvd.max 4194304"]), Need::Controller("hugetlb"),
        Need::File("/sys/kernel/mm/hugepages/hugepages-2048kB");
    696 MUST "Huge page limits", "generate an error for a page size that the machine does not have"
        => huge_pages_of_no_size, Need::Controller("hugetlb");
    697 MUST "Network", "set classID" => network_class = |it| holds(it, "network", json!({ "classID": 1_048_577 }), "net_cls",
            ["net_cls.classid 1048577", ""]), Need::Only(Layout::V1), Need::Controller("net_cls");
    698 MUST "Network", "set priorities" => network_priorities = |it| holds(it, "network",
            json!({ "priorities": [{ "name": "lo", "priority": 500 }] }), "net_prio", ["net_prio.ifpriomap lo 500", ""]),
        Need::Only(Layout::V1), Need::Controller("net_prio");
    700 MUST "PIDs", "set limit" => pids_limit = |it| holds(it, "pids", json!({ "limit": 17 }), "pids", ["pids.max 17"; 2]),
        Need::Controller("pids");
    701 MUST "PIDs", "take -1 for no limit" => pids_unlimited = |it| holds(it, "pids", json!({ "limit": -1 }), "pids",
            ["pids.max max"; 2]), Need::Controller("pids");
    702 SHOULD "PIDs", "treat 0 as a limit" => pids_zero, Need::Controller("pids");
    704 MUST "RDMA", "generate an error for a device that is not there" => rdma_without_a_device, Need::Controller("rdma");
    706 MUST "Unified", "write keys of a controller to their files" => unified_keys, Need::Only(Layout::V2),
        Need::Controller("pids");
    707 MUST "Unified", "ensure that the controllers are enabled" => unified_controllers_are_enabled, Need::Only(Layout::V2),
        Need::Controller("hugetlb"), Need::File("/sys/kernel/mm/hugepages/hugepages-2048kB");
    708 MUST "Unified", "write keys that it does not know" => unified_keys_that_are_unknown, Need::Only(Layout::V2);
    709 MUST "Unified", "generate an error for a controller that is not there" => unified_controllers_that_are_missing,
        Need::Only(Layout::V2);
}

/// The cgroup of the usual container's process, as the host names it, in the hierarchy of the devices.
fn cgroup_of(it: &Sandbox) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", it.pid())).unwrap();
    let names = |line: &str| line.split(':').nth(1).map(str::to_owned).unwrap_or_default();
    let wanted = |line: &&str| match it.layout {
        Layout::V2 => line.starts_with("0::"),
        Layout::V1 => names(line).split(',').any(|name| name == "devices"),
    };
    text.lines().find(wanted).unwrap().rsplit(':').next().unwrap().to_owned()
}

fn absolute_paths_are_below_the_mount_point(it: &mut Sandbox) {
    it.create();
    let path = format!("/{0}/{0}", it.token);
    assert!(cgroup_of(it).ends_with(&path), "{}", cgroup_of(it));
    let members = fs::read_to_string(it.cgroup("devices").join("cgroup.procs")).unwrap();
    assert!(members.lines().any(|line| line == it.pid().to_string()), "{members}");
}

fn relative_paths_are_taken(it: &mut Sandbox) {
    it.set("/linux/cgroupsPath", json!(format!("{0}/{0}", it.token)));
    it.create();
    assert!(cgroup_of(it).contains(&format!("{0}/{0}", it.token)), "{}", cgroup_of(it));
}

fn lead_to_the_same_place_again(it: &mut Sandbox) {
    let places = [(), ()].map(|()| {
        it.create();
        let place = cgroup_of(it);
        it.stop();
        it.delete();
        place
    });
    assert_eq!(places[0], places[1]);
}

fn are_created(it: &mut Sandbox) {
    let path = format!("/{0}/deep/down/{0}", it.token);
    it.set("/linux/cgroupsPath", json!(path));
    it.create();
    assert!(cgroup_of(it).ends_with(&path), "{}", cgroup_of(it));
    it.stop();
    it.delete();
    for above in [format!("/{}/deep/down", it.token), format!("/{}/deep", it.token)] {
        it.remove_cgroups(&above);
    }
}

/// A container in a user namespace; its cgroup mount has no `ro`.
fn writable(it: &mut Sandbox) {
    it.user_namespace();
    it.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev"]);
}

fn owner(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display())).uid()
}

fn is_owned_by(it: &Sandbox, wanted: u32) {
    it.create();
    let cgroup = it.cgroup("devices");
    assert_eq!([owner(&cgroup), owner(cgroup.join("cgroup.procs"))], [wanted; 2]);
}

fn never_given_on_v1(it: &mut Sandbox) {
    writable(it);
    is_owned_by(it, 0);
}

fn not_given_without_a_namespace(it: &mut Sandbox) {
    writable(it);
    it.without_namespace("cgroup");
    is_owned_by(it, 0);
}

fn given_with_a_writable_mount(it: &mut Sandbox) {
    writable(it);
    is_owned_by(it, 100_000);
}

fn not_given_with_a_readonly_mount(it: &mut Sandbox) {
    it.user_namespace();
    is_owned_by(it, 0);
}

fn not_given_without_a_mount(it: &mut Sandbox) {
    it.user_namespace();
    it.unset("/mounts/6");
    is_owned_by(it, 0);
}

fn other_files_are_not_given(it: &mut Sandbox) {
    writable(it);
    it.create();
    let listed = fs::read_to_string("/sys/kernel/cgroup/delegate")
        .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
    for file in fs::read_dir(it.cgroup("devices")).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        if !listed.lines().any(|line| line == name) {
            assert_eq!(owner(file.path()), 0, "{name}");
        }
    }
}

/// With these rules behind the one that denies everything: what a container may do with /dev/kmsg.
fn kmsg(it: &mut Sandbox, rules: &[Value]) -> String {
    let all = [json!({ "allow": false, "access": "rwm" })].into_iter().chain(rules.iter().cloned());
    it.set("/linux/resources/devices", Value::Array(all.collect()));
    let device = json!({ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
    it.set("/linux/devices", json!([device]));
    it.capabilities(&["CAP_SYSLOG", "CAP_SYS_ADMIN"]);
    it.see("(exec 3< /dev/kmsg) 2>/dev/null && echo read; (exec 3> /dev/kmsg) 2>/dev/null && echo write; echo end")
}

fn devices_in_the_listed_order(it: &mut Sandbox) {
    let allowed = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" });
    let deny = json!({ "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw" });
    assert_eq!(kmsg(it, &[allowed.clone(), deny.clone()]), "end");
    assert_eq!(kmsg(it, &[deny, allowed]), "read\nwrite\nend");
}

fn devices_are_denied(it: &mut Sandbox) {
    assert_eq!(kmsg(it, &[]), "end");
}

fn device_numbers_may_be_unset(it: &mut Sandbox) {
    assert_eq!(kmsg(it, &[json!({ "allow": true, "type": "c", "access": "rw" })]), "read\nwrite\nend");
    assert_eq!(
        kmsg(it, &[json!({ "allow": true, "type": "c", "major": 1, "access": "rw" })]),
        "read\nwrite\nend"
    );
}

fn device_access_is_told_apart(it: &mut Sandbox) {
    let allowed =
        |access: &str| json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": access });
    assert_eq!(kmsg(it, &[allowed("r")]), "read\nend");
    assert_eq!(kmsg(it, &[allowed("w")]), "write\nend");
}

/// One of these, `FILE VALUE` between bars, is what the container's cgroup has in that file.
fn has(cgroup: &Path, wanted: &str) {
    let pairs: Vec<(&str, &str)> = wanted.split('|').map(|pair| pair.split_once(' ').unwrap()).collect();
    let found: Vec<(PathBuf, String)> = pairs
        .iter()
        .map(|(file, _)| cgroup.join(file))
        .filter_map(|file| fs::read_to_string(&file).ok().map(|text| (file, text)))
        .collect();
    let right = |(file, value): &(&str, &str)| {
        let text = found.iter().find(|(path, _)| path.ends_with(file)).map(|(_, text)| text.as_str());
        text.is_some_and(|text| text.lines().any(|line| line == *value))
    };
    assert!(pairs.iter().any(right), "wanted {wanted:?} in {}, found {found:?}", cgroup.display());
}

/// Skips the test where the kernel has none of the files in the cgroups of a container.
fn is_there(it: &mut Sandbox, controller: &str, wanted: &str) {
    let plain = it.config.clone();
    it.create();
    let cgroup = it.cgroup(controller);
    let names: Vec<&str> = wanted.split('|').filter_map(|pair| pair.split(' ').next()).collect();
    let there = names.iter().any(|name| cgroup.join(name).exists());
    it.forget(&it.token);
    it.config = plain;
    if !there {
        crate::worker::skip(&format!("this kernel has no {}", names.join(" and no ")));
    }
}

/// The value of linux.resources.`property` is what the files say, of v1 and of v2.
fn holds(it: &mut Sandbox, property: &str, value: Value, controller: &str, wanted: [&str; 2]) {
    is_there(it, controller, wanted[usize::from(it.layout == Layout::V2)]);
    it.set(&format!("/linux/resources/{property}"), value);
    it.create();
    has(&it.cgroup(controller), wanted[usize::from(it.layout == Layout::V2)]);
}

fn memory_oom_killer(it: &mut Sandbox) {
    let value = json!({ "limit": 67_108_864, "disableOOMKiller": true });
    holds(it, "memory", value, "memory", ["memory.oom_control oom_kill_disable 1", ""]);
}

/// Of a block device that the machine has.
fn throttle(it: &mut Sandbox, property: &str, [file, key]: [&str; 2]) {
    let mut devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let Some(device) = devices.next().and_then(|entry| fs::read_to_string(entry.path().join("dev")).ok())
    else {
        crate::worker::skip("the machine has no block device");
    };
    let (major, minor) = device.trim().split_once(':').unwrap();
    let number = |text: &str| text.parse::<u32>().unwrap();
    let rate = json!([{ "major": number(major), "minor": number(minor), "rate": 1_048_576 }]);
    it.set("/linux/resources/blockIO", json!({ property: rate }));
    it.create();
    let (file, wanted) = match it.layout {
        Layout::V1 => (file, "1048576".to_owned()),
        Layout::V2 => ("io.max", format!("{key}=1048576")),
    };
    let text = fs::read_to_string(it.cgroup("io").join(file)).unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(device.trim())).unwrap_or_default();
    assert!(line.split(' ').any(|word| word == wanted), "{file}: wanted {wanted} in {text:?}");
}

/// Kernels need a place for the first process; a second one is what the limit forbids.
fn pids_zero(it: &mut Sandbox) {
    it.set("/linux/resources/pids", json!({ "limit": 0 }));
    assert_eq!(it.see("echo first; (echo second) 2>/dev/null; true"), "first");
}

fn huge_pages_of_no_size(it: &mut Sandbox) {
    it.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 3_145_728 }]));
    it.refuses(&["linux.resources.hugepageLimits"]);
}

fn rdma_without_a_device(it: &mut Sandbox) {
    it.set("/linux/resources/rdma", json!({ "no_such_device": { "hcaHandles": 3 } }));
    it.refuses(&["linux.resources.rdma"]);
}

fn unified_keys(it: &mut Sandbox) {
    holds(it, "unified", json!({ "pids.max": "21" }), "pids", ["pids.max 21"; 2]);
}

fn unified_controllers_are_enabled(it: &mut Sandbox) {
    holds(it, "unified", json!({ "hugetlb.2MB.max": "4194304" }), "hugetlb", ["hugetlb.2MB.max 4194304"; 2]);
}

fn unified_keys_that_are_unknown(it: &mut Sandbox) {
    holds(it, "unified", json!({ "cgroup.max.descendants": "7" }), "cgroup", ["cgroup.max.descendants 7"; 2]);
}

fn unified_controllers_that_are_missing(it: &mut Sandbox) {
    it.set("/linux/resources/unified", json!({ "nosuch.max": "1" }));
    it.refuses(&["linux.resources.unified"]);
}
