//! Terminals: what the process has, what the caller's terminal goes through, console sockets. Each terminal is a real
//! one, typed on and read by the test.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use crate::harness::{Call, Need, Output, Pty, Running, Sandbox, is_alive, reap_orphans, until};

cases! {
    the_process_has_a_terminal;
    console_is_the_terminal;
    nothing_else_is_open;
    size_of_the_callers_terminal;
    size_of_a_window_that_changes;
    console_size_without_a_terminal_of_the_callers;
    console_size_that_is_too_large_is_refused;
    what_is_typed_is_echoed_once;
    ctrl_c_goes_to_the_process_in_the_foreground;
    callers_terminal_is_put_back_at_the_end;
    callers_terminal_is_put_back_after_a_kill;
    callers_terminal_is_put_back_after_an_error;
    callers_terminal_is_put_back_after_a_crash;
    callers_terminal_that_is_gone_hangs_up;
    output_to_a_file_is_plain;
    output_of_a_megabyte_is_whole;
    last_output_of_a_process_is_seen;
    input_from_a_file_ends;
    terminal_closed_and_opened_again;
    signals_are_forwarded_while_nobody_reads;
    output_that_nobody_will_read_hangs_up;
    detached_without_a_socket_is_refused;
    socket_without_a_detached_terminal_is_refused;
    console_socket_gets_the_master;
    console_socket_of_run;
    console_socket_that_is_not_there;
    console_socket_that_nobody_accepts;
    without_devpts_is_an_error;
    owner_is_the_user;
    owner_in_a_user_namespace: Need::UserNamespaces;
    rootless: Need::UserNamespaces, Need::Program("setpriv");
    read_only_root;
    without_pivot_root;
    kernel_without_mount_setattr;
    devices_of_the_host: Need::File("/dev/console");
    exec_has_a_terminal;
    exec_owner_is_the_user;
    exec_owner_in_a_user_namespace: Need::UserNamespaces;
    exec_console_socket;
    exec_detached_without_a_socket_is_refused;
    exec_puts_the_callers_terminal_back;
    examples_of_the_document;
}

/// The container on a terminal.
fn on(sandbox: &mut Sandbox, pty: &Pty, script: &str) -> Running {
    sandbox.set("/process/terminal", json!(true)).script(script);
    sandbox.begin("run", &[]).on(pty).spawn()
}

/// With the usual script: a line, and then it waits.
fn waiting(sandbox: &mut Sandbox, pty: &Pty, before: &str) -> Running {
    let running = on(sandbox, pty, &format!("{before} echo up; while :; do sleep 0.02; done"));
    pty.see("up\r\n");
    running
}

fn the_process_has_a_terminal(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let script =
        "tty; for n in 0 1 2; do readlink /proc/self/fd/$n; done; cut -d' ' -f5-8 /proc/1/stat; exit 3";
    on(sandbox, &pty, script).finish().code(3);
    // Group, session, the terminal 136:0, its foreground group.
    let expected = ["/dev/pts/0"; 4].join("\r\n") + "\r\n1 1 34816 1\r\n";
    assert_eq!(pty.rest(), expected);
}

fn console_is_the_terminal(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let script =
        "stat -c '%t:%T %u:%g %a' /dev/console /dev/pts/0 /dev/tty; echo x > /dev/console; echo y > /dev/tty";
    on(sandbox, &pty, script).finish().ok();
    assert_eq!(pty.rest(), "88:0 0:5 620\r\n88:0 0:5 620\r\n5:0 0:0 666\r\nx\r\ny\r\n");
    sandbox.set("/process/terminal", json!(false));
    assert_eq!(
        sandbox.prove("ls /dev/console /dev/pts/0 2>&1 | wc -l; ls /dev/pts"),
        "2\nptmx",
        "none unasked"
    );
}

