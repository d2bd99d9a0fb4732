//! Words become options. The global options are read first, and only the command that is asked for is then built:
//! parsing is part of every container's start. Options are runc's, in every spelling that Go's flag package takes:
//! `--bundle B`, `--bundle=B`, `-bundle B`, for switches `--detach=true`; the last one wins.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, ArgAction, Parser, Subcommand};

use crate::container::CgroupManager;
use crate::log::{Format, Level};

/// The words after the name of a program or command.
pub(crate) type Words = Vec<OsString>;

/// Runs containers as the OCI runtime-spec says.
#[derive(Debug, Parser)]
#[command(name = "onggi", disable_help_subcommand = true, allow_external_subcommands = true)]
pub(crate) struct Globals {
    /// Where the states of containers live [default: /run/onggi, rootless $XDG_RUNTIME_DIR/onggi; called as runc: …/runc]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Also append errors and warnings to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Form of the log file: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
    /// What is logged: error, warning, info or debug [default: warning]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<Level>,
    /// The same as --log-level debug
    #[arg(long)]
    pub(crate) debug: bool,
    /// The same as --cgroup-manager systemd
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Whether refusals of control groups are ignored: true, false or auto
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = rootless)]
    pub(crate) rootless: Rootless,
    /// Who makes control groups: cgroupfs, systemd or disabled [default: cgroupfs]
    #[arg(long, value_name = "MANAGER", value_parser = cgroup_manager)]
    pub(crate) cgroup_manager: Option<CgroupManager>,
    /// Of runc: where criu is; not used
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) criu: Option<PathBuf>,
    /// Print versions
    #[arg(long, short = 'v')]
    pub(crate) version: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Rest>,
}

/// What stands behind the global options: a command's name and its words.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Rest {
    /// Not looked into here.
    #[command(external_subcommand)]
    Command(Vec<OsString>),
}

/// The value of `--rootless`: none is `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rootless(pub(crate) Option<bool>);

/// Reads one command's words. Its one line of help is in the table of commands.
pub(crate) fn parse<T: Parser>(words: Words) -> Result<T> {
    parse_with(words, |command| {
        let about = super::COMMANDS.iter().find(|row| row.name == command.get_name());
        let name = format!("{} {}", super::name::own(), command.get_name());
        command.about(about.map(|row| row.about).unwrap_or_default()).bin_name(name)
    })
}

/// Reads words with a parser that `finish` has completed.
pub(crate) fn parse_with<T: Parser>(
    words: Words,
    finish: impl FnOnce(clap::Command) -> clap::Command,
) -> Result<T> {
    let mut command = finish(T::command()).no_binary_name(true).args_override_self(true);
    let words = in_one_spelling(&command, words);
    let mut matches = command.try_get_matches_from_mut(words)?;
    Ok(T::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?)
}

/// Options in the one spelling that clap takes for all of Go's: `-bundle B` and `--b B` are `--bundle=B` (clap would read
/// `-b undle`, and no value that begins with a dash), `--tty=true` is `--tty`, and `--tty=false` takes back what stood
/// before. What follows the first word that is no option, where that belongs to somebody else (a command with its own
/// options, the program of exec), is left as it is; `--` tells clap where a program begins.
fn in_one_spelling(command: &clap::Command, words: Words) -> Words {
    let trails = command.get_arguments().any(Arg::is_trailing_var_arg_set);
    let stops = trails || command.is_allow_external_subcommands_set();
    let program = trails && command.get_positionals().count() > 1;
    let mut done = Words::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some((arg, value)) = word.to_str().and_then(|word| option(command, word)) else {
            let names = stops && !word.as_encoded_bytes().starts_with(b"-");
            let ends = names || word == "--";
            done.push(word);
            if ends {
                done.extend((names && program).then(|| "--".into()));
                done.extend(words.next().filter(|word| !(names && program) || word != "--"));
                break;
            }
            continue;
        };
        let mut spelled = OsString::from(format!("--{}", arg.get_long().unwrap_or_default()));
        match (arg.get_action(), value) {
            (ArgAction::SetTrue, Some(value)) => match truth(value) {
                Ok(true) => done.push(spelled),
                Ok(false) => done.retain(|word| *word != spelled),
                Err(_) => done.push(word),
            },
            (ArgAction::SetTrue, None) => done.push(spelled),
            (_, None) if arg.is_require_equals_set() => done.push(spelled),
            (_, value) => {
                if let Some(value) = value.map(OsString::from).or_else(|| words.next()) {
                    spelled.push("=");
                    spelled.push(value);
                }
                done.push(spelled);
            }
        }
    }
    done.extend(words);
    done
}

