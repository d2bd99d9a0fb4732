//! What is asked of the kubelet by manifests: one function per feature, whatever engine is below it.

use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::pod::{Pod, SLEEPER, container, has, read, running, status};
use super::{NODE, start};
use crate::cri::client::Cri;
use crate::cri::pod::Container;
use crate::harness::{Sandbox, is_alive, patience, status_field, until};

/// One network, one host name, processes of their own; both are onggi's.
pub(crate) fn two_containers(cri: &Cri, sandbox: &Sandbox) {
    let serve = "echo hi >/tmp/index.html; exec httpd -f -p 127.0.0.1:80 -h /tmp";
    let containers =
        [container(sandbox, "server", serve, json!({})), container(sandbox, "client", SLEEPER, json!({}))];
    let pod = Pod::run(cri, sandbox, &containers);
    let (server, client) = (pod.container("server"), pod.container("client"));
    let listed = pod.listed();
    for id in [&server.id, &client.id] {
        let one = listed.iter().find(|item| item["id"] == **id);
        assert!(one.is_some_and(|item| item["status"] == "running"), "{listed:?}");
    }
    assert!(until(10, || client.exec(&["wget", "-q", "-O", "-", "http://127.0.0.1/"]).stdout == b"hi\n"));
    let own = "readlink /proc/self/ns/net; hostname";
    assert_eq!(client.prove(own), server.prove(own));
    assert_eq!(client.prove("hostname"), format!("{}-{NODE}", sandbox.token));
    assert_ne!(client.prove("readlink /proc/self/ns/pid"), server.prove("readlink /proc/self/ns/pid"));
    assert!(pod.now()["status"]["podIP"].as_str().is_some_and(|ip| client.prove("ip address").contains(ip)));
    pod.remove();
}

/// A file of the cgroup that a container sees itself in: its name on cgroup v2, on v1.
fn in_cgroup(container: &Container, second: &str, first: &str) -> String {
    container.prove(&format!("cd /sys/fs/cgroup; cat {second} 2>/dev/null || cat {first}"))
}

/// Limits of a container arrive in its cgroup, which is in that of the pod.
pub(crate) fn limits(cri: &Cri, sandbox: &Sandbox) {
    let (requests, limits) =
        (json!({ "cpu": "100m", "memory": "16Mi" }), json!({ "cpu": "200m", "memory": "32Mi" }));
    let special = json!({ "resources": { "requests": requests, "limits": limits } });
    let pod = Pod::run(cri, sandbox, &[container(sandbox, "main", SLEEPER, special)]);
    let main = pod.container("main");
    assert_eq!(in_cgroup(&main, "memory.max", "memory/memory.limit_in_bytes"), (32 << 20).to_string());
    let quota = in_cgroup(&main, "cpu.max", "cpu/cpu.cfs_quota_us");
    assert!(["20000 100000", "20000"].contains(&quota.as_str()), "{quota}");
    let now = pod.now();
    assert_eq!(now["status"]["qosClass"], "Burstable");
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", main.pid())).unwrap();
    let uid = now["metadata"]["uid"].as_str().unwrap();
    let memory = cgroups.lines().find(|line| line.contains(":memory:") || line.starts_with("0::/")).unwrap();
    assert!(memory.contains(&format!("pod{uid}")) && memory.contains(&main.id), "{cgroups}");
    pod.remove();
}

/// Readiness comes with what it is asked for; who is not alive any more is started again.
pub(crate) fn probes(cri: &Cri, sandbox: &Sandbox) {
    let probe = |file: &str, more: Value| {
        let mut probe = json!({ "exec": { "command": ["cat", file] }, "periodSeconds": 1, "timeoutSeconds": 10 * patience() });
        probe.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        probe
    };
    let alive = probe("/alive", json!({ "failureThreshold": 1 }));
    let started = probe("/alive", json!({ "failureThreshold": 60 }));
    let containers = [
        container(sandbox, "slow", SLEEPER, json!({ "readinessProbe": probe("/ready", json!({})) })),
        container(
            sandbox,
            "sick",
            &SLEEPER.replace("echo ready", "touch /alive"),
            json!({ "livenessProbe": alive, "startupProbe": started }),
        ),
    ];
    let pod = Pod::run(cri, sandbox, &containers);
    let now = pod.wait("the sick one is ready", |pod| status(pod, "sick")["ready"] == true);
    assert_eq!((&status(&now, "slow")["ready"], has(&now, "Ready")), (&json!(false), false));
    pod.container("slow").prove("touch /ready");
    let now = pod.wait("all are ready", |pod| has(pod, "Ready"));
    assert_eq!(status(&now, "sick")["restartCount"], 0);
    let first = pod.container("sick");
    first.prove("rm /alive");
    // Perhaps twice: a probe of the first one may still be under way.
    pod.wait("started again", |pod| {
        let sick = status(pod, "sick");
        let another = sick["containerID"].as_str().is_some_and(|id| !id.ends_with(&first.id));
        another && sick["restartCount"].as_u64() > Some(0) && has(pod, "Ready")
    });
    pod.remove();
}

