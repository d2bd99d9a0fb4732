//! Standard output. It may be a full disk or a closed pipe: that is an error like any other.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Writes a text; gives the exit status of a command that has done its work.
pub(crate) fn print(text: &str) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")?;
    Ok(0)
}

/// Writes a value as indented JSON and ends the line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<u8> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}
