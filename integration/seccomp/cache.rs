//! Compiled filters are kept: the second container pays next to nothing, and nobody but the owner of the state root
//! can put a filter of his own there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use serde_json::json;

use super::docker;
use crate::harness::{Need, Sandbox};

cases! {
    the_second_container_compiles_nothing;
    the_second_container_pays_next_to_nothing: Need::Program("strace");
    another_profile_is_another_entry;
    an_entry_that_was_changed_is_not_used;
    an_entry_of_somebody_else_is_not_used;
    a_directory_of_somebody_else_is_not_used;
    a_link_in_its_place_is_not_followed;
    it_is_private;
    many_creators_at_once;
    a_full_cache_starts_anew;
    list_passes_it_over;
    a_profile_that_is_refused_is_not_kept;
}

/// Runs the container with docker's profile, which must be in force; whether a filter was compiled.
#[track_caller]
fn compiles(sandbox: &mut Sandbox) -> bool {
    sandbox.script("unshare -n true 2>/dev/null || echo denied");
    sandbox.write_config();
    let (bundle, log) = (sandbox.path("bundle"), sandbox.path("log"));
    let words = ["--debug", "--log", &log, "run", "--bundle", &bundle, &sandbox.token];
    assert_eq!(sandbox.onggi(&words).finish().ok().text(), "denied");
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    text.contains("compiling the filter")
}

/// The first container with docker's profile, which fills the cache; the entry.
fn filled(sandbox: &mut Sandbox) -> PathBuf {
    sandbox.set("/linux/seccomp", docker()).capabilities(&["CAP_SYS_ADMIN"]);
    assert!(compiles(sandbox), "the first one compiles");
    let entries = entries(sandbox);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

fn entries(sandbox: &Sandbox) -> Vec<PathBuf> {
    fs::read_dir(sandbox.root().join(":seccomp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn the_second_container_compiles_nothing(sandbox: &mut Sandbox) {
    filled(sandbox);
    assert!(!compiles(sandbox) && !compiles(sandbox));
    // How it is loaded decides nothing about the program.
    sandbox.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_LOG"]));
    assert!(!compiles(sandbox));
}

/// What a cached filter may add to a container's system calls: asking the kernel, reading the cache, keeping the
/// program for exec and removing it, loading.
const MOST: usize = 32;

fn the_second_container_pays_next_to_nothing(sandbox: &mut Sandbox) {
    filled(sandbox);
    let count = |sandbox: &Sandbox| {
        let trace = sandbox.path("trace");
        sandbox.begin("run", &[]).through(&["strace", "-f", "-o", &trace]).limit(60).finish().ok();
        let text = fs::read_to_string(&trace).unwrap();
        let foreign = ["+++ ", "--- ", "F_GETFD", "resumed>"];
        text.lines().filter(|line| !foreign.iter().any(|word| line.contains(word))).count()
    };
    sandbox.args(&["/bin/true"]);
    let with = count(sandbox);
    sandbox.unset("/linux/seccomp");
    let without = count(sandbox);
    assert!(with <= without + MOST, "{with} system calls with a filter, {without} without");
}

fn another_profile_is_another_entry(sandbox: &mut Sandbox) {
    filled(sandbox);
    sandbox.set("/linux/seccomp/syscalls/0/names/-", json!("keyctl"));
    assert!(compiles(sandbox));
    assert_eq!(entries(sandbox).len(), 2);
    sandbox.set("/linux/seccomp/defaultErrnoRet", json!(2));
    assert!(compiles(sandbox) && !compiles(sandbox));
    assert_eq!(entries(sandbox).len(), 3);
}

fn an_entry_that_was_changed_is_not_used(sandbox: &mut Sandbox) {
    let entry = filled(sandbox);
    let good = fs::read(&entry).unwrap();
    let last = good.len() - 1;
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    let longer = [good.as_slice(), &[0; 8]].concat();
    // Head, lengths, hash, inputs, program; cut off, empty, and with more behind it.
    let bad = [0, 12, 20, 24, 40, last - 100, last].map(flipped).into_iter();
    for bad in bad.chain([good[..last].to_vec(), good[..50].to_vec(), Vec::new(), longer]) {
        fs::write(&entry, &bad).unwrap();
        assert!(compiles(sandbox), "a bad entry was used");
        assert_eq!(fs::read(&entry).unwrap(), good, "and was replaced");
        assert!(!compiles(sandbox));
    }
}

fn an_entry_of_somebody_else_is_not_used(sandbox: &mut Sandbox) {
    let entry = filled(sandbox);
    chown(&entry, Some(12345), None).unwrap();
    assert!(compiles(sandbox) && !compiles(sandbox));
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&entry, fs::Permissions::from_mode(mode)).unwrap();
        assert!(compiles(sandbox) && !compiles(sandbox), "{mode:o}");
    }
}

fn a_directory_of_somebody_else_is_not_used(sandbox: &mut Sandbox) {
    filled(sandbox);
    let directory = sandbox.root().join(":seccomp");
    chown(&directory, Some(12345), None).unwrap();
    assert!(compiles(sandbox) && compiles(sandbox), "neither read nor written");
    chown(&directory, Some(0), None).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(compiles(sandbox) && compiles(sandbox));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!compiles(sandbox));
}

