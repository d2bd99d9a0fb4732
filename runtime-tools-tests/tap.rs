//! The Test Anything Protocol, version 13: a line per test, and a block of YAML behind each that failed.

use std::path::Path;

use crate::clause::Item;
use crate::verdict::Outcome;

/// The version, the runtime, the plan.
pub(crate) fn head(program: &Path, version: &str, total: usize) {
    println!("TAP version 13\n# {}: {version}\n1..{total}", program.display());
}

/// A test's line and what belongs to it.
pub(crate) fn point(number: usize, item: &Item, outcome: &Outcome, milliseconds: u64) {
    println!("{}", text(number, item, outcome, milliseconds));
}

fn text(number: usize, item: &Item, outcome: &Outcome, milliseconds: u64) -> String {
    let line = format!("ok {number} - {} [{}]", item.sentence(), item.name());
    match outcome {
        Outcome::Passed => line,
        Outcome::Skipped(why) => format!("{line} # SKIP {}", why.replace('\n', " ")),
        Outcome::Failed(why) => {
            let indented: Vec<String> = why.lines().map(|line| format!("    {line}")).collect();
            format!(
                "not {line}\n  ---\n  level: {}\n  layout: {}\n  duration_ms: {milliseconds}\n  message: |\n{}\n  ...",
                item.clause.level.words(),
                item.layout.name(),
                indented.join("\n")
            )
        }
    }
}
