//! config.md, Process, POSIX process, Linux Process and User: what the container process is born with.

use std::fs;

use serde_json::{Value, json};

use crate::console::Console;
use crate::harness::{Layout, Need, Sandbox};
use crate::worker::skip;

clauses! {
    500 MUST "Process", "give the process a terminal on its standard streams if terminal is true"
        => terminal_is_on_the_standard_streams;
    501 MUST "Process", "give it no terminal by default" => no_terminal_by_default;
    502 MUST "Process", "ignore consoleSize without a terminal" => console_size_is_ignored_without_a_terminal;
    503 MUST "Process", "give the terminal the size of consoleSize" => console_size_is_that_of_the_terminal;
    504 MUST "Process", "refuse a cwd that is not absolute" => cwd_is_absolute;
    505 MUST "Process", "start the process in cwd" => cwd_is_where_the_process_starts;
    506 MUST "Process", "give the process the environment env" => env_is_the_environment;
    507 MUST "Process", "refuse args without an entry" => args_has_at_least_one_entry;
    508 MUST "Process", "give the process its arguments as they are" => args_are_the_arguments;
    509 MUST "Process", "look for args[0] in PATH as execvp does" => args_zero_is_looked_up_in_path;
    510 MUST "Process", "take an args[0] with a slash as a path" => args_zero_with_a_slash_is_a_path;
    511 MUST "Process", "generate an error for a program that is not there" => args_zero_that_is_missing_is_an_error;
    515 MUST "POSIX process", "generate an error for a limit that the kernel does not have" => unknown_rlimits_are_errors;
    516 MUST "POSIX process", "set soft limits, as getrlimit shows them" => soft_limits = |it| rlimits(it, 0);
    517 MUST "POSIX process", "set hard limits, as getrlimit shows them" => hard_limits = |it| rlimits(it, 1);
    518 MUST "POSIX process", "generate an error for two limits of the same type" => duplicated_rlimits_are_errors;
    520 MUST "Linux Process", "keep the effective capabilities, and no others" => effective = |it| capability(it, "CapEff");
    521 MUST "Linux Process", "keep the bounding capabilities, and no others" => bounding = |it| capability(it, "CapBnd");
    522 MUST "Linux Process", "keep the inheritable capabilities, and no others"
        => inheritable = |it| capability(it, "CapInh");
    523 MUST "Linux Process", "keep the permitted capabilities, and no others" => permitted = |it| capability(it, "CapPrm");
    524 MUST "Linux Process", "keep the ambient capabilities, and no others" => ambient = |it| capability(it, "CapAmb");
    525 MUST "Linux Process", "keep no capability if none is listed" => no_capabilities_by_default;
    526 MUST "Linux Process", "only warn of a capability that the kernel does not have" => unknown_capabilities_are_warnings;
    527 SHOULD_NOT "Linux Process", "fail for a capability that cannot be granted"
        => capabilities_that_cannot_be_granted, Need::Program("setpriv");
    530 MUST "Linux Process", "set no_new_privs if noNewPrivileges is true"
        => no_new_privileges_is_set = |it| no_new_privileges(it, true);
    531 MUST "Linux Process", "leave no_new_privs unset if noNewPrivileges is false"
        => no_new_privileges_is_not_set = |it| no_new_privileges(it, false);
    532 MUST "Linux Process", "set oom_score_adj to oomScoreAdj" => oom_score_adj_is_set;
    533 MUST_NOT "Linux Process", "change oom_score_adj if oomScoreAdj is not set" => oom_score_adj_is_left_alone;
    534 MUST "Linux Process", "set the scheduling policy, and its nice value" => scheduler_policy_and_nice;
    535 MUST "Linux Process", "use a nice value of 0 if none is set" => scheduler_nice_is_zero_by_default;
    536 MUST "Linux Process", "set the priority of a real-time policy" => scheduler_priority;
    537 MUST "Linux Process", "refuse a policy that is not in the list" => scheduler_policies_are_those_listed;
    538 MUST "Linux Process", "set the class and the level of ioPriority" => io_priority_is_set;
    539 MUST "Linux Process", "refuse an ioPriority class that is not in the list" => io_priority_classes_are_those_listed;
    540 MUST "Linux Process", "confine the process by apparmorProfile" => apparmor_confines, Need::AppArmor(true);
    541 MUST "Linux Process", "generate an error if apparmorProfile cannot be applied"
        => apparmor_that_is_off_is_an_error, Need::AppArmor(false);
    542 MUST "Linux Process", "generate an error if selinuxLabel cannot be applied"
        => selinux_that_is_off_is_an_error, Need::Selinux(false);
    545 MUST "POSIX-platform User", "run the process as uid" => uid = |it| user(it, "Uid", "1000 1000 1000 1000");
    546 MUST "POSIX-platform User", "run the process as gid" => gid = |it| user(it, "Gid", "1001 1001 1001 1001");
    547 MUST "POSIX-platform User", "add additionalGids" => additional_gids = |it| user(it, "Groups", "5 6");
    548 MUST "POSIX-platform User", "set the umask" => umask = |it| user(it, "Umask", "0027");
}

