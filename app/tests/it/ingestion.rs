//! Ingestion from outside: the endpoints, the spool as a process, the router over a store that fails.

mod http;
mod pipeline;
mod router;
mod spool;
mod support;
mod wire;
