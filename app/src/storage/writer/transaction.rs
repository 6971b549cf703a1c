//! The statements of the one transaction that stores a chunk, in their order.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::{join, join3, join5};
use tokio_postgres::{Client, Error, IsolationLevel, Statement, Transaction};
use uuid::Uuid;

use super::bisect::Culprit;
use super::plan::{NewRow, Plan, plan};
use super::read::{self, Answers, Projects, Questions};
use super::statements::Statements;
use super::{Chunk, Committed, EventKind, IssueChange, Quarantined, StoredEvent, WriteError};
use crate::domain::{GroupedEvent, Outcome, ProjectId, RawEvent};
use crate::storage::copy::{self, EventRow};
use crate::storage::issues::IssueRow;
use crate::storage::issues::record::{self, IssueRecord};
use crate::storage::outcomes::{self, OutcomeCount};
use crate::storage::{partitions, payload_dictionaries, spools};

pub(super) const STATEMENTS: &[&str] = &[COUNT, CHANGES, QUARANTINE];

pub(super) const COUNT: &str = "INSERT INTO project_counters (project_id, last_issue_number, last_change, event_count) \
     SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[]) \
     ON CONFLICT (project_id) DO UPDATE SET last_issue_number = excluded.last_issue_number, \
     last_change = excluded.last_change, event_count = project_counters.event_count + excluded.event_count";
pub(super) const CHANGES: &str = "INSERT INTO outbox (project_id, sequence, issue_id, kind, event_id, quantity) \
     SELECT * FROM unnest($1::uuid[], $2::int8[], $3::uuid[], $4::text[], $5::uuid[], $6::int8[])";
const QUARANTINE: &str = "INSERT INTO quarantine (project_id, event_id, received_at, reason, payload) \
     VALUES ($1, $2, $3, $4, $5)";

/// The longest reason kept with a quarantined event, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Begins one. Each statement must see what the holders of a lock before it committed, whatever the server's default is.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, Error> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
}

/// Stores the events at `places`, quarantines `culprits`, moves the spool, commits.
pub(super) async fn store(
    client: &mut Client,
    prepared: Option<&Statements>,
    chunk: &Chunk,
    places: &[usize],
    culprits: &[Culprit],
) -> Result<Committed, WriteError> {
    let transaction = begin(client).await?;
    let statements = in_transaction(&transaction, prepared).await?;
    let settled = settle(&transaction, &statements, chunk, places, culprits, None).await?;
    let committed = settled.expect("what was not copied before is copied as it was decided");
    commit(transaction, committed).await
}

/// Rows that a transaction has copied before its turn, and what it will ask behind it.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) rows: Vec<NewRow>,
    pub(super) projects: Projects,
    pub(super) questions: Questions,
}

/// Everything but the commit. `None` where the rows that were copied before are not those that were decided: this transaction must not
/// be committed.
pub(super) async fn settle(
    transaction: &Transaction<'_>,
    statements: &Statements,
    chunk: &Chunk,
    places: &[usize],
    culprits: &[Culprit],
    copied: Option<&Copied>,
) -> Result<Option<Committed>, WriteError> {
    let events = at(chunk, places);
    let moving = spools::release(
        transaction,
        statements.get(spools::RELEASE),
        chunk.spool_id,
        chunk.epoch,
        chunk.released,
        chunk.next,
    );
    let projects = read::projects(transaction, statements, &events, &chunk.outcomes);
    let (moved, projects, asked) = match copied {
        None => {
            let (moved, projects) = join(moving, projects).await;
            (moved, projects, None)
        }
        // The questions are known, and go out with the rest.
        Some(Copied {
            projects: guessed,
            questions,
            ..
        }) => {
            let answers = read::ask(transaction, statements, guessed, questions);
            let (moved, projects, answers) = join3(moving, projects, answers).await;
            (moved, projects, Some(answers))
        }
    };
    if !moved? {
        return Err(refusal(transaction, chunk).await?);
    }
    let projects = projects?;
    let answers = asked.transpose()?;
    if copied.is_some_and(|copied| !projects.are_those_of(&copied.projects)) {
        return Ok(None);
    }
    let mut outcomes = put_aside(transaction, chunk, culprits).await?;
    outcomes.extend(settled(chunk, &projects));
    let copied = copied.zip(answers);
    let filled = fill(transaction, statements, &events, projects, outcomes, copied);
    let Some((plan, slugs)) = filled.await? else {
        return Ok(None);
    };
    let committed = committed(&events, &plan, &slugs, places, culprits);
    Ok(Some(committed))
}

