//! How long a processor groups before it lets everybody else go first: a pure decision.
//!
//! A process that lets others go first comes back when its worker has nothing else that is ready, or after some dozens of polls of others. So
//! one that does it often stands behind the door, which has an answer to give, and takes what the door leaves. What keeps the door from
//! taking all of it: as long as a processor was made to wait it may work, too, and longer the later its events are.

use std::time::Duration;

/// The shortest turn: about what an event costs the door, so that it waits for a processor no longer than for a request beside it.
const TURN_MIN: Duration = Duration::from_micros(200);

/// The longest: longer, and the door's answers were late by it wherever they were made.
const TURN_MAX: Duration = Duration::from_millis(4);

/// Events no later than this are not late.
const DELAY_MIN: Duration = Duration::from_secs(1);

/// Events that are as late as this have turns as long as can be.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// How long the next turn may last, after one has `waited` for it, with events that were accepted `delay` ago.
pub(super) fn turn(waited: Duration, delay: Duration) -> Duration {
    let earned = waited.clamp(TURN_MIN, TURN_MAX);
    let lateness = delay.clamp(DELAY_MIN, DELAY_MAX) - DELAY_MIN;
    let granted = (TURN_MAX - TURN_MIN).mul_f64(lateness.div_duration_f64(DELAY_MAX - DELAY_MIN));
    (earned + granted).min(TURN_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    use super::{DELAY_MAX, DELAY_MIN, TURN_MAX, TURN_MIN, turn};

    fn micros(most: u64) -> impl Strategy<Value = Duration> {
        (0..most).prop_map(Duration::from_micros)
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_grows_with_waiting_and_with_lateness(
            waited in micros(10_000), more in micros(10_000), delay in micros(20_000_000), later in micros(20_000_000),
        ) {
            let usual = turn(waited, delay);
            prop_assert!((TURN_MIN..=TURN_MAX).contains(&usual));
            prop_assert!(turn(waited + more, delay) >= usual);
            prop_assert!(turn(waited, delay + later) >= usual);
            prop_assert!(usual >= waited.min(TURN_MAX), "what one waits one may work");
        }

        #[test]
        fn late_events_have_the_longest_turns_and_fresh_ones_the_shortest(waited in micros(10_000), delay in micros(1_000_000)) {
            prop_assert_eq!(turn(waited, DELAY_MAX + delay), TURN_MAX);
            prop_assert_eq!(turn(Duration::ZERO, delay.min(DELAY_MIN)), TURN_MIN);
        }
    }
}
