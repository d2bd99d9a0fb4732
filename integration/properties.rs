//! What a process keeps over execve: scheduler, I/O priority, personality, memory policy (config.md, Linux Process;
//! config-linux.md, Memory policy and Personality), each read back from inside.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Layout, Need, Output, Sandbox};

const SCHED: Need = Need::File("/proc/self/sched");
const NUMA: Need = Need::File("/proc/self/numa_maps");

cases! {
    scheduler_other_batch_and_idle;
    scheduler_of_real_time: Need::Only(Layout::V2), Need::Capability(23, "CAP_SYS_NICE");
    scheduler_of_real_time_needs_a_budget_on_v1: Need::Only(Layout::V1), Need::TopFile("cpu", "cpu.rt_runtime_us");
    scheduler_deadline: SCHED, Need::Capability(23, "CAP_SYS_NICE");
    scheduler_is_reset_on_fork: Need::Capability(23, "CAP_SYS_NICE");
    scheduler_stays_when_the_user_changes: Need::Capability(23, "CAP_SYS_NICE");
    scheduler_in_a_user_namespace: Need::UserNamespaces, Need::Capability(23, "CAP_SYS_NICE");
    rootless_schedulers: Need::UserNamespaces, Need::Program("setpriv");
    scheduler_deadline_and_hooks;
    scheduler_iso_was_never_built;
    bad_schedulers_are_refused;
    io_priority_of_each_class: Need::Capability(23, "CAP_SYS_NICE");
    bad_io_priorities_are_refused;
    memory_policy_of_each_mode: NUMA;
    memory_policy_is_inherited: NUMA;
    bad_memory_policies_are_refused;
    personality_of_each_domain;
    exec_cpu_affinity_is_not_for_the_first_process;
    bad_affinities_are_refused;
    exec_has_what_the_container_has: NUMA, Need::Capability(23, "CAP_SYS_NICE");
    exec_has_its_own: Need::Capability(23, "CAP_SYS_NICE");
    exec_with_a_deadline: Need::Capability(23, "CAP_SYS_NICE");
    exec_in_a_user_namespace: Need::UserNamespaces, Need::Capability(23, "CAP_SYS_NICE");
    exec_runs_where_it_shall: Need::File("/sys/devices/system/cpu/cpu1");
    exec_on_no_cpu_is_an_error;
    exec_with_bad_properties_is_refused;
    exec_has_the_containers_umask;
    the_first_example_of_the_document: NUMA;
    the_example_of_exec: Need::File("/sys/devices/system/cpu/cpu1");
}

/// Nice value, real-time priority and policy: fields 19, 40 and 41 of stat, whose second has no blank here.
const STAT: &str = "cut -d ' ' -f 19,40,41";

fn scheduler(sandbox: &mut Sandbox, scheduler: Value, process: &str) -> String {
    sandbox.set("/process/scheduler", scheduler);
    sandbox.prove(&format!("{STAT} /proc/{process}/stat"))
}

fn scheduler_other_batch_and_idle(sandbox: &mut Sandbox) {
    for (policy, nice, seen) in [
        ("SCHED_OTHER", 7, "7 0 0"),
        ("SCHED_OTHER", -5, "-5 0 0"),
        ("SCHED_BATCH", 19, "19 0 3"),
        ("SCHED_IDLE", 0, "0 0 5"),
    ] {
        let value = json!({ "policy": policy, "nice": nice });
        assert_eq!(scheduler(sandbox, value, "self"), seen, "{policy} {nice}");
    }
    let keep = json!({ "policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_KEEP_POLICY"] });
    assert_eq!(scheduler(sandbox, keep, "self"), "3 0 0", "the policy is kept");
}

fn scheduler_of_real_time(sandbox: &mut Sandbox) {
    for (policy, priority, seen) in [("SCHED_FIFO", 1, "0 1 1"), ("SCHED_RR", 50, "0 50 2")] {
        let value = json!({ "policy": policy, "priority": priority });
        assert_eq!(scheduler(sandbox, value, "self"), seen, "{policy}");
    }
}

