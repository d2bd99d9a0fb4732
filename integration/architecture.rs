//! The house rules, held against the code: who may import whom, where `unsafe` lives, how long a function is, that
//! every module says what it is, and that no document names a file or a test that does not exist.
//!
//! It reads source text, not compiled code, and must never need more than the standard library. Each test collects
//! every breach before it fails, so that one run shows all of them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, the modules it may import (besides itself), and what it must never name outside its tests: the table of
/// docs/architecture.md. A path in the second column opens only that part of a module.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Sleeping is no synchronisation: every wait is a poll on a descriptor, with a bound and a name.
const NEVER_ANYWHERE: &[&str] = &["std::thread::sleep", "nix::unistd::sleep", "rustix::thread::nanosleep"];

const TABLE: &[Row] = &[
    ("cli", &["container", "spec", "error", "log"], &[]),
    ("shim", &["container", "spec", "error", "log"], &[]),
    ("log", &["error"], &[]),
    (
        "container",
        &["init", "cgroup", "plan", "spec", "sys", "error"],
        &["print!", "println!", "eprint!", "eprintln!", "clap"],
    ),
    (
        "init",
        &["plan::step", "sys", "error"],
        &["std::thread", "oci_spec", "serde_json", "println!", "eprintln!"],
    ),
    (
        "cgroup",
        &["plan::step", "plan::cgroup", "plan::resctrl", "sys", "error"],
        &["oci_spec", "println!", "eprintln!"],
    ),
    (
        "plan",
        &["spec", "error"],
        &["std::fs", "std::env", "std::time", "std::process", "std::net", "println!", "eprintln!"],
    ),
    ("sys", &["error"], &["oci_spec", "serde_json", "println!", "eprintln!"]),
    ("spec", &["error"], &["println!", "eprintln!"]),
    ("error", &[], &["println!", "eprintln!"]),
];

/// The roof: the files that may see every module.
const ROOF: &[&str] = &["src/lib.rs", "src/main.rs"];

/// A function fits a screen.
const LONGEST_FUNCTION: usize = 70;

/// Names that say nothing about what is inside.
const NAMELESS: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

#[test]
fn imports_follow_the_table() {
    let mut breaches = Breaches::default();
    for source in sources(&["src"]) {
        if ROOF.contains(&source.name.as_str()) {
            continue;
        }
        let here = source.module().remove(0);
        let Some((_, may, _)) = TABLE.iter().find(|row| row.0 == here) else {
            breaches.add(&source, 1, format!("module `{here}` has no row in the import table"));
            continue;
        };
        // Tests may set their scene with what stands above.
        for Reference { line, path, .. } in
            source.references().iter().filter(|r| r.path[0] == "crate" && !r.in_tests)
        {
            let Some(target) = path.get(1).filter(|t| **t != here) else { continue };
            let full = path[1..].join("::");
            let opened = |open: &&&str| full == **open || full.starts_with(&format!("{open}::"));
            if !may.iter().any(|m| opened(&m)) {
                let known = TABLE.iter().any(|row| row.0 == target);
                let why = if known { "the table does not allow it" } else { "name the module it comes from" };
                breaches.add(&source, *line, format!("`{here}` imports `crate::{full}`: {why}"));
            }
        }
    }
    breaches.none();
}

#[test]
fn modules_keep_to_their_trade() {
    let mut breaches = Breaches::default();
    for source in sources(&["src"]) {
        let here = source.module().into_iter().next().unwrap_or_default();
        let row = TABLE.iter().find(|row| row.0 == here);
        let never = || row.map_or(&[][..], |row| row.2).iter().chain(NEVER_ANYWHERE);
        for Reference { line, path, in_tests } in source.references() {
            let full = path.join("::");
            let hit = never().find(|n| full == **n || full.starts_with(&format!("{n}::")));
            if let Some(hit) = hit.filter(|_| !in_tests) {
                breaches.add(&source, line, format!("`{here}` must never use `{hit}`"));
            }
        }
    }
    breaches.none();
}

#[test]
fn the_document_shows_the_same_table() {
    let document = read("docs/architecture.md");
    let mut breaches = Breaches::default();
    for (module, may, _) in TABLE {
        let row =
            format!("| {module} | {} |", if may.is_empty() { "nobody".to_owned() } else { may.join(", ") });
        if !document.contains(&row) {
            breaches.0.push(format!("docs/architecture.md: no row `{row}`"));
        }
    }
    breaches.none();
}

