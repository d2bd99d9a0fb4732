//! The process: working directory, arguments, environment, user, limits, capabilities (config.md, Process), each
//! read back from inside.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox, status_field};

cases! {
    args_are_passed_verbatim;
    args_of_a_megabyte;
    path_lookup_uses_the_containers_path;
    path_lookup_takes_the_first_executable;
    path_lookup_without_path_uses_the_default;
    path_lookup_follows_links_inside;
    a_relative_executable_is_relative_to_cwd;
    a_script_runs_by_its_interpreter;
    env_is_exactly_that_of_the_config;
    env_keeps_duplicates_and_odd_values;
    home_comes_from_passwd_when_unset;
    home_is_the_users_own;
    home_of_the_config_wins;
    home_without_passwd_is_the_root;
    cwd_is_entered;
    cwd_is_created_when_missing;
    cwd_is_created_on_a_read_only_root;
    cwd_that_is_a_file_is_refused;
    cwd_is_entered_as_the_user;
    cwd_through_a_link_stays_inside;
    user_and_group_are_set;
    user_need_not_be_in_passwd;
    files_belong_to_the_user;
    standard_input_keeps_its_group;
    additional_gids_are_set;
    supplementary_groups_of_the_caller_are_dropped: Need::Program("setpriv");
    umask_is_set;
    umask_without_a_value;
    rlimits_are_set;
    rlimit_infinity;
    rlimits_above_the_callers_need_the_capability;
    rlimits_are_raised: Need::SYS_RESOURCE;
    no_new_privileges_is_set;
    no_new_privileges_is_not_set;
    no_new_privileges_disarms_setuid;
    capabilities_five_sets;
    capabilities_none_at_all;
    capabilities_absent_means_none;
    capabilities_of_another_user;
    ambient_capabilities_reach_another_user;
    inheritable_needs_no_ambient;
    bounding_set_is_the_limit;
    capabilities_beyond_the_callers_are_a_warning;
    oom_score_adj_is_set;
    oom_score_adj_is_the_callers_when_unset;
    oom_score_adj_below_the_callers_without_the_capability;
    oom_score_adj_is_lowered: Need::SYS_RESOURCE;
    personality_is_set;
    a_bad_personality_is_refused;
    a_new_session_is_made;
    signals_are_default;
    dumpable_again_after_exec;
    standard_input_is_passed;
    standard_streams_belong_to_the_user;
}

fn args_are_passed_verbatim(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/printf", "<%s>", "a b", "", "$HOME", "*", "\"q\"", "naïve\n"]);
    assert_eq!(sandbox.run().ok().text(), "<a b><><$HOME><*><\"q\"><naïve\n>");
}

fn args_of_a_megabyte(sandbox: &mut Sandbox) {
    let mut args = vec!["/bin/sh".to_owned(), "-c".into(), "echo $#".into(), "sh".into()];
    args.extend((0..1000).map(|number| format!("{number}{}", "x".repeat(1000))));
    sandbox.set("/process/args", json!(args));
    assert_eq!(sandbox.run().ok().text(), "1000");
}

/// Puts an executable script into the root filesystem.
fn script_at(sandbox: &Sandbox, path: &str, text: &str, mode: u32) {
    let file = sandbox.rootfs(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
}

fn path_lookup_uses_the_containers_path(sandbox: &mut Sandbox) {
    script_at(sandbox, "opt/tools/mytool", "echo $0", 0o755);
    sandbox.set("/process/env", json!(["PATH=/nowhere:/opt/tools:/bin"])).args(&["mytool"]);
    assert_eq!(sandbox.run().ok().text(), "/opt/tools/mytool");
}

fn path_lookup_takes_the_first_executable(sandbox: &mut Sandbox) {
    script_at(sandbox, "opt/a/mytool", "echo not executable", 0o644);
    fs::create_dir_all(sandbox.rootfs("opt/b/mytool")).unwrap();
    script_at(sandbox, "opt/c/mytool", "echo third", 0o755);
    script_at(sandbox, "opt/d/mytool", "echo fourth", 0o755);
    sandbox.set("/process/env", json!(["PATH=/opt/a:/opt/b:/opt/c:/opt/d:/bin"])).args(&["mytool"]);
    assert_eq!(sandbox.run().ok().text(), "third");
}

fn path_lookup_without_path_uses_the_default(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!([])).args(&["true"]);
    let output = sandbox.run();
    assert!(
        output.status.success() || output.stderr.contains("executable file not found in $PATH"),
        "{}",
        output.describe()
    );
}

