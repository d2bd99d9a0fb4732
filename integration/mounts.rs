//! Mounts: every option of the runtime-spec's table by its effect, order, bind mounts, propagation, the special
//! file systems (config.md, Mounts).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use crate::harness::{Layout, Need, Sandbox};

/// Every option of the runtime-spec's table (config.md, Linux mount options).
pub(crate) const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud \
    mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow \
    private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime \
    rnostrictatime rnosuid rnosymfollow ridmap ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
    rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";

cases! {
    flags_show_in_mountinfo;
    opposite_flags_the_last_wins;
    every_option_of_the_table_is_taken: Need::Kernel(5, 12, "mount_setattr");
    options_of_the_file_system_reach_it;
    unknown_options_are_errors;
    mounts_are_made_in_order;
    mount_points_are_created;
    bind_of_a_directory;
    bind_of_a_file;
    bind_without_a_type;
    bind_read_only;
    bind_keeps_the_sources_flags_unless_told;
    bind_of_a_relative_source_is_below_the_bundle;
    bind_with_options_of_a_file_system_is_worth_a_warning;
    bind_without_recursion_leaves_submounts_out;
    rbind_takes_submounts;
    ro_alone_does_not_reach_submounts;
    rro_reaches_submounts: Need::Kernel(5, 12, "mount_setattr");
    recursive_options_reach_submounts: Need::Kernel(5, 12, "mount_setattr");
    remount_changes_the_mount_that_is_there;
    remount_bind_changes_flags_only;
    remount_of_nothing_is_an_error;
    propagation_shows_in_mountinfo;
    rslave_receives_from_the_host;
    rshared_sends_to_the_host;
    rprivate_does_neither;
    tmpcopyup_keeps_the_content;
    a_symbolic_link_in_the_destination_stays_inside;
    dotdot_in_the_destination_stays_inside;
    dest_nofollow_mounts_on_the_link_itself: Need::Kernel(5, 12, "mounting on a symbolic link");
    src_nofollow_binds_the_link_itself: Need::Kernel(5, 12, "binding a symbolic link");
    copy_symlink_copies_the_link;
    missing_bind_source_is_an_error;
    the_root_itself_is_not_mounted_over;
    unknown_file_system_is_an_error;
    file_on_a_directory_is_an_error;
    mount_failure_names_the_entry_and_leaves_nothing;
    proc_shows_the_containers_processes;
    standard_mounts_have_their_types_and_flags;
    mounts_on_proc_are_refused;
    the_hosts_mounts_are_not_seen;
    cgroup_mount_shows_the_own_cgroup;
    cgroup_mount_shows_the_own_cgroup_without_namespace;
    cgroup_mount_is_read_only;
    cgroup_mount_is_writable_where_the_config_says_so: Need::Only(Layout::V2);
    more_mounts_than_a_page_of_mountinfo;
}

/// A mount that the test made and that goes away with this value.
pub(crate) struct Mounted(pub(crate) String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(self.0.as_str(), MntFlags::MNT_DETACH);
    }
}

/// A directory of the host with a mount of its own below it: `name`/file and `name`/sub/file.
pub(crate) fn tree(sandbox: &Sandbox, name: &str) -> (String, Mounted) {
    sandbox.file(&format!("{name}/file"), "top\n");
    let sub = sandbox.path(&format!("{name}/sub"));
    fs::create_dir_all(&sub).unwrap();
    mount(Some("tmpfs"), sub.as_str(), Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    fs::write(Path::new(&sub).join("file"), "sub\n").unwrap();
    (sandbox.path(name), Mounted(sub))
}

/// One line of mountinfo, taken apart.
#[derive(Debug)]
pub(crate) struct Line {
    options: Vec<String>,
    optional: String,
    kind: String,
    super_options: Vec<String>,
}

impl Line {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().chain(&self.super_options).any(|it| it == option)
    }
}

