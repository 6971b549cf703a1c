//! One row of `issues` in memory, while its project is locked: read, changed by the pure rules, written back.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::types::Json;
use tokio_postgres::{Error, GenericClient, Row, ToStatement};
use uuid::Uuid;

use crate::domain::{
    ArchivedUntil, GroupedEvent, IssueId, IssueState, IssueStatus, ProjectId, Severity,
};

pub(crate) const STATEMENTS: &[&str] = &[LOAD, INSERT, UPDATE];

pub(crate) const LOAD: &str = "SELECT id, project_id, number, fingerprint, fingerprint_version, title, culprit, type, value, platform, \
     level, status, regressed, resolved_at, archived_until_time, archived_until_count, event_count, merged_event_count, \
     first_seen, last_seen, first_release, last_release, latest_event_id, merged_into \
     FROM issues WHERE id = ANY($1::uuid[])";
pub(crate) const INSERT: &str = "INSERT INTO issues (id, project_id, number, fingerprint, fingerprint_version, grouping, title, culprit, \
     type, value, platform, level, status, regressed, resolved_at, archived_until_time, archived_until_count, event_count, \
     merged_event_count, first_seen, last_seen, first_release, last_release, latest_event_id, merged_into) \
     SELECT id, project_id, number, fingerprint, fingerprint_version, grouping, title, culprit, \
     type, value, platform, level, status, regressed, resolved_at, archived_until_time, archived_until_count, event_count, \
     merged_event_count, first_seen, last_seen, first_release, last_release, latest_event_id, merged_into \
     FROM jsonb_populate_recordset(NULL::issues, $1)";
pub(crate) const UPDATE: &str = "UPDATE issues i SET level = n.level, status = n.status, regressed = n.regressed, resolved_at = n.resolved_at, \
     archived_until_time = n.archived_until_time, archived_until_count = n.archived_until_count, event_count = n.event_count, \
     merged_event_count = n.merged_event_count, first_seen = n.first_seen, last_seen = n.last_seen, \
     first_release = n.first_release, last_release = n.last_release, latest_event_id = n.latest_event_id \
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::timestamptz[], $6::timestamptz[], $7::int8[], $8::int8[], \
     $9::int8[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::uuid[]) \
     AS n (id, level, status, regressed, resolved_at, archived_until_time, archived_until_count, event_count, \
     merged_event_count, first_seen, last_seen, first_release, last_release, latest_event_id) WHERE i.id = n.id";

/// One row of `issues`; the names are the columns'.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct IssueRecord {
    pub(crate) id: Uuid,
    pub(crate) project_id: Uuid,
    pub(crate) number: i64,
    pub(crate) fingerprint: String,
    pub(crate) fingerprint_version: i16,
    /// Only of a row that is to be inserted; an update leaves the column alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grouping: Option<serde_json::Value>,
    pub(crate) title: String,
    pub(crate) culprit: String,
    pub(crate) r#type: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) platform: String,
    pub(crate) level: String,
    pub(crate) status: String,
    pub(crate) regressed: bool,
    pub(crate) resolved_at: Option<Timestamp>,
    pub(crate) archived_until_time: Option<Timestamp>,
    pub(crate) archived_until_count: Option<i64>,
    /// Events born into this row.
    pub(crate) event_count: i64,
    /// Events born into rows that are merged into this one.
    pub(crate) merged_event_count: i64,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) first_release: Option<String>,
    pub(crate) last_release: Option<String>,
    pub(crate) latest_event_id: Uuid,
    pub(crate) merged_into: Option<Uuid>,
}

impl IssueRecord {
    /// A new row for the issue that `event` begins; it counts nothing yet.
    pub(crate) fn born(event: &GroupedEvent, id: IssueId, number: i64) -> IssueRecord {
        IssueRecord {
            id: id.into_uuid(),
            project_id: event.project_id.into_uuid(),
            number,
            fingerprint: event.fingerprint.hash.clone(),
            fingerprint_version: i16::try_from(event.fingerprint.version).unwrap_or(i16::MAX),
            grouping: Some(
                serde_json::to_value(&event.grouping).expect("texts and numbers are always JSON"),
            ),
            title: event.title.clone(),
            culprit: event.culprit.clone(),
            r#type: event.exception_type.clone(),
            value: event.exception_value.clone(),
            platform: event.platform.clone(),
            level: event.level.as_str().to_owned(),
            status: IssueStatus::Unresolved.as_str().to_owned(),
            regressed: false,
            resolved_at: None,
            archived_until_time: None,
            archived_until_count: None,
            event_count: 0,
            merged_event_count: 0,
            first_seen: event.occurred_at,
            last_seen: event.occurred_at,
            first_release: event.release.clone(),
            last_release: event.release.clone(),
            latest_event_id: event.event_id.into_uuid(),
            merged_into: None,
        }
    }

