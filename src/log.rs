//! The log: one line on stderr, one JSON object per line in the log file.
