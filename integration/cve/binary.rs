//! The runtime's own binary, seen from inside a container (invariant 9). The tests use a copy, so that an attack that
//! succeeds spoils nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::{USER, as_user, link, snapshot};
use crate::harness::{Call, Need, Output, Sandbox, binary, output, reap_orphans, until};

cases! {
    cve_2019_5736_process_is_the_runtime;
    cve_2019_5736_descriptor_kept_from_a_created_container;
    cve_2019_5736_descriptor_kept_in_a_user_namespace: Need::UserNamespaces;
    cve_2019_5736_binary_on_a_read_only_mount;
    cve_2019_5736_descriptor_kept_from_a_script_interpreter;
    cve_2019_5736_rootless_script_interpreter: Need::UserNamespaces, Need::Program("setpriv");
}

/// A copy of the binary under test, and what it looked like.
pub(super) struct Copy {
    path: String,
    root: String,
    rootless: bool,
    before: Vec<String>,
}

impl Copy {
    pub(super) fn make(sandbox: &Sandbox, rootless: bool) -> Copy {
        let folder = sandbox.dir.join("copy");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("onggi");
        fs::copy(binary(), &path).unwrap();
        if rootless {
            chown(&path, Some(USER), Some(USER)).unwrap();
        }
        let root = sandbox.path("state");
        Copy { path: path.display().to_string(), root, rootless, before: snapshot(&folder) }
    }

    pub(super) fn call(&self, sandbox: &Sandbox, args: &[&str]) -> Call {
        let words = [self.path.as_str(), "--root", &self.root].into_iter().chain(args.iter().copied());
        let name = format!("copy-{}", fs::read_dir(sandbox.dir.join("calls")).unwrap().count());
        let call = Call::new(words, &sandbox.dir.join("calls").join(name)).env("ONGGI_TEST", &sandbox.token);
        if self.rootless { as_user(call) } else { call }
    }

    #[track_caller]
    pub(super) fn assert_untouched(&self, what: &str) {
        let after = snapshot(Path::new(&self.path).parent().unwrap());
        super::assert_same(&self.before, &after, what);
    }
}

/// Gives the image what a dynamically linked runtime needs to run inside: there the loader is the attacker's.
fn give_libraries(sandbox: &Sandbox) {
    let mut start = [0; 4096];
    let count = File::open(binary()).unwrap().read(&mut start).unwrap();
    // The loader's name stands at the beginning; a static program has none.
    if !start[..count].windows(4).any(|bytes| bytes == b"/ld-") {
        return;
    }
    let output = output(Command::new("ldd").arg(binary()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for file in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = sandbox.rootfs(file);
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(file, inside).unwrap();
    }
}

/// A read-only mount of the host can be made writable again: a binary on one is sealed like any other, and init shows
/// the view, which is the root of a mount of its own.
fn cve_2019_5736_binary_on_a_read_only_mount(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    let folder = Path::new(&copy.path).parent().unwrap().display().to_string();
    let script = format!("mount --bind -o ro {folder} {folder} && exec \"$@\"");
    sandbox.write_config();
    let token = sandbox.token.clone();
    let bundle = sandbox.path("bundle");
    let create =
        copy.call(sandbox, &["create", "--bundle", &bundle, "--pid-file", &sandbox.path("pid"), &token]);
    create
        .through(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .finish()
        .ok();
    let pid = fs::read_to_string(sandbox.path("pid")).unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).unwrap(), Path::new("/"));
    copy.call(sandbox, &["delete", "--force", &token]).finish().ok();
    copy.assert_untouched("the copy");
}

/// The container's process is the runtime itself: named directly it is refused; as the interpreter of a script it
/// may run, but it runs in the container and its binary stays as it is.
fn cve_2019_5736_process_is_the_runtime(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    let bundle = sandbox.path("bundle");
    give_libraries(sandbox);
    link(sandbox, "linked", "/proc/self/exe");
    for (name, first) in
        [("script", "#!/proc/self/exe"), ("linking", "#!/linked"), ("numbered", "#!/proc/1/exe")]
    {
        sandbox.args(&["/bin/sh", "-c", &format!("echo '{first}' > /{name}; chmod 755 /{name}")]).run().ok();
        sandbox.args(&[&format!("/{name}")]).write_config();
        copy.call(sandbox, &["run", "--bundle", &bundle, &sandbox.token]).finish();
        copy.assert_untouched(first);
    }
    for program in ["/proc/self/exe", "/linked", "/proc/1/exe"] {
        sandbox.args(&[program, "--version"]).write_config();
        let output = copy.call(sandbox, &["run", "--bundle", &bundle, &sandbox.token]).finish();
        assert!(!output.status.success(), "the runtime was run inside: {}", output.describe());
        copy.assert_untouched(program);
    }
}

