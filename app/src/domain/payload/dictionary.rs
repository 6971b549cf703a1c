//! A dictionary: what the events of a project have in common, said once.

use std::fmt;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zstd::zstd_safe::CDict;

use super::{ID_BYTES, LEVEL};

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

    /// Prepares a content.
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

    /// Whether it may pack an event received at that time.
    #[must_use]
    pub fn is_live(&self, received_at: Timestamp) -> bool {
        received_at.duration_since(self.made_at) <= Dictionary::LIFE
    }

    pub(super) const fn prepared(&self) -> &CDict<'static> {
        &self.prepared
    }
}