/// The topmost mount at `point` in the text of a mountinfo file.
#[track_caller]
pub(crate) fn line(table: &str, point: &str) -> Line {
    let at = |line: &&str| line.split(' ').nth(4) == Some(point);
    let found = table.lines().rfind(at).unwrap_or_else(|| panic!("no mount at {point}:\n{table}"));
    let (left, right) = found.split_once(" - ").unwrap();
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Line {
        options: list(left[5]),
        optional: left[6..].join(" "),
        kind: right[0].into(),
        super_options: list(right[2]),
    }
}

/// Runs the container and returns its mountinfo.
#[track_caller]
pub(crate) fn mountinfo(sandbox: &mut Sandbox) -> String {
    sandbox.prove("cat /proc/self/mountinfo")
}

fn flags_show_in_mountinfo(sandbox: &mut Sandbox) {
    let rows = [
        ("ro", "ro"),
        ("nosuid", "nosuid"),
        ("nodev", "nodev"),
        ("noexec", "noexec"),
        ("noatime", "noatime"),
        ("nodiratime", "nodiratime"),
        ("relatime", "relatime"),
        ("sync", "sync"),
        ("dirsync", "dirsync"),
        ("lazytime", "lazytime"),
        ("nosymfollow", "nosymfollow"),
    ];
    for (option, _) in rows {
        sandbox.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    sandbox.mount("/mnt/plain", "tmpfs", "tmpfs", &[]);
    let table = mountinfo(sandbox);
    let plain = line(&table, "/mnt/plain");
    assert!(plain.has("rw"), "{plain:?}");
    for (option, shown) in rows {
        let one = line(&table, &format!("/mnt/{option}"));
        assert!(one.has(shown), "{option}: {one:?}");
        assert!(shown == "relatime" || !plain.has(shown), "{shown} without being asked for: {plain:?}");
    }
}

fn opposite_flags_the_last_wins(sandbox: &mut Sandbox) {
    let rows: [(&[&str], &str); 8] = [
        (&["ro", "rw"], "ro"),
        (&["nosuid", "suid"], "nosuid"),
        (&["nodev", "dev"], "nodev"),
        (&["noexec", "exec"], "noexec"),
        (&["noatime", "atime"], "noatime"),
        (&["nodiratime", "diratime"], "nodiratime"),
        (&["sync", "async"], "sync"),
        (&["nosymfollow", "symfollow"], "nosymfollow"),
    ];
    for (index, (options, _)) in rows.iter().enumerate() {
        sandbox.mount(&format!("/mnt/on{index}"), "tmpfs", "tmpfs", options);
        let reversed: Vec<&str> = options.iter().rev().copied().collect();
        sandbox.mount(&format!("/mnt/off{index}"), "tmpfs", "tmpfs", &reversed);
    }
    sandbox.mount("/mnt/strict", "tmpfs", "tmpfs", &["relatime", "strictatime"]);
    let table = mountinfo(sandbox);
    for (index, (options, flag)) in rows.iter().enumerate() {
        assert!(!line(&table, &format!("/mnt/on{index}")).has(flag), "{options:?}");
        assert!(line(&table, &format!("/mnt/off{index}")).has(flag), "{options:?} reversed");
    }
    assert!(!line(&table, "/mnt/strict").has("relatime"));
}

fn every_option_of_the_table_is_taken(sandbox: &mut Sandbox) {
    let good = sandbox.config.clone();
    // These need a partner, a mapping or an old kernel; they have tests of their own.
    let elsewhere = ["remount", "idmap", "ridmap", "mand", "bind", "rbind"];
    let options: Vec<&str> =
        OPTIONS.split_whitespace().filter(|option| !elsewhere.contains(option)).collect();
    for option in &options {
        sandbox.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    let table = mountinfo(sandbox);
    for option in &options {
        assert_eq!(line(&table, &format!("/mnt/{option}")).kind, "tmpfs", "{option}");
    }
    sandbox.config = good;
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    for option in options.iter().filter(|&&option| option != "tmpcopyup") {
        sandbox.mount(&format!("/mnt/{option}"), "bind", &source, &["rbind", option]);
    }
    sandbox.run().ok();
}

fn options_of_the_file_system_reach_it(sandbox: &mut Sandbox) {
    let options = ["size=1048576", "mode=0710", "uid=7", "gid=8", "nr_inodes=100", "noexec"];
    sandbox.mount("/mnt/data", "tmpfs", "a name", &options);
    let seen =
        sandbox.prove("stat -c '%a %u %g' /mnt/data; df -k /mnt/data | tail -1; cat /proc/self/mountinfo");
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("710 7 8"));
    assert!(lines.next().unwrap().split_whitespace().any(|word| word == "1024"), "{seen}");
    let one = line(&seen, "/mnt/data");
    assert!(one.has("noexec") && one.has("nr_inodes=100"), "{one:?}");
    assert!(seen.contains("a\\040name"), "the source is shown: {seen}");
}

fn unknown_options_are_errors(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt/data", "tmpfs", "tmpfs", &["frobnicate=1"]);
    sandbox.refused(&["mounts[7]", "/mnt/data", "frobnicate"]);
    sandbox.unset("/mounts/7");
    sandbox.mount("/mnt/data", "tmpfs", "tmpfs", &["size=large"]);
    sandbox.refused(&["mounts[7]", "/mnt/data", "size"]);
}

fn mounts_are_made_in_order(sandbox: &mut Sandbox) {
    let (one, two) = (sandbox.path("one"), sandbox.path("two"));
    sandbox.file("one/name", "one");
    sandbox.file("two/name", "two");
    sandbox.mount("/mnt", "bind", &one, &["bind"]).mount("/mnt", "bind", &two, &["bind"]);
    sandbox.mount("/mnt/inner", "tmpfs", "tmpfs", &[]);
    assert_eq!(sandbox.prove("cat /mnt/name; ls -d /mnt/inner"), "two/mnt/inner");
    assert!(Path::new(&two).join("inner").exists() && !Path::new(&one).join("inner").exists());
}

fn mount_points_are_created(sandbox: &mut Sandbox) {
    let file = sandbox.file("source/file", "content");
    let dir = sandbox.path("source");
    sandbox.mount("/new/deep/dir", "bind", &dir, &["bind"]).mount("/new/deep/file", "bind", &file, &["bind"]);
    sandbox.mount("/new/tmp", "tmpfs", "tmpfs", &[]);
    assert_eq!(
        sandbox.prove("cat /new/deep/dir/file /new/deep/file; ls -d /new/tmp"),
        "contentcontent/new/tmp"
    );
    assert!(sandbox.rootfs("new/deep/dir").is_dir() && sandbox.rootfs("new/deep/file").is_file());
    assert_eq!(fs::read(sandbox.rootfs("new/deep/file")).unwrap(), b"");
}

fn bind_of_a_directory(sandbox: &mut Sandbox) {
    sandbox.file("source/file", "content");
    sandbox.mount("/mnt", "bind", &sandbox.path("source"), &["bind"]);
    assert_eq!(sandbox.prove("cat /mnt/file; echo more > /mnt/new"), "content");
    assert_eq!(fs::read_to_string(sandbox.path("source/new")).unwrap(), "more\n");
}

fn bind_of_a_file(sandbox: &mut Sandbox) {
    let file = sandbox.file("hosts", "127.0.0.1 here\n");
    sandbox.mount("/etc/hosts", "bind", &file, &["bind", "ro"]);
    assert_eq!(sandbox.prove("cat /etc/hosts"), "127.0.0.1 here");
}

fn bind_without_a_type(sandbox: &mut Sandbox) {
    let file = sandbox.file("hosts", "here\n");
    sandbox.set("/mounts/-", json!({ "destination": "/etc/a", "source": file, "options": ["bind"] }));
    sandbox.set(
        "/mounts/-",
        json!({ "destination": "/etc/b", "type": "none", "source": file, "options": ["rbind"] }),
    );
    sandbox.set("/mounts/-", json!({ "destination": "/etc/c", "type": "bind", "source": file }));
    assert_eq!(sandbox.prove("cat /etc/a /etc/b /etc/c"), "here\nhere\nhere");
}

fn bind_read_only(sandbox: &mut Sandbox) {
    sandbox.file("source/file", "content");
    sandbox.mount("/mnt", "bind", &sandbox.path("source"), &["bind", "ro", "nosuid", "nodev", "noexec"]);
    let seen =
        sandbox.prove("echo x 2>&1 > /mnt/file; /bin/busybox touch /mnt/new 2>&1; cat /proc/self/mountinfo");
    assert!(seen.contains("Read-only file system"), "{seen}");
    let one = line(&seen, "/mnt");
    assert!(["ro", "nosuid", "nodev", "noexec"].iter().all(|flag| one.has(flag)), "{one:?}");
    assert_eq!(fs::read_to_string(sandbox.path("source/file")).unwrap(), "content");
}

fn bind_keeps_the_sources_flags_unless_told(sandbox: &mut Sandbox) {
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), source.as_str(), Some("tmpfs"), flags, Some("")).unwrap();
    let _mounted = Mounted(source.clone());
    sandbox.mount("/mnt/kept", "bind", &source, &["bind"]).mount(
        "/mnt/exec",
        "bind",
        &source,
        &["bind", "exec"],
    );
    let table = mountinfo(sandbox);
    let kept = line(&table, "/mnt/kept");
    assert!(["nosuid", "nodev", "noexec"].iter().all(|flag| kept.has(flag)), "{kept:?}");
    let told = line(&table, "/mnt/exec");
    assert!(!told.has("noexec") && told.has("nosuid"), "{told:?}");
    let source = line(&fs::read_to_string("/proc/self/mountinfo").unwrap(), &source);
    assert!(source.has("noexec"), "the host's own mount is as it was: {source:?}");
}

