//! The hierarchical timing wheel: six levels of 64 slots over ticks of 1 ms, about two years; what is later waits in an overflow list.
//!
//! An entry lies on the level of the highest bit in which its tick differs from now, so that no slot ever wraps. Entries live in a slab,
//! linked by index into their slot, in the order they came. Insert, cancel and firing are O(1).
//!
//! Source: Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 7.

use std::fmt;

use super::level::{Level, List, NIL, SLOT_BITS, SLOTS};

const LEVELS: usize = 6;
const WHEEL_BITS: u32 = SLOT_BITS * LEVELS as u32;

/// Names an entry; a generation tells the lives of a slab place apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Of no entry.
    pub(super) fn none() -> Key {
        Key {
            index: NIL,
            generation: 0,
        }
    }

    pub(super) fn to_raw(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation)
    }

    pub(super) fn from_raw(raw: u64) -> Key {
        Key {
            index: (raw >> 32) as u32,
            generation: raw as u32,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.generation)
    }
}

/// Where an entry is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Slot {
        level: u8,
        slot: u8,
    },
    Overflow,
    /// Taken out to be fired; may come back as an interval.
    Firing,
}

/// An entry that is taken out to be fired.
#[derive(Debug)]
pub(super) struct Due<T> {
    pub(super) key: Key,
    pub(super) tick: u64,
    pub(super) payload: T,
}

/// Places of a slab without entries that are worth keeping; what a flood has left beyond is given back.
const SPARE_MAX: usize = 1_024;

struct Entry<T> {
    tick: u64,
    payload: Option<T>,
    generation: u32,
    previous: u32,
    next: u32,
    place: Place,
}

/// A wheel of payloads. Pure: it knows no clock but the tick it is told.
pub(super) struct Wheel<T> {
    now: u64,
    levels: [Level; LEVELS],
    overflow: List,
    entries: Vec<Entry<T>>,
    free: u32,
    /// The generation of a place that is new: later than any that was given back.
    generation: u32,
    len: usize,
    /// The tick the driver last said it would sleep until.
    awaited: u64,
}

impl<T> Wheel<T> {
    pub(super) fn new(now: u64) -> Wheel<T> {
        Wheel {
            now,
            levels: [const { Level::new() }; LEVELS],
            overflow: List::EMPTY,
            entries: Vec::new(),
            free: NIL,
            generation: 0,
            len: 0,
            awaited: u64::MAX,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry due at `tick`. Also tells whether the driver must wake earlier than it thinks.
    pub(super) fn insert(&mut self, tick: u64, payload: T) -> (Key, bool) {
        let key = self.allocate(tick, payload);
        self.link(key.index);
        self.len += 1;
        let first = tick < self.awaited;
        if first {
            self.awaited = tick;
        }
        (key, first)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            None
        } else {
            entry.payload.as_mut()
        }
    }

    /// Removes an entry; its tick and, unless it is being fired just now, its payload.
    pub(super) fn remove(&mut self, key: Key) -> Option<(u64, Option<T>)> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation || entry.place == Place::Free {
            return None;
        }
        let tick = entry.tick;
        self.unlink(key.index);
        Some((tick, self.release(key.index)))
    }

    /// The next tick at which [`Wheel::advance`] has work, and a promise to wake then.
    pub(super) fn sleep_until(&mut self) -> Option<u64> {
        let next = self.next_tick();
        self.awaited = next.unwrap_or(u64::MAX);
        next
    }

    fn next_tick(&self) -> Option<u64> {
        for (index, level) in self.levels.iter().enumerate() {
            let shift = SLOT_BITS * index as u32;
            let current = (self.now >> shift) as usize & (SLOTS - 1);
            if let Some(slot) = level.next_occupied(current) {
                let above = shift + SLOT_BITS;
                return Some((self.now >> above << above) | ((slot as u64) << shift));
            }
        }
        (self.overflow.head != NIL).then(|| ((self.now >> WHEEL_BITS) + 1) << WHEEL_BITS)
    }

    /// Moves time to `now` and takes out up to `count` due entries, earliest first and those of one tick in the order they came, and none
    /// behind one that is `last`: time stands where that was due. They stay known, so that they can be cancelled or put back.
    pub(super) fn advance(
        &mut self,
        now: u64,
        count: usize,
        last: impl Fn(&T) -> bool,
        due: &mut Vec<Due<T>>,
    ) {
        while due.len() < count {
            let Some(tick) = self.next_tick().filter(|tick| *tick <= now) else {
                if self.next_tick().is_none_or(|tick| tick > now) && self.now < now {
                    self.move_to(now);
                }
                return;
            };
            self.move_to(tick.max(self.now));
            let slot = self.now as usize & (SLOTS - 1);
            while due.len() < count {
                let index = self.levels[0].head(slot);
                if index == NIL {
                    break;
                }
                self.unlink_slot(index);
                let entry = &mut self.entries[index as usize];
                entry.place = Place::Firing;
                let payload = entry
                    .payload
                    .take()
                    .expect("a linked entry has its payload");
                let stops = last(&payload);
                due.push(Due {
                    key: Key {
                        index,
                        generation: entry.generation,
                    },
                    tick: entry.tick,
                    payload,
                });
                if stops {
                    return;
                }
            }
        }
    }

