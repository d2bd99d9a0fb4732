//! The systemd driver: the scope, its limits, its end, and what happens when systemd or D-Bus is not there
//! (docs/systemd.md).

mod bus;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Call, Layout, Need, Output, Running, Sandbox, limit, output, until};
use crate::limits::bfq_turn;
use bus::Fate;

cases! {
    no_bus_is_an_error;
    a_bus_that_closes_is_an_error;
    a_bus_that_closes_at_the_start_leaves_nothing;
    a_bus_that_talks_nonsense_is_an_error;
    a_silent_bus_is_given_up;
    a_bus_without_end_is_given_up;
    a_silent_start_is_given_up_and_leaves_nothing;
    a_refused_start_leaves_nothing;
    a_failed_job_leaves_nothing;
    a_process_outside_its_scope_is_an_error;
    delete_goes_on_without_a_bus;
    delete_stops_only_the_unit_with_the_containers_cgroup;
    an_update_without_an_answer_is_taken_back: Need::Controller("pids");
    a_bus_without_systemd_says_so: Need::Program("dbus-daemon");
    the_bus_knows_who_is_mapped_to_root: Need::Program("dbus-daemon"), Need::Program("setpriv"), Need::UserNamespaces;
    only_the_driver_touches_the_bus;
    cgroups_path_is_checked;
    cve_2024_3154;
    the_scope_holds_the_container: Need::Systemd;
    the_default_scope_has_the_containers_name: Need::Systemd;
    slices_are_made_on_the_way: Need::Systemd;
    the_cgroup_namespace_begins_at_the_scope: Need::Systemd;
    a_cgroup_mount_without_a_namespace_shows_the_scope: Need::Systemd;
    limits_are_properties_and_files: Need::Systemd, Need::Only(Layout::V2), Need::Controller("memory");
    the_files_are_those_without_systemd: Need::Systemd, Need::Only(Layout::V2), Need::Controller("memory"),
        Need::Controller("hugetlb");
    update_tells_systemd: Need::Systemd, Need::Only(Layout::V2), Need::Controller("memory");
    annotations_are_properties: Need::Systemd;
    systemd_speaks_for_itself: Need::Systemd;
    a_unit_of_somebody_else_stays: Need::Systemd;
    a_failed_unit_of_the_name_is_no_obstacle: Need::Systemd;
    delete_needs_no_flag: Need::Systemd;
    a_dead_container_leaves_no_unit: Need::Systemd;
    many_cycles_leave_nothing: Need::Systemd;
    a_killed_creator_leaves_what_delete_removes: Need::Systemd;
    devices_survive_a_reload: Need::Systemd;
    a_new_systemd_still_has_the_scope: Need::Systemd;
    a_new_systemd_in_the_middle_leaves_nothing: Need::Systemd;
    an_unreachable_bus_leaves_no_unit: Need::Systemd;
    rootless_by_the_users_own_systemd: Need::File("/run/user/1000/bus"), Need::Program("setpriv"), Need::Only(Layout::V2);
    rootless_as_root_of_a_user_namespace: Need::File("/run/user/1000/bus"), Need::Program("setpriv"), Need::Only(Layout::V2);
}

const FLAG: &str = "--systemd-cgroup";

/// The container's unit in system.slice.
fn unit(sandbox: &Sandbox) -> String {
    format!("t-{}.scope", sandbox.token)
}

/// Held by every test that counts on systemd, and alone by one that restarts it.
static CALM: RwLock<()> = RwLock::new(());

type Calm = RwLockReadGuard<'static, ()>;

/// The config asks for that unit; the process waits. While the result is kept, nobody restarts systemd.
fn scoped(sandbox: &mut Sandbox) -> Calm {
    ask_for_the_unit(sandbox);
    CALM.read().unwrap_or_else(PoisonError::into_inner)
}

fn ask_for_the_unit(sandbox: &mut Sandbox) {
    let path = format!("system.slice:t:{}", sandbox.token);
    sandbox.set("/linux/cgroupsPath", json!(path));
    sandbox.args(&["/bin/sleep", "100"]);
}

/// `create` or `run` with the driver.
fn begin(sandbox: &Sandbox, command: &str, options: &[&str]) -> Call {
    sandbox.write_config();
    let bundle = sandbox.path("bundle");
    let args = [&[FLAG, command, "--bundle", &bundle], options, &[&sandbox.token]].concat();
    sandbox.onggi(&args).limit(60)
}

fn created(sandbox: &mut Sandbox) -> i32 {
    begin(sandbox, "create", &[]).finish().ok();
    sandbox.pid()
}

