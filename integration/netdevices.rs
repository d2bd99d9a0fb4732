//! linux.netDevices: devices of a network namespace that stands for the host's, made for the test and held by a process
//! that sleeps in it, so that nothing of the real host is touched. They are ends of veth pairs, whose other ends, `veth0`
//! and so on, stay there: the kernel deletes both with the namespace of either.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Call, Need, Output, Running, Sandbox, example, is_alive, until};

cases! {
    a_device_is_moved_with_its_attributes: Need::VethDevices;
    addresses_that_are_kept: Need::VethDevices;
    the_example_of_the_document: Need::VethDevices;
    a_device_is_renamed: Need::VethDevices;
    a_template_gives_the_first_free_name: Need::VethDevices;
    several_devices_exchange_their_names: Need::VethDevices;
    moved_before_the_first_hook: Need::VethDevices;
    moved_into_a_user_namespace: Need::VethDevices, Need::UserNamespaces;
    a_device_goes_with_its_namespace: Need::VethDevices;
    a_joined_namespace_keeps_the_device: Need::VethDevices;
    joined_by_a_container_in_a_user_namespace: Need::VethDevices, Need::UserNamespaces;
    a_missing_device_is_an_error: Need::VethDevices;
    a_name_that_is_taken_is_an_error: Need::VethDevices;
    a_device_that_cannot_be_moved_brings_the_others_back: Need::VethDevices;
    a_hook_that_fails_brings_all_back: Need::VethDevices;
    a_name_taken_meanwhile_does_not_lose_the_device: Need::VethDevices;
    a_network_namespace_is_required;
    the_hosts_own_network_namespace_is_refused;
    names_that_the_kernel_does_not_take_are_refused;
    without_privileges_it_is_refused: Need::UserNamespaces, Need::Program("setpriv");
}

/// A network namespace with a process that sleeps in it.
struct Network {
    holder: Running,
}

impl Network {
    fn new(sandbox: &Sandbox) -> Network {
        let holder = sandbox.tool_call(&["unshare", "--net", "sleep", "100"]).limit(100).spawn();
        let network = Network { holder };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let entered = || fs::read_link(network.path()).is_ok_and(|namespace| namespace != own);
        assert!(until(5, entered), "no network namespace");
        network
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    /// Has the call made in it.
    fn call(&self, call: Call) -> Call {
        call.through(&["nsenter", &format!("--net={}", self.path())])
    }

    #[track_caller]
    fn ip(&self, sandbox: &Sandbox, args: &str) -> Output {
        let words: Vec<&str> = ["ip"].into_iter().chain(args.split(' ')).collect();
        self.call(sandbox.tool_call(&words)).finish()
    }

    /// Makes a device, with what `ip addr add` and `ip link set` take.
    #[track_caller]
    fn make(&self, sandbox: &Sandbox, name: &str, addresses: &[&str], settings: &str) {
        self.ip(sandbox, &format!("link add name {name} type veth")).ok();
        for address in addresses {
            self.ip(sandbox, &format!("addr add {address} dev {name}")).ok();
        }
        self.ip(sandbox, &format!("link set dev {name} {settings}")).ok();
    }

    /// What `ip -json addr` says of the devices, by name.
    #[track_caller]
    fn devices(&self, sandbox: &Sandbox) -> Vec<Value> {
        let all: Vec<Value> = serde_json::from_str(self.ip(sandbox, "-json addr show").ok().text()).unwrap();
        let made = |name: &str| name != "lo" && !name.starts_with("veth");
        let mut all: Vec<Value> = all.into_iter().filter(|it| made(it["ifname"].as_str().unwrap())).collect();
        all.sort_by_key(|it| it["ifname"].to_string());
        all
    }

    #[track_caller]
    fn names(&self, sandbox: &Sandbox) -> Vec<String> {
        self.devices(sandbox).iter().map(|it| it["ifname"].as_str().unwrap().to_owned()).collect()
    }
}

/// Runs the container from that network; its script's output.
#[track_caller]
fn prove(sandbox: &mut Sandbox, network: &Network, script: &str) -> String {
    sandbox.script(script);
    network.call(sandbox.begin("run", &[])).finish().ok().text().to_owned()
}

/// `create` from that network must fail with these parts, and leave nothing.
#[track_caller]
fn refused(sandbox: &Sandbox, network: &Network, parts: &[&str]) {
    let output = network.call(sandbox.begin("create", &[])).finish().error(parts);
    assert!(fs::read_dir(sandbox.root()).is_ok_and(|mut it| it.next().is_none()), "{}", output.describe());
}

/// The addresses of a device as `192.0.2.1/24`, in order, those that the kernel gave left out.
fn addresses(device: &Value) -> Vec<String> {
    let all = device["addr_info"].as_array().unwrap().iter();
    let given = all.filter(|it| it["scope"] != "link");
    given.map(|it| format!("{}/{}", it["local"].as_str().unwrap(), it["prefixlen"])).collect()
}

const IPV6: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

fn a_device_is_moved_with_its_attributes(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "d0", &["192.0.2.7/24"], "mtu 1337 address 02:00:00:00:00:07");
    network.make(sandbox, "d1", &[], "up");
    sandbox.set("/linux/netDevices", json!({ "d0": {} }));
    let seen = prove(sandbox, &network, "ip addr show d0; ls /sys/class/net");
    for part in ["mtu 1337", "link/ether 02:00:00:00:00:07", "inet 192.0.2.7/24", ",UP,", "\nd0\nlo"] {
        assert!(seen.contains(part), "{part:?} is missing: {seen}");
    }
    assert_eq!(network.names(sandbox), ["d1"]);
}

