//! `update`: other limits for a container that is there, each seen by what it does, before and after; and that nothing
//! changes when a value is refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Call, Layout, Need, Output, Sandbox, is_alive, status_field, until};

cases! {
    pids_limit_holds_before_and_after: Need::Controller("pids");
    memory_limit_holds_before_and_after: Need::Controller("memory");
    cpu_quota_holds_before_and_after: Need::Controller("cpu");
    cpuset_holds_before_and_after: Need::Controller("cpuset");
    devices_are_denied_allowed_and_denied_again;
    devices_of_a_paused_container;
    devices_stay_denied_without_bpf: Need::Only(Layout::V2);
    no_device_is_open_for_a_moment: Need::Program("strace");
    rules_of_an_earlier_container_do_not_count;
    rules_that_do_not_change_are_left_alone;
    what_is_given_is_put_over_what_was: Need::Controller("cpu");
    memory_and_swap_move_in_either_direction: Need::Controller("memory");
    every_option_is_written_v1: Need::Only(Layout::V1), Need::Controller("cpu"), Need::Controller("memory");
    every_option_is_written_v2: Need::Only(Layout::V2), Need::Controller("cpu"), Need::Controller("memory");
    nothing_changes_when_the_kernel_refuses: Need::Controller("memory"), Need::Controller("pids");
    nothing_changes_when_the_last_key_is_refused: Need::Only(Layout::V2), Need::Controller("memory");
    an_idle_container_has_no_shares: Need::Controller("cpu"), Need::Kernel(5, 15, "cpu.idle");
    nothing_changes_when_the_plan_refuses: Need::Controller("memory"), Need::Controller("pids");
    nothing_changes_when_the_state_cannot_be_written;
    less_than_what_is_in_use_is_refused_when_asked: Need::Controller("memory");
    two_at_once_leave_one_of_both: Need::Controller("pids"), Need::Controller("memory");
    created_and_paused_containers_are_updated: Need::Controller("pids");
    other_containers_are_not: Need::Controller("pids");
    resources_come_from_files_and_standard_input: Need::Controller("pids");
    nonsense_is_refused;
    without_control_groups_nothing_can_be_limited;
    schemata_need_a_group_and_sense;
}

fn update(sandbox: &Sandbox, options: &[&str]) -> Call {
    let words: Vec<&str> = ["update"].iter().chain(options).copied().chain([&*sandbox.token]).collect();
    sandbox.onggi(&words)
}

fn update_json(sandbox: &Sandbox, resources: Value) -> Call {
    let file = sandbox.file("resources.json", &resources.to_string());
    update(sandbox, &["--resources", "-"]).stdin(Path::new(&file))
}

#[track_caller]
fn read(sandbox: &Sandbox, controller: &str, file: &str) -> String {
    let path = sandbox.cgroup(controller).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// Starts a container that carries out what [`ask`] gives it.
fn start_servant(sandbox: &mut Sandbox) {
    sandbox.script(
        "while :; do if [ -e /do ]; then mv /do /doing; sh /doing > /answer 2>&1; echo $? >> /answer; \
         mv /answer /done; fi; sleep 0.02; done",
    );
    sandbox.begin("run", &["--detach"]).finish().ok();
}

/// What a script prints in the container, and its exit status.
#[track_caller]
fn ask(sandbox: &Sandbox, script: &str) -> String {
    fs::write(sandbox.rootfs("do.new"), script).unwrap();
    fs::rename(sandbox.rootfs("do.new"), sandbox.rootfs("do")).unwrap();
    let done = sandbox.rootfs("done");
    assert!(until(60, || done.exists()), "no answer to {script:?}: the container is {}", sandbox.status());
    let answer = fs::read_to_string(&done).unwrap();
    fs::remove_file(done).unwrap();
    answer
}

/// Whether twenty processes find room in the container's cgroup; they come from outside and are gone afterwards.
fn room_for_twenty(sandbox: &Sandbox) -> bool {
    let script = "echo 0 > \"$0/cgroup.procs\" || exit 1; trap 'kill $all 2>/dev/null' EXIT; n=0; \
        while [ $n -lt 20 ]; do sleep 5 & all=\"$all $!\"; n=$((n + 1)); done; echo all";
    let cgroup = sandbox.cgroup("pids").display().to_string();
    sandbox.tool_call(&["sh", "-c", script, &cgroup]).finish().stdout.contains("all")
}

fn pids_limit_holds_before_and_after(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    assert!(room_for_twenty(sandbox));
    update(sandbox, &["--pids-limit", "10"]).finish().ok();
    assert_eq!(read(sandbox, "pids", "pids.max"), "10");
    assert!(!room_for_twenty(sandbox));
    update(sandbox, &["--pids-limit", "-1"]).finish().ok();
    assert_eq!(read(sandbox, "pids", "pids.max"), "max");
    assert!(room_for_twenty(sandbox));
}

fn memory_limit_holds_before_and_after(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 256 << 20, "swap": 256 << 20 }));
    start_servant(sandbox);
    let hog = "dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null";
    assert_eq!(ask(sandbox, hog), "0\n");
    update(sandbox, &["--memory", "12m", "--memory-swap", "12m"]).finish().ok();
    let answer = ask(sandbox, hog);
    assert!(answer.contains("137"), "not killed: {answer:?}");
    update(sandbox, &["--memory", "256m", "--memory-swap=256m"]).finish().ok();
    assert_eq!(ask(sandbox, hog), "0\n");
}