/// mount(2) ignores them, and so do those who write them; a flag that nobody knows may have been meant to protect.
fn bind_with_options_of_a_file_system_is_worth_a_warning(sandbox: &mut Sandbox) {
    let source = sandbox.file("source", "bound");
    sandbox.mount("/tmp/file", "none", &source, &["bind", "mode=700"]);
    let output = sandbox.script("cat /tmp/file").run().ok();
    assert_eq!(output.text(), "bound");
    assert!(output.stderr.contains("\"mode\" is ignored"), "{}", output.describe());
    sandbox.mount("/tmp/other", "none", &source, &["bind", "noexce"]);
    sandbox.refused(&["mounts[", "noexce"]);
}

/// "For bind mounts the source may be relative to the bundle" (config.md, Mounts).
fn bind_of_a_relative_source_is_below_the_bundle(sandbox: &mut Sandbox) {
    sandbox.file("bundle/data/file", "bundled");
    sandbox.mount("/mnt", "bind", "data", &["bind"]);
    assert_eq!(sandbox.prove("cat /mnt/file"), "bundled");
}

fn bind_without_recursion_leaves_submounts_out(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    sandbox.mount("/mnt", "bind", &source, &["bind"]);
    assert_eq!(sandbox.prove("cat /mnt/file; ls /mnt/sub | wc -l"), "top\n0");
}

