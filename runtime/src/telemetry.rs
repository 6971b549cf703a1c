//! Counters the runtime keeps about itself, and the names of the events it emits.

use std::sync::atomic::{AtomicU64, Ordering};

/// Target of the event logged once when a process panics. Fields: `process.pid`, `process.label`, `panic.message`, `panic.location`.
pub const PROCESS_PANICKED: &str = "mesh_runtime::process";

/// Target of the events of supervisors: restarts and giving up.
pub const SUPERVISOR: &str = "mesh_runtime::supervisor";

/// Target of the event of a process that holds a worker or one message too long. Fields: `process.pid`, `process.label`, `message.type`,
/// `stuck.on` (`worker` or `message`), `stuck.limit_ms`.
pub const PROCESS_STUCK: &str = "mesh_runtime::stuck";

/// What one system counts. Each field only grows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) spawned: AtomicU64,
    pub(crate) exited: AtomicU64,
    pub(crate) panicked: AtomicU64,
    pub(crate) late_replies: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
    pub(crate) room_frames_missed: AtomicU64,
    pub(crate) room_members_disconnected: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) stuck: AtomicU64,
}

/// Adds one to a counter; ordering does not matter, only the sum.
pub(crate) fn count(counter: &AtomicU64) {
    count_by(counter, 1);
}

/// Adds to a counter.
pub(crate) fn count_by(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
