//! The command line, option for option what runc accepts; output formats; exit statuses.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::harness::{Layout, Need, Sandbox, is_alive, until};
use crate::lifecycle::is_rfc3339;

cases! {
    version_has_its_four_lines;
    help_succeeds;
    usage_errors_exit_with_1;
    default_root_is_run_onggi;
    log_json_has_one_object_per_line;
    log_text_has_the_error;
    log_is_appended_to;
    log_that_cannot_be_opened_is_an_error;
    bad_log_options_are_refused;
    debug_logs_more_than_errors;
    global_options_of_the_engines_are_taken;
    cgroup_manager_disabled_makes_no_cgroup;
    cgroup_manager_cgroupfs_makes_one;
    bundle_defaults_to_the_working_directory;
    bundle_may_be_relative;
    config_is_read_from_elsewhere;
    options_take_both_spellings;
    pid_file_of_run_detached;
    pid_file_that_cannot_be_written_leaves_nothing;
    pidfd_socket_gets_the_pidfd;
    pidfd_socket_that_nobody_accepts;
    console_socket_without_terminal_is_refused;
    no_pivot_still_changes_the_root;
    no_pivot_keeps_no_procfs_of_the_host;
    session_keyring_is_new_unless_refused: Need::File("/proc/keys");
    preserve_fds_reach_the_container;
    preserve_fds_that_are_not_open_are_refused;
    run_detached_returns_at_once;
    run_keep_leaves_the_stopped_container;
    run_deletes_afterwards;
    run_no_subreaper_is_taken;
    kill_takes_every_spelling_of_a_signal;
    kill_defaults_to_term;
    kill_refuses_what_is_no_signal;
    kill_takes_its_option_anywhere;
    list_of_nothing;
    list_as_table_json_and_ids;
    spec_writes_a_config_that_runs;
    spec_does_not_overwrite;
    spec_hides_what_the_engines_hide;
    spec_gives_no_inheritable_or_ambient_capability;
    spec_rootless_maps_the_caller;
    plan_prints_and_does_nothing;
    plan_of_a_bad_config_is_an_error;
    features_name_what_is_built;
    features_list_the_mount_options;
    features_are_true_to_the_kernel;
    features_name_the_memory_policies;
    features_claim_nothing_that_is_refused;
}

fn version_has_its_four_lines(sandbox: &mut Sandbox) {
    let output = sandbox.bare(&["--version"]).finish().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[0], format!("onggi version {}", env!("CARGO_PKG_VERSION")), "{}", output.describe());
    let value = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} line: {}", output.describe())).trim().to_owned()
    };
    assert!(!value("commit:").is_empty());
    assert_eq!(value("spec:"), "1.3.0");
    assert!(value("libseccomp:").starts_with("2."));
}

fn help_succeeds(sandbox: &mut Sandbox) {
    let output = sandbox.bare(&["--help"]).finish().ok();
    for command in ["create", "run", "start", "state", "kill", "delete", "list", "spec", "plan", "features"] {
        assert!(output.stdout.contains(command), "{command} is missing: {}", output.describe());
        sandbox.bare(&[command, "--help"]).finish().ok();
    }
}

fn usage_errors_exit_with_1(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let wrong: &[&[&str]] = &[
        &["frobnicate"],
        &["--frobnicate", "list"],
        &["create", "--bundle", &bundle],
        &["create", "--bundle", &bundle, "--frobnicate", "x"],
        &["create", "--bundle", &bundle, "x", "y"],
        &["run", "--bundle"],
        &["start"],
        &["state"],
        &["kill"],
        &["delete"],
        &["list", "--format", "xml"],
        &["run", "--preserve-fds", "-1", "--bundle", &bundle, "x"],
        &["run", "--preserve-fds", "many", "--bundle", &bundle, "x"],
    ];
    for args in wrong {
        let output = sandbox.onggi(args).finish().error(&[]);
        assert_eq!(output.stdout, "", "{}", output.describe());
        sandbox.clean(&output);
    }
}

