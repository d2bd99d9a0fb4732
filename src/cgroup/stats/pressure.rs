//! Pressure stall information (the kernel's accounting/psi.rst): for how long tasks waited for a resource.

use super::file::{Files, Line};
use crate::error::Result;
use serde::Serialize;

/// A `.pressure` file.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Pressure {
    /// At least one task waited.
    some: Stall,
    /// All tasks waited; zero where the kernel does not say (of the CPU: before Linux 5.13).
    full: Stall,
}

/// One of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
struct Stall {
    /// Per cent of the last 10 seconds.
    avg10: f64,
    /// Per cent of the last minute.
    avg60: f64,
    /// Per cent of the last five minutes.
    avg300: f64,
    /// Microseconds in all.
    total: u64,
}

impl Pressure {
    /// None where the kernel does not measure it.
    pub(super) fn of(files: &Files<'_>, name: &str) -> Result<Option<Self>> {
        let Some(file) = files.get(name)? else { return Ok(None) };
        let mut pressure = Pressure::default();
        for line in file.lines() {
            let (kind, figures) = line.pair()?;
            match kind {
                "some" => pressure.some = Stall::of(line, figures)?,
                "full" => pressure.full = Stall::of(line, figures)?,
                _ => {}
            }
        }
        Ok(Some(pressure))
    }
}

impl Stall {
    fn of(line: Line<'_>, figures: &str) -> Result<Self> {
        let mut stall = Stall::default();
        for figure in figures.split_whitespace() {
            let (key, value) = figure.split_once('=').ok_or_else(|| line.malformed())?;
            let average = || value.parse::<f64>().ok().filter(|value| value.is_finite());
            let average = || average().ok_or_else(|| line.malformed());
            match key {
                "avg10" => stall.avg10 = average()?,
                "avg60" => stall.avg60 = average()?,
                "avg300" => stall.avg300 = average()?,
                "total" => stall.total = line.number(value)?,
                _ => {}
            }
        }
        Ok(stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Pressure>> {
        Pressure::of(&Files::Texts(&[("cpu.pressure", text)]), "cpu.pressure")
    }

    #[test]
    fn two_lines_or_one() {
        let both = "some avg10=14.60 avg60=39.67 avg300=28.26 total=4894097949\n\
                    full avg10=0.00 avg60=0.12 avg300=0.00 total=17\n";
        let pressure = of(both).unwrap().unwrap();
        assert_eq!(pressure.some, Stall { avg10: 14.6, avg60: 39.67, avg300: 28.26, total: 4_894_097_949 });
        assert_eq!(pressure.full, Stall { avg60: 0.12, total: 17, ..Stall::default() });
        let old = of("some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n").unwrap().unwrap();
        assert_eq!((old.some.total, old.full.total), (5, 0));
        assert_eq!(
            serde_json::to_string(&pressure).unwrap(),
            r#"{"some":{"avg10":14.6,"avg60":39.67,"avg300":28.26,"total":4894097949},"full":{"avg10":0.0,"avg60":0.12,"avg300":0.0,"total":17}}"#
        );
    }

    #[test]
    fn what_is_new_is_passed_over_and_what_is_broken_is_not() {
        assert_eq!(of("some avg10=1.00 avg900=1 total=5\nmost x\n").unwrap().unwrap().some.total, 5);
        for text in ["some avg10\n", "some avg10=x\n", "some avg10=inf\n", "full total=1.5\n", "some\n"] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.starts_with("/c/cpu.pressure:1: malformed line "), "{error}");
        }
        assert_eq!(Pressure::of(&Files::Texts(&[]), "io.pressure").unwrap(), None);
    }
}