fn scheduler_of_real_time_needs_a_budget_on_v1(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_RR", "priority": 5 }));
    sandbox.refused(&["process.scheduler: sched_setattr", "EPERM", "realtimeRuntime"]);
}

fn deadline(flags: &[&str]) -> Value {
    json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000, "period": 50_000_000, "flags": flags
    })
}

fn scheduler_deadline(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", deadline(&[]));
    sandbox.args(&["/bin/grep", "-E", "^(policy|dl.runtime|dl.deadline) ", "/proc/self/sched"]);
    let output = sandbox.run().ok();
    let seen: Vec<String> = output.text().lines().map(|line| line.split_whitespace().collect()).collect();
    for wanted in ["policy:6", "dl.deadline"] {
        assert!(seen.iter().any(|line| line.starts_with(wanted)), "no {wanted}: {}", output.describe());
    }
    let runtime = seen.iter().find_map(|line| line.strip_prefix("dl.runtime:")).unwrap();
    assert!(runtime.parse::<i64>().unwrap() <= 1_000_000, "what is left of it: {runtime}");
}

fn scheduler_is_reset_on_fork(sandbox: &mut Sandbox) {
    let value = deadline(&["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]);
    sandbox.set("/process/scheduler", value);
    let both = sandbox.prove(&format!("{STAT} /proc/$$/stat; {STAT} /proc/self/stat; true"));
    assert_eq!(both, "0 0 6\n0 0 0", "the process, and its child");
}

fn scheduler_stays_when_the_user_changes(sandbox: &mut Sandbox) {
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).capabilities(&[]);
    let value = json!({ "policy": "SCHED_BATCH", "nice": -7 });
    assert_eq!(scheduler(sandbox, value, "self"), "-7 0 3");
}

/// The runtime sets what the capabilities of a user namespace do not allow.
fn scheduler_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    assert_eq!(scheduler(sandbox, json!({ "policy": "SCHED_BATCH", "nice": -4 }), "self"), "-4 0 3");
    assert_eq!(scheduler(sandbox, deadline(&["SCHED_FLAG_RESET_ON_FORK"]), "$$"), "0 0 6");
    sandbox.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 6 }));
    assert_eq!(sandbox.prove("ionice -p $$"), "realtime: prio 6");
}

/// An unprivileged user, single mapping: the process may become less important, and with its limits more.
fn rootless_schedulers(sandbox: &mut Sandbox) {
    const USER: u32 = 54_321;
    let map = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    sandbox.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    sandbox.without_namespace("cgroup").unset("/linux/cgroupsPath");
    sandbox.give(USER);
    for folder in [sandbox.dir.clone(), sandbox.dir.join("calls")] {
        std::os::unix::fs::chown(folder, Some(USER), Some(USER)).unwrap();
    }
    let user = USER.to_string();
    let words = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
    let mounts = sandbox.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] == "/proc");
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 4 }));
    sandbox.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }));
    sandbox.script(&format!("{STAT} /proc/self/stat; ionice -p $$"));
    let output = sandbox.begin("run", &[]).through(&words).finish().ok();
    assert_eq!(output.text(), "4 0 3\nidle", "{}", output.describe());
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": -1 }));
    let output = sandbox.begin("run", &[]).through(&words).finish();
    output.error(&["process.scheduler: sched_setattr", "EPERM", "RLIMIT_NICE"]);
}

fn scheduler_deadline_and_hooks(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", deadline(&[]));
    sandbox.set("/hooks", json!({ "startContainer": [{ "path": "/bin/true" }] }));
    sandbox.refused(&["process.scheduler", "hooks.startContainer", "SCHED_FLAG_RESET_ON_FORK"]);
    if Need::Capability(23, "CAP_SYS_NICE").is_met(sandbox.layout) {
        assert_eq!(scheduler(sandbox, deadline(&["SCHED_FLAG_RESET_ON_FORK"]), "1"), "0 0 6");
    }
}

fn scheduler_iso_was_never_built(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_ISO" }));
    sandbox.refused(&["process.scheduler: sched_setattr(policy 4)", "EINVAL", "SCHED_ISO"]);
}