fn rbind_takes_submounts(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    sandbox.mount("/mnt", "bind", &source, &["rbind"]);
    assert_eq!(sandbox.prove("cat /mnt/file /mnt/sub/file"), "top\nsub");
}

fn ro_alone_does_not_reach_submounts(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    sandbox.mount("/mnt", "bind", &source, &["rbind", "ro"]);
    let table = mountinfo(sandbox);
    assert!(line(&table, "/mnt").has("ro"));
    assert!(!line(&table, "/mnt/sub").options.contains(&"ro".into()));
}

fn rro_reaches_submounts(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    sandbox.mount("/mnt", "bind", &source, &["rbind", "rro"]);
    let seen = sandbox.prove("touch /mnt/new /mnt/sub/new 2>&1; ls /mnt /mnt/sub; cat /proc/self/mountinfo");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(line(&seen, "/mnt").has("ro") && line(&seen, "/mnt/sub").has("ro"));
    fs::write(format!("{source}/sub/new"), "the host's own mount is still writable").unwrap();
}

fn recursive_options_reach_submounts(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    let rows = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"];
    for flag in rows {
        sandbox.mount(&format!("/mnt/{flag}"), "bind", &source, &["rbind", &format!("r{flag}")]);
    }
    sandbox.mount("/mnt/undone", "bind", &source, &["rbind", "rro", "rnoexec", "rrw", "rexec"]);
    let table = mountinfo(sandbox);
    for flag in rows {
        let sub = line(&table, &format!("/mnt/{flag}/sub"));
        assert!(sub.has(flag), "r{flag}: {sub:?}");
    }
    let undone = line(&table, "/mnt/undone/sub");
    assert!(undone.options.contains(&"rw".into()) && !undone.has("noexec"), "{undone:?}");
}

