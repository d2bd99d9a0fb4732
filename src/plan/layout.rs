//! How control groups are mounted on a machine: v1, v2, both, or not at all. A plain value, parsed from the text of
//! `/proc/self/mountinfo` and `/proc/self/cgroup`.

/// The layout of control groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CgroupLayout {}
