//! The commands that only print: `state`, `list`, `features`, `--version`.

use std::path::Path;

use anyhow::Result;
use clap::Parser;

use super::args::{Words, parse};
use super::{name, output};
use crate::container::{Settings, features, list, seccomp, state};

#[derive(Debug, Parser)]
#[command(name = "state")]
struct State {
    /// Name of the container
    id: String,
}

#[derive(Debug, Parser)]
#[command(name = "list")]
struct List {
    /// Form of the output: table or json
    #[arg(long, short, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Print names only
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Parser)]
#[command(name = "features")]
struct Features {}

/// `onggi state ID`
pub(crate) fn state(settings: &Settings, words: Words) -> Result<u8> {
    let State { id } = parse(words)?;
    output::print_json(&state::state(settings, &id)?)
}

/// `onggi list [--format table|json] [--quiet]`
pub(crate) fn list(settings: &Settings, words: Words) -> Result<u8> {
    let List { format, quiet } = parse(words)?;
    let states = list::list(settings)?;
    if quiet {
        let ids = states.iter().map(|state| format!("{}\n", state.id));
        return output::print(&ids.collect::<String>());
    }
    if format == "json" {
        return output::print(&(serde_json::to_string(&states)? + "\n"));
    }
    let row = |state: &state::State| {
        let bundle = Path::new(&state.bundle).display().to_string();
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            bundle,
            state.created.clone(),
            state.owner.clone().unwrap_or_default(),
        ]
    };
    output::print(&table(states.iter().map(row)))
}

/// `onggi features`
pub(crate) fn features(_: &Settings, words: Words) -> Result<u8> {
    let Features {} = parse(words)?;
    output::print_json(&features::features())
}

/// `onggi --version`: engines read the first line and the one of the spec.
pub(crate) fn version() -> Result<u8> {
    output::print(&format!(
        "{}\ncommit: {}\nspec: {}\nlibseccomp: {}\n",
        name::version(),
        features::COMMIT,
        features::VERSION_MAX,
        seccomp::library()
    ))
}

/// The table of `runc list`: columns of at least twelve characters, three blanks between them.
fn table(rows: impl Iterator<Item = [String; 6]>) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows.map(|row| row.map(printable))).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let width = if column == 5 { 0 } else { (widest + 3).max(12) };
            text.push_str(&format!("{cell:width$}"));
        }
        text.push('\n');
    }
    text
}

/// A path may hold line ends and what else a terminal obeys.
fn printable(cell: String) -> String {
    if cell.contains(char::is_control) { cell.escape_default().to_string() } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_has_its_head() {
        let head = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(table(std::iter::empty()), head);
    }

    #[test]
    fn columns_grow_and_stay_on_their_line() {
        let row = ["a-long-name-indeed", "12", "running", "/b\nc", "2026-01-02T03:04:05Z", "root"]
            .map(String::from);
        assert_eq!(
            table([row].into_iter()),
            "ID                   PID         STATUS      BUNDLE      CREATED                OWNER\n\
             a-long-name-indeed   12          running     /b\\nc       2026-01-02T03:04:05Z   root\n"
        );
    }

    #[test]
    fn list_takes_only_formats_that_there_are() {
        let list = |line: &str| parse::<List>(line.split_whitespace().map(Into::into).collect());
        assert_eq!(list("").unwrap().format, "table");
        assert_eq!(list("-format json -q").unwrap().format, "json");
        assert!(list("-f=json --quiet").unwrap().quiet);
        assert!(list("--format xml").is_err());
        assert!(list("name").is_err());
    }
}
