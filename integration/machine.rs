//! What the tests count on of the machine, where it says that it has it.

use std::path::Path;
use std::process::Command;

use crate::harness::{Need, Sandbox, output};

cases! {
    systemd_is_reached: Need::Systemd, Need::Program("busctl");
}

/// The tests' own empty /run must not hide the buses of systemd, its folders, and those of users.
fn systemd_is_reached(_: &mut Sandbox) {
    let get = ["get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"];
    let property = ["org.freedesktop.systemd1.Manager", "Version"];
    let answer = output(Command::new("busctl").args(get).args(property));
    let text = String::from_utf8_lossy(&answer.stdout);
    assert!(answer.status.success() && text.starts_with("s \""), "{answer:?}");
    assert!(Path::new("/run/systemd/private").exists(), "no private bus");
}
