//! Fills [`Host`]: what planning may know of this machine.

use crate::cgroup::systemd::Systemd;
use crate::error::Result;
use crate::plan::host::{Host, Lsm};
use crate::plan::layout::{self, CgroupLayout};
use crate::sys::{fs, mount, process};
use oci_spec::runtime::{Process, Spec};
use rustix::fs::OFlags;
use std::ffi::CStr;

/// CAP_SYS_ADMIN, linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;

/// Where cgroup v2 is mounted when it is the only version.
const STANDARD: &CStr = c"/sys/fs/cgroup";

/// Looks at the machine: a handful of system calls.
pub(crate) fn host() -> Result<Host> {
    let host = rights()?;
    let helper = |name: &str| {
        let folders = std::env::var_os("PATH").filter(|_| !host.privileged)?;
        std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    let (newuidmap, newgidmap) = (helper("newuidmap"), helper("newgidmap"));
    Ok(Host { newuidmap, newgidmap, mount_setattr: mount::has_mount_setattr(), cgroups: cgroups()?, ..host })
}

/// Looks only at what the runtime may do: enough for a process in a container that is there.
pub(crate) fn rights() -> Result<Host> {
    let permitted = process::capget()?.permitted;
    let nested = nested();
    // In a user namespace of its own the runtime may still stand in a mount namespace that belongs to another. In its own
    // one, too, what was mounted before cannot be taken alone (EINVAL): rootless podman has us run like that.
    let refused = |error: crate::error::Error| error.errno() == nix::errno::Errno::EPERM as i32;
    let may_mount = || !nested || !mount::clone_tree(c"/", false, true).is_err_and(refused);
    let privileged = permitted >> CAP_SYS_ADMIN & 1 == 1 && may_mount();
    Ok(Host {
        ids: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
        privileged,
        nested,
        mount_setattr: true,
        capabilities: known_capabilities(),
        permitted,
        newuidmap: None,
        newgidmap: None,
        cgroups: CgroupLayout::default(),
        lsm: Lsm::default(),
        resctrl: None,
        systemd: None,
    })
}

/// The security modules that this process, or this label for mounts, asks for; nobody else pays for looking.
pub(crate) fn lsm(process: Option<&Process>, mount_label: Option<&str>) -> Lsm {
    let given = |label: Option<&str>| label.is_some_and(|label| !label.is_empty());
    let profile = process.and_then(|process| process.apparmor_profile().as_deref());
    let label = process.and_then(|process| process.selinux_label().as_deref());
    Lsm { apparmor: given(profile) && apparmor(), selinux: (given(label) || given(mount_label)) && selinux() }
}

/// As the kernel says of its module, whose sysfs is there also where securityfs is not mounted.
fn apparmor() -> bool {
    fs::read_text(c"/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

/// As libselinux sees it (is_selinux_enabled(3)): selinuxfs is mounted, and a policy is loaded, before which every
/// process has the label `kernel`. Mounted read-only it says that the one who looks, in a container, need not care.
fn selinux() -> bool {
    let mounted = fs::open_host(c"/sys/fs/selinux", OFlags::PATH | OFlags::DIRECTORY).is_ok_and(|fd| {
        fs::magic(&fd).is_ok_and(|magic| magic == fs::SELINUX_MAGIC)
            && fs::on_read_only_mount(&fd).is_ok_and(|read_only| !read_only)
    });
    let own = || fs::read_text(c"/proc/thread-self/attr/current").unwrap_or_default();
    mounted && !["", "kernel"].contains(&own().trim_end_matches(['\0', '\n']))
}

/// Where resctrl is mounted, for a config that has linux.intelRdt; nobody else pays for reading the table of mounts.
pub(crate) fn resctrl(spec: &Spec) -> Result<Option<String>> {
    match spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) {
        Some(_) => Ok(layout::resctrl(&fs::read_text(c"/proc/self/mountinfo")?)),
        None => Ok(None),
    }
}

/// Asks systemd what planning must know of it, for the systemd driver only: the machine's, or the user's for a user
/// without privileges, also one who is root of a user namespace. `rootless` is what the caller says of that.
pub(crate) fn systemd(host: &mut Host, rootless: Option<bool>) -> Result<Systemd> {
    let mapped = || host.nested && std::env::var_os("USER").is_none_or(|name| name != "root");
    let user = rootless.unwrap_or_else(|| host.ids.0 != 0 || mapped());
    let mut systemd = Systemd::connect(user).map_err(|error| error.at("--systemd-cgroup"))?;
    host.systemd = Some(systemd.manager(user).map_err(|error| error.at("--systemd-cgroup"))?);
    Ok(systemd)
}

/// In a user namespace other than the initial one, which alone maps all ids onto themselves (user_namespaces(7)).
fn nested() -> bool {
    let map = fs::read_text(c"/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// The capabilities of this kernel, asked of the kernel itself: no capability beyond its last is in any set.
fn known_capabilities() -> u64 {
    let numbers: Vec<u32> = (0..64).collect();
    let last = numbers.partition_point(|&capability| process::in_bounding_set(capability).is_some());
    if last >= 64 { u64::MAX } else { (1 << last) - 1 }
}

/// The table of mounts is long on a busy machine, and not needed where v2 alone is mounted and the runtime is in the
/// topmost cgroup that it sees.
fn cgroups() -> Result<CgroupLayout> {
    let own = fs::read_text(c"/proc/self/cgroup")?;
    let v2 = fs::magic_of(STANDARD).is_ok_and(|magic| magic == fs::CGROUP2_MAGIC);
    match CgroupLayout::topmost(&own).filter(|_| v2) {
        Some(layout) => Ok(layout),
        None => Ok(CgroupLayout::parse(&fs::read_text(c"/proc/self/mountinfo")?, &own)),
    }
}
