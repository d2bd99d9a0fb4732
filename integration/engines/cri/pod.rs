//! Pods and containers of a test: configured, started, looked into, removed. What a test that fails leaves is removed too.

use std::time::Duration;

use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusRequest,
    CreateContainerRequest, ExecSyncRequest, ExecSyncResponse, ImageSpec, KeyValue, LinuxContainerConfig,
    LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
    PodSandboxStatus, PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StopContainerRequest, StopPodSandboxRequest,
};
use tonic::Status;

use super::client::Cri;
use crate::harness::{Need, Sandbox, patience, until};
use crate::image::IMAGE;

/// The handler of pods, which a RuntimeClass names.
pub(crate) const HANDLER: &str = "onggi";

/// A pod that runs.
pub(crate) struct Pod<'a> {
    pub(crate) cri: &'a Cri,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) id: String,
    pub(crate) config: PodSandboxConfig,
    removed: bool,
}

/// A container of a pod.
pub(crate) struct Container<'a> {
    pub(crate) cri: &'a Cri,
    pub(crate) id: String,
}

/// What is asked of a pod that says nothing: a network, an ipc and a uts namespace of its own, process namespaces one per
/// container.
pub(crate) fn pod_config(sandbox: &Sandbox, name: &str) -> PodSandboxConfig {
    let systemd = Need::Systemd.is_met(sandbox.layout);
    let cgroup_parent = if systemd { "/system.slice".into() } else { format!("/{}", sandbox.token) };
    let name = format!("{}-{name}", sandbox.token);
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.clone(),
            uid: name.clone(),
            namespace: "default".into(),
            attempt: 0,
        }),
        hostname: name,
        log_directory: sandbox.path("logs"),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent,
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(NamespaceMode::Pod, NamespaceMode::Container)),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Whose network, and whose processes; the ipc namespace is the pod's, or the machine's with its network.
pub(crate) fn namespaces(network: NamespaceMode, pid: NamespaceMode) -> NamespaceOption {
    let ipc = if network == NamespaceMode::Node { NamespaceMode::Node } else { NamespaceMode::Pod };
    NamespaceOption { network: network.into(), pid: pid.into(), ipc: ipc.into(), ..Default::default() }
}

/// The security context of a pod that is being configured.
pub(crate) fn pod_security(config: &mut PodSandboxConfig) -> &mut LinuxSandboxSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

/// The security context of a container that is being configured.
pub(crate) fn security(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

/// The resources of a container that is being configured.
pub(crate) fn resources(config: &mut ContainerConfig) -> &mut LinuxContainerResources {
    config.linux.as_mut().unwrap().resources.get_or_insert_default()
}

impl<'a> Pod<'a> {
    /// The test's usual pod.
    #[track_caller]
    pub(crate) fn run(cri: &'a Cri, sandbox: &'a Sandbox) -> Pod<'a> {
        Pod::begin(cri, sandbox, pod_config(sandbox, "pod")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A pod that is configured otherwise.
    #[track_caller]
    pub(crate) fn run_with(
        cri: &'a Cri,
        sandbox: &'a Sandbox,
        change: impl FnOnce(&mut PodSandboxConfig),
    ) -> Pod<'a> {
        let mut config = pod_config(sandbox, "pod");
        change(&mut config);
        Pod::begin(cri, sandbox, config).unwrap_or_else(|error| panic!("{error}"))
    }

    /// RunPodSandbox, which may fail.
    pub(crate) fn begin(
        cri: &'a Cri,
        sandbox: &'a Sandbox,
        config: PodSandboxConfig,
    ) -> Result<Pod<'a>, Status> {
        std::fs::create_dir_all(&config.log_directory).unwrap();
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: HANDLER.into() };
        let answer = cri.call(async |mut service| service.run_pod_sandbox(request).await)?;
        Ok(Pod { cri, sandbox, id: answer.pod_sandbox_id, config, removed: false })
    }

    /// PodSandboxStatus, with what the engine says beyond the CRI.
    #[track_caller]
    pub(crate) fn status(&self) -> (PodSandboxStatus, std::collections::HashMap<String, String>) {
        let request = PodSandboxStatusRequest { pod_sandbox_id: self.id.clone(), verbose: true };
        let answer = self.cri.ask(async |mut cri| cri.pod_sandbox_status(request).await);
        (answer.status.unwrap(), answer.info)
    }

    /// What a container is asked to be that says nothing.
    pub(crate) fn container_config(&self, name: &str, command: &[&str]) -> ContainerConfig {
        let token = KeyValue { key: "ONGGI_TEST".into(), value: self.sandbox.token.clone() };
        let security = pod_security(&mut self.config.clone()).clone();
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.into(), ..Default::default() }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            envs: vec![token],
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                resources: None,
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: security.namespace_options,
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }
    }

    /// CreateContainer and StartContainer, which may fail; what was only created is removed.
    pub(crate) fn try_start(&self, config: ContainerConfig) -> Result<Container<'a>, Status> {
        let cri = self.cri;
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let id = cri.call(async |mut service| service.create_container(request).await)?.container_id;
        let request = StartContainerRequest { container_id: id.clone() };
        let container = Container { cri, id };
        match cri.call(async |mut service| service.start_container(request).await) {
            Ok(_) => Ok(container),
            Err(status) => {
                container.remove();
                Err(status)
            }
        }
    }

    /// A container that runs.
    #[track_caller]
    pub(crate) fn start(&self, name: &str, command: &[&str]) -> Container<'a> {
        self.start_with(name, command, |_| {})
    }

    /// A container that is configured otherwise.
    #[track_caller]
    pub(crate) fn start_with(
        &self,
        name: &str,
        command: &[&str],
        change: impl FnOnce(&mut ContainerConfig),
    ) -> Container<'a> {
        let mut config = self.container_config(name, command);
        change(&mut config);
        self.try_start(config).unwrap_or_else(|status| panic!("{status}"))
    }

    /// A container that waits to be killed.
    #[track_caller]
    pub(crate) fn sleeper(&self, name: &str) -> Container<'a> {
        self.start(name, &["sleep", "1000"])
    }

    /// The log of a container, as the kubelet reads it: time, stream, whole line or part, text.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(format!("{}/{name}.log", self.config.log_directory)).unwrap_or_default()
    }

    /// Stops and removes it with its containers; nothing of it may be left.
    #[track_caller]
    pub(crate) fn remove(mut self) {
        self.tear_down().unwrap_or_else(|status| panic!("{status}"));
        let list =
            self.cri.place.call(self.sandbox, &[crate::place::ONGGI, "--root", self.cri.root, "list", "-q"]);
        let list = list.finish().ok();
        assert!(!list.stdout.contains(&self.id), "{}", list.describe());
        self.sandbox.clean(&list);
    }

    /// Stops and removes it with its containers.
    pub(crate) fn end(mut self) -> Result<(), Status> {
        self.tear_down()
    }

    fn tear_down(&mut self) -> Result<(), Status> {
        self.removed = true;
        let (id, other) = (self.id.clone(), self.id.clone());
        let stop = StopPodSandboxRequest { pod_sandbox_id: id };
        self.cri.call(async |mut cri| cri.stop_pod_sandbox(stop).await)?;
        let remove = RemovePodSandboxRequest { pod_sandbox_id: other };
        self.cri.call(async |mut cri| cri.remove_pod_sandbox(remove).await)?;
        Ok(())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if !self.removed {
            let _ = self.tear_down();
        }
    }
}