/// The text of a file of /proc of the container process, which waits.
fn of_process(it: &mut Sandbox, name: &str) -> String {
    let pid = it.alive();
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

fn terminal_is_on_the_standard_streams(it: &mut Sandbox) {
    let console = Console::new(it);
    it.script("for fd in 0 1 2; do readlink /proc/self/fd/$fd; done; tty; echo over");
    let pty = console.create(it);
    it.start();
    let seen = pty.see("over");
    let lines: Vec<&str> = seen.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{lines:?}");
    assert!(lines[..4].iter().all(|line| *line == lines[0]), "{lines:?}");
}

fn no_terminal_by_default(it: &mut Sandbox) {
    it.unset("/process/terminal");
    assert_eq!(it.see("for fd in 0 1 2; do [ -t $fd ] && echo terminal; done; echo none"), "none");
}

fn console_size_is_ignored_without_a_terminal(it: &mut Sandbox) {
    it.set("/process/consoleSize", json!({ "height": 25, "width": 80 }));
    assert_eq!(it.see("echo runs"), "runs");
}

fn console_size_is_that_of_the_terminal(it: &mut Sandbox) {
    it.set("/process/consoleSize", json!({ "height": 33, "width": 121 }));
    let console = Console::new(it);
    it.script("stty size; echo over");
    let pty = console.create(it);
    it.start();
    let seen = pty.see("over");
    assert!(seen.contains("33 121"), "{seen}");
}

fn cwd_is_absolute(it: &mut Sandbox) {
    for bad in ["usr/bin", ""] {
        it.set("/process/cwd", json!(bad));
        it.refuses_process(&["process.cwd"]);
    }
}

fn cwd_is_where_the_process_starts(it: &mut Sandbox) {
    it.set("/process/cwd", json!("/usr/bin"));
    assert_eq!(it.see("pwd; readlink /proc/self/cwd"), "/usr/bin\n/usr/bin");
}

fn env_is_the_environment(it: &mut Sandbox) {
    let given = ["PATH=/bin", "HOME=/tmp", "EMPTY=", "TWO=a=b", "SPACE= x "];
    it.set("/process/env", json!(given));
    it.args(&["/bin/busybox", "env"]);
    let seen = it.live();
    assert_eq!(seen.lines().collect::<Vec<_>>(), given);
}

fn args_has_at_least_one_entry(it: &mut Sandbox) {
    it.args(&[]);
    it.refuses_process(&["process.args"]);
    it.unset("/process/args");
    it.refuses_process(&["process.args"]);
}

fn args_are_the_arguments(it: &mut Sandbox) {
    it.args(&["/bin/sh", "-c", "for a; do echo \"<$a>\"; done", "zero", "one two", "", "$HOME"]);
    assert_eq!(it.live(), "<one two>\n<>\n<$HOME>");
}

fn args_zero_is_looked_up_in_path(it: &mut Sandbox) {
    fs::create_dir_all(it.rootfs("/opt/own")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", it.rootfs("/opt/own/echo")).unwrap();
    it.set("/process/env", json!(["PATH=/nowhere:/opt/own"]));
    it.args(&["echo", "from PATH"]);
    assert_eq!(it.live(), "from PATH");
}

fn args_zero_with_a_slash_is_a_path(it: &mut Sandbox) {
    it.set("/process/cwd", json!("/bin")).args(&["./echo", "from cwd"]);
    assert_eq!(it.live(), "from cwd");
}

fn args_zero_that_is_missing_is_an_error(it: &mut Sandbox) {
    it.args(&["no-such-program"]);
    it.refuses_process(&["process.args[0]", "no-such-program"]);
}

fn unknown_rlimits_are_errors(it: &mut Sandbox) {
    it.set("/process/rlimits", json!([{ "type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 1 }]));
    it.refuses_process(&["process.rlimits[0]"]);
}

fn rlimits(it: &mut Sandbox, column: usize) {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_FSIZE", "soft": 1_048_576, "hard": 2_097_152 },
        { "type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 4_194_305 }
    ]);
    it.set("/process/rlimits", limits);
    let table = it.see("cat /proc/self/limits");
    let value = |name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(column).unwrap().to_owned()
    };
    let names = ["Max open files", "Max core file size", "Max file size", "Max stack size"];
    let wanted = [["100", "0", "1048576", "4194304"], ["200", "0", "2097152", "4194305"]][column];
    assert_eq!(names.map(value), wanted);
}

fn duplicated_rlimits_are_errors(it: &mut Sandbox) {
    let one = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
    it.set("/process/rlimits", json!([one, one]));
    it.refuses_process(&["process.rlimits", "RLIMIT_CORE"]);
}

/// A set of capabilities of an ordinary user and of root, of whom it is clear what execve makes of them.
fn capability(it: &mut Sandbox, set: &str) {
    let [chown, kill, bind]: [u64; 3] = [1, 1 << 5, 1 << 10];
    let value = |it: &mut Sandbox| {
        let text = it.see(&format!("grep ^{set} /proc/self/status | cut -f 2"));
        u64::from_str_radix(&text, 16).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    };
    let sets = |all: Value, some: Value| json!({ "bounding": all, "permitted": all, "effective": all, "inheritable": some, "ambient": some });
    let all = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    it.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    it.set("/process/capabilities", sets(all, json!(["CAP_KILL"])));
    // What is ambient stays permitted and effective; the rest does not outlive the execve of a plain file.
    let wanted = if set == "CapBnd" { chown | kill | bind } else { kill };
    assert_eq!(value(it), wanted, "user");
    it.set("/process/user", json!({ "uid": 0, "gid": 0 }));
    it.set("/process/capabilities", sets(json!(["CAP_CHOWN"]), json!([])));
    let wanted = if ["CapInh", "CapAmb"].contains(&set) { 0 } else { chown };
    assert_eq!(value(it), wanted, "root");
}

fn no_capabilities_by_default(it: &mut Sandbox) {
    it.unset("/process/capabilities");
    let seen = it.see("grep ^Cap /proc/self/status | cut -f 2 | sort -u");
    assert_eq!(seen, "0000000000000000");
}

fn unknown_capabilities_are_warnings(it: &mut Sandbox) {
    it.capabilities(&["CAP_CHOWN", "CAP_MADE_UP"]);
    assert_eq!(it.see("grep ^CapEff /proc/self/status | cut -f 2"), "0000000000000001");
}

fn capabilities_that_cannot_be_granted(it: &mut Sandbox) {
    it.capabilities(&["CAP_CHOWN", "CAP_WAKE_ALARM"]);
    it.script("grep ^CapEff /proc/self/status | cut -f 2");
    let without = ["setpriv", "--bounding-set", "-wake_alarm", "--inh-caps", "-wake_alarm"];
    assert_eq!(it.live_as(&it.token, |create| create.through(&without)), "0000000000000001");
}

fn no_new_privileges(it: &mut Sandbox, value: bool) {
    it.set("/process/noNewPrivileges", json!(value));
    assert_eq!(it.see("grep NoNewPrivs /proc/self/status | cut -f 2"), u8::from(value).to_string());
}

fn oom_score_adj_is_set(it: &mut Sandbox) {
    it.set("/process/oomScoreAdj", json!(777));
    assert_eq!(it.see("cat /proc/self/oom_score_adj"), "777");
}

fn oom_score_adj_is_left_alone(it: &mut Sandbox) {
    it.script("cat /proc/self/oom_score_adj");
    let raised = ["/bin/sh", "-c", "echo 500 > /proc/self/oom_score_adj; exec \"$@\"", "sh"];
    assert_eq!(it.live_as(&it.token, |create| create.through(&raised)), "500");
}

/// Fields 19, 40 and 41 of /proc/PID/stat: nice value, real-time priority, policy.
fn scheduling(it: &mut Sandbox) -> [String; 3] {
    let text = of_process(it, "stat");
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    [19, 40, 41].map(|number| fields[number - 3].to_owned())
}

fn scheduler_policy_and_nice(it: &mut Sandbox) {
    it.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }));
    assert_eq!(scheduling(it), ["5", "0", "3"]);
}

fn scheduler_nice_is_zero_by_default(it: &mut Sandbox) {
    it.set("/process/scheduler", json!({ "policy": "SCHED_BATCH" }));
    it.args(&["/bin/sleep", "100"]);
    it.create_as(&it.token, &[]).through(&["nice", "-n", "7"]).finish().ok();
    it.start();
    let text = fs::read_to_string(format!("/proc/{}/stat", it.pid())).unwrap();
    let nice = text.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned();
    assert_eq!(nice, "0");
}

fn scheduler_priority(it: &mut Sandbox) {
    if it.layout == Layout::V1
        && it.layout.cgroup("cpu", "cpu.rt_runtime_us").is_some_and(|file| file.exists())
    {
        skip("on cgroup v1 every cgroup above must have been given real time before");
    }
    it.set("/process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": 3 }));
    let [_, priority, policy] = scheduling(it);
    assert_eq!((priority.as_str(), policy.as_str()), ("3", "1"));
}

