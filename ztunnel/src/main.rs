//! The `ztunnel` program.

fn main() {}
