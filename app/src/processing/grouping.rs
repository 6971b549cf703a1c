//! From an event's bytes to an event that knows its issue: derived, never looked up.

mod facts;

use std::cell::RefCell;
use std::fmt;

use zstd::bulk::Decompressor;

use crate::domain::{GroupedEvent, NormalEvent, RawEvent};
use crate::processing::fingerprint;

/// No payload decompresses to more: the door takes 1 MiB, and escapes at most multiply it by six.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

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
    let event = normal_event(raw)?;
    let fingerprints = fingerprint::fingerprints(&event);
    let candidates = fingerprints
        .iter()
        .map(|grouped| grouped.fingerprint.issue_id(raw.project_id))
        .collect();
    let best = fingerprints
        .into_iter()
        .next()
        .expect("there is always a current algorithm");
    let exception = event.exceptions.values.last();
    Ok(GroupedEvent {
        event_id: raw.event_id,
        project_id: raw.project_id,
        received_at: raw.received_at,
        occurred_at: event.occurred_at,
        level: event.level,
        title: facts::title(&event),
        culprit: facts::culprit(&event),
        message: event
            .message()
            .or_else(|| exception?.value.as_deref())
            .unwrap_or_default()
            .to_owned(),
        user: event
            .user
            .as_ref()
            .and_then(crate::domain::event::User::key),
        exception_type: exception.and_then(|exception| exception.kind.clone()),
        exception_value: exception.and_then(|exception| exception.value.clone()),
        fingerprint: best.fingerprint,
        grouping: best.explanation,
        candidates,
        payload: raw.payload.clone(),
        platform: event.platform,
        environment: event.environment,
        release: event.release,
        dist: event.dist,
        logger: event.logger,
        transaction: event.transaction,
        server_name: event.server_name,
        tags: event.tags,
        sdk_name: event.sdk.name,
        sdk_version: event.sdk.version,
        client_fingerprint: event.fingerprint,
    })
}

/// The event as grouping reads it: from the facts that the door put beside the payload, else from the payload.
fn normal_event(raw: &RawEvent) -> Result<NormalEvent, ProcessingError> {
    let payload;
    let json = if raw.facts.is_empty() {
        payload = payload_json(&raw.payload)?;
        &payload[..]
    } else {
        &raw.facts[..]
    };
    // All texts are looked at together for being UTF-8, not each by itself.
    std::str::from_utf8(json)
        .map_err(|error| ProcessingError::Json(error.to_string()))
        .and_then(|json| {
            serde_json::from_str(json).map_err(|error| ProcessingError::Json(error.to_string()))
        })
}

/// The JSON of a normalised event, from its compressed payload.
///
/// # Errors
/// If the payload is not zstd, or implausibly large.
pub fn payload_json(payload: &[u8]) -> Result<Vec<u8>, ProcessingError> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    let broken = |error: std::io::Error| ProcessingError::Compression(error.to_string());
    // The frame says how large its content is, unless it was made piece by piece.
    let size = zstd::zstd_safe::get_frame_content_size(payload)
        .map_err(|_| ProcessingError::Compression("not a zstd frame".to_owned()))?
        .map_or(PAYLOAD_BYTES_MAX, |size| {
            usize::try_from(size).unwrap_or(usize::MAX)
        });
    if size > PAYLOAD_BYTES_MAX {
        return Err(ProcessingError::Compression("too large".to_owned()));
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().map_err(broken)?),
        };
        decompressor.decompress(payload, size).map_err(broken)
    })
}

#[cfg(test)]
mod tests;
