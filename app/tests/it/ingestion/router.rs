//! The router over a store that fails in every way a database can, and with every neighbour killed in turn.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use mesh_runtime::{Strategy, Supervisor, System};
use mesher::domain::{EventId, GroupedEvent, Outcome, ProjectId, RawEvent};
use mesher::ingestion::{
    Dictionaries, DoorCounts, IngestionArgs, KeyCache, KeyKeeperArgs, LearnerArgs, RouterArgs,
    SpoolHandle, SpoolOptions, Storage,
};
use mesher::processing::fingerprint::Memo;
use mesher::processing::grouping::{self, ProcessingError};
use mesher::processing::normalize::{self, EventContext};
use mesher::processing::{self, FanOut, Processors};
use parking_lot::Mutex;
use tempfile::TempDir;
use uuid::Uuid;

use super::memory_store::{Fault, MemoryStore, State};

/// An installation without door and database.
struct Stage {
    system: System,
    spool: SpoolHandle,
    store: MemoryStore,
    counts: DoorCounts,
    told: Arc<Mutex<Vec<EventId>>>,
    _directory: TempDir,
}

fn group(memo: &mut Memo, raw: &RawEvent) -> Result<GroupedEvent, ProcessingError> {
    let grouped = grouping::group_with(memo, raw)?;
    assert!(grouped.message != "killer", "this event kills");
    Ok(grouped)
}

async fn stage(store: MemoryStore) -> Stage {
    let directory = tempfile::tempdir().unwrap();
    let mut options = SpoolOptions::new(directory.path().join("spool"));
    options.segment_bytes = 64 << 10;
    options.record_bytes_max = 32 << 10;
    options.chunk_records_max = 16;
    options.linger = Duration::from_millis(4);
    options.linger_step = Duration::from_millis(2);
    let system = System::new();
    let counts = DoorCounts::new();
    let told: Arc<Mutex<Vec<EventId>>> = Arc::default();
    let hears = told.clone();
    let args = IngestionArgs {
        spool: options,
        router: RouterArgs {
            store: Arc::new(store.clone()),
            processors: Processors::new(&system, 2),
            fan_out: FanOut::new().with(move |chunk| {
                hears
                    .lock()
                    .extend(chunk.events().iter().map(|e| e.event_id));
            }),
            counts: counts.clone(),
        },
        keys: KeyKeeperArgs {
            cache: KeyCache::new(),
            load: Arc::new(|_| async { Ok(Vec::new()) }.boxed()),
            interval: Duration::from_secs(60),
            memory: None,
        },
        learner: LearnerArgs {
            dictionaries: Dictionaries::new(),
            store: Arc::new(Storage::new(&system)),
        },
    };
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(1000, Duration::from_secs(60))
        .child(processing::child_with(2, group))
        .child(mesher::ingestion::child(args));
    system.supervise(tree).await.unwrap();
    let spool = SpoolHandle::new(&system);
    Stage {
        system,
        spool,
        store,
        counts,
        told,
        _directory: directory,
    }
}

fn event(number: u128, message: &str) -> RawEvent {
    let json = format!("{{\"message\":\"{message}\"}}");
    let context = EventContext {
        project_id: ProjectId::from(Uuid::from_u128(1 + number % 3)),
        project_number: None,
        received_at: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
        sent_at: None,
        event_id: Some(Uuid::from_u128(number + 1).into()),
        fresh_event_id: Uuid::nil().into(),
        remote_address: None,
        dictionary: None,
    };
    normalize::sentry_event(json.as_bytes(), &context).unwrap()
}

