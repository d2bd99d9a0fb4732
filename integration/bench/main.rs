//! onggi beside its peers.
fn main() {}