fn nothing_else_is_open(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    // 10 is the shell's own, for job control; 3 is the directory that ls reads.
    on(sandbox, &pty, "ls /proc/self/fd").finish().ok();
    let rest = pty.rest();
    let open: Vec<&str> = rest.split_whitespace().filter(|fd| *fd != "10").collect();
    assert_eq!(open, ["0", "1", "2", "3"]);
}

fn size_of_the_callers_terminal(sandbox: &mut Sandbox) {
    sandbox.set("/process/consoleSize", json!({ "height": 10, "width": 20 }));
    let pty = Pty::new(33, 99);
    on(sandbox, &pty, "stty size").finish().ok();
    assert_eq!(pty.rest(), "33 99\r\n");
    let unknown = Pty::new(0, 0);
    on(sandbox, &unknown, "stty size").finish().ok();
    assert_eq!(unknown.rest(), "10 20\r\n");
}

fn size_of_a_window_that_changes(sandbox: &mut Sandbox) {
    let pty = Pty::new(33, 99);
    let running = waiting(sandbox, &pty, "trap 'stty size' WINCH;");
    for (rows, columns) in [(44, 55), (20, 300)] {
        pty.resize(rows, columns);
        pty.see(&format!("{rows} {columns}\r\n"));
    }
    running.signal(Signal::SIGKILL);
    assert!(!running.finish().status.success());
}

fn console_size_without_a_terminal_of_the_callers(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    let script = "stty size 2>/dev/null; echo .";
    assert_eq!(sandbox.prove(script), ".", "unknown");
    sandbox.set("/process/consoleSize", json!({ "height": 50, "width": 132 }));
    assert_eq!(sandbox.prove(script), "50 132\n.");
    sandbox.set("/process/consoleSize", json!({ "height": 0, "width": 132 }));
    assert_eq!(sandbox.prove(script), ".", "as if it were not given");
}

fn console_size_that_is_too_large_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    sandbox.set("/process/consoleSize", json!({ "height": 50, "width": 65536 }));
    sandbox.run().error(&["process.consoleSize.width", "65536"]);
}

fn what_is_typed_is_echoed_once(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let running = on(sandbox, &pty, "echo up; cat; echo end");
    pty.see("up\r\n");
    pty.type_in("hello\n");
    // Once by the terminal inside, once by cat; ctrl-D is nothing to see.
    pty.see("hello\r\nhello\r\n");
    pty.type_in("\x04");
    running.finish().ok();
    assert_eq!(pty.rest(), "end\r\n");
}

fn ctrl_c_goes_to_the_process_in_the_foreground(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let running =
        on(sandbox, &pty, "trap 'echo caught' INT; sh -c 'echo up; exec sleep 100'; echo status $?; exit 7");
    pty.see("up\r\n");
    pty.type_in("\x03");
    running.finish().code(7);
    let shown = pty.rest();
    assert!(shown.contains("caught\r\n") && shown.contains("status 130\r\n"), "{shown:?}");
}

fn callers_terminal_is_put_back_at_the_end(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let before = pty.modes();
    let running = on(sandbox, &pty, "echo up; read x; exit 4");
    pty.see("up\r\n");
    assert_ne!(pty.modes(), before, "it is raw meanwhile");
    pty.type_in("\r");
    running.finish().code(4);
    assert_eq!(pty.modes(), before);
}

fn callers_terminal_is_put_back_after_a_kill(sandbox: &mut Sandbox) {
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP"), (Signal::SIGINT, "INT")] {
        let pty = Pty::new(24, 80);
        let before = pty.modes();
        let running = waiting(sandbox, &pty, &format!("trap 'exit 9' {name};"));
        running.signal(signal);
        running.finish().code(9);
        assert_eq!(pty.modes(), before, "{name}");
    }
    let pty = Pty::new(24, 80);
    let before = pty.modes();
    let running = waiting(sandbox, &pty, "");
    sandbox.kill("KILL");
    running.finish().code(137);
    assert_eq!(pty.modes(), before);
}

