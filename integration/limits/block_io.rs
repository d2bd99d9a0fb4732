//! linux.resources.blockIO, on a loop device that the test makes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{bfq_turn, by_layout, read, refuses};
use crate::harness::{Layout, Need, Sandbox, output};

cases! {
    writing_takes_as_long_as_it_must: Need::Controller(IO), Need::LoopDevices;
    reading_takes_as_long_as_it_must: Need::Controller(IO), Need::LoopDevices;
    write_operations_take_as_long_as_they_must: Need::Controller(IO), Need::LoopDevices;
    read_operations_take_as_long_as_they_must: Need::Controller(IO), Need::LoopDevices;
    throttles_of_v1: Need::Only(Layout::V1), Need::Controller("blkio"), Need::LoopDevices;
    throttles_of_v2: Need::Only(Layout::V2), Need::Controller("io"), Need::LoopDevices;
    weight_of_v1: Need::Only(Layout::V1), Need::Controller("blkio");
    weight_of_v2: Need::Only(Layout::V2), Need::Controller("io");
    weight_of_a_device: Need::Controller(IO), Need::LoopDevices;
    leaf_weights_are_gone: Need::Controller(IO);
    a_device_that_is_none_is_refused: Need::Controller(IO);
    without_its_controller_is_an_error: Need::NoController(IO);
}

/// The controller by its name on v2; the harness knows that v1 calls it blkio.
const IO: &str = "io";

/// A loop device over a file of the test's folder; gone when dropped.
pub(super) struct Loop {
    device: PathBuf,
    number: (u32, u32),
}

impl Loop {
    pub(super) fn new(sandbox: &Sandbox) -> Loop {
        let file = sandbox.file("disk", "");
        fs::File::options().write(true).open(&file).unwrap().set_len(16 << 20).unwrap();
        for _ in 0..20 {
            let free = output(Command::new("/bin/busybox").args(["losetup", "-f"]));
            let device = PathBuf::from(String::from_utf8(free.stdout).unwrap().trim());
            // Somebody else may have taken it meanwhile.
            let taken = output(Command::new("/bin/busybox").arg("losetup").arg(&device).arg(&file));
            if taken.status.success() {
                let number = fs::metadata(&device).unwrap().rdev();
                let number = (nix::libc::major(number), nix::libc::minor(number));
                return Loop { device, number };
            }
        }
        panic!("no loop device");
    }

    /// `major:minor`
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.number.0, self.number.1)
    }

    /// Has BFQ schedule it, if the kernel has BFQ.
    pub(super) fn use_bfq(&self) -> bool {
        let name = self.device.file_name().unwrap().to_str().unwrap();
        fs::write(format!("/sys/block/{name}/queue/scheduler"), "bfq").is_ok()
    }

    /// An entry of a list of blockIO.
    pub(super) fn entry(&self, member: &str, value: u64) -> Value {
        json!({ "major": self.number.0, "minor": self.number.1, member: value })
    }

    /// The container has it as /dev/disk.
    fn give(&self, sandbox: &mut Sandbox) {
        let (major, minor) = self.number;
        sandbox.set(
            "/linux/devices",
            json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]),
        );
        sandbox.set(
            "/linux/resources/devices",
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "b", "major": major, "minor": minor, "access": "rw" }
            ]),
        );
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = output(Command::new("/bin/busybox").args(["losetup", "-d"]).arg(&self.device));
    }
}

