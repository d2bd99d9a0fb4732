//! Names of units (systemd.unit(5), systemd.slice(5)) and the cgroups they stand for. Each is checked once, by the one
//! constructor of its type. Pure.

use crate::error::{Error, Result};
use std::path::Path;

/// UNIT_NAME_MAX of systemd, without the NUL.
const LONGEST: usize = 255;
/// What a unit's name may consist of besides letters and digits.
const SIGNS: &str = ":-_.\\@";
/// Prefixes that the kernel's files in a cgroup have; systemd puts `_` before a cgroup's name that has one.
const FILES: [&str; 9] = ["cgroup", "cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids"];

/// The name of a scope: `prefix-name.scope`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct UnitName(String);

/// The name of a slice: `a-b.slice` stands in `a.slice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SliceName(String);

impl UnitName {
    /// Checks the whole name.
    pub(crate) fn new(name: &str) -> Result<Self> {
        match name.strip_suffix(".scope") {
            Some(stem) if !stem.is_empty() && is_unit(name) => Ok(UnitName(name.to_owned())),
            _ => Err(Error::new(format!("{name:?} is no name of a systemd scope")).hint(format!(
                "at most {LONGEST} bytes: letters, digits and {SIGNS}; another name can be given as slice:prefix:name"
            ))),
        }
    }

    /// As systemd has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its cgroup.
    pub(crate) fn cgroup(&self) -> String {
        escaped(&self.0)
    }
}

impl SliceName {
    /// Checks the whole name: parts between dashes are the slices above it, so that none is empty.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let wrong = || {
            Error::new(format!("{name:?} is no name of a systemd slice"))
                .hint("as in system.slice or a-b.slice")
        };
        let stem = name.strip_suffix(".slice").ok_or_else(wrong)?;
        let whole = stem == "-" || stem.split('-').all(|part| !part.is_empty());
        if whole && is_unit(name) && !name.contains('@') {
            Ok(SliceName(name.to_owned()))
        } else {
            Err(wrong())
        }
    }

    /// As systemd has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The cgroup below systemd's own: `/a.slice/a-b.slice`, nothing for `-.slice`.
    pub(crate) fn path(&self) -> String {
        let stem = self.0.trim_end_matches(".slice");
        let ends = stem.char_indices().filter(|(_, c)| *c == '-').map(|(at, _)| at).chain([stem.len()]);
        match stem {
            "-" => String::new(),
            _ => ends.map(|end| format!("/{}", escaped(&format!("{}.slice", &stem[..end])))).collect(),
        }
    }
}

fn is_unit(name: &str) -> bool {
    name.len() <= LONGEST
        && !name.starts_with('@')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || SIGNS.contains(c))
}

/// As systemd keeps a cgroup's name apart from the kernel's files.
fn escaped(name: &str) -> String {
    let first = name.split('.').next().unwrap_or_default();
    let taken = name.starts_with(['_', '.']) || FILES.contains(&first);
    if taken { format!("_{name}") } else { name.to_owned() }
}

/// linux.cgroupsPath for systemd: `slice:prefix:name`. None: the default slice, and a scope named after the container.
pub(crate) fn parse(named: Option<&Path>, id: &str, user: bool) -> Result<(SliceName, UnitName)> {
    let standard = if user { "user.slice" } else { "system.slice" };
    let Some(named) = named else {
        return Ok((SliceName::new(standard)?, UnitName::new(&format!("onggi-{id}.scope"))?));
    };
    let text = named.to_string_lossy();
    let parts: Vec<&str> = text.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        // runc's words.
        let reason = format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
        );
        return Err(Error::new(reason));
    };
    if name.is_empty() || name.ends_with(".slice") {
        return Err(Error::new(format!("{text:?} names no scope behind its second colon")));
    }
    let dash = if prefix.is_empty() { "" } else { "-" };
    let slice = if slice.is_empty() { standard } else { slice };
    Ok((SliceName::new(slice)?, UnitName::new(&format!("{prefix}{dash}{name}.scope"))?))
}

impl TryFrom<String> for UnitName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        UnitName::new(&name)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, user: bool) -> Result<String> {
        let named = Some(Path::new(path)).filter(|_| !path.is_empty());
        parse(named, "web1", user).map(|(slice, unit)| format!("{} {}", slice.path(), unit.as_str()))
    }

    #[test]
    fn slice_prefix_name() {
        for (path, user, expected) in [
            ("", false, "/system.slice onggi-web1.scope"),
            ("", true, "/user.slice onggi-web1.scope"),
            ("system.slice:docker:abc", false, "/system.slice docker-abc.scope"),
            ("a-b-c.slice:crio:x", false, "/a.slice/a-b.slice/a-b-c.slice crio-x.scope"),
            ("-.slice:x:y", false, " x-y.scope"),
            ("::y", false, "/system.slice y.scope"),
            (":p:y", true, "/user.slice p-y.scope"),
            ("m.slice::libpod-1@2_\\x2d", false, "/m.slice libpod-1@2_\\x2d.scope"),
            ("cpu.slice:x:y", false, "/_cpu.slice x-y.scope"),
        ] {
            assert_eq!(names(path, user).unwrap(), expected, "{path}");
        }
        assert_eq!(UnitName::new("memory.scope").unwrap().cgroup(), "_memory.scope");
        assert_eq!(UnitName::new("_x.scope").unwrap().cgroup(), "__x.scope");
        assert_eq!(UnitName::new("memories.scope").unwrap().cgroup(), "memories.scope");
    }

    #[test]
    fn everything_else_is_refused() {
        for path in ["/a/b", "a", "a:b", "a.slice:b:c:d"] {
            let words = format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
            );
            assert_eq!(names(path, false).unwrap_err().to_string(), words);
        }
        let long = format!("a.slice:b:{}", "x".repeat(250));
        for (path, word) in [
            ("a:b:c", "slice"),
            ("a/b.slice:b:c", "slice"),
            ("a--b.slice:b:c", "slice"),
            ("-a.slice:b:c", "slice"),
            ("a-.slice:b:c", "slice"),
            (".slice:b:c", "slice"),
            ("..slice/..:b:c", "slice"),
            ("a@b.slice:b:c", "slice"),
            ("a.slice:b:", "names no scope"),
            ("a.slice:b:c.slice", "names no scope"),
            ("a.slice:b:c/../d", "scope"),
            ("a.slice:b:c d", "scope"),
            ("a.slice:@b:c", "scope"),
            ("a.slice:b:c\n", "scope"),
            ("a.slice:b:ü", "scope"),
            (&long, "scope"),
        ] {
            let error = names(path, false).unwrap_err().to_string();
            assert!(error.contains(word), "{path}: {error}");
        }
        assert!(parse(None, "we+b", false).unwrap_err().to_string().contains("slice:prefix:name"));
        assert!(serde_json::from_str::<UnitName>("\"../x.scope\"").is_err());
    }
}
