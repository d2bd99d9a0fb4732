//! The state directory: one container, one directory, one atomically replaced file (runtime.md, State).
