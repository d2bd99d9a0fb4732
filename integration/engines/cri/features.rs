//! What the kubelet asks of an engine: one function per feature, which the file of each engine names.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use k8s_cri::v1::security_profile::ProfileType;
use k8s_cri::v1::{
    AttachRequest, Capability, ContainerConfig, ContainerStatsRequest, ContainerUser, Device, ExecRequest,
    IdMapping, Int64Value, LinuxContainerResources, Mount, MountPropagation, NamespaceMode, PodSandboxState,
    PodSandboxStatsRequest, PortForwardRequest, SecurityProfile, UpdateContainerResourcesRequest,
    UserNamespace,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::Code;

use super::client::Cri;
use super::pod::{HANDLER, Pod, namespaces, pod_config, pod_security, resources, security};
use super::streams::{RESIZE, STDERR, STDIN, STDOUT, Streams};
use crate::harness::{Layout, Need, Sandbox, is_alive, until};
use crate::place::Place;

/// Declares the `CASES` of an engine's file: all features of this file, those that not every version has with what they
/// need, and tests of its own. `$open` makes the engine's [`Cri`]. All need `$program`.
macro_rules! cri_engine {
    ($program:ident, $open:ident { $($some:ident: $($need:expr),*;)* } $($own:ident: $($more:expr),*;)*) => {
        cri_engine! { @cases $program, $open {
            run_a_pod,
            runtime_class,
            namespaces_of_the_pod,
            network_of_the_machine,
            processes_of_another_container,
            exit_codes,
            errors,
            logs,
            stop_with_timeout,
            exec_sync,
            exec_sync_with_a_limit,
            exec_streaming,
            exec_with_tty,
            attach,
            port_forward,
            probes_by_the_hundred,
            stats,
            limits,
            update_in_place,
            killed_for_memory,
            mounts,
            devices,
            sysctls,
            users_and_capabilities,
            privileged,
            read_only_root,
            seccomp,
            ten_pods_at_once,
          } { apparmor: $crate::harness::Need::AppArmor(true); $($some: $($need),*;)* } $($own: $($more),*;)*
        }
    };
    (@cases $program:ident, $open:ident { $($all:ident,)* } { $($some:ident: $($need:expr),*;)* } $($own:ident: $($more:expr),*;)*) => {
        $(fn $all(sandbox: &mut $crate::harness::Sandbox) {
            $crate::cri::features::$all(&$open(sandbox), sandbox);
        })*
        $(fn $some(sandbox: &mut $crate::harness::Sandbox) {
            $crate::cri::features::$some(&$open(sandbox), sandbox);
        })*
        cases! {
            $($all: $program, $crate::cri::features::BRIDGE, $crate::cri::features::LIMITS;)*
            $($some: $program, $crate::cri::features::BRIDGE, $crate::cri::features::LIMITS $(, $need)*;)*
            $($own: $program, $crate::cri::features::BRIDGE, $crate::cri::features::LIMITS $(, $more)*;)*
        }
    };
}

/// The network plugins of Debian, and limits.
pub(crate) const BRIDGE: crate::harness::Need = crate::harness::Need::File("/usr/lib/cni/bridge");
pub(crate) const LIMITS: crate::harness::Need = crate::harness::Need::Controller("memory");

pub(crate) fn run_a_pod(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let (status, _) = pod.status();
    assert_eq!(status.state(), PodSandboxState::SandboxReady);
    // CRI-O does not say it.
    assert!([HANDLER, ""].contains(&status.runtime_handler.as_str()), "{status:?}");
    let container = pod.sleeper("main");
    let listed =
        cri.place.call(sandbox, &[crate::place::ONGGI, "--root", cri.root, "list", "-q"]).finish().ok();
    assert!(listed.stdout.contains(&container.id), "{}", listed.describe());
    assert_eq!(container.prove("hostname"), pod.config.hostname);
    container.remove();
    pod.remove();
}

/// The handler is what the RuntimeClass of docs/kubernetes.md names; one that nobody has configured is refused.
pub(crate) fn runtime_class(cri: &Cri, sandbox: &Sandbox) {
    let class = include_str!("../config/runtimeclass.yaml");
    assert!(class.lines().any(|line| line == format!("handler: {HANDLER}")), "{class}");
    let request = k8s_cri::v1::RunPodSandboxRequest {
        config: Some(pod_config(sandbox, "other")),
        runtime_handler: "nobodys".into(),
    };
    let refused = cri.call(async |mut service| service.run_pod_sandbox(request).await).unwrap_err();
    assert!(refused.message().contains("nobodys"), "{refused}");
}

/// The namespaces that a script sees itself in.
const NAMESPACES: &str = "cd /proc/self/ns; readlink net; readlink ipc; readlink uts; readlink pid";

/// Network, ipc and uts are the pod's, processes each container's own; what listens in one is heard in the other.
pub(crate) fn namespaces_of_the_pod(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let serve = "echo hi >/tmp/index.html; exec httpd -f -p 127.0.0.1:80 -h /tmp";
    let (server, client) = (pod.start("server", &["sh", "-c", serve]), pod.sleeper("client"));
    let (one, other) = (server.prove(NAMESPACES), client.prove(NAMESPACES));
    let (one, other): (Vec<_>, Vec<_>) = (one.lines().collect(), other.lines().collect());
    assert_eq!(one[..3], other[..3]);
    assert_ne!(one[3], other[3]);
    let own = fs::read_link("/proc/self/ns/ipc").unwrap();
    assert_ne!(one[1], own.to_string_lossy());
    assert!(until(10, || client.exec(&["wget", "-q", "-O", "-", "http://127.0.0.1/"]).stdout == b"hi\n"));
    // A second pod is another world, and reaches the first by its address.
    let second = Pod::run_with(cri, sandbox, |config| rename(config, sandbox, "second"));
    let stranger = second.sleeper("stranger");
    assert!(stranger.prove(NAMESPACES).lines().zip(&one).all(|(its, one)| its != *one));
    let address = pod.status().0.network.unwrap().ip;
    let serve = "mkdir /tmp/all; echo far >/tmp/all/index.html; exec httpd -f -p 8080 -h /tmp/all";
    let _open = pod.start("open", &["sh", "-c", serve]);
    let url = format!("http://{address}:8080/");
    assert!(until(10, || stranger.exec(&["wget", "-q", "-O", "-", &url]).stdout == b"far\n"));
    second.end().unwrap();
    pod.remove();
}

fn rename(config: &mut k8s_cri::v1::PodSandboxConfig, sandbox: &Sandbox, name: &str) {
    *config = k8s_cri::v1::PodSandboxConfig { linux: config.linux.take(), ..pod_config(sandbox, name) };
}

/// `shareProcessNamespace`: every container sees the others, the pause container is the first process and reaps.
pub(crate) fn processes_of_the_pod(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run_with(cri, sandbox, |config| {
        pod_security(config).namespace_options = Some(namespaces(NamespaceMode::Pod, NamespaceMode::Pod));
    });
    let (one, other) = (pod.sleeper("one"), pod.start("other", &["sh", "-c", "sleep 2000 & wait"]));
    let seen = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    assert!(until(10, || one.prove(seen).contains("sleep 2000")));
    assert!(other.prove("cat /proc/1/cmdline").contains("while"), "the pause container is not the first");
    // What the runtime kills with a container is what belongs to it, children included; the others live.
    other.stop(0);
    // CRI-O is so polite as to ask first.
    assert!([137, 143].contains(&other.status().exit_code), "{:?}", other.status());
    let gone = || until(10, || !one.prove(seen).contains("sleep 2000"));
    // CRI-O has the runtime kill the others when it removes the container.
    assert!(cri.has_monitors() || gone(), "{}", one.prove(seen));
    other.remove();
    assert!(gone(), "{}", one.prove(seen));
    pod.remove();
}

/// `hostNetwork`, `hostPID`.
pub(crate) fn network_of_the_machine(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run_with(cri, sandbox, |config| {
        config.hostname = String::new();
        pod_security(config).namespace_options = Some(namespaces(NamespaceMode::Node, NamespaceMode::Node));
    });
    let container = pod.sleeper("main");
    let seen = container.prove("readlink /proc/self/ns/net; readlink /proc/self/ns/pid");
    let words = ["sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/pid"];
    assert_eq!(seen, cri.place.call(sandbox, &words).finish().ok().text());
    pod.remove();
}

/// What `kubectl debug` makes: a container among the processes of another.
pub(crate) fn processes_of_another_container(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let target = pod.sleeper("target");
    let debug = pod.start_with("debug", &["sleep", "3000"], |config| {
        let options = security(config).namespace_options.as_mut().unwrap();
        (options.pid, options.target_id) = (NamespaceMode::Target.into(), target.id.clone());
    });
    assert_eq!(debug.prove("tr '\\0' ' ' </proc/1/cmdline"), "sleep 1000");
    debug.stop(0);
    debug.remove();
    assert_eq!(target.prove("echo alive"), "alive");
    pod.remove();
}

pub(crate) fn exit_codes(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    for (name, script, code, reason) in [
        ("good", "exit 0", 0, "Completed"),
        ("bad", "exit 42", 42, "Error"),
        ("killed", "sh -c 'kill -9 $$'; exit $?", 137, "Error"),
    ] {
        let status = pod.start(name, &["sh", "-c", script]).wait();
        assert_eq!((status.exit_code, status.reason.as_str()), (code, reason), "{name}");
    }
    pod.remove();
}

/// What cannot be started says so with the runtime's words, and leaves nothing.
pub(crate) fn errors(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    for (program, words) in [
        ("nope", "executable file not found in $PATH"),
        ("/bin/nope", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let failed = pod.try_start(pod.container_config("main", &[program])).err().expect(program);
        assert!(failed.message().contains(words), "{failed}");
    }
    let container = pod.sleeper("main");
    let failed = container.try_exec(&["nope"], 0).unwrap_err();
    assert!(failed.message().contains("executable file not found in $PATH"), "{failed}");
    pod.remove();
}

pub(crate) fn logs(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let script = "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i + 1)); done; echo err >&2; printf end";
    pod.start("main", &["sh", "-c", script]).wait();
    let mut log = String::new();
    let whole = until(10, || {
        log = pod.log("main");
        log.contains(" P end\n") && log.contains(" err\n")
    });
    assert!(whole, "{log}");
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.splitn(4, ' ').skip(1).collect()).collect();
    let (out, err): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line[0] == "stdout");
    let numbers: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let written: Vec<&str> = out.iter().map(|line| line[2]).collect();
    assert_eq!(written, numbers.iter().map(String::as_str).chain(["end"]).collect::<Vec<_>>());
    assert_eq!(err, [["stderr", "F", "err"]]);
    assert_eq!(out[500], ["stdout", "P", "end"]);
    pod.remove();
}

