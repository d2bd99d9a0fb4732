//! Installed under the name `runc`, as a link, another name of the file or a copy: the first line of `--version`, the
//! default root, and the help are those of that name. Any other name is onggi's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::{Call, Layout, Need, Sandbox, binary};

cases! {
    a_link_a_hard_link_and_a_copy_are_runc: Need::Only(Layout::V2);
    the_first_line_of_version_is_that_of_runc: Need::Only(Layout::V2);
    the_default_root_is_that_of_runc: Need::Only(Layout::V2);
    a_user_has_a_root_of_the_same_name: Need::Only(Layout::V2);
    help_and_hints_call_it_by_its_name: Need::Only(Layout::V2);
    any_other_name_is_onggi: Need::Only(Layout::V2);
}

/// The binary below another name in the test's own folder.
fn called(sandbox: &Sandbox, name: &str, how: &str) -> PathBuf {
    let path = sandbox.dir.join(how).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match how {
        "link" => symlink(binary(), &path).unwrap(),
        // The binary may be on another file system: the copy gets a second name instead.
        "hard" => {
            let copy = path.with_file_name("another");
            fs::copy(binary(), &copy).unwrap();
            fs::hard_link(copy, &path).unwrap();
        }
        _ => drop(fs::copy(binary(), &path).unwrap()),
    }
    path
}

fn call(sandbox: &Sandbox, program: &Path, words: &[&str]) -> Call {
    let program = program.display().to_string();
    sandbox.tool_call(&[&[program.as_str()], words].concat())
}

fn a_link_a_hard_link_and_a_copy_are_runc(sandbox: &mut Sandbox) {
    for how in ["link", "hard", "copy"] {
        let runc = called(sandbox, "runc", how);
        let output = call(sandbox, &runc, &["--version"]).finish().ok();
        assert!(output.stdout.starts_with("runc version "), "{how}: {}", output.describe());
    }
}

/// docker of old reads nothing else than `runc version X`; containerd cuts off `runc version `.
fn the_first_line_of_version_is_that_of_runc(sandbox: &mut Sandbox) {
    let runc = called(sandbox, "runc", "link");
    let output = call(sandbox, &runc, &["--version"]).finish().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[0], format!("runc version {}+onggi", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines.iter().filter(|line| line.contains("version")).count(), 1, "{}", output.describe());
    let own = sandbox.bare(&["--version"]).finish().ok();
    let own: Vec<&str> = own.stdout.lines().collect();
    assert_eq!(lines[1..], own[1..], "the rest says the same");
}

fn the_default_root_is_that_of_runc(sandbox: &mut Sandbox) {
    let runc = called(sandbox, "runc", "link");
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    let there = Path::new("/run/runc").join(&id);
    // The runtime executes itself once more here: the name goes along.
    call(sandbox, &runc, &["create", "--bundle", &bundle, &id]).finish().ok();
    let found = there.exists();
    let elsewhere = Path::new("/run/onggi").join(&id).exists();
    let list = call(sandbox, &runc, &["list", "-q"]).finish();
    call(sandbox, &runc, &["delete", "--force", &id]).finish().ok();
    let gone = !there.exists();
    let _not_if_others_are_there = fs::remove_dir("/run/runc");
    assert!(found && !elsewhere && gone, "{found} {elsewhere} {gone}");
    assert_eq!(list.ok().stdout, format!("{id}\n"));
}

fn a_user_has_a_root_of_the_same_name(sandbox: &mut Sandbox) {
    let runtime = sandbox.path("xdg");
    fs::create_dir_all(format!("{runtime}/runc/web1")).unwrap();
    std::os::unix::fs::chown(&runtime, Some(1000), Some(1000)).unwrap();
    std::os::unix::fs::chown(format!("{runtime}/runc"), Some(1000), Some(1000)).unwrap();
    std::os::unix::fs::chown(format!("{runtime}/runc/web1"), Some(1000), Some(1000)).unwrap();
    let runc = called(sandbox, "runc", "copy");
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let state = call(sandbox, &runc, &["list"]).env("XDG_RUNTIME_DIR", &runtime).through(&user).finish().ok();
    assert!(state.stderr.contains("web1"), "it looked elsewhere: {}", state.describe());
    fs::remove_dir_all(runtime).unwrap();
}

fn help_and_hints_call_it_by_its_name(sandbox: &mut Sandbox) {
    let runc = called(sandbox, "runc", "link");
    for words in [&["--help"][..], &["create", "--help"], &["help"], &["help", "exec"]] {
        let help = call(sandbox, &runc, words).finish().ok();
        assert!(help.stdout.contains("Usage: runc "), "{}", help.describe());
        assert!(!help.stdout.contains("Usage: onggi"), "{}", help.describe());
    }
    call(sandbox, &runc, &["start"]).finish().error(&["(hint: see runc start --help)"]);
    call(sandbox, &runc, &[]).finish().error(&["(hint: see runc --help)"]);
}

fn any_other_name_is_onggi(sandbox: &mut Sandbox) {
    for name in ["runc-onggi", "docker-runc", "crun"] {
        let program = called(sandbox, name, "link");
        let output = call(sandbox, &program, &["--version"]).finish().ok();
        assert!(output.stdout.starts_with("onggi version "), "{name}: {}", output.describe());
    }
}
