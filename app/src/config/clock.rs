//! A clock whose wall can be stepped by the suites of faults; time that only passes is the machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use mesh_runtime::{Clock, SystemClock};

/// The machine's clocks, with the wall clock some seconds off; clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct SteppedClock {
    clock: Arc<SystemClock>,
    offset_seconds: Arc<AtomicI64>,
}

impl SteppedClock {
    /// From now on the wall clock is so many seconds ahead of the machine's, or behind it.
    pub fn step_to(&self, offset_seconds: i64) {
        self.offset_seconds.store(offset_seconds, Ordering::Relaxed);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        let wall = self.clock.wall();
        let offset_seconds = self.offset_seconds.load(Ordering::Relaxed);
        let offset = Duration::from_secs(offset_seconds.unsigned_abs());
        let stepped = if offset_seconds < 0 {
            wall.checked_sub(offset)
        } else {
            wall.checked_add(offset)
        };
        stepped.unwrap_or(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::SteppedClock;
    use mesh_runtime::Clock as _;
    use std::time::Duration;

    #[test]
    fn the_wall_steps_and_time_passes_on() {
        let clock = SteppedClock::default();
        let (now, wall) = (clock.now(), clock.wall());
        clock.step_to(-3600);
        assert!(clock.wall() < wall);
        clock.step_to(3600);
        assert!(clock.wall() >= wall + Duration::from_secs(3600));
        assert!(clock.now() >= now);
        clock.step_to(i64::MAX);
        assert!(
            clock.wall() >= wall,
            "beyond all calendars it is left alone"
        );
    }
}