fn callers_terminal_is_put_back_after_an_error(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let before = pty.modes();
    sandbox.set("/process/terminal", json!(true)).args(&["/no/such/program"]);
    let output = sandbox.begin("run", &[]).on(&pty).finish().code(1);
    assert_eq!(pty.modes(), before);
    assert!(pty.rest().contains("no such file or directory"));
    sandbox.clean(&output);
}

fn callers_terminal_is_put_back_after_a_crash(sandbox: &mut Sandbox) {
    for signal in [Signal::SIGSEGV, Signal::SIGABRT, Signal::SIGBUS, Signal::SIGILL, Signal::SIGTRAP] {
        let pty = Pty::new(24, 80);
        let before = pty.modes();
        let running = waiting(sandbox, &pty, "trap 'exit 9' HUP;");
        assert_ne!(pty.modes(), before);
        running.signal(signal);
        let output = running.finish();
        let died = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(died, Some(signal as i32), "{}", output.describe());
        assert_eq!(pty.modes(), before, "{signal}");
        // Nobody attends the terminal any more: the container is told.
        sandbox.wait_status("stopped");
        sandbox.delete();
    }
}

fn callers_terminal_that_is_gone_hangs_up(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let running = waiting(sandbox, &pty, "trap 'exit 9' HUP;");
    drop(pty);
    running.finish().code(9);
}

/// Files have line ends as files have them, also if somebody types.
fn output_to_a_file_is_plain(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).script("echo up; read x; echo \"<$x>\"; stty -a >&2");
    let pty = Pty::new(24, 80);
    let before = pty.modes();
    let running = sandbox.begin("run", &[]).typed_on(&pty).spawn();
    assert!(until(10, || running.stdout() == "up\n"), "{:?}", running.stdout());
    pty.type_in("typed\r");
    let output = running.finish().ok();
    assert!(output.stdout.starts_with("up\ntyped\n<typed>\n"), "{}", output.describe());
    assert!(!output.stdout.contains('\r') && output.stdout.contains("-onlcr"), "{}", output.describe());
    assert_eq!((output.stderr.as_str(), pty.rest()), ("", String::new()), "all of it is one terminal");
    assert_eq!(pty.modes(), before);
}

fn output_of_a_megabyte_is_whole(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    sandbox.script("dd if=/dev/zero bs=1024 count=1024 2>/dev/null | tr '\\0' x; echo end >&2");
    let output = sandbox.run().ok();
    assert_eq!(output.stdout.len(), (1 << 20) + 4);
    assert!(output.stdout.ends_with("xend\n"));
}

/// Whoever writes and ends at once, while the pipe is full and the terminal not yet empty.
fn last_output_of_a_process_is_seen(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).args(&["/bin/seq", "14000"]);
    let whole: String = (1..=14000).map(|number| format!("{number}\n")).collect();
    for words in [&["sh", "-c", "\"$@\" | { sleep 0.7; cat; }", "sh"][..], &[]] {
        let output = sandbox.begin("run", &[]).through(words).finish().ok();
        assert!(output.stdout == whole, "{} of {} bytes", output.stdout.len(), whole.len());
    }
}

fn input_from_a_file_ends(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).args(&["/bin/cat"]);
    for (input, expected) in
        [("one\ntwo\n", "one\ntwo\none\ntwo\n"), ("no line end", "no line endno line end"), ("", "")]
    {
        let file = sandbox.file("input", input);
        let output = sandbox.begin("run", &[]).stdin(Path::new(&file)).finish().ok();
        let mut shown: Vec<char> = output.stdout.chars().collect();
        let mut wanted: Vec<char> = expected.chars().collect();
        // Echo and cat take turns as they like.
        shown.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(shown, wanted, "{}", output.describe());
    }
}

