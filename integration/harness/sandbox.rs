//! What a test works with: a bundle, a state root and a cgroup parent of its own, and the runtime's commands.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::binary;
use super::{Call, Layout, Output, bundle, leaks, patience};

/// The world of one test.
pub(crate) struct Sandbox {
    /// Which cgroups it is on.
    pub(crate) layout: Layout,
    /// A name that nothing else on this machine has; also the id of the usual container.
    pub(crate) token: String,
    /// config.json as it will be written by the next call that needs it.
    pub(crate) config: Value,
    /// The test's own folder, which also holds the bundle.
    pub(crate) dir: PathBuf,
    folder: Option<TempDir>,
    calls: AtomicU32,
    stamp: (u64, u64, i64, i64),
}

/// Asks until the answer is yes, at most `seconds` (of this machine: [`patience`]); says whether it was.
pub(crate) fn until(seconds: u64, mut question: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience::limit(seconds);
    while !question() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(3));
    }
    true
}

impl Sandbox {
    /// A new one, with a root filesystem and the standard configuration.
    pub(crate) fn new(layout: Layout) -> Sandbox {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!("onggi-test-{}-{number:04}", std::process::id());
        let folder = tempfile::Builder::new().prefix(&format!("{token}.")).tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let dir = folder.path().to_owned();
        fs::create_dir(dir.join("calls")).unwrap();
        bundle::make_rootfs(&dir.join("bundle/rootfs"));
        let config = bundle::config(&format!("/{token}/{token}"));
        let calls = AtomicU32::new(0);
        Sandbox { layout, token, config, dir, folder: Some(folder), calls, stamp: stamp() }
    }

    // Where things are.

