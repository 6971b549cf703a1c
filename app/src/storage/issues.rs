//! Issues: lists, one issue, and what users do to them, under the same lock as the writer.

pub(crate) mod record;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Error, GenericClient, Row, ToStatement, Transaction};
use uuid::Uuid;

use self::record::IssueRecord;
use super::cursor::{self, Cursor, Page};
use super::transaction;
use crate::domain::{ArchivedUntil, EventId, IssueId, IssueStatus, OrganizationId, ProjectId};

pub(crate) const STATEMENTS: &[&str] = &[LIST, GET, IS_OF, LOCK, PROJECT_OF, BIRTHS, NOTE_CHANGE];

const LIST: &str = "SELECT i.id, i.project_id, p.slug, i.number, i.title, i.culprit, i.level, i.status, i.regressed, i.platform, \
     i.event_count + i.merged_event_count, i.first_seen, i.last_seen \
     FROM issues i JOIN projects p ON p.id = i.project_id \
     WHERE i.project_id = $1 AND i.merged_into IS NULL AND ($2::text IS NULL OR i.status = $2) \
     AND ($3::text IS NULL OR i.title ILIKE $3 OR i.culprit ILIKE $3 OR i.value ILIKE $3) \
     AND ($4::timestamptz IS NULL OR (i.last_seen, i.id) < ($4, $5::uuid)) \
     ORDER BY i.last_seen DESC, i.id DESC LIMIT $6";
const GET: &str = "SELECT i.id, i.project_id, p.slug, i.number, i.title, i.culprit, i.level, i.status, i.regressed, i.platform, \
     i.event_count + i.merged_event_count, i.first_seen, i.last_seen, i.type, i.value, i.fingerprint, i.fingerprint_version, \
     i.grouping, i.latest_event_id, i.first_release, i.last_release \
     FROM issues b JOIN issues i ON i.id = coalesce(b.merged_into, b.id) JOIN projects p ON p.id = i.project_id \
     WHERE b.id = $1";
const IS_OF: &str = "SELECT EXISTS (SELECT FROM issues i JOIN projects p ON p.id = i.project_id \
     WHERE i.id = $1 AND p.organization_id = $2)";
/// The first number says whose lock it is; locks are taken in ascending order by everybody.
pub(crate) const LOCK: &str = "SELECT pg_advisory_xact_lock(1835365224, n) FROM (SELECT DISTINCT unnest($1::int4[]) AS n ORDER BY n) AS numbers";
const PROJECT_OF: &str = "SELECT i.id, p.number FROM issues b JOIN issues i ON i.id = coalesce(b.merged_into, b.id) \
     JOIN projects p ON p.id = i.project_id WHERE b.id = $1";
const BIRTHS: &str = "SELECT id FROM issues WHERE id = $1 OR merged_into = $1";
const NOTE_CHANGE: &str = "WITH counter AS (UPDATE project_counters SET last_change = last_change + 1 WHERE project_id = $1 \
     RETURNING last_change) INSERT INTO outbox (project_id, sequence, issue_id, kind, quantity) \
     SELECT $1, last_change, $2, 'changed', 0 FROM counter";

/// An issue as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IssueRow {
    /// Its identity.
    pub id: IssueId,
    /// Where it belongs.
    pub project_id: ProjectId,
    /// What people call it: `WEB-42`.
    pub short_id: String,
    /// One line that names the problem.
    pub title: String,
    /// Where it happens; may be empty.
    pub culprit: String,
    /// Of its latest event.
    pub level: String,
    /// Where it stands.
    pub status: String,
    /// Whether it came back after it was resolved.
    pub regressed: bool,
    /// The platform of its first event.
    pub platform: String,
    /// How many events it has, those of merged issues included.
    pub event_count: i64,
    /// When its earliest event happened.
    pub first_seen: Timestamp,
    /// When its latest event happened.
    pub last_seen: Timestamp,
}

/// An issue as its page shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IssueDetail {
    /// What lists show.
    #[serde(flatten)]
    pub row: IssueRow,
    /// The class of its exception.
    pub r#type: Option<String>,
    /// The text of its first exception.
    pub value: Option<String>,
    /// `v1:0123…`: what groups its events.
    pub fingerprint: String,
    /// What contributed to the grouping, what did not, and why.
    pub grouping: serde_json::Value,
    /// Its latest event.
    pub latest_event_id: EventId,
    /// The release in which it was first seen.
    pub first_release: Option<String>,
    /// The release in which it was last seen.
    pub last_release: Option<String>,
}

/// Which issues a list shows, and which page of it.
#[derive(Clone, Debug, Default)]
pub struct IssueFilter {
    /// Only those that stand so.
    pub status: Option<IssueStatus>,
    /// Only those whose title, culprit or value contains this text, in any case.
    pub query: Option<String>,
    /// After this place.
    pub cursor: Option<Cursor>,
    /// At most so many, see [`cursor::LIMIT_MAX`].
    pub limit: u16,
}

/// What a user does to an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueAction {
    /// It is mended.
    Resolve,
    /// It is to be looked at again.
    Unresolve,
    /// It is put aside.
    Archive(ArchivedUntil),
    /// Its future events are dropped.
    Discard,
}

impl IssueRow {
    fn from_row(row: &Row) -> IssueRow {
        IssueRow {
            id: IssueId::from_uuid(row.get(0)),
            project_id: ProjectId::from_uuid(row.get(1)),
            short_id: short_id(row.get(2), row.get(3)),
            title: row.get(4),
            culprit: row.get(5),
            level: row.get(6),
            status: row.get(7),
            regressed: row.get(8),
            platform: row.get(9),
            event_count: row.get(10),
            first_seen: row.get(11),
            last_seen: row.get(12),
        }
    }

