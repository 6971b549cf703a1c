//! The integration tests of Mesher, in one binary.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy sees no test in a helper"
)]

mod ingestion;

#[path = "../support/postgres.rs"]
mod postgres;
