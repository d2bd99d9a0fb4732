//! linux.resources.pids (config-linux.md, PIDs). Pure.

use super::{List, wrong};
use crate::error::Result;
use oci_spec::runtime::LinuxResources;

/// The pids controller. 0 is a limit, but one that the kernel would hold against the container's first process; 1 is
/// the same for all others.
pub(super) fn limit(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let Some(limit) = resources.pids().map(|pids| pids.limit()) else { return Ok(()) };
    let value = match limit {
        -1 => "max".to_owned(),
        0.. => limit.max(1).to_string(),
        _ => return Err(wrong("pids.limit", format!("{limit} is neither a number of processes nor -1"))),
    };
    list.push("pids.limit", "pids.max", value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, text};
    use crate::plan::cgroup::Version;
    use serde_json::json;

    #[test]
    fn zero_is_a_limit_and_minus_one_is_none() {
        for version in [Version::V1, Version::V2] {
            for (limit, value) in [(100, "100"), (1, "1"), (0, "1"), (-1, "max")] {
                let pids = json!({"pids": {"limit": limit}});
                assert_eq!(text(&pids, version), format!("pids.max={value}"));
            }
        }
        refused(&json!({"pids": {"limit": -2}}), "pids.limit", &[Version::V1, Version::V2]);
    }
}
