//! Descriptors, working directories and executables that lead out of the container (invariants 7 and 8).

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::{SECRET, Trap, attempt, control, link};
use crate::harness::{Call, Need, Sandbox, reap_orphans, until};

cases! {
    cve_2016_9962_descriptors_of_the_caller;
    cve_2016_9962_init_before_execve;
    cve_2016_9962_init_seen_from_a_shared_pid_namespace;
    cve_2016_9962_init_seen_with_ptrace_in_a_user_namespace: Need::UserNamespaces;
    cve_2024_21626_working_directory;
    cve_2024_21626_working_directory_is_exchanged;
    cve_2024_21626_executable;
}

/// Three descriptors that the caller forgot: the host's root, the trap, and the secret.
pub(super) fn leaking(call: Call, trap: &Trap) -> Call {
    let script = format!(r#"exec 3</ 7<{0} 9<>{0}/secret; exec "$@""#, trap.text());
    call.through(&["/bin/sh", "-c", &script, "sh"])
}

/// The process gets 0, 1 and 2, whatever its caller had open.
fn cve_2016_9962_descriptors_of_the_caller(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.script("exec ls /proc/self/fd");
    let seen = leaking(sandbox.begin("run", &[]), &trap).finish().ok();
    // ls itself has /proc/self/fd open, as the lowest free number.
    assert_eq!(seen.text(), "0\n1\n2\n3");
    sandbox.script("for it in 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/$$/fd/$it ] && ls -l /proc/$$/fd/$it; done; echo alive");
    let seen = leaking(sandbox.begin("run", &[]), &trap).finish().ok();
    assert_eq!(seen.text(), "alive");
}

/// A created container waits for its start with nothing in its hands that leads out of its root.
fn cve_2016_9962_init_before_execve(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    leaking(sandbox.begin("create", &[]), &trap).finish().ok();
    let pid = sandbox.pid();
    let root = fs::metadata(format!("/proc/{pid}/root/")).unwrap();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let shown = fs::read_link(entry.path()).unwrap_or_default();
        let meta = fs::metadata(entry.path()).unwrap();
        if meta.is_dir() {
            let top = fs::metadata(entry.path().join("../".repeat(60))).unwrap();
            let inside = (top.dev(), top.ino()) == (root.dev(), root.ino());
            assert!(inside, "descriptor {} leads out, to {}", entry.path().display(), shown.display());
        }
        assert!(!shown.starts_with(trap.text()), "init still has {}", shown.display());
    }
    let cwd = fs::metadata(format!("/proc/{pid}/cwd/{}", "../".repeat(60))).unwrap();
    assert_eq!((cwd.dev(), cwd.ino()), (root.dev(), root.ino()), "init's working directory is outside");
    assert!(
        !fs::exists(format!("/proc/{pid}/root/{}/secret", trap.text())).unwrap(),
        "init has the host's root"
    );
}

