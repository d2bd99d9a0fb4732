//! Symbolic links in an image or a volume that point out of the root filesystem, at the places where the runtime
//! mounts, creates devices and links, or copies (invariants 1 to 3).

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;
use serde_json::json;

use super::{SECRET, Trap, assert_same, attempt, clear, control, link, snapshot, without_mounts};
use crate::harness::Sandbox;

cases! {
    cve_2019_18837_mount_destinations_that_are_links;
    cve_2024_45310_nothing_is_made_behind_a_link;
    cve_2025_24965_nothing_is_written_into_the_rootfs;
    cve_2025_54867_proc_and_sys_are_links;
    cve_2026_41579_dev_is_a_link;
    cve_2026_47766_entries_of_dev_are_links;
    cve_2026_47766_a_device_behind_a_link;
    cve_2026_88264_console_is_a_link;
    invariant_1_tmpcopyup_of_a_hostile_folder;
}

/// Every way of aiming a link out of the root, as the last component of a destination, in the middle, and dangling.
fn cve_2019_18837_mount_destinations_that_are_links(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    let file = sandbox.file("source/marker", "the source\n");
    let standard = sandbox.config["mounts"].clone();
    for (number, aim) in trap.aims().iter().enumerate() {
        sandbox.set("/mounts", standard.clone());
        let [last, middle, dangling] = ["last", "middle", "dangling"].map(|name| format!("/{name}{number}"));
        link(sandbox, &last, aim);
        link(sandbox, &middle, aim);
        link(sandbox, &dangling, &format!("{aim}/missing/deep"));
        sandbox.mount(&last, "tmpfs", "soak-last", &[]);
        sandbox.mount(&format!("{middle}/inner"), "tmpfs", "soak-inner", &[]);
        sandbox.mount(&format!("{middle}/new"), "bind", &source, &["bind"]);
        sandbox.mount(&format!("{middle}/inner/plain2"), "bind", &file, &["bind"]);
        sandbox.mount(&dangling, "tmpfs", "soak-dangling", &[]);
        sandbox.script(&format!(
            "echo alive; cat {last}/secret {middle}/secret; ls {middle}/self; \
             for it in last inner dangling; do grep -c soak-$it /proc/self/mountinfo; done"
        ));
        let output = attempt(sandbox);
        trap.assert_untouched(aim);
        if let Some(output) = output {
            assert!(!output.stdout.contains(SECRET), "{aim}: {}", output.describe());
            assert!(!output.stdout.contains("oom_score_adj"), "{aim}: {}", output.describe());
            assert!(
                output.stdout.ends_with("1\n1\n1\n"),
                "{aim}: a mount went elsewhere: {}",
                output.describe()
            );
        }
    }
}

/// A volume brings the link; the runtime makes mount points below it.
fn cve_2024_45310_nothing_is_made_behind_a_link(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let (volume, source) = (sandbox.path("volume"), sandbox.path("source"));
    fs::create_dir(&volume).unwrap();
    fs::create_dir(&source).unwrap();
    let file = sandbox.file("source/marker", "the source\n");
    let standard = sandbox.config["mounts"].clone();
    for aim in trap.aims() {
        for (name, target) in [("inner", format!("{aim}/inner")), ("gone", format!("{aim}/gone"))] {
            clear(&sandbox.dir.join("volume").join(name));
            symlink(target, sandbox.dir.join("volume").join(name)).unwrap();
        }
        sandbox.set("/mounts", standard.clone());
        sandbox.mount("/mnt", "bind", &volume, &["bind"]);
        sandbox.mount("/mnt/inner/folder/deep", "bind", &source, &["bind"]);
        sandbox.mount("/mnt/inner/file", "bind", &file, &["bind"]);
        sandbox.mount("/mnt/gone", "bind", &file, &["bind"]);
        sandbox.script("echo alive; cat /mnt/inner/plain; cat /mnt/inner/file");
        let output = attempt(sandbox);
        trap.assert_untouched(&aim);
        if let Some(output) = output {
            assert!(!output.stdout.contains("untouched"), "{aim}: {}", output.describe());
            assert!(output.stdout.contains("the source"), "{aim}: {}", output.describe());
        }
    }
}

/// crun's krun handler wrote a file of a known name through a link in the image. A runtime has nothing to write into
/// a root filesystem that has every mount point: not a file, not a time stamp.
fn cve_2025_24965_nothing_is_written_into_the_rootfs(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    for name in [".krun_config.json", ".dockerenv", ".containerenv", "etc/hostname", "etc/mtab"] {
        link(sandbox, name, &format!("{}/made", trap.text()));
    }
    sandbox.set("/annotations", json!({ "run.oci.handler": "krun", "krun.cpus": "1" }));
    let before = snapshot(&sandbox.rootfs("/"));
    sandbox.args(&["/bin/true"]).run().ok();
    assert_same(&before, &snapshot(&sandbox.rootfs("/")), "the root filesystem");
    trap.assert_untouched("the files of a handler");
}

/// Where /proc or /sys of the image is a link, the runtime refuses, or mounts the real thing over it.
fn cve_2025_54867_proc_and_sys_are_links(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    fs::create_dir(sandbox.rootfs("elsewhere")).unwrap();
    let mut aims = trap.aims();
    aims.extend(["elsewhere".to_owned(), "/elsewhere".to_owned(), "/missing".to_owned()]);
    for (name, magic) in [("proc", "9fa0"), ("sys", "62656572")] {
        for aim in &aims {
            link(sandbox, name, aim);
            sandbox.script(&format!(
                "echo alive; [ -L /{name} ] && echo link; stat -f -c %t /{name}; cat /{name}/secret"
            ));
            let output = attempt(sandbox);
            trap.assert_untouched(&format!("{name} -> {aim}"));
            if let Some(output) = output {
                assert_eq!(
                    output.text(),
                    format!("alive\n{magic}"),
                    "{name} -> {aim}: {}",
                    output.describe()
                );
            }
        }
        clear(&sandbox.rootfs(name));
        fs::create_dir(sandbox.rootfs(name)).unwrap();
    }
}