fn scheduler_policies_are_those_listed(it: &mut Sandbox) {
    it.set("/process/scheduler", json!({ "policy": "SCHED_NO_SUCH" }));
    it.refuses_process(&["process.scheduler"]);
}

fn io_priority_is_set(it: &mut Sandbox) {
    it.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 7 }));
    assert_eq!(it.see("ionice -p $$"), "best-effort: prio 7");
}

fn io_priority_classes_are_those_listed(it: &mut Sandbox) {
    it.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_NO_SUCH", "priority": 7 }));
    it.refuses_process(&["process.ioPriority"]);
}

/// With a profile that allows everything, made for this test.
fn apparmor_confines(it: &mut Sandbox) {
    let name = it.token.clone();
    let profile =
        it.file("profile", &format!("profile {name} flags=(attach_disconnected) {{ file, capability, }}\n"));
    it.tool_call(&["apparmor_parser", "--add", &profile]).finish().ok();
    it.set("/process/apparmorProfile", json!(name));
    let created = it.create_as(&it.token, &[]).finish();
    let started = created.status.success().then(|| it.call(&["start", &it.token]).finish());
    let seen = started
        .is_some()
        .then(|| fs::read_to_string(format!("/proc/{}/attr/apparmor/current", it.pid())).unwrap_or_default());
    it.forget(&name);
    it.tool_call(&["apparmor_parser", "--remove", &profile]).finish().ok();
    created.ok();
    assert_eq!(seen.unwrap().trim(), format!("{name} (enforce)"));
}

fn apparmor_that_is_off_is_an_error(it: &mut Sandbox) {
    it.set("/process/apparmorProfile", json!("conformance-profile"));
    it.refuses_process(&["process.apparmorProfile"]);
}

fn selinux_that_is_off_is_an_error(it: &mut Sandbox) {
    it.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0:c124,c675"));
    it.refuses_process(&["process.selinuxLabel"]);
}

fn user(it: &mut Sandbox, field: &str, wanted: &str) {
    it.set("/process/user", json!({ "uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [5, 6] }));
    let seen = it.see(&format!("grep ^{field}: /proc/self/status | tr '\\t' ' '"));
    assert_eq!(seen.trim_end(), format!("{field}: {wanted}"));
}
