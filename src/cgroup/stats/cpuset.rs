//! Which CPUs and memory nodes the container may use: the cpuset controller.

use super::file::{Files, Line};
use crate::error::Result;
use serde::Serialize;

/// The files of cpuset. Flags are 0 or 1; v2 has no flags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct CpuSet {
    /// CPUs by number; on v2 those that are really there for it (`cpuset.cpus.effective`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<u16>,
    cpu_exclusive: u64,
    /// Memory nodes by number; on v2 as with the CPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mems: Vec<u16>,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    /// How often memory had to be reclaimed lately, times 1000 per second; no flag.
    memory_pressure: u64,
    sched_load_balance: u64,
    /// -1: the system's default.
    sched_relax_domain_level: i64,
}

impl CpuSet {
    /// Nothing where the controller is not enabled.
    pub(super) fn add_v2(&mut self, files: &Files<'_>) -> Result<()> {
        self.cpus = list(files, "cpuset.cpus.effective")?;
        self.mems = list(files, "cpuset.mems.effective")?;
        Ok(())
    }

    /// The cpuset controller of v1.
    pub(super) fn add_v1(&mut self, files: &Files<'_>) -> Result<()> {
        self.cpus = list(files, "cpuset.cpus")?;
        self.mems = list(files, "cpuset.mems")?;
        for (name, figure) in [
            ("cpuset.cpu_exclusive", &mut self.cpu_exclusive),
            ("cpuset.mem_hardwall", &mut self.mem_hardwall),
            ("cpuset.mem_exclusive", &mut self.mem_exclusive),
            ("cpuset.memory_migrate", &mut self.memory_migrate),
            ("cpuset.memory_spread_page", &mut self.memory_spread_page),
            ("cpuset.memory_spread_slab", &mut self.memory_spread_slab),
            ("cpuset.memory_pressure", &mut self.memory_pressure),
            ("cpuset.sched_load_balance", &mut self.sched_load_balance),
        ] {
            *figure = files.value(name)?.unwrap_or(0);
        }
        if let Some(file) = files.get("cpuset.sched_relax_domain_level")? {
            self.sched_relax_domain_level = file.signed()?;
        }
        Ok(())
    }
}

/// `0-3,7` as numbers; nothing where there is no such file.
fn list(files: &Files<'_>, name: &str) -> Result<Vec<u16>> {
    let Some(file) = files.get(name)? else { return Ok(Vec::new()) };
    let line = file.first();
    let mut numbers = Vec::new();
    for range in line.text.split(',').filter(|_| !line.text.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(line, first)?, number(line, last)?);
        if first > last {
            return Err(line.malformed());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

fn number(line: Line<'_>, word: &str) -> Result<u16> {
    line.number(word)?.try_into().map_err(|_| line.malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (text, numbers) in
            [("\n", vec![]), ("0\n", vec![0]), ("0-3\n", vec![0, 1, 2, 3]), ("0,2-3,7", vec![0, 2, 3, 7])]
        {
            assert_eq!(list(&Files::Texts(&[("f", text)]), "f").unwrap(), numbers, "{text}");
        }
        for text in ["3-1\n", "0,\n", "a\n", "0-\n", "65536\n", "1:2\n", "max\n"] {
            let error = list(&Files::Texts(&[("f", text)]), "f").unwrap_err().to_string();
            assert!(error.starts_with("/c/f:1: malformed line "), "{error}");
        }
    }

    #[test]
    fn v1_has_flags() {
        let files = Files::Texts(&[
            ("cpuset.cpus", "0-1\n"),
            ("cpuset.mems", "0\n"),
            ("cpuset.cpu_exclusive", "1\n"),
            ("cpuset.mem_exclusive", "0\n"),
            ("cpuset.mem_hardwall", "0\n"),
            ("cpuset.memory_migrate", "1\n"),
            ("cpuset.memory_pressure", "12\n"),
            ("cpuset.memory_spread_page", "0\n"),
            ("cpuset.memory_spread_slab", "0\n"),
            ("cpuset.sched_load_balance", "1\n"),
            ("cpuset.sched_relax_domain_level", "-1\n"),
        ]);
        let mut set = CpuSet::default();
        set.add_v1(&files).unwrap();
        assert_eq!(
            serde_json::to_string(&set).unwrap(),
            r#"{"cpus":[0,1],"cpu_exclusive":1,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":1,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":12,"sched_load_balance":1,"sched_relax_domain_level":-1}"#
        );
    }

    #[test]
    fn v2_says_what_is_really_there() {
        let files = Files::Texts(&[
            ("cpuset.cpus", "\n"),
            ("cpuset.cpus.effective", "0,2-3\n"),
            ("cpuset.mems", "\n"),
            ("cpuset.mems.effective", "0\n"),
        ]);
        let mut set = CpuSet::default();
        set.add_v2(&files).unwrap();
        assert_eq!(set, CpuSet { cpus: vec![0, 2, 3], mems: vec![0], ..CpuSet::default() });
    }
}