    /// Sets the time to `tick`, before which nothing is due, and brings down the entries whose slots begin then.
    fn move_to(&mut self, tick: u64) {
        let crossed = (self.now ^ tick) >> WHEEL_BITS != 0;
        self.now = tick;
        if crossed {
            let mut index = std::mem::replace(&mut self.overflow, List::EMPTY).head;
            while index != NIL {
                let next = self.entries[index as usize].next;
                self.link(index);
                index = next;
            }
        }
        for level in (1..LEVELS).rev() {
            let slot = (tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
            let mut index = self.levels[level].take(slot);
            while index != NIL {
                let next = self.entries[index as usize].next;
                self.link(index);
                index = next;
            }
        }
    }

    /// A fired entry is over. Returns `false` when it was cancelled meanwhile.
    pub(super) fn finish(&mut self, key: Key) -> bool {
        self.remove(key).is_some()
    }

    /// What an entry that is being fired has meanwhile, for whoever removes it. `false` when it was cancelled.
    pub(super) fn hold(&mut self, key: Key, meanwhile: T) -> bool {
        let entry = self.entries.get_mut(key.index as usize);
        match entry {
            Some(entry) if entry.generation == key.generation && entry.place == Place::Firing => {
                entry.payload = Some(meanwhile);
                true
            }
            _ => false,
        }
    }

    /// Puts a fired entry back for a later tick; gives the payload back when it was cancelled meanwhile.
    pub(super) fn put_back(&mut self, key: Key, tick: u64, payload: T) -> Option<T> {
        let Some(entry) = self.entries.get_mut(key.index as usize) else {
            return Some(payload);
        };
        if entry.generation != key.generation || entry.place != Place::Firing {
            return Some(payload);
        }
        entry.payload = Some(payload);
        entry.tick = tick;
        self.link(key.index);
        None
    }

    fn allocate(&mut self, tick: u64, payload: T) -> Key {
        let (index, generation) = if self.free == NIL {
            let index =
                u32::try_from(self.entries.len()).expect("fewer than 2^32 timers fit in memory");
            assert!(index != NIL, "fewer than 2^32 - 1 timers fit in memory");
            (index, self.generation)
        } else {
            (self.free, self.entries[self.free as usize].generation)
        };
        let entry = Entry {
            tick,
            payload: Some(payload),
            generation,
            previous: NIL,
            next: NIL,
            place: Place::Firing,
        };
        match self.entries.get_mut(index as usize) {
            None => self.entries.push(entry),
            Some(free) => {
                self.free = free.next;
                *free = entry;
            }
        }
        Key { index, generation }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        self.len -= 1;
        let free = self.free;
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.place = Place::Free;
        entry.next = free;
        self.free = index;
        let payload = entry.payload.take();
        if self.len == 0 && self.entries.len() > SPARE_MAX {
            self.give_back();
        }
        payload
    }

    /// Nothing is pending: lets the slab go. Keys of before name nothing of after, because generations go on.
    #[cold]
    fn give_back(&mut self) {
        let last = self.entries.iter().map(|entry| entry.generation).max();
        self.generation = last.unwrap_or(self.generation).wrapping_add(1);
        self.entries = Vec::new();
        self.free = NIL;
    }

    /// Links an entry into the slot of its tick, behind those that are there.
    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick.max(self.now);
        let differing = 63 - ((self.now ^ tick) | (SLOTS as u64 - 1)).leading_zeros();
        let level = (differing / SLOT_BITS) as usize;
        let (place, list) = if level < LEVELS {
            let slot = (tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
            let place = Place::Slot {
                level: level as u8,
                slot: slot as u8,
            };
            (place, self.levels[level].fill(slot))
        } else {
            (Place::Overflow, &mut self.overflow)
        };
        let tail = std::mem::replace(&mut list.tail, index);
        if tail == NIL {
            list.head = index;
        } else {
            self.entries[tail as usize].next = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.place = place;
        entry.previous = tail;
        entry.next = NIL;
    }

    fn unlink(&mut self, index: u32) {
        if self.entries[index as usize].place != Place::Firing {
            self.unlink_slot(index);
        }
    }

    fn unlink_slot(&mut self, index: u32) {
        let Entry {
            previous,
            next,
            place,
            ..
        } = self.entries[index as usize];
        match place {
            Place::Slot { level, slot } => {
                self.levels[usize::from(level)].close(usize::from(slot), previous, next);
            }
            Place::Overflow => self.overflow.close(previous, next),
            Place::Free | Place::Firing => unreachable!("only linked entries are unlinked"),
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
        }
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
    }
}

#[cfg(test)]
mod tests;