/// A container that does not listen is killed when its time is over; one that does ends as it likes.
pub(crate) fn stop_with_timeout(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    for (name, trap, seconds, code) in
        [("deaf", "trap '' TERM", 1, 137), ("polite", "trap 'exit 3' TERM", 60, 3)]
    {
        let script = format!("{trap}; echo ready; while :; do sleep 0.1; done");
        let container = pod.start(name, &["sh", "-c", &script]);
        assert!(until(10, || pod.log(name).contains("ready")));
        container.stop(seconds);
        assert_eq!(container.status().exit_code, code, "{name}");
    }
    pod.remove();
}

pub(crate) fn exec_sync(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.sleeper("main");
    let answer = container.exec(&["sh", "-c", "echo out; echo err >&2; cat /proc/1/comm; exit 9"]);
    assert_eq!(answer.exit_code, 9);
    assert_eq!((answer.stdout, answer.stderr), (b"out\nsleep\n".to_vec(), b"err\n".to_vec()));
    let answer = container.exec(&["sh", "-c", "head -c 1000000 /dev/zero"]);
    assert!(answer.stdout == vec![0; 1_000_000], "{} bytes", answer.stdout.len());
    pod.remove();
}

/// A probe that takes too long is killed, and the kubelet is told.
pub(crate) fn exec_sync_with_a_limit(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.sleeper("main");
    match container.try_exec(&["sleep", "4000"], 1) {
        Err(late) => {
            assert!(late.code() == Code::DeadlineExceeded || late.message().contains("timeout"), "{late}");
        }
        // CRI-O's way to say it.
        Ok(late) => assert_eq!((late.exit_code, &late.stderr[..]), (-1, &b"command timed out"[..])),
    }
    let seen = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    assert!(until(10, || !container.prove(seen).contains("sleep 4000")), "{}", container.prove(seen));
    pod.remove();
}