#[test]
fn unsafe_lives_in_sys() {
    let mut breaches = Breaches::default();
    for source in sources(&["src"]).iter().filter(|s| !s.name.starts_with("src/sys/")) {
        for token in source.tokens.iter().filter(|t| t.is("unsafe")) {
            breaches.add(source, token.line, "`unsafe` outside src/sys");
        }
    }
    breaches.none();
}

#[test]
fn functions_fit_a_screen() {
    let mut breaches = Breaches::default();
    for source in sources(&["src", "integration", "runtime-tools-tests"]) {
        for (name, first, last) in source.functions() {
            let lines = last - first + 1;
            if lines > LONGEST_FUNCTION {
                breaches.add(
                    &source,
                    first,
                    format!("fn {name} has {lines} lines, at most {LONGEST_FUNCTION}"),
                );
            }
        }
    }
    breaches.none();
}

#[test]
fn modules_say_what_they_are() {
    let mut breaches = Breaches::default();
    for source in sources(&["src", "integration", "runtime-tools-tests"]) {
        if !source.text.starts_with("//!") {
            breaches.add(&source, 1, "does not open with `//!`");
        }
        if source.name.split(['/', '.']).any(|part| NAMELESS.contains(&part)) {
            breaches.add(&source, 1, "has a name that says nothing");
        }
    }
    breaches.none();
}

#[test]
fn tests_come_last() {
    let mut breaches = Breaches::default();
    for source in sources(&["src"]) {
        let after = source.tokens.iter().skip_while(|t| !t.in_tests).find(|t| !t.in_tests);
        if let Some(token) = after {
            breaches.add(&source, token.line, "code after `mod tests`");
        }
    }
    breaches.none();
}

#[test]
fn lints_are_silenced_with_a_reason() {
    let mut breaches = Breaches::default();
    for source in sources(&["src", "integration", "runtime-tools-tests"]) {
        for (at, token) in source.tokens.iter().enumerate() {
            let attribute = at >= 1 && source.tokens[at - 1].is("[");
            if attribute && (token.is("allow") || token.is("expect")) {
                let inside = source.tokens[at..].iter().take_while(|t| !t.is("]"));
                if !inside.into_iter().any(|t| t.is("reason")) {
                    breaches.add(&source, token.line, format!("#[{}] without a reason", token.text));
                }
            }
        }
    }
    breaches.none();
}

#[test]
fn nothing_is_left_for_later() {
    let markers =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("unimple", "mented!")];
    let mut breaches = Breaches::default();
    for source in sources(&["src", "integration", "runtime-tools-tests"]) {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(marker) = markers.iter().find(|m| line.contains(**m)) {
                breaches.add(&source, at + 1, format!("`{marker}`"));
            }
        }
    }
    breaches.none();
}

#[test]
fn every_dependency_says_why() {
    let mut breaches = Breaches::default();
    let (mut in_dependencies, mut before) = (false, String::new());
    for (at, line) in read("Cargo.toml").lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies
            && line.contains('=')
            && !line.starts_with([' ', '#'])
            && !before.starts_with('#')
        {
            breaches.0.push(format!("Cargo.toml:{}: no reason in the line above: {line}", at + 1));
        }
        before = line.to_owned();
    }
    breaches.none();
}

#[test]
fn documents_name_tests_that_exist() {
    let tests = known_tests();
    let mut breaches = Breaches::default();
    for document in [
        "docs/cgroups.md",
        "docs/processes.md",
        "docs/runc.md",
        "docs/seccomp.md",
        "docs/update.md",
        "docs/spec-coverage.md",
        "docs/kernel-features.md",
        "SECURITY.md",
    ] {
        for (at, line) in read(document).lines().enumerate() {
            for name in quoted(line).into_iter().filter_map(test_name) {
                if !tests.contains(&name) {
                    breaches.0.push(format!("{document}:{}: no test `{}::{}`", at + 1, name.0, name.1));
                }
            }
        }
    }
    breaches.none();
}