    pub(crate) fn issue_id(&self) -> IssueId {
        IssueId::from_uuid(self.id)
    }

    pub(crate) fn project(&self) -> ProjectId {
        ProjectId::from_uuid(self.project_id)
    }

    /// Events of this row and of those merged into it.
    pub(crate) fn total(&self) -> i64 {
        self.event_count.saturating_add(self.merged_event_count)
    }

    /// What the pure rules look at.
    pub(crate) fn state(&self) -> IssueState {
        IssueState {
            status: self.status.parse().unwrap_or_default(),
            archived_until: match (self.archived_until_time, self.archived_until_count) {
                (Some(time), _) => ArchivedUntil::Time(time),
                (None, Some(count)) => {
                    ArchivedUntil::EventCount(u64::try_from(count).unwrap_or_default())
                }
                (None, None) => ArchivedUntil::Forever,
            },
            resolved_at: self.resolved_at,
            regressed: self.regressed,
            event_count: u64::try_from(self.total()).unwrap_or_default(),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            level: self.level.parse::<Severity>().unwrap_or_default(),
        }
    }

    /// Takes over what the pure rules decided; the counts are the caller's, who knows whose they are.
    pub(crate) fn set_state(&mut self, state: &IssueState) {
        self.status = state.status.as_str().to_owned();
        (self.archived_until_time, self.archived_until_count) = match state.archived_until {
            ArchivedUntil::Forever => (None, None),
            ArchivedUntil::Time(time) => (Some(time), None),
            ArchivedUntil::EventCount(count) => {
                (None, Some(i64::try_from(count).unwrap_or(i64::MAX)))
            }
        };
        self.resolved_at = state.resolved_at;
        self.regressed = state.regressed;
        self.first_seen = state.first_seen;
        self.last_seen = state.last_seen;
        self.level = state.level.as_str().to_owned();
    }

    fn from_row(row: &Row) -> IssueRecord {
        IssueRecord {
            id: row.get(0),
            project_id: row.get(1),
            number: row.get(2),
            fingerprint: row.get(3),
            fingerprint_version: row.get(4),
            grouping: None,
            title: row.get(5),
            culprit: row.get(6),
            r#type: row.get(7),
            value: row.get(8),
            platform: row.get(9),
            level: row.get(10),
            status: row.get(11),
            regressed: row.get(12),
            resolved_at: row.get(13),
            archived_until_time: row.get(14),
            archived_until_count: row.get(15),
            event_count: row.get(16),
            merged_event_count: row.get(17),
            first_seen: row.get(18),
            last_seen: row.get(19),
            first_release: row.get(20),
            last_release: row.get(21),
            latest_event_id: row.get(22),
            merged_into: row.get(23),
        }
    }
}

/// The rows of `ids` that exist, in no order; `statement` is [`LOAD`].
pub(crate) async fn load(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    ids: &[Uuid],
) -> Result<Vec<IssueRecord>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = client.query(statement, &[&ids]).await?;
    Ok(rows.iter().map(IssueRecord::from_row).collect())
}

/// Inserts rows by [`INSERT`]; their project must be locked.
pub(crate) async fn insert(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    records: &[&IssueRecord],
) -> Result<(), Error> {
    if !records.is_empty() {
        client.execute(statement, &[&Json(records)]).await?;
    }
    Ok(())
}

/// Writes back what may have changed, by [`UPDATE`]; their project must be locked.
pub(crate) async fn update(
    client: &impl GenericClient,
    statement: &(impl ToStatement + ?Sized + Sync + Send),
    records: &[&IssueRecord],
) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    // Columns of plain types: to take rows of JSON apart costs the server more than to change them.
    client
        .execute(
            statement,
            &[
                &column(records, |record| record.id),
                &column(records, |record| record.level.as_str()),
                &column(records, |record| record.status.as_str()),
                &column(records, |record| record.regressed),
                &column(records, |record| record.resolved_at),
                &column(records, |record| record.archived_until_time),
                &column(records, |record| record.archived_until_count),
                &column(records, |record| record.event_count),
                &column(records, |record| record.merged_event_count),
                &column(records, |record| record.first_seen),
                &column(records, |record| record.last_seen),
                &column(records, |record| record.first_release.as_deref()),
                &column(records, |record| record.last_release.as_deref()),
                &column(records, |record| record.latest_event_id),
            ],
        )
        .await?;
    Ok(())
}

fn column<'a, T>(records: &[&'a IssueRecord], value: impl Fn(&'a IssueRecord) -> T) -> Vec<T> {
    records.iter().map(|record| value(record)).collect()
}
