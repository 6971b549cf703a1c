//! The framing of Sentry envelopes.
//!
//! Source: Sentry, developer docs, "Envelopes"; getsentry/relay `envelope/`.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::event_item::ItemKind;
use super::timestamps;
use crate::domain::EventId;

/// The longest line of header we read: no SDK comes near, and what is longer is no header.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// The most items one envelope may hold.
const ITEMS_MAX: usize = 1024;

/// An envelope: a header and items, whose payloads share the buffer they were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What holds for all items.
    pub header: EnvelopeHeader,
    /// The items, in order; those of unknown kinds too.
    pub items: Vec<Item>,
}

/// What holds for all items of an envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// The id of the event inside; wins over the payload's own. An unreadable one counts as none.
    pub event_id: Option<EventId>,
    /// The DSN it was sent to, which may be the only place with the key.
    pub dsn: Option<String>,
    /// When the client sent it, by its own clock.
    pub sent_at: Option<Timestamp>,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub header: ItemHeader,
    /// Its bytes.
    pub payload: Bytes,
}

/// What an item says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemHeader {
    /// What it is.
    pub kind: ItemKind,
    /// How many bytes it says it has; the Node SDK never says.
    pub length: Option<usize>,
    /// The name of an attachment.
    pub filename: Option<String>,
    /// The media type of its payload.
    pub content_type: Option<String>,
    /// The role of an attachment.
    pub attachment_type: Option<String>,
}

/// Bytes that are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// There are no bytes.
    Empty,
    /// The first line is no JSON object.
    InvalidHeader,
    /// The line before an item is no JSON object, or names no type.
    InvalidItemHeader,
    /// An item is shorter than it says, or goes on after its length.
    InvalidItemLength,
    /// There are more items than allowed.
    TooManyItems,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty envelope",
            Self::InvalidHeader => "invalid envelope header",
            Self::InvalidItemHeader => "invalid item header",
            Self::InvalidItemLength => "item payload does not have its declared length",
            Self::TooManyItems => "too many items",
        })
    }
}

impl std::error::Error for EnvelopeError {}

impl Envelope {
    /// Reads `header \n { item header \n payload \n }`. An item without `length` goes on to the next line feed; the last line feed may be missing; blank lines between items are skipped.
    ///
    /// # Errors
    /// If the bytes are not framed like that.
    pub fn parse(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        if bytes.trim_ascii().is_empty() {
            return Err(EnvelopeError::Empty);
        }
        let (header, mut at) = line(bytes, 0);
        let header = object(header).ok_or(EnvelopeError::InvalidHeader)?;
        let mut items = Vec::new();
        while at < bytes.len() {
            let (line, after) = line(bytes, at);
            at = after;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if items.len() == ITEMS_MAX {
                return Err(EnvelopeError::TooManyItems);
            }
            let header = object(line)
                .ok_or(EnvelopeError::InvalidItemHeader)
                .and_then(|header| ItemHeader::read(&header))?;
            let end = header.end(bytes, at)?;
            items.push(Item {
                payload: bytes.slice(at..end),
                header,
            });
            at = end + 1;
        }
        Ok(Self {
            header: EnvelopeHeader::read(&header),
            items,
        })
    }

    /// The first item of a kind.
    #[must_use]
    pub fn find(&self, kind: &ItemKind) -> Option<&Item> {
        self.items.iter().find(|item| item.header.kind == *kind)
    }
}

impl EnvelopeHeader {
    fn read(header: &Map<String, Value>) -> Self {
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        Self {
            event_id: text("event_id")
                .and_then(|id| id.trim().parse().ok())
                .filter(|id: &EventId| !id.as_uuid().is_nil()),
            dsn: text("dsn").map(str::to_owned),
            sent_at: header.get("sent_at").and_then(timestamps::parse),
        }
    }
}

impl ItemHeader {
    fn read(header: &Map<String, Value>) -> Result<Self, EnvelopeError> {
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = text("type").ok_or(EnvelopeError::InvalidItemHeader)?;
        let length = match header.get("length") {
            None | Some(Value::Null) => None,
            Some(length) => {
                let length = length
                    .as_u64()
                    .and_then(|length| usize::try_from(length).ok());
                Some(length.ok_or(EnvelopeError::InvalidItemLength)?)
            }
        };
        Ok(Self {
            kind: ItemKind::from_name(&kind),
            length,
            filename: text("filename"),
            content_type: text("content_type"),
            attachment_type: text("attachment_type"),
        })
    }

    /// Where the payload that starts at `start` ends.
    fn end(&self, bytes: &[u8], start: usize) -> Result<usize, EnvelopeError> {
        let start = start.min(bytes.len());
        let Some(length) = self.length else {
            return Ok(start + line_len(&bytes[start..]));
        };
        let end = start.checked_add(length).filter(|end| *end <= bytes.len());
        let end = end.ok_or(EnvelopeError::InvalidItemLength)?;
        match bytes.get(end) {
            None | Some(b'\n') => Ok(end),
            Some(_) => Err(EnvelopeError::InvalidItemLength),
        }
    }
}

/// The line that starts at `start`, and where the next one starts (never beyond the end).
fn line(bytes: &[u8], start: usize) -> (&[u8], usize) {
    let rest = &bytes[start..];
    let len = line_len(rest);
    (&rest[..len], (start + len + 1).min(bytes.len()))
}

fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())
}

fn object(line: &[u8]) -> Option<Map<String, Value>> {
    if line.len() > HEADER_BYTES_MAX {
        return None;
    }
    match serde_json::from_slice(line) {
        Ok(Value::Object(header)) => Some(header),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
