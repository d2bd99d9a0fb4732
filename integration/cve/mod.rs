//! The published vulnerabilities of container runtimes, each as a test named after it.
//!
//! A test plays the attacker: a hostile root filesystem, image or volume, a process inside another container, or a
//! hook that enters the mount namespace between two steps and so is the attacker who has already won the race. It
//! fails when the attack succeeds in any part; that the runtime refuses such a container is as good as running it
//! safely, unless the test says otherwise. The threat model is in SECURITY.md.

pub(crate) mod binary;
pub(crate) mod cgroups;
pub(crate) mod descriptors;
pub(crate) mod exec;
pub(crate) mod hooks;
pub(crate) mod identity;
pub(crate) mod links;
pub(crate) mod masks;
pub(crate) mod names;
pub(crate) mod passwd;
pub(crate) mod procfs;
pub(crate) mod race;
pub(crate) mod state;
pub(crate) mod terminals;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Call, Output, Sandbox};

/// What stands in the trap's file `secret`.
const SECRET: &str = "a secret of the host";

/// A folder of the host that no container has any business with, open to everybody so that only the runtime's own
/// care protects it.
struct Trap {
    dir: PathBuf,
    before: Vec<String>,
}

impl Trap {
    /// Sets it up: a file `secret`, and files and folders with the names that runtimes create or remove.
    fn set(sandbox: &Sandbox) -> Trap {
        let dir = sandbox.dir.join("trap");
        for name in ["", "inner", "pts", "shm", "self", "self/attr", "self/fd"] {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        for name in ["ptmx", "self/attr/exec", "self/oom_score_adj", "inner/plain"] {
            fs::write(dir.join(name), "untouched\n").unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        fs::write(dir.join("secret"), format!("{SECRET}\n")).unwrap();
        let before = snapshot(&dir);
        Trap { dir, before }
    }

    fn text(&self) -> String {
        self.dir.display().to_string()
    }

    /// The ways for a symbolic link in a root filesystem to point at the folder.
    fn aims(&self) -> Vec<String> {
        let dir = self.text();
        let up = "../".repeat(40);
        vec![
            dir.clone(),
            format!("{up}{}", dir.trim_start_matches('/')),
            "../../trap".to_owned(),
            format!("/proc/self/root{dir}"),
            format!("/proc/self/cwd/{up}{}", dir.trim_start_matches('/')),
            format!("/proc/1/root{dir}"),
        ]
    }

    /// Nothing in it was made, removed, written, changed or replaced.
    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        assert_same(&self.before, &snapshot(&self.dir), what);
    }
}

/// Everything below `dir`, one line each: kind, mode, owner, size, times, content or target.
fn snapshot(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mut hasher = DefaultHasher::new();
        if meta.is_symlink() {
            fs::read_link(&path).unwrap_or_default().hash(&mut hasher);
        } else if meta.is_file() && meta.len() < 1 << 24 {
            fs::read(&path).unwrap_or_default().hash(&mut hasher);
        } else if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        lines.push(format!(
            "{} {:o} {}:{} {} {}.{:09} {:x} {:x}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            if meta.is_dir() { 0 } else { meta.len() },
            meta.ctime(),
            meta.ctime_nsec(),
            meta.rdev(),
            hasher.finish()
        ));
    }
    lines.sort();
    lines
}

/// Two snapshots are the same.
#[track_caller]
fn assert_same(before: &[String], after: &[String], what: &str) {
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    assert!(new.is_empty() && gone.is_empty(), "{what}: the host was changed; now {new:?}, before {gone:?}");
}

/// A setting of the host's kernel that an attack is after; put back when it was changed.
struct Setting {
    path: &'static str,
    before: Vec<u8>,
}

impl Setting {
    fn watch(path: &'static str) -> Setting {
        Setting { path, before: fs::read(path).unwrap() }
    }

    #[track_caller]
    fn assert_same(&self, what: &str) {
        let now = fs::read(self.path).unwrap();
        let shown = String::from_utf8_lossy(&now).into_owned();
        assert!(now == self.before, "{what}: {} of the host became {shown:?}", self.path);
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if fs::read(self.path).is_ok_and(|now| now != self.before) {
            let _ = fs::write(self.path, &self.before);
        }
    }
}

