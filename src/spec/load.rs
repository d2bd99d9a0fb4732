//! Reads config.json: bounded, with the JSON path, line and column of what does not fit the types
//! (config.md, Specification version to Annotations). Judges no value but the version.

use super::{dialect, version};
use crate::error::{Error, Result};
use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest config.json that is read, in bytes. Real ones have some 10 KiB, with a seccomp filter 100.
pub(crate) const LIMIT: u64 = 8 << 20;

/// Where a config has its process, as a JSON pointer.
const PROCESS: &str = "/process";

/// Reads a config from this file: a regular file, a pipe, a terminal. Appends what is odd but allowed to `warnings`.
///
/// # Errors
/// The file cannot be read, is larger than [`LIMIT`], is not JSON (line and column), does not fit the types of the
/// runtime-spec (JSON path, line and column), or is written for another version of it.
pub(crate) fn load(path: &Path, warnings: &mut Vec<String>) -> Result<Spec> {
    let hint = "--bundle names the directory with config.json, --config another file in it";
    let text = read(open(path).map_err(|error| error.hint(hint))?, path)?;
    parse(&text, path, warnings)
}

/// Reads a process from this file: what stands under `process` in a config. Appends to `warnings` as [`load`].
///
/// # Errors
/// As [`load`]; fields are named as in a config.
pub(crate) fn load_process(path: &Path, warnings: &mut Vec<String>) -> Result<Process> {
    let text = read(open(path)?, path)?;
    let named = |fault: Fault| match fault.field.as_str() {
        "." => Fault { field: "process".to_owned(), ..fault },
        field => Fault { field: format!("process.{field}"), ..fault },
    };
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Error::new("a process is an object, this is an array").at(format_args!("{path:?}")));
    }
    let process: Process = decode(&text)
        .or_else(|fault| adapted(&text, "", fault, warnings))
        .map_err(named)
        .map_err(|fault| misnamed(&text, "", &fault).unwrap_or_else(|| explain(&fault, path)))?;
    if has_more(&process) {
        dialect::judge(&value(&text))?;
    }
    Ok(process)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| failed("open", path, &error))
}

fn failed(call: &str, path: &Path, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(errno) => Error::call(format!("{call}({path:?})"), errno),
        None => Error::new(error.to_string()).at(format_args!("{path:?}")),
    }
}

fn read(file: File, path: &Path) -> Result<Vec<u8>> {
    // One read for most; the size that fstat(2) tells would be wrong for a pipe.
    let mut text = Vec::with_capacity(32 << 10);
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(|error| failed("read", path, &error))?;
    if text.len() as u64 > LIMIT {
        let reason = format!("larger than {} MiB, the limit for a config", LIMIT >> 20);
        return Err(Error::new(reason).at(format_args!("{path:?}")));
    }
    Ok(text)
}

fn parse(text: &[u8], path: &Path, warnings: &mut Vec<String>) -> Result<Spec> {
    // serde would take an array for a struct, field by field.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Error::new("a config is an object, this is an array").at(format_args!("{path:?}")));
    }
    let mut spec: Spec =
        decode(text).or_else(|fault| adapted(text, PROCESS, fault, warnings)).map_err(|fault| {
            // Another version of the spec may well have other types; then that is the news.
            other_version(text)
                .or_else(|| misnamed(text, PROCESS, &fault))
                .unwrap_or_else(|| explain(&fault, path))
        })?;
    version::check(spec.version())?;
    if spec.process().as_ref().is_some_and(has_more) {
        dialect::judge(&value(text)["process"])?;
    }
    read_pids(text, &mut spec);
    read_older_monitoring(text, &mut spec)?;
    Ok(spec)
}

/// `pids` without a limit asks for nothing.
fn read_pids(text: &[u8], spec: &mut Spec) {
    let resources = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut());
    let Some(resources) = resources else { return };
    let unset = resources.pids().as_ref().is_some_and(|pids| pids.limit() == 0);
    if unset && !limits_pids(text, "/linux/resources") {
        resources.set_pids(None);
    }
}

/// Whether the resources at this JSON pointer have a `pids.limit`: oci-spec reads none as 0, which is a limit.
pub(crate) fn limits_pids(text: &[u8], resources: &str) -> bool {
    let value: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    value.is_some_and(|value| value.pointer(&format!("{resources}/pids/limit")).is_some())
}

