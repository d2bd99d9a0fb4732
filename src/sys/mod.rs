//! The kernel, and the only `unsafe` of the house: one safe function per system call, under the kernel's own name,
//! with errors that show the call and its path. nix where it has the call, rustix where nix lacks it, raw where
//! neither has. Nothing here decides, logs, or knows another module but `error`.

pub(crate) mod bpf;
pub(crate) mod dir;
pub(crate) mod fs;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod scheduler;
pub(crate) mod seccomp;
pub(crate) mod socket;
pub(crate) mod terminal;
