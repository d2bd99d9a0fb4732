//! Memory: the memory controller. v2 is told in the terms of v1, as runc tells it: its swap figures include memory.

use super::file::Files;
use super::is_zero;
use super::pressure::Pressure;
use crate::error::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// What the container has of memory; bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// The part that is cached files.
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    /// Memory.
    usage: MemoryUse,
    /// Memory and swap together; of the most used v2 does not tell the sum.
    swap: MemoryUse,
    /// The kernel's own; v1.
    kernel: MemoryUse,
    /// TCP buffers; v1.
    #[serde(rename = "kernelTCP")]
    kernel_tcp: MemoryUse,
    /// All of memory.stat, in the kernel's units.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: BTreeMap<String, u64>,
    /// Time waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// A counter and its limit; bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct MemoryUse {
    /// 18446744073709551615: none (v2); v1 says 9223372036854771712.
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    /// The most that ever was used.
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    /// How often the limit was hit; v1.
    failcnt: u64,
}

impl MemoryUse {
    /// The four files of a v1 counter; zeros where the kernel does not have it (swap, kernel memory).
    fn v1(files: &Files<'_>, counter: &str) -> Result<Self> {
        let figure = |name: &str| files.value(&format!("{counter}.{name}")).map(|figure| figure.unwrap_or(0));
        Ok(MemoryUse {
            limit: figure("limit_in_bytes")?,
            usage: figure("usage_in_bytes")?,
            max: figure("max_usage_in_bytes")?,
            failcnt: figure("failcnt")?,
        })
    }

    /// `.peak` is there from Linux 5.19 (memory) and 6.5 (swap) on.
    fn v2(files: &Files<'_>, counter: &str) -> Result<Self> {
        let figure = |name: &str| files.value(&format!("{counter}.{name}")).map(|figure| figure.unwrap_or(0));
        Ok(MemoryUse { limit: figure("max")?, usage: figure("current")?, max: figure("peak")?, failcnt: 0 })
    }

    /// Memory and swap as one, as v1 counts. The sum of two peaks would be a peak that never was.
    fn with_swap(self, swap: MemoryUse) -> Self {
        MemoryUse {
            limit: swap.limit.saturating_add(self.limit),
            usage: swap.usage.saturating_add(self.usage),
            max: 0,
            failcnt: 0,
        }
    }
}

impl Memory {
    /// Zeros where the controller is not enabled; pressure is there nevertheless.
    pub(super) fn add_v2(&mut self, files: &Files<'_>) -> Result<()> {
        self.psi = Pressure::of(files, "memory.pressure")?;
        if self.add_stat(files, "file")? {
            self.usage = MemoryUse::v2(files, "memory")?;
            self.swap = self.usage.with_swap(MemoryUse::v2(files, "memory.swap")?);
        }
        Ok(())
    }

    /// The memory controller of v1.
    pub(super) fn add_v1(&mut self, files: &Files<'_>) -> Result<()> {
        if self.add_stat(files, "cache")? {
            self.usage = MemoryUse::v1(files, "memory")?;
            self.swap = MemoryUse::v1(files, "memory.memsw")?;
            self.kernel = MemoryUse::v1(files, "memory.kmem")?;
            self.kernel_tcp = MemoryUse::v1(files, "memory.kmem.tcp")?;
        }
        Ok(())
    }

