//! What the runtime keeps on the host, against local users and containers in the host's network (invariant 17).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{S_IFDIR, S_IFMT};

use crate::harness::{Need, Sandbox};

cases! {
    cve_2020_15257_no_abstract_sockets;
    cve_2021_41103_state_is_for_root_only;
    cve_2021_41103_state_cannot_be_planted: Need::Program("setpriv");
}

/// A container in the host's network namespace reaches every abstract socket there: the runtime has none.
fn cve_2020_15257_no_abstract_sockets(sandbox: &mut Sandbox) {
    sandbox.without_namespace("network").args(&["/bin/sleep", "100"]);
    sandbox.create();
    for status in ["created", "running"] {
        if status == "running" {
            sandbox.start();
        }
        let table = fs::read_to_string(format!("/proc/{}/net/unix", sandbox.pid())).unwrap();
        let ours =
            |line: &&str| line.contains('@') && owner(line).is_some_and(|pid| belongs(pid, &sandbox.token));
        let found: Vec<&str> = table.lines().filter(ours).collect();
        assert!(found.is_empty(), "{status}: {found:?}");
    }
}

/// The process that has the socket of this line of /proc/net/unix open.
fn owner(line: &str) -> Option<i32> {
    let wanted = format!("socket:[{}]", line.split_whitespace().nth(6)?);
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid: &i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| link == Path::new(&wanted))
    })
}

fn belongs(pid: i32, token: &str) -> bool {
    ["cmdline", "environ", "cgroup"].iter().any(|name| {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        bytes.windows(token.len()).any(|window| window == token.as_bytes())
    })
}

/// Whatever the umask: folders 0700, files 0600, all root's.
fn cve_2021_41103_state_is_for_root_only(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let open = ["/bin/sh", "-c", r#"umask 0; exec "$@""#, "sh"];
    sandbox.begin("create", &[]).through(&open).finish().ok();
    assert_private(&sandbox.root());
    sandbox.onggi(&["start", &sandbox.token]).through(&open).finish().ok();
    assert_private(&sandbox.root());
    sandbox.onggi(&["kill", &sandbox.token, "KILL"]).through(&open).finish().ok();
    sandbox.wait_status("stopped");
    assert_private(&sandbox.root());
}

#[track_caller]
fn assert_private(root: &Path) {
    let mut todo: Vec<PathBuf> = vec![root.to_owned()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.mode() & S_IFMT == S_IFDIR {
            todo.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            assert_eq!(meta.permissions().mode() & 0o7777, 0o700, "{}", path.display());
        } else {
            seen += 1;
            assert_eq!(meta.permissions().mode() & 0o7777, 0o600, "{}", path.display());
        }
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{}", path.display());
    }
    assert!(seen > 0, "no state file below {}", root.display());
}

/// A local user with what another user may see: neither the state nor the container's inner folders.
fn cve_2021_41103_state_cannot_be_planted(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "--inh-caps=-all", "--"];
    for command in ["kill", "delete", "start", "state"] {
        let mut args = vec![command, sandbox.token.as_str()];
        if command == "kill" {
            args.push("KILL");
        }
        if command == "delete" {
            args.insert(1, "--force");
        }
        let output = sandbox.onggi(&args).through(&user).finish();
        let empty = command == "delete" && output.status.success();
        assert!(!output.status.success() || empty, "a user could {command}: {}", output.describe());
    }
    assert_eq!(sandbox.status(), "running");
}
