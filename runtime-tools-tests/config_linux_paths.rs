//! config-linux.md, from Rootfs Mount Propagation to Personality.

use std::fs;

use serde_json::json;

use crate::harness::{Need, Sandbox};

clauses! {
    770 MUST "Rootfs Mount Propagation", "implement shared" => rootfs_shared = |it| propagation(it, "shared");
    771 MUST "Rootfs Mount Propagation", "implement slave" => rootfs_slave = |it| propagation(it, "slave");
    772 MUST "Rootfs Mount Propagation", "implement private" => rootfs_private = |it| propagation(it, "private");
    773 MUST "Rootfs Mount Propagation", "implement unbindable" => rootfs_unbindable = |it| propagation(it, "unbindable");
    774 MUST "Masked Paths", "mask a file so that it cannot be read" => masked_files;
    775 MUST "Masked Paths", "mask a directory so that it cannot be read" => masked_directories;
    776 MUST "Masked Paths", "refuse a path that is not absolute" => masked_paths_are_absolute = |it| relative(it, "maskedPaths");
    777 MUST "Readonly Paths", "make a path read-only" => readonly_paths;
    778 MUST "Readonly Paths", "refuse a path that is not absolute"
        => readonly_paths_are_absolute = |it| relative(it, "readonlyPaths");
    779 MUST "Mount Label", "generate an error if the label cannot be applied" => mount_label_without_selinux,
        Need::Selinux(false);
    780 MUST "Personality", "implement LINUX" => personality_linux = |it| personality(it, "LINUX", "00000000");
    781 MUST "Personality", "implement LINUX32" => personality_linux32 = |it| personality(it, "LINUX32", "00000008");
    782 MUST "Personality", "refuse a domain that is not in the list" => personality_unknown;
}

fn propagation(it: &mut Sandbox, value: &str) {
    it.set("/linux/rootfsPropagation", json!(value));
    let line = it.see("grep -E '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ / ' /proc/self/mountinfo");
    let tags = line.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
    // The suite's own mounts are shared, so that a slave has a master.
    let right = match value {
        "shared" => tags.contains("shared:"),
        "slave" => tags.contains("master:") && !tags.contains("shared:"),
        "private" => tags.is_empty(),
        _ => tags == "unbindable",
    };
    assert!(right, "{line}");
}

fn masked_files(it: &mut Sandbox) {
    fs::write(it.rootfs("/secret"), "secret").unwrap();
    it.set("/linux/maskedPaths", json!(["/secret", "/not-there"]));
    assert_eq!(it.see("cat /secret 2>/dev/null; echo over"), "over");
}

fn masked_directories(it: &mut Sandbox) {
    fs::create_dir_all(it.rootfs("/vault")).unwrap();
    fs::write(it.rootfs("/vault/gold"), "gold").unwrap();
    it.set("/linux/maskedPaths", json!(["/vault"]));
    assert_eq!(it.see("cat /vault/gold 2>/dev/null; ls -A /vault; echo over"), "over");
}

fn relative(it: &mut Sandbox, property: &str) {
    it.set(&format!("/linux/{property}"), json!(["etc"]));
    it.refuses(&[&format!("linux.{property}[0]")]);
}

fn readonly_paths(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "tmpfs", &[]);
    it.set("/linux/readonlyPaths", json!(["/etc", "/mnt", "/not-there"]));
    let seen = it.see("for dir in /etc /mnt /tmp; do touch $dir/x 2>/dev/null && echo $dir; done; true");
    assert_eq!(seen, "/tmp");
}

fn mount_label_without_selinux(it: &mut Sandbox) {
    it.set("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0:c715,c811"));
    it.refuses(&["linux.mountLabel"]);
}

fn personality(it: &mut Sandbox, domain: &str, wanted: &str) {
    it.set("/linux/personality", json!({ "domain": domain }));
    let pid = it.alive();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/personality")).unwrap().trim(), wanted);
}

fn personality_unknown(it: &mut Sandbox) {
    it.set("/linux/personality", json!({ "domain": "BSD" }));
    it.refuses(&["linux.personality"]);
}
