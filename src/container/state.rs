//! The state operation (runtime.md, Query State).
