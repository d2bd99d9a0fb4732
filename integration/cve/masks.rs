//! Masked paths and the /dev/null they are made of (invariant 5).

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use serde_json::json;

use super::{SECRET, Setting, Trap, WON, attacked, attacker, attempt, clear, control, link};
use crate::harness::{Output, Sandbox};

cases! {
    cve_2025_31133_null_of_the_image_is_something_else;
    cve_2025_31133_null_is_replaced_before_masking;
    cve_2025_62161_null_is_gone_before_masking;
    cve_2025_62161_a_masked_path_is_exchanged;
    invariant_5_the_host_is_not_reached_through_a_mask;
}

/// Masked paths besides the kernel's: a file and a folder of the image.
fn mask(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("etc/masked"), "must not be seen\n").unwrap();
    fs::create_dir_all(sandbox.rootfs("folder")).unwrap();
    fs::write(sandbox.rootfs("folder/file"), "must not be seen\n").unwrap();
    fs::write(sandbox.rootfs("victim"), "must not be written\n").unwrap();
    for path in ["/etc/masked", "/folder"] {
        sandbox.set("/linux/maskedPaths/-", json!(path));
    }
    sandbox.script(
        "echo alive
         for it in /proc/kcore /proc/keys /proc/timer_list; do
           [ -e $it ] && [ \"$(stat -c %F,%t:%T $it)\" != 'character special file,1:3' ] && stat -c '%n: %F %t:%T' $it
         done
         echo pwned > /etc/masked; echo pwned > /proc/keys; cat /etc/masked
         ls /folder; (: > /folder/new) && echo writable
         cat /victim",
    );
}

/// Every mask holds, and what lies behind the false /dev/null was not written to.
#[track_caller]
fn masks_hold(output: &Output, what: &str) {
    assert!(!output.stdout.contains(SECRET), "{what}: {}", output.describe());
    assert_eq!(output.text(), "alive\nmust not be written", "{what}: {}", output.describe());
}

/// No mount on /dev, and an image that has thought about what /dev/null might be taken for.
fn cve_2025_31133_null_of_the_image_is_something_else(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    let pattern = Setting::watch("/proc/sys/kernel/core_pattern");
    sandbox.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    mask(sandbox);
    let null = sandbox.rootfs("dev/null");
    let mode = Mode::from_bits_truncate(0o666);
    let kinds = ["victim", "core_pattern", "trap", "dangling", "file", "fifo", "folder", "full", "nothing"];
    for kind in kinds {
        clear(&null);
        fs::write(sandbox.rootfs("victim"), "must not be written\n").unwrap();
        match kind {
            "victim" => link(sandbox, "dev/null", "/victim"),
            "core_pattern" => link(sandbox, "dev/null", "/proc/sys/kernel/core_pattern"),
            "trap" => link(sandbox, "dev/null", &format!("{}/secret", trap.text())),
            "dangling" => symlink("/missing", &null).unwrap(),
            "file" => fs::write(&null, SECRET).unwrap(),
            "fifo" => mkfifo(&null, mode).unwrap(),
            "folder" => fs::create_dir(&null).unwrap(),
            "full" => mknod(&null, SFlag::S_IFCHR, mode, makedev(1, 7)).unwrap(),
            _ => {}
        }
        let output = attempt(sandbox);
        trap.assert_untouched(kind);
        pattern.assert_same(kind);
        if let Some(output) = output {
            masks_hold(&output, kind);
        }
    }
}

/// The race is won: after the runtime made /dev/null, it is replaced.
fn cve_2025_31133_null_is_replaced_before_masking(sandbox: &mut Sandbox) {
    let replacements = [
        "ln -s /victim $R/dev/null",
        "ln -s /proc/sys/kernel/core_pattern $R/dev/null",
        "ln -s $T/secret $R/dev/null",
        "echo must not be seen > $R/dev/null",
        "mkfifo $R/dev/null",
        "mknod $R/dev/null c 1 7",
    ];
    replaced(sandbox, &replacements);
}

/// A missing /dev/null, which runc took for a masked path that is missing, is no reason to leave a path open.
fn cve_2025_62161_null_is_gone_before_masking(sandbox: &mut Sandbox) {
    replaced(
        sandbox,
        &[":", "ln -s /missing $R/dev/null", "mkdir $R/dev/null", "busybox mount -t tmpfs false $R/dev"],
    );
}

fn replaced(sandbox: &mut Sandbox, replacements: &[&str]) {
    let trap = Trap::set(sandbox);
    let pattern = Setting::watch("/proc/sys/kernel/core_pattern");
    mask(sandbox);
    for kind in WON {
        for replacement in replacements {
            let what = format!("{kind}: {replacement}");
            let script =
                format!("busybox umount -l $R/dev/null 2>&1 || true; rm -f $R/dev/null; {replacement}");
            attacker(sandbox, kind, &script);
            let output = attempt(sandbox);
            trap.assert_untouched(&what);
            pattern.assert_same(&what);
            if let Some(output) = output {
                attacked(sandbox, &output);
                masks_hold(&output, &what);
            }
        }
    }
}

/// The masked path itself is exchanged for a link: the mask may land on the link's target inside the root, never on
/// the host, and never leave what the link leads to writable through it.
fn cve_2025_62161_a_masked_path_is_exchanged(sandbox: &mut Sandbox) {
    control(sandbox);
    let trap = Trap::set(sandbox);
    mask(sandbox);
    sandbox.set("/linux/readonlyPaths/-", json!("/etc/constant"));
    for kind in WON {
        for aim in ["$T/secret", "/proc/self/root$T/secret", "../../../../../../../../$T/secret", "/missing"]
        {
            fs::write(sandbox.rootfs("etc/masked"), "must not be seen\n").unwrap();
            let script = format!(
                "rm -rf $R/etc/masked $R/folder $R/etc/constant
                 ln -s {aim} $R/etc/masked; ln -s $T $R/folder; ln -s $T $R/etc/constant"
            );
            attacker(sandbox, kind, &script);
            sandbox.script("echo alive; cat /etc/masked /folder/secret /etc/constant/secret");
            let output = attempt(sandbox);
            let what = format!("{kind}: {aim}");
            trap.assert_untouched(&what);
            if let Some(output) = output {
                attacked(sandbox, &output);
                assert_eq!(output.text(), "alive", "{what}: {}", output.describe());
            }
            for name in ["etc/masked", "folder", "etc/constant"] {
                clear(&sandbox.rootfs(name));
            }
        }
    }
}

/// What covers a masked file is the host's /dev/null: its mode cannot be changed through the cover, and a mount over
/// the cover would not appear on the host.
fn invariant_5_the_host_is_not_reached_through_a_mask(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("etc/masked"), "").unwrap();
    sandbox.set("/linux/maskedPaths/-", json!("/etc/masked"));
    sandbox.script("grep ' /etc/masked ' /proc/self/mountinfo");
    for output in [sandbox.run().ok(), sandbox.begin("run", &[]).without("mount_setattr").finish().ok()] {
        let fields: Vec<&str> = output.stdout.split_whitespace().collect();
        let end = fields.iter().position(|field| *field == "-").unwrap();
        let flags: Vec<&str> = fields[5].split(',').collect();
        assert!(["ro", "nosuid", "noexec"].iter().all(|flag| flags.contains(flag)), "{fields:?}");
        assert!(!flags.contains(&"nodev"), "it must still read as the null device: {fields:?}");
        assert_eq!(fields[6..end], [""; 0], "a peer or slave of the host's mount: {fields:?}");
    }
}
