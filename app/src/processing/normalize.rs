//! Turns whatever an SDK sends into one shape: bounded, scrubbed, compressed.

mod attributes;
mod bounds;
mod event;
mod exceptions;
mod facts;
mod json;
mod native;
mod parser;
mod stack_text;
mod value;
mod values;

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use self::value::{Map, Value};

use crate::domain::payload::{self, Dictionary};
use crate::domain::{EventId, ProjectId, ProjectNumber, RawEvent};

/// What the door knows of an event besides its bytes.
#[derive(Clone, Debug)]
pub struct EventContext {
    /// The project whose key was shown.
    pub project_id: ProjectId,
    /// That project's number, to check a native body's `project_id`.
    pub project_number: Option<ProjectNumber>,
    /// When the door took it, by our clock.
    pub received_at: Timestamp,
    /// When the client sent it, by the client's clock, if it said (`sent_at` of an envelope).
    pub sent_at: Option<Timestamp>,
    /// The id from the envelope's header, which wins over the body's.
    pub event_id: Option<EventId>,
    /// Used when neither header nor body has an id; random then, for normalising is pure and chance comes from the caller. Where the header
    /// has one, nobody reads it.
    pub fresh_event_id: EventId,
    /// Where the connection came from, for `{{auto}}`.
    pub remote_address: Option<IpAddr>,
    /// What the project's events have in common, for those received within its life.
    pub dictionary: Option<Arc<Dictionary>>,
}

/// Bytes that are no event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// Not JSON, even read leniently; with the parser's words.
    Json(String),
    /// JSON, but not an object.
    NotAnObject,
    /// A native body whose `project_id` is not the key's project.
    ForeignProject,
    /// The event cannot be compressed.
    Compression(String),
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "invalid JSON: {error}"),
            Self::NotAnObject => f.write_str("an event must be a JSON object"),
            Self::ForeignProject => f.write_str("project_id is not the project of the key"),
            Self::Compression(error) => write!(f, "cannot compress the event: {error}"),
        }
    }
}

impl std::error::Error for InvalidEvent {}

/// Turns an event in any of Sentry's shapes into a [`RawEvent`]: normalised, scrubbed, bounded, compressed.
///
/// # Errors
/// If the bytes are no JSON object.
pub fn sentry_event(json: &[u8], context: &EventContext) -> Result<RawEvent, InvalidEvent> {
    finish(object(json)?, context)
}

/// Turns a body of `POST /api/v1/events` into a [`RawEvent`], by way of Sentry's shape.
///
/// # Errors
/// If the bytes are no JSON object, or name another project.
pub fn native_event(
    json: &[u8],
    context: &EventContext,
) -> Result<(EventId, RawEvent), InvalidEvent> {
    let raw = finish(native::to_sentry(object(json)?, context)?, context)?;
    Ok((raw.event_id, raw))
}

fn object(json: &[u8]) -> Result<Map<'_>, InvalidEvent> {
    match json::parse(json).map_err(InvalidEvent::Json)? {
        Value::Object(event) => Ok(event),
        _ => Err(InvalidEvent::NotAnObject),
    }
}

fn finish(given: Map<'_>, context: &EventContext) -> Result<RawEvent, InvalidEvent> {
    let received_at = Timestamp::from_microsecond(context.received_at.as_microsecond())
        .unwrap_or(context.received_at);
    let context = EventContext {
        received_at,
        ..context.clone()
    };
    let (event_id, event) = event::normalize(given, &context);
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { json, packed } = scratch;
        json.clear();
        facts::write(&event, json);
        // Where there are too many, only the payload tells.
        let facts = if json.len() > bounds::FACTS_BYTES_MAX {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(json)
        };
        // And then it tells without a dictionary: to group an event nobody asks the database.
        let dictionary = context.dictionary.as_deref();
        let dictionary = dictionary.filter(|it| !facts.is_empty() && it.is_live(received_at));
        json.clear();
        event.write(json);
        payload::pack(json, dictionary, packed)
            .map_err(|error| InvalidEvent::Compression(error.to_string()))?;
        let raw = RawEvent {
            event_id,
            project_id: context.project_id,
            received_at,
            facts,
            payload: Bytes::copy_from_slice(packed),
        };
        // A large event is rare; what it took is not kept for it.
        for buffer in [json, packed] {
            buffer.clear();
            buffer.shrink_to(SCRATCH_BYTES_MAX);
        }
        Ok(raw)
    })
}

/// What a thread keeps from one event for the next: memory just used is near.
#[derive(Default)]
struct Scratch {
    json: Vec<u8>,
    packed: Vec<u8>,
}

/// The most bytes that a thread keeps of each of its buffers: those of most events.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[cfg(test)]
mod tests;
