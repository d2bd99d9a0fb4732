//! Where messages for people and engines go: standard error, and the file of `--log`. One line each, never more;
//! opened once, at the start. It decides nothing, and no other module but the command line calls it: the rest of the
//! house returns errors and warns through `Settings::warn`. Not part of the runtime-spec: the format is that of runc,
//! whose callers read the last line of level `error`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::error::{Error, Result};

/// How grave a message is; a logger keeps its own level and everything graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The command failed.
    Error,
    /// The command goes on, but not quite as asked.
    Warning,
    /// Nothing to worry about.
    Info,
    /// For those who look for a mistake.
    Debug,
}

impl Level {
    /// The word in both formats of the log file and on standard error.
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "error" => Ok(Level::Error),
            "warning" | "warn" => Ok(Level::Warning),
            "info" => Ok(Level::Info),
            "debug" => Ok(Level::Debug),
            _ => Err("not one of error, warning, info, debug".to_owned()),
        }
    }
}

/// The form of a line in the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("not one of text, json".to_owned()),
        }
    }
}

/// One object of a log file in JSON; containerd decodes `time` strictly as RFC 3339.
#[derive(serde::Serialize)]
struct Entry<'a> {
    level: &'static str,
    msg: &'a str,
    time: &'a str,
}

#[derive(Debug)]
struct Logger {
    file: Option<File>,
    format: Format,
    level: Level,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Opens the log. Messages before this, and after a failure of this, go to standard error alone.
///
/// # Errors
/// The file can be neither opened for appending nor made (0600).
pub(crate) fn open(path: Option<&Path>, format: Format, level: Level) -> Result<()> {
    let file = path.map(append).transpose()?;
    // A second call would be a mistake of this program; the first logger stays.
    LOGGER.get_or_init(|| Logger { file, format, level });
    Ok(())
}

/// Says why the command failed.
pub(crate) fn error(message: &str) {
    say(Level::Error, message);
}

/// Says what is not quite as asked; with a log file, only there, as [`debug`].
pub(crate) fn warn(message: &str) {
    say(Level::Warning, message);
}

/// Says what happens, if anybody wants to know (`--debug`). With a log file it stays off standard error, which
/// belongs to the container as soon as an engine calls `create`.
pub(crate) fn debug(message: &str) {
    say(Level::Debug, message);
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| {
        Error::call(format!("open({path:?})"), error.raw_os_error().unwrap_or_default()).at("--log")
    })
}

fn say(level: Level, message: &str) {
    let logger = LOGGER.get();
    if level > logger.map_or(Level::Warning, |logger| logger.level) {
        return;
    }
    let file = logger.and_then(|logger| logger.file.as_ref().map(|file| (file, logger.format)));
    if level == Level::Error || file.is_none() {
        to_stderr(level, message);
    }
    let Some((mut file, format)) = file else { return };
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    if let Err(error) = file.write_all(line(format, level, message, &time).as_bytes()) {
        to_stderr(Level::Warning, &format!("--log: write: {error}"));
    }
}

/// Standard error may be closed or full: then there is nobody left to tell.
fn to_stderr(level: Level, message: &str) {
    let text = format!("{}: {}\n", level.name(), one_line(message));
    let _unheard = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Control characters escaped: a path of a hostile image can neither break the line nor steer the terminal.
fn one_line(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for letter in message.chars() {
        if letter.is_control() {
            text.extend(letter.escape_default());
        } else {
            text.push(letter);
        }
    }
    text
}

/// The line as it stands in the file. Writing a string as JSON cannot fail.
fn line(format: Format, level: Level, msg: &str, time: &str) -> String {
    let level = level.name();
    let text = match format {
        Format::Json => serde_json::to_string(&Entry { level, msg, time }),
        Format::Text => {
            serde_json::to_string(msg).map(|msg| format!("time=\"{time}\" level={level} msg={msg}"))
        }
    };
    text.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_json_is_one_object() {
        assert_eq!(
            line(Format::Json, Level::Error, "a \"b\"\nc", "2026-01-02T03:04:05Z"),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"time\":\"2026-01-02T03:04:05Z\"}\n"
        );
    }

    #[test]
    fn a_line_of_text_is_quoted() {
        assert_eq!(
            line(Format::Text, Level::Warning, "a \"b\"", "T"),
            "time=\"T\" level=warning msg=\"a \\\"b\\\"\"\n"
        );
    }

    #[test]
    fn standard_error_gets_one_harmless_line() {
        assert_eq!(one_line("x\ny\u{1b}[2J é"), "x\\ny\\u{1b}[2J é");
    }

    #[test]
    fn levels_have_an_order_and_two_names_for_warning() {
        assert!(Level::Error < Level::Warning && Level::Info < Level::Debug);
        assert_eq!("warn".parse(), Ok(Level::Warning));
        assert_eq!("warning".parse(), Ok(Level::Warning));
        assert!("loud".parse::<Level>().is_err());
        assert!("xml".parse::<Format>().is_err());
    }

    #[test]
    fn the_file_is_private_and_appended_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        for text in ["a", "b"] {
            append(&path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ab");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = append(&folder.path().join("no/log")).unwrap_err().to_string();
        assert!(error.starts_with("--log: open(") && error.contains("ENOENT"), "{error}");
    }
}