/// Who fails is started again, who has done its work is not; and its last words are kept.
pub(crate) fn restart_policy(cri: &Cri, sandbox: &Sandbox) {
    let script = "echo one more >>/data/times; [ $(wc -l </data/times) = 2 ] || { printf again >/dev/termination-log; exit 3; }";
    let data = json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
    let spec = json!({
        "restartPolicy": "OnFailure",
        "containers": [container(sandbox, "main", script, data)],
        "volumes": [{ "name": "data", "emptyDir": {} }],
    });
    let pod = Pod::new(cri, sandbox, &spec);
    let now = pod.wait("succeeds", |pod| pod["status"]["phase"] == "Succeeded");
    let main = status(&now, "main");
    assert_eq!(main["restartCount"], 1);
    let (last, before) = (&main["state"]["terminated"], &main["lastState"]["terminated"]);
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(0), &json!("Completed")));
    assert_eq!((&before["exitCode"], &before["reason"]), (&json!(3), &json!("Error")));
    assert_eq!(before["message"], "again");
    pod.remove();
}

pub(crate) fn killed_for_memory(cri: &Cri, sandbox: &Sandbox) {
    let script = "sleep 1; x=x; while :; do x=$x$x; done";
    let special = json!({ "resources": { "limits": { "memory": "16Mi" } } });
    let spec =
        json!({ "restartPolicy": "Never", "containers": [container(sandbox, "main", script, special)] });
    let pod = Pod::new(cri, sandbox, &spec);
    let now = pod.wait("fails", |pod| pod["status"]["phase"] == "Failed");
    let end = &status(&now, "main")["state"]["terminated"];
    // The engine reads the kernel's word for it beside the exit, and the kubelet does not ask twice.
    assert!(["OOMKilled", "Error"].iter().any(|reason| end["reason"] == *reason), "{end}");
    assert_eq!(end["exitCode"], 137);
    pod.remove();
}

/// What runs first, what runs beside, and what both have written for the one that runs at last.
pub(crate) fn init_and_sidecar(cri: &Cri, sandbox: &Sandbox) {
    let data = || json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
    let mut beside = data();
    beside["restartPolicy"] = json!("Always");
    beside["startupProbe"] =
        json!({ "exec": { "command": ["test", "-s", "/data/beside"] }, "periodSeconds": 1 });
    let spec = json!({
        "initContainers": [
            container(sandbox, "first", "echo first >/data/first", data()),
            container(sandbox, "beside", &format!("cat /data/first >/data/beside; {SLEEPER}"), beside),
        ],
        "containers": [container(sandbox, "main", &format!("cp /data/beside /data/main; {SLEEPER}"), data())],
        "volumes": [{ "name": "data", "emptyDir": { "medium": "Memory" } }],
    });
    let pod = Pod::new(cri, sandbox, &spec);
    let now = pod.wait("runs", |pod| running(pod, 1) && has(pod, "Ready"));
    assert_eq!(status(&now, "first")["state"]["terminated"]["exitCode"], 0, "{now}");
    assert!(status(&now, "beside")["state"]["running"].is_object(), "{now}");
    assert!(until(10, || pod.container("main").prove("cat /data/main") == "first"));
    pod.remove();
}