/// Without a mount on /dev the devices and links go into the image's own /dev, here a link to the host: no file
/// named ptmx is removed there, and none of the standard links and devices is made.
fn cve_2026_41579_dev_is_a_link(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    without_mounts(sandbox, "/dev");
    sandbox.script("echo alive; cat /dev/secret");
    for aim in trap.aims() {
        link(sandbox, "dev", &aim);
        let output = attempt(sandbox);
        trap.assert_untouched(&format!("dev -> {aim}"));
        assert!(!output.is_some_and(|it| it.stdout.contains(SECRET)), "dev -> {aim} shows the host");
    }
}

/// The image has a real /dev, but every entry that the runtime is about to make or mount is a link.
fn cve_2026_47766_entries_of_dev_are_links(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    sandbox.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    sandbox.script("echo alive; cat /dev/shm/secret /dev/fd/secret /dev/pts/secret /dev/zero | head -c 200");
    for aim in trap.aims() {
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            link(sandbox, &format!("dev/{name}"), &format!("{aim}/made-{name}"));
        }
        for (name, target) in
            [("ptmx", "ptmx"), ("console", "secret"), ("stdin", "secret"), ("core", "secret")]
        {
            link(sandbox, &format!("dev/{name}"), &format!("{aim}/{target}"));
        }
        for name in ["fd", "pts", "shm", "mqueue"] {
            link(sandbox, &format!("dev/{name}"), &aim);
        }
        let output = attempt(sandbox);
        trap.assert_untouched(&aim);
        assert!(!output.is_some_and(|it| it.stdout.contains(SECRET)), "{aim} shows the host");
    }
}

/// A device of the configuration whose path leads through a link of the image.
fn cve_2026_47766_a_device_behind_a_link(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    sandbox.script("echo alive");
    for (number, aim) in trap.aims().iter().enumerate() {
        let name = format!("/devices{number}");
        link(sandbox, &name, aim);
        let device = |path: String| json!({ "path": path, "type": "c", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 7, "gid": 7 });
        let paths = [format!("{name}/zero"), format!("{name}/secret"), format!("{name}/inner/deep/zero")];
        for path in paths {
            sandbox.set("/linux/devices", json!([device(path.clone())]));
            attempt(sandbox);
            trap.assert_untouched(&path);
        }
    }
}

/// /dev/console and /dev/null of the image lead elsewhere and the caller gives no standard streams: none of them may
/// be opened through the link, handed over or given to another owner (also CVE-2026-88265).
fn cve_2026_88264_console_is_a_link(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    without_mounts(sandbox, "/dev");
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    fs::write(sandbox.rootfs("victim"), "the image's own\n").unwrap();
    for target in [format!("{}/secret", trap.text()), "/victim".to_owned(), "/proc/1/environ".to_owned()] {
        link(sandbox, "dev/null", &target);
        link(sandbox, "dev/console", &target);
        sandbox.script("echo alive > /tmp/proof");
        let closed = ["/bin/sh", "-c", r#"exec "$@" <&- >&- 2>&-"#, "sh"];
        let output = sandbox.begin("run", &[]).through(&closed).finish();
        trap.assert_untouched(&target);
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(sandbox.rootfs("victim")).unwrap());
        assert_eq!(owner, 0, "{target}: the link's target was given away: {}", output.describe());
        let victim = fs::read_to_string(sandbox.rootfs("victim")).unwrap();
        assert_eq!(victim, "the image's own\n", "{target}: {}", output.describe());
    }
}

/// tmpcopyup reads what the image brings: it neither hangs on a FIFO or a device nor follows a link.
fn invariant_1_tmpcopyup_of_a_hostile_folder(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    fs::create_dir(sandbox.rootfs("data")).unwrap();
    fs::write(sandbox.rootfs("data/plain"), "plain\n").unwrap();
    link(sandbox, "data/file", &format!("{}/secret", trap.text()));
    link(sandbox, "data/folder", &format!("{}{}", "../".repeat(40), trap.text()));
    link(sandbox, "data/magic", &format!("/proc/self/root{}/secret", trap.text()));
    mkfifo(&sandbox.rootfs("data/fifo"), Mode::from_bits_truncate(0o644)).unwrap();
    let zero = nix::sys::stat::makedev(1, 5);
    mknod(&sandbox.rootfs("data/zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o644), zero).unwrap();
    sandbox.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    sandbox.script("echo alive; cat /data/plain /data/file /data/magic /data/folder/secret");
    let output = attempt(sandbox);
    trap.assert_untouched("tmpcopyup");
    assert!(!output.is_some_and(|it| it.stdout.contains(SECRET)), "tmpcopyup copied a file of the host");

    sandbox.unset("/mounts/7").mount("/linked", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"]);
    for aim in trap.aims() {
        link(sandbox, "linked", &aim);
        sandbox.script("echo alive; find / -name secret -exec cat {} +");
        let output = attempt(sandbox);
        trap.assert_untouched(&aim);
        assert!(
            !output.is_some_and(|it| it.stdout.contains(SECRET)),
            "tmpcopyup copied a folder of the host"
        );
    }
}
