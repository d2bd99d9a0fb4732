//! Every option that `runc COMMAND --help` lists, in 1.1.5 and 1.3.6, in every spelling that Go's flags have.

use crate::harness::{Layout, Need, Sandbox};

cases! {
    every_option_of_runc_is_taken_in_every_spelling: Need::Only(Layout::V2);
    switches_take_a_value: Need::Only(Layout::V2);
    what_follows_an_option_is_its_value: Need::Only(Layout::V2);
    checkpoint_and_restore_are_refused_and_say_so: Need::Only(Layout::V2);
    an_option_that_does_not_exist_is_refused: Need::Only(Layout::V2);
}

/// An option: its long name, its short one if there is one, and a value if it takes one.
type Option_ = (&'static str, &'static str, &'static str);

const GLOBAL: &[Option_] = &[
    ("debug", "", ""),
    ("log", "", "LOG"),
    ("log-format", "", "json"),
    ("root", "", "ROOT"),
    ("criu", "", "/usr/sbin/criu"),
    ("systemd-cgroup", "", ""),
    ("rootless", "", "auto"),
];

const CREATE: &[Option_] = &[
    ("bundle", "b", "/nope"),
    ("console-socket", "", "/nope/s"),
    ("pidfd-socket", "", "/nope/p"),
    ("pid-file", "", "/nope/pid"),
    ("no-pivot", "", ""),
    ("no-new-keyring", "", ""),
    ("preserve-fds", "", "0"),
];

const RUN: &[Option_] = &[("detach", "d", ""), ("keep", "", ""), ("no-subreaper", "", "")];

const EXEC: &[Option_] = &[
    ("console-socket", "", "/nope/s"),
    ("pidfd-socket", "", "/nope/p"),
    ("cwd", "", "/"),
    ("env", "e", "A=b"),
    ("tty", "t", ""),
    ("user", "u", "1:2"),
    ("additional-gids", "g", "3"),
    ("process", "p", "/nope/json"),
    ("detach", "d", ""),
    ("pid-file", "", "/nope/pid"),
    ("process-label", "", "a:b:c:d"),
    ("apparmor", "", "unconfined"),
    ("no-new-privs", "", ""),
    ("cap", "c", "CAP_KILL"),
    ("preserve-fds", "", "0"),
    ("cgroup", "", "/"),
    ("ignore-paused", "", ""),
];

const UPDATE: &[Option_] = &[
    ("blkio-weight", "", "500"),
    ("cpu-period", "", "100000"),
    ("cpu-quota", "", "50000"),
    ("cpu-burst", "", "0"),
    ("cpu-share", "", "512"),
    ("cpu-rt-period", "", "1000000"),
    ("cpu-rt-runtime", "", "0"),
    ("cpuset-cpus", "", "0"),
    ("cpuset-mems", "", "0"),
    ("memory", "", "64M"),
    ("cpu-idle", "", "0"),
    ("memory-reservation", "", "32M"),
    ("memory-swap", "", "-1"),
    ("pids-limit", "", "100"),
    ("l3-cache-schema", "", "L3:0=f"),
    ("mem-bw-schema", "", "MB:0=50"),
];

/// A command, its options, what stands behind them, and the words by which one sees that all were understood: nothing
/// of this name exists.
type Row = (&'static str, &'static [&'static [Option_]], &'static [&'static str], &'static str);

const GONE: &str = "container does not exist";

const COMMANDS: &[Row] = &[
    ("create", &[CREATE], &["nope"], "--bundle: realpath(\"/nope\")"),
    ("run", &[CREATE, RUN], &["nope"], "--bundle: realpath(\"/nope\")"),
    ("exec", &[EXEC], &["nope", "true"], GONE),
    ("update", &[UPDATE], &["nope"], GONE),
    ("update", &[&[("resources", "r", "/nope")]], &["nope"], "open(\"/nope\")"),
    ("delete", &[&[("force", "f", "")]], &["a/b"], "invalid container ID format"),
    ("kill", &[&[("all", "a", "")]], &["nope", "9"], GONE),
    ("events", &[&[("interval", "", "5s"), ("stats", "", "")]], &["nope"], GONE),
    ("list", &[&[("format", "f", "json"), ("quiet", "q", "")]], &[], ""),
    ("ps", &[&[("format", "f", "json")]], &["nope"], GONE),
    ("spec", &[&[("bundle", "b", "/nope"), ("rootless", "", "")]], &[], "/nope"),
    ("state", &[], &["nope"], GONE),
    ("start", &[], &["nope"], GONE),
    ("pause", &[], &["nope"], GONE),
    ("resume", &[], &["nope"], GONE),
    ("features", &[], &[], ""),
];

/// One dash or two before a name, and a blank or `=` behind it.
const SPELLINGS: [(&str, &str); 4] = [("--", " "), ("--", "="), ("-", " "), ("-", "=")];

fn spell(options: &[Option_], short: bool, (dashes, between): (&str, &str)) -> Vec<String> {
    let mut words = Vec::new();
    for (long, brief, value) in options {
        let name = if short && !brief.is_empty() { format!("-{brief}") } else { format!("{dashes}{long}") };
        match (*value, between) {
            ("", _) => words.push(name),
            (value, "=") => words.push(format!("{name}={value}")),
            (value, _) => words.extend([name, value.to_owned()]),
        }
    }
    words
}

#[track_caller]
fn taken(sandbox: &Sandbox, words: &[String], wanted: &str) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = sandbox.bare(&words).finish();
    assert!(output.stderr.contains(wanted), "wanted {wanted:?}: {}", output.describe());
    assert_eq!(output.status.success(), wanted.is_empty(), "{}", output.describe());
}

fn every_option_of_runc_is_taken_in_every_spelling(sandbox: &mut Sandbox) {
    let (root, log) = (sandbox.path("state"), sandbox.path("log"));
    // Short names have one dash only.
    let spellings = SPELLINGS.map(|spelling| (spelling, false)).into_iter();
    for (spelling, short) in spellings.chain([(SPELLINGS[2], true), (SPELLINGS[3], true)]) {
        for (command, options, rest, wanted) in COMMANDS {
            let place = |word: String| word.replace("ROOT", &root).replace("LOG", &log);
            let mut words: Vec<String> = spell(GLOBAL, short, spelling).into_iter().map(place).collect();
            words.push((*command).to_owned());
            words.extend(spell(&options.concat(), short, spelling));
            words.extend(rest.iter().map(|word| (*word).to_owned()));
            taken(sandbox, &words, wanted);
        }
    }
}

fn switches_take_a_value(sandbox: &mut Sandbox) {
    for (command, switch, rest) in [
        ("kill", "--all", &["nope", "9"][..]),
        ("run", "--detach", &["--bundle", "/nope", "nope"]),
        ("exec", "--tty", &["nope", "true"]),
        ("exec", "--no-new-privs", &["nope", "true"]),
        ("events", "--stats", &["nope"]),
    ] {
        for value in ["=true", "=false", "=1", "=F"] {
            let switch = format!("{switch}{value}");
            let words = [&[command, switch.as_str()], rest].concat();
            let output = sandbox.onggi(&words).finish();
            let known = output.stderr.contains(GONE) || output.stderr.contains("/nope");
            assert!(known, "{}", output.describe());
        }
    }
}

/// A path, a number or a label may begin with a dash; go-runc passes `--cpu-quota -1`.
fn what_follows_an_option_is_its_value(sandbox: &mut Sandbox) {
    for words in [
        &["update", "--cpu-quota", "-1", "--memory-swap", "-1", "nope"][..],
        &["exec", "--cwd", "-x", "nope", "-v"],
        &["kill", "nope", "-a"],
    ] {
        let output = sandbox.onggi(words).finish();
        assert!(output.stderr.contains(GONE), "{}", output.describe());
    }
}

/// podman and CRI-O ask `checkpoint --help` and take status 0 for a yes.
fn checkpoint_and_restore_are_refused_and_say_so(sandbox: &mut Sandbox) {
    for command in ["checkpoint", "restore"] {
        for rest in [&["--help"][..], &["--image-path", "/nope", "--work-path", "/nope", "nope"], &["nope"]] {
            let words = [&[command], rest].concat();
            let output = sandbox.onggi(&words).finish().error(&[command, "not built yet"]);
            assert_eq!(output.stdout, "", "{}", output.describe());
        }
    }
}

fn an_option_that_does_not_exist_is_refused(sandbox: &mut Sandbox) {
    for (command, ..) in COMMANDS {
        for option in ["--nope", "-nope", "--nope=1"] {
            sandbox.onggi(&[command, option]).finish().error(&["unexpected argument"]);
        }
    }
}