/// Memory, a folder of the machine, read only and a part of it, a file of the kubelet's.
pub(crate) fn volumes(cri: &Cri, sandbox: &Sandbox) {
    let host = sandbox.path("host");
    fs::create_dir_all(format!("{host}/part")).unwrap();
    fs::write(format!("{host}/part/file"), "from the host\n").unwrap();
    let mounts = json!({ "volumeMounts": [
        { "name": "memory", "mountPath": "/memory" },
        { "name": "host", "mountPath": "/host" },
        { "name": "host", "mountPath": "/part", "subPath": "part", "readOnly": true },
        { "name": "about", "mountPath": "/about" },
    ] });
    let about = json!([{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }]);
    let spec = json!({
        "containers": [container(sandbox, "main", SLEEPER, mounts)],
        "volumes": [
            { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
            { "name": "host", "hostPath": { "path": host, "type": "Directory" } },
            { "name": "about", "downwardAPI": { "items": about } },
        ],
    });
    let pod = Pod::new(cri, sandbox, &spec);
    pod.wait("runs", |pod| running(pod, 1));
    let main = pod.container("main");
    assert_eq!(
        main.prove("cat /part/file /about/labels; echo; echo here >/host/new"),
        "from the host\napp=\"onggi\""
    );
    assert_eq!(fs::read_to_string(format!("{host}/new")).unwrap(), "here\n");
    assert!(main.prove("touch /part/x 2>&1; true").contains("Read-only file system"));
    assert_eq!(main.prove("df -k /memory | tail -n 1 | tr -s ' ' | cut -d ' ' -f 1-2"), "tmpfs 1024");
    pod.remove();
}

pub(crate) fn security_context(cri: &Cri, sandbox: &Sandbox) {
    let mut special = json!({ "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
    special["securityContext"] = json!({
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"], "add": ["NET_RAW"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    let spec = json!({
        "securityContext": { "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000, "runAsNonRoot": true,
            "sysctls": [{ "name": "net.ipv4.ip_local_port_range", "value": "1024 2000" }] },
        "containers": [container(sandbox, "main", SLEEPER, special)],
        "volumes": [{ "name": "data", "emptyDir": {} }],
    });
    let pod = Pod::new(cri, sandbox, &spec);
    pod.wait("runs", |pod| running(pod, 1));
    let main = pod.container("main");
    let script = "id -u; id -g; stat -c %g /data; touch /data/x && echo written; \
        for field in NoNewPrivs CapBnd Seccomp; do grep ^$field: /proc/self/status | cut -f 2; done; \
        tr '\\t' ' ' </proc/sys/net/ipv4/ip_local_port_range; touch /x 2>&1 || true";
    let wanted =
        "1000\n1000\n2000\nwritten\n1\n0000000000002000\n2\n1024 2000\ntouch: /x: Read-only file system";
    assert_eq!(main.prove(script), wanted);
    pod.remove();
}

/// `hostNetwork`, `hostPID`, and the machine's host name.
pub(crate) fn namespaces_of_the_machine(cri: &Cri, sandbox: &Sandbox) {
    let spec = json!({
        "hostNetwork": true,
        "hostPID": true,
        "containers": [container(sandbox, "main", SLEEPER, json!({}))],
    });
    let pod = Pod::new(cri, sandbox, &spec);
    pod.wait("runs", |pod| running(pod, 1));
    let script = "cd /proc/self/ns; readlink net; readlink pid";
    let words = ["sh", "-c", script];
    assert_eq!(pod.container("main").prove(script), cri.place.call(sandbox, &words).finish().ok().text());
    pod.remove();
}

/// What runs in a container behind its start and before its end, which it has the time for that it asks for.
pub(crate) fn hooks(cri: &Cri, sandbox: &Sandbox) {
    let host = sandbox.path("host");
    fs::create_dir(&host).unwrap();
    let exec = |script: &str| json!({ "exec": { "command": ["sh", "-c", script] } });
    let special = json!({
        "volumeMounts": [{ "name": "host", "mountPath": "/host" }],
        "lifecycle": {
            "postStart": exec("echo begins >>/host/log"),
            "preStop": exec("echo stops >>/host/log"),
        },
    });
    let script = "trap 'sleep 1; echo ends >>/host/log; exit 0' TERM; while :; do sleep 0.1; done";
    let spec = json!({
        "terminationGracePeriodSeconds": 30 * patience(),
        "containers": [container(sandbox, "main", script, special)],
        "volumes": [{ "name": "host", "hostPath": { "path": host } }],
    });
    let pod = Pod::new(cri, sandbox, &spec);
    pod.wait("runs", |pod| running(pod, 1));
    let log = || fs::read_to_string(format!("{host}/log")).unwrap_or_default();
    assert_eq!(log(), "begins\n");
    pod.remove();
    assert_eq!(log(), "begins\nstops\nends\n");
}

/// The runtime's words are what a user sees of a container that cannot be started: containerd has the kubelet call it one
/// that ended, CRI-O one that waits for the next try.
pub(crate) fn errors(cri: &Cri, sandbox: &Sandbox) {
    let mut nope = container(sandbox, "nope", "", json!({}));
    nope["command"] = json!(["nope"]);
    let pod = Pod::new(cri, sandbox, &json!({ "restartPolicy": "Never", "containers": [nope] }));
    let reason = |pod: &Value| {
        let state = &status(pod, "nope")["state"];
        let said =
            [&state["terminated"], &state["waiting"]].into_iter().find(|it| it["message"].is_string())?;
        let known = said["message"].as_str()?.contains("executable file not found in $PATH");
        Some(said["reason"].as_str()?.to_owned()).filter(|_| known)
    };
    let now = pod.wait("says why", |pod| reason(pod).is_some());
    let reason = reason(&now).unwrap();
    assert!(["StartError", "CreateContainerError"].contains(&reason.as_str()), "{}", now["status"]);
    pod.remove();
}

/// The kubelet reads cgroups by itself: it finds those of onggi's containers, and numbers in them.
pub(crate) fn metrics(cri: &Cri, sandbox: &Sandbox) {
    let pod = Pod::run(cri, sandbox, &[container(sandbox, "main", SLEEPER, json!({}))]);
    let labels = format!("{{container=\"main\",namespace=\"default\",pod=\"{}-{NODE}\"}}", sandbox.token);
    let mut last = String::new();
    let seen = until(60, || {
        thread::sleep(Duration::from_millis(200 * u64::from(patience())));
        last = read(&cri.place, "/metrics/resource");
        ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"].iter().all(|name| {
            let value = last.lines().find_map(|line| line.strip_prefix(&format!("{name}{labels} ")));
            value.and_then(|it| it.split(' ').next()?.parse::<f64>().ok()).is_some_and(|number| number > 0.0)
        })
    });
    assert!(seen, "{last}");
    pod.remove();
}

/// `hostUsers: false`: root in the pod is nobody outside.
pub(crate) fn user_namespace(cri: &Cri, sandbox: &Sandbox) {
    let spec = json!({ "hostUsers": false, "containers": [container(sandbox, "main", SLEEPER, json!({}))] });
    let pod = Pod::new(cri, sandbox, &spec);
    pod.wait("runs", |pod| running(pod, 1));
    let main = pod.container("main");
    let map = main.prove("tr -s ' ' </proc/self/uid_map");
    let outside = map.trim().split(' ').nth(1).unwrap_or_default();
    assert!(map.trim().starts_with("0 ") && outside.parse::<u32>().is_ok_and(|id| id >= 65536), "{map}");
    assert_eq!(status_field(main.pid(), "Uid").unwrap().split_whitespace().next(), Some(outside));
    pod.remove();
}

/// What a killed kubelet leaves goes on without it; the next one manages it on, and ends what was taken away meanwhile.
pub(crate) fn kubelet_killed(cri: &Cri, sandbox: &Sandbox) {
    let place = &cri.place;
    let mut pod = Pod::run(cri, sandbox, &[container(sandbox, "main", SLEEPER, json!({}))]);
    let main = pod.container("main");
    let init = main.pid();
    place.end_daemon(Signal::SIGKILL);
    assert!(is_alive(init));
    start(place);
    let now = pod.wait("still runs", |pod| running(pod, 1));
    assert_eq!((pod.container("main").id, &status(&now, "main")["restartCount"]), (main.id, &json!(0)));
    place.end_daemon(Signal::SIGKILL);
    pod.take_away();
    assert!(is_alive(init));
    start(place);
    pod.gone(now["metadata"]["uid"].as_str().unwrap());
    assert!(!is_alive(init));
}
