//! The record: how one payload lies in a segment, and how a reader tells it from stale or torn bytes.
//!
//! Layout, little endian: checksum `u32` (CRC-32 of everything after it), payload length in bytes
//! `u32`, generation `u64`, sequence `u64`, life `u32`, kind `u32`, then the payload. The stamp
//! (generation and life) stands in the record because segments are reused in place: what an
//! earlier use of the file left behind is whole and well-formed, only its stamp is another.
//!
//! An event's kind also holds how many events of its group, which one sync made durable, stand
//! before it. So each whole event proves that everything before its group was durable: what is
//! missing there was not cut off by a crash, it was damaged.

/// Bytes in front of every payload.
pub(super) const HEADER_BYTES: usize = 32;

/// Where in a header the generation stands.
pub(super) const GENERATION_OFFSET: usize = 8;

/// Which use of a segment wrote a record: the generation of the segment, and which opening of the
/// spool (life) within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Counts uses of segments over the whole spool; never repeated.
    pub(super) generation: u64,
    /// Counts openings of the spool within one generation.
    pub(super) life: u32,
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A payload somebody appended, and how many of its group stand before it; `None` where that is not told, as in files written
    /// before groups were.
    Event(Option<u32>),
    /// Written once when the spool is opened again: from here on records carry the next life. Until a [`Kind::Confirmed`] their
    /// sequences are provisional, except in files written before that was told.
    Resume {
        /// Whether the sequences from here on wait for a [`Kind::Confirmed`].
        is_provisional: bool,
    },
    /// The database has told its position: the sequences of this life are its own.
    Confirmed,
}

/// Where in a kind's code the place in the group begins; below it stands what the record is for.
const INDEX_SHIFT: u32 = 8;

impl Kind {
    fn code(self) -> u32 {
        match self {
            Kind::Event(None) => 1,
            Kind::Resume {
                is_provisional: false,
            } => 2,
            Kind::Event(Some(index)) => 3 | index << INDEX_SHIFT,
            Kind::Resume {
                is_provisional: true,
            } => 4,
            Kind::Confirmed => 5,
        }
    }

    fn from_code(code: u32) -> Option<Kind> {
        match code {
            1 => Some(Kind::Event(None)),
            2 => Some(Kind::Resume {
                is_provisional: false,
            }),
            4 => Some(Kind::Resume {
                is_provisional: true,
            }),
            5 => Some(Kind::Confirmed),
            code if code & ((1 << INDEX_SHIFT) - 1) == 3 => {
                Some(Kind::Event(Some(code >> INDEX_SHIFT)))
            }
            _ => None,
        }
    }

    /// An event with so many of its group before it.
    pub(super) fn event(index: usize) -> Kind {
        let index = u32::try_from(index).ok();
        Kind::Event(index.filter(|index| *index < 1 << (u32::BITS - INDEX_SHIFT)))
    }
}

/// A record's header as read back; nothing is proven until [`Header::covers`] says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    checksum: u32,
    pub(super) payload_bytes: u32,
    pub(super) stamp: Stamp,
    pub(super) sequence: u64,
    pub(super) kind: Kind,
}

/// Appends one record to `into`. The payload's length must fit `u32`; the log bounds it far lower.
pub(super) fn encode(into: &mut Vec<u8>, stamp: Stamp, sequence: u64, kind: Kind, payload: &[u8]) {
    let start = into.len();
    let payload_bytes =
        u32::try_from(payload.len()).expect("the log refuses payloads beyond its bound");
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&payload_bytes.to_le_bytes());
    into.extend_from_slice(&stamp.generation.to_le_bytes());
    into.extend_from_slice(&sequence.to_le_bytes());
    into.extend_from_slice(&stamp.life.to_le_bytes());
    into.extend_from_slice(&kind.code().to_le_bytes());
    into.extend_from_slice(payload);
    let checksum = crc32fast::hash(&into[start + 4..]);
    into[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

impl Header {
    /// Reads a header; `None` when the bytes cannot be one.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let word = |at: usize| u32::from_le_bytes(fixed(bytes, at));
        let long = |at: usize| u64::from_le_bytes(fixed(bytes, at));
        Some(Header {
            checksum: word(0),
            payload_bytes: word(4),
            stamp: Stamp {
                generation: long(GENERATION_OFFSET),
                life: word(24),
            },
            sequence: long(16),
            kind: Kind::from_code(word(28))?,
        })
    }

    /// Whether the checksum of the whole record holds.
    pub(super) fn covers(&self, header: &[u8; HEADER_BYTES], payload: &[u8]) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header[4..]);
        hasher.update(payload);
        hasher.finalize() == self.checksum
    }

    /// Sequence below which everything was durable when this record was written, as far as it tells.
    pub(super) fn durable_below(&self) -> Option<u64> {
        match self.kind {
            Kind::Event(Some(index)) => Some(self.sequence.saturating_sub(u64::from(index))),
            Kind::Confirmed => Some(self.sequence),
            // A resume mark is synced together with what it follows.
            Kind::Event(None) | Kind::Resume { .. } => None,
        }
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }
}

/// `N` bytes of `bytes` from `at`.
pub(super) fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::{HEADER_BYTES, Header, Kind, Stamp, encode, fixed};

    const STAMP: Stamp = Stamp {
        generation: 7,
        life: 2,
    };

    #[test]
    fn a_record_comes_back_and_no_flipped_bit_is_believed() {
        let mut bytes = Vec::new();
        encode(&mut bytes, STAMP, 41, Kind::event(3), b"payload");
        let head: [u8; HEADER_BYTES] = fixed(&bytes, 0);
        let header = Header::decode(&head).unwrap();
        assert_eq!(
            (header.stamp, header.sequence, header.kind),
            (STAMP, 41, Kind::event(3))
        );
        assert_eq!(header.durable_below(), Some(38));
        assert!(header.covers(&head, &bytes[HEADER_BYTES..]));
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let head: [u8; HEADER_BYTES] = fixed(&broken, 0);
            let believed =
                Header::decode(&head).is_some_and(|h| h.covers(&head, &broken[HEADER_BYTES..]));
            assert!(!believed, "flipped bit {bit} was believed");
        }
    }

    #[test]
    fn every_kind_comes_back_and_a_place_beyond_its_bound_proves_nothing() {
        let resume = |is_provisional| Kind::Resume { is_provisional };
        let largest = Kind::event((1 << 24) - 1);
        for kind in [
            Kind::event(0),
            largest,
            resume(false),
            resume(true),
            Kind::Confirmed,
        ] {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert!(matches!(largest, Kind::Event(Some(_))));
        assert_eq!(Kind::event(1 << 24), Kind::Event(None));
    }

    #[test]
    fn zeroes_are_not_a_record() {
        assert!(Header::decode(&[0; HEADER_BYTES]).is_none());
    }
}