/// Commits, and says what it came to.
pub(super) async fn commit(
    transaction: Transaction<'_>,
    committed: Committed,
) -> Result<Committed, WriteError> {
    match transaction.commit().await {
        Ok(()) => Ok(committed),
        // A constraint or a conflict: the server did not commit. After anything else, a broken connection or a server that is
        // told to stop between the commit and its answer, nobody knows.
        Err(error) if refused(&error) => Err(WriteError::Database(error)),
        Err(_) => Err(WriteError::CommitUnknown(Box::new(committed))),
    }
}

/// The statements of the connection, or such as live no longer than the transaction needs them.
async fn in_transaction<'a>(
    transaction: &Transaction<'_>,
    prepared: Option<&'a Statements>,
) -> Result<Cow<'a, Statements>, Error> {
    Ok(match prepared {
        Some(statements) => Cow::Borrowed(statements),
        None => Cow::Owned(Statements::prepare(|sql| transaction.prepare(sql)).await?),
    })
}

pub(super) fn at<'a>(chunk: &'a Chunk, places: &[usize]) -> Vec<&'a GroupedEvent> {
    places.iter().map(|place| &chunk.events[*place]).collect()
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
    let transaction = begin(client).await?;
    let statements = in_transaction(&transaction, None).await?;
    let events = at(chunk, places);
    let projects = read::projects(&transaction, &statements, &events, &[]).await?;
    let nothing = Vec::new();
    fill(&transaction, &statements, &events, projects, nothing, None).await?;
    transaction.rollback().await?;
    Ok(())
}

/// The fates that were settled before. What the disk lost was accepted once; where what is left of it names no project that there is, its
/// name is damaged, too.
fn settled(chunk: &Chunk, projects: &Projects) -> Vec<OutcomeCount> {
    let mut counts = Vec::with_capacity(chunk.outcomes.len());
    for count in &chunk.outcomes {
        let mut count = count.clone();
        if count.outcome == Outcome::Lost {
            if !projects.has(count.project_id) {
                count.project_id = ProjectId::from_uuid(Uuid::nil());
            }
            counts.push(OutcomeCount {
                outcome: Outcome::Accepted,
                reason: String::new(),
                ..count.clone()
            });
        }
        counts.push(count);
    }
    counts
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

/// Everything between moving the spool and the commit that depends on the events; `outcomes` are counted with theirs. `None` where the rows
/// that were `copied` before are not those that were decided; then nothing more is written.
async fn fill(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    projects: Projects,
    mut outcomes: Vec<OutcomeCount>,
    copied: Option<(&Copied, Answers)>,
) -> Result<Option<(Plan, Slugs)>, Error> {
    let known = |projects, questions, answers| {
        read::known(
            transaction,
            statements,
            events,
            projects,
            questions,
            answers,
        )
    };
    let (copied, (known, missing)) = match copied {
        Some((copied, answers)) => {
            let known = known(projects, &copied.questions, answers).await?;
            (Some(&copied.rows), known)
        }
        None => {
            let questions = projects.questions(events, None);
            let answers = read::ask(transaction, statements, &projects, &questions).await?;
            (None, known(projects, &questions, answers).await?)
        }
    };
    let slugs = known
        .projects
        .iter()
        .map(|(id, facts)| (*id, facts.slug.clone()))
        .collect();
    let plan = plan(events, known);
    if copied.is_some_and(|copied| *copied != plan.rows) {
        return Ok(None);
    }
    // Of events that expired nothing is stored, and their days stay as they are.
    let days = partitions::days(plan.rows.iter().map(|row| row.received_at));
    if days.iter().any(|day| missing.contains(day)) {
        partitions::ensure(transaction, &days).await?;
    }
    outcomes.extend_from_slice(&plan.outcomes);
    let rows = if copied.is_some() {
        &[]
    } else {
        &plan.rows[..]
    };
    write(transaction, statements, events, rows, &plan, &outcomes).await?;
    Ok(Some((plan, slugs)))
}

/// The rows as they are copied.
pub(super) fn event_rows<'a>(events: &[&'a GroupedEvent], rows: &[NewRow]) -> Vec<EventRow<'a>> {
    let row = |row: &NewRow| EventRow {
        event: events[row.event],
        issue_id: row.issue_id,
        received_at: row.received_at,
    };
    rows.iter().map(row).collect()
}