/// Every sentence of the conformance suite stands in exactly one row, and no row names another.
#[test]
fn every_sentence_has_its_row() {
    let mut numbers = BTreeSet::new();
    for source in sources(&["runtime-tools-tests"]) {
        let levels = ["MUST", "MUST_NOT", "SHOULD", "SHOULD_NOT"];
        let pairs = source.tokens.windows(2).filter(|pair| levels.iter().any(|level| pair[1].is(level)));
        numbers.extend(pairs.filter_map(|pair| pair[0].text.parse::<u16>().ok()));
    }
    let mut listed = Vec::new();
    for line in read("docs/spec-coverage.md").lines().filter(|line| line.starts_with("| ")) {
        let cell = line.split('|').nth(3).unwrap_or_default();
        for part in cell.split(',').map(str::trim) {
            let (first, last) = part.split_once('–').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                listed.extend((first..=last).filter(|number| numbers.contains(number)));
                assert!(numbers.contains(&first) && numbers.contains(&last), "docs/spec-coverage.md: {part}");
            }
        }
    }
    listed.sort_unstable();
    assert_eq!(listed, numbers.into_iter().collect::<Vec<u16>>(), "docs/spec-coverage.md: the numbers");
}

/// What linux.resources can limit (config-linux.md, Control groups).
const LIMITS: &str = "memory.limit memory.reservation memory.swap memory.kernel memory.kernelTCP memory.swappiness \
    memory.disableOOMKiller memory.useHierarchy memory.checkBeforeUpdate cpu.shares cpu.quota cpu.period cpu.burst \
    cpu.realtimeRuntime cpu.realtimePeriod cpu.cpus cpu.mems cpu.idle pids.limit blockIO.weight blockIO.leafWeight \
    blockIO.weightDevice[].weight blockIO.weightDevice[].leafWeight blockIO.throttleReadBpsDevice \
    blockIO.throttleWriteBpsDevice blockIO.throttleReadIOPSDevice blockIO.throttleWriteIOPSDevice hugepageLimits \
    network.classID network.priorities rdma devices unified";

#[test]
fn every_limit_says_what_it_does_and_where_that_is_shown() {
    let document = read("docs/cgroups.md");
    let table = document.split("\n## ").find(|section| section.starts_with("The table")).unwrap_or_default();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut breaches = Breaches::default();
    for limit in LIMITS.split_whitespace() {
        if !rows.iter().any(|row| quoted(row[0]).contains(&limit)) {
            breaches.0.push(format!("docs/cgroups.md: no row for `{limit}`"));
        }
    }
    for row in &rows {
        let says =
            |cell: &&&str| ["works", "not possible", "ignored"].iter().any(|word| cell.starts_with(word));
        let shown = |cell: &&&str| quoted(cell).into_iter().any(|text| test_name(text).is_some());
        let good = row.iter().skip(1).filter(|cell| says(cell) && shown(cell)).count();
        if row.len() != 4 || good != 3 {
            breaches
                .0
                .push(format!("docs/cgroups.md: {}: three cells that say what it does, and a test", row[0]));
        }
    }
    breaches.none();
}

#[test]
fn every_cve_test_is_listed() {
    let document = read("SECURITY.md");
    let mut breaches = Breaches::default();
    for (file, test) in known_tests().iter().filter(|(file, _)| file.starts_with("cve")) {
        let named = ["cve_", "ghsa_", "invariant_"].iter().any(|kind| test.starts_with(kind));
        if named && !document.contains(&format!("`{file}::{test}`")) {
            breaches.0.push(format!("SECURITY.md does not list `{file}::{test}`"));
        }
    }
    breaches.none();
}

#[test]
fn every_invariant_is_listed() {
    let document = read("SECURITY.md");
    let listed: Vec<usize> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.trim_end_matches('.').parse().ok())
        .collect();
    assert_eq!(listed, (1..=18).collect::<Vec<_>>(), "SECURITY.md: the invariants, one row each, in order");
}

/// What people copy is what the tests give to the engines: each file is shown whole, and nothing else is.
#[test]
fn engines_are_configured_as_the_documents_say() {
    let sources = files("integration/engines", "rs").iter().map(|name| read(name)).collect::<String>();
    let ends = ["toml", "conf", "json", "yaml"];
    let configs: Vec<String> = ends.iter().flat_map(|end| files("integration/engines/config", end)).collect();
    let documents = ["docs/engines.md", "docs/kubernetes.md"];
    let mut shown = Vec::new();
    let mut breaches = Breaches::default();
    for document in documents {
        for block in read(document).split("\n```").skip(1).step_by(2) {
            let (kind, text) = block.split_once('\n').unwrap();
            match configs.iter().find(|name| read(name).trim_end() == text) {
                Some(name) => shown.push(name.clone()),
                None => {
                    breaches.0.push(format!("{document}: no test gives this {kind} to an engine:\n{text}"))
                }
            }
        }
    }
    for name in &configs {
        if !shown.contains(name) {
            breaches.0.push(format!("{} do not show {name} as it is", documents.join(" and ")));
        }
        let file = name.rsplit('/').next().unwrap();
        if !sources.contains(&format!("config/{file}\")")) {
            breaches.0.push(format!("no test uses {name}"));
        }
    }
    breaches.none();
}

