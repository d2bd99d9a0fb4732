//! Files and directories by descriptor: openat2(2) and its family.
