//! Seed: where a suite's chance comes from, printed so that a failure can be run again.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::BuildHasher;

/// A small seeded generator (SplitMix64).
///
/// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Clone, Debug)]
pub struct Seed {
    first: u64,
    state: u64,
}

impl Seed {
    /// Takes the seed from `DOGFOOD_SEED`, or a fresh one.
    ///
    /// # Panics
    /// When `DOGFOOD_SEED` is set and is not a number.
    #[must_use]
    pub fn from_env() -> Self {
        let first = match env::var("DOGFOOD_SEED") {
            Ok(text) => text.parse().expect("DOGFOOD_SEED is a number"),
            Err(_) => RandomState::new().hash_one(std::process::id()),
        };
        Self::new(first)
    }

    /// Starts from a given number.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self {
            first,
            state: first,
        }
    }

    /// The number to set `DOGFOOD_SEED` to.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.first
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero when the bound is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A generator of its own for another thread.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (Seed::new(7), Seed::new(7));
        assert_eq!((a.next_u64(), a.below(10)), (b.next_u64(), b.below(10)));
        assert_ne!(Seed::new(8).next_u64(), Seed::new(7).next_u64());
        assert_eq!(a.below(0), 0);
    }
}