/// `create` with the driver, on a bus of the test's own.
fn create_on(sandbox: &mut Sandbox, fate: Fate) -> Output {
    let _calm = scoped(sandbox);
    let _bus = bus::play(sandbox.path("bus"), fate);
    on(sandbox, begin(sandbox, "create", &[])).finish()
}

fn on(sandbox: &Sandbox, call: Call) -> Call {
    call.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", sandbox.path("bus")))
}

/// systemctl's words.
fn systemctl(args: &[&str]) -> String {
    let output = output(Command::new("systemctl").args(args));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// One property of a unit.
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--property", name, "--value", unit])
}

/// The units whose names have the sandbox's token.
fn units(sandbox: &Sandbox) -> Vec<String> {
    let list = systemctl(&["list-units", "--all", "--plain", "--no-legend"]);
    list.lines().filter(|line| line.contains(&sandbox.token)).map(str::to_owned).collect()
}

/// Nothing is left, units included.
#[track_caller]
fn swept(sandbox: &Sandbox, output: &Output) {
    sandbox.clean(output);
    assert_eq!(units(sandbox), Vec::<String>::new());
}

fn delete(sandbox: &Sandbox) -> Output {
    sandbox.onggi(&["delete", "--force", &sandbox.token]).limit(60).finish().ok()
}

/// The line of /proc/PID/cgroup that systemd goes by.
fn place(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let v1 = text.lines().find_map(|line| line.split_once(":name=systemd:"));
    v1.or_else(|| text.lines().find_map(|line| line.split_once("0::"))).unwrap().1.to_owned()
}

// Without systemd: the bus is the test's own.

fn no_bus_is_an_error(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    for flag in [&[FLAG][..], &["--cgroup-manager", "systemd"], &["--cgroup-manager=systemd"]] {
        for command in ["create", "run", "plan"] {
            sandbox.write_config();
            let bundle = sandbox.path("bundle");
            let id = Some(&*sandbox.token).filter(|_| command != "plan");
            let args: Vec<&str> =
                flag.iter().copied().chain([command, "--bundle", &bundle]).chain(id).collect();
            let call = on(sandbox, sandbox.onggi(&args));
            let output = call.finish().error(&[FLAG, "connect(", "ENOENT", "is D-Bus running?"]);
            sandbox.clean(&output);
        }
    }
}

fn a_bus_that_closes_is_an_error(sandbox: &mut Sandbox) {
    let output = create_on(sandbox, Fate::ClosedAfterHello).error(&[
        FLAG,
        "D-Bus at unix:path=",
        "closed the connection",
    ]);
    sandbox.clean(&output);
}

fn a_bus_that_closes_at_the_start_leaves_nothing(sandbox: &mut Sandbox) {
    let parts = ["linux.cgroupsPath", "StartTransientUnit", "closed the connection"];
    let output = create_on(sandbox, Fate::ClosedAtStart).error(&parts);
    sandbox.clean(&output);
}

fn a_bus_that_talks_nonsense_is_an_error(sandbox: &mut Sandbox) {
    let output = create_on(sandbox, Fate::Garbage).error(&[FLAG, "sent what is no message"]);
    sandbox.clean(&output);
}

fn a_silent_bus_is_given_up(sandbox: &mut Sandbox) {
    let begun = Instant::now();
    let output = create_on(sandbox, Fate::Silence).error(&[FLAG, "ETIMEDOUT", "nobody answers"]);
    assert!(begun.elapsed() < limit(20), "{:?}", begun.elapsed());
    sandbox.clean(&output);
}

fn a_bus_without_end_is_given_up(sandbox: &mut Sandbox) {
    let output = create_on(sandbox, Fate::Endless).error(&[FLAG, "sent a line of more than 16384 bytes"]);
    sandbox.clean(&output);
}

fn a_silent_start_is_given_up_and_leaves_nothing(sandbox: &mut Sandbox) {
    let output = create_on(sandbox, Fate::SilenceAtStart).error(&["StartTransientUnit", "ETIMEDOUT"]);
    sandbox.clean(&output);
}

fn a_refused_start_leaves_nothing(sandbox: &mut Sandbox) {
    let output = create_on(sandbox, Fate::Refused);
    let unit = unit(sandbox);
    let words = format!(
        "linux.cgroupsPath: StartTransientUnit(\"{unit}\"): org.freedesktop.systemd1.UnitMasked: Unit is masked."
    );
    let output = output.error(&[&words]);
    sandbox.clean(&output);
}

