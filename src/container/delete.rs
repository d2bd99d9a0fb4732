//! The delete operation (runtime.md, Delete).
