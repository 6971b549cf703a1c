//! Pure: which of many alike are told line by line, and how many are told together.

use std::time::Duration;

use crate::limits::{STORM_LINES_MAX, STORM_WITHIN};

/// What becomes of one of many alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is told by itself.
    Told,
    /// It is the first that is counted only; those counted are told together at this time.
    First(Duration),
    /// It is counted.
    Counted,
}

/// Events alike, by time: the first of [`STORM_WITHIN`] are told line by line, and the others counted until they are told together.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    /// When the first line was told.
    since: Duration,
    lines: u32,
    counted: u64,
}

impl Storm {
    /// One more.
    pub(crate) fn note(&mut self, now: Duration) -> Heard {
        // What is counted is told before anything newer is.
        if self.counted == 0 && self.is_over(now) {
            self.lines = 0;
        }
        if self.lines == 0 {
            self.since = now;
        }
        if self.lines < STORM_LINES_MAX {
            self.lines += 1;
            return Heard::Told;
        }
        self.counted = self.counted.saturating_add(1);
        match self.counted {
            1 => Heard::First(self.since.saturating_add(STORM_WITHIN)),
            _ => Heard::Counted,
        }
    }

    /// How many were counted and are told now. Early, it opens no room for further lines.
    pub(crate) fn settle(&mut self) -> u64 {
        std::mem::take(&mut self.counted)
    }

    /// Whether all is told, and the next would be too.
    pub(crate) fn is_calm(&self, now: Duration) -> bool {
        self.counted == 0 && self.is_over(now)
    }

    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= STORM_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::limits::{STORM_LINES_MAX, STORM_WITHIN};

    use super::{Heard, Storm};

    #[test]
    fn first_lines_of_a_second_are_told_and_the_rest_counted() {
        let mut storm = Storm::default();
        let start = Duration::from_millis(700);
        for _ in 0..STORM_LINES_MAX {
            assert_eq!(storm.note(start), Heard::Told);
        }
        let (last, due) = (start + STORM_WITHIN / 2, start + STORM_WITHIN);
        assert_eq!(storm.note(last), Heard::First(due));
        assert_eq!(storm.note(last), Heard::Counted);
        assert!(!storm.is_calm(due));
        // Late, they are still told before anything newer is.
        assert_eq!(storm.note(due), Heard::Counted);
        assert_eq!((storm.settle(), storm.settle()), (3, 0));
        assert!(storm.is_calm(due) && !storm.is_calm(last));
        assert_eq!(storm.note(due), Heard::Told);
    }

    #[test]
    fn early_settling_opens_no_room() {
        let mut storm = Storm::default();
        for _ in 0..=STORM_LINES_MAX {
            storm.note(Duration::ZERO);
        }
        assert_eq!(storm.settle(), 1);
        assert_eq!(storm.note(Duration::ZERO), Heard::First(STORM_WITHIN));
    }

    /// Numbers as a linear congruence gives them.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        let next = |last: &u64| Some(last.wrapping_mul(6_364_136_223_846_793_005) ^ 0x9E37_79B9);
        std::iter::successors(Some(seed), next).map(|number| number >> 40)
    }

    #[test]
    fn nothing_is_lost_and_lines_are_bounded_whatever_comes() {
        for seed in 1..200 {
            let (mut storm, mut now) = (Storm::default(), Duration::ZERO);
            let (mut lines, mut counted, mut due) = (Vec::new(), 0, None);
            let events = 2_000;
            for pause in numbers(seed).take(events) {
                // Storms, gusts and calm, by turns.
                now += match pause % 97 {
                    0 => STORM_WITHIN * u32::try_from(pause % 5).unwrap(),
                    1..9 => Duration::from_millis(pause % 400),
                    _ => Duration::from_micros(pause % 2_000),
                };
                if due.is_some_and(|due| due <= now) {
                    counted += storm.settle();
                    due = None;
                }
                match storm.note(now) {
                    Heard::Told => lines.push(now),
                    Heard::First(time) => due = Some(time),
                    Heard::Counted => assert!(due.is_some(), "somebody settles it"),
                }
            }
            counted += storm.settle();
            assert_eq!(lines.len() as u64 + counted, events as u64, "seed {seed}");
            let most = STORM_LINES_MAX as usize;
            for (first, last) in lines.iter().zip(lines.iter().skip(2 * most)) {
                assert!(*last - *first >= STORM_WITHIN, "seed {seed}: {first:?}");
            }
        }
    }
}
