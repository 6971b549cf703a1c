//! The main job over a real PostgreSQL: what the door acknowledged is stored exactly once, whatever dies when.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use mesh_runtime::{ChildSpec, Strategy, Supervisor, System};
use mesher::domain::{EventId, PublicKey, payload};
use mesher::ingestion::{self, Admission, DoorLimits, SpoolOptions, http};
use mesher::processing::{self, FanOut, Processors};
use mesher::storage::database::Database;
use mesher::storage::embedded::Options;
use mesher::storage::events;
use mesher::storage::projects;
use mesher::storage::schema_manager::{self, SchemaState};
use parking_lot::Mutex;
use tempfile::TempDir;
use uuid::Uuid;

use super::support::KEY;
use crate::postgres::TestDatabase;

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything from the door to the database.
struct Pipeline {
    system: System,
    database: TestDatabase,
    admission: Admission,
    told: Arc<Mutex<Vec<EventId>>>,
    _directory: TempDir,
}

async fn pipeline() -> Pipeline {
    let system = System::new();
    let database = TestDatabase::create().await;
    let key: PublicKey = KEY.parse().unwrap();
    let mut client = database.client().await;
    projects::ensure_first(
        &mut client,
        Uuid::from_u128(1).into(),
        Uuid::from_u128(2).into(),
        key,
    )
    .await
    .unwrap();
    let storage = Arc::new(open(&system, &database).await);
    let directory = tempfile::tempdir().unwrap();
    let told: Arc<Mutex<Vec<EventId>>> = Arc::default();
    let hears = told.clone();
    let spool = SpoolOptions {
        segment_bytes: 1 << 20,
        record_bytes_max: 512 << 10,
        ..SpoolOptions::new(directory.path())
    };
    let fan_out = FanOut::new().with(move |chunk| {
        let ids = chunk.events().iter().map(|event| event.event_id);
        hears.lock().extend(ids);
    });
    let ingestion = ingestion::assemble(
        &system,
        spool,
        DoorLimits::default(),
        Processors::new(&system, 2),
        fan_out,
    );
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(1000, Duration::from_secs(60))
        .child(ChildSpec::supervisor("storage", move || {
            let tree = Supervisor::new(Strategy::RestForOne).intensity(100, PATIENCE);
            storage.children().into_iter().fold(tree, Supervisor::child)
        }))
        .child(processing::child(2))
        .child(ingestion::child(ingestion.processes));
    system.supervise(tree).await.unwrap();
    let pipeline = Pipeline {
        system,
        database,
        admission: ingestion.admission,
        told,
        _directory: directory,
    };
    let project = None;
    pipeline
        .until("the keys are read", async || {
            pipeline.admission.authenticate(key, project).is_ok()
        })
        .await;
    pipeline
}

async fn open(system: &System, database: &TestDatabase) -> Database {
    let config = database.config();
    let tokio_postgres::config::Host::Unix(socket) = &config.get_hosts()[0] else {
        panic!("the test server has a socket");
    };
    let url = format!(
        "host={} user={} dbname={}",
        socket.display(),
        config.get_user().unwrap(),
        config.get_dbname().unwrap()
    );
    Database::open(system, Some(&url), None, Options::new("unused"))
        .await
        .unwrap()
}

impl Pipeline {
    async fn until(&self, what: &str, is_true: impl AsyncFn() -> bool) {
        let wait = async {
            while !is_true().await {
                self.system.sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = self.system.timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "never: {what}");
    }

    /// Sends one event; its id once it is acknowledged.
    async fn send(&self, number: u128) -> EventId {
        let id: EventId = Uuid::from_u128(number + 1).into();
        let error = ["KeyError", "ValueError", "OSError"][usize::try_from(number % 3).unwrap()];
        let body = serde_json::json!({
            "event_id": id.to_simple(),
            "exception": { "values": [{ "type": error, "value": format!("number {number}") }] },
        });
        let response = warp::test::request()
            .method("POST")
            .path(&format!("/api/1/store/?sentry_key={KEY}"))
            .body(body.to_string())
            .reply(&http::routes(self.admission.clone()))
            .await;
        assert_eq!(response.status(), 200, "{:?}", response.body());
        id
    }

    async fn stored(&self) -> Vec<EventId> {
        let rows = self
            .database
            .client()
            .await
            .query("SELECT id FROM events", &[])
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.get::<_, Uuid>(0).into())
            .collect()
    }

