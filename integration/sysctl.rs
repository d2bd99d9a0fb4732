//! linux.sysctl: set where the namespace is the container's, refused where it is the host's or not namespaced.

use std::fs;

use serde_json::json;

use crate::harness::Sandbox;

cases! {
    ipc_sysctls_are_set;
    network_sysctls_are_set;
    slashes_separate_as_dots_do;
    values_are_written_verbatim;
    uts_sysctls_are_set;
    not_namespaced_is_refused;
    hosts_ipc_namespace_is_refused;
    hosts_network_namespace_is_refused;
    the_hosts_namespace_by_path_is_refused;
    a_joined_namespace_is_set;
    unknown_sysctls_are_errors;
    bad_values_are_errors;
    names_that_leave_proc_sys_are_refused;
}

fn host(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default()
}

fn ipc_sysctls_are_set(sandbox: &mut Sandbox) {
    let names = ["kernel/msgmax", "kernel/shmmni", "fs/mqueue/msg_max"];
    let before = names.map(host);
    sandbox.set(
        "/linux/sysctl",
        json!({ "kernel.msgmax": "4242", "kernel.shmmni": "77", "fs.mqueue.msg_max": "17", "kernel.sem": "250 32000 32 99" }),
    );
    let seen = sandbox
        .prove("cd /proc/sys; cat kernel/msgmax kernel/shmmni fs/mqueue/msg_max; tr '\\t' ' ' < kernel/sem");
    assert_eq!(seen, "4242\n77\n17\n250 32000 32 99");
    assert_eq!(names.map(host), before, "the host's own");
}

fn network_sysctls_are_set(sandbox: &mut Sandbox) {
    let before = host("net/ipv4/ip_forward");
    let wanted = if before.trim() == "1" { "0" } else { "1" };
    sandbox
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": wanted, "net.ipv4.ping_group_range": "0 7" }));
    let seen = sandbox.prove("cd /proc/sys/net/ipv4; cat ip_forward; tr '\\t' ' ' < ping_group_range");
    assert_eq!(seen, format!("{wanted}\n0 7"));
    assert_eq!(host("net/ipv4/ip_forward"), before);
}

fn slashes_separate_as_dots_do(sandbox: &mut Sandbox) {
    sandbox.set("/linux/sysctl", json!({ "net/ipv4/conf/lo/forwarding": "1", "kernel/msgmax": "4243" }));
    assert_eq!(sandbox.prove("cat /proc/sys/net/ipv4/conf/lo/forwarding /proc/sys/kernel/msgmax"), "1\n4243");
}

fn values_are_written_verbatim(sandbox: &mut Sandbox) {
    sandbox.set("/linux/sysctl", json!({ "net.ipv4.ip_local_port_range": "20000\t30000" }));
    assert_eq!(sandbox.prove("tr '\\t' ' ' < /proc/sys/net/ipv4/ip_local_port_range"), "20000 30000");
}

fn uts_sysctls_are_set(sandbox: &mut Sandbox) {
    let before = host("kernel/domainname");
    sandbox.set("/linux/sysctl", json!({ "kernel.domainname": "inside.example" }));
    assert_eq!(sandbox.prove("cat /proc/sys/kernel/domainname"), "inside.example");
    assert_eq!(host("kernel/domainname"), before);
}

/// Refused, and the host's value is what it was.
#[track_caller]
fn refused(sandbox: &mut Sandbox, name: &str) {
    let file = name.replace('.', "/");
    let before = host(&file);
    let value = if before.trim().parse::<u64>() == Ok(1) { "0" } else { "1" };
    sandbox.set("/linux/sysctl", json!({ name: value }));
    sandbox.refused(&["linux.sysctl", name]);
    assert_eq!(host(&file), before, "{name} of the host");
}

fn not_namespaced_is_refused(sandbox: &mut Sandbox) {
    for name in [
        "vm.swappiness",
        "kernel.core_pattern",
        "kernel.pid_max",
        "fs.file-max",
        "kernel.sysrq",
        "user.max_user_namespaces",
    ] {
        refused(sandbox, name);
    }
}

fn hosts_ipc_namespace_is_refused(sandbox: &mut Sandbox) {
    sandbox.without_namespace("ipc");
    refused(sandbox, "kernel.msgmax");
    refused(sandbox, "fs.mqueue.msg_max");
}

fn hosts_network_namespace_is_refused(sandbox: &mut Sandbox) {
    sandbox.without_namespace("network");
    refused(sandbox, "net.ipv4.ip_forward");
}

fn the_hosts_namespace_by_path_is_refused(sandbox: &mut Sandbox) {
    sandbox.namespace("network", Some("/proc/self/ns/net"));
    refused(sandbox, "net.ipv4.ip_forward");
    sandbox.namespace("network", None).namespace("ipc", Some("/proc/self/ns/ipc"));
    refused(sandbox, "kernel.msgmax");
}

fn a_joined_namespace_is_set(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let second = format!("{}-b", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    sandbox.namespace("ipc", Some(&format!("/proc/{pid}/ns/ipc")));
    sandbox.set("/linux/sysctl", json!({ "kernel.msgmax": "4244" }));
    sandbox.script("cat /proc/sys/kernel/msgmax").write_config();
    let output = sandbox.onggi(&["run", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();
    assert_eq!(output.text(), "4244");
}

fn unknown_sysctls_are_errors(sandbox: &mut Sandbox) {
    sandbox.set("/linux/sysctl", json!({ "net.ipv4.no_such_thing": "1" }));
    sandbox.refused(&["linux.sysctl", "net.ipv4.no_such_thing"]);
}

fn bad_values_are_errors(sandbox: &mut Sandbox) {
    sandbox.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "perhaps" }));
    sandbox.refused(&["linux.sysctl", "net.ipv4.ip_forward", "invalid argument"]);
}

fn names_that_leave_proc_sys_are_refused(sandbox: &mut Sandbox) {
    for name in [
        "net/../vm/swappiness",
        "net/ipv4/../../kernel/core_pattern",
        "net//ipv4",
        "",
        ".",
        "net.",
        "/net/ipv4/ip_forward/../../../../self/comm",
    ] {
        sandbox.set("/linux/sysctl", json!({ name: "1" }));
        sandbox.refused(&["linux.sysctl"]);
    }
}
