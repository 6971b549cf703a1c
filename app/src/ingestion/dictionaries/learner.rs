//! The learner: the process that gathers samples, learns from them, and makes durable what it learned before the door may use it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use mesh_runtime::{Actor, Capacity, ChildSpec, Context, ExitReason, Flow, System};

use super::learning::{SAMPLE_BYTES_MAX, SAMPLES, SAMPLES_MIN, learn};
use super::{Dictionaries, DictionaryStore, Packing};
use crate::domain::ProjectId;
use crate::domain::payload::{self, Dictionary};

/// Name of the process.
pub const LEARNER: &str = "DictionaryLearner";

/// Samples that wait; more are dropped.
const MAILBOX: usize = 2 * SAMPLES;

/// Rounds that gather samples at a time, each of at most 1 MiB; other projects wait until one ends.
const ROUNDS_MAX: usize = 4;

/// Looks that a round may take to gather its samples while another project waits for its place.
const ROUND_TICKS_MAX: u32 = 5;

/// Between two looks at what is in use: whether it is too old, whether the database still has it, whether a round gets samples.
const TICK: Duration = Duration::from_secs(60);

/// A start has better things to do for the database first.
const LOAD_DELAY: Duration = Duration::from_millis(250);

/// Between two attempts to read what was learned before.
const LOAD_PAUSE: Duration = Duration::from_secs(2);

/// How long the database may take for one question.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the learner works with.
#[derive(Clone, Debug)]
pub struct LearnerArgs {
    /// Where the door finds them.
    pub dictionaries: Dictionaries,
    /// Where they are kept.
    pub store: Arc<dyn DictionaryStore>,
}

/// What the learner is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LearnerMessage {
    /// A payload that is packed badly, and the dictionary it was packed with.
    Sample(ProjectId, Bytes, Option<Arc<Dictionary>>),
    /// Its own timer: read what was learned before.
    Load,
    /// Its own timer: look after what is in use.
    Tick,
}

/// Offers a sample; nobody waits, and one too many is dropped.
pub(super) fn offer(
    system: &System,
    project: ProjectId,
    payload: Bytes,
    dictionary: Option<Arc<Dictionary>>,
) {
    if let Ok(learner) = system.whereis::<LearnerMessage>(LEARNER) {
        let _ = learner.send(LearnerMessage::Sample(project, payload, dictionary));
    }
}

/// A project's samples so far.
#[derive(Debug)]
struct Round {
    project: ProjectId,
    samples: Vec<Vec<u8>>,
    /// Whether a sample came since the last tick.
    is_fresh: bool,
    /// Ticks since it began.
    ticks: u32,
}

impl Round {
    fn new(project: ProjectId) -> Round {
        Round {
            project,
            samples: Vec::with_capacity(SAMPLES),
            is_fresh: true,
            ticks: 0,
        }
    }

    /// Takes in the beginning of an event, in room of its own size.
    fn push(&mut self, json: &[u8]) {
        let taken = json.len().min(SAMPLE_BYTES_MAX);
        self.samples.push(json[..taken].to_vec());
        self.is_fresh = true;
    }

    /// Whether it goes on after a tick: not without samples since the last one, nor with so few that another project waits for long.
    fn goes_on(&mut self, is_awaited: bool) -> bool {
        self.ticks += 1;
        std::mem::take(&mut self.is_fresh) && !(is_awaited && self.ticks >= ROUND_TICKS_MAX)
    }
}

/// The process. What it holds are samples; a crash loses nothing but those.
#[derive(Debug)]
pub(super) struct Learner {
    args: LearnerArgs,
    rounds: Vec<Round>,
    /// Whether a project found no room for its round since the last tick.
    is_awaited: bool,
    has_failed: bool,
}

