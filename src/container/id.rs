//! A container's name, and the directory that it has: the one place where ids are checked (runtime.md, State).
//!
//! An id longer than a file name may be (255 bytes) is cut into pieces of 254 characters; all but the last are named
//! `~PIECE`, the last `=PIECE`. Neither sign can stand in an id, so no two ids share a directory, and the names say the
//! id again. Nothing here touches a file.

use std::fmt;

use crate::error::{Error, Result, phrases};

const LONGEST: usize = 1024;
const PIECE: usize = 254;
const NAME_MAX: usize = 255;

/// So many levels of pieces may stand above the last.
pub(super) const DEEPEST: usize = LONGEST / PIECE;

/// A container's name: 1 to 1024 of `[A-Za-z0-9_+.-]`, not `.` and not `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContainerId(String);

impl ContainerId {
    /// The one way to an id.
    pub(crate) fn new(id: &str) -> Result<Self> {
        let wrong = |reason: &str| {
            let shown: String = id.chars().take(64).collect();
            let dots = if shown.len() < id.len() { "…" } else { "" };
            Err(Error::new(format!("{}: {reason}", phrases::INVALID_ID))
                .at(format!("container id {shown:?}{dots}")))
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        match id {
            "" => wrong("it is empty"),
            "." | ".." => wrong("it would be a directory of its own"),
            _ if id.len() > LONGEST => wrong("longer than 1024 characters"),
            _ if !id.bytes().all(allowed) => wrong("only A-Z a-z 0-9 _ + . - are allowed"),
            _ => Ok(ContainerId(id.to_owned())),
        }
    }

    /// The id as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory names below the root that lead to this container's directory, which is the last.
    pub(super) fn components(&self) -> Vec<String> {
        if self.0.len() <= NAME_MAX {
            return vec![self.0.clone()];
        }
        // Ids are ASCII, so that any byte is a place to cut.
        let (mut rest, mut names) = (self.0.as_str(), Vec::new());
        while rest.len() > PIECE {
            let (piece, tail) = rest.split_at(PIECE);
            names.push(format!("~{piece}"));
            rest = tail;
        }
        names.push(format!("={rest}"));
        names
    }

    /// The reverse of [`ContainerId::components`]; none: the names are no container's.
    pub(super) fn of(names: &[String]) -> Option<Self> {
        let text: String = names.iter().map(|name| name.trim_start_matches(['~', '='])).collect();
        ContainerId::new(&text).ok().filter(|id| id.components() == names)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    #[test]
    fn ids_are_checked_once() {
        for good in ["a", "A-z_0+9.", "...", ".a", "-", &"x".repeat(1024)] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "/", "a b", "ä", "a\0", "a\n", "~a", "=a", "a:b", &"x".repeat(1025)]
        {
            let error = ContainerId::new(bad).unwrap_err().to_string();
            assert!(error.contains("invalid container ID format"), "{bad:?}: {error}");
            assert!(error.len() < 300);
        }
    }

    #[test]
    fn any_id_has_a_directory_of_its_own() {
        assert_eq!(new("web1").components(), ["web1"]);
        assert_eq!(new(&"x".repeat(255)).components().len(), 1);
        let mut seen = std::collections::BTreeSet::new();
        for length in 1..=1024 {
            let one = new(&"x".repeat(length));
            let names = one.components();
            assert!(names.iter().all(|name| (1..=NAME_MAX).contains(&name.len())), "{length}");
            assert!(names.iter().all(|name| name != "." && name != ".."));
            assert_eq!(ContainerId::of(&names), Some(one), "{length}");
            assert!(seen.insert(names));
        }
        for foreign in [&["~x"][..], &["=x"], &["~~x"], &["a", "b"], &["."]] {
            let foreign: Vec<String> = foreign.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(ContainerId::of(&foreign), None);
        }
    }
}
