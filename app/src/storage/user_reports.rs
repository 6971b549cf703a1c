//! What users wrote about what went wrong: kept, listed, and forgotten after the project's retention.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Error, GenericClient, Row};
use uuid::Uuid;

use super::cursor::{self, Cursor, Page};
use super::issues;
use crate::domain::user_report::UserReport;
use crate::domain::{EventId, IssueId, ProjectId};

pub(crate) const STATEMENTS: &[&str] = &[PUT, OF_PROJECT, OF_ISSUE, PRUNE];

const PUT: &str = "INSERT INTO user_reports (project_id, id, event_id, received_at, name, email, message, url) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (project_id, id) DO NOTHING";
/// The event may have come later than the report, or long before it; the bounds leave out most partitions.
const OF_PROJECT: &str = "SELECT r.id, r.event_id, r.received_at, r.name, r.email, r.message, r.url, coalesce(i.merged_into, e.issue_id) \
     FROM user_reports r LEFT JOIN LATERAL (SELECT issue_id FROM events WHERE project_id = r.project_id AND id = r.event_id \
     AND received_at >= r.received_at - interval '30 days' AND received_at <= r.received_at + interval '2 days' LIMIT 1) e ON true \
     LEFT JOIN issues i ON i.id = e.issue_id \
     WHERE r.project_id = $1 AND ($2::timestamptz IS NULL OR (r.received_at, r.id) < ($2, $3::uuid)) \
     ORDER BY r.received_at DESC, r.id DESC LIMIT $4";
const OF_ISSUE: &str = "SELECT r.id, r.event_id, r.received_at, r.name, r.email, r.message, r.url, $2::uuid \
     FROM user_reports r CROSS JOIN LATERAL (SELECT issue_id FROM events WHERE project_id = r.project_id AND id = r.event_id \
     AND received_at >= r.received_at - interval '30 days' AND received_at <= r.received_at + interval '2 days' LIMIT 1) e \
     WHERE r.project_id = $1 AND e.issue_id = ANY($3::uuid[]) \
     AND ($4::timestamptz IS NULL OR (r.received_at, r.id) < ($4, $5::uuid)) \
     ORDER BY r.received_at DESC, r.id DESC LIMIT $6";
const PRUNE: &str = "DELETE FROM user_reports r USING projects p \
     WHERE p.id = r.project_id AND r.received_at < $1::timestamptz - p.retention_days * interval '1 day'";

/// A report as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserReportRow {
    /// Who it is.
    pub id: EventId,
    /// The event it is about.
    pub event_id: Option<EventId>,
    /// That event's issue, if it is stored.
    pub issue_id: Option<IssueId>,
    /// When the door took it.
    pub received_at: Timestamp,
    /// Who wrote it; may be empty.
    pub name: String,
    /// How to answer; may be empty.
    pub email: String,
    /// What was written.
    pub message: String,
    /// The page it was written on; may be empty.
    pub url: String,
}

impl UserReportRow {
    fn from_row(row: &Row) -> UserReportRow {
        UserReportRow {
            id: EventId::from_uuid(row.get(0)),
            event_id: row.get::<_, Option<Uuid>>(1).map(EventId::from_uuid),
            received_at: row.get(2),
            name: row.get(3),
            email: row.get(4),
            message: row.get(5),
            url: row.get(6),
            issue_id: row.get::<_, Option<Uuid>>(7).map(IssueId::from_uuid),
        }
    }

    fn place(&self) -> Cursor {
        Cursor {
            time: self.received_at,
            id: self.id.into_uuid(),
        }
    }
}

/// Keeps a report. Of those with the same id the first stays: a client's retry changes nothing, and whoever knows a public key and an id
/// cannot put other words in a user's mouth.
///
/// # Errors
///
/// What the database says; nothing is kept then.
pub async fn put(
    client: &impl GenericClient,
    project: ProjectId,
    received_at: Timestamp,
    report: &UserReport,
) -> Result<(), Error> {
    let event_id = report.event_id.map(EventId::into_uuid);
    client
        .execute(
            PUT,
            &[
                &project.into_uuid(),
                &report.id.into_uuid(),
                &event_id,
                &received_at,
                &report.name,
                &report.email,
                &report.message,
                &report.url,
            ],
        )
        .await?;
    Ok(())
}

/// A project's reports, the latest first.
///
/// # Errors
///
/// What the database says.
pub async fn of_project(
    client: &impl GenericClient,
    project: ProjectId,
    after: Option<Cursor>,
    limit: u16,
) -> Result<Page<UserReportRow>, Error> {
    let rows = client
        .query(
            OF_PROJECT,
            &[
                &project.into_uuid(),
                &after.map(|cursor| cursor.time),
                &after.map(|cursor| cursor.id),
                &cursor::fetch(limit),
            ],
        )
        .await?;
    let rows = rows.iter().map(UserReportRow::from_row).collect();
    Ok(cursor::page(rows, limit, UserReportRow::place))
}

/// The reports about an issue's events, those of issues merged into it included, the latest first.
///
/// # Errors
///
/// What the database says.
pub async fn of_issue(
    client: &impl GenericClient,
    project: ProjectId,
    issue: IssueId,
    after: Option<Cursor>,
    limit: u16,
) -> Result<Page<UserReportRow>, Error> {
    let births = issues::births(client, issue).await?;
    let rows = client
        .query(
            OF_ISSUE,
            &[
                &project.into_uuid(),
                &issue.into_uuid(),
                &births,
                &after.map(|cursor| cursor.time),
                &after.map(|cursor| cursor.id),
                &cursor::fetch(limit),
            ],
        )
        .await?;
    let rows = rows.iter().map(UserReportRow::from_row).collect();
    Ok(cursor::page(rows, limit, UserReportRow::place))
}

/// Forgets the reports that are past their project's retention; returns how many.
///
/// # Errors
///
/// What the database says.
pub async fn prune(client: &impl GenericClient, now: Timestamp) -> Result<u64, Error> {
    client.execute(PRUNE, &[&now]).await
}
