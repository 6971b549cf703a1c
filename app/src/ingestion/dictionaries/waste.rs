//! How much of a project's events is packed badly, and when that is worth learning from.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::payload::Dictionary;

/// A payload of more than one byte for so many of its JSON is packed badly.
pub(super) const BYTES_FOR_ONE: usize = 8;

/// The first round waits for so many badly packed bytes: about fifty events of 20 frames. A project that never gets there takes no room.
const FIRST_BYTES: u64 = 4 * Dictionary::CONTENT_BYTES_MAX as u64;

/// No round waits for more.
const LAST_BYTES: u64 = 1 << 40;

/// Whether a payload is packed badly.
pub(super) const fn is_bad(packed_len: usize, json_len: usize) -> bool {
    packed_len * BYTES_FOR_ONE > json_len
}

/// What a project's payloads take beyond what they should, counted by the door without a lock. Each round of learning, whatever came of it,
/// waits for twice as much as the one before: there are not many dictionaries of a project, even of one whose events have nothing in common.
#[derive(Debug)]
pub(super) struct Waste {
    bytes: AtomicU64,
    awaited: AtomicU64,
}

impl Default for Waste {
    fn default() -> Waste {
        Waste {
            bytes: AtomicU64::new(0),
            awaited: AtomicU64::new(FIRST_BYTES),
        }
    }
}

impl Waste {
    /// Counts a payload; `true` if it is a badly packed one and there were enough of them.
    pub(super) fn add(&self, packed_len: usize, json_len: usize) -> bool {
        if !is_bad(packed_len, json_len) {
            return false;
        }
        self.bytes.fetch_add(packed_len as u64, Ordering::Relaxed);
        self.is_enough()
    }

    /// Whether it is time to learn.
    pub(super) fn is_enough(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.awaited.load(Ordering::Relaxed)
    }

    /// A round is over: the next one waits for twice as much.
    pub(super) fn settle(&self) {
        let awaited = self.awaited.load(Ordering::Relaxed);
        self.awaited
            .store((awaited * 2).min(LAST_BYTES), Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// A dictionary is at its life's end: the next round waits as the first did.
    pub(super) fn begin_anew(&self) {
        self.awaited.store(FIRST_BYTES, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_BYTES, LAST_BYTES, Waste};
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn every_round_waits_for_twice_as_much() {
        let waste = Waste::default();
        assert!(!waste.add(1_000, 8_000), "packed well");
        let mut events = 0;
        while !waste.add(1_001, 8_000) {
            events += 1;
        }
        assert_eq!(events, FIRST_BYTES / 1_001);
        assert!(!waste.add(0, 0) && waste.is_enough());
        for _ in 0..100 {
            waste.settle();
            assert!(!waste.is_enough());
        }
        assert!(!waste.add(LAST_BYTES as usize - 1, 0) && waste.add(1, 0));
        waste.begin_anew();
        waste.settle();
        assert!(!waste.add(2 * FIRST_BYTES as usize - 1, 0) && waste.add(1, 0));
    }

    proptest! {
        #[test]
        fn rounds_are_few(events in proptest::collection::vec(1_usize..100_000, 1..500)) {
            let waste = Waste::default();
            let mut rounds = 0;
            for packed in &events {
                if waste.add(*packed, 0) {
                    rounds += 1;
                    waste.settle();
                }
            }
            let bytes: usize = events.iter().sum();
            // The first k rounds take FIRST_BYTES · (2^k − 1).
            prop_assert!(FIRST_BYTES * ((1 << rounds) - 1) <= bytes as u64);
        }
    }
}
