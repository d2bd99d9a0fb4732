//! linux.resources.blockIO (config-linux.md, Block IO): the controllers blkio of v1 and io of v2. Pure. Weights go to
//! the BFQ scheduler's files where the kernel has them; the conversion to io.weight is the one that runc and crun
//! document.

use super::{List, wrong};
use crate::error::Result;
use crate::plan::cgroup::Version;
use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

/// The heaviest weight of both schedulers that had weights, CFQ and BFQ.
const HEAVIEST: u16 = 1000;

/// A list of throttles: the field, the file of v1, the key in io.max of v2.
type Throttle =
    (&'static str, &'static str, &'static str, fn(&LinuxBlockIo) -> &Option<Vec<LinuxThrottleDevice>>);

const THROTTLES: [Throttle; 4] = [
    (
        "throttleReadBpsDevice",
        "blkio.throttle.read_bps_device",
        "rbps",
        LinuxBlockIo::throttle_read_bps_device,
    ),
    (
        "throttleWriteBpsDevice",
        "blkio.throttle.write_bps_device",
        "wbps",
        LinuxBlockIo::throttle_write_bps_device,
    ),
    (
        "throttleReadIOPSDevice",
        "blkio.throttle.read_iops_device",
        "riops",
        LinuxBlockIo::throttle_read_iops_device,
    ),
    (
        "throttleWriteIOPSDevice",
        "blkio.throttle.write_iops_device",
        "wiops",
        LinuxBlockIo::throttle_write_iops_device,
    ),
];

/// The controller blkio of v1, io of v2.
pub(super) fn limit(list: &mut List, resources: &LinuxResources) -> Result<()> {
    let Some(block) = resources.block_io() else { return Ok(()) };
    if let Some(weight) = asked("blockIO.weight", block.weight())? {
        match list.version {
            Version::V1 => {
                list.push("blockIO.weight", "blkio.weight", weight).or_else("blkio.bfq.weight", weight)
            }
            Version::V2 => {
                list.push("blockIO.weight", "io.bfq.weight", weight).or_else("io.weight", io_weight(weight))
            }
        }
    }
    if let Some(weight) = asked("blockIO.leafWeight", block.leaf_weight())? {
        leaf(list, "blockIO.leafWeight", "blkio.leaf_weight", weight.to_string())?;
    }
    for (index, device) in block.weight_device().iter().flatten().enumerate() {
        weigh(list, &format!("blockIO.weightDevice[{index}]"), device)?;
    }
    for (field, v1, key, devices) in THROTTLES {
        for (index, device) in devices(block).iter().flatten().enumerate() {
            let field = format!("blockIO.{field}[{index}]");
            let number = number(&field, device.major(), device.minor())?;
            match (list.version, device.rate()) {
                (Version::V1, rate) => list.push(&field, v1, format!("{number} {rate}")),
                // What v1 understands by 0.
                (Version::V2, 0) => list.push(&field, "io.max", format!("{number} {key}=max")),
                (Version::V2, rate) => list.push(&field, "io.max", format!("{number} {key}={rate}")),
            };
        }
    }
    Ok(())
}

/// One device's weights.
fn weigh(list: &mut List, field: &str, device: &LinuxWeightDevice) -> Result<()> {
    let number = number(field, device.major(), device.minor())?;
    let of_leaf = format!("{field}.leafWeight");
    let (weight, leaf_weight) =
        (asked(&format!("{field}.weight"), device.weight())?, asked(&of_leaf, device.leaf_weight())?);
    if weight.is_none() && leaf_weight.is_none() {
        return Err(wrong(field, "neither weight nor leafWeight"));
    }
    if let Some(weight) = weight {
        let value = format!("{number} {weight}");
        match list.version {
            Version::V1 => {
                list.push(field, "blkio.weight_device", &value).or_else("blkio.bfq.weight_device", &value)
            }
            Version::V2 => list
                .push(field, "io.bfq.weight", value)
                .or_else("io.weight", format!("{number} {}", io_weight(weight))),
        }
    }
    match leaf_weight {
        Some(weight) => leaf(list, &of_leaf, "blkio.leaf_weight_device", format!("{number} {weight}")),
        None => Ok(()),
    }
}

fn leaf(list: &mut List, field: &str, file: &'static str, value: String) -> Result<()> {
    if list.version == Version::V2 {
        return Err(wrong(
            field,
            "cgroup v2 has no leaf weights: processes and cgroups do not compete there",
        ));
    }
    list.push(field, file, value);
    Ok(())
}

/// A weight, if there is one; 0 is none.
fn asked(field: &str, weight: Option<u16>) -> Result<Option<u16>> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight @ ..=HEAVIEST) => Ok(Some(weight)),
        Some(weight) => Err(wrong(field, format!("{weight} is above {HEAVIEST}"))),
    }
}