/// While nobody has the terminal open its master is hung up. The runtime neither ends nor spins.
fn terminal_closed_and_opened_again(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let script = "echo up; exec 0<&- 1>&- 2>&-; sleep 1; exec >/dev/console; echo back; exit 6";
    let running = on(sandbox, &pty, script);
    pty.see("up\r\n");
    let stat = format!("/proc/{}/stat", running.pid());
    let ticks = || -> u64 {
        let stat = fs::read_to_string(&stat).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let used = ticks() - before;
    assert!(used < 20, "{used} ticks of the processor while nothing happened");
    pty.see("back\r\n");
    running.finish().code(6);
}

const FLOOD: &str = "trap 'exit 7' TERM; yes & wait";

fn signals_are_forwarded_while_nobody_reads(sandbox: &mut Sandbox) {
    let pty = Pty::new(24, 80);
    let before = pty.modes();
    let running = on(sandbox, &pty, FLOOD);
    let waits =
        || fs::read_to_string(format!("/proc/{}/wchan", running.pid())).is_ok_and(|at| at.contains("poll"));
    // The kernel moves what it holds from one buffer to the next: it is full when it stays so.
    let mut times = 0;
    let full = until(10, || {
        times = if pty.is_full() && waits() { times + 1 } else { 0 };
        times > 50
    });
    assert!(full, "the runtime waits, but in poll(2)");
    running.signal(Signal::SIGTERM);
    // It waits for somebody to read the rest. Who asks again wants the end.
    sandbox.wait_status("stopped");
    running.signal(Signal::SIGTERM);
    running.finish().code(7);
    assert_eq!(pty.modes(), before);
}

fn output_that_nobody_will_read_hangs_up(sandbox: &mut Sandbox) {
    sandbox
        .set("/process/terminal", json!(true))
        .script("trap 'exit 9' HUP; while :; do echo x; sleep 0.02; done");
    let words = ["sh", "-c", "{ \"$@\"; echo $? >&2; } | head -n 1", "sh"];
    let output = sandbox.begin("run", &[]).through(&words).finish().ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("x\n", "9\n"));
}

const DETACHED: &str = "cannot allocate tty if runc will detach without setting console socket";
const USELESS: &str = "cannot use console socket if runc will not detach or allocate tty";

fn detached_without_a_socket_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    sandbox.refused(&["process.terminal", DETACHED]);
    let output = sandbox.begin("run", &["--detach"]).finish().error(&["process.terminal", DETACHED]);
    sandbox.clean(&output);
}

fn socket_without_a_detached_terminal_is_refused(sandbox: &mut Sandbox) {
    let path = sandbox.path("console.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    for (terminal, command) in [(false, "create"), (false, "run"), (true, "run")] {
        sandbox.set("/process/terminal", json!(terminal));
        let output = sandbox.begin(command, &["--console-socket", &path]).finish();
        sandbox.clean(&output.error(&["--console-socket", USELESS]));
    }
}

/// The master that came to a socket, and what was sent with it.
#[track_caller]
fn receive(listener: &UnixListener) -> (Pty, String) {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message =
        recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .unwrap();
    let masters: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        })
        .collect();
    let [master] = <[OwnedFd; 1]>::try_from(masters).unwrap();
    (Pty::of(master), String::from_utf8_lossy(&bytes[..message.bytes]).into_owned())
}

