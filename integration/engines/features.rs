//! What podman and docker are asked for in the same words: one function per feature, which each engine's file names.

use std::fs;

use serde_json::json;

use crate::client::{Client, Kind, fails};
use crate::harness::{Layout, Pty, Sandbox, until};

/// Declares the `CASES` of an engine's file: the features of this file that it has, with a client that `$client` makes,
/// and tests of its own. All need `$program`.
macro_rules! engine {
    ($program:ident, $client:ident { $($name:ident $(: $($need:expr),+)?;)* } $($own:ident $(: $($more:expr),+)?;)*) => {
        $(fn $name(sandbox: &mut $crate::harness::Sandbox) {
            let client = $client(sandbox);
            $crate::features::$name(&client, sandbox);
        })*
        cases! {
            $($name: $program $(, $($need),+)?;)*
            $($own: $program $(, $($more),+)?;)*
        }
    };
}

/// The same for an engine that has all features: they need `$limits`, an init the program `$init`.
macro_rules! whole_engine {
    ($program:ident, $client:ident, $limits:ident, $init:literal { $($own:ident $(: $($more:expr),+)?;)* }) => {
        engine! { $program, $client {
            run: $limits;
            exit_codes: $limits;
            tty: $limits;
            exec: $limits;
            exec_with_tty: $limits;
            healthcheck: $limits;
            limits: $limits;
            update_and_stats: $limits;
            pause_and_kill: $limits;
            init: $limits, $crate::harness::Need::Program($init);
            pid_of_another_container: $limits;
            network_none: $limits;
            network_host: $limits;
            network_bridge: $limits;
            volumes: $limits;
            volumes_with_propagation: $limits;
            read_only_root: $limits;
            device: $limits, $crate::harness::Need::File("/dev/fuse");
            seccomp_profile: $limits;
            apparmor: $limits, $crate::harness::Need::AppArmor(true);
            no_new_privileges: $limits;
            capabilities: $limits;
            stop_with_timeout: $limits;
            restart_policy: $limits;
          }
            $($own $(: $($more),+)?;)*
        }
    };
}

