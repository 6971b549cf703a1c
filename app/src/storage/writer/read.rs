//! What the plan of a chunk needs to know, read under the locks of its projects.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::future::{join, join5};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

use super::plan::{Known, ProjectFacts, believed};
use super::statements::Statements;
use crate::domain::{GroupedEvent, ProjectId};
use crate::storage::issues::record::{self, IssueRecord};
use crate::storage::issues::{self, lock_projects};
use crate::storage::partitions;

pub(super) const STATEMENTS: &[&str] = &[PROJECTS, COUNTERS, DUPLICATES];

/// Plans are made for the tables as they are now; a partition that was empty when a plan was cached is not any more.
/// Sequential and bitmap scans are off so that the search for duplicates stays on the primary key.
const SETTINGS: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL client_min_messages = warning";
/// One row at least, for the time.
pub(super) const PROJECTS: &str = "SELECT t.now, p.id, p.number, p.slug, p.retention_days \
     FROM (SELECT now()) AS t (now) LEFT JOIN projects p ON p.id = ANY($1::uuid[])";
pub(super) const COUNTERS: &str = "SELECT p.id, coalesce(c.last_issue_number, 0), coalesce(c.last_change, 0) \
     FROM projects p LEFT JOIN project_counters c ON c.project_id = p.id WHERE p.id = ANY($1::uuid[])";
/// The copies of a chunk's events that are stored: one probe of the primary key for each id of a project, which are a slice of $4. The
/// bounds leave out partitions; whether a copy is within the window of its event is for the reader to see.
pub(crate) const DUPLICATES: &str = "SELECT e.project_id, e.id, e.received_at \
     FROM unnest($1::uuid[], $2::int4[], $3::int4[]) AS k (project_id, first, last) CROSS JOIN LATERAL (\
     SELECT project_id, id, received_at FROM events WHERE project_id = k.project_id \
     AND id = ANY(($4::uuid[])[k.first:k.last]) AND received_at >= $5 AND received_at <= $6) e";

/// How far apart two copies of an event may come and still be one.
const DUPLICATE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The projects of a chunk, before they are locked.
#[derive(Debug)]
pub(super) struct Projects {
    ids: Vec<Uuid>,
    now: Timestamp,
    numbers: Vec<i32>,
    facts: HashMap<ProjectId, ProjectFacts>,
}

/// Which projects there are, and what time it is for the database.
pub(super) async fn projects(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
) -> Result<Projects, Error> {
    let ids: BTreeSet<Uuid> = events
        .iter()
        .map(|event| event.project_id.into_uuid())
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

/// Locks the projects and reads what the plan needs; and which days of the events have no partition.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    projects: Projects,
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
    // All of it goes out at once. From the lock on, every statement sees what the holders before us committed.
    let (locked, counters, missing, set, (issues, copies)) = join5(
        lock_projects(transaction, statements.get(issues::LOCK), &numbers),
        transaction.query(statements.get(COUNTERS), &ids_of_project),
        partitions::missing(transaction, statements.get(partitions::ATTACHED), &days),
        transaction.batch_execute(SETTINGS),
        join(
            candidates(transaction, statements, events),
            copies(transaction, statements, events, &received),
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
    let copies = copies?;
    let canonical: Vec<Uuid> = issues
        .values()
        .filter_map(|record| record.merged_into)
        .filter(|id| !issues.contains_key(id))
        .collect();
    let canonical = record::load(transaction, statements.get(record::LOAD), &canonical).await?;
    issues.extend(canonical.into_iter().map(|record| (record.id, record)));
    let known = Known {
        now,
        projects: locked,
        issues,
        duplicates: duplicates(events, &received, &copies),
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

/// The stored copies of events, near enough in time to be looked at.
async fn copies(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    received: &[Timestamp],
) -> Result<Vec<Row>, Error> {
    let (Some(first), Some(last)) = (received.iter().min(), received.iter().max()) else {
        return Ok(Vec::new());
    };
    let mut of_project: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for event in events {
        let ids = of_project.entry(event.project_id.into_uuid()).or_default();
        ids.push(event.event_id.into_uuid());
    }
    let mut ids: Vec<Uuid> = Vec::with_capacity(events.len());
    let (mut projects, mut firsts, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
    for (project, of_project) in of_project {
        projects.push(project);
        // Arrays begin at 1.
        firsts.push(place(ids.len() + 1));
        ids.extend(of_project);
        lasts.push(place(ids.len()));
    }
    let from = *first - DUPLICATE_WINDOW;
    let until = *last + DUPLICATE_WINDOW;
    transaction
        .query(
            statements.get(DUPLICATES),
            &[&projects, &firsts, &lasts, &ids, &from, &until],
        )
        .await
}

/// The places of the events of which a copy is stored that came within the window.
fn duplicates(events: &[&GroupedEvent], received: &[Timestamp], copies: &[Row]) -> HashSet<usize> {
    let mut stored: HashMap<(Uuid, Uuid), Vec<Timestamp>> = HashMap::new();
    for row in copies {
        let times = stored.entry((row.get(0), row.get(1))).or_default();
        times.push(row.get(2));
    }
    if stored.is_empty() {
        return HashSet::new();
    }
    let is_copied = |(place, event): (usize, &&GroupedEvent)| {
        let id = (event.project_id.into_uuid(), event.event_id.into_uuid());
        let near = |time: &Timestamp| {
            let apart = time.duration_since(received[place]);
            apart.abs() <= DUPLICATE_WINDOW
        };
        let is_copied = stored.get(&id)?.iter().any(near);
        is_copied.then_some(place)
    };
    events.iter().enumerate().filter_map(is_copied).collect()
}

fn place(at: usize) -> i32 {
    i32::try_from(at).expect("a chunk has at most thousands of events")
}
