//! config.md, Specification version and Root.

use serde_json::json;

use crate::harness::Sandbox;

clauses! {
    401 MUST "Specification version", "refuse an ociVersion that is not in SemVer 2.0.0 format" => version_is_semantic;
    402 MUST "Specification version", "refuse a configuration without ociVersion" => version_is_required;
    403 MUST "Specification version", "take configurations of every released version of the major version 1"
        => versions_one_dot_anything_are_understood;
    404 MUST "Root", "refuse a configuration without root" => root_is_required;
    405 MUST "Root", "take an absolute path" => root_path_is_absolute;
    406 MUST "Root", "take a path relative to the bundle" => root_path_is_relative_to_the_bundle;
    407 MUST "Root", "generate an error if there is no directory at the path" => root_is_a_directory;
    408 MUST "Root", "make the root read-only inside if readonly is true" => root_is_readonly;
    409 MUST "Root", "leave the root writable by default" => root_is_writable;
}

fn version_is_semantic(it: &mut Sandbox) {
    for bad in [json!("1"), json!("one"), json!("1.2.x"), json!(""), json!(1)] {
        it.set("/ociVersion", bad);
        it.refuses(&["ociVersion"]);
    }
}

fn version_is_required(it: &mut Sandbox) {
    it.unset("/ociVersion");
    it.refuses(&["ociVersion"]);
}

fn versions_one_dot_anything_are_understood(it: &mut Sandbox) {
    for version in ["1.0.0", "1.0.2", "1.0.2-dev", "1.1.0", "1.2.0", "1.2.1", "1.3.0"] {
        it.set("/ociVersion", json!(version));
        assert_eq!(it.see("echo understood"), "understood");
    }
}

fn root_is_required(it: &mut Sandbox) {
    it.unset("/root");
    it.refuses(&["root"]);
}

fn root_path_is_absolute(it: &mut Sandbox) {
    let path = it.path("bundle/rootfs");
    it.set("/root/path", json!(path));
    assert_eq!(it.see("ls /bin/busybox"), "/bin/busybox");
}

fn root_path_is_relative_to_the_bundle(it: &mut Sandbox) {
    let other = it.bundle().join("somewhere/else");
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    std::fs::rename(it.rootfs("/"), &other).unwrap();
    it.set("/root/path", json!("somewhere/else"));
    assert_eq!(it.see("ls /bin/busybox"), "/bin/busybox");
}

fn root_is_a_directory(it: &mut Sandbox) {
    let file = it.file("file", "");
    for bad in ["missing", &file] {
        it.set("/root/path", json!(bad));
        it.refuses(&["root.path"]);
    }
}

fn root_is_readonly(it: &mut Sandbox) {
    it.set("/root/readonly", json!(true));
    assert_eq!(it.see("touch /again 2>&1 || echo refused"), "touch: /again: Read-only file system\nrefused");
}

fn root_is_writable(it: &mut Sandbox) {
    assert_eq!(it.see("touch /written && echo written"), "written");
    assert!(it.rootfs("/written").exists());
}
