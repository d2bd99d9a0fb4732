//! What goes wrong around a runtime: the disk of its states is full or read-only, the pid file cannot be written, the engine
//! that called it is killed. Each is an error that names the path and the reason, or leaves what `delete --force` removes.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

use crate::harness::{Call, Layout, Need, Output, Sandbox, is_alive, until};

cases! {
    a_full_disk_below_the_root_is_named;
    a_disk_without_inodes_is_named: Need::Only(Layout::V2);
    a_container_is_managed_on_a_full_disk: Need::Controller("pids");
    a_full_disk_for_the_pid_file_is_named;
    a_read_only_root_is_named: Need::Only(Layout::V2);
    a_container_is_managed_below_a_read_only_root;
    too_few_descriptors_leave_nothing;
    answers_that_cannot_be_written_are_errors: Need::Only(Layout::V2);
    a_root_that_is_a_file_is_named: Need::Only(Layout::V2);
    a_killed_caller_of_create_leaves_what_force_removes: Need::Program("setpriv");
    a_killed_caller_of_start_leaves_what_force_removes: Need::Program("setpriv"), Need::Only(Layout::V2);
    a_killed_caller_of_exec_leaves_what_force_removes: Need::Program("setpriv"), Need::Only(Layout::V2);
}

/// A small file system of its own, gone with this value.
struct Disk(PathBuf);

impl Disk {
    fn new(sandbox: &Sandbox, name: &str, options: &str) -> Disk {
        let point = sandbox.dir.join(name);
        fs::create_dir_all(&point).unwrap();
        mount(Some("tmpfs"), &point, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Disk(point)
    }

    /// Takes all of its space but so many bytes.
    fn fill(&self, but: u64) {
        let filler = self.0.join("filler~");
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(but)).unwrap();
    }

    /// Gives the space back.
    fn empty(&self) {
        fs::remove_file(self.0.join("filler~")).unwrap();
    }