    /// Every acknowledged event is a row, none twice, and the issues count as many as there are.
    async fn check(&self, acknowledged: &HashSet<EventId>) {
        self.until("all are stored", async || {
            self.stored().await.len() >= acknowledged.len()
        })
        .await;
        let stored = self.stored().await;
        let unique: HashSet<EventId> = stored.iter().copied().collect();
        assert_eq!(unique.len(), stored.len(), "something is stored twice");
        assert_eq!(&unique, acknowledged);
        let row = self
            .database
            .client()
            .await
            .query_one("SELECT count(*), sum(event_count)::int8 FROM issues", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 3, "one issue for each type of error");
        assert_eq!(row.get::<_, i64>(1), i64::try_from(stored.len()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_row_an_issue_and_news() {
    let pipeline = pipeline().await;
    let state = schema_manager::state(&pipeline.system).await.unwrap();
    assert!(matches!(state, SchemaState::Ready(_)));
    let mut acknowledged = HashSet::new();
    for number in 0..30 {
        acknowledged.insert(pipeline.send(number).await);
    }
    pipeline.check(&acknowledged).await;
    pipeline
        .until("all are told", async || {
            pipeline.told.lock().len() == acknowledged.len()
        })
        .await;
    let again = pipeline.send(7).await;
    assert!(acknowledged.contains(&again));
    let number = 30;
    acknowledged.insert(pipeline.send(number).await);
    pipeline.check(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_with_a_learned_dictionary_is_stored_and_shown() {
    let pipeline = pipeline().await;
    let routes = http::routes(pipeline.admission.clone());
    let mut sent = Vec::new();
    let mut left = 60;
    let learning = async {
        while left > 0 {
            if pipeline.admission.payload_dictionaries() > 0 {
                left -= 1;
            }
            let id: EventId = Uuid::from_u128(1_000 + sent.len() as u128).into();
            let word = |n: u128| {
                Uuid::from_u128((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
                    .simple()
            };
            let frames: Vec<_> = (0..100_u128)
                .map(|n| serde_json::json!({ "function": word(n), "filename": word(n + 1_000) }))
                .collect();
            let body = serde_json::json!({
                "event_id": id.to_simple(),
                "exception": { "values": [{ "type": "Oops", "stacktrace": { "frames": frames } }] },
            });
            let response = warp::test::request()
                .method("POST")
                .path(&format!("/api/1/store/?sentry_key={KEY}"))
                .body(body.to_string())
                .reply(&routes)
                .await;
            assert_eq!(response.status(), 200, "{:?}", response.body());
            sent.push(id);
        }
    };
    let learned = pipeline.system.timeout(5 * PATIENCE, learning).await;
    assert!(learned.is_ok(), "nothing is learned");
    pipeline
        .until("all are stored", async || {
            pipeline.stored().await.len() == sent.len()
        })
        .await;
    let client = pipeline.database.client().await;
    let rows = client
        .query("SELECT project_id, id, payload FROM events", &[])
        .await
        .unwrap();
    let mut with_dictionary = 0;
    for row in rows {
        let (project, id): (Uuid, Uuid) = (row.get(0), row.get(1));
        let shown = events::get(&client, project.into(), id.into()).await;
        let shown = shown.unwrap().unwrap().event.expect("it can be read");
        assert!(shown.get().contains(&EventId::from(id).to_simple()));
        with_dictionary += usize::from(payload::dictionary_of(row.get(2)).is_some());
    }
    assert!(
        (60..sent.len()).contains(&with_dictionary),
        "{with_dictionary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_under_load_nothing_is_lost_or_doubled() {
    let pipeline = pipeline().await;
    let mut acknowledged = HashSet::new();
    let mut number = 0;
    for name in [
        "Spool",
        "EventRouter",
        "KeyKeeper",
        "DictionaryLearner",
        "StorageWriter",
        "StorageWriter1",
        "StorageWriter2",
        "PgPool",
        "Processor0",
        "Processor1",
        "SchemaManager",
        "PartitionManager",
        "ProcessorPool",
        "ProcessingSupervisor",
        "storage",
        "IngestionSupervisor",
    ] {
        let sends = join_all((number..number + 30).map(|number| pipeline.send(number)));
        let kill = async {
            let victim = Mutex::new(None);
            pipeline
                .until(name, async || {
                    *victim.lock() = pipeline.system.whereis_pid(name);
                    victim.lock().is_some()
                })
                .await;
            pipeline.system.kill(victim.into_inner().unwrap());
        };
        let (sent, ()) = join(sends, kill).await;
        acknowledged.extend(sent);
        number += 30;
    }
    for _ in 0..10 {
        acknowledged.insert(pipeline.send(number).await);
        number += 1;
    }
    pipeline.check(&acknowledged).await;
}