/// Writes what was decided, and of its rows those that are not there already. All of it goes out at once, the rows first.
async fn write(
    transaction: &Transaction<'_>,
    statements: &Statements,
    events: &[&GroupedEvent],
    rows: &[NewRow],
    plan: &Plan,
    outcomes: &[OutcomeCount],
) -> Result<(), Error> {
    let rows = event_rows(events, rows);
    let (new, old): (Vec<_>, Vec<_>) = plan.touched.values().partition(|touched| touched.is_new);
    let new: Vec<&IssueRecord> = new.into_iter().map(|touched| &touched.record).collect();
    let old: Vec<&IssueRecord> = old.into_iter().map(|touched| &touched.record).collect();
    let of = |sql| statements.get(sql);
    let (copied, inserted, updated, counted, (changed, added)) = join5(
        copy::insert(transaction, of(copy::COPY), &rows),
        record::insert(transaction, of(record::INSERT), &new),
        record::update(transaction, of(record::UPDATE), &old),
        write_counters(transaction, of(COUNT), plan),
        join(
            write_changes(transaction, of(CHANGES), plan),
            outcomes::add(transaction, of(outcomes::ADD), outcomes),
        ),
    )
    .await;
    // In the order in which they were sent: those behind one that failed only say that it did.
    copied.and(inserted).and(updated)?;
    counted.and(changed).and(added)
}

async fn write_counters(
    transaction: &Transaction<'_>,
    statement: &Statement,
    plan: &Plan,
) -> Result<(), Error> {
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
        .execute(statement, &[&projects, &numbers, &changes, &stored])
        .await?;
    Ok(())
}

async fn write_changes(
    transaction: &Transaction<'_>,
    statement: &Statement,
    plan: &Plan,
) -> Result<(), Error> {
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
            statement,
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
        // What waits here for a person outlives its project's dictionaries.
        let payload =
            payload_dictionaries::freed(transaction, raw.project_id, &raw.payload).await?;
        transaction
            .execute(
                QUARANTINE,
                &[
                    &raw.project_id.into_uuid(),
                    &raw.event_id.into_uuid(),
                    &raw.received_at,
                    &text,
                    &payload,
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
    let fates = plan.fates.iter().map(|fate| StoredEvent {
        event: places[fate.event],
        ..*fate
    });
    let mut fates: Vec<StoredEvent> = fates.collect();
    for culprit in culprits {
        let nowhere = crate::domain::IssueId::from_uuid(Uuid::nil());
        fates.push(StoredEvent {
            event: culprit.place,
            issue_id: nowhere,
            canonical: nowhere,
            kind: EventKind::Quarantined,
        });
    }
    fates.sort_by_key(|fate| fate.event);
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
        events: fates,
        issues,
    }
}