fn console_socket_gets_the_master(sandbox: &mut Sandbox) {
    let path = sandbox.path("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    sandbox
        .set("/process/terminal", json!(true))
        .set("/process/consoleSize", json!({ "height": 31, "width": 41 }));
    sandbox.script("stty size; tty; read x; echo \"<$x>\"; while :; do sleep 0.02; done");
    sandbox.begin("create", &["--console-socket", &path]).finish().ok();
    let (pty, text) = receive(&listener);
    assert_eq!(text, "/dev/ptmx");
    assert!(pty.modes().contains("ONLCR"), "as the kernel makes it: {}", pty.modes());
    sandbox.start();
    assert_eq!(pty.see("/dev/pts/0\r\n"), "31 41\r\n/dev/pts/0\r\n");
    pty.type_in("typed\r");
    pty.see("typed\r\n<typed>\r\n");
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
}

fn console_socket_of_run(sandbox: &mut Sandbox) {
    let path = sandbox.path("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    sandbox.set("/process/terminal", json!(true)).script("echo up; read x; exit 5");
    sandbox.begin("run", &["--detach", "--console-socket", &path]).finish().ok();
    let (pty, _) = receive(&listener);
    pty.see("up\r\n");
    // Whoever has the master has the terminal: it hangs up with it.
    let pid = sandbox.pid();
    drop(pty);
    assert!(until(10, || !is_alive(pid)));
}

fn console_socket_that_is_not_there(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    let path = sandbox.path("console.sock");
    let create = || sandbox.begin("create", &["--console-socket", &path]).finish();
    sandbox.clean(&create().error(&["--console-socket", "no such file or directory", &path]));
    drop(UnixListener::bind(&path).unwrap());
    sandbox.clean(&create().error(&["--console-socket", "ECONNREFUSED", &path]));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    sandbox.clean(&create().error(&["--console-socket", "ECONNREFUSED", &path]));
}

/// A listener with a full queue: connect(2) would wait for ever.
/// A listener at this path whose queue is full, as long as it lives.
pub(crate) fn nobody_accepts(path: &str) -> Vec<OwnedFd> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    };
    let address = SocketAddrUnix::new(path).unwrap();
    let new = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let listener = new(SocketFlags::CLOEXEC);
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    let mut queue = vec![listener];
    loop {
        let one = new(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        if connect(&one, &address).is_err() {
            return queue;
        }
        queue.push(one);
    }
}

fn console_socket_that_nobody_accepts(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    let path = sandbox.path("console.sock");
    let _full = nobody_accepts(&path);
    let output = sandbox.begin("create", &["--console-socket", &path]).finish();
    sandbox.clean(&output.error(&["--console-socket", "EAGAIN", "nobody accepts within 5s", &path]));
}

fn without_devpts_is_an_error(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    sandbox.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "devpts");
    let output = sandbox.run().error(&["process.terminal", "mounts", "devpts", "no such file or directory"]);
    sandbox.clean(&output);
    sandbox.mount("/dev/pts", "tmpfs", "tmpfs", &[]);
    let output = sandbox.run().error(&["process.terminal", "/dev/pts is no devpts", "mounts"]);
    sandbox.clean(&output);
}

const OWNER: &str = "stat -c '%u:%g %a' /dev/console /dev/pts/0";

fn owner_is_the_user(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(sandbox.prove(OWNER), "1000:5 620\n1000:5 620");
    sandbox.config["mounts"][2]["options"] = json!(["newinstance", "ptmxmode=0666"]);
    assert_eq!(sandbox.prove(OWNER), "1000:0 600\n1000:0 600", "what devpts is not told it does not do");
}

fn owner_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace().set("/process/terminal", json!(true));
    assert_eq!(sandbox.prove(OWNER), "0:5 620\n0:5 620");
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(sandbox.prove(&format!("{OWNER}; echo x > /dev/console")), "1000:5 620\n1000:5 620\nx");
    let pty = Pty::new(24, 80);
    let running = waiting(sandbox, &pty, "");
    let console = format!("/proc/{}/root/dev/console", sandbox.pid());
    let owner = fs::metadata(console).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((owner.uid(), owner.gid()), (101_000, 100_005));
    sandbox.kill("KILL");
    running.finish().code(137);
}

fn rootless(sandbox: &mut Sandbox) {
    super::cve::unprivileged(sandbox);
    let pty = Pty::new(24, 80);
    let before = pty.modes();
    sandbox.set("/process/terminal", json!(true)).script(&format!("tty; stty size; {OWNER}"));
    super::cve::as_user(sandbox.begin("run", &[])).on(&pty).finish().ok();
    assert_eq!(pty.rest(), "/dev/pts/0\r\n24 80\r\n0:0 620\r\n0:0 620\r\n");
    assert_eq!(pty.modes(), before);
}