    /// The bundle.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    /// A file below the root filesystem, as the host sees it.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.bundle().join("rootfs").join(path.trim_start_matches('/'))
    }

    /// The state root.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A file of the test's own folder, as text for a config.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Makes a file in the test's own folder and returns its path as text.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Makes an executable shell script of the host in the test's own folder and returns its path as text.
    pub(crate) fn tool(&self, name: &str, script: &str) -> String {
        let path = self.file(name, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The directory of the usual container's cgroup in the hierarchy of `controller`.
    #[track_caller]
    pub(crate) fn cgroup(&self, controller: &str) -> PathBuf {
        self.cgroup_of(controller, self.config["linux"]["cgroupsPath"].as_str().unwrap())
    }

    /// The directory of the cgroup `path` in the hierarchy of `controller`.
    #[track_caller]
    pub(crate) fn cgroup_of(&self, controller: &str, path: &str) -> PathBuf {
        self.layout.cgroup(controller, path).unwrap_or_else(|| panic!("no {controller} hierarchy"))
    }

    /// Removes the cgroup `path` in every hierarchy, where it is there and empty.
    pub(crate) fn remove_cgroups(&self, path: &str) {
        for hierarchy in self.layout.hierarchies() {
            let _ = fs::remove_dir(hierarchy.mount.join(path.trim_start_matches('/')));
        }
    }

    // The configuration.

    /// Sets the value at a JSON pointer (`/linux/sysctl`); a missing last part is added, `-` appends to an array.
    #[track_caller]
    pub(crate) fn set(&mut self, pointer: &str, value: Value) -> &mut Sandbox {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let parent = self.config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent} in the config"));
        match parent {
            Value::Array(list) if last == "-" || last == list.len().to_string() => list.push(value),
            Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
            parent => parent[last] = value,
        }
        self
    }

    /// Removes the value at a JSON pointer.
    #[track_caller]
    pub(crate) fn unset(&mut self, pointer: &str) -> &mut Sandbox {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        match self.config.pointer_mut(parent).unwrap() {
            Value::Array(list) => drop(list.remove(last.parse::<usize>().unwrap())),
            parent => drop(parent.as_object_mut().unwrap().remove(last)),
        }
        self
    }

    /// The process is this shell script.
    pub(crate) fn script(&mut self, script: &str) -> &mut Sandbox {
        self.set("/process/args", json!(["/bin/sh", "-c", script]))
    }

    /// The process has these arguments.
    pub(crate) fn args(&mut self, args: &[&str]) -> &mut Sandbox {
        self.set("/process/args", json!(args))
    }

    /// The process has these capabilities, bounding, effective and permitted.
    pub(crate) fn capabilities(&mut self, names: &[&str]) -> &mut Sandbox {
        self.set(
            "/process/capabilities",
            json!({ "bounding": names, "effective": names, "permitted": names }),
        )
    }

    /// Adds a mount.
    pub(crate) fn mount(
        &mut self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> &mut Sandbox {
        let mount = json!({ "destination": destination, "type": kind, "source": source, "options": options });
        self.set("/mounts/-", mount)
    }

    /// Adds a namespace, or replaces the one of that type.
    pub(crate) fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Sandbox {
        self.without_namespace(kind);
        let namespace =
            path.map_or_else(|| json!({ "type": kind }), |path| json!({ "type": kind, "path": path }));
        self.set("/linux/namespaces/-", namespace)
    }

    /// Removes a namespace.
    pub(crate) fn without_namespace(&mut self, kind: &str) -> &mut Sandbox {
        self.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|it| it["type"] != kind);
        self
    }

    /// A new user namespace whose root is the host's user 100000; the root filesystem is given to it.
    pub(crate) fn user_namespace(&mut self) -> &mut Sandbox {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        self.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        self.give(100_000);
        self
    }

    /// Gives the root filesystem to a user of the host.
    pub(crate) fn give(&self, owner: u32) {
        fn all(path: &Path, owner: u32) {
            std::os::unix::fs::lchown(path, Some(owner), Some(owner)).unwrap();
            if path.is_dir() && !path.is_symlink() {
                fs::read_dir(path).unwrap().flatten().for_each(|entry| all(&entry.path(), owner));
            }
        }
        all(&self.rootfs("/"), owner);
    }

    /// Writes config.json, as a whole: a call that is under way still reads the old one.
    pub(crate) fn write_config(&self) {
        let new = self.dir.join("config.json.new");
        fs::write(&new, serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
        fs::rename(new, self.bundle().join("config.json")).unwrap();
    }

    // The runtime.

    /// A call with exactly these arguments.
    pub(crate) fn bare(&self, args: &[&str]) -> Call {
        let program = binary().into_os_string();
        let words = std::iter::once(program).chain(args.iter().map(Into::into));
        Call::new(words, &self.next_output()).env("ONGGI_TEST", &self.token)
    }

    fn next_output(&self) -> PathBuf {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        self.dir.join("calls").join(format!("{number:05}"))
    }

    /// A call with this test's `--root` in front of the arguments.
    pub(crate) fn onggi(&self, args: &[&str]) -> Call {
        let root = self.path("state");
        let all: Vec<&str> = ["--root", &root].into_iter().chain(args.iter().copied()).collect();
        self.bare(&all)
    }

    /// A call of another program than the runtime.
    pub(crate) fn tool_call(&self, words: &[&str]) -> Call {
        Call::new(words, &self.next_output()).env("ONGGI_TEST", &self.token)
    }

    /// `create` or `run` of the usual container with more options, the configuration written.
    pub(crate) fn begin(&self, command: &str, options: &[&str]) -> Call {
        self.write_config();
        let bundle = self.path("bundle");
        let mut args = vec![command, "--bundle", &bundle];
        args.extend(options);
        args.push(&self.token);
        self.onggi(&args)
    }

    /// Runs the container in the foreground.
    #[track_caller]
    pub(crate) fn run(&self) -> Output {
        self.begin("run", &[]).finish()
    }

    /// Runs a shell script in the container and returns what it prints.
    #[track_caller]
    pub(crate) fn prove(&mut self, script: &str) -> String {
        self.script(script);
        self.run().ok().text().to_owned()
    }

    /// Creates the container, which must succeed.
    #[track_caller]
    pub(crate) fn create(&self) -> Output {
        self.begin("create", &[]).finish().ok()
    }

    /// Creates and starts a container that waits to be killed.
    #[track_caller]
    pub(crate) fn start_sleeper(&mut self) -> i32 {
        self.args(&["/bin/sleep", "100"]);
        self.create();
        self.start();
        self.pid()
    }

    /// Starts the container, which must succeed.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.onggi(&["start", &self.token]).finish().ok();
    }

    /// Sends the container a signal, which must succeed.
    #[track_caller]
    pub(crate) fn kill(&self, signal: &str) {
        self.onggi(&["kill", &self.token, signal]).finish().ok();
    }

    /// Deletes the container, which must succeed.
    #[track_caller]
    pub(crate) fn delete(&self) {
        self.onggi(&["delete", &self.token]).finish().ok();
    }

    /// `delete --force`. What joined the container and lost its parent belongs to us: its pid namespace does not end before
    /// it is reaped.
    pub(crate) fn force(&self, id: &str) -> Output {
        let mut delete = self.onggi(&["delete", "--force", id]).spawn();
        until(20, || {
            super::reap_orphans();
            delete.has_ended()
        });
        delete.finish()
    }

    /// The container's state.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        let output = self.onggi(&["state", &self.token]).finish().ok();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.describe()))
    }

    /// The container's status.
    #[track_caller]
    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap_or_default().to_owned()
    }

    /// The pid of the container's init.
    #[track_caller]
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Waits until the container has this status.
    #[track_caller]
    pub(crate) fn wait_status(&self, wanted: &str) {
        let mut last = String::new();
        let reached = until(10, || {
            last = self.status();
            last == wanted
        });
        assert!(reached, "the container stays {last}, wanted {wanted}");
    }

    /// Waits until a container's output file, made by `call`, holds `wanted`.
    #[track_caller]
    pub(crate) fn wait_file(&self, path: impl AsRef<Path>, wanted: &str) -> String {
        let mut last = String::new();
        let reached = until(10, || {
            last = fs::read_to_string(path.as_ref()).unwrap_or_default();
            last.contains(wanted)
        });
        assert!(reached, "{} has {last:?}, wanted {wanted:?}", path.as_ref().display());
        last
    }

    /// `create` must refuse the configuration: an error line with every one of `parts`, and nothing left behind.
    #[track_caller]
    pub(crate) fn refused(&self, parts: &[&str]) -> Output {
        let pid_file = self.path("refused.pid");
        let output = self.begin("create", &["--pid-file", &pid_file]).finish().error(parts);
        assert!(!Path::new(&pid_file).exists(), "a pid file after {}", output.describe());
        let known = |line: &str| line.starts_with("error: ") || line.starts_with("warning: ");
        assert!(output.stderr.lines().all(known), "other lines on stderr: {}", output.describe());
        self.clean(&output);
        output
    }

    /// Nothing of any container may be left after `output`.
    #[track_caller]
    pub(crate) fn clean(&self, output: &Output) {
        let mut left = Vec::new();
        let gone = until(3, || {
            left = leaks::find(&self.token, self.layout, &self.root());
            left.is_empty()
        });
        assert!(gone, "left behind:\n  {}\n  after {}", left.join("\n  "), output.describe());
    }

    /// Deletes what is still there by id and says what then is left.
    pub(crate) fn close(&mut self) -> Vec<String> {
        for entry in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            let _ = self.force(&entry.file_name().to_string_lossy());
        }
        let mut left = Vec::new();
        until(3, || {
            left = leaks::find(&self.token, self.layout, &self.root());
            left.is_empty()
        });
        if stamp() != self.stamp {
            left.push("the binary was written to".into());
        }
        left
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.close();
        if !leaks::find(&self.token, self.layout, &self.root()).is_empty() {
            leaks::sweep(&self.token, self.layout);
        }
        leaks::remove_parent(&self.token, self.layout);
        drop(self.folder.take());
    }
}

/// What changes when somebody writes to the binary.
fn stamp() -> (u64, u64, i64, i64) {
    let file = fs::metadata(binary()).unwrap();
    (file.ino(), file.size(), file.mtime_nsec(), file.ctime_nsec())
}
