//! The bundle that tests start from: a root filesystem with busybox, and a config.json like that of `spec`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::processes::output;

/// Makes the root filesystem: busybox with its applets, users and the usual directories.
pub(crate) fn make_rootfs(rootfs: &Path) {
    for dir in [
        "bin",
        "dev",
        "etc",
        "home/user",
        "mnt",
        "proc",
        "root",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr/bin",
        "var",
    ] {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    for applet in applets() {
        if applet != "busybox" {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:A User:/home/user:/bin/sh\n";
    fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\nwheel:x:10:user\n").unwrap();
}

fn applets() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let list = output(Command::new("/bin/busybox").arg("--list"));
        String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
    })
}

/// The config.json that tests edit: what `spec` gives, without a terminal, and with the cgroup of the test.
pub(crate) fn config(cgroup: &str) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "onggi",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" }
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn mounts() -> Value {
    let quiet = |more: &[&str]| {
        let all: Vec<&str> = ["nosuid", "noexec"].iter().chain(more).copied().collect();
        json!(all)
    };
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": quiet(&["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]) },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": quiet(&["nodev", "mode=1777", "size=65536k"]) },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet(&["nodev"]) },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": quiet(&["nodev", "ro"]) },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": quiet(&["nodev", "relatime", "ro"]) }
    ])
}