fn throttled(sandbox: &Sandbox) -> u64 {
    let text = read(sandbox, "cpu", "cpu.stat");
    // On v2 nobody counts until a limit is asked for.
    text.lines().find_map(|line| line.strip_prefix("nr_throttled ")).map_or(0, |count| count.parse().unwrap())
}

/// User and system time of a process, in clock ticks, which are hundredths of seconds.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn cpu_quota_holds_before_and_after(sandbox: &mut Sandbox) {
    sandbox.script("while :; do :; done");
    sandbox.begin("run", &["--detach"]).finish().ok();
    let pid = sandbox.pid();
    assert_eq!(throttled(sandbox), 0);
    update(sandbox, &["--cpu-quota", "10000", "--cpu-period", "100000"]).finish().ok();
    assert!(until(10, || throttled(sandbox) > 1));
    let (begin, before) = (Instant::now(), ticks(pid));
    sleep(Duration::from_millis(1000));
    let (spent, seconds) = (ticks(pid) - before, begin.elapsed().as_secs_f64());
    assert!(spent as f64 <= 15.0 * seconds, "{spent} hundredths of a second, of ten in each of {seconds} s");
    update(sandbox, &["--cpu-quota", "-1"]).finish().ok();
    sleep(Duration::from_millis(200));
    let before = throttled(sandbox);
    sleep(Duration::from_millis(500));
    assert_eq!(throttled(sandbox), before, "throttled without a quota");
}

fn cpuset_holds_before_and_after(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let allowed = || status_field(pid, "Cpus_allowed_list").unwrap();
    let all = allowed();
    update(sandbox, &["--cpuset-cpus", "0"]).finish().ok();
    assert_eq!(allowed(), "0");
    if all != "0" {
        update(sandbox, &["--cpuset-cpus", "1"]).finish().ok();
        assert_eq!(allowed(), "1");
    }
    update(sandbox, &["--cpuset-cpus", &all, "--cpuset-mems", "0"]).finish().ok();
    assert_eq!((allowed(), read(sandbox, "cpuset", "cpuset.mems")), (all, "0".to_owned()));
}

/// /dev/kmsg (1:11), which no default rule allows.
fn with_kmsg(sandbox: &mut Sandbox) {
    sandbox.set("/linux/devices", json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]));
    sandbox.capabilities(&["CAP_SYSLOG", "CAP_DAC_OVERRIDE"]);
}

fn denied() -> Value {
    json!([{ "allow": false, "access": "rwm" }])
}

fn allowed() -> Value {
    json!([{ "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" }])
}

