//! `start`, `pause`, `resume`, `kill` and `delete`: the commands that change a container that is there.

use anyhow::Result;
use clap::Parser;

use super::args::{Words, parse};
use super::signal::Signal;
use crate::container::{Settings, delete, kill, pause, start};

#[derive(Debug, Parser)]
#[command(name = "start")]
struct Start {
    /// Name of the container
    id: String,
}

#[derive(Debug, Parser)]
#[command(name = "pause")]
struct Pause {
    /// Name of the container
    id: String,
}

#[derive(Debug, Parser)]
#[command(name = "resume")]
struct Resume {
    /// Name of the container
    id: String,
}

#[derive(Debug, Parser)]
#[command(name = "kill")]
struct Kill {
    /// Signal every process of the container
    #[arg(long, short)]
    all: bool,
    /// Name of the container
    id: String,
    /// Name with or without SIG, number, or RTMIN+n
    #[arg(default_value = "SIGTERM")]
    signal: Signal,
}

#[derive(Debug, Parser)]
#[command(name = "delete")]
struct Delete {
    /// Kill the container first if it is not stopped; one that does not exist is no error
    #[arg(long, short)]
    force: bool,
    /// Name of the container
    id: String,
}

/// `onggi start ID`
pub(crate) fn start(settings: &Settings, words: Words) -> Result<u8> {
    let Start { id } = parse(words)?;
    start::start(settings, &id)?;
    Ok(0)
}

/// `onggi pause ID`
pub(crate) fn pause(settings: &Settings, words: Words) -> Result<u8> {
    let Pause { id } = parse(words)?;
    pause::pause(settings, &id)?;
    Ok(0)
}

/// `onggi resume ID`
pub(crate) fn resume(settings: &Settings, words: Words) -> Result<u8> {
    let Resume { id } = parse(words)?;
    pause::resume(settings, &id)?;
    Ok(0)
}

/// `onggi kill [--all] ID [SIGNAL]`
pub(crate) fn kill(settings: &Settings, words: Words) -> Result<u8> {
    let Kill { all, id, signal } = parse(words)?;
    kill::kill(settings, &id, signal.0, all)?;
    Ok(0)
}

/// `onggi delete [--force] ID`
pub(crate) fn delete(settings: &Settings, words: Words) -> Result<u8> {
    let Delete { force, id } = parse(words)?;
    delete::delete(settings, &id, force)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(line: &str) -> (bool, String, i32) {
        let Kill { all, id, signal } = parse(line.split_whitespace().map(Into::into).collect()).unwrap();
        (all, id, signal.0)
    }

    #[test]
    fn kill_takes_its_flag_anywhere_and_terminates_by_default() {
        assert_eq!(kill("x"), (false, "x".into(), 15));
        assert_eq!(kill("x 9"), (false, "x".into(), 9));
        for line in ["--all x KILL", "x --all KILL", "x KILL --all", "-a x SIGKILL", "x kill -a", "-all x 9"]
        {
            assert_eq!(kill(line), (true, "x".into(), 9), "{line}");
        }
    }

    #[test]
    fn delete_takes_its_flag_anywhere() {
        for line in ["--force x", "x --force", "-f x", "x -f"] {
            let delete: Delete = parse(line.split_whitespace().map(Into::into).collect()).unwrap();
            assert!(delete.force && delete.id == "x");
        }
    }
}
