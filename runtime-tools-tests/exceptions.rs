//! The validation executables of the OCI runtime-tools that are not clean with onggi, and why: a defect of theirs, or what
//! the kernel or the machine does not have.

/// An executable that is not clean.
pub(crate) struct Exception {
    /// Its name.
    pub(crate) name: &'static str,
    /// Only on this layout.
    pub(crate) layout: Option<&'static str>,
    /// Why.
    pub(crate) reason: &'static str,
}

const fn everywhere(name: &'static str, reason: &'static str) -> Exception {
    Exception { name, layout: None, reason }
}

const fn on_v2(name: &'static str, reason: &'static str) -> Exception {
    Exception { name, layout: Some("v2"), reason }
}

/// By name.
pub(crate) const ALL: &[Exception] = &[
    on_v2("delete_only_create_resources", "makes a cgroup by the files of v1"),
    everywhere(
        "delete_resources",
        "compares two pointers, not the limits that they point to; on v2 it looks for files of v1",
    ),
    everywhere(
        "hooks",
        "compares with lines that its own hooks do not write (\"post-start1\" for \"post-start1 called\"): nobody is clean",
    ),
    everywhere(
        "hooks_stdin",
        "wants `created` in a prestart hook, where the specification has said `creating` since 1.0.0",
    ),
    everywhere("killsig", "deletes without waiting for the end of what it has killed: a race"),
    everywhere("linux_cgroups_blkio", "wants leaf weights, which Linux 5.0 dropped, and the files of v1"),
    on_v2("linux_cgroups_cpus", "knows the files of v1 only"),
    on_v2("linux_cgroups_devices", "knows the files of v1 only"),
    everywhere(
        "linux_cgroups_hugetlb",
        "looks for the hugetlb hierarchy of v1, which need not be mounted; takes what is written for invalid",
    ),
    everywhere(
        "linux_cgroups_memory",
        "wants kernel and kernelTCP, which kernels have dropped; on v2 swappiness, which nobody can set there",
    ),
    everywhere("linux_cgroups_network", "needs net_cls and net_prio of cgroup v1"),
    everywhere(
        "linux_cgroups_pids",
        "compares two pointers, not the limits that they point to; on v2 it needs the controller",
    ),
    everywhere(
        "linux_cgroups_relative_blkio",
        "wants leaf weights, which Linux 5.0 dropped, and the files of v1",
    ),
    on_v2("linux_cgroups_relative_cpus", "knows the files of v1 only"),
    on_v2("linux_cgroups_relative_devices", "knows the files of v1 only"),
    everywhere(
        "linux_cgroups_relative_hugetlb",
        "looks for the hugetlb hierarchy of v1, which need not be mounted",
    ),
    everywhere(
        "linux_cgroups_relative_memory",
        "wants kernel and kernelTCP, which kernels have dropped; on v2 swappiness",
    ),
    everywhere("linux_cgroups_relative_network", "needs net_cls and net_prio of cgroup v1"),
    everywhere(
        "linux_cgroups_relative_pids",
        "compares two pointers, not the limits that they point to; on v2 it needs the controller",
    ),
    everywhere("linux_mount_label", "needs SELinux; without it onggi refuses the label, as it must"),
    everywhere(
        "linux_ns_itype",
        "wants `mounts` in the mount namespace of the host; they would stay behind there, and onggi refuses that",
    ),
    everywhere(
        "linux_process_apparmor_profile",
        "needs AppArmor; without it onggi refuses the profile, as it must",
    ),
    everywhere("misc_props", "forgets to copy its program into the root file system"),
    everywhere(
        "mounts",
        "takes the order of mountinfo, since Linux 6.8 that of the mounts' birth, for that in which they were attached",
    ),
    everywhere(
        "pidfile",
        "kills /bin/true after it has ended, which must be an error: a race that slow runtimes win",
    ),
    everywhere(
        "poststart",
        "wants the program's first line before the hook's, which both write at the same time: a race",
    ),
    everywhere(
        "poststart_fail",
        "wants a warning, where the specification has asked for an error and the end of the container since 1.2",
    ),
    everywhere(
        "prestart",
        "wants prestart hooks in start, where the specification has had them in create since 1.0.2",
    ),
    everywhere("process_capabilities", "wants every capability; a machine that lacks one cannot grant it"),
    everywhere(
        "process_capabilities_fail",
        "wants an error for an unknown capability, where the specification has asked for a warning since 1.1",
    ),
    everywhere(
        "process_rlimits",
        "its program, in Go, raises its own soft limit of open files before it looks",
    ),
    everywhere("start", "wants start without process to succeed, which must be an error"),
];
