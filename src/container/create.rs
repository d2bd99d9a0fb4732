//! The create operation (runtime.md, Create).