#[test]
fn documents_name_files_that_exist() {
    let mut breaches = Breaches::default();
    for document in documents() {
        for (at, line) in read(&document).lines().enumerate() {
            for path in
                quoted(line).into_iter().chain(linked(line)).filter_map(|text| house_path(&document, text))
            {
                if !root().join(&path).exists() {
                    breaches.0.push(format!("{document}:{}: no file {path}", at + 1));
                }
            }
        }
    }
    breaches.none();
}

/// What was found wrong, a line each.
#[derive(Default)]
struct Breaches(Vec<String>);

impl Breaches {
    fn add(&mut self, source: &Source, line: usize, what: impl std::fmt::Display) {
        self.0.push(format!("{}:{line}: {what}", source.name));
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} breaches of the house rules:\n{}\n", self.0.len(), self.0.join("\n"));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The files below `folder` that end in `.end`, relative to the root, sorted.
fn files(folder: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries.map(|e| e.unwrap()) {
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == end) {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The documents of the house.
fn documents() -> Vec<String> {
    let top = fs::read_dir(root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    top.filter(|name| name.ends_with(".md")).chain(files("docs", "md")).collect()
}

fn sources(folders: &[&str]) -> Vec<Source> {
    folders.iter().flat_map(|folder| files(folder, "rs")).map(Source::open).collect()
}

/// Every test as (file, function), the file as a module path below its folder: `fn` items and, for suites that name
/// their tests in a table, string literals.
fn known_tests() -> BTreeSet<(String, String)> {
    let mut known = BTreeSet::new();
    for source in sources(&["src", "integration", "runtime-tools-tests"]) {
        let path = source.name.split_once('/').map_or("", |(_, path)| path).trim_end_matches(".rs");
        let file = path.trim_end_matches("/mod").replace('/', "::");
        for pair in source.tokens.windows(2) {
            // Behind an arrow the conformance suite names its tests.
            if pair[0].is("fn") || pair[0].is(">") || pair[1].literal {
                known.insert((file.clone(), pair[1].text.clone()));
            }
        }
    }
    known
}

/// The pieces of a line between backticks.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The targets of a line's links.
fn linked(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).collect()
}

/// `cve::binary::cve_2019_5736` as (file, test): words in snake case between pairs of colons; none for anything else.
fn test_name(text: &str) -> Option<(String, String)> {
    let (file, test) = text.rsplit_once("::")?;
    let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = || text.split("::");
    (words().all(|word| !word.is_empty() && word.chars().all(snake)))
        .then(|| (file.to_owned(), test.to_owned()))
}

/// A path of this repository named in a document, relative to the root; none for anything else.
fn house_path(document: &str, text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if text.is_empty() || !text.chars().all(plain) || text.starts_with('/') {
        return None;
    }
    const TOP: &[&str] = &["src", "docs", "integration", "runtime-tools-tests", "scripts", ".ci"];
    if text.split_once('/').is_some_and(|(top, _)| TOP.contains(&top)) {
        return Some(text.to_owned());
    }
    if text.ends_with(".md") {
        let beside = Path::new(document).parent()?.join(text);
        let found = if root().join(text).exists() { PathBuf::from(text) } else { beside };
        return Some(found.to_str()?.to_owned());
    }
    None
}

/// A word, a sign or a literal of the source; comments are gone.
#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
    literal: bool,
    in_tests: bool,
    /// The modules inside the file that the token stands in, outermost first.
    inside: Vec<String>,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        !self.literal && self.text == text
    }

    fn is_word(&self) -> bool {
        !self.literal && self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// A path named in the source: `crate::…` for our own (`super::` and `self::` are resolved), else the name of another
/// crate; a macro ends in `!`.
struct Reference {
    line: usize,
    path: Vec<String>,
    in_tests: bool,
}

/// One source file.
struct Source {
    name: String,
    text: String,
    tokens: Vec<Token>,
}

impl Source {
    fn open(name: String) -> Source {
        let text = read(&name);
        let mut tokens = Lexer { rest: text.chars().collect(), at: 0, line: 1 }.tokens();
        mark_modules(&mut tokens);
        Source { name, text, tokens }
    }

    /// The module that the file is, from below `src`: `src/plan/mod.rs` is [plan].
    fn module(&self) -> Vec<String> {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').filter(|part| !["lib", "main"].contains(part)).map(str::to_owned).collect()
    }

    /// The functions with their first and last line.
    fn functions(&self) -> Vec<(&str, usize, usize)> {
        let mut found = Vec::new();
        for (at, pair) in self.tokens.windows(2).enumerate() {
            if !(pair[0].is("fn") && pair[1].is_word()) {
                continue;
            }
            let mut depth = 0;
            for token in &self.tokens[at..] {
                match token.text.as_str() {
                    _ if token.literal => {}
                    ";" if depth == 0 => break,
                    "{" | "(" | "[" => depth += 1,
                    ")" | "]" => depth -= 1,
                    "}" => {
                        depth -= 1;
                        if depth == 0 {
                            found.push((pair[1].text.as_str(), pair[0].line, token.line));
                            break;
                        }
                    }
                    _ => {}
                }
            }
        }
        found
    }

    fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            let next = |ahead: usize, text: &str| self.tokens.get(at + ahead).is_some_and(|t| t.is(text));
            if token.is_word() && next(1, "::") {
                at = self.expand(at + 2, self.resolve(token), &mut found);
                continue;
            }
            if token.is_word() && next(1, "!") && !next(2, "=") {
                let path = vec![format!("{}!", token.text)];
                found.push(Reference { line: token.line, path, in_tests: token.in_tests });
            }
            at += 1;
        }
        found
    }

    /// The path that a leading word stands for.
    fn resolve(&self, token: &Token) -> Vec<String> {
        let here = || [vec!["crate".to_owned()], self.module(), token.inside.clone()].concat();
        match token.text.as_str() {
            "self" => here(),
            "super" => up(here()),
            other => vec![other.to_owned()],
        }
    }

    /// Follows a path, or each branch of a braced group, from the token after its `::`; gives the token after it.
    fn expand(&self, mut at: usize, mut path: Vec<String>, found: &mut Vec<Reference>) -> usize {
        let Some(token) = self.tokens.get(at) else { return at };
        if token.is("{") {
            at += 1;
            while self.tokens.get(at).is_some_and(|t| !t.is("}")) {
                at = if self.tokens[at].is(",") { at + 1 } else { self.expand(at, path.clone(), found) };
            }
            return at + 1;
        }
        match token.text.as_str() {
            "super" => path = up(path),
            "self" => {}
            _ => path.push(token.text.clone()),
        }
        if self.tokens.get(at + 1).is_some_and(|t| t.is("::")) {
            return self.expand(at + 2, path, found);
        }
        found.push(Reference { line: token.line, path, in_tests: token.in_tests });
        at += 1;
        while self.tokens.get(at).is_some_and(|t| t.is("as") || self.tokens[at - 1].is("as")) {
            at += 1;
        }
        at
    }
}

/// The module above; the root stays the root.
fn up(mut path: Vec<String>) -> Vec<String> {
    if path.len() > 1 {
        path.pop();
    }
    path
}

/// Tells each token which modules of its file it stands in, and whether that is behind `#[cfg(test)]`.
fn mark_modules(tokens: &mut [Token]) {
    let mut open: Vec<(usize, bool, Option<String>)> = Vec::new();
    let mut depth = 0_usize;
    for at in 0..tokens.len() {
        let before = |n: usize| at.checked_sub(n).map_or("", |i| tokens[i].text.as_str());
        let opens = tokens[at].is("mod") && tokens.get(at + 2).is_some_and(|t| t.is("{"));
        if opens {
            let test = [4, 3, 2, 1].map(before) == ["(", "test", ")", "]"];
            open.push((depth, test, Some(tokens[at + 1].text.clone())));
        }
        if tokens[at].is("{") {
            depth += 1;
        } else if tokens[at].is("}") {
            depth = depth.saturating_sub(1);
        }
        tokens[at].in_tests = open.iter().any(|m| m.1);
        tokens[at].inside = open.iter().filter_map(|m| m.2.clone()).collect();
        if tokens[at].is("}") && open.last().is_some_and(|m| m.0 == depth) {
            open.pop();
        }
    }
}

/// Cuts Rust into words, signs and literals: as much of the language as the questions above need.
struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self) -> char {
        let c = self.peek(0);
        self.at += 1;
        self.line += usize::from(c == '\n');
        c
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while self.at < self.rest.len() && keep(self.peek(0)) {
            text.push(self.take());
        }
        text
    }

    fn tokens(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while self.at < self.rest.len() {
            let line = self.line;
            if let Some((text, literal)) = self.next() {
                tokens.push(Token { line, text, literal, in_tests: false, inside: Vec::new() });
            }
        }
        tokens
    }

    /// The next token and whether it is a literal; none for white space and comments.
    fn next(&mut self) -> Option<(String, bool)> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => drop(self.take_while(|c| c != '\n')),
            ('/', '*') => self.block_comment(),
            ('"', _) => return Some((self.string(), true)),
            ('r', '"' | '#') | ('b', 'r' | '"') | ('c', '"') if self.raw_hashes().is_some() => {
                return Some((self.prefixed_string(), true));
            }
            ('\'', c) if c == '\\' || self.peek(2) == '\'' => return Some((self.character(), true)),
            ('\'', _) => drop((self.take(), self.take_while(is_word))),
            (':', ':') => {
                self.at += 2;
                return Some(("::".to_owned(), false));
            }
            (c, _) if is_word(c) => return Some((self.take_while(is_word), c.is_numeric())),
            (c, _) if c.is_whitespace() => drop(self.take()),
            _ => return Some((self.take().to_string(), false)),
        }
        None
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> String {
        self.take();
        let mut text = String::new();
        while self.at < self.rest.len() {
            match self.take() {
                '"' => break,
                '\\' => drop(self.take()),
                c => text.push(c),
            }
        }
        text
    }

    /// How many hashes a prefixed string has (0 also for plain `b"…"` and `c"…"`); none if it is a word or `r#word`.
    fn raw_hashes(&self) -> Option<usize> {
        let prefix = (0..3).take_while(|i| "brc".contains(self.peek(*i))).count();
        let hashes = (prefix..).take_while(|i| self.peek(*i) == '#').count();
        (self.peek(prefix + hashes) == '"').then_some(hashes)
    }

    fn prefixed_string(&mut self) -> String {
        let hashes = self.raw_hashes().unwrap_or(0);
        let prefix = self.take_while(|c| "brc".contains(c));
        if !prefix.contains('r') {
            return self.string();
        }
        self.at += hashes + 1;
        let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let mut text = String::new();
        while self.at < self.rest.len() && !text.ends_with(&end) {
            text.push(self.take());
        }
        text.truncate(text.len() - end.len().min(text.len()));
        text
    }

    fn character(&mut self) -> String {
        self.take();
        let mut text = String::new();
        while self.at < self.rest.len() {
            match self.take() {
                '\'' => break,
                '\\' => {
                    self.take();
                    text.push('\\');
                }
                c => text.push(c),
            }
        }
        text
    }
}

