//! The process that runs the tests of one layout, in a world of its own, and says a line of JSON for each.

use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use libtest_mimic::Arguments;
use serde::{Deserialize, Serialize};

use crate::clause::Item;
use crate::harness::world::{World, attempt};
use crate::harness::{Layout, processes};
use crate::verdict::Outcome;
use crate::{runtime, validation};

/// Tells a copy of this program which layout it is the worker of.
const WORKER: &str = "ONGGI_CONFORMANCE_WORKER";

/// What a test panics with that finds only while it runs that there is nothing to test.
const SKIP: &str = "skip: ";

/// A line from the worker.
#[derive(Serialize, Deserialize)]
pub(crate) enum Said {
    /// The item of this number in the list, after so many milliseconds.
    Done(usize, Outcome, u64),
    /// An executable of the runtime-tools.
    File(validation::File),
    /// All are done, and this is left behind.
    Left(Vec<String>),
}

/// Ends the test: it is skipped for this reason.
pub(crate) fn skip(why: &str) -> ! {
    panic!("{SKIP}{why}")
}

/// The layout that this process is the worker of.
pub(crate) fn layout() -> Option<Layout> {
    Layout::named(&std::env::var(WORKER).ok()?)
}

/// Starts a worker for the tests that this process's arguments choose, and hears it until it ends.
///
/// # Errors
/// It ended before its time.
pub(crate) fn hear(layout: Layout, hear: &mut dyn FnMut(Said)) -> Result<(), String> {
    let mut worker = processes::copy();
    worker.env(WORKER, layout.name()).env("ONGGI_BIN", runtime::chosen()?).stdout(Stdio::piped());
    let mut worker = worker.spawn().map_err(|error| error.to_string())?;
    let lines = worker.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
    for line in lines.map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(said) => hear(said),
            Err(_) => println!("# {line}"),
        }
    }
    let status = worker.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the process that runs the tests ended with {status}"))
    }
}

/// Runs the items, as many at a time as the machine has processors.
pub(crate) fn main(layout: Layout, items: &[Item], args: &Arguments) -> ExitCode {
    let world = World::enter(layout);
    let ours = world.unmet(&[]).is_some() || runtime::is_ours();
    let refusal = if ours { None } else { runtime::refusal(layout) };
    let threads =
        args.test_threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((number, item)) = claim(items, &next) {
            let start = Instant::now();
            let why = refusal.clone().or_else(|| world.unmet(item.clause.needs));
            let outcome = why.map_or_else(|| run(item), Outcome::Skipped);
            say(&Said::Done(number, outcome, u64::try_from(start.elapsed().as_millis()).unwrap()));
        }
    };
    std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    if let Some(folder) = validation::folder().filter(|_| refusal.is_none()) {
        for executable in validation::executables(&folder).unwrap_or_default() {
            say(&Said::File(validation::run(&folder, &executable, layout)));
        }
    }
    // Others may leave on the machine what they like: the specification speaks of the container.
    say(&Said::Left(if ours { world.left() } else { Vec::new() }));
    ExitCode::SUCCESS
}

fn claim<'i>(items: &'i [Item], next: &AtomicUsize) -> Option<(usize, &'i Item)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    items.get(number).map(|item| (number, item))
}

fn run(item: &Item) -> Outcome {
    let attempt = attempt(item.clause.body, item.layout);
    let result = if runtime::is_ours() { attempt.whole() } else { attempt.outcome };
    match result {
        Ok(()) => Outcome::Passed,
        // A panic's words stand behind its place.
        Err(why) => match why.split_once(SKIP) {
            Some((_, reason)) => Outcome::Skipped(reason.to_owned()),
            None => Outcome::Failed(why),
        },
    }
}

fn say(said: &Said) {
    println!("{}", serde_json::to_string(said).unwrap());
}
