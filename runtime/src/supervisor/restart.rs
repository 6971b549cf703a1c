//! `RestartType` and the intensity window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::exit::ExitReason;

/// When a child is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartType {
    /// Always.
    Permanent,
    /// When it ended abnormally: for any reason but `Normal` and `Shutdown`.
    Transient,
    /// Never; it is forgotten when it ends.
    Temporary,
}

impl RestartType {
    /// Whether a child of this type that ended so is restarted.
    pub(crate) fn restarts(self, reason: &ExitReason) -> bool {
        match self {
            RestartType::Permanent => true,
            RestartType::Transient => reason.is_abnormal(),
            RestartType::Temporary => false,
        }
    }
}

/// The pauses before a child is restarted again and again: doubling from the first to the longest, each shortened by chance by up to a half,
/// so that many children of one fallen service do not come back in step.
#[derive(Clone, Debug)]
pub(crate) struct BackOff {
    first: Duration,
    longest: Duration,
    /// Restarts in a row, each after a life no longer than the longest pause.
    in_a_row: u32,
}

impl BackOff {
    pub(crate) fn new(first: Duration, longest: Duration) -> BackOff {
        BackOff {
            first,
            longest: longest.max(first),
            in_a_row: 0,
        }
    }

    /// The pause before the next restart of a child that `lived` so long.
    pub(crate) fn pause(&mut self, lived: Duration, chance: u64) -> Duration {
        if lived > self.longest {
            self.in_a_row = 0;
        }
        let doubled = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        // The upper bits are as random as any, and 16 of them are fine enough.
        let share = u32::from((chance >> 48) as u16);
        whole / 2 + whole / 2 * share / u32::from(u16::MAX)
    }
}

/// The sliding window in which restarts are counted: a ring of at most `max_restarts + 1` times.
#[derive(Clone, Debug)]
pub(crate) struct RestartWindow {
    max_restarts: usize,
    within: Duration,
    times: VecDeque<Duration>,
}

impl RestartWindow {
    pub(crate) fn new(max_restarts: u32, within: Duration) -> RestartWindow {
        RestartWindow {
            max_restarts: max_restarts as usize,
            within,
            times: VecDeque::new(),
        }
    }

    /// Notes a restart at `now`; whether it is still within the intensity.
    pub(crate) fn note(&mut self, now: Duration) -> bool {
        while self
            .times
            .front()
            .is_some_and(|time| now.saturating_sub(*time) > self.within)
        {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() <= self.max_restarts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::BackOff;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_start_anew_after_a_long_life() {
        let mut longest = BackOff::new(SECOND, 8 * SECOND);
        let mut shortest = longest.clone();
        for seconds in [1, 2, 4, 8, 8, 8] {
            let whole = SECOND * seconds;
            assert_eq!(longest.pause(Duration::ZERO, u64::MAX), whole);
            assert_eq!(shortest.pause(8 * SECOND, 0), whole / 2);
        }
        assert_eq!(longest.pause(9 * SECOND, u64::MAX), SECOND);
        for _ in 0..100 {
            assert!(longest.pause(Duration::ZERO, u64::MAX) <= 8 * SECOND);
        }
    }
}
