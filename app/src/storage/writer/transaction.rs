//! The statements of the one transaction that stores a chunk, in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

use super::bisect::Culprit;
use super::plan::{Known, Plan, ProjectFacts, believed, plan};
use super::{Chunk, Committed, EventKind, IssueChange, Quarantined, StoredEvent, WriteError};
use crate::domain::{GroupedEvent, Outcome, ProjectId, RawEvent};
use crate::storage::copy::{self, EventRow};
use crate::storage::issues::record::{self, IssueRecord};
use crate::storage::issues::{IssueRow, lock_projects};
use crate::storage::outcomes::{self, OutcomeCount};
use crate::storage::{partitions, spools};

pub(super) const STATEMENTS: &[&str] =
    &[PROJECTS, COUNTERS, DUPLICATES, COUNT, CHANGES, QUARANTINE];

/// Plans are made for the tables as they are now; a partition that was empty when a plan was cached is not any more.
/// Sequential and bitmap scans are off so that the search for duplicates stays on the primary key.
const SETTINGS: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL client_min_messages = warning";
const PROJECTS: &str =
    "SELECT id, number, slug, retention_days FROM projects WHERE id = ANY($1::uuid[])";
const COUNTERS: &str = "SELECT p.id, coalesce(c.last_issue_number, 0), coalesce(c.last_change, 0), now() \
     FROM projects p LEFT JOIN project_counters c ON c.project_id = p.id WHERE p.id = ANY($1::uuid[])";
/// LIMIT in the lateral part keeps it one index probe for each event; the constant bounds leave out partitions.
pub(crate) const DUPLICATES: &str = "SELECT k.seq FROM unnest($1::int4[], $2::uuid[], $3::uuid[], $4::timestamptz[]) \
     AS k (seq, project_id, id, received_at) CROSS JOIN LATERAL (SELECT 1 FROM events e \
     WHERE e.project_id = k.project_id AND e.id = k.id AND e.received_at >= $5 AND e.received_at <= $6 \
     AND e.received_at >= k.received_at - interval '24 hours' AND e.received_at <= k.received_at + interval '24 hours' \
     LIMIT 1) found";
const COUNT: &str = "INSERT INTO project_counters (project_id, last_issue_number, last_change, event_count) \
     SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[]) \
     ON CONFLICT (project_id) DO UPDATE SET last_issue_number = excluded.last_issue_number, \
     last_change = excluded.last_change, event_count = project_counters.event_count + excluded.event_count";
const CHANGES: &str = "INSERT INTO outbox (project_id, sequence, issue_id, kind, event_id, quantity) \
     SELECT * FROM unnest($1::uuid[], $2::int8[], $3::uuid[], $4::text[], $5::uuid[], $6::int8[])";
const QUARANTINE: &str = "INSERT INTO quarantine (project_id, event_id, received_at, reason, payload) \
     VALUES ($1, $2, $3, $4, $5)";

/// How far apart two copies of an event may come and still be one.
const DUPLICATE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The longest reason kept with a quarantined event, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Stores the events at `places`, quarantines `culprits`, moves the spool, commits.
pub(super) async fn store(
    client: &mut Client,
    chunk: &Chunk,
    places: &[usize],
    culprits: &[Culprit],
) -> Result<Committed, WriteError> {
    let transaction = client.transaction().await?;
    if !spools::release(
        &transaction,
        chunk.spool_id,
        chunk.epoch,
        chunk.released,
        chunk.next,
    )
    .await?
    {
        return Err(refusal(&transaction, chunk).await?);
    }
    let (events, plan, slugs) = fill(&transaction, chunk, places).await?;
    let outcomes = put_aside(&transaction, chunk, culprits).await?;
    let all: Vec<OutcomeCount> = plan
        .outcomes
        .iter()
        .chain(&outcomes)
        .chain(&chunk.outcomes)
        .cloned()
        .collect();
    outcomes::add(&transaction, &all).await?;
    let committed = committed(&events, &plan, &slugs, places, culprits);
    match transaction.commit().await {
        Ok(()) => Ok(committed),
        // A constraint or a conflict: the server did not commit. After anything else, a broken connection or a server that is
        // told to stop between the commit and its answer, nobody knows.
        Err(error) if refused(&error) => Err(WriteError::Database(error)),
        Err(_) => Err(WriteError::CommitUnknown(Box::new(committed))),
    }
}