/// Runs `dd` with these words on the device, throttled by `list` to `rate`; it must take this long at least, and
/// without the throttle less than half of it.
fn takes(sandbox: &mut Sandbox, words: &str, list: &str, rate: u64, least: Duration) {
    let disk = Loop::new(sandbox);
    disk.give(sandbox);
    let script =
        format!("cut -d' ' -f1 /proc/uptime; dd {words} 2>/dev/null || exit 1; cut -d' ' -f1 /proc/uptime");
    let time = |sandbox: &mut Sandbox| {
        let text = sandbox.prove(&script);
        let times: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
        Duration::from_secs_f64(times[1] - times[0])
    };
    // A busy machine may be slow now and then.
    let free = (0..3).map(|_| time(sandbox)).find(|free| *free < least / 2);
    assert!(free.is_some(), "it takes as long without {list}");
    sandbox.set("/linux/resources/blockIO", json!({ list: [disk.entry("rate", rate)] }));
    let throttled = time(sandbox);
    assert!(throttled >= least, "{throttled:?} with {list} = {rate}, must take {least:?}");
}

/// 2 MiB at 1 MiB per second; the kernel may give a part of a second ahead.
fn writing_takes_as_long_as_it_must(sandbox: &mut Sandbox) {
    let words = "if=/dev/zero of=/dev/disk bs=65536 count=32 oflag=direct";
    takes(sandbox, words, "throttleWriteBpsDevice", 1 << 20, Duration::from_millis(1700));
}

fn reading_takes_as_long_as_it_must(sandbox: &mut Sandbox) {
    let words = "if=/dev/disk of=/dev/null bs=65536 count=32 iflag=direct";
    takes(sandbox, words, "throttleReadBpsDevice", 1 << 20, Duration::from_millis(1700));
}

/// 40 operations, 20 per second.
fn write_operations_take_as_long_as_they_must(sandbox: &mut Sandbox) {
    let words = "if=/dev/zero of=/dev/disk bs=4096 count=40 oflag=direct";
    takes(sandbox, words, "throttleWriteIOPSDevice", 20, Duration::from_millis(1700));
}

fn read_operations_take_as_long_as_they_must(sandbox: &mut Sandbox) {
    let words = "if=/dev/disk of=/dev/null bs=4096 count=40 iflag=direct";
    takes(sandbox, words, "throttleReadIOPSDevice", 20, Duration::from_millis(1700));
}

/// All four throttles of one device.
fn throttled(sandbox: &mut Sandbox, disk: &Loop, rates: [u64; 4]) {
    let [read, write, read_ops, write_ops] = rates.map(|rate| json!([disk.entry("rate", rate)]));
    sandbox.set(
        "/linux/resources/blockIO",
        json!({ "throttleReadBpsDevice": read, "throttleWriteBpsDevice": write,
                "throttleReadIOPSDevice": read_ops, "throttleWriteIOPSDevice": write_ops }),
    );
    sandbox.create();
}

fn throttles_of_v1(sandbox: &mut Sandbox) {
    let disk = Loop::new(sandbox);
    throttled(sandbox, &disk, [1000, 2000, 30, 40]);
    for (file, rate) in [("read_bps", 1000), ("write_bps", 2000), ("read_iops", 30), ("write_iops", 40)] {
        let text = read(sandbox, "blkio", &format!("blkio.throttle.{file}_device"));
        assert_eq!(text, format!("{} {rate}", disk.name()), "{file}");
    }
}

fn throttles_of_v2(sandbox: &mut Sandbox) {
    let disk = Loop::new(sandbox);
    throttled(sandbox, &disk, [1000, 2000, 30, 0]);
    let wanted = format!("{} rbps=1000 wbps=2000 riops=30 wiops=max", disk.name());
    assert_eq!(read(sandbox, "io", "io.max"), wanted);
}

fn weight_of_v1(sandbox: &mut Sandbox) {
    let _turn = bfq_turn();
    sandbox.set("/linux/resources/blockIO", json!({ "weight": 300 }));
    let output = sandbox.begin("create", &[]).finish();
    let has = |file: &str| sandbox.cgroup("blkio").join(file).exists();
    if output.status.success() {
        let file = if has("blkio.weight") { "blkio.weight" } else { "blkio.bfq.weight" };
        assert!(read(sandbox, "blkio", file).ends_with("300"), "{}", read(sandbox, "blkio", file));
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    } else {
        output.error(&["linux.resources.blockIO.weight: ", "blkio.weight", "\"300\"", "ENOENT", "bfq"]);
    }
    refuses(sandbox, "blockIO", json!({ "weight": 1001 }), "blockIO.weight", &["1001"]);
}

