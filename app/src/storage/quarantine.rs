//! Events that could not be processed or stored: what there is, and taking one out to try it again.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Error, GenericClient, Row};
use uuid::Uuid;

use super::cursor::Page;
use super::outcomes::{self, OutcomeCount};
use super::{payload_dictionaries, transaction};
use crate::domain::{EventId, Outcome, ProjectId, RawEvent};

pub(crate) const STATEMENTS: &[&str] = &[LIST, FIND, REMOVE, UNCOUNT];

const LIST: &str = "SELECT id, event_id, received_at, quarantined_at, reason, length(payload) FROM quarantine \
     WHERE project_id = $1 AND ($2::int8 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3";
const FIND: &str =
    "SELECT event_id, received_at, payload FROM quarantine WHERE project_id = $1 AND id = $2";
const REMOVE: &str =
    "DELETE FROM quarantine WHERE project_id = $1 AND id = $2 RETURNING received_at";
/// An event ends in one outcome: one that is tried again has not ended yet. Its reason is not known any more, so the fullest is taken.
/// What became of its record in the spool, which is behind that spool's position, stays known as [`Outcome::Replayed`].
const UNCOUNT: &str = "UPDATE outcomes SET quantity = quantity - 1 WHERE (project_id, hour, outcome, reason) = \
     (SELECT project_id, hour, outcome, reason FROM outcomes WHERE project_id = $1 AND hour = $2 AND outcome = $3 \
     AND quantity > 0 ORDER BY quantity DESC LIMIT 1)";

/// An event in quarantine, without its payload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuarantineRow {
    /// Its number in the quarantine.
    pub id: i64,
    /// Who it is.
    pub event_id: EventId,
    /// When the door took it.
    pub received_at: Timestamp,
    /// When it was put aside.
    pub quarantined_at: Timestamp,
    /// Why.
    pub reason: String,
    /// How large its compressed payload is.
    pub payload_bytes: i32,
}

impl QuarantineRow {
    fn from_row(row: &Row) -> QuarantineRow {
        QuarantineRow {
            id: row.get(0),
            event_id: EventId::from_uuid(row.get::<_, Uuid>(1)),
            received_at: row.get(2),
            quarantined_at: row.get(3),
            reason: row.get(4),
            payload_bytes: row.get(5),
        }
    }
}

/// A project's quarantined events with numbers below `before`, the latest first.
///
/// # Errors
///
/// What the database says.
pub async fn list(
    client: &impl GenericClient,
    project: ProjectId,
    before: Option<i64>,
    limit: u16,
) -> Result<Page<QuarantineRow>, Error> {
    let wanted = i64::from(limit) + 1;
    let rows = client
        .query(LIST, &[&project.into_uuid(), &before, &wanted])
        .await?;
    let mut data: Vec<QuarantineRow> = rows.iter().map(QuarantineRow::from_row).collect();
    let has_more = data.len() > usize::from(limit);
    data.truncate(usize::from(limit));
    let next_cursor = data
        .last()
        .filter(|_| has_more)
        .map(|row| row.id.to_string());
    Ok(Page { data, next_cursor })
}

/// One event as the spool held it; `None` if it is not there, or not of that project.
///
/// # Errors
///
/// What the database says.
pub async fn find(
    client: &impl GenericClient,
    project: ProjectId,
    id: i64,
) -> Result<Option<RawEvent>, Error> {
    let row = client.query_opt(FIND, &[&project.into_uuid(), &id]).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    // Its facts are not kept, and without them a payload is read where nobody asks the database for a dictionary.
    let payload = payload_dictionaries::freed(client, project, row.get(2)).await?;
    Ok(Some(RawEvent {
        event_id: EventId::from_uuid(row.get(0)),
        project_id: project,
        received_at: row.get(1),
        facts: Bytes::new(),
        payload: payload.into(),
    }))
}

/// Takes one event out and takes its outcome back; `false` if it was not there. Its record counts as replayed from here on.
///
/// # Errors
///
/// What the database says; nothing is changed then.
pub async fn remove(client: &mut Client, project: ProjectId, id: i64) -> Result<bool, Error> {
    let transaction = transaction::begin(client).await?;
    let Some(row) = transaction
        .query_opt(REMOVE, &[&project.into_uuid(), &id])
        .await?
    else {
        return Ok(false);
    };
    let hour = outcomes::hour(row.get(0));
    let uncounted = transaction
        .execute(
            UNCOUNT,
            &[&project.into_uuid(), &hour, &Outcome::Quarantined.as_str()],
        )
        .await?;
    let replayed = OutcomeCount {
        project_id: project,
        at: hour,
        outcome: Outcome::Replayed,
        reason: String::new(),
        quantity: uncounted,
    };
    if uncounted > 0 {
        outcomes::add(&transaction, outcomes::ADD, &[replayed]).await?;
    }
    transaction.commit().await?;
    Ok(true)
}
