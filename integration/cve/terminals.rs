//! Terminals whose ways an image or another process has bent: /dev/console, /dev/pts, ptmx (invariant 6). A terminal
//! comes from a devpts, and is mounted on /dev/console itself, or there is none.

use std::fs;

use serde_json::json;

use super::{SECRET, Setting, Trap, WON, attacked, attacker, attempt, clear, control, link, without_mounts};
use crate::harness::{Sandbox, until};

cases! {
    cve_2025_52565_console_of_the_image_is_a_link;
    cve_2025_52565_console_of_the_image_is_something_else;
    cve_2025_52565_console_is_exchanged;
    cve_2025_52565_devpts_of_the_image;
    cve_2025_52565_devpts_is_exchanged;
    cve_2025_52565_devpts_is_exchanged_before_exec;
}

/// What a runtime that follows a link would mount a terminal on, and so unmask.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// A container with a terminal, which works.
fn with_terminal(sandbox: &mut Sandbox) {
    sandbox.set("/process/terminal", json!(true));
    control(sandbox);
    sandbox.script("echo alive; cat /dev/pts/secret 2>/dev/null; exit 0");
}

/// The image's own /dev, with a devpts.
fn dev_of_the_image(sandbox: &mut Sandbox) {
    without_mounts(sandbox, "/dev");
    sandbox.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]);
}

fn cve_2025_52565_console_of_the_image_is_a_link(sandbox: &mut Sandbox) {
    with_terminal(sandbox);
    let (trap, pattern) = (Trap::set(sandbox), Setting::watch(PATTERN));
    dev_of_the_image(sandbox);
    control(sandbox);
    fs::write(sandbox.rootfs("victim"), "the image's own\n").unwrap();
    let mut targets: Vec<String> = trap.aims().iter().map(|aim| format!("{aim}/secret")).collect();
    targets.extend(trap.aims().iter().map(|aim| format!("{aim}/made")));
    targets.extend(["/victim", "/made", PATTERN, "/proc/self/attr/exec", "/dev/full"].map(str::to_owned));
    sandbox.script("echo alive; grep -v ' /dev/pts ' /proc/self/mountinfo | grep ' - devpts '; cat /victim");
    for target in targets {
        link(sandbox, "dev/console", &target);
        let output = attempt(sandbox);
        trap.assert_untouched(&target);
        pattern.assert_same(&target);
        assert!(!sandbox.rootfs("made").exists(), "{target} was made behind the link");
        if let Some(output) = output {
            assert!(output.stdout.ends_with("the image's own\n"), "{target}: {}", output.describe());
            let elsewhere = output.stdout.lines().filter(|line| line.contains(" - devpts "));
            let elsewhere: Vec<_> = elsewhere.filter(|line| !line.contains(" /dev/console ")).collect();
            assert!(elsewhere.is_empty(), "{target}: mounted elsewhere: {elsewhere:?}");
        }
    }
}

