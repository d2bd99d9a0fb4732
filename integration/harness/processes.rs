//! Processes as /proc shows them, and the orphans this program adopts: it is their subreaper, as a container engine
//! is, and reaps them only when asked to, so that a test can look at a zombie.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Children that a test started itself and will wait for itself.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A process id as std has it, as the kernel has it.
pub(crate) fn as_pid(id: u32) -> i32 {
    i32::try_from(id).unwrap()
}

/// This program's own process id.
pub(crate) fn me() -> i32 {
    as_pid(std::process::id())
}

/// Makes this program the parent of what its children leave behind.
pub(crate) fn adopt_orphans() {
    prctl::set_child_subreaper(true).unwrap();
}

/// This program once more, with its arguments. Behind `nohup`, or `&` in a script, signals are ignored, which containers
/// would inherit: by the copy none is.
pub(crate) fn copy() -> Command {
    let program = std::env::current_exe().unwrap();
    let ignored = u64::from_str_radix(&status_field(me(), "SigIgn").unwrap(), 16).unwrap();
    // By Rust itself, and undone in what it starts.
    let pipe = 1 << (Signal::SIGPIPE as u64 - 1);
    let mut copy = if ignored & !pipe == 0 {
        Command::new(program)
    } else {
        let mut env = Command::new("env");
        env.arg("--default-signal").arg(program);
        env
    };
    copy.args(std::env::args_os().skip(1));
    copy
}

/// Starts `command`; [`reap_orphans`] will leave it alone until [`forget`].
pub(crate) fn spawn(command: &mut Command) -> Child {
    let mut own = OWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    own.insert(as_pid(child.id()));
    child
}

/// Runs `command` to its end for what it prints; nobody else reaps it meanwhile.
pub(crate) fn output(command: &mut Command) -> Output {
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let pid = as_pid(child.id());
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("waiting for {command:?}: {error}"));
    forget(pid);
    output
}

/// The child has been waited for.
pub(crate) fn forget(pid: i32) {
    OWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&pid);
}

/// Reaps every adopted process that has ended. A process in this program's own session may be a child that a test
/// is about to wait for: it is left alone.
pub(crate) fn reap_orphans() {
    reap(|stat| Some(stat.session) != stat_of_me());
}

/// Reaps every process that has ended; at the end, when no test is left that could be waiting.
pub(crate) fn reap_all() {
    reap(|_| true);
}

fn reap(mine: impl Fn(&Stat) -> bool) {
    let own = OWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for stat in all().into_iter().filter_map(stat) {
        if stat.parent == me() && stat.state == 'Z' && !own.contains(&stat.pid) && mine(&stat) {
            let _ = waitpid(Pid::from_raw(stat.pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

fn stat_of_me() -> Option<i32> {
    stat(me()).map(|stat| stat.session)
}

/// Keeps a zombie as it is until [`forget`], whoever else reaps.
pub(crate) fn hold(pid: i32) {
    OWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(pid);
}

/// The children of this program with their states.
pub(crate) fn children() -> Vec<(i32, char)> {
    let me = me();
    all()
        .into_iter()
        .filter_map(stat)
        .filter(|stat| stat.parent == me)
        .map(|stat| (stat.pid, stat.state))
        .collect()
}

/// Every process id there is.
pub(crate) fn all() -> Vec<i32> {
    let names =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Whether the process exists and has not ended: a zombie is not alive.
pub(crate) fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| !['Z', 'X'].contains(&stat.state))
}

/// The process's state, field 3 of /proc/PID/stat; none if it is gone.
pub(crate) fn state_of(pid: i32) -> Option<char> {
    stat(pid).map(|stat| stat.state)
}

/// The process's parent.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.parent)
}

/// The children of `parent` in this state.
pub(crate) fn processes_in_state(parent: i32, state: char) -> Vec<i32> {
    let all = all().into_iter().filter_map(stat);
    all.filter(|stat| stat.parent == parent && stat.state == state).map(|stat| stat.pid).collect()
}

/// When the process started, in clock ticks since boot.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_time)
}

/// A field of /proc/PID/status, without its name.
pub(crate) fn status_field(pid: i32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// The processes that belong to the sandbox `token`, each with what gives it away.
pub(crate) fn belonging_to(token: &str) -> Vec<(i32, String)> {
    let me = me();
    // A zombie holds nothing any more; it waits for its parent, which is this program or will be ended too.
    let others = all().into_iter().filter(|&pid| pid != me && is_alive(pid));
    others.filter_map(|pid| evidence(pid, token).map(|what| (pid, what))).collect()
}

fn evidence(pid: i32, token: &str) -> Option<String> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let has = |bytes: &[u8]| bytes.windows(token.len()).any(|window| window == token.as_bytes());
    let command = || String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    let found = ["cgroup", "environ", "cmdline"].into_iter().find(|name| has(&read(name)));
    let root = || {
        let table = read("mountinfo");
        let mut lines = table.split(|&byte| byte == b'\n');
        lines.any(|line| line.split(|&byte| byte == b' ').nth(4) == Some(b"/") && has(line)).then_some("root")
    };
    found.or_else(root).map(|name| format!("by its {name}: {}", command()))
}

struct Stat {
    pid: i32,
    state: char,
    parent: i32,
    session: i32,
    start_time: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let state = fields.first()?.chars().next()?;
    let parent = fields.get(1)?.parse().ok()?;
    let session = fields.get(3)?.parse().ok()?;
    Some(Stat { pid, state, parent, session, start_time: fields.get(19)?.parse().ok()? })
}