fn default_root_is_run_onggi(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    let other = sandbox.path("xdg");
    fs::create_dir(&other).unwrap();
    let create = sandbox.bare(&["create", "--bundle", &bundle, &id]).env("XDG_RUNTIME_DIR", &other);
    create.finish().ok();
    let there = Path::new("/run/onggi").join(&id);
    let found = there.exists();
    let empty = fs::read_dir(&other).unwrap().next().is_none();
    sandbox.bare(&["delete", "--force", &id]).finish().ok();
    assert!(found, "root's state is in /run/onggi, whatever XDG_RUNTIME_DIR is");
    assert!(empty && !there.exists());
}

fn log_json_has_one_object_per_line(sandbox: &mut Sandbox) {
    let log = sandbox.path("log.json");
    let args = ["--log", &log, "--log-format", "json", "state", "nobody"];
    sandbox.onggi(&args).finish().error(&["does not exist"]);
    sandbox.set("/process/args", json!(["no\"such\nthing"]));
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    sandbox
        .onggi(&["--log", &log, "--log-format=json", "create", "--bundle", &bundle, "x"])
        .finish()
        .error(&[]);
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(errors.len(), 2, "{text}");
    for line in &lines {
        assert!(is_rfc3339(line["time"].as_str().unwrap()), "{line}");
        assert!(line["msg"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(errors[0]["msg"].as_str().unwrap().contains("nobody"), "{}", errors[0]);
    assert!(
        errors[1]["msg"].as_str().unwrap().contains("executable file not found in $PATH"),
        "{}",
        errors[1]
    );
}

fn log_text_has_the_error(sandbox: &mut Sandbox) {
    let log = sandbox.path("log");
    for format in [&["--log", log.as_str()][..], &["--log", &log, "--log-format", "text"]] {
        let args: Vec<&str> = format.iter().copied().chain(["state", "nobody"]).collect();
        sandbox.onggi(&args).finish().error(&["does not exist"]);
    }
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("does not exist")).count(), 2, "{text}");
}

fn log_is_appended_to(sandbox: &mut Sandbox) {
    let log = sandbox.file("log", "before\n");
    sandbox.onggi(&["--log", &log, "state", "nobody"]).finish().error(&[]);
    assert!(fs::read_to_string(&log).unwrap().starts_with("before\n"));
}

fn log_that_cannot_be_opened_is_an_error(sandbox: &mut Sandbox) {
    let log = sandbox.path("no/such/folder/log");
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let output = sandbox.onggi(&["--log", &log, "create", "--bundle", &bundle, &sandbox.token]).finish();
    let output = output.error(&[&log, "no such file or directory"]);
    sandbox.clean(&output);
}

fn bad_log_options_are_refused(sandbox: &mut Sandbox) {
    sandbox.onggi(&["--log-format", "xml", "list"]).finish().error(&["xml"]);
    sandbox.onggi(&["--log-level", "loud", "list"]).finish().error(&["loud"]);
}

fn debug_logs_more_than_errors(sandbox: &mut Sandbox) {
    for option in [&["--debug"][..], &["--log-level", "debug"]] {
        let log = sandbox.path(&format!("log{}", option.len()));
        let bundle = sandbox.path("bundle");
        sandbox.write_config();
        let mut args = vec!["--log", &log, "--log-format", "json"];
        args.extend(option);
        args.extend(["run", "--bundle", &bundle, &sandbox.token]);
        sandbox.onggi(&args).finish().ok();
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().any(|line| line["level"] == "debug"), "{option:?}: {text:?}");
    }
}

fn global_options_of_the_engines_are_taken(sandbox: &mut Sandbox) {
    for option in ["--rootless=true", "--rootless=false", "--rootless=auto", "--log-level=info", "--debug"] {
        sandbox.onggi(&[option, "list"]).finish().ok();
    }
    sandbox.onggi(&["--rootless", "auto", "--cgroup-manager", "cgroupfs", "list"]).finish().ok();
    sandbox.onggi(&["--rootless", "perhaps", "list"]).finish().error(&["perhaps"]);
    sandbox.onggi(&["--cgroup-manager", "magic", "list"]).finish().error(&["magic"]);
}

