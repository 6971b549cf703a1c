//! What one run measures with: repeated work, percentiles, resident memory, a count that is waited for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::row::Scale;

/// A run repeats its work until it has measured for so long.
const MEASURED_MIN: Duration = Duration::from_millis(400);

/// Operations a second: `work` does `operations` and says how long they took. One turn before is not counted.
pub(crate) async fn rate<F, Fut>(scale: Scale, operations: u64, mut work: F) -> f64
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Duration>,
{
    if !scale.quick {
        work().await;
    }
    let least = scale.of(MEASURED_MIN, Duration::ZERO);
    let (mut turns, mut took) = (0_u64, Duration::ZERO);
    while turns == 0 || took < least {
        took += work().await;
        turns += 1;
    }
    (turns * operations) as f64 / took.as_secs_f64()
}

/// In millions.
pub(crate) fn millions(rate: f64) -> Vec<f64> {
    vec![rate / 1e6]
}

/// The value below which this share of the sorted values lies.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Resident bytes of this program, exact.
///
/// # Panics
/// On a system without `/proc`.
pub(crate) fn resident_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells it");
    let line = rollup.lines().find(|line| line.starts_with("Rss:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.expect("the line reads `Rss: N kB`") * 1024
}

/// A count that goes down to zero and is waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Countdown(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    left: AtomicU64,
    zero: Notify,
}

impl Countdown {
    pub(crate) fn of(count: u64) -> Countdown {
        let countdown = Countdown::default();
        countdown.again(count);
        countdown
    }

    /// Starts anew; only after zero.
    pub(crate) fn again(&self, count: u64) {
        let left = self.0.left.swap(count, Ordering::Relaxed);
        assert_eq!(left, 0, "somebody counts twice, or has not counted yet");
    }

    pub(crate) fn count(&self) {
        let left = self.0.left.fetch_sub(1, Ordering::AcqRel);
        assert!(left > 0, "counted more often than expected");
        if left == 1 {
            self.0.zero.notify_one();
        }
    }

    /// Waits for zero, by one waiter.
    pub(crate) async fn zero(&self) {
        while self.0.left.load(Ordering::Acquire) > 0 {
            self.0.zero.notified().await;
        }
    }
}

/// Chance, the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::{Chance, Countdown, percentile, rate, resident_bytes};
    use crate::row::Scale;
    use std::time::Duration;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let seen: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(percentile(&seen, 0.5), 50.0);
        assert_eq!(percentile(&seen, 0.99), 99.0);
        assert_eq!(percentile(&seen, 1.0), 100.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[tokio::test]
    async fn a_rate_counts_what_was_measured_and_not_the_first_turn() {
        let mut turns = 0_u32;
        let rate = rate(Scale { quick: false }, 10, || {
            turns += 1;
            // The first turn is slow.
            let took = Duration::from_millis(if turns == 1 { 10_000 } else { 100 });
            async move { took }
        })
        .await;
        assert_eq!((turns, rate.round() as u64), (5, 100));
    }

    #[tokio::test]
    async fn a_countdown_is_waited_for_and_starts_anew() {
        let countdown = Countdown::of(2);
        countdown.count();
        countdown.count();
        countdown.zero().await;
        countdown.again(1);
        countdown.count();
        countdown.zero().await;
    }

    #[test]
    fn memory_that_is_written_is_resident() {
        let before = resident_bytes();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident_bytes();
        assert!(after >= before + (block.len() as u64) / 2);
    }

    #[test]
    fn chance_is_the_same_in_every_run_and_below_its_bound() {
        let (mut a, mut b) = (Chance(1), Chance(1));
        for _ in 0..1_000 {
            let drawn = a.below(7);
            assert!(drawn < 7 && drawn == b.below(7));
        }
    }
}