pub(crate) fn exec_streaming(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.sleeper("main");
    let script = "echo out; echo err >&2; read word; echo got $word; exit 7";
    let mut streams = exec(cri, &container.id, &["sh", "-c", script], false);
    streams.see(STDOUT, "out\n");
    streams.see(STDERR, "err\n");
    streams.send(STDIN, b"this\n");
    streams.see(STDOUT, "got this\n");
    assert_eq!(streams.exit_code(), 7);
    pod.remove();
}

pub(crate) fn exec_with_tty(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.sleeper("main");
    let mut streams = exec(cri, &container.id, &["sh"], true);
    streams.see(STDOUT, "# ");
    streams.send(RESIZE, json!({ "Width": 70, "Height": 20 }).to_string().as_bytes());
    streams.send(STDIN, crate::features::sized("20 70").as_bytes());
    streams.see(STDOUT, "/dev/pts/0");
    streams.send(STDIN, b"exit 5\n");
    assert_eq!(streams.exit_code(), 5);
    pod.remove();
}

#[track_caller]
fn exec(cri: &Cri, container: &str, command: &[&str], tty: bool) -> Streams {
    let request = ExecRequest {
        container_id: container.to_owned(),
        cmd: command.iter().map(|&word| word.to_owned()).collect(),
        tty,
        stdin: true,
        stdout: true,
        stderr: !tty,
    };
    Streams::open(cri, &cri.ask(async |mut service| service.exec(request).await).url)
}

