//! `events`: what a container uses, held against the files of its cgroups, and when it was out of memory; when the
//! command ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Layout, Need, Output, Running, Sandbox, output, until};

cases! {
    stats_have_runcs_form;
    stats_are_one_line_and_an_end;
    created_containers_have_stats;
    an_unknown_container_does_not_exist;
    a_stopped_container_is_not_running;
    a_bad_interval_is_refused;
    without_cgroups_there_are_stats;
    tasks_are_counted: Need::Controller("pids");
    processes_are_counted_without_the_controller: Need::Only(Layout::V2);
    memory_is_counted: Need::Controller("memory");
    cpu_time_is_counted_v1: Need::Only(Layout::V1), Need::Controller("cpuacct");
    cpu_time_is_counted_v2: Need::Only(Layout::V2);
    throttling_is_counted: Need::Controller("cpu");
    cpus_are_listed: Need::Controller("cpuset");
    block_devices_v1: Need::Only(Layout::V1), Need::Controller("blkio");
    block_devices_v2: Need::Only(Layout::V2), Need::Controller("io"), Need::Program("losetup"),
        Need::File("/dev/loop-control");
    huge_pages_are_counted: Need::Controller("hugetlb");
    pressure_is_told: Need::File("/proc/pressure/cpu");
    interfaces_are_counted: Need::Program("nsenter"), Need::Program("ip"), Need::UserNamespaces;
    the_hosts_network_is_left_out;
    a_line_every_interval;
    the_end_of_the_container_is_the_end;
    deletion_is_the_end;
    sigterm_is_the_end;
    a_reader_that_leaves_is_the_end;
    a_reader_that_left_between_lines_is_the_end;
    two_read_at_once;
    a_paused_container_has_stats;
    waiting_uses_no_cpu;
    oom_is_told: Need::Controller("memory");
    oom_that_ends_the_container_is_told: Need::Controller("memory");
    oom_of_a_cgroup_below_is_told: Need::Only(Layout::V2), Need::Controller("memory");
    no_oom_no_line: Need::Controller("memory");
}

/// Waits for a file that the test makes, then uses up memory and goes on.
const HOG: &str = "while [ ! -e /go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null bs=200M count=1";

/// The data of `events --stats`.
#[track_caller]
fn stats(sandbox: &Sandbox) -> Value {
    let output = sandbox.onggi(&["events", "--stats", &sandbox.token]).finish().ok();
    data(sandbox, &output.stdout)
}

/// The data of one line.
#[track_caller]
fn data(sandbox: &Sandbox, line: &str) -> Value {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(sandbox.token)), "{line}");
    event["data"].clone()
}

fn follow(sandbox: &Sandbox, interval: &str) -> Running {
    sandbox.onggi(&["events", "--interval", interval, &sandbox.token]).limit(90).spawn()
}

/// Waits until so many whole lines with this word are there.
#[track_caller]
fn wait_lines(events: &Running, word: &str, count: usize) -> String {
    let mut text = String::new();
    let there = until(30, || {
        text = events.stdout();
        text.ends_with('\n') && text.lines().filter(|line| line.contains(word)).count() >= count
    });
    assert!(
        there,
        "wanted {count} lines with {word} of {}: {text:.300}; stderr: {:?}",
        text.lines().count(),
        events.stderr()
    );
    text
}

fn oom_line(sandbox: &Sandbox) -> String {
    format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", sandbox.token)
}