fn a_failed_job_leaves_nothing(sandbox: &mut Sandbox) {
    let output = create_on(sandbox, Fate::JobFailed).error(&[
        "linux.cgroupsPath",
        "the result \"failed\"",
        "journalctl",
    ]);
    sandbox.clean(&output);
}

fn a_process_outside_its_scope_is_an_error(sandbox: &mut Sandbox) {
    let output =
        create_on(sandbox, Fate::Nothing).error(&["linux.cgroupsPath", "systemd has not put process"]);
    sandbox.clean(&output);
}

/// A running container whose state names a scope of the systemd at `bus`, and where its cgroups are.
fn with_a_scope_of(sandbox: &mut Sandbox, bus: &str) -> String {
    sandbox.start_sleeper();
    let file = sandbox.root().join(&sandbox.token).join("state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let address = format!("unix:path={}", sandbox.path(bus));
    state["cgroup"]["scope"] = json!({ "unit": unit(sandbox), "address": address });
    fs::write(&file, state.to_string()).unwrap();
    state["cgroup"]["entries"][0]["path"].as_str().unwrap().to_owned()
}

/// Who killed `create` before systemd had answered knows the name of the unit, not whose it is.
fn delete_stops_only_the_unit_with_the_containers_cgroup(sandbox: &mut Sandbox) {
    for (place, stopped) in [(Some("/other.slice/t.scope"), false), (Some(""), true), (None, true)] {
        let own = with_a_scope_of(sandbox, "bus");
        let bus = bus::play(sandbox.path("bus"), Fate::UnitAt(place.unwrap_or(own.leak())));
        let output = delete(sandbox);
        assert_eq!(bus.count("StopUnit") > 0, stopped, "{place:?}");
        drop(bus);
        fs::remove_file(sandbox.path("bus")).unwrap();
        sandbox.clean(&output);
    }
}

/// systemd may have taken the new limit: it is told the old one.
fn an_update_without_an_answer_is_taken_back(sandbox: &mut Sandbox) {
    sandbox.set("/linux/resources", json!({ "pids": { "limit": 20 } }));
    with_a_scope_of(sandbox, "bus");
    let bus = bus::play(sandbox.path("bus"), Fate::SilenceAtSet);
    let update = sandbox.onggi(&["update", "--pids-limit", "30", &sandbox.token]).limit(60);
    let output = update.finish().error(&[bus::SET, "ETIMEDOUT"]);
    assert_eq!(bus.count(bus::SET), 2, "{}", output.describe());
    let file = sandbox.cgroup("pids").join("pids.max");
    assert_eq!(fs::read_to_string(file).unwrap().trim(), "20");
    drop(bus);
    let output = delete(sandbox);
    sandbox.clean(&output);
}

/// The state names a scope whose bus is gone: the container is deleted all the same.
fn delete_goes_on_without_a_bus(sandbox: &mut Sandbox) {
    with_a_scope_of(sandbox, "no-bus");
    let output = delete(sandbox);
    sandbox.clean(&output);
}

/// A real D-Bus of the test's own, with nobody on it; it ends with its owner.
fn real_bus(sandbox: &Sandbox) -> Running {
    let path = sandbox.path("bus");
    let config = format!(
        "<busconfig><type>custom</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>\
        <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy>\
        </busconfig>"
    );
    let file = sandbox.file("bus.conf", &config);
    let daemon =
        sandbox.tool_call(&["dbus-daemon", "--nofork", "--nopidfile", "--config-file", &file]).spawn();
    assert!(until(10, || Path::new(&path).exists()), "{}", daemon.stderr());
    daemon
}

const UNKNOWN: &str = "Get(\"Version\"): org.freedesktop.DBus.Error.ServiceUnknown: ";

fn a_bus_without_systemd_says_so(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let daemon = real_bus(sandbox);
    let output = on(sandbox, begin(sandbox, "create", &[])).finish();
    let output = output.error(&[FLAG, UNKNOWN, "systemd is not running here"]);
    daemon.signal(Signal::SIGTERM);
    drop(daemon);
    sandbox.clean(&output);
}

/// Root of a user namespace is another user to the bus, which would refuse a false name.
fn the_bus_knows_who_is_mapped_to_root(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.write_config();
    let daemon = real_bus(sandbox);
    let bundle = sandbox.path("bundle");
    let call = sandbox.onggi(&[FLAG, "plan", "--bundle", &bundle]);
    let call = call.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", sandbox.path("bus")));
    let user =
        ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "unshare", "--map-root-user"];
    call.through(&user).finish().error(&[FLAG, UNKNOWN]);
    daemon.signal(Signal::SIGTERM);
    drop(daemon);
}

