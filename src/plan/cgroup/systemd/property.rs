//! Properties of a unit, and the limits that systemd has properties for (systemd.resource-control(5); types as in
//! org.freedesktop.systemd1(5)). Pure.
//!
//! A property is made from the write that the plan has anyway, so that both say the same; where systemd rounds
//! (CPUQuotaPerSecUSec) or the version is too old, the write, which comes afterwards, has the last word.

use crate::plan::cgroup::{Absent, Version, Write};
use crate::plan::step::Field;
use std::fmt;

/// One property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    /// Who asked for it.
    pub(crate) field: Field,
    /// systemd's name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: Value,
}

/// A value, with its D-Bus type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `t`; [`u64::MAX`] is systemd's `infinity`.
    U64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

impl Property {
    /// A property asked for by a field.
    pub(crate) fn new(field: &str, name: impl Into<String>, value: Value) -> Self {
        Property { field: Field::new(field), name: name.into(), value }
    }
}

impl Property {
    /// As if nobody had asked for it.
    pub(crate) fn unset(&self) -> Self {
        let value = match (&self.value, self.name.as_str()) {
            (Value::U64(_), "MemoryLow" | "MemoryMin") => Value::U64(0),
            (Value::U64(_), _) => Value::U64(INFINITY),
            (Value::Bytes(_), _) => Value::Bytes(Vec::new()),
            (other, _) => other.clone(),
        };
        Property { value, ..self.clone() }
    }
}

/// No limit.
const INFINITY: u64 = u64::MAX;
/// The kernel's default period of a CPU quota, in microseconds.
const PERIOD: u64 = 100_000;
/// What systemd keeps of a CPU quota over a reload, in microseconds a second: hundredths of a percent, formerly whole
/// percents. The rest it drops, so that a quota of less would become none.
const fn grain(systemd: u32) -> u128 {
    if systemd >= 255 { 100 } else { 10_000 }
}

/// A file of a cgroup, the property that stands for it, the smallest and the largest value that systemd takes, and the
/// version that first took it.
type Row = (&'static str, &'static str, u64, u64, u32);

const V2: &[Row] = &[
    ("cpu.weight", "CPUWeight", 1, 10_000, 0),
    ("io.weight", "IOWeight", 1, 10_000, 0),
    ("memory.high", "MemoryHigh", 1, INFINITY, 0),
    ("memory.low", "MemoryLow", 0, INFINITY, 0),
    ("memory.max", "MemoryMax", 1, INFINITY, 0),
    ("memory.min", "MemoryMin", 0, INFINITY, 240),
    ("memory.swap.max", "MemorySwapMax", 0, INFINITY, 232),
    ("pids.max", "TasksMax", 1, INFINITY, 0),
];

const V1: &[Row] = &[
    ("blkio.weight", "BlockIOWeight", 10, 1000, 0),
    ("cpu.shares", "CPUShares", 2, 262_144, 0),
    ("memory.limit_in_bytes", "MemoryLimit", 1, INFINITY, 0),
    ("pids.max", "TasksMax", 1, INFINITY, 0),
];

