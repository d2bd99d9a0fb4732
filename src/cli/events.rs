//! `events`: what a container uses and when it is out of memory, as lines of JSON, each written whole.

use std::io::Write as _;
use std::os::fd::AsFd as _;

use anyhow::Result;
use clap::Parser;

use super::args::{Words, parse};
use super::duration::Interval;
use super::output;
use crate::container::{Settings, events};

#[derive(Debug, Parser)]
#[command(name = "events")]
struct Events {
    /// Print the figures once and end
    #[arg(long)]
    stats: bool,
    /// Time between two lines of figures, as 5s, 1m30s or 500ms
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    interval: Interval,
    /// Name of the container
    id: String,
}

/// `onggi events [--stats] [--interval TIME] ID`
pub(crate) fn events(settings: &Settings, words: Words) -> Result<u8> {
    let Events { stats, interval, id } = parse(words)?;
    if stats {
        return output::print(&events::stats(settings, &id)?);
    }
    let mut out = std::io::stdout().lock();
    let reader = std::io::stdout();
    events::follow(settings, &id, interval.0, reader.as_fd(), |line| {
        out.write_all(line.as_bytes()).and_then(|()| out.flush())
    })?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn events(line: &str) -> Result<Events> {
        parse(line.split_whitespace().map(Into::into).collect())
    }

    #[test]
    fn options_stand_anywhere() {
        let Events { stats, interval, id } = events("x").unwrap();
        assert_eq!((stats, interval, id.as_str()), (false, Interval(Duration::from_secs(5)), "x"));
        for line in [
            "--stats --interval 100ms x",
            "x -interval=100ms -stats",
            "--interval 1s --interval 100ms --stats x",
        ] {
            let Events { stats, interval, id } = events(line).unwrap();
            assert_eq!((stats, interval.0.as_millis(), id.as_str()), (true, 100, "x"), "{line}");
        }
    }

    #[test]
    fn no_time_is_no_interval() {
        for (line, reason) in [
            ("--interval 0s x", "duration interval must be greater than 0"),
            ("--interval -1s x", "duration interval must be greater than 0"),
            ("--interval 5 x", "not a time like 5s"),
        ] {
            let error = events(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(events("--stats").is_err());
    }
}
