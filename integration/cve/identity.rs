//! Users, groups and capabilities: the process is who the configuration says, and nobody else (invariants 10, 11).

use std::fs;

use serde_json::{Value, json};

use super::{attempt, control};
use crate::harness::{Need, Sandbox};

cases! {
    cve_2016_3697_a_number_that_is_a_name_in_passwd;
    cve_2022_27650_inheritable_and_ambient_of_the_caller: Need::Program("setpriv");
    cve_2022_29162_spec_has_no_inheritable_capabilities;
    cve_2022_36109_groups_of_the_caller: Need::Program("setpriv");
    cve_2022_36109_groups_of_the_configuration;
    cve_2024_40635_ids_that_overflow;
    cve_2024_40635_mappings_that_overflow;
    cve_2025_27612_only_the_sets_that_were_asked_for;
    cve_2025_27612_ambient_beyond_inheritable;
    cve_2026_30892_a_small_number_is_itself;
    cve_2026_46680_a_number_never_becomes_a_name;
}

/// The kernel's own view of the process.
const STATUS: &str = "echo alive; grep -E '^(Uid|Gid|Groups|Cap...):' /proc/self/status | tr -s '\\t ' ' '";

/// A line of [`STATUS`].
fn line(text: &str, name: &str) -> String {
    let start = format!("{name}:");
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("is missing").trim().to_owned()
}

/// A user whose name is another user's number.
const CONFUSING: &str = "root:x:0:0:root:/root:/bin/sh\n\
    1000:x:0:0:root again:/wrong:/bin/sh\n\
    4294967295:x:0:0:root again:/wrong:/bin/sh\n\
    4294967296:x:0:0:root again:/wrong:/bin/sh\n\
    user:x:1000:1000:A User:/home/user:/bin/sh\n\
    :x:1000:0:nobody at all:/wrong:/bin/sh\n";

/// The number of the configuration is the number of the process; passwd is asked by number for HOME only.
fn cve_2016_3697_a_number_that_is_a_name_in_passwd(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("etc/passwd"), CONFUSING).unwrap();
    fs::write(sandbox.rootfs("etc/group"), "1000:x:0:\nroot:x:0:1000,user\nuser:x:1000:\n").unwrap();
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000, "username": "root" }));
    sandbox.script(&format!("{STATUS}; echo $HOME"));
    let output = sandbox.run().ok();
    let text = output.text();
    assert_eq!(line(text, "Uid"), "1000 1000 1000 1000", "{}", output.describe());
    assert_eq!(line(text, "Gid"), "1000 1000 1000 1000", "{}", output.describe());
    assert_eq!(line(text, "Groups"), "", "{}", output.describe());
    assert!(text.ends_with("\n/home/user"), "{}", output.describe());
}

/// 1 is 1, in all four of its forms, and so is its group.
fn cve_2026_30892_a_small_number_is_itself(sandbox: &mut Sandbox) {
    for (uid, gid) in [(1u32, 0u32), (0, 1), (1, 1), (65534, 65535), (u32::MAX - 1, u32::MAX - 1)] {
        sandbox.set("/process/user", json!({ "uid": uid, "gid": gid }));
        let text = sandbox.prove(STATUS);
        assert_eq!(line(&text, "Uid"), format!("{uid} {uid} {uid} {uid}"));
        assert_eq!(line(&text, "Gid"), format!("{gid} {gid} {gid} {gid}"));
        if uid != 0 {
            assert_eq!(line(&text, "CapEff"), "0000000000000000", "user {uid} has capabilities");
        }
    }
}

/// What no id may be written as.
fn not_ids() -> Vec<Value> {
    vec![
        json!(4_294_967_295u64),
        json!(4_294_967_296u64),
        json!(4_294_968_296u64),
        json!(18_446_744_073_709_551_615u64),
        json!(-1),
        json!(-4_294_967_296i64),
        json!(1.5),
        json!(1e300),
        json!("0"),
        json!("1000"),
        json!("+1000"),
        json!("root"),
        json!(true),
        json!([1000]),
        json!({}),
    ]
}

