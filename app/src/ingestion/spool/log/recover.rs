//! Opening a log that is there already: which segments hold what, where the last one ends, a new life behind it.

use std::io;

use super::{FreeSlot, Log, OpenError, segment_name};
use crate::ingestion::spool::record::{
    GENERATION_OFFSET, HEADER_BYTES, Header, Kind, Stamp, encode,
};
use crate::ingestion::spool::segment::{DATA_OFFSET, Segment, SegmentHeader, Walk};

impl Log {
    /// Opens every segment file: those with a header, by generation, and the free ones.
    pub(super) fn find_segments(&mut self) -> Result<Vec<(SegmentHeader, FreeSlot)>, OpenError> {
        let mut found = Vec::new();
        let mut slots: Vec<u32> = self
            .directory
            .names()?
            .iter()
            .filter_map(|name| segment_slot(name))
            .collect();
        slots.sort_unstable();
        for slot in slots {
            let file = self.directory.open(&segment_name(slot))?;
            let len_bytes = file.len_bytes()?;
            self.next_slot = self.next_slot.max(slot + 1);
            // A file that a crash or a full disk left short never had a header.
            let header = if len_bytes < DATA_OFFSET {
                None
            } else {
                SegmentHeader::read(&*file)?
            };
            let free = FreeSlot {
                slot,
                file,
                len_bytes,
            };
            match header {
                Some(header) => found.push((header, free)),
                None => self.free.push_back(free),
            }
        }
        found.sort_by_key(|(header, _)| header.generation);
        let twins = found
            .windows(2)
            .find(|pair| pair[0].0.generation == pair[1].0.generation);
        if let Some(pair) = twins {
            return Err(OpenError::Corrupt(format!(
                "segments {} and {} both claim generation {}; one of them is a copy",
                pair[0].1.slot, pair[1].1.slot, pair[0].0.generation
            )));
        }
        Ok(found)
    }

    /// Finds the end of every segment.
    pub(super) fn recover(
        &mut self,
        found: Vec<(SegmentHeader, FreeSlot)>,
    ) -> Result<(), OpenError> {
        if let Some((last, slot)) = found.last() {
            self.spool_id = last.spool_id;
            if found.iter().any(|(h, _)| h.spool_id != last.spool_id) {
                return Err(OpenError::Corrupt(format!(
                    "segment {} and others belong to different spools",
                    slot.slot
                )));
            }
        }
        self.released = found.iter().map(|(h, _)| h.released).max().unwrap_or(0);
        let firsts: Vec<u64> = found.iter().map(|(h, _)| h.first).collect();
        for (index, (header, slot)) in found.into_iter().enumerate() {
            self.generation = header.generation;
            let next_first = firsts.get(index + 1).copied();
            if next_first.is_some_and(|next| next <= self.released) {
                self.free.push_back(slot);
                continue;
            }
            let segment = recover_segment(header, slot, next_first)?;
            if let Some(next) = next_first.filter(|&next| segment.end < next) {
                tracing::error!(
                    spool.directory = %self.directory.place(),
                    spool.segment = segment.slot,
                    spool.lost_from = segment.end,
                    spool.lost_to = next,
                    "a spool segment is damaged in its middle; these records cannot be read"
                );
            }
            if next_first.is_none()
                && has_whole_records_behind(&segment, self.limits.group_bytes_max)?
            {
                tracing::error!(
                    spool.directory = %self.directory.place(),
                    spool.segment = segment.slot,
                    spool.end = segment.end,
                    "a record of the newest spool segment is damaged and whole ones lie behind it; all from there on are given up: \
                     either a group that a power cut left unfinished, of which nothing was acknowledged, or damage of the disk"
                );
            }
            self.next_sequence = segment.end;
            self.segments.push_back(segment);
        }
        self.next_sequence = self.next_sequence.max(self.released);
        let released = self.released;
        self.release(released);
        Ok(())
    }

    /// Makes what was believed of the last segment durable, and stamps a new life behind it.
    ///
    /// What was read may have come from memory whose sync failed in an earlier life; writing it
    /// again makes it dirty again, so that this sync is about it. Only the last group can be such,
    /// since a failure ends a life.
    pub(super) fn begin_life(&mut self) -> Result<(), OpenError> {
        let next_sequence = self.next_sequence;
        let Some(active) = self.segments.back_mut() else {
            return Ok(());
        };
        let start = active
            .end_offset
            .saturating_sub(self.limits.group_bytes_max)
            .max(DATA_OFFSET);
        let len = usize::try_from(active.end_offset - start)
            .map_err(|_| OpenError::Corrupt("a group exceeds the address space".to_owned()))?;
        let mut bytes = vec![0; len];
        active.file.read_at(start, &mut bytes)?;
        let stamp = Stamp {
            generation: active.stamp.generation,
            life: active.stamp.life + 1,
        };
        let fits = active.room_bytes() >= HEADER_BYTES as u64 && active.end == next_sequence;
        if fits {
            encode(&mut bytes, stamp, active.end, Kind::Resume, &[]);
        }
        active.file.write_at(start, &bytes)?;
        active.file.sync()?;
        if fits {
            active.stamp = stamp;
            active.end_offset += HEADER_BYTES as u64;
        } else {
            active.is_sealed = true;
        }
        Ok(())
    }
}

fn recover_segment(
    header: SegmentHeader,
    slot: FreeSlot,
    next_first: Option<u64>,
) -> io::Result<Segment> {
    let stamp = Stamp {
        generation: header.generation,
        life: 0,
    };
    let (stamp, end, end_offset) = {
        let mut walk = Walk::new(
            &*slot.file,
            slot.len_bytes,
            stamp,
            header.first,
            DATA_OFFSET,
        );
        while next_first.is_none_or(|next| walk.sequence < next) && walk.next()?.is_some() {}
        // A resume mark may be the last thing in the segment: `next` steps over it.
        (walk.stamp, walk.sequence, walk.offset)
    };
    Ok(Segment {
        slot: slot.slot,
        file: slot.file,
        len_bytes: slot.len_bytes,
        stamp,
        first: header.first,
        end,
        end_offset,
        is_sealed: false,
    })
}

/// Whether a whole record of this use of the segment lies behind its end, within the reach of one group: then the end is no mere torn tail.
fn has_whole_records_behind(segment: &Segment, reach_bytes: u64) -> io::Result<bool> {
    let reach = segment.room_bytes().min(reach_bytes);
    let len = usize::try_from(reach).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    segment.file.read_at(segment.end_offset, &mut bytes)?;
    let generation = segment.stamp.generation.to_le_bytes();
    let mut found = memchr::memmem::find_iter(&bytes, &generation);
    Ok(found.any(|place| {
        let head = place
            .checked_sub(GENERATION_OFFSET)
            .and_then(|at| bytes[at..].split_first_chunk::<HEADER_BYTES>());
        let Some((head, rest)) = head else {
            return false;
        };
        let Some(header) = Header::decode(head) else {
            return false;
        };
        header.stamp == segment.stamp
            && header.sequence > segment.end
            && rest
                .get(..header.payload_bytes as usize)
                .is_some_and(|payload| header.covers(head, payload))
    }))
}

fn segment_slot(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?
        .strip_suffix(".log")?
        .parse()
        .ok()
}