fn cgroup_manager_disabled_makes_no_cgroup(sandbox: &mut Sandbox) {
    sandbox.unset("/linux/resources");
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    sandbox.onggi(&["--cgroup-manager", "disabled", "create", "--bundle", &bundle, &id]).finish().ok();
    assert!(!sandbox.cgroup("devices").exists());
    let own = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(own(&sandbox.pid().to_string()), own("self"), "the container stays in its parent's cgroups");
    sandbox.start();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
}

fn cgroup_manager_cgroupfs_makes_one(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let (bundle, id) = (sandbox.path("bundle"), sandbox.token.clone());
    sandbox.onggi(&["--cgroup-manager", "cgroupfs", "create", "--bundle", &bundle, &id]).finish().ok();
    assert!(sandbox.cgroup("devices").exists());
}

fn bundle_defaults_to_the_working_directory(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/echo", "hi"]);
    sandbox.write_config();
    let output = sandbox.onggi(&["run", &sandbox.token]).directory(&sandbox.bundle()).finish().ok();
    assert_eq!(output.text(), "hi");
}

fn bundle_may_be_relative(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let args = ["--root", "state", "create", "-b", "bundle", "--pid-file", "pid", &sandbox.token];
    sandbox.bare(&args).directory(&sandbox.dir).finish().ok();
    assert_eq!(sandbox.state()["bundle"], sandbox.path("bundle"), "state has absolute paths");
    assert_eq!(fs::read_to_string(sandbox.path("pid")).unwrap(), sandbox.pid().to_string());
}

fn config_is_read_from_elsewhere(sandbox: &mut Sandbox) {
    sandbox.write_config();
    sandbox.args(&["/bin/echo", "elsewhere"]);
    let file = sandbox.file("other.json", &sandbox.config.to_string());
    let bundle = sandbox.path("bundle");
    for option in ["--config", "-f"] {
        let args = ["run", "--bundle", &bundle, option, &file, &sandbox.token];
        assert_eq!(sandbox.onggi(&args).finish().ok().text(), "elsewhere");
    }
    let missing = sandbox.path("missing.json");
    let args = ["run", "--bundle", &bundle, "--config", &missing, &sandbox.token];
    sandbox.onggi(&args).finish().error(&[&missing, "no such file or directory"]);
}

fn options_take_both_spellings(sandbox: &mut Sandbox) {
    sandbox.write_config();
    let (bundle, root) = (sandbox.path("bundle"), sandbox.path("state"));
    let (long, short) = (format!("--bundle={bundle}"), format!("-b={bundle}"));
    let (root, id) = (format!("--root={root}"), sandbox.token.clone());
    sandbox.bare(&[&root, "run", &long, &id]).finish().ok();
    sandbox.bare(&[&root, "run", &short, &id]).finish().ok();
    sandbox.bare(&[&root, "create", "-b", &bundle, "--preserve-fds=0", &id]).finish().ok();
    sandbox.bare(&[&root, "delete", "-f", &id]).finish().ok();
}

fn pid_file_of_run_detached(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let file = sandbox.path("pid");
    sandbox.begin("run", &["--detach", "--pid-file", &file]).finish().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), sandbox.pid().to_string());
}

fn pid_file_that_cannot_be_written_leaves_nothing(sandbox: &mut Sandbox) {
    let file = sandbox.path("no/such/folder/pid");
    for command in ["create", "run"] {
        let output = sandbox.begin(command, &["--pid-file", &file]).finish();
        let output = output.error(&["pid", &file, "no such file or directory"]);
        sandbox.clean(&output);
    }
}

fn pidfd_socket_gets_the_pidfd(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let path = sandbox.path("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    sandbox.begin("create", &["--pidfd-socket", &path]).finish().ok();
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let pidfd = receive(&stream).expect("a descriptor came over the socket");
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd))).unwrap();
    let pid = sandbox.pid();
    assert!(info.lines().any(|line| line.split_whitespace().eq(["Pid:", &pid.to_string()])), "{pid}: {info}");
}

fn pidfd_socket_that_nobody_accepts(sandbox: &mut Sandbox) {
    let path = sandbox.path("pidfd.sock");
    let _full = crate::terminal::nobody_accepts(&path);
    let output = sandbox.begin("create", &["--pidfd-socket", &path]).finish();
    sandbox.clean(&output.error(&["--pidfd-socket", "EAGAIN", "nobody accepts within 5s", &path]));
}