fn path_lookup_follows_links_inside(sandbox: &mut Sandbox) {
    script_at(sandbox, "opt/real", "echo real", 0o755);
    fs::create_dir_all(sandbox.rootfs("opt/links")).unwrap();
    symlink("/opt/real", sandbox.rootfs("opt/links/mytool")).unwrap();
    sandbox.set("/process/env", json!(["PATH=/opt/links:/bin"])).args(&["mytool"]);
    assert_eq!(sandbox.run().ok().text(), "real");
}

fn a_relative_executable_is_relative_to_cwd(sandbox: &mut Sandbox) {
    script_at(sandbox, "opt/tools/mytool", "echo here", 0o755);
    sandbox.set("/process/cwd", json!("/opt")).args(&["tools/mytool"]);
    assert_eq!(sandbox.run().ok().text(), "here");
    sandbox.args(&["./tools/mytool"]);
    assert_eq!(sandbox.run().ok().text(), "here");
}

fn a_script_runs_by_its_interpreter(sandbox: &mut Sandbox) {
    script_at(sandbox, "opt/tool", "echo $0 $1", 0o755);
    sandbox.args(&["/opt/tool", "argument"]);
    assert_eq!(sandbox.run().ok().text(), "/opt/tool argument");
}

fn env_is_exactly_that_of_the_config(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["PATH=/bin", "HOME=/x", "A=1", "B=two words"])).args(&["/bin/env"]);
    let call = sandbox.begin("run", &[]).env("SECRET", "of the engine").env("LISTEN_PID", "1");
    assert_eq!(call.finish().ok().text(), "PATH=/bin\nHOME=/x\nA=1\nB=two words");
}

fn env_keeps_duplicates_and_odd_values(sandbox: &mut Sandbox) {
    let env = ["PATH=/bin", "HOME=/", "EMPTY=", "EQUALS=a=b=c", "UMLAUT=ü", "NEWLINE=a\nb", "lower.case-x=1"];
    sandbox.set("/process/env", json!(env));
    sandbox.args(&["/bin/cat", "/proc/self/environ"]);
    let output = sandbox.run().ok();
    let seen: Vec<&str> = output.stdout.split_terminator('\0').collect();
    assert_eq!(seen, env);
}

fn home_comes_from_passwd_when_unset(sandbox: &mut Sandbox) {
    sandbox.set("/process/env", json!(["PATH=/bin"]));
    assert_eq!(sandbox.prove("echo $HOME"), "/root");
}

fn home_is_the_users_own(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(sandbox.prove("echo $HOME"), "/home/user");
}

fn home_of_the_config_wins(sandbox: &mut Sandbox) {
    sandbox.set("/process/env/-", json!("HOME=/elsewhere"));
    assert_eq!(sandbox.prove("echo $HOME"), "/elsewhere");
}

fn home_without_passwd_is_the_root(sandbox: &mut Sandbox) {
    fs::remove_file(sandbox.rootfs("etc/passwd")).unwrap();
    assert_eq!(sandbox.prove("echo $HOME"), "/");
    sandbox.set("/process/user", json!({ "uid": 4242, "gid": 4242 }));
    assert_eq!(sandbox.prove("echo $HOME"), "/");
}

fn cwd_is_entered(sandbox: &mut Sandbox) {
    sandbox.set("/process/cwd", json!("/home/user"));
    assert_eq!(sandbox.prove("pwd; readlink /proc/self/cwd"), "/home/user\n/home/user");
}

