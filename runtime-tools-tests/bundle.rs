//! bundle.md: where the configuration lies.

use std::fs;

use serde_json::json;

use crate::harness::Sandbox;

clauses! {
    101 MUST "Container Format", "find config.json in the root of the bundle" => config_is_in_the_bundles_root;
    102 MUST "Container Format", "take no other file for config.json" => config_has_its_name;
    103 MUST "Container Format", "find the root file system that root.path names, wherever the bundle lies"
        => bundles_can_be_moved;
}

fn config_is_in_the_bundles_root(it: &mut Sandbox) {
    assert_eq!(it.see("echo found"), "found");
    let below = it.file("bundle/below/config.json", "");
    fs::rename(it.bundle().join("config.json"), below).unwrap();
    let bundle = it.path("bundle");
    it.call(&["create", "--bundle", &bundle, &it.token]).finish().fails_with(&["config.json"]);
}

fn config_has_its_name(it: &mut Sandbox) {
    it.write_config();
    let bundle = it.bundle();
    for name in ["Config.json", "config.json.bak", "config.yaml", "spec.json"] {
        fs::rename(bundle.join("config.json"), bundle.join(name)).unwrap();
        let path = it.path("bundle");
        it.call(&["create", "--bundle", &path, &it.token]).finish().fails_with(&["config.json"]);
        fs::rename(bundle.join(name), bundle.join("config.json")).unwrap();
    }
}

fn bundles_can_be_moved(it: &mut Sandbox) {
    it.set("/root/path", json!("rootfs"));
    it.script("echo moved");
    it.write_config();
    let (old, new) = (it.bundle(), it.dir.join("another place"));
    fs::rename(&old, &new).unwrap();
    let bundle = it.path("another place");
    it.call(&["create", "--bundle", &bundle, &it.token]).finish().ok();
    it.start();
    it.wait_status("stopped");
    it.delete();
    fs::rename(new, old).unwrap();
}
