//! config.md, Linux mount options: each option that a runtime must or should implement.

use serde_json::json;

use crate::harness::{Need, Sandbox};

clauses! {
    430 MUST "Linux mount options", "implement `async`" => option_async = |it| plain(it, "async", "!sync");
    431 MUST "Linux mount options", "implement `atime`" => option_atime = |it| plain(it, "atime", "!noatime");
    432 MUST "Linux mount options", "implement `bind`" => option_bind = bind;
    433 MUST "Linux mount options", "implement `defaults`" => option_defaults = |it| plain(it, "defaults", "rw");
    434 MUST "Linux mount options", "implement `dev`" => option_dev = |it| plain(it, "dev", "!nodev");
    435 MUST "Linux mount options", "implement `diratime`"
        => option_diratime = |it| plain(it, "diratime", "!nodiratime");
    436 MUST "Linux mount options", "implement `dirsync`" => option_dirsync = |it| plain(it, "dirsync", "dirsync");
    437 MUST "Linux mount options", "implement `exec`" => option_exec = |it| plain(it, "exec", "!noexec");
    438 MUST "Linux mount options", "implement `iversion`" => option_iversion = |it| plain(it, "iversion", "rw");
    439 MUST "Linux mount options", "implement `lazytime`" => option_lazytime = |it| plain(it, "lazytime", "lazytime");
    440 MUST "Linux mount options", "implement `loud`" => option_loud = |it| plain(it, "loud", "rw");
    441 MUST "Linux mount options", "implement `noatime`" => option_noatime = |it| plain(it, "noatime", "noatime");
    442 MUST "Linux mount options", "implement `nodev`" => option_nodev = |it| plain(it, "nodev", "nodev");
    443 MUST "Linux mount options", "implement `nodiratime`"
        => option_nodiratime = |it| plain(it, "nodiratime", "nodiratime");
    444 MUST "Linux mount options", "implement `noexec`" => option_noexec = |it| plain(it, "noexec", "noexec");
    445 MUST "Linux mount options", "implement `noiversion`" => option_noiversion = |it| plain(it, "noiversion", "rw");
    446 MUST "Linux mount options", "implement `nolazytime`"
        => option_nolazytime = |it| plain(it, "nolazytime", "!lazytime");
    447 MUST "Linux mount options", "implement `norelatime`" => option_norelatime = |it| plain(it, "norelatime", "rw");
    448 MUST "Linux mount options", "implement `nostrictatime`"
        => option_nostrictatime = |it| plain(it, "nostrictatime", "rw");
    449 MUST "Linux mount options", "implement `nosuid`" => option_nosuid = |it| plain(it, "nosuid", "nosuid");
    450 SHOULD "Linux mount options", "implement `nosymfollow`"
        => option_nosymfollow = |it| plain(it, "nosymfollow", "nosymfollow");
    451 MUST "Linux mount options", "implement `private`" => option_private = |it| propagation(it, "private");
    452 MUST "Linux mount options", "implement `rbind`" => option_rbind = rbind;
    453 MUST "Linux mount options", "implement `relatime`" => option_relatime = |it| plain(it, "relatime", "relatime");
    454 MUST "Linux mount options", "implement `remount`" => option_remount = remount;
    455 MUST "Linux mount options", "implement `ro`" => option_ro = |it| plain(it, "ro", "ro");
    456 MUST "Linux mount options", "implement `rprivate`" => option_rprivate = |it| propagation(it, "rprivate");
    457 MUST "Linux mount options", "implement `rshared`" => option_rshared = |it| propagation(it, "rshared");
    458 MUST "Linux mount options", "implement `rslave`" => option_rslave = |it| propagation(it, "rslave");
    459 MUST "Linux mount options", "implement `runbindable`"
        => option_runbindable = |it| propagation(it, "runbindable");
    460 MUST "Linux mount options", "implement `rw`" => option_rw = |it| plain(it, "rw", "!ro");
    461 MUST "Linux mount options", "implement `shared`" => option_shared = |it| propagation(it, "shared");
    462 MUST "Linux mount options", "implement `silent`" => option_silent = |it| plain(it, "silent", "rw");
    463 MUST "Linux mount options", "implement `slave`" => option_slave = |it| propagation(it, "slave");
    464 MUST "Linux mount options", "implement `strictatime`"
        => option_strictatime = |it| plain(it, "strictatime", "!relatime");
    465 MUST "Linux mount options", "implement `suid`" => option_suid = |it| plain(it, "suid", "!nosuid");
    466 SHOULD "Linux mount options", "implement `symfollow`"
        => option_symfollow = |it| plain(it, "symfollow", "!nosymfollow");
    467 MUST "Linux mount options", "implement `sync`" => option_sync = |it| plain(it, "sync", "sync");
    468 MUST "Linux mount options", "implement `unbindable`" => option_unbindable = |it| propagation(it, "unbindable");
    469 SHOULD "Linux mount options", "implement `ratime`"
        => option_ratime = |it| recursive(it, "ratime", "!noatime", "noatime");
    470 SHOULD "Linux mount options", "implement `rdev`" => option_rdev = |it| recursive(it, "rdev", "!nodev", "nodev");
    471 SHOULD "Linux mount options", "implement `rdiratime`"
        => option_rdiratime = |it| recursive(it, "rdiratime", "!nodiratime", "nodiratime");
    472 SHOULD "Linux mount options", "implement `rexec`"
        => option_rexec = |it| recursive(it, "rexec", "!noexec", "noexec");
    473 SHOULD "Linux mount options", "implement `rnoatime`"
        => option_rnoatime = |it| recursive(it, "rnoatime", "noatime", "");
    474 SHOULD "Linux mount options", "implement `rnodiratime`"
        => option_rnodiratime = |it| recursive(it, "rnodiratime", "nodiratime", "");
    475 SHOULD "Linux mount options", "implement `rnoexec`"
        => option_rnoexec = |it| recursive(it, "rnoexec", "noexec", "");
    476 SHOULD "Linux mount options", "implement `rnorelatime`"
        => option_rnorelatime = |it| recursive(it, "rnorelatime", "rw", "");
    477 SHOULD "Linux mount options", "implement `rnostrictatime`"
        => option_rnostrictatime = |it| recursive(it, "rnostrictatime", "rw", "");
    478 SHOULD "Linux mount options", "implement `rnosuid`"
        => option_rnosuid = |it| recursive(it, "rnosuid", "nosuid", "");
    479 SHOULD "Linux mount options", "implement `rnosymfollow`"
        => option_rnosymfollow = |it| recursive(it, "rnosymfollow", "nosymfollow", "");
    480 SHOULD "Linux mount options", "implement `rrelatime`"
        => option_rrelatime = |it| recursive(it, "rrelatime", "relatime", "");
    481 SHOULD "Linux mount options", "implement `rro`" => option_rro = |it| recursive(it, "rro", "ro", "");
    482 SHOULD "Linux mount options", "implement `rrw`" => option_rrw = |it| recursive(it, "rrw", "rw", "ro");
    483 SHOULD "Linux mount options", "implement `rstrictatime`"
        => option_rstrictatime = |it| recursive(it, "rstrictatime", "!relatime", "");
    484 SHOULD "Linux mount options", "implement `rsuid`"
        => option_rsuid = |it| recursive(it, "rsuid", "!nosuid", "nosuid");
    485 SHOULD "Linux mount options", "implement `rsymfollow`"
        => option_rsymfollow = |it| recursive(it, "rsymfollow", "!nosymfollow", "nosymfollow");
    486 SHOULD "Linux mount options", "implement `idmap`"
        => option_idmap = |it| id_mapped(it, "idmap"), Need::IdMappedMounts;
    487 SHOULD "Linux mount options", "implement `ridmap`"
        => option_ridmap = |it| id_mapped(it, "ridmap"), Need::IdMappedMounts;
}