/// All is allowed but /dev/kmsg.
fn all_but_kmsg() -> Value {
    json!([{ "allow": true, "access": "rwm" },
        { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm" }])
}

/// Which ways of opening /dev/kmsg work.
#[track_caller]
fn kmsg(sandbox: &Sandbox) -> String {
    let script = "(: < /dev/kmsg) 2>/dev/null && echo r; (: >> /dev/kmsg) 2>/dev/null && echo w; \
        (: < /dev/zero) && echo z";
    ask(sandbox, script).replace('\n', "").trim_end_matches('0').to_owned()
}

fn devices_are_denied_allowed_and_denied_again(sandbox: &mut Sandbox) {
    with_kmsg(sandbox);
    start_servant(sandbox);
    assert_eq!(kmsg(sandbox), "z");
    let all = json!([{ "allow": true, "access": "rwm" }]);
    let rules = [
        (allowed(), "rwz"),
        (denied(), "z"),
        (all.clone(), "rwz"),
        (all_but_kmsg(), "z"),
        (allowed(), "rwz"),
        (all_but_kmsg(), "z"),
        (all, "rwz"),
        (denied(), "z"),
        (json!([{ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" }]), "rz"),
        (json!([]), "z"),
    ];
    for (rules, expected) in rules {
        update_json(sandbox, json!({ "devices": rules })).finish().ok();
        assert_eq!(kmsg(sandbox), expected, "{rules}");
        assert_eq!(sandbox.status(), "running");
    }
}

fn devices_of_a_paused_container(sandbox: &mut Sandbox) {
    with_kmsg(sandbox);
    start_servant(sandbox);
    for (rules, expected) in [(allowed(), "rwz"), (all_but_kmsg(), "z"), (denied(), "z"), (allowed(), "rwz")]
    {
        sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
        update_json(sandbox, json!({ "devices": rules })).finish().ok();
        assert_eq!(sandbox.status(), "paused", "{rules}");
        sandbox.onggi(&["resume", &sandbox.token]).finish().ok();
        assert_eq!(kmsg(sandbox), expected, "{rules}");
    }
}

/// A filter that cannot be loaded opens nothing, and closes nothing.
fn devices_stay_denied_without_bpf(sandbox: &mut Sandbox) {
    with_kmsg(sandbox);
    start_servant(sandbox);
    for (now, seen, wanted) in [(denied(), "z", allowed()), (allowed(), "rwz", denied())] {
        update_json(sandbox, json!({ "devices": now })).finish().ok();
        let refused = update_json(sandbox, json!({ "devices": wanted })).without("bpf").finish();
        refused.error(&["linux.resources.devices: ", "bpf(BPF_PROG_LOAD", "ENOSYS"]);
        assert_eq!(kmsg(sandbox), seen);
    }
}

/// Denied before and after each update, tried all the time; and the update dawdles after each step.
fn no_device_is_open_for_a_moment(sandbox: &mut Sandbox) {
    with_kmsg(sandbox);
    sandbox.script(
        "while :; do echo >> /tries; n=0; while [ $n -lt 50 ]; do (: < /dev/kmsg) && echo >> /open; \
         n=$((n + 1)); done 2>/dev/null; done",
    );
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("tries"), "\n");
    let other = json!([{ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }]);
    let dawdle = [
        "strace",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        "trace=write,bpf",
        "-e",
        "inject=write,bpf:delay_exit=10000",
    ];
    for round in 0..3 {
        for rules in [all_but_kmsg(), denied(), other.clone()] {
            update_json(sandbox, json!({ "devices": rules })).through(&dawdle).limit(60).finish().ok();
            assert!(!sandbox.rootfs("open").exists(), "open in round {round} with {rules}");
        }
    }
    let tries = fs::metadata(sandbox.rootfs("tries")).unwrap().len();
    assert!(until(10, || fs::metadata(sandbox.rootfs("tries")).unwrap().len() > tries + 1), "nobody tried");
}

/// In a cgroup that was there before and stays, a program of ours would stay too.
fn rules_of_an_earlier_container_do_not_count(sandbox: &mut Sandbox) {
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let hierarchies = sandbox.layout.hierarchies();
    let dirs: Vec<_> = hierarchies.iter().map(|one| one.mount.join(path.trim_start_matches('/'))).collect();
    dirs.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    with_kmsg(sandbox);
    let all = json!([{ "allow": true, "access": "rwm" }]);
    for (rules, expected) in
        [(denied(), "z"), (allowed(), "rwz"), (denied(), "z"), (all, "rwz"), (denied(), "z")]
    {
        sandbox.set("/linux/resources/devices", rules.clone());
        start_servant(sandbox);
        assert_eq!(kmsg(sandbox), expected, "{rules}");
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
        assert!(dirs.iter().all(|dir| dir.exists()));
    }
    sandbox.remove_cgroups(&path);
}

/// A hook may have opened a device behind our back, and engines send the rules of the config with every update.
fn rules_that_do_not_change_are_left_alone(sandbox: &mut Sandbox) {
    with_kmsg(sandbox);
    start_servant(sandbox);
    let list = sandbox.cgroup("devices").join("devices.allow");
    if sandbox.layout == Layout::V1 {
        fs::write(list, "c 1:11 rw").unwrap();
    }
    let expected = if sandbox.layout == Layout::V1 { "rwz" } else { "z" };
    assert_eq!(kmsg(sandbox), expected);
    update_json(sandbox, json!({ "devices": denied() })).finish().ok();
    update_json(sandbox, json!({})).finish().ok();
    assert_eq!(kmsg(sandbox), expected);
}

/// The quota and the period of the CPU controller, whatever files they are in.
fn quota(sandbox: &Sandbox) -> String {
    match sandbox.layout {
        Layout::V1 => {
            let file = |name: &str| read(sandbox, "cpu", &format!("cpu.cfs_{name}_us"));
            format!("{} {}", file("quota"), file("period")).replace("-1 ", "max ")
        }
        Layout::V2 => read(sandbox, "cpu", "cpu.max"),
    }
}

fn what_is_given_is_put_over_what_was(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 200_000 }));
    sandbox.start_sleeper();
    for (options, expected) in [
        (&["--cpu-quota", "30000"][..], "30000 200000"),
        (&["--cpu-period", "100000"], "30000 100000"),
        (&["--cpu-quota", "-1"], "max 100000"),
        (&["--cpu-share", "512"], "max 100000"),
        (&["--cpu-quota", "20000"], "20000 100000"),
        (&["--cpu-quota=0", "--cpu-period=0"], "20000 100000"),
        (&[], "20000 100000"),
    ] {
        update(sandbox, options).finish().ok();
        assert_eq!(quota(sandbox), expected, "{options:?}");
    }
}

/// The kernel refuses memory above memory and swap, so that the order of the two writes depends on the direction.
fn memory_and_swap_move_in_either_direction(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 64 << 20, "swap": 64 << 20 }));
    sandbox.start_sleeper();
    for megabytes in [128, 32, 256, 16] {
        let size = format!("{megabytes}m");
        update(sandbox, &["--memory", &size, "--memory-swap", &size]).finish().ok();
        let bytes = (megabytes << 20).to_string();
        let file = if sandbox.layout == Layout::V1 { "memory.limit_in_bytes" } else { "memory.max" };
        assert_eq!(read(sandbox, "memory", file), bytes);
        if sandbox.cgroup("memory").join("memory.memsw.limit_in_bytes").exists() {
            assert_eq!(read(sandbox, "memory", "memory.memsw.limit_in_bytes"), bytes);
        }
    }
    update(sandbox, &["--memory", "64m"]).finish().error(&["linux.resources.memory.swap", "memory.limit"]);
    update(sandbox, &["--memory", "-1", "--memory-swap", "-1"]).finish().ok();
}