#[track_caller]
fn read(sandbox: &Sandbox, controller: &str, file: &str) -> String {
    let path = sandbox.cgroup(controller).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

/// The words of each line behind the first, by the first.
fn table(text: &str) -> BTreeMap<String, u64> {
    let rows = text.lines().filter_map(|line| line.split_once(' '));
    rows.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[track_caller]
fn between(low: u64, figure: &Value, high: u64) {
    let figure = figure.as_u64().unwrap_or_else(|| panic!("not a number: {figure}"));
    assert!(low <= figure && figure <= high, "{figure} is not between {low} and {high}");
}

/// types/events.go of runc: its names, and nothing of ours but `rdma`.
fn stats_have_runcs_form(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let data = stats(sandbox);
    let mut all = keys(&data);
    all.retain(|key| *key != "rdma");
    let parts = ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
    assert_eq!(all, parts, "{data}");
    for (part, known) in [
        ("cpu", &["psi", "throttling", "usage"][..]),
        ("memory", &["cache", "kernel", "kernelTCP", "psi", "raw", "swap", "usage"]),
        ("pids", &["current", "limit"]),
        (
            "blkio",
            &[
                "ioMergedRecursive",
                "ioQueueRecursive",
                "ioServiceBytesRecursive",
                "ioServiceTimeRecursive",
                "ioServicedRecursive",
                "ioTimeRecursive",
                "ioWaitTimeRecursive",
                "psi",
                "sectorsRecursive",
            ],
        ),
    ] {
        assert!(keys(&data[part]).iter().all(|key| known.contains(key)), "{part}: {}", data[part]);
    }
    let flags = [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ];
    assert!(flags.iter().all(|flag| data["cpuset"][flag].is_i64()), "{}", data["cpuset"]);
    for counter in ["usage", "swap", "kernel", "kernelTCP"] {
        assert!(data["memory"][counter]["limit"].is_u64() && data["memory"][counter]["failcnt"].is_u64());
    }
    assert!(data["cpu"]["usage"]["kernel"].is_u64() && data["cpu"]["usage"]["user"].is_u64());
}

fn stats_are_one_line_and_an_end(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let output = sandbox.onggi(&["events", "-stats", &sandbox.token]).finish().ok();
    let start =
        format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{\"cpu\":{{\"usage\":{{", sandbox.token);
    assert!(output.stdout.starts_with(&start) && output.stdout.ends_with("}}\n"), "{}", output.stdout);
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""));
}

fn created_containers_have_stats(sandbox: &mut Sandbox) {
    sandbox.create();
    assert_eq!(stats(sandbox)["pids"]["current"], 1);
}

fn an_unknown_container_does_not_exist(sandbox: &mut Sandbox) {
    for args in [&["events", "--stats", "nobody"][..], &["events", "nobody"]] {
        sandbox.onggi(args).finish().error(&["events nobody: container does not exist"]);
    }
    sandbox.onggi(&["events", "../x"]).finish().error(&["invalid container ID format"]);
    sandbox.onggi(&["events"]).finish().error(&["<ID>"]);
}

fn a_stopped_container_is_not_running(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/true"]).create();
    sandbox.start();
    sandbox.wait_status("stopped");
    let phrase = format!("container with id {} is not running", sandbox.token);
    for args in [&["events", "--stats", &sandbox.token][..], &["events", &sandbox.token]] {
        sandbox.onggi(args).finish().error(&[&phrase]);
    }
}

fn a_bad_interval_is_refused(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    for (interval, reason) in [
        ("0s", "duration interval must be greater than 0"),
        ("-5s", "duration interval must be greater than 0"),
        ("5", "not a time"),
        ("fast", "not a time"),
    ] {
        sandbox.onggi(&["events", "--interval", interval, &sandbox.token]).finish().error(&[reason]);
    }
}

fn without_cgroups_there_are_stats(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]).unset("/linux/resources").unset("/linux/cgroupsPath").write_config();
    let bundle = sandbox.path("bundle");
    let run = ["--cgroup-manager", "disabled", "run", "--detach", "--bundle", &bundle, &sandbox.token];
    sandbox.onggi(&run).finish().ok();
    let data = stats(sandbox);
    assert_eq!((&data["pids"], &data["hugetlb"]), (&json!({}), &json!({})));
    let events = follow(sandbox, "20ms");
    wait_lines(&events, "stats", 2);
    sandbox.kill("KILL");
    assert_eq!(events.finish().ok().stderr, "");
}

