//! AppArmor and SELinux (config.md, Linux Process; config-linux.md, Mount Label): the labels of the process and of its
//! mounts where the machine has the module, a clear error where it has not.

use std::fs;

use serde_json::json;

use crate::harness::{Need, Sandbox};
use crate::properties::{example, lay_over};

cases! {
    apparmor_that_is_off_is_an_error: Need::AppArmor(false);
    apparmor_confines_the_process: Need::AppArmor(true);
    apparmor_confines_a_user_without_capabilities: Need::AppArmor(true);
    apparmor_confines_in_a_user_namespace: Need::AppArmor(true), Need::UserNamespaces;
    apparmor_confines_hooks_in_the_container: Need::AppArmor(true);
    apparmor_unconfined: Need::AppArmor(true);
    apparmor_profile_that_is_not_loaded: Need::AppArmor(true);
    exec_is_confined_as_the_container: Need::AppArmor(true);
    exec_has_a_profile_of_its_own: Need::AppArmor(true);
    a_false_proc_while_it_is_created: Need::AppArmor(true);
    a_false_proc_of_the_container: Need::AppArmor(true);
    exec_with_a_profile_that_is_not_loaded: Need::AppArmor(true);
    selinux_labels_process_and_mounts: Need::Selinux(true);
    selinux_labels_processes_of_exec: Need::Selinux(true);
    selinux_label_that_is_unknown: Need::Selinux(true);
    exec_without_apparmor_is_an_error: Need::AppArmor(false);
    exec_without_selinux_is_an_error: Need::Selinux(false);
    selinux_that_is_off_is_an_error: Need::Selinux(false);
    the_example_with_apparmor: Need::AppArmor(true);
    the_example_without_apparmor: Need::AppArmor(false);
    empty_labels_are_none;
    bad_labels_are_refused;
}

/// A profile of the test's own, taken out again when the test ends.
struct Profile {
    name: String,
    file: String,
}

impl Profile {
    /// It lets everything be done but reading `/secret`.
    fn load(sandbox: &Sandbox) -> Profile {
        Profile::named(sandbox, format!("{}-profile", sandbox.token))
    }

    fn named(sandbox: &Sandbox, name: String) -> Profile {
        // Of an older ABI: what newer kernels ask for besides is allowed.
        let rules =
            "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,\ndeny /secret r,";
        let text = format!("profile {name} flags=(attach_disconnected) {{\n{rules}\n}}\n");
        let file = sandbox.file("profile", &text);
        sandbox.tool_call(&["apparmor_parser", "--replace", "--skip-cache", &file]).finish().ok();
        Profile { name, file }
    }

    fn unload(self, sandbox: &Sandbox) {
        sandbox.tool_call(&["apparmor_parser", "--remove", &self.file]).finish().ok();
    }
}

/// Of the hooks of the host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the process says of itself, and whether it can do what the profile forbids.
const PROOF: &str = "cat /proc/self/attr/current; cat /secret";

fn confined(sandbox: &mut Sandbox, profile: &Profile) {
    fs::write(sandbox.rootfs("secret"), "it is read").unwrap();
    fs::set_permissions(sandbox.rootfs("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    sandbox.set("/process/apparmorProfile", json!(profile.name));
    sandbox.script(PROOF);
    let output = sandbox.run().code(1);
    assert_eq!(output.text(), format!("{} (enforce)", profile.name), "{}", output.describe());
    assert!(output.stderr.contains("Permission denied"), "{}", output.describe());
}

fn apparmor_that_is_off_is_an_error(sandbox: &mut Sandbox) {
    for profile in ["docker-default", "unconfined"] {
        sandbox.set("/process/apparmorProfile", json!(profile));
        sandbox.refused(&["process.apparmorProfile", profile, "AppArmor is not enabled"]);
    }
}

fn apparmor_confines_the_process(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    for no_new_privileges in [false, true] {
        sandbox.set("/process/noNewPrivileges", json!(no_new_privileges));
        confined(sandbox, &profile);
    }
    profile.unload(sandbox);
}

fn apparmor_confines_a_user_without_capabilities(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).capabilities(&[]);
    sandbox.set("/process/noNewPrivileges", json!(true));
    confined(sandbox, &profile);
    profile.unload(sandbox);
}

fn apparmor_confines_in_a_user_namespace(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    sandbox.user_namespace();
    confined(sandbox, &profile);
    profile.unload(sandbox);
}

fn apparmor_confines_hooks_in_the_container(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    sandbox.set("/process/apparmorProfile", json!(profile.name));
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "cat /proc/self/attr/current >/label"] });
    sandbox.set("/hooks", json!({ "startContainer": [hook] }));
    sandbox.set("/root/readonly", json!(false));
    assert_eq!(sandbox.prove("cat /label"), format!("{} (enforce)", profile.name));
    profile.unload(sandbox);
}