pub(crate) fn attach(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let script = "read first; echo got $first; read second; exit 3";
    let container = pod.start_with("main", &["sh", "-c", script], |config| config.stdin = true);
    let request = AttachRequest {
        container_id: container.id.clone(),
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let mut streams = Streams::open(cri, &cri.ask(async |mut service| service.attach(request).await).url);
    streams.send(STDIN, b"this\n");
    streams.see(STDOUT, "got this\n");
    streams.send(STDIN, b"that\n");
    assert_eq!(container.wait().exit_code, 3);
    pod.remove();
}

/// The engine's own work; a server in the pod answers.
pub(crate) fn port_forward(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let serve = "echo forwarded >/tmp/index.html; exec httpd -f -p 127.0.0.1:80 -h /tmp";
    let server = pod.start("server", &["sh", "-c", serve]);
    assert!(until(10, || server.exec(&["wget", "-q", "-O", "-", "http://127.0.0.1/"]).exit_code == 0));
    let request = PortForwardRequest { pod_sandbox_id: pod.id.clone(), port: vec![80] };
    let url = cri.ask(async |mut service| service.port_forward(request).await).url;
    // Two streams per port, each of which first says the port.
    let mut streams = Streams::open(cri, &format!("{url}?port=80"));
    streams.send(0, b"GET / HTTP/1.0\r\n\r\n");
    streams.see(0, "\r\n\r\nforwarded\n");
    assert!(streams.bytes(0).starts_with(&80u16.to_le_bytes()));
    pod.remove();
}

/// Health checks: many at the same time and one after the other. None leaves a process behind, in the container or out.
pub(crate) fn probes_by_the_hundred(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.sleeper("main");
    let requests = |count: usize| {
        let request = k8s_cri::v1::ExecSyncRequest {
            container_id: container.id.clone(),
            cmd: ["sh", "-c", "cat /proc/1/comm; exit 4"].map(str::to_owned).into(),
            timeout: 60,
        };
        vec![request; count]
    };
    let count = if crate::harness::patience() == 1 { 100 } else { 20 };
    for batch in [1, count / 5] {
        let mut left = requests(count);
        while !left.is_empty() {
            let some = left.split_off(left.len() - batch);
            let answers = cri.ask(async |service| {
                let calls = some.into_iter().map(|request| {
                    let mut service = service.clone();
                    tokio::spawn(async move { service.exec_sync(request).await })
                });
                let mut answers = Vec::new();
                for call in calls.collect::<Vec<_>>() {
                    answers.push(call.await.unwrap()?.into_inner());
                }
                Ok(tonic::Response::new(answers))
            });
            let good = answers.iter().filter(|it| it.exit_code == 4 && it.stdout == b"sleep\n").count();
            assert_eq!(good, batch, "{answers:?}");
        }
    }
    let left: u32 = container.prove("ls -d /proc/[0-9]* | wc -l").parse().unwrap();
    assert!(left <= 4, "{left} processes are more than the sleeper, sh, ls and wc");
    pod.remove();
}

pub(crate) fn stats(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container =
        pod.start("main", &["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; sleep 1000"]);
    let used = || {
        let request = ContainerStatsRequest { container_id: container.id.clone() };
        let stats = cri.ask(async |mut service| service.container_stats(request).await).stats.unwrap();
        let cpu = stats.cpu.and_then(|it| it.usage_core_nano_seconds).map_or(0, |it| it.value);
        (cpu, stats.memory.and_then(|it| it.working_set_bytes).map_or(0, |it| it.value))
    };
    assert!(until(10, || used().0 > 1_000_000 && used().1 > 0), "{:?}", used());
    let request = PodSandboxStatsRequest { pod_sandbox_id: pod.id.clone() };
    match cri.call(async |mut service| service.pod_sandbox_stats(request).await) {
        Ok(answer) => {
            let linux = answer.stats.unwrap().linux.unwrap();
            assert_eq!(linux.containers.len(), 1);
            // CRI-O looks for a slice, which there is only with systemd.
            assert!(linux.process.is_none_or(|it| it.process_count.is_some_and(|it| it.value >= 1)));
        }
        Err(status) => assert_eq!(status.code(), Code::Unimplemented, "{status}"),
    }
    pod.remove();
}

/// The files of a container's limits, in order: memory, processor time, shares of it.
const LIMIT_FILES: [&str; 2] = [
    "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares",
    "cd /sys/fs/cgroup; cat memory.max cpu.max",
];

fn limit_files(layout: Layout) -> &'static str {
    LIMIT_FILES[usize::from(layout == Layout::V2)]
}