fn only_the_driver_touches_the_bus(sandbox: &mut Sandbox) {
    let bus = bus::play(sandbox.path("bus"), Fate::ClosedAfterHello);
    on(sandbox, sandbox.begin("create", &[])).finish().ok();
    for args in
        [&["--systemd-cgroup", "state", &sandbox.token][..], &["--systemd-cgroup", "list"], &["--version"]]
    {
        on(sandbox, sandbox.onggi(args)).finish().ok();
    }
    on(sandbox, sandbox.onggi(&[FLAG, "delete", "--force", &sandbox.token])).finish().ok();
    assert_eq!(bus.callers(), 0);
    on(sandbox, begin(sandbox, "create", &[])).finish().error(&["closed the connection"]);
    assert_eq!(bus.callers(), 1);
}

/// The plan is made before anything is done; a bus that knows systemd's version is enough.
fn cgroups_path_is_checked(sandbox: &mut Sandbox) {
    let _bus = bus::play(sandbox.path("bus"), Fate::Refused);
    for (path, part) in [
        ("/a/b", "expected cgroupsPath to be of format \\\"slice:prefix:name\\\""),
        ("a:b", "expected cgroupsPath to be of format"),
        ("nothing:b:c", "no name of a systemd slice"),
        ("a--b.slice:b:c", "no name of a systemd slice"),
        ("../a.slice:b:c", ".."),
        ("a.slice:b:c/d", "no name of a systemd scope"),
        ("a.slice:b:", "names no scope"),
    ] {
        sandbox.set("/linux/cgroupsPath", json!(path));
        let output = on(sandbox, begin(sandbox, "create", &[])).finish();
        let part = part.replace("\\\"", "\"");
        sandbox.clean(&output.error(&["linux.cgroupsPath", &part]));
    }
}

/// Annotations may come from whoever wrote the pod: nothing in them may run, mount or change who the container is.
fn cve_2024_3154(sandbox: &mut Sandbox) {
    let _bus = bus::play(sandbox.path("bus"), Fate::Refused);
    let _calm = scoped(sandbox);
    for (name, value) in [
        ("ExecStartPre", "[('/bin/touch', ['touch', '/x'], false)]"),
        ("SuccessAction", "'reboot-force'"),
        ("OnFailure", "['debug-shell.service']"),
        ("Wants", "['debug-shell.service']"),
        ("BindPaths", "[('/', '/mnt', false, uint64 0)]"),
        ("User", "'root'"),
        ("Slice", "'-.slice'"),
        ("DevicePolicy", "'auto'"),
    ] {
        let key = format!("org.systemd.property.{name}");
        sandbox.config["annotations"] = json!({ &key: value });
        let output = on(sandbox, begin(sandbox, "create", &[])).finish();
        let field = format!("annotations {key:?}");
        sandbox.clean(&output.error(&[&field, "may not be set by an annotation"]));
    }
}

// With systemd.