fn tasks_are_counted(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/pids", json!({ "limit": 50 }));
    sandbox.script("sleep 100 & sleep 100 & : > /up; wait").create();
    sandbox.start();
    assert!(until(5, || sandbox.rootfs("/up").exists()));
    let data = stats(sandbox);
    assert_eq!(data["pids"], json!({ "current": 3, "limit": 50 }));
    assert_eq!(read(sandbox, "pids", "pids.current"), "3");
}

fn processes_are_counted_without_the_controller(sandbox: &mut Sandbox) {
    sandbox.script("sleep 100 & sleep 100 & : > /up; wait").create();
    sandbox.start();
    assert!(until(5, || sandbox.rootfs("/up").exists()));
    assert!(!sandbox.cgroup("cgroup").join("pids.current").exists(), "nobody asked for the controller");
    assert_eq!(stats(sandbox)["pids"], json!({ "current": 3 }));
}

fn memory_is_counted(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 64 << 20, "swap": 96 << 20 }));
    sandbox.script("head -c 8m /dev/zero > /dev/shm/f; touch /up; exec sleep 100").create();
    sandbox.start();
    assert!(until(10, || sandbox.rootfs("/up").exists()));
    let memory = stats(sandbox)["memory"].clone();
    assert_eq!(memory["usage"]["limit"], 64 << 20);
    between(8 << 20, &memory["usage"]["usage"], 64 << 20);
    between(8 << 20, &memory["cache"], 64 << 20);
    let v1 = sandbox.layout == Layout::V1;
    let raw = table(&read(sandbox, "memory", "memory.stat"));
    assert_eq!(keys(&memory["raw"]), raw.keys().map(String::as_str).collect::<Vec<_>>());
    let (shared, cached) = (raw["shmem"], memory["raw"]["shmem"].as_u64().unwrap());
    assert!(shared >= 8 << 20 && cached >= 8 << 20, "{shared} {cached}");
    let (peak, swap) = if v1 {
        ("memory.max_usage_in_bytes", "memory.memsw.limit_in_bytes")
    } else {
        ("memory.peak", "memory.swap.max")
    };
    let file = |name: &str| sandbox.cgroup("memory").join(name).exists();
    if file(swap) {
        assert_eq!(memory["swap"]["limit"], 96 << 20);
        between(8 << 20, &memory["swap"]["usage"], 96 << 20);
    }
    if file(peak) {
        let most = read(sandbox, "memory", peak).parse().unwrap();
        between(8 << 20, &memory["usage"]["max"], most);
    }
}

/// Half a second of work, then rest.
fn work(sandbox: &mut Sandbox) {
    let script = "timeout 0.5 sh -c 'while :; do :; done'; touch /up; exec sleep 100";
    sandbox.script(script).create();
    sandbox.start();
    assert!(until(15, || sandbox.rootfs("/up").exists()));
}

fn cpu_time_is_counted_v1(sandbox: &mut Sandbox) {
    work(sandbox);
    let total = || read(sandbox, "cpuacct", "cpuacct.usage").parse::<u64>().unwrap();
    let before = total();
    let usage = stats(sandbox)["cpu"]["usage"].clone();
    between(before, &usage["total"], total());
    assert!(before > 100_000_000, "{before} ns");
    let sum = |key: &str| usage[key].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).sum::<u64>();
    let cpus = fs::read_to_string("/proc/stat").unwrap();
    let cpus = cpus.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    assert!(usage["percpu"].as_array().unwrap().len() >= cpus);
    between(before, &json!(sum("percpu")), total());
    // These two are counted by the clock's ticks, as far as a tick falls in.
    let all = table_sums(&read(sandbox, "cpuacct", "cpuacct.usage_all"));
    between(100_000_000, &json!(sum("percpu_user")), all[0]);
    between(0, &json!(sum("percpu_kernel")), all[1]);
    let ticks = table(&read(sandbox, "cpuacct", "cpuacct.stat"));
    let tick =
        1_000_000_000 / nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap() as u64;
    between(100_000_000, &usage["user"], ticks["user"] * tick);
    between(0, &usage["kernel"], ticks["system"] * tick);
}

