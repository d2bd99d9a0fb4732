//! What a container uses, read from its cgroups, as figures with the names and units that runc gives them (`runc
//! events`): nanoseconds and bytes, v2 in the terms of v1. A controller that is missing leaves its part empty. Nothing
//! here changes a cgroup.

mod blkio;
mod cpu;
mod cpuset;
mod file;
mod hugetlb;
mod memory;
mod pids;
mod pressure;
mod rdma;

use super::Record;
use crate::error::Result;
use blkio::Blkio;
use cpu::Cpu;
use cpuset::CpuSet;
use file::Files;
use memory::Memory;
use pids::Pids;
use rdma::Rdma;
use serde::Serialize;

/// All figures of one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Stats {
    cpu: Cpu,
    cpuset: CpuSet,
    memory: Memory,
    pids: Pids,
    blkio: Blkio,
    hugetlb: hugetlb::BySize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdma: Option<Rdma>,
}

impl Stats {
    /// Reads them all. On the hybrid layout a v1 controller's figures count more than what v2 knows without one.
    ///
    /// # Errors
    /// A file that cannot be read, or whose line is not what the kernel documents.
    pub(crate) fn of(record: &Record) -> Result<Self> {
        let mut stats = Stats::default();
        let mut counted = false;
        for entry in &record.entries {
            let Some(cgroup) = entry.open()? else { continue };
            let files = Files::Cgroup(&cgroup);
            if entry.is_v2() {
                counted |= stats.add_v2(&files)?;
            } else {
                for controller in entry.controllers.split(',') {
                    counted |= stats.add_v1(controller, &files)?;
                }
            }
        }
        if !counted {
            stats.pids.current = record.processes()?.len() as u64;
        }
        Ok(stats)
    }

    /// True: the number of tasks is known.
    fn add_v2(&mut self, files: &Files<'_>) -> Result<bool> {
        self.cpu.add_v2(files)?;
        self.cpuset.add_v2(files)?;
        self.memory.add_v2(files)?;
        self.blkio.add_v2(files)?;
        self.hugetlb = hugetlb::v2(files)?;
        self.rdma = Rdma::of(files)?;
        self.add_pids(files)
    }

    /// True: the number of tasks is known.
    fn add_v1(&mut self, controller: &str, files: &Files<'_>) -> Result<bool> {
        match controller {
            "cpu" => self.cpu.add_v1_cpu(files)?,
            "cpuacct" => self.cpu.add_v1_cpuacct(files)?,
            "cpuset" => self.cpuset.add_v1(files)?,
            "memory" => self.memory.add_v1(files)?,
            "blkio" => self.blkio.add_v1(files)?,
            "hugetlb" => self.hugetlb = hugetlb::v1(files)?,
            "rdma" => self.rdma = Rdma::of(files)?,
            "pids" => return self.add_pids(files),
            _ => {}
        }
        Ok(false)
    }

    fn add_pids(&mut self, files: &Files<'_>) -> Result<bool> {
        let pids = Pids::of(files)?;
        self.pids = pids.unwrap_or(self.pids);
        Ok(pids.is_some())
    }
}

/// Left out, as runc does.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_any_figure_all_parts_are_there() {
        assert_eq!(
            serde_json::to_string(&Stats::of(&Record::default()).unwrap()).unwrap(),
            r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"pids":{},"blkio":{},"hugetlb":{}}"#
        );
    }

    #[test]
    fn hybrid_v1_counts_more() {
        let v2 = [
            ("cpu.stat", "usage_usec 5\nuser_usec 5\nsystem_usec 0\n"),
            ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"),
        ];
        let mut stats = Stats::default();
        assert!(!stats.add_v2(&Files::Texts(&v2)).unwrap());
        assert!(!stats.add_v1("cpuacct", &Files::Texts(&[("cpuacct.usage", "7777\n")])).unwrap());
        let pids = [("pids.current", "2\n"), ("pids.max", "max\n")];
        assert!(stats.add_v1("pids", &Files::Texts(&pids)).unwrap());
        assert!(!stats.add_v1("name=systemd", &Files::Texts(&pids)).unwrap());
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["cpu"]["usage"]["total"], 7777);
        assert_eq!(json["cpu"]["psi"]["some"]["total"], 9);
        assert_eq!(json["pids"], serde_json::json!({"current": 2}));
    }
}