impl Container<'_> {
    /// ExecSync without a time limit of its own.
    #[track_caller]
    pub(crate) fn exec(&self, command: &[&str]) -> ExecSyncResponse {
        self.try_exec(command, 0).unwrap_or_else(|status| panic!("{status}"))
    }

    /// ExecSync with a time limit in seconds, 0 for none.
    pub(crate) fn try_exec(&self, command: &[&str], seconds: i64) -> Result<ExecSyncResponse, Status> {
        let request = ExecSyncRequest {
            container_id: self.id.clone(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: seconds,
        };
        self.cri.call(async |mut cri| cri.exec_sync(request).await)
    }

    /// What a script prints in here, which must succeed.
    #[track_caller]
    pub(crate) fn prove(&self, script: &str) -> String {
        let answer = self.exec(&["sh", "-c", script]);
        let (out, err) = (String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
        assert!(answer.exit_code == 0, "{script}: exit code {}: {out:?} {err:?}", answer.exit_code);
        out.trim_end().to_owned()
    }

    /// ContainerStatus.
    #[track_caller]
    pub(crate) fn status(&self) -> ContainerStatus {
        self.status_and_info().0
    }

    /// Its process, as the engine says beyond the CRI.
    #[track_caller]
    pub(crate) fn pid(&self) -> i32 {
        let info = self.status_and_info().1;
        let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
        i32::try_from(info["pid"].as_i64().unwrap()).unwrap()
    }

    fn status_and_info(&self) -> (ContainerStatus, std::collections::HashMap<String, String>) {
        let request = ContainerStatusRequest { container_id: self.id.clone(), verbose: true };
        let answer = self.cri.ask(async |mut cri| cri.container_status(request).await);
        (answer.status.unwrap(), answer.info)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&self) -> ContainerStatus {
        let mut last = self.status();
        let ended = until(20, || {
            std::thread::sleep(Duration::from_millis(20 * u64::from(patience())));
            last = self.status();
            last.state() == ContainerState::ContainerExited
        });
        assert!(ended, "the container does not end: {last:?}");
        last
    }

    /// StopContainer: SIGTERM, and after so many seconds SIGKILL.
    #[track_caller]
    pub(crate) fn stop(&self, seconds: i64) {
        let request = StopContainerRequest { container_id: self.id.clone(), timeout: seconds };
        self.cri.ask(async |mut cri| cri.stop_container(request).await);
    }

    /// RemoveContainer, alive or not.
    #[track_caller]
    pub(crate) fn remove(self) {
        let request = RemoveContainerRequest { container_id: self.id };
        self.cri.ask(async |mut cri| cri.remove_container(request).await);
    }
}
