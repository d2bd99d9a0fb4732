//! The options of `exec`, each read back from inside.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::json;

use super::{exec, inside, process_file, processes, refused, script};
use crate::cli::receive;
use crate::harness::{Need, Sandbox, parent, status_field, until};

cases! {
    without_options_it_is_like_the_containers_own;
    the_namespaces_are_the_containers;
    cwd_is_entered;
    a_cwd_that_cannot_be_entered;
    a_cwd_that_leads_out;
    a_relative_cwd_is_refused;
    env_is_appended;
    the_last_of_two_values_counts;
    env_without_an_equals_sign;
    home_is_found_inside;
    path_is_looked_up_inside;
    user_keeps_the_group;
    user_and_group;
    a_user_that_is_no_number;
    additional_gids_are_added;
    additional_gids_that_are_no_numbers;
    no_new_privs_is_set;
    no_new_privs_is_taken_back;
    capabilities_are_added;
    unknown_capabilities_are_refused;
    pid_file_is_written;
    pid_file_that_cannot_be_written;
    preserved_descriptors_and_no_others;
    preserving_what_is_not_open;
    pidfd_socket_gets_the_pidfd;
    pidfd_socket_that_nobody_listens_on;
    detached_it_belongs_to_the_caller;
    short_and_long_spellings;
    what_follows_the_id_is_the_programs: Need::Program("sh");
    no_command_at_all;
    console_socket_without_a_terminal;
    rlimits_are_the_containers;
    limits_that_leave_no_room;
}

/// Everything that --help calls the pattern: what is not said is as in the container's own process.
fn without_options_it_is_like_the_containers_own(sandbox: &mut Sandbox) {
    sandbox
        .set("/process/env", json!(["PATH=/bin", "A=1", "HOME=/h"]))
        .set("/process/cwd", json!("/home/user"));
    sandbox
        .set("/process/user", json!({ "uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [10, 77] }));
    sandbox.set("/process/oomScoreAdj", json!(345));
    let pid = sandbox.start_sleeper();
    let seen = inside(
        sandbox,
        &[],
        "env | grep -v -e PWD -e SHLVL | sort; pwd; id -u; id -g; id -G; umask; cat /proc/self/oom_score_adj; hostname",
    );
    let wanted = "A=1\nHOME=/h\nPATH=/bin\n/home/user\n1000\n1000\n1000 10 77\n0027\n345\nonggi";
    assert_eq!(seen, wanted);
    let status = inside(sandbox, &[], "cat /proc/self/status");
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:\t")));
        assert_eq!(line.map(str::to_owned), status_field(pid, field), "{field}");
    }
}

fn the_namespaces_are_the_containers(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let seen = inside(
        sandbox,
        &[],
        "for n in pid net ipc uts mnt cgroup user time; do \
           [ \"$(readlink /proc/self/ns/$n)\" = \"$(readlink /proc/1/ns/$n)\" ] || echo $n; done; cat /proc/1/comm",
    );
    assert_eq!(seen, "sleep");
}

fn cwd_is_entered(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for options in [&["--cwd", "/home/user"][..], &["--cwd=/home/user"]] {
        assert_eq!(inside(sandbox, options, "pwd; readlink /proc/self/cwd"), "/home/user\n/home/user");
    }
}

/// Not made, as it would be for the container's first process: a probe must not change the container.
fn a_cwd_that_cannot_be_entered(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let parts = ["process.cwd \"/no/such\"", "no such file or directory"];
    refused(sandbox, &["--cwd", "/no/such"], &["/bin/true"], &parts);
    assert!(!sandbox.rootfs("no").exists());
    refused(sandbox, &["--cwd", "/etc/passwd"], &["/bin/true"], &["process.cwd", "not a directory"]);
    fs::create_dir(sandbox.rootfs("closed")).unwrap();
    fs::set_permissions(sandbox.rootfs("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    sandbox.capabilities(&[]);
    let options = ["--cwd", "/closed", "--user", "1000:1000"];
    let output = exec(sandbox, &options, &["/bin/pwd"]).finish();
    // What only root may enter is entered as root, as for the container's first process.
    assert_eq!(output.ok().text(), "/closed");
}

fn a_cwd_that_leads_out(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    std::os::unix::fs::symlink("/proc/self/fd/5", sandbox.rootfs("link")).unwrap();
    let dirs =
        ["/proc/self/fd/5", "/link", "/proc/self/cwd", "/proc/self/root", "/proc/1/root", "/proc/1/cwd"];
    for dir in dirs {
        refused(sandbox, &["--cwd", dir], &["/bin/true"], &["process.cwd", dir]);
    }
}

fn a_relative_cwd_is_refused(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for dir in ["tmp", "", "./tmp", "../etc"] {
        refused(sandbox, &["--cwd", dir], &["/bin/true"], &["process.cwd"]);
    }
}

fn env_is_appended(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["PATH=/bin", "HOME=/x", "A=1"]));
    sandbox.start_sleeper();
    let options = ["-e", "B=two words", "--env", "C=", "--env=D=a=b", "-eE=5"];
    let seen = exec(sandbox, &options, &["/bin/env"]).env("SECRET", "of the engine").finish().ok();
    assert_eq!(seen.text(), "PATH=/bin\nHOME=/x\nA=1\nB=two words\nC=\nD=a=b\nE=5");
}

/// As in runc and crun: programs that look for the first would else find what was to be replaced.
fn the_last_of_two_values_counts(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["A=1", "PATH=/nowhere", "HOME=/x", "A=2"]));
    sandbox.start_sleeper();
    let seen = exec(sandbox, &["-e", "A=3", "-e", "PATH=/bin"], &["env"]).finish().ok();
    assert_eq!(seen.text(), "HOME=/x\nA=3\nPATH=/bin");
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    sandbox.args(&["/bin/env"]);
    assert_eq!(
        sandbox.run().ok().text(),
        "PATH=/nowhere\nHOME=/x\nA=2",
        "nor does the container itself differ"
    );
}

