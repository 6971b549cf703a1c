//! Ingestion from outside: the endpoints, the spool as a process, the router over a store that fails.

mod dictionaries;
mod http;
mod kinds;
mod memory_store;
mod pipeline;
mod probe;
mod router;
mod spool;
mod support;
mod wire;
mod words;
