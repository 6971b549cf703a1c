//! The learner, event by event and without its process: what it asks, what it holds, and what it gives the door when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join};
use jiff::Timestamp;
use mesh_runtime::System;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    Learner, LearnerArgs, ROUND_TICKS_MAX, ROUNDS_MAX, Round, SAMPLE_BYTES_MAX, SAMPLES, now,
};
use crate::domain::ProjectId;
use crate::domain::payload::{self, Dictionary, DictionaryId};
use crate::ingestion::dictionaries::learning::tests::event;
use crate::ingestion::dictionaries::{Dictionaries, DictionaryStore};

/// A database that keeps dictionaries.
#[derive(Debug)]
struct Store {
    kept: Mutex<Vec<(ProjectId, Arc<Dictionary>)>>,
    asked: AtomicUsize,
    is_away: AtomicBool,
    /// Whether its projects are gone.
    is_empty: AtomicBool,
    /// How many dictionaries have come in, and how many may be made durable.
    adding: AtomicUsize,
    may_add: Semaphore,
}

impl Store {
    fn new(may_add: usize) -> Arc<Store> {
        Arc::new(Store {
            kept: Mutex::default(),
            asked: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
            is_empty: AtomicBool::new(false),
            adding: AtomicUsize::new(0),
            may_add: Semaphore::new(may_add),
        })
    }

    fn ids(&self) -> Vec<DictionaryId> {
        self.kept.lock().iter().map(|(_, it)| it.id()).collect()
    }
}

impl DictionaryStore for Store {
    fn newest(&self, _: Timestamp) -> BoxFuture<'_, Result<Vec<(ProjectId, Dictionary)>, String>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn newest_of(
        &self,
        _: ProjectId,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Dictionary>, String>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        async { Ok(None) }.boxed()
    }

    fn add(
        &self,
        project: ProjectId,
        dictionary: Arc<Dictionary>,
    ) -> BoxFuture<'_, Result<bool, String>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.adding.fetch_add(1, Ordering::Relaxed);
            if self.is_away.load(Ordering::Relaxed) {
                return Err("away".to_owned());
            }
            if self.is_empty.load(Ordering::Relaxed) {
                return Ok(false);
            }
            self.may_add.acquire().await.unwrap().forget();
            let mut kept = self.kept.lock();
            if kept.iter().all(|(_, it)| it.id() != dictionary.id()) {
                kept.push((project, dictionary));
            }
            Ok(true)
        }
        .boxed()
    }
}

/// A door, and the learner without its process: each event is dealt with before the next one comes.
struct Bench {
    system: System,
    dictionaries: Dictionaries,
    store: Arc<Store>,
    learner: Learner,
}

fn bench(store: Arc<Store>) -> Bench {
    let dictionaries = Dictionaries::new();
    let args = LearnerArgs {
        dictionaries: dictionaries.clone(),
        store: store.clone(),
    };
    Bench {
        system: System::new(),
        dictionaries,
        store,
        learner: Learner {
            args,
            rounds: Vec::new(),
            is_awaited: false,
            has_failed: false,
        },
    }
}

fn project(number: usize) -> ProjectId {
    Uuid::from_u128(1 + number as u128).into()
}

impl Bench {
    /// An event comes; how many bytes its payload takes.
    async fn take(&mut self, project: ProjectId, json: &[u8]) -> usize {
        let packing = self.dictionaries.packing(project).unwrap();
        let dictionary = packing.dictionary_at(now(&self.system));
        let mut payload = Vec::new();
        payload::pack(json, dictionary.as_deref(), &mut payload).unwrap();
        if packing.waste.add(payload.len(), json.len()) {
            self.learner
                .take(&self.system, project, &payload, dictionary)
                .await;
        }
        payload.len()
    }