/// The options that mountinfo shows for a mount point, the mount's own and the file system's.
fn shown(table: &str, point: &str) -> Vec<String> {
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(point));
    let line = line.unwrap_or_else(|| panic!("{point} is not mounted:\n{table}"));
    let (mount, file_system) = line.split_once(" - ").unwrap();
    let mount = mount.split(' ').nth(5).unwrap().split(',');
    let file_system = file_system.split(' ').nth(2).unwrap().split(',');
    mount.chain(file_system.filter(|word| !["ro", "rw"].contains(word))).map(str::to_owned).collect()
}

/// The word that is wanted is shown; `!word`: it is not.
fn has(words: &[String], wanted: &str) -> bool {
    let found = |word: &str| words.iter().any(|it| it == word);
    wanted.strip_prefix('!').map_or_else(|| found(wanted), |word| !found(word))
}

/// On a tmpfs. Where the option is what a mount has anyhow, its opposite stands before it.
fn plain(it: &mut Sandbox, option: &str, wanted: &str) {
    let mut options = vec![option];
    if let Some(opposite) = wanted.strip_prefix('!').filter(|word| *word != "lazytime") {
        options.insert(0, opposite);
    }
    it.mount("/mnt", "tmpfs", "tmpfs", &options);
    let words = shown(&it.see("cat /proc/self/mountinfo"), "/mnt");
    assert!(has(&words, wanted), "{options:?}: wanted {wanted}, mounted {words:?}");
}