/// Each value is refused with these words.
fn refused(sandbox: &mut Sandbox, pointer: &str, cases: &[(Value, &[&str])]) {
    for (value, words) in cases {
        sandbox.set(pointer, value.clone());
        sandbox.refused(words);
    }
}

fn bad_schedulers_are_refused(sandbox: &mut Sandbox) {
    refused(
        sandbox,
        "/process/scheduler",
        &[
            (json!({}), &["process.scheduler", "policy"]),
            (json!({ "policy": "SCHED_FAIR" }), &["process.scheduler.policy", "SCHED_FAIR"]),
            (json!({ "policy": "SCHED_OTHER", "nice": -21 }), &["process.scheduler.nice", "-20 and 19"]),
            (json!({ "policy": "SCHED_FIFO" }), &["process.scheduler.priority", "1 and 99"]),
            (json!({ "policy": "SCHED_BATCH", "priority": 3 }), &["process.scheduler.priority", "SCHED_RR"]),
            (json!({ "policy": "SCHED_RR", "priority": 3, "nice": 1 }), &["process.scheduler.nice"]),
            (json!({ "policy": "SCHED_OTHER", "runtime": 5 }), &["process.scheduler.runtime"]),
            (json!({ "policy": "SCHED_DEADLINE" }), &["process.scheduler.runtime"]),
            (
                json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_SPEED"] }),
                &["process.scheduler.flags[0]", "SCHED_FLAG_SPEED", "SCHED_FLAG_RESET_ON_FORK"],
            ),
            (
                json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"] }),
                &["process.scheduler.flags[0]", "SCHED_FLAG_RESET_ON_FORK"],
            ),
        ],
    );
}

fn io_priority_of_each_class(sandbox: &mut Sandbox) {
    for (class, level, seen) in [
        ("IOPRIO_CLASS_BE", 0, "best-effort: prio 0"),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7"),
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
        ("IOPRIO_CLASS_IDLE", 4, "idle"),
    ] {
        sandbox.set("/process/ioPriority", json!({ "class": class, "priority": level }));
        sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        let output = sandbox.prove("ionice -p $$");
        assert!(output.starts_with(seen), "{class} {level}: {output}");
    }
}

fn bad_io_priorities_are_refused(sandbox: &mut Sandbox) {
    refused(
        sandbox,
        "/process/ioPriority",
        &[
            (json!({}), &["process.ioPriority.class", "missing"]),
            (json!({ "class": "IOPRIO_CLASS_BE" }), &["process.ioPriority.priority", "missing"]),
            (json!({ "priority": 3 }), &["process.ioPriority.class", "missing"]),
            (json!({ "class": "IOPRIO_CLASS_NONE", "priority": 0 }), &["process.ioPriority.class"]),
            (
                json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
                &["process.ioPriority.priority", "0 and 7"],
            ),
            (json!({ "class": "IOPRIO_CLASS_RT", "priority": -1 }), &["process.ioPriority.priority"]),
        ],
    );
}

/// The policy of the memory of a process, as its first mapping shows it.
const POLICY: &str = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2";

