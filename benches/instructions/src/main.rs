//! Placeholder of the counter.
fn main() {}
