//! From an event's bytes to an event that knows its issue: derived, never looked up.

mod facts;

use std::cell::RefCell;
use std::fmt;

use serde_json::value::RawValue;
use zstd::bulk::Decompressor;

use crate::domain::{GroupedEvent, NormalEvent, RawEvent};
use crate::processing::fingerprint::{Memo, Stacks};

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
    group_with(&mut Memo::off(), raw)
}

/// [`group`] that remembers stacks; it makes no difference but in time.
///
/// # Errors
/// As [`group`].
pub fn group_with(memo: &mut Memo, raw: &RawEvent) -> Result<GroupedEvent, ProcessingError> {
    if raw.facts.is_empty() {
        // The payload's frames hold variables: they are never the same again.
        return group_json(&mut Memo::off(), raw, &payload_json(&raw.payload)?);
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
    }
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
#[cfg(test)]
mod tests_memo;
