//! Storing a chunk: one transaction, in which every event ends once and the spool moves on.
//!
//! The order inside [`write_chunk`]: move the spool's position, put aside what cannot be stored, lock the chunk's projects in ascending
//! order, read the issues, count the events that are stored already and look for them only if there are some, decide everything in
//! [`plan`](self) as pure functions, write events (by COPY), issues, counters, outbox and outcomes, commit. Statements that need nothing of
//! one another's answers go out together; the server executes them in this order. Whoever changes issues otherwise takes the same locks, so
//! nothing is decided on stale rows and nothing deadlocks.

mod ahead;
mod bisect;
mod plan;
mod read;
mod service;
mod statements;
mod transaction;
mod turn;

use std::fmt;

use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

pub use self::read::SETTINGS;
pub use self::service::{
    NAME, NAMES, StorageWriter, StorageWriterHandle, StorageWriterMessage, children, children_with,
};
use self::statements::Statements;
pub use self::turn::{CHUNKS_UNDER_WAY_MAX, Turn, TurnGiver};
use super::issues::IssueRow;
use super::outcomes::OutcomeCount;
use crate::domain::{GroupedEvent, IssueId, RawEvent, TransitionKind};

pub(crate) const STATEMENTS: &[&[&str]] = &[read::STATEMENTS, transaction::STATEMENTS];

/// What the router hands over: the next records of one spool, in order.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The spool.
    pub spool_id: Uuid,
    /// Which life of it, from [`super::spools::open`].
    pub epoch: i64,
    /// Where the spool stands before: every record with a smaller sequence number is done.
    pub released: u64,
    /// Where it stands after.
    pub next: u64,
    /// The events to store, in the spool's order.
    pub events: Vec<GroupedEvent>,
    /// Events that could not be processed.
    pub quarantined: Vec<Quarantined>,
    /// Fates settled before storing: filtered, sampled, lost; and how many were accepted. Quarantined ones are counted by the writer, and
    /// the lost once more as accepted.
    pub outcomes: Vec<OutcomeCount>,
}

/// An event that is put aside for the operator.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// As the spool held it.
    pub raw: RawEvent,
    /// Why; one line.
    pub reason: String,
}

/// What a committed chunk came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// One for each of the chunk's events, in their order.
    pub events: Vec<StoredEvent>,
    /// Every issue that was made or changed, as it stands now.
    pub issues: Vec<IssueChange>,
}

/// How one event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the chunk's events.
    pub event: usize,
    /// The issue of its birth, which its row names for ever.
    pub issue_id: IssueId,
    /// The issue it counts for, which differs after a merge.
    pub canonical: IssueId,
    /// What became of it.
    pub kind: EventKind,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Stored; it made its issue.
    New,
    /// Stored; it brought its resolved issue back.
    Regressed,
    /// Stored; it woke its archived issue.
    Escalated,
    /// Stored; one more.
    Counted,
    /// Stored before: a client's retry.
    Duplicate,
    /// Dropped: its issue is discarded.
    Discarded,
    /// Dropped: older than the project keeps events, or of a project that is gone.
    Expired,
    /// Refused by the database, and put aside.
    Quarantined,
}

impl EventKind {
    /// Whether the event is a row of `events` now.
    #[must_use]
    pub const fn is_stored(self) -> bool {
        matches!(
            self,
            EventKind::New | EventKind::Regressed | EventKind::Escalated | EventKind::Counted
        )
    }
}

/// An issue that a chunk made or changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IssueChange {
    /// The strongest thing that happened to it in the chunk.
    pub kind: TransitionKind,
    /// As it stands after the chunk.
    pub issue: IssueRow,
}

