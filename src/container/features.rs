//! What this runtime can do on this kernel (features.md, features-linux.md): true to what is built, so that an engine
//! never asks for more. It must not touch a container.

use oci_spec::runtime::{
    Apparmor, Cgroup, Features, IDMap, IntelRdt, LinuxFeature, LinuxNamespaceType, MemoryPolicy,
    MountExtensions, NetDevices, Seccomp, Selinux,
};

use super::seccomp;
use crate::plan::mount_options;
use crate::plan::property;
use crate::plan::seccomp::FLAGS;
use crate::plan::step::NAMESPACES;

/// The oldest version of the runtime-spec that is understood.
pub(crate) const VERSION_MIN: &str = "1.0.0";
/// The newest one.
pub(crate) const VERSION_MAX: &str = "1.3.0";
/// The commit this was built from, if the builder says it.
pub(crate) const COMMIT: &str = match option_env!("ONGGI_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Annotations that change what the runtime does; a dot at the end stands for all that begin like this.
const UNSAFE: [&str; 2] = ["org.systemd.property.", "run.oci.keep_original_groups"];

/// The hooks of config.md, in the order in which they run.
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The features of this build on this kernel.
pub(crate) fn features() -> Features {
    let mut features = Features::default();
    let mut options: Vec<String> =
        mount_options::OPTIONS.iter().map(|option| option.name.to_owned()).collect();
    options.sort_unstable();
    options.dedup();
    features
        .set_oci_version_min(VERSION_MIN.to_owned())
        .set_oci_version_max(VERSION_MAX.to_owned())
        .set_hooks(Some(HOOKS.map(String::from).to_vec()))
        .set_mount_options(Some(options))
        .set_linux(Some(linux()))
        .set_annotations(Some(
            [("io.github.seccomp.libseccomp.version".to_owned(), seccomp::library())].into(),
        ))
        .set_potentially_unsafe_config_annotations(Some(UNSAFE.map(String::from).to_vec()));
    features
}

fn linux() -> LinuxFeature {
    let mut cgroup = Cgroup::default();
    cgroup.set_v1(Some(true)).set_v2(Some(true)).set_rdma(Some(true));
    cgroup.set_systemd(Some(true)).set_systemd_user(Some(true));
    let mut rdt = IntelRdt::default();
    rdt.set_enabled(Some(true)).set_schemata(Some(true)).set_monitoring(Some(true));
    let mut memory = MemoryPolicy::default();
    memory.set_modes(Some(property::MODES.iter().map(|row| row.0.to_string()).collect()));
    memory.set_flags(Some(property::MODE_FLAGS.iter().map(|row| row.0.to_string()).collect()));
    let mut idmap = IDMap::default();
    idmap.set_enabled(Some(idmapped_mounts()));
    let mut mounts = MountExtensions::default();
    mounts.set_idmap(Some(idmap));
    let mut linux = LinuxFeature::default();
    linux
        .set_namespaces(namespaces())
        .set_capabilities(capabilities())
        .set_cgroup(Some(cgroup))
        .set_seccomp(Some(filters()))
        .set_apparmor(Some(Apparmor::default().set_enabled(Some(true)).clone()))
        .set_selinux(Some(Selinux::default().set_enabled(Some(true)).clone()))
        .set_intel_rdt(Some(rdt))
        .set_memory_policy(Some(memory))
        .set_mount_extensions(Some(mounts))
        .set_net_devices(Some(NetDevices::default().set_enabled(Some(true)).clone()));
    linux
}

fn filters() -> Seccomp {
    let known: Vec<_> = FLAGS.iter().map(|row| row.0).collect();
    let supported = known.iter().filter(|flag| seccomp::is_supported(**flag));
    let supported: Vec<String> = supported.map(ToString::to_string).collect();
    let mut feature = Seccomp::default();
    feature
        .set_enabled(Some(true))
        .set_actions(Some(seccomp::actions()))
        .set_operators(Some(seccomp::operators()))
        .set_archs(Some(seccomp::architectures()))
        .set_known_flags(Some(known.iter().map(ToString::to_string).collect()))
        .set_supported_flags(Some(supported));
    feature
}

/// The namespaces of this kernel by name; none, which means unknown, without /proc.
fn namespaces() -> Option<Vec<LinuxNamespaceType>> {
    let links = std::fs::read_dir("/proc/self/ns").ok()?;
    let files: Vec<_> = links.flatten().map(|link| link.file_name()).collect();
    let mut names: Vec<&str> =
        NAMESPACES.iter().filter(|row| files.iter().any(|file| file == row.2)).map(|row| row.1).collect();
    names.sort_unstable();
    Some(names.into_iter().filter_map(|name| LinuxNamespaceType::try_from(name).ok()).collect())
}

/// The capabilities that both this program and this kernel know, by number; none without /proc.
fn capabilities() -> Option<Vec<String>> {
    let mut known: Vec<caps::Capability> =
        caps::runtime::procfs_all_supported(None).ok()?.into_iter().collect();
    known.sort_unstable_by_key(caps::Capability::index);
    Some(known.iter().map(ToString::to_string).collect())
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP came with Linux 5.12.
fn idmapped_mounts() -> bool {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    release.is_ok_and(|release| kernel(&release) >= (5, 12))
}

/// `6.1.0-18-amd64` is (6, 1).
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_null_because_the_schema_knows_no_null() {
        let text = serde_json::to_string(&features()).unwrap();
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn names_are_those_of_the_schema() {
        let value = serde_json::to_value(features()).unwrap();
        assert_eq!(value["ociVersionMin"], "1.0.0");
        assert_eq!(value["ociVersionMax"], "1.3.0");
        assert_eq!(value["hooks"][1], "createRuntime");
        let namespaces = value["linux"]["namespaces"].as_array().unwrap();
        for name in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
            assert!(namespaces.iter().any(|have| have == name), "{name}");
        }
        assert_eq!(value["linux"]["capabilities"][0], "CAP_CHOWN");
        assert_eq!(value["linux"]["seccomp"]["enabled"], true);
        assert!(value["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
        let options = value["mountOptions"].as_array().unwrap();
        assert!(options.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }

    #[test]
    fn kernel_releases() {
        assert_eq!(kernel("6.18.3+"), (6, 18));
        assert_eq!(kernel("5.10.0-28-amd64"), (5, 10));
        assert_eq!(kernel("odd"), (0, 0));
        assert!(kernel("5.9") < kernel("5.12") && kernel("5.12-rc1") >= (5, 12));
    }
}