/// Permanent ones of global scope, with what belongs to them; addresses of a narrower scope stay behind.
fn addresses_that_are_kept(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    let mut given = vec![
        "192.0.2.7/24 brd 192.0.2.255 label d0:7",
        "192.0.2.8/24 metric 77",
        "198.51.100.1 peer 198.51.100.2/32",
        "127.7.7.7/32 scope host",
        "203.0.113.9/24 valid_lft 100 preferred_lft 100",
        "198.18.0.3/24 scope link",
    ];
    let mut wanted = vec![
        "inet 192.0.2.7/24 brd 192.0.2.255 scope global n0:7",
        "inet 198.51.100.1 peer 198.51.100.2/32 scope global n0",
        "inet 192.0.2.8/24 metric 77 scope global secondary n0",
    ];
    if fs::read_to_string(IPV6).is_ok_and(|off| off.trim() == "0") {
        given.extend(["2001:db8::7/64 nodad", "2001:db8::9/128 nodad noprefixroute"]);
        wanted.extend(["inet6 2001:db8::7/64 scope global", "inet6 2001:db8::9/128 scope global"]);
    }
    network.make(sandbox, "d0", &given, "up");
    sandbox.set("/linux/netDevices", json!({ "d0": { "name": "n0" } }));
    sandbox.args(&["/bin/sleep", "100"]);
    network.call(sandbox.begin("create", &[])).finish().ok();
    let pid = sandbox.pid().to_string();
    let output = sandbox.tool_call(&["nsenter", "-t", &pid, "-n", "ip", "addr", "show", "n0"]).finish().ok();
    for part in wanted {
        assert!(output.stdout.contains(part), "{part:?} is missing: {}", output.stdout);
    }
    for part in ["127.7.7.7", "203.0.113.9", "198.18.0.3"] {
        assert!(!output.stdout.contains(part), "{part:?} was moved: {}", output.stdout);
    }
}

/// docs/processes.md
fn the_example_of_the_document(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "eth1", &["192.0.2.7/24"], "mtu 1400");
    network.make(sandbox, "eth2", &[], "up");
    let [config, seen] = example("Network devices");
    sandbox.config["linux"]["netDevices"] =
        serde_json::from_str::<Value>(&config).unwrap()["linux"]["netDevices"].clone();
    let (script, wanted) = seen.trim().strip_prefix("$ ").and_then(|seen| seen.split_once('\n')).unwrap();
    assert_eq!(prove(sandbox, &network, script), wanted);
}

