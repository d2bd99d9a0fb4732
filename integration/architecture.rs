//! The house rules, held against the code.
