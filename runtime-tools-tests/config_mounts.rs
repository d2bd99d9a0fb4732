//! config.md, Mounts and POSIX-platform Mounts: order, destinations, sources and id mappings.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox};

clauses! {
    410 MUST "Mounts", "mount in the listed order" => are_mounted_in_the_listed_order;
    411 MUST "Mounts", "take a relative destination to be relative to \"/\"" => relative_destinations_are_below_the_root;
    412 MUST "Mounts", "take absolute paths as sources of bind mounts" => bind_sources_are_absolute;
    413 MUST "Mounts", "take paths relative to the bundle as sources of bind mounts"
        => bind_sources_are_relative_to_the_bundle;
    414 MUST "Mounts", "make a bind mount if the options have bind or rbind, whatever the type"
        => a_bind_option_makes_a_bind_mount_of_any_type;
    415 MUST "Mounts", "generate an error for a source that is not there" => a_missing_source_is_an_error;
    416 SHOULD "Linux mount options", "pass options that it does not know to the file system"
        => unknown_options_go_to_the_file_system;
    417 MUST "Linux mount options", "generate an error for an option that neither knows"
        => options_that_nobody_knows_are_errors;
    418 SHOULD "Linux mount options", "let later options override earlier ones, as mount(8) does" => later_options_win;
    419 MUST "POSIX-platform Mounts", "convert the ids of the source by uidMappings and gidMappings"
        => mappings_translate_owners, Need::IdMappedMounts;
    420 MUST "POSIX-platform Mounts", "generate an error for uidMappings without gidMappings"
        => uid_mappings_come_with_gid_mappings = |it| alone(it, "uidMappings");
    421 MUST "POSIX-platform Mounts", "generate an error for gidMappings without uidMappings"
        => gid_mappings_come_with_uid_mappings = |it| alone(it, "gidMappings");
    422 MUST "Linux mount options", "generate an error for idmap without any mapping"
        => idmap_without_any_mapping_is_an_error = |it| unmapped(it, "idmap");
    423 MUST "Linux mount options", "generate an error for ridmap without any mapping"
        => ridmap_without_any_mapping_is_an_error = |it| unmapped(it, "ridmap");
}

fn are_mounted_in_the_listed_order(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "first", &[]);
    it.mount("/mnt/below", "tmpfs", "second", &[]);
    it.mount("/mnt", "tmpfs", "third", &[]);
    let seen = it.see("grep ' /mnt' /proc/self/mounts | cut -d ' ' -f 1,2; ls -A /mnt | wc -l");
    assert_eq!(seen, "first /mnt\nsecond /mnt/below\nthird /mnt\n0");
}

fn relative_destinations_are_below_the_root(it: &mut Sandbox) {
    it.set("/process/cwd", json!("/tmp"));
    it.mount("mnt/sub", "tmpfs", "relative", &[]);
    assert_eq!(it.see("grep -c ' /mnt/sub tmpfs ' /proc/self/mounts"), "1");
}

fn bind_sources_are_absolute(it: &mut Sandbox) {
    let absolute = it.file("absolute", "one");
    it.mount("/tmp/absolute", "bind", &absolute, &["bind"]);
    assert_eq!(it.see("cat /tmp/absolute"), "one");
}

fn bind_sources_are_relative_to_the_bundle(it: &mut Sandbox) {
    it.file("bundle/beside", "two");
    it.mount("/tmp/relative", "bind", "beside", &["bind"]);
    let elsewhere = it.dir.join("calls");
    it.script("cat /tmp/relative");
    assert_eq!(it.live_as(&it.token, |create| create.directory(&elsewhere)), "two");
}

fn a_bind_option_makes_a_bind_mount_of_any_type(it: &mut Sandbox) {
    let source = it.file("source", "bound");
    for (kind, option) in [("none", "bind"), ("tmpfs", "rbind"), ("nosuchfs", "bind")] {
        it.mount(&format!("/tmp/{kind}"), kind, &source, &[option]);
    }
    assert_eq!(it.see("cd /tmp; cat none tmpfs nosuchfs"), "boundboundbound");
}

fn a_missing_source_is_an_error(it: &mut Sandbox) {
    it.mount("/mnt", "none", "/nonexistent-source", &["bind"]);
    it.refuses(&["mounts[", "/nonexistent-source"]);
}

fn unknown_options_go_to_the_file_system(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "tmpfs", &["size=128k", "mode=1751", "nr_inodes=50"]);
    let table = it.see("grep ' /mnt ' /proc/self/mountinfo");
    let words: Vec<&str> = table.split([' ', ',']).collect();
    for word in ["size=128k", "mode=1751", "nr_inodes=50"] {
        assert!(words.contains(&word), "no {word} in {table}");
    }
}

fn options_that_nobody_knows_are_errors(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "tmpfs", &["no-such-option"]);
    it.refuses(&["mounts[", "no-such-option"]);
}

fn later_options_win(it: &mut Sandbox) {
    it.mount("/mnt/a", "tmpfs", "tmpfs", &["ro", "nosuid", "rw", "suid", "nodev"]);
    let table = it.see("grep ' /mnt/a ' /proc/self/mountinfo");
    let words: Vec<&str> = table.split(' ').nth(5).unwrap().split(',').collect();
    assert!(words.contains(&"rw") && words.contains(&"nodev") && !words.contains(&"nosuid"), "{words:?}");
}

/// Adds a bind mount whose source is not empty, with what else is given.
fn bound(it: &mut Sandbox, more: &Value) {
    let file = it.file("owned/file", "");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
    fs::create_dir_all(it.rootfs("/mnt")).unwrap();
    let mut mount = json!({ "destination": "/mnt", "type": "none", "source": it.path("owned") });
    for (name, value) in more.as_object().unwrap() {
        mount[name] = value.clone();
    }
    it.set("/mounts/-", mount);
}

fn mappings_translate_owners(it: &mut Sandbox) {
    let mount = json!({
        "options": ["bind", "idmap"],
        "uidMappings": [{ "containerID": 1000, "hostID": 7000, "size": 10 }],
        "gidMappings": [{ "containerID": 1000, "hostID": 8000, "size": 10 }]
    });
    bound(it, &mount);
    assert_eq!(it.see("stat -c %u:%g /mnt/file"), "7000:8001");
}

fn alone(it: &mut Sandbox, name: &str) {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    bound(it, &json!({ "options": ["rbind", "idmap"], name: map }));
    it.refuses(&["mounts[", "Mappings"]);
}

fn unmapped(it: &mut Sandbox, option: &str) {
    bound(it, &json!({ "options": ["rbind", option] }));
    it.refuses(&["mounts[", "idmap"]);
}