/// The sums of the second and third word of all lines but the first.
fn table_sums(text: &str) -> [u64; 2] {
    let number = |line: &str, at| line.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
    [1, 2].map(|at| text.lines().skip(1).map(|line| number(line, at)).sum())
}

fn cpu_time_is_counted_v2(sandbox: &mut Sandbox) {
    work(sandbox);
    let before = table(&read(sandbox, "cgroup", "cpu.stat"));
    let usage = stats(sandbox)["cpu"]["usage"].clone();
    let after = table(&read(sandbox, "cgroup", "cpu.stat"));
    for (figure, key) in [("total", "usage_usec"), ("user", "user_usec"), ("kernel", "system_usec")] {
        between(before[key] * 1000, &usage[figure], after[key] * 1000);
    }
    assert!(before["usage_usec"] > 100_000 && usage.get("percpu").is_none(), "{usage}");
}

fn throttling_is_counted(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "quota": 10_000, "period": 100_000 }));
    work(sandbox);
    let (key, unit) =
        if sandbox.layout == Layout::V1 { ("throttled_time", 1) } else { ("throttled_usec", 1000) };
    let before = table(&read(sandbox, "cpu", "cpu.stat"));
    let throttling = stats(sandbox)["cpu"]["throttling"].clone();
    let after = table(&read(sandbox, "cpu", "cpu.stat"));
    assert!(before["nr_throttled"] > 0, "{before:?}");
    between(before["nr_periods"], &throttling["periods"], after["nr_periods"]);
    between(before["nr_throttled"], &throttling["throttledPeriods"], after["nr_throttled"]);
    between(before[key] * unit, &throttling["throttledTime"], after[key] * unit);
}

fn cpus_are_listed(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/cpu", json!({ "cpus": "0", "mems": "0" }));
    sandbox.start_sleeper();
    let set = stats(sandbox)["cpuset"].clone();
    assert_eq!((&set["cpus"], &set["mems"]), (&json!([0]), &json!([0])));
    if sandbox.layout == Layout::V1 {
        let flag = read(sandbox, "cpuset", "cpuset.sched_load_balance").parse::<u64>().unwrap();
        assert_eq!(set["sched_load_balance"], flag);
    }
}

/// Writes something to the disk that the bundle is on.
fn write_through(sandbox: &mut Sandbox) {
    sandbox.script("dd if=/dev/zero of=/f bs=64k count=16 conv=fsync 2>/dev/null; touch /up; exec sleep 100");
    sandbox.create();
    sandbox.start();
    assert!(until(15, || sandbox.rootfs("/up").exists()));
}

/// What `events` says of devices, as lines like those of the kernel on v1: `8:0 Read 4096`.
fn lines_of(figures: &Value) -> Vec<String> {
    let number = |figure: &Value, key: &str| figure[key].as_u64().unwrap_or(0);
    let line = |figure: &Value| {
        let (major, minor) = (number(figure, "major"), number(figure, "minor"));
        format!("{major}:{minor} {} {}", figure["op"].as_str().unwrap(), number(figure, "value"))
    };
    figures.as_array().map(|all| all.iter().map(line).collect()).unwrap_or_default()
}

fn block_devices_v1(sandbox: &mut Sandbox) {
    write_through(sandbox);
    let blkio = stats(sandbox)["blkio"].clone();
    for (figure, name) in
        [("ioServiceBytesRecursive", "io_service_bytes"), ("ioServicedRecursive", "io_serviced")]
    {
        let from = |layer: &str| {
            let path = sandbox.cgroup("blkio").join(format!("blkio.{layer}.{name}_recursive"));
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().filter(|line| !line.starts_with("Total")).map(str::to_owned).collect::<Vec<_>>()
        };
        let told = lines_of(&blkio[figure]);
        assert!(told == from("bfq") || told == from("throttle"), "{told:?} {:?}", from("throttle"));
    }
}

