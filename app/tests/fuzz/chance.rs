//! Chance that follows from a number.
//!
//! Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).

/// A source of chance; the same number gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new(number: u64) -> Chance {
        Chance { state: number }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 when there is nothing to choose from.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).expect("less than a usize")
    }

    /// Mostly small, now and then up to `max`.
    pub(crate) fn size(&mut self, max: usize) -> usize {
        let bits = 1 + self.below(20);
        self.below((1 << bits).min(max.max(1)))
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}