/// What systemd of this version has a property for. What it does not know, or would refuse, is left to the write.
pub(crate) fn properties(writes: &[Write], version: Version, systemd: u32) -> Vec<Property> {
    let rows = if version == Version::V2 { V2 } else { V1 };
    let idle = systemd >= 252 && writes.iter().any(|write| write.file == "cpu.idle" && write.value == "1");
    let mut list = Vec::new();
    for write in writes {
        // The file that is written where the kernel lacks the first one: io.weight for io.bfq.weight.
        let (file, value) = match &write.absent {
            Absent::Instead { file, value } if rows.iter().any(|row| row.0 == *file) => (&**file, value),
            _ => (&*write.file, &write.value),
        };
        let property = |name: &'static str, value| Property::new(&write.field.0, name, value);
        if let Some((_, name, least, most, since)) = rows.iter().find(|row| row.0 == file) {
            let value = number(value).filter(|value| (*least..=*most).contains(value));
            let value = value.filter(|_| systemd >= *since && !(idle && *name == "CPUWeight"));
            list.extend(value.map(|value| property(name, Value::U64(value))));
        }
        match (&*write.file, version) {
            ("cpu.max", Version::V2) => {
                let (quota, period) = write.value.split_once(' ').unwrap_or((&write.value, ""));
                list.extend(quota_properties(write, quota, period, systemd));
            }
            ("cpu.cfs_quota_us", Version::V1) => {
                let period = writes.iter().find(|other| other.file == "cpu.cfs_period_us");
                let period = period.map_or("", |period| &period.value);
                list.extend(quota_properties(write, &write.value, period, systemd));
            }
            ("cpu.idle", Version::V2) if idle => list.push(property("CPUWeight", Value::U64(0))),
            ("cpuset.cpus", Version::V2) if systemd >= 244 => {
                list.extend(bits(&write.value).map(|set| property("AllowedCPUs", Value::Bytes(set))));
            }
            ("cpuset.mems", Version::V2) if systemd >= 244 => {
                list.extend(bits(&write.value).map(|set| property("AllowedMemoryNodes", Value::Bytes(set))));
            }
            _ => {}
        }
    }
    list
}

/// A number as the kernel's files have it; `default 100` of io.weight is 100.
fn number(text: &str) -> Option<u64> {
    match text.trim().trim_start_matches("default ") {
        "max" | "-1" => Some(INFINITY),
        digits => digits.parse().ok(),
    }
}

/// A share of CPU time in a second, and the period it is measured by.
fn quota_properties(write: &Write, quota: &str, period: &str, systemd: u32) -> Vec<Property> {
    let (Some(quota), Some(period)) =
        (number(quota), if period.is_empty() { Some(PERIOD) } else { number(period) })
    else {
        return Vec::new();
    };
    if quota == 0 || period == 0 {
        return Vec::new();
    }
    let per_second = match quota {
        INFINITY => INFINITY,
        _ => {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period);
            u64::try_from(exact.div_ceil(grain(systemd)) * grain(systemd)).unwrap_or(INFINITY)
        }
    };
    let mut list = vec![Property::new(&write.field.0, "CPUQuotaPerSecUSec", Value::U64(per_second))];
    if systemd >= 242 {
        list.push(Property::new(&write.field.0, "CPUQuotaPeriodUSec", Value::U64(period)));
    }
    list
}

/// A list of numbers and ranges as a set of bits, the least first; none if it is no such list, which the kernel will
/// say better.
fn bits(list: &str) -> Option<Vec<u8>> {
    /// No machine has more CPUs or nodes.
    const MOST: usize = 65_536;
    let mut set: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        set.resize(set.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|number| set[number / 8] |= 1 << (number % 8));
    }
    (!set.is_empty()).then_some(set)
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} = {}", self.field, self.name, self.value)
    }
}

