//! Mesher: self-hosted error monitoring for Sentry SDKs, on the actor runtime `mesh-runtime` and PostgreSQL.
//!
//! # The path of one event
//!
//! 1. An SDK posts an envelope. [`http`] hands it to [`ingestion::http`], which reads the body under its limits.
//! 2. [`protocol`] turns bytes into items: coding, framing, key. Pure, no IO.
//! 3. [`ingestion::admission`] judges the key and the rate from memory, and [`processing::normalize`] gives the event one shape,
//!    scrubbed, bounded and compressed: a [`domain::RawEvent`].
//! 4. [`ingestion::spool`] appends it to the log. Only when the sync that covers it is done does the client get its answer.
//! 5. [`ingestion::router`] reads the log in order, a chunk at a time, and *calls* the processors of [`processing`].
//! 6. A processor computes the fingerprint and the candidate issues: a [`domain::GroupedEvent`]. A pure function in a process.
//! 7. [`storage::writer`] stores the chunk in one transaction: rows, issues, outcomes, and the spool's position move together.
//! 8. After the commit, [`processing::fan_out`] tells [`streaming`], whose rooms push frames to the dashboards.
//! 9. [`api`] and [`dashboard`] show what is stored.
//!
//! No step imports an earlier one. [`supervision`] holds the tree that runs them, [`cli`] what `mesher` can be told to do.

pub mod api;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod domain;
pub mod http;
pub mod ingestion;
pub mod pressure;
pub mod processing;
pub mod protocol;
pub mod storage;
pub mod streaming;
pub mod supervision;
pub mod telemetry;
