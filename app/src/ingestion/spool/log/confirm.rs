//! Numbers: those of a life are provisional until the database has told its position.
//!
//! A spool may remember less than the database: its newest segment was damaged, the disk lost what it said was synced, or its directory
//! was set back to an older copy. What it takes meanwhile, while the database may be away for an hour, gets numbers the database has
//! seen before. So each life marks where it begins; when the database tells its position, records whose numbers turn out to be
//! taken are appended again under new ones, and only then the position is acted on. The mark that says so is durable before anything of
//! this life can be stored.

use std::io;

use bytes::Bytes;

use super::Log;
use crate::ingestion::spool::record::{HEADER_BYTES, Kind};
use crate::ingestion::spool::segment::DATA_OFFSET;
use crate::ingestion::spool::view::ReadLimits;

impl Log {
    /// Takes the position that the database tells: everything below `released` is done. The first time in a life it is also held
    /// against the numbers this life has given. `false` when records must be appended again and there is no room for them: then
    /// nothing was taken note of, and it is to be told again. An error poisons the log.
    pub(in crate::ingestion::spool) fn confirm(&mut self, released: u64) -> io::Result<bool> {
        let Some(from) = self.provisional_from else {
            self.skip_to(released);
            return Ok(true);
        };
        if from < released {
            let end = self.next_sequence;
            if !self.number_again(from, end.min(released), released)? {
                return Ok(false);
            }
            tracing::error!(
                spool.directory = %self.directory.place(),
                spool.end = from,
                spool.released = released,
                spool.numbered_again = end.min(released) - from,
                "the spool remembered less than the database: its newest file was damaged, or its directory was set back to an older copy; \
                 what it took since was given new numbers, and nothing of it is lost"
            );
        }
        self.skip_to(released);
        // The header of a segment that is begun for the mark says so, too.
        self.provisional_from = None;
        self.mark_confirmed()?;
        Ok(true)
    }

    /// Where the database is further on than this log, the log goes on from there.
    fn skip_to(&mut self, released: u64) {
        if released > self.next_sequence {
            self.next_sequence = released;
            self.active().is_sealed = true;
        }
        self.release(released);
    }

    /// Appends the records from `from` to `to`, whose numbers are taken, again behind all others and behind `released`; `false` when there
    /// is no room. The numbers of records that are damaged are skipped, so that they are counted as lost.
    fn number_again(&mut self, from: u64, to: u64, released: u64) -> io::Result<bool> {
        if from == to {
            return Ok(true);
        }
        // Below `from` all is done; what is above must stay until it is there a second time.
        self.release(from);
        while self.examine_next() {}
        if !self.has_room_for(from, to) {
            tracing::error!(
                spool.directory = %self.directory.place(),
                spool.end = from,
                spool.released = released,
                "the spool remembers less than the database, and has no room to give what it took since new numbers; \
                 raise MESHER_SPOOL_MIB and start again: until then nothing is stored, and nothing is lost"
            );
            return Ok(false);
        }
        let view = self.view();
        if released > self.next_sequence {
            self.next_sequence = released;
            self.active().is_sealed = true;
        }
        // Half of a group for payloads and half for their headers, so that a part is never more than a group.
        let group_bytes_max = usize::try_from(self.limits.group_bytes_max).unwrap_or(usize::MAX);
        let half = group_bytes_max.saturating_sub(self.limits.payload_bytes_max) / 2;
        let limits = ReadLimits {
            records_max: (half / HEADER_BYTES).max(1),
            bytes_max: half,
        };
        // What was free before this life began is not missed.
        let first = self.segments.front().map_or(from, |oldest| oldest.first);
        let (mut at, mut cursor) = (from.max(first), None);
        while at < to {
            let out = view.read(at, limits, cursor)?;
            let taken = out.records.into_iter().filter(|(number, _)| *number < to);
            let payloads: Vec<Bytes> = taken.map(|(_, bytes)| bytes).collect();
            let lost = out.next.min(to) - at - payloads.len() as u64;
            if lost > 0 {
                self.next_sequence += lost;
                self.active().is_sealed = true;
            }
            if self.append(&payloads)?.count < payloads.len() {
                return Err(io::Error::other(
                    "the disk has no room to give records new numbers; free some",
                ));
            }
            (at, cursor) = (out.next, out.cursor);
        }
        Ok(true)
    }

    /// Whether what the segments hold from `from` to `to` fits into others.
    fn has_room_for(&self, from: u64, to: u64) -> bool {
        let held = self
            .segments
            .iter()
            .filter(|segment| segment.end > from && segment.first < to);
        let bytes: u64 = held.map(|segment| segment.end_offset - DATA_OFFSET).sum();
        let record_bytes_max = (HEADER_BYTES + self.limits.payload_bytes_max) as u64;
        let marks_bytes = 2 * HEADER_BYTES as u64;
        // Each segment may end with a rest that was too short for the next record.
        let fit = self.limits.segment_bytes + 1 - DATA_OFFSET - marks_bytes - record_bytes_max;
        let room = self.limits.segments_max.saturating_sub(self.segments.len());
        bytes.div_ceil(fit) <= room as u64
    }

    /// Says, durably, that the numbers of this life are its own.
    fn mark_confirmed(&mut self) -> io::Result<()> {
        let end = self.next_sequence;
        let active = self.active();
        let fits = active.end == end && active.room_bytes() >= HEADER_BYTES as u64;
        if fits && self.marks_due.is_empty() {
            self.push_mark(Kind::Confirmed);
        } else {
            self.marks_due.push(Kind::Confirmed);
            // Without room the mark waits for the next segment; were this life to end before, the next one would append what it
            // finds a second time, and the database would drop it as known.
            if !self.roll()? {
                return Ok(());
            }
        }
        self.flush(end)
    }
}