fn memory_policy_of_each_mode(sandbox: &mut Sandbox) {
    for (mode, nodes, flags, seen) in [
        ("MPOL_DEFAULT", "", &[][..], "default"),
        ("MPOL_LOCAL", "", &[], "local"),
        ("MPOL_BIND", "0", &[], "bind:0"),
        ("MPOL_BIND", " 0-0 ,", &["MPOL_F_STATIC_NODES"], "bind=static:0"),
        ("MPOL_BIND", "0", &["MPOL_F_RELATIVE_NODES"], "bind=relative:0"),
        ("MPOL_BIND", "0", &["MPOL_F_NUMA_BALANCING"], "bind=balancing:0"),
        ("MPOL_INTERLEAVE", "0", &[], "interleave:0"),
        ("MPOL_PREFERRED", "0", &[], "prefer:0"),
        ("MPOL_PREFERRED", "", &[], "local"),
    ] {
        let policy = json!({ "mode": mode, "nodes": nodes, "flags": flags });
        sandbox.set("/linux/memoryPolicy", policy);
        let output = sandbox.prove(POLICY);
        // Before Linux 6.9 balancing is not shown.
        let older = seen == "bind=balancing:0" && output == "bind:0";
        assert!(output == seen || older, "{mode} {nodes:?} {flags:?}: {output}");
    }
    for (mode, version, seen) in [
        ("MPOL_PREFERRED_MANY", (5, 15), "prefer (many):0"),
        ("MPOL_WEIGHTED_INTERLEAVE", (6, 9), "weighted interleave:0"),
    ] {
        sandbox.set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": "0" }));
        if Need::Kernel(version.0, version.1, mode).is_met(sandbox.layout) {
            let output = sandbox.prove("head -n 1 /proc/self/numa_maps");
            assert!(output.contains(seen), "{mode}: {output}");
        } else {
            sandbox.refused(&["linux.memoryPolicy: set_mempolicy", "EINVAL", mode]);
        }
    }
}

fn memory_policy_is_inherited(sandbox: &mut Sandbox) {
    sandbox.set("/linux/memoryPolicy", json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }));
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(sandbox.prove(&format!("sh -c \"{POLICY}\"; true")), "interleave:0");
}

fn bad_memory_policies_are_refused(sandbox: &mut Sandbox) {
    refused(
        sandbox,
        "/linux/memoryPolicy",
        &[
            (json!({}), &["linux.memoryPolicy", "mode"]),
            (json!({ "mode": "MPOL_NEAR" }), &["linux.memoryPolicy.mode", "MPOL_NEAR"]),
            (json!({ "mode": "MPOL_LOCAL", "flags": ["MPOL_F_FAST"] }), &["linux.memoryPolicy.flags[0]"]),
            (json!({ "mode": "MPOL_BIND" }), &["linux.memoryPolicy.nodes", "at least one"]),
            (json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }), &["linux.memoryPolicy.nodes", "takes none"]),
            (json!({ "mode": "MPOL_BIND", "nodes": "0-x" }), &["linux.memoryPolicy.nodes", "0-x"]),
            (json!({ "mode": "MPOL_BIND", "nodes": "70000" }), &["linux.memoryPolicy.nodes", "65535"]),
            (
                json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
                &["linux.memoryPolicy.flags", "exclude"],
            ),
        ],
    );
    sandbox.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "65535" }));
    sandbox.refused(&["linux.memoryPolicy: set_mempolicy", "EINVAL", "node/online"]);
}

fn personality_of_each_domain(sandbox: &mut Sandbox) {
    let long = std::env::consts::ARCH;
    let short = if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" };
    for (domain, number, machine) in [("LINUX", "00000000", long), ("LINUX32", "00000008", short)] {
        sandbox.set("/linux/personality", json!({ "domain": domain, "flags": [] }));
        let seen = sandbox.prove("cat /proc/self/personality; uname -m");
        assert_eq!(seen, format!("{number}\n{machine}"), "{domain}");
    }
    refused(
        sandbox,
        "/linux/personality",
        &[
            (json!({}), &["linux.personality", "domain"]),
            (
                json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }),
                &["linux.personality.flags[0]", "ADDR_NO_RANDOMIZE"],
            ),
        ],
    );
}

fn exec_cpu_affinity_is_not_for_the_first_process(sandbox: &mut Sandbox) {
    let allowed = "grep Cpus_allowed_list /proc/self/status";
    let before = sandbox.prove(allowed);
    sandbox.set("/process/execCPUAffinity", json!({ "initial": "0", "final": "0" }));
    assert_eq!(sandbox.prove(allowed), before);
}

fn bad_affinities_are_refused(sandbox: &mut Sandbox) {
    refused(
        sandbox,
        "/process/execCPUAffinity",
        &[
            (json!({ "initial": "a" }), &["process.execCPUAffinity"]),
            (json!({ "final": "3-1" }), &["process.execCPUAffinity.final", "3 is above 1"]),
            (json!({ "final": "65536" }), &["process.execCPUAffinity.final", "65535"]),
            (json!({ "initial": 3 }), &["process.execCPUAffinity"]),
        ],
    );
}

