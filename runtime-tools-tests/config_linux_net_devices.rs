//! config-linux.md, Network Devices: in a network namespace that stands for the host's, held by a process that sleeps in it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Call, Need, Output, Running, Sandbox, until};

clauses! {
    650 MUST "Network Devices", "make the devices available in the container" => are_there, Need::VethDevices;
    651 MUST "Network Devices", "give a device the name that is specified" => are_renamed, Need::VethDevices;
    652 MUST "Network Devices", "generate an error if the name is taken in the container" => names_that_are_taken,
        Need::VethDevices;
    653 MUST "Network Devices", "allow a template with %d" => templates, Need::VethDevices;
    654 MUST "Network Devices", "preserve the device's attributes" => attributes, Need::VethDevices;
    655 MUST "Network Devices", "preserve permanent addresses of global scope" => addresses, Need::VethDevices;
    656 MUST "Network Devices", "set the device up" => are_up, Need::VethDevices;
    657 MUST "Network Devices", "generate an error for a device that is not there" => missing_devices, Need::VethDevices;
    658 MUST_NOT "Namespace Lifecycle and Container Termination", "move the device back before deletion"
        => are_not_moved_back, Need::VethDevices;
}

/// A network namespace with a device `dev0` in it, for as long as this lives.
struct Network {
    holder: Running,
}

impl Network {
    fn new(it: &mut Sandbox) -> Network {
        let holder = it.tool_call(&["unshare", "--net", "sleep", "100"]).limit(100).spawn();
        let network = Network { holder };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let there = || fs::read_link(network.path()).is_ok_and(|namespace| namespace != own);
        assert!(until(5, there), "no network namespace");
        network.ip(it, "link add name dev0 type veth peer name other0").ok();
        network.ip(it, "link set dev dev0 mtu 1300 address 02:00:00:00:00:07").ok();
        network.ip(it, "addr add 192.0.2.7/24 dev dev0").ok();
        network
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    /// Has the call made in it.
    fn call(&self, call: Call) -> Call {
        call.through(&["nsenter", &format!("--net={}", self.path())])
    }

    fn ip(&self, it: &Sandbox, words: &str) -> Output {
        let words: Vec<&str> = ["ip"].into_iter().chain(words.split(' ')).collect();
        self.call(it.tool_call(&words)).finish()
    }

    /// Runs the container from here; its script's output.
    #[track_caller]
    fn see(&self, it: &mut Sandbox, devices: Value, script: &str) -> String {
        it.set("/linux/netDevices", devices).script(script);
        it.live_as(&it.token, |create| self.call(create))
    }

    fn refuses(&self, it: &mut Sandbox, devices: Value) {
        it.set("/linux/netDevices", devices);
        self.call(it.create_as(&it.token, &[])).finish().fails_with(&["linux.netDevices"]);
        self.ip(it, "link show dev dev0").ok();
    }
}

fn are_there(it: &mut Sandbox) {
    let network = Network::new(it);
    assert_eq!(network.see(it, json!({ "dev0": {} }), "ls -d /sys/class/net/dev0"), "/sys/class/net/dev0");
}

fn are_renamed(it: &mut Sandbox) {
    let network = Network::new(it);
    let seen = network.see(it, json!({ "dev0": { "name": "inside" } }), "ls /sys/class/net");
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["inside", "lo"]);
}

fn names_that_are_taken(it: &mut Sandbox) {
    let network = Network::new(it);
    network.refuses(it, json!({ "dev0": { "name": "lo" } }));
}

fn templates(it: &mut Sandbox) {
    let network = Network::new(it);
    let seen = network.see(it, json!({ "dev0": { "name": "net%d" } }), "ls /sys/class/net");
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["lo", "net0"]);
}

fn attributes(it: &mut Sandbox) {
    let network = Network::new(it);
    let seen = network.see(it, json!({ "dev0": {} }), "cd /sys/class/net/dev0; cat mtu address");
    assert_eq!(seen, "1300\n02:00:00:00:00:07");
}

fn addresses(it: &mut Sandbox) {
    let network = Network::new(it);
    let seen = network.see(it, json!({ "dev0": {} }), "ip -o -4 addr show dev dev0");
    assert!(seen.contains("inet 192.0.2.7/24") && seen.contains("scope global"), "{seen}");
}

fn are_up(it: &mut Sandbox) {
    let network = Network::new(it);
    let seen = network.see(it, json!({ "dev0": {} }), "ip -o link show dev dev0");
    assert!(seen.contains("UP"), "{seen}");
}

fn missing_devices(it: &mut Sandbox) {
    let network = Network::new(it);
    network.refuses(it, json!({ "nodev0": {} }));
}

/// A veth pair goes with its namespace; moved back it would still be here.
fn are_not_moved_back(it: &mut Sandbox) {
    let network = Network::new(it);
    assert_eq!(network.see(it, json!({ "dev0": {} }), "ls -d /sys/class/net/dev0"), "/sys/class/net/dev0");
    let gone = until(5, || !network.ip(it, "link show dev dev0").status.success());
    assert!(gone, "dev0 came back");
}