fn limited(config: &mut ContainerConfig) {
    let limits = resources(config);
    limits.memory_limit_in_bytes = 64 << 20;
    (limits.cpu_period, limits.cpu_quota, limits.cpu_shares) = (100_000, 50_000, 512);
}

pub(crate) fn limits(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.start_with("main", &["sleep", "1000"], limited);
    let wanted = ["67108864\n50000\n512", "67108864\n50000 100000"];
    assert_eq!(
        container.prove(limit_files(sandbox.layout)),
        wanted[usize::from(sandbox.layout == Layout::V2)]
    );
    pod.remove();
}

/// What resizing a pod does: other limits for the same process.
pub(crate) fn update_in_place(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.start_with("main", &["sleep", "1000"], limited);
    let before = container.pid();
    let request = UpdateContainerResourcesRequest {
        container_id: container.id.clone(),
        linux: Some(LinuxContainerResources {
            memory_limit_in_bytes: 128 << 20,
            cpu_period: 100_000,
            cpu_quota: 25_000,
            cpu_shares: 256,
            ..Default::default()
        }),
        ..Default::default()
    };
    cri.ask(async |mut service| service.update_container_resources(request).await);
    let wanted = ["134217728\n25000\n256", "134217728\n25000 100000"];
    assert_eq!(
        container.prove(limit_files(sandbox.layout)),
        wanted[usize::from(sandbox.layout == Layout::V2)]
    );
    assert_eq!(container.pid(), before);
    pod.remove();
}

