//! The report: medians, ratios and verdicts, as a table for people and as JSON for machines.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::peers::Peer;
use crate::run::Series;

/// What is promised: a measure of onggi, at most so many times a peer's.
const TARGETS: [(&str, &str, f64); 4] =
    [("wall", "crun", 0.6), ("wall", "runc", 0.3), ("wall", "floor", 2.2), ("memory", "crun", 0.7)];

/// The machine that was measured.
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    load: String,
}

impl Machine {
    /// Reads it from /proc; the load tells how far to trust the times.
    pub(crate) fn read() -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
        let cpuinfo = read("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
        Ok(Machine {
            cpu: cpu.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

/// One line of the table.
struct Row {
    name: &'static str,
    version: String,
    problem: Option<String>,
    failed: usize,
    hung: usize,
    figures: Option<Figures>,
}

/// The figures of one peer's good runs: milliseconds and kilobytes.
struct Figures {
    runs: usize,
    median: f64,
    min: f64,
    p90: f64,
    peak: f64,
}

/// Everything that was measured.
pub(crate) struct Report {
    machine: Machine,
    origin: String,
    rounds: usize,
    rows: Vec<Row>,
}

impl Report {
    /// Puts the results in order.
    pub(crate) fn new(
        machine: Machine,
        origin: String,
        rounds: usize,
        peers: &[Peer],
        results: &[Series],
    ) -> Self {
        let row = |(peer, series): (&Peer, &Series)| Row {
            name: peer.name,
            version: peer.version.clone(),
            problem: peer.problem.clone(),
            failed: series.failed,
            hung: series.hung,
            figures: Figures::of(series),
        };
        Report { machine, origin, rounds, rows: peers.iter().zip(results).map(row).collect() }
    }

    /// Whether there are figures of this peer.
    pub(crate) fn measured(&self, name: &str) -> bool {
        self.figures(name).is_some()
    }

    fn figures(&self, name: &str) -> Option<&Figures> {
        self.rows.iter().find(|row| row.name == name)?.figures.as_ref()
    }

    /// onggi's median wall time or peak memory divided by the peer's.
    fn ratio(&self, measure: &str, peer: &str) -> Option<f64> {
        let (onggi, peer) = (self.figures("onggi")?, self.figures(peer)?);
        Some(if measure == "wall" { onggi.median / peer.median } else { onggi.peak / peer.peak })
    }

    /// The table, the machine and the verdicts.
    pub(crate) fn table(&self) -> String {
        let Machine { cpu, cores, kernel, load } = &self.machine;
        let mut text =
            format!("machine  {cpu}, {cores} cores, Linux {kernel}, cgroup v2, load {load} at the start\n");
        let _ =
            writeln!(text, "bundle   default of {}, args [\"/bin/true\"], no terminal, busybox", self.origin);
        let _ = writeln!(
            text,
            "runs     {} of each, in turn; wall time in ms; memory of the largest process\n",
            self.rounds
        );
        let _ = writeln!(
            text,
            "| run /bin/true | version | median | min | p90 | onggi is | peak kB | onggi is |"
        );
        let _ = writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|");
        for row in &self.rows {
            let _ = writeln!(text, "{}", self.line(row));
        }
        for row in &self.rows {
            if let Some(problem) = &row.problem {
                let _ = writeln!(text, "\n{}: not measured: {problem}", row.name);
            } else if row.failed + row.hung > 0 {
                let _ = writeln!(
                    text,
                    "\n{}: {} runs failed, {} hung; not counted above",
                    row.name, row.failed, row.hung
                );
            }
        }
        text.push('\n');
        for (measure, peer, limit) in TARGETS {
            let verdict = match self.ratio(measure, peer) {
                Some(ratio) if ratio <= limit => format!("PASS  {ratio:.2}"),
                Some(ratio) => format!("MISS  {ratio:.2}"),
                None => "not measured".into(),
            };
            let _ = writeln!(text, "{measure:<6} at most {limit} x {peer:<5}  {verdict}");
        }
        text
    }

    fn line(&self, row: &Row) -> String {
        let Some(figures) = &row.figures else {
            return format!("| {} | {} | – | – | – | – | – | – |", row.name, row.version);
        };
        let ratio = |measure| match self.ratio(measure, row.name) {
            Some(ratio) if row.name != "onggi" => format!("{ratio:.2} ×"),
            _ => String::new(),
        };
        format!(
            "| {} | {} | {:.2} | {:.2} | {:.2} | {} | {:.0} | {} |",
            row.name,
            row.version,
            figures.median,
            figures.min,
            figures.p90,
            ratio("wall"),
            figures.peak,
            ratio("memory")
        )
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let Machine { cpu, cores, kernel, load } = &self.machine;
        let peers: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let targets = TARGETS.map(|(measure, peer, limit)| {
            let ratio = self.ratio(measure, peer);
            let pass = ratio.map(|ratio| ratio <= limit);
            json!({"measure": measure, "peer": peer, "limit": limit, "ratio": ratio.map(rounded), "pass": pass})
        });
        let ratios: Vec<Value> = (self.rows.iter().filter(|row| row.name != "onggi"))
            .map(|row| {
                let [wall, memory] =
                    ["wall", "memory"].map(|measure| self.ratio(measure, row.name).map(rounded));
                json!({"peer": row.name, "wall": wall, "memory": memory})
            })
            .collect();
        json!({
            "machine": {"cpu": cpu, "cores": cores, "kernel": kernel, "load": load, "cgroup": "v2"},
            "bundle": self.origin, "rounds": self.rounds,
            "peers": peers, "onggi_ratios": ratios, "targets": targets,
        })
    }
}

impl Row {
    fn json(&self) -> Value {
        let figures = self.figures.as_ref().map(|figures| {
            let [median, min, p90] = [figures.median, figures.min, figures.p90].map(rounded);
            json!({"runs": figures.runs, "wall_ms": {"median": median, "min": min, "p90": p90}, "peak_kb": figures.peak})
        });
        json!({
            "name": self.name, "version": self.version, "problem": self.problem,
            "failed": self.failed, "hung": self.hung, "measured": figures,
        })
    }
}

impl Figures {
    fn of(series: &Series) -> Option<Self> {
        let mut wall = series.wall_ns.clone();
        let mut peak = series.peak_kb.clone();
        wall.sort_unstable();
        peak.sort_unstable();
        Some(Figures {
            runs: wall.len(),
            median: median(&wall)? / 1e6,
            min: *wall.first()? as f64 / 1e6,
            p90: *wall.get((wall.len() - 1) * 9 / 10)? as f64 / 1e6,
            peak: median(&peak)?,
        })
    }
}

/// The median of sorted values; none of none.
fn median(sorted: &[u64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) as f64 / 2.0)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
