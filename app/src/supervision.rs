//! The whole tree: every child, in which order, under which strategy, and why.
//!
//! ```text
//! RootSupervisor                one_for_one, 10 in 60 s: the layers share nothing but the database
//! ├── StorageSupervisor         rest_for_one: each child needs those before it
//! │     (PostgresKeeper →) PgPool → SchemaManager → PartitionManager → StorageWriter, StorageWriter1, StorageWriter2
//! ├── StreamingSupervisor       one_for_one: Broadcaster
//! ├── ProcessingSupervisor      one_for_one: ProcessorPool
//! ├── IngestionSupervisor       rest_for_one: Spool → EventRouter → KeyKeeper → DictionaryLearner
//! └── HttpSupervisor            one_for_one: listener, connections
//! ```
//!
//! Layers stop in the reverse order, so that requests in hand are answered before the spool closes. What the spool still
//! holds then is stored after the next start.
//!
//! A database that is away is a state and no crash: no process ends for it, and no outage counts toward a limit.
//!
//! Where the keys of the last run are remembered, everything but the storage layer's children starts before the database does: events
//! are accepted into the spool from then on. [`begin_storage`] starts those children once the database answers and its tables are
//! current, so that nothing else ever meets older ones.

mod live;

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use mesh_runtime::http::Tls;
use mesh_runtime::{ChildSpec, StartError, Strategy, Supervisor, SupervisorHandle, System};
use warp::{Filter, Reply};

use crate::api::{Api, State};
use crate::config::Config;
use crate::config::clock::SteppedClock;
use crate::http;
use crate::ingestion::rate_limit::Rate;
use crate::ingestion::{self, DoorLimits, SpoolHandle, SpoolOptions};
use crate::processing::{self, FanOut, Processors};
use crate::storage::database::Database;
use crate::storage::key_memory::{KeyMemory, RememberedKey};
use crate::storage::pool;
use crate::streaming::{self, BroadcasterHandle, LiveBatch, LiveIssue};

/// The name of the tree's root.
pub const ROOT: &str = "RootSupervisor";

/// The name of the storage layer's supervisor.
pub const STORAGE: &str = "StorageSupervisor";

/// Before a layer is started again; twice as long each time.
const LAYER_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest of these pauses, and how long a layer must have lived for the next to be short again.
const LAYER_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How many restarts of whole layers the root allows within [`RESTART_WINDOW`]; beyond, the program ends and says so.
const RESTARTS_MAX: u32 = 10;

/// The window of [`RESTARTS_MAX`].
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// How long a quarantined event may take to be durable in the spool again.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(10);

/// The processes without which this server is not ready; the streaming layer is not among them.
const NEEDED: &[&str] = &[
    crate::storage::writer::NAME,
    ingestion::spool::SPOOL,
    ingestion::router::EVENT_ROUTER,
    processing::PROCESSOR_POOL,
];

/// What the tree stands on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The database, once it is open and its tables are current.
    database: Arc<OnceLock<Database>>,
    memory: KeyMemory,
    remembered: Vec<RememberedKey>,
}

impl Ground {
    /// One without a database, which is still to come; until then the keys that are remembered are good.
    #[must_use]
    pub fn new(memory: KeyMemory, remembered: Vec<RememberedKey>) -> Ground {
        Ground {
            database: Arc::default(),
            memory,
            remembered,
        }
    }

    /// Whether keys are remembered, so that the tree can be started before the database is there.
    #[must_use]
    pub fn knows_keys(&self) -> bool {
        !self.remembered.is_empty()
    }

    /// The database, if it is there.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.get()
    }

    /// Puts the database in; the first stays.
    pub fn lay(&self, database: Database) {
        // One that was put in before is this one.
        let _ = self.database.set(database);
    }
}