const OPTIONS: [&str; 13] = [
    "--cpu-period=50000",
    "--cpu-quota=20000",
    "--cpu-share=512",
    "--cpu-idle=0",
    "--cpuset-cpus=0",
    "--cpuset-mems=0",
    "--memory=64m",
    "--memory-reservation=32m",
    "--memory-swap=64m",
    "--pids-limit=77",
    "--kernel-memory=1m",
    "--kernel-memory-tcp=1m",
    "--cpu-burst=5000",
];

fn every_option_is_written_v1(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let output = update(sandbox, &OPTIONS).finish().ok();
    assert!(output.stderr.contains("linux.resources.memory.kernelTCP: ignored"), "{}", output.describe());
    for (controller, file, value) in [
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_burst_us", "5000"),
        ("cpu", "cpu.shares", "512"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("pids", "pids.max", "77"),
    ] {
        assert_eq!(read(sandbox, controller, file), value, "{file}");
    }
}

fn every_option_is_written_v2(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let burst = sandbox.cgroup("cpu").join("cpu.max.burst").exists();
    let options = if burst { &OPTIONS[..] } else { &OPTIONS[..12] };
    update(sandbox, options).finish().ok();
    for (controller, file, value) in [
        ("cpu", "cpu.max", "20000 50000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("memory", "memory.max", "67108864"),
        ("memory", "memory.low", "33554432"),
        ("pids", "pids.max", "77"),
    ] {
        assert_eq!(read(sandbox, controller, file), value, "{file}");
    }
    assert!((20..=59).contains(&read(sandbox, "cpu", "cpu.weight").parse().unwrap()));
    update_json(sandbox, json!({ "unified": { "memory.high": "50331648" } })).finish().ok();
    assert_eq!(read(sandbox, "memory", "memory.high"), "50331648");
}

/// Every limit of the container's cgroups, and its state.
fn everything(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/').to_owned();
    let moves = [
        "controllers",
        "usage",
        "stat",
        "current",
        "pressure",
        "events",
        "procs",
        "threads",
        "peak",
        "tasks",
        "percpu",
    ];
    for hierarchy in sandbox.layout.hierarchies() {
        for entry in fs::read_dir(hierarchy.mount.join(&path)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let readable =
                entry.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o400 != 0);
            if !readable || moves.iter().any(|word| name.contains(word)) {
                continue;
            }
            if let Ok(text) = fs::read_to_string(entry.path()) {
                all.insert(entry.path().display().to_string(), text);
            }
        }
    }
    let state = sandbox.root().join(&sandbox.token).join("state.json");
    all.insert("state".to_owned(), fs::read_to_string(state).unwrap());
    all
}

#[track_caller]
fn unchanged(sandbox: &Sandbox, call: Call, parts: &[&str]) -> Output {
    let before = everything(sandbox);
    let output = call.finish().error(parts);
    let after = everything(sandbox);
    // A controller that was given to the cgroup on the way stays: its files are new, without a limit in them.
    let changes: Vec<_> = before.iter().filter(|(name, text)| after.get(*name) != Some(*text)).collect();
    assert!(changes.is_empty(), "{changes:?} after {}", output.describe());
    output
}

/// A container with limits of all kinds.
fn start_limited(sandbox: &mut Sandbox) {
    let resources = json!({
        "devices": denied(),
        "memory": { "limit": 128 << 20, "swap": 128 << 20, "reservation": 64 << 20 },
        "pids": { "limit": 100 },
    });
    sandbox.set("/linux/resources", resources);
    sandbox.start_sleeper();
    let here = |controller: &'static str| Need::Controller(controller).is_met(sandbox.layout);
    if here("cpu") && here("cpuset") {
        update(sandbox, &["--cpu-quota=50000", "--cpu-share=300", "--cpuset-cpus=0"]).finish().ok();
    }
}

fn nothing_changes_when_the_kernel_refuses(sandbox: &mut Sandbox) {
    start_limited(sandbox);
    // More processes than a kernel can number: refused when all others have been written.
    let late = json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20, "reservation": 1 << 20 },
        "devices": allowed(), "pids": { "limit": 9_000_000_000_u64 } });
    unchanged(sandbox, update_json(sandbox, late), &["linux.resources.pids.limit", "9000000000", "EINVAL"]);
    if Need::Controller("cpuset").is_met(sandbox.layout) {
        let options = ["--cpuset-cpus=999", "--memory=32m", "--memory-swap=32m", "--pids-limit=5"];
        unchanged(sandbox, update(sandbox, &options), &["linux.resources.cpu.cpus", "999"]);
    }
    if Need::Controller("cpu").is_met(sandbox.layout) {
        let options = ["--cpu-period=1", "--cpu-quota=20000", "--cpu-share=77", "--pids-limit=5"];
        unchanged(sandbox, update(sandbox, &options), &["linux.resources.cpu", "EINVAL"]);
    }
    update(sandbox, &["--pids-limit=5", "--memory=32m", "--memory-swap=32m"]).finish().ok();
}

