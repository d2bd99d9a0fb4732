//! The run as a whole: this program runs itself once per layout, each a process in a world of its own, and adds up
//! what they say.

use std::cell::RefCell;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use super::{Case, Layout, Need, Sandbox, leaks, needs, processes};

/// Tells the copy of this program which layout it is to run.
const LAYOUT: &str = "ONGGI_TEST_LAYOUT";

/// The files of tests with their names.
type Groups<'a> = &'a [(&'static str, &'static [Case])];

/// The whole program.
pub(crate) fn main(groups: Groups) -> ExitCode {
    main_and_then(groups, Vec::new)
}

/// The whole program, where tests share something: `end` takes it down behind the last of them, and says what it left.
pub(crate) fn main_and_then(groups: Groups, end: fn() -> Vec<String>) -> ExitCode {
    let args = Arguments::from_args();
    match std::env::var(LAYOUT).ok().and_then(|name| Layout::named(&name)) {
        Some(layout) => run_layout(layout, groups, end, &args),
        None => run_both(),
    }
}

/// The binary under test: ONGGI_BIN, else the one that cargo builds with the tests of its package.
pub(crate) fn binary() -> PathBuf {
    let named = std::env::var_os("ONGGI_BIN").map(PathBuf::from);
    named.or_else(|| option_env!("CARGO_BIN_EXE_onggi").map(PathBuf::from)).expect("ONGGI_BIN")
}

fn run_both() -> ExitCode {
    let mut good = true;
    for layout in [Layout::V1, Layout::V2] {
        let status = processes::copy().env(LAYOUT, layout.name()).status().unwrap();
        good &= status.success();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_layout(layout: Layout, groups: Groups, end: fn() -> Vec<String>, args: &Arguments) -> ExitCode {
    let world = World::enter(layout);
    let mut trials = Vec::new();
    for (group, cases) in groups {
        for case in cases.iter().filter(|case| needs::belongs(case.needs, layout)) {
            let name = format!("{}::{group}::{}", layout.name(), case.name);
            let unmet = world.unmet(case.needs);
            let ignored = unmet.is_some();
            let kind = unmet.as_ref().map_or_else(String::new, |why| format!("skipped: {why}"));
            let trial = Trial::test(name, move || {
                unmet.map_or_else(|| attempt(case.body, layout).whole(), Err).map_err(Failed::from)
            });
            trials.push(trial.with_kind(kind).with_ignored_flag(ignored));
        }
    }
    let conclusion = libtest_mimic::run(args, trials);
    let mut left = end();
    if !args.list {
        left.extend(world.left());
    }
    for line in &left {
        println!("left behind by {}: {line}", layout.name());
    }
    if conclusion.has_failed() || !left.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// This process on a layout, and how the machine was before.
pub(crate) struct World {
    layout: Layout,
    lacking: Option<String>,
    before: Traces,
}

impl World {
    /// Enters the layout. Must be called before the first thread is started.
    pub(crate) fn enter(layout: Layout) -> World {
        let lacking = needs::machine().or_else(|| layout.enter().err());
        let before = Traces::take();
        processes::adopt_orphans();
        remember_panics();
        World { layout, lacking, before }
    }

    /// Why a test with these needs cannot run.
    pub(crate) fn unmet(&self, needs: &[Need]) -> Option<String> {
        self.lacking.clone().or_else(|| needs::unmet(needs, self.layout))
    }

    /// What is not as it was, one line each; at the end of all tests.
    pub(crate) fn left(&self) -> Vec<String> {
        self.before.compare(&Traces::take())
    }
}

/// What came of one test.
pub(crate) struct Attempt {
    /// The test's own failure.
    pub(crate) outcome: Result<(), String>,
    /// What it left behind.
    pub(crate) left: Vec<String>,
}

impl Attempt {
    /// The first failure, what is left behind being one.
    pub(crate) fn whole(self) -> Result<(), String> {
        self.outcome?;
        let left = self.left.join("\n  ");
        if left.is_empty() { Ok(()) } else { Err(format!("left behind:\n  {left}")) }
    }
}

/// Runs one test in a sandbox, then looks for leftovers.
pub(crate) fn attempt(body: fn(&mut Sandbox), layout: Layout) -> Attempt {
    let mut sandbox = Sandbox::new(layout);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| body(&mut sandbox))).map_err(|_| last_panic());
    let left = panic::catch_unwind(AssertUnwindSafe(|| sandbox.close()));
    let left = left.unwrap_or_else(|_| vec![format!("at the end: {}", last_panic())]);
    Attempt { outcome, left }
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps a panic's words and place for the report instead of printing them between other tests' lines.
fn remember_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let words = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panicked");
        PANIC.with(|last| *last.borrow_mut() = format!("{place}: {words}"));
    }));
}

fn last_panic() -> String {
    PANIC.with(RefCell::take)
}

/// What the whole run must leave as it was.
struct Traces {
    mounts: Vec<String>,
    descriptors: Vec<String>,
    run: Vec<String>,
    hostname: String,
    binary: u64,
}

impl Traces {
    fn take() -> Traces {
        processes::reap_all();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let names = |dir: &str| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let mut names: Vec<String> = entries.map(|entry| entry.path().display().to_string()).collect();
            names.sort();
            names
        };
        let mut run = names("/run");
        // The default state root may stay, without containers; mount(8) keeps a folder of its own.
        let empty = |root: &str| leaks::states(Path::new(root)).is_empty();
        run.retain(|name| name != "/run/mount" && (name != "/run/onggi" || !empty(name)));
        let mut descriptors = names("/proc/self/fd");
        descriptors.retain(|name| fs::read_link(name).is_ok());
        let mut hasher = DefaultHasher::new();
        fs::read(binary()).unwrap_or_default().hash(&mut hasher);
        Traces {
            mounts: table.lines().map(str::to_owned).collect(),
            descriptors,
            run,
            hostname: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
            binary: hasher.finish(),
        }
    }

    /// What differs afterwards, one line each.
    fn compare(&self, after: &Traces) -> Vec<String> {
        let mut left = Vec::new();
        let mut new = |what: &str, before: &[String], after: &[String]| {
            left.extend(after.iter().filter(|it| !before.contains(it)).map(|it| format!("{what} {it}")));
            left.extend(
                before.iter().filter(|it| !after.contains(it)).map(|it| format!("{what} gone: {it}")),
            );
        };
        new("mount", &self.mounts, &after.mounts);
        new("descriptor", &self.descriptors, &after.descriptors);
        new("file", &self.run, &after.run);
        left.extend(
            processes::children().into_iter().map(|(pid, state)| format!("child process {pid} ({state})")),
        );
        if self.hostname != after.hostname {
            left.push(format!("hostname {}", after.hostname));
        }
        if self.binary != after.binary {
            left.push("another binary: its hash changed".into());
        }
        left
    }
}
