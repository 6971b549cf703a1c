//! The keys in memory: the door never asks the database.
//!
//! All keys are held, not those seen lately: an installation has hundreds, and so the absence of a
//! key is itself an answer, whatever keys strangers invent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mesh_runtime::{Actor, ChildSpec, Context, ExitReason, Flow, System};
use parking_lot::RwLock;

use super::refusal::Refusal;
use crate::domain::{ProjectId, ProjectNumber, PublicKey};
use crate::storage::{pool, projects};

/// Name of the process that keeps the keys fresh.
pub const KEYS: &str = "KeyKeeper";

/// Failures in a row at which it is said once: the first moments of a start are no trouble.
const FAILURES_TOLD: u32 = 8;

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key.
    pub public_key: PublicKey,
    /// The project it may send to.
    pub project_id: ProjectId,
    /// The number of that project.
    pub number: ProjectNumber,
    /// Events a second it may send; 0 is no limit, `None` the server's default.
    pub rate_limit: Option<u32>,
    /// Events a second that all keys of the project may send together; 0 and `None` are no limit.
    pub project_rate_limit: Option<u32>,
    /// Of a million events of the project, how many are kept.
    pub kept_per_million: u32,
}

/// Every active key; clones share it. It outlives the process that fills it, so that the door
/// stays open while that one, or the database, is away.
#[derive(Clone, Debug, Default)]
pub struct KeyCache {
    keys: Arc<RwLock<Option<Keys>>>,
}

type Keys = HashMap<PublicKey, Grant, RandomState>;

impl KeyCache {
    /// A cache that has not been filled.
    #[must_use]
    pub fn new() -> KeyCache {
        KeyCache::default()
    }

    /// Replaces all keys.
    pub fn replace(&self, grants: impl IntoIterator<Item = Grant>) {
        let keys = grants.into_iter().map(|g| (g.public_key, g)).collect();
        *self.keys.write() = Some(keys);
    }

    /// What `key` opens.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`], or [`Refusal::KeysUnknown`] before the cache was first filled.
    pub fn find(&self, key: &PublicKey) -> Result<Grant, Refusal> {
        match &*self.keys.read() {
            None => Err(Refusal::KeysUnknown),
            Some(keys) => keys.get(key).copied().ok_or(Refusal::UnknownKey),
        }
    }

    /// Whether the keys were ever read: before, nobody can be told from a stranger.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.keys.read().is_some()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.read().as_ref().map_or(0, HashMap::len)
    }

    /// Whether there is none, or the cache was not filled yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads every active key from where they are kept; an error is a text for the log.
pub type LoadKeys =
    Arc<dyn Fn(System) -> BoxFuture<'static, Result<Vec<Grant>, String>> + Send + Sync>;

/// Reads every active key from the database.
#[must_use]
pub fn from_storage() -> LoadKeys {
    Arc::new(|system| read_keys(system).boxed())
}

async fn read_keys(system: System) -> Result<Vec<Grant>, String> {
    let client = pool::named(&system)
        .get()
        .await
        .map_err(|error| error.to_string())?;
    let rows = projects::keys(&*client)
        .await
        .map_err(|error| error.to_string())?;
    let active = rows.into_iter().filter(|row| row.key.active);
    Ok(active
        .map(|row| Grant {
            public_key: row.key.public_key,
            project_id: row.key.project_id,
            number: row.number,
            rate_limit: row.rate_limit,
            project_rate_limit: row.project_rate_limit,
            kept_per_million: row.kept_per_million,
        })
        .collect())
}

/// What the keeper of the keys needs.
#[derive(Clone)]
pub struct KeyKeeperArgs {
    /// The cache it fills.
    pub cache: KeyCache,
    /// How it reads the keys.
    pub load: LoadKeys,
    /// How often it does so unasked.
    pub interval: Duration,
}

impl KeyKeeperArgs {
    /// Fills `cache` from the database, every two seconds: a key made by the command line, in
    /// another process, is known by then.
    #[must_use]
    pub fn from_storage(cache: KeyCache) -> KeyKeeperArgs {
        KeyKeeperArgs {
            cache,
            load: from_storage(),
            interval: Duration::from_secs(2),
        }
    }
}

impl std::fmt::Debug for KeyKeeperArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyKeeperArgs")
            .field("cache", &self.cache)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Tells the keeper, if it runs, that a key or a project changed. Does not wait.
pub fn refresh(system: &System) {
    if let Ok(keeper) = system.whereis::<KeysMessage>(KEYS) {
        // A full mailbox holds refreshes enough, and a dead keeper reads at its next start.
        let _ = keeper.send(KeysMessage::Refresh);
    }
}

/// What one may tell the keeper of the keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeysMessage {
    /// A key or project changed: read them again.
    Refresh,
    /// The keeper's own timer.
    Tick,
}

/// The process that keeps the cache fresh.
#[derive(Debug)]
pub struct KeyKeeper {
    args: KeyKeeperArgs,
    failures: u32,
}

impl KeyKeeper {
    /// Reads the keys. A database that is away is a state, not a crash: the old keys stay.
    async fn load(&mut self, system: System) {
        match (self.args.load)(system).await {
            Ok(grants) => {
                self.args.cache.replace(grants);
                self.failures = 0;
            }
            Err(error) => {
                self.failures += 1;
                if self.failures == FAILURES_TOLD {
                    tracing::warn!(keys.error = %error, keys.cached = self.args.cache.len(), "keys cannot be read; the cached ones stay valid");
                }
            }
        }
    }

    fn interval(&self) -> Duration {
        if self.args.cache.is_empty() {
            self.args.interval.min(Duration::from_millis(250))
        } else {
            self.args.interval
        }
    }
}

impl Actor for KeyKeeper {
    type Args = KeyKeeperArgs;
    type Message = KeysMessage;

    async fn init(
        args: KeyKeeperArgs,
        _cx: &mut Context<KeysMessage>,
    ) -> Result<KeyKeeper, ExitReason> {
        Ok(KeyKeeper { args, failures: 0 })
    }

    async fn started(&mut self, cx: &mut Context<KeysMessage>) -> Flow {
        self.handle(KeysMessage::Tick, cx).await
    }

    async fn handle(&mut self, message: KeysMessage, cx: &mut Context<KeysMessage>) -> Flow {
        self.load(cx.system()).await;
        if matches!(message, KeysMessage::Tick) {
            let address = cx.address();
            cx.send_after(&address, self.interval(), KeysMessage::Tick);
        }
        Flow::Continue
    }
}

/// The keeper as a child of a supervisor.
#[must_use]
pub fn child(args: KeyKeeperArgs) -> ChildSpec {
    ChildSpec::worker::<KeyKeeper>(KEYS, args)
}
