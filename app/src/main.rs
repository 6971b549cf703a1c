//! The `mesher` binary.

fn main() {}