fn bind(it: &mut Sandbox) {
    it.mount("/copy", "none", "/sys", &["bind", "ro"]);
    let seen = it.see(
        "cut -d ' ' -f 5 /proc/self/mountinfo | grep -c ^/copy; ls /copy/kernel >/dev/null && echo there",
    );
    assert_eq!(seen, "1\nthere");
}

fn rbind(it: &mut Sandbox) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let there = points.filter(|point| *point == "/sys" || point.starts_with("/sys/")).count();
    assert!(there > 1, "the machine has nothing mounted below /sys");
    it.mount("/copy", "none", "/sys", &["rbind", "ro"]);
    assert_eq!(it.see("cut -d ' ' -f 5 /proc/self/mountinfo | grep -c ^/copy"), there.to_string());
}

fn remount(it: &mut Sandbox) {
    it.mount("/mnt", "tmpfs", "tmpfs", &["size=1m"]);
    it.mount("/mnt", "tmpfs", "tmpfs", &["remount", "ro", "nosuid"]);
    let table = it.see("cat /proc/self/mountinfo");
    assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == Some("/mnt")).count(), 1, "{table}");
    assert!(has(&shown(&table, "/mnt"), "ro"), "{table}");
}

/// On a bind mount of a folder of the host, where mounts are shared.
fn propagation(it: &mut Sandbox, option: &str) {
    let source = it.path("bundle/rootfs/var");
    it.mount("/mnt", "none", &source, &["rbind", option]);
    let line = it.see("grep ' /mnt ' /proc/self/mountinfo");
    let tags = line.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
    let right = match option.strip_prefix('r').unwrap_or(option) {
        "private" => tags.is_empty(),
        "shared" => tags.contains("shared:"),
        "slave" => tags.contains("master:") && !tags.contains("shared:"),
        _ => tags == "unbindable",
    };
    assert!(right, "{option}: {line}");
}

/// On a bind mount of what the host has mounted below /sys. `before` is an option that all have to be given up.
fn recursive(it: &mut Sandbox, option: &str, wanted: &str, before: &str) {
    let mut options = vec!["rbind".to_owned()];
    options.extend((!before.is_empty()).then(|| format!("r{before}")));
    options.push(option.to_owned());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    it.mount("/deep", "none", "/sys", &options);
    let table = it.see("cat /proc/self/mountinfo");
    let points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let points: Vec<&str> = points.into_iter().filter(|point| point.starts_with("/deep")).collect();
    assert!(points.len() > 1, "the machine has nothing mounted below /sys: {table}");
    for point in points {
        let words = shown(&table, point);
        assert!(has(&words, wanted), "{options:?} at {point}: wanted {wanted}, mounted {words:?}");
    }
}

/// With mappings of its own.
fn id_mapped(it: &mut Sandbox, option: &str) {
    let file = it.file("owned/file", "");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
    let map = json!([{ "containerID": 1000, "hostID": 7000, "size": 10 }]);
    let source = it.path("owned");
    it.set(
        "/mounts/-",
        json!({
            "destination": "/mnt", "type": "none", "source": source, "options": ["rbind", option],
            "uidMappings": map, "gidMappings": map
        }),
    );
    assert_eq!(it.see("stat -c %u:%g /mnt/file"), "7000:7001");
}
