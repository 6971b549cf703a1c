//! The learner: the process that gathers samples, learns from them, and makes durable what it learned before the door may use it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use mesh_runtime::{Actor, Capacity, ChildSpec, Context, ExitReason, Flow, System};

use super::learning::{SAMPLE_BYTES_MAX, SAMPLES, learn};
use super::{Dictionaries, DictionaryStore, Packing};
use crate::domain::ProjectId;
use crate::domain::payload::{self, Dictionary};

/// Name of the process.
pub const LEARNER: &str = "DictionaryLearner";

/// Samples that wait; more are dropped.
const MAILBOX: usize = 2 * SAMPLES;

/// Rounds that gather samples at a time, each of at most 1 MiB; beyond, the oldest is given up.
const ROUNDS_MAX: usize = 4;

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
#[derive(Debug)]
#[non_exhaustive]
pub enum LearnerMessage {
    /// A payload that is packed badly, and the dictionary it was packed with.
    Sample(ProjectId, Bytes, Option<Arc<Dictionary>>),
    /// Its own timer: read what was learned before.
    Load,
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
}

/// The process. What it holds are samples; a crash loses nothing but those.
#[derive(Debug)]
pub(super) struct Learner {
    args: LearnerArgs,
    /// The oldest first.
    rounds: Vec<Round>,
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
                        self.args
                            .dictionaries
                            .publish(project, Arc::new(dictionary));
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
        let content = dictionary.as_ref().map(|it| &it.content()[..]);
        let Ok(mut json) = payload::unpack(payload, content) else {
            return;
        };
        json.truncate(SAMPLE_BYTES_MAX);
        let nth = match self.rounds.iter().position(|it| it.project == project) {
            Some(nth) => nth,
            None => {
                // Learned before this start, or by another node.
                if packing.dictionary().is_none() && self.adopt(system, project).await {
                    packing.waste.settle();
                    return;
                }
                if self.rounds.len() >= ROUNDS_MAX {
                    self.rounds.remove(0);
                }
                let samples = Vec::with_capacity(SAMPLES);
                self.rounds.push(Round { project, samples });
                self.rounds.len() - 1
            }
        };
        let round = &mut self.rounds[nth];
        round.samples.push(json);
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
        self.args.dictionaries.publish(project, Arc::new(found));
        true
    }

    async fn judge(&mut self, system: &System, packing: &Packing, round: Round) {
        let made_at = now(system);
        let present = packing.dictionary().filter(|it| it.is_live(made_at));
        if present.is_none() {
            packing.waste.begin_anew();
        }
        let learned = system
            .blocking(move || {
                let learned = learn(&round.samples, present.as_deref())?;
                Some(Arc::new(Dictionary::new(learned, made_at)))
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
            Ok(()) => {
                self.has_failed = false;
                tracing::info!(
                    project.id = %project,
                    dictionary.id = %dictionary.id(),
                    dictionary.bytes = dictionary.content().len(),
                    "learned what a project's events have in common"
                );
                self.args.dictionaries.publish(project, dictionary);
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
        Ok(Learner {
            args,
            rounds: Vec::new(),
            has_failed: false,
        })
    }

    async fn handle(&mut self, message: LearnerMessage, cx: &mut Context<LearnerMessage>) -> Flow {
        match message {
            LearnerMessage::Load => self.load(cx).await,
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
