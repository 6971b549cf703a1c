//! Copying a chunk's rows before its turn, while the chunk before it is being settled.
//!
//! Of all that storing a chunk takes, copying its rows is most, and needs no lock: which issue an event belongs to follows from the event.
//! So the rows are guessed, as if every event were new, and copied in the open transaction. What decides stays behind the turn and under the
//! locks: the spool's position, the search for duplicates, the plan. If it wants other rows than those that were guessed, the transaction
//! is undone and the chunk stored in the usual way; the same goes for any error of the database before the turn.

use std::time::Duration;

use mesh_runtime::System;
use tokio_postgres::{Client, Error, Transaction};

use super::plan::NewRow;
use super::statements::Statements;
use super::turn::Turn;
use super::{Chunk, Committed, WriteError, bisect, read, transaction};
use crate::storage::copy;

/// How long a transaction is kept open for its turn. Others may wait for it: whoever copies the same event, and the cleaning of tables.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// After so many wrong guesses in a row the pauses grow no longer.
const MISSES_MAX: u32 = 5;

/// Whether guessing is worth the while: each wrong guess is followed by twice as many chunks without one as the last.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    misses: u32,
    pause: u32,
}

impl Ahead {
    /// Whether the next chunk's rows are to be guessed.
    pub(super) fn is_worth_it(&mut self) -> bool {
        let is_over = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        is_over
    }

    /// How the last guess came out.
    pub(super) fn note(&mut self, was_right: bool) {
        if was_right {
            self.misses = 0;
        } else {
            self.misses = (self.misses + 1).min(MISSES_MAX);
            self.pause = 1 << self.misses;
        }
    }
}

/// Copies, waits for the turn, decides and commits; `None` if nothing came of it and the chunk is to be stored in the usual way.
pub(super) async fn store(
    system: &System,
    client: &mut Client,
    statements: &Statements,
    chunk: &Chunk,
    turn: &Turn,
) -> Result<Option<Committed>, WriteError> {
    let all: Vec<usize> = (0..chunk.events.len()).collect();
    let transaction = client.transaction().await?;
    // Whatever is wrong, the usual way finds it again, and says so.
    let Ok(Some(copied)) = copy_guessed(&transaction, statements, chunk, &all).await else {
        return Ok(None);
    };
    match system.timeout(WAIT_MAX, turn.comes()).await {
        Ok(true) => {}
        Ok(false) => return Err(WriteError::out_of_turn()),
        Err(_) => return Ok(None),
    }
    let settled = transaction::settle(&transaction, statements, chunk, &all, &[], Some(&copied));
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
) -> Result<Option<Vec<NewRow>>, Error> {
    let events = transaction::at(chunk, places);
    let projects = read::projects(transaction, statements, &events, &[]).await?;
    let Some(rows) = projects.guess(&events) else {
        return Ok(None);
    };
    let copied = transaction::event_rows(&events, &rows);
    copy::insert(transaction, statements.get(copy::COPY), &copied).await?;
    Ok(Some(rows))
}

#[cfg(test)]
mod tests {
    use super::{Ahead, MISSES_MAX};

    #[test]
    fn the_more_guesses_are_wrong_the_fewer_are_made() {
        let mut ahead = Ahead::default();
        let mut guesses = Vec::new();
        for chunk in 0..200 {
            if ahead.is_worth_it() {
                guesses.push(chunk);
                ahead.note(false);
            }
        }
        let pauses: Vec<i32> = guesses.windows(2).map(|two| two[1] - two[0] - 1).collect();
        assert_eq!(pauses[..6], [2, 4, 8, 16, 32, 1 << MISSES_MAX]);
        ahead.note(true);
        assert!((0..40).filter(|_| ahead.is_worth_it()).count() >= 7);
        ahead.note(false);
        assert_eq!((0..3).filter(|_| ahead.is_worth_it()).count(), 1);
    }
}
