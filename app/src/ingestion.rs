//! Ingestion: from a request to a durable record, and from records, in order, to the stages after it.

mod spool;