fn remount_changes_the_mount_that_is_there(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt/t", "tmpfs", "tmpfs", &["size=1m"]);
    sandbox.mount("/mnt/t", "tmpfs", "tmpfs", &["remount", "ro", "noexec"]);
    let table = mountinfo(sandbox);
    assert_eq!(table.lines().filter(|line| line.contains(" /mnt/t ")).count(), 1, "{table}");
    let one = line(&table, "/mnt/t");
    assert!(one.has("ro") && one.has("noexec"), "{one:?}");
}

fn remount_bind_changes_flags_only(sandbox: &mut Sandbox) {
    sandbox.file("source/file", "content");
    let source = sandbox.path("source");
    sandbox.mount("/mnt", "bind", &source, &["bind"]);
    sandbox.mount("/mnt", "bind", &source, &["remount", "bind", "ro", "nodev"]);
    let table = mountinfo(sandbox);
    assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == Some("/mnt")).count(), 1, "{table}");
    let one = line(&table, "/mnt");
    assert!(one.options.contains(&"ro".into()) && one.has("nodev"), "{one:?}");
    fs::write(sandbox.path("source/file"), "still writable outside").unwrap();
}

fn remount_of_nothing_is_an_error(sandbox: &mut Sandbox) {
    sandbox.mount("/tmp", "tmpfs", "tmpfs", &["remount", "ro"]);
    sandbox.refused(&["mounts[7]", "/tmp"]);
}

fn propagation_shows_in_mountinfo(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    let kinds = ["private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable"];
    for kind in kinds {
        sandbox.mount(&format!("/mnt/{kind}"), "bind", &source, &["rbind", kind]);
    }
    sandbox.mount("/mnt/tmpfs", "tmpfs", "tmpfs", &["shared"]);
    let table = mountinfo(sandbox);
    let optional = |point: &str| line(&table, &format!("/mnt/{point}")).optional;
    for (kind, word) in [("shared", "shared:"), ("slave", "master:"), ("unbindable", "unbindable")] {
        assert!(optional(kind).contains(word), "{kind}: {:?}", optional(kind));
        assert!(
            !optional(&format!("{kind}/sub")).contains(word) || kind == "slave",
            "{kind} is not recursive"
        );
        let deep = optional(&format!("r{kind}/sub"));
        assert!(deep.contains(word), "r{kind}: {deep:?}");
    }
    assert_eq!((optional("private"), optional("rprivate/sub")), (String::new(), String::new()));
    assert!(optional("tmpfs").contains("shared:"));
}

