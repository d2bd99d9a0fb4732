//! Errors a person can act on: each names the field and the reason, and changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::Sandbox;

cases! {
    missing_config;
    missing_bundle;
    config_that_is_a_folder;
    empty_config;
    invalid_json_has_line_and_column;
    truncated_json_has_line_and_column;
    json_after_the_end_is_refused;
    json_that_is_no_object;
    wrong_types_name_the_path;
    missing_required_fields_name_the_path;
    unknown_versions_are_refused;
    known_versions_are_taken;
    unknown_fields_are_ignored;
    numbers_out_of_range_name_the_path;
    missing_rootfs;
    rootfs_that_is_a_file;
    empty_root_path;
    missing_executable_is_found_by_create;
    missing_executable_by_path;
    executable_that_is_not_executable;
    executable_that_is_a_folder;
    executable_below_a_file;
    empty_args;
    missing_args;
    relative_cwd_is_refused;
    duplicate_namespaces;
    unknown_namespace;
    mappings_without_a_user_namespace;
    unknown_capability;
    unknown_rlimit;
    duplicate_rlimit;
    soft_limit_above_hard_limit;
    relative_mount_destination_is_a_warning;
    hook_that_is_not_absolute;
    hook_that_is_not_executable;
    hook_that_does_not_exist;
    hook_timeout_of_zero_or_less;
    ten_megabytes_of_config;
    nul_in_paths;
    paths_of_5000_characters;
    env_without_an_equals_sign;
    the_error_names_operation_and_container;
    a_user_without_permission_is_told_so;
    a_full_disk_below_the_state;
    a_read_only_state_root;
}

fn missing_config(sandbox: &mut Sandbox) {
    let bundle = sandbox.path("bundle");
    for command in ["create", "run"] {
        let output = sandbox.onggi(&[command, "--bundle", &bundle, &sandbox.token]).finish();
        let output = output.error(&["config.json", "no such file or directory"]);
        sandbox.clean(&output);
    }
}

fn missing_bundle(sandbox: &mut Sandbox) {
    let bundle = sandbox.path("nowhere");
    let output = sandbox.onggi(&["create", "--bundle", &bundle, &sandbox.token]).finish();
    let output = output.error(&[&bundle, "no such file or directory"]);
    sandbox.clean(&output);
}

fn config_that_is_a_folder(sandbox: &mut Sandbox) {
    fs::create_dir(sandbox.bundle().join("config.json")).unwrap();
    let output = sandbox.onggi(&["create", "--bundle", &sandbox.path("bundle"), &sandbox.token]).finish();
    output.error(&["config.json"]);
}

/// `create` must refuse this text as config.json.
#[track_caller]
fn refuses_text(sandbox: &Sandbox, text: &[u8], parts: &[&str]) {
    fs::write(sandbox.bundle().join("config.json"), text).unwrap();
    let bundle = sandbox.path("bundle");
    let output = sandbox.onggi(&["create", "--bundle", &bundle, &sandbox.token]).finish().error(parts);
    sandbox.clean(&output);
}

fn empty_config(sandbox: &mut Sandbox) {
    refuses_text(sandbox, b"", &["config.json", "line 1"]);
}

fn invalid_json_has_line_and_column(sandbox: &mut Sandbox) {
    let text = b"{\n  \"ociVersion\": \"1.2.0\",\n  \"root\" \"rootfs\"\n}\n";
    refuses_text(sandbox, text, &["config.json", "line 3", "column 10"]);
    refuses_text(sandbox, b"{ \"ociVersion\": \"1.2.0\", \xff }", &["config.json", "line 1"]);
}

fn truncated_json_has_line_and_column(sandbox: &mut Sandbox) {
    let whole = serde_json::to_string_pretty(&sandbox.config).unwrap();
    let half = &whole[..whole.len() / 2];
    let line = format!("line {}", half.lines().count());
    refuses_text(sandbox, half.as_bytes(), &["config.json", &line, "column"]);
}

