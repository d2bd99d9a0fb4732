//! How long is too long. Limits are written for a machine as fast as a usual one; where everything takes longer, an
//! emulated processor above all, `ONGGI_TEST_PATIENCE` is the factor.

use std::sync::OnceLock;
use std::time::Duration;

/// How often this machine needs the usual time.
pub(crate) fn patience() -> u32 {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let read = || std::env::var("ONGGI_TEST_PATIENCE").ok()?.parse().ok();
    (*FACTOR.get_or_init(|| read().unwrap_or(1))).max(1)
}

/// A limit of so many seconds, stretched for this machine.
pub(crate) fn limit(seconds: u64) -> Duration {
    Duration::from_secs(seconds) * patience()
}