pub(crate) fn killed_for_memory(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let script = "sleep 1; x=x; while :; do x=$x$x; done";
    let container = pod.start_with("main", &["sh", "-c", script], |config| {
        resources(config).memory_limit_in_bytes = 16 << 20;
    });
    let status = container.wait();
    assert_eq!(status.exit_code, 137);
    // The engine, or CRI-O's monitor, reads the kernel's word for it beside the exit, in a cgroup that systemd may have removed
    // by then.
    let may_miss = cri.has_monitors() || Need::Systemd.is_met(sandbox.layout);
    let known = |reason: &str| reason == "OOMKilled" || (reason == "Error" && may_miss);
    assert!(until(10, || known(&container.status().reason)), "{:?}", container.status());
    pod.remove();
}

/// Volumes: written to, read only, and with what the machine mounts later.
pub(crate) fn mounts(cri: &Cri, sandbox: &Sandbox) {
    let data = sandbox.path("data");
    fs::create_dir(&data).unwrap();
    fs::write(format!("{data}/from-host"), "host\n").unwrap();
    let pod = Pod::run(cri, sandbox);
    let container = pod.start_with("main", &["sleep", "1000"], |config| {
        let mount = |path: &str, readonly, propagation: MountPropagation| Mount {
            container_path: path.into(),
            host_path: data.clone(),
            readonly,
            propagation: propagation.into(),
            ..Default::default()
        };
        config.mounts = vec![
            mount("/data", false, MountPropagation::PropagationPrivate),
            mount("/read", true, MountPropagation::PropagationPrivate),
            mount("/later", false, MountPropagation::PropagationHostToContainer),
        ];
    });
    let script =
        "cat /data/from-host; echo container >/data/new; echo x >/read/x 2>/dev/null || cat /read/new";
    assert_eq!(container.prove(script), "host\ncontainer");
    let make = format!("mkdir {data}/sub && mount -t tmpfs later {data}/sub && touch {data}/sub/x");
    cri.place.call(sandbox, &["sh", "-c", &make]).finish().ok();
    assert_eq!(container.prove("ls /later/sub /data/sub"), "/data/sub:\n\n/later/sub:\nx");
    cri.place.call(sandbox, &["umount", &format!("{data}/sub")]).finish().ok();
    pod.remove();
}

pub(crate) fn recursive_read_only_mounts(cri: &Cri, sandbox: &Sandbox) {
    let data = sandbox.path("data");
    fs::create_dir_all(format!("{data}/sub")).unwrap();
    cri.place.call(sandbox, &["mount", "-t", "tmpfs", "sub", &format!("{data}/sub")]).finish().ok();
    let pod = Pod::run(cri, sandbox);
    let container = pod.start_with("main", &["sleep", "1000"], |config| {
        config.mounts = vec![Mount {
            container_path: "/data".into(),
            host_path: data.clone(),
            readonly: true,
            recursive_read_only: true,
            ..Default::default()
        }];
    });
    let seen = container.prove("touch /data/sub/x 2>&1; true");
    assert!(seen.contains("Read-only file system"), "{seen}");
    pod.remove();
    cri.place.call(sandbox, &["umount", &format!("{data}/sub")]).finish().ok();
}

pub(crate) fn devices(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.start_with("main", &["sleep", "1000"], |config| {
        config.devices = vec![Device {
            container_path: "/dev/mine".into(),
            host_path: "/dev/null".into(),
            permissions: "rw".into(),
        }];
    });
    assert_eq!(container.prove("test -c /dev/mine && echo x >/dev/mine && echo written"), "written");
    pod.remove();
}