/// A file or a device there is covered; its content and its owner are the image's as before.
fn cve_2025_52565_console_of_the_image_is_something_else(sandbox: &mut Sandbox) {
    with_terminal(sandbox);
    dev_of_the_image(sandbox);
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let at = sandbox.rootfs("dev/console");
    let makers: [&dyn Fn(); 3] = [
        &|| fs::write(&at, "the image's own\n").unwrap(),
        &|| nix::unistd::mkfifo(&at, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap(),
        &|| fs::create_dir(&at).unwrap(),
    ];
    for (number, make) in makers.iter().enumerate() {
        clear(&at);
        make();
        let before = super::snapshot(&at);
        let output = attempt(sandbox);
        super::assert_same(&before, &super::snapshot(&at), &format!("console {number}"));
        assert_eq!(output.is_some(), number < 2, "a directory cannot be a terminal");
    }
}

fn cve_2025_52565_console_is_exchanged(sandbox: &mut Sandbox) {
    with_terminal(sandbox);
    let (trap, pattern) = (Trap::set(sandbox), Setting::watch(PATTERN));
    for kind in WON {
        for script in [
            "ln -s $T/secret $R/dev/console",
            "ln -s ../../../../../../../../../../proc/sys/kernel/core_pattern $R/dev/console",
            "ln -s /proc/sys/kernel/core_pattern $R/dev/console",
            "mkdir $R/dev/console",
            "mv $R/dev $R/away; ln -s $T $R/dev",
            "mount -t tmpfs none $R/dev; mkdir $R/dev/pts; mount -t devpts -o newinstance none $R/dev/pts; ln -s $T/secret $R/dev/console",
        ] {
            attacker(sandbox, kind, script);
            let output = sandbox.begin("run", &[]).finish();
            trap.assert_untouched(script);
            pattern.assert_same(script);
            // /dev is a mount point: it cannot be moved away.
            if !script.starts_with("mv") {
                attacked(sandbox, &output);
                assert!(!output.stdout.contains("alive"), "{script}: {}", output.describe());
            }
            assert!(!output.stdout.contains(SECRET), "{script}: {}", output.describe());
            sandbox.clean(&output);
        }
    }
}

/// Without a mount there, what the image has at /dev/pts is no devpts, whatever it looks like.
fn cve_2025_52565_devpts_of_the_image(sandbox: &mut Sandbox) {
    with_terminal(sandbox);
    let trap = Trap::set(sandbox);
    without_mounts(sandbox, "/dev");
    let pts = sandbox.rootfs("dev/pts");
    for aim in trap.aims() {
        link(sandbox, "dev/pts", &aim);
        assert!(attempt(sandbox).is_none(), "{aim}: a terminal from there");
        trap.assert_untouched(&aim);
    }
    clear(&pts);
    fs::create_dir(&pts).unwrap();
    let ptmx = pts.join("ptmx");
    let makers: [&dyn Fn(); 4] = [
        &|| std::os::unix::fs::symlink(format!("{}/ptmx", trap.text()), &ptmx).unwrap(),
        &|| nix::unistd::mkfifo(&ptmx, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap(),
        &|| fs::write(&ptmx, "").unwrap(),
        &|| {
            let (kind, mode) =
                (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::from_bits_truncate(0o666));
            nix::sys::stat::mknod(&ptmx, kind, mode, nix::sys::stat::makedev(5, 2)).unwrap();
        },
    ];
    for (number, make) in makers.iter().enumerate() {
        clear(&ptmx);
        make();
        assert!(attempt(sandbox).is_none(), "ptmx {number}: a terminal from there");
        trap.assert_untouched("ptmx of the image");
    }
}

/// What stands over the container's devpts, or over its ptmx, is not asked for a terminal.
const EXCHANGES: [&str; 7] = [
    "mount -t tmpfs none $R/dev/pts; ln -s $T/ptmx $R/dev/pts/ptmx",
    "mount -t tmpfs none $R/dev/pts; mkfifo $R/dev/pts/ptmx",
    "mount -t tmpfs none $R/dev/pts; mknod $R/dev/pts/ptmx c 5 2",
    "mount -t tmpfs none $R/tmp; echo > $R/tmp/ptmx; mount --bind $R/tmp/ptmx $R/dev/pts/ptmx",
    "mount --bind $R/dev/zero $R/dev/pts/ptmx",
    "mount -t tmpfs none $R/dev/pts; mknod $R/dev/pts/ptmx c 5 2; \
     mkdir $R/dev/pts/pts; mount -t devpts -o newinstance,ptmxmode=0666 none $R/dev/pts/pts",
    "mount -t devpts -o newinstance,ptmxmode=0666 none $R/tmp; mount --bind $R/tmp/ptmx $R/dev/pts/ptmx",
];

fn cve_2025_52565_devpts_is_exchanged(sandbox: &mut Sandbox) {
    with_terminal(sandbox);
    let trap = Trap::set(sandbox);
    for kind in WON {
        for script in EXCHANGES {
            attacker(sandbox, kind, script);
            let output = sandbox.begin("run", &[]).finish();
            attacked(sandbox, &output);
            trap.assert_untouched(script);
            assert!(!output.stdout.contains("alive"), "{script}: {}", output.describe());
            sandbox.clean(&output.error(&["process.terminal"]));
        }
    }
}

/// The same from inside, by root of a container that may mount.
fn cve_2025_52565_devpts_is_exchanged_before_exec(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    sandbox.capabilities(&["CAP_SYS_ADMIN", "CAP_MKNOD"]);
    for script in EXCHANGES {
        let script = script.replace("$R", "").replace("$T", &trap.text());
        sandbox.script(&format!("{script}; echo done > /attacked; exec sleep 100"));
        let _ = fs::remove_file(sandbox.rootfs("attacked"));
        sandbox.begin("run", &["--detach"]).finish().ok();
        assert!(until(10, || sandbox.rootfs("attacked").exists()), "{script}");
        let output =
            sandbox.onggi(&["exec", "--tty", &sandbox.token, "/bin/echo", "alive"]).finish().code(255);
        assert!(output.stderr.contains("process.terminal"), "{script}: {}", output.describe());
        trap.assert_untouched(&script);
        sandbox.onggi(&["delete", "--force", &sandbox.token]).finish().ok();
    }
}
