//! The report: medians, ratios and verdicts, as a table per scenario for people and as JSON for machines.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::run::Lane;
use crate::scenario::Scenario;

/// Who is compared with all others.
const ONGGI: &str = "onggi";

/// What is promised: a measure of onggi in a scenario, at most so many times another's.
struct Target {
    scenario: Scenario,
    measure: Measure,
    against: Against,
    limit: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    Wall,
    Memory,
}

#[derive(Clone, Copy)]
enum Against {
    /// A peer in the same scenario.
    Peer(&'static str),
    /// onggi itself in another scenario.
    Itself(Scenario),
}

const fn wall(scenario: Scenario, peer: &'static str, limit: f64) -> Target {
    Target { scenario, measure: Measure::Wall, against: Against::Peer(peer), limit }
}

const TARGETS: [Target; 7] = [
    wall(Scenario::Run, "crun", 0.6),
    wall(Scenario::Run, "runc", 0.3),
    wall(Scenario::Run, "floor", 2.2),
    Target { scenario: Scenario::Run, measure: Measure::Memory, against: Against::Peer("crun"), limit: 0.7 },
    wall(Scenario::Exec, "crun", 0.6),
    wall(Scenario::Exec, "floor", 2.0),
    Target {
        scenario: Scenario::Seccomp,
        measure: Measure::Wall,
        against: Against::Itself(Scenario::Lifecycle),
        limit: 1.1,
    },
];

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

/// One line of a table.
struct Row {
    scenario: Scenario,
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
    scenarios: Vec<Scenario>,
    rows: Vec<Row>,
}

impl Report {
    /// Puts the results in order.
    pub(crate) fn new(
        machine: Machine,
        origin: String,
        rounds: usize,
        scenarios: Vec<Scenario>,
        lanes: &[Lane<'_>],
    ) -> Self {
        Report { machine, origin, rounds, scenarios, rows: lanes.iter().map(Row::of).collect() }
    }

    /// Whether there are figures of onggi in every scenario.
    pub(crate) fn is_whole(&self) -> bool {
        self.scenarios.iter().all(|scenario| self.figures(*scenario, ONGGI).is_some())
    }

    fn rows(&self, scenario: Scenario) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.scenario == scenario)
    }

    fn figures(&self, scenario: Scenario, name: &str) -> Option<&Figures> {
        self.rows(scenario).find(|row| row.name == name)?.figures.as_ref()
    }

    /// onggi's median divided by that of the row.
    fn ratio(&self, row: &Row, measure: Measure) -> Option<f64> {
        let ratio = self.figures(row.scenario, ONGGI)?.of_measure(measure);
        Some(ratio / row.figures.as_ref()?.of_measure(measure)).filter(|ratio| ratio.is_finite())
    }

    /// The tables, the machine and the verdicts.
    pub(crate) fn text(&self) -> String {
        let Machine { cpu, cores, kernel, load } = &self.machine;
        let mut lines = vec![
            format!("machine  {cpu}, {cores} cores, Linux {kernel}, cgroup v2, load {load} at the start"),
            format!("bundle   default of {}, args [\"/bin/true\"], no terminal, busybox", self.origin),
            format!(
                "runs     {} of each, in turn; wall time in ms; memory of the largest process",
                self.rounds
            ),
        ];
        for scenario in &self.scenarios {
            lines.push(String::new());
            self.table(*scenario, &mut lines);
        }
        lines.push(String::new());
        lines.extend(self.targets().map(|target| self.verdict(target)));
        lines.join("\n") + "\n"
    }

    fn table(&self, scenario: Scenario, lines: &mut Vec<String>) {
        let title = scenario.title();
        lines.push(format!("| {title} | version | median | min | p90 | onggi is | peak kB | onggi is |"));
        lines.push("|---|---|--:|--:|--:|--:|--:|--:|".into());
        lines.extend(self.rows(scenario).map(|row| self.line(row)));
        for row in self.rows(scenario) {
            if let Some(problem) = &row.problem {
                lines.push(format!("\n{}: not measured: {problem}", row.name));
            } else if row.failed + row.hung > 0 {
                let Row { name, failed, hung, .. } = row;
                lines.push(format!("\n{name}: {failed} runs failed, {hung} hung; not counted above"));
            }
        }
    }

