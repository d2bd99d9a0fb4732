//! Golden plans: a config.json, an invented [`Host`](super::host::Host), and the text of the plan that they must give.
//! A change of behaviour shows as a change of a text file; `UPDATE_GOLDEN=1 cargo test golden` writes the files anew.
//! What planning refuses stands in a table below, error by error.

#[cfg(test)]
mod tests {
    use crate::error::Result;
    use crate::plan::cgroup::systemd::Manager;
    use crate::plan::host::{Host, Lsm};
    use crate::plan::layout::{CgroupLayout, Hierarchy};
    use crate::plan::{Plan, Request, plan};
    use crate::spec;
    use oci_spec::runtime::Spec;
    use serde_json::{Value, json};
    use std::path::{Path, PathBuf};

    /// Config.json below `src`, and the hosts it is planned for; the text is `golden/CONFIG.HOST.txt`.
    const GOLDEN: &[(&str, &[&str])] = &[
        ("cli/spec_command/default", &["v2", "hybrid", "old"]),
        ("cli/spec_command/rootless", &["single"]),
        ("plan/golden/binds", &["v2"]),
        ("plan/golden/binds_plain", &["v2", "nested", "old"]),
        ("plan/golden/call", &["v2"]),
        ("plan/golden/cgroup_owner", &["v2", "hybrid", "helpers"]),
        ("plan/golden/devices", &["v2", "hybrid", "nested"]),
        ("plan/golden/devices_bound", &["v2"]),
        ("plan/golden/filesystems", &["v2", "hybrid"]),
        ("plan/golden/handed", &["v2", "helpers"]),
        ("plan/golden/hooks", &["v2"]),
        ("plan/golden/host_mounts", &["v2"]),
        ("plan/golden/intel_rdt", &["v2", "resctrl"]),
        ("plan/golden/joined", &["v2"]),
        ("plan/golden/joined_mount", &["v2"]),
        ("plan/golden/joined_pid", &["v2"]),
        ("plan/golden/joined_user", &["v2"]),
        ("plan/golden/labels", &["lsm", "lsm_hybrid"]),
        ("plan/golden/net_devices", &["v2"]),
        ("plan/golden/net_devices_joined", &["v2"]),
        ("plan/golden/no_process", &["v2"]),
        ("plan/golden/paths", &["v2"]),
        ("plan/golden/process", &["v2"]),
        ("plan/golden/properties", &["v2", "nested"]),
        ("plan/golden/resources", &["v2", "hybrid"]),
        ("plan/golden/resources_v1", &["v1", "v2"]),
        ("plan/golden/root_private", &["v2"]),
        ("plan/golden/root_shared", &["v2"]),
        ("plan/golden/scope_mount", &["v2", "systemd", "systemd_v1"]),
        ("plan/golden/seccomp", &["v2"]),
        ("plan/golden/seccomp_notify", &["v2"]),
        ("plan/golden/systemd", &["v2", "systemd", "systemd_v1", "systemd_user"]),
        ("plan/golden/terminal", &["v2", "nested"]),
        ("plan/golden/time", &["v2"]),
        ("plan/golden/user", &["v2", "hybrid", "helpers", "nested"]),
    ];

    /// Every capability up to CAP_CHECKPOINT_RESTORE, the last of Linux 5.9 and later.
    const ALL: u64 = (1 << 41) - 1;

    fn hierarchy(mount: &str, controllers: &str) -> Hierarchy {
        let own = "/system.slice/engine".into();
        Hierarchy { mount: mount.into(), controllers: controllers.into(), own }
    }

    /// Every controller that v1 has limits for, and no cgroup2.
    fn v1() -> CgroupLayout {
        let controllers = [
            "cpuset",
            "cpu,cpuacct",
            "memory",
            "pids",
            "devices",
            "blkio",
            "hugetlb",
            "net_cls,net_prio",
            "rdma",
        ];
        let v1 = controllers.map(|name| hierarchy(&format!("/sys/fs/cgroup/{name}"), name));
        CgroupLayout { v1: v1.into(), unified: None }
    }