/// Whether the answer to a commit says for certain that nothing was committed: SQLSTATE classes 23 and 40.
fn refused(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("23") || code.code().starts_with("40"))
}

/// Does everything to the events at `places` and undoes it.
pub(super) async fn rehearse(
    client: &mut Client,
    chunk: &Chunk,
    places: &[usize],
) -> Result<(), WriteError> {
    let transaction = client.transaction().await?;
    let (_, plan, _) = fill(&transaction, chunk, places).await?;
    outcomes::add(&transaction, &plan.outcomes).await?;
    transaction.rollback().await?;
    Ok(())
}

/// Why the spool's row did not move.
async fn refusal(transaction: &Transaction<'_>, chunk: &Chunk) -> Result<WriteError, Error> {
    Ok(match spools::read(transaction, chunk.spool_id).await? {
        None => WriteError::UnknownSpool,
        Some(spool) if spool.epoch != chunk.epoch => WriteError::Superseded { epoch: spool.epoch },
        Some(spool) => WriteError::AlreadyReleased {
            released: spool.released,
        },
    })
}

type Slugs = HashMap<ProjectId, String>;

/// Everything between moving the spool and the commit that depends on the events.
async fn fill<'a>(
    transaction: &Transaction<'_>,
    chunk: &'a Chunk,
    places: &[usize],
) -> Result<(Vec<&'a GroupedEvent>, Plan, Slugs), Error> {
    let events: Vec<&GroupedEvent> = places.iter().map(|place| &chunk.events[*place]).collect();
    transaction.batch_execute(SETTINGS).await?;
    let known = read(transaction, &events).await?;
    let slugs = known
        .projects
        .iter()
        .map(|(id, facts)| (*id, facts.slug.clone()))
        .collect();
    let plan = plan(&events, known);
    write(transaction, &events, &plan).await?;
    Ok((events, plan, slugs))
}

/// Locks the projects and reads what the plan needs.
async fn read(transaction: &Transaction<'_>, events: &[&GroupedEvent]) -> Result<Known, Error> {
    let ids: BTreeSet<Uuid> = events
        .iter()
        .map(|event| event.project_id.into_uuid())
        .collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let mut projects = HashMap::new();
    let mut numbers = Vec::new();
    for row in transaction.query(PROJECTS, &[&ids]).await? {
        numbers.push(row.get(1));
        projects.insert(
            ProjectId::from_uuid(row.get(0)),
            ProjectFacts {
                slug: row.get(2),
                retention: SignedDuration::from_hours(24 * i64::from(row.get::<_, i32>(3))),
                last_issue_number: 0,
                last_change: 0,
            },
        );
    }
    lock_projects(transaction, &numbers).await?;
    // From here on every statement sees what the holders of the locks before us committed.
    let mut now = Timestamp::UNIX_EPOCH;
    let mut known = HashMap::new();
    for row in transaction.query(COUNTERS, &[&ids]).await? {
        let id = ProjectId::from_uuid(row.get(0));
        now = row.get(3);
        if let Some(mut facts) = projects.remove(&id) {
            facts.last_issue_number = row.get(1);
            facts.last_change = row.get(2);
            known.insert(id, facts);
        }
    }
    Ok(Known {
        now,
        projects: known,
        issues: read_issues(transaction, events).await?,
        duplicates: read_duplicates(transaction, events, now).await?,
    })
}