fn read_only_root(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).set("/root/readonly", json!(true));
    assert_eq!(sandbox.prove("echo x > /dev/console; echo > /new || echo sealed").lines().next(), Some("x"));
}

const PROOF: &str = "tty; stat -c %t:%T /dev/console; echo x > /dev/console";
const PROVEN: &str = "/dev/pts/0\n88:0\nx\n";

fn without_pivot_root(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).script(PROOF);
    assert_eq!(sandbox.begin("run", &["--no-pivot"]).finish().ok().stdout, PROVEN);
}

fn kernel_without_mount_setattr(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true)).script(PROOF);
    assert_eq!(sandbox.begin("run", &[]).without("mount_setattr").finish().ok().stdout, PROVEN);
}

/// The host's /dev, as privileged containers have it: its console is covered inside only.
fn devices_of_the_host(sandbox: &mut Sandbox) {
    let console = || fs::metadata("/dev/console").ok().map(|it| std::os::unix::fs::MetadataExt::rdev(&it));
    let before = console();
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    // No mount point is made on the host.
    mounts.retain(|mount| !["/dev/shm", "/dev/mqueue"].iter().any(|place| mount["destination"] == *place));
    mounts.iter_mut().filter(|mount| mount["destination"] == "/dev").for_each(|mount| {
        *mount = json!({ "destination": "/dev", "type": "bind", "source": "/dev", "options": ["bind", "private"] });
    });
    sandbox.set("/process/terminal", json!(true)).script(PROOF);
    assert_eq!(sandbox.run().ok().stdout, PROVEN);
    assert_eq!(console(), before);
}

/// An orphan of `exec` is gone, which the end of its container waits for.
fn reaped(pid: &str) -> bool {
    until(10, || {
        reap_orphans();
        !Path::new(&format!("/proc/{pid}")).exists()
    })
}

/// `exec` in a container without a terminal of its own.
fn exec(sandbox: &Sandbox, options: &[&str], script: &str) -> Call {
    let mut words = vec!["exec"];
    words.extend(options);
    words.extend([sandbox.token.as_str(), "/bin/sh", "-c", script]);
    sandbox.onggi(&words)
}

fn exec_has_a_terminal(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let pty = Pty::new(33, 99);
    let script =
        "tty; stty size; ls /dev/console; cut -d' ' -f7 /proc/self/stat; read x; echo \"<$x>\"; exit 3";
    let running = exec(sandbox, &["--tty"], script).on(&pty).spawn();
    let shown = pty.see("34816\r\n");
    assert!(shown.starts_with("/dev/pts/0\r\n33 99\r\n"), "{shown:?}");
    assert!(shown.contains("/dev/console: No such file"), "its console is its own: {shown:?}");
    pty.type_in("typed\r");
    pty.see("<typed>\r\n");
    running.finish().code(3);

    let file = sandbox.file(
        "process.json",
        &json!({
            "terminal": true, "consoleSize": { "height": 7, "width": 9 }, "cwd": "/",
            "user": { "uid": 0, "gid": 0 }, "args": ["/bin/stty", "size"]
        })
        .to_string(),
    );
    let output = sandbox.onggi(&["exec", "--process", &file, &sandbox.token]).finish().ok();
    assert_eq!(output.stdout, "7 9\n");
    let output = exec(sandbox, &[], "tty").finish().code(1);
    assert_eq!(output.text(), "not a tty", "none unasked");
}

fn exec_owner_is_the_user(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let output = exec(sandbox, &["--tty", "--user", "1000:1000"], "stat -c '%u:%g %a' $(tty)").finish().ok();
    assert_eq!(output.text(), "1000:5 620");
}

