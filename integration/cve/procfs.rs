//! A /proc that is not the kernel's: mounts over it, links in its place, and writes led astray (invariant 4).

use std::fs;
use std::process::{Child, Command};

use serde_json::json;

use super::{Setting, Trap, WON, attacked, attacker, attempt, clear, control, link, must_fail};
use crate::harness::{Sandbox, output, spawn};

cases! {
    cve_2019_16884_mounts_over_proc;
    cve_2019_16884_lxcfs_files_are_allowed;
    cve_2019_19921_proc_is_a_link_into_a_volume;
    cve_2023_27561_proc_is_a_link_with_masked_paths;
    cve_2023_28642_proc_and_sys_are_crossed;
    cve_2025_52881_writes_to_proc_led_astray_by_links;
    cve_2025_52881_writes_to_a_false_proc;
    cve_2025_62596_writes_led_to_another_file_of_proc;
}

/// An image volume, or any mount, on or below /proc in every spelling.
fn cve_2019_16884_mounts_over_proc(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    link(sandbox, "linked", "/proc");
    link(sandbox, "chained", "linked/self");
    fs::create_dir(sandbox.rootfs("folder")).unwrap();
    sandbox.script("echo alive");
    let standard = sandbox.config["mounts"].clone();
    let folder = trap.text();
    let file = format!("{folder}/self/attr/exec");
    let folders = [
        "/proc",
        "/proc/self",
        "/proc/self/attr",
        "/proc/sys",
        "/proc/1",
        "/proc/irq",
        "//proc//sys/.",
        "/folder/../proc/sys",
        "/../proc/self/attr",
        "/linked/self/attr",
        "/linked",
        "/chained/attr",
        "proc/sys",
    ];
    for destination in folders {
        for (kind, options) in [("bind", &["rbind"][..]), ("tmpfs", &[])] {
            sandbox.set("/mounts", standard.clone()).mount(destination, kind, &folder, options);
            must_fail(sandbox, &format!("a {kind} mount on {destination}"));
        }
    }
    for destination in
        ["/proc/self/attr/exec", "/proc/sysrq-trigger", "/linked/self/attr/current", "/chained/mem"]
    {
        sandbox.set("/mounts", standard.clone()).mount(destination, "bind", &file, &["bind"]);
        must_fail(sandbox, &format!("a bind mount on {destination}"));
    }
    trap.assert_untouched("mounts over /proc");
}

/// What lxcfs provides is the exception that engines rely on.
fn cve_2019_16884_lxcfs_files_are_allowed(sandbox: &mut Sandbox) {
    let file = sandbox.file("uptime", "1.00 2.00\n");
    sandbox.mount("/proc/uptime", "bind", &file, &["bind", "ro"]);
    assert_eq!(sandbox.prove("cat /proc/uptime"), "1.00 2.00");
}

/// /proc of the image points into a volume that another container shares; its false files would take the writes of
/// labels and settings.
fn cve_2019_19921_proc_is_a_link_into_a_volume(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    fs::create_dir_all(sandbox.rootfs("volume/proc")).unwrap();
    let mounts = sandbox.config["mounts"].as_array().unwrap().clone();
    for aim in ["volume/proc", "/volume/proc", "volume", "/volume/proc/..", "/proc"] {
        link(sandbox, "proc", aim);
        for first in [true, false] {
            let mut order = mounts.clone();
            let volume = json!({ "destination": "/volume", "type": "bind", "source": trap.text(),
                "options": ["rbind", "rw"] });
            order.insert(if first { 0 } else { 1 }, volume);
            sandbox.set("/mounts", json!(order)).set("/process/oomScoreAdj", json!(500));
            real_proc_or_refused(sandbox, &format!("proc -> {aim}"));
            trap.assert_untouched(aim);
        }
    }
}

/// The regression of 2019-19921: the mount itself follows the link, masks and read-only paths then miss.
fn cve_2023_27561_proc_is_a_link_with_masked_paths(sandbox: &mut Sandbox) {
    control(sandbox);
    fs::create_dir(sandbox.rootfs("bad-proc")).unwrap();
    for aim in ["/bad-proc", "bad-proc", "../bad-proc", "/bin/../bad-proc", "/tmp/new-proc", "."] {
        link(sandbox, "proc", aim);
        real_proc_or_refused(sandbox, &format!("proc -> {aim}"));
    }
}

/// Particular orders and crossings: sysfs where /proc points, procfs where /sys points.
fn cve_2023_28642_proc_and_sys_are_crossed(sandbox: &mut Sandbox) {
    control(sandbox);
    let mounts = sandbox.config["mounts"].as_array().unwrap().clone();
    let reversed: Vec<_> = mounts.iter().rev().cloned().collect();
    for (name, aim) in [("proc", "sys"), ("sys", "proc"), ("proc", "/sys/kernel"), ("proc", "/dev/shm")] {
        for order in [&mounts, &reversed] {
            for name in ["proc", "sys"] {
                clear(&sandbox.rootfs(name));
                fs::create_dir(sandbox.rootfs(name)).unwrap();
            }
            link(sandbox, name, aim);
            sandbox.set("/mounts", json!(order));
            real_proc_or_refused(sandbox, &format!("{name} -> {aim}"));
        }
    }
}

