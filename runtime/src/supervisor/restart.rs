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
