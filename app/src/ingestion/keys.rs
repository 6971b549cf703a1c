//! The keys in memory: the door never asks the database.
//!
//! All keys are held, not those seen lately: an installation has hundreds, and so the absence of a
//! key is itself an answer, whatever keys strangers invent. Until the database has answered the first time, the keys that
//! the server knew when it ran last are good; then a key that is not among them may be a new one.

#[cfg(test)]
mod tests;

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
use crate::storage::key_memory::{KeyDigest, KeyMemory, RememberedKey};
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

impl Grant {
    fn of_remembered(public_key: PublicKey, known: &RememberedKey) -> Grant {
        Grant {
            public_key,
            project_id: known.project_id,
            number: known.number,
            rate_limit: known.rate_limit,
            project_rate_limit: known.project_rate_limit,
            kept_per_million: known.kept_per_million,
        }
    }

    fn to_remembered(self) -> RememberedKey {
        RememberedKey {
            key: KeyDigest::of(&self.public_key),
            project_id: self.project_id,
            number: self.number,
            rate_limit: self.rate_limit,
            project_rate_limit: self.project_rate_limit,
            kept_per_million: self.kept_per_million,
        }
    }
}

/// Every active key; clones share it. It outlives the process that fills it, so that the door
/// stays open while that one, or the database, is away.
#[derive(Clone, Debug, Default)]
pub struct KeyCache {
    keys: Arc<RwLock<Option<Keys>>>,
}

#[derive(Debug)]
enum Keys {
    /// All there are, from the database.
    Read(HashMap<PublicKey, Grant, RandomState>),
    /// Those of the last run.
    Remembered(HashMap<KeyDigest, RememberedKey, RandomState>),
}

impl KeyCache {
    /// A cache that has not been filled.
    #[must_use]
    pub fn new() -> KeyCache {
        KeyCache::default()
    }

    /// Replaces all keys.
    pub fn replace(&self, grants: impl IntoIterator<Item = Grant>) {
        let keys = grants.into_iter().map(|g| (g.public_key, g)).collect();
        *self.keys.write() = Some(Keys::Read(keys));
    }

    /// Lets the keys of the last run in until those of the database are known; does nothing if they are, or if there are none.
    pub fn recall(&self, remembered: Vec<RememberedKey>) {
        let mut keys = self.keys.write();
        if keys.is_none() && !remembered.is_empty() {
            let remembered = remembered.into_iter().map(|known| (known.key, known));
            *keys = Some(Keys::Remembered(remembered.collect()));
        }
    }

    /// What `key` opens.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`], or [`Refusal::KeysUnknown`] if the database has not been asked yet and so nobody can tell.
    pub fn find(&self, key: &PublicKey) -> Result<Grant, Refusal> {
        match &*self.keys.read() {
            None => Err(Refusal::KeysUnknown),
            Some(Keys::Read(keys)) => keys.get(key).copied().ok_or(Refusal::UnknownKey),
            Some(Keys::Remembered(keys)) => keys
                .get(&KeyDigest::of(key))
                .map(|known| Grant::of_remembered(*key, known))
                .ok_or(Refusal::KeysUnknown),
        }
    }

    /// Whether any keys are known: before, nobody can be told from a stranger.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.keys.read().is_some()
    }

    /// Whether the keys are the database's, and not only those of the last run.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(&*self.keys.read(), Some(Keys::Read(_)))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &*self.keys.read() {
            None => 0,
            Some(Keys::Read(keys)) => keys.len(),
            Some(Keys::Remembered(keys)) => keys.len(),
        }
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
    /// Where it notes them for the next start; without one that start waits for the database.
    pub memory: Option<KeyMemory>,
}

impl KeyKeeperArgs {
    /// Fills `cache` from the database, every two seconds: a key made by the command line, in
    /// another process, is known by then. Notes them nowhere.
    #[must_use]
    pub fn from_storage(cache: KeyCache) -> KeyKeeperArgs {
        KeyKeeperArgs {
            cache,
            load: from_storage(),
            interval: Duration::from_secs(2),
            memory: None,
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
    /// What the memory was told last, or `None` while that is not known.
    noted: Option<Vec<Grant>>,
    /// Whether it was said that they cannot be noted, so that it is said once.
    is_told: bool,
}

impl KeyKeeper {
    /// Reads the keys. A database that is away is a state, not a crash: the old keys stay.
    async fn load(&mut self, system: System) {
        match (self.args.load)(system.clone()).await {
            Ok(grants) => {
                self.args.cache.replace(grants.iter().copied());
                self.failures = 0;
                self.note(&system, grants).await;
            }
            Err(error) => {
                self.failures += 1;
                if self.failures == FAILURES_TOLD {
                    tracing::warn!(keys.error = %error, keys.cached = self.args.cache.len(), "keys cannot be read; the cached ones stay valid");
                }
            }
        }
    }

    /// Notes the keys for the next start, if they are others than before.
    async fn note(&mut self, system: &System, grants: Vec<Grant>) {
        let Some(memory) = self.args.memory.clone() else {
            return;
        };
        if self.noted.as_ref() == Some(&grants) {
            return;
        }
        let keys = grants.iter().map(|grant| grant.to_remembered()).collect();
        let noted = match system.blocking(move || memory.remember(keys)).await {
            Ok(noted) => noted.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match noted {
            Ok(()) => {
                self.noted = Some(grants);
                self.is_told = false;
            }
            Err(error) => {
                self.noted = None;
                if !self.is_told {
                    tracing::warn!(keys.error = %error, "the keys cannot be noted; the next start waits for the database");
                }
                self.is_told = true;
            }
        }
    }

    fn interval(&self) -> Duration {
        if self.args.cache.is_empty() || !self.args.cache.is_read() {
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
        Ok(KeyKeeper {
            args,
            failures: 0,
            noted: None,
            is_told: false,
        })
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