/// A bind mount whose propagation is told, in a running container; then a mount on the host's side of it.
fn propagate(sandbox: &mut Sandbox, kind: &str) -> (String, Mounted, i32) {
    let source = sandbox.path("source");
    fs::create_dir_all(format!("{source}/late")).unwrap();
    sandbox.capabilities(&["CAP_SYS_ADMIN"]);
    sandbox.mount("/mnt", "bind", &source, &["rbind", kind]);
    sandbox.script(
        "while [ ! -e /mnt/late/go ] && [ ! -e /go ]; do sleep 0.02; done; mkdir -p /mnt/own; \
        mount -t tmpfs tmpfs /mnt/own && touch /mnt/own/inside; echo done > /done; sleep 100",
    );
    sandbox.create();
    sandbox.start();
    let late = format!("{source}/late");
    mount(Some("tmpfs"), late.as_str(), Some("tmpfs"), MsFlags::empty(), Some("")).unwrap();
    fs::write(format!("{late}/go"), "").unwrap();
    (source, Mounted(late), sandbox.pid())
}

fn seen_by(pid: i32, point: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().contains(&format!(" {point} "))
}

fn rslave_receives_from_the_host(sandbox: &mut Sandbox) {
    let (source, _mounted, pid) = propagate(sandbox, "rslave");
    sandbox.wait_file(sandbox.rootfs("done"), "done");
    assert!(seen_by(pid, "/mnt/late"));
    assert!(seen_by(pid, "/mnt/own") && !Path::new(&format!("{source}/own/inside")).exists());
}

fn rshared_sends_to_the_host(sandbox: &mut Sandbox) {
    sandbox.set("/linux/rootfsPropagation", json!("shared"));
    let (source, _mounted, pid) = propagate(sandbox, "rshared");
    let _own = Mounted(format!("{source}/own"));
    sandbox.wait_file(sandbox.rootfs("done"), "done");
    assert!(seen_by(pid, "/mnt/late") && Path::new(&format!("{source}/own/inside")).exists());
}

fn rprivate_does_neither(sandbox: &mut Sandbox) {
    let (source, _mounted, pid) = propagate(sandbox, "rprivate");
    assert!(!seen_by(pid, "/mnt/late"));
    fs::write(sandbox.rootfs("go"), "").unwrap();
    sandbox.wait_file(sandbox.rootfs("done"), "done");
    assert!(seen_by(pid, "/mnt/own") && !Path::new(&format!("{source}/own/inside")).exists());
}

fn tmpcopyup_keeps_the_content(sandbox: &mut Sandbox) {
    fs::create_dir_all(sandbox.rootfs("data/deep")).unwrap();
    fs::write(sandbox.rootfs("data/file"), "content\n").unwrap();
    fs::write(sandbox.rootfs("data/deep/file"), "deep\n").unwrap();
    symlink("file", sandbox.rootfs("data/link")).unwrap();
    std::os::unix::fs::chown(sandbox.rootfs("data/file"), Some(5), Some(6)).unwrap();
    sandbox.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "mode=755"]);
    let script = "cat /data/file /data/deep/file; readlink /data/link; stat -c '%u %g' /data/file; \
        stat -f -c %T /data; echo changed > /data/deep/file";
    assert_eq!(sandbox.prove(script), "content\ndeep\nfile\n5 6\ntmpfs");
    assert_eq!(fs::read_to_string(sandbox.rootfs("data/deep/file")).unwrap(), "deep\n");
}

fn a_symbolic_link_in_the_destination_stays_inside(sandbox: &mut Sandbox) {
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir_all(sandbox.rootfs(&outside)).unwrap();
    symlink(&outside, sandbox.rootfs("link")).unwrap();
    symlink("../../../../../../mnt", sandbox.rootfs("dots")).unwrap();
    sandbox.mount("/link/a", "tmpfs", "tmpfs", &[]).mount("/dots/b", "tmpfs", "tmpfs", &[]);
    let table = mountinfo(sandbox);
    line(&table, &format!("{outside}/a"));
    line(&table, "/mnt/b");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
}

fn dotdot_in_the_destination_stays_inside(sandbox: &mut Sandbox) {
    sandbox.mount("/../../../../mnt/x", "tmpfs", "tmpfs", &[]).mount(
        "/tmp/../mnt/./y//",
        "tmpfs",
        "tmpfs",
        &[],
    );
    let table = mountinfo(sandbox);
    line(&table, "/mnt/x");
    line(&table, "/mnt/y");
}

