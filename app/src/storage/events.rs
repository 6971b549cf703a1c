//! Events: those of an issue, and one with its payload and neighbours.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::{Error, GenericClient, Row};
use uuid::Uuid;

use super::cursor::{self, Cursor, Page};
use super::{issues, payload_dictionaries};
use crate::domain::{EventId, IssueId, ProjectId, ProjectNumber};

pub(crate) const STATEMENTS: &[&str] = &[LIST, GET, OLDER, NEWER, KNOWN];

/// One lateral part for each issue merged together, so that each walks its index and stops.
const LIST: &str = "SELECT e.* FROM unnest($1::uuid[]) AS b (issue_id) CROSS JOIN LATERAL (\
     SELECT id, issue_id, occurred_at, received_at, level, message, environment, release, tags FROM events \
     WHERE issue_id = b.issue_id AND ($2::timestamptz IS NULL OR (received_at, id) < ($2, $3::uuid)) \
     ORDER BY received_at DESC, id DESC LIMIT $4) e ORDER BY e.received_at DESC, e.id DESC LIMIT $4";
const GET: &str = "SELECT e.id, coalesce(i.merged_into, e.issue_id), e.received_at, e.occurred_at, e.payload \
     FROM events e LEFT JOIN issues i ON i.id = e.issue_id \
     WHERE e.project_id = $1 AND e.id = $2 ORDER BY e.received_at DESC LIMIT 1";
const OLDER: &str = "SELECT e.id FROM unnest($1::uuid[]) AS b (issue_id) CROSS JOIN LATERAL (\
     SELECT id, received_at FROM events WHERE issue_id = b.issue_id AND (received_at, id) < ($2, $3) \
     ORDER BY received_at DESC, id DESC LIMIT 1) e ORDER BY e.received_at DESC, e.id DESC LIMIT 1";
const NEWER: &str = "SELECT e.id FROM unnest($1::uuid[]) AS b (issue_id) CROSS JOIN LATERAL (\
     SELECT id, received_at FROM events WHERE issue_id = b.issue_id AND (received_at, id) > ($2, $3) \
     ORDER BY received_at, id LIMIT 1) e ORDER BY e.received_at, e.id LIMIT 1";
const KNOWN: &str = "SELECT e.id FROM projects p JOIN events e ON e.project_id = p.id \
     WHERE p.number = $1 AND e.id = ANY($2::uuid[])";

/// An event as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    /// Who it is: the SDK's own id.
    pub id: EventId,
    /// The issue of its birth.
    pub issue_id: IssueId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When the door took it.
    pub received_at: Timestamp,
    /// How bad it is.
    pub level: String,
    /// What it says; may be empty.
    pub message: String,
    /// `production`, `staging` …
    pub environment: String,
    /// The version of the program.
    pub release: Option<String>,
    /// Keys and values.
    pub tags: Vec<(String, String)>,
}

/// An event as its page shows it.
#[derive(Clone, Debug, Serialize)]
pub struct EventDetail {
    /// Who it is.
    pub id: EventId,
    /// The issue it counts for.
    pub issue_id: IssueId,
    /// Where it belongs.
    pub project_id: ProjectId,
    /// When the door took it.
    pub received_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The issue's event before it.
    pub previous_id: Option<EventId>,
    /// The issue's event after it.
    pub next_id: Option<EventId>,
    /// The normalised event, in Sentry's shape; `null` if it cannot be read any more.
    pub event: Option<Box<RawValue>>,
}

impl EventRow {
    fn from_row(row: &Row) -> EventRow {
        let tags: Vec<String> = row.get(8);
        EventRow {
            id: EventId::from_uuid(row.get(0)),
            issue_id: IssueId::from_uuid(row.get(1)),
            occurred_at: row.get(2),
            received_at: row.get(3),
            level: row.get(4),
            message: row.get(5),
            environment: row.get(6),
            release: row.get(7),
            tags: tags.into_iter().map(pair).collect(),
        }
    }
}

fn pair(tag: String) -> (String, String) {
    match tag.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (tag, String::new()),
    }
}

/// An issue's events, those received last first; those of issues merged into it are among them.
///
/// # Errors
///
/// What the database says.
pub async fn list(
    client: &impl GenericClient,
    issue: IssueId,
    after: Option<Cursor>,
    limit: u16,
) -> Result<Page<EventRow>, Error> {
    let births = issues::births(client, issue).await?;
    let rows = client
        .query(
            LIST,
            &[
                &births,
                &after.map(|cursor| cursor.time),
                &after.map(|cursor| cursor.id),
                &cursor::fetch(limit),
            ],
        )
        .await?;
    let rows = rows.iter().map(EventRow::from_row).collect();
    Ok(cursor::page(rows, limit, |row: &EventRow| Cursor {
        time: row.received_at,
        id: row.id.into_uuid(),
    }))
}

/// The event that an issue received last.
///
/// # Errors
///
/// What the database says.
pub async fn latest(client: &impl GenericClient, issue: IssueId) -> Result<Option<EventId>, Error> {
    let page = list(client, issue, None, 1).await?;
    Ok(page.data.first().map(|row| row.id))
}

/// One event of a project, with its payload and its neighbours within the issue.
///
/// # Errors
///
/// What the database says.
pub async fn get(
    client: &impl GenericClient,
    project: ProjectId,
    event: EventId,
) -> Result<Option<EventDetail>, Error> {
    let row = client
        .query_opt(GET, &[&project.into_uuid(), &event.into_uuid()])
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let issue_id = IssueId::from_uuid(row.get(1));
    let received_at: Timestamp = row.get(2);
    let births = issues::births(client, issue_id).await?;
    let neighbour = async |sql: &str| -> Result<Option<EventId>, Error> {
        let row = client
            .query_opt(sql, &[&births, &received_at, &event.into_uuid()])
            .await?;
        Ok(row.map(|row| EventId::from_uuid(row.get::<_, Uuid>(0))))
    };
    Ok(Some(EventDetail {
        id: event,
        issue_id,
        project_id: project,
        received_at,
        occurred_at: row.get(3),
        previous_id: neighbour(OLDER).await?,
        next_id: neighbour(NEWER).await?,
        event: shown(client, project, event, row.get(4)).await?,
    }))
}

/// The JSON of a stored payload; `None`, and a line in the log, if it cannot be read.
async fn shown(
    client: &impl GenericClient,
    project: ProjectId,
    event: EventId,
    payload: &[u8],
) -> Result<Option<Box<RawValue>>, Error> {
    Ok(
        match payload_dictionaries::unpack(client, project, payload).await? {
            Ok(json) => text(json),
            Err(error) => {
                tracing::warn!(%error, event.id = %event, project.id = %project, "the payload of an event cannot be read");
                None
            }
        },
    )
}

fn text(json: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
}

/// Those of `ids` that are stored in the project of this number.
///
/// # Errors
///
/// What the database says.
pub async fn known(
    client: &impl GenericClient,
    project: ProjectNumber,
    ids: &[Uuid],
) -> Result<HashSet<Uuid>, Error> {
    let rows = client.query(KNOWN, &[&project.get(), &ids]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::{pair, text};

    #[test]
    fn tags_are_cut_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c".into()), ("a".into(), "b=c".into()));
        assert_eq!(pair("flag".into()), ("flag".into(), String::new()));
    }

    #[test]
    fn what_is_no_json_is_not_shown() {
        assert_eq!(text(b"{\"a\":1}".to_vec()).unwrap().get(), r#"{"a":1}"#);
        assert!(text(b"nonsense".to_vec()).is_none());
        assert!(text(b"\xff".to_vec()).is_none());
    }
}
