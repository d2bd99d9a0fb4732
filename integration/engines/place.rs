//! Where an engine lives: a mount and a network namespace of its own, in which the folders of engines are empty, /etc is
//! a copy that may be written to, and the onggi under test is installed as /usr/local/sbin/onggi. Nothing of it is seen
//! outside, and all of it is gone with its processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::processes;
use crate::harness::{Call, Layout, Running, Sandbox, binary, limit, reap_orphans, until};

/// What makes the place, in namespaces of its own: its first argument is a folder, the second the runtime. Mounts are
/// shared in it, as on a machine with systemd.
const MAKE: &str = r#"
    set -e
    mkdir "$1/run" "$1/etc"
    mount -t tmpfs -o mode=755 run "$1/run"
    for door in systemd dbus user; do
        [ ! -d /run/$door ] || { mkdir "$1/run/$door"; mount --rbind /run/$door "$1/run/$door"; }
    done
    mount --no-mtab --move "$1/run" /run
    mount -t tmpfs -o mode=755 lib /var/lib
    mount -t tmpfs -o mode=755 log /var/log
    mount -t tmpfs -o mode=755 sbin /usr/local/sbin
    install -m 755 "$2" /usr/local/sbin/onggi
    mount -t tmpfs -o mode=755 etc "$1/etc"
    mkdir "$1/etc/upper" "$1/etc/work"
    mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc/upper,workdir=$1/etc/work" etc /etc
    [ ! -d /home/tester ] || { mount -t tmpfs -o mode=755,uid=1000,gid=1000 home /home/tester; }
    mount --make-rshared /
    ip link set lo up
    # A way to nowhere: some engines want a default route.
    if ip link add eth0 type dummy 2>/dev/null; then
        ip address add 192.0.2.2/24 dev eth0
        ip link set eth0 up
        ip route add default via 192.0.2.1
    fi
    : >"$1/ready"
    exec sleep 7200
"#;

/// The runtime, as the engines of a place find it.
pub(crate) const ONGGI: &str = "/usr/local/sbin/onggi";

/// One engine's place.
pub(crate) struct Place {
    sandbox: Sandbox,
    holder: Running,
    daemons: Mutex<Vec<Running>>,
    last: Vec<String>,
}

/// An engine by its name; none of it where it could not be started.
type Shared = (&'static str, Option<Arc<Place>>);

/// The engines that tests share.
static SHARED: Mutex<Vec<Shared>> = Mutex::new(Vec::new());

/// The engine of this name, which the first test that asks has `open` start.
pub(crate) fn shared(name: &'static str, layout: Layout, open: fn(Layout) -> Place) -> Arc<Place> {
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, place)) = all.iter().find(|(known, _)| *known == name) {
        return place.clone().unwrap_or_else(|| panic!("{name} did not start, as the first test of it says"));
    }
    match catch_unwind(AssertUnwindSafe(|| open(layout))) {
        Ok(place) => {
            let place = Arc::new(place);
            all.push((name, Some(place.clone())));
            place
        }
        Err(panic) => {
            all.push((name, None));
            drop(all);
            resume_unwind(panic)
        }
    }
}

/// The cgroups that were there before the first place.
static BEFORE: OnceLock<(Layout, BTreeSet<PathBuf>)> = OnceLock::new();

/// Stops the engines that tests shared, and says what they have left.
pub(crate) fn close_all() -> Vec<String> {
    let all = std::mem::take(&mut *SHARED.lock().unwrap_or_else(PoisonError::into_inner));
    let mut left = Vec::new();
    for (name, place) in all.into_iter().filter_map(|(name, place)| Some((name, place?))) {
        let lines = match Arc::into_inner(place) {
            Some(place) => place.close(),
            None => vec!["runs on, as a test of it has not ended".to_owned()],
        };
        left.extend(lines.into_iter().map(|line| format!("{name}: {line}")));
    }
    let Some((layout, before)) = BEFORE.get() else { return left };
    let new = || layout.cgroups().into_iter().filter(|dir| !before.contains(dir));
    until(5, || {
        reap_orphans();
        !new().any(|dir| is_container(&dir))
    });
    left.extend(new().filter(|dir| is_container(dir)).map(|dir| format!("cgroup {}", dir.display())));
    // What ctr, docker and podman put their containers' cgroups into stays; what is inside comes first.
    const KEPT: [&str; 4] = ["libpod_parent/conmon", "libpod_parent", "docker", "default"];
    for name in KEPT {
        for dir in new().filter(|dir| dir.ends_with(name)) {
            let _ = fs::remove_dir(dir);
        }
    }
    left
}

