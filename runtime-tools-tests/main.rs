//! The sentences of the runtime-spec, tested from outside.
fn main() {}
