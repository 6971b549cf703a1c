//! One segment: a preallocated file that holds a header and a run of records with consecutive sequences.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::file::SpoolFile;
use super::record::{Stamp, fixed};

/// Where the records begin: the header has a block of its own, so that no write of a record
/// touches it.
pub(super) const DATA_OFFSET: u64 = 4096;

const MAGIC: [u8; 8] = *b"MESHSPL2";
const HEADER_LEN: usize = 60;

/// Headers of the version before did not tell which sequences were provisional.
const OLD_MAGIC: [u8; 8] = *b"MESHSPL1";
const OLD_HEADER_LEN: usize = 52;

/// In the place of a sequence: there is none.
const NO_SEQUENCE: u64 = u64::MAX;

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
    pub(super) earlier: Earlier,
}

/// Which of the sequences before a segment are provisional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// Nobody told: the header is one of an older version, or damaged. The segments before it know.
    Untold,
    /// From this one on; none without one.
    Provisional(Option<u64>),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(self.spool_id.as_bytes());
        bytes[24..32].copy_from_slice(&self.generation.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.released.to_le_bytes());
        match self.earlier {
            Earlier::Untold => {
                bytes[..8].copy_from_slice(&OLD_MAGIC);
                seal(&mut bytes[..OLD_HEADER_LEN]);
            }
            Earlier::Provisional(from) => {
                bytes[48..56].copy_from_slice(&from.unwrap_or(NO_SEQUENCE).to_le_bytes());
                seal(&mut bytes);
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<SegmentHeader> {
        let earlier = if bytes[..8] == MAGIC && is_whole(bytes) {
            let from = u64::from_le_bytes(fixed(bytes, 48));
            Earlier::Provisional((from != NO_SEQUENCE).then_some(from))
        } else if bytes[..8] == OLD_MAGIC && is_whole(&bytes[..OLD_HEADER_LEN]) {
            Earlier::Untold
        } else {
            return None;
        };
        Some(SegmentHeader {
            spool_id: Uuid::from_bytes(fixed(bytes, 8)),
            generation: u64::from_le_bytes(fixed(bytes, 24)),
            first: u64::from_le_bytes(fixed(bytes, 32)),
            released: u64::from_le_bytes(fixed(bytes, 40)),
            earlier,
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

/// Puts the checksum of all other bytes into the last four.
fn seal(header: &mut [u8]) {
    let (bytes, checksum) = header.split_at_mut(header.len() - 4);
    checksum.copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
}

/// Whether [`seal`] was the last to write.
fn is_whole(header: &[u8]) -> bool {
    let (bytes, checksum) = header.split_at(header.len() - 4);
    crc32fast::hash(bytes).to_le_bytes() == checksum
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
    /// Whether its records were read since the log was opened. Until then it ends where the next one begins, and with its file.
    pub(super) is_examined: bool,
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

#[cfg(test)]
mod tests {
    use super::{Earlier, HEADER_LEN, OLD_HEADER_LEN, SegmentHeader};
    use uuid::Uuid;

    #[test]
    fn a_header_comes_back_and_a_torn_one_does_not() {
        for (earlier, len) in [
            (Earlier::Provisional(None), HEADER_LEN),
            (Earlier::Provisional(Some(9)), HEADER_LEN),
            (Earlier::Untold, OLD_HEADER_LEN),
        ] {
            let header = SegmentHeader {
                spool_id: Uuid::from_u128(5),
                generation: 3,
                first: 17,
                released: 12,
                earlier,
            };
            let bytes = header.encode();
            assert_eq!(SegmentHeader::decode(&bytes), Some(header));
            for at in 0..len {
                let mut torn = bytes;
                torn[at] ^= 0x40;
                assert_eq!(SegmentHeader::decode(&torn), None, "byte {at}");
            }
        }
    }

    #[test]
    fn a_header_of_the_version_before_is_read() {
        // Written by that version.
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(b"MESHSPL1");
        bytes[23] = 5;
        bytes[24] = 3;
        bytes[32] = 17;
        bytes[40] = 12;
        let checksum = crc32fast::hash(&bytes[..48]);
        bytes[48..52].copy_from_slice(&checksum.to_le_bytes());
        let header = SegmentHeader::decode(&bytes).unwrap();
        assert_eq!(header.spool_id, Uuid::from_u128(5));
        assert_eq!((header.generation, header.first), (3, 17));
        assert_eq!((header.released, header.earlier), (12, Earlier::Untold));
    }
}