impl fmt::Display for Value {
    /// As GVariant text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: Vec<String>| write!(f, "[{}]", items.join(", "));
        match self {
            Value::Bool(on) => write!(f, "{on}"),
            Value::I32(number) => write!(f, "{number}"),
            Value::U64(INFINITY) => f.write_str("infinity"),
            Value::U64(number) => write!(f, "{number}"),
            Value::Text(text) => write!(f, "{}", quoted(text)),
            Value::Texts(texts) => list(f, texts.iter().map(|text| quoted(text)).collect()),
            Value::Bytes(bytes) => list(f, bytes.iter().map(|byte| format!("{byte:#04x}")).collect()),
            Value::Pairs(pairs) => {
                list(f, pairs.iter().map(|(a, b)| format!("({}, {})", quoted(a), quoted(b))).collect())
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&'static str, &str)], version: Version, systemd: u32) -> String {
        let write = |(file, value): &(&'static str, &str)| Write {
            field: Field::new("f"),
            controller: "c".into(),
            file: (*file).into(),
            value: (*value).into(),
            absent: Absent::Error,
            floor: None,
        };
        let writes: Vec<Write> = files.iter().map(write).collect();
        let list = properties(&writes, version, systemd);
        let text = |one: &Property| one.to_string().trim_start_matches("f: ").replace(" = ", "=");
        list.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn v2() {
        for (files, systemd, expected) in [
            (&[("memory.max", "4096"), ("memory.low", "0")][..], 247, "MemoryMax=4096 MemoryLow=0"),
            (&[("memory.max", "max"), ("memory.swap.max", "0")], 247, "MemoryMax=infinity MemorySwapMax=0"),
            (&[("memory.swap.max", "1"), ("memory.min", "1")], 231, ""),
            (&[("memory.high", "5"), ("memory.min", "6")], 240, "MemoryHigh=5 MemoryMin=6"),
            (&[("memory.max", "0"), ("pids.max", "0"), ("cpu.weight", "0"), ("io.weight", "20000")], 257, ""),
            (&[("pids.max", "7"), ("io.weight", "default 50")], 257, "TasksMax=7 IOWeight=50"),
            (&[("cpu.weight", "79"), ("cpu.idle", "1")], 257, "CPUWeight=0"),
            (&[("cpu.weight", "79"), ("cpu.idle", "1")], 251, "CPUWeight=79"),
            (&[("cpu.weight", "79"), ("cpu.idle", "0")], 257, "CPUWeight=79"),
            (&[("cpu.max", "50000 200000")], 257, "CPUQuotaPerSecUSec=250000 CPUQuotaPeriodUSec=200000"),
            (&[("cpu.max", "33333 100000")], 241, "CPUQuotaPerSecUSec=340000"),
            (&[("cpu.max", "33333 100000")], 255, "CPUQuotaPerSecUSec=333400 CPUQuotaPeriodUSec=100000"),
            (&[("cpu.max", "1000 1000000")], 254, "CPUQuotaPerSecUSec=10000 CPUQuotaPeriodUSec=1000000"),
            (&[("cpu.max", "max 50000")], 257, "CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=50000"),
            (&[("cpu.max", "100000")], 257, "CPUQuotaPerSecUSec=1000000 CPUQuotaPeriodUSec=100000"),
            (&[("cpu.max", "many")], 257, ""),
            (
                &[("cpuset.cpus", "0-2,9"), ("cpuset.mems", "0")],
                257,
                "AllowedCPUs=[0x07, 0x02] AllowedMemoryNodes=[0x01]",
            ),
            (&[("cpuset.cpus", "0")], 243, ""),
            (&[("cpuset.cpus", "2-1"), ("cpuset.mems", "99999999")], 257, ""),
            (&[("hugetlb.2MB.max", "0"), ("memory.limit_in_bytes", "1")], 257, ""),
        ] {
            assert_eq!(told(files, Version::V2, systemd), expected, "{files:?}");
        }
    }

    #[test]
    fn a_file_instead() {
        let write = |file: &'static str, value: &str| Write {
            field: Field::new("f"),
            controller: "io".into(),
            file: "io.bfq.weight".into(),
            value: "300".into(),
            absent: Absent::Instead { file: file.into(), value: value.into() },
            floor: None,
        };
        let list = properties(&[write("io.weight", "2930"), write("other", "1")], Version::V2, 257);
        assert_eq!(list.iter().map(Property::to_string).collect::<Vec<_>>(), ["f: IOWeight = 2930"]);
    }

    #[test]
    fn v1() {
        for (files, expected) in [
            (
                &[("memory.limit_in_bytes", "4096"), ("memory.memsw.limit_in_bytes", "5")][..],
                "MemoryLimit=4096",
            ),
            (&[("memory.limit_in_bytes", "-1")], "MemoryLimit=infinity"),
            (
                &[("cpu.shares", "512"), ("blkio.weight", "10"), ("pids.max", "max")],
                "CPUShares=512 BlockIOWeight=10 TasksMax=infinity",
            ),
            (
                &[("cpu.cfs_period_us", "200000"), ("cpu.cfs_quota_us", "50000")],
                "CPUQuotaPerSecUSec=250000 CPUQuotaPeriodUSec=200000",
            ),
            (&[("cpu.cfs_quota_us", "-1")], "CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=100000"),
            (&[("cpuset.cpus", "0"), ("memory.max", "1")], ""),
        ] {
            assert_eq!(told(files, Version::V1, 247), expected, "{files:?}");
        }
    }
}
