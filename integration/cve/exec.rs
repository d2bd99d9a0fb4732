//! `exec` into a container that is hostile: it watches for the newcomer in /proc, and has replaced its own /proc, /dev,
//! /etc/passwd, programs and folders. The windows that an attacker has to hit are held open by strace, which makes
//! the newcomer wait before its system calls; a soak without strace goes with it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use serde_json::json;

use super::binary::{ALL, CATCH, Copy, give_interpreter, stuffed_pipe};
use super::descriptors::leaking;
use super::race::{Exchange, pair};
use super::{SECRET, Trap, clear, link};
use crate::exec::{exec, inside, refused};
use crate::harness::{Call, Need, Output, Sandbox, reap_orphans, status_field, until};

cases! {
    cve_2016_9962_exec_seen_from_inside: Need::Program("strace");
    cve_2016_9962_exec_seen_with_ptrace: Need::Program("strace");
    cve_2016_9962_exec_seen_with_ptrace_in_a_user_namespace: Need::Program("strace"), Need::UserNamespaces;
    cve_2016_9962_exec_seen_from_a_neighbour: Need::Program("strace");
    cve_2016_9962_exec_seen_in_a_soak;
    cve_2019_5736_exec_of_the_runtime;
    cve_2019_5736_exec_of_a_script_that_the_runtime_interprets;
    cve_2022_29162_exec_adds_nothing_inheritable;
    cve_2024_21626_exec_in_a_working_directory;
    cve_2024_21626_exec_in_a_working_directory_that_is_exchanged;
    cve_2024_21626_exec_of_a_program_that_is_exchanged;
    cve_2025_52881_exec_with_a_false_proc_and_dev;
    invariant_7_exec_gets_no_descriptors_of_the_caller;
    invariant_12_exec_reads_a_hostile_passwd;
    invariant_1_exec_with_a_hostile_path;
}

/// What stands in the runtime's environment, and is none of a container's business.
const TOKEN: &str = "a-token-of-the-engine";

/// Looks at every process that is no program of the container, in every way that /proc offers, until /stop is there.
/// /met: one line for each look; /found: what is the host's; /links: what its links say; /caps: its rights.
const PROWL: &str = r#"cd /; while [ ! -e /begin ]; do sleep 0.02; done
    up=../../../../../../../../../../../../../../../..
    while [ ! -e /stop ]; do
      for pid in /proc/[0-9]*; do
        case "$(readlink $pid/exe)" in */busybox) continue;; esac
        case "$(cat $pid/stat)" in *") Z "*|"") continue;; esac
        [ "$pid" = /proc/1 ] && continue
        grep ^CapEff $pid/status >> /caps && echo $pid >> /met
        for at in $pid/root $pid/cwd/$up $pid/fd/*/$up $pid/task/*/root; do
          [ -f $at/$TRAP/secret ] && echo "$at: $(cat $at/$TRAP/secret)" >> /found
        done
        for at in $pid/fd/* $pid/cwd $pid/root; do
          to=$(readlink $at) && echo "${at##*/} $to" >> /links
          case "$to" in *secret) cat $at >> /found;; esac
        done
        (printf pwned >> $pid/exe); chmod 777 $pid/exe; touch $pid/exe
        tr '\0' '\n' < $pid/environ | grep token-of-the >> /found
        (exec 9< $pid/exe; case "$(readlink /proc/self/fd/9)" in */busybox) ;; *) echo $pid >> /read;; esac)
        case "$(cat $pid/maps)" in *busybox*|"") ;; *) echo $pid >> /mapped;; esac
      done
      echo . >> /rounds
    done 2>/dev/null
    sleep 100"#;

/// What the prowler wrote.
fn note(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.rootfs(name)).unwrap_or_default()
}

/// Starts the container that will prowl.
fn start_prowler(sandbox: &mut Sandbox, trap: &Trap) {
    sandbox.script(PROWL).set("/process/env/-", json!(format!("TRAP={}", trap.text())));
    sandbox.begin("run", &["--detach"]).finish().ok();
}

fn prowl(sandbox: &Sandbox) {
    fs::write(sandbox.rootfs("begin"), "").unwrap();
    assert!(until(10, || !note(sandbox, "rounds").is_empty()), "the prowler does not prowl");
}