fn cwd_is_created_when_missing(sandbox: &mut Sandbox) {
    sandbox.set("/process/cwd", json!("/srv/deep/er"));
    assert_eq!(sandbox.prove("pwd"), "/srv/deep/er");
    assert!(sandbox.rootfs("srv/deep/er").is_dir());
}

fn cwd_is_created_on_a_read_only_root(sandbox: &mut Sandbox) {
    sandbox.set("/process/cwd", json!("/new/deep")).set("/root/readonly", json!(true));
    assert_eq!(sandbox.prove("pwd; touch x 2>&1 | grep -c 'Read-only'"), "/new/deep\n1");
}

fn cwd_that_is_a_file_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/process/cwd", json!("/etc/passwd"));
    sandbox.refused(&["process.cwd", "/etc/passwd", "not a directory"]);
}

/// The engines' rule: what the user may enter is entered as the user, what only root may enter as root.
fn cwd_is_entered_as_the_user(sandbox: &mut Sandbox) {
    fs::create_dir(sandbox.rootfs("private")).unwrap();
    fs::set_permissions(sandbox.rootfs("private"), fs::Permissions::from_mode(0o700)).unwrap();
    chown(sandbox.rootfs("private"), Some(1000), Some(1000)).unwrap();
    sandbox.capabilities(&[]);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).set("/process/cwd", json!("/private"));
    assert_eq!(sandbox.prove("pwd"), "/private");
}

fn cwd_through_a_link_stays_inside(sandbox: &mut Sandbox) {
    symlink("/etc", sandbox.rootfs("link")).unwrap();
    sandbox.set("/process/cwd", json!("/link"));
    assert_eq!(sandbox.prove("readlink /proc/self/cwd; ls group"), "/etc\ngroup");
}

fn user_and_group_are_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1001 }));
    let seen = sandbox.prove("grep -E '^(Uid|Gid|Groups):' /proc/self/status | tr -s '\\t ' ' '");
    assert_eq!(seen, "Uid: 1000 1000 1000 1000\nGid: 1001 1001 1001 1001\nGroups: ");
}

fn user_need_not_be_in_passwd(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 4_294_967_294_u32, "gid": 12345 }));
    assert_eq!(sandbox.prove("id -u; id -g"), "4294967294\n12345");
}

fn files_belong_to_the_user(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1001 }));
    sandbox.prove("echo > /tmp/mine");
    let file = fs::metadata(sandbox.rootfs("tmp/mine")).unwrap();
    assert_eq!(
        (std::os::unix::fs::MetadataExt::uid(&file), std::os::unix::fs::MetadataExt::gid(&file)),
        (1000, 1001)
    );
}

/// The user inside may open it again; who may read it on the host by its group stays as it was.
fn standard_input_keeps_its_group(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1001 }));
    sandbox.script("cat /proc/self/fd/0");
    let input = sandbox.file("input", "given\n");
    chown(&input, Some(0), Some(4)).unwrap();
    fs::set_permissions(&input, fs::Permissions::from_mode(0o640)).unwrap();
    let output = sandbox.begin("run", &[]).stdin(std::path::Path::new(&input)).finish().ok();
    assert_eq!(output.text(), "given");
    let file = fs::metadata(&input).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::gid(&file), 4);
}

fn additional_gids_are_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5, 10, 77] }));
    assert_eq!(sandbox.prove("grep ^Groups: /proc/self/status | tr -s '\\t ' ' '"), "Groups: 5 10 77 ");
}

fn supplementary_groups_of_the_caller_are_dropped(sandbox: &mut Sandbox) {
    sandbox.script("grep ^Groups: /proc/self/status | tr -s '\\t ' ' '");
    let call = sandbox.begin("run", &[]).through(&["setpriv", "--groups", "4,20,27"]);
    assert_eq!(call.finish().ok().text(), "Groups: ");
}

