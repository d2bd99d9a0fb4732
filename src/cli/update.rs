//! `update`: options for the limits that people change most, or any of them as JSON. Options become the same JSON; what
//! they mean is decided elsewhere.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};

use super::args::{Words, parse};
use crate::container::Settings;
use crate::container::update::{self, UpdateOptions};
use crate::error::Error;
use crate::spec::Part;

#[derive(Debug, Parser)]
#[command(name = "update")]
struct Update {
    /// A LinuxResources object to read, - is standard input; no other option counts then
    #[arg(long, short = 'r', value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT", allow_hyphen_values = true)]
    blkio_weight: Option<u16>,
    /// The period that a quota is for, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_period: Option<u64>,
    /// CPU time in a period, in microseconds; -1 is no limit
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Unused quota that may be saved for later, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_burst: Option<u64>,
    /// Share of CPU time relative to others, 2 to 262144
    #[arg(long, value_name = "SHARES", allow_hyphen_values = true)]
    cpu_share: Option<u64>,
    /// The period of realtime scheduling, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_rt_period: Option<u64>,
    /// Time for realtime scheduling in a period, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// CPUs to run on, as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, as 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// 1: run only when nobody else wants to; 0: as all others
    #[arg(long, value_name = "0|1", allow_hyphen_values = true)]
    cpu_idle: Option<i64>,
    /// Ignored, with a warning: Linux has dropped it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    kernel_memory: Option<i64>,
    /// Ignored, with a warning: Linux has dropped it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    kernel_memory_tcp: Option<i64>,
    /// Memory, as 512m or 2g; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory: Option<i64>,
    /// Memory that is left to the container when memory is short
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_swap: Option<i64>,
    /// Processes and threads; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Schema of the L3 cache, as L3:0=f0
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Schema of memory bandwidth, as MB:0=50
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    /// Name of the container
    id: String,
}

/// `onggi update [OPTIONS] ID`
pub(crate) fn update(settings: &Settings, words: Words) -> Result<u8> {
    let update: Update = parse(words)?;
    let options = UpdateOptions {
        resources: update.part()?,
        l3_cache_schema: update.l3_cache_schema,
        mem_bw_schema: update.mem_bw_schema,
    };
    update::update(settings, &update.id, &options)?;
    Ok(0)
}

impl Update {
    fn part(&self) -> crate::error::Result<Part> {
        let Some(file) = &self.resources else { return Part::new(self.json()) };
        if file.as_os_str() == "-" {
            return Part::read(io::stdin()).map_err(|error| error.at("--resources -"));
        }
        let opened = File::open(file).map_err(|error| {
            Error::call(format!("open({file:?})"), error.raw_os_error().unwrap_or_default())
        });
        opened.and_then(Part::read).map_err(|error| error.at("--resources"))
    }

    /// The options as a LinuxResources object; null is not given.
    fn json(&self) -> Value {
        json!({
            "memory": {
                "limit": self.memory, "reservation": self.memory_reservation, "swap": self.memory_swap,
                "kernel": self.kernel_memory, "kernelTCP": self.kernel_memory_tcp,
            },
            "cpu": {
                "shares": self.cpu_share, "quota": self.cpu_quota, "period": self.cpu_period,
                "burst": self.cpu_burst, "realtimeRuntime": self.cpu_rt_runtime,
                "realtimePeriod": self.cpu_rt_period, "cpus": self.cpuset_cpus, "mems": self.cpuset_mems,
                "idle": self.cpu_idle,
            },
            "blockIO": { "weight": self.blkio_weight },
            "pids": { "limit": self.pids_limit },
        })
    }
}

/// A number of bytes as docker and runc read it: `-1`, `1024`, `512m`, `1.5g`, `2GB`, `2GiB`; units are powers of 1024.
fn size(text: &str) -> std::result::Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || "is no size: a number with b, k, m, g, t or p behind it, or -1".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match letter {
        "" if unit == "ib" => return Err(wrong()),
        "" => 0,
        _ => 1 + ["k", "m", "g", "t", "p"].iter().position(|known| *known == letter).ok_or_else(wrong)?,
    };
    let unit = 1024i64.pow(power as u32);
    let too_large = || "is too large".to_owned();
    if let Ok(number) = number.parse::<i64>() {
        return number.checked_mul(unit).ok_or_else(too_large);
    }
    let number = Some(number).filter(|number| !number.starts_with('.') && !number.ends_with('.'));
    let bytes = number.and_then(|number| number.parse::<f64>().ok()).ok_or_else(wrong)? * unit as f64;
    if bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxResources;

    fn parsed(line: &str) -> Result<Update> {
        parse(line.split_whitespace().map(Into::into).collect())
    }

    fn resources(line: &str) -> Value {
        let part = parsed(line).unwrap().part().unwrap();
        let mut all = serde_json::to_value(part.over(&LinuxResources::default()).unwrap()).unwrap();
        all.as_object_mut().unwrap().retain(|_, group| *group != json!({}));
        all
    }

    #[test]
    fn options_are_runcs() {
        assert_eq!(resources("x"), json!({}));
        let line = "--blkio-weight 100 --cpu-period 1000 --cpu-quota -1 --cpu-burst 5 --cpu-share 7 \
            --cpu-rt-period 8 --cpu-rt-runtime 9 --cpuset-cpus 0-1 --cpuset-mems=0 --cpu-idle 1 --memory 1g \
            --memory-reservation=512m --memory-swap -1 --kernel-memory 1 --kernel-memory-tcp 2 --pids-limit -1 x";
        let all = json!({
            "blockIO": {"weight": 100},
            "cpu": {"period": 1000, "quota": -1, "burst": 5, "shares": 7, "realtimePeriod": 8, "realtimeRuntime": 9,
                "cpus": "0-1", "mems": "0", "idle": 1},
            "memory": {"limit": 1 << 30, "reservation": 512 << 20, "swap": -1, "kernel": 1, "kernelTCP": 2},
            "pids": {"limit": -1},
        });
        assert_eq!(resources(line), all);
        let update = parsed("--resources=- --l3-cache-schema L3:0=f x --mem-bw-schema MB:0=5").unwrap();
        assert_eq!((update.id.as_str(), update.resources), ("x", Some("-".into())));
        assert!(update.l3_cache_schema.is_some() && update.mem_bw_schema.is_some());
        assert_eq!(parsed("--resources - x").unwrap().resources, Some("-".into()));
        assert_eq!(parsed("-r f x").unwrap().resources, Some("f".into()));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("1024", 1024),
            ("1b", 1),
            ("2k", 2048),
            ("2K", 2048),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("512MiB", 512 << 20),
            ("1.5g", 3 << 29),
            ("1 g", 1 << 30),
            ("1t", 1 << 40),
            ("1p", 1 << 50),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "-2",
            "m",
            "1x",
            "1mm",
            "1ib",
            "1e3",
            "x1",
            "1.",
            ".5m",
            "1.2.3m",
            "9000000p",
            "-1m",
            "9999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_number() {
        for line in [
            "--cpu-period -5 x",
            "--pids-limit many x",
            "--blkio-weight 70000 x",
            "--cpu-share 1.5 x",
            "--frob x",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
