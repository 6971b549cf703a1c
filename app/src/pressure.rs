//! How full the way to the database is: one number the spool sets and admission reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A gauge of 0 (all clear) to 100 (refuse everything). Clones share it; it is the one signal that goes upstream.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<AtomicU8>);

impl Pressure {
    /// The level at which nothing more fits.
    pub const FULL: u8 = 100;

    /// A gauge at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the level in percent; more than 100 counts as 100.
    pub fn set(&self, percent: u8) {
        self.0.store(percent.min(Self::FULL), Ordering::Relaxed);
    }

    /// The level in percent.
    #[must_use]
    pub fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether nothing more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.get() >= Self::FULL
    }
}

#[cfg(test)]
mod tests {
    use super::Pressure;

    #[test]
    fn clones_share_the_level_and_it_is_bounded() {
        let writer = Pressure::new();
        let admission = writer.clone();
        assert!(!admission.is_full());
        writer.set(250);
        assert_eq!(admission.get(), 100);
        assert!(admission.is_full());
    }
}
