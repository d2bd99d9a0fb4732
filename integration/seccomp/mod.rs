//! linux.seccomp, proven by programs that make the calls (config-linux.md, Seccomp).

mod agent;
pub(crate) mod cache;
pub(crate) mod exec;
pub(crate) mod notify;
mod program;

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Need, Sandbox, status_field};
use program::Program;

cases! {
    the_filter_is_there;
    dockers_profile: Need::Machine("x86_64");
    dockers_profile_on_32_bits: Need::Machine("x86_64");
    the_actions: Need::Machine("x86_64");
    deadly_actions: Need::Machine("x86_64");
    errno_by_default: Need::Machine("x86_64");
    operators_take_64_bits: Need::Machine("x86_64");
    all_arguments_of_a_rule: Need::Machine("x86_64");
    the_first_of_two_rules_counts: Need::Machine("x86_64");
    any_of_several_conditions_on_one_argument: Need::Machine("x86_64");
    architectures_that_are_not_listed: Need::Machine("x86_64");
    calls_newer_than_the_profile: Need::Machine("x86_64");
    calls_newer_than_a_deadly_profile: Need::Machine("x86_64");
    unknown_names_are_skipped;
    nothing_but_the_program_itself: Need::Machine("x86_64");
    nothing_but_the_program_itself_without_no_new_privs: Need::Machine("x86_64");
    without_no_new_privs_no_capability_is_left;
    without_no_new_privs_hooks_get_no_capability;
    without_no_new_privs_in_a_user_namespace: Need::UserNamespaces;
    flags_reach_the_kernel: Need::Program("strace");
    an_unrunnable_program_is_reported;
    mistakes_are_named;
    names_that_nobody_knows_are_refused;
    a_kernel_without_seccomp_is_named;
    features_say_what_is_there;
    the_examples_of_the_document;
}

/// Docker's profile.
pub(crate) fn docker() -> Value {
    serde_json::from_str(include_str!("default.json")).unwrap()
}

