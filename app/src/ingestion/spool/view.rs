//! The reader's side: a view of the durable records, read in order in bounded pieces.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::record::Stamp;
use super::segment::{DATA_OFFSET, Segment};
use super::walk::Walk;

/// How much one read may return.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// Records.
    pub(super) records_max: usize,
    /// Bytes of payload; one record is always returned, however large.
    pub(super) bytes_max: usize,
}

/// Where a reader stands, so that the next read need not walk a segment from its front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    stamp: Stamp,
    sequence: u64,
    offset: u64,
}

/// What a read found.
#[derive(Debug)]
pub(super) struct ReadOut {
    /// Records in order. Their sequences are consecutive unless `lost` is not zero.
    pub(super) records: Vec<(u64, Bytes)>,
    /// Sequence to read from next.
    pub(super) next: u64,
    /// Sequences passed over because the disk no longer holds them.
    pub(super) lost: u64,
    /// The first bytes of damaged ones among these, with their sequences.
    pub(super) remains: Vec<(u64, Bytes)>,
    pub(super) cursor: Option<Cursor>,
}

impl ReadOut {
    /// What seemed to be left of records from here on was not: the walk stands here. A mark whose kind is damaged may look like a
    /// damaged record.
    fn forget_remains_from(&mut self, sequence: u64) {
        let below = self.remains.partition_point(|(of, _)| *of < sequence);
        self.remains.truncate(below);
    }
}

/// The durable records at one moment.
#[derive(Clone, Debug)]
pub(super) struct View {
    segments: Arc<[Segment]>,
    end: u64,
}

impl View {
    pub(super) fn new(segments: Arc<[Segment]>, end: u64) -> View {
        View { segments, end }
    }

    /// Sequence after the last durable record.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Reads records from sequence `from` on. Blocks on the disk.
    pub(super) fn read(
        &self,
        from: u64,
        limits: ReadLimits,
        cursor: Option<Cursor>,
    ) -> io::Result<ReadOut> {
        let mut out = ReadOut {
            records: Vec::new(),
            next: from,
            lost: 0,
            remains: Vec::new(),
            cursor: None,
        };
        let mut bytes = 0;
        for segment in self.segments.iter().filter(|s| s.end > from) {
            if out.next < segment.first {
                out.lost += segment.first - out.next;
                out.next = segment.first;
            }
            let at = cursor
                .filter(|c| {
                    c.stamp.generation == segment.stamp.generation && c.sequence <= out.next
                })
                .unwrap_or(Cursor {
                    stamp: Stamp {
                        generation: segment.stamp.generation,
                        life: 0,
                    },
                    sequence: segment.first,
                    offset: DATA_OFFSET,
                });
            let mut walk = Walk::new(
                &*segment.file,
                segment.end_offset,
                at.stamp,
                at.sequence,
                at.offset,
            );
            while out.next < segment.end {
                let before = Cursor {
                    stamp: walk.stamp,
                    sequence: walk.sequence,
                    offset: walk.offset,
                };
                let Some((sequence, payload)) = walk.next()? else {
                    out.forget_remains_from(walk.sequence);
                    let missing = out.next..segment.end;
                    let remains = walk.remains()?.into_iter();
                    out.remains
                        .extend(remains.filter(|(sequence, _)| missing.contains(sequence)));
                    if walk.sequence < segment.end && walk.skip_damage()? {
                        continue;
                    }
                    out.lost += segment.end - out.next;
                    out.next = segment.end;
                    break;
                };
                if sequence < out.next {
                    continue;
                }
                out.forget_remains_from(sequence);
                let is_full = out.records.len() >= limits.records_max
                    || bytes + payload.len() > limits.bytes_max;
                if is_full && !out.records.is_empty() {
                    // What is missing before this record is told with it.
                    out.remains.retain(|(sequence, _)| *sequence < out.next);
                    out.cursor = Some(before);
                    return Ok(out);
                }
                bytes += payload.len();
                out.lost += sequence - out.next;
                out.next = sequence + 1;
                out.records.push((sequence, payload));
            }
            out.cursor = Some(Cursor {
                stamp: walk.stamp,
                sequence: walk.sequence,
                offset: walk.offset,
            });
        }
        if out.next < self.end && out.records.is_empty() {
            // No segment holds the rest of the sequences: they were skipped.
            out.lost += self.end - out.next;
            out.next = self.end;
        }
        Ok(out)
    }
}
