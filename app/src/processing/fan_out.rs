//! After the commit: tells those who watch what was stored.
//!
//! Only now it is known what is new, a duplicate, regressed. Telling is a cast: it never waits, and
//! what is not told is still stored (the alert engine does not listen here, it reads the outbox).

use std::fmt;
use std::sync::Arc;

use crate::domain::GroupedEvent;
use crate::storage::writer::{Chunk, Committed};

/// A chunk that is stored.
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// What was stored.
    pub chunk: Arc<Chunk>,
    /// What became of each event, and of their issues.
    pub committed: Committed,
}

impl StoredChunk {
    /// The chunk's events, in the spool's order; [`Committed`] speaks of them by their place here.
    #[must_use]
    pub fn events(&self) -> &[GroupedEvent] {
        &self.chunk.events
    }
}

type Watcher = Arc<dyn Fn(&Arc<StoredChunk>) + Send + Sync>;

/// Who is told; clones tell the same. A watcher must not wait: it casts to its process.
#[derive(Clone, Default)]
pub struct FanOut {
    watchers: Arc<[Watcher]>,
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut")
            .field("watchers", &self.watchers.len())
            .finish()
    }
}

impl FanOut {
    /// Tells nobody.
    #[must_use]
    pub fn new() -> FanOut {
        FanOut::default()
    }

    /// Tells `watcher` too.
    #[must_use]
    pub fn with(self, watcher: impl Fn(&Arc<StoredChunk>) + Send + Sync + 'static) -> FanOut {
        let added: Watcher = Arc::new(watcher);
        FanOut {
            watchers: self.watchers.iter().cloned().chain([added]).collect(),
        }
    }

    /// Tells everybody about a chunk, unless it holds nothing.
    pub(crate) fn tell(&self, chunk: StoredChunk) {
        if chunk.events().is_empty() || self.watchers.is_empty() {
            return;
        }
        let chunk = Arc::new(chunk);
        for watcher in self.watchers.iter() {
            watcher(&chunk);
        }
    }
}