/// The runtime works at all: what a test that accepts a refusal must know first.
#[track_caller]
fn control(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("echo alive"), "alive");
}

/// Runs the container. A runtime that refuses it must leave nothing and start nothing; then there is no output.
#[track_caller]
fn attempt(sandbox: &Sandbox) -> Option<Output> {
    let output = sandbox.begin("run", &[]).finish();
    if output.stdout.contains("alive") {
        return Some(output);
    }
    assert!(!output.status.success(), "no refusal, and nothing ran: {}", output.describe());
    sandbox.clean(&output);
    None
}

/// The container must not come up, whatever the reason given.
#[track_caller]
fn must_fail(sandbox: &Sandbox, what: &str) {
    let output = attempt(sandbox);
    assert!(output.is_none(), "{what} was accepted: {}", output.unwrap().describe());
}

/// Puts a symbolic link in the root filesystem, in the place of whatever was there.
fn link(sandbox: &Sandbox, path: &str, target: &str) {
    let at = sandbox.rootfs(path);
    clear(&at);
    symlink(target, at).unwrap();
}

/// Removes whatever is at `path`.
fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Takes the mounts at and below `place` out of the configuration.
fn without_mounts(sandbox: &mut Sandbox, place: &str) {
    let below = format!("{place}/");
    sandbox.config["mounts"].as_array_mut().unwrap().retain(|mount| {
        let destination = mount["destination"].as_str().unwrap();
        destination != place && !destination.starts_with(&below)
    });
}

/// A user of the host who runs containers without root, and exists only as a number.
const USER: u32 = 12345;

/// Makes everything of the sandbox that user's, and the configuration one that needs no root.
pub(crate) fn unprivileged(sandbox: &mut Sandbox) {
    let map = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    sandbox.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    sandbox.unset("/linux/resources").unset("/linux/cgroupsPath");
    let devpts = sandbox.config["mounts"].as_array_mut().unwrap().iter_mut();
    for mount in devpts.filter(|mount| mount["type"] == "devpts") {
        mount["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
    }
    sandbox.give(USER);
    for dir in [sandbox.dir.clone(), sandbox.bundle()] {
        chown(dir, Some(USER), Some(USER)).unwrap();
    }
}

/// The call as that user.
pub(crate) fn as_user(call: Call) -> Call {
    let user = USER.to_string();
    call.through(&["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps=-all", "--"])
}

/// The hooks that run after the mounts and before the root is changed: where a won race is played.
const WON: [&str; 2] = ["createRuntime", "createContainer"];

/// Makes `script` the only hook, of this kind, run in the container's mount namespace with `$R`, the root filesystem
/// of the container, and `$T`, the trap. It proves by [`attacked`] that it came to its end.
fn attacker(sandbox: &mut Sandbox, kind: &str, script: &str) {
    let name = format!("{kind}.sh");
    let rootfs = sandbox.rootfs("/").display().to_string();
    let (trap, note) = (sandbox.path("trap"), sandbox.path("attacked"));
    let _ = fs::remove_file(&note);
    let text = format!(
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH\n\
         R={rootfs}; R=${{R%/}}; T={trap}\n\
         if [ \"$1\" != inside ]; then\n\
           pid=$(tr -d '\\n' | sed -n 's/.*\"pid\" *: *\\([0-9]*\\).*/\\1/p')\n\
           exec nsenter -t $pid -m \"$0\" inside\n\
         fi\n\
         set -e\n{script}\necho done > {note}"
    );
    let path = sandbox.tool(&name, &text);
    let args = if kind == "createContainer" { json!([path, "inside"]) } else { json!([path]) };
    let mut hooks = json!({});
    hooks[kind] = json!([{ "path": path, "args": args }]);
    sandbox.set("/hooks", hooks);
}

/// The attacker came to the end of its script.
#[track_caller]
fn attacked(sandbox: &Sandbox, output: &Output) {
    let note = sandbox.path("attacked");
    assert!(fs::exists(&note).unwrap(), "the attack was not carried out: {}", output.describe());
}
