//! Races that are really run: a program exchanges a folder and a link, as fast as it can, while containers start
//! (invariants 1 to 3). What must hold does so for every single start, whoever wins.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use super::{SECRET, Setting, Trap, control, without_mounts};
use crate::harness::{Output, Sandbox};

cases! {
    cve_2021_30465_a_mount_point_is_exchanged;
    cve_2024_45310_a_folder_is_exchanged_while_mount_points_are_made;
    cve_2025_31133_null_is_exchanged;
    cve_2025_52881_proc_is_exchanged;
    cve_2026_41579_dev_is_exchanged;
}

/// As many starts as there are, if there is time for them, and no fewer than half.
const STARTS: usize = 60;
const TIME: Duration = Duration::from_secs(20);

/// Exchanges pairs of names until it is dropped.
pub(super) struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Exchange {
    pub(super) fn start(pairs: Vec<(PathBuf, PathBuf)>) -> Exchange {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            let mut done = 0;
            while !stopped.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    done += u64::from(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok());
                }
            }
            done
        };
        Exchange { stop, thread: Some(spawn(work)) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0);
        assert!(std::thread::panicking() || done > 1000, "only {done} exchanges: this was no race");
    }
}

/// Starts the container again and again; `check` sees the output of those that came up. Some must have.
fn soak(sandbox: &Sandbox, trap: &Trap, mut check: impl FnMut(&Output)) {
    let begun = Instant::now();
    let (mut starts, mut alive) = (0, 0);
    while starts < STARTS && (begun.elapsed() < TIME || starts < STARTS / 2) {
        let output = sandbox.begin("run", &[]).finish();
        trap.assert_untouched(&format!("start {starts}: {}", output.describe()));
        assert!(!output.stdout.contains(SECRET), "start {starts} shows the host: {}", output.describe());
        if output.stdout.contains("alive") {
            alive += 1;
            check(&output);
        }
        starts += 1;
    }
    assert!(alive > 0, "not one of {starts} containers came up: nothing was shown");
}

/// A folder and a link to the trap, side by side.
pub(super) fn pair(folder: &Path, name: &str, aim: &str) -> (PathBuf, PathBuf) {
    let (real, false_one) = (folder.join(name), folder.join(format!("{name}.link")));
    fs::create_dir_all(&real).unwrap();
    symlink(aim, &false_one).unwrap();
    (real, false_one)
}

/// A volume that another container shares: mounts on, and below, what is a folder now and a link to the host then.
/// Everything the link leads to exists there, so that a mount on the host would work. Each mount must be found inside,
/// once; the container must not see the host through it.
fn cve_2021_30465_a_mount_point_is_exchanged(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let (volume, source) = (sandbox.dir.join("volume"), sandbox.path("source"));
    fs::create_dir(&source).unwrap();
    let up = format!("{}{}", "../".repeat(30), trap.text().trim_start_matches('/'));
    let pairs = vec![pair(&volume, "below", &trap.text()), pair(&volume, "final", &up)];
    for (real, _) in &pairs {
        fs::create_dir(real.join("inner")).unwrap();
        fs::create_dir(real.join("shm")).unwrap();
    }
    sandbox.mount("/mnt", "bind", &volume.display().to_string(), &["rbind"]);
    sandbox.mount("/mnt/below/inner", "tmpfs", "race-one", &[]);
    sandbox.mount("/mnt/below/shm", "bind", &source, &["bind", "ro"]);
    sandbox.mount("/mnt/final", "tmpfs", "race-two", &["mode=700"]);
    // Without what is in front: the path begins where the file system of temporary folders is mounted.
    let source = format!("{}/source", sandbox.dir.file_name().unwrap().to_string_lossy());
    sandbox.script(&format!(
        "echo alive; for it in race-one race-two {source}; do grep -c -- $it /proc/self/mountinfo; done
         find / -xdev -name secret -exec cat {{}} +"
    ));
    let _race = Exchange::start(pairs);
    soak(sandbox, &trap, |output| {
        assert_eq!(output.text(), "alive\n1\n1\n1", "a mount went elsewhere: {}", output.describe());
    });
}

