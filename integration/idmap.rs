//! Id-mapped mounts: `idmap`, `ridmap`, and mappings of the mount's own (config.md, Mounts).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox};

cases! {
    own_mappings_shift_the_ids: Need::IdMappedMounts;
    mappings_without_the_option_are_enough: Need::IdMappedMounts;
    files_made_inside_are_shifted_back: Need::IdMappedMounts;
    idmap_takes_the_containers_mappings: Need::IdMappedMounts, Need::UserNamespaces;
    own_mappings_in_a_user_namespace: Need::IdMappedMounts, Need::UserNamespaces;
    ridmap_reaches_submounts: Need::Kernel(6, 3, "an id-mapped tmpfs");
    idmap_alone_does_not_reach_submounts: Need::Kernel(6, 3, "an id-mapped tmpfs");
    idmap_without_any_mapping_is_refused;
    one_kind_of_mapping_alone_is_refused;
    idmap_without_bind_is_refused;
    idmap_of_an_unfit_file_system_names_the_mount;
    bad_mappings_are_refused;
}

fn rows(inside: u32, outside: u32, size: u32) -> Value {
    json!([{ "containerID": inside, "hostID": outside, "size": size }])
}

/// A folder of the host with a file of user and group `owner`.
fn source(sandbox: &Sandbox, owner: u32) -> String {
    let file = sandbox.file("source/file", "content\n");
    let dir = sandbox.path("source");
    chown(&file, Some(owner), Some(owner)).unwrap();
    chown(&dir, Some(owner), Some(owner)).unwrap();
    dir
}

/// Binds the folder to /mnt with these options and mappings of its own: what is 0 on disk is shown as `host`.
fn bind(sandbox: &mut Sandbox, source: &str, options: &[&str], host: u32) {
    let map = rows(0, host, 1000);
    sandbox.set(
        "/mounts/-",
        json!({ "destination": "/mnt", "type": "bind", "source": source, "options": options,
                "uidMappings": map, "gidMappings": map }),
    );
}

fn own_mappings_shift_the_ids(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 7);
    bind(sandbox, &dir, &["rbind", "idmap"], 5000);
    assert_eq!(sandbox.prove("stat -c '%u:%g' /mnt/file"), "5007:5007");
    assert_eq!(fs::metadata(format!("{dir}/file")).unwrap().uid(), 7);
}

/// "If uidMappings or gidMappings are given, the mount is id-mapped whether or not the option is."
fn mappings_without_the_option_are_enough(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 7);
    bind(sandbox, &dir, &["bind"], 5000);
    assert_eq!(sandbox.prove("stat -c '%u:%g' /mnt/file"), "5007:5007");
}

fn files_made_inside_are_shifted_back(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 7);
    bind(sandbox, &dir, &["bind", "idmap"], 5000);
    sandbox.set("/process/user", json!({ "uid": 5007, "gid": 5007 }));
    sandbox.prove("echo > /mnt/new");
    let file = fs::metadata(format!("{dir}/new")).unwrap();
    assert_eq!((file.uid(), file.gid()), (7, 7));
}

fn idmap_takes_the_containers_mappings(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 7);
    sandbox.user_namespace().mount("/mnt", "bind", &dir, &["bind", "idmap"]);
    assert_eq!(
        sandbox.prove("stat -c '%u:%g' /mnt/file"),
        "7:7",
        "as on disk, although root is 100000 outside"
    );
    sandbox.set("/mounts/7/options", json!(["bind"]));
    assert_eq!(sandbox.prove("stat -c '%u:%g' /mnt/file"), "65534:65534", "and without it nobody's");
}

fn own_mappings_in_a_user_namespace(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 7);
    sandbox.user_namespace();
    bind(sandbox, &dir, &["bind", "idmap"], 100_500);
    assert_eq!(sandbox.prove("stat -c '%u:%g' /mnt/file"), "507:507");
}

fn ridmap_reaches_submounts(sandbox: &mut Sandbox) {
    let (dir, _mounted) = crate::mounts::tree(sandbox, "tree");
    bind(sandbox, &dir, &["rbind", "ridmap"], 5000);
    assert_eq!(sandbox.prove("stat -c %u /mnt/file /mnt/sub/file"), "5000\n5000");
}

fn idmap_alone_does_not_reach_submounts(sandbox: &mut Sandbox) {
    let (dir, _mounted) = crate::mounts::tree(sandbox, "tree");
    bind(sandbox, &dir, &["rbind", "idmap"], 5000);
    assert_eq!(sandbox.prove("stat -c %u /mnt/file /mnt/sub/file"), "5000\n0");
}

fn idmap_without_any_mapping_is_refused(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 0);
    sandbox.mount("/mnt", "bind", &dir, &["bind", "idmap"]);
    sandbox.refused(&["mounts[7]", "idmap"]);
}

fn one_kind_of_mapping_alone_is_refused(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 0);
    for kind in ["uidMappings", "gidMappings"] {
        let mut mount = json!({ "destination": "/mnt", "source": dir, "options": ["bind"] });
        mount[kind] = rows(0, 5000, 10);
        sandbox.set("/mounts/7", mount);
        sandbox.refused(&["mounts[7]", "Mappings"]);
    }
}

fn idmap_without_bind_is_refused(sandbox: &mut Sandbox) {
    let map = rows(0, 5000, 10);
    sandbox.set(
        "/mounts/-",
        json!({ "destination": "/mnt", "type": "proc", "source": "proc", "uidMappings": map, "gidMappings": map }),
    );
    sandbox.refused(&["mounts[7]"]);
}

/// procfs cannot be id-mapped: the kernel says so, and the error says where.
fn idmap_of_an_unfit_file_system_names_the_mount(sandbox: &mut Sandbox) {
    bind(sandbox, "/sys", &["bind", "idmap"], 5000);
    sandbox.refused(&["mounts[7]", "/mnt", "invalid argument"]);
}

fn bad_mappings_are_refused(sandbox: &mut Sandbox) {
    let dir = source(sandbox, 0);
    bind(sandbox, &dir, &["bind", "idmap"], 5000);
    let good = sandbox.config.clone();
    let bad = [
        rows(0, 5000, 0),
        rows(0, 4_294_967_290, 100),
        json!([{ "containerID": -1, "hostID": 0, "size": 1 }]),
        json!([{ "containerID": 0, "hostID": 0, "size": 10 }, { "containerID": 5, "hostID": 50, "size": 10 }]),
    ];
    for map in bad {
        sandbox.config = good.clone();
        sandbox.set("/mounts/7/uidMappings", map);
        sandbox.refused(&["mounts[7]"]);
    }
}
