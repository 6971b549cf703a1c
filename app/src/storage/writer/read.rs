//! What the plan of a chunk needs to know, read under the locks of its projects.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::future::{join, join5};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

use super::plan::{DUPLICATE_WINDOW, Known, NewRow, ProjectFacts, believed, guess};
use super::statements::Statements;
use crate::domain::{GroupedEvent, Outcome, ProjectId};
use crate::storage::issues::record::{self, IssueRecord};
use crate::storage::issues::{self, lock_projects};
use crate::storage::outcomes::OutcomeCount;
use crate::storage::partitions;

pub(super) const STATEMENTS: &[&str] = &[PROJECTS, COUNTERS, COPIES, DUPLICATES, OTHER_COPIES];

/// Plans are made for the tables as they are now; a partition that was empty when a plan was cached is not any more.
/// Sequential and bitmap scans are off so that the search for duplicates stays on the primary key; and entries of an index are dear, so that
/// the count of copies asks it for the ids, and does not read all of the project on a day without statistics (where there are some, it
/// is `n_distinct` of the partition's projects that sees to it). No worker is started for what therefore looks dear.
pub const SETTINGS: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL cpu_index_tuple_cost = 10; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; \
     SET LOCAL client_min_messages = warning";
/// One row at least, for the time.
pub(super) const PROJECTS: &str = "SELECT t.now, p.id, p.number, p.slug, p.retention_days \
     FROM (SELECT now()) AS t (now) LEFT JOIN projects p ON p.id = ANY($1::uuid[])";
pub(super) const COUNTERS: &str = "SELECT p.id, coalesce(c.last_issue_number, 0), coalesce(c.last_change, 0) \
     FROM projects p LEFT JOIN project_counters c ON c.project_id = p.id WHERE p.id = ANY($1::uuid[])";
/// How many rows of these events are stored. Nearly always those that this transaction has copied, or none, and then no event is a duplicate.
/// The ids of a project stand in `$4` from `first` to `last`: one scan finds them all, in a third of the time of a probe for each.
pub(crate) const COPIES: &str = "SELECT coalesce(sum(found.copies), 0)::int8 \
     FROM unnest($1::uuid[], $2::int4[], $3::int4[]) AS k (project_id, first, last) \
     CROSS JOIN LATERAL (SELECT count(*) AS copies FROM events e WHERE e.project_id = k.project_id \
     AND e.id = ANY (($4::uuid[])[k.first:k.last]) AND e.received_at >= $5 AND e.received_at <= $6) found";