    /// memory.stat; false if there is none. `cache`: what it calls cached files.
    fn add_stat(&mut self, files: &Files<'_>, cache: &str) -> Result<bool> {
        let Some(file) = files.get("memory.stat")? else { return Ok(false) };
        for line in file.lines() {
            let (key, value) = line.pair()?;
            self.raw.insert(key.to_owned(), line.number(value)?);
        }
        self.cache = self.raw.get(cache).copied().unwrap_or(0);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const V2: [(&str, &str); 6] = [
        ("memory.stat", "anon 8192\nfile 4096\nkernel 100\npgfault 77\nworkingset_refault_anon 0\n"),
        ("memory.current", "20480\n"),
        ("memory.max", "33554432\n"),
        ("memory.peak", "24576\n"),
        ("memory.swap.current", "1000\n"),
        ("memory.swap.max", "2000\n"),
    ];

    #[test]
    fn v2_in_the_terms_of_v1() {
        let mut memory = Memory::default();
        memory.add_v2(&Files::Texts(&V2)).unwrap();
        assert_eq!(
            serde_json::to_value(&memory).unwrap(),
            json!({
                "cache": 4096,
                "usage": {"limit": 33_554_432, "usage": 20480, "max": 24576, "failcnt": 0},
                "swap": {"limit": 33_556_432, "usage": 21480, "failcnt": 0},
                "kernel": {"limit": 0, "failcnt": 0},
                "kernelTCP": {"limit": 0, "failcnt": 0},
                "raw": {"anon": 8192, "file": 4096, "kernel": 100, "pgfault": 77, "workingset_refault_anon": 0}
            })
        );
    }

    #[test]
    fn no_limit_is_the_largest_number() {
        let mut texts = V2;
        texts[2].1 = "max\n";
        for swap in ["max\n", "2000\n"] {
            texts[5].1 = swap;
            let mut memory = Memory::default();
            memory.add_v2(&Files::Texts(&texts)).unwrap();
            assert_eq!((memory.usage.limit, memory.swap.limit), (u64::MAX, u64::MAX));
        }
        let mut memory = Memory::default();
        memory.add_v2(&Files::Texts(&V2[..3])).unwrap();
        assert_eq!((memory.usage.max, memory.swap.usage, memory.swap.limit), (0, 20480, 33_554_432));
    }

    #[test]
    fn v1() {
        let files = Files::Texts(&[
            ("memory.stat", "cache 135168\nrss 4096\nhierarchical_memory_limit 9223372036854771712\n"),
            ("memory.usage_in_bytes", "401408\n"),
            ("memory.max_usage_in_bytes", "1974272\n"),
            ("memory.failcnt", "3\n"),
            ("memory.limit_in_bytes", "67108864\n"),
            ("memory.memsw.usage_in_bytes", "401409\n"),
            ("memory.memsw.max_usage_in_bytes", "1974273\n"),
            ("memory.memsw.failcnt", "4\n"),
            ("memory.memsw.limit_in_bytes", "9223372036854771712\n"),
            ("memory.kmem.usage_in_bytes", "262144\n"),
            ("memory.kmem.max_usage_in_bytes", "300000\n"),
            ("memory.kmem.failcnt", "0\n"),
        ]);
        let mut memory = Memory::default();
        memory.add_v1(&files).unwrap();
        assert_eq!(
            serde_json::to_value(&memory).unwrap(),
            json!({
                "cache": 135_168,
                "usage": {"limit": 67_108_864, "usage": 401_408, "max": 1_974_272, "failcnt": 3},
                "swap": {"limit": 9_223_372_036_854_771_712_u64, "usage": 401_409, "max": 1_974_273, "failcnt": 4},
                "kernel": {"limit": 0, "usage": 262_144, "max": 300_000, "failcnt": 0},
                "kernelTCP": {"limit": 0, "failcnt": 0},
                "raw": {"cache": 135_168, "rss": 4096, "hierarchical_memory_limit": 9_223_372_036_854_771_712_u64}
            })
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        let files = Files::Texts(&[("memory.stat", "anon 1\nfile x\n")]);
        let error = Memory::default().add_v2(&files).unwrap_err();
        assert_eq!(error.to_string(), "/c/memory.stat:2: malformed line \"file x\"");
        assert!(Memory::default().add_v1(&files).is_err());
        let files = Files::Texts(&[("memory.stat", ""), ("memory.max", "lots\n")]);
        let error = Memory::default().add_v2(&files).unwrap_err();
        assert_eq!(error.to_string(), "/c/memory.max:1: malformed line \"lots\"");
    }
}
