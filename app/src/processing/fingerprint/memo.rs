//! What was made of stacks that were seen before: the events of one issue mostly bring the same, byte for byte.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Grouped, v1};
use crate::domain::{Frame, NormalEvent};

/// How much a memo keeps, in bytes, about.
const BYTES_MAX: usize = 512 * 1024;

/// How many it keeps.
const LEN_MAX: usize = 512;

/// A larger one is not kept: it would take the place of too many others.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// What an entry takes beside what it holds, about.
const ENTRY_BYTES: usize = 256;

/// An event's stacks and how they group it, for the versions of the algorithm that are in use.
#[derive(Debug)]
pub(crate) struct Stacks {
    v1: v1::Own,
    crash_frame: Option<Frame>,
}

impl Stacks {
    fn of(event: &NormalEvent) -> Stacks {
        Stacks {
            v1: v1::Own::of(event),
            crash_frame: event.crash_frame().cloned(),
        }
    }

    /// As [`super::fingerprints`], for the event they were made of or one whose stacks are the same.
    pub(crate) fn fingerprints<S>(&self, event: &NormalEvent<S>) -> Vec<Grouped> {
        vec![v1::alike(event, self.crash_frame(), &self.v1)]
    }

    /// Where it happened.
    pub(crate) fn crash_frame(&self) -> Option<&Frame> {
        self.crash_frame.as_ref()
    }

    fn bytes(&self) -> usize {
        let frame = self.crash_frame.iter();
        let texts = frame.flat_map(|frame| {
            [
                &frame.function,
                &frame.module,
                &frame.filename,
                &frame.abs_path,
                &frame.package,
                &frame.platform,
                &frame.context_line,
            ]
        });
        self.v1.bytes() + texts.flatten().map(String::capacity).sum::<usize>()
    }
}

/// The stacks that were seen last, by everything that grouping by them looks at.
///
/// A new one takes the place of those that were not asked for the longest. What is kept is found by a hash and then compared in full,
/// so a hash that fits by accident does no harm.
pub struct Memo {
    bytes_max: usize,
    bytes: usize,
    /// By [`hash`]; of two with the same hash, the later is kept.
    entries: HashMap<u64, Entry>,
    /// Counts what was asked.
    turn: u64,
    hits: u64,
}

struct Entry {
    key: Box<[u8]>,
    stacks: Arc<Stacks>,
    bytes: usize,
    last_turn: u64,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo")
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .field("hits", &self.hits)
            .finish()
    }
}

impl Default for Memo {
    fn default() -> Self {
        Memo::bounded(BYTES_MAX)
    }
}

impl Memo {
    /// One that keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Memo::bounded(0)
    }

    /// How often what it kept was the answer.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits
    }

    fn bounded(bytes_max: usize) -> Self {
        Memo {
            bytes_max,
            bytes: 0,
            entries: HashMap::new(),
            turn: 0,
            hits: 0,
        }
    }

    /// What the stacks of an event come to, which are read only if they are new.
    ///
    /// # Errors
    /// If they are new and no stacks.
    pub(crate) fn stacks(
        &mut self,
        event: &NormalEvent<&RawValue>,
    ) -> Result<Arc<Stacks>, serde_json::Error> {
        let read = |event: &NormalEvent<&RawValue>| {
            let event = event
                .clone()
                .try_map(|stack| serde_json::from_str(stack.get()))?;
            Ok(Arc::new(Stacks::of(&event)))
        };
        if self.bytes_max == 0 {
            return read(event);
        }
        let Some(pieces) = pieces(event) else {
            return read(event);
        };
        let hash = hash(&pieces);
        self.turn += 1;
        if let Some(entry) = self.entries.get_mut(&hash)
            && is_of(&entry.key, &pieces)
        {
            entry.last_turn = self.turn;
            self.hits += 1;
            return Ok(entry.stacks.clone());
        }
        let stacks = read(event)?;
        if stacks.v1.is_by_stack() {
            self.keep(hash, &pieces, &stacks);
        }
        Ok(stacks)
    }

    fn keep(&mut self, hash: u64, pieces: &[Option<&str>], stacks: &Arc<Stacks>) {
        let key_len: usize = pieces
            .iter()
            .map(|piece| 4 + piece.map_or(0, str::len))
            .sum();
        let bytes = ENTRY_BYTES + key_len + stacks.bytes();
        if bytes > ENTRY_BYTES_MAX.min(self.bytes_max) {
            return;
        }
        self.forget(hash);
        while self.bytes + bytes > self.bytes_max || self.entries.len() >= LEN_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_turn);
            let Some(oldest) = oldest.map(|(hash, _)| *hash) else {
                break;
            };
            self.forget(oldest);
        }
        self.bytes += bytes;
        let entry = Entry {
            key: key(pieces, key_len),
            stacks: stacks.clone(),
            bytes,
            last_turn: self.turn,
        };
        self.entries.insert(hash, entry);
    }

    fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.bytes -= entry.bytes;
        }
    }
}

