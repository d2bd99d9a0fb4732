//! Files of the image that the runtime itself reads: /etc/passwd for HOME. Whatever stands there, the runtime answers
//! in time and in small memory (invariant 12).

use std::fs::{self, File};
use std::io::Write;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use super::{SECRET, Trap, WON, attacked, attacker, clear, control, link};
use crate::harness::Sandbox;

cases! {
    invariant_12_passwd_is_no_regular_file;
    invariant_12_passwd_is_endless;
    invariant_12_passwd_is_exchanged;
}

/// Runs a container that needs HOME, with 128 MiB of data at most and ten seconds at most; says what HOME became, or
/// nothing if the runtime refused.
#[track_caller]
fn home(sandbox: &mut Sandbox, what: &str) -> Option<String> {
    sandbox.script("echo alive; echo HOME=$HOME");
    let small = ["/bin/sh", "-c", r#"ulimit -d 131072; exec "$@""#, "sh"];
    let output = sandbox.begin("run", &[]).through(&small).limit(10).finish();
    assert!(!output.stdout.contains(SECRET), "{what}: {}", output.describe());
    if !output.status.success() {
        sandbox.clean(&output);
        let stopped = output.status.code() == Some(1);
        assert!(stopped, "{what}: the runtime did not end by itself: {}", output.describe());
        return None;
    }
    Some(output.text().rsplit_once("HOME=").expect("HOME").1.to_owned())
}

fn invariant_12_passwd_is_no_regular_file(sandbox: &mut Sandbox) {
    control(sandbox);
    assert_eq!(home(sandbox, "a good passwd").as_deref(), Some("/root"));
    let trap = Trap::set(sandbox);
    let passwd = sandbox.rootfs("etc/passwd");
    let mode = Mode::from_bits_truncate(0o644);
    fs::write(trap.dir.join("inner/passwd"), format!("root:x:0:0::/{SECRET}:/bin/sh\n")).unwrap();
    let kinds = [
        "fifo", "zero", "random", "full", "tty", "folder", "socket", "dangling", "loop", "pipe", "outside",
        "magic", "kmsg",
    ];
    for kind in kinds {
        clear(&passwd);
        let device = |minor| mknod(&passwd, SFlag::S_IFCHR, mode, makedev(1, minor)).unwrap();
        match kind {
            "fifo" => mkfifo(&passwd, mode).unwrap(),
            "zero" => device(5),
            "random" => device(8),
            "full" => device(7),
            "tty" => mknod(&passwd, SFlag::S_IFCHR, mode, makedev(5, 0)).unwrap(),
            "folder" => fs::create_dir(&passwd).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&passwd).unwrap()),
            "dangling" => link(sandbox, "etc/passwd", "/missing"),
            "loop" => link(sandbox, "etc/passwd", "passwd"),
            "pipe" => link(sandbox, "etc/passwd", "/proc/self/fd/0"),
            "outside" => link(sandbox, "etc/passwd", &format!("{}/inner/passwd", trap.text())),
            "magic" => link(sandbox, "etc/passwd", &format!("/proc/1/root{}/inner/passwd", trap.text())),
            _ => link(sandbox, "etc/passwd", "/proc/kmsg"),
        }
        let found = home(sandbox, kind);
        assert!(
            found.as_deref().is_none_or(|home| home == "/" || home == "/root"),
            "{kind}: HOME is {found:?}"
        );
    }
}

fn invariant_12_passwd_is_endless(sandbox: &mut Sandbox) {
    control(sandbox);
    let passwd = sandbox.rootfs("etc/passwd");
    // 4 GiB of nothing in one line; 4 GiB after a good line; one line of 700 KiB; very many lines.
    for start in ["", "root:x:0:0::/good:/bin/sh\n"] {
        let mut file = File::create(&passwd).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        file.set_len(4 << 30).unwrap();
        let found = home(sandbox, "4 GiB of passwd");
        let sound = found.as_deref().is_none_or(|home| ["/", "/root", "/good"].contains(&home));
        assert!(sound, "HOME is {found:?}");
    }
    fs::write(&passwd, format!("root:x:0:0:{}:/long:/bin/sh\n", "x".repeat(700_000))).unwrap();
    let found = home(sandbox, "a long line");
    assert!(found.as_deref().is_none_or(|home| ["/", "/root", "/long"].contains(&home)), "HOME is {found:?}");
    let mut many = "x:x:1:1::/x:/x\n".repeat(60_000);
    many.push_str("root:x:0:0::/last:/bin/sh\n");
    fs::write(&passwd, many).unwrap();
    let found = home(sandbox, "many lines");
    assert!(found.as_deref().is_none_or(|home| ["/", "/root", "/last"].contains(&home)), "HOME is {found:?}");
    let home_of = |home: &str| format!("root:x:0:0::{home}:/bin/sh\n");
    for odd in ["", "relative", "/with\0null", "/\u{1b}[2J", "/new\rline", &"/long".repeat(2000)] {
        fs::write(&passwd, home_of(odd)).unwrap();
        home(sandbox, odd);
    }
    fs::write(&passwd, b"root:x:0:0::/\xff\xfe:/bin/sh\n\xff\xff\xff").unwrap();
    home(sandbox, "bytes that are no text");
}

/// The race is won: between the mounts and the look-up the file or its folder becomes something else.
fn invariant_12_passwd_is_exchanged(sandbox: &mut Sandbox) {
    let trap = Trap::set(sandbox);
    let evil = format!("root:x:0:0::/{SECRET}:/bin/sh\n");
    sandbox.file("hostetc/passwd", &evil);
    for kind in WON {
        for script in [
            "rm -f $R/etc/passwd; mkfifo $R/etc/passwd",
            "rm -f $R/etc/passwd; mknod $R/etc/passwd c 1 5",
            "rm -f $R/etc/passwd; ln -s $T/../hostetc/passwd $R/etc/passwd",
            "rm -rf $R/etc; ln -s $T/../hostetc $R/etc",
            "rm -rf $R/etc; ln -s ../../hostetc $R/etc",
        ] {
            attacker(sandbox, kind, script);
            sandbox.script("echo alive; echo HOME=$HOME");
            let output = sandbox.begin("run", &[]).limit(10).finish();
            attacked(sandbox, &output);
            assert!(!output.stdout.contains(SECRET), "{kind}: {script}: {}", output.describe());
            clear(&sandbox.rootfs("etc"));
            fs::create_dir(sandbox.rootfs("etc")).unwrap();
            fs::write(sandbox.rootfs("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        }
    }
    trap.assert_untouched("an exchanged passwd");
}