fn umask_is_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/user/umask", json!(0o27));
    assert_eq!(sandbox.prove("umask; echo > /file; stat -c %a /file"), "0027\n640");
    sandbox.set("/process/user/umask", json!(0));
    assert_eq!(sandbox.prove("umask"), "0000");
}

fn umask_without_a_value(sandbox: &mut Sandbox) {
    sandbox.script("umask");
    let call = sandbox.begin("run", &[]).through(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let seen = call.finish().ok();
    assert!(["0022", "0077"].contains(&seen.text()), "0022 as runc, or the caller's: {}", seen.describe());
}

fn rlimits_are_set(sandbox: &mut Sandbox) {
    let kinds = [
        ("RLIMIT_AS", "Max address space", 1_u64 << 40),
        ("RLIMIT_CORE", "Max core file size", 1000),
        ("RLIMIT_CPU", "Max cpu time", 2000),
        ("RLIMIT_DATA", "Max data size", 1 << 34),
        ("RLIMIT_FSIZE", "Max file size", 1 << 30),
        ("RLIMIT_LOCKS", "Max file locks", 3000),
        ("RLIMIT_MEMLOCK", "Max locked memory", 65536),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 4000),
        ("RLIMIT_NICE", "Max nice priority", 0),
        ("RLIMIT_NOFILE", "Max open files", 500),
        ("RLIMIT_NPROC", "Max processes", 600),
        ("RLIMIT_RSS", "Max resident set", 1 << 33),
        ("RLIMIT_RTPRIO", "Max realtime priority", 0),
        ("RLIMIT_RTTIME", "Max realtime timeout", 5000),
        ("RLIMIT_SIGPENDING", "Max pending signals", 700),
        ("RLIMIT_STACK", "Max stack size", 1 << 23),
    ];
    let entry =
        |&(kind, _, hard): &(&str, &str, u64)| json!({ "type": kind, "hard": hard, "soft": hard / 2 });
    sandbox.set("/process/rlimits", Value::Array(kinds.iter().map(entry).collect()));
    let seen = sandbox.prove("cat /proc/self/limits");
    for (kind, name, hard) in kinds {
        let line =
            seen.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {seen}"));
        let words: Vec<&str> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [(hard / 2).to_string(), hard.to_string()], "{kind}: {line}");
    }
}

fn rlimit_infinity(sandbox: &mut Sandbox) {
    let entry = json!([{ "type": "RLIMIT_CPU", "hard": u64::MAX, "soft": u64::MAX }]);
    sandbox.set("/process/rlimits", entry);
    assert_eq!(sandbox.prove("ulimit -t; ulimit -Ht"), "unlimited\nunlimited");
}

fn rlimits_above_the_callers_need_the_capability(sandbox: &mut Sandbox) {
    sandbox.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "hard": 4000, "soft": 4000 }]));
    let weak =
        ["setpriv", "--bounding-set", "-sys_resource", "sh", "-c", "ulimit -n 3000; exec \"$@\"", "sh"];
    let output = sandbox.begin("create", &[]).through(&weak).finish();
    let output = output.error(&["process.rlimits[0]", "RLIMIT_NOFILE", "operation not permitted"]);
    sandbox.clean(&output);
}

fn rlimits_are_raised(sandbox: &mut Sandbox) {
    sandbox.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "hard": 4000, "soft": 4000 }]));
    sandbox.script("ulimit -Hn");
    let low = ["sh", "-c", "ulimit -n 3000; exec \"$@\"", "sh"];
    assert_eq!(sandbox.begin("run", &[]).through(&low).finish().ok().text(), "4000");
}

fn no_new_privileges_is_set(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1");
}