fn a_device_is_renamed(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    // Fifteen bytes, the longest, and up: a device can be given another name only while it is down.
    network.make(sandbox, "d23456789012345", &["192.0.2.7/24"], "up");
    sandbox.set("/linux/netDevices", json!({ "d23456789012345": { "name": "n23456789012345" } }));
    let seen = prove(sandbox, &network, "ls /sys/class/net; ip addr show n23456789012345");
    assert!(seen.starts_with("lo\nn23456789012345\n") && seen.contains("inet 192.0.2.7/24"), "{seen}");
    assert!(network.names(sandbox).is_empty());
}

fn a_template_gives_the_first_free_name(sandbox: &mut Sandbox) {
    let (network, joined) = (Network::new(sandbox), Network::new(sandbox));
    joined.make(sandbox, "net0", &[], "up");
    joined.make(sandbox, "a", &[], "up");
    network.make(sandbox, "a", &["192.0.2.1/24"], "up");
    network.make(sandbox, "b", &["192.0.2.2/24"], "up");
    sandbox.namespace("network", Some(&joined.path()));
    sandbox.set("/linux/netDevices", json!({ "a": { "name": "net%d" }, "b": { "name": "net%d" } }));
    let seen = prove(sandbox, &network, "ip addr show net1; ip addr show net2");
    assert!(seen.contains("192.0.2.1/24") && seen.contains("192.0.2.2/24"), "{seen}");
    assert_eq!(joined.names(sandbox), ["a", "net0", "net1", "net2"]);
}

fn several_devices_exchange_their_names(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "a", &["192.0.2.1/24"], "up");
    network.make(sandbox, "b", &["192.0.2.2/24"], "down");
    network.make(sandbox, "c", &["192.0.2.3/24"], "up");
    sandbox.set("/linux/netDevices", json!({ "a": { "name": "b" }, "b": { "name": "a" }, "c": {} }));
    let seen =
        prove(sandbox, &network, "for d in a b c; do ip -o addr show dev $d; done | grep -o 'inet [0-9.]*'");
    assert_eq!(seen, "inet 192.0.2.2\ninet 192.0.2.1\ninet 192.0.2.3");
    assert!(network.names(sandbox).is_empty());
}

fn moved_before_the_first_hook(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "d0", &["192.0.2.7/24"], "up");
    let seen = sandbox.path("seen");
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip -o addr show d0 | grep -c 192.0.2.7 >> {seen}"
    );
    let hook =
        json!([{ "path": sandbox.tool("look", &script), "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] }]);
    sandbox.set("/linux/netDevices", json!({ "d0": {} }));
    sandbox.set("/hooks", json!({ "prestart": hook, "createRuntime": hook }));
    prove(sandbox, &network, "true");
    assert_eq!(fs::read_to_string(seen).unwrap(), "1\n1\n");
}

fn moved_into_a_user_namespace(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "d0", &["192.0.2.7/24"], "up");
    sandbox.user_namespace().capabilities(&["CAP_NET_ADMIN"]);
    sandbox.set("/linux/netDevices", json!({ "d0": {} }));
    // It is the container's now: its root may do with it what it likes.
    let seen = prove(sandbox, &network, "ip addr show d0; ip link set d0 down && ip link show d0");
    assert!(seen.contains("192.0.2.7/24") && seen.contains(",UP,"), "{seen}");
    assert_eq!(seen.matches(",UP").count(), 1, "{seen}");
}

fn a_device_goes_with_its_namespace(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "d0", &[], "up");
    sandbox.set("/linux/netDevices", json!({ "d0": {} }));
    sandbox.args(&["/bin/sleep", "100"]);
    network.call(sandbox.begin("create", &[])).finish().ok();
    let pid = sandbox.pid();
    network.call(sandbox.onggi(&["delete", "--force", &sandbox.token])).finish().ok();
    assert!(until(5, || !is_alive(pid)));
    assert!(network.names(sandbox).is_empty(), "the runtime must not move it back");
}