pub(crate) fn sysctls(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run_with(cri, sandbox, |config| {
        let sysctls = &mut config.linux.as_mut().unwrap().sysctls;
        for (key, value) in [("kernel.shm_rmid_forced", "1"), ("net.ipv4.ip_local_port_range", "1024\t2000")]
        {
            sysctls.insert(key.into(), value.into());
        }
    });
    let container = pod.sleeper("main");
    let seen = container.prove("cd /proc/sys; cat kernel/shm_rmid_forced net/ipv4/ip_local_port_range");
    assert_eq!(seen, "1\n1024\t2000");
    pod.remove();
}

/// What a process says of its capabilities and promises.
fn of_status(field: &str) -> String {
    format!("grep ^{field}: /proc/self/status | cut -f 2")
}

pub(crate) fn users_and_capabilities(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container = pod.start_with("main", &["sleep", "1000"], |config| {
        let security = security(config);
        security.run_as_user = Some(Int64Value { value: 1000 });
        security.run_as_group = Some(Int64Value { value: 1000 });
        security.supplemental_groups = vec![2000];
        security.no_new_privs = true;
        security.capabilities = Some(Capability {
            drop_capabilities: vec!["ALL".into()],
            add_capabilities: vec!["NET_RAW".into()],
            ..Default::default()
        });
    });
    let seen = container.prove(&format!(
        "id -u; id -g; id -G; {}; {}",
        of_status("NoNewPrivs"),
        of_status("CapBnd")
    ));
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!((&seen[..2], seen[3], seen[4]), (&["1000", "1000"][..], "1", "0000000000002000"));
    assert!(seen[2].split(' ').collect::<BTreeSet<_>>().contains("2000"), "{seen:?}");
    // What the engine reads back of it.
    let user: Option<ContainerUser> = container.status().user;
    assert!(user.and_then(|it| it.linux).is_none_or(|it| it.uid == 1000));
    pod.remove();
}

/// All capabilities that there are here, and the machine's devices.
pub(crate) fn privileged(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run_with(cri, sandbox, |config| pod_security(config).privileged = true);
    let container = pod.start_with("main", &["sleep", "1000"], |config| security(config).privileged = true);
    let seen = container
        .prove(&format!("{}; test -w /proc/sys/kernel/hostname && echo writable", of_status("CapEff")));
    let own = crate::harness::status_field(std::process::id().cast_signed(), "CapEff").unwrap();
    assert_eq!(seen, format!("{own}\nwritable"));
    pod.remove();
}

pub(crate) fn read_only_root(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox);
    let container =
        pod.start_with("main", &["sleep", "1000"], |config| security(config).readonly_rootfs = true);
    assert_eq!(container.prove("touch /x 2>&1; true"), "touch: /x: Read-only file system");
    pod.remove();
}

fn profile(kind: ProfileType, name: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile { profile_type: kind.into(), localhost_ref: name.into() })
}

/// A profile of the machine, the engine's own, and none.
pub(crate) fn seccomp(cri: &Cri, sandbox: &Sandbox) {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 });
    let rules = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let file = sandbox.file("seccomp.json", &rules.to_string());
    let pod = Pod::run(cri, sandbox);
    let script = format!("mkdir /tmp/x 2>&1; {}", of_status("Seccomp"));
    for (name, profile, wanted) in [
        (
            "machine",
            profile(ProfileType::Localhost, &file),
            "mkdir: can't create directory '/tmp/x': Operation not supported\n2",
        ),
        ("engine", profile(ProfileType::RuntimeDefault, ""), "2"),
        ("none", profile(ProfileType::Unconfined, ""), "0"),
    ] {
        let container = pod.start_with(name, &["sleep", "1000"], |config| security(config).seccomp = profile);
        assert_eq!(container.prove(&script), wanted, "{name}");
    }
    pod.remove();
}

