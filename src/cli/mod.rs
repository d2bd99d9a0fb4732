//! The command line, option for option what runc accepts.