/// Everything that grouping by stack looks at; `None` of an event without stacks.
fn pieces<'a>(event: &'a NormalEvent<&'a RawValue>) -> Option<Vec<Option<&'a str>>> {
    let of_exceptions = event.exceptions.values.iter();
    let stacks = of_exceptions.map(|exception| exception.stacktrace);
    let stacks = stacks.chain([event.stacktrace]);
    if stacks.clone().all(|stack| stack.is_none()) {
        return None;
    }
    let mut pieces = v1::beside_stacks(event);
    pieces.extend(stacks.map(|stack| stack.map(RawValue::get)));
    Some(pieces)
}

/// What stands for the length of a piece that is not there.
const ABSENT: u32 = u32::MAX;

fn piece_len(piece: Option<&str>) -> u32 {
    let len = piece.map_or(Ok(ABSENT), |piece| u32::try_from(piece.len()));
    len.expect("an event is bounded to a few megabytes")
}

/// The pieces, each behind its length, so that none can pass for two.
fn key(pieces: &[Option<&str>], len: usize) -> Box<[u8]> {
    let mut key = Vec::with_capacity(len);
    for piece in pieces {
        key.extend_from_slice(&piece_len(*piece).to_le_bytes());
        key.extend_from_slice(piece.unwrap_or_default().as_bytes());
    }
    key.into()
}

/// Whether `key` is that of `pieces`.
fn is_of(key: &[u8], pieces: &[Option<&str>]) -> bool {
    let mut rest = Some(key);
    for piece in pieces {
        rest = rest
            .and_then(|rest| rest.strip_prefix(&piece_len(*piece).to_le_bytes()))
            .and_then(|rest| rest.strip_prefix(piece.unwrap_or_default().as_bytes()));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

/// A hash that is quick to take and needs to be no more: who finds two stacks of the same one has them read each time.
fn hash(pieces: &[Option<&str>]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |lane: u64, word: u64| (lane.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    // Four at a time, since each waits for its own last one only.
    let mut lanes = [1_u64, 2, 3, 4];
    for piece in pieces {
        let (blocks, rest) = piece.unwrap_or_default().as_bytes().as_chunks::<32>();
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                *lane = mix(*lane, u64::from_le_bytes(*word));
            }
        }
        for byte in rest {
            lanes[0] = mix(lanes[0], u64::from(*byte));
        }
        lanes[1] = mix(lanes[1], u64::from(piece_len(*piece)));
    }
    lanes.into_iter().fold(0, mix)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::{ENTRY_BYTES_MAX, LEN_MAX, Memo, hash, is_of, key};
    use crate::domain::NormalEvent;

    fn json(frame: &str) -> String {
        json!({
            "event_id": "9ec79c33ec9942ab8353589fcb2e04dc", "timestamp": "2024-05-01T10:00:00Z",
            "received": "2024-05-01T10:00:00Z", "level": "error", "platform": "other", "environment": "production",
            "exception": { "values": [{ "type": "E", "stacktrace": { "frames": [{ "function": frame }] } }] },
        })
        .to_string()
    }

    fn ask(memo: &mut Memo, json: &str) {
        let event: NormalEvent<&RawValue> = serde_json::from_str(json).unwrap();
        memo.stacks(&event).unwrap();
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let mut memo = Memo::bounded(40 * 1024);
        for turn in 0..200 {
            ask(&mut memo, &json(&format!("{turn}{}", "f".repeat(1000))));
            assert!(memo.bytes <= 40 * 1024);
            let sum: usize = memo.entries.values().map(|entry| entry.bytes).sum();
            assert_eq!(memo.bytes, sum);
        }
        assert!((5..40).contains(&memo.entries.len()), "{memo:?}");
        let mut memo = Memo::default();
        for turn in 0..LEN_MAX + 20 {
            ask(&mut memo, &json(&turn.to_string()));
        }
        assert_eq!(memo.entries.len(), LEN_MAX);
        let bytes = memo.bytes;
        ask(&mut memo, &json(&"f".repeat(ENTRY_BYTES_MAX)));
        assert_eq!(memo.bytes, bytes);
        let mut off = Memo::off();
        ask(&mut off, &json("f"));
        assert!(off.entries.is_empty());
    }

    #[test]
    fn what_was_asked_for_last_stays() {
        let mut memo = Memo::default();
        ask(&mut memo, &json("hot"));
        let (hot, _) = memo.entries.iter().next().unwrap();
        let hot = *hot;
        for turn in 0..3 * LEN_MAX {
            ask(&mut memo, &json(&turn.to_string()));
            ask(&mut memo, &json("hot"));
        }
        assert!(memo.entries.contains_key(&hot));
    }

    #[test]
    fn a_key_is_of_its_pieces_and_of_no_others() {
        let lists: [&[Option<&str>]; 7] = [
            &[Some("ab"), Some("c")],
            &[Some("a"), Some("bc")],
            &[Some("abc")],
            &[Some("ab"), Some("c"), None],
            &[Some("ab"), Some("c"), Some("")],
            &[None, Some("ab"), Some("c")],
            &[],
        ];
        for a in lists {
            for b in lists {
                assert_eq!(is_of(&key(a, 0), b), a == b, "{a:?} {b:?}");
                assert_eq!(hash(a) == hash(b), a == b, "{a:?} {b:?}");
            }
        }
    }
}