/// A profile that allows all but these rules.
pub(crate) fn but(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

/// A profile that allows only these names.
fn only(default: &str, names: &[&str]) -> Value {
    json!({ "defaultAction": default, "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] })
}

// Numbers of x86-64.
const SCHED_YIELD: u64 = 24;
const GETPID: u64 = 39;
const SOCKET: u64 = 41;
const PERSONALITY: u64 = 135;
const MOUNT: u64 = 165;
const UNSHARE: u64 = 272;
const CLONE3: u64 = 435;

const EPERM: i64 = -1;
const ENOSYS: i64 = -38;

fn the_filter_is_there(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    let text = sandbox.prove("grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status");
    assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
    let (own, before) = (field(&text, "Seccomp_filters"), status_field(1, "Seccomp_filters"));
    if let (Some(own), Some(before)) = (own, before) {
        assert_eq!(own.parse(), before.parse::<u32>().map(|count| count + 1), "one filter: {text}");
    }
    sandbox.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    assert!(sandbox.prove("cat /proc/self/status").contains("Seccomp:\t2"), "also without any rule");
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn dockers_profile(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    let program = Program::new()
        .call(MOUNT, &[0, 0, 0, 0, 0])
        .call(UNSHARE, &[0])
        .call(CLONE3, &[0, 0])
        .call(SOCKET, &[40, 1, 0])
        .call(PERSONALITY, &[0xffff_ffff])
        .call(PERSONALITY, &[4])
        .call(SCHED_YIELD, &[])
        .call(9999, &[]);
    assert_eq!(program.run(sandbox), [EPERM, EPERM, ENOSYS, EPERM, 0, EPERM, 0, ENOSYS]);
    assert_eq!(
        sandbox.prove("echo $(ls / | head -1); chroot / true; sleep 0; mount -t proc p /mnt || echo no"),
        "bin\nno"
    );
}

fn dockers_profile_on_32_bits(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    // getpid, umount, mount, unshare, and numbers that nobody has.
    let program = Program::new()
        .call32(20, &[])
        .call32(22, &[0])
        .call32(21, &[0, 0, 0])
        .call32(310, &[0])
        .call32(9999, &[])
        .call((1 << 30) + GETPID, &[])
        .call((1 << 30) + 9999, &[]);
    let results = program.run(sandbox);
    assert_eq!(results[..5], [1, EPERM, EPERM, EPERM, ENOSYS]);
    assert!(
        results[5] == 1 || results[5] == ENOSYS,
        "x32 passes the filter; few kernels have it: {results:?}"
    );
    assert_eq!(results[6], ENOSYS);
}

fn the_actions(sandbox: &mut Sandbox) {
    let rules = json!([
        { "names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 },
        { "names": ["getppid"], "action": "SCMP_ACT_ERRNO" },
        { "names": ["getuid"], "action": "SCMP_ACT_TRACE", "errnoRet": 5 },
        { "names": ["getgid"], "action": "SCMP_ACT_TRACE" },
        { "names": ["getpid"], "action": "SCMP_ACT_LOG" },
        { "names": ["gettid"], "action": "SCMP_ACT_ALLOW" },
        { "names": ["geteuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 },
    ]);
    sandbox.set("/linux/seccomp", but(rules));
    let calls = [SCHED_YIELD, 110, 102, 104, GETPID, 186, 107];
    let program = calls.into_iter().fold(Program::new(), |program, number| program.call(number, &[]));
    assert_eq!(program.run(sandbox), [-77, EPERM, ENOSYS, ENOSYS, 1, 1, 0], "a tracer is not there");
}

fn deadly_actions(sandbox: &mut Sandbox) {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        sandbox.set("/linux/seccomp", but(json!([{ "names": ["sched_yield"], "action": action }])));
        Program::new().call(SCHED_YIELD, &[]).install(sandbox);
        // 128 and SIGSYS
        assert_eq!(sandbox.run().code(159).stdout, "", "{action}");
        Program::new().call(GETPID, &[]).run(sandbox);
    }
}

fn errno_by_default(sandbox: &mut Sandbox) {
    let names = ["execve", "write", "exit_group"];
    let program = || Program::new().call(SCHED_YIELD, &[]).call(GETPID, &[]);
    let mut profile = only("SCMP_ACT_ERRNO", &names);
    sandbox.set("/linux/seccomp", profile.clone());
    assert_eq!(program().run(sandbox), [EPERM, EPERM]);
    profile["defaultErrnoRet"] = json!(95);
    sandbox.set("/linux/seccomp", profile.clone());
    assert_eq!(program().run(sandbox), [-95, -95]);
    profile["defaultErrnoRet"] = json!(4094);
    sandbox.set("/linux/seccomp", profile);
    assert_eq!(program().run(sandbox), [-4094, -4094]);
    let mut traced = only("SCMP_ACT_TRACE", &names);
    traced["defaultErrnoRet"] = json!(7);
    sandbox.set("/linux/seccomp", traced);
    assert_eq!(program().run(sandbox), [ENOSYS, ENOSYS]);
}

/// Whether a value matches.
type Holds = fn(u64) -> bool;

fn operators_take_64_bits(sandbox: &mut Sandbox) {
    const BIG: u64 = 0x1234_5678_9abc_def0;
    let values = [0, 5, BIG & 0xffff_ffff, BIG - 1, BIG, BIG + 1, BIG | 1 << 63, u64::MAX];
    let masked = |value: u64| value & 0xffff_0000_0000_ffff == 0x1234_0000_0000_def0;
    let operators: [(&str, Holds); 6] = [
        ("SCMP_CMP_NE", |value| value != BIG),
        ("SCMP_CMP_LT", |value| value < BIG),
        ("SCMP_CMP_LE", |value| value <= BIG),
        ("SCMP_CMP_EQ", |value| value == BIG),
        ("SCMP_CMP_GE", |value| value >= BIG),
        ("SCMP_CMP_GT", |value| value > BIG),
    ];
    let program = || {
        values.into_iter().fold(Program::new(), |program, value| program.call(SCHED_YIELD, &[0, 0, value]))
    };
    let rule = |args: Value| json!([{ "names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args }]);
    for (operator, holds) in operators {
        sandbox.set("/linux/seccomp", but(rule(json!([{ "index": 2, "value": BIG, "op": operator }]))));
        let expected: Vec<i64> = values.iter().map(|&value| if holds(value) { -99 } else { 0 }).collect();
        assert_eq!(program().run(sandbox), expected, "{operator}");
    }
    let arg = json!([{ "index": 2, "value": 0xffff_0000_0000_ffff_u64, "valueTwo": 0x1234_0000_0000_def0_u64,
                       "op": "SCMP_CMP_MASKED_EQ" }]);
    sandbox.set("/linux/seccomp", but(rule(arg)));
    let expected: Vec<i64> = values.iter().map(|&value| if masked(value) { -99 } else { 0 }).collect();
    assert_eq!(program().run(sandbox), expected);
    assert!(expected.contains(&-99));
}

fn all_arguments_of_a_rule(sandbox: &mut Sandbox) {
    let args: Vec<Value> =
        (0..6).map(|index| json!({ "index": index, "value": index + 10, "op": "SCMP_CMP_EQ" })).collect();
    let rules =
        json!([{ "names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args }]);
    sandbox.set("/linux/seccomp", but(rules));
    let mut program = Program::new().call(SCHED_YIELD, &[10, 11, 12, 13, 14, 15]);
    for wrong in 0..6 {
        let mut values = [10, 11, 12, 13, 14, 15];
        values[wrong] = 0;
        program = program.call(SCHED_YIELD, &values);
    }
    assert_eq!(program.run(sandbox), [-99, 0, 0, 0, 0, 0, 0]);
}

fn any_of_several_conditions_on_one_argument(sandbox: &mut Sandbox) {
    let arg = |value: u64| json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" });
    let rules = json!([{ "names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "args": [arg(1), arg(2)] }]);
    sandbox.set("/linux/seccomp", but(rules));
    let program = (0..4).fold(Program::new(), |program, value| program.call(SCHED_YIELD, &[value]));
    assert_eq!(program.run(sandbox), [0, EPERM, EPERM, 0]);
}

fn the_first_of_two_rules_counts(sandbox: &mut Sandbox) {
    let rule =
        |errno: u32| json!({ "names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno });
    sandbox.set("/linux/seccomp", but(json!([rule(7), rule(8)])));
    assert_eq!(Program::new().call(SCHED_YIELD, &[]).run(sandbox), [-7]);
}

fn architectures_that_are_not_listed(sandbox: &mut Sandbox) {
    let names = ["execve", "write", "exit_group", "getpid"];
    let mut profile = only("SCMP_ACT_ERRNO", &names);
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    sandbox.set("/linux/seccomp", profile.clone());
    Program::new().call32(20, &[]).install(sandbox);
    sandbox.run().code(159);
    profile["architectures"] = json!(["SCMP_ARCH_X86"]);
    sandbox.set("/linux/seccomp", profile.clone());
    // The native architecture is always there.
    let program = Program::new().call32(20, &[]).call32(24, &[]).call(GETPID, &[]).call(SCHED_YIELD, &[]);
    assert_eq!(program.run(sandbox), [1, EPERM, 1, EPERM]);
    // All that libseccomp knows fit into one filter, where they have the byte order of this machine.
    let features = sandbox.bare(&["features"]).finish().ok();
    let features: Value = serde_json::from_str(&features.stdout).unwrap();
    profile["architectures"] = features["linux"]["seccomp"]["archs"].clone();
    sandbox.set("/linux/seccomp", profile);
    let program = Program::new().call32(20, &[]).call(GETPID, &[]).call(SCHED_YIELD, &[]);
    assert_eq!(program.run(sandbox), [1, 1, EPERM]);
}

fn calls_newer_than_the_profile(sandbox: &mut Sandbox) {
    // The largest number is that of epoll_pwait2, 441.
    let names = ["execve", "write", "exit_group", "epoll_pwait2"];
    let program = || Program::new().call(440, &[]).call(442, &[]).call(9999, &[]).call(SCHED_YIELD, &[]);
    sandbox.set("/linux/seccomp", only("SCMP_ACT_ERRNO", &names));
    assert_eq!(
        program().run(sandbox),
        [EPERM, ENOSYS, ENOSYS, EPERM],
        "440 is process_madvise, and forbidden"
    );
    let named = ["execve", "write", "exit_group", "epoll_pwait2", "mount_setattr"];
    let mut profile = only("SCMP_ACT_ERRNO", &names);
    let rules = profile["syscalls"].as_array_mut().unwrap();
    rules.push(json!({ "names": [named[4]], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }));
    sandbox.set("/linux/seccomp", profile);
    assert_eq!(program().run(sandbox), [EPERM, EPERM, ENOSYS, EPERM], "442 is mount_setattr, and now known");
}

fn calls_newer_than_a_deadly_profile(sandbox: &mut Sandbox) {
    for default in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        sandbox.set("/linux/seccomp", only(default, &["execve", "write", "exit_group"]));
        assert_eq!(Program::new().call(9999, &[]).run(sandbox), [ENOSYS], "{default}");
        Program::new().call(SCHED_YIELD, &[]).install(sandbox);
        sandbox.run().code(159);
    }
}

fn unknown_names_are_skipped(sandbox: &mut Sandbox) {
    let rules = json!([{ "names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }]);
    sandbox.set("/linux/seccomp", but(rules)).script("mkdir /tmp/x");
    // The second finds the program in the cache, and says the same.
    for _ in 0..2 {
        let (bundle, log) = (sandbox.path("bundle"), sandbox.path("log"));
        sandbox.write_config();
        let words = ["--debug", "--log", &log, "run", "--bundle", &bundle, &sandbox.token];
        let output = sandbox.onggi(&words).finish().code(1);
        assert!(output.stderr.contains("No space left on device"), "{}", output.describe());
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("unknown system call")).collect();
        assert!(lines.len() == 1 && lines[0].contains("no_such_call"), "{text}");
        assert!(lines[0].contains("level=debug"), "{text}");
    }
}

/// A profile without anything that the runtime itself needs: all of it must be done when the filter is loaded.
const LEAST: &[&str] = &["execve", "write", "exit_group"];

#[track_caller]
fn runs_with_the_least(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", only("SCMP_ACT_KILL_PROCESS", LEAST));
    let hook =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo started >/tmp/hook"], "env": ["PATH=/bin"] }]);
    sandbox.set("/hooks", json!({ "startContainer": hook }));
    let many: Vec<String> = (0..5000).map(|number| format!("VARIABLE_{number}={}", "x".repeat(50))).collect();
    for env in [json!(["PATH=/bin"]), json!(many)] {
        sandbox.set("/process/env", env);
        assert!(Program::new().run(sandbox).is_empty());
        assert_eq!(fs::read_to_string(sandbox.rootfs("/tmp/hook")).unwrap(), "started\n");
    }
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    sandbox.delete();
}

fn nothing_but_the_program_itself(sandbox: &mut Sandbox) {
    runs_with_the_least(sandbox);
}

fn nothing_but_the_program_itself_without_no_new_privs(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false));
    runs_with_the_least(sandbox);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    fs::set_permissions(sandbox.rootfs("/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .unwrap();
    fs::remove_file(sandbox.rootfs("/tmp/hook")).unwrap();
    runs_with_the_least(sandbox);
}

const SETS: &str = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status";

/// What the process reads of itself with and without a filter, which must be the same but for the filter.
#[track_caller]
fn same_with_a_filter(sandbox: &mut Sandbox) -> String {
    sandbox.unset("/linux/seccomp");
    let without = sandbox.prove(SETS);
    sandbox.set("/linux/seccomp", docker());
    let with = sandbox.prove(SETS);
    assert_eq!(with.replace("Seccomp:\t2", "Seccomp:\t0"), without);
    assert!(with.contains("Seccomp:\t2") && with.contains("NoNewPrivs:\t0"), "{with}");
    with
}

fn without_no_new_privs_no_capability_is_left(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false)).set("/linux/seccomp", docker());
    let kill = ["CAP_KILL"];
    for user in [0, 1000] {
        sandbox.set("/process/user", json!({ "uid": user, "gid": user }));
        for ambient in [&kill[..0], &kill] {
            sandbox.set(
                "/process/capabilities",
                json!({ "bounding": kill, "effective": kill, "permitted": kill, "inheritable": ambient, "ambient": ambient }),
            );
            let seen = same_with_a_filter(sandbox);
            // CAP_KILL is bit 5, CAP_SYS_ADMIN bit 21.
            let expected =
                if user == 0 || !ambient.is_empty() { "0000000000000020" } else { "0000000000000000" };
            for set in ["CapPrm", "CapEff"] {
                assert_eq!(field(&seen, set), Some(expected), "user {user} ambient {ambient:?}: {seen}");
            }
            assert_eq!(field(&seen, "CapBnd"), Some("0000000000000020"), "{seen}");
        }
    }
}

fn without_no_new_privs_hooks_get_no_capability(sandbox: &mut Sandbox) {
    sandbox.set("/process/noNewPrivileges", json!(false)).set("/linux/seccomp", docker());
    sandbox.capabilities(&["CAP_KILL"]);
    let script = "grep ^Cap /proc/self/status >/tmp/caps";
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"] }]);
    sandbox.set("/hooks", json!({ "startContainer": hook }));
    for user in [0, 1000] {
        sandbox.set("/process/user", json!({ "uid": user, "gid": user }));
        sandbox.run().ok();
        let caps = fs::read_to_string(sandbox.rootfs("/tmp/caps")).unwrap();
        fs::remove_file(sandbox.rootfs("/tmp/caps")).unwrap();
        let held = if user == 0 { "0000000000000020" } else { "0000000000000000" };
        assert_eq!((field(&caps, "CapEff"), field(&caps, "CapPrm")), (Some(held), Some(held)), "{caps}");
        assert_eq!(field(&caps, "CapAmb"), Some("0000000000000000"));
    }
}

fn without_no_new_privs_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.set("/process/noNewPrivileges", json!(false)).set("/linux/seccomp", docker());
    same_with_a_filter(sandbox);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    same_with_a_filter(sandbox);
}

fn flags_reach_the_kernel(sandbox: &mut Sandbox) {
    let flags = [
        (json!([]), "0, {"),
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), "SECCOMP_FILTER_FLAG_LOG, {"),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), "SECCOMP_FILTER_FLAG_TSYNC, {"),
        (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), "SECCOMP_FILTER_FLAG_SPEC_ALLOW, {"),
    ];
    for (flags, shown) in flags {
        sandbox.set("/linux/seccomp", docker()).set("/linux/seccomp/flags", flags);
        let trace = sandbox.path("trace");
        let words = ["strace", "-f", "-o", &trace, "-e", "trace=seccomp"];
        sandbox.begin("run", &[]).through(&words).limit(60).finish().ok();
        let text = fs::read_to_string(&trace).unwrap();
        let loads =
            text.lines().filter(|line| line.contains("SECCOMP_SET_MODE_FILTER") && line.contains("= 0"));
        let loads: Vec<&str> = loads.collect();
        assert!(loads.len() == 1 && loads[0].contains(shown), "{shown}: {text}");
    }
    let killable = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    sandbox.set("/linux/seccomp/flags", json!([killable]));
    sandbox.refused(&["linux.seccomp.flags", killable, "SCMP_ACT_NOTIFY"]);
}

fn an_unrunnable_program_is_reported(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    fs::write(sandbox.rootfs("/program"), "no program").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(sandbox.rootfs("/program"), mode).unwrap();
    sandbox.args(&["/program"]);
    sandbox.run().error(&["process.args[0]", "execve(\"/program\")", "ENOEXEC"]);
    sandbox.create();
    let started = sandbox.onggi(&["start", &sandbox.token]).finish();
    started.error(&["process.args[0]", "execve(\"/program\")", "ENOEXEC"]);
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
}

fn mistakes_are_named(sandbox: &mut Sandbox) {
    let rule = |more: Value| {
        let mut rule = json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        but(json!([rule]))
    };
    let arg = |arg: Value| rule(json!({ "args": [arg] }));
    let with = |more: Value| {
        let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        profile.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        profile
    };
    let cases = [
        (
            with(json!({ "defaultErrnoRet": 1 })),
            "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno",
        ),
        (
            with(json!({ "defaultAction": "SCMP_ACT_NOTIFY" })),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot",
        ),
        (with(json!({ "listenerMetadata": "m" })), "linux.seccomp.listenerMetadata: without listenerPath"),
        (rule(json!({ "names": [] })), "linux.seccomp.syscalls[0].names: is empty"),
        (rule(json!({ "names": ["a", ""] })), "linux.seccomp.syscalls[0].names[1] \"\": not a name"),
        (
            rule(json!({ "action": "SCMP_ACT_KILL", "errnoRet": 1 })),
            "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL takes no errno",
        ),
        (rule(json!({ "errnoRet": 4095 })), "linux.seccomp.syscalls[0].errnoRet: 4095 is more than 4094"),
        (
            rule(json!({ "action": "SCMP_ACT_TRACE", "errnoRet": 65536 })),
            "linux.seccomp.syscalls[0].errnoRet: 65536 is more than 65535",
        ),
        (rule(json!({ "action": "SCMP_ACT_NOTIFY" })), "linux.seccomp.listenerPath: missing"),
        (
            arg(json!({ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" })),
            "linux.seccomp.syscalls[0].args[0]: index 6 is not between 0 and 5",
        ),
        (
            arg(json!({ "index": 0, "value": 0, "valueTwo": 1, "op": "SCMP_CMP_EQ" })),
            "linux.seccomp.syscalls[0].args[0]: valueTwo is for SCMP_CMP_MASKED_EQ",
        ),
    ];
    for (profile, expected) in cases {
        sandbox.set("/linux/seccomp", profile);
        sandbox.refused(&[expected]);
    }
}

fn names_that_nobody_knows_are_refused(sandbox: &mut Sandbox) {
    let cases = [
        ("/defaultAction", json!("SCMP_ACT_PERHAPS"), "linux.seccomp.defaultAction"),
        ("/architectures", json!(["SCMP_ARCH_Z80"]), "linux.seccomp.architectures[0]"),
        ("/flags", json!(["SECCOMP_FILTER_FLAG_NEW_LISTENER"]), "linux.seccomp.flags[0]"),
        ("/syscalls", json!([{ "names": ["a"], "action": "ALLOW" }]), "linux.seccomp.syscalls[0].action"),
        (
            "/syscalls",
            json!([{ "names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 0, "op": "=" }] }]),
            "linux.seccomp.syscalls[0].args[0].op",
        ),
        (
            "/syscalls",
            json!([{ "names": ["a"], "action": "SCMP_ACT_ERRNO",
                     "args": [{ "index": 0, "value": -1, "op": "SCMP_CMP_EQ" }] }]),
            "linux.seccomp.syscalls[0].args[0].value",
        ),
    ];
    for (pointer, value, expected) in cases {
        sandbox.set("/linux/seccomp", docker()).set(&format!("/linux/seccomp{pointer}"), value);
        sandbox.refused(&[expected]);
    }
    // SCMP_ARCH_LOONGARCH64 is newer than libseccomp 2.5, SCMP_ARCH_PPC of another byte order than x86 and ARM.
    sandbox.set("/linux/seccomp", docker()).set("/linux/seccomp/architectures/-", json!("SCMP_ARCH_PPC"));
    if cfg!(target_endian = "little") {
        sandbox.refused(&["linux.seccomp.architectures[3] \"SCMP_ARCH_PPC\"", "seccomp_arch_add"]);
    }
}

fn a_kernel_without_seccomp_is_named(sandbox: &mut Sandbox) {
    sandbox.set("/linux/seccomp", docker());
    let output = sandbox.begin("create", &[]).without("seccomp").finish();
    let output = output.error(&["linux.seccomp: ", "seccomp(SECCOMP_SET_MODE_FILTER)", "ENOSYS"]);
    sandbox.clean(&output);
}

fn features_say_what_is_there(sandbox: &mut Sandbox) {
    let output = sandbox.bare(&["features"]).finish().ok();
    let features: Value = serde_json::from_str(&output.stdout).unwrap();
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    let lists = |name: &str, wanted: &[&str]| {
        let list: Vec<String> = serde_json::from_value(seccomp[name].clone()).unwrap();
        let lacks: Vec<_> = wanted.iter().filter(|one| !list.iter().any(|it| it == **one)).collect();
        assert!(lacks.is_empty(), "{name} lacks {lacks:?}: {list:?}");
    };
    let actions = "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP";
    let actions: Vec<String> = actions.split(' ').map(|name| format!("SCMP_ACT_{name}")).collect();
    lists("actions", &actions.iter().map(String::as_str).collect::<Vec<_>>());
    let operators = "NE LT LE EQ GE GT MASKED_EQ";
    let operators: Vec<String> = operators.split(' ').map(|name| format!("SCMP_CMP_{name}")).collect();
    lists("operators", &operators.iter().map(String::as_str).collect::<Vec<_>>());
    if cfg!(target_arch = "x86_64") {
        lists("archs", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]);
    }
    let flags = ["TSYNC", "LOG", "SPEC_ALLOW"].map(|name| format!("SECCOMP_FILTER_FLAG_{name}"));
    lists("supportedFlags", &flags.each_ref().map(String::as_str));
    let killable = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    lists("knownFlags", &[killable]);
    let supported: Vec<String> = serde_json::from_value(seccomp["supportedFlags"].clone()).unwrap();
    let new = Need::Kernel(5, 19, "killable waits").is_met(sandbox.layout);
    assert_eq!(supported.iter().any(|flag| flag == killable), new, "{supported:?}");
}

/// Each profile of docs/seccomp.md, and the lines of a shell that follow it.
fn the_examples_of_the_document(sandbox: &mut Sandbox) {
    let blocks = include_str!("../../docs/seccomp.md").split("```").skip(1).step_by(2);
    let (mut profile, mut examples) = (Value::Null, 0);
    for block in blocks {
        if let Some(json) = block.strip_prefix("json\n") {
            profile = serde_json::from_str(json).unwrap();
            sandbox.set("/linux/seccomp", profile.clone()).write_config();
            sandbox.onggi(&["plan", "--bundle", &sandbox.path("bundle")]).finish().ok();
        } else if let Some(lines) = block.strip_prefix("console\n") {
            sandbox.set("/linux/seccomp", profile.clone());
            let mut script = String::from("exec 2>&1\n");
            let mut expected = String::new();
            for line in lines.lines() {
                match line.strip_prefix("$ ") {
                    Some(command) => script.push_str(&format!("{command}\n")),
                    None => expected.push_str(&format!("{line}\n")),
                }
            }
            sandbox.script(&script);
            assert_eq!(sandbox.run().stdout, expected, "{script}");
            examples += 1;
        }
    }
    assert_eq!(examples, 2, "what the document promises is run");
}
