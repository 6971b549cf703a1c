//! A BEAM-like actor runtime for Rust.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "ws")]
pub mod ws;
