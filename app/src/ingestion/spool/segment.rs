//! One segment: a preallocated file that holds a header and a run of records with consecutive sequences.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::file::SpoolFile;
use super::record::{HEADER_BYTES, Header, Kind, Stamp, fixed};

/// Where the records begin: the header has a block of its own, so that no write of a record
/// touches it.
pub(super) const DATA_OFFSET: u64 = 4096;

const MAGIC: [u8; 8] = *b"MESHSPL1";
const HEADER_LEN: usize = 52;
/// How much is read from the file at once while walking over records.
const WINDOW_BYTES: usize = 256 * 1024;

/// What stands at the front of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Which spool this belongs to: the name under which the database keeps its position.
    pub(super) spool_id: Uuid,
    /// Which use of a file this is; over the whole spool each value is used once.
    pub(super) generation: u64,
    /// Sequence of the first record.
    pub(super) first: u64,
    /// What was known to be released when this use began: a lower bound that needs no database.
    pub(super) released: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(self.spool_id.as_bytes());
        bytes[24..32].copy_from_slice(&self.generation.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.released.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<SegmentHeader> {
        let checksum = u32::from_le_bytes(fixed(bytes, 48));
        (bytes[..8] == MAGIC && crc32fast::hash(&bytes[..48]) == checksum).then(|| SegmentHeader {
            spool_id: Uuid::from_bytes(fixed(bytes, 8)),
            generation: u64::from_le_bytes(fixed(bytes, 24)),
            first: u64::from_le_bytes(fixed(bytes, 32)),
            released: u64::from_le_bytes(fixed(bytes, 40)),
        })
    }

    /// The header of a file; `None` when the file was never used, or its header was torn (then it
    /// holds nothing acknowledged, since a header is synced before the first record).
    pub(super) fn read(file: &dyn SpoolFile) -> io::Result<Option<SegmentHeader>> {
        let mut bytes = [0; HEADER_LEN];
        file.read_at(0, &mut bytes)?;
        Ok(SegmentHeader::decode(&bytes))
    }
}

/// A segment in use: its file and how far it is filled with durable records.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) slot: u32,
    pub(super) file: Arc<dyn SpoolFile>,
    pub(super) len_bytes: u64,
    pub(super) stamp: Stamp,
    /// Sequence of the first record.
    pub(super) first: u64,
    /// Sequence after the last durable record.
    pub(super) end: u64,
    /// Offset after the last durable record.
    pub(super) end_offset: u64,
    /// Whether it takes no more records, though there may be room.
    pub(super) is_sealed: bool,
}

impl Segment {
    /// Bytes that still fit.
    pub(super) fn room_bytes(&self) -> u64 {
        if self.is_sealed {
            return 0;
        }
        self.len_bytes.saturating_sub(self.end_offset)
    }
}

/// Walks over the records of a segment from an offset, believing only what carries the right
/// generation, life, sequence and checksum.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a dyn SpoolFile,
    limit: u64,
    /// Stamp the next record must carry.
    pub(super) stamp: Stamp,
    /// Sequence the next record must carry.
    pub(super) sequence: u64,
    /// Where the next record must begin.
    pub(super) offset: u64,
    window: Bytes,
    window_offset: u64,
}

impl<'a> Walk<'a> {
    /// Starts at `offset`, where a record `sequence` of `stamp` is expected; `limit` is the offset
    /// at which the walk ends at the latest.
    pub(super) fn new(
        file: &'a dyn SpoolFile,
        limit: u64,
        stamp: Stamp,
        sequence: u64,
        offset: u64,
    ) -> Walk<'a> {
        Walk {
            file,
            limit,
            stamp,
            sequence,
            offset,
            window: Bytes::new(),
            window_offset: 0,
        }
    }

    /// The next event and its sequence; `None` where the believable records end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Bytes)>> {
        loop {
            let Some((header, payload)) = self.peek()? else {
                return Ok(None);
            };
            match header.kind {
                Kind::Event => {
                    let sequence = self.sequence;
                    self.offset += header.record_bytes();
                    self.sequence += 1;
                    return Ok(Some((sequence, payload)));
                }
                Kind::Resume => {
                    self.offset += header.record_bytes();
                    self.stamp = header.stamp;
                }
            }
        }
    }

    fn peek(&mut self) -> io::Result<Option<(Header, Bytes)>> {
        let Some(head) = self.take(self.offset, HEADER_BYTES)? else {
            return Ok(None);
        };
        let head: [u8; HEADER_BYTES] = fixed(&head, 0);
        let Some(header) = Header::decode(&head) else {
            return Ok(None);
        };
        let expected_life = match header.kind {
            Kind::Event => self.stamp.life,
            Kind::Resume => self.stamp.life + 1,
        };
        if header.stamp.generation != self.stamp.generation
            || header.stamp.life != expected_life
            || header.sequence != self.sequence
        {
            return Ok(None);
        }
        let payload_offset = self.offset + HEADER_BYTES as u64;
        let Some(payload) = self.take(payload_offset, header.payload_bytes as usize)? else {
            return Ok(None);
        };
        Ok(header.covers(&head, &payload).then_some((header, payload)))
    }

    /// `len` bytes from `offset`, `None` when they reach beyond the limit.
    fn take(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        if offset + len as u64 > self.limit {
            return Ok(None);
        }
        let window_end = self.window_offset + self.window.len() as u64;
        if offset < self.window_offset || offset + len as u64 > window_end {
            let left = usize::try_from(self.limit - offset).unwrap_or(usize::MAX);
            let mut window = vec![0; left.min(WINDOW_BYTES).max(len)];
            self.file.read_at(offset, &mut window)?;
            self.window = window.into();
            self.window_offset = offset;
        }
        let start = usize::try_from(offset - self.window_offset)
            .expect("an offset within a window fits usize");
        Ok(Some(self.window.slice(start..start + len)))
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentHeader;
    use uuid::Uuid;

    #[test]
    fn a_header_comes_back_and_a_torn_one_does_not() {
        let header = SegmentHeader {
            spool_id: Uuid::from_u128(5),
            generation: 3,
            first: 17,
            released: 12,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut torn = bytes;
            torn[at] ^= 0x40;
            assert_eq!(SegmentHeader::decode(&torn), None, "byte {at}");
        }
    }
}