fn the_scope_holds_the_container(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let pid = created(sandbox);
    let unit = unit(sandbox);
    assert_eq!(place(pid), format!("/system.slice/{unit}"));
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("TasksAccounting", "yes"),
        ("CollectMode", "inactive-or-failed"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    assert_eq!(property(&unit, "Description"), format!("onggi container {}", sandbox.token));
    sandbox.start();
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    let output = sandbox.onggi(&[FLAG, "delete", &sandbox.token]).finish().ok();
    swept(sandbox, &output);
}

fn the_default_scope_has_the_containers_name(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.unset("/linux/cgroupsPath");
    let pid = created(sandbox);
    assert_eq!(place(pid), format!("/system.slice/onggi-{}.scope", sandbox.token));
    let output = delete(sandbox);
    swept(sandbox, &output);
}

fn slices_are_made_on_the_way(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    // A dash is a level: the token has some, and the top one is nobody else's.
    let top = sandbox.token.replace('-', "_");
    sandbox.set("/linux/cgroupsPath", json!(format!("{top}-b.slice::{}", sandbox.token)));
    let pid = created(sandbox);
    assert_eq!(place(pid), format!("/{top}.slice/{top}-b.slice/{}.scope", sandbox.token));
    let output = delete(sandbox);
    swept(sandbox, &output);
    // Slices are the engine's, as with every runtime: who knows that nobody else is in them?
    systemctl(&["stop", &format!("{top}.slice")]);
}

fn the_cgroup_namespace_begins_at_the_scope(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.script(
        "cat /proc/self/cgroup; ls -d /sys/fs/cgroup/system.slice /sys/fs/cgroup/systemd/system.slice",
    );
    let output = begin(sandbox, "run", &[]).finish();
    let mut lines = output.stdout.lines();
    assert!(lines.all(|line| line.ends_with(":/")), "{}", output.describe());
    swept(sandbox, &output);
}

/// It is a bind mount then, of what is there only once systemd has made the scope around the process.
fn a_cgroup_mount_without_a_namespace_shows_the_scope(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.without_namespace("cgroup");
    sandbox.script(
        "cd /sys/fs/cgroup; for file in cgroup.procs */cgroup.procs; do [ ! -e $file ] || grep -c -x 1 $file; done",
    );
    let output = begin(sandbox, "run", &[]).finish().ok();
    assert!(
        !output.stdout.is_empty() && output.stdout.lines().all(|line| line == "1"),
        "{}",
        output.describe()
    );
    swept(sandbox, &output);
}

fn limits_are_properties_and_files(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.set(
        "/linux/resources",
        json!({
            "memory": { "limit": 67_108_864, "reservation": 33_554_432, "swap": 100_663_296 },
            "cpu": { "shares": 512, "quota": 25_000, "period": 100_000, "cpus": "0" },
            "pids": { "limit": 77 },
            "unified": { "memory.high": "50331648", "memory.min": "4096" }
        }),
    );
    created(sandbox);
    let unit = unit(sandbox);
    for (name, value) in [
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("MemorySwapMax", "33554432"),
        ("MemoryHigh", "50331648"),
        ("MemoryMin", "4096"),
        ("CPUQuotaPerSecUSec", "250ms"),
        ("AllowedCPUs", "0"),
        ("TasksMax", "77"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    let dir = PathBuf::from("/sys/fs/cgroup/system.slice").join(&unit);
    let files = || {
        let read = |name| fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
        let names = [
            "memory.max",
            "memory.low",
            "memory.swap.max",
            "memory.high",
            "cpu.max",
            "cpuset.cpus",
            "pids.max",
        ];
        names.map(read)
    };
    let wanted = ["67108864", "33554432", "33554432", "50331648", "25000 100000", "0", "77"];
    assert_eq!(files(), wanted);
    assert_eq!(property(&unit, "CPUWeight"), fs::read_to_string(dir.join("cpu.weight")).unwrap().trim());
    systemctl(&["daemon-reload"]);
    assert_eq!(files(), wanted, "after a reload");
    let output = delete(sandbox);
    swept(sandbox, &output);
}

/// All files of the container's cgroup that can be written and are a limit.
fn limits(dir: &Path) -> BTreeMap<String, String> {
    let others = |name: &str| {
        name.starts_with("cgroup.")
            || name.ends_with(".pressure")
            || name.ends_with(".peak")
            || name == "memory.reclaim"
    };
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_file() && meta.permissions().mode() & 0o200 != 0 && !others(&name) {
            all.insert(name, fs::read_to_string(entry.path()).unwrap_or_default().trim().to_owned());
        }
    }
    all
}

/// Every limit, once as we write it and once in a scope: no file may differ.
fn the_files_are_those_without_systemd(sandbox: &mut Sandbox) {
    let disk = fs::read_dir("/sys/block").unwrap().flatten().find_map(|disk| {
        let number = fs::read_to_string(disk.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let (major, minor) = disk.unwrap();
    let rate = |rate: u32| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let whole = json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432, "swap": 100_663_296 },
        "cpu": { "shares": 512, "quota": 25_000, "period": 50_000, "burst": 1000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 77 },
        "blockIO": { "weight": 300, "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
            "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200) },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }],
        "unified": { "memory.high": "50331648", "memory.min": "4096", "memory.oom.group": "1" }
    });
    let idle = json!({ "cpu": { "idle": 1 }, "pids": { "limit": 0 }, "memory": { "limit": 4_194_304, "swap": 4_194_304 } });
    let none = json!({ "memory": { "limit": -1 }, "cpu": { "quota": -1 }, "pids": { "limit": -1 } });
    let files = [
        "memory.max memory.low memory.swap.max memory.high memory.min memory.oom.group cpu.weight cpu.max cpu.max.burst \
         cpuset.cpus cpuset.mems pids.max io.max io.weight hugetlb.2MB.max hugetlb.2MB.rsvd.max",
        "cpu.idle pids.max memory.max memory.swap.max",
        "memory.max memory.swap.max cpu.max pids.max",
    ];
    let _turn = bfq_turn();
    for (resources, files) in [whole, idle, none].into_iter().zip(files) {
        sandbox.set("/linux/resources", resources);
        sandbox.set("/linux/cgroupsPath", json!(format!("/{0}/{0}", sandbox.token)));
        sandbox.args(&["/bin/sleep", "100"]);
        sandbox.create();
        let ours = limits(&sandbox.cgroup("memory"));
        delete(sandbox);
        let _calm = scoped(sandbox);
        created(sandbox);
        let theirs = limits(&Path::new("/sys/fs/cgroup/system.slice").join(unit(sandbox)));
        let output = delete(sandbox);
        // Where BFQ schedules a disk its weight is the one that we write; systemd writes both.
        let bfq = ours.contains_key("io.bfq.weight");
        for file in files.split_whitespace().filter(|file| !bfq || *file != "io.weight") {
            assert!(ours.contains_key(file), "{file}: {ours:?}");
            assert_eq!(ours.get(file), theirs.get(file), "{file}");
        }
        swept(sandbox, &output);
    }
}

fn update_tells_systemd(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.set("/linux/resources", json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 } }));
    created(sandbox);
    let unit = unit(sandbox);
    let id = sandbox.token.clone();
    let update = |args: &[&str]| sandbox.onggi(&[&["update"], args, &[&id]].concat()).limit(60).finish();
    update(&[
        "--memory",
        "134217728",
        "--cpu-quota",
        "25000",
        "--cpu-period",
        "100000",
        "--pids-limit",
        "30",
    ])
    .ok();
    let dir = PathBuf::from("/sys/fs/cgroup/system.slice").join(&unit);
    let seen = || {
        let properties = ["MemoryMax", "CPUQuotaPerSecUSec", "TasksMax"].map(|name| property(&unit, name));
        let read = |name| fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
        (properties, ["memory.max", "cpu.max", "pids.max"].map(read))
    };
    let wanted = (["134217728", "250ms", "30"], ["134217728", "25000 100000", "30"]);
    let strings = |(a, b): ([&str; 3], [&str; 3])| (a.map(str::to_owned), b.map(str::to_owned));
    assert_eq!(seen(), strings(wanted));
    systemctl(&["daemon-reload"]);
    assert_eq!(seen(), strings(wanted), "after a reload");
    update(&["--pids-limit", "40", "--cpu-quota", "-2"]).error(&["cpu.quota"]);
    assert_eq!(seen(), strings(wanted), "after a refused update");
    let output = delete(sandbox);
    swept(sandbox, &output);
}