/// An id that does not fit, or that the kernel takes for "leave it as it is", is refused and never wraps round to 0.
fn cve_2024_40635_ids_that_overflow(sandbox: &mut Sandbox) {
    control(sandbox);
    sandbox.script("echo alive; id");
    for value in not_ids() {
        for field in ["uid", "gid"] {
            sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
            sandbox.set(&format!("/process/user/{field}"), value.clone());
            sandbox.refused(&[&format!("process.user.{field}")]);
        }
        sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5, value] }));
        sandbox.refused(&["process.user.additionalGids"]);
    }
    sandbox.set("/process/user", json!({ "uid": 1000, "gid": 1000, "umask": 0o1777 }));
    let output = attempt(sandbox);
    assert!(output.is_none_or(|it| it.stdout.contains("uid=1000")));
}

/// The same for mappings, whose ends can overflow although their parts do not.
fn cve_2024_40635_mappings_that_overflow(sandbox: &mut Sandbox) {
    let good = json!({ "containerID": 0, "hostID": 100_000, "size": 65536 });
    sandbox.user_namespace().script("echo alive; id");
    for value in not_ids() {
        for field in ["containerID", "hostID", "size"] {
            let mut bad = good.clone();
            bad[field] = value.clone();
            for (list, other) in [("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")] {
                sandbox.set(&format!("/linux/{other}"), json!([good]));
                sandbox.set(&format!("/linux/{list}"), json!([bad]));
                // 2³²-1 ids from 0 on are a lawful size, but not from 100000 on.
                sandbox.refused(&[&format!("linux.{list}")]);
            }
        }
    }
    sandbox.set("/linux/gidMappings", json!([good]));
    sandbox.set("/linux/uidMappings", json!([{ "containerID": 1, "hostID": 4_294_967_290u32, "size": 10 }]));
    sandbox.refused(&["linux.uidMappings"]);
}

/// A uid beyond 32 bits that is also the name of a user in the image.
fn cve_2026_46680_a_number_never_becomes_a_name(sandbox: &mut Sandbox) {
    fs::write(sandbox.rootfs("etc/passwd"), CONFUSING).unwrap();
    sandbox.script("echo alive; id");
    for value in [json!(4_294_967_296u64), json!("4294967296"), json!(4_294_967_295u64), json!("")] {
        sandbox.set("/process/user/uid", value);
        sandbox.refused(&["process.user.uid"]);
    }
}

/// The engine has inheritable and ambient capabilities; none of them reaches a container that did not ask.
fn cve_2022_27650_inheritable_and_ambient_of_the_caller(sandbox: &mut Sandbox) {
    let rich =
        ["setpriv", "--inh-caps", "+net_raw,+sys_chroot,+kill", "--ambient-caps", "+net_raw,+kill", "--"];
    for user in [0, 1000] {
        sandbox.set("/process/user", json!({ "uid": user, "gid": user })).script(STATUS);
        let output = sandbox.begin("run", &[]).through(&rich).finish().ok();
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(line(output.text(), set), "0000000000000000", "user {user}: {}", output.describe());
        }
        let bounding = line(output.text(), "CapBnd");
        assert_eq!(bounding, "0000000020000420", "user {user}: {}", output.describe());
        let effective = if user == 0 { bounding.as_str() } else { "0000000000000000" };
        assert_eq!(line(output.text(), "CapEff"), effective, "user {user}: {}", output.describe());
    }
}