    fn layout(hybrid: bool) -> CgroupLayout {
        let v1 = |controllers: &str| hierarchy(&format!("/sys/fs/cgroup/{controllers}"), controllers);
        match hybrid {
            false => CgroupLayout { v1: Vec::new(), unified: Some(hierarchy("/sys/fs/cgroup", "")) },
            true => CgroupLayout {
                v1: ["pids", "devices", "cpu,cpuacct"].map(v1).into(),
                unified: Some(hierarchy("/sys/fs/cgroup/unified", "")),
            },
        }
    }

    fn host(name: &str) -> Host {
        let root = Host {
            ids: (0, 0),
            privileged: true,
            nested: false,
            mount_setattr: true,
            capabilities: ALL,
            permitted: ALL,
            newuidmap: None,
            newgidmap: None,
            cgroups: layout(false),
            lsm: Lsm::default(),
            resctrl: None,
            systemd: None,
        };
        let user = Host { ids: (1000, 100), privileged: false, permitted: 0, ..root.clone() };
        let helper = |name: &str| Some(PathBuf::from(format!("/usr/bin/{name}")));
        match name {
            "v2" => root,
            "lsm" => Host { lsm: Lsm { apparmor: true, selinux: true }, ..root },
            "lsm_hybrid" => Host { cgroups: layout(true), ..host("lsm") },
            "resctrl" => Host { resctrl: Some("/sys/fs/resctrl".into()), ..root },
            "hybrid" => Host { cgroups: layout(true), ..root },
            "v1" => Host { cgroups: v1(), ..root },
            "old" => Host { mount_setattr: false, ..root },
            "nested" => Host { nested: true, ..root },
            "single" => user,
            "systemd" => Host { systemd: systemd(257, false), ..root },
            "systemd_v1" => Host { systemd: systemd(247, false), cgroups: v1(), ..root },
            "systemd_user" => Host { systemd: systemd(241, true), ..user },
            "helpers" => Host { newuidmap: helper("newuidmap"), newgidmap: helper("newgidmap"), ..user },
            other => panic!("no host {other:?}"),
        }
    }

    fn systemd(version: u32, user: bool) -> Option<Manager> {
        let own = if user { "/user.slice/user-1000.slice/user@1000.service" } else { "" };
        Some(Manager { version, control_group: own.to_owned(), user })
    }