/// BFQ's file if the kernel has it, else io.weight, converted; without either the error says what is missing.
fn weight_of_v2(sandbox: &mut Sandbox) {
    let _turn = bfq_turn();
    sandbox.set("/linux/resources/blockIO", json!({ "weight": 300 }));
    let output = sandbox.begin("create", &[]).finish();
    let has = |file: &str| sandbox.cgroup("io").join(file).exists();
    if !output.status.success() {
        output.error(&["linux.resources.blockIO.weight: ", "io.bfq.weight", "\"300\"", "ENOENT", "bfq"]);
    } else if has("io.bfq.weight") {
        assert_eq!(read(sandbox, "io", "io.bfq.weight"), "default 300");
    } else {
        assert_eq!(read(sandbox, "io", "io.weight"), "default 2930");
    }
}

/// BFQ takes a device's weight only if it schedules the device; io.weight, converted, always does.
fn weight_of_a_device(sandbox: &mut Sandbox) {
    let _turn = bfq_turn();
    let disk = Loop::new(sandbox);
    let scheduled = disk.use_bfq();
    sandbox.set("/linux/resources/blockIO", json!({ "weightDevice": [disk.entry("weight", 300)] }));
    let output = sandbox.begin("create", &[]).finish();
    if !output.status.success() {
        let line = format!("\"{} 300\"", disk.name());
        output.error(&["linux.resources.blockIO.weightDevice[0]: ", "weight", &line]);
        assert!(!scheduled, "the device has BFQ");
        return;
    }
    let controller = by_layout(sandbox, "blkio", "io");
    let has = |file: &&(&str, u32)| sandbox.cgroup(controller).join(file.0).exists();
    let files = [
        ("blkio.weight_device", 300),
        ("blkio.bfq.weight_device", 300),
        ("io.bfq.weight", 300),
        ("io.weight", 2930),
    ];
    let (file, weight) = files.iter().find(has).unwrap();
    let text = read(sandbox, controller, file);
    assert!(text.lines().any(|line| line == format!("{} {weight}", disk.name())), "{file}: {text}");
}

/// Linux 5.0 dropped them on v1; v2 never had them.
fn leaf_weights_are_gone(sandbox: &mut Sandbox) {
    let leaf = json!({ "leafWeight": 300 });
    let (file, why) =
        by_layout(sandbox, ("blkio.leaf_weight", "ENOENT"), ("", "cgroup v2 has no leaf weights"));
    refuses(sandbox, "blockIO", leaf, "blockIO.leafWeight", &[file, why]);
    let device = json!({ "weightDevice": [{ "major": 7, "minor": 0, "leafWeight": 300 }] });
    refuses(sandbox, "blockIO", device, "blockIO.weightDevice[0].leafWeight", &[why]);
}

fn a_device_that_is_none_is_refused(sandbox: &mut Sandbox) {
    let none = json!({ "major": 4095, "minor": 7, "rate": 1 });
    for list in [
        "throttleReadBpsDevice",
        "throttleWriteBpsDevice",
        "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    ] {
        let value = json!({ list: [none] });
        refuses(
            sandbox,
            "blockIO",
            value,
            &format!("blockIO.{list}[0]"),
            &["\"4095:7 ", "ENODEV: no such device"],
        );
    }
}

fn without_its_controller_is_an_error(sandbox: &mut Sandbox) {
    let throttle = json!({ "throttleReadBpsDevice": [{ "major": 7, "minor": 0, "rate": 1 }] });
    refuses(sandbox, "blockIO", throttle, "blockIO.throttleReadBpsDevice[0]", &["controller"]);
}
