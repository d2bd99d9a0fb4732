//! What a test needs of the machine, checked before it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Layout, processes, status_field};

/// One requirement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Only one layout has what is tested; on the other the test does not exist.
    Only(Layout),
    /// A program in PATH.
    Program(&'static str),
    /// Programs in PATH that one test needs together.
    #[allow(dead_code, reason = "only the tests of engines ask for it")]
    Programs(&'static [&'static str]),
    /// A program, by what its `--version` says at least this new, for what.
    #[allow(dead_code, reason = "only the tests of engines ask for it")]
    Version(&'static str, u32, u32, &'static str),
    /// A cgroup controller that the layout carries.
    Controller(&'static str),
    /// A controller that the layout does not carry: what happens without it.
    NoController(&'static str),
    /// A v1 controller that no hierarchy has, so that a test may mount it.
    FreeController(&'static str),
    /// A file in the topmost cgroup of a controller's hierarchy.
    TopFile(&'static str, &'static str),
    /// Network devices of the kind `veth` can be made.
    VethDevices,
    /// Loop devices can be made.
    LoopDevices,
    /// Huge pages of 2 MiB, and this many of them free.
    HugePages(u32),
    /// A capability of this process: its number and name.
    Capability(u32, &'static str),
    /// A file of the kernel's (or the machine's).
    File(&'static str),
    /// A kernel at least this new, for what.
    Kernel(u32, u32, &'static str),
    /// Id-mapped mounts, of the file system that temporary folders are on too.
    IdMappedMounts,
    /// The processor's architecture, for tests that bring machine code.
    Machine(&'static str),
    /// User namespaces may be made.
    UserNamespaces,
    /// systemd as the system's manager, with a bus to ask it through.
    Systemd,
    /// resctrl is mounted, or is not.
    Resctrl(bool),
    /// AppArmor is enabled, with the program that loads profiles; or it is not enabled.
    AppArmor(bool),
    /// A client of docker's that builds with BuildKit: docker 20.10 itself, a later one by its plugin buildx.
    #[allow(dead_code, reason = "only the tests of engines build images")]
    BuildKit,
    /// SELinux has a policy with the types of containers, and is permissive; or is not enabled.
    Selinux(bool),
}

impl Need {
    /// A hard limit may be raised, an OOM score lowered.
    pub(crate) const SYS_RESOURCE: Need = Need::Capability(24, "CAP_SYS_RESOURCE");

    /// Where resctrl is mounted.
    pub(crate) fn resctrl() -> Option<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let line = table.lines().find(|line| line.contains(" - resctrl "))?;
        line.split(' ').nth(4).map(PathBuf::from)
    }

    /// Whether this machine has it.
    pub(crate) fn is_met(self, layout: Layout) -> bool {
        lacking(self, layout).is_none()
    }
}

/// TMPFS_MAGIC and OVERLAYFS_SUPER_MAGIC, linux/magic.h.
const TMPFS: i64 = 0x0102_1994;
const OVERLAYFS: i64 = 0x794c_7630;

/// What any test needs; the reason why none can run.
pub(crate) fn machine() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    if !Path::new("/bin/busybox").exists() {
        return Some("busybox-static is not installed".into());
    }
    None
}

/// Whether a test with these needs exists on this layout.
pub(crate) fn belongs(needs: &[Need], layout: Layout) -> bool {
    needs.iter().all(|need| !matches!(need, Need::Only(only) if *only != layout))
}

/// Why a test with these needs cannot run here.
pub(crate) fn unmet(needs: &[Need], layout: Layout) -> Option<String> {
    needs.iter().find_map(|need| lacking(*need, layout))
}

/// A program by its PATH.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn lacking(need: Need, layout: Layout) -> Option<String> {
    let unless = |met: bool, why: String| (!met).then_some(why);
    match need {
        Need::Only(_) => None,
        Need::Program(name) => unless(program(name).is_some(), format!("{name} is not installed")),
        Need::Programs(names) => names.iter().find_map(|name| lacking(Need::Program(name), layout)),
        Need::Version(name, major, minor, what) => {
            let why = format!("{what} needs {name} {major}.{minor}");
            unless(numbers(&version(name).unwrap_or_default()) >= (major, minor), why)
        }
        Need::Controller(name) => {
            let why = format!("no {name} controller in cgroup {} here", layout.name());
            unless(layout.cgroup(name, "/").is_some(), why)
        }
        Need::NoController(name) => {
            let why = format!("the {name} controller is here in cgroup {}", layout.name());
            unless(layout.cgroup(name, "/").is_none(), why)
        }
        Need::FreeController(name) => {
            let why = format!("this kernel has no free {name} controller of cgroup v1");
            unless(is_free(name), why)
        }
        Need::TopFile(controller, file) => {
            let there = layout.cgroup(controller, file).is_some_and(|path| path.exists());
            unless(there, format!("this kernel has no {file}"))
        }
        Need::VethDevices => unless(makes_veth(), "no veth devices can be made here".into()),
        Need::LoopDevices => {
            unless(Path::new("/dev/loop-control").exists(), "there are no loop devices".into())
        }
        Need::HugePages(wanted) => {
            let why = format!("needs {wanted} free huge pages of 2 MiB");
            unless(free_huge_pages().is_some_and(|free| free >= wanted), why)
        }
        Need::Capability(number, name) => {
            let mine = status_field(processes::me(), "CapEff").unwrap_or_default();
            let mine = u64::from_str_radix(&mine, 16).unwrap_or_default();
            unless(mine >> number & 1 == 1, format!("needs {name}"))
        }
        Need::File(path) => unless(Path::new(path).exists(), format!("{path} does not exist")),
        Need::Kernel(major, minor, what) => {
            let why = format!("{what} needs Linux {major}.{minor}");
            unless(kernel() >= (major, minor), why)
        }
        Need::IdMappedMounts => id_mapped_mounts(),
        Need::Resctrl(wanted) => {
            let why = if wanted { "no resctrl is mounted here" } else { "resctrl is mounted here" };
            unless(Need::resctrl().is_some() == wanted, why.into())
        }
        Need::BuildKit => unless(has_buildkit(), "docker has no buildx here".into()),
        Need::AppArmor(wanted) => apparmor(wanted, layout),
        Need::Selinux(wanted) => selinux(wanted),
        Need::Machine(name) => unless(std::env::consts::ARCH == name, format!("only on {name}")),
        Need::UserNamespaces => user_namespaces(),
        Need::Systemd => {
            let buses = ["/run/dbus/system_bus_socket", "/run/systemd/private"];
            let bus = buses.iter().any(|path| Path::new(path).exists());
            // sd_booted(3)
            let booted = Path::new("/run/systemd/system").is_dir();
            unless(booted && bus, "systemd does not manage this machine".into())
        }
    }
}

/// The kernel must be able to map the file system that temporary folders are on.
fn id_mapped_mounts() -> Option<String> {
    let kind = rustix::fs::statfs(std::env::temp_dir()).map_or(0, |stat| stat.f_type);
    let ((major, minor), what) = match kind {
        TMPFS => ((6, 3), "an id-mapped tmpfs"),
        OVERLAYFS => ((5, 19), "an id-mapped overlay"),
        _ => ((5, 12), "an id-mapped mount"),
    };
    (kernel() < (major, minor)).then(|| format!("{what} needs Linux {major}.{minor}"))
}

/// Whether `docker build` may ask for BuildKit.
fn has_buildkit() -> bool {
    let docker = |words: &[&str]| processes::output(Command::new("docker").args(words));
    let old = || String::from_utf8_lossy(&docker(&["--version"]).stdout).contains(" 20.10.");
    program("docker").is_some() && (old() || docker(&["buildx", "version"]).status.success())
}

/// Why a security module is not as it is wanted.
fn module(name: &str, enabled: bool, wanted: bool) -> Option<String> {
    (enabled != wanted).then(|| format!("{name} is {}enabled here", if enabled { "" } else { "not " }))
}

fn apparmor(wanted: bool, layout: Layout) -> Option<String> {
    let text = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    module("AppArmor", text.starts_with('Y'), wanted)
        .or_else(|| lacking(Need::Program("apparmor_parser"), layout).filter(|_| wanted))
}

fn selinux(wanted: bool) -> Option<String> {
    let enforcing = fs::read_to_string("/sys/fs/selinux/enforce");
    let enforces = || {
        (wanted && enforcing.as_deref().is_ok_and(|text| text != "0")).then(|| "SELinux enforces here".into())
    };
    module("SELinux", enforcing.is_ok(), wanted).or_else(enforces)
}

fn free_huge_pages() -> Option<u32> {
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    free.ok()?.trim().parse().ok()
}

/// Whether this kernel has veth, asked in a network namespace that is gone at once.
fn makes_veth() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let make = ["--net", "ip", "link", "add", "onggi0", "type", "veth"];
    let made = || processes::output(Command::new("unshare").args(make)).status.success();
    program("ip").is_some() && program("unshare").is_some() && *THERE.get_or_init(made)
}

fn user_namespaces() -> Option<String> {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let allowed = most.trim().parse::<u64>().unwrap_or_default() > 0;
    (!allowed).then(|| "user namespaces are off (sysctl user.max_user_namespaces)".into())
}

/// Whether /proc/cgroups lists the controller, enabled, in hierarchy 0, without users.
fn is_free(controller: &str) -> bool {
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() == Some(&controller) && words.get(1) == Some(&"0") && words.get(3) == Some(&"1")
    }) && !Layout::V1.hierarchies().iter().any(|hierarchy| {
        let listed = fs::read_to_string(hierarchy.mount.join("cgroup.controllers")).unwrap_or_default();
        hierarchy.controllers.is_empty() && listed.split_whitespace().any(|name| name == controller)
    })
}

/// The running kernel's release.
pub(crate) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim_end().to_owned()
}

/// The running kernel's major and minor number.
fn kernel() -> (u32, u32) {
    numbers(&release())
}

/// The version that a program says it has; none where it is missing.
pub(crate) fn version(name: &str) -> Option<String> {
    let said = processes::output(Command::new(program(name)?).arg("--version"));
    let text = String::from_utf8_lossy(&said.stdout);
    let mut words = text.split_whitespace().map(|word| word.trim_start_matches('v').trim_end_matches(','));
    words.find(|word| word.starts_with(|it: char| it.is_ascii_digit())).map(str::to_owned)
}

/// The major and minor number in a version.
fn numbers(text: &str) -> (u32, u32) {
    let mut numbers =
        text.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