fn env_without_an_equals_sign(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    refused(sandbox, &["-e", "LONELY"], &["/bin/true"], &["process.env", "LONELY"]);
    refused(sandbox, &["-e", "=x"], &["/bin/true"], &["process.env"]);
}

fn home_is_found_inside(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    fs::write(sandbox.rootfs("etc/passwd"), "root:x:0:0::/of/root:/\nu:x:1000:9::/of/user:/\n").unwrap();
    for (options, home) in [
        (&[][..], "/of/root"),
        (&["-u", "1000"], "/of/user"),
        (&["-u", "4242"], "/"),
        (&["-e", "HOME=/given"], "/given"),
    ] {
        assert_eq!(inside(sandbox, options, "echo $HOME"), home, "{options:?}");
    }
}

fn path_is_looked_up_inside(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let tool = sandbox.rootfs("opt/tool");
    fs::create_dir(sandbox.rootfs("opt")).unwrap();
    fs::write(&tool, "#!/bin/sh\necho $0\n").unwrap();
    fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(exec(sandbox, &["-e", "PATH=/no:/opt:/bin"], &["tool"]).finish().ok().text(), "/opt/tool");
    let parts = ["exec: \"tool\": executable file not found in $PATH"];
    refused(sandbox, &[], &["tool"], &parts);
}

fn user_keeps_the_group(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 0, "gid": 77, "additionalGids": [10] }));
    sandbox.start_sleeper();
    assert_eq!(inside(sandbox, &["--user", "1000"], "id -u; id -g; id -G"), "1000\n77\n77 10");
}

fn user_and_group(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let seen = inside(sandbox, &["-u", "1000:1001"], "grep -e ^Uid -e ^Gid -e ^Cap[EI] /proc/self/status");
    let wanted = "Uid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\n\
        CapInh:\t0000000000000000\nCapEff:\t0000000000000000";
    assert_eq!(seen, wanted);
}

fn a_user_that_is_no_number(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for user in
        ["root", "user:user", "1000:user", "-1", "+1", " 1", "1 ", "0x10", "1:", ":1", "1:2:3", "4294967296"]
    {
        let option = format!("--user={user}");
        refused(sandbox, &[&option], &["/bin/true"], &["--user", "UID[:GID]"]);
    }
    for user in ["4294967295", "0:4294967295"] {
        refused(sandbox, &["-u", user], &["/bin/true"], &["4294967295"]);
    }
}

fn additional_gids_are_added(sandbox: &mut Sandbox) {
    sandbox.set("/process/user/additionalGids", json!([10]));
    sandbox.start_sleeper();
    let options = ["-g", "20", "--additional-gids", "30", "--additional-gids=40"];
    assert_eq!(inside(sandbox, &options, "id -G"), "0 10 20 30 40");
}

fn additional_gids_that_are_no_numbers(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for gid in ["wheel", "-1", "4294967296", ""] {
        let option = format!("--additional-gids={gid}");
        let output = exec(sandbox, &[&option], &["/bin/true"]).finish();
        assert!(!output.status.success() && output.stderr.starts_with("error: "), "{}", output.describe());
    }
    refused(sandbox, &["-g", "4294967295"], &["/bin/true"], &["process.user.additionalGids"]);
}