/// The call, held for a while before each of these system calls of the process that enters and the one that stays.
fn slowly(sandbox: &Sandbox, call: Call) -> Call {
    let trace = sandbox.path("trace");
    let held = "prctl,setsid,execve";
    let inject = format!("inject={held}:delay_enter=40000");
    let words = ["strace", "-f", "-o", &trace, "-e", &format!("trace={held}"), "-e", &inject];
    call.through(&words).limit(60)
}

/// What the prowler has to show in the end: it met the newcomer, found nothing of the host's, and no rights beyond
/// `rights`, the capabilities of the container.
fn nothing_found(sandbox: &Sandbox, trap: &Trap, rights: u64) {
    fs::write(sandbox.rootfs("stop"), "").unwrap();
    assert!(!note(sandbox, "met").is_empty(), "the prowler met nobody: nothing was shown");
    let found: BTreeSet<String> = note(sandbox, "found").lines().map(str::to_owned).collect();
    assert!(found.is_empty(), "exec gave this away: {found:?}");
    for line in note(sandbox, "caps").lines() {
        let held = u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
        assert_eq!(held & !rights, 0, "a newcomer with {held:x}, the container has {rights:x}");
    }
    for line in note(sandbox, "links").lines() {
        let (name, to) = line.split_once(' ').unwrap();
        let stdio = ["0", "1", "2"].contains(&name);
        let own = to == "/" || to.starts_with("socket:[") || to.starts_with("/proc");
        assert!(stdio || own, "{name} leads to {to}");
    }
    trap.assert_untouched("prowling");
}

/// A few execs that take their time, seen by the container.
fn seen_slowly(sandbox: &Sandbox, trap: &Trap) {
    for _ in 0..2 {
        let call = leaking(exec(sandbox, &[], &["/bin/true"]).env("TOKEN", TOKEN), trap);
        slowly(sandbox, call).finish().ok();
    }
}

/// The capabilities of the usual container: CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE.
const USUAL: u64 = 0x2000_0420;

fn cve_2016_9962_exec_seen_from_inside(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    start_prowler(sandbox, &trap);
    prowl(sandbox);
    seen_slowly(sandbox, &trap);
    nothing_found(sandbox, &trap, USUAL);
    assert_eq!((note(sandbox, "read"), note(sandbox, "mapped")), (String::new(), String::new()));
}

/// Allowed to trace processes of the host's user namespace, it can look into the newcomer: which has nothing to show
/// but a copy of the runtime, and no rights that the container lacks.
fn cve_2016_9962_exec_seen_with_ptrace(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]);
    start_prowler(sandbox, &trap);
    prowl(sandbox);
    seen_slowly(sandbox, &trap);
    nothing_found(sandbox, &trap, 1 << 19 | 1 << 1 | 1 << 3);
}

fn cve_2016_9962_exec_seen_with_ptrace_in_a_user_namespace(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.user_namespace().capabilities(&ALL);
    start_prowler(sandbox, &trap);
    prowl(sandbox);
    seen_slowly(sandbox, &trap);
    nothing_found(sandbox, &trap, u64::MAX);
    assert_eq!((note(sandbox, "read"), note(sandbox, "mapped")), (String::new(), String::new()));
}

/// A second container in the pid namespace of the first: the one that prowls is not the one that is entered.
fn cve_2016_9962_exec_seen_from_a_neighbour(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    start_prowler(sandbox, &trap);
    let (pid, first) = (sandbox.pid(), sandbox.token.clone());
    sandbox.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    let second = format!("{first}-second");
    sandbox.set("/linux/cgroupsPath", json!(format!("/{first}/{second}"))).args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    sandbox.onggi(&["run", "--detach", "--bundle", &bundle, &second]).finish().ok();
    prowl(sandbox);
    for _ in 0..2 {
        let call = sandbox.onggi(&["exec", &second, "/bin/true"]).env("TOKEN", TOKEN);
        slowly(sandbox, leaking(call, &trap)).finish().ok();
    }
    nothing_found(sandbox, &trap, 1 << 19 | 1 << 1);
    sandbox.onggi(&["delete", "--force", &second]).finish().ok();
    reap_orphans();
}

fn cve_2016_9962_exec_seen_in_a_soak(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    start_prowler(sandbox, &trap);
    prowl(sandbox);
    for _ in 0..60 {
        leaking(exec(sandbox, &[], &["/bin/true"]).env("TOKEN", TOKEN), &trap).finish().ok();
    }
    // Whom it met is chance here.
    fs::write(sandbox.rootfs("met"), ".").unwrap();
    nothing_found(sandbox, &trap, USUAL);
    assert_eq!(note(sandbox, "read"), "");
}