fn json_after_the_end_is_refused(sandbox: &mut Sandbox) {
    let text = format!("{}\n{{}}", sandbox.config);
    refuses_text(sandbox, text.as_bytes(), &["config.json", "line 2"]);
}

fn json_that_is_no_object(sandbox: &mut Sandbox) {
    for text in ["[]", "null", "1", "\"config\""] {
        refuses_text(sandbox, text.as_bytes(), &["config.json"]);
    }
}

/// Sets each value in turn and wants it refused with the words beside it.
#[track_caller]
fn each_refused(sandbox: &mut Sandbox, rows: &[(&str, Value, &[&str])]) {
    let good = sandbox.config.clone();
    for (pointer, value, parts) in rows {
        sandbox.config = good.clone();
        sandbox.set(pointer, value.clone());
        sandbox.refused(parts);
    }
    sandbox.config = good;
}

fn wrong_types_name_the_path(sandbox: &mut Sandbox) {
    each_refused(
        sandbox,
        &[
            ("/ociVersion", json!(1), &["ociVersion"]),
            ("/hostname", json!(["a"]), &["hostname"]),
            ("/process/args", json!("/bin/true"), &["process.args"]),
            ("/process/args", json!(["/bin/echo", 1]), &["process.args[1]"]),
            ("/process/env", json!({ "A": "b" }), &["process.env"]),
            ("/process/user/uid", json!("0"), &["process.user.uid"]),
            ("/process/noNewPrivileges", json!("yes"), &["process.noNewPrivileges"]),
            (
                "/process/rlimits",
                json!([{ "type": "RLIMIT_NOFILE", "hard": "x", "soft": 1 }]),
                &["process.rlimits[0].hard"],
            ),
            ("/root/readonly", json!(1), &["root.readonly"]),
            ("/mounts", json!({}), &["mounts"]),
            ("/mounts/1/options", json!("ro"), &["mounts[1].options"]),
            ("/mounts/2/destination", json!(2), &["mounts[2].destination"]),
            ("/linux", json!([]), &["linux"]),
            ("/linux/namespaces", json!("pid"), &["linux.namespaces"]),
            ("/linux/maskedPaths", json!([1]), &["linux.maskedPaths[0]"]),
            ("/linux/sysctl", json!({ "kernel.msgmax": 1 }), &["linux.sysctl"]),
            ("/linux/resources", json!({ "pids": { "limit": "many" } }), &["linux.resources.pids.limit"]),
            ("/hooks", json!({ "prestart": [{ "path": 1 }] }), &["hooks.prestart[0].path"]),
            ("/annotations", json!({ "a": 1 }), &["annotations"]),
        ],
    );
}

fn missing_required_fields_name_the_path(sandbox: &mut Sandbox) {
    let good = sandbox.config.clone();
    for (pointer, name) in [
        ("/ociVersion", "ociVersion"),
        ("/root", "root"),
        ("/root/path", "path"),
        ("/process/cwd", "cwd"),
        ("/mounts/0/destination", "destination"),
        ("/linux/namespaces/0/type", "type"),
    ] {
        sandbox.config = good.clone();
        sandbox.unset(pointer);
        sandbox.refused(&[name]);
    }
}

fn unknown_versions_are_refused(sandbox: &mut Sandbox) {
    for version in ["", "2.0.0", "0.1.0", "1", "1.x", "latest", "v1.0.0"] {
        sandbox.set("/ociVersion", json!(version));
        sandbox.refused(&["ociVersion", version]);
    }
}

fn known_versions_are_taken(sandbox: &mut Sandbox) {
    for version in ["1.0.0", "1.0.2-dev", "1.0.2", "1.1.0", "1.2.1", "1.3.0"] {
        sandbox.set("/ociVersion", json!(version));
        sandbox.run().ok();
    }
}

