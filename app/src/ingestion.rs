//! Ingestion: from a request to a durable record, and from records, in order, to the stages after it.
//!
//! The door ([`http`], [`admission`]) works on the processes of the connections. Four processes
//! stand behind it, in this order: the [`spool`], which makes durable what the door accepts; the
//! [`router`], which reads it back and has it processed and stored; the keeper of the [`keys`]; the
//! learner of the [`dictionaries`] that payloads are packed with.

pub mod admission;
pub mod dictionaries;
pub mod door_counts;
pub mod http;
pub mod keys;
pub mod rate_limit;
pub mod refusal;
pub mod router;
pub mod socket;
pub mod spool;
pub mod store;
pub mod user_reports;

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::{ChildSpec, Strategy, Supervisor, System};

use crate::processing::{FanOut, Processors};

pub use self::admission::{Admission, DoorLimits};
pub use self::dictionaries::{Dictionaries, DictionaryStore, LearnerArgs};
pub use self::door_counts::DoorCounts;
pub use self::keys::{Grant, KeyCache, KeyKeeperArgs, KeysMessage, LoadKeys};
pub use self::router::RouterArgs;
pub use self::spool::{SpoolHandle, SpoolOptions};
pub use self::store::{ChunkStore, Storage, StoreError};
pub use self::user_reports::UserReports;

/// Name of the supervisor of this stage.
pub const INGESTION: &str = "IngestionSupervisor";

/// Restarts within a minute before the stage gives up: the spool's disk is then beyond a restart.
const RESTARTS_MAX: u32 = 10;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);

/// What the processes of this stage start from.
#[derive(Clone, Debug)]
pub struct IngestionArgs {
    /// Where the spool lies and its bounds.
    pub spool: SpoolOptions,
    /// What the router works with.
    pub router: RouterArgs,
    /// What the keeper of the keys works with.
    pub keys: KeyKeeperArgs,
    /// What the learner of dictionaries works with.
    pub learner: LearnerArgs,
}

/// The stage, wired: what the endpoints ask, and the processes behind it.
#[derive(Debug)]
pub struct Ingestion {
    /// What [`http::routes`] takes.
    pub admission: Admission,
    /// The keys in memory.
    pub keys: KeyCache,
    /// The processes, for [`child`].
    pub processes: IngestionArgs,
}

/// Wires the stage to the storage and the `processors` of `system`.
#[must_use]
pub fn assemble(
    system: &System,
    spool: SpoolOptions,
    limits: DoorLimits,
    processors: Processors,
    fan_out: FanOut,
) -> Ingestion {
    let (keys, counts) = (KeyCache::new(), DoorCounts::new());
    let dictionaries = Dictionaries::new();
    let storage = Arc::new(Storage::new(system));
    Ingestion {
        admission: Admission::new(
            system.clone(),
            SpoolHandle::new(system),
            keys.clone(),
            spool.pressure.clone(),
            counts.clone(),
            limits,
        )
        .keeping(UserReports::in_storage(system))
        .packing(dictionaries.clone()),
        processes: IngestionArgs {
            spool,
            router: RouterArgs {
                store: storage.clone(),
                processors,
                fan_out,
                counts,
            },
            keys: KeyKeeperArgs::from_storage(keys.clone()),
            learner: LearnerArgs {
                dictionaries,
                store: storage,
            },
        },
        keys,
    }
}

/// The stage as a child of the root: `rest_for_one`, since the router's position is worth nothing
/// once the spool behind it is another life.
#[must_use]
pub fn child(args: IngestionArgs) -> ChildSpec {
    ChildSpec::supervisor(INGESTION, move || {
        Supervisor::new(Strategy::RestForOne)
            .intensity(RESTARTS_MAX, RESTARTS_WITHIN)
            .child(spool::child(args.spool.clone()))
            .child(router::child(args.router.clone()))
            .child(keys::child(args.keys.clone()))
            .child(dictionaries::child(args.learner.clone()))
    })
}
