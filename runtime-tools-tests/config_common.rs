//! config.md: version, root, hostname, domainname, annotations, extensibility and valid values.

use serde_json::{Value, json};

use crate::harness::Sandbox;

cases! {
    version_is_required_and_semantic;
    versions_one_dot_anything_are_understood;
    root_path_is_absolute_or_relative_to_the_bundle;
    root_is_required_and_a_directory;
    root_is_writable_unless_readonly;
    hostname_and_domainname_are_those_of_the_container;
    annotations_are_a_map_of_strings_with_names;
    unknown_properties_are_ignored;
    invalid_values_are_errors;
}

fn version_is_required_and_semantic(sandbox: &mut Sandbox) {
    for bad in [json!("1"), json!("one"), json!("1.2.x"), json!(""), json!("2.0.0"), json!(1)] {
        sandbox.set("/ociVersion", bad);
        sandbox.refused(&["ociVersion"]);
    }
    sandbox.unset("/ociVersion");
    sandbox.refused(&["ociVersion"]);
}

fn versions_one_dot_anything_are_understood(sandbox: &mut Sandbox) {
    for version in ["1.0.0", "1.0.2", "1.0.2-dev", "1.1.0", "1.2.0", "1.2.1", "1.3.0"] {
        sandbox.set("/ociVersion", json!(version));
        sandbox.run().ok();
    }
}

fn root_path_is_absolute_or_relative_to_the_bundle(sandbox: &mut Sandbox) {
    for path in ["rootfs".to_owned(), sandbox.path("bundle/rootfs")] {
        sandbox.set("/root/path", json!(path));
        assert_eq!(sandbox.prove("ls /bin/busybox"), "/bin/busybox");
    }
}

fn root_is_required_and_a_directory(sandbox: &mut Sandbox) {
    let file = sandbox.file("file", "");
    for bad in ["missing", &file] {
        sandbox.set("/root/path", json!(bad));
        sandbox.refused(&["root.path"]);
    }
    sandbox.unset("/root");
    sandbox.refused(&["root"]);
}

fn root_is_writable_unless_readonly(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("touch /written && echo written"), "written");
    sandbox.set("/root/readonly", json!(true));
    assert_eq!(
        sandbox.prove("touch /again 2>&1 || echo refused"),
        "touch: /again: Read-only file system\nrefused"
    );
}

fn hostname_and_domainname_are_those_of_the_container(sandbox: &mut Sandbox) {
    sandbox.set("/hostname", json!("inside")).set("/domainname", json!("example.org"));
    let names = sandbox.prove("cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname");
    assert_eq!(names, "inside\nexample.org");
}

fn annotations_are_a_map_of_strings_with_names(sandbox: &mut Sandbox) {
    sandbox.set("/annotations", json!({ "com.example.empty": "", "unreserved": "x" }));
    sandbox.run().ok();
    for bad in [json!({ "": "no name" }), json!({ "com.example.number": 1 }), json!(["list"])] {
        sandbox.set("/annotations", bad);
        sandbox.refused(&["annotations"]);
    }
}

fn unknown_properties_are_ignored(sandbox: &mut Sandbox) {
    for place in ["", "/root", "/process", "/process/user", "/mounts/0", "/linux", "/linux/resources"] {
        sandbox.set(&format!("{place}/x-unknown"), json!({ "deep": [1, "two"] }));
    }
    sandbox.set("/annotations", json!({ "org.opencontainers.unknown": "x" }));
    sandbox.run().ok();
}

fn invalid_values_are_errors(sandbox: &mut Sandbox) {
    let good = sandbox.config.clone();
    let bad: &[(&str, Value, &str)] = &[
        ("/root/readonly", json!("yes"), "root.readonly"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/user/uid", json!(4_294_967_296_u64), "process.user.uid"),
        ("/process/user/gid", json!("0"), "process.user.gid"),
        ("/process/args", json!("sh"), "process.args"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/mounts", json!({}), "mounts"),
        ("/linux/namespaces/0/type", json!("no-such-kind"), "linux.namespaces[0]"),
        ("/linux/rootfsPropagation", json!("sideways"), "linux.rootfsPropagation"),
        ("/linux/maskedPaths", json!(["relative"]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["relative"]), "linux.readonlyPaths[0]"),
    ];
    for (pointer, value, field) in bad {
        sandbox.config = good.clone();
        sandbox.set(pointer, value.clone());
        sandbox.refused(&[field]);
    }
}
