//! Copying a chunk's rows before its turn, while the chunk before it is being settled.
//!
//! Of all that storing a chunk takes, copying its rows is most, and needs no lock: which issue an event belongs to follows from the event.
//! So the rows are guessed, as if every event were new, and copied in the open transaction. What decides stays behind the turn and under the
//! locks: the spool's position, the search for duplicates, the plan. If it wants other rows than those that were guessed, the transaction
//! is undone and the chunk stored in the usual way; the same goes for any error of the database before the turn.

use std::time::Duration;

use mesh_runtime::System;
use mesh_runtime::postgres::Pool;
use tokio_postgres::{Error, Transaction};

use super::statements::Statements;
use super::transaction::Copied;
use super::turn::Turn;
use super::{Chunk, Committed, WriteError, bisect, read, transaction};
use crate::storage::copy;

/// How long a transaction is kept open for its turn, and its connection with it. Others may wait for either: whoever copies the same event, the
/// cleaning of tables, the chunk before it where no other connection is to be had. PostgreSQL cannot see such a circle, and this ends it.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// After so many wrong guesses in a row the pauses grow no longer.
const MISSES_MAX: u32 = 5;

/// Whether guessing is worth the while: each wrong guess is followed by twice as many chunks without one as the last.
#[derive(Debug)]
pub(super) struct Ahead {
    wait_max: Duration,
    misses: u32,
    pause: u32,
}

impl Ahead {
    /// Guesses whose transactions wait so long for their turn.
    pub(super) fn new(wait_max: Duration) -> Ahead {
        Ahead {
            wait_max,
            misses: 0,
            pause: 0,
        }
    }

    /// Copies, waits for the turn, decides and commits; `None` if nothing came of it and the chunk is to be stored in the usual way.
    pub(super) async fn store(
        &mut self,
        system: &System,
        pool: &Pool,
        chunk: &Chunk,
        turn: &Turn,
    ) -> Result<Option<Committed>, WriteError> {
        let stored = store(system, pool, chunk, turn, self.wait_max).await;
        self.note(&stored);
        stored
    }

    /// Whether the next chunk's rows are to be guessed.
    pub(super) fn is_worth_it(&mut self) -> bool {
        let is_over = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        is_over
    }

    /// How the last guess came out. Where the turn never came, nobody knows; and one that ended in an error was not worth the while.
    fn note<T>(&mut self, stored: &Result<Option<T>, WriteError>) {
        match stored {
            Ok(Some(_)) => self.misses = 0,
            Err(WriteError::Unavailable(_)) => {}
            Ok(None) | Err(_) => {
                self.misses = (self.misses + 1).min(MISSES_MAX);
                self.pause = 1 << self.misses;
            }
        }
    }
}

async fn store(
    system: &System,
    pool: &Pool,
    chunk: &Chunk,
    turn: &Turn,
    wait_max: Duration,
) -> Result<Option<Committed>, WriteError> {
    let all: Vec<usize> = (0..chunk.events.len()).collect();
    // Whatever is wrong before the turn, the usual way finds it again, and says so.
    let Ok(mut client) = pool.get().await else {
        return Ok(None);
    };
    let Ok(statements) = Statements::prepare(|sql| client.prepare_cached(sql)).await else {
        return Ok(None);
    };
    let Ok(transaction) = transaction::begin(&mut client).await else {
        return Ok(None);
    };
    let Ok(Some(copied)) = copy_guessed(&transaction, &statements, chunk, &all).await else {
        return Ok(None);
    };
    match system.timeout(wait_max, turn.comes()).await {
        Ok(true) => {}
        Ok(false) => return Err(WriteError::out_of_turn()),
        Err(_) => return Ok(None),
    }
    let settled = transaction::settle(&transaction, &statements, chunk, &all, &[], Some(&copied));
    match settled.await {
        Ok(Some(committed)) => transaction::commit(transaction, committed).await.map(Some),
        Ok(None) => Ok(None),
        Err(WriteError::Database(error)) if bisect::blames_an_event(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn copy_guessed(
    transaction: &Transaction<'_>,
    statements: &Statements,
    chunk: &Chunk,
    places: &[usize],
) -> Result<Option<Copied>, Error> {
    let events = transaction::at(chunk, places);
    let projects = read::projects(transaction, statements, &events, &chunk.outcomes).await?;
    let Some(rows) = projects.guess(&events) else {
        return Ok(None);
    };
    let copied = transaction::event_rows(&events, &rows);
    copy::insert(transaction, statements.get(copy::COPY), &copied).await?;
    Ok(Some(Copied {
        questions: projects.questions(&events, Some(rows.len())),
        projects,
        rows,
    }))
}

#[cfg(test)]
mod tests {
    use super::{Ahead, MISSES_MAX, WAIT_MAX, WriteError};

    const RIGHT: Result<Option<()>, WriteError> = Ok(Some(()));
    const WRONG: Result<Option<()>, WriteError> = Ok(None);

    #[test]
    fn the_more_guesses_are_wrong_the_fewer_are_made() {
        let mut ahead = Ahead::new(WAIT_MAX);
        let mut guesses = Vec::new();
        for chunk in 0..200 {
            if ahead.is_worth_it() {
                guesses.push(chunk);
                ahead.note(&WRONG);
            }
        }
        let pauses: Vec<i32> = guesses.windows(2).map(|two| two[1] - two[0] - 1).collect();
        assert_eq!(pauses[..6], [2, 4, 8, 16, 32, 1 << MISSES_MAX]);
        ahead.note(&RIGHT);
        assert!((0..40).filter(|_| ahead.is_worth_it()).count() >= 7);
        ahead.note(&WRONG);
        assert_eq!((0..3).filter(|_| ahead.is_worth_it()).count(), 1);
    }

    #[test]
    fn an_error_behind_the_turn_is_a_miss_and_a_turn_that_never_came_is_none() {
        let mut ahead = Ahead::new(WAIT_MAX);
        ahead.note::<()>(&Err(WriteError::out_of_turn()));
        assert!(ahead.is_worth_it());
        ahead.note::<()>(&Err(WriteError::AlreadyReleased { released: 1 }));
        assert!(!ahead.is_worth_it());
    }
}