impl Learner {
    async fn load(&self, cx: &mut Context<LearnerMessage>) {
        let system = cx.system();
        let asked = self.args.store.newest(oldest_live(&system));
        match within(&system, asked).await {
            Ok(found) => {
                for (project, dictionary) in found {
                    if self.args.dictionaries.of(project).is_none() {
                        self.publish(&system, project, Arc::new(dictionary));
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "payload dictionaries cannot be read yet");
                let address = cx.address();
                cx.send_after(&address, LOAD_PAUSE, LearnerMessage::Load);
            }
        }
    }

    /// Whatever the database lost (a failover to a standby that lagged behind, a copy restored, rows deleted), memory still holds: a row that
    /// is missing is made again, with the same id, and so what was packed meanwhile can be read.
    async fn look_after(&mut self, system: &System) {
        let is_awaited = std::mem::take(&mut self.is_awaited);
        let over: Vec<Round> = self
            .rounds
            .extract_if(.., |round| !round.goes_on(is_awaited))
            .collect();
        for round in over {
            if round.samples.len() >= SAMPLES_MIN
                && let Some(packing) = self.args.dictionaries.packing(round.project)
            {
                self.judge(system, &packing, round).await;
            }
        }
        self.args.dictionaries.expire(now(system));
        for (project, dictionary) in self.args.dictionaries.in_use() {
            match within(system, self.args.store.add(project, dictionary)).await {
                Ok(true) => {}
                Ok(false) => self.args.dictionaries.forget(project),
                Err(error) => {
                    tracing::debug!(%error, "payload dictionaries cannot be looked after");
                    return;
                }
            }
        }
    }

    fn publish(&self, system: &System, project: ProjectId, dictionary: Arc<Dictionary>) {
        let now = now(system);
        self.args.dictionaries.publish(project, dictionary, now);
    }

    /// Takes a sample in; a round that is full of them is judged.
    async fn take(
        &mut self,
        system: &System,
        project: ProjectId,
        payload: &[u8],
        dictionary: Option<Arc<Dictionary>>,
    ) {
        let Some(packing) = self.args.dictionaries.packing(project) else {
            return;
        };
        // What was offered before the last round ended is late.
        if !packing.waste.is_enough() {
            return;
        }
        let nth = match self.rounds.iter().position(|it| it.project == project) {
            Some(nth) => nth,
            None if self.rounds.len() >= ROUNDS_MAX => {
                self.is_awaited = true;
                return;
            }
            None => {
                // Learned before this start, or by another node.
                if packing.dictionary().is_none() && self.adopt(system, project).await {
                    packing.waste.settle();
                    return;
                }
                self.rounds.push(Round::new(project));
                self.rounds.len() - 1
            }
        };
        let content = dictionary.as_ref().map(|it| &it.content()[..]);
        let Ok(json) = payload::unpack(payload, content) else {
            return;
        };
        let round = &mut self.rounds[nth];
        round.push(&json);
        if round.samples.len() >= SAMPLES {
            let round = self.rounds.remove(nth);
            self.judge(system, &packing, round).await;
        }
    }

    /// Takes the newest dictionary that is kept into use; `false` if there is none, or nobody knows.
    async fn adopt(&self, system: &System, project: ProjectId) -> bool {
        let asked = self.args.store.newest_of(project, oldest_live(system));
        let Ok(Some(found)) = within(system, asked).await else {
            return false;
        };
        self.publish(system, project, Arc::new(found));
        true
    }

    async fn judge(&mut self, system: &System, packing: &Packing, round: Round) {
        let now = now(system);
        let present = packing.dictionary().filter(|it| it.is_live(now));
        // What is learned onward keeps the age of what it was learned from, so no text goes from one to the next for longer than one lives.
        let made_at = present.as_ref().map_or(now, |it| next_after(it.made_at()));
        let learned = system
            .blocking(move || {
                let learned = learn(&round.samples, present.as_deref())?;
                Some(Arc::new(Dictionary::of_text(&learned, made_at)))
            })
            .await;
        if let Ok(Some(dictionary)) = learned {
            self.keep(system, round.project, dictionary).await;
        }
        packing.waste.settle();
    }

    /// Durable first, in use then: no event that is acknowledged ever names a dictionary that the database could forget.
    async fn keep(&mut self, system: &System, project: ProjectId, dictionary: Arc<Dictionary>) {
        let asked = self.args.store.add(project, dictionary.clone());
        match within(system, asked).await {
            Ok(false) => {}
            Ok(true) => {
                self.has_failed = false;
                tracing::info!(
                    project.id = %project,
                    dictionary.id = %dictionary.id(),
                    dictionary.bytes = dictionary.content().len(),
                    "learned what a project's events have in common"
                );
                self.publish(system, project, dictionary);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(%error, "a payload dictionary cannot be kept; events are packed without it");
                }
            }
        }
    }
}

/// An answer of the store, if it comes in time.
async fn within<T>(
    system: &System,
    asked: impl Future<Output = Result<T, String>> + Send,
) -> Result<T, String> {
    let answered = system.timeout(STORE_TIMEOUT, Box::pin(asked)).await;
    answered.unwrap_or_else(|_| Err("the database did not answer in time".to_owned()))
}

fn now(system: &System) -> Timestamp {
    let now = Timestamp::try_from(system.clock().wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    // As the database keeps it.
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The smallest step by which the newer one is told.
fn next_after(made_at: Timestamp) -> Timestamp {
    made_at
        .checked_add(SignedDuration::from_micros(1))
        .unwrap_or(made_at)
}

/// What was made before is not used any more.
fn oldest_live(system: &System) -> Timestamp {
    now(system)
        .checked_sub(Dictionary::LIFE)
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Actor for Learner {
    type Args = LearnerArgs;
    type Message = LearnerMessage;

    async fn init(
        args: LearnerArgs,
        cx: &mut Context<LearnerMessage>,
    ) -> Result<Learner, ExitReason> {
        let address = cx.address();
        cx.send_after(&address, LOAD_DELAY, LearnerMessage::Load);
        let _ = cx.send_interval(&address, TICK, LearnerMessage::Tick);
        Ok(Learner {
            args,
            rounds: Vec::new(),
            is_awaited: false,
            has_failed: false,
        })
    }

    async fn handle(&mut self, message: LearnerMessage, cx: &mut Context<LearnerMessage>) -> Flow {
        match message {
            LearnerMessage::Load => self.load(cx).await,
            LearnerMessage::Tick => {
                let system = cx.system();
                self.look_after(&system).await;
            }
            LearnerMessage::Sample(project, payload, dictionary) => {
                let system = cx.system();
                self.take(&system, project, &payload, dictionary).await;
            }
        }
        Flow::Continue
    }

    fn mailbox() -> Capacity {
        Capacity::bounded(MAILBOX)
    }
}

/// The learner as a child of a supervisor.
#[must_use]
pub fn child(args: LearnerArgs) -> ChildSpec {
    ChildSpec::worker::<Learner>(LEARNER, args)
}

#[cfg(test)]
mod tests;
