//! Storage against a real PostgreSQL.

mod cluster;
mod queries;
mod schema;
mod support;
mod writer;

#[path = "../support/postgres.rs"]
mod postgres;