/// "Runtimes MUST NOT error on unknown properties" (config.md, Extensibility).
fn unknown_fields_are_ignored(sandbox: &mut Sandbox) {
    sandbox.set("/x-unknown", json!({ "a": 1 }));
    sandbox.set("/process/x-unknown", json!(1));
    sandbox.set("/linux/x-unknown", json!([]));
    sandbox.run().ok();
}

fn numbers_out_of_range_name_the_path(sandbox: &mut Sandbox) {
    let map = |host: Value, size: Value| json!([{ "containerID": 0, "hostID": host, "size": size }]);
    let rlimit = |soft: Value| json!([{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": soft }]);
    let huge = || json!(18_446_744_073_709_551_615_u64);
    sandbox.namespace("user", None);
    sandbox.set("/linux/uidMappings", map(json!(1000), json!(1)));
    sandbox.set("/linux/gidMappings", map(json!(1000), json!(1)));
    each_refused(
        sandbox,
        &[
            ("/process/user/uid", json!(-1), &["process.user.uid"]),
            ("/process/user/uid", json!(4_294_967_296_u64), &["process.user.uid"]),
            ("/process/user/uid", json!(4_294_967_295_u64), &["process.user.uid"]),
            ("/process/user/gid", json!(1.5), &["process.user.gid"]),
            ("/process/user/additionalGids", json!([4_294_967_295_u64]), &["process.user.additionalGids[0]"]),
            ("/process/user/umask", json!(-1), &["process.user.umask"]),
            ("/process/user/umask", json!(0o1000), &["process.user.umask"]),
            ("/process/oomScoreAdj", json!(1001), &["process.oomScoreAdj"]),
            ("/process/oomScoreAdj", json!(-1001), &["process.oomScoreAdj"]),
            ("/process/rlimits", rlimit(json!(-1)), &["process.rlimits[0].soft"]),
            ("/process/rlimits", rlimit(json!(1e30)), &["process.rlimits[0].soft"]),
            ("/linux/uidMappings", map(json!(-1), json!(1)), &["linux.uidMappings[0].hostID"]),
            ("/linux/uidMappings", map(json!(1), json!(0)), &["linux.uidMappings[0]"]),
            ("/linux/uidMappings", map(json!(4_294_967_290_u64), json!(10)), &["linux.uidMappings[0]"]),
            ("/linux/gidMappings", map(json!(0), huge()), &["linux.gidMappings[0].size"]),
            ("/linux/resources", json!({ "pids": { "limit": 1e300 } }), &["linux.resources.pids.limit"]),
            ("/linux/resources", json!({ "memory": { "limit": huge() } }), &["linux.resources.memory.limit"]),
            ("/linux/resources", json!({ "cpu": { "shares": -1 } }), &["linux.resources.cpu.shares"]),
            (
                "/hooks",
                json!({ "prestart": [{ "path": "/bin/true", "timeout": 1e30 }] }),
                &["hooks.prestart[0].timeout"],
            ),
        ],
    );
}

fn missing_rootfs(sandbox: &mut Sandbox) {
    sandbox.set("/root/path", json!("nowhere"));
    sandbox.refused(&["root.path", "nowhere", "no such file or directory"]);
    sandbox.set("/root/path", json!("/no/where"));
    sandbox.refused(&["root.path", "/no/where", "no such file or directory"]);
}

fn rootfs_that_is_a_file(sandbox: &mut Sandbox) {
    sandbox.file("bundle/file", "");
    sandbox.set("/root/path", json!("file"));
    sandbox.refused(&["root.path", "not a directory"]);
}

fn empty_root_path(sandbox: &mut Sandbox) {
    sandbox.set("/root/path", json!(""));
    sandbox.refused(&["root.path"]);
}

fn missing_executable_is_found_by_create(sandbox: &mut Sandbox) {
    sandbox.args(&["foo", "bar"]);
    sandbox.refused(&["process.args[0]", "exec: \"foo\": executable file not found in $PATH"]);
    sandbox.set("/process/env", json!(["PATH=/nowhere"]));
    sandbox.args(&["sh"]);
    sandbox.refused(&["exec: \"sh\": executable file not found in $PATH"]);
    sandbox.begin("run", &[]).finish().error(&["exec: \"sh\": executable file not found in $PATH"]);
}

fn missing_executable_by_path(sandbox: &mut Sandbox) {
    sandbox.args(&["/no/such/tool"]);
    sandbox.refused(&["process.args[0]", "/no/such/tool", "no such file or directory"]);
}

fn executable_that_is_not_executable(sandbox: &mut Sandbox) {
    sandbox.args(&["/etc/passwd"]);
    sandbox.refused(&["process.args[0]", "/etc/passwd", "permission denied"]);
}

fn executable_that_is_a_folder(sandbox: &mut Sandbox) {
    sandbox.args(&["/etc"]);
    sandbox.refused(&["process.args[0]", "/etc"]);
}

fn executable_below_a_file(sandbox: &mut Sandbox) {
    sandbox.args(&["/etc/passwd/tool"]);
    sandbox.refused(&["process.args[0]", "/etc/passwd/tool", "not a directory"]);
}

fn empty_args(sandbox: &mut Sandbox) {
    sandbox.set("/process/args", json!([]));
    sandbox.refused(&["process.args"]);
    sandbox.set("/process/args", json!([""]));
    sandbox.refused(&["process.args[0]"]);
}

fn missing_args(sandbox: &mut Sandbox) {
    sandbox.unset("/process/args");
    sandbox.refused(&["process.args"]);
}

fn relative_cwd_is_refused(sandbox: &mut Sandbox) {
    for cwd in ["tmp", "", "./tmp"] {
        sandbox.set("/process/cwd", json!(cwd));
        sandbox.refused(&["process.cwd"]);
    }
}

fn duplicate_namespaces(sandbox: &mut Sandbox) {
    for kind in ["pid", "mount", "network"] {
        let good = sandbox.config.clone();
        sandbox.set("/linux/namespaces/-", json!({ "type": kind }));
        sandbox.refused(&["linux.namespaces[6]", kind]);
        sandbox.config = good;
    }
}

fn unknown_namespace(sandbox: &mut Sandbox) {
    sandbox.set("/linux/namespaces/-", json!({ "type": "hyper" }));
    sandbox.refused(&["linux.namespaces[6]", "hyper"]);
}

fn mappings_without_a_user_namespace(sandbox: &mut Sandbox) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
    each_refused(
        sandbox,
        &[
            ("/linux/uidMappings", map.clone(), &["linux.uidMappings", "user namespace"]),
            ("/linux/gidMappings", map, &["linux.gidMappings", "user namespace"]),
        ],
    );
}

/// Of tomorrow: "MUST be logged as a warning" (config.md, Linux Process). What is no capability's name is an error.
fn unknown_capability(sandbox: &mut Sandbox) {
    sandbox.script("grep ^CapBnd: /proc/self/status | cut -f 2");
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        let good = sandbox.config.clone();
        sandbox.set("/process/capabilities/bounding", json!(["CAP_KILL"]));
        let names = format!("/process/capabilities/{set}");
        sandbox.set(&names, json!(["CAP_KILL", "CAP_FLY"]));
        let output = sandbox.run().ok();
        assert_eq!(output.text(), "0000000000000020", "{set}");
        let warning = format!("process.capabilities.{set} \"CAP_FLY\": unknown capability, not granted");
        assert!(output.stderr.contains(&warning), "{}", output.describe());
        sandbox.set(&names, json!(["CAP_KILL", "CAP-FLY"]));
        sandbox.refused(&[&format!("process.capabilities.{set}[1]"), "CAP-FLY"]);
        sandbox.config = good;
    }
}

fn unknown_rlimit(sandbox: &mut Sandbox) {
    sandbox.set("/process/rlimits", json!([{ "type": "RLIMIT_LUCK", "hard": 1, "soft": 1 }]));
    sandbox.refused(&["process.rlimits[0]", "RLIMIT_LUCK"]);
}

/// "If rlimits contains duplicated entries with same type, the runtime MUST generate an error" (config.md).
fn duplicate_rlimit(sandbox: &mut Sandbox) {
    sandbox.set("/process/rlimits/-", json!({ "type": "RLIMIT_NOFILE", "hard": 5, "soft": 5 }));
    sandbox.refused(&["process.rlimits[1]", "RLIMIT_NOFILE"]);
}

fn soft_limit_above_hard_limit(sandbox: &mut Sandbox) {
    sandbox.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "hard": 10, "soft": 20 }]));
    sandbox.refused(&["process.rlimits[0]"]);
}

