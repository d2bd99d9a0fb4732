//! The start gate: a socket on which a created container waits for start.