    fn line(&self, row: &Row) -> String {
        let Some(Figures { median, min, p90, peak, .. }) = &row.figures else {
            return format!("| {} | {} | – | – | – | – | – | – |", row.name, row.version);
        };
        let ratio = |measure| match self.ratio(row, measure) {
            Some(ratio) if row.name != ONGGI => format!("{ratio:.2} ×"),
            _ => String::new(),
        };
        let (wall, memory) = (ratio(Measure::Wall), ratio(Measure::Memory));
        // So small a process dies before the kernel has counted it.
        let peak = if *peak > 0.0 { format!("{peak:.0}") } else { "–".into() };
        let mut line = format!("| {} | {} ", row.name, row.version);
        let _ = write!(line, "| {median:.2} | {min:.2} | {p90:.2} | {wall} | {peak} | {memory} |");
        line
    }

    /// Those of the scenarios that were run.
    fn targets(&self) -> impl Iterator<Item = &'static Target> {
        TARGETS.iter().filter(|target| self.scenarios.contains(&target.scenario))
    }

    fn reached(&self, target: &Target) -> Option<f64> {
        let onggi = self.figures(target.scenario, ONGGI)?;
        let other = match target.against {
            Against::Peer(name) => self.figures(target.scenario, name)?,
            Against::Itself(scenario) => self.figures(scenario, ONGGI)?,
        };
        Some(onggi.of_measure(target.measure) / other.of_measure(target.measure))
    }

    fn verdict(&self, target: &Target) -> String {
        let verdict = match self.reached(target) {
            Some(ratio) if ratio <= target.limit => format!("PASS  {ratio:.2}"),
            Some(ratio) => format!("MISS  {ratio:.2}"),
            None => "not measured".into(),
        };
        let (scenario, measure) = (target.scenario.name(), target.measure.name());
        format!("{scenario:<9} {measure:<6} at most {} x {:<9}  {verdict}", target.limit, target.other())
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let Machine { cpu, cores, kernel, load } = &self.machine;
        let scenario = |scenario: &Scenario| {
            let peers: Vec<Value> = self.rows(*scenario).map(|row| self.row_json(row)).collect();
            json!({"name": scenario.name(), "peers": peers})
        };
        let targets = self.targets().map(|target| {
            let ratio = self.reached(target);
            json!({
                "scenario": target.scenario.name(), "measure": target.measure.name(), "against": target.other(),
                "limit": target.limit, "ratio": ratio.map(rounded),
                "pass": ratio.map(|ratio| ratio <= target.limit),
            })
        });
        json!({
            "machine": {"cpu": cpu, "cores": cores, "kernel": kernel, "load": load, "cgroup": "v2"},
            "bundle": self.origin, "rounds": self.rounds,
            "scenarios": self.scenarios.iter().map(scenario).collect::<Vec<_>>(),
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let figures = row.figures.as_ref().map(|figures| {
            let [median, min, p90] = [figures.median, figures.min, figures.p90].map(rounded);
            json!({
                "runs": figures.runs, "wall_ms": {"median": median, "min": min, "p90": p90},
                "peak_kb": figures.peak,
            })
        });
        let [wall, memory] =
            [Measure::Wall, Measure::Memory].map(|measure| self.ratio(row, measure).map(rounded));
        json!({
            "name": row.name, "version": row.version, "problem": row.problem,
            "failed": row.failed, "hung": row.hung, "measured": figures,
            "onggi_is": {"wall": wall, "memory": memory},
        })
    }
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Measure::Wall => "wall",
            Measure::Memory => "memory",
        }
    }
}

impl Target {
    fn other(&self) -> &'static str {
        match self.against {
            Against::Peer(name) => name,
            Against::Itself(scenario) => scenario.name(),
        }
    }
}

impl Row {
    fn of(lane: &Lane<'_>) -> Self {
        Row {
            scenario: lane.scenario,
            name: lane.peer.name,
            version: lane.peer.version.clone(),
            problem: lane.problem.clone(),
            failed: lane.failed,
            hung: lane.hung,
            figures: Figures::of(lane),
        }
    }
}

impl Figures {
    fn of(lane: &Lane<'_>) -> Option<Self> {
        let mut wall = lane.wall_ns.clone();
        let mut peak = lane.peak_kb.clone();
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

    fn of_measure(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Wall => self.median,
            Measure::Memory => self.peak,
        }
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
