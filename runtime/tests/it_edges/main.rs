//! The edges against real sockets and a real PostgreSQL.

mod http;
mod postgres;
mod support;
mod ws;
