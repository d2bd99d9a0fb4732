//! A static pod of a test: its manifest, what the kubelet and onggi say of it, its end. Nothing of it may be left.

use std::io::{Read, Write};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

use super::{MANIFESTS, NODE, READ_ONLY};
use crate::cri::client::Cri;
use crate::cri::pod::Container;
use crate::harness::{Sandbox, patience, until};
use crate::image::IMAGE;
use crate::place::{ONGGI, Place};

/// What the kubelet answers on its read-only port.
#[track_caller]
pub(super) fn read(place: &Place, path: &str) -> String {
    let mut stream = place.connect(READ_ONLY);
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    assert!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{path}: {answer}");
    body.to_owned()
}

/// A container of a manifest, with what is special about it.
pub(super) fn container(sandbox: &Sandbox, name: &str, script: &str, special: Value) -> Value {
    let mut container = json!({
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "env": [{ "name": "ONGGI_TEST", "value": sandbox.token }],
    });
    let Value::Object(special) = special else { panic!("{special}") };
    container.as_object_mut().unwrap().extend(special);
    container
}

/// Waits for SIGTERM.
pub(super) const SLEEPER: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";

/// A pod whose manifest lies in the folder.
pub(super) struct Pod<'a> {
    cri: &'a Cri,
    sandbox: &'a Sandbox,
    removed: bool,
}

impl<'a> Pod<'a> {
    /// Puts the manifest there, whole at once.
    pub(super) fn new(cri: &'a Cri, sandbox: &'a Sandbox, spec: &Value) -> Pod<'a> {
        let name = &sandbox.token;
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": "default", "labels": { "app": "onggi" } },
            "spec": spec,
        });
        let next = format!("/etc/kubernetes/{name}.json");
        cri.place.write(&next, &manifest.to_string());
        fs::rename(cri.place.inside(&next), cri.place.inside(&format!("{MANIFESTS}/{name}.json"))).unwrap();
        Pod { cri, sandbox, removed: false }
    }

    /// A pod of these containers, which runs.
    #[track_caller]
    pub(super) fn run(cri: &'a Cri, sandbox: &'a Sandbox, containers: &[Value]) -> Pod<'a> {
        let pod = Pod::new(cri, sandbox, &json!({ "containers": containers }));
        pod.wait("runs", |pod| running(pod, containers.len()));
        pod
    }

    /// What the kubelet says of it; null before it knows it.
    pub(super) fn now(&self) -> Value {
        let mut all: Value = serde_json::from_str(&read(&self.cri.place, "/pods")).unwrap();
        let name = format!("{}-{NODE}", self.sandbox.token);
        let mut items = all["items"].as_array_mut().into_iter().flatten();
        items.find(|item| item["metadata"]["name"] == *name).map(Value::take).unwrap_or_default()
    }

    /// Waits until what the kubelet says of it is as it is wanted.
    #[track_caller]
    pub(super) fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let reached = until(60, || {
            thread::sleep(Duration::from_millis(50 * u64::from(patience())));
            last = self.now();
            wanted(&last)
        });
        assert!(reached, "the pod is not what it should be: {what}: {}", last["status"]);
        last
    }

    /// A container of it that runs.
    #[track_caller]
    pub(super) fn container(&self, name: &str) -> Container<'a> {
        let pod = self.now();
        let id = status(&pod, name)["containerID"].as_str().unwrap_or_default();
        let (_, id) =
            id.split_once("://").unwrap_or_else(|| panic!("{name} has no container: {}", pod["status"]));
        Container { cri: self.cri, id: id.to_owned() }
    }

    /// What onggi says of its containers, that which holds its namespaces included.
    #[track_caller]
    pub(super) fn listed(&self) -> Vec<Value> {
        let words = [ONGGI, "--root", self.cri.root, "list", "--format", "json"];
        let list = self.cri.place.call(self.sandbox, &words).finish().ok();
        let list: Option<Vec<Value>> = serde_json::from_str(&list.stdout).unwrap();
        let ours = |item: &Value| item["annotations"].to_string().contains(&self.sandbox.token);
        list.unwrap_or_default().into_iter().filter(ours).collect()
    }

    /// Removes the manifest. Then nothing may be left: of the kubelet's, of the engine's, of the runtime's.
    #[track_caller]
    pub(super) fn remove(mut self) {
        let uid = self.now()["metadata"]["uid"].as_str().expect("a pod").to_owned();
        self.take_away();
        self.gone(&uid);
    }

    /// Waits until nothing is left of a pod of this uid, whose manifest is gone.
    #[track_caller]
    pub(super) fn gone(&self, uid: &str) {
        let place = &self.cri.place;
        let mut left = String::new();
        let gone = until(60, || {
            thread::sleep(Duration::from_millis(50 * u64::from(patience())));
            left = format!("{}{:?}{}", self.now()["status"], self.listed(), traces(place, self.sandbox, uid));
            left == "null[]"
        });
        assert!(gone, "left behind: {left}");
        let last = place.call(self.sandbox, &["true"]).finish().ok();
        self.sandbox.clean(&last);
    }

    pub(super) fn take_away(&mut self) {
        self.removed = true;
        let _ = fs::remove_file(self.cri.place.inside(&format!("{MANIFESTS}/{}.json", self.sandbox.token)));
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if !self.removed {
            self.take_away();
            until(20, || self.now().is_null() && self.listed().is_empty());
        }
    }
}

/// Cgroups, mounts and folders that bear the uid of a pod.
fn traces(place: &Place, sandbox: &Sandbox, uid: &str) -> String {
    let script = format!(
        "find /sys/fs/cgroup -type d -name '*{uid}*' 2>/dev/null; grep {uid} /proc/self/mountinfo; ls -d /var/lib/kubelet/pods/{uid} 2>/dev/null; true"
    );
    place.call(sandbox, &["sh", "-c", &script]).finish().ok().stdout
}

/// The status of a container, by its name.
pub(super) fn status<'v>(pod: &'v Value, name: &str) -> &'v Value {
    let lists = ["containerStatuses", "initContainerStatuses"];
    let mut all = lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    all.find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

/// Whether so many containers run, and the pod is called running.
pub(super) fn running(pod: &Value, count: usize) -> bool {
    let all = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    pod["status"]["phase"] == "Running"
        && all.filter(|it| it["state"]["running"].is_object()).count() == count
}

/// Whether the pod has this condition.
pub(super) fn has(pod: &Value, condition: &str) -> bool {
    let mut all = pod["status"]["conditions"].as_array().into_iter().flatten();
    all.any(|it| it["type"] == condition && it["status"] == "True")
}
