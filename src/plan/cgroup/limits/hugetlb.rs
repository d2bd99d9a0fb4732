//! linux.resources.hugepageLimits (config-linux.md, Huge page limits): the hugetlb controller. Pure. Both what is used
//! and what is reserved is limited, where the kernel counts reservations (Linux 5.7).

use super::{List, wrong};
use crate::error::Result;
use crate::plan::cgroup::Version;
use oci_spec::runtime::LinuxResources;

/// The hugetlb controller.
pub(super) fn limit(list: &mut List, resources: &LinuxResources) -> Result<()> {
    for (index, page) in resources.hugepage_limits().iter().flatten().enumerate() {
        let field = format!("hugepageLimits[{index}]");
        let size = page.page_size();
        if !is_page_size(size) {
            let reason = format!("{size:?} is no page size as the kernel writes them: 64KB, 2MB, 1GB");
            return Err(wrong(&format!("{field}.pageSize"), reason));
        }
        let (file, none) = match list.version {
            Version::V1 => ("limit_in_bytes", "-1"),
            Version::V2 => ("max", "max"),
        };
        let value = match page.limit() {
            -1 => none.to_owned(),
            bytes @ 0.. => bytes.to_string(),
            other => return Err(wrong(&format!("{field}.limit"), format!("{other} is no number of bytes"))),
        };
        list.push(&field, format!("hugetlb.{size}.{file}"), &value);
        list.push(&field, format!("hugetlb.{size}.rsvd.{file}"), value).or_fine(true);
    }
    Ok(())
}

/// `<number><K, M or G>B`; the name becomes a part of a file's name.
fn is_page_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    number.is_some_and(|number| {
        !number.starts_with('0')
            && (1..=4).contains(&number.len())
            && number.bytes().all(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, text};
    use super::*;
    use serde_json::json;

    #[test]
    fn both_files_are_written() {
        let pages = json!({"hugepageLimits": [
            {"pageSize": "2MB", "limit": 4194304}, {"pageSize": "1GB", "limit": 0}, {"pageSize": "64KB", "limit": -1}]});
        assert_eq!(
            text(&pages, Version::V1),
            "hugetlb.2MB.limit_in_bytes=4194304 hugetlb.2MB.rsvd.limit_in_bytes?=4194304 \
             hugetlb.1GB.limit_in_bytes=0 hugetlb.1GB.rsvd.limit_in_bytes?=0 \
             hugetlb.64KB.limit_in_bytes=-1 hugetlb.64KB.rsvd.limit_in_bytes?=-1"
        );
        assert_eq!(
            text(&pages, Version::V2),
            "hugetlb.2MB.max=4194304 hugetlb.2MB.rsvd.max?=4194304 hugetlb.1GB.max=0 hugetlb.1GB.rsvd.max?=0 \
             hugetlb.64KB.max=max hugetlb.64KB.rsvd.max?=max"
        );
    }

    #[test]
    fn page_sizes_are_checked() {
        for size in
            ["", "2", "MB", "2mb", "2MiB", "02MB", "-2MB", "2 MB", "../../x/2MB", "2MB\n", "2.5MB", "99999KB"]
        {
            let page = json!({"hugepageLimits": [{"pageSize": size, "limit": 0}]});
            refused(&page, "hugepageLimits[0].pageSize", &[Version::V1, Version::V2]);
        }
        let negative = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": -2}]});
        refused(&negative, "hugepageLimits[0].limit", &[Version::V1, Version::V2]);
    }
}
