//! What people and engines type: the arguments that runc takes, one file for each family of commands, exit codes. It
//! turns words into [`Settings`] and options, calls `container`, and prints; it decides nothing about containers and
//! never touches plan, init or cgroup.

mod args;
mod control;
mod create;
mod duration;
mod events;
mod exec;
mod exit;
mod name;
mod output;
mod ps;
mod settings;
mod show;
mod signal;
mod spec_command;
mod update;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::container::create::mark_inherited;
use crate::container::{Settings, seal};
use crate::error::Error;
use crate::log;
use args::{Globals, Words};

/// A command: its name, its line in `--help`, and what it does with the words after its name; gives the exit status.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Settings, Words) -> Result<u8>,
}

/// Every command once; parser and help read this table.
const COMMANDS: &[Command] = &[
    Command { name: "create", about: "Create a container", run: create::create },
    Command { name: "start", about: "Run the program of a created container", run: control::start },
    Command { name: "run", about: "Create a container and start it", run: create::run },
    Command { name: "exec", about: "Run a further program in a container", run: exec::exec },
    Command { name: "state", about: "Print the state of a container as JSON", run: show::state },
    Command { name: "kill", about: "Send a signal to a container", run: control::kill },
    Command { name: "pause", about: "Stop all processes of a container where they are", run: control::pause },
    Command { name: "resume", about: "Let a paused container run on", run: control::resume },
    Command { name: "update", about: "Change the limits of a container", run: update::update },
    Command { name: "ps", about: "List the processes of a container", run: ps::ps },
    Command { name: "delete", about: "Delete a stopped container", run: control::delete },
    Command { name: "list", about: "List the containers below --root", run: show::list },
    Command {
        name: "events",
        about: "Print what a container uses, and when it is out of memory",
        run: events::events,
    },
    Command { name: "spec", about: "Write a config.json to start from", run: spec_command::spec },
    Command { name: "plan", about: "Print what create would do, and do nothing", run: create::plan },
    Command { name: "features", about: "Print what this runtime can do, as JSON", run: show::features },
    Command { name: "help", about: "Print this help or that of a command", run: help },
];

/// Commands that put a process into a container, from where the runtime's binary must not be writable.
const SEALED: [&str; 3] = ["create", "run", "exec"];

/// Commands of runc that other issues build; the answer has to be an error, also to `checkpoint --help`, by which
/// podman asks whether checkpoints work.
const NOT_BUILT: &[&str] = &["checkpoint", "restore"];

/// The program: words in, exit status out.
pub(crate) fn main() -> ExitCode {
    match begin(std::env::args_os().skip(1).collect()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => exit::report(&error),
    }
}

fn begin(words: Words) -> Result<u8> {
    // Before anything is read or opened, since it starts the program over. A container that is called like a command
    // costs one start more.
    let sealed = words.iter().any(|word| SEALED.iter().any(|command| word == command));
    let own = if sealed { seal::seal()? } else { None };
    let inherited = mark_inherited(own)?;
    let globals: Globals =
        args::parse_with(words, |command| command.bin_name(name::own()).after_help(overview()))?;
    log::open(globals.log.as_deref(), globals.log_format, globals.level())?;
    if globals.criu.is_some() {
        log::warn("--criu: not used, checkpoints are not built yet");
    }
    if globals.version {
        return show::version();
    }
    let Some(args::Rest::Command(mut words)) = globals.command.clone() else {
        return Err(Error::new("no command given").hint(see_help()).into());
    };
    let name = words.remove(0);
    let command = find(&name)?;
    let settings = Settings { inherited, ..settings::from(globals) };
    log::debug(&format!("{} {words:?} with {settings:?}", command.name));
    (command.run)(&settings, words)
}

fn find(name: &OsString) -> Result<&'static Command> {
    if let Some(command) = COMMANDS.iter().find(|command| name == command.name) {
        return Ok(command);
    }
    let shown = name.to_string_lossy();
    if NOT_BUILT.contains(&&*shown) {
        return Err(Error::new(format!("{shown} is not built yet")).into());
    }
    Err(Error::new(format!("unknown command {shown:?}")).hint(see_help()).into())
}

fn see_help() -> String {
    format!("see {} --help", name::own())
}

/// The list of commands below the global options.
fn overview() -> String {
    let rows = COMMANDS.iter().map(|command| format!("\n  {:<9} {}", command.name, command.about));
    format!(
        "Commands:{}\n\n{} COMMAND --help tells a command's own options.",
        rows.collect::<String>(),
        name::own()
    )
}

/// `onggi help [COMMAND]`
fn help(settings: &Settings, mut words: Words) -> Result<u8> {
    if words.is_empty() {
        return begin(vec!["--help".into()]);
    }
    let command = find(&words.remove(0))?;
    (command.run)(settings, vec!["--help".into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[&str]) -> String {
        exit::text(&begin(words.iter().map(OsString::from).collect()).unwrap_err())
    }

    #[test]
    fn commands_of_later_issues_say_so_also_to_help() {
        for name in NOT_BUILT {
            assert_eq!(text(&[name, "--help"]), format!("{name} is not built yet"));
        }
    }

    #[test]
    fn a_mistake_is_one_line_with_a_hint() {
        assert_eq!(text(&[]), "no command given (hint: see onggi --help)");
        assert_eq!(text(&["frobnicate"]), "unknown command \"frobnicate\" (hint: see onggi --help)");
        assert_eq!(
            text(&["--frobnicate"]),
            "unexpected argument '--frobnicate' found (hint: see onggi --help)"
        );
        assert_eq!(
            text(&["start"]),
            "the following required arguments were not provided: <ID> (hint: see onggi start --help)"
        );
        assert_eq!(
            text(&["start", "a", "b"]),
            "unexpected argument 'b' found (hint: see onggi start --help)"
        );
    }

    #[test]
    fn every_command_has_a_help_of_its_own() {
        let settings = settings::from(args::parse_with(Vec::new(), |command| command).unwrap());
        for command in COMMANDS.iter().filter(|command| command.name != "help") {
            let error = (command.run)(&settings, vec!["--help".into()]).unwrap_err();
            let help = exit::help(&error).expect("--help is not an error");
            assert!(help.contains(&format!("Usage: onggi {}", command.name)), "{help}");
        }
        assert!(overview().contains("features"));
    }
}
