//! How full the way to the database is: one number the spool sets and admission reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A gauge of 0 (all clear) to 100 (refuse everything). Clones share it; it is the one signal that goes upstream.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<Gauge>);

#[derive(Debug, Default)]
struct Gauge {
    level: AtomicU8,
    is_refusing: AtomicBool,
}

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
        self.0
            .level
            .store(percent.min(Self::FULL), Ordering::Relaxed);
    }

    /// The level in percent.
    #[must_use]
    pub fn get(&self) -> u8 {
        self.0.level.load(Ordering::Relaxed)
    }

    /// Says whether the last attempt to put something in failed for want of room. The level falls below full now and then while it lasts,
    /// so that somebody tries again.
    pub fn set_refusing(&self, is_refusing: bool) {
        self.0.is_refusing.store(is_refusing, Ordering::Relaxed);
    }

    /// Whether the last attempt failed for want of room.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.0.is_refusing.load(Ordering::Relaxed)
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
