//! Dice: the streams of chance of one laboratory, all of them from its seed, none disturbing another.

use std::ops::Range;
use std::time::Duration;

use crate::entropy::{Entropy, SeededEntropy};

/// What a stream decides. A stream of its own for each keeps the others as they are when one asks more often.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Order,
    Faults,
    Network,
    Program,
    System(u64),
}

/// One stream of chance.
#[derive(Debug)]
pub(super) struct Dice(SeededEntropy);

impl Dice {
    pub(super) fn new(seed: u64, stream: Stream) -> Dice {
        Dice(SeededEntropy::new(derived(seed, stream)))
    }

    /// Dice of a number that is a seed already.
    pub(super) fn plain(seed: u64) -> Dice {
        Dice(SeededEntropy::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; zero when the bound is zero.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// An index of a list that is not empty.
    pub(super) fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// `true` with this probability.
    pub(super) fn chance(&self, probability: f64) -> bool {
        const STEPS: f64 = (1_u64 << 53) as f64;
        ((self.next() >> 11) as f64) < probability * STEPS
    }

    /// A length of time in this range; its start when it is empty.
    pub(super) fn within(&self, range: &Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start);
        let width = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
        range.start + Duration::from_nanos(self.below(width))
    }
}

/// The seed of a stream.
pub(super) fn derived(seed: u64, stream: Stream) -> u64 {
    let number = match stream {
        Stream::Order => 1,
        Stream::Faults => 2,
        Stream::Network => 3,
        Stream::Program => 4,
        Stream::System(number) => 16 + number,
    };
    let first = SeededEntropy::new(seed).next_u64();
    SeededEntropy::new(first ^ number).next_u64()
}
