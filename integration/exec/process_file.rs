//! `exec --process FILE`: the whole process as JSON, what it takes from the container where it says nothing, and files
//! that are none.

use std::fs;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::{exec, process_file, refused, script};
use crate::harness::{Need, Sandbox};

cases! {
    a_complete_process;
    what_it_does_not_say_is_the_containers;
    what_it_says_counts;
    env_cwd_and_user_are_never_the_containers;
    options_that_describe_a_process_say_nothing;
    unknown_fields_are_ignored;
    a_process_without_a_user_is_root;
    files_that_are_no_process;
    missing_fields;
    wrong_types_name_the_path;
    nul_bytes;
    a_huge_file;
    a_file_that_is_not_there;
    a_pipe_is_read: Need::Program("sh");
    seven_megabytes_of_arguments;
    rlimits_are_checked;
    ambient_and_inheritable_as_listed;
}

fn run(sandbox: &Sandbox, process: &Value) -> String {
    let file = process_file(sandbox, process);
    exec(sandbox, &["--process", &file], &[]).finish().ok().text().to_owned()
}

/// The file must be refused, whatever is in it.
#[track_caller]
fn bad(sandbox: &Sandbox, text: &[u8], parts: &[&str]) {
    let file = sandbox.path("bad.json");
    fs::write(&file, text).unwrap();
    refused(sandbox, &["--process", &file], &[], parts);
}

fn a_complete_process(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let caps = json!(["CAP_CHOWN"]);
    let process = json!({
        "terminal": false,
        "user": { "uid": 1000, "gid": 1001, "umask": 7, "additionalGids": [10, 20] },
        "args": ["/bin/sh", "-c", "id -u; id -g; id -G; umask; pwd; echo $A$HOME; ulimit -n; cat /proc/self/oom_score_adj; \
            grep -e NoNewPrivs -e CapBnd /proc/self/status"],
        "env": ["PATH=/bin", "A=1"],
        "cwd": "/home/user",
        "capabilities": { "bounding": caps, "permitted": [], "effective": [], "inheritable": [], "ambient": [] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 300, "soft": 200 }],
        "noNewPrivileges": false,
        "oomScoreAdj": 77
    });
    let wanted = "1000\n1001\n1001 10 20\n0007\n/home/user\n1/home/user\n200\n77\nCapBnd:\t0000000000000001\nNoNewPrivs:\t0";
    assert_eq!(run(sandbox, &process), wanted);
}

const SHOW: &str = "ulimit -n; cat /proc/self/oom_score_adj; grep -e ^CapEff -e NoNewPrivs /proc/self/status";

/// As in runc: noNewPrivileges, capabilities, rlimits and oomScoreAdj.
fn what_it_does_not_say_is_the_containers(sandbox: &mut Sandbox) {
    sandbox.set("/process/oomScoreAdj", json!(345));
    sandbox.start_sleeper();
    let wanted = "1024\n345\nCapEff:\t0000000020000420\nNoNewPrivs:\t1";
    assert_eq!(run(sandbox, &script(SHOW)), wanted);
    let mut empty = script(SHOW);
    empty["rlimits"] = json!([]);
    assert_eq!(run(sandbox, &empty), wanted, "an empty list of limits says nothing");
}

fn what_it_says_counts(sandbox: &mut Sandbox) {
    sandbox.set("/process/oomScoreAdj", json!(345));
    sandbox.start_sleeper();
    let mut process = script(SHOW);
    process["capabilities"] = json!({});
    process["noNewPrivileges"] = json!(false);
    process["oomScoreAdj"] = json!(400);
    process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "hard": 99, "soft": 98 }]);
    assert_eq!(run(sandbox, &process), "98\n400\nCapEff:\t0000000000000000\nNoNewPrivs:\t0");
}

/// But for the umask, which is the container's, as in runc.
fn env_cwd_and_user_are_never_the_containers(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["PATH=/bin", "A=1"])).set("/process/cwd", json!("/home/user"));
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000, "umask": 0o77, "additionalGids": [10] }));
    sandbox.start_sleeper();
    let seen = run(sandbox, &script("echo \"[$A]\"; pwd; id -u; id -G; umask"));
    assert_eq!(seen, "[]\n/\n0\n0\n0077");
}

/// As in runc: with a file, the options that describe a process are passed over; the others count.
fn options_that_describe_a_process_say_nothing(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = process_file(sandbox, &script("echo \"[$A]\"; pwd; id -u"));
    let pid_file = sandbox.path("pid");
    let options = ["--process", &file, "-e", "A=1", "--cwd", "/tmp", "-u", "7", "--pid-file", &pid_file];
    assert_eq!(exec(sandbox, &options, &["/bin/echo", "no"]).finish().ok().text(), "[]\n/\n0");
    assert!(Path::new(&pid_file).exists());
}

fn unknown_fields_are_ignored(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let mut process = script("echo alive");
    process["future"] = json!({ "a": [1] });
    process["user"]["future"] = json!(null);
    assert_eq!(run(sandbox, &process), "alive");
}

fn a_process_without_a_user_is_root(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    sandbox.start_sleeper();
    let mut process = script("id -u; id -g");
    process.as_object_mut().unwrap().remove("user");
    assert_eq!(run(sandbox, &process), "0\n0");
}