impl Stage {
    /// Appends until the spool says it is durable, as the door does.
    async fn append(&self, event: &RawEvent) {
        let bytes = event.to_bytes();
        while self
            .spool
            .append(bytes.clone(), Duration::from_secs(5))
            .await
            .is_err()
        {
            self.system.sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until(&self, what: &str, is_true: impl Fn(&State) -> bool) {
        let wait = async {
            while !is_true(&self.store.state.lock()) {
                self.system.sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = self.system.timeout(Duration::from_secs(60), wait).await;
        assert!(
            waited.is_ok(),
            "never: {what}: {:?}",
            self.store.state.lock()
        );
    }
}

/// Every id is there, none twice.
fn assert_once(stored: &[EventId], expected: impl Iterator<Item = u128>) {
    let unique: HashSet<EventId> = stored.iter().copied().collect();
    assert_eq!(unique.len(), stored.len(), "something was stored twice");
    let expected: HashSet<EventId> = expected.map(|n| Uuid::from_u128(n + 1).into()).collect();
    assert_eq!(unique, expected);
}

#[tokio::test]
async fn a_store_that_fails_in_every_way_gets_every_event_once_and_in_order() {
    let store = MemoryStore::default();
    {
        let mut state = store.state.lock();
        state.fails_to_open = 3;
        let faults = [
            Fault::Refuse,
            Fault::StoreAndForget,
            Fault::CommitUnknown,
            Fault::Supersede,
            Fault::Refuse,
            Fault::Refuse,
            Fault::StoreAndForget,
        ];
        state.faults = faults.to_vec();
    }
    let stage = stage(store).await;
    for number in 0..200 {
        stage.append(&event(number, "boom")).await;
    }
    stage
        .until("200 stored", |state| state.stored.len() >= 200)
        .await;
    let state = stage.store.state.lock();
    assert!(state.faults.is_empty(), "every fault was met");
    let in_order: Vec<EventId> = (1..=200).map(|n| Uuid::from_u128(n).into()).collect();
    assert_eq!(state.stored, in_order);
    let told: HashSet<EventId> = stage.told.lock().iter().copied().collect();
    assert!(told.is_subset(&in_order.into_iter().collect()));
    assert_eq!(told.len(), stage.told.lock().len(), "nothing is told twice");
}

/// Two failures of neighbouring chunks, each with each: what was handed on ahead of its turn must be neither lost nor stored out of turn.
#[tokio::test]
async fn every_pair_of_failures_under_way_stores_every_event_once_and_in_order() {
    let faults = [
        None,
        Some(Fault::Refuse),
        Some(Fault::StoreAndForget),
        Some(Fault::CommitUnknown),
        Some(Fault::Supersede),
        Some(Fault::RefuseAhead),
    ];
    let pairs = faults
        .into_iter()
        .flat_map(|first| faults.map(|second| [first, second]));
    let rounds = pairs.map(async |pair| {
        let store = MemoryStore::default();
        // Three chunks and more are there before the first is asked for.
        store.state.lock().fails_to_open = 2;
        store.state.lock().faults = pair.into_iter().flatten().collect();
        let stage = stage(store).await;
        let records = (0..100).map(|number| event(number, "boom").to_bytes());
        let patience = Duration::from_secs(30);
        let appended = stage.spool.append_all(records.collect(), patience).await;
        assert!(appended.iter().all(Result::is_ok));
        stage
            .until("100 stored", |state| state.stored.len() >= 100)
            .await;
        let state = stage.store.state.lock();
        assert!(state.faults.is_empty(), "{pair:?}");
        let in_order: Vec<EventId> = (1..=100).map(|n| Uuid::from_u128(n).into()).collect();
        assert_eq!(state.stored, in_order, "{pair:?}");
        let told = stage.told.lock();
        assert!(told.is_sorted_by_key(EventId::as_uuid), "{pair:?}");
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len());
    });
    join_all(rounds).await;
}

#[tokio::test]
async fn a_chunk_is_handed_on_while_the_one_before_it_is_being_stored() {
    let store = MemoryStore::default();
    store.state.lock().fails_to_open = 2;
    store.state.lock().faults = vec![Fault::Late];
    let stage = stage(store).await;
    let records = (0..48).map(|number| event(number, "boom").to_bytes());
    let patience = Duration::from_secs(30);
    stage.spool.append_all(records.collect(), patience).await;
    stage
        .until("48 stored", |state| state.stored.len() == 48)
        .await;
    assert_once(&stage.store.state.lock().stored, 0..48);
}

/// They are counted once, though the chunk that carried them was handed on and never had its turn.
#[tokio::test]
async fn counts_of_a_chunk_that_never_had_its_turn_are_stored_with_a_later_one() {
    let store = MemoryStore::default();
    store.state.lock().faults = vec![Fault::SupersedeLate];
    let stage = stage(store).await;
    let project = ProjectId::from(Uuid::from_u128(1));
    let send = async |numbers: std::ops::Range<u128>| {
        let records = numbers.map(|number| event(number, "boom").to_bytes());
        let patience = Duration::from_secs(30);
        stage.spool.append_all(records.collect(), patience).await
    };
    send(0..16).await;
    stage
        .until("the first is handed on", |state| state.attempts == 1)
        .await;
    // Both go into the next chunk, unless the router's look at the counts falls between them.
    stage.counts.add(Some(project), Outcome::Invalid, 1);
    send(16..32).await;
    stage
        .until("all is stored", |state| state.stored.len() == 32)
        .await;
    stage
        .until("the counts are stored", |state| state.refused > 0)
        .await;
    // What is given back goes into one of the next two chunks: the first may be read before, and is stored before the second is there.
    for (numbers, stored) in [(32..48, 48), (48..64, 64)] {
        send(numbers).await;
        stage
            .until("more is stored", |state| state.stored.len() == stored)
            .await;
    }
    let state = stage.store.state.lock();
    assert_eq!(state.refused, 1);
    assert_once(&state.stored, 0..64);
}

#[tokio::test]
async fn every_process_killed_in_turn_loses_nothing_and_doubles_nothing() {
    let stage = stage(MemoryStore::default()).await;
    let mut number = 0;
    for name in [
        "Spool",
        "EventRouter",
        "KeyKeeper",
        "Processor0",
        "Processor1",
        "ProcessorPool",
        "ProcessingSupervisor",
        "IngestionSupervisor",
        "Spool",
        "EventRouter",
    ] {
        for _ in 0..20 {
            stage.append(&event(number, "boom")).await;
            number += 1;
        }
        let alive = async {
            loop {
                if let Some(pid) = stage.system.whereis_pid(name) {
                    break pid;
                }
                stage.system.sleep(Duration::from_millis(5)).await;
            }
        };
        stage.system.kill(alive.await);
    }
    for _ in 0..20 {
        stage.append(&event(number, "boom")).await;
        number += 1;
    }
    let last: EventId = Uuid::from_u128(number).into();
    stage
        .until("the last is stored", |state| state.stored.contains(&last))
        .await;
    let state = stage.store.state.lock();
    // A spool killed under an append leaves it open whether it is durable: the appender repeats
    // it, and the database knows the second one as a duplicate. Only that may appear twice.
    let unique: HashSet<EventId> = state.stored.iter().copied().collect();
    let all: Vec<EventId> = unique.into_iter().collect();
    assert_once(&all, 0..number);
    assert!(state.stored.len() - all.len() <= 4, "{:?}", state.stored);
}

#[tokio::test]
async fn the_event_that_kills_is_quarantined_and_its_neighbours_are_stored() {
    let stage = stage(MemoryStore::default()).await;
    for number in 0..60 {
        let message = if number % 20 == 7 { "killer" } else { "boom" };
        stage.append(&event(number, message)).await;
    }
    stage
        .until("all are settled", |state| {
            state.stored.len() + state.quarantined.len() >= 60
        })
        .await;
    let state = stage.store.state.lock();
    assert_once(&state.stored, (0..60).filter(|n| n % 20 != 7));
    let quarantined: Vec<EventId> = state.quarantined.iter().map(|q| q.0).collect();
    assert_once(&quarantined, [7, 27, 47].into_iter());
    assert!(state.quarantined[0].1.contains("this event kills"));
}

#[tokio::test]
async fn a_record_of_another_version_is_quarantined_whole() {
    let stage = stage(MemoryStore::default()).await;
    let foreign = Bytes::from_static(b"\xffwritten by a later version");
    let patience = Duration::from_secs(5);
    stage.spool.append(foreign, patience).await.unwrap();
    stage.append(&event(1, "boom")).await;
    stage
        .until("both are settled", |state| {
            state.stored.len() + state.quarantined.len() == 2
        })
        .await;
    let state = stage.store.state.lock();
    assert_once(&state.stored, [1].into_iter());
    assert!(state.quarantined[0].1.contains("version 255"));
}

#[tokio::test]
async fn what_the_door_turned_away_is_stored_though_no_event_comes() {
    let stage = stage(MemoryStore::default()).await;
    let project = ProjectId::from(Uuid::from_u128(1));
    stage.counts.add(Some(project), Outcome::Invalid, 3);
    stage
        .until("the counts are stored", |state| state.refused == 3)
        .await;
}

/// Counts alone move no position by which a second attempt could find out about the first.
#[tokio::test]
async fn counts_whose_commit_nobody_answered_are_not_stored_twice() {
    for fault in [Fault::CommitUnknown, Fault::StoreAndForget] {
        let store = MemoryStore::default();
        store.state.lock().faults = vec![fault];
        let stage = stage(store).await;
        let project = ProjectId::from(Uuid::from_u128(1));
        stage.counts.add(Some(project), Outcome::Invalid, 3);
        stage
            .until("the fault was met", |state| state.faults.is_empty())
            .await;
        stage.append(&event(1, "boom")).await;
        stage
            .until("the event is stored", |state| state.stored.len() == 1)
            .await;
        assert_eq!(stage.store.state.lock().refused, 3, "{fault:?}");
    }
}

#[tokio::test]
async fn what_is_stored_is_told_once_and_released() {
    let stage = stage(MemoryStore::default()).await;
    for number in 0..40 {
        stage.append(&event(number, "boom")).await;
    }
    stage
        .until("40 stored", |state| state.stored.len() == 40)
        .await;
    let released = async {
        while stage.spool.status().await.unwrap().released < Some(40) {
            stage.system.sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = stage
        .system
        .timeout(Duration::from_secs(10), released)
        .await;
    assert!(waited.is_ok());
    assert_once(&stage.told.lock(), 0..40);
}
