//! `exec` and control groups: the container's own, a sub-cgroup by `--cgroup`, and a container that has cgroups of its
//! own below.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{exec, refused};
use crate::harness::{Layout, Need, Output, Sandbox};

cases! {
    it_is_in_the_containers_cgroup;
    a_sub_cgroup_is_taken;
    a_sub_cgroup_of_one_controller: Need::Only(Layout::V1);
    several_controllers: Need::Only(Layout::V1);
    a_missing_sub_cgroup_is_refused;
    paths_that_lead_out_are_refused;
    unknown_controllers_are_refused;
    paths_without_a_controller_are_refused_beside_others;
    a_busy_cgroup_falls_back_to_the_first_process: Need::Only(Layout::V2), Need::Controller("hugetlb");
    a_chosen_busy_cgroup_is_refused: Need::Only(Layout::V2), Need::Controller("hugetlb");
    a_full_cgroup_refuses: Need::Controller("pids");
    without_a_cgroup: Need::Only(Layout::V2);
    a_first_process_that_left_stays_outside: Need::Only(Layout::V2);
}

/// The process's own view of where it is, without a cgroup namespace in the way.
fn where_it_is(sandbox: &Sandbox, options: &[&str]) -> Output {
    exec(sandbox, options, &["/bin/cat", "/proc/self/cgroup"]).finish().ok()
}

fn path_of<'a>(output: &'a Output, controller: &str) -> Option<&'a str> {
    output.stdout.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|name| name == controller).then_some(path)
    })
}

/// One controller of this layout, as /proc/PID/cgroup names it.
fn controller(sandbox: &Sandbox) -> &'static str {
    if sandbox.layout == Layout::V1 { "freezer" } else { "" }
}

/// A running container without a cgroup namespace, and the path of its cgroup.
fn started(sandbox: &mut Sandbox) -> String {
    sandbox.without_namespace("cgroup");
    sandbox.start_sleeper();
    sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned()
}

/// Makes a cgroup below the container's in the hierarchies of these controllers.
fn make(sandbox: &Sandbox, controllers: &[&str], name: &str) {
    controllers.iter().for_each(|it| fs::create_dir_all(sandbox.cgroup(it).join(name)).unwrap());
}

/// The controllers of all hierarchies that the container is in.
fn everywhere(sandbox: &Sandbox) -> Vec<String> {
    let path = sandbox.config["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/').to_owned();
    let all = sandbox.layout.hierarchies().into_iter().filter(|one| one.mount.join(&path).exists());
    all.map(|one| one.mount.join(&path).display().to_string()).collect()
}

fn it_is_in_the_containers_cgroup(sandbox: &mut Sandbox) {
    let path = started(sandbox);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", sandbox.pid())).unwrap();
    let output = where_it_is(sandbox, &[]);
    assert_eq!(output.stdout, own);
    assert_eq!(path_of(&output, controller(sandbox)), Some(path.as_str()));
}

fn a_sub_cgroup_is_taken(sandbox: &mut Sandbox) {
    let path = started(sandbox);
    for dir in everywhere(sandbox) {
        for name in ["sub", "sub/deep"] {
            let below = Path::new(&dir).join(name);
            fs::create_dir(&below).unwrap();
            // cpuset of v1 takes no process before it has these.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read(Path::new(&dir).join(file)) {
                    fs::write(below.join(file), all).unwrap();
                }
            }
        }
    }
    for (option, below) in
        [("sub", "/sub"), ("/sub", "/sub"), ("sub/deep", "/sub/deep"), ("/sub/deep/", "/sub/deep"), ("/", "")]
    {
        let output = where_it_is(sandbox, &["--cgroup", option]);
        let wanted = format!("{path}{below}");
        assert_eq!(path_of(&output, controller(sandbox)), Some(wanted.as_str()), "{}", output.describe());
        let elsewhere = output.stdout.lines().find(|line| line.contains(&path) && !line.ends_with(&wanted));
        assert_eq!(elsewhere, None, "--cgroup {option} counts for every hierarchy");
    }
}

fn a_sub_cgroup_of_one_controller(sandbox: &mut Sandbox) {
    let path = started(sandbox);
    make(sandbox, &["freezer"], "sub");
    let output = where_it_is(sandbox, &["--cgroup", "freezer:sub"]);
    assert_eq!(path_of(&output, "freezer"), Some(format!("{path}/sub").as_str()));
    assert_eq!(path_of(&output, "devices"), Some(path.as_str()));
}

fn several_controllers(sandbox: &mut Sandbox) {
    let path = started(sandbox);
    make(sandbox, &["freezer", "devices"], "sub");
    make(sandbox, &["devices"], "other");
    let output = where_it_is(sandbox, &["--cgroup", "freezer,devices:/sub"]);
    assert_eq!(path_of(&output, "devices"), Some(format!("{path}/sub").as_str()));
    let output = where_it_is(sandbox, &["--cgroup", "freezer:/sub", "--cgroup=devices:other"]);
    let wanted = (format!("{path}/sub"), format!("{path}/other"));
    assert_eq!(
        (path_of(&output, "freezer"), path_of(&output, "devices")),
        (Some(wanted.0.as_str()), Some(wanted.1.as_str()))
    );
    refused(
        sandbox,
        &["--cgroup", "freezer:a", "--cgroup", "freezer:b"],
        &["/bin/true"],
        &["freezer", "twice"],
    );
}

