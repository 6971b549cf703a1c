//! The learner behind a door: what it learns is durable before it is used, and whatever becomes of it, the door goes on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use mesh_runtime::{Strategy, Supervisor};
use mesher::domain::payload::{self, Dictionary, DictionaryId};
use mesher::domain::{ProjectId, RawEvent};
use mesher::ingestion::dictionaries::{self, LEARNER};
use mesher::ingestion::{Dictionaries, DictionaryStore, LearnerArgs};
use parking_lot::Mutex;
use serde_json::json;

use super::probe::{Probe, envelope};
use super::support::{Door, KEY, OTHER_KEY, door, grant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Events that are learned from and do not teach, at most: the first round waits for 256 KiB of payloads, and gathers 32 samples.
const EVENTS_MAX: u64 = 400;

/// A database that keeps dictionaries, as long as it is there.
#[derive(Debug, Default)]
struct Store {
    kept: Mutex<Vec<(ProjectId, Arc<Dictionary>)>>,
    is_away: Mutex<bool>,
    asked: Mutex<u64>,
    /// Dictionaries that were learned while it was away.
    refused: Mutex<u64>,
}

impl Store {
    fn answer<T>(&self, found: impl FnOnce(&Store) -> T) -> Result<T, String> {
        *self.asked.lock() += 1;
        if *self.is_away.lock() {
            return Err("away".to_owned());
        }
        Ok(found(self))
    }

    fn copies(&self, after: Timestamp) -> Vec<(ProjectId, Dictionary)> {
        let kept = self.kept.lock();
        let live = kept.iter().filter(|(_, it)| it.made_at() > after);
        live.map(|(project, it)| {
            (
                *project,
                Dictionary::new(it.content().clone(), it.made_at()),
            )
        })
        .collect()
    }

    fn ids(&self) -> Vec<DictionaryId> {
        self.kept.lock().iter().map(|(_, it)| it.id()).collect()
    }
}

impl DictionaryStore for Store {
    fn newest(
        &self,
        after: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<(ProjectId, Dictionary)>, String>> {
        async move { self.answer(|store| store.copies(after)) }.boxed()
    }

    fn newest_of(
        &self,
        project: ProjectId,
        after: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Dictionary>, String>> {
        async move {
            let copies = self.answer(|store| store.copies(after))?.into_iter();
            let mut own = copies.filter(|(of, _)| *of == project);
            Ok(own.next_back().map(|(_, it)| it))
        }
        .boxed()
    }

    fn add(
        &self,
        project: ProjectId,
        dictionary: Arc<Dictionary>,
    ) -> BoxFuture<'_, Result<bool, String>> {
        async move {
            let added = self.answer(|store| store.kept.lock().push((project, dictionary)));
            *self.refused.lock() += u64::from(added.is_err());
            added.map(|()| true)
        }
        .boxed()
    }
}

/// A door with a learner behind it.
struct Learning {
    door: Door,
    store: Arc<Store>,
    dictionaries: Dictionaries,
    sent: u64,
}

async fn learning(store: Arc<Store>) -> Learning {
    let mut door = door().await;
    let dictionaries = Dictionaries::new();
    door.admission = door.admission.packing(dictionaries.clone());
    let args = LearnerArgs {
        dictionaries: dictionaries.clone(),
        store: store.clone(),
    };
    let tree = Supervisor::new(Strategy::OneForOne).child(dictionaries::child(args));
    door.system.supervise(tree).await.unwrap();
    Learning {
        door,
        store,
        dictionaries,
        sent: 0,
    }
}

/// An event with much that all of them say, little of which repeats itself, and something of its own.
fn event(nth: u64) -> serde_json::Value {
    let mix = |n: u64| (n ^ (n >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let frame = |at: u64| {
        let word: String = (0..8)
            .map(|n| format!("{:x}", mix(mix(8 * at + n))))
            .collect();
        json!({ "function": word, "filename": format!("{word}.py"), "lineno": at, "vars": { "own": mix(mix(nth + 1) + at) } })
    };
    let frames: Vec<serde_json::Value> = (0..20).map(frame).collect();
    json!({ "platform": "python", "exception": { "values": [{ "type": "Oops", "stacktrace": { "frames": frames } }] } })
}

impl Learning {
    async fn send(&mut self) {
        self.sent += 1;
        let event = event(self.sent).to_string();
        let body = envelope("{}", &[(r#"{"type":"event"}"#, &event)]);
        assert_eq!(Probe::envelope(body).status(&self.door).await, 200);
    }

    /// Sends until a thing is so.
    async fn send_until(&mut self, what: &str, is_true: impl Fn(&Learning) -> bool) {
        for _ in 0..EVENTS_MAX {
            if is_true(self) {
                return;
            }
            self.send().await;
        }
        self.until(what, is_true).await;
    }

    async fn until(&self, what: &str, is_true: impl Fn(&Learning) -> bool) {
        let wait = async {
            while !is_true(self) {
                self.door.system.sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = self.door.system.timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "never: {what}");
    }

    fn in_use(&self) -> Option<DictionaryId> {
        let project = grant(KEY, 1).project_id;
        self.dictionaries.of(project).map(|it| it.id())
    }

    /// The last event in the spool.
    async fn last(&self) -> RawEvent {
        self.door.spooled().await.pop().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_is_kept_used_and_known_after_a_restart() {
    let store = Arc::new(Store::default());
    let mut learning = learning(store.clone()).await;
    learning.send().await;
    let alone = learning.last().await.payload;
    assert_eq!(payload::dictionary_of(&alone), None);
    learning
        .send_until("a dictionary is in use", |it| it.in_use().is_some())
        .await;
    assert_eq!(store.ids(), [learning.in_use().unwrap()]);
    learning.send().await;
    let packed = learning.last().await;
    let id = payload::dictionary_of(&packed.payload);
    assert_eq!(id, learning.in_use());
    assert!(
        packed.payload.len() * 3 < alone.len(),
        "{}",
        packed.payload.len()
    );
    let (_, kept) = store.kept.lock()[0].clone();
    let json = payload::unpack(&packed.payload, Some(kept.content())).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["event_id"], packed.event_id.to_simple());
    // What is packed well, and another project's, teaches nothing.
    for _ in 0..100 {
        learning.send().await;
    }
    assert_eq!(store.ids().len(), 1);
    assert!(
        learning
            .dictionaries
            .of(grant(OTHER_KEY, 2).project_id)
            .is_none()
    );
    assert_eq!(learning.door.admission.payload_dictionaries(), 1);

    // Another life, on the same database.
    let mut next = self::learning(store.clone()).await;
    next.until("it is read at the start", |it| it.in_use().is_some())
        .await;
    assert_eq!(next.in_use(), id);
    next.send().await;
    assert_eq!(payload::dictionary_of(&next.last().await.payload), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_learner_or_a_database_the_door_goes_on() {
    let store = Arc::new(Store::default());
    let mut learning = learning(store.clone()).await;
    // Away: the round is spent, nothing is in use, and every event was taken.
    *store.is_away.lock() = true;
    learning
        .send_until("what was learned could not be kept", |it| {
            *it.store.refused.lock() > 0
        })
        .await;
    learning.send().await;
    let alone = learning.last().await.payload;
    assert_eq!(
        (learning.in_use(), payload::dictionary_of(&alone)),
        (None, None)
    );
    // Dead, again and again, in the middle of a round.
    *store.is_away.lock() = false;
    for _ in 0..2 {
        let system = learning.door.system.clone();
        learning
            .until("there is a learner", |_| {
                system.whereis_pid(LEARNER).is_some()
            })
            .await;
        system.kill(system.whereis_pid(LEARNER).unwrap());
        learning.send().await;
    }
    for _ in 0..3 {
        if learning.in_use().is_some() {
            break;
        }
        for _ in 0..EVENTS_MAX {
            learning.send().await;
        }
    }
    learning
        .send_until("a new life learned", |it| it.in_use().is_some())
        .await;
    learning.send().await;
    let packed = learning.last().await.payload;
    assert_eq!(payload::dictionary_of(&packed), learning.in_use());
    assert_eq!(learning.door.spooled().await.len() as u64, learning.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_learned_is_taken_over() {
    let store = Arc::new(Store::default());
    let mut one = learning(store.clone()).await;
    let mut two = learning(store.clone()).await;
    let asked = *store.asked.lock();
    // Both have looked at their start, and found nothing.
    one.until("both looked", |_| *store.asked.lock() >= asked.max(2))
        .await;
    one.send_until("one learned", |it| it.in_use().is_some())
        .await;
    two.send_until("the other took it over", |it| it.in_use().is_some())
        .await;
    assert_eq!(two.in_use(), one.in_use());
    assert_eq!(store.ids().len(), 1);
}
