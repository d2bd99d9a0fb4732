//! Intel RDT (config-linux.md, IntelRdt). Few machines have the hardware: what is done with it is tested there, and
//! everywhere by the unit tests of `src/cgroup/resctrl`, on a directory that stands in for it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Need, Sandbox};

cases! {
    without_resctrl_it_is_refused: Need::Resctrl(false);
    the_plan_says_what_would_be_done;
    names_and_schemata_are_checked;
    a_group_of_its_own_lives_as_long_as_the_container: Need::Resctrl(true);
    a_named_group_must_exist: Need::Resctrl(true);
    a_named_group_is_joined_and_stays: Need::Resctrl(true);
    monitoring_has_a_group_of_its_own: Need::Resctrl(true), Need::File("/sys/fs/resctrl/mon_groups");
    a_refused_schema_leaves_nothing: Need::Resctrl(true);
}

fn group(name: &str) -> PathBuf {
    Need::resctrl().unwrap().join(name)
}

fn without_resctrl_it_is_refused(sandbox: &mut Sandbox) {
    for rdt in [json!({}), json!({ "closID": "gold" }), json!({ "closID": "/" })] {
        sandbox.set("/linux/intelRdt", rdt);
        sandbox.refused(&["linux.intelRdt: no resctrl file system is mounted"]);
    }
}

fn the_plan_says_what_would_be_done(sandbox: &mut Sandbox) {
    sandbox.set("/linux/intelRdt", json!({ "closID": "gold", "schemata": ["L3:0=f"] }));
    sandbox.write_config();
    let output = sandbox.onggi(&["plan", "--bundle", &sandbox.path("bundle")]).finish();
    match Need::resctrl() {
        Some(_) => assert!(output.ok().stdout.contains("linux.intelRdt.schemata: schemata = \"L3:0=f\"")),
        None => drop(output.error(&["linux.intelRdt: no resctrl"])),
    }
}

/// Judged before the machine is: so also where there is no resctrl.
fn names_and_schemata_are_checked(sandbox: &mut Sandbox) {
    for (rdt, field) in [
        (json!({ "closID": "a/b" }), "closID"),
        (json!({ "closID": ".." }), "closID"),
        (json!({ "closID": "mon_groups" }), "closID"),
        (json!({ "memBwSchema": "L3:0=f" }), "memBwSchema"),
        (json!({ "memBwSchema": "MB:0=10\nL3:0=f" }), "memBwSchema"),
        (json!({ "schemata": ["L3:0=f\nMB:0=10"] }), "schemata[0]"),
        (json!({ "enableCMT": "yes" }), "enableCMT"),
    ] {
        sandbox.set("/linux/intelRdt", rdt);
        sandbox.refused(&[&format!("linux.intelRdt.{field}: ")]);
    }
}

fn a_group_of_its_own_lives_as_long_as_the_container(sandbox: &mut Sandbox) {
    sandbox.set("/linux/intelRdt", json!({}));
    let pid = sandbox.start_sleeper();
    let own = group(&sandbox.token);
    assert_eq!(fs::read_to_string(own.join("tasks")).unwrap().trim(), pid.to_string());
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert!(!own.exists());
}

fn a_named_group_must_exist(sandbox: &mut Sandbox) {
    sandbox.set("/linux/intelRdt", json!({ "closID": format!("{}-none", sandbox.token) }));
    sandbox.refused(&["linux.intelRdt.closID", "does not exist"]);
}

fn a_named_group_is_joined_and_stays(sandbox: &mut Sandbox) {
    let own = group(&sandbox.token);
    fs::create_dir(&own).unwrap();
    sandbox.set("/linux/intelRdt", json!({ "closID": sandbox.token }));
    let pid = sandbox.start_sleeper();
    let tasks = fs::read_to_string(own.join("tasks")).unwrap();
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let kept = fs::remove_dir(&own).is_ok();
    assert!(kept && tasks.trim() == pid.to_string(), "{kept} {tasks}");
}

fn monitoring_has_a_group_of_its_own(sandbox: &mut Sandbox) {
    sandbox.set("/linux/intelRdt", json!({ "closID": "/", "enableMonitoring": true }));
    let pid = sandbox.start_sleeper();
    let own = group("mon_groups").join(&sandbox.token);
    assert_eq!(fs::read_to_string(own.join("tasks")).unwrap().trim(), pid.to_string());
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    assert!(!own.exists());
}

fn a_refused_schema_leaves_nothing(sandbox: &mut Sandbox) {
    sandbox.set("/linux/intelRdt", json!({ "schemata": ["L3:99999=f"] }));
    sandbox.refused(&["linux.intelRdt.schemata", "resctrl says"]);
    assert!(!group(&sandbox.token).exists());
}
