//! Source code seen before: the part of a frame in front of its variables is the same in every event that passes the same line, and what
//! was once found clean is taken over instead of being read again.
//!
//! A piece is found by a hash of its first bytes and taken only if all its bytes are the same. Whether a piece is clean, and what of it
//! are facts, follows from its bytes alone: no project, no setting and no other part of the event has a say.

use std::cell::RefCell;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::scan::Short;
use crate::processing::lanes::LANES;
use crate::processing::scrub;

/// The bytes of a frame that it is found by: mostly its names, its line number and the first source line. A shorter piece is read as fast
/// as it is found.
const HEAD_BYTES: usize = 256;

/// A longer piece is not kept.
const PIECE_BYTES_MAX: usize = 4 * 1024;

/// What all pieces of a thread take together, their facts included.
const BYTES_MAX: usize = 160 * 1024;

/// Pieces whose hashes begin alike share a set: the one that was not used for longest makes room.
const WAYS: usize = 4;

const SETS: usize = 64;

/// How many hashes are remembered of pieces that came once: what never comes again costs no copy.
const ONCE: usize = 1024;

/// A part of a frame that was found clean, from its brace to what stands before its variables or its end.
#[derive(Debug)]
pub(super) struct Piece {
    hash: u64,
    /// The bytes of the piece and the one behind it, without which a number would not be at its end.
    text: Box<str>,
    /// What of it are facts, without braces.
    pub(super) facts: Box<str>,
    /// The bits of its attributes.
    pub(super) seen: u32,
    /// Whether it was taken since the hand last passed it.
    is_used: bool,
}

impl Piece {
    /// How many bytes of the event it stands for.
    pub(super) fn len(&self) -> usize {
        self.text.len() - 1
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.facts.len()
    }
}

/// A key of at most fifteen bytes as a number: its bytes, the first lowest, and in the uppermost byte one more than its length. Zero is none.
pub(super) type Word = u128;

/// Keys that are remembered as no secrets, each in the one place its word gives it; the later one stays. An event has two or three hundred,
/// and two that share a place are looked at each time.
const NAMES: usize = 512;

/// The word of a key.
#[inline]
pub(super) fn word_of(key: &Short<'_>) -> Word {
    /// The bytes of a word of each length, and the length.
    const PARTS: [(u128, u128); LANES] = {
        let mut parts = [(0, 0); LANES];
        let mut len = 0;
        while len < LANES {
            parts[len] = ((1 << (8 * len)) - 1, (len as u128 + 1) << 120);
            len += 1;
        }
        parts
    };
    let (bytes, len) = PARTS[key.len % LANES];
    u128::from_le_bytes(*key.run) & bytes | len
}

/// The pieces one thread remembers: at most [`BYTES_MAX`] of text, and 24 KiB of places for them and for names.
#[derive(Debug)]
pub(super) struct Memo {
    places: Vec<Option<Piece>>,
    /// See [`ONCE`].
    once: Vec<u32>,
    /// See [`NAMES`].
    names: Vec<Word>,
    bytes: usize,
    /// Where it is looked for room next.
    hand: usize,
}

impl Memo {
    fn new() -> Memo {
        Memo {
            places: std::iter::repeat_with(|| None).take(SETS * WAYS).collect(),
            once: vec![0; ONCE],
            names: vec![0; NAMES],
            bytes: 0,
            hand: 0,
        }
    }

    /// Lends the memo of this thread.
    pub(super) fn with<T>(work: impl FnOnce(&mut Memo) -> T) -> T {
        thread_local! {
            static MEMO: RefCell<Memo> = RefCell::new(Memo::new());
        }
        MEMO.with_borrow_mut(work)
    }

    /// The hash of a frame by which a piece is found; `None` if too little is left for one.
    pub(super) fn hash(frame: &str) -> Option<u64> {
        let head = frame.as_bytes().get(..HEAD_BYTES)?;
        Some(FixedState::default().hash_one(head))
    }

    /// The piece that a frame begins with, if it is known.
    pub(super) fn find(&mut self, hash: u64, frame: &str) -> Option<&Piece> {
        let set = set_of(hash);
        let found = self.places[set..set + WAYS].iter_mut().flatten();
        let mut found = found.filter(|piece| piece.hash == hash);
        let piece = found.find(|piece| frame.as_bytes().starts_with(piece.text.as_bytes()))?;
        piece.is_used = true;
        Some(piece)
    }

    /// Remembers a piece that was not found, if its hash came before. `text` holds one byte more than the piece.
    pub(super) fn add(&mut self, hash: u64, text: &str, facts: &str, seen: u32) {
        if !(HEAD_BYTES..=PIECE_BYTES_MAX).contains(&text.len()) {
            return;
        }
        // The lower half tells the place, the upper one what is kept there.
        let once = &mut self.once[hash as usize % ONCE];
        let tag = (hash >> 32) as u32;
        if *once != tag {
            *once = tag;
            return;
        }
        let piece = Piece {
            hash,
            text: text.into(),
            facts: facts.into(),
            seen,
            is_used: false,
        };
        let at = self.place(set_of(hash));
        self.bytes += piece.bytes();
        self.forget(at);
        self.places[at] = Some(piece);
        while self.bytes > BYTES_MAX {
            let hand = self.hand;
            self.hand = (hand + 1) % self.places.len();
            if hand != at && !self.was_used(hand) {
                self.forget(hand);
            }
        }
    }

    /// Whether a key is secret by its name; `word` is its own.
    #[inline]
    pub(super) fn is_secret_key(&mut self, word: Word, key: &[u8]) -> bool {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = (word as u64 ^ (word >> 64) as u64).wrapping_mul(SPREAD);
        let name = &mut self.names[(hash >> 48) as usize % NAMES];
        if *name == word {
            return false;
        }
        let is_secret = scrub::is_secret_name(key);
        if !is_secret {
            *name = word;
        }
        is_secret
    }

    /// The place in a set that is free, or else of a piece that was not used of late.
    fn place(&mut self, set: usize) -> usize {
        let ways = set..set + WAYS;
        let free = ways.clone().find(|at| self.places[*at].is_none());
        // Each was used: now none is, and the first goes.
        let unused = || ways.clone().find(|at| !self.was_used(*at));
        free.or_else(unused).unwrap_or(set)
    }

    /// Whether the piece at a place was used since this was last asked.
    fn was_used(&mut self, at: usize) -> bool {
        let piece = self.places[at].as_mut();
        piece.is_some_and(|piece| std::mem::take(&mut piece.is_used))
    }

    fn forget(&mut self, at: usize) {
        if let Some(piece) = self.places[at].take() {
            self.bytes -= piece.bytes();
        }
    }
}

/// Where the set of a hash begins.
fn set_of(hash: u64) -> usize {
    (hash >> 16) as usize % SETS * WAYS
}

#[cfg(test)]
mod tests;
