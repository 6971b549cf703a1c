//! A store in memory that keeps to the contract of the writer's transaction, and fails as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mesh_runtime::System;
use mesher::domain::{EventId, Outcome, ProjectId};
use mesher::ingestion::{ChunkStore, StoreError};
use mesher::storage::spools::SpoolPosition;
use mesher::storage::writer::{Chunk, Committed, Turn};
use parking_lot::Mutex;
use uuid::Uuid;

/// What a store does with the next attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing is stored.
    Refuse,
    /// Everything is stored, and the answer is lost.
    StoreAndForget,
    /// Everything is stored, and nobody knows whether.
    CommitUnknown,
    /// Another life of the spool was opened.
    Supersede,
    /// Nothing is stored, and that is clear before the chunk's turn.
    RefuseAhead,
    /// The chunk is stored when the next one has been handed on, which must not wait for that.
    Late,
    /// Another life of the spool was opened when the next chunk has been handed on.
    SupersedeLate,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) epoch: i64,
    pub(crate) released: u64,
    pub(crate) stored: Vec<EventId>,
    pub(crate) quarantined: Vec<(EventId, String)>,
    pub(crate) refused: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) fails_to_open: u32,
    /// Attempts that have begun.
    pub(crate) attempts: usize,
}

/// Keeps to the contract of the writer's transaction, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStore {
    pub(crate) state: Arc<Mutex<State>>,
}

impl MemoryStore {
    fn commit(&self, chunk: &Chunk) -> Result<Committed, StoreError> {
        let mut state = self.state.lock();
        if chunk.epoch != state.epoch {
            return Err(StoreError::OutOfStep("superseded".to_owned()));
        }
        if chunk.released != state.released {
            return Err(StoreError::AlreadyAt(state.released));
        }
        assert_eq!(accepted(chunk), settled(chunk), "the books of {chunk:?}");
        state.released = chunk.next;
        state.stored.extend(chunk.events.iter().map(|e| e.event_id));
        let quarantined = chunk.quarantined.iter();
        state
            .quarantined
            .extend(quarantined.map(|q| (q.raw.event_id, q.reason.clone())));
        let refused = chunk.outcomes.iter().filter(|o| o.outcome.is_refusal());
        state.refused += refused.map(|o| o.quantity).sum::<u64>();
        Ok(Committed::default())
    }
}

/// How many of each project's were accepted, as the router counted.
fn accepted(chunk: &Chunk) -> BTreeMap<ProjectId, u64> {
    let mut counts = BTreeMap::new();
    for count in &chunk.outcomes {
        if count.outcome == Outcome::Accepted {
            *counts.entry(count.project_id).or_default() += count.quantity;
        }
    }
    counts
}

/// How many of each project's are settled by this chunk.
fn settled(chunk: &Chunk) -> BTreeMap<ProjectId, u64> {
    let stored = chunk.events.iter().map(|event| event.project_id);
    let put_aside = chunk.quarantined.iter().map(|q| q.raw.project_id);
    let mut counts = BTreeMap::new();
    for project_id in stored.chain(put_aside) {
        *counts.entry(project_id).or_default() += 1;
    }
    counts
}

impl ChunkStore for MemoryStore {
    fn open(&self, _spool_id: Uuid) -> BoxFuture<'_, Result<SpoolPosition, String>> {
        async {
            let mut state = self.state.lock();
            if state.fails_to_open > 0 {
                state.fails_to_open -= 1;
                return Err("away".to_owned());
            }
            state.epoch += 1;
            Ok(SpoolPosition {
                epoch: state.epoch,
                released: state.released,
            })
        }
        .boxed()
    }

    fn write(&self, chunk: Arc<Chunk>, turn: Turn) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            let unknown = |maybe| StoreError::Unknown("unknown".to_owned(), maybe);
            let (fault, attempts) = {
                let mut state = self.state.lock();
                state.attempts += 1;
                (state.faults.pop(), state.attempts)
            };
            if matches!(fault, Some(Fault::RefuseAhead)) {
                return Err(StoreError::Away("away".to_owned()));
            }
            if !turn.comes().await {
                return Err(StoreError::Away("its turn never comes".to_owned()));
            }
            match fault {
                None => self.commit(&chunk),
                Some(Fault::Late) => {
                    while self.state.lock().attempts == attempts {
                        tokio::task::yield_now().await;
                    }
                    self.commit(&chunk)
                }
                Some(Fault::SupersedeLate) => {
                    // Counts alone are not handed on before their turn: it is waited two seconds for them.
                    let system = System::new();
                    for _ in 0..400 {
                        if self.state.lock().attempts > attempts {
                            break;
                        }
                        system.sleep(Duration::from_millis(5)).await;
                    }
                    self.state.lock().epoch += 1;
                    self.commit(&chunk)
                }
                Some(Fault::Refuse | Fault::RefuseAhead) => {
                    Err(StoreError::Away("away".to_owned()))
                }
                Some(Fault::StoreAndForget) => {
                    self.commit(&chunk)?;
                    Err(unknown(None))
                }
                Some(Fault::CommitUnknown) => {
                    let committed = self.commit(&chunk)?;
                    Err(unknown(Some(committed)))
                }
                Some(Fault::Supersede) => {
                    self.state.lock().epoch += 1;
                    self.commit(&chunk)
                }
            }
        }
        .boxed()
    }
}
