//! Processes and threads: the pids controller.

use super::file::Files;
use super::is_zero;
use crate::error::Result;
use serde::Serialize;

/// How many tasks there are and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Pids {
    /// Tasks: processes with their threads. Where the controller is missing, processes.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) current: u64,
    /// 0: no limit.
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

impl Pids {
    /// v1 and v2 have the same files; none without the controller.
    pub(super) fn of(files: &Files<'_>) -> Result<Option<Self>> {
        let Some(current) = files.value("pids.current")? else { return Ok(None) };
        let limit = files.value("pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or(0);
        Ok(Some(Pids { current, limit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_zero() {
        let of = |max| Pids::of(&Files::Texts(&[("pids.current", "5\n"), ("pids.max", max)]));
        assert_eq!(of("max\n").unwrap(), Some(Pids { current: 5, limit: 0 }));
        assert_eq!(of("50\n").unwrap(), Some(Pids { current: 5, limit: 50 }));
        assert_eq!(of("few\n").unwrap_err().to_string(), "/c/pids.max:1: malformed line \"few\"");
        assert_eq!(Pids::of(&Files::Texts(&[])).unwrap(), None);
        let json = serde_json::to_string(&of("50\n").unwrap()).unwrap();
        assert_eq!(json, r#"{"current":5,"limit":50}"#);
    }
}
