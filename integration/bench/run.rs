//! The runs: each round runs every peer once in every scenario, so that what else the machine does strikes all alike.

use std::process::Stdio;

use anyhow::{Result, bail};

use crate::arena;
use crate::holder::Holder;
use crate::peers::{Kind, Peer};
use crate::scenario::Scenario;
use crate::stopwatch::{LIMIT_MS, Outcome, timed};

/// Runs of each peer before counting: caches are warm afterwards.
const WARM_UP: usize = 3;

/// One peer in one scenario, and what its runs gave.
pub(crate) struct Lane<'p> {
    /// What is done.
    pub(crate) scenario: Scenario,
    /// Who does it.
    pub(crate) peer: &'p Peer,
    /// Why it cannot; none while it can.
    pub(crate) problem: Option<String>,
    /// Wall time of each good run, in nanoseconds.
    pub(crate) wall_ns: Vec<u64>,
    /// Peak memory of each good run's largest process, in kilobytes.
    pub(crate) peak_kb: Vec<u64>,
    /// Runs that ended with an error.
    pub(crate) failed: usize,
    /// Runs that were killed at the limit.
    pub(crate) hung: usize,
}

/// The ids of all runs, which nobody else on this machine has.
struct Ids {
    prefix: String,
    last: usize,
}

/// What is measured in: containers that run meanwhile, and what all leave is swept away when this is dropped.
struct Field<'p> {
    ids: Ids,
    holders: Vec<(&'p Peer, Result<Holder>)>,
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        self.holders.clear();
        arena::sweep(&self.ids.prefix);
    }
}

/// Runs all peers in turn; one with a problem, or whose warm-up never succeeds, is left out.
pub(crate) fn interleaved<'p>(
    peers: &'p [Peer],
    scenarios: &[Scenario],
    rounds: usize,
) -> Result<Vec<Lane<'p>>> {
    let ids = Ids { prefix: format!("bench-{}-", std::process::id()), last: 0 };
    let mut field = Field { ids, holders: Vec::new() };
    if scenarios.iter().any(|scenario| scenario.is_exec()) {
        for peer in peers.iter().filter(|peer| peer.kind == Kind::Runtime && peer.problem.is_none()) {
            let id = field.ids.next();
            field.holders.push((peer, Holder::start(peer, id)));
        }
    }
    let mut lanes: Vec<Lane<'p>> =
        scenarios.iter().flat_map(|scenario| peers.iter().map(|peer| Lane::new(*scenario, peer))).collect();
    for lane in lanes.iter_mut().filter(|lane| lane.problem.is_none()) {
        lane.warm_up(&mut field)?;
    }
    for _ in 0..rounds {
        for lane in lanes.iter_mut().filter(|lane| lane.problem.is_none()) {
            lane.count(&mut field)?;
        }
    }
    Ok(lanes)
}

impl Ids {
    fn next(&mut self) -> String {
        self.last += 1;
        format!("{}{}", self.prefix, self.last)
    }
}

impl Field<'_> {
    /// The container that this peer's exec enters; that of our own programs is anybody's.
    fn holder(&self, peer: &Peer) -> Result<Option<&Holder>> {
        let mut own = self.holders.iter().filter(|(owner, _)| owner.name == peer.name);
        match own.next() {
            Some((_, Ok(holder))) => Ok(Some(holder)),
            Some((_, Err(error))) => bail!("{error:#}"),
            None => Ok(self.holders.iter().find_map(|(_, holder)| holder.as_ref().ok())),
        }
    }
}

impl<'p> Lane<'p> {
    fn new(scenario: Scenario, peer: &'p Peer) -> Self {
        let problem = peer.problem.clone();
        Lane { scenario, peer, problem, wall_ns: Vec::new(), peak_kb: Vec::new(), failed: 0, hung: 0 }
    }

    /// One good run is enough: youki hangs now and then and is still a peer.
    fn warm_up(&mut self, field: &mut Field<'_>) -> Result<()> {
        let mut problem = Some(String::new());
        for _ in 0..WARM_UP {
            let why = match self.once(field)? {
                Outcome::Good { .. } => None,
                Outcome::Failed(text) => Some(text),
                Outcome::Hung => Some(format!("hung: killed after {LIMIT_MS} ms")),
            };
            problem = problem.and(why);
        }
        self.problem = problem;
        Ok(())
    }

    fn count(&mut self, field: &mut Field<'_>) -> Result<()> {
        match self.once(field)? {
            Outcome::Good { wall_ns, peak_kb } => {
                self.wall_ns.push(wall_ns);
                self.peak_kb.push(peak_kb);
            }
            Outcome::Failed(text) => {
                eprintln!("bench: {}: {}: {text}", self.scenario.name(), self.peer.name);
                self.failed += 1;
            }
            Outcome::Hung => self.hung += 1,
        }
        Ok(())
    }

    /// One run under the stopwatch; what a bad run leaves is deleted.
    fn once(&self, field: &mut Field<'_>) -> Result<Outcome> {
        let id = field.ids.next();
        let steps = match field.holder(self.peer) {
            Ok(holder) => self.scenario.steps(self.peer, &id, holder)?,
            Err(error) if self.scenario.is_exec() => return Ok(Outcome::Failed(format!("{error:#}"))),
            Err(_) => self.scenario.steps(self.peer, &id, None)?,
        };
        let outcome = timed(&steps, Stdio::null())?;
        let bad = !matches!(outcome, Outcome::Good { .. });
        if bad && self.peer.kind == Kind::Runtime && !self.scenario.is_exec() {
            timed(&[self.peer.command("delete", &["--force", &id])], Stdio::null())?;
        }
        Ok(outcome)
    }
}