/// One descriptor from a stream socket.
pub(crate) fn receive(stream: impl AsFd) -> Option<OwnedFd> {
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn console_socket_without_terminal_is_refused(sandbox: &mut Sandbox) {
    let path = sandbox.path("console.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let output = sandbox.begin("create", &["--console-socket", &path]).finish().error(&["console-socket"]);
    sandbox.clean(&output);
}

fn no_pivot_still_changes_the_root(sandbox: &mut Sandbox) {
    sandbox.script("echo here > /proof; ls /; cat /proc/self/mountinfo | wc -l");
    let output = sandbox.begin("run", &["--no-pivot"]).finish().ok();
    assert_eq!(fs::read_to_string(sandbox.rootfs("proof")).unwrap(), "here\n");
    assert!(
        !output.stdout.contains("lost+found") && output.stdout.contains("proof"),
        "{}",
        output.describe()
    );
}

/// The host's procfs must not stay in the namespace: it would let a user namespace inside mount one without masks.
fn no_pivot_keeps_no_procfs_of_the_host(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_SYS_ADMIN", "CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
    sandbox.script(
        "mkdir -p /fresh; unshare -Urmpf sh -c 'mount -t proc proc /fresh && echo reached' 2>/dev/null; echo end",
    );
    let output = sandbox.begin("run", &["--no-pivot"]).finish().ok();
    assert_eq!(output.text(), "end", "{}", output.describe());
}

fn session_keyring_is_new_unless_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/maskedPaths", json!([]));
    sandbox.script("cat /proc/keys");
    let output = sandbox.run().ok();
    let name = format!("_ses.{}", sandbox.token);
    assert!(output.stdout.contains(&name), "no keyring {name}: {}", output.describe());
    // Another id: the kernel may still list the first keyring for a moment.
    let second = format!("{}-b", sandbox.token);
    let bundle = sandbox.path("bundle");
    let output = sandbox.onggi(&["run", "--no-new-keyring", "--bundle", &bundle, &second]).finish().ok();
    assert!(!output.stdout.contains(&format!("_ses.{second}")), "{}", output.describe());
}

fn preserve_fds_reach_the_container(sandbox: &mut Sandbox) {
    let (three, four) = (sandbox.file("three", "3\n"), sandbox.file("four", "4\n"));
    sandbox.script("cat <&3; cat <&4; [ -L /proc/$$/fd/5 ] || echo no five");
    let script = format!("exec 3<{three} 4<{four} 5</dev/zero; exec \"$@\"");
    let call = sandbox.begin("run", &["--preserve-fds", "2"]).through(&["sh", "-c", &script, "sh"]);
    assert_eq!(call.finish().ok().text(), "3\n4\nno five");
}

fn preserve_fds_that_are_not_open_are_refused(sandbox: &mut Sandbox) {
    let output = sandbox.begin("create", &["--preserve-fds", "7"]).finish().error(&["preserve-fds", "3"]);
    sandbox.clean(&output);
}

fn run_detached_returns_at_once(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    for option in ["--detach", "-d"] {
        sandbox.begin("run", &[option]).finish().ok();
        assert_eq!(sandbox.status(), "running");
        assert!(is_alive(sandbox.pid()));
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}

fn run_keep_leaves_the_stopped_container(sandbox: &mut Sandbox) {
    sandbox.script("exit 3");
    sandbox.begin("run", &["--keep"]).finish().code(3);
    assert_eq!(sandbox.status(), "stopped");
    sandbox.delete();
}

fn run_deletes_afterwards(sandbox: &mut Sandbox) {
    let output = sandbox.run().ok();
    sandbox.clean(&output);
    sandbox.onggi(&["state", &sandbox.token]).finish().error(&["does not exist"]);
}

fn run_no_subreaper_is_taken(sandbox: &mut Sandbox) {
    sandbox.script("exit 5");
    sandbox.begin("run", &["--no-subreaper"]).finish().code(5);
}

fn kill_takes_every_spelling_of_a_signal(sandbox: &mut Sandbox) {
    let script = "for n in $(seq 1 64); do [ $n = 9 ] || [ $n = 17 ] || [ $n = 19 ] || trap \"echo got $n >> /got\" $n; done
        echo up > /up; while :; do sleep 0.02; done";
    sandbox.script(script);
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    let spellings = [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("15", 15),
        ("term", 15),
        ("sigusr1", 10),
        ("HUP", 1),
        ("SIGWINCH", 28),
        ("35", 35),
        ("64", 64),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMIN+15", 49),
        ("SIGRTMAX", 64),
        ("RTMAX-1", 63),
    ];
    for (spelling, number) in spellings {
        fs::write(sandbox.rootfs("got"), "").unwrap();
        sandbox.kill(spelling);
        sandbox.wait_file(sandbox.rootfs("got"), &format!("got {number}\n"));
    }
}

fn kill_defaults_to_term(sandbox: &mut Sandbox) {
    sandbox.script("trap 'echo term > /got; exit' TERM; echo up > /up; while :; do sleep 0.02; done");
    sandbox.create();
    sandbox.start();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    sandbox.onggi(&["kill", &sandbox.token]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("got"), "term");
}

fn kill_refuses_what_is_no_signal(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    for bad in ["FOO", "SIGFOO", "-1", "65", "99999999999", "", "RTMIN+31", "RTMAX+1", "RTMIN+", "9x", "SIG"]
    {
        let output = sandbox.onggi(&["kill", "--", &sandbox.token, bad]).finish();
        output.error(&["signal", bad]);
    }
    assert!(is_alive(pid));
}

fn kill_takes_its_option_anywhere(sandbox: &mut Sandbox) {
    let id = sandbox.token.clone();
    for args in [["kill", "--all", &id, "KILL"], ["kill", &id, "KILL", "--all"], ["kill", "-a", &id, "9"]] {
        let pid = sandbox.start_sleeper();
        sandbox.onggi(&args).finish().ok();
        assert!(until(5, || !is_alive(pid)));
        sandbox.delete();
    }
}

fn list_of_nothing(sandbox: &mut Sandbox) {
    let json = sandbox.onggi(&["list", "--format", "json"]).finish().ok();
    assert!(["[]", "null"].contains(&json.text()), "{}", json.describe());
    assert_eq!(sandbox.onggi(&["list", "--quiet"]).finish().ok().stdout, "");
    let table = sandbox.onggi(&["list"]).finish().ok();
    assert_eq!(table.stdout.lines().count(), 1, "only the heads: {}", table.describe());
}

fn list_as_table_json_and_ids(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let second = format!("{}-b", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(format!("/{}/b", sandbox.token)));
    sandbox.write_config();
    sandbox.onggi(&["create", "--bundle", &sandbox.path("bundle"), &second]).finish().ok();

    for args in [["list", "--quiet"], ["list", "-q"]] {
        let ids = sandbox.onggi(&args).finish().ok();
        let mut ids: Vec<&str> = ids.stdout.lines().collect();
        ids.sort_unstable();
        assert_eq!(ids, [&sandbox.token, &second]);
    }
    let json = sandbox.onggi(&["list", "-f", "json"]).finish().ok();
    let all: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    let one = all.iter().find(|it| it["id"] == sandbox.token).unwrap();
    assert_eq!((one["pid"].as_i64(), &one["status"]), (Some(pid.into()), &json!("running")));
    assert_eq!(one["bundle"], sandbox.path("bundle"));
    assert!(is_rfc3339(one["created"].as_str().unwrap()) && one["owner"] == "root", "{one}");
    assert_eq!(all.iter().find(|it| it["id"] == second.as_str()).unwrap()["status"], "created");

    let table = sandbox.onggi(&["list", "--format", "table"]).finish().ok();
    let rows: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row = rows.iter().find(|row| row[0] == sandbox.token).unwrap();
    assert_eq!(row[1..4], [&pid.to_string(), "running", &sandbox.path("bundle")]);
}

/// What `spec` writes, read back.
fn made_spec(sandbox: &Sandbox, options: &[&str]) -> Value {
    let bundle = sandbox.path("bundle");
    let _ = fs::remove_file(sandbox.bundle().join("config.json"));
    let args: Vec<&str> = ["spec", "--bundle", &bundle].into_iter().chain(options.iter().copied()).collect();
    sandbox.onggi(&args).finish().ok();
    serde_json::from_slice(&fs::read(sandbox.bundle().join("config.json")).unwrap()).unwrap()
}

fn spec_writes_a_config_that_runs(sandbox: &mut Sandbox) {
    sandbox.config = made_spec(sandbox, &[]);
    assert_eq!(sandbox.config["ociVersion"], "1.3.0");
    assert_eq!(sandbox.config["process"]["args"], json!(["sh"]));
    assert_eq!(sandbox.config["root"]["readonly"], true);
    sandbox.set("/process/terminal", json!(false));
    assert_eq!(
        sandbox.prove("hostname; id -u"),
        format!("{}\n0", sandbox.config["hostname"].as_str().unwrap())
    );
    sandbox.bare(&["spec"]).directory(Path::new(&sandbox.path("state"))).finish().ok();
    fs::remove_file(sandbox.root().join("config.json")).unwrap();
}

fn spec_does_not_overwrite(sandbox: &mut Sandbox) {
    let file = sandbox.file("bundle/config.json", "precious");
    sandbox.onggi(&["spec", "--bundle", &sandbox.path("bundle")]).finish().error(&["config.json", "exist"]);
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

fn spec_hides_what_the_engines_hide(sandbox: &mut Sandbox) {
    let spec = made_spec(sandbox, &[]);
    let list = |name: &str| -> Vec<String> { serde_json::from_value(spec["linux"][name].clone()).unwrap() };
    let (masked, readonly) = (list("maskedPaths"), list("readonlyPaths"));
    let mask = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug \
        /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware";
    for path in mask.split_whitespace() {
        assert!(masked.iter().any(|it| it == path), "{path} is not masked");
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        assert!(readonly.iter().any(|it| it == path), "{path} is not read-only");
    }
}

fn spec_gives_no_inheritable_or_ambient_capability(sandbox: &mut Sandbox) {
    let spec = made_spec(sandbox, &[]);
    let set = |name: &str| spec["process"]["capabilities"][name].as_array().map_or(0, Vec::len);
    assert_eq!((set("inheritable"), set("ambient")), (0, 0), "{}", spec["process"]["capabilities"]);
    assert!(set("bounding") > 0 && set("effective") > 0 && set("permitted") > 0);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
}

fn spec_rootless_maps_the_caller(sandbox: &mut Sandbox) {
    let spec = made_spec(sandbox, &["--rootless"]);
    let kinds: Vec<&str> =
        spec["linux"]["namespaces"].as_array().unwrap().iter().filter_map(|it| it["type"].as_str()).collect();
    assert!(kinds.contains(&"user"), "{kinds:?}");
    assert_eq!(spec["linux"]["uidMappings"], json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    assert_eq!(spec["linux"]["gidMappings"], json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
}

fn plan_prints_and_does_nothing(sandbox: &mut Sandbox) {
    sandbox.script("echo ran > /ran");
    sandbox.write_config();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let bundle = sandbox.path("bundle");
    let output = sandbox.onggi(&["plan", "--bundle", &bundle]).finish().ok();
    for word in ["/proc", "/dev/pts", "/sys/fs/cgroup", "pivot_root", "/bin/sh", "hostname"] {
        assert!(output.stdout.to_lowercase().contains(word), "{word} is missing: {}", output.stdout);
    }
    let again = sandbox.onggi(&["plan", "-b", &bundle]).finish().ok();
    assert_eq!(output.stdout, again.stdout, "the same plan each time");
    assert_eq!(sandbox.onggi(&["plan"]).directory(&sandbox.bundle()).finish().ok().stdout, output.stdout);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    assert!(!sandbox.rootfs("ran").exists());
    sandbox.clean(&output);
}

fn plan_of_a_bad_config_is_an_error(sandbox: &mut Sandbox) {
    sandbox.set("/linux/namespaces/-", json!({ "type": "pid" }));
    sandbox.write_config();
    let output = sandbox.onggi(&["plan", "--bundle", &sandbox.path("bundle")]).finish();
    output.error(&["linux.namespaces[6]"]);
}

fn features(sandbox: &Sandbox) -> Value {
    let output = sandbox.bare(&["features"]).finish().ok();
    serde_json::from_str(&output.stdout).unwrap()
}

fn features_name_what_is_built(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&json!("1.0.0"), &json!("1.3.0")));
    let mut hooks: Vec<String> = serde_json::from_value(features["hooks"].clone()).unwrap();
    hooks.sort();
    let six = ["createContainer", "createRuntime", "poststart", "poststop", "prestart", "startContainer"];
    assert_eq!(hooks, six);
    let linux = &features["linux"];
    let capabilities: Vec<String> = serde_json::from_value(linux["capabilities"].clone()).unwrap();
    assert!(
        ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_BPF"].iter().all(|name| capabilities.iter().any(|it| it == name))
    );
    assert_eq!((&linux["cgroup"]["v1"], &linux["cgroup"]["v2"]), (&json!(true), &json!(true)));
    assert_eq!((&linux["cgroup"]["systemd"], &linux["cgroup"]["systemdUser"]), (&json!(true), &json!(true)));
    for module in ["apparmor", "selinux"] {
        assert_eq!(linux[module]["enabled"], json!(true), "{module}");
    }
}

fn features_list_the_mount_options(sandbox: &mut Sandbox) {
    let options: Vec<String> = serde_json::from_value(features(sandbox)["mountOptions"].clone()).unwrap();
    for option in crate::mounts::OPTIONS.split_whitespace() {
        assert!(options.iter().any(|it| it == option), "mountOptions lacks {option}");
    }
}

fn features_are_true_to_the_kernel(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    let named: Vec<String> = serde_json::from_value(features["linux"]["namespaces"].clone()).unwrap();
    let files = "cgroup:cgroup ipc:ipc mnt:mount net:network pid:pid time:time user:user uts:uts";
    for (file, name) in files.split_whitespace().filter_map(|pair| pair.split_once(':')) {
        let there = Path::new("/proc/self/ns").join(file).exists();
        assert_eq!(named.iter().any(|it| it == name), there, "{name}");
    }
    let idmap = Need::Kernel(5, 12, "an id-mapped mount").is_met(Layout::V2);
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], json!(idmap));
}

fn features_name_the_memory_policies(sandbox: &mut Sandbox) {
    let known = features(sandbox)["linux"]["memoryPolicy"].clone();
    let names = |list: &str| serde_json::from_value::<Vec<String>>(known[list].clone()).unwrap();
    let (modes, flags) = (names("modes"), names("flags"));
    assert_eq!((modes.len(), flags.len()), (7, 3), "{known}");
    let without_nodes = ["MPOL_DEFAULT", "MPOL_LOCAL"];
    let modes = modes.iter().map(|mode| (mode.as_str(), !without_nodes.contains(&mode.as_str()), None));
    for (mode, nodes, flag) in modes.chain(flags.iter().map(|flag| ("MPOL_BIND", true, Some(flag)))) {
        let nodes = if nodes { "0" } else { "" };
        let flags: Vec<&String> = flag.into_iter().collect();
        sandbox.set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes, "flags": flags }));
        sandbox.write_config();
        let plan = sandbox.onggi(&["plan", "--bundle", &sandbox.path("bundle")]).finish().ok();
        assert!(plan.stdout.contains("set_mempolicy"), "{}", plan.describe());
    }
}

fn features_claim_nothing_that_is_refused(sandbox: &mut Sandbox) {
    let features = features(sandbox);
    let good = sandbox.config.clone();
    let rows = [
        ("/linux/seccomp", "seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" })),
        ("/linux/intelRdt", "intelRdt", json!({})),
        ("/linux/netDevices", "netDevices", json!({})),
    ];
    for (pointer, name, value) in rows {
        sandbox.config = good.clone();
        sandbox.set(pointer, value);
        let claimed = features["linux"][name]["enabled"] == true;
        let output = sandbox.begin("create", &[]).finish();
        // Without the hardware nothing mounts resctrl, and the error is another one.
        let lacking = name == "intelRdt" && Need::resctrl().is_none();
        if !claimed || lacking {
            let output = output.error(&[&format!("linux.{name}")]);
            sandbox.clean(&output);
        } else {
            sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        }
    }
}
