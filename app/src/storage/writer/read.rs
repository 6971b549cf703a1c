//! What the plan of a chunk needs to know, read under the locks of its projects.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::future::{join, join5};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Error, Transaction};
use uuid::Uuid;

use super::plan::{DUPLICATE_WINDOW, Known, NewRow, ProjectFacts, believed, guess};
use super::statements::Statements;
use crate::domain::{GroupedEvent, Outcome, ProjectId};
use crate::storage::issues::record::{self, IssueRecord};
use crate::storage::issues::{self, lock_projects};
use crate::storage::outcomes::OutcomeCount;
use crate::storage::partitions;

pub(super) const STATEMENTS: &[&str] = &[PROJECTS, COUNTERS, DUPLICATES, OTHER_COPIES];

/// Plans are made for the tables as they are now; a partition that was empty when a plan was cached is not any more.
/// Sequential and bitmap scans are off so that the search for duplicates stays on the primary key.
const SETTINGS: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL client_min_messages = warning";
/// One row at least, for the time.
pub(super) const PROJECTS: &str = "SELECT t.now, p.id, p.number, p.slug, p.retention_days \
     FROM (SELECT now()) AS t (now) LEFT JOIN projects p ON p.id = ANY($1::uuid[])";
pub(super) const COUNTERS: &str = "SELECT p.id, coalesce(c.last_issue_number, 0), coalesce(c.last_change, 0) \
     FROM projects p LEFT JOIN project_counters c ON c.project_id = p.id WHERE p.id = ANY($1::uuid[])";
/// LIMIT in the lateral part keeps it one index probe for each event; the constant bounds leave out partitions. (One scan by
/// `id = ANY` for each project costs a third, but on a day without statistics the planner reads the whole project for it.)
/// Each event's window comes with it: to add and subtract hours at every probe of every partition costs as much as the probe.
pub(crate) const DUPLICATES: &str = "SELECT k.seq FROM unnest($1::int4[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[]) \
     AS k (seq, project_id, id, since, until) CROSS JOIN LATERAL (SELECT 1 FROM events e \
     WHERE e.project_id = k.project_id AND e.id = k.id AND e.received_at >= $6 AND e.received_at <= $7 \
     AND e.received_at >= k.since AND e.received_at <= k.until LIMIT 1) found";

/// [`DUPLICATES`] of events whose rows are there already: another copy came at another time, for of the same time there can be but one row.
pub(crate) const OTHER_COPIES: &str = "SELECT k.seq FROM unnest($1::int4[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], \
     $8::timestamptz[]) AS k (seq, project_id, id, since, until, own) CROSS JOIN LATERAL (SELECT 1 FROM events e \
     WHERE e.project_id = k.project_id AND e.id = k.id AND e.received_at >= $6 AND e.received_at <= $7 \
     AND e.received_at >= k.since AND e.received_at <= k.until AND e.received_at <> k.own LIMIT 1) found";

/// The projects of a chunk, before they are locked.
#[derive(Debug)]
pub(super) struct Projects {
    ids: Vec<Uuid>,
    now: Timestamp,
    numbers: Vec<i32>,
    facts: HashMap<ProjectId, ProjectFacts>,
}

impl Projects {
    /// See [`guess`].
    pub(super) fn guess(&self, events: &[&GroupedEvent]) -> Option<Vec<NewRow>> {
        guess(events, &self.facts, self.now)
    }

    /// Whether there is such a project.
    pub(super) fn has(&self, id: ProjectId) -> bool {
        self.facts.contains_key(&id)
    }
}

/// Which projects there are of those that have events, or lost some, and what time it is for the database.
pub(super) async fn projects(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    outcomes: &[OutcomeCount],
) -> Result<Projects, Error> {
    let lost = outcomes
        .iter()
        .filter(|count| count.outcome == Outcome::Lost)
        .map(|count| count.project_id);
    let ids: BTreeSet<Uuid> = events
        .iter()
        .map(|event| event.project_id)
        .chain(lost)
        .map(ProjectId::into_uuid)
        .collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let rows = transaction.query(statements.get(PROJECTS), &[&ids]).await?;
    let mut projects = Projects {
        ids,
        now: rows.first().map_or(Timestamp::UNIX_EPOCH, |row| row.get(0)),
        numbers: Vec::new(),
        facts: HashMap::new(),
    };
    for row in rows {
        let Some(id) = row.get::<_, Option<Uuid>>(1) else {
            continue;
        };
        projects.numbers.push(row.get(2));
        projects.facts.insert(
            ProjectId::from_uuid(id),
            ProjectFacts {
                slug: row.get(3),
                retention: SignedDuration::from_hours(24 * i64::from(row.get::<_, i32>(4))),
                last_issue_number: 0,
                last_change: 0,
            },
        );
    }
    Ok(projects)
}

