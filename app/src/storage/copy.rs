//! COPY in binary of a chunk's events, straight into `events`.
//!
//! Source: PostgreSQL's documentation, "COPY", binary format; "Frontend/Backend Protocol", the binary forms of the types.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, pin_mut};
use jiff::Timestamp;
use tokio_postgres::{Error, ToStatement, Transaction};
use uuid::Uuid;

use crate::domain::{GroupedEvent, IssueId};

pub(crate) const STATEMENTS: &[&str] = &[COPY];

/// `processed_at` is the database's own clock.
pub(crate) const COPY: &str = "COPY events (project_id, id, received_at, issue_id, occurred_at, level, platform, message, culprit, \
     environment, release, dist, logger, transaction, server_name, user_key, exception_type, sdk_name, sdk_version, \
     fingerprint, fingerprint_version, tags, payload) FROM STDIN BINARY";

/// How many columns [`COPY`] names.
const COLUMNS: i16 = 23;

/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The count that stands where another row would begin.
const TRAILER: i16 = -1;

/// Rows are handed on in pieces of this many bytes, give or take one row: each piece wakes the connection's task.
const PIECE_BYTES: usize = 256 * 1024;

/// The object identifier of the type `text`, which an array names.
const TEXT_OID: i32 = 25;

/// Where the database's time begins: 2000-01-01, in microseconds since 1970.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// An event and what was decided about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventRow<'a> {
    pub(crate) event: &'a GroupedEvent,
    pub(crate) issue_id: IssueId,
    pub(crate) received_at: Timestamp,
}

/// Copies rows into `events`, by [`COPY`]; their partitions must exist.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    rows: &[EventRow<'_>],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sink = transaction.copy_in::<_, Bytes>(statement).await?;
    pin_mut!(sink);
    let mut piece = BytesMut::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
    piece.put_slice(HEADER);
    for row in rows {
        put_row(&mut piece, row);
        if piece.len() >= PIECE_BYTES {
            sink.send(piece.split().freeze()).await?;
            piece.reserve(PIECE_BYTES + PIECE_BYTES / 8);
        }
    }
    piece.put_i16(TRAILER);
    sink.send(piece.freeze()).await?;
    sink.finish().await?;
    Ok(())
}

fn put_row(out: &mut BytesMut, row: &EventRow<'_>) {
    let event = row.event;
    let text = |out: &mut BytesMut, text: &str| put(out, text.as_bytes());
    let optional = |out: &mut BytesMut, value: &Option<String>| match value {
        Some(value) => put(out, value.as_bytes()),
        None => out.put_i32(-1),
    };
    out.put_i16(COLUMNS);
    put_uuid(out, event.project_id.as_uuid());
    put_uuid(out, event.event_id.as_uuid());
    put_time(out, row.received_at);
    put_uuid(out, row.issue_id.as_uuid());
    put_time(out, event.occurred_at);
    text(out, event.level.as_str());
    text(out, &event.platform);
    text(out, &event.message);
    text(out, &event.culprit);
    text(out, &event.environment);
    optional(out, &event.release);
    optional(out, &event.dist);
    optional(out, &event.logger);
    optional(out, &event.transaction);
    optional(out, &event.server_name);
    optional(out, &event.user);
    optional(out, &event.exception_type);
    optional(out, &event.sdk_name);
    optional(out, &event.sdk_version);
    text(out, &event.fingerprint.hash);
    out.put_i32(2);
    out.put_i16(i16::try_from(event.fingerprint.version).unwrap_or(i16::MAX));
    put_tags(out, &event.tags);
    put(out, &event.payload);
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(len(bytes.len()));
    out.put_slice(bytes);
}

fn put_uuid(out: &mut BytesMut, id: &Uuid) {
    put(out, id.as_bytes());
}

fn put_time(out: &mut BytesMut, time: Timestamp) {
    out.put_i32(8);
    out.put_i64(time.as_microsecond() - EPOCH_MICROSECONDS);
}

/// `text[]`, each element `key=value`.
fn put_tags(out: &mut BytesMut, tags: &[(String, String)]) {
    let elements = tags.iter().map(|(key, value)| key.len() + 1 + value.len());
    let dimensions = i32::from(!tags.is_empty());
    let head = if tags.is_empty() { 12 } else { 20 };
    out.put_i32(len(head + elements.map(|bytes| 4 + bytes).sum::<usize>()));
    out.put_i32(dimensions);
    // No element is NULL.
    out.put_i32(0);
    out.put_i32(TEXT_OID);
    if !tags.is_empty() {
        out.put_i32(len(tags.len()));
        // Arrays begin at 1.
        out.put_i32(1);
    }
    for (key, value) in tags {
        out.put_i32(len(key.len() + 1 + value.len()));
        out.put_slice(key.as_bytes());
        out.put_u8(b'=');
        out.put_slice(value.as_bytes());
    }
}

fn len(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("an event is bounded to a few megabytes")
}
