//! Finds the events that the database refuses, by halving the chunk and trying each half in a transaction that is undone.

use tokio_postgres::{Client, Error};

use super::{Chunk, WriteError, transaction};

/// An event that the database refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Culprit {
    /// Its place in the chunk's events.
    pub(super) place: usize,
    /// What the database said, with its SQLSTATE.
    pub(super) reason: String,
}

/// Whether an error is about the data: SQLSTATE class 22 (data exception), 23 (integrity constraint violation) or 54 (a limit of the
/// program exceeded, such as an index entry that is too long: trying again would not help).
pub(super) fn blames_an_event(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        ["22", "23", "54"]
            .iter()
            .any(|class| code.code().starts_with(class))
    })
}

/// The culprits among `places`. A set that fails only as a whole is blamed as a whole, so that this always ends.
pub(super) async fn find(
    client: &mut Client,
    chunk: &Chunk,
    places: &[usize],
) -> Result<Vec<Culprit>, WriteError> {
    let mut culprits = Vec::new();
    // Sets that are known to fail, with what was said of them.
    let mut failing = match attempt(client, chunk, places).await? {
        Some(reason) => vec![(places.to_vec(), reason)],
        None => Vec::new(),
    };
    while let Some((places, reason)) = failing.pop() {
        if let [place] = places[..] {
            culprits.push(Culprit { place, reason });
            continue;
        }
        let (left, right) = places.split_at(places.len() / 2);
        let found = failing.len();
        for half in [left, right] {
            if let Some(reason) = attempt(client, chunk, half).await? {
                failing.push((half.to_vec(), reason));
            }
        }
        if failing.len() == found {
            culprits.extend(places.into_iter().map(|place| Culprit {
                place,
                reason: reason.clone(),
            }));
        }
    }
    culprits.sort_by_key(|culprit| culprit.place);
    Ok(culprits)
}

/// Tries `places` and undoes it; what the database said if it refuses.
async fn attempt(
    client: &mut Client,
    chunk: &Chunk,
    places: &[usize],
) -> Result<Option<String>, WriteError> {
    match transaction::rehearse(client, chunk, places).await {
        Ok(()) => Ok(None),
        Err(WriteError::Database(error)) if blames_an_event(&error) => Ok(Some(said(&error))),
        Err(other) => Err(other),
    }
}

/// What the database said, with its SQLSTATE.
pub(super) fn said(error: &Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |answer| format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
    )
}

/// Every event of `places` as a culprit, for want of a better one.
pub(super) fn blame_all(places: &[usize], error: &Error) -> Vec<Culprit> {
    places
        .iter()
        .map(|place| Culprit {
            place: *place,
            reason: said(error),
        })
        .collect()
}
