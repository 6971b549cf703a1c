//! Reductions: when a process that always has work must let others run.
//!
//! A slice is one poll of the process. It ends after 4000 reductions (a message costs 32) or after 50 µs of messages. The clock is read
//! after few messages when they are slow and after more when they are fast, so that it costs little and the slice stays short.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::{REDUCTIONS_PER_MESSAGE, REDUCTIONS_PER_SLICE, SLICE_TIME_MAX};

/// Most messages between two looks at the clock.
const STRIDE_MAX: u32 = 16;

#[derive(Clone, Copy)]
struct Slice {
    left: u32,
    spent: u64,
    /// When the first message of the slice was taken.
    started: Option<Duration>,
    /// Messages until the clock is read, and the last such distance.
    until_look: u32,
    stride: u32,
}

const FRESH: Slice = Slice {
    left: REDUCTIONS_PER_SLICE,
    spent: 0,
    started: None,
    until_look: 0,
    stride: 0,
};

thread_local! {
    static SLICE: Cell<Slice> = const { Cell::new(FRESH) };
}

/// A slice begins; returns the one it interrupts, to be given to [`end`].
pub(crate) fn begin() -> Outer {
    Outer(SLICE.replace(FRESH))
}

/// The slice around a nested one.
pub(crate) struct Outer(Slice);

/// The slice ends; returns the reductions spent in it.
pub(crate) fn end(outer: Outer) -> u64 {
    SLICE.replace(outer.0).spent
}

/// Charges reductions. `true` when the budget is spent and the process must yield.
pub(crate) fn charge(reductions: u32) -> bool {
    let mut slice = SLICE.get();
    slice.spent += u64::from(reductions);
    slice.left = slice.left.saturating_sub(reductions);
    SLICE.set(slice);
    slice.left == 0
}

/// Charges one message about to be handled. `true` when the process must yield first.
pub(crate) fn charge_message(clock: &dyn Clock) -> bool {
    let mut slice = SLICE.get();
    if slice.left < REDUCTIONS_PER_MESSAGE {
        return true;
    }
    slice.left -= REDUCTIONS_PER_MESSAGE;
    slice.spent += u64::from(REDUCTIONS_PER_MESSAGE);
    let mut over = false;
    match slice.started {
        None => {
            slice.started = Some(clock.now());
            slice.stride = 1;
            slice.until_look = 1;
        }
        Some(started) => {
            slice.until_look -= 1;
            if slice.until_look == 0 {
                let elapsed = clock.now().saturating_sub(started);
                over = elapsed >= SLICE_TIME_MAX;
                slice.stride = if elapsed * 4 < SLICE_TIME_MAX {
                    (slice.stride * 2).min(STRIDE_MAX)
                } else {
                    1
                };
                slice.until_look = slice.stride;
            }
        }
    }
    SLICE.set(slice);
    over
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::{begin, charge, charge_message, end};
    use crate::clock::Clock;

    /// Moves on by so many microseconds at each look.
    #[derive(Debug)]
    struct Steps(AtomicU64, u64);

    impl Clock for Steps {
        fn now(&self) -> Duration {
            Duration::from_micros(self.0.fetch_add(self.1, Ordering::Relaxed))
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    fn messages_until_yield(clock: &Steps) -> u32 {
        let outer = begin();
        let mut messages = 0;
        while !charge_message(clock) {
            messages += 1;
        }
        end(outer);
        messages
    }

    #[test]
    fn slice_ends_by_reductions_or_by_time() {
        let still = Steps(AtomicU64::new(0), 0);
        assert_eq!(
            messages_until_yield(&still),
            125,
            "4000 reductions, 32 a message"
        );
        let slow = Steps(AtomicU64::new(0), 60);
        assert_eq!(
            messages_until_yield(&slow),
            1,
            "50 µs are over at the second look"
        );
        let outer = begin();
        assert!(!charge(3_999));
        assert!(charge(1));
        end(outer);
    }
}