fn annotations_are_properties(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.config["annotations"] = json!({
        "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
        "org.systemd.property.RuntimeMaxSec": "3600",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.Description": "'it\\'s mine'",
        "org.systemd.property.After": "['basic.target', 'time-set.target']",
        "org.systemd.property.SendSIGHUP": "true"
    });
    created(sandbox);
    let unit = unit(sandbox);
    for (name, value) in [
        ("TimeoutStopUSec", "5s"),
        ("RuntimeMaxUSec", "1h"),
        ("CollectMode", "inactive"),
        ("Description", "it's mine"),
        ("SendSIGHUP", "yes"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    assert!(property(&unit, "After").contains("time-set.target"));
    let output = delete(sandbox);
    swept(sandbox, &output);
}

fn systemd_speaks_for_itself(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    sandbox.config["annotations"] = json!({ "org.systemd.property.CollectMode": "'never'" });
    let output = begin(sandbox, "create", &[]).finish();
    let output = output.error(&["linux.cgroupsPath", "StartTransientUnit", "org.freedesktop.", "ollect"]);
    swept(sandbox, &output);
}

/// A scope of the same name that has somebody else's process in it is neither taken nor stopped.
fn a_unit_of_somebody_else_stays(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let unit = unit(sandbox);
    let other = sandbox.tool_call(&["systemd-run", "--scope", "--unit", &unit, "sleep", "100"]).spawn();
    assert!(until(10, || property(&unit, "ActiveState") == "active"));
    begin(sandbox, "create", &[]).finish().error(&["linux.cgroupsPath", &unit]);
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert!(!sandbox.root().join(&sandbox.token).exists());
    other.signal(Signal::SIGTERM);
    drop(other);
    assert!(until(10, || units(sandbox).is_empty()), "{:?}", units(sandbox));
}

fn a_failed_unit_of_the_name_is_no_obstacle(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let unit = unit(sandbox);
    // It does not die of SIGTERM, and is not killed: the scope fails, and lies about until somebody resets it.
    let stubborn = [
        "-p",
        "TimeoutStopSec=1",
        "-p",
        "SendSIGKILL=no",
        "sh",
        "-c",
        "trap '' TERM; echo deaf; sleep 100 & wait; wait",
    ];
    let words = [&["systemd-run", "--scope", "--unit", &unit][..], &stubborn].concat();
    let other = sandbox.tool_call(&words).spawn();
    assert!(until(10, || other.stdout().contains("deaf") && property(&unit, "ActiveState") == "active"));
    systemctl(&["stop", &unit]);
    assert_eq!(property(&unit, "ActiveState"), "failed");
    other.signal(Signal::SIGKILL);
    drop(other);
    for hierarchy in sandbox.layout.hierarchies() {
        let _ = fs::write(hierarchy.mount.join("system.slice").join(&unit).join("cgroup.kill"), "1");
    }
    let procs =
        || fs::read_to_string(Path::new("/sys/fs/cgroup/system.slice").join(&unit).join("cgroup.procs"));
    assert!(until(5, || procs().is_ok_and(|text| text.is_empty()) || procs().is_err()));
    assert_eq!(property(&unit, "ActiveState"), "failed");
    let pid = created(sandbox);
    assert_eq!(place(pid), format!("/system.slice/{unit}"));
    let output = delete(sandbox);
    swept(sandbox, &output);
}

/// containerd's last `delete --force` comes without the flag.
fn delete_needs_no_flag(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    created(sandbox);
    sandbox.start();
    let output = delete(sandbox);
    swept(sandbox, &output);
}

/// Also when nobody deletes it: systemd collects the unit, and delete finds nothing to do.
fn a_dead_container_leaves_no_unit(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    created(sandbox);
    sandbox.start();
    sandbox.kill("KILL");
    assert!(until(10, || units(sandbox).is_empty()), "{:?}", units(sandbox));
    sandbox.delete();
}

fn many_cycles_leave_nothing(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let cycles = std::env::var("ONGGI_TEST_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let count = || {
        let units = systemctl(&["list-units", "--all", "--plain", "--no-legend"]).lines().count();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        (units, mounts)
    };
    let before = count();
    for cycle in 0..cycles {
        begin(sandbox, "create", &[]).finish().ok();
        let output = delete(sandbox);
        assert_eq!(units(sandbox), Vec::<String>::new(), "cycle {cycle}: {}", output.describe());
    }
    // Others' units come and go meanwhile.
    assert!(count().0 <= before.0 + 2 && count().1 == before.1, "{before:?} {:?}", count());
}

fn a_killed_creator_leaves_what_delete_removes(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let begun = Instant::now();
    created(sandbox);
    let whole = begun.elapsed();
    delete(sandbox);
    for moment in 0..12 {
        let create = begin(sandbox, "create", &[]).spawn();
        std::thread::sleep(whole * moment / 12);
        create.signal(Signal::SIGKILL);
        drop(create);
        let output = delete(sandbox);
        sandbox.clean(&output);
        // systemd may have heard of the process only after its death.
        assert!(until(10, || units(sandbox).is_empty()), "moment {moment}: {:?}", units(sandbox));
    }
}

/// The container may use /dev/null and no disk, whatever systemd does to its units.
fn devices_survive_a_reload(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    let steps = sandbox.path("bundle/rootfs/step");
    sandbox.set(
        "/linux/devices",
        json!([{ "type": "b", "path": "/dev/disk", "major": 7, "minor": 0, "fileMode": 438 }]),
    );
    let look = "cat /dev/null && echo null; cat /dev/disk 2>&1 | head -n 1";
    sandbox
        .script(&format!("{look}; echo first; until [ -e /step ]; do sleep 0.1; done; {look}; echo second"));
    let run = begin(sandbox, "run", &[]).spawn();
    assert!(until(20, || run.stdout().contains("first")), "{}", run.stdout());
    systemctl(&["daemon-reload"]);
    systemctl(&["set-property", "--runtime", &unit(sandbox), "CPUWeight=50"]);
    fs::write(steps, "").unwrap();
    let output = run.finish().ok();
    let denied = "cat: can't open '/dev/disk': Operation not permitted";
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines, ["null", denied, "first", "null", denied, "second"]);
    swept(sandbox, &output);
}

fn a_new_systemd_still_has_the_scope(sandbox: &mut Sandbox) {
    ask_for_the_unit(sandbox);
    let _storm = CALM.write().unwrap_or_else(PoisonError::into_inner);
    let pid = created(sandbox);
    systemctl(&["daemon-reexec"]);
    assert!(until(20, || property(&unit(sandbox), "ActiveState") == "active"));
    assert_eq!(place(pid), format!("/system.slice/{}", unit(sandbox)));
    let output = delete(sandbox);
    swept(sandbox, &output);
}

/// Whether `create` succeeds or fails meanwhile, afterwards it is undone, and systemd has forgotten the unit.
fn a_new_systemd_in_the_middle_leaves_nothing(sandbox: &mut Sandbox) {
    ask_for_the_unit(sandbox);
    let _storm = CALM.write().unwrap_or_else(PoisonError::into_inner);
    for moment in 0..6 {
        let create = begin(sandbox, "create", &[]).spawn();
        std::thread::sleep(Duration::from_millis(60 * moment));
        systemctl(&["daemon-reexec"]);
        let output = create.finish();
        if output.status.success() {
            delete(sandbox);
        } else {
            assert!(output.stderr.starts_with("error: create "), "{}", output.describe());
        }
        sandbox.clean(&output);
        assert!(until(20, || units(sandbox).is_empty()), "moment {moment}: {:?}", units(sandbox));
    }
}

/// systemd itself sees that the scope is empty.
fn an_unreachable_bus_leaves_no_unit(sandbox: &mut Sandbox) {
    let _calm = scoped(sandbox);
    created(sandbox);
    let file = sandbox.root().join(&sandbox.token).join("state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["cgroup"]["scope"]["address"] = json!(format!("unix:path={}", sandbox.path("no-bus")));
    fs::write(&file, state.to_string()).unwrap();
    let output = delete(sandbox);
    sandbox.clean(&output);
    assert!(until(20, || units(sandbox).is_empty()), "{:?}", units(sandbox));
}

/// A user whose systemd runs (`loginctl enable-linger`).
const USER: u32 = 1000;
const AS_USER: [&str; 6] = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"];
/// Where that systemd keeps its units.
const USERS: &str = "/user.slice/user-1000.slice/user@1000.service";

/// Everything of the sandbox is the user's; inside the container the user is root. `host`: the user's id where the
/// container is made.
fn users(sandbox: &mut Sandbox, host: u32) -> Calm {
    let calm = scoped(sandbox);
    let map = json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    sandbox.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    sandbox.set("/linux/cgroupsPath", json!(format!("user.slice:t:{}", sandbox.token)));
    sandbox.set("/linux/resources", json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 } }));
    sandbox.config["mounts"][2]["options"] =
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    sandbox.give(USER);
    for dir in [sandbox.dir.clone(), sandbox.bundle()] {
        chown(&dir, Some(USER), Some(USER)).unwrap();
    }
    calm
}

