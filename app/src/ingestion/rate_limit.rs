//! The token bucket of one key or project: a pure function of time.

use std::time::Duration;

/// How much one key, or all keys of a project together, may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Events a second that may go on for ever; more than zero.
    pub events_per_second: f64,
    /// Events that may come at once after a quiet time; at least one.
    pub burst_events: f64,
}

/// How many seconds' worth of events may come at once after a quiet time.
const BURST_SECONDS: f64 = 10.0;

impl Rate {
    /// So many events a second, and ten seconds' worth of them at once; `None`, no limit, for 0.
    #[must_use]
    pub fn per_second(events: u32) -> Option<Rate> {
        (events > 0).then(|| Rate {
            events_per_second: f64::from(events),
            burst_events: f64::from(events) * BURST_SECONDS,
        })
    }
}

/// A bucket that fills with time and is emptied by events.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    tokens: f64,
    filled_at: Duration,
}

impl TokenBucket {
    /// A full bucket. `now` is the time since any fixed moment, here and in every later call.
    #[must_use]
    pub fn full(rate: Rate, now: Duration) -> TokenBucket {
        TokenBucket {
            tokens: rate.burst_events,
            filled_at: now,
        }
    }

    /// Takes one event's token.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.events_per_second).min(rate.burst_events);
        self.filled_at = self.filled_at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait_s = (1.0 - self.tokens) / rate.events_per_second;
        Err(Duration::try_from_secs_f64(wait_s).unwrap_or(Duration::MAX))
    }

    /// Gives a token back that was taken for nothing.
    pub fn give_back(&mut self, rate: Rate) {
        self.tokens = (self.tokens + 1.0).min(rate.burst_events);
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, TokenBucket};
    use std::time::Duration;

    const RATE: Rate = Rate {
        events_per_second: 2.0,
        burst_events: 3.0,
    };

    #[test]
    fn a_burst_passes_then_the_rate_holds_then_it_recovers() {
        let start = Duration::from_secs(100);
        let mut bucket = TokenBucket::full(RATE, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(RATE, start), Ok(()));
        }
        assert_eq!(bucket.take(RATE, start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(RATE, later), Ok(()));
        assert!(bucket.take(RATE, later).is_err());
        let much_later = start + Duration::from_secs(3600);
        let passed = (0..10)
            .filter(|_| bucket.take(RATE, much_later).is_ok())
            .count();
        assert_eq!(passed, 3, "the bucket holds no more than its burst");
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut bucket = TokenBucket::full(RATE, Duration::from_secs(100));
        for _ in 0..3 {
            bucket.take(RATE, Duration::from_secs(100)).unwrap();
        }
        assert!(bucket.take(RATE, Duration::from_secs(1)).is_err());
        assert!(bucket.take(RATE, Duration::from_secs(100)).is_err());
    }
}
