//! COPY in binary of a chunk's events into the staging table, and from there into `events`.

use std::pin::pin;

use jiff::Timestamp;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Transaction};
use uuid::Uuid;

use crate::domain::GroupedEvent;

pub(crate) const STATEMENTS: &[&str] = &[STAGING, COPY, INSERT];

/// The staging table belongs to the connection and is emptied by each commit. It keeps the storage of `payload`, so that
/// what is compressed already is not compressed again.
pub(crate) const STAGING: &str = "CREATE TEMP TABLE IF NOT EXISTS staged_events \
     (seq int4 NOT NULL, LIKE events INCLUDING STORAGE) ON COMMIT DELETE ROWS";
const COPY: &str = "COPY staged_events (seq, project_id, id, received_at, processed_at, issue_id, occurred_at, level, platform, \
     message, culprit, environment, release, dist, logger, transaction, server_name, user_key, exception_type, sdk_name, \
     sdk_version, fingerprint, fingerprint_version, tags, payload) FROM STDIN BINARY";
const INSERT: &str = "INSERT INTO events (project_id, id, received_at, issue_id, occurred_at, level, platform, message, culprit, \
     environment, release, dist, logger, transaction, server_name, user_key, exception_type, sdk_name, sdk_version, \
     fingerprint, fingerprint_version, tags, payload) \
     SELECT s.project_id, s.id, d.received_at, d.issue_id, s.occurred_at, s.level, s.platform, s.message, s.culprit, \
     s.environment, s.release, s.dist, s.logger, s.transaction, s.server_name, s.user_key, s.exception_type, s.sdk_name, \
     s.sdk_version, s.fingerprint, s.fingerprint_version, s.tags, s.payload \
     FROM unnest($1::int4[], $2::uuid[], $3::timestamptz[]) AS d (seq, issue_id, received_at) \
     JOIN staged_events s ON s.seq = d.seq";

/// The types of [`COPY`]'s columns.
const TYPES: [Type; 25] = [
    Type::INT4,
    Type::UUID,
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::TEXT_ARRAY,
    Type::BYTEA,
];

/// Copies the events into the staging table; the column `seq` is the place in `events`.
pub(crate) async fn stage(
    transaction: &Transaction<'_>,
    events: &[&GroupedEvent],
) -> Result<(), Error> {
    transaction.batch_execute(STAGING).await?;
    let sink = transaction.copy_in(COPY).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &TYPES));
    for (place, event) in events.iter().enumerate() {
        let row = Row::new(place, event);
        writer.as_mut().write(&row.columns(event)).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Moves staged events into `events`: which, to which issue, received when.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    places: &[i32],
    issues: &[Uuid],
    received: &[Timestamp],
) -> Result<u64, Error> {
    if places.is_empty() {
        return Ok(0);
    }
    transaction
        .execute(INSERT, &[&places, &issues, &received])
        .await
}

/// The columns of an event that are not fields of it.
struct Row<'a> {
    place: i32,
    project_id: Uuid,
    id: Uuid,
    issue_id: Uuid,
    level: &'static str,
    fingerprint_version: i16,
    tags: Vec<String>,
    payload: &'a [u8],
}

impl<'a> Row<'a> {
    fn new(place: usize, event: &'a GroupedEvent) -> Row<'a> {
        Row {
            place: i32::try_from(place).expect("a chunk has at most thousands of events"),
            project_id: event.project_id.into_uuid(),
            id: event.event_id.into_uuid(),
            // Decided under the lock; the column is not null, so something stands there until then.
            issue_id: Uuid::nil(),
            level: event.level.as_str(),
            fingerprint_version: i16::try_from(event.fingerprint.version).unwrap_or(i16::MAX),
            tags: event
                .tags
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
            payload: &event.payload,
        }
    }

    fn columns<'b>(&'b self, event: &'b GroupedEvent) -> [&'b (dyn ToSql + Sync); 25] {
        [
            &self.place,
            &self.project_id,
            &self.id,
            &event.received_at,
            &event.received_at,
            &self.issue_id,
            &event.occurred_at,
            &self.level,
            &event.platform,
            &event.message,
            &event.culprit,
            &event.environment,
            &event.release,
            &event.dist,
            &event.logger,
            &event.transaction,
            &event.server_name,
            &event.user,
            &event.exception_type,
            &event.sdk_name,
            &event.sdk_version,
            &event.fingerprint.hash,
            &self.fingerprint_version,
            &self.tags,
            &self.payload,
        ]
    }
}
