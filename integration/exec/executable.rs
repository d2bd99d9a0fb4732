//! `exec` of programs that cannot be executed, in the words that engines look for; nothing is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{exec, refused};
use crate::harness::{Output, Sandbox};

cases! {
    a_missing_program;
    a_program_that_is_not_executable;
    a_folder;
    below_a_file;
    a_script;
    a_script_without_its_interpreter;
    a_broken_binary;
    removed_meanwhile;
    busy_being_written;
    through_links;
    through_a_magic_link;
}

/// Puts a file into the root filesystem.
fn place(sandbox: &Sandbox, path: &str, content: &[u8], mode: u32) {
    let file = sandbox.rootfs(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
}

/// Refused in the foreground and detached alike.
#[track_caller]
fn twice(sandbox: &Sandbox, program: &str, parts: &[&str]) -> Output {
    refused(sandbox, &["--detach"], &[program, "argument"], parts);
    refused(sandbox, &[], &[program, "argument"], parts)
}

fn a_missing_program(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    twice(
        sandbox,
        "nonsense",
        &["process.args[0]", "exec: \"nonsense\": executable file not found in $PATH"],
    );
    twice(
        sandbox,
        "/bin/nonsense",
        &["exec: \"/bin/nonsense\": stat /bin/nonsense: no such file or directory"],
    );
    twice(sandbox, "./nonsense", &["exec: \"./nonsense\"", "no such file or directory"]);
}

fn a_program_that_is_not_executable(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    place(sandbox, "bin/plain", b"#!/bin/sh\n", 0o644);
    twice(sandbox, "/bin/plain", &["exec: \"/bin/plain\": permission denied"]);
    twice(sandbox, "plain", &["exec: \"plain\": permission denied"]);
    place(sandbox, "bin/roots", b"#!/bin/sh\necho alive\n", 0o700);
    refused(sandbox, &["-u", "1000"], &["roots"], &["exec: \"roots\": permission denied"]);
    assert_eq!(exec(sandbox, &[], &["roots"]).finish().ok().text(), "alive");
}

fn a_folder(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    twice(sandbox, "/etc", &["exec: \"/etc\": permission denied"]);
    twice(sandbox, "/", &["permission denied"]);
    twice(sandbox, ".", &["exec: \".\": permission denied"]);
}

fn below_a_file(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    twice(sandbox, "/etc/passwd/tool", &["exec: \"/etc/passwd/tool\"", "not a directory"]);
}

fn a_script(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    place(sandbox, "bin/tool", b"#!/bin/sh -e\necho $0 $1\n", 0o755);
    assert_eq!(exec(sandbox, &[], &["tool", "argument"]).finish().ok().text(), "/bin/tool argument");
    // execve(2) alone: no shell guesses what a file without a first line may be.
    place(sandbox, "bin/bare", b"echo $0 $1\n", 0o755);
    twice(sandbox, "bare", &["process.args[0]", "ENOEXEC"]);
}

fn a_script_without_its_interpreter(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    place(sandbox, "bin/tool", b"#!/bin/nonsense\n", 0o755);
    twice(sandbox, "tool", &["process.args[0]", "no such file or directory"]);
    place(sandbox, "bin/tool", b"#!/bin/tool\n", 0o755);
    twice(sandbox, "tool", &["process.args[0]"]);
}

fn a_broken_binary(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    place(sandbox, "bin/odd", b"\x7fELF", 0o755);
    twice(sandbox, "odd", &["process.args[0]", "ENOEXEC"]);
    place(sandbox, "bin/empty", b"", 0o755);
    twice(sandbox, "empty", &["process.args[0]", "ENOEXEC"]);
    let mut cut = fs::read("/bin/busybox").unwrap();
    cut.truncate(64);
    place(sandbox, "bin/chopped", &cut, 0o755);
    let output = exec(sandbox, &[], &["chopped"]).finish();
    assert!(!output.status.success(), "{}", output.describe());
}

/// Whatever the moment, exec says what happened, and the container goes on.
fn removed_meanwhile(sandbox: &mut Sandbox) {
    let swap = "while [ ! -e /stop ]; do cp /bin/busybox /bin/tool; rm -f /bin/tool; done; sleep 100";
    sandbox.script(swap);
    sandbox.create();
    sandbox.start();
    let (mut ran, mut missed) = (0, 0);
    for _ in 0..40 {
        let output = exec(sandbox, &[], &["/bin/tool", "true"]).finish();
        if output.status.success() || output.status.code() == Some(127) {
            ran += 1;
        } else {
            missed += 1;
            let known = ["no such file or directory", "permission denied", "ETXTBSY", "ENOEXEC"];
            let reason = known.iter().any(|words| output.stderr.contains(words));
            assert!(output.status.code() == Some(255) && reason, "{}", output.describe());
        }
    }
    assert!(missed > 0, "never missed it, ran {ran} times");
    fs::write(sandbox.rootfs("stop"), "").unwrap();
}

fn busy_being_written(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    fs::copy("/bin/busybox", sandbox.rootfs("bin/tool")).unwrap();
    let _writer = fs::OpenOptions::new().append(true).open(sandbox.rootfs("bin/tool")).unwrap();
    twice(sandbox, "/bin/tool", &["process.args[0]", "ETXTBSY"]);
}

fn through_links(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    symlink("/bin/echo", sandbox.rootfs("tmp/linked")).unwrap();
    let output = exec(sandbox, &["-e", "PATH=/tmp"], &["linked", "alive"]).finish();
    // busybox looks at its own name: that it runs at all is what counts.
    assert!(output.stderr.contains("linked: applet not found"), "{}", output.describe());
    symlink("loop", sandbox.rootfs("tmp/loop")).unwrap();
    twice(sandbox, "/tmp/loop", &["exec: \"/tmp/loop\"", "too many links"]);
    symlink("/no/such", sandbox.rootfs("tmp/dangling")).unwrap();
    twice(sandbox, "/tmp/dangling", &["no such file or directory"]);
}

/// In the container's /proc there is no `self` for a process that has not yet come into its pid namespace.
fn through_a_magic_link(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for (program, reason) in [
        ("/proc/self/exe", "no such file or directory"),
        ("/proc/self/fd/0", "no such file or directory"),
        ("/proc/1/exe", "magic link"),
        ("/proc/1/root/bin/true", "magic link"),
        ("/proc/1/cwd/bin/true", "magic link"),
    ] {
        twice(sandbox, program, &["process.args[0]", reason]);
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.without_namespace("pid").start_sleeper();
    for program in ["/proc/self/exe", "/proc/self/root/bin/true", "/proc/self/cwd/bin/true"] {
        twice(sandbox, program, &["process.args[0]", "magic link"]);
    }
}
