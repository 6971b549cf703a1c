//! Pid → process. Serials are allocated in `pid.rs` and never reused.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::pid::{Pid, SerialMap};

use super::Process;

/// Shards of the table, so that spawning on many workers does not meet at one lock.
const SHARDS: usize = 64;

type Shard = SerialMap<Pid, Arc<Process>>;

/// The living processes of one system.
pub(crate) struct Table {
    shards: Box<[Mutex<Shard>]>,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
        }
    }

    fn shard(&self, pid: Pid) -> &Mutex<Shard> {
        &self.shards[usize::try_from(pid.get() % SHARDS as u64).unwrap_or(0)]
    }

    pub(crate) fn insert(&self, process: Arc<Process>) {
        self.shard(process.pid).lock().insert(process.pid, process);
    }

    pub(crate) fn remove(&self, pid: Pid) -> Option<Arc<Process>> {
        self.shard(pid).lock().remove(&pid)
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<Arc<Process>> {
        self.shard(pid).lock().get(&pid).cloned()
    }

    /// Shows everybody alive, in no order, to a closure that must not wait.
    pub(crate) fn each(&self, mut look: impl FnMut(&Process)) {
        for shard in &self.shards {
            for process in shard.lock().values() {
                look(process);
            }
        }
    }

    /// Everybody alive, by pid.
    pub(crate) fn all(&self) -> Vec<Arc<Process>> {
        let mut all: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_by_key(|process| process.pid);
        all
    }
}