fn a_joined_namespace_keeps_the_device(sandbox: &mut Sandbox) {
    let (network, joined) = (Network::new(sandbox), Network::new(sandbox));
    network.make(sandbox, "d0", &["192.0.2.7/24"], "up");
    sandbox.namespace("network", Some(&joined.path()));
    sandbox.set("/linux/netDevices", json!({ "d0": { "name": "n0" } }));
    prove(sandbox, &network, "ip link show n0");
    assert!(network.names(sandbox).is_empty());
    let left = joined.devices(sandbox);
    assert_eq!((left.len(), &left[0]["ifname"]), (1, &json!("n0")));
    assert_eq!(addresses(&left[0]), ["192.0.2.7/24"]);
}

/// The namespace belongs to the host, and only the runtime may change it.
fn joined_by_a_container_in_a_user_namespace(sandbox: &mut Sandbox) {
    let (network, joined) = (Network::new(sandbox), Network::new(sandbox));
    network.make(sandbox, "d0", &["192.0.2.7/24"], "up");
    sandbox.user_namespace().namespace("network", Some(&joined.path()));
    // A sysfs shows a network namespace, and may be mounted only by whom that belongs to.
    sandbox.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|it| it["type"] != "sysfs" && it["type"] != "cgroup");
    sandbox.set("/linux/netDevices", json!({ "d0": {} }));
    let seen = prove(sandbox, &network, "ip -o addr show d0");
    assert!(seen.contains("192.0.2.7/24"), "{seen}");
}

fn a_missing_device_is_an_error(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "a", &[], "up");
    let number = network.devices(sandbox)[0]["ifindex"].clone();
    sandbox.set("/linux/netDevices", json!({ "a": {}, "none0": {} }));
    refused(sandbox, &network, &["linux.netDevices \"none0\"", "there is no such network device"]);
    assert_eq!(network.names(sandbox), ["a"]);
    assert_eq!(network.devices(sandbox)[0]["ifindex"], number, "nothing was moved");
}

fn a_name_that_is_taken_is_an_error(sandbox: &mut Sandbox) {
    let (network, joined) = (Network::new(sandbox), Network::new(sandbox));
    network.make(sandbox, "a", &[], "up");
    network.make(sandbox, "b", &[], "up");
    joined.make(sandbox, "b", &[], "up");
    let own = json!({ "a": {}, "b": {} });
    let other = json!({ "a": { "name": "b" } });
    let lo = json!({ "a": { "name": "lo" } });
    sandbox.namespace("network", Some(&joined.path()));
    for (devices, field, name) in [(own, "b", "b"), (other, "a", "b"), (lo, "a", "lo")] {
        sandbox.set("/linux/netDevices", devices);
        let field = format!("linux.netDevices {field:?}");
        let reason = format!("the container's network namespace already has a device {name:?}");
        refused(sandbox, &network, &[&field, &reason]);
        assert_eq!(network.names(sandbox), ["a", "b"]);
        assert_eq!(joined.names(sandbox), ["b"]);
    }
}

/// What a device was like, without what the kernel counts.
fn likeness(devices: &[Value]) -> Vec<(String, String, bool, Vec<String>)> {
    let up = |it: &Value| it["flags"].as_array().unwrap().contains(&json!("UP"));
    let one = |it: &Value| (it["ifname"].to_string(), it["mtu"].to_string(), up(it), addresses(it));
    devices.iter().map(one).collect()
}

fn a_device_that_cannot_be_moved_brings_the_others_back(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "a", &["192.0.2.1/24", "127.7.7.7/32 scope host"], "mtu 1337 up");
    network.make(sandbox, "b", &["192.0.2.2/24"], "down");
    let before = likeness(&network.devices(sandbox));
    // The loopback belongs to its namespace for good, and comes last.
    sandbox.set("/linux/netDevices", json!({ "a": {}, "b": { "name": "c" }, "lo": { "name": "lo1" } }));
    refused(sandbox, &network, &["linux.netDevices \"lo\"", "RTM_SETLINK(\"lo\"", "EINVAL"]);
    assert_eq!(likeness(&network.devices(sandbox)), before);
}