    /// Events of a kind come until a dictionary other than the present one is in use.
    async fn learn(&mut self, project: ProjectId, kind: u64) -> Arc<Dictionary> {
        let before = self.dictionaries.of(project).map(|it| it.id());
        for nth in 0..2_000 {
            self.take(project, &event(kind, nth, 9_000)).await;
            if let Some(found) = self.dictionaries.of(project)
                && Some(found.id()) != before
            {
                return found;
            }
        }
        panic!("nothing is learned");
    }

    async fn tick(&mut self) {
        self.learner.look_after(&self.system).await;
    }

    /// Projects that gather samples.
    fn gathering(&self) -> Vec<ProjectId> {
        let rounds = self.learner.rounds.iter();
        rounds.map(|it| it.project).collect()
    }

    /// A project's events have wasted enough for it to learn.
    fn waste(&self, project: ProjectId) {
        let packing = self.dictionaries.packing(project).unwrap();
        packing.waste.add(1 << 20, 0);
    }

    fn asked(&self) -> usize {
        self.store.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn what_the_database_lost_is_made_again_with_the_same_id() {
    let mut bench = bench(Store::new(100));
    let learned = bench.learn(project(0), 1).await;
    bench.store.kept.lock().clear();
    bench.tick().await;
    assert_eq!(bench.store.ids(), [learned.id()]);
    bench.tick().await;
    assert_eq!(bench.store.ids().len(), 1);

    // Away: nothing changes. Its project gone: neither is the dictionary used any more.
    bench.store.is_away.store(true, Ordering::Relaxed);
    bench.tick().await;
    assert_eq!(
        bench.dictionaries.of(project(0)).unwrap().id(),
        learned.id()
    );
    bench.store.is_away.store(false, Ordering::Relaxed);
    bench.store.is_empty.store(true, Ordering::Relaxed);
    bench.tick().await;
    assert!(bench.dictionaries.of(project(0)).is_none());
}

#[tokio::test]
async fn one_at_its_lifes_end_goes_and_its_project_begins_anew() {
    let mut bench = bench(Store::new(100));
    let old = Dictionary::new("old", Timestamp::UNIX_EPOCH);
    let at = now(&bench.system);
    bench.dictionaries.publish(project(0), Arc::new(old), at);
    let packing = bench.dictionaries.packing(project(0)).unwrap();
    for _ in 0..100 {
        packing.waste.settle();
    }
    bench.tick().await;
    assert!(bench.dictionaries.of(project(0)).is_none());
    assert!(bench.dictionaries.is_empty());
    assert_eq!(bench.store.ids(), [], "nor is it made durable again");
    bench.learn(project(0), 1).await;
}

#[tokio::test]
async fn many_projects_at_a_time_all_learn() {
    const PROJECTS: usize = ROUNDS_MAX + 2;
    let mut bench = bench(Store::new(100));
    for nth in 0..1_000 {
        for at in 0..PROJECTS {
            let json = event(at as u64, nth, 9_000);
            bench.take(project(at), &json).await;
        }
        if bench.dictionaries.len() == PROJECTS {
            break;
        }
    }
    assert_eq!(bench.dictionaries.len(), PROJECTS);
    // For each whether there is one, and to keep it.
    assert_eq!(bench.asked(), 2 * PROJECTS);
}

#[tokio::test]
async fn a_round_without_samples_makes_room() {
    let mut bench = bench(Store::new(100));
    for at in 0..=ROUNDS_MAX {
        bench.waste(project(at));
        bench.take(project(at), &event(1, 1, 9_000)).await;
    }
    let first: Vec<ProjectId> = (0..ROUNDS_MAX).map(project).collect();
    assert_eq!(bench.gathering(), first);
    bench.tick().await;
    assert_eq!(bench.gathering(), first, "all had one since the last tick");
    bench.take(project(1), &event(1, 2, 9_000)).await;
    bench.tick().await;
    assert_eq!(bench.gathering(), [project(1)]);
    bench.take(project(ROUNDS_MAX), &event(1, 1, 9_000)).await;
    assert_eq!(bench.gathering(), [project(1), project(ROUNDS_MAX)]);
}

#[tokio::test]
async fn rounds_that_drip_make_room_for_who_waits() {
    let mut bench = bench(Store::new(100));
    let mut nth = 0;
    for at in 0..ROUNDS_MAX {
        bench.waste(project(at));
    }
    let dripping: Vec<ProjectId> = (0..ROUNDS_MAX).map(project).collect();
    for _ in 0..2 * ROUND_TICKS_MAX {
        for project in &dripping {
            nth += 1;
            bench.take(*project, &event(1, nth, 9_000)).await;
        }
        assert_eq!(bench.gathering(), dripping, "nobody waits");
        bench.tick().await;
    }
    let waits = project(ROUNDS_MAX);
    bench.waste(waits);
    bench.take(waits, &event(1, 1, 9_000)).await;
    for project in &dripping {
        nth += 1;
        bench.take(*project, &event(1, nth, 9_000)).await;
    }
    assert_eq!(bench.gathering(), dripping);
    bench.tick().await;
    bench.learn(waits, 1).await;
}

#[tokio::test]
async fn more_slow_projects_than_rounds_all_learn() {
    let mut bench = bench(Store::new(1_000));
    let slow: Vec<ProjectId> = (0..=ROUNDS_MAX).map(project).collect();
    for project in &slow {
        bench.waste(*project);
    }
    for nth in 0..40 {
        for project in &slow {
            for sample in 0..5 {
                bench
                    .take(*project, &event(1, 5 * nth + sample, 9_000))
                    .await;
            }
        }
        bench.tick().await;
    }
    assert_eq!(bench.dictionaries.len(), slow.len());
}

#[tokio::test]
async fn events_with_nothing_in_common_are_tried_ever_more_seldom() {
    let mut bench = bench(Store::new(100));
    let (mut bytes, mut nth) = (0, 0);
    while bytes < 40 * 256 * 1024 {
        bytes += bench.take(project(0), &event(nth, nth, 60_000)).await;
        nth += 1;
    }
    assert!(bench.dictionaries.is_empty());
    // At 256 KiB, and then at twice as much each time: one question a round.
    assert!((4..=5).contains(&bench.asked()), "{}", bench.asked());
}

#[tokio::test]
async fn what_is_learned_onward_does_not_live_longer() {
    let mut bench = bench(Store::new(100));
    let first = bench.learn(project(0), 1).await;
    let second = bench.learn(project(0), 2).await;
    let longer = second.made_at().duration_since(first.made_at());
    assert_eq!(longer.as_micros(), 1);
}

#[tokio::test]
async fn nothing_is_used_before_it_is_durable() {
    let Bench {
        system,
        dictionaries,
        store,
        mut learner,
    } = bench(Store::new(0));
    let packing = dictionaries.packing(project(0)).unwrap();
    let learning = async {
        packing.waste.add(1 << 20, 0);
        for nth in 0..SAMPLES as u64 {
            let mut payload = Vec::new();
            payload::pack(&event(1, nth, 9_000), None, &mut payload).unwrap();
            learner.take(&system, project(0), &payload, None).await;
        }
    };
    let looking = async {
        while store.adding.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert!(dictionaries.of(project(0)).is_none());
            tokio::task::yield_now().await;
        }
        store.may_add.add_permits(1);
    };
    join(learning, looking).await;
    let used = dictionaries.of(project(0)).map(|it| it.id());
    assert_eq!(used, store.ids().first().copied());
    assert!(used.is_some());
}

#[test]
fn samples_take_no_more_room_than_they_should() {
    let mut round = Round::new(project(0));
    let json = vec![b'a'; 1 << 20];
    for _ in 0..SAMPLES {
        round.push(&json);
    }
    let room: usize = round.samples.iter().map(Vec::capacity).sum();
    assert!(room <= SAMPLES * SAMPLE_BYTES_MAX, "{room}");
}
