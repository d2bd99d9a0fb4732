//! `exec`: a further process in a running container.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use super::args::{Words, parse, truth};
use super::exit;
use super::name;
use super::settings::absolute;
use crate::container::{ExecOptions, Settings, exec};
use crate::error::Error;
use crate::log;

/// The exit status of an exec that failed, as runc has it: statuses below may be the process's own.
const FAILED: u8 = 255;

#[derive(Debug, Parser)]
#[command(name = "exec")]
struct Exec {
    /// Read the process from this JSON file; options that describe one say nothing then
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// NAME=value, added to the container's environment; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    tty: bool,
    /// UID[:GID] of the process
    #[arg(long, short, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Supplementary group, added to the container's; may be repeated
    #[arg(long, short = 'g', value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Return as soon as the process runs
    #[arg(long, short)]
    detach: bool,
    /// Write the process id of the process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Set no_new_privs: true or false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = truth)]
    no_new_privs: Option<bool>,
    /// Capability, added to the container's; may be repeated
    #[arg(long, short, value_name = "CAP")]
    cap: Vec<String>,
    /// Hand N descriptors to the process, from 3 on, behind those of LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Run it in a cgroup below the container's: [CONTROLLER:]PATH; may be repeated
    #[arg(long, value_name = "CGROUP")]
    cgroup: Vec<String>,
    /// Also in a paused container: the process begins when it is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a descriptor of the process to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Name of the container
    id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl From<Exec> for ExecOptions {
    fn from(exec: Exec) -> Self {
        ExecOptions {
            process: exec.process.map(absolute),
            args: exec.command,
            cwd: exec.cwd,
            env: exec.env,
            terminal: exec.tty,
            user: exec.user,
            additional_gids: exec.additional_gids,
            process_label: exec.process_label,
            apparmor: exec.apparmor,
            no_new_privileges: exec.no_new_privs,
            capabilities: exec.cap,
            detach: exec.detach,
            ignore_paused: exec.ignore_paused,
            cgroups: exec.cgroup,
            pid_file: exec.pid_file.map(absolute),
            console_socket: exec.console_socket.map(absolute),
            pidfd_socket: exec.pidfd_socket.map(absolute),
            preserve_fds: exec.preserve_fds,
        }
    }
}

/// `onggi exec [OPTIONS] ID COMMAND…`: gives the process's exit status, or 0 with `--detach`; 255 if it never ran.
pub(crate) fn exec(settings: &Settings, words: Words) -> Result<u8> {
    let mut exec: Exec = parse(words)?;
    let id = std::mem::take(&mut exec.id);
    let done = if exec.process.is_none() && exec.command.is_empty() {
        Err(Error::new("no command given").hint(format!("see {} exec --help", name::own())))
    } else {
        exec::exec(settings, &id, &exec.into())
    };
    Ok(done.unwrap_or_else(|error| {
        log::error(&exit::text(&error.into()));
        FAILED
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> (String, ExecOptions) {
        let exec: Exec = parse(line.split_whitespace().map(Into::into).collect()).unwrap();
        (exec.id.clone(), exec.into())
    }

    #[test]
    fn what_conmon_passes() {
        let (id, options) =
            options("--pid-file /p --process /j --detach --tty --console-socket /s --preserve-fds 2 web1");
        assert_eq!((id.as_str(), options.args.len()), ("web1", 0));
        assert_eq!(options.process, Some("/j".into()));
        assert_eq!((options.pid_file, options.console_socket), (Some("/p".into()), Some("/s".into())));
        assert!(options.detach && options.terminal && options.preserve_fds == 2);
    }

    #[test]
    fn what_follows_the_id_belongs_to_the_program() {
        let (id, options) = options("-e A=1 --env B=2 -u 7:8 -g 1 -g 2 -c CAP_KILL web1 sh -c x --tty -- -d");
        assert_eq!(id, "web1");
        assert_eq!(options.args, ["sh", "-c", "x", "--tty", "--", "-d"]);
        assert_eq!(options.env, ["A=1", "B=2"]);
        assert_eq!((options.user.as_deref(), options.additional_gids), (Some("7:8"), vec![1, 2]));
        assert_eq!(options.capabilities, ["CAP_KILL"]);
        assert!(!options.terminal && !options.detach && options.no_new_privileges.is_none());
    }

    #[test]
    fn words_of_the_program_are_not_read_as_options() {
        let (_, options) = options("-cwd /x web1 find / -user 0 -cap --tty=false -version -e");
        assert_eq!(options.args, ["find", "/", "-user", "0", "-cap", "--tty=false", "-version", "-e"]);
        assert_eq!((options.cwd.as_deref(), options.user), (Some("/x"), None));
    }

    #[test]
    fn switches_with_a_value() {
        let (_, taken) = options("--tty=true -d=1 -ignore-paused=T web1 true");
        assert!(taken.terminal && taken.detach && taken.ignore_paused);
        let (_, not) = options("-t --tty=false --detach -d=0 --ignore-paused=false web1 true");
        assert!(!not.terminal && !not.detach && !not.ignore_paused);
    }

    #[test]
    fn an_option_behind_the_id_is_the_programs() {
        for (line, args) in [
            ("x --tty -d", &["--tty", "-d"][..]),
            ("x -- sh -t", &["sh", "-t"]),
            ("x sh -- a", &["sh", "--", "a"]),
        ] {
            let (id, options) = options(line);
            assert_eq!((id.as_str(), options.terminal, options.detach), ("x", false, false), "{line}");
            assert_eq!(options.args, args, "{line}");
        }
    }

    #[test]
    fn no_new_privs_in_both_of_gos_spellings() {
        assert_eq!(options("--no-new-privs x true").1.no_new_privileges, Some(true));
        assert_eq!(options("--no-new-privs=false x true").1.no_new_privileges, Some(false));
        assert_eq!(options("-no-new-privs -no-new-privs=0 x true").1.no_new_privileges, Some(false));
    }
}
