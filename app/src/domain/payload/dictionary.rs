//! A dictionary: what the events of a project have in common, said once.

use std::fmt;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zstd::zstd_safe::CDict;

use super::{ID_BYTES, LEVEL};

/// What stands in front of a text to make it a dictionary in zstd's own form: its magic number, no number of its own, and the tables of codes that
/// a payload begins with. With them at hand, none is made for one payload and sent with it. They describe every byte, length and distance, so zstd
/// never has to look whether it may use them.
///
/// zstd's `ZDICT_finalizeDictionary` made them of events as in `tests/samples`, with ids, numbers, times, addresses and words for variables.
#[rustfmt::skip]
const TABLES: [u8; 150] = [
    0x37, 0xa4, 0x30, 0xec, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x10, 0xc0, 0x92, 0xa8, 0x03, 0x33, 0x30,
    0x03, 0x33, 0x30, 0x03, 0x33, 0x30, 0xac, 0xb4, 0xd2, 0x4a, 0x2b, 0xad, 0xb4, 0xd2, 0x1a, 0x91,
    0x52, 0x4a, 0xde, 0xd5, 0x58, 0x23, 0xa1, 0xf8, 0x8c, 0xc8, 0x94, 0xa4, 0x94, 0x29, 0xa5, 0x1d,
    0x06, 0x9d, 0x90, 0x55, 0x09, 0xc3, 0x01, 0x00, 0x00, 0x00, 0x00, 0x03, 0x01, 0x80, 0xa8, 0x50,
    0x26, 0x1d, 0x79, 0x03, 0x04, 0x00, 0xc0, 0x01, 0x0e, 0x1d, 0x2e, 0x19, 0x03, 0x09, 0x04, 0x0e,
    0x08, 0x12, 0x0c, 0x08, 0x08, 0x0b, 0x0d, 0x05, 0x07, 0x0c, 0x06, 0x00, 0x00, 0x03, 0x05, 0x05,
    0x04, 0x01, 0x00, 0x70, 0x28, 0x48, 0x00, 0x80, 0x42, 0xc1, 0x02, 0x39, 0x2c, 0x1c, 0x99, 0xa3,
    0xfa, 0x29, 0x00, 0x64, 0x36, 0x64, 0x50, 0x38, 0xc5, 0x30, 0x0c, 0x83, 0x81, 0x10, 0x00, 0x00,
    0x18, 0x89, 0x00, 0x23, 0xa2, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x04, 0x00,
    0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
];

/// Who a dictionary is: the first half of its content's SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DictionaryId(Uuid);

impl DictionaryId {
    /// The id of a dictionary with this content.
    #[must_use]
    pub fn of(content: &[u8]) -> DictionaryId {
        let digest = Sha256::digest(content);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest[..ID_BYTES]);
        DictionaryId::from_bytes(id)
    }

    pub(super) const fn from_bytes(bytes: [u8; ID_BYTES]) -> DictionaryId {
        DictionaryId(Uuid::from_bytes(bytes))
    }

    pub(super) const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        self.0.as_bytes()
    }

    /// The id as the database stores it: 16 bytes in the dress of a UUID.
    #[must_use]
    pub const fn into_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// A dictionary, prepared for packing. In memory it takes its content twice and the tables of zstd, 192 KiB at most.
pub struct Dictionary {
    id: DictionaryId,
    made_at: Timestamp,
    content: Bytes,
    prepared: CDict<'static>,
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary")
            .field("id", &self.id)
            .field("made_at", &self.made_at)
            .field("content_bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl Dictionary {
    /// The most bytes of a content.
    pub const CONTENT_BYTES_MAX: usize = 64 * 1024;

    /// How long after it was made a dictionary packs events. What it packed is readable as long as its content is kept, and so it is kept
    /// this long and as long again as its project keeps events.
    pub const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// The most bytes of a text.
    pub const TEXT_BYTES_MAX: usize = Dictionary::CONTENT_BYTES_MAX - TABLES.len();

    /// Prepares a text that events have parts in common with.
    #[must_use]
    pub fn of_text(text: &[u8], made_at: Timestamp) -> Dictionary {
        // The tables end with three distances to begin with, of which none may lead out of the text.
        const TEXT_BYTES_MIN: usize = 8;
        if text.len() < TEXT_BYTES_MIN {
            return Dictionary::new(text.to_vec(), made_at);
        }
        Dictionary::new([&TABLES, text].concat(), made_at)
    }

    /// Prepares a content: a text behind its tables, or one alone, as dictionaries once were.
    #[must_use]
    pub fn new(content: impl Into<Bytes>, made_at: Timestamp) -> Dictionary {
        let content = content.into();
        debug_assert!(content.len() <= Dictionary::CONTENT_BYTES_MAX);
        Dictionary {
            id: DictionaryId::of(&content),
            made_at,
            prepared: CDict::create(&content, LEVEL),
            content,
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> DictionaryId {
        self.id
    }

    /// When it was made.
    #[must_use]
    pub const fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// What it says.
    #[must_use]
    pub const fn content(&self) -> &Bytes {
        &self.content
    }

    /// The text in its content.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.content.strip_prefix(&TABLES).unwrap_or(&self.content)
    }

    /// Whether it may pack an event received at that time.
    #[must_use]
    pub fn is_live(&self, received_at: Timestamp) -> bool {
        received_at.duration_since(self.made_at) <= Dictionary::LIFE
    }

    pub(super) const fn prepared(&self) -> &CDict<'static> {
        &self.prepared
    }
}