/// Why a chunk is not known to be stored.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// It was stored before: the spool stands further on.
    AlreadyReleased {
        /// Where the spool stands.
        released: u64,
    },
    /// A later life of the spool has been opened; this one must not write any more.
    Superseded {
        /// The later life.
        epoch: i64,
    },
    /// The spool was never opened in this database.
    UnknownSpool,
    /// The database could not be reached; nothing was stored.
    Unavailable(String),
    /// The writer ended or fell silent over the chunk: it may be stored.
    Unanswered(String),
    /// The connection broke during the commit. If the spool stands at the chunk's `next`, this is what was stored.
    CommitUnknown(Box<Committed>),
    /// The database refused, for a reason that is not an event's.
    Database(tokio_postgres::Error),
}

impl Chunk {
    /// Whether it moves the spool: then a second attempt finds out what became of a first. Counts alone do not.
    #[must_use]
    pub fn moves_the_spool(&self) -> bool {
        self.next != self.released
    }
}

impl WriteError {
    /// The chunk's turn never comes; nothing of it is stored.
    fn out_of_turn() -> WriteError {
        WriteError::Unavailable("the chunk before it was not stored".to_owned())
    }

    /// Whether the same chunk may be tried again, with back-off.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            WriteError::Unavailable(_)
            | WriteError::Unanswered(_)
            | WriteError::CommitUnknown(_)
            | WriteError::Database(_) => true,
            WriteError::AlreadyReleased { .. }
            | WriteError::Superseded { .. }
            | WriteError::UnknownSpool => false,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::AlreadyReleased { released } => {
                write!(out, "the spool stands at {released} already")
            }
            WriteError::Superseded { epoch } => {
                write!(out, "life {epoch} of the spool has been opened")
            }
            WriteError::UnknownSpool => out.write_str("the spool is unknown to the database"),
            WriteError::Unavailable(why) => write!(out, "the database is unavailable: {why}"),
            WriteError::Unanswered(why) => write!(out, "the storage writer gave no answer: {why}"),
            WriteError::CommitUnknown(_) => out.write_str("the connection broke during the commit"),
            WriteError::Database(error) => match error.as_db_error() {
                Some(answer) => write!(
                    out,
                    "database: {} ({})",
                    answer.message(),
                    answer.code().code()
                ),
                None => write!(out, "database: {error}"),
            },
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WriteError::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for WriteError {
    fn from(error: tokio_postgres::Error) -> WriteError {
        WriteError::Database(error)
    }
}

/// Stores a chunk, all of it or nothing.
///
/// Events that the database refuses for what they hold (SQLSTATE classes 22, 23 and 54) are found by halving the chunk and go
/// to quarantine; the rest is stored.
///
/// # Errors
///
/// [`WriteError`]; nothing is stored then, except perhaps after [`WriteError::CommitUnknown`].
///
/// # Cancel safety
///
/// Dropped before the commit, nothing is stored; during the commit, the fate is unknown: read [`super::spools::read`].
pub async fn write_chunk(client: &mut Client, chunk: &Chunk) -> Result<Committed, WriteError> {
    write_prepared(client, None, chunk).await
}

/// [`write_chunk`] by statements that its connection has prepared before.
async fn write_prepared(
    client: &mut Client,
    prepared: Option<&Statements>,
    chunk: &Chunk,
) -> Result<Committed, WriteError> {
    let all: Vec<usize> = (0..chunk.events.len()).collect();
    let error = match transaction::store(client, prepared, chunk, &all, &[]).await {
        Err(WriteError::Database(error)) if bisect::blames_an_event(&error) => error,
        settled => return settled,
    };
    tracing::warn!(error = %bisect::said(&error), chunk.events = all.len(), "the database refuses a chunk; looking for the culprit");
    let culprits = bisect::find(client, chunk, &all).await?;
    let rest: Vec<usize> = all
        .iter()
        .copied()
        .filter(|place| !culprits.iter().any(|culprit| culprit.place == *place))
        .collect();
    match transaction::store(client, None, chunk, &rest, &culprits).await {
        Err(WriteError::Database(error)) if bisect::blames_an_event(&error) => {
            // No single event is to blame. A chunk that is refused for ever would stop the spool: all of it is put aside.
            let everything = bisect::blame_all(&all, &error);
            transaction::store(client, None, chunk, &[], &everything).await
        }
        settled => settled,
    }
}