/// linux.intelRdt.enableCMT and enableMBM of runtime-spec 1.1 and 1.2, which oci-spec looks for in another spelling:
/// the hardware monitors both or nothing, so that each asks for what is enableMonitoring since 1.3.
fn read_older_monitoring(text: &[u8], spec: &mut Spec) -> Result<()> {
    let rdt = spec.linux_mut().as_mut().and_then(|linux| linux.intel_rdt_mut().as_mut());
    let Some(rdt) = rdt else { return Ok(()) };
    let value: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    for name in ["enableCMT", "enableMBM"] {
        match &value["linux"]["intelRdt"][name] {
            serde_json::Value::Bool(true) => drop(rdt.set_enable_monitoring(Some(true))),
            serde_json::Value::Bool(false) | serde_json::Value::Null => {}
            _ => return Err(Error::new("not a boolean").at(format_args!("linux.intelRdt.{name}"))),
        }
    }
    Ok(())
}

/// Whether a value fits a type of linux.resources; the value is thrown away.
///
/// # Errors
/// The field, and what its type is not.
pub(crate) fn typed<T: DeserializeOwned>(value: &serde_json::Value) -> Result<()> {
    if value.is_array() {
        return Err(Error::new("linux.resources is an object, this is an array"));
    }
    decode_value::<T>(value).map(drop).map_err(|fault| match fault.field.as_str() {
        "." => Error::new(fault.reason()).at("linux.resources"),
        path => Error::new(fault.reason()).at(format!("linux.resources.{path}")),
    })
}

/// What serde found, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The JSON path, `.` for the document itself.
    field: String,
    error: serde_json::Error,
    /// Its line and column are those of a text that nobody has seen.
    unseen: bool,
}

impl Fault {
    /// What is wrong, with line and column where they help.
    fn reason(&self) -> String {
        let text = self.error.to_string();
        let place = format!(" at {}", self.place());
        text.strip_suffix(&place).filter(|_| self.unseen).unwrap_or(&text).to_owned()
    }

    fn place(&self) -> String {
        format!("line {} column {}", self.error.line(), self.error.column())
    }

    /// The same mistake, one of them perhaps without its place in the text.
    fn is(&self, other: &Fault) -> bool {
        let [reason, others] = [self, other].map(|fault| fault.error.to_string());
        self.field == other.field && others.split(" at line ").next() == reason.split(" at line ").next()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason())
    }
}

/// Reads a value as a type. By way of text: a reader of its own for each form of JSON would make the program larger by
/// a tenth, and so its memory and the time of each start (docs/decisions/0010-small-text.md).
pub(crate) fn decode_value<T: DeserializeOwned>(value: &serde_json::Value) -> std::result::Result<T, Fault> {
    decode(value.to_string().as_bytes()).map_err(|fault| Fault { unseen: true, ..fault })
}

/// Reads JSON as a type. The only way: see [`decode_value`].
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> std::result::Result<T, Fault> {
    let fault = |field: String, error| Fault { field, error, unseen: false };
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|found| fault(found.path().to_string(), found.into_inner()))?;
    json.end().map_err(|error| fault(".".to_owned(), error))?;
    Ok(value)
}

/// Once more, with the process at this JSON pointer in the form of oci-spec.
fn adapted<T: DeserializeOwned>(
    text: &[u8],
    pointer: &str,
    fault: Fault,
    warnings: &mut Vec<String>,
) -> std::result::Result<T, Fault> {
    let mut value: serde_json::Value = decode(text)?;
    if !value.pointer_mut(pointer).is_some_and(|process| dialect::adapt(process, warnings)) {
        return Err(fault);
    }
    // What was wrong before is told in the words of the text, with line and column.
    decode_value(&value).map_err(|again| if again.is(&fault) { fault } else { again })
}

/// A name of process.scheduler.flags that the runtime-spec does not have: oci-spec would list its own.
fn misnamed(text: &[u8], pointer: &str, fault: &Fault) -> Option<Error> {
    let flags = fault.field.starts_with("process.scheduler.flags[");
    flags.then(|| dialect::judge(value(text).pointer(pointer)?).err()).flatten()
}

/// Properties of which oci-spec takes more than the runtime-spec has.
fn has_more(process: &Process) -> bool {
    process.io_priority().is_some() || process.scheduler().as_ref().is_some_and(|s| s.flags().is_some())
}

/// The document without types; null if it is none.
fn value(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn other_version(text: &[u8]) -> Option<Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        oci_version: String,
    }
    let Version { oci_version } = serde_json::from_slice(text).ok()?;
    version::check(&oci_version).err()
}

