//! Between birth and execve: the interpreter of steps.