/// The mount points do not exist yet: whatever is made is made inside.
fn cve_2024_45310_a_folder_is_exchanged_while_mount_points_are_made(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let volume = sandbox.dir.join("volume");
    let file = sandbox.file("source/marker", "the source\n");
    let pairs =
        vec![pair(&volume, "one", &trap.text()), pair(&volume, "two", &format!("{}/inner", trap.text()))];
    sandbox.mount("/mnt", "bind", &volume.display().to_string(), &["rbind"]);
    let standard = sandbox.config["mounts"].clone();
    sandbox.script("echo alive");
    let _race = Exchange::start(pairs);
    let mut alive = 0;
    for start in 0..STARTS {
        // New names each time, so that there is something to make.
        sandbox.set("/mounts", standard.clone());
        for number in 0..5 {
            sandbox.mount(&format!("/mnt/one/{start}/{number}/deep"), "tmpfs", "tmpfs", &["size=4k"]);
            sandbox.mount(&format!("/mnt/two/{start}.{number}"), "bind", &file, &["bind"]);
        }
        let device = json!({ "path": format!("/mnt/one/null{start}"), "type": "c", "major": 1, "minor": 3 });
        sandbox.set("/linux/devices", json!([device]));
        let output = sandbox.begin("run", &[]).finish();
        trap.assert_untouched(&format!("start {start}: {}", output.describe()));
        alive += usize::from(output.stdout.contains("alive"));
    }
    assert!(alive > 0, "not one container came up: nothing was shown");
}

/// /dev/null of the image is exchanged with a link while the masks are made of it.
fn cve_2025_31133_null_is_exchanged(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let pattern = Setting::watch("/proc/sys/kernel/core_pattern");
    without_mounts(sandbox, "/dev");
    fs::write(sandbox.rootfs("etc/masked"), "must not be seen\n").unwrap();
    sandbox.set("/linux/maskedPaths/-", json!("/etc/masked"));
    let null = sandbox.rootfs("dev/null");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let device = nix::sys::stat::makedev(1, 3);
    nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, mode, device).unwrap();
    symlink("/proc/sys/kernel/core_pattern", null.with_extension("link")).unwrap();
    sandbox.script(
        "echo alive; for it in /proc/timer_list /proc/keys /etc/masked; do stat -c %t:%T $it; done
         echo pwned > /etc/masked; cat /etc/masked",
    );
    let _race = Exchange::start(vec![(null.clone(), null.with_extension("link"))]);
    soak(sandbox, &trap, |output| {
        assert_eq!(output.text(), "alive\n1:3\n1:3\n1:3", "{}", output.describe());
    });
    pattern.assert_same("an exchanged /dev/null");
}

/// /proc of the image is exchanged with a link to a false one, and to another folder of the image.
fn cve_2025_52881_proc_is_exchanged(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let root = sandbox.rootfs("/");
    let pairs = vec![pair(&root, "proc", &trap.text()), pair(&root, "sys", "/tmp")];
    sandbox
        .set("/linux/sysctl", json!({ "net.ipv4.ip_default_ttl": "78" }))
        .set("/process/oomScoreAdj", json!(777));
    // The names go on changing inside; the mounts are what counts.
    sandbox.script(
        "echo alive; cat /proc/self/oom_score_adj
         cat /proc/sys/net/ipv4/ip_default_ttl",
    );
    let _race = Exchange::start(pairs);
    soak(sandbox, &trap, |output| {
        let known = |line: &str| ["alive", "777", "78"].contains(&line);
        assert!(output.text().lines().all(known), "{}", output.describe());
    });
}

/// /dev of the image is exchanged with a link to the host while devices and links are made in it.
fn cve_2026_41579_dev_is_exchanged(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    without_mounts(sandbox, "/dev");
    let root = sandbox.rootfs("/");
    let pairs = vec![pair(&root, "dev", &trap.text())];
    sandbox.script("echo alive");
    let _race = Exchange::start(pairs);
    soak(sandbox, &trap, |_| {});
}