fn nothing_changes_when_the_last_key_is_refused(sandbox: &mut Sandbox) {
    start_limited(sandbox);
    let resources = json!({ "memory": { "limit": 32 << 20 }, "devices": allowed(),
        "unified": { "memory.high": "48m", "memory.oom.group": "maybe" } });
    unchanged(sandbox, update_json(sandbox, resources), &["linux.resources.unified \"memory.oom.group\""]);
    let unknown = json!({ "unified": { "memory.high": "48m", "memory.nonsense": "1" } });
    unchanged(sandbox, update_json(sandbox, unknown), &["linux.resources.unified \"memory.nonsense\""]);
}

fn an_idle_container_has_no_shares(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources", json!({ "cpu": { "idle": 1 } }));
    sandbox.start_sleeper();
    let parts = ["linux.resources.cpu.shares", "EINVAL", "is cpu.idle 1?"];
    let output = unchanged(sandbox, update(sandbox, &["--cpu-share=512"]), &parts);
    assert!(!output.stderr.contains("put back"), "{}", output.describe());
    update(sandbox, &["--cpu-share=512", "--cpu-idle=0"]).finish().ok();
}

fn nothing_changes_when_the_plan_refuses(sandbox: &mut Sandbox) {
    start_limited(sandbox);
    for (resources, part) in [
        (json!({ "pids": { "limit": 5 }, "memory": { "limit": -7 } }), "linux.resources.memory.limit"),
        (json!({ "pids": { "limit": 5 }, "memory": { "limit": 1 << 30 } }), "linux.resources.memory.swap"),
        (json!({ "pids": { "limit": 5 }, "devices": [{ "allow": true, "type": "z" }] }), "devices"),
        (json!({ "pids": { "limit": -5 } }), "linux.resources.pids.limit"),
        (json!({ "pids": { "limit": 5 }, "cpu": { "cpus": "../x" } }), "linux.resources.cpu.cpus"),
    ] {
        unchanged(sandbox, update_json(sandbox, resources), &[part]);
    }
}