/// A loop device on a file of the test's own, until it is dropped.
struct Loop(String);

impl Loop {
    fn new(sandbox: &Sandbox) -> Loop {
        let file = sandbox.file("disk", &"x".repeat(1 << 20));
        let mut device = String::new();
        // Another test may take the free one first.
        let got = until(5, || {
            device = sandbox.tool_call(&["losetup", "-f"]).finish().ok().text().to_owned();
            sandbox.tool_call(&["losetup", &device, &file]).finish().status.success()
        });
        assert!(got, "no free loop device");
        Loop(device)
    }

    fn number(&self) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt;
        let device = fs::metadata(&self.0).unwrap().rdev();
        (rustix::fs::major(device).into(), rustix::fs::minor(device).into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = output(Command::new("losetup").args(["-d", &self.0]));
    }
}

/// Somebody reads a disk in the container's cgroup.
fn block_devices_v2(sandbox: &mut Sandbox) {
    let disk = Loop::new(sandbox);
    let (major, minor) = disk.number();
    let limit = json!([{ "major": major, "minor": minor, "rate": 1_u64 << 40 }]);
    sandbox.set("/linux/resources/blockIO", json!({ "throttleReadBpsDevice": limit }));
    sandbox.set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]));
    sandbox.start_sleeper();
    let procs = sandbox.cgroup("io").join("cgroup.procs").display().to_string();
    let read = format!("echo $$ > {procs}; exec dd if={} of=/dev/null bs=65536", disk.0);
    sandbox.tool_call(&["sh", "-c", &read]).finish().ok();
    let blkio = stats(sandbox)["blkio"].clone();
    let bytes = lines_of(&blkio["ioServiceBytesRecursive"]);
    assert!(bytes.contains(&format!("{major}:{minor} Read {}", 1 << 20)), "{bytes:?}");
    let path = sandbox.cgroup("io").join("io.stat");
    let text = fs::read_to_string(path).unwrap_or_default();
    for (figure, read, write) in
        [("ioServiceBytesRecursive", "rbytes", "wbytes"), ("ioServicedRecursive", "rios", "wios")]
    {
        let mut wanted = Vec::new();
        for line in text.lines() {
            let (device, figures) = line.split_once(' ').unwrap();
            let of = |key: &str| figures.split(' ').find_map(|it| it.strip_prefix(&format!("{key}=")));
            if let (Some(read), Some(write)) = (of(read), of(write)) {
                wanted.extend([format!("{device} Read {read}"), format!("{device} Write {write}")]);
            }
        }
        assert_eq!(lines_of(&blkio[figure]), wanted);
    }
}

fn huge_pages_are_counted(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }]));
    sandbox.start_sleeper();
    let pages = stats(sandbox)["hugetlb"].clone();
    let cgroup = sandbox.cgroup("hugetlb");
    let names = fs::read_dir(&cgroup).unwrap().flatten().map(|it| it.file_name().into_string().unwrap());
    let sizes = names.filter_map(|name| {
        let size = name
            .strip_prefix("hugetlb.")?
            .strip_suffix(".failcnt")
            .or(name.strip_prefix("hugetlb.")?.strip_suffix(".events"))?;
        (!size.contains('.')).then(|| size.to_owned())
    });
    let mut sizes: Vec<String> = sizes.collect();
    sizes.sort();
    assert_eq!(keys(&pages), sizes, "{pages}");
    assert_eq!(pages["2MB"], json!({ "failcnt": 0 }));
}

