//! `create`, `run` and `plan`: the commands that read a bundle.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser};

use super::args::{Words, parse};
use super::output;
use super::settings::absolute;
use crate::container::{CreateOptions, RunOptions, Settings, create, run};

/// What `create`, `run` and `plan` share: everything that decides about the plan.
#[derive(Debug, Args)]
struct Bundle {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Configuration to read instead of config.json in the bundle
    #[arg(long, short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Move the root file system to / instead of pivot_root(2): for a root on a ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    no_new_keyring: bool,
    /// Hand N descriptors to the container, from 3 on, behind those of LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

/// What `create` and `run` share besides.
#[derive(Debug, Args)]
struct Creation {
    #[command(flatten)]
    bundle: Bundle,
    /// Write the process id of the container to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a descriptor of the container's process to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(name = "create")]
struct Create {
    #[command(flatten)]
    creation: Creation,
    /// Name of the container
    id: String,
}

#[derive(Debug, Parser)]
#[command(name = "run")]
struct Run {
    #[command(flatten)]
    creation: Creation,
    /// Return as soon as the container runs
    #[arg(long, short)]
    detach: bool,
    /// Do not delete the container when it has exited
    #[arg(long)]
    keep: bool,
    /// Do not become the parent of the container's orphans
    #[arg(long)]
    no_subreaper: bool,
    /// Name of the container
    id: String,
}

#[derive(Debug, Parser)]
#[command(name = "plan")]
struct Plan {
    #[command(flatten)]
    bundle: Bundle,
}

impl From<Bundle> for CreateOptions {
    fn from(bundle: Bundle) -> Self {
        CreateOptions {
            bundle: absolute(bundle.bundle),
            config: bundle.config.map(absolute),
            no_pivot: bundle.no_pivot,
            no_new_keyring: bundle.no_new_keyring,
            preserve_fds: bundle.preserve_fds,
            ..CreateOptions::default()
        }
    }
}

impl From<Creation> for CreateOptions {
    fn from(creation: Creation) -> Self {
        CreateOptions {
            pid_file: creation.pid_file.map(absolute),
            console_socket: creation.console_socket.map(absolute),
            pidfd_socket: creation.pidfd_socket.map(absolute),
            ..creation.bundle.into()
        }
    }
}

/// `onggi create [OPTIONS] ID`
pub(crate) fn create(settings: &Settings, words: Words) -> Result<u8> {
    let Create { creation, id } = parse(words)?;
    create::create(settings, &id, &creation.into())?;
    Ok(0)
}

/// `onggi run [OPTIONS] ID`: gives the container's exit status, or 0 with `--detach`.
pub(crate) fn run(settings: &Settings, words: Words) -> Result<u8> {
    let Run { creation, detach, keep, no_subreaper, id } = parse(words)?;
    Ok(run::run(settings, &id, &creation.into(), RunOptions { detach, keep, no_subreaper })?)
}

/// `onggi plan [OPTIONS]`
pub(crate) fn plan(settings: &Settings, words: Words) -> Result<u8> {
    let Plan { bundle } = parse(words)?;
    let text = create::plan(settings, &bundle.into())?.to_string();
    output::print(&format!("{}\n", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        text.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn what_containerd_passes_to_create() {
        let line = "--bundle /b --pid-file /b/init.pid --console-socket /s --pidfd-socket /p --no-pivot \
                    --no-new-keyring --preserve-fds 2 web1";
        let Create { creation, id } = parse(words(line)).unwrap();
        let options = CreateOptions::from(creation);
        assert_eq!(id, "web1");
        assert_eq!(options.bundle, PathBuf::from("/b"));
        assert_eq!(options.config, None);
        assert_eq!(options.pid_file, Some("/b/init.pid".into()));
        assert_eq!(options.console_socket, Some("/s".into()));
        assert_eq!(options.pidfd_socket, Some("/p".into()));
        assert!(options.no_pivot && options.no_new_keyring);
        assert_eq!(options.preserve_fds, 2);
    }

    #[test]
    fn defaults_are_the_working_directory_and_nothing_else() {
        let Create { creation, .. } = parse(words("x")).unwrap();
        let options = CreateOptions::from(creation);
        assert_eq!(options.bundle, std::env::current_dir().unwrap());
        assert!(
            options.pid_file.is_none() && options.console_socket.is_none() && options.pidfd_socket.is_none()
        );
        assert!(!options.no_pivot && !options.no_new_keyring && options.preserve_fds == 0);
    }

    #[test]
    fn run_takes_its_flags_before_and_after_the_id() {
        for line in [
            "-d --keep --no-subreaper -b /b -f /c x",
            "x --detach --keep -no-subreaper -bundle /b -config /c",
        ] {
            let run: Run = parse(words(line)).unwrap();
            assert!(run.detach && run.keep && run.no_subreaper);
            let options = CreateOptions::from(run.creation);
            assert_eq!((options.bundle, options.config), ("/b".into(), Some("/c".into())));
        }
    }

    #[test]
    fn numbers_are_strict() {
        for value in ["-1", "+", "4294967296", "3x", ""] {
            let line = vec!["x".into(), format!("--preserve-fds={value}").into()];
            assert!(parse::<Create>(line).is_err(), "{value:?}");
        }
    }
}
