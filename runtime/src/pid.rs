//! `Pid`: the identity of one life of one process.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Serials come from one counter for the whole operating-system process, so that two systems in it never collide.
static SERIAL: AtomicU64 = AtomicU64::new(1);

const SERIAL_BITS: u32 = 48;

/// The identity of one life of one process: eight bytes, never reused, never zero.
///
/// The upper 16 bits index a node life (zero is the local one), the lower 48 are a serial. Prints as `<node.serial>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroU64);

impl Pid {
    /// Takes the next serial. At a million processes a second the serials last nine years.
    pub(crate) fn next() -> Pid {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        assert!(
            serial < 1 << SERIAL_BITS,
            "48 bits of process serials are spent"
        );
        Pid(NonZeroU64::new(serial).expect("serials start at one"))
    }

    /// The number behind the pid.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn from_raw(raw: u64) -> Option<Pid> {
        NonZeroU64::new(raw).map(Pid)
    }
}

/// A map by pid or serial. Nobody outside chooses these numbers, so that one multiplication mixes them well enough.
pub(crate) type SerialMap<K, V> = HashMap<K, V, BuildHasherDefault<SerialHasher>>;

/// Hashes one number.
#[derive(Debug, Default)]
pub(crate) struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// Fibonacci hashing; the upper half is folded down, because tables use the lower bits.
    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.0.get();
        write!(
            formatter,
            "<{}.{}>",
            raw >> SERIAL_BITS,
            raw & ((1 << SERIAL_BITS) - 1)
        )
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl serde::Serialize for Pid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