    fn request(config: &str) -> Request<'static> {
        let usual = Request {
            id: "web1",
            bundle: Path::new("/bundle"),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            listen_fds: 0,
            notify: None,
            gate: true,
            rootless: None,
            no_cgroups: false,
        };
        match config {
            "call" => Request { no_pivot: true, no_new_keyring: true, preserve_fds: 2, gate: false, ..usual },
            "handed" => {
                let notify = Some(Path::new("/run/onggi/web1/notify"));
                Request { preserve_fds: 3, listen_fds: 2, notify, ..usual }
            }
            _ => usual,
        }
    }

    fn text(plan: &Plan) -> String {
        let warnings = plan.cgroup.warnings.iter().chain(&plan.warnings);
        let warnings: String = warnings.map(|warning| format!("warning {warning}\n")).collect();
        format!("{warnings}{plan}")
    }

    #[test]
    fn plans_are_as_written_down() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        let mut wrong = Vec::new();
        for (config, hosts) in GOLDEN {
            let stem = config.rsplit('/').next().unwrap();
            let spec = spec::load(&source.join(format!("{config}.json")), &mut Vec::new()).unwrap();
            spec::check(&spec).unwrap_or_else(|error| panic!("{config}: {error}"));
            for name in *hosts {
                let file = format!("plan/golden/{stem}.{name}.txt");
                let planned = plan(&spec, &host(name), &request(stem));
                let planned = planned.as_ref().map_or_else(|error| format!("error {error}\n"), text);
                let written = std::fs::read_to_string(source.join(&file)).unwrap_or_default();
                if written != planned && update {
                    std::fs::write(source.join(&file), &planned).unwrap();
                } else if written != planned {
                    wrong.push(format!("src/{file}:\n{}", difference(&written, &planned)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}\nUPDATE_GOLDEN=1 writes the files anew", wrong.join("\n"));
    }

    #[test]
    fn no_golden_file_is_without_its_row() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden");
        let row = |(config, hosts): &(&str, &[&str])| {
            let stem = config.rsplit('/').next().unwrap().to_owned();
            let texts: Vec<String> = hosts.iter().map(|host| format!("{stem}.{host}.txt")).collect();
            [texts, vec![format!("{stem}.json")]].concat()
        };
        let known: Vec<String> = GOLDEN.iter().flat_map(row).collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&name), "src/plan/golden/{name} belongs to no row of GOLDEN");
        }
    }

    /// What has gone and what has come, line by line, without what both have: a longest common subsequence.
    fn difference(old: &str, new: &str) -> String {
        let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
        let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
        for (i, a) in old.iter().enumerate().rev() {
            for (j, b) in new.iter().enumerate().rev() {
                common[i][j] =
                    if a == b { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
            }
        }
        let (mut i, mut j, mut text) = (0, 0, String::new());
        while i < old.len() || j < new.len() {
            if i < old.len() && j < new.len() && old[i] == new[j] {
                (i, j) = (i + 1, j + 1);
            } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
                text += &format!("- {}\n", old[i]);
                i += 1;
            } else {
                text += &format!("+ {}\n", new[j]);
                j += 1;
            }
        }
        text
    }

    /// A plain config with these parts over it.
    fn config(parts: &Value) -> Spec {
        fn lay(under: &mut Value, over: &Value) {
            match (under, over) {
                (Value::Object(under), Value::Object(over)) => {
                    over.iter().for_each(|(key, value)| lay(under.entry(key).or_insert(Value::Null), value));
                }
                (under, over) => *under = over.clone(),
            }
        }
        let mut config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "rootfs" },
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh"], "cwd": "/" },
            "mounts": [], "hooks": {},
            "linux": { "namespaces": [{ "type": "mount" }] }
        });
        lay(&mut config, parts);
        serde_json::from_value(config).unwrap()
    }

    fn refused(host_name: &str, parts: &Value) -> String {
        let planned: Result<Plan> = plan(&config(parts), &host(host_name), &request(""));
        planned.map_or_else(|error| error.to_string(), |plan| format!("planned:\n{plan}"))
    }

    fn one_mount(destination: &str, kind: &str, options: &[&str]) -> Value {
        json!({ "mounts": [{ "destination": destination, "type": kind, "source": "/s", "options": options }] })
    }

    #[test]
    fn what_is_refused_says_why() {
        let all = [
            refused_mounts(),
            refused_cgroup_mounts(),
            refused_by_systemd(),
            refused_others(),
            refused_labels(),
            refused_without_privileges(),
        ];
        let seen =
            all.into_iter().flatten().map(|(host, parts, error)| (refused(host, &parts), error, parts));
        let wrong: Vec<_> = seen.filter(|(seen, error, _)| seen != error).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    type Refusal = (&'static str, Value, &'static str);

    fn refused_mounts() -> Vec<Refusal> {
        vec![
            (
                "v2",
                one_mount("/proc/sys", "tmpfs", &[]),
                r#"mounts[0] "/proc/sys": cannot be mounted: it is inside /proc (hint: only procfs itself and single files such as /proc/meminfo may be mounted there)"#,
            ),
            (
                "v2",
                one_mount("/proc/../proc/self", "bind", &[]),
                r#"mounts[0] "/proc/../proc/self": cannot be mounted: it is inside /proc (hint: only procfs itself and single files such as /proc/meminfo may be mounted there)"#,
            ),
            (
                "v2",
                one_mount("/proc", "tmpfs", &[]),
                r#"mounts[0] "/proc": cannot be mounted: it is inside /proc (hint: only procfs itself and single files such as /proc/meminfo may be mounted there)"#,
            ),
            (
                "v2",
                one_mount("/x", "none", &[]),
                r#"mounts[0] "/x": has no type and is no bind mount (hint: give it a "type", or "bind" among its options)"#,
            ),
            (
                "v2",
                one_mount("/x", "bind", &["noexce"]),
                r#"mounts[0] "/x": unknown option "noexce" for a bind mount"#,
            ),
            (
                "v2",
                one_mount("/x", "none", &["bind", "noexce"]),
                r#"mounts[0] "/x": "noexce" is no option of a bind mount (hint: a bind mount shares the file system of its source and cannot change its options)"#,
            ),
            (
                "v2",
                one_mount("/x", "bind", &["idmap"]),
                r#"mounts[0] "/x": an id-mapped mount needs mappings (hint: give uidMappings and gidMappings on the mount, or in linux)"#,
            ),
            ("v2", one_mount("/x", "tmpfs", &["idmap"]), r#"mounts[0] "/x": id mappings need a bind mount"#),
            (
                "v2",
                json!({ "mounts": [{ "destination": "/x", "type": "bind" }] }),
                r#"mounts[0] "/x": a bind mount needs a source"#,
            ),
            (
                "old",
                one_mount("/x", "bind", &["rbind", "rro"]),
                r#"mounts[0] "/x": a recursive option needs mount_setattr(2), which this kernel lacks (hint: needs Linux 5.12)"#,
            ),
            (
                "old",
                one_mount("/x", "none", &["remount", "bind", "rnoexec"]),
                r#"mounts[0] "/x": a recursive option needs mount_setattr(2), which this kernel lacks (hint: needs Linux 5.12)"#,
            ),
            (
                "old",
                json!({ "mounts": [{ "destination": "/x", "type": "bind", "source": "/s",
                    "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }],
                    "gidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] }] }),
                r#"mounts[0] "/x": an id-mapped mount needs mount_setattr(2), which this kernel lacks (hint: needs Linux 5.12)"#,
            ),
        ]
    }

    fn refused_cgroup_mounts() -> Vec<Refusal> {
        vec![
            (
                "v2",
                one_mount("/sys/fs/cgroup", "cgroup", &["ro", "nsdelegate", "memory", "name=x"]),
                r#"mounts[0] "/sys/fs/cgroup": unknown option "memory" for a cgroup mount (hint: its hierarchies are mounted on the host, and have their options from there)"#,
            ),
            (
                "hybrid",
                one_mount("/sys/fs/cgroup", "cgroup2", &["mode=755"]),
                r#"mounts[0] "/sys/fs/cgroup": unknown option "mode=755" for a cgroup mount (hint: its hierarchies are mounted on the host, and have their options from there)"#,
            ),
        ]
    }

    fn refused_by_systemd() -> Vec<Refusal> {
        vec![
            (
                "systemd",
                json!({ "linux": { "cgroupsPath": "/a/b" } }),
                r#"linux.cgroupsPath: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/b" instead"#,
            ),
            (
                "systemd",
                json!({ "linux": { "cgroupsPath": "a-.slice:b:c" } }),
                r#"linux.cgroupsPath: "a-.slice" is no name of a systemd slice (hint: as in system.slice or a-b.slice)"#,
            ),
            (
                "systemd",
                json!({ "annotations": { "org.systemd.property.TimeoutStopUSec": "'soon'" } }),
                r#"annotations "org.systemd.property.TimeoutStopUSec": TimeoutStopUSec is a number, not 'soon'"#,
            ),
        ]
    }

    fn refused_others() -> Vec<Refusal> {
        vec![
            (
                "v2",
                json!({ "linux": { "rootfsPropagation": "rbogus" } }),
                r#"linux.rootfsPropagation: unknown propagation "rbogus""#,
            ),
            ("v2", json!({ "root": null }), "root: is required"),
            ("v2", json!({ "process": { "args": [] } }), "process.args: is empty"),
            ("v2", json!({ "process": { "args": ["a\0b"] } }), "process.args[0]: contains a NUL byte"),
            (
                "v2",
                json!({ "process": { "terminal": true, "consoleSize": { "height": 65536, "width": 80 } } }),
                "process.consoleSize.height: 65536 is more than 65535",
            ),
            ("v2", json!({ "process": { "cwd": "/a\0b" } }), r#"process.cwd "/a\0b": contains a NUL byte"#),
            (
                "v2",
                json!({ "linux": { "namespaces": [] }, "mounts": [{ "destination": "/x", "type": "tmpfs" }] }),
                r#"linux.namespaces: mounts need a mount namespace (hint: without one they would appear on the host: add {"type": "mount"})"#,
            ),
            (
                "v2",
                json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "c", "major": 0, "minor": 1 }] } }),
                r#"linux.devices[0] "/dev/x": major 0 is no device (hint: is "major" missing?)"#,
            ),
            (
                "v2",
                json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "a", "major": 1, "minor": 1 }] } }),
                r#"linux.devices[0] "/dev/x": type "a" is no device node (hint: c, b, u or p)"#,
            ),
            (
                "v2",
                json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "c", "major": 1, "minor": -1 }] } }),
                r#"linux.devices[0] "/dev/x": minor -1 is out of range"#,
            ),
            (
                "v2",
                json!({ "linux": { "sysctl": { "net.ipv4.ip_forward": "1" } } }),
                r#"linux.sysctl "net.ipv4.ip_forward": would change the host: linux.namespaces has no network namespace (hint: add {"type": "network"} to linux.namespaces)"#,
            ),
            (
                "v2",
                json!({ "hooks": { "poststop": [{ "path": "/h", "timeout": 0 }] } }),
                "hooks.poststop[0].timeout: 0 is not greater than zero",
            ),
        ]
    }

    fn refused_labels() -> Vec<Refusal> {
        vec![
            (
                "v2",
                json!({ "process": { "apparmorProfile": "x" } }),
                r#"process.apparmorProfile "x": AppArmor is not enabled on this machine"#,
            ),
            (
                "v2",
                json!({ "process": { "apparmorProfile": "unconfined" } }),
                r#"process.apparmorProfile "unconfined": AppArmor is not enabled on this machine"#,
            ),
            (
                "v2",
                json!({ "process": { "selinuxLabel": "a:b:c" } }),
                r#"process.selinuxLabel "a:b:c": SELinux is disabled or not supported on this machine"#,
            ),
            (
                "v2",
                json!({ "linux": { "mountLabel": "a:b:c" } }),
                r#"linux.mountLabel "a:b:c": SELinux is disabled or not supported on this machine"#,
            ),
        ]
    }

    fn refused_without_privileges() -> Vec<Refusal> {
        let range = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        let (uids, gids) = (
            json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]),
            json!([{ "containerID": 0, "hostID": 100, "size": 1 }]),
        );
        let user = json!([{ "type": "mount" }, { "type": "user" }]);
        let mapped = json!({ "namespaces": user, "uidMappings": range, "gidMappings": range });
        let single = json!({ "namespaces": user, "uidMappings": uids, "gidMappings": gids });
        let mut network = single.clone();
        network["namespaces"] = json!([{ "type": "mount" }, { "type": "user" }, { "type": "network" }]);
        network["netDevices"] = json!({ "eth0": {} });
        vec![
            (
                "helpers",
                json!({}),
                "linux.namespaces: a container without privileges needs a user namespace (hint: run as root, or start from `onggi spec --rootless`)",
            ),
            (
                "single",
                json!({ "linux": mapped }),
                "linux.uidMappings: newuidmap and newgidmap are not installed (hint: install the package uidmap, or map only your own uid and gid, size 1)",
            ),
            (
                "single",
                json!({ "linux": network }),
                r#"linux.netDevices "eth0": a device of the host cannot be moved without privileges (hint: run as root; rootless, the network is set up by the engine (slirp4netns, pasta))"#,
            ),
            (
                "single",
                json!({ "linux": single, "mounts": [{ "destination": "/x", "type": "bind", "source": "/s",
                    "options": ["idmap"] }] }),
                r#"mounts[0] "/x": an id-mapped mount needs privileges (hint: run as root)"#,
            ),
            (
                "single",
                json!({ "linux": single, "process": { "user": { "uid": 0, "gid": 0, "additionalGids": [5] } } }),
                "process.user.additionalGids: supplementary groups cannot be set in this user namespace (hint: install newuidmap and newgidmap, and map the ids of /etc/subuid and /etc/subgid)",
            ),
        ]
    }
}