fn files_that_are_no_process(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    bad(sandbox, b"", &["bad.json", "EOF"]);
    bad(sandbox, b"not json", &["bad.json", "not valid JSON", "line 1 column"]);
    bad(sandbox, b"{\"cwd\":\"/\",", &["bad.json", "not valid JSON"]);
    bad(sandbox, b"[\"/bin/true\"]", &["bad.json", "object"]);
    bad(sandbox, b"null", &["process", "null"]);
    bad(sandbox, b"\"/bin/true\"", &["process", "string"]);
    bad(sandbox, b"{\"cwd\":\"/\",\"args\":[\"/bin/true\"]} x", &["trailing characters"]);
    bad(sandbox, b"{\"cwd\":\"/\",\"args\":[\"\xff\"]}", &["unicode"]);
    bad(sandbox, &b"[".repeat(100_000), &["bad.json"]);
    bad(sandbox, &b"{\"a\":".repeat(100_000), &["bad.json"]);
}

fn missing_fields(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    bad(sandbox, b"{}", &["process", "cwd"]);
    for (field, value) in [
        ("cwd", None),
        ("cwd", Some(json!(""))),
        ("cwd", Some(json!("tmp"))),
        ("args", None),
        ("args", Some(json!([]))),
        ("args", Some(json!([""]))),
        ("args", Some(Value::Null)),
    ] {
        let mut process = script("echo alive");
        process.as_object_mut().unwrap().remove(field);
        if let Some(value) = value {
            process[field] = value;
        }
        bad(sandbox, process.to_string().as_bytes(), &["process", field]);
    }
}

fn wrong_types_name_the_path(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let cases = [
        ("/args", json!("/bin/true"), "process.args"),
        ("/args", json!(["/bin/true", 7]), "process.args[1]"),
        ("/env", json!({ "A": "1" }), "process.env"),
        ("/cwd", json!(7), "process.cwd"),
        ("/user/uid", json!(-1), "process.user.uid"),
        ("/user/uid", json!("root"), "process.user.uid"),
        ("/user/gid", json!(4_294_967_296_u64), "process.user.gid"),
        ("/user/uid", json!(4_294_967_295_u64), "process.user"),
        ("/terminal", json!("yes"), "process.terminal"),
        ("/noNewPrivileges", json!(1), "process.noNewPrivileges"),
        ("/capabilities", json!({ "bounding": ["CAP-NONSENSE"] }), "process.capabilities.bounding[0]"),
        ("/rlimits", json!([{ "type": "RLIMIT_X", "hard": 1, "soft": 1 }]), "process.rlimits[0].type"),
        ("/oomScoreAdj", json!(1.5), "process.oomScoreAdj"),
        ("/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
    ];
    for (pointer, value, part) in cases {
        let mut process = script("echo alive");
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        process.pointer_mut(parent).unwrap()[last] = value;
        bad(sandbox, process.to_string().as_bytes(), &[part]);
    }
}

fn nul_bytes(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for (field, value) in [
        ("args", json!(["/bin/true\0x"])),
        ("args", json!(["/bin/true", "a\0b"])),
        ("env", json!(["A=\0"])),
        ("cwd", json!("/\0tmp")),
    ] {
        let mut process = script("echo alive");
        process[field] = value;
        bad(sandbox, process.to_string().as_bytes(), &[&format!("process.{field}"), "NUL"]);
    }
}

fn a_huge_file(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = sandbox.path("huge.json");
    fs::File::create(&file).unwrap().set_len(4 << 30).unwrap();
    refused(sandbox, &["--process", &file], &[], &["huge.json", "8 MiB"]);
    refused(sandbox, &["--process", "/dev/zero"], &[], &["/dev/zero", "8 MiB"]);
}

fn a_file_that_is_not_there(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = sandbox.path("missing.json");
    let output = refused(sandbox, &["--process", &file], &[], &[&file, "no such file or directory"]);
    assert!(!output.stderr.contains("--bundle"), "a hint for another command: {}", output.describe());
    let folder = sandbox.dir.display().to_string();
    refused(sandbox, &["--process", &folder], &[], &[&folder, "is a directory"]);
}

fn a_pipe_is_read(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (file, pipe) = (process_file(sandbox, &script("echo alive")), sandbox.path("pipe"));
    mkfifo(Path::new(&pipe), Mode::from_bits_truncate(0o600)).unwrap();
    let feed = format!(r#"cat {file} > {pipe} & exec "$@""#);
    let call = exec(sandbox, &["--process", &pipe], &[]).through(&["/bin/sh", "-c", &feed, "sh"]);
    assert_eq!(call.finish().ok().text(), "alive");
}

fn seven_megabytes_of_arguments(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let mut process = script("echo $#");
    let args = process["args"].as_array_mut().unwrap();
    args.push(json!("sh"));
    args.extend((0..1000).map(|_| json!("x".repeat(1000))));
    assert_eq!(run(sandbox, &process), "1000");
    process["args"].as_array_mut().unwrap().extend((0..70).map(|_| json!("x".repeat(100_000))));
    bad(sandbox, process.to_string().as_bytes(), &["process.args[0]", "E2BIG"]);
}

fn rlimits_are_checked(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let limit = |hard: u64, soft: u64| json!({ "type": "RLIMIT_CORE", "hard": hard, "soft": soft });
    for limits in [json!([limit(1, 2)]), json!([limit(1, 1), limit(1, 1)])] {
        let mut process = script("echo alive");
        process["rlimits"] = limits;
        bad(sandbox, process.to_string().as_bytes(), &["process.rlimits"]);
    }
}

fn ambient_and_inheritable_as_listed(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let one = json!(["CAP_KILL"]);
    let mut process = script("grep ^Cap /proc/self/status");
    process["user"] = json!({ "uid": 1000, "gid": 1000 });
    process["capabilities"] =
        json!({ "bounding": one, "permitted": one, "effective": one, "inheritable": one, "ambient": one });
    let sets = run(sandbox, &process);
    assert!(sets.lines().all(|line| line.ends_with("0000000000000020")), "{sets}");
}
