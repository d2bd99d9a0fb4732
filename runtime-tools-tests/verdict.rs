//! What came of the tests, as numbers: kept as JSON, added up in a table. It knows nothing of how tests are run.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Passed,
    /// With what was seen.
    Failed(String),
    /// With what is missing.
    Skipped(String),
}

/// What came of a sentence on a layout.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// `v1` or `v2`.
    pub(crate) layout: String,
    /// The document that the sentence stands in.
    pub(crate) document: String,
    /// Whether it is a MUST or MUST NOT, else a SHOULD or SHOULD NOT.
    pub(crate) must: bool,
    /// The sentence's number.
    pub(crate) number: u16,
    /// The sentence on a line.
    pub(crate) sentence: String,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

/// A whole run.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The first line of the runtime's `--version`.
    pub(crate) version: String,
    /// In the order of the plan.
    pub(crate) verdicts: Vec<Verdict>,
    /// What is left behind on the machine, a line each.
    pub(crate) left: Vec<String>,
    /// What the executables of the runtime-tools said, per layout.
    pub(crate) tools: Vec<(String, Sum)>,
    /// How many of them failed that nobody knows of.
    pub(crate) unknown: usize,
}

/// How many of a layout's files are clean, and what they assert.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) files: usize,
    pub(crate) clean: usize,
    pub(crate) held: usize,
    pub(crate) broken: usize,
    /// Not clean, and not known.
    pub(crate) unknown: usize,
}

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Count {
    /// Of these.
    pub(crate) fn of<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>) -> Count {
        let mut count = Count::default();
        for verdict in verdicts {
            match verdict.outcome {
                Outcome::Passed => count.passed += 1,
                Outcome::Failed(_) => count.failed += 1,
                Outcome::Skipped(_) => count.skipped += 1,
            }
        }
        count
    }

    /// `passed / failed / skipped`.
    pub(crate) fn text(self) -> String {
        if self == Count::default() {
            return "–".into();
        }
        format!("{} / {} / {}", self.passed, self.failed, self.skipped)
    }
}

impl Results {
    /// Nothing failed, nothing is left.
    pub(crate) fn are_good(&self) -> bool {
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        Count::of(&self.verdicts).failed + self.left.len() + self.unknown
    }

    /// The layouts in which something was run, in their order.
    pub(crate) fn layouts(&self) -> Vec<&str> {
        distinct(self.verdicts.iter().map(|it| it.layout.as_str()))
    }

    /// A row per document: passed, failed and skipped, per layout and level.
    pub(crate) fn table(&self) -> Vec<String> {
        let layouts = self.layouts();
        let mut lines = vec!["passed / failed / skipped".to_owned(), String::new()];
        let heads = layouts.iter().map(|layout| format!(" {layout} MUST | {layout} SHOULD |"));
        lines.push(format!("| chapter |{}", heads.collect::<String>()));
        lines.push(format!("|---|{}", "---|---|".repeat(layouts.len())));
        let documents = distinct(self.verdicts.iter().map(|it| it.document.as_str()));
        for document in documents.iter().copied().map(Some).chain([None]) {
            let cells = layouts.iter().flat_map(|layout| {
                [true, false].map(|must| {
                    let belongs = |it: &&Verdict| {
                        it.layout == *layout
                            && it.must == must
                            && document.is_none_or(|name| it.document == name)
                    };
                    format!(" {} |", Count::of(self.verdicts.iter().filter(belongs)).text())
                })
            });
            lines.push(format!("| {} |{}", document.unwrap_or("all"), cells.collect::<String>()));
        }
        lines
    }

    /// The line of totals that libtest ends with.
    pub(crate) fn totals(&self, filtered_out: usize, took: Duration) -> String {
        let Count { passed, skipped, .. } = Count::of(&self.verdicts);
        let failed = self.failed();
        let word = if failed == 0 { "ok" } else { "FAILED" };
        format!(
            "test result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; {filtered_out} \
             filtered out; finished in {:.2}s",
            took.as_secs_f64()
        )
    }

    /// Writes them to a file.
    pub(crate) fn save(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Sum {
    /// A line for people.
    pub(crate) fn line(self, layout: &str) -> String {
        let Sum { files, clean, held, broken, unknown } = self;
        let all = held + broken;
        format!(
            "runtime-tools {layout}: {clean} of {files} files clean, {held} of {all} assertions, {unknown} unknown"
        )
    }
}

/// Each once, in the order of their first appearance.
fn distinct<'s>(all: impl Iterator<Item = &'s str>) -> Vec<&'s str> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}
