//! How the program ends: exit status 0, the status of the container, or 1 for every error, usage errors included
//! (clap's own would be 2). The error is printed here, once, and nowhere else.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::output;
use crate::log;

/// Prints the error and gives the exit status; a request for help comes as an error of clap and is none.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let Some(help) = help(error) else {
        log::error(&text(error));
        return ExitCode::FAILURE;
    };
    match output::print(&help) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            log::error(&text(&error));
            ExitCode::FAILURE
        }
    }
}

/// The help that was asked for, if it was.
pub(crate) fn help(error: &anyhow::Error) -> Option<String> {
    let error = error.downcast_ref::<clap::Error>()?;
    (error.kind() == ErrorKind::DisplayHelp).then(|| error.to_string())
}

/// The error as one line without the word `error`, for standard error and for the log, where engines read it.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let Some(usage) = error.downcast_ref::<clap::Error>() else {
        return format!("{error:#}");
    };
    let whole = usage.to_string();
    let words = whole.split("\n\n").next().unwrap_or_default();
    let words =
        words.strip_prefix("error: ").unwrap_or(words).split_whitespace().collect::<Vec<_>>().join(" ");
    match usage.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => {
            format!("{words} (hint: see {} --help)", program(&usage.to_string()))
        }
        _ => words,
    }
}

/// `onggi start` out of `Usage: onggi start <ID>`
fn program(usage: &str) -> String {
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect::<Vec<_>>().join(" ")
}