/// From `create` to `delete` as the user, who says where the bus is by `variable`.
fn users_life(sandbox: &Sandbox, through: &[&str], variable: (&str, &str)) {
    let call = |call: Call| {
        let call = call.env(variable.0, variable.1).limit(60);
        call.through(&[&AS_USER[..], through].concat()).finish().ok()
    };
    call(begin(sandbox, "create", &[]));
    let id = &*sandbox.token;
    let state: serde_json::Value = serde_json::from_str(&call(sandbox.onggi(&["state", id])).stdout).unwrap();
    let pid = i32::try_from(state["pid"].as_i64().unwrap()).unwrap();
    let scope = format!("{USERS}/user.slice/{}", unit(sandbox));
    assert_eq!(place(pid), scope);
    let read =
        |file: &str| fs::read_to_string(format!("/sys/fs/cgroup{scope}/{file}")).unwrap().trim().to_owned();
    assert_eq!((read("memory.max"), read("pids.max")), ("67108864".to_owned(), "20".to_owned()));
    call(sandbox.onggi(&["start", id]));
    // The state knows which bus it was, also for a caller who does not.
    let delete = sandbox.onggi(&["delete", "--force", id]).limit(60);
    let output = delete.through(&[&AS_USER[..], through].concat()).finish().ok();
    sandbox.clean(&output);
}

fn rootless_by_the_users_own_systemd(sandbox: &mut Sandbox) {
    let _calm = users(sandbox, USER);
    users_life(sandbox, &[], ("XDG_RUNTIME_DIR", "/run/user/1000"));
    users_life(sandbox, &[], ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"));
}

/// Rootless podman calls its runtime like this.
fn rootless_as_root_of_a_user_namespace(sandbox: &mut Sandbox) {
    let _calm = users(sandbox, 0);
    users_life(sandbox, &["unshare", "--map-root-user"], ("XDG_RUNTIME_DIR", "/run/user/1000"));
}
