//! Storage against a real PostgreSQL.

mod cluster;
mod processes;
mod queries;
mod schema;
mod support;
mod writer;

#[path = "../support/postgres.rs"]
mod postgres;