/// On v1 the hybrid layout has it, by its cgroup2 mount.
fn pressure_is_told(sandbox: &mut Sandbox) {
    work(sandbox);
    let unified = sandbox.layout.hierarchies().into_iter().find(|it| it.controllers.is_empty());
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/').to_owned();
    let file = unified.map(|unified| unified.mount.join(path).join("cpu.pressure"));
    let file = file.filter(|file| fs::read_to_string(file).is_ok());
    let total = || {
        let text = fs::read_to_string(file.as_ref().unwrap()).unwrap();
        text.lines().next().unwrap().rsplit_once('=').unwrap().1.parse::<u64>().unwrap()
    };
    let Some(before) = file.as_ref().map(|_| total()) else {
        assert!(stats(sandbox)["cpu"].get("psi").is_none());
        return;
    };
    let data = stats(sandbox);
    between(before, &data["cpu"]["psi"]["some"]["total"], total());
    for part in ["cpu", "memory", "blkio"] {
        for line in ["some", "full"] {
            let psi = &data[part]["psi"][line];
            assert!(psi["avg10"].is_f64() && psi["avg60"].is_f64() && psi["avg300"].is_f64(), "{psi}");
            assert!(psi["total"].is_u64(), "{psi}");
        }
    }
}

fn interfaces_are_counted(sandbox: &mut Sandbox) {
    let pid = sandbox.start_sleeper();
    let names = |data: &Value| {
        let all = data["network_interfaces"].as_array().unwrap().iter();
        all.map(|it| it["Name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = names(&stats(sandbox));
    assert!(!before.contains(&"lo".to_owned()), "{before:?}");
    let ip = |args: &str| {
        let pid = pid.to_string();
        let words: Vec<&str> =
            ["nsenter", "-t", &pid, "-n", "ip"].into_iter().chain(args.split(' ')).collect();
        sandbox.tool_call(&words).finish()
    };
    ip("link add onggi0 type veth peer name onggi1").ok();
    ip("link set onggi0 up").ok();
    ip("link set onggi1 up").ok();
    let of = |column: usize| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("onggi0:")).unwrap().to_owned();
        line.split_whitespace().nth(column).unwrap().parse::<u64>().unwrap()
    };
    // IPv6 greets its neighbours by itself; without it the figures stay zero, and are still the kernel's.
    until(3, || of(8) > 0);
    const COLUMNS: [(&str, usize); 8] = [
        ("RxBytes", 0),
        ("RxPackets", 1),
        ("RxErrors", 2),
        ("RxDropped", 3),
        ("TxBytes", 8),
        ("TxPackets", 9),
        ("TxErrors", 10),
        ("TxDropped", 11),
    ];
    let low = COLUMNS.map(|(_, column)| of(column));
    let data = stats(sandbox);
    assert_eq!(names(&data).len(), before.len() + 2);
    let all = data["network_interfaces"].as_array().unwrap();
    let found = all.iter().find(|it| it["Name"] == "onggi0").unwrap();
    assert_eq!(keys(found).len(), 9, "{found}");
    for ((name, column), low) in COLUMNS.into_iter().zip(low) {
        between(low, &found[name], of(column));
    }
}

fn the_hosts_network_is_left_out(sandbox: &mut Sandbox) {
    sandbox.without_namespace("network").start_sleeper();
    assert_eq!(stats(sandbox)["network_interfaces"], Value::Null);
}

fn a_line_every_interval(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let start = std::time::Instant::now();
    let events = follow(sandbox, "300ms");
    let text = wait_lines(&events, "stats", 3);
    assert!(start.elapsed().as_millis() >= 900, "three lines after {:?}", start.elapsed());
    text.lines().for_each(|line| drop(data(sandbox, line)));
    // With the usual five seconds there is no line yet when this one is over.
    let slow = sandbox.onggi(&["events", &sandbox.token]).spawn();
    wait_lines(&events, "stats", 6);
    assert_eq!(slow.stdout(), "");
}

fn ends_well(events: Running) -> Output {
    let output = events.finish().ok();
    assert!(output.stdout.is_empty() || output.stdout.ends_with("}}\n"), "{}", output.describe());
    assert_eq!(output.stderr, "");
    output
}

fn the_end_of_the_container_is_the_end(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (often, never) = (follow(sandbox, "20ms"), follow(sandbox, "100000h"));
    wait_lines(&often, "stats", 2);
    sandbox.kill("KILL");
    ends_well(often);
    assert_eq!(ends_well(never).stdout, "");
    assert_eq!(sandbox.status(), "stopped", "nothing was done to it");
}

fn deletion_is_the_end(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (often, never) = (follow(sandbox, "1ms"), follow(sandbox, "1h"));
    wait_lines(&often, "stats", 5);
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    ends_well(often);
    ends_well(never);
}

fn sigterm_is_the_end(sandbox: &mut Sandbox) {
    use std::os::unix::process::ExitStatusExt;
    sandbox.start_sleeper();
    let events = follow(sandbox, "50ms");
    wait_lines(&events, "stats", 1);
    events.signal(Signal::SIGTERM);
    let output = events.finish();
    assert_eq!(output.status.signal(), Some(15), "{}", output.describe());
    assert_eq!(sandbox.status(), "running");
}

fn a_reader_that_leaves_is_the_end(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let call = sandbox.onggi(&["events", "--interval", "50ms", &sandbox.token]);
    let output = call.through(&["sh", "-c", "\"$@\" | head -n 2", "sh"]).finish().ok();
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (2, ""));
}