fn apparmor_unconfined(sandbox: &mut Sandbox) {
    sandbox.set("/process/apparmorProfile", json!("unconfined"));
    assert_eq!(sandbox.prove("cat /proc/self/attr/current"), "unconfined");
}

fn apparmor_profile_that_is_not_loaded(sandbox: &mut Sandbox) {
    let name = format!("{}-missing", sandbox.token);
    sandbox.set("/process/apparmorProfile", json!(name));
    sandbox.refused(&[
        "process.apparmorProfile",
        &name,
        "write",
        "attr/apparmor/exec",
        "ENOENT",
        "apparmor_parser",
    ]);
}

fn exec_is_confined_as_the_container(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    fs::write(sandbox.rootfs("secret"), "it is read").unwrap();
    for no_new_privileges in [false, true] {
        sandbox.set("/process/apparmorProfile", json!(profile.name));
        sandbox.set("/process/noNewPrivileges", json!(no_new_privileges));
        sandbox.start_sleeper();
        let output = sandbox.onggi(&["exec", &sandbox.token, "/bin/sh", "-c", PROOF]).finish().code(1);
        assert_eq!(output.text(), format!("{} (enforce)", profile.name), "{}", output.describe());
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
    profile.unload(sandbox);
}

fn exec_has_a_profile_of_its_own(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    sandbox.start_sleeper();
    let current = ["/bin/cat", "/proc/self/attr/current"];
    let own = |options: &[&str], command: &[&str]| {
        let words = [&["exec"], options, &[sandbox.token.as_str()], command].concat();
        sandbox.onggi(&words).finish().ok().text().to_owned()
    };
    let confined = format!("{} (enforce)", profile.name);
    assert_eq!(own(&[], &current), "unconfined");
    assert_eq!(own(&["--apparmor", &profile.name], &current), confined);
    let process = json!({ "cwd": "/", "args": current, "apparmorProfile": profile.name });
    let file = sandbox.file("process.json", &process.to_string());
    assert_eq!(own(&["--process", &file], &[]), confined);
    profile.unload(sandbox);
}

/// A directory in the place of /proc, or over it, with the files that a label would be written to.
const FALSE_PROC: &str = "mount -t tmpfs none $proc && cd $proc && mkdir -p self/task 1/task/1/attr/apparmor \
    self/attr/apparmor && ln -s self thread-self && echo nothing | tee self/attr/exec self/attr/apparmor/exec \
    1/task/1/attr/exec 1/task/1/attr/apparmor/exec >log";

fn label_of(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap().trim().to_owned()
}

/// Somebody has won the race for the container's mounts before init is confined: no matter, for invariant 4.
fn a_false_proc_while_it_is_created(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    sandbox.set("/process/apparmorProfile", json!(profile.name));
    let rootfs = sandbox.rootfs("/").display().to_string();
    let script =
        format!("for proc in /proc {rootfs}/proc; do ({FALSE_PROC}) || exit 1; done; echo >{rootfs}/covered");
    let hook = sandbox.tool("hook", &script);
    sandbox.set("/hooks", json!({ "createContainer": [{ "path": hook, "env": [format!("PATH={PATH}")] }] }));
    let pid = sandbox.start_sleeper();
    assert!(sandbox.rootfs("covered").exists());
    assert_eq!(label_of(&pid.to_string()), format!("{} (enforce)", profile.name));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    profile.unload(sandbox);
}

fn a_false_proc_of_the_container(sandbox: &mut Sandbox) {
    let profile = Profile::load(sandbox);
    sandbox.capabilities(&["CAP_SYS_ADMIN"]);
    sandbox.script(&format!("proc=/proc; {FALSE_PROC} && echo >/covered; sleep 100"));
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("covered"), "\n");
    let file = sandbox.path("exec.pid");
    let words = ["exec", "--detach", "--pid-file", &file, "--apparmor", &profile.name, &sandbox.token];
    sandbox.onggi(&[&words[..], &["/bin/sleep", "50"]].concat()).finish().ok();
    assert_eq!(label_of(&fs::read_to_string(&file).unwrap()), format!("{} (enforce)", profile.name));
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    profile.unload(sandbox);
}

/// `exec` with this option fails with these words, and the container goes on.
fn exec_fails(sandbox: &mut Sandbox, option: [&str; 2], parts: &[&str]) {
    sandbox.start_sleeper();
    let words = ["exec", option[0], option[1], &sandbox.token, "/bin/true"];
    let output = sandbox.onggi(&words).finish().code(255);
    parts.iter().for_each(|part| assert!(output.stderr.contains(part), "no {part}: {}", output.describe()));
    assert_eq!(sandbox.status(), "running");
}

fn exec_with_a_profile_that_is_not_loaded(sandbox: &mut Sandbox) {
    exec_fails(
        sandbox,
        ["--apparmor", "onggi-missing"],
        &["process.apparmorProfile", "ENOENT", "apparmor_parser"],
    );
}

fn exec_without_apparmor_is_an_error(sandbox: &mut Sandbox) {
    exec_fails(sandbox, ["--apparmor", "x"], &["process.apparmorProfile \"x\"", "AppArmor is not enabled"]);
}

