//! The start operation (runtime.md, Start).