fn no_new_privs_is_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false));
    sandbox.start_sleeper();
    let seen = |options: &[&str]| inside(sandbox, options, "grep NoNewPrivs /proc/self/status");
    assert_eq!(seen(&[]), "NoNewPrivs:\t0");
    assert_eq!(seen(&["--no-new-privs"]), "NoNewPrivs:\t1");
    assert_eq!(seen(&["--no-new-privs=true"]), "NoNewPrivs:\t1");
}

fn no_new_privs_is_taken_back(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let seen = |options: &[&str]| inside(sandbox, options, "grep NoNewPrivs /proc/self/status");
    assert_eq!(seen(&[]), "NoNewPrivs:\t1");
    assert_eq!(seen(&["--no-new-privs=false"]), "NoNewPrivs:\t0");
}

/// CAP_CHOWN is 0, CAP_SYS_CHROOT 18; the container has CAP_KILL 5, CAP_NET_BIND_SERVICE 10, CAP_AUDIT_WRITE 29.
fn capabilities_are_added(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let seen = inside(sandbox, &["-c", "CAP_CHOWN", "--cap=CAP_SYS_CHROOT"], "grep ^Cap /proc/self/status");
    let sets: Vec<&str> = seen.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    let with = "0000000020040421";
    assert_eq!(
        sets,
        ["0000000000000000", with, with, with, "0000000000000000"],
        "inheritable first, ambient last"
    );
}

fn unknown_capabilities_are_refused(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for name in ["CAP_NONSENSE", "", "7"] {
        refused(sandbox, &["--cap", name], &["/bin/true"], &["--cap", "unknown capability"]);
    }
}

/// It is whole when exec returns, and names the process as the caller sees it.
fn pid_file_is_written(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = sandbox.path("pid");
    exec(sandbox, &["--detach", "--pid-file", &file], &["/bin/sleep", "77"]).finish().ok();
    let pid = fs::read_to_string(&file).unwrap();
    assert!(pid.bytes().all(|byte| byte.is_ascii_digit()), "{pid:?}");
    assert_eq!(fs::read(format!("/proc/{pid}/cmdline")).unwrap(), b"/bin/sleep\x0077\0");
    let option = format!("--pid-file={file}");
    let seen = inside(sandbox, &[&option], "grep NSpid /proc/self/status");
    let written = fs::read_to_string(&file).unwrap();
    assert_ne!(written, pid, "it is replaced");
    assert!(seen.starts_with("NSpid:"), "{seen}");
}

fn pid_file_that_cannot_be_written(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let before = processes(sandbox);
    let file = sandbox.path("no/such/folder/pid");
    for options in [&["--detach", "--pid-file", &file][..], &["--pid-file", &file]] {
        let output = exec(sandbox, options, &["/bin/sleep", "77"]).finish().code(255);
        assert!(output.stderr.contains(&file), "{}", output.describe());
        assert!(until(2, || processes(sandbox) == before), "left by {}", output.describe());
    }
}