/// The default configuration neither has inheritable nor ambient capabilities.
fn cve_2022_29162_spec_has_no_inheritable_capabilities(sandbox: &mut Sandbox) {
    for arguments in [&["spec"][..], &["spec", "--rootless"]] {
        let folder = sandbox.dir.join("made");
        super::clear(&folder);
        fs::create_dir(&folder).unwrap();
        sandbox.bare(arguments).directory(&folder).finish().ok();
        let text = fs::read(folder.join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        for set in ["inheritable", "ambient"] {
            let listed = config["process"]["capabilities"][set].as_array().map_or(0, Vec::len);
            assert_eq!(listed, 0, "{arguments:?}: {set} is not empty");
        }
        assert!(config["process"]["capabilities"]["bounding"].is_array(), "{arguments:?}");
    }
}

/// A capability named for one set is in no other.
fn cve_2025_27612_only_the_sets_that_were_asked_for(sandbox: &mut Sandbox) {
    let none = "0000000000000000";
    let kill = "0000000000000020";
    let sets = json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"] });
    sandbox.set("/process/capabilities", sets);
    let text = sandbox.prove(STATUS);
    for (set, wanted) in
        [("CapBnd", kill), ("CapPrm", kill), ("CapEff", kill), ("CapInh", none), ("CapAmb", none)]
    {
        assert_eq!(line(&text, set), wanted, "{set}");
    }
    // Root gains on execve what is bounding and permitted for it; nothing beyond bounding in any set.
    sandbox.set("/process/capabilities", json!({ "bounding": [], "permitted": [], "effective": [] }));
    let text = sandbox.prove(STATUS);
    for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(line(&text, set), none, "{set}");
    }
    sandbox.set("/process/capabilities", json!({}));
    let text = sandbox.prove(STATUS);
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(line(&text, set), none, "{set} of an empty object");
    }
}

/// Ambient is within inheritable and permitted: what is not gets refused or left out, not slipped in.
fn cve_2025_27612_ambient_beyond_inheritable(sandbox: &mut Sandbox) {
    control(sandbox);
    let sets = json!({ "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
        "ambient": ["CAP_KILL", "CAP_CHOWN"] });
    sandbox.set("/process/capabilities", sets).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    sandbox.script(STATUS);
    if let Some(output) = attempt(sandbox) {
        for set in ["CapAmb", "CapInh", "CapPrm", "CapEff"] {
            assert_eq!(line(output.text(), set), "0000000000000000", "{}", output.describe());
        }
    }
}

/// Supplementary groups of the engine do not reach the container.
fn cve_2022_36109_groups_of_the_caller(sandbox: &mut Sandbox) {
    let rich = ["setpriv", "--groups", "4242,6,27", "--"];
    for (user, groups, wanted) in [
        (json!(0), json!(null), ""),
        (json!(1000), json!(null), ""),
        (json!(1000), json!([]), ""),
        (json!(1000), json!([10, 77]), "10 77"),
    ] {
        sandbox.set("/process/user", json!({ "uid": user, "gid": user }));
        if groups.is_array() {
            sandbox.set("/process/user/additionalGids", groups);
        }
        sandbox.script(STATUS);
        let output = sandbox.begin("run", &[]).through(&rich).finish().ok();
        assert_eq!(line(output.text(), "Groups"), wanted, "{}", output.describe());
    }
}

/// The groups are set where the file's permissions deny a group: a process in the group is denied, not let through
/// as "others".
fn cve_2022_36109_groups_of_the_configuration(sandbox: &mut Sandbox) {
    let file = sandbox.rootfs("denied");
    fs::write(&file, "not for group 77\n").unwrap();
    std::os::unix::fs::chown(&file, Some(0), Some(77)).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    for (user, wanted) in [
        (json!({ "uid": 1000, "gid": 1000, "additionalGids": [77] }), "denied"),
        (json!({ "uid": 1000, "gid": 77 }), "denied"),
        (json!({ "uid": 1000, "gid": 1000 }), "not for group 77"),
    ] {
        sandbox.set("/process/user", user);
        assert_eq!(sandbox.prove("cat /denied 2>/dev/null || echo denied"), wanted);
    }
}
