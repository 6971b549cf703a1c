//! From an event's bytes to an event that knows its issue: derived, never looked up.

mod facts;

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::domain::payload::{self, PayloadError};
use crate::domain::{GroupedEvent, NormalEvent, RawEvent};
use crate::processing::fingerprint::{Memo, Stacks};

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

impl From<PayloadError> for ProcessingError {
    fn from(error: PayloadError) -> ProcessingError {
        ProcessingError::Compression(error.to_string())
    }
}

/// Decompresses, parses, fingerprints, and derives the candidate issues: pure, so that a crash can be repeated.
///
/// # Errors
/// If the payload is not what [`crate::processing::normalize`] writes.
pub fn group(raw: &RawEvent) -> Result<GroupedEvent, ProcessingError> {
    group_with(&mut Memo::off(), raw)
}

/// [`group`] that remembers stacks; it makes no difference but in time.
///
/// # Errors
/// As [`group`].
pub fn group_with(memo: &mut Memo, raw: &RawEvent) -> Result<GroupedEvent, ProcessingError> {
    if raw.facts.is_empty() {
        // The payload's frames hold variables: they are never the same again. It was packed without a dictionary.
        return group_json(&mut Memo::off(), raw, &payload::unpack(&raw.payload, None)?);
    }
    group_json(memo, raw, &raw.facts)
}

fn group_json(
    memo: &mut Memo,
    raw: &RawEvent,
    json: &[u8],
) -> Result<GroupedEvent, ProcessingError> {
    // All texts are looked at together for being UTF-8, not each by itself.
    let json =
        std::str::from_utf8(json).map_err(|error| ProcessingError::Json(error.to_string()))?;
    let read = serde_json::from_str::<NormalEvent<&RawValue>>(json)
        .and_then(|event| memo.stacks(&event).map(|stacks| (event, stacks)));
    let (event, stacks) = read.map_err(|error| {
        // Where it is wrong is told by one that reads all of it.
        let whole = serde_json::from_str::<NormalEvent>(json).err();
        ProcessingError::Json(whole.unwrap_or(error).to_string())
    })?;
    Ok(grouped(raw, event, &stacks))
}

fn grouped(raw: &RawEvent, event: NormalEvent<&RawValue>, stacks: &Stacks) -> GroupedEvent {
    let fingerprints = stacks.fingerprints(&event);
    let candidates = fingerprints
        .iter()
        .map(|grouped| grouped.fingerprint.issue_id(raw.project_id))
        .collect();
    let best = fingerprints
        .into_iter()
        .next()
        .expect("there is always a current algorithm");
    let title = facts::title(&event, stacks.crash_frame());
    let culprit = facts::culprit(&event, stacks.crash_frame());
    let message = event.message().map(str::to_owned);
    let exception = event.exceptions.values.into_iter().next_back();
    let (exception_type, exception_value) = match exception {
        Some(exception) => (exception.kind, exception.value),
        None => (None, None),
    };
    GroupedEvent {
        event_id: raw.event_id,
        project_id: raw.project_id,
        received_at: raw.received_at,
        occurred_at: event.occurred_at,
        level: event.level,
        title,
        culprit,
        message: message
            .or_else(|| exception_value.clone())
            .unwrap_or_default(),
        user: event
            .user
            .as_ref()
            .and_then(crate::domain::event::User::key),
        exception_type,
        exception_value,
        fingerprint: best.fingerprint,
        grouping: best.explanation,
        candidates,
        // Of its own: else what was read from the spool stays in memory with it, facts and all, until the event is stored.
        payload: Bytes::copy_from_slice(&raw.payload),
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
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_memo;
