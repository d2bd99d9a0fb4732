//! The three messages between runtime and init: At, Go, Failed.
