//! The event router: takes chunks from the spool in order, has them processed, has them stored.
//!
//! It keeps nothing that matters: where the spool stands is a row in the database, moved in the
//! same transaction as the events. A life of the router begins by opening that row, which also
//! bars what an earlier life may still have under way; so it can be killed at any moment, and
//! every record ends in exactly one commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use mesh_runtime::{CallError, ChildSpec, Context, ExitReason, System};
use uuid::Uuid;

use super::door_counts::{DoorCounts, TakenCounts};
use super::spool::{SpoolChunk, SpoolHandle};
use super::store::{ChunkStore, StoreError};
use crate::domain::{Outcome, ProjectId, RawEvent, RawEventError};
use crate::processing::{FanOut, Processors, StoredChunk};
use crate::storage::outcomes::{self, OutcomeCount};
use crate::storage::spools::SpoolPosition;
use crate::storage::writer::{
    CHUNKS_UNDER_WAY_MAX, Chunk, Committed, Quarantined, Turn, TurnGiver,
};

/// Name of the router's process.
pub const EVENT_ROUTER: &str = "EventRouter";

/// How long one wait for records lasts before the router looks whether the door has counts to store.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Pauses between attempts while the database, or a neighbour that restarts, is away.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the router works with.
#[derive(Clone, Debug)]
pub struct RouterArgs {
    /// Where it stores chunks.
    pub store: Arc<dyn ChunkStore>,
    /// The processors it calls.
    pub processors: Processors,
    /// Who is told after a commit.
    pub fan_out: FanOut,
    /// What the door turned away.
    pub counts: DoorCounts,
}

/// The router takes no messages.
#[derive(Clone, Copy, Debug)]
pub enum RouterMessage {}

/// The router as a child of a supervisor.
#[must_use]
pub fn child(args: RouterArgs) -> ChildSpec {
    ChildSpec::process(EVENT_ROUTER, move |cx: Context<RouterMessage>| {
        let router = Router::new(&cx.system(), args.clone());
        async move { router.run().await }
    })
}

struct Router {
    system: System,
    spool: SpoolHandle,
    args: RouterArgs,
}

/// A chunk that is ready to be stored.
struct Ready {
    chunk: Arc<Chunk>,
    counts: TakenCounts,
}

/// The database tells another position than this life of the router believes: open it again.
#[derive(Debug)]
struct OutOfStep(String);

/// Grows with each failure in a row.
struct Pause(Duration);

impl Pause {
    fn new() -> Pause {
        Pause(PAUSE_MIN)
    }

