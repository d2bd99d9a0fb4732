//! Huge pages: the hugetlb controller. Reserved pages (`rsvd`, Linux 5.7) count where the kernel counts them, because
//! a program that may not reserve does not start.

use super::file::Files;
use super::is_zero;
use crate::error::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// Pages of one size; bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    /// The most that ever was used; v1.
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    /// How often the limit was hit.
    failcnt: u64,
}

/// By page size as the kernel writes it, `2MB`.
pub(crate) type BySize = BTreeMap<String, Hugetlb>;

/// The controller of v2.
pub(super) fn v2(files: &Files<'_>) -> Result<BySize> {
    let mut all = BySize::new();
    for size in sizes(files, ".current")? {
        let usage = match files.value(&format!("hugetlb.{size}.rsvd.current"))? {
            None => files.value(&format!("hugetlb.{size}.current"))?,
            reserved => reserved,
        };
        let events = files.get(&format!("hugetlb.{size}.events"))?;
        let failcnt = events.map_or(Ok(0), |events| events.number_of("max"))?;
        all.insert(size, Hugetlb { usage: usage.unwrap_or(0), max: 0, failcnt });
    }
    Ok(all)
}

/// The controller of v1.
pub(super) fn v1(files: &Files<'_>) -> Result<BySize> {
    let mut all = BySize::new();
    for size in sizes(files, ".usage_in_bytes")? {
        let reserved = format!("hugetlb.{size}.rsvd");
        let (counter, usage) = match files.value(&format!("{reserved}.usage_in_bytes"))? {
            Some(usage) => (reserved, Some(usage)),
            None => (format!("hugetlb.{size}"), files.value(&format!("hugetlb.{size}.usage_in_bytes"))?),
        };
        let max = files.value(&format!("{counter}.max_usage_in_bytes"))?.unwrap_or(0);
        let failcnt = files.value(&format!("{counter}.failcnt"))?.unwrap_or(0);
        all.insert(size, Hugetlb { usage: usage.unwrap_or(0), max, failcnt });
    }
    Ok(all)
}

/// `2MB` out of `hugetlb.2MB.current`.
fn sizes(files: &Files<'_>, suffix: &str) -> Result<Vec<String>> {
    let names = files.names()?;
    let sizes = names.iter().filter_map(|name| name.strip_prefix("hugetlb.")?.strip_suffix(suffix));
    Ok(sizes.filter(|size| !size.contains('.')).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_counts_reservations_where_it_can() {
        let files = Files::Texts(&[
            ("cgroup.procs", ""),
            ("hugetlb.1GB.current", "1073741824\n"),
            ("hugetlb.1GB.events", "max 0\n"),
            ("hugetlb.2MB.current", "0\n"),
            ("hugetlb.2MB.rsvd.current", "4194304\n"),
            ("hugetlb.2MB.events", "max 3\n"),
        ]);
        assert_eq!(
            serde_json::to_string(&v2(&files).unwrap()).unwrap(),
            r#"{"1GB":{"usage":1073741824,"failcnt":0},"2MB":{"usage":4194304,"failcnt":3}}"#
        );
        assert!(v2(&Files::Texts(&[])).unwrap().is_empty());
    }

    #[test]
    fn v1_counts_reservations_where_it_can() {
        let files = Files::Texts(&[
            ("hugetlb.1GB.usage_in_bytes", "1073741824\n"),
            ("hugetlb.1GB.max_usage_in_bytes", "2147483648\n"),
            ("hugetlb.1GB.failcnt", "1\n"),
            ("hugetlb.2MB.usage_in_bytes", "0\n"),
            ("hugetlb.2MB.rsvd.usage_in_bytes", "2097152\n"),
            ("hugetlb.2MB.rsvd.max_usage_in_bytes", "4194304\n"),
            ("hugetlb.2MB.rsvd.failcnt", "2\n"),
            ("hugetlb.2MB.failcnt", "9\n"),
        ]);
        assert_eq!(
            serde_json::to_string(&v1(&files).unwrap()).unwrap(),
            r#"{"1GB":{"usage":1073741824,"max":2147483648,"failcnt":1},"2MB":{"usage":2097152,"max":4194304,"failcnt":2}}"#
        );
        let broken = Files::Texts(&[("hugetlb.2MB.usage_in_bytes", "2M\n")]);
        let error = v1(&broken).unwrap_err().to_string();
        assert_eq!(error, "/c/hugetlb.2MB.usage_in_bytes:1: malformed line \"2M\"");
    }
}
