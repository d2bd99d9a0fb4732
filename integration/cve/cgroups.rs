//! The container's view of control groups, and its place in them (invariant 14).

use std::fs;
use std::os::unix::fs::chown;

use serde_json::json;

use super::control;
use crate::harness::{Layout, Need, Sandbox};

cases! {
    cve_2023_25809_cgroup_mount_without_a_cgroup_namespace;
    cve_2023_25809_cgroup_mount_in_a_user_namespace: Need::UserNamespaces;
    cve_2023_25809_cgroups_below_a_bind_mount_of_sys: Need::UserNamespaces;
    cve_2023_25809_cgroups_below_a_recursive_read_only_sys;
    cve_2023_25809_rootless_with_a_cgroup_of_its_own: Need::UserNamespaces, Need::Only(Layout::V2),
        Need::Program("setpriv");
    cve_2025_47291_user_namespace_stays_in_its_cgroup: Need::UserNamespaces;
}

/// Tries to write in every cgroup mount: to make a cgroup, to move into one, and to lift a limit.
const WRITE: &str = "echo alive
    while read -r _ _ _ root point options rest; do
      case \"$point\" in /sys/fs/cgroup*) ;; *) continue;; esac
      case \",$options,\" in *,ro,*) ;; *) echo \"$point is $options\";; esac
      mkdir \"$point/pwned\" && echo \"made $point/pwned\" && rmdir \"$point/pwned\"
      (echo 0 > \"$point/cgroup.procs\") && echo \"wrote to $point/cgroup.procs\"
      (echo 1 > \"$point/notify_on_release\") && echo \"wrote to $point/notify_on_release\"
      chmod 777 \"$point\" && echo \"changed $point\"
    done 2>/dev/null < /proc/self/mountinfo
    for at in $(find /sys/fs/cgroup -name cgroup.procs 2>/dev/null | head -n 40); do
      (: >> $at) 2>/dev/null && echo \"opened $at\"
    done; echo end";

/// Root of the host, no cgroup namespace: the mount shows the container's cgroup or the host's, but for reading only.
fn cve_2023_25809_cgroup_mount_without_a_cgroup_namespace(sandbox: &mut Sandbox) {
    control(sandbox);
    for namespace in [true, false] {
        if !namespace {
            sandbox.without_namespace("cgroup");
        }
        assert_eq!(sandbox.prove(WRITE), "alive\nend", "cgroup namespace: {namespace}");
    }
}

/// Root of a user namespace, with and without a cgroup namespace; all capabilities that it can have.
fn cve_2023_25809_cgroup_mount_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace().capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]);
    for namespace in [true, false] {
        if !namespace {
            sandbox.without_namespace("cgroup");
        }
        assert_eq!(sandbox.prove(WRITE), "alive\nend", "cgroup namespace: {namespace}");
    }
}

/// The layout of rootless engines: /sys of the host by a recursive bind mount, over it the cgroup mount. The bind
/// mount's own cgroup mounts must not shine through.
fn cve_2023_25809_cgroups_below_a_bind_mount_of_sys(sandbox: &mut Sandbox) {
    sandbox.user_namespace().without_namespace("cgroup").without_namespace("network");
    let sys = json!({ "destination": "/sys", "type": "none", "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
    for mount in sandbox.config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/sys" {
            *mount = sys.clone();
        }
    }
    sandbox.config["linux"]["maskedPaths"].as_array_mut().unwrap().retain(|path| path != "/sys/firmware");
    let text = sandbox.prove(&format!("{WRITE}; grep -c '/sys/fs/cgroup' /proc/self/mountinfo > /tmp/count"));
    // Mounts of the host that are covered by the container's own are listed, but cannot be reached.
    let reached: Vec<&str> =
        text.lines().filter(|line| !line.ends_with("relatime") && !line.contains(" is rw")).collect();
    assert_eq!(reached, ["alive", "end"]);
}

/// No cgroup mount of the container's own at all: `rro` on /sys holds for everything below.
fn cve_2023_25809_cgroups_below_a_recursive_read_only_sys(sandbox: &mut Sandbox) {
    control(sandbox);
    super::without_mounts(sandbox, "/sys");
    sandbox.mount("/sys", "bind", "/sys", &["rbind", "rro"]);
    assert_eq!(sandbox.prove(WRITE), "alive\nend");
}

/// The cgroup was given to the user, as a service manager does: only the mount keeps the container from writing.
fn cve_2023_25809_rootless_with_a_cgroup_of_its_own(sandbox: &mut Sandbox) {
    super::unprivileged(sandbox);
    let given = sandbox.cgroup_of("cgroup", &format!("/{}/given", sandbox.token));
    fs::create_dir_all(&given).unwrap();
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        chown(given.join(file), Some(super::USER), Some(super::USER)).unwrap();
    }
    let enter = format!(r#"echo $$ > {}/cgroup.procs && exec "$@""#, given.display());
    for namespace in [true, false] {
        if !namespace {
            sandbox.without_namespace("cgroup");
        }
        sandbox.script(WRITE);
        let call = super::as_user(sandbox.begin("run", &[])).through(&["/bin/sh", "-c", &enter, "sh"]);
        let output = call.finish().ok();
        assert_eq!(output.text(), "alive\nend", "cgroup namespace: {namespace}: {}", output.describe());
    }
    fs::remove_dir(&given).unwrap();
}

/// A container with a user namespace is where cgroupsPath says, in every hierarchy, from before its start on.
fn cve_2025_47291_user_namespace_stays_in_its_cgroup(sandbox: &mut Sandbox) {
    sandbox.user_namespace().args(&["/bin/sleep", "100"]);
    sandbox.create();
    let wanted = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    for started in [false, true] {
        if started {
            sandbox.start();
        }
        let pid = sandbox.pid();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next().unwrap(), parts.next().unwrap());
            let held = match sandbox.layout {
                Layout::V2 => controllers.is_empty(),
                Layout::V1 => !controllers.is_empty() && !controllers.contains("agent"),
            };
            assert!(!held || path.ends_with(&wanted), "started {started}: {line} (this test is in {own})");
        }
    }
}
