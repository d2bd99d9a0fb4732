//! The tables of docs/conformance.md, of what the suite found.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};

use crate::verdict::{Count, Outcome, Results, Verdict};

const BEGIN: &str = "<!-- conformance:begin -->";
const END: &str = "<!-- conformance:end -->";

/// A runtime.
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: &'static str,
    /// What was found, or why it could not be run.
    pub(crate) results: Result<Results>,
}

/// The document with the tables between its marks.
///
/// # Errors
/// It has no marks.
pub(crate) fn put(document: &str, columns: &[Column]) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).context("docs/conformance.md: no begin")?;
    let (_, after) = rest.split_once(END).context("docs/conformance.md: no end")?;
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", text(columns)))
}

fn text(columns: &[Column]) -> String {
    let mut text = String::from("Passed / failed / skipped, of `make conformance RUNTIME=all`.\n\n");
    text += "| runtime | layout | MUST | SHOULD |\n|---|---|---|---|\n";
    for column in columns {
        rows(column, &mut text);
    }
    text += "\nPassed / failed by chapter, MUST and SHOULD together.\n\n";
    chapters(columns, &mut text);
    for column in columns.iter().filter_map(|column| Some((column.name, column.results.as_ref().ok()?))) {
        failures(column.0, column.1, &mut text);
    }
    text
}

/// Why all of a layout was skipped.
fn refusal<'r>(results: &'r Results, layout: &str) -> Option<&'r str> {
    let mut reasons = results.verdicts.iter().filter(|it| it.layout == layout).map(|it| match &it.outcome {
        Outcome::Skipped(why) => Some(why.as_str()),
        _ => None,
    });
    let first = reasons.next()??;
    reasons.all(|why| why == Some(first)).then_some(first)
}

fn rows(Column { name, results }: &Column, text: &mut String) {
    let results = match results {
        Ok(results) => results,
        Err(error) => {
            let _ = writeln!(text, "| {name} | – | not run: {error:#} | |");
            return;
        }
    };
    for layout in results.layouts() {
        let count = |must: bool| {
            let belongs = |it: &&Verdict| it.layout == layout && it.must == must;
            Count::of(results.verdicts.iter().filter(belongs)).text()
        };
        let version = results.version.strip_prefix(name).unwrap_or(&results.version);
        let version = version.trim().trim_start_matches("version").trim_start_matches(':').trim();
        let _ = match refusal(results, layout) {
            Some(why) => writeln!(text, "| {name} {version} | {layout} | {why} | |"),
            None => writeln!(text, "| {name} {version} | {layout} | {} | {} |", count(true), count(false)),
        };
    }
}

fn chapters(columns: &[Column], text: &mut String) {
    let ran: Vec<(&str, &Results, &str)> = columns
        .iter()
        .filter_map(|column| Some((column.name, column.results.as_ref().ok()?)))
        .flat_map(|(name, results)| results.layouts().into_iter().map(move |layout| (name, results, layout)))
        .filter(|(_, results, layout)| refusal(results, layout).is_none())
        .collect();
    let Some((_, first, _)) = ran.first() else { return };
    let mut documents: Vec<&str> = first.verdicts.iter().map(|it| it.document.as_str()).collect();
    documents.dedup();
    documents.truncate(documents.len() / first.layouts().len());
    let heads: String = ran.iter().map(|(name, _, layout)| format!(" {name} {layout} |")).collect();
    let _ = writeln!(text, "| chapter |{heads}\n|---|{}", "--:|".repeat(ran.len()));
    for document in documents {
        let cells: String = ran
            .iter()
            .map(|(_, results, layout)| {
                let belongs = |it: &&Verdict| it.layout == *layout && it.document == document;
                let count = Count::of(results.verdicts.iter().filter(belongs));
                format!(" {} / {} |", count.passed, count.failed)
            })
            .collect();
        let _ = writeln!(text, "| {document} |{cells}");
    }
}

/// Each failed sentence once, with the layouts that it failed on.
fn failures(name: &str, results: &Results, text: &mut String) {
    let mut failed: BTreeMap<u16, (&str, Vec<&str>)> = BTreeMap::new();
    for verdict in results.verdicts.iter().filter(|it| matches!(it.outcome, Outcome::Failed(_))) {
        let entry = failed.entry(verdict.number).or_insert((&verdict.sentence, Vec::new()));
        entry.1.push(&verdict.layout);
    }
    if failed.is_empty() {
        let _ = writeln!(text, "\n**{name}** fails nothing.");
        return;
    }
    let _ = writeln!(text, "\n**{name}** fails:\n");
    for (sentence, layouts) in failed.values() {
        let _ = writeln!(text, "- {sentence} ({})", layouts.join(", "));
    }
}