fn exec_owner_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace().start_sleeper();
    for (user, owner) in [("0:0", "0:5 620"), ("1000:1000", "1000:5 620")] {
        let script = "stat -c '%u:%g %a' $(tty); echo x > /dev/tty";
        let output = exec(sandbox, &["--tty", "--user", user], script).finish().ok();
        assert_eq!(output.stdout, format!("{owner}\nx\n"));
    }
}

fn exec_console_socket(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let path = sandbox.path("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let file = sandbox.path("exec.pid");
    let options = ["--tty", "--detach", "--console-socket", &path, "--pid-file", &file];
    exec(sandbox, &options, "echo up; read x; echo \"<$x>\"; read x").finish().ok();
    let (pty, text) = receive(&listener);
    assert_eq!(text, "/dev/ptmx");
    pty.see("up\r\n");
    pty.type_in("typed\r");
    pty.see("<typed>\r\n");
    drop(pty);
    assert!(reaped(&fs::read_to_string(file).unwrap()));
}

fn exec_detached_without_a_socket_is_refused(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let refused = |options: &[&str], words: &str| {
        let output: Output = exec(sandbox, options, "true").finish().code(255);
        assert!(output.stderr.contains(words), "{}", output.describe());
    };
    refused(&["--tty", "--detach"], DETACHED);
    refused(&["--tty", "--console-socket", "/s"], USELESS);
    refused(&["--detach", "--console-socket", "/s"], USELESS);
}

fn exec_puts_the_callers_terminal_back(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for signal in [Signal::SIGTERM, Signal::SIGSEGV] {
        let pty = Pty::new(24, 80);
        let before = pty.modes();
        let script = "trap 'exit 9' TERM HUP; echo up; while :; do sleep 0.02; done";
        let file = sandbox.path("exec.pid");
        let running = exec(sandbox, &["--tty", "--pid-file", &file], script).on(&pty).spawn();
        pty.see("up\r\n");
        assert_ne!(pty.modes(), before);
        let pid = sandbox.wait_file(&file, "");
        running.signal(signal);
        let output = running.finish();
        assert!(!output.status.success(), "{}", output.describe());
        assert_eq!(pty.modes(), before, "{signal}");
        // After a crash it is hung up, and an orphan.
        assert!(reaped(&pid));
    }
}

/// docs/processes.md, Terminals: a block of `json` is the process; in a block of `console` a line after `$ ` is typed, and
/// the others are printed. `web1` is this container, `web2` one that runs.
fn examples_of_the_document(sandbox: &mut Sandbox) {
    let document = include_str!("../docs/processes.md");
    let section = document.split("\n## ").find(|section| section.starts_with("Terminals\n")).unwrap();
    let program = crate::harness::binary().display().to_string();
    sandbox.tool("onggi", &format!("exec {program} --root {} \"$@\"", sandbox.path("state")));
    let path = format!("{}:{}", sandbox.dir.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for block in section.split("```").skip(1).step_by(2) {
        if let Some(text) = block.strip_prefix("json\n") {
            let fields: serde_json::Map<_, _> = serde_json::from_str(text).unwrap();
            for (name, value) in fields {
                sandbox.set(&format!("/process/{name}"), value);
            }
        }
        for example in block.strip_prefix("console\n$ ").into_iter().flat_map(|text| text.split("\n$ ")) {
            let (typed, printed) = example.split_once('\n').unwrap();
            if typed.contains("web2") {
                sandbox.set("/process/terminal", json!(false)).start_sleeper();
            }
            sandbox.write_config();
            let typed = typed.replace("web1", &sandbox.token).replace("web2", &sandbox.token);
            let call = sandbox.tool_call(&["sh", "-c", &typed]).env("PATH", &path);
            assert_eq!(call.directory(&sandbox.bundle()).finish().ok().stdout, printed, "{typed}");
            commands += 1;
        }
    }
    assert_eq!(commands, 2);
}