fn explain(fault: &Fault, path: &Path) -> Error {
    let Fault { field, error, .. } = fault;
    match error.classify() {
        Category::Data if field == "." => Error::new(fault.reason()).at(format_args!("{path:?}")),
        Category::Data => match unknown_capability(field, error) {
            Some(name) => {
                let place = if fault.unseen { String::new() } else { format!(" at {}", fault.place()) };
                Error::new(format!("unknown capability{place}")).at(format_args!("{field} {name:?}"))
            }
            None => Error::new(fault.reason()).at(field),
        },
        Category::Io | Category::Syntax | Category::Eof => {
            Error::new(format!("not valid JSON: {error}")).at(format_args!("{path:?}"))
        }
    }
}

/// The name in oci-spec's `no variant for CAP_FOO (converted to FOO)`.
fn unknown_capability(field: &str, error: &serde_json::Error) -> Option<String> {
    field.strip_prefix("process.capabilities.")?;
    let text = error.to_string();
    let (name, _) = text.strip_prefix("no variant for ")?.split_once(" (converted to ")?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes(), Path::new("/b/config.json"), &mut Vec::new())
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn older_names_ask_for_monitoring() {
        let config = |rdt: &str| format!(r#"{{"ociVersion":"1.2.0","linux":{{"intelRdt":{rdt}}}}}"#);
        for (rdt, on) in [
            (r#"{"enableCMT": true}"#, Some(true)),
            (r#"{"enableMBM": true, "enableCMT": false}"#, Some(true)),
            (r#"{"enableMBM": false}"#, None),
            (r#"{"enableMonitoring": true}"#, Some(true)),
            ("{}", None),
        ] {
            let spec = parse(config(rdt).as_bytes(), Path::new("/c"), &mut Vec::new()).unwrap();
            let rdt = spec.linux().as_ref().unwrap().intel_rdt().as_ref().unwrap();
            assert_eq!(*rdt.enable_monitoring(), on);
        }
        assert_eq!(refused(&config(r#"{"enableCMT": 1}"#)), "linux.intelRdt.enableCMT: not a boolean");
    }

    #[test]
    fn names_file_line_and_column_of_broken_json() {
        let cases = [
            ("", r#""/b/config.json": not valid JSON: EOF while parsing a value at line 1 column 0"#),
            ("{\n  \"root\": }", r#""/b/config.json": not valid JSON: expected value at line 2 column 11"#),
            (
                "{\"ociVersion\":\"1.0.0\"} x",
                r#""/b/config.json": not valid JSON: trailing characters at line 1 column 24"#,
            ),
            (
                "{\"ociVersion\":\"1.0.0\",}",
                r#""/b/config.json": not valid JSON: trailing comma at line 1 column 23"#,
            ),
            ("[]", r#""/b/config.json": a config is an object, this is an array"#),
            ("null", r#""/b/config.json": invalid type: null, expected struct Spec at line 1 column 4"#),
        ];
        for (text, expected) in cases {
            assert_eq!(refused(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_bytes_that_are_not_unicode() {
        let error =
            parse(b"{\"ociVersion\":\"1.0.0\",\"hostname\":\"\xff\"}", Path::new("/c"), &mut Vec::new())
                .expect_err("refused");
        assert_eq!(
            error.to_string(),
            r#""/c": not valid JSON: invalid unicode code point at line 1 column 35"#
        );
    }

    #[test]
    fn names_the_json_path_of_a_wrong_type() {
        let cases = [
            (r#""hostname":7"#, "hostname: invalid type: integer `7`, expected a string at line 1 column 34"),
            (
                r#""linux":{"resources":{"pids":{"limit":"many"}}}"#,
                "linux.resources.pids.limit: invalid type: string \"many\", expected i64 at line 1 column 66",
            ),
            (
                r#""process":{"cwd":"/","user":{"uid":-1}}"#,
                "process.user.uid: invalid value: integer `-1`, expected u32 at line 1 column 59",
            ),
            (
                r#""process":{"cwd":"/","user":{"uid":1.5}}"#,
                "process.user.uid: invalid type: floating point `1.5`, expected u32 at line 1 column 60",
            ),
            (
                r#""process":{"cwd":"/","user":{"gid":4294967296}}"#,
                "process.user.gid: invalid value: integer `4294967296`, expected u32 at line 1 column 67",
            ),
            (
                r#""process":{"cwd":"/","user":{"uid":"0"}}"#,
                "process.user.uid: invalid type: string \"0\", expected u32 at line 1 column 60",
            ),
            (
                r#""process":{"cwd":"/","user":{},"rlimits":[{"type":"RLIMIT_CPU","soft":18446744073709551616}]}"#,
                "process.rlimits[0].soft: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 112",
            ),
            (
                r#""process":{"cwd":"/","user":{},"capabilities":{"bounding":["CAP_KILL","cap foo"]}}"#,
                "process.capabilities.bounding[1] \"cap foo\": unknown capability at line 1 column 102",
            ),
            (
                r#""mounts":[{"destination":"/a","options":["ro",3]}]"#,
                "mounts[0].options[1]: invalid type: integer `3`, expected a string at line 1 column 69",
            ),
            (r#""mounts":[{"source":"/a"}]"#, "mounts[0]: missing field `destination` at line 1 column 47"),
            (
                r#""root":{"path":"a"},"root":{"path":"b"}"#,
                "\"/b/config.json\": duplicate field `root` at line 1 column 48",
            ),
        ];
        for (members, expected) in cases {
            let text = refused(&format!(r#"{{"ociVersion":"1.0.2",{members}}}"#));
            assert_eq!(text, expected, "{members}");
        }
    }

    #[test]
    fn names_the_values_of_an_unknown_word() {
        let text =
            refused(r#"{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"pid"},{"type":"net"}]}}"#);
        assert!(
            text.starts_with("linux.namespaces[1].type: unknown variant `net`, expected one of `mount`"),
            "{text}"
        );
        let text = refused(r#"{"ociVersion":"1.0.2","linux":{"personality":{"domain":"BSD"}}}"#);
        assert!(text.starts_with("linux.personality.domain: unknown variant `BSD`"), "{text}");
        let text = refused(
            r#"{"ociVersion":"1.0.2","process":{"cwd":"/","user":{},"rlimits":[{"type":"RLIMIT_X","soft":1,"hard":1}]}}"#,
        );
        assert!(text.starts_with("process.rlimits[0].type: unknown variant `RLIMIT_X`"), "{text}");
    }

    #[test]
    fn another_version_is_the_news_even_with_other_types() {
        assert!(refused(r#"{"ociVersion":"2.0.0","hostname":{}}"#).starts_with("ociVersion \"2.0.0\": "));
        assert!(refused(r#"{"hostname":"x"}"#).starts_with("ociVersion: missing"));
    }

    #[test]
    fn a_process_without_user_is_root() {
        let text = br#"{"ociVersion":"1.0.2","process":{"cwd":"/","args":["sh"]}}"#;
        let spec = parse(text, Path::new("/c"), &mut Vec::new()).expect("valid");
        assert_eq!(
            spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid())),
            Some((0, 0))
        );
    }

    #[test]
    fn pids_without_a_limit_are_not_limited() {
        for (pids, expected) in [
            (r#"{}"#, None),
            (r#"{"other":0}"#, None),
            (r#"{"limit":0}"#, Some(0)),
            (r#"{"limit":-1}"#, Some(-1)),
            (r#"{"limit":7}"#, Some(7)),
        ] {
            let text = format!(r#"{{"ociVersion":"1.0.2","linux":{{"resources":{{"pids":{pids}}}}}}}"#);
            let spec = parse(text.as_bytes(), Path::new("/c"), &mut Vec::new()).expect("valid");
            let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
            let limit = resources.and_then(|resources| resources.pids().map(|pids| pids.limit()));
            assert_eq!(limit, expected, "{pids}");
        }
    }

    #[test]
    fn ignores_unknown_properties() {
        let text = br#"{"ociVersion":"1.3.0","future":{"a":[1]},"linux":{"more":1}}"#;
        assert!(parse(text, Path::new("/c"), &mut Vec::new()).is_ok());
    }

    #[test]
    fn reads_no_more_than_the_limit() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config.json");
        let error = load(&path, &mut Vec::new()).expect_err("missing").to_string();
        assert!(error.starts_with(&format!("open({path:?}): ENOENT: no such file or directory")), "{error}");
        std::fs::write(&path, vec![b' '; LIMIT as usize + 1]).expect("written");
        let error = load(&path, &mut Vec::new()).expect_err("too large").to_string();
        assert_eq!(error, format!("{path:?}: larger than 8 MiB, the limit for a config"));
        let error = load(folder.path(), &mut Vec::new()).expect_err("a directory").to_string();
        assert_eq!(error, format!("read({:?}): EISDIR: is a directory", folder.path()));
    }
}
