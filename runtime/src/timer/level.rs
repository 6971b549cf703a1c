//! One level of the wheel: 64 slots, each a list, and a bitmap of those in use.

pub(super) const SLOT_BITS: u32 = 6;
pub(super) const SLOTS: usize = 1 << SLOT_BITS;

/// No entry.
pub(super) const NIL: u32 = u32::MAX;

/// A list of entries: the first, and the last if there is a first.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) head: u32,
    pub(super) tail: u32,
}

impl List {
    pub(super) const EMPTY: List = List {
        head: NIL,
        tail: NIL,
    };

    /// An entry is out that lay between these.
    pub(super) fn close(&mut self, previous: u32, next: u32) {
        if previous == NIL {
            self.head = next;
        }
        if next == NIL {
            self.tail = previous;
        }
    }
}

#[derive(Debug)]
pub(super) struct Level {
    lists: [List; SLOTS],
    occupied: u64,
}

impl Level {
    pub(super) const fn new() -> Level {
        Level {
            lists: [List::EMPTY; SLOTS],
            occupied: 0,
        }
    }

    pub(super) fn head(&self, slot: usize) -> u32 {
        self.lists[slot].head
    }

    /// Empties a slot; its first entry.
    pub(super) fn take(&mut self, slot: usize) -> u32 {
        self.occupied &= !(1 << slot);
        std::mem::replace(&mut self.lists[slot], List::EMPTY).head
    }

    /// The list of a slot into which an entry comes.
    pub(super) fn fill(&mut self, slot: usize) -> &mut List {
        self.occupied |= 1 << slot;
        &mut self.lists[slot]
    }

    /// The list of a slot in use, out of which an entry goes that lay between these.
    pub(super) fn close(&mut self, slot: usize, previous: u32, next: u32) {
        let list = &mut self.lists[slot];
        list.close(previous, next);
        if list.head == NIL {
            self.occupied &= !(1 << slot);
        }
    }

    /// The first used slot at or after `slot`.
    pub(super) fn next_occupied(&self, slot: usize) -> Option<usize> {
        let later = self.occupied & (u64::MAX << slot);
        (later != 0).then(|| later.trailing_zeros() as usize)
    }
}
