//! CPU time: cpu.stat of v2; cpuacct.* and cpu.stat of v1.

use super::file::{Files, StatFile};
use super::is_zero;
use super::pressure::Pressure;
use crate::error::Result;
use serde::Serialize;

const NANOS_PER_MICRO: u64 = 1_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What the container used of the CPUs, and what it was kept from.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Cpu {
    /// Time used.
    usage: CpuUsage,
    /// The effect of a quota.
    throttling: Throttling,
    /// Time waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// All in nanoseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
struct CpuUsage {
    /// In all.
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    /// By CPU; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    /// By CPU, in the kernel; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    /// By CPU, in programs; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    /// In the kernel.
    kernel: u64,
    /// In programs.
    user: u64,
}

/// Of periods in which the quota counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    /// That have gone by.
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    /// In which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    /// Nanoseconds of waiting.
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

impl Cpu {
    /// cpu.stat, in microseconds; the times are there without the controller too.
    pub(super) fn add_v2(&mut self, files: &Files<'_>) -> Result<()> {
        self.psi = Pressure::of(files, "cpu.pressure")?;
        let Some(file) = files.get("cpu.stat")? else { return Ok(()) };
        for line in file.lines() {
            let (key, value) = line.pair()?;
            let (figure, unit) = match key {
                "usage_usec" => (&mut self.usage.total, NANOS_PER_MICRO),
                "user_usec" => (&mut self.usage.user, NANOS_PER_MICRO),
                "system_usec" => (&mut self.usage.kernel, NANOS_PER_MICRO),
                "nr_periods" => (&mut self.throttling.periods, 1),
                "nr_throttled" => (&mut self.throttling.throttled_periods, 1),
                "throttled_usec" => (&mut self.throttling.throttled_time, NANOS_PER_MICRO),
                _ => continue,
            };
            *figure = line.number(value)?.saturating_mul(unit);
        }
        Ok(())
    }

    /// The cpu controller of v1, in nanoseconds.
    pub(super) fn add_v1_cpu(&mut self, files: &Files<'_>) -> Result<()> {
        let Some(file) = files.get("cpu.stat")? else { return Ok(()) };
        for line in file.lines() {
            let (key, value) = line.pair()?;
            let figure = match key {
                "nr_periods" => &mut self.throttling.periods,
                "nr_throttled" => &mut self.throttling.throttled_periods,
                "throttled_time" => &mut self.throttling.throttled_time,
                _ => continue,
            };
            *figure = line.number(value)?;
        }
        Ok(())
    }

    /// The cpuacct controller of v1: nanoseconds, but cpuacct.stat has clock ticks.
    pub(super) fn add_v1_cpuacct(&mut self, files: &Files<'_>) -> Result<()> {
        if let Some(total) = files.value("cpuacct.usage")? {
            self.usage.total = total;
        }
        if let Some(file) = files.get("cpuacct.stat")? {
            let tick = NANOS_PER_SECOND / rustix::param::clock_ticks_per_second().max(1);
            self.usage.user = file.number_of("user")?.saturating_mul(tick);
            self.usage.kernel = file.number_of("system")?.saturating_mul(tick);
        }
        if let Some(file) = files.get("cpuacct.usage_percpu")? {
            let line = file.first();
            self.usage.percpu = line.words().map(|word| line.number(word)).collect::<Result<_>>()?;
        }
        if let Some(file) = files.get("cpuacct.usage_all")? {
            (self.usage.percpu_user, self.usage.percpu_kernel) = by_mode(&file)?;
        }
        Ok(())
    }
}

/// `cpu user system`, then a line for each CPU (Linux 4.8).
fn by_mode(file: &StatFile) -> Result<(Vec<u64>, Vec<u64>)> {
    let (mut user, mut kernel) = (Vec::new(), Vec::new());
    for (at, line) in file.lines().enumerate() {
        let mut words = line.words();
        let (Some(cpu), Some(in_user), Some(in_kernel)) = (words.next(), words.next(), words.next()) else {
            return Err(line.malformed());
        };
        if at == 0 {
            if (cpu, in_user, in_kernel) != ("cpu", "user", "system") {
                return Err(line.malformed());
            }
            continue;
        }
        user.push(line.number(in_user)?);
        kernel.push(line.number(in_kernel)?);
    }
    Ok((user, kernel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn v2() {
        let stat = "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\nnice_usec 0\n\
                    core_sched.force_idle_usec 0\nnr_periods 15\nnr_throttled 14\nthrottled_usec 1240045\n\
                    nr_bursts 0\nburst_usec 0\n";
        let mut cpu = Cpu::default();
        cpu.add_v2(&Files::Texts(&[("cpu.stat", stat)])).unwrap();
        assert_eq!(
            serde_json::to_value(&cpu).unwrap(),
            json!({
                "usage": {"total": 1_234_567_000, "user": 1_000_000_000, "kernel": 234_567_000},
                "throttling": {"periods": 15, "throttledPeriods": 14, "throttledTime": 1_240_045_000}
            })
        );
        let without = "usage_usec 18446744073709551615\nuser_usec 7\nsystem_usec 0\n";
        let mut cpu = Cpu::default();
        cpu.add_v2(&Files::Texts(&[("cpu.stat", without)])).unwrap();
        assert_eq!((cpu.usage.total, cpu.usage.user), (u64::MAX, 7000));
    }

    #[test]
    fn v1() {
        let files = Files::Texts(&[
            ("cpuacct.usage", "69217612345\n"),
            ("cpuacct.stat", "user 5123\nsystem 1789\n"),
            ("cpuacct.usage_percpu", "34000000000 35217612345 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 25000000000 9000000000\n1 26000000000 9217612345\n"),
            ("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 44\nnr_bursts 0\nburst_time 0\n"),
        ]);
        let mut cpu = Cpu::default();
        cpu.add_v1_cpu(&files).unwrap();
        cpu.add_v1_cpuacct(&files).unwrap();
        assert_eq!(
            serde_json::to_value(&cpu).unwrap(),
            json!({
                "usage": {
                    "total": 69_217_612_345_u64, "percpu": [34_000_000_000_u64, 35_217_612_345_u64],
                    "percpu_user": [25_000_000_000_u64, 26_000_000_000_u64],
                    "percpu_kernel": [9_000_000_000_u64, 9_217_612_345_u64],
                    "user": 51_230_000_000_u64, "kernel": 17_890_000_000_u64
                },
                "throttling": {"periods": 3, "throttledPeriods": 2, "throttledTime": 44}
            })
        );
    }

    #[test]
    fn broken_lines_are_named() {
        for (name, text, line) in [
            ("cpuacct.usage_all", "cpu system user\n0 1 2\n", 1),
            ("cpuacct.usage_all", "cpu user system\n0 1\n", 2),
            ("cpuacct.usage_percpu", "1 x\n", 1),
            ("cpuacct.stat", "user 1\nsystem y\n", 2),
            ("cpuacct.usage", "\n", 1),
        ] {
            let error = Cpu::default().add_v1_cpuacct(&Files::Texts(&[(name, text)])).unwrap_err();
            assert!(error.to_string().starts_with(&format!("/c/{name}:{line}: malformed line ")), "{error}");
        }
        let error = Cpu::default().add_v2(&Files::Texts(&[("cpu.stat", "usage_usec\n")])).unwrap_err();
        assert_eq!(error.to_string(), "/c/cpu.stat:1: malformed line \"usage_usec\"");
        assert!(Cpu::default().add_v2(&Files::Texts(&[("cpu.stat", "user_usec 1s\n")])).is_err());
        assert!(Cpu::default().add_v1_cpu(&Files::Texts(&[("cpu.stat", "nr_periods ?\n")])).is_err());
    }

    #[test]
    fn nothing_there_is_nothing_used() {
        let mut cpu = Cpu::default();
        let none = Files::Texts(&[]);
        cpu.add_v2(&none).and_then(|()| cpu.add_v1_cpu(&none)).unwrap();
        cpu.add_v1_cpuacct(&none).unwrap();
        assert_eq!(
            serde_json::to_string(&cpu).unwrap(),
            r#"{"usage":{"kernel":0,"user":0},"throttling":{}}"#
        );
    }
}