/// `exec` of a shell script, by options.
fn exec(sandbox: &Sandbox, script: &str) -> Output {
    sandbox.onggi(&["exec", &sandbox.token, "/bin/sh", "-c", script]).finish()
}

/// `exec` of a shell script with these members of its process.json.
fn exec_process(sandbox: &Sandbox, script: &str, members: Value) -> Output {
    let mut process = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/bin/sh", "-c", script],
        "env": ["PATH=/bin:/usr/bin"] });
    process.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let file = sandbox.file("process.json", &process.to_string());
    sandbox.onggi(&["exec", "--process", &file, &sandbox.token]).finish()
}

/// Scheduler and I/O priority of the shell, its memory's policy, and its personality.
fn all() -> String {
    format!("{STAT} /proc/$$/stat; ionice -p $$; {POLICY}; cat /proc/self/personality")
}

fn exec_has_what_the_container_has(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": -3 }));
    sandbox.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 2 }));
    sandbox.set("/linux/memoryPolicy", json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }));
    sandbox.set("/linux/personality", json!({ "domain": "LINUX32" }));
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    sandbox.start_sleeper();
    let wanted = "-3 0 3\nrealtime: prio 2\ninterleave:0\n00000008";
    assert_eq!(exec(sandbox, &all()).ok().text(), wanted);
    let user = json!({ "user": { "uid": 1000, "gid": 1000 } });
    assert_eq!(exec_process(sandbox, &all(), user).ok().text(), wanted);
}

fn exec_has_its_own(sandbox: &mut Sandbox) {
    sandbox.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": -3 }));
    sandbox.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 2 }));
    sandbox.start_sleeper();
    let script = format!("{STAT} /proc/$$/stat; ionice -p $$");
    let members = json!({
        "scheduler": { "policy": "SCHED_OTHER", "nice": 6, "flags": ["SCHED_FLAG_RESET_ON_FORK"] },
        "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 5 },
    });
    assert_eq!(exec_process(sandbox, &script, members).ok().text(), "6 0 0\nbest-effort: prio 5");
}

fn exec_with_a_deadline(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let script = format!("{STAT} /proc/$$/stat");
    let members = json!({ "scheduler": deadline(&["SCHED_FLAG_RESET_ON_FORK"]) });
    assert_eq!(exec_process(sandbox, &script, members).ok().text(), "0 0 6");
    let no_fork =
        json!({ "scheduler": deadline(&[]), "args": ["/bin/cut", "-d", " ", "-f", "41", "/proc/self/stat"] });
    assert_eq!(exec_process(sandbox, "", no_fork).ok().text(), "6");
}

fn exec_in_a_user_namespace(sandbox: &mut Sandbox) {
    sandbox.user_namespace();
    sandbox.start_sleeper();
    let members = json!({
        "scheduler": { "policy": "SCHED_OTHER", "nice": -6 },
        "ioPriority": { "class": "IOPRIO_CLASS_RT", "priority": 1 },
    });
    let script = format!("{STAT} /proc/$$/stat; ionice -p $$");
    assert_eq!(exec_process(sandbox, &script, members).ok().text(), "-6 0 0\nrealtime: prio 1");
}

fn exec_runs_where_it_shall(sandbox: &mut Sandbox) {
    sandbox.set("/process/execCPUAffinity", json!({ "initial": "0", "final": " 1 " }));
    sandbox.start_sleeper();
    let script = "grep Cpus_allowed_list /proc/self/status | cut -f 2";
    let seen = |affinity: Value| {
        exec_process(sandbox, script, json!({ "execCPUAffinity": affinity })).ok().text().to_owned()
    };
    assert_eq!(exec(sandbox, script).ok().text(), "1", "the container's own");
    assert_eq!(seen(json!({})), "1", "the container's own");
    assert_eq!(seen(json!({ "initial": "", "final": "" })), "1", "the container's own");
    assert_eq!(seen(json!({ "final": "0" })), "0");
    // Linux < 6.2 gives whoever is moved into a cpuset of v1 all of its CPUs (commit 8f9ea86fdf99).
    let keeps =
        sandbox.layout == Layout::V2 || Need::Kernel(6, 2, "an affinity in a cpuset").is_met(sandbox.layout);
    let all = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    assert_eq!(seen(json!({ "initial": "1" })), if keeps { "1" } else { all.trim() }, "the kernel's choice");
    assert_eq!(seen(json!({ "initial": "0", "final": "0-1" })), "0-1");
}

