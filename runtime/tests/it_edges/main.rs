//! The edges against real sockets and a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "metrics")]
mod edge_metrics;
mod http;
mod http_conformance;
mod many;
mod postgres;
mod postgres_chaos;
mod support;
mod tls;
mod ws;
mod ws_conformance;
