//! Pure: when to ask whether the peer lives, and when to give it up.

use std::time::Duration;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing before this time.
    Wait(Duration),
    /// Send a ping.
    Ping,
    /// The peer has not answered.
    Dead,
}

/// When the peer was last heard and asked. Times are those of the system's clock.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    last: Duration,
    pinged: bool,
}

impl Heartbeat {
    pub(super) fn new(now: Duration, interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            last: now,
            pinged: false,
        }
    }

    /// The peer sent something: a pong, or anything else, shows that it lives. Asks for the time when that matters.
    pub(super) fn heard(&mut self, now: impl FnOnce() -> Duration) {
        if self.pinged {
            self.pinged = false;
            self.last = now();
        }
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Duration {
        let wait = if self.pinged {
            self.timeout
        } else {
            self.interval
        };
        self.last.saturating_add(wait)
    }

    /// What is due at `now`. After [`Beat::Ping`] the peer has the timeout to answer.
    pub(super) fn beat(&mut self, now: Duration) -> Beat {
        let due = self.due();
        if now < due {
            return Beat::Wait(due);
        }
        if self.pinged {
            return Beat::Dead;
        }
        self.pinged = true;
        self.last = now;
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pings_hears_and_gives_up() {
        let mut heart = Heartbeat::new(at(0), at(30), at(10));
        assert_eq!(heart.beat(at(0)), Beat::Wait(at(30)));
        heart.heard(|| at(5));
        assert_eq!(
            heart.beat(at(29)),
            Beat::Wait(at(30)),
            "the rhythm does not depend on traffic"
        );
        assert_eq!(heart.beat(at(30)), Beat::Ping);
        assert_eq!(heart.beat(at(31)), Beat::Wait(at(40)));
        heart.heard(|| at(35));
        assert_eq!(heart.beat(at(40)), Beat::Wait(at(65)));
        assert_eq!(heart.beat(at(65)), Beat::Ping);
        assert_eq!(heart.beat(at(75)), Beat::Dead);
    }

    #[test]
    fn the_longest_wait_does_not_overflow() {
        let mut heart = Heartbeat::new(at(1), Duration::MAX, Duration::MAX);
        assert_eq!(heart.beat(at(5)), Beat::Wait(Duration::MAX));
        let mut heart = Heartbeat::new(at(1), at(1), Duration::MAX);
        assert_eq!(heart.beat(at(2)), Beat::Ping);
        assert_eq!(heart.beat(at(5)), Beat::Wait(Duration::MAX));
    }
}
