//! A cgroup's path below the mount point of its hierarchy (config-linux.md, Cgroups Path): every component is checked
//! once, here, and nothing else becomes a path. Pure.

use super::Version;
use crate::error::{Error, Result};
use oci_spec::runtime::Linux;
use std::fmt;

/// NAME_MAX
const LONGEST_NAME: usize = 255;
/// Below PATH_MAX, with room for a mount point and a file's name.
const LONGEST_PATH: usize = 3800;

/// At least one component; none is empty, `.` or `..`, or has a slash, NUL or newline in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct CgroupPath(Vec<String>);

/// linux.cgroupsPath, if it is given and not empty.
pub(crate) fn named(linux: &Linux) -> Option<&std::path::Path> {
    linux.cgroups_path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

impl CgroupPath {
    /// Checks a path; doubled and trailing slashes count once, as the kernel has it.
    pub(crate) fn new(path: &str) -> Result<Self> {
        let names: Vec<String> = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let wrong = |what: &str| Err(Error::new(format!("{path:?} {what}")));
        if names.is_empty() {
            return wrong("is the root of the hierarchy, not a cgroup of the container's own");
        }
        if path.len() > LONGEST_PATH || names.iter().any(|name| name.len() > LONGEST_NAME) {
            return Err(Error::new(format!(
                "longer than {LONGEST_PATH} bytes, or {LONGEST_NAME} between slashes"
            )));
        }
        if names.iter().any(|name| name == "." || name == "..") {
            return wrong("has a component `.` or `..`");
        }
        if path.contains(['\0', '\n']) {
            return wrong("contains NUL or a newline");
        }
        Ok(CgroupPath(names))
    }

    /// The container's cgroup in a hierarchy where the runtime itself is in `own`; see the module above for the rule.
    pub(crate) fn of(named: Option<&std::path::Path>, id: &str, own: &str, version: Version) -> Result<Self> {
        let beside = own.rsplit_once('/').map_or("", |(parent, _)| parent);
        let base = if version == Version::V2 { beside } else { own };
        let path = match named {
            None => format!("{base}/{id}"),
            Some(path) => match path.to_str() {
                Some(path) if path.starts_with('/') => path.to_owned(),
                Some(path) => CgroupPath::new(path).map(|path| format!("{base}{path}")).map_err(at_field)?,
                None => return Err(at_field(Error::new("not UTF-8"))),
            },
        };
        CgroupPath::new(&path).map_err(at_field)
    }

    /// From the top down; never empty.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

fn at_field(error: Error) -> Error {
    error.at("linux.cgroupsPath")
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = Error;

    fn try_from(path: String) -> Result<Self> {
        CgroupPath::new(&path)
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn stands_where_the_rule_says() {
        for (named, own, v1, v2) in [
            (None, "/", "/web1", "/web1"),
            (None, "/a/b", "/a/b/web1", "/a/web1"),
            (Some("rel/x"), "/a/b", "/a/b/rel/x", "/a/rel/x"),
            (Some("rel//x/"), "/", "/rel/x", "/rel/x"),
            (Some("/abs/x"), "/a/b", "/abs/x", "/abs/x"),
            (Some("/abs//x/"), "/a/b", "/abs/x", "/abs/x"),
            (Some("system.slice:onggi:web1"), "/", "/system.slice:onggi:web1", "/system.slice:onggi:web1"),
        ] {
            for (version, expected) in [(Version::V1, v1), (Version::V2, v2)] {
                let path = CgroupPath::of(named.map(Path::new), "web1", own, version).unwrap();
                assert_eq!(path.to_string(), expected, "{named:?} {own}");
            }
        }
    }

    #[test]
    fn tricks_are_refused() {
        let long = "x".repeat(256);
        let deep = "/y".repeat(2500);
        for path in ["/", "//", "/a/../b", "..", "a/..", ".", "/a/./b", "/a\0b", "a\nb", &long, &deep] {
            let error =
                CgroupPath::of(Some(Path::new(path)), "web1", "/a", Version::V2).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{error}");
        }
        assert!(serde_json::from_str::<CgroupPath>(r#""/a/../b""#).is_err());
        let path: CgroupPath = serde_json::from_str(r#""/a/b""#).unwrap();
        assert_eq!(serde_json::to_string(&path).unwrap(), r#""/a/b""#);
    }
}