fn relative_mount_destination_is_a_warning(sandbox: &mut Sandbox) {
    let log = sandbox.path("log");
    sandbox.mount("mnt/relative", "tmpfs", "tmpfs", &[]);
    sandbox.script("grep -q ' /mnt/relative ' /proc/self/mountinfo && echo mounted");
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let args = ["--log", &log, "--log-format", "json", "run", "--bundle", &bundle, &sandbox.token];
    let output = sandbox.onggi(&args).finish().ok();
    assert_eq!(output.text(), "mounted");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warning =
        lines.iter().find(|line| line["level"] == "warning").unwrap_or_else(|| panic!("no warning: {text}"));
    assert!(warning["msg"].as_str().unwrap().contains("mounts[7]"), "{warning}");
}

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn hook_that_is_not_absolute(sandbox: &mut Sandbox) {
    for kind in HOOKS {
        sandbox.set("/hooks", json!({ kind: [{ "path": "bin/true" }] }));
        sandbox.refused(&[&format!("hooks.{kind}[0]"), "bin/true", "absolute"]);
    }
}

fn hook_that_is_not_executable(sandbox: &mut Sandbox) {
    let file = sandbox.file("hook", "#!/bin/sh\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        sandbox.set("/hooks", json!({ kind: [{ "path": "/bin/true" }, { "path": file }] }));
        sandbox.refused(&[&format!("hooks.{kind}[1]"), &file, "executable"]);
    }
}