/// Which events are duplicates, where [`COPIES`] says that some may be.
/// LIMIT in the lateral part keeps it one index probe for each event; the constant bounds leave out partitions.
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

    /// What is to be asked about events, of which `copied` rows are there already.
    pub(super) fn questions(&self, events: &[&GroupedEvent], copied: Option<usize>) -> Questions {
        Questions::of(events, self.now, copied)
    }

    /// Whether they are the same that `other` are: where they are not, others would have to be locked.
    pub(super) fn are_those_of(&self, other: &Projects) -> bool {
        let mut ids = self.facts.keys();
        self.facts.len() == other.facts.len() && ids.all(|id| other.facts.contains_key(id))
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

/// What is asked about a chunk's events, all of which is known before anything is locked.
#[derive(Debug)]
pub(super) struct Questions {
    /// The events' days.
    days: Vec<Date>,
    /// The issues that they may belong to.
    candidates: Vec<Uuid>,
    /// The first and the last time at which copies of them may have come.
    span: Option<(Timestamp, Timestamp)>,
    /// Projects of events, and where their events' ids begin and end in `ids`, counted from 1.
    projects: Vec<Uuid>,
    firsts: Vec<i32>,
    lasts: Vec<i32>,
    ids: Vec<Uuid>,
    /// How many of the events' rows this transaction has copied, if it has.
    copied: Option<usize>,
}

impl Questions {
    /// About these events, of which `copied` rows are there already.
    fn of(events: &[&GroupedEvent], now: Timestamp, copied: Option<usize>) -> Questions {
        // The times that a first copy was, or would be, stored with.
        let received = || {
            let times = events.iter().map(|event| event.received_at);
            times.map(|received_at| believed(received_at, now))
        };
        let span = received().min().zip(received().max());
        let mut candidates: Vec<Uuid> = events
            .iter()
            .flat_map(|event| event.candidates.iter().map(|id| id.into_uuid()))
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut keys: Vec<(Uuid, Uuid)> = events
            .iter()
            .map(|event| (event.project_id.into_uuid(), event.event_id.into_uuid()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut questions = Questions {
            days: partitions::days(received()),
            candidates,
            span: span.map(|(first, last)| (first - DUPLICATE_WINDOW, last + DUPLICATE_WINDOW)),
            projects: Vec::new(),
            firsts: Vec::new(),
            lasts: Vec::new(),
            ids: keys.iter().map(|(_, id)| *id).collect(),
            copied,
        };
        let mut last = 0;
        for of_project in keys.chunk_by(|a, b| a.0 == b.0) {
            questions.projects.push(of_project[0].0);
            questions.firsts.push(last + 1);
            last +=
                i32::try_from(of_project.len()).expect("a chunk has at most thousands of events");
            questions.lasts.push(last);
        }
        questions
    }
}

/// What the database says under the locks.
#[derive(Debug)]
pub(super) struct Answers {
    counters: Vec<Row>,
    missing: Vec<Date>,
    issues: HashMap<Uuid, IssueRecord>,
    /// Whether some event may be stored already.
    are_copies: bool,
}

/// Locks the projects and asks. All of it goes out at once; from the lock on, every statement sees what the holders before us committed.
pub(super) async fn ask(
    transaction: &Transaction<'_>,
    statements: &Statements,
    projects: &Projects,
    questions: &Questions,
) -> Result<Answers, Error> {
    let ids: [&(dyn ToSql + Sync); 1] = [&projects.ids];
    let attached = statements.get(partitions::ATTACHED);
    let (locked, counters, missing, set, (issues, copies)) = join5(
        lock_projects(transaction, statements.get(issues::LOCK), &projects.numbers),
        transaction.query(statements.get(COUNTERS), &ids),
        partitions::missing(transaction, attached, &questions.days),
        transaction.batch_execute(SETTINGS),
        join(
            record::load(
                transaction,
                statements.get(record::LOAD),
                &questions.candidates,
            ),
            copies(transaction, statements, questions),
        ),
    )
    .await;
    // The first that failed says why; those behind it only say that it did.
    locked?;
    let counters = counters?;
    let missing = missing?;
    set?;
    let issues = issues?;
    let expected = questions.copied.unwrap_or_default();
    Ok(Answers {
        counters,
        missing,
        issues: issues
            .into_iter()
            .map(|record| (record.id, record))
            .collect(),
        are_copies: usize::try_from(copies?) != Ok(expected),
    })
}

async fn copies(
    transaction: &Transaction<'_>,
    statements: &Statements,
    questions: &Questions,
) -> Result<i64, Error> {
    let Questions {
        span: Some((earliest, latest)),
        projects,
        firsts,
        lasts,
        ids,
        ..
    } = questions
    else {
        return Ok(0);
    };
    let parameters: [&(dyn ToSql + Sync); 6] = [projects, firsts, lasts, ids, earliest, latest];
    let row = transaction.query_one(statements.get(COPIES), &parameters);
    Ok(row.await?.get(0))
}

/// What the plan needs, of what was asked and what follows from it; and which days of the events have no partition.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    projects: Projects,
    questions: &Questions,
    answers: Answers,
) -> Result<(Known, Vec<Date>), Error> {
    let Projects { now, mut facts, .. } = projects;
    let mut locked = HashMap::new();
    for row in answers.counters {
        let id = ProjectId::from_uuid(row.get(0));
        if let Some(mut facts) = facts.remove(&id) {
            facts.last_issue_number = row.get(1);
            facts.last_change = row.get(2);
            locked.insert(id, facts);
        }
    }
    let mut issues = answers.issues;
    let canonical: Vec<Uuid> = issues
        .values()
        .filter_map(|record| record.merged_into)
        .filter(|id| !issues.contains_key(id))
        .collect();
    let canonical = record::load(transaction, statements.get(record::LOAD), &canonical).await?;
    issues.extend(canonical.into_iter().map(|record| (record.id, record)));
    let duplicates = if answers.are_copies {
        let are_copied = questions.copied.is_some();
        duplicates(transaction, statements, events, now, are_copied).await?
    } else {
        HashSet::new()
    };
    let known = Known {
        now,
        projects: locked,
        issues,
        duplicates,
    };
    Ok((known, answers.missing))
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
    now: Timestamp,
    are_copied: bool,
) -> Result<HashSet<usize>, Error> {
    let received = events.iter().map(|event| event.received_at);
    let received = received.map(|received_at| believed(received_at, now));
    let windows = Windows::of(received.collect(), are_copied);
    let Some((earliest, latest)) = windows.filled(transaction, statements).await? else {
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