    async fn wait(&mut self, system: &System) {
        system.sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

impl Router {
    fn new(system: &System, args: RouterArgs) -> Router {
        Router {
            system: system.clone(),
            spool: SpoolHandle::new(system),
            args,
        }
    }

    async fn run(self) -> Result<(), ExitReason> {
        let mut pause = Pause::new();
        loop {
            let (spool_id, position) = self.open().await;
            tracing::info!(
                spool.id = %spool_id,
                spool.epoch = position.epoch,
                spool.released = position.released,
                "the router reads on from where the database stands"
            );
            let OutOfStep(why) = self.pump(spool_id, position).await;
            tracing::warn!(spool.id = %spool_id, router.reason = %why, "the router opens the spool's position anew");
            pause.wait(&self.system).await;
        }
    }

    /// Asks the spool for its name and the database for its position, for as long as it takes.
    async fn open(&self) -> (Uuid, SpoolPosition) {
        let mut pause = Pause::new();
        loop {
            match self.try_open().await {
                Ok(opened) => return opened,
                Err(error) => {
                    tracing::debug!(router.error = %error, "the router cannot begin yet");
                    pause.wait(&self.system).await;
                }
            }
        }
    }

    async fn try_open(&self) -> Result<(Uuid, SpoolPosition), String> {
        let status = self.spool.status().await.map_err(|e| e.to_string())?;
        let position = self.args.store.open(status.spool_id).await?;
        // Where the spool remembers less than the database, it says so and gives what it took since new numbers.
        self.spool
            .released(position.released)
            .await
            .map_err(|e| e.to_string())?;
        Ok((status.spool_id, position))
    }

    /// While one chunk is settled, the rows of the next two are copied, and the one behind those is read and processed. Each moves the spool
    /// only after the one before it has.
    async fn pump(&self, spool_id: Uuid, opened: SpoolPosition) -> OutOfStep {
        let mut storing = FuturesOrdered::new();
        // One at most of each of these.
        let mut preparing = FuturesUnordered::new();
        let mut telling = FuturesUnordered::new();
        let mut ready: Option<Ready> = None;
        let mut untold: Option<u64> = None;
        let mut turn = Turn::now();
        preparing.push(self.prepare(spool_id, opened.epoch, opened.released));
        loop {
            if storing.len() < CHUNKS_UNDER_WAY_MAX
                && let Some(ready) = ready.take()
            {
                preparing.push(self.prepare(spool_id, opened.epoch, ready.chunk.next));
                let (next, giver) = turn.next();
                storing.push_back(self.store(ready, std::mem::replace(&mut turn, next), giver));
            }
            if telling.is_empty()
                && let Some(done) = untold.take()
            {
                telling.push(self.tell(done));
            }
            tokio::select! {
                Some(stored) = storing.next() => match stored {
                    Ok(next) => untold = Some(next),
                    Err(out_of_step) => return out_of_step,
                },
                Some(prepared) = preparing.next() => ready = Some(prepared),
                Some(()) = telling.next() => {}
            }
        }
    }

    /// Tells the spool what is done.
    async fn tell(&self, done: u64) {
        if let Err(error) = self.spool.released(done).await {
            // The spool's next life hears it from the next life of this router.
            tracing::debug!(spool.error = %error, "the spool could not be told what is done");
        }
    }

    /// Waits for records, or for counts of the door, and makes a chunk of them.
    async fn prepare(&self, spool_id: Uuid, epoch: i64, from: u64) -> Ready {
        let mut pause = Pause::new();
        loop {
            let (read, counts) = match self.spool.read(from, READ_TIMEOUT).await {
                Ok(read) => (read, self.args.counts.take()),
                Err(CallError::Timeout) => {
                    let counts = self.args.counts.take();
                    if counts.get().is_empty() {
                        continue;
                    }
                    let nothing = SpoolChunk {
                        from,
                        next: from,
                        ..SpoolChunk::default()
                    };
                    (nothing, counts)
                }
                Err(_) => {
                    pause.wait(&self.system).await;
                    continue;
                }
            };
            return self.process(spool_id, epoch, read, counts).await;
        }
    }

    async fn process(
        &self,
        spool_id: Uuid,
        epoch: i64,
        read: SpoolChunk,
        counts: TakenCounts,
    ) -> Ready {
        let at = self.wall_time();
        let mut events = Vec::with_capacity(read.records.len());
        let mut quarantined = Vec::new();
        let mut raws = Vec::with_capacity(read.records.len());
        // Counted here, by what the door wrote, and not by what becomes of them.
        let mut accepted: BTreeMap<(ProjectId, Timestamp), u64> = BTreeMap::new();
        let mut count = |project_id, at| {
            *accepted
                .entry((project_id, outcomes::hour(at)))
                .or_default() += 1;
        };
        for (sequence, bytes) in &read.records {
            match RawEvent::from_bytes(bytes) {
                Ok(raw) => {
                    count(raw.project_id, raw.received_at);
                    raws.push(raw);
                }
                Err(error) => {
                    count(Uuid::nil().into(), at);
                    tracing::error!(spool.sequence = sequence, event.error = %error, "a record of the spool is no event of this version and goes to quarantine");
                    quarantined.push(unreadable(bytes, at, &error));
                }
            }
        }
        for result in self.args.processors.process(raws).await {
            match result {
                Ok(event) => events.push(event),
                Err(unprocessed) => quarantined.push(Quarantined {
                    raw: unprocessed.raw,
                    reason: unprocessed.reason,
                }),
            }
        }
        let mut outcomes: Vec<OutcomeCount> = counts
            .get()
            .iter()
            .map(|count| OutcomeCount {
                project_id: count.project_id,
                at,
                outcome: count.outcome,
                reason: count.reason.clone().into_owned(),
                quantity: count.quantity,
            })
            .collect();
        outcomes.extend(
            accepted
                .into_iter()
                .map(|((project_id, at), quantity)| OutcomeCount {
                    project_id,
                    at,
                    outcome: Outcome::Accepted,
                    reason: String::new(),
                    quantity,
                }),
        );
        outcomes.extend(lost(&read, at));
        Ready {
            chunk: Arc::new(Chunk {
                spool_id,
                epoch,
                released: read.from,
                next: read.next,
                events,
                quarantined,
                outcomes,
            }),
            counts,
        }
    }

    fn wall_time(&self) -> Timestamp {
        Timestamp::try_from(self.system.clock().wall()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Stores a chunk, for as long as it takes, and tells everybody but the spool, which needs to know where it ended.
    async fn store(
        &self,
        Ready { chunk, counts }: Ready,
        turn: Turn,
        giver: TurnGiver,
    ) -> Result<u64, OutOfStep> {
        let counts = CountsUnderWay {
            counts: Some(counts),
            turn: turn.clone(),
        };
        let mut pause = Pause::new();
        let mut unknown: Option<Committed> = None;
        let mut failures = 0_u32;
        let committed = loop {
            // Only a first attempt goes ahead of its turn, and only of a chunk about which a second one could find out.
            if (failures > 0 || !chunk.moves_the_spool()) && !turn.comes().await {
                return Err(OutOfStep("the chunk before was not stored".to_owned()));
            }
            let why = match self.args.store.write(chunk.clone(), turn.clone()).await {
                Ok(committed) => break Some(committed),
                // An attempt before this one was committed after all.
                Err(StoreError::AlreadyAt(released))
                    if released == chunk.next && chunk.moves_the_spool() =>
                {
                    break unknown;
                }
                Err(StoreError::AlreadyAt(released)) => {
                    counts.give_back();
                    return Err(OutOfStep(format!("the database stands at {released}")));
                }
                Err(StoreError::OutOfStep(why)) => {
                    counts.give_back();
                    return Err(OutOfStep(why));
                }
                // Of counts alone a second attempt could not find out: they may be lost, never doubled.
                Err(StoreError::Unknown(..)) if !chunk.moves_the_spool() => {
                    break Some(Committed::default());
                }
                Err(StoreError::Unknown(why, maybe)) => {
                    unknown = maybe.or(unknown);
                    why
                }
                Err(StoreError::Away(why)) => why,
            };
            failures += 1;
            if failures == 1 {
                tracing::warn!(chunk.events = chunk.events.len(), storage.error = %why, "chunks cannot be stored just now; this one is tried until it is");
            } else {
                tracing::debug!(storage.error = %why, storage.failures = failures, "the chunk is tried again");
            }
            pause.wait(&self.system).await;
        };
        drop(counts);
        giver.give();
        if failures > 0 {
            tracing::info!(storage.failures = failures, "chunks are stored again");
        }
        let next = chunk.next;
        match committed {
            Some(committed) => self.args.fan_out.tell(StoredChunk { chunk, committed }),
            None => tracing::info!(
                spool.next = next,
                "a chunk was stored by an attempt whose answer is lost; it is not shown live"
            ),
        }
        Ok(next)
    }
}

/// Counts of the door in a chunk that is being stored. Dropped before the chunk's turn, they go back for a later one; dropped from then on,
/// they may be stored, and it is left at that.
struct CountsUnderWay {
    counts: Option<TakenCounts>,
    turn: Turn,
}

impl CountsUnderWay {
    /// They were not stored.
    fn give_back(mut self) {
        self.counts = None;
    }
}

impl Drop for CountsUnderWay {
    fn drop(&mut self) {
        if self.turn.has_come()
            && let Some(counts) = self.counts.take()
        {
            drop(counts.answer_for());
        }
    }
}

/// Counts of what the disk lost, by the project that what is left of each names; the writer asks whether there is such a project.
fn lost(read: &SpoolChunk, at: Timestamp) -> impl Iterator<Item = OutcomeCount> {
    let named = read
        .remains
        .iter()
        .filter_map(|bytes| RawEvent::project_of(bytes));
    let mut counts: BTreeMap<ProjectId, u64> = BTreeMap::new();
    for project_id in named {
        *counts.entry(project_id).or_default() += 1;
    }
    let nameless = read.lost.saturating_sub(counts.values().sum());
    *counts.entry(Uuid::nil().into()).or_default() += nameless;
    let is_any = |(_, quantity): &(ProjectId, u64)| *quantity > 0;
    counts
        .into_iter()
        .filter(is_any)
        .map(move |(project_id, quantity)| OutcomeCount {
            project_id,
            at,
            outcome: Outcome::Lost,
            reason: "damage".to_owned(),
            quantity,
        })
}

/// A record that another version of Mesher wrote, whole, for the operator; it names no project.
fn unreadable(bytes: &Bytes, at: Timestamp, error: &RawEventError) -> Quarantined {
    Quarantined {
        raw: RawEvent {
            event_id: Uuid::nil().into(),
            project_id: Uuid::nil().into(),
            received_at: at,
            facts: Bytes::new(),
            payload: bytes.clone(),
        },
        reason: format!("a record of the spool is no event of this version: {error}"),
    }
}
