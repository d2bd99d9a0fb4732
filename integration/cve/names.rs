//! Names in the configuration that become path components: settings, cgroups, and what belongs to them
//! (invariants 13 and 16).

use serde_json::{Value, json};

use super::{Setting, Trap, attempt, control};
use crate::harness::{Layout, Need, Sandbox};

cases! {
    cve_2022_0811_a_value_with_a_second_setting;
    cve_2022_0811_settings_that_are_the_hosts;
    cve_2022_0811_settings_of_a_namespace_that_is_the_hosts;
    cve_2023_6476_annotations_do_not_lift_limits: Need::Controller("pids");
    cve_2024_3154_annotations_start_nothing;
    ghsa_5g49_rx9x_qfc6_names_of_settings;
    ghsa_5g49_rx9x_qfc6_paths_of_cgroups;
    ghsa_5g49_rx9x_qfc6_names_of_resources: Need::Only(Layout::V2);
    ghsa_5g49_rx9x_qfc6_names_of_resources_of_v1: Need::Only(Layout::V1);
}

/// The settings of the host that these attacks are after.
fn watched() -> [Setting; 3] {
    ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/poweroff_cmd", "/proc/sys/kernel/hostname"]
        .map(Setting::watch)
}

#[track_caller]
fn refuses(sandbox: &mut Sandbox, sysctl: Value) {
    let settings = watched();
    let what = sysctl.to_string();
    let name = sysctl.as_object().unwrap().keys().next().unwrap().clone();
    sandbox.set("/linux/sysctl", sysctl);
    let readable = name.bytes().all(|byte| byte.is_ascii_graphic());
    let field = if readable { "linux.sysctl" } else { "sysctl" };
    sandbox.refused(&[field]);
    settings.iter().for_each(|setting| setting.assert_same(&what));
}

/// CRI-O joined settings with `+`; the kernel reads on after a line's end in some files. One value, one write.
fn cve_2022_0811_a_value_with_a_second_setting(sandbox: &mut Sandbox) {
    control(sandbox);
    let settings = watched();
    let own = std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap();
    sandbox.script("echo alive; cat /proc/sys/kernel/shm_rmid_forced");
    for value in [
        "1+kernel.core_pattern=|/bin/false %p",
        "1 kernel.core_pattern=|/bin/false",
        "1\nkernel.core_pattern=|/bin/false",
        "1;kernel.core_pattern=|/bin/false",
        "1\0kernel.core_pattern=|/bin/false",
        "1,kernel.core_pattern=x",
    ] {
        sandbox.set("/linux/sysctl", json!({ "kernel.shm_rmid_forced": value }));
        attempt(sandbox);
        settings.iter().for_each(|setting| setting.assert_same(value));
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap(), own, "{value:?}");
    }
}

/// Settings without a namespace are the host's, in both spellings.
fn cve_2022_0811_settings_that_are_the_hosts(sandbox: &mut Sandbox) {
    for name in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.modprobe",
        "kernel.poweroff_cmd",
        "kernel.hostname",
        "kernel.panic",
        "kernel.ns_last_pid",
        "vm.overcommit_memory",
        "fs.file-max",
        "fs.suid_dumpable",
        "fs.binfmt_misc.register",
        "user.max_user_namespaces",
        "dev.cdrom.autoclose",
        "abi.vsyscall32",
        "net",
        "kernel",
    ] {
        refuses(sandbox, json!({ name: "1" }));
    }
}

/// Namespaced settings where that namespace is not the container's own: absent, or joined and the host's.
fn cve_2022_0811_settings_of_a_namespace_that_is_the_hosts(sandbox: &mut Sandbox) {
    let namespaces = sandbox.config["linux"]["namespaces"].clone();
    let cases = [
        ("network", "net", "net.ipv4.ip_forward"),
        ("network", "net", "net/ipv4/ip_forward"),
        ("ipc", "ipc", "kernel.shmmax"),
        ("ipc", "ipc", "kernel.msgmax"),
        ("ipc", "ipc", "fs.mqueue.msg_max"),
        ("uts", "uts", "kernel.domainname"),
    ];
    for (kind, file, name) in cases {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = std::fs::read(&path).unwrap();
        let mine = format!("/proc/{}/ns/{file}", std::process::id());
        for joined in [None, Some(mine), Some(format!("/proc/self/ns/{file}"))] {
            sandbox.set("/linux/namespaces", namespaces.clone()).without_namespace(kind);
            if let Some(path) = &joined {
                sandbox.namespace(kind, Some(path));
            }
            sandbox.config.as_object_mut().unwrap().remove("hostname");
            refuses(sandbox, json!({ name: String::from_utf8_lossy(&before).trim() }));
            assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
        }
    }
}