fn preserved_descriptors_and_no_others(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (three, four) = (sandbox.file("three", "3\n"), sandbox.file("four", "4\n"));
    let open = format!(r#"exec 3<{three} 4<{four} 5</ 9<{three}; exec "$@""#);
    let through = ["/bin/sh", "-c", &open, "sh"];
    let list = [
        "/bin/sh",
        "-c",
        "cat <&3; cat <&4; for n in 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n; done; :",
    ];
    let output = exec(sandbox, &["--preserve-fds", "2"], &list).through(&through).finish().ok();
    assert_eq!(output.text(), "3\n4");
    let list = ["/bin/ls", "/proc/self/fd"];
    let output = exec(sandbox, &[], &list).through(&through).finish().ok();
    assert_eq!(output.text(), "0\n1\n2\n3", "3 is that of ls");
}

fn preserving_what_is_not_open(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for number in ["1", "7", "4294967295"] {
        refused(sandbox, &["--preserve-fds", number], &["/bin/true"], &["preserve-fds"]);
    }
}

fn pidfd_socket_gets_the_pidfd(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (socket, file) = (sandbox.path("pidfd.sock"), sandbox.path("pid"));
    let listener = UnixListener::bind(&socket).unwrap();
    let options = ["--detach", "--pid-file", &file, "--pidfd-socket", &socket];
    exec(sandbox, &options, &["/bin/sleep", "77"]).finish().ok();
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let pidfd = receive(&stream).expect("a descriptor came over the socket");
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = fs::read_to_string(&file).unwrap();
    assert!(info.lines().any(|line| line.split_whitespace().eq(["Pid:", &pid])), "{pid}: {info}");
}

fn pidfd_socket_that_nobody_listens_on(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let socket = sandbox.path("nobody.sock");
    refused(sandbox, &["--pidfd-socket", &socket], &["/bin/true"], &["--pidfd-socket", &socket]);
}

/// The caller is a subreaper, as engines are; the runtime is gone, the output goes where the caller said.
fn detached_it_belongs_to_the_caller(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = sandbox.path("pid");
    let words =
        ["/bin/sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; echo out; echo err >&2; exec sleep 77"];
    let running = exec(sandbox, &["-d", "--pid-file", &file], &words).spawn();
    let (stdout, stderr) = running.files();
    running.finish().ok();
    let pid = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert_eq!(parent(pid), Some(i32::try_from(std::process::id()).unwrap()));
    let null = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    assert_eq!(null, Path::new("/dev/null"));
    fs::write(sandbox.rootfs("go"), "").unwrap();
    sandbox.wait_file(stdout, "out\n");
    sandbox.wait_file(stderr, "err\n");
}

fn short_and_long_spellings(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = process_file(sandbox, &script("echo from the file"));
    for options in [["-p", &file], ["--process", &file]] {
        assert_eq!(exec(sandbox, &options, &[]).finish().ok().text(), "from the file");
    }
    for option in [format!("-p={file}"), format!("-p{file}"), format!("--process={file}")] {
        assert_eq!(exec(sandbox, &[&option], &[]).finish().ok().text(), "from the file", "{option}");
    }
    let options = ["-e=A=1", "-u=1:2", "-g=3", "-c=CAP_CHOWN", "--cwd=/tmp"];
    let seen = inside(sandbox, &options, "echo $A; id -u; id -G; pwd; grep ^CapBnd /proc/self/status");
    assert_eq!(seen, "1\n1\n2 3\n/tmp\nCapBnd:\t0000000020000421");
}

fn what_follows_the_id_is_the_programs(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let words = ["/bin/echo", "-d", "--tty", "--", "--pid-file", "x", "-e"];
    assert_eq!(exec(sandbox, &[], &words).finish().ok().text(), "-d --tty -- --pid-file x -e");
    let before = ["exec", "--", &sandbox.token, "/bin/echo", "-n", "-d"];
    assert_eq!(sandbox.onggi(&before).finish().ok().text(), "-d");
    // Go's spelling of options has no place there.
    let words = ["/bin/echo", "-user", "-tty=false", "-version", "-log"];
    assert_eq!(exec(sandbox, &["-tty=false"], &words).finish().ok().text(), "-user -tty=false -version -log");
}

fn no_command_at_all(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let output = exec(sandbox, &[], &[]).finish().code(255);
    assert!(output.stderr.contains("command"), "{}", output.describe());
    let output = sandbox.onggi(&["exec"]).finish();
    assert!(!output.status.success() && output.stderr.starts_with("error: "), "{}", output.describe());
    refused(sandbox, &[], &[""], &["process.args[0]"]);
}

fn console_socket_without_a_terminal(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let socket = sandbox.path("console.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    refused(sandbox, &["--console-socket", &socket], &["/bin/true"], &["--console-socket"]);
}

fn rlimits_are_the_containers(sandbox: &mut Sandbox) {
    sandbox.set(
        "/process/rlimits",
        json!([{ "type": "RLIMIT_NOFILE", "hard": 512, "soft": 256 }, { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }]),
    );
    sandbox.start_sleeper();
    assert_eq!(inside(sandbox, &[], "ulimit -Sn; ulimit -Hn; ulimit -c"), "256\n512\n0");
}

/// Limits are the program's, not those of what has to be done before it runs. The number of processes is counted by
/// user.
fn limits_that_leave_no_room(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for limits in
        [[("NOFILE", 8), ("NPROC", 1)], [("NPROC", 0), ("NOFILE", 8)], [("STACK", 1 << 17), ("CORE", 0)]]
    {
        let mut process = script("");
        process["args"] = json!(["/bin/cat", "/proc/self/limits"]);
        process["user"] = json!({ "uid": 4242, "gid": 4242 });
        let entry = |(kind, value)| json!({ "type": format!("RLIMIT_{kind}"), "soft": value, "hard": value });
        process["rlimits"] = limits.into_iter().map(entry).collect();
        let file = process_file(sandbox, &process);
        let output = exec(sandbox, &["--process", &file], &[]).finish().ok();
        for (kind, value) in limits {
            let name = match kind {
                "NOFILE" => "Max open files",
                "NPROC" => "Max processes",
                "STACK" => "Max stack size",
                _ => "Max core file size",
            };
            let line = output.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[..2], [value.to_string(), value.to_string()], "{kind}");
        }
    }
}
