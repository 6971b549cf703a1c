//! The edges against real sockets and a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod http;
mod http_conformance;
#[cfg(feature = "metrics")]
mod metrics;
mod postgres;
mod postgres_chaos;
mod support;
mod tls;
mod ws;
mod ws_conformance;