pub(crate) fn run(client: &Client, sandbox: &Sandbox) {
    client.start(sandbox, &[], &["sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!(client.wait(sandbox), "42");
    let runtime = if client.kind == Kind::Docker { ".HostConfig.Runtime" } else { ".OCIRuntime" };
    assert_eq!(client.inspect(sandbox, runtime), "onggi");
    // docker may say that a container has ended before its last words have arrived.
    let mut logs = None;
    let whole = until(10, || {
        let read = logs.insert(client.call(sandbox, &["logs", &sandbox.token]).finish().ok());
        (read.stdout.as_str(), read.stderr.as_str()) == ("out\n", "err\n")
    });
    assert!(whole, "{logs:?}");
    client.remove(sandbox);
}

/// In the foreground: output, input and exit codes pass, also those of what cannot be started.
pub(crate) fn exit_codes(client: &Client, sandbox: &Sandbox) {
    let typed = sandbox.file("typed", "typed in\n");
    let call = client.run(sandbox, &["--interactive"], &["sh", "-c", "cat; echo err >&2; exit 3"]);
    let output = call.stdin(typed.as_ref()).finish().code(3);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("typed in\n", "err\n"));
    fails(client.run(sandbox, &[], &["nope"]).finish(), 127, "nope");
    fails(client.run(sandbox, &[], &["/etc/passwd"]).finish(), 126, "ermission denied");
    client.run(sandbox, &[], &["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).finish().code(137);
}

pub(crate) fn tty(client: &Client, sandbox: &Sandbox) {
    let pty = Pty::new(33, 101);
    let call = client.run(sandbox, &["--interactive", "--tty"], &["sh"]).on(&pty).spawn();
    pty.see("# ");
    pty.type_in(&sized("33 101"));
    pty.see("/dev/pts/0");
    pty.type_in("exit 7\n");
    call.finish().code(7);
}

/// Waits until the terminal has this size, which engines tell after the program has started; then says its name.
pub(crate) fn sized(size: &str) -> String {
    format!("while [ \"$(stty size)\" != '{size}' ]; do sleep 0.1; done; tty\n")
}

pub(crate) fn exec(client: &Client, sandbox: &Sandbox) {
    client.start(sandbox, &[], &["sleep", "1000"]);
    let script = "echo out; echo err >&2; cat /proc/1/comm; id -u; pwd; exit 9";
    let output = client
        .exec(sandbox, &["--user", "user", "--workdir", "/tmp"], &["sh", "-c", script])
        .finish()
        .code(9);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\nsleep\n1000\n/tmp\n", "err\n"));
    let code = if client.kind == Kind::Docker { 126..=127 } else { 127..=127 };
    let missing = client.exec(sandbox, &[], &["nope"]).finish();
    assert!(missing.status.code().is_some_and(|status| code.contains(&status)), "{}", missing.describe());
    assert!(missing.describe().contains("nope"), "{}", missing.describe());
    client.remove(sandbox);
}

pub(crate) fn exec_with_tty(client: &Client, sandbox: &Sandbox) {
    client.start(sandbox, &[], &["sleep", "1000"]);
    let pty = Pty::new(20, 70);
    let call = client.exec(sandbox, &["--interactive", "--tty"], &["sh"]).on(&pty).spawn();
    pty.see("# ");
    pty.type_in(&sized("20 70"));
    pty.see("/dev/pts/0");
    pty.type_in("exit 5\n");
    call.finish().code(5);
    client.remove(sandbox);
}

/// A check that fails, then one that does not.
pub(crate) fn healthcheck(client: &Client, sandbox: &Sandbox) {
    let own = client.kind == Kind::Docker;
    let interval = if own { "1s" } else { "disable" };
    let options =
        ["--health-cmd", "test -e /tmp/well", "--health-retries", "1", "--health-interval", interval];
    client.start(sandbox, &options, &["sleep", "1000"]);
    let check = |code| {
        if !own {
            client.call(sandbox, &["healthcheck", "run", &sandbox.token]).finish().code(code);
        }
    };
    check(1);
    client.wait_for(sandbox, ".State.Health.Status", "unhealthy");
    client.exec(sandbox, &[], &["touch", "/tmp/well"]).finish().ok();
    check(0);
    client.wait_for(sandbox, ".State.Health.Status", "healthy");
    client.remove(sandbox);
}

/// What the container sees of its limits.
const LIMITS: [&str; 2] = [
    "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max",
    "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max",
];

pub(crate) fn limits(client: &Client, sandbox: &Sandbox) {
    let options = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50"];
    let v2 = sandbox.layout == Layout::V2;
    let seen = client.prove(sandbox, &options, LIMITS[usize::from(v2)]);
    assert_eq!(seen, if v2 { "67108864\n50000 100000\n50" } else { "67108864\n50000\n50" });
}

/// Limits that change while the container runs, and the numbers that the engine reads.
pub(crate) fn update_and_stats(client: &Client, sandbox: &Sandbox) {
    client.start(sandbox, &["--memory", "64m"], &["sleep", "1000"]);
    let words = ["update", "--memory", "128m", "--memory-swap", "256m", "--cpus", "0.25", &sandbox.token];
    client.call(sandbox, &words).finish().ok();
    let v2 = sandbox.layout == Layout::V2;
    let seen = client.exec(sandbox, &[], &["sh", "-c", LIMITS[usize::from(v2)]]).finish().ok();
    assert!(seen.stdout.starts_with("134217728\n25000"), "{}", seen.describe());
    let words = ["stats", "--no-stream", "--format", "{{.MemUsage}}", &sandbox.token];
    let stats = client.call(sandbox, &words).finish().ok();
    assert!(stats.stdout.contains(" / ") && !stats.stdout.starts_with("0B"), "{}", stats.describe());
    client.remove(sandbox);
}

pub(crate) fn pause_and_kill(client: &Client, sandbox: &Sandbox) {
    start_with_trap(client, sandbox, "trap 'exit 33' USR1");
    client.call(sandbox, &["pause", &sandbox.token]).finish().ok();
    assert_eq!(client.inspect(sandbox, ".State.Status"), "paused");
    client.call(sandbox, &["unpause", &sandbox.token]).finish().ok();
    client.call(sandbox, &["kill", "--signal", "USR1", &sandbox.token]).finish().ok();
    assert_eq!(client.wait(sandbox), "33");
    client.remove(sandbox);
}

/// A first process that reaps.
pub(crate) fn init(client: &Client, sandbox: &Sandbox) {
    let seen = client.prove(sandbox, &["--init"], "tr '\\0' ' ' </proc/1/cmdline; echo; echo $$");
    assert!(seen.contains("init") && !seen.ends_with("\n1"), "{seen}");
}

/// The processes of another container.
pub(crate) fn pid_of_another_container(client: &Client, sandbox: &Sandbox) {
    client.start(sandbox, &[], &["sleep", "1000"]);
    let other = format!("container:{}", sandbox.token);
    assert_eq!(client.prove(sandbox, &["--pid", &other], "cat /proc/1/comm; echo $$ >&2"), "sleep");
    // The end of the one in the other's namespace leaves the other alone.
    assert_eq!(client.inspect(sandbox, ".State.Running"), "true");
    client.remove(sandbox);
}

/// The interfaces that a container has, without those that tunnels bring into every namespace.
const INTERFACES: &str =
    "ip -o link | grep -v -e tunl -e sit0 -e gre -e erspan -e vti -e ip6 | cut -d ' ' -f 2 | cut -d @ -f 1";

pub(crate) fn network_none(client: &Client, sandbox: &Sandbox) {
    assert_eq!(client.prove(sandbox, &["--network", "none"], INTERFACES), "lo:");
}

pub(crate) fn network_host(client: &Client, sandbox: &Sandbox) {
    let seen = client.prove(sandbox, &["--network", "host"], "readlink /proc/self/ns/net");
    let host = client.place.call(sandbox, &["readlink", "/proc/self/ns/net"]).finish().ok();
    assert_eq!(seen, host.text());
}

/// Two containers on the engine's own network, which reach each other.
pub(crate) fn network_bridge(client: &Client, sandbox: &Sandbox) {
    let serve = "echo hi >/tmp/index.html; httpd -f -p 80 -h /tmp";
    client.start(sandbox, &["--network", "bridge"], &["sh", "-c", serve]);
    let address = "range .NetworkSettings.Networks}}{{.IPAddress}}{{end";
    let address = client.inspect(sandbox, address);
    let get = format!("wget -q -O - http://{address}/index.html");
    assert_eq!(client.prove(sandbox, &["--network", "bridge"], &get), "hi");
    client.remove(sandbox);
}

pub(crate) fn volumes(client: &Client, sandbox: &Sandbox) {
    let data = client.folder(sandbox, "data");
    fs::write(format!("{data}/from-host"), "host\n").unwrap();
    let (write, read) = (format!("{data}:/data"), format!("{data}:/read:ro"));
    let script = "cat /data/from-host; echo container >/data/from-container; echo x >/read/x || cat /read/from-container";
    assert_eq!(client.prove(sandbox, &["--volume", &write, "--volume", &read], script), "host\ncontainer");
    assert_eq!(fs::read_to_string(format!("{data}/from-container")).unwrap(), "container\n");
}

/// Mounts that the host makes later arrive in the container, and those of the container on the host.
pub(crate) fn volumes_with_propagation(client: &Client, sandbox: &Sandbox) {
    let data = client.folder(sandbox, "data");
    for way in ["slave", "shared"] {
        fs::create_dir(format!("{data}/{way}")).unwrap();
    }
    let (slave, shared) = (format!("{data}/slave:/slave:rslave"), format!("{data}/shared:/shared:rshared"));
    let options = ["--volume", &slave, "--volume", &shared, "--cap-add", "SYS_ADMIN", "--security-opt"];
    client.start(sandbox, &[&options[..], &["apparmor=unconfined"]].concat(), &["sleep", "1000"]);
    let make = format!(
        "mkdir {data}/slave/later && mount -t tmpfs later {data}/slave/later && touch {data}/slave/later/x"
    );
    client.place.call(sandbox, &["sh", "-c", &make]).finish().ok();
    client.exec(sandbox, &[], &["test", "-e", "/slave/later/x"]).finish().ok();
    let make = "mkdir /shared/own && mount -t tmpfs own /shared/own && touch /shared/own/x";
    client.exec(sandbox, &[], &["sh", "-c", make]).finish().ok();
    let end = format!("test -e {data}/shared/own/x && umount {data}/shared/own {data}/slave/later");
    client.place.call(sandbox, &["sh", "-c", &end]).finish().ok();
    client.remove(sandbox);
}

pub(crate) fn read_only_root(client: &Client, sandbox: &Sandbox) {
    let script = "touch /x 2>&1; touch /tmp/x && echo writable";
    let seen = client.prove(sandbox, &["--read-only", "--tmpfs", "/tmp"], script);
    assert_eq!(seen, "touch: /x: Read-only file system\nwritable");
}

pub(crate) fn device(client: &Client, sandbox: &Sandbox) {
    let rootless = client.kind == Kind::Rootless;
    let device = if rootless { "/dev/fuse" } else { "/dev/fuse:/dev/mine:r" };
    // Rootless the device is the host's own, bound; rules of its cgroup cannot be set.
    let name = if rootless { "/dev/fuse" } else { "/dev/mine" };
    let script =
        format!("test -c {name} && exec 3<{name} && echo read; (exec 3>{name}) 2>/dev/null && echo write");
    let wanted = if rootless { "read\nwrite" } else { "read" };
    let output =
        client.run(sandbox, &["--device", device], &["sh", "-c", &format!("{script}; true")]).finish().ok();
    assert_eq!(output.text(), wanted);
}

pub(crate) fn seccomp_profile(client: &Client, sandbox: &Sandbox) {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 });
    let profile = sandbox
        .file("seccomp.json", &json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }).to_string());
    let option = format!("seccomp={profile}");
    let script = "mkdir /tmp/x 2>&1; grep ^Seccomp: /proc/self/status | cut -f 2";
    let seen = client.prove(sandbox, &["--security-opt", &option], script);
    assert!(seen.ends_with("\n2") && !seen.contains("denied") && seen.contains("not supported"), "{seen}");
}

