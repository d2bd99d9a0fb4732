//! process.capabilities as the bit masks that the kernel takes (config.md, Linux Process; capabilities(7)). What
//! cannot be granted is dropped with a warning, as the spec demands, and never makes the container fail; nothing is
//! ever added. Pure.
//!
//! A process without a `capabilities` object gets none at all: the spec has the arrays say what is *kept*.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

/// The five sets: bit N is the capability with number N in linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sets {
    /// What no execve can exceed.
    pub(crate) bounding: u64,
    /// What is in force.
    pub(crate) effective: u64,
    /// What survives execve of a file with inheritable capabilities.
    pub(crate) inheritable: u64,
    /// What may be made effective.
    pub(crate) permitted: u64,
    /// What survives execve of any file.
    pub(crate) ambient: u64,
}

/// The sets of this config on this machine, and the warnings about what is missing from them.
///
/// `known` has the bits that the kernel knows, `grantable` those that the container's process holds when it sets them:
/// all of `known` in a new or joined user namespace, else the runtime's own permitted set.
pub(crate) fn plan(asked: Option<&LinuxCapabilities>, known: u64, grantable: u64) -> (Sets, Vec<String>) {
    let Some(asked) = asked else { return (Sets::default(), Vec::new()) };
    let mut warnings = Vec::new();
    let mut take = |name: &str, set: &Option<Capabilities>, limits: &[(u64, &str)]| {
        let mut bits = set.iter().flatten().fold(0, |bits, &capability| bits | bit(capability));
        for &(limit, reason) in limits {
            let lost = bits & !limit;
            if lost != 0 {
                warnings.push(format!("process.capabilities.{name}: {} {reason}, dropped", names(lost)));
            }
            bits &= limit;
        }
        bits
    };
    let here = [(known, "unknown to this kernel"), (grantable, "not granted to the runtime itself")];
    let bounding = take("bounding", asked.bounding(), &here);
    let permitted = take("permitted", asked.permitted(), &here);
    // capset(2): the effective set is within the permitted one; nothing outside the bounding set becomes inheritable.
    let effective =
        take("effective", asked.effective(), &[(known, here[0].1), (permitted, "not in the permitted set")]);
    let inheritable = take(
        "inheritable",
        asked.inheritable(),
        &[(known, here[0].1), (bounding, "not in the bounding set")],
    );
    // PR_CAP_AMBIENT_RAISE: permitted and inheritable. Engines ask for more than that (buildah does).
    let both = permitted & inheritable;
    let ambient =
        take("ambient", asked.ambient(), &[(known, here[0].1), (both, "not both permitted and inheritable")]);
    (Sets { bounding, effective, inheritable, permitted, ambient }, warnings)
}

/// The bit of a capability; oci-spec prints `SYS_ADMIN`, caps reads `CAP_SYS_ADMIN`.
fn bit(capability: Capability) -> u64 {
    let known: Result<caps::Capability, _> = format!("CAP_{capability}").parse();
    known.expect("a test reads every name of oci-spec with caps").bitmask()
}

/// Bits as names for people, in the order of their numbers.
pub(crate) fn names(bits: u64) -> String {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    let names: Vec<String> =
        all.into_iter().filter(|cap| bits & cap.bitmask() != 0).map(|cap| cap.to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits 0 to 40, CAP_CHECKPOINT_RESTORE (Linux 5.9).
    const ALL: u64 = (1 << 41) - 1;
    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;
    const BPF: u64 = 1 << 39;

    fn sets(text: &str, known: u64, grantable: u64) -> (Sets, Vec<String>) {
        plan(Some(&serde_json::from_str(text).expect("capabilities")), known, grantable)
    }

    #[test]
    fn every_name_has_its_number() {
        let mut seen = 0;
        for name in caps::all().iter().map(ToString::to_string) {
            let capability: Capability =
                serde_json::from_value(name.clone().into()).expect("oci-spec knows it");
            let number: caps::Capability = name.parse().expect("caps knows it");
            assert_eq!(bit(capability), 1 << number.index(), "{name}");
            seen |= bit(capability);
        }
        assert_eq!(seen, ALL);
        assert_eq!(names(CHOWN | KILL | BPF), "CAP_CHOWN, CAP_KILL, CAP_BPF");
    }

    #[test]
    fn no_object_means_no_capability() {
        assert_eq!(plan(None, ALL, ALL), (Sets::default(), vec![]));
        assert_eq!(sets("{}", ALL, ALL), (Sets::default(), vec![]));
    }

    #[test]
    fn each_set_is_taken_as_it_stands() {
        let text = r#"{"bounding":["CAP_CHOWN","CAP_KILL","CAP_BPF"],"permitted":["CAP_CHOWN","CAP_KILL"],
            "effective":["CAP_KILL"],"inheritable":["CAP_CHOWN"],"ambient":["CAP_CHOWN"]}"#;
        let expected = Sets {
            bounding: CHOWN | KILL | BPF,
            permitted: CHOWN | KILL,
            effective: KILL,
            inheritable: CHOWN,
            ambient: CHOWN,
        };
        assert_eq!(sets(text, ALL, ALL), (expected, vec![]));
    }

    #[test]
    fn what_cannot_be_granted_is_dropped_with_a_warning() {
        let cases = [
            (
                r#"{"bounding":["CAP_BPF","CAP_KILL"]}"#,
                ALL & !BPF,
                ALL,
                Sets { bounding: KILL, ..Sets::default() },
                "process.capabilities.bounding: CAP_BPF unknown to this kernel, dropped",
            ),
            (
                r#"{"permitted":["CAP_KILL","CAP_CHOWN"]}"#,
                ALL,
                KILL,
                Sets { permitted: KILL, ..Sets::default() },
                "process.capabilities.permitted: CAP_CHOWN not granted to the runtime itself, dropped",
            ),
            (
                r#"{"effective":["CAP_KILL"]}"#,
                ALL,
                ALL,
                Sets::default(),
                "process.capabilities.effective: CAP_KILL not in the permitted set, dropped",
            ),
            (
                r#"{"inheritable":["CAP_KILL"]}"#,
                ALL,
                ALL,
                Sets::default(),
                "process.capabilities.inheritable: CAP_KILL not in the bounding set, dropped",
            ),
            (
                r#"{"permitted":["CAP_KILL"],"ambient":["CAP_KILL"]}"#,
                ALL,
                ALL,
                Sets { permitted: KILL, ..Sets::default() },
                "process.capabilities.ambient: CAP_KILL not both permitted and inheritable, dropped",
            ),
        ];
        for (text, known, grantable, expected, warning) in cases {
            assert_eq!(sets(text, known, grantable), (expected, vec![warning.to_owned()]), "{text}");
        }
    }
}