fn a_hook_that_fails_brings_all_back(sandbox: &mut Sandbox) {
    let (network, joined) = (Network::new(sandbox), Network::new(sandbox));
    network.make(sandbox, "a", &["192.0.2.1/24"], "up");
    network.make(sandbox, "b", &["192.0.2.2/24"], "up");
    let before = likeness(&network.devices(sandbox));
    sandbox.set("/linux/netDevices", json!({ "a": { "name": "b" }, "b": { "name": "x%d" } }));
    sandbox.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/false" }] }));
    refused(sandbox, &network, &["hooks.createRuntime[0]"]);
    assert_eq!(likeness(&network.devices(sandbox)), before);
    sandbox.namespace("network", Some(&joined.path()));
    refused(sandbox, &network, &["hooks.createRuntime[0]"]);
    assert_eq!(likeness(&network.devices(sandbox)), before);
    assert!(joined.names(sandbox).is_empty());
}

fn a_name_taken_meanwhile_does_not_lose_the_device(sandbox: &mut Sandbox) {
    let network = Network::new(sandbox);
    network.make(sandbox, "a", &["192.0.2.1/24"], "up");
    let thief = sandbox.tool("thief", "ip link add name a type veth; exit 1");
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    sandbox.set("/linux/netDevices", json!({ "a": {} }));
    sandbox.set("/hooks", json!({ "createRuntime": [{ "path": thief, "env": [path] }] }));
    refused(sandbox, &network, &["hooks.createRuntime[0]"]);
    let devices = network.devices(sandbox);
    assert_eq!(network.names(sandbox), ["a", "dev0"]);
    assert_eq!(addresses(&devices[1]), ["192.0.2.1/24"]);
}

fn a_network_namespace_is_required(sandbox: &mut Sandbox) {
    sandbox.without_namespace("network").set("/linux/netDevices", json!({ "none0": {} }));
    sandbox.refused(&["linux.netDevices", "no network namespace", "config-linux.md, Network Devices"]);
}

fn the_hosts_own_network_namespace_is_refused(sandbox: &mut Sandbox) {
    sandbox.namespace("network", Some("/proc/self/ns/net"));
    sandbox.set("/linux/netDevices", json!({ "none0": { "name": "none1" } }));
    sandbox.refused(&["linux.netDevices \"none0\"", "its network namespace is the host's"]);
}

fn names_that_the_kernel_does_not_take_are_refused(sandbox: &mut Sandbox) {
    for name in ["a/b", "a:b", "a b", "..", ".", "a%", "%da", "%d%d", "sixteen-bytes-xx", "a\tb"] {
        sandbox.set("/linux/netDevices", json!({ "none0": { "name": name } }));
        sandbox.refused(&[&format!("linux.netDevices \"none0\".name {name:?}")]);
        sandbox.set("/linux/netDevices", json!({ name: {} }));
        sandbox.refused(&[&format!("linux.netDevices {name:?}")]);
    }
    sandbox.set("/linux/netDevices", json!({ "": {} }));
    sandbox.refused(&["linux.netDevices \"\"", "is empty"]);
    sandbox.set("/linux/netDevices", json!({ "a": { "name": "x" }, "b": { "name": "x" } }));
    sandbox.refused(&["linux.netDevices \"b\"", "\"a\" is also called \"x\""]);
}

fn without_privileges_it_is_refused(sandbox: &mut Sandbox) {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    sandbox.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    sandbox.set("/linux/netDevices", json!({ "none0": {} }));
    sandbox.unset("/linux/cgroupsPath").unset("/linux/resources");
    std::os::unix::fs::chown(&sandbox.dir, Some(1000), Some(1000)).unwrap();
    let words = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "--inh-caps=-all"];
    let output = sandbox.begin("create", &[]).through(&words).finish();
    output.error(&["linux.netDevices \"none0\"", "without privileges"]);
    assert!(!Path::new(&sandbox.path("state")).exists());
}