/// Either no container, or one with procfs itself, not a link, at /proc and every mask and read-only path in place.
#[track_caller]
fn real_proc_or_refused(sandbox: &mut Sandbox, what: &str) {
    sandbox.script(
        "echo alive; for it in /proc /sys; do [ -L $it ] && echo link $it; done
         stat -f -c %t /proc
         wc -c < /proc/timer_list
         (: 2>/dev/null > /proc/sys/kernel/domainname) && echo writable",
    );
    if let Some(output) = attempt(sandbox) {
        assert_eq!(output.text(), "alive\n9fa0\n0", "{what}: {}", output.describe());
    }
}

/// The race is won: where the runtime is about to write a setting, a tmpfs with links to the host now stands.
fn cve_2025_52881_writes_to_proc_led_astray_by_links(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    for kind in WON {
        attacker(
            sandbox,
            kind,
            "busybox mount -t tmpfs false $R/proc/sys/net
             mkdir -p $R/proc/sys/net/ipv4
             ln -s $T/secret $R/proc/sys/net/ipv4/ip_unprivileged_port_start
             ln -s /proc/sys/kernel/core_pattern $R/proc/sys/net/ipv4/ip_default_ttl",
        );
        settings_are_true(sandbox, &trap, kind);
    }
}

/// As before, but all of /proc is false: self, thread-self, sys and the files that a runtime writes there.
fn cve_2025_52881_writes_to_a_false_proc(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    for kind in WON {
        attacker(
            sandbox,
            kind,
            "busybox mount -t tmpfs false $R/proc
             ln -s $T/self $R/proc/self
             ln -s $T/self $R/proc/thread-self
             ln -s $T/self $R/proc/1
             mkdir -p $R/proc/sys/net/ipv4
             ln -s $T/secret $R/proc/sys/net/ipv4/ip_unprivileged_port_start
             ln -s /proc/sys/kernel/core_pattern $R/proc/sys/net/ipv4/ip_default_ttl",
        );
        settings_are_true(sandbox, &trap, kind);
    }
}

/// Bind mounts of other files of procfs itself, so that a look at the filesystem's type sees nothing wrong: the
/// victim is a process of the host whose oom_score_adj would be written.
fn cve_2025_62596_writes_led_to_another_file_of_proc(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    let victim = Victim(spawn(Command::new("sleep").arg("60")));
    let file = format!("/proc/{}/oom_score_adj", victim.0.id());
    let before = fs::read_to_string(&file).unwrap();
    for kind in WON {
        let script = format!(
            "busybox mount --bind {file} $R/proc/sys/net/ipv4/ip_unprivileged_port_start
             busybox mount --bind {file} $R/proc/sys/net/ipv4/ip_default_ttl
             busybox mount --bind /proc/{0} $R/proc/1",
            victim.0.id()
        );
        attacker(sandbox, kind, &script);
        settings_are_true(sandbox, &trap, kind);
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            before,
            "{kind}: a process of the host was written to"
        );
    }
}

/// A process of the host that ends with the test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Creates the attacked container: either it is refused, or its settings are where they belong, and the host is as
/// it was.
#[track_caller]
fn settings_are_true(sandbox: &mut Sandbox, trap: &Trap, what: &str) {
    let pattern = Setting::watch("/proc/sys/kernel/core_pattern");
    let settings = json!({ "net.ipv4.ip_unprivileged_port_start": "77", "net.ipv4.ip_default_ttl": "78" });
    sandbox.set("/linux/sysctl", settings).set("/process/oomScoreAdj", json!(777));
    let output = sandbox.begin("create", &[]).finish();
    attacked(sandbox, &output);
    trap.assert_untouched(what);
    pattern.assert_same(what);
    if output.status.success() && sandbox.status() == "created" {
        let pid = sandbox.pid();
        assert_eq!(setting(pid, "ip_unprivileged_port_start"), "77", "{what}");
        assert_eq!(setting(pid, "ip_default_ttl"), "78", "{what}");
        let adjusted = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(adjusted.trim(), "777", "{what}");
    }
    if output.status.success() {
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
    sandbox.clean(&output);
}

/// A setting of the network namespace of `pid`, as the host's procfs shows it.
fn setting(pid: i32, name: &str) -> String {
    let file = format!("/proc/sys/net/ipv4/{name}");
    let output = output(Command::new("nsenter").args(["-t", &pid.to_string(), "-n", "cat", &file]));
    assert!(output.status.success(), "{file} of {pid}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
