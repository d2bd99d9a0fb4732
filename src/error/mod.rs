//! The one error type of the house: what was being done, to which field of config.json, by which call on which
//! path, and why the kernel refused. It is built where the failure happens, completed on its way up
//! ([`Error::at`], [`Error::during`]), and printed once, at the edge. It knows no module above it.

pub(crate) mod phrases;

use std::fmt;

/// What went wrong, as a person can act on it.
///
/// Printed as `operation: field: call: reason (hint: …)`; parts that are unknown are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Parts {
    operation: Option<String>,
    field: Option<String>,
    call: Option<String>,
    reason: String,
    errno: i32,
    hint: Option<String>,
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that no system call caused: `reason` says what is wrong, in lower case, without a full stop.
    pub fn new(reason: impl Into<String>) -> Self {
        Error(Box::new(Parts { reason: reason.into(), ..Parts::default() }))
    }

    /// A system call that failed: `call` as `openat2("/proc/self/fd")`, `errno` as the kernel gave it.
    pub fn call(call: impl Into<String>, errno: impl Into<i32>) -> Self {
        let errno = errno.into();
        let reason = errno_text(errno);
        Error(Box::new(Parts { call: Some(call.into()), reason, errno, ..Parts::default() }))
    }

    /// The config.json field (a JSON path, with the entry's own name where it has one) or the argument at fault.
    /// The innermost field wins: a caller who knows less does not overwrite it.
    #[must_use]
    pub fn at(mut self, field: impl fmt::Display) -> Self {
        self.0.field.get_or_insert_with(|| field.to_string());
        self
    }

    /// The operation and the container, as `create web1`.
    #[must_use]
    pub fn during(mut self, operation: impl fmt::Display) -> Self {
        self.0.operation.get_or_insert_with(|| operation.to_string());
        self
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Because of this error something was undone, with this result: what could not be put back is said besides any
    /// other hint.
    #[must_use]
    pub(crate) fn undone(mut self, undone: Result<()>) -> Self {
        if let Err(left) = undone {
            let left = format!("what was changed before could not be put back: {left}");
            self.0.hint = Some(match self.0.hint.take() {
                Some(hint) => format!("{hint}; {left}"),
                None => left,
            });
        }
        self
    }

    /// The kernel's error number; 0 if no system call failed.
    pub fn errno(&self) -> i32 {
        self.0.errno
    }

    /// The parts that travel from init to the runtime: field, call, reason and hint, empty where unknown.
    pub(crate) fn parts(&self) -> [&str; 4] {
        let Parts { field, call, reason, hint, .. } = &*self.0;
        fn text(part: &Option<String>) -> &str {
            part.as_deref().unwrap_or_default()
        }
        [text(field), text(call), reason, text(hint)]
    }

    /// The error again, on the other side; `parts` as [`Error::parts`] gave them.
    pub(crate) fn from_parts(errno: i32, [field, call, reason, hint]: [&str; 4]) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Error(Box::new(Parts {
            operation: None,
            field: some(field),
            call: some(call),
            reason: reason.to_owned(),
            errno,
            hint: some(hint),
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { operation, field, call, reason, hint, .. } = &*self.0;
        for part in [operation, field, call].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(reason)?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " (hint: {hint})"))
    }
}

impl std::error::Error for Error {}

/// `ENOENT: no such file or directory`; engines look for the words in lower case, as runc prints them.
fn errno_text(errno: i32) -> String {
    let known = nix::errno::Errno::from_raw(errno);
    let words = known.desc();
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    let words: String = first.into_iter().chain(letters).collect();
    if known == nix::errno::Errno::UnknownErrno {
        format!("errno {errno}")
    } else {
        format!("{known:?}: {words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_operation_field_call_reason_hint() {
        let error = Error::call(r#"open_tree("/run/x")"#, 2)
            .at(r#"mounts[3] "/etc/resolv.conf""#)
            .at("mounts")
            .during("create web1")
            .hint("make it");
        assert_eq!(
            error.to_string(),
            r#"create web1: mounts[3] "/etc/resolv.conf": open_tree("/run/x"): ENOENT: no such file or directory (hint: make it)"#
        );
        assert_eq!(error.errno(), 2);
    }

    #[test]
    fn the_cause_outlives_its_undoing() {
        let cause = || Error::call("write(\"a\", \"1\")", 22);
        assert_eq!(cause().undone(Ok(())), cause());
        let left = || Err(Error::call("write(\"a\", \"0\")", 2));
        let text = "what was changed before could not be put back: write(\"a\", \"0\"): ENOENT: no such file or directory";
        let error = cause().undone(left());
        assert_eq!((error.errno(), error.parts()[1], error.parts()[3]), (22, "write(\"a\", \"1\")", text));
        assert_eq!(cause().hint("h").undone(left()).parts()[3], format!("h; {text}"));
    }

    #[test]
    fn survives_the_way_from_init() {
        let error = Error::call("chdir(\"/x\")", 13).hint("h");
        assert_eq!(Error::from_parts(13, error.parts()), error);
    }
}