/// Opens the executable of every process that is not busybox while it runs, keeps the descriptor, and writes to it
/// in every way there is when told that the process is gone.
pub(super) const CATCH: &str = r#"cd /
    while [ ! -e /go ]; do usleep 3000; done
    while [ ! -e /gone ]; do
      for pid in /proc/[0-9]*; do
        case "$(readlink $pid/exe)" in
          */busybox|"") continue;;
        esac
        readlink $pid/exe >> /seen
        chmod 0777 $pid/exe && echo chmod >> /done
        touch $pid/exe && echo touch >> /done
        (printf pwned >> $pid/exe) && echo early >> /done
        (: < $pid/exe) || continue
        exec 9< $pid/exe
        echo >> /caught
        while [ ! -e /gone ]; do usleep 3000; done
      done
    done 2>/dev/null
    at=/proc/self/fd/9
    { chmod 0777 $at && echo chmod >> /done
    touch $at && echo touch >> /done
    (printf pwned >> $at) && echo append >> /done
    (printf pwned 1<> $at) && echo write >> /done
    (: > $at) && echo truncate >> /done
    mount -o remount,bind,rw $at && echo remount >> /done
    } 2>/dev/null
    echo >> /over; sleep 100"#;

/// Everything a container's root can be given.
pub(super) const ALL: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MKNOD",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// Starts the catcher, then creates a second container in its pid namespace (and user namespace); `start` tells
/// whether that one is started too. The catcher may or may not get a descriptor; it must never change the binary.
fn catch(sandbox: &mut Sandbox, copy: &Copy, victim: &[&str], started: bool) -> Option<Output> {
    let (bundle, first) = (sandbox.path("bundle"), sandbox.token.clone());
    let second = format!("{first}-second");
    sandbox.script(CATCH).capabilities(&ALL).set("/process/noNewPrivileges", json!(false));
    sandbox.write_config();
    copy.call(sandbox, &["create", "--bundle", &bundle, &first]).finish().ok();
    copy.call(sandbox, &["start", &first]).finish().ok();
    let pid = sandbox.pid();
    sandbox.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    if sandbox.config["linux"]["uidMappings"].is_array() {
        sandbox.unset("/linux/uidMappings").unset("/linux/gidMappings");
        sandbox.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    }
    if sandbox.config["linux"]["cgroupsPath"].is_string() {
        sandbox.set("/linux/cgroupsPath", json!(format!("/{first}/{first}-second")));
    }
    sandbox.args(victim).write_config();
    let pipe = stuffed_pipe(sandbox);
    let onto = format!(r#"exec "$@" >>{}"#, sandbox.path("pipe"));
    let quiet = ["/bin/sh", "-c", &onto, "sh"];
    let create = copy.call(sandbox, &["create", "--bundle", &bundle, &second]);
    if started { create.through(&quiet) } else { create }.finish().ok();
    if started {
        // A runtime that cannot be an interpreter at all is as good.
        let _ = copy.call(sandbox, &["start", &second]).finish();
    }
    fs::write(sandbox.rootfs("go"), "").unwrap();
    let caught = until(3, || sandbox.rootfs("caught").exists());
    copy.assert_untouched("while the process lives");
    let deleted = copy.call(sandbox, &["delete", "--force", &second]).finish().ok();
    // As engines do: a container is gone only when the processes that joined it are waited for.
    reap_orphans();
    fs::write(sandbox.rootfs("gone"), "").unwrap();
    assert!(!caught || until(5, || sandbox.rootfs("over").exists()), "the attacker got stuck");
    drop(pipe);
    copy.assert_untouched("after the process is gone");
    caught.then_some(deleted)
}

/// A pipe for the second container's output that is full: a runtime that prints its version waits there and can be
/// looked at in peace.
pub(super) fn stuffed_pipe(sandbox: &Sandbox) -> File {
    let path = sandbox.path("pipe");
    mkfifo(Path::new(&path), Mode::from_bits_truncate(0o666)).unwrap();
    let mut options = OpenOptions::new();
    let mut pipe = options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(&path).unwrap();
    while pipe.write(&[b'.'; 4096]).is_ok() {}
    while pipe.write(b".").is_ok() {}
    pipe
}

/// The init that waits for its start is the runtime; a neighbour with every capability opens it, and writes when the
/// runtime has exited and nothing is busy any more.
fn cve_2019_5736_descriptor_kept_from_a_created_container(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    catch(sandbox, &copy, &["/bin/true"], false);
}

/// The same where both are in one user namespace: nothing at all is to be had from an init that is not dumpable.
fn cve_2019_5736_descriptor_kept_in_a_user_namespace(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    sandbox.user_namespace();
    let caught = catch(sandbox, &copy, &["/bin/true"], false);
    let seen = fs::read_to_string(sandbox.rootfs("seen")).unwrap_or_default();
    assert!(caught.is_none(), "init was opened through /proc: {seen}");
}

/// `#!/proc/self/exe`: after execve the runtime runs as an ordinary, dumpable process of the container.
fn cve_2019_5736_descriptor_kept_from_a_script_interpreter(sandbox: &mut Sandbox) {
    let copy = Copy::make(sandbox, false);
    give_interpreter(sandbox);
    catch(sandbox, &copy, &["/entry"], true);
}

/// As an unprivileged user who owns the binary and cannot clone mounts: nothing but a sealed copy keeps it. The
/// attacker is put into the container from outside, since nobody else can look at its init before the start.
fn cve_2019_5736_rootless_script_interpreter(sandbox: &mut Sandbox) {
    super::unprivileged(sandbox);
    let copy = Copy::make(sandbox, true);
    give_interpreter(sandbox);
    sandbox.args(&["/entry"]).write_config();
    let pipe = stuffed_pipe(sandbox);
    let onto = format!(r#"exec "$@" >>{}"#, sandbox.path("pipe"));
    let create = copy.call(sandbox, &["create", "--bundle", &sandbox.path("bundle"), &sandbox.token]);
    create.through(&["/bin/sh", "-c", &onto, "sh"]).finish().ok();
    let pid = sandbox.pid();
    attack_executable(sandbox, pid);
    copy.assert_untouched("before the start");
    copy.call(sandbox, &["start", &sandbox.token]).finish().ok();
    let command = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(until(5, || command().contains("/entry")), "the interpreter was not started: {:?}", command());
    attack_executable(sandbox, pid);
    copy.assert_untouched("while it runs");
    let kept = File::open(format!("/proc/{pid}/exe")).unwrap();
    copy.call(sandbox, &["delete", "--force", &sandbox.token]).finish().ok();
    reap_orphans();
    drop(pipe);
    let again = format!("/proc/self/fd/{}", kept.as_raw_fd());
    let _ = OpenOptions::new().write(true).open(again).and_then(|mut file| file.write_all(b"pwned"));
    copy.assert_untouched("after it is gone");
}

/// A process with every capability in the container's user and mount namespaces tries what can be tried on the
/// executable of `pid`.
fn attack_executable(sandbox: &Sandbox, pid: i32) {
    let script =
        "cd /proc/1; chmod 0777 exe; touch exe; (printf pwned >> exe); (printf pwned 1<> exe); (: > exe); :";
    let target = pid.to_string();
    let words = ["nsenter", "-t", &target, "-U", "-m", "--preserve-credentials", "/bin/sh", "-c", script];
    let name = format!("attack-{}", fs::read_dir(sandbox.dir.join("calls")).unwrap().count());
    Call::new(words, &sandbox.dir.join("calls").join(name)).finish().ok();
}

/// A program of the image whose interpreter is the runtime.
pub(super) fn give_interpreter(sandbox: &Sandbox) {
    give_libraries(sandbox);
    fs::write(sandbox.rootfs("entry"), "#!/proc/self/exe --version\n").unwrap();
    fs::set_permissions(sandbox.rootfs("entry"), PermissionsExt::from_mode(0o755)).unwrap();
}