/// Locks the projects and reads what the plan needs; and which days of the events have no partition. `are_copied` says that this transaction
/// has copied the events before.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    projects: Projects,
    are_copied: bool,
) -> Result<(Known, Vec<Date>), Error> {
    let Projects {
        ids,
        now,
        numbers,
        mut facts,
    } = projects;
    // The times that a first copy was, or would be, stored with.
    let received: Vec<Timestamp> = events
        .iter()
        .map(|event| believed(event.received_at, now))
        .collect();
    let days = partitions::days(received.iter().copied());
    let ids_of_project: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&ids];
    let windows = Windows::of(received, are_copied);
    // All of it goes out at once. From the lock on, every statement sees what the holders before us committed.
    let (locked, counters, missing, set, (issues, filled)) = join5(
        lock_projects(transaction, statements.get(issues::LOCK), &numbers),
        transaction.query(statements.get(COUNTERS), &ids_of_project),
        partitions::missing(transaction, statements.get(partitions::ATTACHED), &days),
        transaction.batch_execute(SETTINGS),
        join(
            candidates(transaction, statements, events),
            windows.filled(transaction, statements),
        ),
    )
    .await;
    // The first that failed says why; those behind it only say that it did.
    locked?;
    let mut locked = HashMap::new();
    for row in counters? {
        let id = ProjectId::from_uuid(row.get(0));
        if let Some(mut facts) = facts.remove(&id) {
            facts.last_issue_number = row.get(1);
            facts.last_change = row.get(2);
            locked.insert(id, facts);
        }
    }
    let missing = missing?;
    set?;
    let mut issues = issues?;
    let filled = filled?;
    let canonical: Vec<Uuid> = issues
        .values()
        .filter_map(|record| record.merged_into)
        .filter(|id| !issues.contains_key(id))
        .collect();
    let (duplicates, canonical) = join(
        duplicates(transaction, statements, events, &windows, filled),
        record::load(transaction, statements.get(record::LOAD), &canonical),
    )
    .await;
    let (duplicates, canonical) = (duplicates?, canonical?);
    issues.extend(canonical.into_iter().map(|record| (record.id, record)));
    let known = Known {
        now,
        projects: locked,
        issues,
        duplicates,
    };
    Ok((known, missing))
}

async fn candidates(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
) -> Result<HashMap<Uuid, IssueRecord>, Error> {
    let candidates: BTreeSet<Uuid> = events
        .iter()
        .flat_map(|event| event.candidates.iter().map(|id| id.into_uuid()))
        .collect();
    let candidates: Vec<Uuid> = candidates.into_iter().collect();
    let records = record::load(transaction, statements.get(record::LOAD), &candidates).await?;
    Ok(records
        .into_iter()
        .map(|record| (record.id, record))
        .collect())
}

/// Where copies of events may be: for each, the span of time from one day before it to one day after.
struct Windows {
    since: Vec<Timestamp>,
    until: Vec<Timestamp>,
    /// The times of the events' own rows, where they are there already.
    own: Option<Vec<Timestamp>>,
}

impl Windows {
    fn of(received: Vec<Timestamp>, are_copied: bool) -> Windows {
        let moved = |by: SignedDuration| received.iter().map(|at| *at + by).collect();
        Windows {
            since: moved(-DUPLICATE_WINDOW),
            until: moved(DUPLICATE_WINDOW),
            own: are_copied.then_some(received),
        }
    }

    /// The span over all of them, as far as there are rows: mostly tomorrow's partition has none, and on the first day yesterday's.
    /// Nobody else stores events of the locked projects, so it stays so.
    async fn filled(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
    ) -> Result<Option<(Timestamp, Timestamp)>, Error> {
        let (Some(first), Some(last)) = (self.since.iter().min(), self.until.iter().max()) else {
            return Ok(None);
        };
        let statement = statements.get(partitions::FILLED);
        partitions::filled(transaction, statement, (*first, *last)).await
    }
}

/// The places of the events of which a copy is stored.
async fn duplicates(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    windows: &Windows,
    filled: Option<(Timestamp, Timestamp)>,
) -> Result<HashSet<usize>, Error> {
    let Some((earliest, latest)) = filled else {
        return Ok(HashSet::new());
    };
    let places: Vec<i32> = (0..events.len())
        .map(|place| i32::try_from(place).expect("a chunk has at most thousands of events"))
        .collect();
    let projects: Vec<Uuid> = events
        .iter()
        .map(|event| event.project_id.into_uuid())
        .collect();
    let ids: Vec<Uuid> = events
        .iter()
        .map(|event| event.event_id.into_uuid())
        .collect();
    let (since, until) = (&windows.since, &windows.until);
    let rows = match &windows.own {
        None => {
            let statement = statements.get(DUPLICATES);
            transaction
                .query(
                    statement,
                    &[&places, &projects, &ids, since, until, &earliest, &latest],
                )
                .await?
        }
        Some(own) => {
            let statement = statements.get(OTHER_COPIES);
            transaction
                .query(
                    statement,
                    &[
                        &places, &projects, &ids, since, until, &earliest, &latest, own,
                    ],
                )
                .await?
        }
    };
    Ok(rows
        .iter()
        .filter_map(|row| usize::try_from(row.get::<_, i32>(0)).ok())
        .collect())
}