async fn read_issues(
    transaction: &Transaction<'_>,
    events: &[&GroupedEvent],
) -> Result<HashMap<Uuid, IssueRecord>, Error> {
    let candidates: BTreeSet<Uuid> = events
        .iter()
        .flat_map(|event| event.candidates.iter().map(|id| id.into_uuid()))
        .collect();
    let candidates: Vec<Uuid> = candidates.into_iter().collect();
    let mut issues: HashMap<Uuid, IssueRecord> = record::load(transaction, &candidates)
        .await?
        .into_iter()
        .map(|record| (record.id, record))
        .collect();
    let canonical: Vec<Uuid> = issues
        .values()
        .filter_map(|record| record.merged_into)
        .filter(|id| !issues.contains_key(id))
        .collect();
    let canonical = record::load(transaction, &canonical).await?;
    issues.extend(canonical.into_iter().map(|record| (record.id, record)));
    Ok(issues)
}

async fn read_duplicates(
    transaction: &Transaction<'_>,
    events: &[&GroupedEvent],
    now: Timestamp,
) -> Result<HashSet<usize>, Error> {
    // The times that a first copy was, or would be, stored with.
    let received: Vec<Timestamp> = events
        .iter()
        .map(|event| believed(event.received_at, now))
        .collect();
    let (Some(first), Some(last)) = (received.iter().min(), received.iter().max()) else {
        return Ok(HashSet::new());
    };
    let places: Vec<i32> = places(events.len());
    let projects: Vec<Uuid> = events
        .iter()
        .map(|event| event.project_id.into_uuid())
        .collect();
    let ids: Vec<Uuid> = events
        .iter()
        .map(|event| event.event_id.into_uuid())
        .collect();
    let from = *first - DUPLICATE_WINDOW;
    let until = *last + DUPLICATE_WINDOW;
    let rows = transaction
        .query(
            DUPLICATES,
            &[&places, &projects, &ids, &received, &from, &until],
        )
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| usize::try_from(row.get::<_, i32>(0)).ok())
        .collect())
}

/// Writes what was decided; outcomes come last, with those of the quarantine.
async fn write(
    transaction: &Transaction<'_>,
    events: &[&GroupedEvent],
    plan: &Plan,
) -> Result<(), Error> {
    let mut days: Vec<_> = plan
        .rows
        .iter()
        .map(|row| partitions::day(row.received_at))
        .collect();
    days.dedup();
    if !days.is_empty() {
        partitions::ensure(transaction, &days).await?;
    }
    let rows: Vec<EventRow<'_>> = plan
        .rows
        .iter()
        .map(|row| EventRow {
            event: events[row.event],
            issue_id: row.issue_id,
            received_at: row.received_at,
        })
        .collect();
    copy::insert(transaction, &rows).await?;
    let (new, old): (Vec<_>, Vec<_>) = plan.touched.values().partition(|touched| touched.is_new);
    let new: Vec<&IssueRecord> = new.into_iter().map(|touched| &touched.record).collect();
    let old: Vec<&IssueRecord> = old.into_iter().map(|touched| &touched.record).collect();
    record::insert(transaction, &new).await?;
    record::update(transaction, &old).await?;
    write_counters(transaction, plan).await?;
    write_changes(transaction, plan).await
}

async fn write_counters(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), Error> {
    if plan.counters.is_empty() {
        return Ok(());
    }
    let projects: Vec<Uuid> = plan.counters.keys().map(|id| id.into_uuid()).collect();
    let counters = || plan.counters.values();
    let numbers: Vec<i64> = counters()
        .map(|counter| counter.last_issue_number)
        .collect();
    let changes: Vec<i64> = counters().map(|counter| counter.last_change).collect();
    let stored: Vec<i64> = counters().map(|counter| counter.stored).collect();
    transaction
        .execute(COUNT, &[&projects, &numbers, &changes, &stored])
        .await?;
    Ok(())
}

