//! linux.resources.rdma (config-linux.md, RDMA): the rdma controller. Pure. Devices in the order of their names.

use super::{List, wrong};
use crate::error::Result;
use oci_spec::runtime::LinuxResources;
use std::collections::BTreeMap;

/// IB_DEVICE_NAME_MAX without its NUL (rdma/ib_verbs.h).
const LONGEST_NAME: usize = 63;

/// The rdma controller: one line for each device.
pub(super) fn limit(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let devices: BTreeMap<_, _> = resources.rdma().iter().flatten().collect();
    for (device, limits) in devices {
        let field = format!("rdma {device:?}");
        let plain = device.chars().all(|c| c.is_ascii_graphic() && c != '/');
        if !plain || !(1..=LONGEST_NAME).contains(&device.len()) {
            return Err(wrong(&field, "is no name of a device"));
        }
        let part = |name, limit: Option<u32>| limit.map(|limit| format!(" {name}={limit}"));
        let parts = [part("hca_handle", limits.hca_handles()), part("hca_object", limits.hca_objects())];
        let value: String = parts.into_iter().flatten().collect();
        if value.is_empty() {
            return Err(wrong(&field, "neither hcaHandles nor hcaObjects"));
        }
        list.push(&field, "rdma.max", format!("{device}{value}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, text};
    use crate::plan::cgroup::Version;
    use serde_json::json;

    #[test]
    fn a_line_for_each_device() {
        let rdma = json!({"rdma": {
            "mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 1000}, "rxe3": {"hcaHandles": 0}}});
        for version in [Version::V1, Version::V2] {
            assert_eq!(
                text(&rdma, version),
                "rdma.max=mlx4_0 hca_object=1000 rdma.max=mlx5_1 hca_handle=3 hca_object=10000 \
                 rdma.max=rxe3 hca_handle=0"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let both = &[Version::V1, Version::V2];
        refused(&json!({"rdma": {"mlx5_1": {}}}), "rdma \"mlx5_1\"", both);
        for name in ["", "a b", "a\nb", "a/b", "a\0"] {
            refused(&json!({"rdma": {name: {"hcaHandles": 1}}}), &format!("rdma {name:?}"), both);
        }
    }
}