fn a_missing_sub_cgroup_is_refused(sandbox: &mut Sandbox) {
    started(sandbox);
    refused(
        sandbox,
        &["--cgroup", "missing"],
        &["/bin/true"],
        &["--cgroup", "missing", "no such file or directory"],
    );
    assert!(!sandbox.cgroup("cgroup").join("missing").exists() || sandbox.layout == Layout::V1);
}

fn paths_that_lead_out_are_refused(sandbox: &mut Sandbox) {
    started(sandbox);
    let outside = format!("../../{}", sandbox.token);
    for path in ["..", "../", "/..", "a/../..", "a/../../b", &outside, "./../x", "a\nb"] {
        refused(sandbox, &["--cgroup", path], &["/bin/true"], &["--cgroup"]);
    }
}

fn unknown_controllers_are_refused(sandbox: &mut Sandbox) {
    started(sandbox);
    for path in ["nonsense:/", "freezer,nonsense:/", ":/", ",:/"] {
        refused(sandbox, &["--cgroup", path], &["/bin/true"], &["--cgroup"]);
    }
    if sandbox.layout == Layout::V2 {
        refused(sandbox, &["--cgroup", "memory:/"], &["/bin/true"], &["memory", "--cgroup PATH"]);
    }
}

fn paths_without_a_controller_are_refused_beside_others(sandbox: &mut Sandbox) {
    started(sandbox);
    refused(sandbox, &["--cgroup", "/", "--cgroup", "/"], &["/bin/true"], &["--cgroup", "controller"]);
}

/// What systemd in a container does: its processes are in cgroups below, and controllers given to those.
fn fill(sandbox: &Sandbox) {
    let dir = sandbox.cgroup("cgroup");
    for name in ["init.scope", "other"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join("init.scope/cgroup.procs"), sandbox.pid().to_string()).unwrap();
    // The parent may first have to give it to the container.
    let parents = [Path::new("/sys/fs/cgroup").to_owned(), dir.parent().unwrap().to_owned(), dir];
    parents.iter().for_each(|dir| fs::write(dir.join("cgroup.subtree_control"), "+hugetlb").unwrap());
}

/// As in runc: the container's own cgroup takes no process any more (EBUSY), the first one's does.
fn a_busy_cgroup_falls_back_to_the_first_process(sandbox: &mut Sandbox) {
    let path = started(sandbox);
    fill(sandbox);
    let output = where_it_is(sandbox, &[]);
    assert_eq!(path_of(&output, ""), Some(format!("{path}/init.scope").as_str()));
    let output = where_it_is(sandbox, &["--cgroup", "/other"]);
    assert_eq!(path_of(&output, ""), Some(format!("{path}/other").as_str()));
}

fn a_chosen_busy_cgroup_is_refused(sandbox: &mut Sandbox) {
    started(sandbox);
    fill(sandbox);
    refused(sandbox, &["--cgroup", "/"], &["/bin/true"], &["--cgroup: ", "EBUSY", "choose one of them"]);
}

/// The process that enters the container and the one that it gives birth to count as two, until the program runs.
fn a_full_cgroup_refuses(sandbox: &mut Sandbox) {
    for (limit, room) in [(1, false), (3, true)] {
        sandbox.set("/linux/resources/pids", json!({ "limit": limit }));
        sandbox.start_sleeper();
        match room {
            true => drop(exec(sandbox, &[], &["/bin/true"]).finish().ok()),
            false => drop(refused(sandbox, &[], &["/bin/true"], &["EAGAIN", "linux.resources.pids.limit"])),
        }
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}

/// As with `--cgroup-manager disabled`: the process is where its caller is.
fn without_a_cgroup(sandbox: &mut Sandbox) {
    sandbox.without_namespace("cgroup").unset("/linux/cgroupsPath").unset("/linux/resources");
    sandbox.args(&["/bin/sleep", "100"]).write_config();
    let bundle = sandbox.path("bundle");
    let words = ["--cgroup-manager", "disabled", "run", "--detach", "--bundle", &bundle, &sandbox.token];
    sandbox.onggi(&words).finish().ok();
    let words = ["exec", &sandbox.token, "/bin/cat", "/proc/self/cgroup"];
    let output = sandbox.onggi(&words).finish().ok();
    assert_eq!(output.stdout, fs::read_to_string("/proc/self/cgroup").unwrap());
}

/// Somebody moved the container's process away: the container's cgroup is still the one.
fn a_first_process_that_left_stays_outside(sandbox: &mut Sandbox) {
    let path = started(sandbox);
    let outside = Path::new("/sys/fs/cgroup").join(&sandbox.token).join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("cgroup.procs"), sandbox.pid().to_string()).unwrap();
    assert_eq!(path_of(&where_it_is(sandbox, &[]), ""), Some(path.as_str()));
    fs::write(sandbox.cgroup("cgroup").join("cgroup.procs"), sandbox.pid().to_string()).unwrap();
    fs::remove_dir(outside).unwrap();
}
