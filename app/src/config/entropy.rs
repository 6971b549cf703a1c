//! Randomness fit for secrets, for the runtime's one door of chance.

use mesh_runtime::Entropy;
use uuid::{Builder, Uuid};

/// The operating system's random generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Entropy for OsRandom {
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect(
            "the operating system's random generator works; without it no secret could be made",
        )
    }

    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect(
            "the operating system's random generator works; without it no secret could be made",
        );
    }
}

/// A random identity.
#[must_use]
pub fn random_uuid(entropy: &dyn Entropy) -> Uuid {
    let mut random = [0; 16];
    entropy.fill(&mut random);
    Builder::from_random_bytes(random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_filled_and_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        OsRandom.fill(&mut a);
        OsRandom.fill(&mut b);
        assert!(a != b && a != [0; 32]);
        assert_ne!(OsRandom.next_u64(), OsRandom.next_u64());
    }
}
