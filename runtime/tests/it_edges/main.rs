//! The edges against real sockets and a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod http;
mod postgres;
mod support;
mod tls;
mod ws;