fn dest_nofollow_mounts_on_the_link_itself(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("target"), "target\n").unwrap();
    symlink("/target", sandbox.rootfs("link")).unwrap();
    let file = sandbox.file("file", "mounted\n");
    sandbox.mount("/link", "bind", &file, &["bind", "dest-nofollow"]);
    assert_eq!(sandbox.prove("cat /link /target; [ -L /link ] || echo no link"), "mounted\ntarget\nno link");
}

fn src_nofollow_binds_the_link_itself(sandbox: &mut Sandbox) {
    sandbox.file("file", "outside\n");
    symlink("/etc/inside", sandbox.path("link")).unwrap();
    fs::write(sandbox.rootfs("etc/inside"), "inside\n").unwrap();
    fs::write(sandbox.rootfs("mnt/point"), "").unwrap();
    sandbox.mount("/mnt/point", "bind", &sandbox.path("link"), &["bind", "src-nofollow"]);
    assert_eq!(sandbox.prove("readlink /mnt/point; cat /mnt/point"), "/etc/inside\ninside");
}

fn copy_symlink_copies_the_link(sandbox: &mut Sandbox) {
    symlink("/etc/inside", sandbox.path("link")).unwrap();
    fs::write(sandbox.rootfs("etc/inside"), "inside\n").unwrap();
    sandbox.mount("/mnt/copy", "bind", &sandbox.path("link"), &["bind", "copy-symlink"]);
    let seen = sandbox
        .prove("readlink /mnt/copy; cat /mnt/copy; grep -c ' /mnt/copy ' /proc/self/mountinfo || true");
    assert_eq!(seen, "/etc/inside\ninside\n0");
    assert_eq!(fs::read_link(sandbox.rootfs("mnt/copy")).unwrap(), Path::new("/etc/inside"));
}

fn the_root_itself_is_not_mounted_over(sandbox: &mut Sandbox) {
    for destination in ["/", "/..", "/x/.."] {
        sandbox.mount(destination, "tmpfs", "tmpfs", &[]);
        sandbox.refused(&["mounts[", "the root itself cannot be mounted over"]);
        sandbox.config["mounts"].as_array_mut().unwrap().pop();
    }
}

fn missing_bind_source_is_an_error(sandbox: &mut Sandbox) {
    let source = sandbox.path("nothing");
    sandbox.mount("/mnt/x", "bind", &source, &["bind"]);
    sandbox.refused(&["mounts[7]", "/mnt/x", &source, "no such file or directory"]);
    sandbox.config["mounts"][7]["source"] = json!("");
    sandbox.refused(&["mounts[7]"]);
}

fn unknown_file_system_is_an_error(sandbox: &mut Sandbox) {
    sandbox.mount("/mnt/x", "frobfs", "none", &[]);
    sandbox.refused(&["mounts[7]", "/mnt/x", "frobfs"]);
}

fn file_on_a_directory_is_an_error(sandbox: &mut Sandbox) {
    let file = sandbox.file("file", "");
    sandbox.mount("/etc", "bind", &file, &["bind"]);
    sandbox.refused(&["mounts[7]", "/etc"]);
}

fn mount_failure_names_the_entry_and_leaves_nothing(sandbox: &mut Sandbox) {
    let (source, _mounted) = tree(sandbox, "tree");
    sandbox.mount("/mnt/a", "bind", &source, &["rbind"]).mount("/etc/passwd/x", "tmpfs", "tmpfs", &[]);
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&sandbox.token).count();
    let output =
        sandbox.begin("create", &[]).finish().error(&["mounts[8]", "/etc/passwd/x", "not a directory"]);
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&sandbox.token).count();
    assert_eq!(before, after);
    drop(_mounted);
    sandbox.clean(&output);
}

fn proc_shows_the_containers_processes(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("sleep 100 & set -- /proc/[0-9]*; echo $# $1; kill $!"), "2 /proc/1");
}