fn exec_on_no_cpu_is_an_error(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for name in ["initial", "final"] {
        let members = json!({ "execCPUAffinity": { name: "65535" } });
        let output = exec_process(sandbox, "true", members).code(255);
        for part in
            [&format!("process.execCPUAffinity.{name}: sched_setaffinity"), "EINVAL", "none of these CPUs"]
        {
            assert!(output.stderr.contains(part), "{}", output.describe());
        }
    }
    assert_eq!(sandbox.status(), "running");
}

fn exec_with_bad_properties_is_refused(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for (members, field) in [
        (json!({ "scheduler": { "policy": "SCHED_FIFO" } }), "process.scheduler.priority"),
        (json!({ "scheduler": { "policy": "SCHED_OTHER", "flags": ["X"] } }), "process.scheduler.flags[0]"),
        (json!({ "scheduler": { "nice": 1 } }), "process.scheduler"),
        (json!({ "ioPriority": { "class": "IOPRIO_CLASS_BE" } }), "process.ioPriority.priority"),
        (
            json!({ "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 9 } }),
            "process.ioPriority.priority",
        ),
        (json!({ "execCPUAffinity": { "final": "2-1" } }), "process.execCPUAffinity.final"),
        (json!({ "apparmorProfile": " x" }), "process.apparmorProfile"),
    ] {
        let output = exec_process(sandbox, "true", members).code(255);
        assert!(output.stderr.contains(field), "no {field}: {}", output.describe());
    }
    assert_eq!(sandbox.status(), "running");
}

fn exec_has_the_containers_umask(sandbox: &mut Sandbox) {
    sandbox.set("/process/user/umask", json!(0o027));
    sandbox.start_sleeper();
    assert_eq!(exec(sandbox, "umask").ok().text(), "0027");
    assert_eq!(exec_process(sandbox, "umask", json!({})).ok().text(), "0027");
    let own = json!({ "user": { "uid": 0, "gid": 0, "umask": 0o077 } });
    assert_eq!(exec_process(sandbox, "umask", own).ok().text(), "0077");
}

/// docs/processes.md: the config and what is seen, of an example under a heading.
pub(crate) fn example(heading: &str, number: usize) -> (Value, String, String) {
    let text = include_str!("../docs/processes.md");
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let config = section.split("```json\n").nth(number).unwrap();
    let (config, rest) = config.split_once("```").unwrap();
    let seen = rest.split("```\n$ ").nth(1).unwrap().split("\n```").next().unwrap();
    let (command, output) = seen.split_once('\n').unwrap();
    (serde_json::from_str(config).unwrap(), command.to_owned(), output.to_owned())
}

/// Lays the parts of an example over the config.
pub(crate) fn lay_over(sandbox: &mut Sandbox, parts: &Value) {
    for (object, members) in parts.as_object().unwrap() {
        for (name, value) in members.as_object().unwrap() {
            sandbox.set(&format!("/{object}/{name}"), value.clone());
        }
    }
}

fn the_first_example_of_the_document(sandbox: &mut Sandbox) {
    let (config, command, output) = example("Scheduling", 1);
    lay_over(sandbox, &config);
    assert_eq!(sandbox.prove(&format!("{command}; true")), output);
}

fn the_example_of_exec(sandbox: &mut Sandbox) {
    let (config, command, output) = example("Scheduling", 2);
    lay_over(sandbox, &config);
    sandbox.start_sleeper();
    let command = command.strip_prefix("onggi exec web1 ").unwrap();
    assert_eq!(exec(sandbox, command).ok().text(), output);
}
