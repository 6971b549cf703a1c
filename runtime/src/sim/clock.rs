//! The virtual clock: it stands still while somebody runs, and jumps when nobody can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::Clock;

/// Where the wall clock of every laboratory starts: 2026-01-01, midnight UTC.
const WALL_AT_START: Duration = Duration::from_secs(1_767_225_600);

/// The message of a panic the laboratory threw in.
pub(super) const INJECTED: &str = "a fault of the laboratory";

/// The time all systems of one laboratory share.
#[derive(Debug, Default)]
pub(super) struct Time {
    nanos: AtomicU64,
    /// The process in hand is to panic where it next reads the time.
    armed: AtomicBool,
}

impl Time {
    /// The last time the clock can show.
    pub(super) const END: Duration = Duration::from_nanos(u64::MAX);

    pub(super) fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Takes the fault back; whether it had not struck.
    pub(super) fn disarm(&self) -> bool {
        self.armed.swap(false, Ordering::Relaxed)
    }
}

/// One system's view of the time. The wall clock may jump; monotonic time only goes on.
#[derive(Debug)]
pub(super) struct SimClock {
    time: Arc<Time>,
    wall_offset_ms: AtomicI64,
}

impl SimClock {
    pub(super) fn new(time: Arc<Time>) -> SimClock {
        SimClock {
            time,
            wall_offset_ms: AtomicI64::new(0),
        }
    }

    pub(super) fn step_wall(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        if self.time.armed.load(Ordering::Relaxed) && !std::thread::panicking() {
            self.time.disarm();
            panic!("{INJECTED}");
        }
        self.time.now()
    }

    fn wall(&self) -> SystemTime {
        let wall = SystemTime::UNIX_EPOCH + WALL_AT_START + self.time.now();
        let offset = self.wall_offset_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(offset.unsigned_abs());
        let stepped = if offset < 0 {
            wall.checked_sub(by)
        } else {
            wall.checked_add(by)
        };
        stepped.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
