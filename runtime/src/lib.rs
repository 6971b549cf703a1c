//! A BEAM-like actor runtime for Rust.