/// What a process in a container does to get at another container's init while it is being made.
const PROWL: &str = "cd /; up=../../../../../../../../../../../../../../../..
    for pid in /proc/[0-9]*; do
      for at in $pid/root $pid/cwd/$up $pid/fd/*/$up; do
        [ -f $at/$TRAP/secret ] && echo \"$at: $(cat $at/$TRAP/secret)\" >> /found
      done
      for at in $pid/fd/*; do case \"$(readlink $at)\" in *secret) cat $at >> /found;; esac; done
    done 2>/dev/null";

/// A container that prowls until its /stop appears, and the making of others in its namespaces meanwhile.
fn prowl(sandbox: &mut Sandbox, trap: &Trap, joined: &[(&str, &str)]) {
    let script = format!("while [ ! -e /stop ]; do {PROWL}\n echo . >> /rounds; done; sleep 100");
    sandbox.script(&script).set("/process/env/-", json!(format!("TRAP={}", trap.text())));
    sandbox.create();
    sandbox.start();
    let (pid, first) = (sandbox.pid(), sandbox.token.clone());
    for (kind, file) in joined {
        sandbox.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    }
    if joined.iter().any(|(kind, _)| *kind == "user") {
        // Mappings are given to a new namespace only.
        sandbox.unset("/linux/uidMappings").unset("/linux/gidMappings");
    }
    sandbox.set("/linux/cgroupsPath", json!(format!("/{first}/{first}-second"))).args(&["/bin/true"]);
    sandbox.write_config();
    let rounds = || fs::read_to_string(sandbox.rootfs("rounds")).unwrap_or_default().len();
    assert!(until(10, || rounds() > 0), "the prowler does not prowl");
    let (bundle, second) = (sandbox.path("bundle"), format!("{first}-second"));
    for _ in 0..12 {
        leaking(sandbox.onggi(&["create", "--bundle", &bundle, &second]), trap).finish().ok();
        let now = rounds();
        until(2, || rounds() > now + 4);
        sandbox.onggi(&["delete", "--force", &second]).finish().ok();
    }
    fs::write(sandbox.rootfs("stop"), "").unwrap();
    // As engines do: a container is gone only when the processes that joined it are waited for.
    reap_orphans();
    let found = fs::read_to_string(sandbox.rootfs("found")).unwrap_or_default();
    assert!(found.is_empty(), "another container's init gave away {found:?}");
    trap.assert_untouched("prowling");
}

/// Root without CAP_SYS_PTRACE, in the user namespace of the host.
fn cve_2016_9962_init_seen_from_a_shared_pid_namespace(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    prowl(sandbox, &trap, &[("pid", "pid")]);
}

/// Root with CAP_SYS_PTRACE, in a user namespace that both containers share: only an init that is not dumpable
/// until execve keeps it out.
fn cve_2016_9962_init_seen_with_ptrace_in_a_user_namespace(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.user_namespace().capabilities(&[
        "CAP_SYS_PTRACE",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL",
        "CAP_SYS_ADMIN",
    ]);
    prowl(sandbox, &trap, &[("user", "user"), ("pid", "pid")]);
}

/// A working directory that leads through a descriptor, the caller's or the runtime's own, or another magic link.
fn cve_2024_21626_working_directory(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let up = "../".repeat(40);
    let secret = format!("{up}{}/secret", trap.text().trim_start_matches('/'));
    // Inside means: what the kernel calls the working directory is found under that name from the root.
    sandbox.script(&format!(
        "echo alive; cat {secret} secret inner/plain
         [ \"$(stat -c %d:%i .)\" = \"$(stat -c %d:%i \"$(readlink /proc/self/cwd)\")\" ] && echo inside"
    ));
    let mut places: Vec<String> = (3..20).map(|number| format!("/proc/self/fd/{number}")).collect();
    places.extend((3..10).map(|number| format!("/proc/thread-self/fd/{number}")));
    let odd =
        ["/proc/1/fd/7", "/proc/self/fd/7/inner", "/proc/self/fd/7/..", "/proc/self/fd/3/tmp", "/dev/fd/7"];
    let own = ["/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/1/cwd", "/proc/self/root/.."];
    places.extend(odd.iter().chain(&own).map(|&place| place.to_owned()));
    link(sandbox, "linked", "/proc/self/fd/7");
    link(sandbox, "chained", "linked/inner");
    places.extend(["/linked".to_owned(), "/linked/inner".to_owned(), "/chained".to_owned()]);
    for place in &places {
        sandbox.set("/process/cwd", json!(place));
        let output = leaking(sandbox.begin("run", &[]), &trap).finish();
        // The number may by chance be one of init's own, of a folder of the container: then that is where it stands.
        let refused = !output.status.success() && !output.stdout.contains("alive");
        assert!(refused || output.text() == "alive\ninside", "{place}: {}", output.describe());
        sandbox.clean(&output);
    }
    trap.assert_untouched("working directories");
}

/// The working directory was fine when it was looked at; the image's own process exchanges it before the start. What
/// counts is where the process stands in the end.
fn cve_2024_21626_working_directory_is_exchanged(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    fs::create_dir(sandbox.rootfs("place")).unwrap();
    let secret = format!("{}{}/secret", "../".repeat(40), trap.text().trim_start_matches('/'));
    sandbox.set("/process/cwd", json!("/place"));
    sandbox.script(&format!("echo alive; cat {secret} secret; readlink /proc/self/cwd"));
    let aims =
        [trap.text(), "/proc/self/fd/7".to_owned(), "../../trap".to_owned(), "/proc/1/fd/7".to_owned()];
    for kind in super::WON {
        for aim in &aims {
            let script = format!("rmdir $R/place 2>&1 || rm -f $R/place; ln -s {aim} $R/place");
            super::attacker(sandbox, kind, &script);
            let output = leaking(sandbox.begin("run", &[]), &trap).finish();
            super::attacked(sandbox, &output);
            assert!(!output.stdout.contains(SECRET), "{kind}, {aim}: {}", output.describe());
            super::clear(&sandbox.rootfs("place"));
            fs::create_dir(sandbox.rootfs("place")).unwrap();
        }
    }
    trap.assert_untouched("exchanged working directories");
}

/// The executable: through a leaked descriptor, another magic link, or a link of the image that leads to one.
fn cve_2024_21626_executable(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let host = sandbox.tool("trap-tool", "echo alive on the host");
    link(sandbox, "linked", "/proc/self/fd/7");
    link(sandbox, "bin/tool", &format!("/proc/self/fd/3{host}"));
    link(sandbox, "bin/outside", &host);
    let programs = [
        format!("/proc/self/fd/3{host}"),
        "/proc/self/fd/3/bin/true".to_owned(),
        "/proc/self/fd/9".to_owned(),
        "/proc/self/exe".to_owned(),
        "/proc/1/exe".to_owned(),
        "/proc/thread-self/exe".to_owned(),
        "/linked/../trap-tool".to_owned(),
        "tool".to_owned(),
        "outside".to_owned(),
    ];
    for program in programs {
        sandbox.args(&[&program]);
        let output = leaking(sandbox.begin("create", &[]), &trap).finish();
        assert!(!output.status.success(), "{program} was taken: {}", output.describe());
        sandbox.clean(&output);
    }
    assert!(attempt(sandbox).is_none());
    trap.assert_untouched("executables");
}