    fn read_only(&self, yes: bool) {
        let flags = if yes { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
        mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "filler~")
            .collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// The error names the place and the reason, and neither a state, a cgroup nor a process is left.
#[track_caller]
fn refused(sandbox: &Sandbox, disk: &Disk, output: Output, reason: &str) {
    let output = output.error(&[&disk.0.display().to_string(), reason]);
    assert_eq!(disk.names(), Vec::<String>::new(), "{}", output.describe());
    assert!(!sandbox.cgroup("devices").exists(), "a cgroup after {}", output.describe());
}

const FULL: &str = "no space left on device";

fn a_full_disk_below_the_root_is_named(sandbox: &mut Sandbox) {
    let disk = Disk::new(sandbox, "state", "size=64k");
    for pages in [0, 1, 2, 3, 8] {
        disk.fill(pages * 4096);
        let create = sandbox.begin("create", &[]).finish();
        if create.status.success() {
            assert!(pages > 0, "{}", create.describe());
            sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
            assert_eq!(disk.names(), Vec::<String>::new());
        } else {
            assert!(pages < 8, "{}", create.describe());
            refused(sandbox, &disk, create, FULL);
        }
        disk.empty();
    }
    disk.fill(0);
    let run = sandbox.begin("run", &[]).finish();
    refused(sandbox, &disk, run, FULL);
    disk.empty();
    sandbox.run().ok();
}

fn a_disk_without_inodes_is_named(sandbox: &mut Sandbox) {
    for inodes in 1..5 {
        let disk = Disk::new(sandbox, "state", &format!("nr_inodes={inodes}"));
        let create = sandbox.begin("create", &[]).finish();
        if create.status.success() {
            assert!(inodes > 2, "{}", create.describe());
            sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        } else {
            refused(sandbox, &disk, create, FULL);
        }
    }
}

/// Only what must remember something needs space.
fn a_container_is_managed_on_a_full_disk(sandbox: &mut Sandbox) {
    let disk = Disk::new(sandbox, "state", "size=64k");
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    disk.fill(0);
    sandbox.start();
    let id = sandbox.token.clone();
    sandbox.onggi(&["exec", &id, "true"]).finish().ok();
    let limit = sandbox.cgroup("pids").join("pids.max");
    let before = fs::read_to_string(&limit).unwrap();
    let update = sandbox.onggi(&["update", "--pids-limit", "77", &id]).finish();
    update.error(&["update", &disk.0.display().to_string(), FULL]);
    assert_eq!(fs::read_to_string(&limit).unwrap(), before, "an update is all or nothing");
    sandbox.onggi(&["pause", &id]).finish().ok();
    sandbox.onggi(&["resume", &id]).finish().ok();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    assert_eq!(disk.names(), Vec::<String>::new());
}

fn a_full_disk_for_the_pid_file_is_named(sandbox: &mut Sandbox) {
    let disk = Disk::new(sandbox, "pids", "size=64k");
    disk.fill(0);
    let pid_file = sandbox.path("pids/init.pid");
    for command in ["create", "run"] {
        let output = sandbox.begin(command, &["--pid-file", &pid_file]).finish();
        refused(sandbox, &disk, output.error(&["--pid-file"]), FULL);
    }
    assert!(!sandbox.root().join(&sandbox.token).exists());
    sandbox.start_sleeper();
    let exec = ["exec", "--detach", "--pid-file", &pid_file, &sandbox.token, "sleep", "100"];
    let exec = sandbox.onggi(&exec).finish().code(255);
    assert!(exec.stderr.contains(FULL) && exec.stderr.contains(&pid_file), "{}", exec.describe());
    let ps = sandbox.onggi(&["ps", "--format", "json", &sandbox.token]).finish().ok();
    assert_eq!(ps.text(), format!("[{}]", sandbox.pid()), "the process of exec is gone");
    assert_eq!(disk.names(), Vec::<String>::new());
}

fn a_read_only_root_is_named(sandbox: &mut Sandbox) {
    let disk = Disk::new(sandbox, "state", "size=64k");
    disk.read_only(true);
    for command in ["create", "run"] {
        let output = sandbox.begin(command, &[]).finish();
        refused(sandbox, &disk, output, "read-only file system");
    }
    sandbox.onggi(&["list"]).finish().ok();
    sandbox.onggi(&["state", &sandbox.token]).finish().error(&["does not exist"]);
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    // A root that is still to be made.
    let below = sandbox.path("state/a/b");
    sandbox.write_config();
    let create = ["--root", &below, "create", "--bundle", &sandbox.path("bundle"), "x"];
    sandbox.bare(&create).finish().error(&["state/a", "read-only file system"]);
}

/// What a file system says when it has found itself damaged: it is read-only from then on.
fn a_container_is_managed_below_a_read_only_root(sandbox: &mut Sandbox) {
    let disk = Disk::new(sandbox, "state", "size=256k");
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    disk.read_only(true);
    let id = sandbox.token.clone();
    let start = sandbox.onggi(&["start", &id]).finish().ok();
    assert!(start.stderr.contains("read-only file system"), "{}", start.describe());
    assert_eq!(sandbox.status(), "running");
    let pid = sandbox.pid();
    sandbox.onggi(&["exec", &id, "true"]).finish().ok();
    sandbox.onggi(&["pause", &id]).finish().ok();
    sandbox.onggi(&["resume", &id]).finish().ok();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    for words in [&["delete", &id][..], &["delete", "--force", &id]] {
        let place = disk.0.join(&id).display().to_string();
        sandbox.onggi(words).finish().error(&[&place, "read-only file system"]);
    }
    assert!(!is_alive(pid) && !sandbox.cgroup("devices").exists(), "only the state is left");
    disk.read_only(false);
    sandbox.delete();
    assert_eq!(disk.names(), Vec::<String>::new());
}

fn a_root_that_is_a_file_is_named(sandbox: &mut Sandbox) {
    let root = sandbox.file("no-root", "");
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    for words in
        [&["create", "--bundle", &bundle, "x"][..], &["list"], &["state", "x"], &["delete", "--force", "x"]]
    {
        let all = [&["--root", root.as_str()], words].concat();
        sandbox.bare(&all).finish().error(&[&root, "not a directory"]);
    }
}

/// From hardly any descriptors to enough, one by one: each is the one that is missing somewhere.
fn too_few_descriptors_leave_nothing(sandbox: &mut Sandbox) {
    let mut enough = false;
    for most in 5..200 {
        let limited = ["sh", "-c", "ulimit -Sn \"$0\" && exec \"$@\"", &most.to_string()];
        let create = sandbox.begin("create", &[]).through(&limited).finish();
        if create.status.success() {
            enough = true;
            break;
        }
        let create = create.error(&["too many open files"]);
        sandbox.clean(&create);
    }
    assert!(enough, "200 descriptors are not enough");
}

/// /dev/full, as a full disk, and a reader that has gone.
fn answers_that_cannot_be_written_are_errors(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let id = sandbox.token.clone();
    for words in [
        &["state", &id][..],
        &["list"],
        &["list", "--format", "json"],
        &["ps", "--format", "json", &id],
        &["events", "--stats", &id],
        &["features"],
        &["--version"],
        &["--help"],
    ] {
        let full = sandbox.onggi(words).through(&["sh", "-c", "exec \"$@\" > /dev/full", "sh"]).finish();
        full.error(&["standard output", "No space left"]);
    }
}

/// As containerd's shim and conmon call: the runtime is killed by the kernel when its caller dies, and does not begin if
/// the caller died before the kernel was told so. What then loses its parent is reaped by us if it is of another session.
fn with_its_caller(call: Call) -> Call {
    let runtime = r#"setpriv --pdeathsig KILL sh -c '[ $PPID = "$0" ] && exec "$@"' $$ "$@""#;
    call.through(&["setsid", "sh", "-c", &format!("{runtime} & wait $!"), "sh"])
}

/// The moments at which a caller is killed, in parts of the time that the call takes.
const MOMENTS: u32 = 8;

/// Kills the caller at each moment, and wants the container to be removable then.
fn killed_callers(sandbox: &mut Sandbox, prepare: fn(&mut Sandbox), call: fn(&Sandbox) -> Call) {
    prepare(sandbox);
    let begun = Instant::now();
    with_its_caller(call(sandbox)).finish().ok();
    let whole = begun.elapsed();
    swept(sandbox, "unharmed");
    for moment in 0..MOMENTS {
        prepare(sandbox);
        let caller = with_its_caller(call(sandbox)).spawn();
        sleep(whole.mul_f64(f64::from(moment) / f64::from(MOMENTS)));
        caller.signal(Signal::SIGKILL);
        drop(caller);
        swept(sandbox, &format!("caller killed at {moment}/{MOMENTS} of {whole:?}"));
    }
}

#[track_caller]
fn swept(sandbox: &Sandbox, when: &str) {
    // The runtime dies with its caller, but not at the same instant; nobody is told of its end.
    assert!(until(5, || !is_calling(sandbox)), "{when}: the caller lives on");
    let begun = Instant::now();
    let output = sandbox.force(&sandbox.token);
    assert!(output.status.success(), "{when}: {}", output.describe());
    assert!(begun.elapsed() < crate::harness::limit(8), "{when}: it waited for somebody");
    sandbox.clean(&output);
}

/// Whether a caller of this sandbox is there, or what is about to become the runtime.
fn is_calling(sandbox: &Sandbox) -> bool {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.any(|line| line.contains("$PPID") && line.contains(&sandbox.token))
}

fn a_killed_caller_of_create_leaves_what_force_removes(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    killed_callers(sandbox, |_| {}, |sandbox| sandbox.begin("create", &[]));
}

fn a_killed_caller_of_start_leaves_what_force_removes(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    killed_callers(
        sandbox,
        |sandbox| drop(sandbox.create()),
        |sandbox| sandbox.onggi(&["start", &sandbox.token]),
    );
}

fn a_killed_caller_of_exec_leaves_what_force_removes(sandbox: &mut Sandbox) {
    let exec = |sandbox: &Sandbox| sandbox.onggi(&["exec", "--detach", &sandbox.token, "/bin/sleep", "100"]);
    killed_callers(sandbox, started, exec);
}

fn started(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
}
