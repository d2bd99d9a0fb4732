//! create and start in one, in the foreground or detached.
