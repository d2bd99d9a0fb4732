//! maskedPaths, readonlyPaths, a read-only root, rootfsPropagation (config-linux.md).

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::Sandbox;
use crate::mounts::{Mounted, line, mountinfo};

cases! {
    masked_files_read_empty;
    masked_files_cannot_be_written;
    masked_folders_are_empty_and_read_only;
    masked_paths_that_are_missing_are_left_out;
    masked_paths_must_be_absolute;
    masked_in_proc_and_sys;
    masked_through_a_link_hides_its_target;
    readonly_files_and_folders;
    readonly_paths_that_are_missing_are_left_out;
    readonly_paths_must_be_absolute;
    readonly_keeps_the_other_flags;
    proc_sys_is_read_only;
    readonly_root;
    readonly_root_with_a_writable_mount;
    writable_root;
    absolute_root_path;
    root_through_a_link;
    root_propagation_shows;
    slave_root_receives_from_the_host;
    private_root_does_not;
    root_propagation_default_does_not_leak;
    bad_root_propagation_is_refused;
    slash_is_refused_as_root;
}

fn masked_files_read_empty(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("secret"), "secret").unwrap();
    sandbox.set("/linux/maskedPaths", json!(["/secret"]));
    assert_eq!(sandbox.prove("wc -c < /secret; stat -c '%t:%T %F' /secret"), "0\n1:3 character special file");
}

fn masked_files_cannot_be_written(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("secret"), "secret").unwrap();
    sandbox.set("/linux/maskedPaths", json!(["/secret"]));
    sandbox.prove("echo changed > /secret || true");
    assert_eq!(fs::read_to_string(sandbox.rootfs("secret")).unwrap(), "secret");
}

fn masked_folders_are_empty_and_read_only(sandbox: &mut Sandbox) {
    fs::create_dir(sandbox.rootfs("dir")).unwrap();
    fs::write(sandbox.rootfs("dir/secret"), "secret").unwrap();
    sandbox.set("/linux/maskedPaths", json!(["/dir"]));
    let seen = sandbox.prove("ls -A /dir; touch /dir/x 2>&1; cat /proc/self/mountinfo");
    assert!(seen.starts_with("touch: /dir/x: Read-only file system"), "{seen}");
    assert_eq!(fs::read_dir(sandbox.rootfs("dir")).unwrap().count(), 1);
}

fn masked_paths_that_are_missing_are_left_out(sandbox: &mut Sandbox) {
    sandbox.set("/linux/maskedPaths", json!(["/no/such/file", "/proc/no-such", "/etc/passwd/below"]));
    assert_eq!(sandbox.prove("ls /no 2>&1; true"), "ls: /no: No such file or directory");
}

fn masked_paths_must_be_absolute(sandbox: &mut Sandbox) {
    sandbox.set("/linux/maskedPaths", json!(["/proc/kcore", "etc/passwd"]));
    sandbox.refused(&["linux.maskedPaths[1]", "absolute"]);
}

fn masked_in_proc_and_sys(sandbox: &mut Sandbox) {
    let seen = sandbox.prove("for f in /proc/kcore /proc/keys /proc/timer_list; do [ -e $f ] && wc -c < $f; done; ls -A /sys/firmware");
    assert!(seen.lines().all(|line| line == "0"), "{seen}");
}

fn masked_through_a_link_hides_its_target(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("secret"), "secret").unwrap();
    symlink("/secret", sandbox.rootfs("link")).unwrap();
    sandbox.set("/linux/maskedPaths", json!(["/link"]));
    assert_eq!(sandbox.prove("wc -c < /secret; wc -c < /link"), "0\n0");
}

fn readonly_files_and_folders(sandbox: &mut Sandbox) {
    fs::create_dir(sandbox.rootfs("dir")).unwrap();
    fs::write(sandbox.rootfs("file"), "content\n").unwrap();
    sandbox.set("/linux/readonlyPaths", json!(["/dir", "/file"]));
    let seen =
        sandbox.prove("touch /dir/x 2>&1; (echo y > /file) 2>&1; cat /file; touch /beside && echo done");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(seen.ends_with("content\ndone"), "{seen}");
}

fn readonly_paths_that_are_missing_are_left_out(sandbox: &mut Sandbox) {
    sandbox.set("/linux/readonlyPaths", json!(["/no/such/dir", "/proc/no-such"]));
    sandbox.run().ok();
}

fn readonly_paths_must_be_absolute(sandbox: &mut Sandbox) {
    sandbox.set("/linux/readonlyPaths", json!(["etc"]));
    sandbox.refused(&["linux.readonlyPaths[0]", "absolute"]);
}

