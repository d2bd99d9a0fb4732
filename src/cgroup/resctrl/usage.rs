//! What resctrl measures of a container, in the JSON shape of runc's `events` (its `intel_rdt`). It must never change
//! anything. What the processor does not have is left out.

use super::{MONITORS, Record, number};
use crate::cgroup::directory::Directory;
use crate::cgroup::tree::unless_gone;
use crate::error::Result;
use serde::Serialize;

/// Allocation and usage of caches and memory bandwidth.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// What the L3 cache allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    /// The `L3` line of the default group.
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    /// The `L3` line of the container's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    /// What memory bandwidth allocation allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    /// The `MB` line of the default group.
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    /// The `MB` line of the container's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    /// All lines of the container's group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schemata: Vec<String>,
    /// Memory bandwidth used, per L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    /// Cache occupied, per L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

/// `info/L3`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct CacheInfo {
    cbm_mask: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_cbm_bits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_closids: Option<u64>,
}

/// `info/MB`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct BandwidthInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth_gran: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_linear: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_bandwidth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_closids: Option<u64>,
}

/// Bytes since the group was made.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Bandwidth {
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_local_bytes: Option<u64>,
}

/// Bytes now.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Occupancy {
    #[serde(skip_serializing_if = "Option::is_none")]
    llc_occupancy: Option<u64>,
}

impl Record {
    /// Reads the figures: of the container's monitoring group if it has one, else of its group with all that is in it.
    ///
    /// # Returns
    /// None if resctrl or the group is gone.
    pub(crate) fn usage(&self) -> Result<Option<Usage>> {
        let Some((top, group)) = self.open()? else { return Ok(None) };
        let (root, own) = (top.read("schemata")?, group.read("schemata")?);
        let measured = match &self.monitor {
            Some(name) => group.descend(&[MONITORS.to_owned(), name.as_str().to_owned()]),
            None => group.descend(&[]),
        };
        let mut usage = Usage {
            l3_cache_info: cache_info(&top)?,
            l3_cache_schema_root: line(&root, "L3"),
            l3_cache_schema: line(&own, "L3"),
            mem_bw_info: bandwidth_info(&top)?,
            mem_bw_schema_root: line(&root, "MB"),
            mem_bw_schema: line(&own, "MB"),
            schemata: own
                .lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect(),
            ..Usage::default()
        };
        if let Some(measured) = unless_gone(measured)? {
            usage.measure(&top, &measured)?;
        }
        Ok(Some(usage))
    }
}

impl Usage {
    /// One entry for each L3 cache, in the order of their numbers.
    fn measure(&mut self, top: &Directory, group: &Directory) -> Result<()> {
        let features = unless_gone(top.read("info/L3_MON/mon_features"))?.unwrap_or_default();
        let has = |feature: &str| features.lines().any(|line| line == feature);
        let Some(data) = unless_gone(group.descend(&["mon_data".to_owned()]))? else { return Ok(()) };
        let mut caches = data.children()?;
        caches.retain(|cache| cache.to_bytes().starts_with(b"mon_L3_"));
        caches.sort();
        let (mut bandwidth, mut occupancy) = (Vec::new(), Vec::new());
        for cache in &caches {
            let cache = data.child(cache)?;
            bandwidth.push(Bandwidth {
                mbm_total_bytes: number(&cache, "mbm_total_bytes")?,
                mbm_local_bytes: number(&cache, "mbm_local_bytes")?,
            });
            occupancy.push(Occupancy { llc_occupancy: number(&cache, "llc_occupancy")? });
        }
        self.mbm_stats = (has("mbm_total_bytes") || has("mbm_local_bytes")).then_some(bandwidth);
        self.cmt_stats = has("llc_occupancy").then_some(occupancy);
        Ok(())
    }
}

/// The line of a resource in a `schemata` file.
fn line(schemata: &str, resource: &str) -> String {
    let mut lines = schemata.lines().map(str::trim);
    let found = lines.find(|line| line.split_once(':').is_some_and(|(name, _)| name.trim() == resource));
    found.unwrap_or_default().to_owned()
}

fn cache_info(top: &Directory) -> Result<Option<CacheInfo>> {
    let Some(mask) = unless_gone(top.read("info/L3/cbm_mask"))? else { return Ok(None) };
    Ok(Some(CacheInfo {
        cbm_mask: mask.trim().to_owned(),
        min_cbm_bits: number(top, "info/L3/min_cbm_bits")?,
        num_closids: number(top, "info/L3/num_closids")?,
    }))
}

fn bandwidth_info(top: &Directory) -> Result<Option<BandwidthInfo>> {
    let info = BandwidthInfo {
        bandwidth_gran: number(top, "info/MB/bandwidth_gran")?,
        delay_linear: number(top, "info/MB/delay_linear")?,
        min_bandwidth: number(top, "info/MB/min_bandwidth")?,
        num_closids: number(top, "info/MB/num_closids")?,
    };
    Ok((info != BandwidthInfo::default()).then_some(info))
}
