//! `ps`: a container's processes, as ps(1) shows them or as a list of numbers.

use std::ffi::OsString;

use anyhow::Result;
use clap::Parser;

use super::args::{Words, parse};
use super::output;
use crate::container::{Settings, ps};

/// What ps(1) is asked for when nothing else is said.
const EVERYTHING: &str = "-ef";

#[derive(Debug, Parser)]
#[command(name = "ps")]
struct Ps {
    /// Form of the output: table or json
    #[arg(long, short, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Name of the container, then options for ps(1) [default: -ef]
    #[arg(required = true, value_names = ["ID", "PS-OPTION"], num_args = 1.., trailing_var_arg = true)]
    words: Vec<OsString>,
}

/// `onggi ps [--format table|json] ID [PS-OPTION…]`
pub(crate) fn ps(settings: &Settings, words: Words) -> Result<u8> {
    let Ps { format, mut words } = parse(words)?;
    let id = words.remove(0).to_string_lossy().into_owned();
    if format == "json" {
        return output::print(&(serde_json::to_string(&ps::processes(settings, &id)?)? + "\n"));
    }
    if words.is_empty() {
        words.push(EVERYTHING.into());
    }
    output::print(&ps::table(settings, &id, &words)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(String, Vec<OsString>)> {
        let Ps { format, words } = parse(line.split_whitespace().map(Into::into).collect())?;
        Ok((format, words))
    }

    #[test]
    fn all_behind_the_id_is_for_ps() {
        for (line, format, words) in [
            ("web1", "table", "web1"),
            ("--format json web1", "json", "web1"),
            ("-format=json web1", "json", "web1"),
            ("-f table web1 -o pid,args", "table", "web1 -o pid,args"),
            ("web1 -f", "table", "web1 -f"),
            ("web1 -e --format pid -h", "table", "web1 -e --format pid -h"),
            ("-- web1 aux", "table", "web1 aux"),
        ] {
            let words: Vec<OsString> = words.split_whitespace().map(Into::into).collect();
            assert_eq!(read(line).unwrap(), (format.to_owned(), words), "{line}");
        }
        for line in ["", "--format xml web1", "--frobnicate web1"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