/// A shell waits for every part of its pipe.
fn a_reader_that_left_between_lines_is_the_end(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let call = sandbox.onggi(&["events", "--interval", "1h", &sandbox.token]);
    let output = call.through(&["sh", "-c", "\"$@\" | true", "sh"]).finish().ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}

fn two_read_at_once(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let both = [follow(sandbox, "30ms"), follow(sandbox, "30ms")];
    both.iter().for_each(|events| drop(wait_lines(events, "stats", 3)));
    stats(sandbox);
    sandbox.kill("KILL");
    both.into_iter().for_each(|events| drop(ends_well(events)));
}

fn a_paused_container_has_stats(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let events = follow(sandbox, "30ms");
    sandbox.onggi(&["pause", &sandbox.token]).finish().ok();
    assert_eq!(sandbox.status(), "paused");
    assert_eq!(stats(sandbox)["pids"]["current"], 1);
    let lines = events.stdout().lines().count();
    wait_lines(&events, "stats", lines + 2);
    sandbox.onggi(&["resume", &sandbox.token]).finish().ok();
    sandbox.kill("KILL");
    ends_well(events);
}

fn waiting_uses_no_cpu(sandbox: &mut Sandbox) {
    sandbox.start_sleeper();
    let (idle, other) = (follow(sandbox, "1h"), follow(sandbox, "200ms"));
    wait_lines(&other, "stats", 2);
    let ticks = || {
        let text = fs::read_to_string(format!("/proc/{}/stat", idle.pid())).unwrap();
        let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    wait_lines(&other, "stats", 7);
    assert!(ticks() <= before + 2, "{} ticks in a second of waiting", ticks() - before);
}

fn small(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 24 << 20, "swap": 24 << 20 }));
}

fn go(sandbox: &Sandbox) {
    fs::write(sandbox.rootfs("/go"), "").unwrap();
}

fn oom_is_told(sandbox: &mut Sandbox) {
    small(sandbox);
    sandbox.script(&format!("{HOG}; touch /survived; exec sleep 100")).create();
    sandbox.start();
    let both = [follow(sandbox, "100ms"), follow(sandbox, "1h")];
    wait_lines(&both[0], "stats", 1);
    // The second has no line to show that it is there.
    assert!(until(10, || is_watching(&both[1])));
    go(sandbox);
    let line = oom_line(sandbox);
    for events in &both {
        let text = wait_lines(events, "oom\"", 1);
        assert!(text.lines().any(|it| it == line), "{text}");
    }
    assert!(until(15, || sandbox.rootfs("/survived").exists()));
    assert_eq!(sandbox.status(), "running");
    wait_lines(&both[0], "stats", 5);
    sandbox.kill("KILL");
    for events in both {
        let output = events.finish().ok();
        let told = output.stdout.lines().filter(|it| *it == line).count();
        // v1 tells of each attempt to get memory that failed, until the killed process is gone.
        let most = if sandbox.layout == Layout::V1 { 1000 } else { 1 };
        assert!((1..=most).contains(&told), "one process was killed: {}", output.describe());
    }
}