async fn write_changes(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), Error> {
    if plan.changes.is_empty() {
        return Ok(());
    }
    let changes = || plan.changes.iter();
    let projects: Vec<Uuid> = changes()
        .map(|change| change.project_id.into_uuid())
        .collect();
    let sequences: Vec<i64> = changes().map(|change| change.sequence).collect();
    let issues: Vec<Uuid> = changes()
        .map(|change| change.issue_id.into_uuid())
        .collect();
    let kinds: Vec<&str> = changes().map(|change| change.kind.as_str()).collect();
    let events: Vec<Uuid> = changes().map(|change| change.event_id).collect();
    let quantities: Vec<i64> = changes().map(|change| change.quantity).collect();
    transaction
        .execute(
            CHANGES,
            &[&projects, &sequences, &issues, &kinds, &events, &quantities],
        )
        .await?;
    Ok(())
}

/// Writes the chunk's quarantined events and the culprits; returns their outcomes.
async fn put_aside(
    transaction: &Transaction<'_>,
    chunk: &Chunk,
    culprits: &[Culprit],
) -> Result<Vec<OutcomeCount>, Error> {
    let refused: Vec<Quarantined> = culprits
        .iter()
        .map(|culprit| Quarantined {
            raw: raw(&chunk.events[culprit.place]),
            reason: culprit.reason.clone(),
        })
        .collect();
    let mut counts = Vec::new();
    for (quarantined, reason) in chunk
        .quarantined
        .iter()
        .map(|quarantined| (quarantined, "processing"))
        .chain(refused.iter().map(|quarantined| (quarantined, "database")))
    {
        let raw = &quarantined.raw;
        let text: String = quarantined
            .reason
            .chars()
            .take(REASON_CHARS_MAX)
            .map(|c| if c == '\0' { '\u{fffd}' } else { c })
            .collect();
        transaction
            .execute(
                QUARANTINE,
                &[
                    &raw.project_id.into_uuid(),
                    &raw.event_id.into_uuid(),
                    &raw.received_at,
                    &text,
                    &&raw.payload[..],
                ],
            )
            .await?;
        counts.push(OutcomeCount {
            project_id: raw.project_id,
            at: raw.received_at,
            outcome: Outcome::Quarantined,
            reason: reason.to_owned(),
            quantity: 1,
        });
    }
    Ok(counts)
}

fn raw(event: &GroupedEvent) -> RawEvent {
    RawEvent {
        event_id: event.event_id,
        project_id: event.project_id,
        received_at: event.received_at,
        facts: Bytes::new(),
        payload: event.payload.clone(),
    }
}

/// What the caller hears: the fates by the chunk's own places, and the issues as they stand.
fn committed(
    events: &[&GroupedEvent],
    plan: &Plan,
    slugs: &Slugs,
    places: &[usize],
    culprits: &[Culprit],
) -> Committed {
    debug_assert_eq!(events.len(), plan.fates.len(), "every event has a fate");
    let mut fates: BTreeMap<usize, StoredEvent> = plan
        .fates
        .iter()
        .map(|fate| {
            let place = places[fate.event];
            (
                place,
                StoredEvent {
                    event: place,
                    ..*fate
                },
            )
        })
        .collect();
    for culprit in culprits {
        let nowhere = crate::domain::IssueId::from_uuid(Uuid::nil());
        fates.insert(
            culprit.place,
            StoredEvent {
                event: culprit.place,
                issue_id: nowhere,
                canonical: nowhere,
                kind: EventKind::Quarantined,
            },
        );
    }
    let issues = plan
        .changes
        .iter()
        .filter_map(|change| {
            let touched = plan.touched.get(change.issue_id.as_uuid())?;
            let slug = slugs.get(&change.project_id)?;
            Some(IssueChange {
                kind: change.kind,
                issue: IssueRow::of_record(&touched.record, slug),
            })
        })
        .collect();
    Committed {
        events: fates.into_values().collect(),
        issues,
    }
}

fn places(count: usize) -> Vec<i32> {
    (0..count)
        .map(|place| i32::try_from(place).expect("a chunk has at most thousands of events"))
        .collect()
}