fn a_link_in_its_place_is_not_followed(sandbox: &mut Sandbox) {
    let entry = filled(sandbox);
    let (directory, elsewhere) = (sandbox.root().join(":seccomp"), sandbox.dir.join("elsewhere"));
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    assert!(compiles(sandbox), "not read through a link");
    assert_eq!(fs::read(&elsewhere).unwrap(), before, "nor written");
    assert!(!entry.is_symlink() && !compiles(sandbox));
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(sandbox.dir.join("trap")).unwrap();
    symlink(sandbox.dir.join("trap"), &directory).unwrap();
    assert!(compiles(sandbox) && compiles(sandbox));
    assert!(fs::read_dir(sandbox.dir.join("trap")).unwrap().next().is_none());
    // Whatever stands there: it is only a cache.
    fs::remove_file(&directory).unwrap();
    fs::write(&directory, "").unwrap();
    assert!(compiles(sandbox));
    fs::remove_file(&directory).unwrap();
}

fn it_is_private(sandbox: &mut Sandbox) {
    let entry = filled(sandbox);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&entry), mode(&sandbox.root().join(":seccomp"))), (0o600, 0o700));
    sandbox.start_sleeper();
    let kept = sandbox.root().join(&sandbox.token).join("seccomp");
    assert_eq!(mode(&kept), 0o600, "what exec loads");
    let entry = fs::read(entry).unwrap();
    assert!(entry.ends_with(&fs::read(kept).unwrap()));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

fn many_creators_at_once(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker()).script("unshare -n true 2>/dev/null || echo denied");
    sandbox.unset("/linux/cgroupsPath");
    sandbox.write_config();
    let (bundle, ids) = (sandbox.path("bundle"), (0..8).map(|number| format!("{}-{number}", sandbox.token)));
    let calls: Vec<_> = ids
        .map(|id| {
            let words = ["--cgroup-manager", "disabled", "run", "--bundle", &bundle, &id];
            sandbox.onggi(&words).limit(60).spawn()
        })
        .collect();
    for call in calls {
        assert_eq!(call.finish().ok().text(), "denied");
    }
    let entries = entries(sandbox);
    assert_eq!(entries.len(), 1, "{entries:?}");
}

fn a_full_cache_starts_anew(sandbox: &mut Sandbox) {
    let entry = filled(sandbox);
    let directory = sandbox.root().join(":seccomp");
    for number in 0..70 {
        fs::write(directory.join(format!("{number:016x}")), "old").unwrap();
    }
    sandbox.set("/linux/seccomp/defaultErrnoRet", json!(2));
    assert!(compiles(sandbox));
    assert_eq!(entries(sandbox).len(), 1);
    assert!(!entry.exists());
}

fn list_passes_it_over(sandbox: &mut Sandbox) {
    filled(sandbox);
    let output = sandbox.onggi(&["list", "--format", "json"]).finish().ok();
    assert!(["[]", "null"].contains(&output.text()), "{}", output.describe());
    assert_eq!(output.stderr, "", "and does not call it foreign");
    for command in ["state", "delete", "start"] {
        let output = sandbox.onggi(&[command, ":seccomp"]).finish();
        output.error(&["invalid container ID format"]);
    }
}

fn a_profile_that_is_refused_is_not_kept(sandbox: &mut Sandbox) {
    // Of another byte order than this machine.
    let foreign = if cfg!(target_endian = "little") { "SCMP_ARCH_PPC" } else { "SCMP_ARCH_AARCH64" };
    sandbox.set("/linux/seccomp", docker()).set("/linux/seccomp/architectures/-", json!(foreign));
    for _ in 0..2 {
        sandbox.refused(&["linux.seccomp.architectures[3]", foreign]);
    }
    assert!(!sandbox.root().join(":seccomp").exists());
}
