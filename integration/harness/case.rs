//! One test: its name, what it needs of the machine, and its body.

use super::{Need, Sandbox};

/// A test of the suite.
pub(crate) struct Case {
    /// The function's own name.
    pub(crate) name: &'static str,
    /// What the machine must have; otherwise the test is shown as ignored.
    pub(crate) needs: &'static [Need],
    /// The test; it fails by panicking.
    pub(crate) body: fn(&mut Sandbox),
}

/// Declares the `CASES` of a file: function names, each with its needs where it has some.
///
/// A function that is missing here is dead code, which the compiler reports.
macro_rules! cases {
    ($($name:ident $(: $($need:expr),+)?;)*) => {
        /// The tests of this file.
        pub(crate) const CASES: &[$crate::harness::Case] = &[$(
            $crate::harness::Case { name: stringify!($name), needs: &[$($($need),+)?], body: $name }
        ),*];
    };
}
