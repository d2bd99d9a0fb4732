//! The kill operation (runtime.md, Kill).