/// As seccomp; the machine's profile forbids a file.
pub(crate) fn apparmor(cri: &Cri, sandbox: &Sandbox) {
    let name = &sandbox.token;
    let text = format!(
        "profile {name} flags=(attach_disconnected) {{\n file, signal, ptrace,\n deny /etc/group r,\n}}\n"
    );
    let file = sandbox.file("profile", &text);
    cri.place.call(sandbox, &["apparmor_parser", "--replace", "--skip-cache", &file]).finish().ok();
    let pod = Pod::run(cri, sandbox);
    let script = "cat /proc/self/attr/current; cat /etc/group >/dev/null 2>&1 || echo denied";
    for (container, profile, wanted) in [
        ("machine", profile(ProfileType::Localhost, name), format!("{name} (enforce)\ndenied")),
        ("none", profile(ProfileType::Unconfined, ""), "unconfined".into()),
    ] {
        let container =
            pod.start_with(container, &["sleep", "1000"], |config| security(config).apparmor = profile);
        assert_eq!(container.prove(script), wanted);
    }
    let default = profile(ProfileType::RuntimeDefault, "");
    let container =
        pod.start_with("engine", &["sleep", "1000"], |config| security(config).apparmor = default);
    let seen = container.prove(script);
    // containerd's and CRI-O's have other names than that of the test, and both let the file be read.
    assert!(seen.ends_with(" (enforce)") && !seen.contains(name.as_str()), "{seen}");
    pod.remove();
    cri.place.call(sandbox, &["apparmor_parser", "--remove", &file]).finish().ok();
}

/// `hostUsers: false`: root in the pod is nobody outside, and volumes are still what they are.
pub(crate) fn user_namespace(cri: &Cri, sandbox: &Sandbox) {
    let ids = || vec![IdMapping { host_id: 200_000, container_id: 0, length: 65536 }];
    let own = UserNamespace { mode: NamespaceMode::Pod.into(), uids: ids(), gids: ids() };
    let pod = Pod::run_with(cri, sandbox, |config| {
        pod_security(config).namespace_options.as_mut().unwrap().userns_options = Some(own);
    });
    let container = pod.sleeper("main");
    assert_eq!(container.prove("id -u; tr -s ' ' </proc/self/uid_map"), "0\n 0 200000 65536");
    assert_eq!(
        crate::harness::status_field(container.pid(), "Uid").unwrap().split_whitespace().next(),
        Some("200000")
    );
    assert_eq!(container.prove("touch /new && stat -c %u /new /bin/busybox"), "0\n0");
    pod.remove();
}

/// A daemon that ends and starts again still manages what it started: killed, and stopped in order.
pub(crate) fn daemon_restarted(
    place: Place,
    connect: fn(Arc<Place>) -> Cri,
    start: fn(&Place),
    sandbox: &Sandbox,
) {
    let place = Arc::new(place);
    let cri = connect(place.clone());
    let pod = Pod::run(&cri, sandbox);
    let container = pod.sleeper("main");
    let first = container.pid();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        place.end_daemon(signal);
        start(&place);
        cri.wait();
        assert_eq!((container.pid(), container.prove("cat /proc/1/comm").as_str()), (first, "sleep"));
    }
    pod.remove();
    drop(cri);
    let left = Arc::into_inner(place).unwrap().close();
    assert!(left.is_empty(), "{left:?}");
}

/// Two containers in each, from ten clients at once.
pub(crate) fn ten_pods_at_once(cri: &Cri, sandbox: &Sandbox) {
    let one = |number: usize| {
        let cri = cri.again();
        let pod = Pod::begin(&cri, sandbox, pod_config(sandbox, &format!("pod{number}")))
            .map_err(|it| it.to_string())?;
        let all: Vec<i32> = ["one", "two"].iter().map(|name| pod.sleeper(name).pid()).collect();
        let alive = all.iter().all(|&pid| is_alive(pid));
        pod.end().map_err(|it| it.to_string())?;
        let dead = until(10, || !all.iter().any(|&pid| is_alive(pid)));
        if alive && dead { Ok(()) } else { Err(format!("alive {alive}, then dead {dead}")) }
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
    let list = cri.place.call(sandbox, &[crate::place::ONGGI, "--root", cri.root, "list"]).finish().ok();
    sandbox.clean(&list);
}