fn no_new_privileges_is_not_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false));
    assert_eq!(sandbox.prove("grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t0");
    sandbox.unset("/process/noNewPrivileges");
    assert_eq!(sandbox.prove("grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t0");
}

fn no_new_privileges_disarms_setuid(sandbox: &mut Sandbox) {
    fs::copy(sandbox.rootfs("bin/busybox"), sandbox.rootfs("bin/cat-setuid")).unwrap();
    fs::remove_file(sandbox.rootfs("bin/cat")).unwrap();
    fs::rename(sandbox.rootfs("bin/cat-setuid"), sandbox.rootfs("bin/cat")).unwrap();
    fs::set_permissions(sandbox.rootfs("bin/cat"), fs::Permissions::from_mode(0o4755)).unwrap();
    sandbox.capabilities(&["CAP_SETUID", "CAP_SETGID"]);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let script = "cat /proc/self/status | grep ^Uid | tr -s '\\t' ' '";
    assert_eq!(sandbox.prove(script), "Uid: 1000 1000 1000 1000");
}

/// Runs the process and returns its five sets: inheritable, permitted, effective, bounding, ambient.
#[track_caller]
fn sets(sandbox: &mut Sandbox) -> [u64; 5] {
    let seen = sandbox.prove("cat /proc/self/status");
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| {
        let line = seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        u64::from_str_radix(line.unwrap(), 16).unwrap()
    })
}

const CHOWN: u64 = 1;
const DAC_OVERRIDE: u64 = 1 << 1;
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;

fn capabilities_five_sets(sandbox: &mut Sandbox) {
    sandbox.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
            "ambient": ["CAP_KILL"],
            "effective": ["CAP_CHOWN"]
        }),
    );
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).script("sleep 100");
    // What execve makes of them for a user that is not root: ambient ones stay permitted and effective.
    let [inheritable, permitted, effective, bounding, ambient] = sets(sandbox);
    assert_eq!(bounding, CHOWN | DAC_OVERRIDE | KILL | NET_RAW);
    assert_eq!(inheritable, KILL | NET_RAW);
    assert_eq!((permitted, effective, ambient), (KILL, KILL, KILL));
}

fn capabilities_none_at_all(sandbox: &mut Sandbox) {
    sandbox.capabilities(&[]);
    assert_eq!(sets(sandbox), [0; 5]);
}

fn capabilities_absent_means_none(sandbox: &mut Sandbox) {
    sandbox.unset("/process/capabilities");
    let [inheritable, _, _, _, ambient] = sets(sandbox);
    assert_eq!((inheritable, ambient), (0, 0));
}

fn capabilities_of_another_user(sandbox: &mut Sandbox) {
    sandbox
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .capabilities(&["CAP_KILL", "CAP_CHOWN"]);
    assert_eq!(sets(sandbox), [0, 0, 0, KILL | CHOWN, 0], "nothing is handed through execve without ambient");
}

fn ambient_capabilities_reach_another_user(sandbox: &mut Sandbox) {
    let caps = json!(["CAP_CHOWN"]);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    sandbox.set(
        "/process/capabilities",
        json!({ "bounding": caps, "permitted": caps, "inheritable": caps, "ambient": caps, "effective": caps }),
    );
    assert_eq!(sandbox.prove("echo > /tmp/x; chown 7 /tmp/x; stat -c %u /tmp/x"), "7");
    assert_eq!(sets(sandbox), [CHOWN; 5]);
}

fn inheritable_needs_no_ambient(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_KILL"]).set("/process/capabilities/inheritable", json!(["CAP_KILL"]));
    assert_eq!(sets(sandbox), [KILL, KILL, KILL, KILL, 0]);
}

fn bounding_set_is_the_limit(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_KILL"]);
    assert_eq!(sets(sandbox)[1..4], [KILL; 3], "root in the container gets what is bounding, no more");
    let seen = sandbox.prove("echo > /x; chown 7 /x 2>&1; stat -c %u /x");
    assert!(seen.contains("Operation not permitted") && seen.ends_with('0'), "{seen}");
}

/// Engines ask for more than they have (podman --privileged in a container): what the caller lacks cannot be given
/// and is left out with a warning, as every runtime does.
fn capabilities_beyond_the_callers_are_a_warning(sandbox: &mut Sandbox) {
    sandbox.capabilities(&["CAP_KILL", "CAP_NET_RAW"]);
    sandbox.script("grep CapBnd /proc/self/status");
    let words = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"];
    let output = sandbox.begin("run", &[]).through(&words).finish();
    if output.status.success() {
        let mask = u64::from_str_radix(output.text().trim_start_matches("CapBnd:\t"), 16).unwrap();
        assert_eq!(mask, KILL, "{}", output.describe());
    } else {
        output.error(&["process.capabilities", "CAP_NET_RAW"]);
    }
}

