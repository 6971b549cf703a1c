//! What came of all requests: shared by the senders, read by the one who watches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

/// Counts, waits and the ids of what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Tally {
    senders: AtomicUsize,
    accepted: AtomicU64,
    failed: AtomicU64,
    /// Refused events by status.
    refused: Mutex<BTreeMap<u16, u64>>,
    answered: Mutex<Answered>,
}

#[derive(Debug, Default)]
struct Answered {
    ids: Vec<Uuid>,
    waits: Vec<Duration>,
}

impl Tally {
    /// A sender begins.
    pub(super) fn begin(&self) {
        self.senders.fetch_add(1, Ordering::AcqRel);
    }

    /// A sender ends.
    pub(super) fn end(&self) {
        self.senders.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether every sender has ended.
    pub(super) fn is_done(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0
    }

    /// A request whose events were acknowledged after `waited`.
    pub(super) fn accept(&self, ids: Vec<Uuid>, waited: Duration) {
        self.accepted.fetch_add(ids.len() as u64, Ordering::Relaxed);
        let mut answered = self.answered.lock();
        answered.ids.extend(ids);
        answered.waits.push(waited);
    }

    /// A request that was refused with its events.
    pub(super) fn refuse(&self, status: u16, events: u64) {
        *self.refused.lock().entry(status).or_default() += events;
    }

    /// A request without an answer.
    pub(super) fn fail(&self, events: u64) {
        self.failed.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.lock().values().sum()
    }

    /// Refused events by status.
    pub(super) fn refusals(&self) -> Vec<(u16, u64)> {
        let refused = self.refused.lock();
        refused
            .iter()
            .map(|(status, count)| (*status, *count))
            .collect()
    }

    /// Every acknowledged event.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.answered.lock().ids.clone()
    }

    /// The wait that so many of a thousand requests did not exceed, in milliseconds.
    pub(super) fn wait_ms(&self, per_mille: usize) -> f64 {
        let mut waits = self.answered.lock().waits.clone();
        waits.sort_unstable();
        let rank = (waits.len() * per_mille).div_ceil(1000).max(1) - 1;
        waits.get(rank).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use std::time::Duration;
    use uuid::Uuid;

    #[test]
    fn everything_is_counted_once() {
        let tally = Tally::default();
        tally.begin();
        assert!(!tally.is_done());
        for wait in 1..=100 {
            tally.accept(
                vec![Uuid::from_u128(wait)],
                Duration::from_millis(wait as u64),
            );
        }
        tally.refuse(429, 100);
        tally.refuse(429, 1);
        tally.fail(3);
        tally.end();
        assert!(tally.is_done());
        assert_eq!(
            (tally.accepted(), tally.refused(), tally.failed()),
            (100, 101, 3)
        );
        assert_eq!(tally.refusals(), [(429, 101)]);
        assert_eq!(
            (tally.wait_ms(500), tally.wait_ms(990), tally.wait_ms(1000)),
            (50.0, 99.0, 100.0)
        );
        assert_eq!(tally.ids().len(), 100);
    }
}
