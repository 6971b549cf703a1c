//! Sentry's wire format: pure functions from bytes to values.
//!
//! | file | what it reads |
//! |---|---|
//! | [`compression`] | bodies in any content coding, under a ceiling |
//! | [`envelope`] | the framing of envelopes |
//! | [`event_item`] | the kinds of items, and the body of the store endpoint |
//! | [`auth_header`] | the key, wherever a client puts it |
//! | [`dsn`] | data source names |
//! | [`client_report`] | what an SDK says it dropped |
//! | [`security_report`] | what browsers report by themselves |
//! | [`user_report`] | what users write about what went wrong |
//! | [`timestamps`] | times, as clients write them |

pub mod auth_header;
pub mod client_report;
pub mod compression;
pub mod dsn;
pub mod envelope;
pub mod event_item;
pub mod security_report;
pub mod user_report;

pub use crate::domain::timestamps;