fn oom_score_adj_is_set(sandbox: &mut Sandbox) {
    sandbox.set("/process/oomScoreAdj", json!(321));
    assert_eq!(sandbox.prove("cat /proc/self/oom_score_adj"), "321");
}

fn oom_score_adj_is_the_callers_when_unset(sandbox: &mut Sandbox) {
    sandbox.script("cat /proc/self/oom_score_adj");
    let words = ["sh", "-c", "echo 55 > /proc/self/oom_score_adj; exec \"$@\"", "sh"];
    assert_eq!(sandbox.begin("run", &[]).through(&words).finish().ok().text(), "55");
}

fn oom_score_adj_below_the_callers_without_the_capability(sandbox: &mut Sandbox) {
    sandbox.set("/process/oomScoreAdj", json!(-500));
    let words = ["setpriv", "--bounding-set", "-sys_resource"];
    let output = sandbox.begin("create", &[]).through(&words).finish();
    let output = output.error(&["process.oomScoreAdj", "permission denied"]);
    sandbox.clean(&output);
}

fn oom_score_adj_is_lowered(sandbox: &mut Sandbox) {
    sandbox.set("/process/oomScoreAdj", json!(-500));
    assert_eq!(sandbox.prove("cat /proc/self/oom_score_adj"), "-500");
}

fn personality_is_set(sandbox: &mut Sandbox) {
    sandbox.set("/linux/personality", json!({ "domain": "LINUX32" }));
    assert_eq!(sandbox.prove("uname -m"), if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" });
    sandbox.set("/linux/personality", json!({ "domain": "LINUX" }));
    assert_eq!(sandbox.prove("uname -m"), std::env::consts::ARCH);
}

fn a_bad_personality_is_refused(sandbox: &mut Sandbox) {
    sandbox.set("/linux/personality", json!({ "domain": "SOLARIS" }));
    sandbox.refused(&["linux.personality.domain"]);
}

fn a_new_session_is_made(sandbox: &mut Sandbox) {
    // Fields 4 to 7 of stat: parent, process group, session, terminal.
    assert_eq!(sandbox.prove("cut -d ' ' -f 4-7 /proc/1/stat"), "0 1 1 0");
}

fn signals_are_default(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    let words = ["sh", "-c", "trap '' INT QUIT PIPE; exec \"$@\"", "sh"];
    sandbox.begin("create", &[]).through(&words).finish().ok();
    sandbox.start();
    let field = |name: &str| status_field(sandbox.pid(), name).unwrap();
    assert_eq!(u64::from_str_radix(&field("SigBlk"), 16).unwrap(), 0, "blocked");
    assert_eq!(u64::from_str_radix(&field("SigIgn"), 16).unwrap() & (1 << 12), 0, "SIGPIPE is ignored");
}

fn dumpable_again_after_exec(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("stat -c %u /proc/self/environ; cat /proc/self/environ | wc -l"), "0\n0");
}

fn standard_input_is_passed(sandbox: &mut Sandbox) {
    let input = sandbox.file("input", "some words\n");
    sandbox.args(&["/bin/cat"]);
    let call = sandbox.begin("run", &[]).stdin(std::path::Path::new(&input));
    assert_eq!(call.finish().ok().text(), "some words");
}

/// A process that is not root opens /dev/stdout anew (servers that log there do): the pipe must be its own.
fn standard_streams_belong_to_the_user(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).script("echo out > /dev/stdout");
    let output = sandbox.begin("run", &[]).through(&["sh", "-c", "\"$@\" 2>&1 | cat", "sh"]).finish();
    assert_eq!(output.text(), "out");
}