fn exec_without_selinux_is_an_error(sandbox: &mut Sandbox) {
    exec_fails(
        sandbox,
        ["--process-label", "a:b:c"],
        &["process.selinuxLabel \"a:b:c\"", "SELinux is disabled"],
    );
}

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn selinux_labels_process_and_mounts(sandbox: &mut Sandbox) {
    sandbox.set("/process/selinuxLabel", json!(PROCESS)).set("/linux/mountLabel", json!(FILES));
    let output = sandbox
        .prove("cat /proc/self/attr/current; echo; wc -c </proc/self/attr/keycreate; cat /proc/self/mounts");
    let [label, keycreate, mounts] = output.splitn(3, '\n').collect::<Vec<_>>()[..] else {
        panic!("{output}")
    };
    assert_eq!((label.trim_end_matches('\0'), keycreate), (PROCESS, "0"));
    for (place, labelled) in [
        ("/dev", true),
        ("/dev/shm", true),
        ("/dev/pts", true),
        ("/proc", false),
        ("/sys", false),
        ("/dev/mqueue", false),
    ] {
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(place)).unwrap();
        assert_eq!(line.contains(&format!("context=\"{FILES}\"")), labelled, "{line}");
    }
    sandbox.start_sleeper();
    let pid = sandbox.pid();
    let label = |path: &str| {
        let mut label = [0; 256];
        let path = format!("/proc/{pid}/root{path}");
        let length = rustix::fs::getxattr(path, "security.selinux", &mut label).unwrap();
        String::from_utf8_lossy(&label[..length]).trim_end_matches('\0').to_owned()
    };
    assert_eq!((label("/dev/mqueue").as_str(), label("/dev/shm").as_str()), (FILES, FILES));
}

fn selinux_labels_processes_of_exec(sandbox: &mut Sandbox) {
    sandbox.set("/process/selinuxLabel", json!(PROCESS));
    sandbox.start_sleeper();
    let other = PROCESS.replace("c1,c2", "c3");
    for (options, wanted) in [(&[][..], PROCESS), (&["--process-label", &other], &other)] {
        let words =
            [&["exec"], options, &[sandbox.token.as_str(), "/bin/cat", "/proc/self/attr/current"]].concat();
        assert_eq!(sandbox.onggi(&words).finish().ok().text().trim_end_matches('\0'), wanted);
    }
}

fn selinux_label_that_is_unknown(sandbox: &mut Sandbox) {
    sandbox.set("/process/selinuxLabel", json!("system_u:system_r:onggi_missing_t:s0"));
    sandbox.refused(&[
        "process.selinuxLabel",
        "onggi_missing_t",
        "attr/",
        "EINVAL",
        "does not know this label",
    ]);
}

fn selinux_that_is_off_is_an_error(sandbox: &mut Sandbox) {
    sandbox.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0:c1,c2"));
    sandbox.refused(&["process.selinuxLabel", "container_t", "SELinux is disabled or not supported"]);
    sandbox.unset("/process/selinuxLabel");
    sandbox.set("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0:c1,c2"));
    sandbox.refused(&["linux.mountLabel", "container_file_t", "SELinux is disabled or not supported"]);
}

fn the_example_with_apparmor(sandbox: &mut Sandbox) {
    let (config, command, output) = example("Labels", 1);
    lay_over(sandbox, &config);
    let name = config["process"]["apparmorProfile"].as_str().unwrap().to_owned();
    let profile = Profile::named(sandbox, name);
    assert_eq!(sandbox.prove(&command), output);
    profile.unload(sandbox);
}

fn the_example_without_apparmor(sandbox: &mut Sandbox) {
    let (config, ..) = example("Labels", 1);
    lay_over(sandbox, &config);
    let error = sandbox.refused(&[]).stderr.replace(&sandbox.token, "web1");
    let document = include_str!("../docs/processes.md");
    assert!(document.contains(error.trim()), "{error}");
}

fn empty_labels_are_none(sandbox: &mut Sandbox) {
    sandbox.set("/process/apparmorProfile", json!("")).set("/process/selinuxLabel", json!(""));
    sandbox.set("/linux/mountLabel", json!(""));
    assert_eq!(sandbox.prove("echo ran"), "ran");
}

fn bad_labels_are_refused(sandbox: &mut Sandbox) {
    for (pointer, value, words) in [
        ("/process/apparmorProfile", " x", &["process.apparmorProfile", "blank"]),
        ("/process/selinuxLabel", "a:b:c\n", &["process.selinuxLabel", "line feed"]),
        ("/linux/mountLabel", "a:b:\"c", &["linux.mountLabel", "holds"]),
        ("/process/selinuxLabel", "a\0b", &["process.selinuxLabel", "NUL"]),
    ] {
        sandbox.set(pointer, json!(value));
        sandbox.refused(words);
        sandbox.unset(pointer);
    }
}
