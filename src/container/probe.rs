//! Fills Host: what planning may know of this machine.