/// A block device as cgroup files name it.
fn number(field: &str, major: i64, minor: i64) -> Result<String> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => Err(wrong(field, format!("{major}:{minor} is no device number"))),
    }
}

/// A weight from 10 to 1000 as one from 1 to 10000, linearly; what is below 10 is the least.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, text};
    use super::*;
    use serde_json::json;

    #[test]
    fn weights() {
        let weight = json!({"blockIO": {"weight": 300}});
        assert_eq!(text(&weight, Version::V1), "blkio.weight=300 else blkio.bfq.weight=300");
        assert_eq!(text(&weight, Version::V2), "io.bfq.weight=300 else io.weight=2930");
        let device = json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 500}]}});
        assert_eq!(
            text(&device, Version::V1),
            "blkio.weight_device=8:16 500 else blkio.bfq.weight_device=8:16 500"
        );
        assert_eq!(text(&device, Version::V2), "io.bfq.weight=8:16 500 else io.weight=8:16 4950");
        let leaf = json!({"blockIO": {
            "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 300}]}});
        assert_eq!(text(&leaf, Version::V1), "blkio.leaf_weight=10 blkio.leaf_weight_device=8:0 300");
        for (weight, converted) in [(1, 1), (10, 1), (11, 11), (100, 910), (1000, 10_000)] {
            assert_eq!(io_weight(weight), converted, "{weight}");
        }
    }

    #[test]
    fn throttles() {
        let device = |rate: u64| json!([{"major": 8, "minor": 0, "rate": rate}]);
        let all = json!({"blockIO": {
            "throttleReadBpsDevice": device(1), "throttleWriteBpsDevice": device(2),
            "throttleReadIOPSDevice": device(3), "throttleWriteIOPSDevice": device(0)}});
        assert_eq!(
            text(&all, Version::V1),
            "blkio.throttle.read_bps_device=8:0 1 blkio.throttle.write_bps_device=8:0 2 \
             blkio.throttle.read_iops_device=8:0 3 blkio.throttle.write_iops_device=8:0 0"
        );
        assert_eq!(
            text(&all, Version::V2),
            "io.max=8:0 rbps=1 io.max=8:0 wbps=2 io.max=8:0 riops=3 io.max=8:0 wiops=max"
        );
        for version in [Version::V1, Version::V2] {
            let nothing = json!({"blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": []}});
            assert_eq!(text(&nothing, version), "");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let both = &[Version::V1, Version::V2];
        refused(&json!({"blockIO": {"weight": 1001}}), "blockIO.weight", both);
        let list = |member: &str, entry| json!({"blockIO": {member: [{"major": 1, "minor": 1, "rate": 1, "weight": 1}, entry]}});
        refused(&list("weightDevice", json!({"major": 8, "minor": 0})), "blockIO.weightDevice[1]", both);
        refused(
            &list("weightDevice", json!({"major": 8, "minor": 0, "weight": 2000})),
            "blockIO.weightDevice[1].weight",
            both,
        );
        for name in THROTTLES.map(|throttle| throttle.0) {
            let entry = json!({"major": -1, "minor": 0, "rate": 1});
            refused(&list(name, entry), &format!("blockIO.{name}[1]"), both);
        }
        refused(&json!({"blockIO": {"leafWeight": 10}}), "blockIO.leafWeight", &[Version::V2]);
        refused(
            &list("weightDevice", json!({"major": 8, "minor": 0, "leafWeight": 10})),
            "blockIO.weightDevice[1].leafWeight",
            &[Version::V2],
        );
    }
}
