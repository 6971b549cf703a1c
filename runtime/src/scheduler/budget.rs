//! Reductions: when a process that always has work must let others run.
//!
//! A slice is one poll of the process. It ends after 4000 reductions (a message costs 32) or after 50 µs of messages. The clock is read
//! after few messages when they are slow and after more when they are fast, so that it costs little and the slice stays short; the first
//! message is not timed.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::{REDUCTIONS_PER_MESSAGE, REDUCTIONS_PER_SLICE, SLICE_TIME_MAX};

/// Most messages between two looks at the clock.
const STRIDE_MAX: u32 = 16;

/// How many may have one reading of the clock, who do not need it to the tick.
const READERS: u32 = 32;

/// The slice of the process this thread is running. Cells of their own, so that a message costs a subtraction or two.
struct Slice {
    left: Cell<u32>,
    /// Messages that are taken before one at which the clock is read, and the last such distance.
    until_look: Cell<u32>,
    stride: Cell<u32>,
    /// When the second message of the slice was taken.
    started: Cell<Option<Duration>>,
    /// Whether the time is over.
    late: Cell<bool>,
    /// Reductions charged beyond the budget.
    overdrawn: Cell<u64>,
    /// Whether there is a slice just now.
    open: Cell<bool>,
    /// A reading of the clock, whose it was, and how many more may have it. None from before the slice is handed out in it.
    read: Cell<(Duration, usize)>,
    readers: Cell<u32>,
    /// Messages of a slice that are not timed: the first, unless the laboratory's clock is to be read at once.
    untimed: Cell<u32>,
}

thread_local! {
    static SLICE: Slice = const {
        Slice {
            left: Cell::new(REDUCTIONS_PER_SLICE),
            until_look: Cell::new(0),
            stride: Cell::new(0),
            started: Cell::new(None),
            late: Cell::new(false),
            overdrawn: Cell::new(0),
            open: Cell::new(false),
            read: Cell::new((Duration::ZERO, 0)),
            readers: Cell::new(0),
            untimed: Cell::new(1),
        }
    };
}

/// The slice around a nested one: left, until_look, stride, started, late, overdrawn.
type Held = (u32, u32, u32, Option<Duration>, bool, u64);

/// A slice begins; returns the one it interrupts, to be given to [`end`].
pub(crate) fn begin() -> Outer {
    SLICE.with(|slice| {
        let held = slice.open.replace(true).then(|| slice.hold());
        slice.left.set(REDUCTIONS_PER_SLICE);
        slice.until_look.set(slice.untimed.get());
        slice.stride.set(1);
        slice.started.set(None);
        slice.late.set(false);
        slice.overdrawn.set(0);
        slice.readers.set(0);
        Outer(held)
    })
}

/// Whether slices that begin on this thread read the clock at their first message, for a laboratory whose clock strikes.
#[cfg(feature = "sim")]
pub(crate) fn time_first_message(yes: bool) {
    SLICE.with(|slice| slice.untimed.set(u32::from(!yes)));
}

/// The slice around a nested one, if any.
pub(crate) struct Outer(Option<Held>);

/// The slice ends; returns the reductions spent in it.
pub(crate) fn end(outer: Outer) -> u64 {
    SLICE.with(|slice| {
        let spent = u64::from(REDUCTIONS_PER_SLICE - slice.left.get()) + slice.overdrawn.get();
        match outer.0 {
            None => slice.open.set(false),
            Some(held) => slice.go_on(held),
        }
        spent
    })
}

/// Charges reductions. `true` when the budget is spent and the process must yield.
pub(crate) fn charge(reductions: u32) -> bool {
    SLICE.with(|slice| {
        let left = slice.left.get();
        let beyond = reductions.saturating_sub(left);
        if beyond > 0 {
            slice
                .overdrawn
                .set(slice.overdrawn.get() + u64::from(beyond));
        }
        let left = left.saturating_sub(reductions);
        slice.left.set(left);
        left == 0
    })
}

/// Whether nothing has been charged in this slice.
#[inline]
pub(crate) fn is_untouched() -> bool {
    SLICE.with(|slice| slice.left.get() == REDUCTIONS_PER_SLICE)
}

/// Whether the process must yield before it takes another message.
#[inline]
pub(crate) fn is_spent() -> bool {
    SLICE.with(|slice| slice.left.get() < REDUCTIONS_PER_MESSAGE || slice.late.get())
}

/// The time, for one who may do with that of a little before in this slice. A reading is good for so many.
pub(crate) fn recently(clock: &dyn Clock) -> Duration {
    let whose = std::ptr::from_ref(clock).addr();
    SLICE.with(|slice| {
        let (now, read) = slice.read.get();
        if let Some(readers) = slice.readers.get().checked_sub(1)
            && read == whose
            && slice.open.get()
        {
            slice.readers.set(readers);
            return now;
        }
        let now = clock.now();
        slice.read.set((now, whose));
        slice.readers.set(READERS - 1);
        now
    })
}

/// Charges one message that was taken. The first of a slice is not timed, so that a process which takes one and waits reads no clock.
#[inline]
pub(crate) fn charge_message(clock: &dyn Clock) {
    SLICE.with(|slice| {
        slice
            .left
            .set(slice.left.get().saturating_sub(REDUCTIONS_PER_MESSAGE));
        let until_look = slice.until_look.get();
        if until_look > 0 {
            slice.until_look.set(until_look - 1);
        } else {
            slice.look(clock);
        }
    });
}

impl Slice {
    /// Reads the clock, and notes whether the time of the slice is over.
    #[cold]
    fn look(&self, clock: &dyn Clock) {
        let now = clock.now();
        let Some(started) = self.started.get() else {
            self.started.set(Some(now));
            return;
        };
        let elapsed = now.saturating_sub(started);
        let stride = if elapsed * 4 < SLICE_TIME_MAX {
            (self.stride.get() * 2).min(STRIDE_MAX)
        } else {
            1
        };
        self.stride.set(stride);
        self.until_look.set(stride - 1);
        self.late.set(elapsed >= SLICE_TIME_MAX);
    }

    fn hold(&self) -> Held {
        (
            self.left.get(),
            self.until_look.get(),
            self.stride.get(),
            self.started.get(),
            self.late.get(),
            self.overdrawn.get(),
        )
    }

    fn go_on(&self, held: Held) {
        let (left, until_look, stride, started, late, overdrawn) = held;
        self.left.set(left);
        self.until_look.set(until_look);
        self.stride.set(stride);
        self.started.set(started);
        self.late.set(late);
        self.overdrawn.set(overdrawn);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::{begin, charge, charge_message, end, is_spent};
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
        while !is_spent() {
            charge_message(clock);
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
            3,
            "50 µs are over at the second look; the first message is not timed"
        );
        let outer = begin();
        assert!(!charge(3_999));
        assert!(charge(1));
        end(outer);
    }
}
