//! config.md, Annotations, Extensibility and Valid values.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Sandbox;

clauses! {
    590 MUST "Annotations", "refuse annotations that are not a map" => annotations_are_a_map;
    591 MUST "Annotations", "refuse values that are not strings" => annotation_values_are_strings;
    592 MUST "Annotations", "refuse an empty key" => annotation_keys_are_not_empty;
    593 MUST "Annotations", "take empty values" => annotation_values_may_be_empty;
    594 MUST "Annotations", "ignore keys that it does not know" => unknown_annotations_are_ignored;
    595 MUST "Extensibility", "ignore properties that it does not know, at any place" => unknown_properties_are_ignored;
    596 MUST "Valid values", "generate an error for a file that is not JSON" => what_is_not_json;
    597 MUST "Valid values", "generate an error for values of the wrong type" => values_of_the_wrong_type;
    598 MUST "Valid values", "generate an error for ids that do not fit" => ids_that_do_not_fit;
    599 MUST "Valid values", "generate an error for names that are not in the list" => names_that_are_not_listed;
}

fn annotations_are_a_map(it: &mut Sandbox) {
    for bad in [json!(["list"]), json!("text")] {
        it.set("/annotations", bad);
        it.refuses(&["annotations"]);
    }
}

fn annotation_values_are_strings(it: &mut Sandbox) {
    for bad in [json!(1), json!({}), json!(true)] {
        it.set("/annotations", json!({ "com.example.key": bad }));
        it.refuses(&["annotations"]);
    }
}

fn annotation_keys_are_not_empty(it: &mut Sandbox) {
    it.set("/annotations", json!({ "": "no name" }));
    it.refuses(&["annotations"]);
}

fn annotation_values_may_be_empty(it: &mut Sandbox) {
    it.set("/annotations", json!({ "com.example.empty": "" }));
    assert_eq!(it.see("echo taken"), "taken");
}

fn unknown_annotations_are_ignored(it: &mut Sandbox) {
    it.set(
        "/annotations",
        json!({ "org.opencontainers.unknown": "x", "unreserved": "x", "com.example/a b": "x" }),
    );
    assert_eq!(it.see("echo ignored"), "ignored");
}

fn unknown_properties_are_ignored(it: &mut Sandbox) {
    for place in ["", "/root", "/process", "/process/user", "/mounts/0", "/linux", "/linux/resources"] {
        it.set(&format!("{place}/x-unknown"), json!({ "deep": [1, "two"] }));
    }
    assert_eq!(it.see("echo ignored"), "ignored");
}

fn what_is_not_json(it: &mut Sandbox) {
    it.write_config();
    let bundle = it.path("bundle");
    for text in ["", "{", "[1]", "ociVersion: 1.0.0"] {
        fs::write(it.bundle().join("config.json"), text).unwrap();
        it.call(&["create", "--bundle", &bundle, &it.token]).finish().fails_with(&["config.json"]);
    }
}

fn each_is_refused(it: &mut Sandbox, bad: &[(&str, Value, &str)]) {
    let good = it.config.clone();
    for (pointer, value, field) in bad {
        it.config = good.clone();
        it.set(pointer, value.clone());
        it.refuses_process(&[field]);
    }
}

fn values_of_the_wrong_type(it: &mut Sandbox) {
    each_is_refused(
        it,
        &[
            ("/root/readonly", json!("yes"), "root.readonly"),
            ("/process/user/gid", json!("0"), "process.user.gid"),
            ("/process/args", json!("sh"), "process.args"),
            ("/mounts", json!({}), "mounts"),
            ("/hostname", json!(7), "hostname"),
        ],
    );
}

fn ids_that_do_not_fit(it: &mut Sandbox) {
    each_is_refused(
        it,
        &[
            ("/process/user/uid", json!(-1), "process.user.uid"),
            ("/process/user/uid", json!(4_294_967_296_u64), "process.user.uid"),
            ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ],
    );
}

fn names_that_are_not_listed(it: &mut Sandbox) {
    each_is_refused(
        it,
        &[
            ("/linux/namespaces/0/type", json!("no-such-kind"), "linux.namespaces[0]"),
            ("/linux/rootfsPropagation", json!("sideways"), "linux.rootfsPropagation"),
        ],
    );
}