/// The last step of all: limits and device rules are in force already, and go back.
fn nothing_changes_when_the_state_cannot_be_written(sandbox: &mut Sandbox) {
    with_kmsg(sandbox);
    start_servant(sandbox);
    let root = sandbox.path("state");
    let script = "mount --rbind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, &root];
    let pids = Need::Controller("pids").is_met(sandbox.layout);
    for rules in [allowed(), json!([{ "allow": true }])] {
        let mut resources = json!({ "devices": rules });
        if pids {
            resources["pids"] = json!({ "limit": 55 });
        }
        unchanged(sandbox, update_json(sandbox, resources).through(&words), &["EROFS"]);
        assert_eq!((kmsg(sandbox).as_str(), sandbox.status().as_str()), ("z", "running"));
    }
}

fn less_than_what_is_in_use_is_refused_when_asked(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 128 << 20 }));
    sandbox.script("head -c 40m /dev/zero > /dev/shm/used; echo up > /up; exec sleep 100");
    sandbox.begin("run", &["--detach"]).finish().ok();
    sandbox.wait_file(sandbox.rootfs("up"), "up");
    let memory =
        |check: bool, limit: i64| json!({ "memory": { "limit": limit, "checkBeforeUpdate": check } });
    let parts = ["linux.resources.memory.limit", "in use"];
    unchanged(sandbox, update_json(sandbox, memory(true, 8 << 20)), &parts);
    assert!(is_alive(sandbox.pid()));
    update_json(sandbox, memory(true, 80 << 20)).finish().ok();
}

fn two_at_once_leave_one_of_both(sandbox: &mut Sandbox) {
    start_limited(sandbox);
    for round in 0..4 {
        let all: Vec<_> = (1..=4)
            .map(|number| {
                let (pids, memory) =
                    (format!("--pids-limit={number}0"), format!("--memory-reservation={number}m"));
                update(sandbox, &[&pids, &memory]).spawn()
            })
            .collect();
        for call in all {
            call.finish().ok();
        }
        let file = if sandbox.layout == Layout::V1 { "memory.soft_limit_in_bytes" } else { "memory.low" };
        let pids: u64 = read(sandbox, "pids", "pids.max").parse().unwrap();
        let memory: u64 = read(sandbox, "memory", file).parse().unwrap();
        assert_eq!(memory >> 20, pids / 10, "round {round}: of two different updates");
    }
}