/// The option that a word names, by either of its names behind one dash or two, and the value behind its `=`.
fn option<'a, 'w>(command: &'a clap::Command, word: &'w str) -> Option<(&'a Arg, Option<&'w str>)> {
    let rest = word.strip_prefix("--").or(word.strip_prefix('-'))?;
    let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
    let named = |arg: &&Arg| {
        let short = arg.get_short().is_some_and(|short| name.chars().eq([short]));
        arg.get_long().is_some_and(|long| long == name || short)
    };
    Some((command.get_arguments().find(named)?, value))
}

/// What Go's strconv.ParseBool takes.
pub(crate) fn truth(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("not true or false".to_owned()),
    }
}

fn rootless(text: &str) -> std::result::Result<Rootless, String> {
    match text {
        "auto" => Ok(Rootless(None)),
        "true" => Ok(Rootless(Some(true))),
        "false" => Ok(Rootless(Some(false))),
        _ => Err("not one of true, false, auto".to_owned()),
    }
}

fn cgroup_manager(text: &str) -> std::result::Result<CgroupManager, String> {
    match text {
        "cgroupfs" => Ok(CgroupManager::Cgroupfs),
        "systemd" => Ok(CgroupManager::Systemd),
        "disabled" => Ok(CgroupManager::Disabled),
        _ => Err("not one of cgroupfs, systemd, disabled".to_owned()),
    }
}

impl Globals {
    /// The level of `--debug` and `--log-level`; warnings and errors if neither is given.
    pub(crate) fn level(&self) -> Level {
        let debug = self.debug.then_some(Level::Debug);
        debug.or(self.log_level).unwrap_or(Level::Warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn words(text: &str) -> Words {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn globals(text: &str) -> Globals {
        parse_with(words(text), |command| command).unwrap()
    }

    #[test]
    fn globals_stand_before_the_command_and_its_words_are_its_own() {
        let globals =
            globals("--root /r --log l --log-format json --systemd-cgroup create --bundle b -x id --root");
        assert_eq!(globals.root, Some("/r".into()));
        assert_eq!(globals.log, Some("l".into()));
        assert_eq!(globals.log_format, Format::Json);
        assert!(globals.systemd_cgroup && !globals.version && !globals.debug);
        let Some(Rest::Command(rest)) = globals.command else { panic!("no command") };
        assert_eq!(rest, words("create --bundle b -x id --root"));
    }

    #[test]
    fn defaults() {
        let globals = globals("list");
        assert_eq!((globals.root.clone(), globals.log.clone(), globals.cgroup_manager), (None, None, None));
        assert_eq!((globals.log_format, globals.level()), (Format::Text, Level::Warning));
        assert_eq!(globals.rootless, Rootless(None));
    }

    #[test]
    fn levels() {
        assert_eq!(globals("--debug x").level(), Level::Debug);
        assert_eq!(globals("--log-level error x").level(), Level::Error);
        assert_eq!(globals("--log-level debug x").level(), Level::Debug);
    }

    #[test]
    fn every_spelling_of_go_and_the_last_one_wins() {
        assert_eq!(globals("-root=/a --root /b -root /c x").root, Some("/c".into()));
        assert!(globals("-version").version && globals("-v").version);
        assert!(globals("--debug --debug x").debug);
        assert!(globals("--v").version);
    }

    #[test]
    fn switches_take_gos_words_for_true_and_false() {
        for yes in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(globals(&format!("--debug=false -debug={yes} x")).debug, "{yes}");
        }
        for no in ["0", "f", "F", "false", "FALSE", "False"] {
            assert!(!globals(&format!("--debug --systemd-cgroup -debug={no} x")).debug, "{no}");
        }
        for wrong in ["--debug=no x", "--debug= x", "-v=maybe x"] {
            assert!(parse_with::<Globals>(words(wrong), |command| command).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_may_begin_with_a_dash() {
        assert_eq!(globals("--root -v --log --debug x").log, Some("--debug".into()));
        assert!(parse_with::<Globals>(words("--root"), |command| command).is_err());
    }

    #[test]
    fn words_of_a_command_are_left_as_they_are() {
        let line = "exec -tty=false id java -version -debug --root=x -log";
        let Some(Rest::Command(rest)) = globals(&format!("-debug {line}")).command else { panic!() };
        assert_eq!(rest, words(line));
    }

    #[test]
    fn values_are_checked() {
        for text in
            ["--rootless maybe x", "--cgroup-manager none x", "--log-format xml x", "--log-level loud x"]
        {
            assert!(parse_with::<Globals>(words(text), |command| command).is_err(), "{text}");
        }
        assert_eq!(globals("--rootless=true x").rootless, Rootless(Some(true)));
        assert_eq!(globals("--cgroup-manager disabled x").cgroup_manager, Some(CgroupManager::Disabled));
    }
}
