//! Storage against a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ahead;
mod cluster;
mod payload_dictionaries;
mod plans;
mod processes;
mod quarantine;
mod queries;
mod schema;
mod support;
mod transaction;
mod writer;

#[path = "../support/postgres.rs"]
mod postgres;
