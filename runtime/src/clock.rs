//! The door through which time enters: monotonic time since the system's start, and the wall clock.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// Where a system reads the time. A laboratory puts a virtual clock here.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Monotonic time since the clock was made. Never goes back.
    fn now(&self) -> Duration;

    /// The wall clock, which may jump.
    fn wall(&self) -> SystemTime;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door the ban points to"
    )]
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door the ban points to"
    )]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
