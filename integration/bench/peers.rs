//! Who is measured and compared: onggi, crun, runc, youki; how each is obtained, and why not if it could not be.
//!
//! Nothing of the host is touched but for Debian packages that the builds need: the peers live below
//! `target/bench`, crun and runc in a Debian sid root of their own.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The version of youki that is compared.
const YOUKI: &str = "0.7.0";
/// Where Rust puts what is built for this target.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What is in the Debian sid root: the two, and what tests call.
const PACKAGES: &str =
    "bash,busybox-static,coreutils,crun,dash,grep,iproute2,procps,runc,sed,util-linux,util-linux-extra";
/// How long mmdebstrap and cargo install may take, in seconds.
const BUILD_LIMIT: &str = "3000";

/// What is measured of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A container runtime, by runc's command line.
    Runtime,
    /// The system calls that no runtime can do without; our own programs.
    Floor,
    /// The bundle's process without any container: what every run pays for it.
    Bare,
}

/// One measured program.
pub(crate) struct Peer {
    /// As the table names it.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) kind: Kind,
    /// Path of the program in the arena; of the floor each scenario has its own.
    pub(crate) program: String,
    /// What it says of itself.
    pub(crate) version: String,
    /// Why it cannot be measured; none while it can.
    pub(crate) problem: Option<String>,
}

impl Peer {
    /// A program of our own, that stands beside the runtimes.
    pub(crate) fn own(name: &'static str, kind: Kind, program: &str) -> Self {
        Peer::new(name, kind, program, Ok(()))
    }

    fn new(name: &'static str, kind: Kind, program: &str, obtained: Result<()>) -> Self {
        let problem = obtained.err().map(|error| format!("{error:#}"));
        Peer { name, kind, program: program.to_owned(), version: "–".into(), problem }
    }

    /// A runtime's command line, in the arena: its own state root, the command, and the command's words.
    pub(crate) fn command(&self, command: &str, words: &[&str]) -> Vec<String> {
        let state = format!("/run/bench-{}", self.name);
        let all = [&[self.program.as_str(), "--root", &state, command], words].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// Fills in the version; a runtime that cannot even say it cannot be measured.
    pub(crate) fn ask_version(&mut self) {
        if self.problem.is_some() || self.kind != Kind::Runtime {
            return;
        }
        match output(Command::new(&self.program).arg("--version")) {
            Ok(text) => {
                let first = text.lines().next().unwrap_or_default();
                self.version = first.rsplit(' ').next().unwrap_or_default().to_owned();
            }
            Err(error) => self.problem = Some(format!("{error:#}")),
        }
    }
}

/// The Debian sid root with crun and runc, in which everybody is measured; made once, in some seconds.
pub(crate) fn root(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("sid");
    if std::fs::read_to_string(root.join("made")).is_ok_and(|made| made == PACKAGES) {
        return Ok(root);
    }
    install("/usr/bin/mmdebstrap", "mmdebstrap")?;
    if root.exists() {
        std::fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
    }
    eprintln!("bench: fetching crun and runc of Debian sid into {}", root.display());
    let mut fetch = Command::new("timeout");
    fetch.args([
        BUILD_LIMIT,
        "mmdebstrap",
        "--variant=extract",
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
    ]);
    output(fetch.arg(format!("--include={PACKAGES}")).arg("sid").arg(&root))?;
    for name in ["bin", "sbin", "lib", "lib64"] {
        if !root.join(name).exists() {
            symlink(format!("usr/{name}"), root.join(name)).context(name)?;
        }
    }
    for name in ["proc", "sys", "dev", "run", "tmp"] {
        std::fs::create_dir_all(root.join(name)).context(name)?;
    }
    std::fs::write(root.join("made"), PACKAGES).context("made")?;
    Ok(root)
}

/// The runtimes in the order of the table; what could not be obtained says why.
pub(crate) fn gather(folder: &Path, root: &Path) -> Vec<Peer> {
    let present = |program: &str| match root.join(program.trim_start_matches('/')).exists() {
        true => Ok(()),
        false => bail!("{program}: not in the Debian sid root"),
    };
    vec![
        Peer::new("onggi", Kind::Runtime, "/usr/bin/onggi", onggi(root)),
        Peer::new("crun", Kind::Runtime, "/usr/bin/crun", present("/usr/bin/crun")),
        Peer::new("runc", Kind::Runtime, "/usr/sbin/runc", present("/usr/sbin/runc")),
        Peer::new("youki", Kind::Runtime, "/usr/bin/youki", youki(folder, root)),
    ]
}

/// Copies the onggi to be measured: `ONGGI_BIN`, or the newest release build.
fn onggi(root: &Path) -> Result<()> {
    let target = root.join("usr/bin/onggi");
    let source = match std::env::var_os("ONGGI_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let package = Path::new(env!("CARGO_MANIFEST_DIR"));
            let static_build = package.join("target").join(TARGET).join("release/onggi");
            let plain = package.join("target/release/onggi");
            if static_build.exists() { static_build } else { plain }
        }
    };
    if !source.exists() {
        bail!("{}: not built; `make static` builds it", source.display());
    }
    put(&source, &target)
}

/// Copies a program to its place; one that still runs there from before cannot be written to, but replaced.
pub(crate) fn put(source: &Path, target: &Path) -> Result<()> {
    let _ = std::fs::remove_file(target);
    std::fs::copy(source, target).map(drop).with_context(|| source.display().to_string())
}

/// Builds youki once, static, so that it runs in the sid root without the host's libraries.
fn youki(folder: &Path, root: &Path) -> Result<()> {
    let home = folder.join("youki");
    let binary = home.join("bin/youki");
    if !binary.exists() {
        install("/usr/include/seccomp.h", "libseccomp-dev")?;
        eprintln!("bench: building youki {YOUKI}, once; this takes minutes");
        let mut build = Command::new("timeout");
        build.args([
            BUILD_LIMIT,
            "cargo",
            "install",
            "youki",
            "--version",
            YOUKI,
            "--features",
            "v1,v2,systemd",
        ]);
        build.args(["--target", TARGET, "--root"]).arg(&home);
        build.env("CARGO_TARGET_DIR", folder.join("youki-build"));
        build.env("RUSTFLAGS", "-C target-feature=+crt-static");
        build.env("LIBSECCOMP_LINK_TYPE", "static").env("LIBSECCOMP_LIB_PATH", "/usr/lib/x86_64-linux-gnu");
        output(&mut build)?;
        let leftover = folder.join("youki-build");
        std::fs::remove_dir_all(&leftover).with_context(|| leftover.display().to_string())?;
    }
    put(&binary, &root.join("usr/bin/youki"))
}

/// Installs the Debian package when the file that it brings is missing.
pub(crate) fn install(file: &str, package: &str) -> Result<()> {
    if Path::new(file).exists() {
        return Ok(());
    }
    eprintln!("bench: installing {package}");
    let mut words = vec!["600", "apt-get", "install", "-y", "--no-install-recommends", package];
    if output(Command::new("timeout").args(&words)).is_ok() {
        return Ok(());
    }
    // A fresh machine has no package lists yet.
    output(Command::new("timeout").args(["600", "apt-get", "update"]))?;
    words[0] = "900";
    output(Command::new("timeout").args(&words)).map(drop)
}

/// Runs the command to its end; its standard output, or the last line of what it said against it.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let shown = format!("{name} {}", words.join(" "));
    let output = command.env("DEBIAN_FRONTEND", "noninteractive").output().with_context(|| shown.clone())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        bail!("{shown}: {}: {last}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