/// Names that climb, repeat, end early or hide a second name; also where the climb leads to a file of the host.
fn ghsa_5g49_rx9x_qfc6_names_of_settings(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let up = "../".repeat(20);
    let secret = format!("net/{up}{}/secret", trap.text().trim_start_matches('/'));
    for name in [
        "kernel.shm_rmid_forced/../core_pattern",
        "kernel/shm_rmid_forced/../core_pattern",
        "kernel.msgmax/../core_pattern",
        "kernel.msg/../core_pattern",
        "kernel.sem/../core_pattern",
        "net/../kernel/core_pattern",
        "net/ipv4/../../kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net./../kernel/core_pattern",
        "fs.mqueue/../../kernel/core_pattern",
        "fs/mqueue/../../kernel/core_pattern",
        "net.ipv4.conf.../../kernel/core_pattern",
        "net/./../kernel/core_pattern",
        "kernel.shm_rmid_forced+kernel.core_pattern",
        "kernel.shm_rmid_forced kernel.core_pattern",
        "kernel.shm_rmid_forced\nkernel.core_pattern",
        "kernel.shm_rmid_forced\0",
        "kernel.shm_rmid_forced=1",
        "kernel..shm_rmid_forced",
        "kernel.shm_rmid_forced.",
        ".kernel.shm_rmid_forced",
        "/kernel/shm_rmid_forced",
        "/proc/sys/kernel/shm_rmid_forced",
        "../sys/kernel/shm_rmid_forced",
        "net.ipv4",
        "net/ipv4/",
        "net.ipv4.no_such_setting",
        "kernel.shm_no_such_setting",
        "kernel.msgmaximum",
        "",
        ".",
        "..",
        "/",
        secret.as_str(),
    ] {
        refuses(sandbox, json!({ name: "|/bin/false" }));
        trap.assert_untouched(name);
    }
}

/// Engines turn annotations into properties of systemd; under the cgroupfs driver they mean nothing.
fn cve_2023_6476_annotations_do_not_lift_limits(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 17 }));
    sandbox.set(
        "/annotations",
        json!({
            "org.systemd.property.TasksMax": "uint64 1000",
            "org.systemd.property.MemoryMax": "uint64 18446744073709551615",
            "io.kubernetes.cri-o.UnifiedCgroup": "pids.max=max",
            "run.oci.systemd.subgroup": "",
        }),
    );
    sandbox.start_sleeper();
    let limit = std::fs::read_to_string(sandbox.cgroup("pids").join("pids.max")).unwrap();
    assert_eq!(limit, "17\n");
}

/// ExecStartPre and its kind in an annotation: nothing is started, nothing is mounted.
fn cve_2024_3154_annotations_start_nothing(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    let run = format!("[('/bin/touch', ['/bin/touch', '{}/made'], false)]", trap.text());
    sandbox.set(
        "/annotations",
        json!({
            "org.systemd.property.ExecStartPre": run,
            "org.systemd.property.ExecStopPost": run,
            "org.systemd.property.BindPaths": format!("[('{}', '/mnt', false, uint64 0)]", trap.text()),
            "run.oci.hooks.stderr": format!("{}/made", trap.text()),
            "run.oci.hooks.stdout": format!("{}/made", trap.text()),
            "run.oci.mount_context_type": "../../x",
        }),
    );
    sandbox.script("echo alive; cat /mnt/secret");
    let output = attempt(sandbox);
    trap.assert_untouched("annotations");
    assert!(!output.is_some_and(|it| it.stdout.contains(super::SECRET)));
}

/// A cgroup path with dots climbs nowhere: it is refused, and no cgroup is made or joined.
fn ghsa_5g49_rx9x_qfc6_paths_of_cgroups(sandbox: &mut Sandbox) {
    control(sandbox);
    sandbox.script("echo alive; cat /proc/self/cgroup");
    let token = sandbox.token.clone();
    for path in [
        format!("/{token}/../../{token}"),
        format!("/../{token}"),
        format!("../{token}"),
        format!("/{token}/.."),
        format!("/{token}/../../../../../../../../tmp/{token}"),
        format!("{token}/../{token}"),
        "..".to_owned(),
        "/..".to_owned(),
        format!("/{token}/a\nb"),
        format!("/{token}/a\0b"),
        format!("/{token}/{}", "x".repeat(300)),
    ] {
        sandbox.set("/linux/cgroupsPath", json!(path));
        sandbox.refused(&["linux.cgroupsPath"]);
    }
}

/// Keys of `unified` and sizes of pages are file names of the container's cgroup, and of nothing else.
fn ghsa_5g49_rx9x_qfc6_names_of_resources(sandbox: &mut Sandbox) {
    control(sandbox);
    sandbox.script("echo alive");
    for name in [
        "../cgroup.procs",
        "../cgroup.subtree_control",
        "/cgroup.procs",
        "a/../../cgroup.procs",
        "..",
        ".",
        "",
        "cgroup.procs/",
        "pids.max\0",
        "pids.max\nx",
        "sub/pids.max",
    ] {
        sandbox.set("/linux/resources/unified", json!({ name: "0" }));
        sandbox.refused(&["linux.resources.unified"]);
    }
    sandbox.unset("/linux/resources/unified");
    resources(sandbox);
}

fn ghsa_5g49_rx9x_qfc6_names_of_resources_of_v1(sandbox: &mut Sandbox) {
    control(sandbox);
    sandbox.script("echo alive");
    resources(sandbox);
}

/// The names of resources that both layouts have.
fn resources(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    for size in ["../../2MB", "2MB/..", "2MB/../../cgroup", "", "2MB\0", "..", "/2MB"] {
        sandbox.set("/linux/resources/hugepageLimits", json!([{ "pageSize": size, "limit": 0 }]));
        sandbox.refused(&["linux.resources.hugepageLimits"]);
    }
    sandbox.unset("/linux/resources/hugepageLimits");
    for name in ["../../mlx5", "mlx5 hca_handle=max\nmlx4", "mlx5\nmlx4", ""] {
        sandbox.set("/linux/resources/rdma", json!({ name: { "hcaHandles": 1 } }));
        sandbox.refused(&["linux.resources.rdma"]);
    }
    sandbox.unset("/linux/resources/rdma");
    for name in ["../../x", "..", ".", "a/b", "/etc", "x\0y", "info"] {
        sandbox.set("/linux/intelRdt", json!({ "closID": name }));
        sandbox.refused(&["linux.intelRdt"]);
    }
    trap.assert_untouched("names of resources");
}