    pub(crate) fn of_record(record: &IssueRecord, slug: &str) -> IssueRow {
        IssueRow {
            id: record.issue_id(),
            project_id: record.project(),
            short_id: short_id(slug, record.number),
            title: record.title.clone(),
            culprit: record.culprit.clone(),
            level: record.level.clone(),
            status: record.status.clone(),
            regressed: record.regressed,
            platform: record.platform.clone(),
            event_count: record.total(),
            first_seen: record.first_seen,
            last_seen: record.last_seen,
        }
    }
}

/// What people call an issue: `WEB-42`.
fn short_id(slug: &str, number: i64) -> String {
    format!("{}-{number}", slug.to_ascii_uppercase())
}

/// A project's issues, those seen last first.
///
/// # Errors
///
/// What the database says.
pub async fn list(
    client: &impl GenericClient,
    project: ProjectId,
    filter: &IssueFilter,
) -> Result<Page<IssueRow>, Error> {
    let status = filter.status.map(IssueStatus::as_str);
    let query = filter.query.as_deref().and_then(pattern);
    let rows = client
        .query(
            LIST,
            &[
                &project.into_uuid(),
                &status,
                &query,
                &filter.cursor.map(|cursor| cursor.time),
                &filter.cursor.map(|cursor| cursor.id),
                &cursor::fetch(filter.limit),
            ],
        )
        .await?;
    let rows = rows.iter().map(IssueRow::from_row).collect();
    Ok(cursor::page(rows, filter.limit, |row: &IssueRow| Cursor {
        time: row.last_seen,
        id: row.id.into_uuid(),
    }))
}

/// One issue; of a merged one, the one it is merged into.
///
/// # Errors
///
/// What the database says.
pub async fn get(
    client: &impl GenericClient,
    issue: IssueId,
) -> Result<Option<IssueDetail>, Error> {
    let row = client.query_opt(GET, &[&issue.into_uuid()]).await?;
    Ok(row.map(|row| IssueDetail {
        row: IssueRow::from_row(&row),
        r#type: row.get(13),
        value: row.get(14),
        fingerprint: format!("v{}:{}", row.get::<_, i16>(16), row.get::<_, String>(15)),
        grouping: row.get(17),
        latest_event_id: EventId::from_uuid(row.get(18)),
        first_release: row.get(19),
        last_release: row.get(20),
    }))
}

/// Whether there is such an issue in a project of `organization`.
///
/// # Errors
///
/// What the database says.
pub async fn is_of(
    client: &impl GenericClient,
    organization: OrganizationId,
    issue: IssueId,
) -> Result<bool, Error> {
    let row = client
        .query_one(IS_OF, &[&issue.into_uuid(), &organization.into_uuid()])
        .await?;
    Ok(row.get(0))
}

/// Does `action` to an issue under its project's lock; `None` when there is no such issue.
///
/// # Errors
///
/// What the database says; nothing is changed then.
pub async fn act(
    client: &mut Client,
    issue: IssueId,
    action: IssueAction,
    now: Timestamp,
) -> Result<Option<IssueDetail>, Error> {
    let transaction = transaction::begin(client).await?;
    let Some(place) = transaction
        .query_opt(PROJECT_OF, &[&issue.into_uuid()])
        .await?
    else {
        return Ok(None);
    };
    lock_projects(&transaction, LOCK, &[place.get(1)]).await?;
    let canonical: Uuid = place.get(0);
    let Some(mut record) = record::load(&transaction, record::LOAD, &[canonical])
        .await?
        .pop()
    else {
        return Ok(None);
    };
    let state = record.state();
    record.set_state(&match action {
        IssueAction::Resolve => state.resolved(now),
        IssueAction::Unresolve => state.unresolved(),
        IssueAction::Archive(until) => state.archived(until),
        IssueAction::Discard => state.discarded(),
    });
    record::update(&transaction, record::UPDATE, &[&record]).await?;
    transaction
        .execute(NOTE_CHANGE, &[&record.project_id, &record.id])
        .await?;
    let detail = get(&transaction, record.issue_id()).await?;
    transaction.commit().await?;
    Ok(detail)
}

/// The issue and those merged into it: whose events it shows.
pub(crate) async fn births(
    client: &impl GenericClient,
    canonical: IssueId,
) -> Result<Vec<Uuid>, Error> {
    let rows = client.query(BIRTHS, &[&canonical.into_uuid()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Takes the locks of projects, by their numbers and [`LOCK`], until the end of the transaction.
pub(crate) async fn lock_projects(
    transaction: &Transaction<'_>,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    numbers: &[i32],
) -> Result<(), Error> {
    if !numbers.is_empty() {
        transaction.query(statement, &[&numbers]).await?;
    }
    Ok(())
}

/// A pattern of LIKE that finds `text` anywhere; `None` for a blank text.
fn pattern(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let mut pattern = String::from("%");
    for c in text.chars().filter(|c| *c != '\0') {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    Some(pattern)
}

#[cfg(test)]
mod tests {
    use super::{pattern, short_id};

    #[test]
    fn patterns_mean_what_was_typed() {
        assert_eq!(pattern("50%_\\"), Some("%50\\%\\_\\\\%".to_owned()));
        assert_eq!(pattern("  "), None);
    }

    #[test]
    fn short_ids_shout() {
        assert_eq!(short_id("web-shop", 42), "WEB-SHOP-42");
    }
}
