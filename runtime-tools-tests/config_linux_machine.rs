//! config-linux.md, IntelRdt, Memory policy and Sysctl.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox};

clauses! {
    720 MUST "IntelRdt", "generate an error if no resctrl is mounted" => rdt_without_resctrl, Need::Resctrl(false);
    721 MUST "Memory policy", "set the mode and the nodes" => memory_policy_bind, Need::File("/proc/self/numa_maps");
    722 MUST "Memory policy", "implement MPOL_PREFERRED" => memory_policy_preferred, Need::File("/proc/self/numa_maps");
    723 MUST "Memory policy", "refuse a mode that is not in the list" => memory_policy_modes_are_those_listed;
    724 MUST "Memory policy", "refuse a flag that is not in the list" => memory_policy_flags_are_those_listed;
    725 MUST "Sysctl", "set kernel parameters of the container" => sysctls_are_written;
    726 MUST "Sysctl", "generate an error for a parameter that is not there" => sysctls_that_are_missing;
}

fn rdt_without_resctrl(it: &mut Sandbox) {
    it.set("/linux/intelRdt", json!({ "closID": "conformance", "l3CacheSchema": "L3:0=f" }));
    it.refuses(&["linux.intelRdt"]);
}

/// The policy of the container process's memory, as its first line of numa_maps has it.
fn policy(it: &mut Sandbox, value: Value) -> String {
    it.set("/linux/memoryPolicy", value);
    let pid = it.alive();
    let table = fs::read_to_string(format!("/proc/{pid}/numa_maps")).unwrap();
    table.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

fn memory_policy_bind(it: &mut Sandbox) {
    assert_eq!(policy(it, json!({ "mode": "MPOL_BIND", "nodes": "0" })), "bind:0");
}

fn memory_policy_preferred(it: &mut Sandbox) {
    let seen = policy(it, json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }));
    assert!(seen.starts_with("prefer") && seen.ends_with(":0"), "{seen}");
}

fn memory_policy_modes_are_those_listed(it: &mut Sandbox) {
    it.set("/linux/memoryPolicy", json!({ "mode": "MPOL_NO_SUCH" }));
    it.refuses_process(&["linux.memoryPolicy"]);
}

fn memory_policy_flags_are_those_listed(it: &mut Sandbox) {
    it.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO_SUCH"] }));
    it.refuses_process(&["linux.memoryPolicy"]);
}

fn sysctls_are_written(it: &mut Sandbox) {
    let values = json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "net.ipv4.ping_group_range": "0 1000" });
    it.set("/linux/sysctl", values);
    let seen =
        it.see("cd /proc/sys; cat net/ipv4/ip_forward kernel/shm_rmid_forced net/ipv4/ping_group_range");
    assert_eq!(seen, "1\n1\n0\t1000");
}

fn sysctls_that_are_missing(it: &mut Sandbox) {
    it.set("/linux/sysctl", json!({ "net.no.such.parameter": "1" }));
    it.refuses(&["linux.sysctl"]);
}