/// Starts the storage layer of a tree that was started before the database was there.
///
/// # Errors
/// When the root cannot be asked, or a child does not start.
pub async fn begin_storage(root: &SupervisorHandle) -> Result<(), StartError> {
    root.terminate_child(STORAGE).await?;
    root.restart_child(STORAGE).await.map(drop)
}

/// The tree, ready to be started; nothing runs yet.
#[must_use]
pub fn tree(
    system: &System,
    config: &Config,
    ground: &Ground,
    listener: TcpListener,
    tls: Option<Tls>,
    workers: usize,
    test_clock: Option<SteppedClock>,
) -> Supervisor {
    let pool = pool::named(system);
    let broadcaster = BroadcasterHandle::new(system);
    let mut ingestion = ingestion::assemble(
        system,
        SpoolOptions::new(config.data_dir.join("spool")).bounded(config.spool_mib),
        DoorLimits {
            rate: Rate::per_second(config.rate_limit),
            ..DoorLimits::default()
        },
        Processors::new(system, workers),
        FanOut::new().with({
            let broadcaster = broadcaster.clone();
            move |chunk| broadcaster.broadcast(live::batch(chunk))
        }),
    );
    ingestion.processes.keys.memory = Some(ground.memory.clone());
    ingestion.keys.recall(ground.remembered.clone());
    let spool = SpoolHandle::new(system);
    let api = Api::new(State {
        system: system.clone(),
        pool: pool.clone(),
        base_url: config.base_url(),
        test_clock,
        publish: Arc::new(move |issue| {
            broadcaster.broadcast(LiveBatch {
                events: Vec::new(),
                issues: vec![LiveIssue {
                    kind: "changed",
                    issue,
                }],
            });
        }),
        replay: Arc::new(move |raw| {
            let spool = spool.clone();
            let append =
                async move { spool.append(raw.to_bytes(), REPLAY_TIMEOUT).await.map(drop) };
            append
                .map(|done| done.map_err(|error| error.to_string()))
                .boxed()
        }),
        waiting: {
            let admission = ingestion.admission.clone();
            Arc::new(move || {
                let admission = admission.clone();
                async move {
                    let status = admission.spool_status().await.ok()?;
                    status.waiting()
                }
                .boxed()
            })
        },
        keys_changed: {
            let system = system.clone();
            Arc::new(move || ingestion::keys::refresh(&system))
        },
        session_ended: {
            let system = system.clone();
            Arc::new(move || streaming::judge_anew(&system))
        },
    });
    let parts = http::Parts {
        system: system.clone(),
        pool,
        admission: ingestion.admission.clone(),
        ingestion: ingestion::socket::routes(ingestion.admission.clone())
            .or(ingestion::http::routes(ingestion.admission).map(Reply::into_response))
            .unify()
            .boxed(),
        api,
        needed: NEEDED,
    };

    Supervisor::new(Strategy::OneForOne)
        .named(ROOT)
        .intensity(RESTARTS_MAX, RESTART_WINDOW)
        .child(patient(storage(ground)))
        .child(patient(streaming::child()))
        .child(patient(processing::child(workers)))
        .child(patient(ingestion::child(ingestion.processes)))
        .child(patient(http::child(listener, tls, &parts)))
}

/// A layer that is killed outright leaves children that hold their names until they have ended, one of them perhaps in the middle of its work:
/// the next life of the layer does not start before, and each attempt counts.
fn patient(layer: ChildSpec) -> ChildSpec {
    layer.back_off(LAYER_PAUSE_MIN, LAYER_PAUSE_MAX)
}

/// Without a database there is nothing to run yet.
fn storage(ground: &Ground) -> ChildSpec {
    let database = Arc::clone(&ground.database);
    ChildSpec::supervisor(STORAGE, move || {
        let children = database.get().map(Database::children).unwrap_or_default();
        children.into_iter().fold(
            Supervisor::new(Strategy::RestForOne).intensity(RESTARTS_MAX, RESTART_WINDOW),
            Supervisor::child,
        )
    })
}