/// Waits for descriptors: everything is set up.
fn is_watching(events: &Running) -> bool {
    let call = fs::read_to_string(format!("/proc/{}/syscall", events.pid())).unwrap_or_default();
    call.split(' ').next() == Some(&nix::libc::SYS_ppoll.to_string())
}

fn oom_that_ends_the_container_is_told(sandbox: &mut Sandbox) {
    small(sandbox);
    let hog = "while [ ! -e /go ]; do sleep 0.05; done; exec dd if=/dev/zero of=/dev/null bs=200M count=1";
    sandbox.script(hog).create();
    sandbox.start();
    let events = follow(sandbox, "1h");
    assert!(until(10, || is_watching(&events)));
    go(sandbox);
    let output = events.finish().ok();
    assert!(output.stdout.lines().all(|line| line == oom_line(sandbox)), "{}", output.describe());
    assert!(!output.stdout.is_empty(), "{}", output.describe());
    sandbox.wait_status("stopped");
}

/// memory.events counts for the cgroups above too.
fn oom_of_a_cgroup_below_is_told(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources/memory", json!({ "limit": 512 << 20, "swap": 512 << 20 }));
    sandbox.script(&format!("{HOG}; exec sleep 100")).create();
    sandbox.start();
    let (cgroup, pid) = (sandbox.cgroup("memory"), sandbox.pid());
    let below = cgroup.join("below");
    fs::create_dir(&below).unwrap();
    // A shell may have a child, which may go while it is moved.
    assert!(until(5, || {
        let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
        procs.lines().for_each(|pid| drop(fs::write(below.join("cgroup.procs"), pid)));
        fs::write(cgroup.join("cgroup.subtree_control"), "+memory").is_ok()
    }));
    assert!(fs::read_to_string(below.join("cgroup.procs")).unwrap().contains(&pid.to_string()));
    fs::write(below.join("memory.max"), (16 << 20).to_string()).unwrap();
    no_swap(&below);
    let events = follow(sandbox, "1h");
    assert!(until(10, || is_watching(&events)));
    go(sandbox);
    wait_lines(&events, "oom\"", 1);
    sandbox.kill("KILL");
    assert_eq!(events.finish().ok().stderr, "");
}

fn no_swap(cgroup: &Path) {
    let file = cgroup.join("memory.swap.max");
    if file.exists() {
        fs::write(file, "0").unwrap();
    }
}

/// Other news of memory (v2: `high`) is no lack of it, and neither is the end of the cgroup, which v1 tells alike.
fn no_oom_no_line(sandbox: &mut Sandbox) {
    small(sandbox);
    let script = "head -c 8m /dev/zero > /dev/shm/f; touch /up; while :; do sleep 0.05; done";
    sandbox.script(script).create();
    sandbox.start();
    assert!(until(15, || sandbox.rootfs("/up").exists()));
    let events = follow(sandbox, "100ms");
    wait_lines(&events, "stats", 1);
    let high = sandbox.cgroup("memory").join("memory.high");
    if high.exists() {
        fs::write(&high, "1048576").unwrap();
        assert!(until(15, || table(&read(sandbox, "memory", "memory.events"))["high"] > 0));
        fs::write(&high, "max").unwrap();
    }
    sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    let output = ends_well(events);
    assert!(!output.stdout.contains("oom\""), "{}", output.describe());
}