/// The engine's own profile, and none.
pub(crate) fn apparmor(client: &Client, sandbox: &Sandbox) {
    let default = client.prove(sandbox, &[], "cat /proc/self/attr/current");
    assert!(default.contains("-default") && default.ends_with(" (enforce)"), "{default}");
    let none =
        client.prove(sandbox, &["--security-opt", "apparmor=unconfined"], "cat /proc/self/attr/current");
    assert_eq!(none, "unconfined");
}

pub(crate) fn no_new_privileges(client: &Client, sandbox: &Sandbox) {
    let script = "grep ^NoNewPrivs: /proc/self/status | cut -f 2";
    assert_eq!(client.prove(sandbox, &["--security-opt", "no-new-privileges"], script), "1");
}

pub(crate) fn capabilities(client: &Client, sandbox: &Sandbox) {
    let options = ["--cap-drop", "ALL", "--cap-add", "NET_RAW"];
    let seen = client.prove(sandbox, &options, "grep ^CapEff: /proc/self/status | cut -f 2");
    assert_eq!(seen, "0000000000002000");
}

/// A container that waits, and does with a signal as `trap` says.
fn start_with_trap(client: &Client, sandbox: &Sandbox, trap: &str) {
    let script = format!("{trap}; echo ready; while :; do sleep 0.1; done");
    client.start(sandbox, &[], &["sh", "-c", &script]);
    let ready = || client.call(sandbox, &["logs", &sandbox.token]).finish().ok().stdout == "ready\n";
    assert!(until(10, ready));
}

/// A container that does not listen is killed when its time is over; one that does ends as it likes.
pub(crate) fn stop_with_timeout(client: &Client, sandbox: &Sandbox) {
    for (trap, code) in [("trap '' TERM", "137"), ("trap 'exit 3' TERM", "3")] {
        start_with_trap(client, sandbox, trap);
        let seconds = if code == "3" { "60" } else { "2" };
        client.call(sandbox, &["stop", "--time", seconds, &sandbox.token]).finish().ok();
        assert_eq!(client.inspect(sandbox, ".State.ExitCode"), code);
        client.remove(sandbox);
    }
}

pub(crate) fn restart_policy(client: &Client, sandbox: &Sandbox) {
    let data = client.folder(sandbox, "data");
    let script = "echo start >>/data/starts; exit 1";
    let options = ["--restart", "on-failure:2", "--volume", &format!("{data}:/data")];
    client.start(sandbox, &options, &["sh", "-c", script]);
    client.wait_for(sandbox, ".State.Status}} {{.RestartCount", "exited 2");
    assert_eq!(fs::read_to_string(format!("{data}/starts")).unwrap(), "start\n".repeat(3));
    client.remove(sandbox);
}