fn created_and_paused_containers_are_updated(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    update(sandbox, &["--pids-limit", "11"]).finish().ok();
    assert_eq!((read(sandbox, "pids", "pids.max").as_str(), sandbox.status().as_str()), ("11", "created"));
    sandbox.start();
    sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
    update(sandbox, &["--pids-limit", "12"]).finish().ok();
    assert_eq!((read(sandbox, "pids", "pids.max").as_str(), sandbox.status().as_str()), ("12", "paused"));
    sandbox.onggi(&["resume", &sandbox.token]).finish().ok();
    assert_eq!(sandbox.status(), "running");
}

fn other_containers_are_not(sandbox: &mut Sandbox) {
    update(sandbox, &["--pids-limit", "12"]).finish().error(&["container does not exist"]);
    sandbox.args(&["/bin/true"]);
    sandbox.create();
    sandbox.start();
    sandbox.wait_status("stopped");
    update(sandbox, &["--pids-limit", "12"]).finish().error(&["container not running", "stopped"]);
}

fn resources_come_from_files_and_standard_input(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let file = |limit: u32| {
        sandbox.file("resources.json", &json!({ "pids": { "limit": limit }, "future": [1] }).to_string())
    };
    let limit = || read(sandbox, "pids", "pids.max");
    update(sandbox, &["--resources", &file(21)]).finish().ok();
    assert_eq!(limit(), "21");
    update(sandbox, &["-r", &file(22)]).finish().ok();
    assert_eq!(limit(), "22");
    update(sandbox, &["--resources", "-"]).stdin(Path::new(&file(23))).finish().ok();
    assert_eq!(limit(), "23");
    update(sandbox, &["--resources=-"]).stdin(Path::new(&file(24))).finish().ok();
    assert_eq!(limit(), "24");
    update(sandbox, &["--resources=-", "--pids-limit=99"]).stdin(Path::new(&file(25))).finish().ok();
    assert_eq!(limit(), "25", "no other option counts");
    // As engines send what they do not mean to change.
    let zeros = json!({ "memory": { "limit": 0 }, "cpu": { "shares": 0, "cpus": "" }, "pids": {} });
    update_json(sandbox, zeros).finish().ok();
    assert_eq!(limit(), "25");
}

fn nonsense_is_refused(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for options in [
        &["--memory", "lots"][..],
        &["--memory=-5m"],
        &["--pids-limit", "x"],
        &["--cpu-period", "-1"],
        &["--blkio-weight", "70000"],
        &["--cpu-idle", "yes"],
        &["--nonsense", "1"],
    ] {
        unchanged(sandbox, update(sandbox, options), &[options[0].split('=').next().unwrap()]);
    }
    for (text, part) in [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("{} {}", "not valid JSON"),
        ("[]", "object"),
        ("{\"pids\": 7}", "linux.resources.pids"),
        ("{\"memory\": {\"limit\": \"1g\"}}", "linux.resources.memory.limit"),
    ] {
        let file = sandbox.file("nonsense.json", text);
        unchanged(sandbox, update(sandbox, &["--resources", &file]), &[part]);
    }
    let missing = sandbox.path("missing.json");
    unchanged(sandbox, update(sandbox, &["--resources", &missing]), &["--resources", "ENOENT"]);
}

fn without_control_groups_nothing_can_be_limited(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources", json!({})).args(&["/bin/sleep", "100"]);
    sandbox.write_config();
    let (root, bundle) = (sandbox.path("state"), sandbox.path("bundle"));
    let globals = ["--root", &root, "--cgroup-manager", "disabled"];
    let run = ["run", "--detach", "--bundle", &bundle, &sandbox.token];
    sandbox.bare(&[&globals[..], &run].concat()).finish().ok();
    update(sandbox, &["--pids-limit", "5"]).finish().error(&["linux.resources.pids.limit", "disabled"]);
    update(sandbox, &[]).finish().ok();
}

/// That they are changed, all or none, is tested by the unit tests of `src/cgroup/resctrl`: few machines have them.
fn schemata_need_a_group_and_sense(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for (options, parts) in [
        (["--l3-cache-schema", "L3:0=f"], ["linux.intelRdt.l3CacheSchema", "no group of resctrl"]),
        (["--mem-bw-schema", "MB:0=20"], ["linux.intelRdt.memBwSchema", "no group of resctrl"]),
        (["--mem-bw-schema", "L3:0=f"], ["linux.intelRdt.memBwSchema", "does not begin"]),
    ] {
        unchanged(sandbox, update(sandbox, &options), &parts);
    }
}