fn hook_that_does_not_exist(sandbox: &mut Sandbox) {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        sandbox.set("/hooks", json!({ kind: [{ "path": "/no/such/hook" }] }));
        sandbox.refused(&[&format!("hooks.{kind}[0]"), "/no/such/hook", "no such file or directory"]);
    }
}

fn hook_timeout_of_zero_or_less(sandbox: &mut Sandbox) {
    for timeout in [0, -1] {
        sandbox.set("/hooks", json!({ "prestart": [{ "path": "/bin/true", "timeout": timeout }] }));
        sandbox.refused(&["hooks.prestart[0].timeout"]);
    }
}

fn ten_megabytes_of_config(sandbox: &mut Sandbox) {
    sandbox.set("/annotations", json!({ "big": "x".repeat(10 * 1024 * 1024) }));
    sandbox.refused(&["config.json"]);
    let text = format!("{}{}", " ".repeat(11 * 1024 * 1024), sandbox.config);
    refuses_text(sandbox, text.as_bytes(), &["config.json"]);
}

fn nul_in_paths(sandbox: &mut Sandbox) {
    let mount = json!({ "destination": "/mnt/a\0b", "type": "tmpfs", "source": "tmpfs" });
    each_refused(
        sandbox,
        &[
            ("/process/args", json!(["/bin/echo", "a\0b"]), &["process.args[1]"]),
            ("/process/env", json!(["PATH=/bin", "A=\0"]), &["process.env[1]"]),
            ("/process/cwd", json!("/tmp\0"), &["process.cwd"]),
            ("/root/path", json!("rootfs\0x"), &["root.path"]),
            ("/hostname", json!("a\0b"), &["hostname"]),
            ("/mounts/7", mount, &["mounts[7]"]),
            ("/linux/maskedPaths", json!(["/proc/k\0"]), &["linux.maskedPaths[0]"]),
            ("/linux/readonlyPaths", json!(["/proc/k\0"]), &["linux.readonlyPaths[0]"]),
            ("/linux/cgroupsPath", json!("/a\0b"), &["linux.cgroupsPath"]),
            ("/linux/sysctl", json!({ "kernel.msg\0max": "1" }), &["linux.sysctl"]),
            (
                "/linux/namespaces/0",
                json!({ "type": "pid", "path": "/proc/1\0/ns/pid" }),
                &["linux.namespaces[0]"],
            ),
            ("/hooks", json!({ "prestart": [{ "path": "/bin/tr\0ue" }] }), &["hooks.prestart[0].path"]),
        ],
    );
}