fn readonly_keeps_the_other_flags(sandbox: &mut Sandbox) {
    sandbox.mount("/dir", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    sandbox.set("/linux/readonlyPaths", json!(["/dir"]));
    let table = mountinfo(sandbox);
    let one = line(&table, "/dir");
    assert!(["ro", "nosuid", "nodev", "noexec"].iter().all(|flag| one.has(flag)), "{one:?}");
}

fn proc_sys_is_read_only(sandbox: &mut Sandbox) {
    let script = "for f in /proc/sys/kernel/msgmax /proc/sysrq-trigger; do [ -e $f ] || continue; \
        (echo 1 > $f) 2>&1 | grep -q 'Read-only file system' || echo $f is writable; done";
    assert_eq!(sandbox.prove(script), "");
}

fn readonly_root(sandbox: &mut Sandbox) {
    sandbox.set("/root/readonly", json!(true));
    let seen = sandbox
        .prove("touch /x 2>&1; mkdir /etc/x 2>&1; touch /dev/shm/x && echo shm; cat /proc/self/mountinfo");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(seen.contains("\nshm\n") && line(&seen, "/").has("ro"), "{seen}");
}

fn readonly_root_with_a_writable_mount(sandbox: &mut Sandbox) {
    fs::create_dir(sandbox.path("data")).unwrap();
    sandbox.mount("/new/data", "bind", &sandbox.path("data"), &["bind"]).set("/root/readonly", json!(true));
    assert_eq!(sandbox.prove("touch /new/data/x && echo done"), "done");
    assert!(sandbox.dir.join("data/x").exists());
}

fn writable_root(sandbox: &mut Sandbox) {
    sandbox.unset("/root/readonly");
    sandbox.prove("echo x > /new");
    assert_eq!(fs::read_to_string(sandbox.rootfs("new")).unwrap(), "x\n");
}

fn absolute_root_path(sandbox: &mut Sandbox) {
    fs::rename(sandbox.rootfs("/"), sandbox.path("elsewhere")).unwrap();
    sandbox.set("/root/path", json!(sandbox.path("elsewhere")));
    sandbox.prove("echo x > /new");
    assert!(sandbox.dir.join("elsewhere/new").exists());
}

fn root_through_a_link(sandbox: &mut Sandbox) {
    symlink("rootfs", sandbox.bundle().join("link")).unwrap();
    sandbox.set("/root/path", json!("link"));
    sandbox.prove("echo x > /new");
    assert!(sandbox.rootfs("new").exists());
}

fn root_propagation_shows(sandbox: &mut Sandbox) {
    let rows = [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("slave", "master:"),
        ("rslave", "master:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    for (kind, word) in rows {
        sandbox.set("/linux/rootfsPropagation", json!(kind));
        let table = mountinfo(sandbox);
        let root = table.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        let optional = root.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
        let slave = kind.ends_with("slave") && optional.is_empty();
        assert!(optional.contains(word) || slave, "{kind}: {root}");
        assert!(!kind.ends_with("private") || optional.is_empty(), "{kind}: {root}");
    }
}

/// Whether a mount that the host makes below the root filesystem of a running container appears in it.
fn receives(sandbox: &mut Sandbox, propagation: &str) -> bool {
    sandbox.set("/linux/rootfsPropagation", json!(propagation));
    let pid = sandbox.start_sleeper();
    let point = sandbox.rootfs("mnt").display().to_string();
    let none: Option<&str> = None;
    nix::mount::mount(Some("tmpfs"), point.as_str(), Some("tmpfs"), nix::mount::MsFlags::empty(), none)
        .unwrap();
    let _mounted = Mounted(point);
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().contains(" /mnt ")
}

/// "slave: the rootfs mount receives propagation events from the host" (config-linux.md).
fn slave_root_receives_from_the_host(sandbox: &mut Sandbox) {
    assert!(receives(sandbox, "slave"));
}

fn private_root_does_not(sandbox: &mut Sandbox) {
    assert!(!receives(sandbox, "private"));
}

fn root_propagation_default_does_not_leak(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_SYS_ADMIN"]);
    let token = sandbox.token.clone();
    let count = || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&token).count();
    let wanted = count();
    sandbox.script("mount -t tmpfs tmpfs /mnt && echo mounted > /said; sleep 100");
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("said"), "mounted");
    assert_eq!(count(), wanted);
}

fn bad_root_propagation_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/rootfsPropagation", json!("viral"));
    sandbox.refused(&["linux.rootfsPropagation", "viral"]);
}

fn slash_is_refused_as_root(sandbox: &mut Sandbox) {
    sandbox.set("/root/path", json!("/"));
    sandbox.refused(&["root.path"]);
}
