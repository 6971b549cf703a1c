//! One level of the wheel: 64 slots, each the head of a list, and a bitmap of those in use.

pub(super) const SLOT_BITS: u32 = 6;
pub(super) const SLOTS: usize = 1 << SLOT_BITS;

/// No entry.
pub(super) const NIL: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Level {
    heads: [u32; SLOTS],
    occupied: u64,
}

impl Level {
    pub(super) const fn new() -> Level {
        Level {
            heads: [NIL; SLOTS],
            occupied: 0,
        }
    }

    pub(super) fn head(&self, slot: usize) -> u32 {
        self.heads[slot]
    }

    pub(super) fn set_head(&mut self, slot: usize, entry: u32) {
        self.heads[slot] = entry;
        if entry == NIL {
            self.occupied &= !(1 << slot);
        } else {
            self.occupied |= 1 << slot;
        }
    }

    /// The first used slot at or after `slot`.
    pub(super) fn next_occupied(&self, slot: usize) -> Option<usize> {
        let later = self.occupied & (u64::MAX << slot);
        (later != 0).then(|| later.trailing_zeros() as usize)
    }
}
