//! config-linux.md, Devices and Default Devices.

use std::fs;

use serde_json::{Value, json};

use crate::console::Console;
use crate::harness::Sandbox;

clauses! {
    630 MUST "Devices", "make a character device available" => character_device;
    631 MUST "Devices", "make a block device available" => block_device;
    632 MUST "Devices", "make a FIFO available" => fifo;
    633 MUST "Devices", "make an unbuffered character device (type u) available" => unbuffered_device;
    634 MUST "Devices", "give a device its mode" => device_has_its_mode;
    635 MUST "Devices", "give a device its owner and group" => device_has_its_owner;
    636 MUST "Devices", "make a device anywhere in the container, not only in /dev" => device_outside_dev;
    637 MUST "Devices", "generate an error if a file at the path does not match the device"
        => a_file_in_a_devices_place_is_an_error;
    638 MUST "Default Devices", "supply /dev/null" => dev_null = |it| default(it, "null", "1:3");
    639 MUST "Default Devices", "supply /dev/zero" => dev_zero = |it| default(it, "zero", "1:5");
    640 MUST "Default Devices", "supply /dev/full" => dev_full = |it| default(it, "full", "1:7");
    641 MUST "Default Devices", "supply /dev/random" => dev_random = |it| default(it, "random", "1:8");
    642 MUST "Default Devices", "supply /dev/urandom" => dev_urandom = |it| default(it, "urandom", "1:9");
    643 MUST "Default Devices", "supply /dev/tty" => dev_tty = |it| default(it, "tty", "5:0");
    644 MUST "Default Devices", "supply /dev/console as the terminal if there is one" => dev_console;
    645 MUST "Default Devices", "supply /dev/ptmx of the container's own /dev/pts" => dev_ptmx;
}

fn seen(it: &mut Sandbox, device: Value, format: &str) -> String {
    let path = device["path"].as_str().unwrap().to_owned();
    it.set("/linux/devices", json!([device]));
    it.see(&format!("stat -c '{format}' {path}"))
}

fn character_device(it: &mut Sandbox) {
    let device = json!({ "path": "/dev/own", "type": "c", "major": 1, "minor": 7 });
    assert_eq!(seen(it, device, "%F %t:%T"), "character special file 1:7");
}

fn block_device(it: &mut Sandbox) {
    let device = json!({ "path": "/dev/own", "type": "b", "major": 7, "minor": 300 });
    assert_eq!(seen(it, device, "%F %t:%T"), "block special file 7:12c");
}

fn fifo(it: &mut Sandbox) {
    let device = json!({ "path": "/dev/own", "type": "p" });
    assert_eq!(seen(it, device, "%F"), "fifo");
}

fn unbuffered_device(it: &mut Sandbox) {
    let device = json!({ "path": "/dev/own", "type": "u", "major": 1, "minor": 7 });
    assert_eq!(seen(it, device, "%F %t:%T"), "character special file 1:7");
}

fn device_has_its_mode(it: &mut Sandbox) {
    let device = json!({ "path": "/dev/own", "type": "c", "major": 1, "minor": 7, "fileMode": 0o641 });
    assert_eq!(seen(it, device, "%a"), "641");
}

fn device_has_its_owner(it: &mut Sandbox) {
    let device = json!({ "path": "/dev/own", "type": "c", "major": 1, "minor": 7, "uid": 12, "gid": 34 });
    assert_eq!(seen(it, device, "%u:%g"), "12:34");
}

fn device_outside_dev(it: &mut Sandbox) {
    let device = json!({ "path": "/deep/down/own", "type": "c", "major": 1, "minor": 7 });
    assert_eq!(seen(it, device, "%F %t:%T"), "character special file 1:7");
}

fn a_file_in_a_devices_place_is_an_error(it: &mut Sandbox) {
    fs::write(it.rootfs("/taken"), "").unwrap();
    it.set("/linux/devices", json!([{ "path": "/taken", "type": "c", "major": 1, "minor": 3 }]));
    it.refuses(&["linux.devices[0]", "/taken"]);
}

fn default(it: &mut Sandbox, name: &str, numbers: &str) {
    assert_eq!(
        it.see(&format!("stat -c '%F %t:%T' /dev/{name}")),
        format!("character special file {numbers}")
    );
}

fn dev_console(it: &mut Sandbox) {
    let console = Console::new(it);
    it.script("echo through the console > /dev/console; sleep 100");
    let pty = console.create(it);
    it.start();
    pty.see("through the console");
}

fn dev_ptmx(it: &mut Sandbox) {
    let script = "stat -L -c %t:%T /dev/ptmx; [ /dev/ptmx -ef /dev/pts/ptmx ] && echo same";
    assert_eq!(it.see(script), "5:2\nsame");
}