impl Place {
    /// A new one.
    pub(crate) fn open(layout: Layout) -> Place {
        let sandbox = Sandbox::new(layout);
        BEFORE.get_or_init(|| (layout, layout.cgroups()));
        let folder = sandbox.path("place");
        fs::create_dir(&folder).unwrap();
        let runtime = binary().display().to_string();
        let words = [
            "unshare",
            "--mount",
            "--net",
            "--propagation",
            "private",
            "sh",
            "-c",
            MAKE,
            "sh",
            &folder,
            &runtime,
        ];
        let mut holder = sandbox.tool_call(&words).through(&["setsid"]).spawn();
        let ready = until(10, || Path::new(&folder).join("ready").exists() || holder.has_ended());
        assert!(ready && !holder.has_ended(), "the place cannot be made: {}", holder.stderr());
        Place { sandbox, holder, daemons: Mutex::new(Vec::new()), last: Vec::new() }
    }

    /// The sandbox behind it, whose folder is seen in it too.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A call of a program in here, on behalf of a test.
    pub(crate) fn call(&self, owner: &Sandbox, words: &[&str]) -> Call {
        let pid = self.holder.pid().to_string();
        owner
            .tool_call(words)
            .env("HOME", "/root")
            .through(&["nsenter", "--target", &pid, "--mount", "--net", "--wd=/"])
    }

    /// A file in here, as the test sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.pid()))
    }

    /// Writes a file in here, such as an engine's configuration.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.inside(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Connects to a port of this place's loopback interface.
    #[track_caller]
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        let network = File::open(format!("/proc/{}/ns/net", self.holder.pid())).unwrap();
        // A thread may be in another network than its process.
        let connect = || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            TcpStream::connect(("127.0.0.1", port))
        };
        let stream = std::thread::scope(|scope| scope.spawn(connect).join().unwrap()).unwrap();
        stream.set_read_timeout(Some(limit(20))).unwrap();
        stream
    }

    /// Reads a file in here.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.inside(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command that ends what the engine still runs: containers of tests that failed, processes of its own.
    pub(crate) fn at_the_end(&mut self, words: &[&str]) {
        self.last = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Starts the engine's daemon, and waits until `question` of it is answered. A second time where it gives up by
    /// itself: dockerd has no patience with its containerd, which an emulated machine has to read from the disk first.
    #[track_caller]
    pub(crate) fn start_daemon(&self, words: &[&str], question: &[&str]) {
        let answers = || self.call(&self.sandbox, question).finish().status.success();
        for again in [true, false] {
            let mut daemon = self.call(&self.sandbox, words).through(&["setsid"]).spawn();
            let up = until(60, || {
                // What a killed daemon has left is this program's child.
                reap_orphans();
                daemon.has_ended() || answers()
            });
            if up && !daemon.has_ended() {
                self.daemons().push(daemon);
                return;
            }
            assert!(again && up, "{} does not come up: {}", words[0], last_lines(&daemon.stderr()));
        }
    }

    /// Sends the daemon that was started last a signal, and waits for its end.
    #[track_caller]
    pub(crate) fn end_daemon(&self, signal: Signal) {
        let Some(mut daemon) = self.daemons().pop() else { return };
        daemon.signal(signal);
        let ended = until(20, || daemon.has_ended());
        assert!(ended, "the daemon does not end: {}", last_lines(&daemon.stderr()));
        drop(daemon.finish());
    }

    /// Kills every process of these programs in here, and those that they were about to start. A child is its parent's
    /// program until it executes another, and in the middle of that has no command line to know it by.
    #[track_caller]
    pub(crate) fn kill_all(&self, programs: &[&str]) {
        let link = |pid: i32, name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
        let here = link(self.holder.pid(), "ns/mnt");
        let ours = |&pid: &i32| {
            let program = link(pid, "exe").unwrap_or_default();
            programs.iter().any(|name| program.ends_with(name)) && link(pid, "ns/mnt") == here
        };
        let gone = until(20, || {
            let all: Vec<i32> = processes::all().into_iter().filter(ours).collect();
            for &pid in &all {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            reap_orphans();
            all.is_empty()
        });
        assert!(gone, "{programs:?} come again and again");
    }

    /// Ends what is still there, and says what the engine has left of containers.
    pub(crate) fn close(mut self) -> Vec<String> {
        let mut left = Vec::new();
        if !self.last.is_empty() {
            let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
            drop(self.call(&self.sandbox, &last).finish());
        }
        while let Some(mut daemon) = { self.daemons().pop() } {
            daemon.signal(Signal::SIGTERM);
            if !until(20, || daemon.has_ended()) {
                left.push(format!("the daemon does not end: {}", last_lines(&daemon.stderr())));
            }
        }
        self.holder.signal(Signal::SIGKILL);
        drop(self.holder);
        left.extend(self.sandbox.close());
        left
    }

    /// The daemons, in the order of their starts.
    fn daemons(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n    ")
}

/// Whether a cgroup is that of a container of podman or docker: its name has their 64 digits in it. Those of containerd
/// bear the names of the tests, which look for them themselves.
fn is_container(cgroup: &Path) -> bool {
    let name = cgroup.file_name().unwrap_or_default().to_string_lossy();
    let mut words = name.split(|letter: char| !letter.is_ascii_hexdigit());
    words.any(|word| word.len() == 64)
}
