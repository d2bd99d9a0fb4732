//! The whole run: which tests, on which layouts; TAP as they end, the table, the totals that cargo's users know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use libtest_mimic::Arguments;

use crate::clause::{File, Item};
use crate::harness::{Layout, needs};
use crate::verdict::{Outcome, Results, Verdict};
use crate::worker::Said;
use crate::{runtime, tap, validation, worker};

/// The file that the results go to as JSON, if somebody wants them.
const RESULTS: &str = "ONGGI_CONFORMANCE_RESULTS";

/// Runs what the arguments choose of these files.
pub(crate) fn main(files: &'static [File]) -> ExitCode {
    in_order(files);
    let args = Arguments::from_args();
    if let Some(layout) = worker::layout() {
        return worker::main(layout, &chosen(files, layout, &args), &args);
    }
    let layouts = match std::env::var("ONGGI_TEST_LAYOUT").ok().and_then(|name| Layout::named(&name)) {
        Some(layout) => vec![layout],
        None => vec![Layout::V1, Layout::V2],
    };
    let plan: Vec<Part> =
        layouts.into_iter().map(|layout| Part { layout, items: chosen(files, layout, &args) }).collect();
    if args.list {
        plan.iter().flat_map(|part| &part.items).for_each(|item| println!("{}: test", item.name()));
        return ExitCode::SUCCESS;
    }
    match run(files, &plan) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("Bail out! {why}");
            ExitCode::from(2)
        }
    }
}

/// What is run on a layout.
struct Part {
    layout: Layout,
    items: Vec<Item>,
}

/// A number names a sentence for ever, and the reader finds it where it belongs.
fn in_order(files: &[File]) {
    let numbers: Vec<u16> = files.iter().flat_map(|file| file.clauses).map(|clause| clause.number).collect();
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
        panic!("the numbers of the sentences are not in order: {} stands before {}", pair[0], pair[1]);
    }
}

/// All that exist on this layout.
fn all(files: &'static [File], layout: Layout) -> impl Iterator<Item = Item> {
    let all = files
        .iter()
        .flat_map(move |file| file.clauses.iter().map(move |clause| Item { layout, file, clause }));
    all.filter(move |item| needs::belongs(item.clause.needs, layout))
}

/// What the filters leave of them, as libtest reads filters.
fn chosen(files: &'static [File], layout: Layout, args: &Arguments) -> Vec<Item> {
    let matches = |name: &str, filter: &str| if args.exact { name == filter } else { name.contains(filter) };
    all(files, layout)
        .filter(|item| args.filter.as_ref().is_none_or(|filter| matches(&item.name(), filter)))
        .filter(|item| !args.skip.iter().any(|filter| matches(&item.name(), filter)))
        .collect()
}

fn run(files: &'static [File], plan: &[Part]) -> Result<bool, String> {
    let (program, start) = (runtime::chosen()?, Instant::now());
    let mut results = Results { version: runtime::version(&program), ..Results::default() };
    if let Some(folder) = validation::folder() {
        validation::executables(&folder)?;
    }
    let total = plan.iter().map(|part| part.items.len()).sum();
    tap::head(&program, &results.version, total);
    for part in plan.iter().filter(|part| !part.items.is_empty()) {
        part.run(&mut results);
    }
    println!("#");
    results.left.iter().for_each(|line| println!("# left behind: {line}"));
    results.table().iter().for_each(|line| println!("# {line}"));
    results.tools.iter().for_each(|(layout, sum)| println!("# {}", sum.line(layout)));
    if let Some(file) = std::env::var_os(RESULTS) {
        results.save(&PathBuf::from(file))?;
    }
    let filtered_out = plan.iter().map(|part| all(files, part.layout).count()).sum::<usize>() - total;
    println!("#\n{}", results.totals(filtered_out, start.elapsed()));
    Ok(results.are_good())
}

impl Part {
    /// Runs its tests, and prints each as soon as those before it are printed.
    fn run(&self, results: &mut Results) {
        let mut early: BTreeMap<usize, (Outcome, u64)> = BTreeMap::new();
        let (mut next, mut left, mut files) = (0, Vec::new(), Vec::new());
        let first = results.verdicts.len();
        let mut print = |number: usize, outcome: Outcome, milliseconds: u64| {
            let item = &self.items[number];
            tap::point(first + number + 1, item, &outcome, milliseconds);
            results.verdicts.push(verdict(item, outcome));
        };
        let ended = worker::hear(self.layout, &mut |said| match said {
            Said::Done(number, outcome, milliseconds) => {
                early.insert(number, (outcome, milliseconds));
                while let Some((outcome, milliseconds)) = early.remove(&next) {
                    print(next, outcome, milliseconds);
                    next += 1;
                }
            }
            Said::File(file) => {
                println!("# {}", file.line(self.layout.name()));
                files.push(file);
            }
            Said::Left(lines) => left = lines,
        });
        let why = ended.err().unwrap_or_else(|| "the process that runs the tests forgot this one".into());
        for number in next..self.items.len() {
            let (outcome, milliseconds) = early.remove(&number).unwrap_or((Outcome::Failed(why.clone()), 0));
            print(number, outcome, milliseconds);
        }
        if !files.is_empty() {
            let sum = validation::sum(&files, self.layout.name());
            // What is known is known of onggi.
            results.unknown += if results.version.starts_with("onggi ") { sum.unknown } else { 0 };
            results.tools.push((self.layout.name().to_owned(), sum));
        }
        results.left.extend(left.iter().map(|line| format!("by {}: {line}", self.layout.name())));
    }
}

fn verdict(item: &Item, outcome: Outcome) -> Verdict {
    Verdict {
        layout: item.layout.name().to_owned(),
        document: item.file.document.to_owned(),
        must: item.clause.level.is_must(),
        number: item.clause.number,
        sentence: item.sentence(),
        outcome,
    }
}