fn standard_mounts_have_their_types_and_flags(sandbox: &mut Sandbox) {
    let table = mountinfo(sandbox);
    let rows = [
        ("/proc", "proc", ""),
        ("/dev", "tmpfs", "nosuid size=65536k mode=755"),
        ("/dev/pts", "devpts", "nosuid noexec mode=620 ptmxmode=666 gid=5"),
        ("/dev/shm", "tmpfs", "nosuid nodev noexec size=65536k"),
        ("/dev/mqueue", "mqueue", "nosuid nodev noexec"),
        ("/sys", "sysfs", "ro nosuid nodev noexec"),
    ];
    for (point, kind, flags) in rows {
        let one = line(&table, point);
        assert_eq!(one.kind, kind, "{point}");
        assert!(flags.split_whitespace().all(|flag| one.has(flag)), "{point}: {one:?}");
    }
}

fn mounts_on_proc_are_refused(sandbox: &mut Sandbox) {
    let (dir, file) = (sandbox.path("source"), sandbox.file("source/file", ""));
    let good = sandbox.config.clone();
    for (destination, source) in
        [("/proc", &dir), ("/proc/sys", &dir), ("/proc/self/attr/exec", &file), ("/mnt/../proc/1", &dir)]
    {
        sandbox.config = good.clone();
        sandbox.mount(destination, "bind", source, &["bind"]);
        sandbox.refused(&["mounts[7]", "/proc"]);
    }
    sandbox.config = good;
    sandbox.mount("/proc", "tmpfs", "tmpfs", &[]);
    sandbox.refused(&["mounts[7]", "/proc"]);
}

fn the_hosts_mounts_are_not_seen(sandbox: &mut Sandbox) {
    let (_, _mounted) = tree(sandbox, "tree");
    let table = mountinfo(sandbox);
    let points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let own =
        |point: &&str| ["/proc", "/dev", "/sys"].iter().any(|top| point.starts_with(top)) || *point == "/";
    assert!(points.iter().all(own), "{points:?}");
    assert_eq!(points.iter().filter(|&&point| point == "/").count(), 1, "one root: {points:?}");
}

fn cgroup_mount_shows_the_own_cgroup(sandbox: &mut Sandbox) {
    let file = if sandbox.layout == Layout::V1 { "devices/" } else { "" };
    let seen = sandbox.prove(&format!("cat /sys/fs/cgroup/{file}cgroup.procs; ls /sys/fs/cgroup"));
    assert!(seen.lines().any(|line| line == "1"), "init is listed in the container's own cgroup: {seen}");
    assert!(!seen.contains("onggi-test"), "no other cgroup is seen: {seen}");
}

fn cgroup_mount_shows_the_own_cgroup_without_namespace(sandbox: &mut Sandbox) {
    sandbox.without_namespace("cgroup");
    cgroup_mount_shows_the_own_cgroup(sandbox);
}

fn cgroup_mount_is_read_only(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let file = if sandbox.layout == Layout::V1 { "devices/" } else { "" };
    let script =
        format!("mkdir /sys/fs/cgroup/{file}child 2>&1; echo 1 2>&1 > /sys/fs/cgroup/{file}cgroup.procs");
    sandbox.script(&script);
    let output = sandbox.run();
    let all = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(all.matches("Read-only file system").count(), 2, "{}", output.describe());
}

fn cgroup_mount_is_writable_where_the_config_says_so(sandbox: &mut Sandbox) {
    sandbox.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
    assert_eq!(
        sandbox.prove("mkdir /sys/fs/cgroup/child && rmdir /sys/fs/cgroup/child && echo done"),
        "done"
    );
}

fn more_mounts_than_a_page_of_mountinfo(sandbox: &mut Sandbox) {
    for number in 0..200 {
        sandbox.mount(&format!("/mnt/{number}"), "tmpfs", "tmpfs", &["size=4k"]);
    }
    assert_eq!(sandbox.prove("grep -c ' /mnt/' /proc/self/mountinfo"), "200");
}