/// Named directly, the runtime is no program of the container, under any name.
fn cve_2019_5736_exec_of_the_runtime(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    sandbox.set("/process/noNewPrivileges", json!(false)).capabilities(&ALL);
    sandbox.start_sleeper();
    link(sandbox, "linked", "/proc/self/exe");
    link(sandbox, "bin/tool", "/proc/thread-self/exe");
    for program in ["/proc/self/exe", "/proc/thread-self/exe", "/linked", "tool", "/proc/1/exe", "/dev/fd/3"]
    {
        let output = copy.call(sandbox, &["exec", &sandbox.token, program, "--version"]).finish();
        assert!(output.status.code() == Some(255) && output.stdout.is_empty(), "{}", output.describe());
        copy.assert_untouched(program);
    }
}

/// As the interpreter of a script it may run, as a process of the container; a neighbour opens it then, keeps the
/// descriptor, and writes when the runtime is gone.
fn cve_2019_5736_exec_of_a_script_that_the_runtime_interprets(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    give_interpreter(sandbox);
    sandbox.script(CATCH).capabilities(&ALL).set("/process/noNewPrivileges", json!(false));
    sandbox.begin("run", &["--detach"]).finish().ok();
    let pipe = stuffed_pipe(sandbox);
    let onto = format!(r#"exec "$@" >>{}"#, sandbox.path("pipe"));
    let call = copy.call(sandbox, &["exec", &sandbox.token, "/entry"]);
    let running = call.through(&["/bin/sh", "-c", &onto, "sh"]).spawn();
    fs::write(sandbox.rootfs("go"), "").unwrap();
    let caught = until(3, || sandbox.rootfs("caught").exists());
    copy.assert_untouched("while the process lives");
    // The pipe is emptied: the interpreter comes to its end, and the runtime with it.
    drop(pipe);
    running.finish();
    reap_orphans();
    fs::write(sandbox.rootfs("gone"), "").unwrap();
    assert!(!caught || until(5, || sandbox.rootfs("over").exists()), "the attacker got stuck");
    copy.assert_untouched("after the process is gone");
    assert_eq!(fs::read_to_string(sandbox.rootfs("done")).unwrap_or_default(), "");
}

/// Also where the container's own process has inheritable capabilities.
fn cve_2022_29162_exec_adds_nothing_inheritable(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let sets = |sandbox: &Sandbox| {
        inside(sandbox, &["--cap", "CAP_CHOWN"], "grep -e ^CapInh -e ^CapAmb /proc/self/status")
    };
    let none = "0000000000000000";
    assert_eq!(sets(sandbox), format!("CapInh:\t{none}\nCapAmb:\t{none}"));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let kill = json!(["CAP_KILL"]);
    for set in ["inheritable", "ambient"] {
        sandbox.set(&format!("/process/capabilities/{set}"), kill.clone());
    }
    sandbox.start_sleeper();
    let own = "0000000000000020";
    assert_eq!(sets(sandbox), format!("CapInh:\t{own}\nCapAmb:\t{own}"), "CAP_KILL alone");
}

/// Through a descriptor of the caller or the runtime, or another magic link.
fn cve_2024_21626_exec_in_a_working_directory(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.start_sleeper();
    let mut places: Vec<String> = (3..20).map(|number| format!("/proc/self/fd/{number}")).collect();
    places.extend((3..10).map(|number| format!("/proc/1/fd/{number}")));
    let more = [
        "/proc/self/cwd",
        "/proc/1/cwd",
        "/proc/1/root",
        "/proc/self/fd/7/..",
        "/dev/fd/7",
        "/linked",
        "/chained",
    ];
    places.extend(more.map(str::to_owned));
    link(sandbox, "linked", "/proc/self/fd/7");
    link(sandbox, "chained", "linked/inner");
    for place in &places {
        let words = ["/bin/cat", "secret", "../secret", "inner/plain"];
        let output = leaking(exec(sandbox, &["--cwd", place], &words), &trap).finish().code(255);
        assert!(output.stderr.contains("process.cwd"), "{place}: {}", output.describe());
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    // In the runtime's own pid namespace /proc/self is there.
    sandbox.without_namespace("pid").start_sleeper();
    for place in &places {
        leaking(exec(sandbox, &["--cwd", place], &["/bin/cat", "secret"]), &trap).finish().code(255);
    }
    trap.assert_untouched("working directories");
}

/// What a process that stands somewhere must not be able to read.
fn never_outside(sandbox: &Sandbox, options: &[&str], command: &[&str], trap: &Trap) -> u32 {
    let mut ran = 0;
    for _ in 0..60 {
        let output: Output = leaking(exec(sandbox, options, command), trap).finish();
        assert!(!output.stdout.contains(SECRET), "{}", output.describe());
        ran += u32::from(output.stdout.contains("alive"));
    }
    ran
}

fn cve_2024_21626_exec_in_a_working_directory_that_is_exchanged(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.start_sleeper();
    let root = sandbox.rootfs("/");
    for aim in [&trap.text(), "/proc/self/fd/7", "/proc/1/root"] {
        let exchange = Exchange::start(vec![pair(&root, "place", aim)]);
        let up = "../../../../../../../../../..";
        let words = ["/bin/sh", "-c", &format!("echo alive; cat secret {up}{}/secret", trap.text())];
        assert!(never_outside(sandbox, &["--cwd", "/place"], &words, &trap) > 0, "never came up");
        drop(exchange);
        for name in ["place", "place.link"] {
            clear(&root.join(name));
        }
    }
    trap.assert_untouched("an exchanged working directory");
}

/// A program of the container, and a link to one of the host's that the runtime would find, not the container.
fn cve_2024_21626_exec_of_a_program_that_is_exchanged(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    let host = sandbox.tool("trap-tool", &format!("echo {SECRET}"));
    sandbox.start_sleeper();
    let root = sandbox.rootfs("/");
    for aim in [&host, &format!("/proc/self/fd/3{host}"), "/proc/self/exe"] {
        let (real, _) = pair(&root, "tool", aim);
        clear(&real);
        fs::write(&real, "#!/bin/sh\necho alive\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
        let exchange = Exchange::start(vec![(root.join("tool"), root.join("tool.link"))]);
        assert!(never_outside(sandbox, &[], &["/tool", "--version"], &trap) > 0, "never came up");
        drop(exchange);
        for name in ["tool", "tool.link"] {
            clear(&root.join(name));
        }
    }
    trap.assert_untouched("an exchanged program");
}

/// The container has covered /proc and /dev with its own: what exec writes and reads there must not matter.
fn cve_2025_52881_exec_with_a_false_proc_and_dev(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.capabilities(&ALL).set("/process/oomScoreAdj", json!(345));
    sandbox.script(
        "mkdir -p /fake/self/fd /fake/self/attr /fake/self/task /fake/thread-self/attr /fake/1 /fakedev
         for f in exe oom_score_adj uid_map setgroups status attr/exec attr/current timens_offsets; do
           echo trapped > /fake/self/$f; echo trapped > /fake/1/$f; done
         ln -s /etc/passwd /fake/self/fd/3; mkfifo /fakedev/null /fakedev/tty /fakedev/ptmx
         mount -t tmpfs none /proc; mount --bind /fake /proc; mount --bind /fakedev /dev && echo up > /up; sleep 100",
    );
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    let before = fs::read_dir(sandbox.rootfs("fake/self")).unwrap().count();
    let file = sandbox.path("pid");
    let options = [
        "--detach",
        "--pid-file",
        &file,
        "--user",
        "1000:7",
        "--additional-gids",
        "10",
        "--cwd",
        "/home/user",
    ];
    exec(sandbox, &options, &["/bin/sleep", "77"]).finish().ok();
    let pid: i32 = fs::read_to_string(file).unwrap().parse().unwrap();
    let field = |name: &str| status_field(pid, name).unwrap();
    assert_eq!((field("Uid").as_str(), field("Groups").as_str()), ("1000\t1000\t1000\t1000", "10"));
    assert_eq!((field("CapEff").as_str(), field("NoNewPrivs").as_str()), ("0000000000000000", "1"));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "345\n");
    assert_eq!(fs::read_dir(sandbox.rootfs("fake/self")).unwrap().count(), before);
    for entry in ["oom_score_adj", "attr/exec", "uid_map"] {
        assert_eq!(
            fs::read_to_string(sandbox.rootfs(&format!("fake/self/{entry}"))).unwrap_or("trapped\n".into()),
            "trapped\n"
        );
    }
    trap.assert_untouched("a false proc");
}

fn invariant_7_exec_gets_no_descriptors_of_the_caller(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.start_sleeper();
    let list = "for it in 3 4 5 6 7 8 9 10 11 12 13; do [ -e /proc/$$/fd/$it ] && ls -l /proc/$$/fd/$it; done; echo alive";
    let output = leaking(exec(sandbox, &[], &["/bin/sh", "-c", list]), &trap).finish().ok();
    assert_eq!(output.text(), "alive");
    trap.assert_untouched("descriptors");
}

/// As for the container's first process: in time, in small memory, and from nowhere else.
fn invariant_12_exec_reads_a_hostile_passwd(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.start_sleeper();
    let passwd = sandbox.rootfs("etc/passwd");
    let mode = Mode::from_bits_truncate(0o644);
    fs::write(trap.dir.join("inner/passwd"), format!("root:x:0:0::/{SECRET}:/bin/sh\n")).unwrap();
    let outside = format!("{}/inner/passwd", trap.text());
    for kind in ["fifo", "zero", "folder", "socket", "huge", "loop", "outside", "magic", "fd", "kmsg"] {
        clear(&passwd);
        match kind {
            "fifo" => mkfifo(&passwd, mode).unwrap(),
            "zero" => mknod(&passwd, SFlag::S_IFCHR, mode, makedev(1, 5)).unwrap(),
            "folder" => fs::create_dir(&passwd).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&passwd).unwrap()),
            "huge" => File::create(&passwd).unwrap().set_len(4 << 30).unwrap(),
            "loop" => link(sandbox, "etc/passwd", "passwd"),
            "outside" => link(sandbox, "etc/passwd", &outside),
            "magic" => link(sandbox, "etc/passwd", &format!("/proc/1/root{outside}")),
            "fd" => link(sandbox, "etc/passwd", "/proc/self/fd/3"),
            _ => link(sandbox, "etc/passwd", "/proc/kmsg"),
        }
        let small = ["/bin/sh", "-c", r#"ulimit -d 131072; exec "$@""#, "sh"];
        let call = leaking(exec(sandbox, &[], &["/bin/sh", "-c", "echo $HOME"]), &trap);
        let output = call.through(&small).limit(10).finish().ok();
        assert_eq!(output.text(), "/", "{kind}");
    }
    clear(&passwd);
    fs::write(&passwd, format!("root:x:0:0::/home\u{7f}{}:/\n", "x".repeat(5000))).unwrap();
    assert!(inside(sandbox, &[], "echo ${#HOME}").parse::<u32>().unwrap() > 5000);
}

/// Folders and programs that block, lead out, or never end.
fn invariant_1_exec_with_a_hostile_path(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    let host = sandbox.tool("tools/tool", &format!("echo {SECRET}"));
    sandbox.start_sleeper();
    let mode = Mode::from_bits_truncate(0o755);
    fs::create_dir(sandbox.rootfs("evil")).unwrap();
    mkfifo(&sandbox.rootfs("fifo"), mode).unwrap();
    let folder = std::path::Path::new(&host).parent().unwrap().display().to_string();
    link(sandbox, "out", &folder);
    link(sandbox, "loop", "loop");
    link(sandbox, "magic", "/proc/1/root");
    let path = format!(
        "PATH=/fifo:/loop:/out:{folder}:/proc/1/root{folder}:/magic{folder}:/proc/self/fd/7/../tools:/evil:::/dev/fd/7/../tools"
    );
    let parts = ["exec: \"tool\"", "executable file not found in $PATH"];
    for kind in ["nothing", "fifo", "device", "folder", "socket", "link"] {
        let tool = sandbox.rootfs("evil/tool");
        clear(&tool);
        match kind {
            "nothing" => {}
            "fifo" => mkfifo(&tool, mode).unwrap(),
            "device" => mknod(&tool, SFlag::S_IFCHR, mode, makedev(1, 5)).unwrap(),
            "folder" => fs::create_dir(&tool).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&tool).unwrap()),
            _ => link(sandbox, "evil/tool", &host),
        }
        let known = ["nothing", "link"].contains(&kind);
        let parts = if known { &parts[..] } else { &["exec: \"tool\": permission denied"] };
        let output = refused(sandbox, &["--env", &path], &["tool"], parts);
        assert!(!output.stdout.contains(SECRET), "{kind}: {}", output.describe());
    }
    trap.assert_untouched("a hostile PATH");
}