#[test]
fn the_reader_understands_rust() {
    let text = r##"
        use crate::{error::{Error, Result as R}, sys as kernel, plan::step::*};
        fn f<'a>(x: &'a str) -> [u8; 2] { let c = '"'; let d = '\''; super::g(r#"} fn no() {"#); b"}".len(); }
        /* unsafe /* nested */ unsafe */ // unsafe
        #[cfg(test)]
        mod tests { use super::*; fn t() { std::fs::read("}"); println!("x"); } }
        fn last() {
        }
    "##;
    let mut tokens = Lexer { rest: text.chars().collect(), at: 0, line: 1 }.tokens();
    mark_modules(&mut tokens);
    let source = Source { name: "src/plan/x.rs".to_owned(), text: text.to_owned(), tokens };
    let paths: Vec<String> = source.references().iter().map(|r| r.path.join("::")).collect();
    let expected = [
        "crate::error::Error",
        "crate::error::Result",
        "crate::sys",
        "crate::plan::step::*",
        "crate::plan::g",
        "crate::plan::x::*",
        "std::fs::read",
        "println!",
    ];
    assert_eq!(paths, expected);
    assert_eq!(source.functions(), [("f", 3, 3), ("t", 6, 6), ("last", 7, 8)]);
    assert!(source.tokens.iter().all(|t| !t.is("unsafe")));
    assert!(source.references()[6].in_tests && !source.references()[4].in_tests);
}