fn paths_of_5000_characters(sandbox: &mut Sandbox) {
    let long = format!("/{}", "x/".repeat(2500));
    let mount = json!({ "destination": long, "type": "tmpfs", "source": "tmpfs" });
    let bind = json!({ "destination": "/mnt", "source": long, "options": ["bind"] });
    each_refused(
        sandbox,
        &[
            ("/process/args", json!([long]), &["process.args[0]"]),
            ("/process/cwd", json!(long), &["process.cwd"]),
            ("/root/path", json!(long), &["root.path"]),
            ("/mounts/7", mount, &["mounts[7]"]),
            ("/mounts/7", bind, &["mounts[7]"]),
            ("/linux/maskedPaths", json!([long]), &["linux.maskedPaths[0]"]),
            ("/linux/readonlyPaths", json!([long]), &["linux.readonlyPaths[0]"]),
            ("/linux/cgroupsPath", json!(long), &["linux.cgroupsPath"]),
            ("/linux/namespaces/0", json!({ "type": "pid", "path": long }), &["linux.namespaces[0]"]),
            ("/hooks", json!({ "prestart": [{ "path": long }] }), &["hooks.prestart[0]"]),
        ],
    );
}

fn env_without_an_equals_sign(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["PATH=/bin", "=x"]));
    sandbox.refused(&["process.env[1]"]);
}

fn the_error_names_operation_and_container(sandbox: &mut Sandbox) {
    let source = sandbox.path("not-there");
    sandbox.mount("/etc/resolv.conf", "bind", &source, &["bind"]);
    let operation = format!("error: create {}: ", sandbox.token);
    let parts =
        [operation.as_str(), "mounts[7]", "/etc/resolv.conf", &source, "ENOENT", "no such file or directory"];
    sandbox.refused(&parts);
}

fn a_user_without_permission_is_told_so(sandbox: &mut Sandbox) {
    sandbox.write_config();
    fs::set_permissions(sandbox.bundle(), fs::Permissions::from_mode(0o700)).unwrap();
    let words = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"];
    let bundle = sandbox.path("bundle");
    let call = sandbox.onggi(&["create", "--bundle", &bundle, &sandbox.token]).through(&words);
    let output = call.finish().error(&["config.json", "permission denied"]);
    sandbox.clean(&output);
}

/// `create` with a file system of its own below the state root, mounted with these options and full.
fn create_in(sandbox: &mut Sandbox, options: &str) -> crate::harness::Output {
    fs::create_dir(sandbox.root()).unwrap();
    let fill =
        "mount -t tmpfs -o $0 state $1; dd if=/dev/zero of=$1/fill bs=4k 2>/dev/null; shift; exec \"$@\"";
    let words =
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", fill, options, &sandbox.path("state")];
    sandbox.args(&["/bin/true"]).begin("create", &[]).through(&words).finish()
}

fn a_full_disk_below_the_state(sandbox: &mut Sandbox) {
    let output = create_in(sandbox, "size=64k").error(&["state", "ENOSPC", "no space left on device"]);
    sandbox.clean(&output);
}

fn a_read_only_state_root(sandbox: &mut Sandbox) {
    let output = create_in(sandbox, "ro").error(&["state", "EROFS", "read-only file system"]);
    sandbox.clean(&output);
}
