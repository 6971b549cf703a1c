//! Opening a log that is there already: which segments hold what, where the last one ends, a new life behind it; and, once the database
//! has told its position, what the others hold.

use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use parking_lot::Mutex;
use uuid::Uuid;

use super::{FreeSlot, Log, OpenError, segment_name};
use crate::ingestion::spool::file::SpoolFile;
use crate::ingestion::spool::record::{HEADER_BYTES, Header, Kind, Stamp, encode};
use crate::ingestion::spool::segment::{DATA_OFFSET, Earlier, Segment, SegmentHeader};
use crate::ingestion::spool::walk::{Behind, Provisional, Walk};

/// What to do about damage, for the log.
const ADVICE: &str = "the disk should be looked after";

impl Log {
    /// Opens every segment file: those in use, by generation, and the free ones.
    pub(super) fn find_segments(&mut self) -> Result<Vec<Found>, OpenError> {
        let mut found = Vec::new();
        let mut headless = Vec::new();
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
            let slot = FreeSlot {
                slot,
                file,
                len_bytes,
            };
            // A file that a crash or a full disk left short never had a header.
            if len_bytes < DATA_OFFSET {
                self.free.push_back(slot);
            } else if let Some(header) = SegmentHeader::read(&*slot.file)? {
                found.push(Found {
                    header,
                    slot,
                    is_damaged: false,
                });
            } else if let Some(first) = first_record(&*slot.file, len_bytes)? {
                headless.push((first, slot));
            } else {
                self.free.push_back(slot);
            }
        }
        let spool_id = found.first().map(|found| found.header.spool_id);
        for (first, slot) in headless {
            let Some(spool_id) = spool_id else {
                self.tell_lost_identity(&first, &slot);
                self.free.push_back(slot);
                continue;
            };
            let header = SegmentHeader {
                spool_id,
                generation: first.stamp.generation,
                first: first.sequence,
                released: 0,
                earlier: Earlier::Untold,
            };
            found.push(Found {
                header,
                slot,
                is_damaged: true,
            });
        }
        found.sort_by_key(|found| found.header.generation);
        let twins = found
            .windows(2)
            .find(|pair| pair[0].header.generation == pair[1].header.generation);
        if let Some(pair) = twins {
            return Err(OpenError::Corrupt(format!(
                "segments {} and {} both claim generation {}; one of them is a copy",
                pair[0].slot.slot, pair[1].slot.slot, pair[0].header.generation
            )));
        }
        Ok(found)
    }

    /// Takes what is in use, and finds the end of the last segment. Those before it are read if it takes that to know which numbers are
    /// provisional; else [`Log::examine_next`] does it. Returns the first sequence that was provisional when the last segment was begun.
    pub(super) fn recover(&mut self, found: Vec<Found>) -> Result<Option<u64>, OpenError> {
        if let Some(last) = found.last() {
            self.spool_id = last.header.spool_id;
            if found
                .iter()
                .any(|found| found.header.spool_id != self.spool_id)
            {
                return Err(OpenError::Corrupt(format!(
                    "segment {} and others belong to different spools",
                    last.slot.slot
                )));
            }
        }
        let released = found.iter().map(|found| found.header.released);
        self.released = released.max().unwrap_or(0);
        let firsts: Vec<u64> = found.iter().map(|found| found.header.first).collect();
        let mut in_use = Vec::new();
        for (index, found) in found.into_iter().enumerate() {
            self.generation = found.header.generation;
            let next_first = firsts.get(index + 1).copied();
            if next_first.is_some_and(|next| next <= self.released) {
                self.free.push_back(found.slot);
            } else {
                in_use.push((found, next_first));
            }
        }
        let earlier = in_use.last().map(|(last, _)| last.header.earlier);
        let are_whole = in_use.iter().all(|(found, _)| !found.is_damaged);
        if are_whole && let Some(Earlier::Provisional(_)) = earlier {
            let last = in_use.split_off(in_use.len() - 1);
            let others = in_use.into_iter().filter_map(|(found, next_first)| {
                let end = next_first?;
                Some(found.unexamined(end))
            });
            self.segments.extend(others);
            in_use = last;
        }
        let mut provisional_before = None;
        let last = in_use.len().saturating_sub(1);
        for (place, recovered) in walk_all(in_use, self.reach_bytes())?
            .into_iter()
            .enumerate()
        {
            self.tell_damage(&recovered);
            if place == last
                && let Some(Earlier::Provisional(from)) = earlier
            {
                self.provisional_from = from;
            }
            provisional_before = self.provisional_from;
            self.provisional_from = recovered.provisional.behind(self.provisional_from);
            self.next_sequence = recovered.segment.end;
            self.segments.push_back(recovered.segment);
        }
        self.next_sequence = self.next_sequence.max(self.released);
        let released = self.released;
        self.release(released);
        Ok(provisional_before)
    }

    /// Reads over the oldest segment that no one has read since the log was opened, for damage; `false` when there is none. It is for
    /// when the database has told its position: then they hold what is to be stored.
    pub(in crate::ingestion::spool) fn examine_next(&mut self) -> bool {
        let Some(place) = self.segments.iter().position(|found| !found.is_examined) else {
            return false;
        };
        let segment = &self.segments[place];
        let slot = segment.slot;
        let found = Found::again(segment, self.spool_id);
        match Recovered::of(found, Some(segment.end), self.reach_bytes()) {
            Ok(recovered) => {
                self.tell_damage(&recovered);
                self.segments[place] = recovered.segment;
            }
            // Whoever reads its records meets the same, if they are still to be read by then.
            Err(error) => {
                tracing::error!(
                    spool.directory = %self.directory.place(),
                    spool.segment = slot,
                    spool.error = %error,
                    "a spool segment cannot be read; {ADVICE}"
                );
                self.segments[place].is_examined = true;
            }
        }
        true
    }

    /// How far behind a gap the rest of its group begins at most.
    fn reach_bytes(&self) -> u64 {
        self.limits.group_bytes_max + (HEADER_BYTES + self.limits.payload_bytes_max) as u64
    }

    fn tell_lost_identity(&self, first: &Header, slot: &FreeSlot) {
        let generation = first.stamp.generation;
        let copy = self.keep_aside(&*slot.file, generation, first.sequence, slot.len_bytes);
        tracing::error!(
            spool.directory = %self.directory.place(),
            spool.segment = slot.slot,
            spool.copy = copy,
            "the header of the spool's only segment is damaged, and with it the name under which the database knows the spool; \
             a new spool is begun, and what the database had not yet taken of this one is lost without being counted; {ADVICE}"
        );
    }

    /// Keeps a copy of what is damaged, and says what is lost.
    fn tell_damage(&self, recovered: &Recovered) {
        let segment = &recovered.segment;
        let keep = |missing_from, until| {
            let generation = segment.stamp.generation;
            self.keep_aside(&*segment.file, generation, missing_from, until)
        };
        if recovered.is_header_damaged {
            let copy = keep(segment.first, segment.end_offset);
            tracing::error!(
                spool.directory = %self.directory.place(),
                spool.segment = segment.slot,
                spool.copy = copy,
                "the header of a spool segment is damaged; its records are read all the same; {ADVICE}"
            );
        }
        // What the database has already is not missed.
        let missing: u64 = recovered
            .holes
            .iter()
            .map(|hole| hole.end.saturating_sub(hole.start.max(self.released)))
            .sum();
        if let Some(hole) = recovered.holes.first().filter(|_| missing > 0) {
            let copy = keep(hole.start, segment.end_offset);
            tracing::error!(
                spool.directory = %self.directory.place(),
                spool.segment = segment.slot,
                spool.lost_from = hole.start,
                spool.lost_max = missing,
                spool.copy = copy,
                "a spool segment is damaged; these records cannot be read, those around them can; as many of them as the database \
                 does not have yet are counted as lost; {ADVICE}"
            );
        }
        if let Some(until) = recovered.given_up_until {
            let copy = keep(segment.end, until);
            tracing::error!(
                spool.directory = %self.directory.place(),
                spool.segment = segment.slot,
                spool.end = segment.end,
                spool.copy = copy,
                "the newest group of the spool is not whole, and what is there of it is given up from the first gap on: \
                 a power cut left it unfinished, then nothing of it was acknowledged; or the disk damaged it, then {ADVICE}"
            );
        }
    }

    /// Makes what was believed of the last segment durable, and stamps a new life behind it.
    ///
    /// What was read may have come from memory whose sync failed in an earlier life; writing it
    /// again makes it dirty again, so that this sync is about it. Only the last group can be such, and the
    /// header, since a failure ends a life.
    pub(super) fn begin_life(&mut self, provisional_before: Option<u64>) -> Result<(), OpenError> {
        let next_sequence = self.next_sequence;
        let Some(active) = self.segments.back_mut() else {
            return Ok(());
        };
        self.provisional_from.get_or_insert(next_sequence);
        let header = SegmentHeader {
            spool_id: self.spool_id,
            generation: active.stamp.generation,
            first: active.first,
            released: self.released,
            earlier: Earlier::Provisional(provisional_before),
        };
        let mark = Kind::Resume {
            is_provisional: true,
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
            encode(&mut bytes, stamp, active.end, mark, &[]);
        }
        active.file.write_at(0, &header.encode())?;
        active.file.write_at(start, &bytes)?;
        active.file.sync()?;
        if fits {
            active.stamp = stamp;
            active.end_offset += HEADER_BYTES as u64;
        } else {
            active.is_sealed = true;
            self.marks_due.push(mark);
        }
        Ok(())
    }
}

/// A file that is, or was, in use.
#[derive(Debug)]
pub(super) struct Found {
    header: SegmentHeader,
    slot: FreeSlot,
    /// Whether the header had to be guessed from the first record.
    is_damaged: bool,
}

impl Found {
    /// A segment that is not the last one, with what its header and the next one's tell.
    fn unexamined(self, end: u64) -> Segment {
        Segment {
            slot: self.slot.slot,
            file: self.slot.file,
            len_bytes: self.slot.len_bytes,
            stamp: Stamp {
                generation: self.header.generation,
                life: 0,
            },
            first: self.header.first,
            end,
            end_offset: self.slot.len_bytes,
            is_sealed: true,
            is_examined: false,
        }
    }

    /// The file of a segment, to be read.
    fn again(segment: &Segment, spool_id: Uuid) -> Found {
        Found {
            header: SegmentHeader {
                spool_id,
                generation: segment.stamp.generation,
                first: segment.first,
                released: 0,
                earlier: Earlier::Untold,
            },
            slot: FreeSlot {
                slot: segment.slot,
                file: segment.file.clone(),
                len_bytes: segment.len_bytes,
            },
            is_damaged: false,
        }
    }
}

/// A segment, and what was found on the way to its end.
#[derive(Debug)]
struct Recovered {
    segment: Segment,
    is_header_damaged: bool,
    provisional: Provisional,
    /// Sequences that were durable once and cannot be read.
    holes: Vec<Range<u64>>,
    /// Where whole records end that were given up, for nothing proves that what is missing before them was ever durable.
    given_up_until: Option<u64>,
}

impl Recovered {
    /// Walks over a segment to its end, and over damage. `next_first` is the first sequence of the next one: what is before that was
    /// durable. In the last one it takes a proof.
    fn of(
        Found {
            header,
            slot,
            is_damaged,
        }: Found,
        next_first: Option<u64>,
        reach_bytes: u64,
    ) -> io::Result<Recovered> {
        let stamp = Stamp {
            generation: header.generation,
            life: 0,
        };
        let file = slot.file.clone();
        let mut walk = Walk::new(&*file, slot.len_bytes, stamp, header.first, DATA_OFFSET);
        let mut holes = Vec::new();
        let mut given_up_until = None;
        let mut end_before = None;
        loop {
            while next_first.is_none_or(|next| walk.sequence < next) && walk.next()?.is_some() {}
            walk.pass_marks()?;
            let missing_from = walk.sequence;
            match next_first {
                Some(next) if missing_from >= next => break,
                Some(next) => {
                    let is_found = walk.skip_damage()?;
                    holes.push(missing_from..if is_found { walk.sequence } else { next });
                    if !is_found {
                        // Of what is missing at the end something may be left.
                        end_before = Some((next, slot.len_bytes));
                        break;
                    }
                }
                None => match walk.behind(reach_bytes)? {
                    Behind::Damage(further) => {
                        walk = further;
                        holes.push(missing_from..walk.sequence);
                    }
                    Behind::Unproven(until) => {
                        given_up_until = Some(until);
                        break;
                    }
                    Behind::Nothing => break,
                },
            }
        }
        let (end, end_offset) = end_before.unwrap_or((walk.sequence, walk.offset));
        Ok(Recovered {
            segment: Segment {
                slot: slot.slot,
                file: slot.file,
                len_bytes: slot.len_bytes,
                stamp: walk.stamp,
                first: header.first,
                end,
                end_offset,
                is_sealed: false,
                is_examined: true,
            },
            is_header_damaged: is_damaged,
            provisional: walk.provisional,
            holes,
            given_up_until,
        })
    }
}

/// Walks over the segments, as many at a time as there are processors: each is told by itself where it begins, and a start has nothing
/// else to do. Mostly it is one.
fn walk_all(in_use: Vec<(Found, Option<u64>)>, reach_bytes: u64) -> io::Result<Vec<Recovered>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let others = threads.min(in_use.len()).saturating_sub(1);
    let waiting = Mutex::new(in_use.into_iter().enumerate());
    let work = || -> io::Result<Vec<(usize, Recovered)>> {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().next();
            let Some((nth, (found, next_first))) = next else {
                return Ok(done);
            };
            done.push((nth, Recovered::of(found, next_first, reach_bytes)?));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            let more = other.join().unwrap_or_else(|panic| resume_unwind(panic));
            all = all.and_then(|mut all| {
                all.extend(more?);
                Ok(all)
            });
        }
        all
    })?;
    all.sort_unstable_by_key(|(nth, _)| *nth);
    Ok(all.into_iter().map(|(_, recovered)| recovered).collect())
}

/// The record a segment begins with, if it is whole.
fn first_record(file: &dyn SpoolFile, len_bytes: u64) -> io::Result<Option<Header>> {
    if len_bytes < DATA_OFFSET + HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEADER_BYTES];
    file.read_at(DATA_OFFSET, &mut head)?;
    let Some(header) = Header::decode(&head) else {
        return Ok(None);
    };
    if DATA_OFFSET + header.record_bytes() > len_bytes {
        return Ok(None);
    }
    let mut payload = vec![0; header.payload_bytes as usize];
    file.read_at(DATA_OFFSET + HEADER_BYTES as u64, &mut payload)?;
    Ok(header.covers(&head, &payload).then_some(header))
}

fn segment_slot(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?
        .strip_suffix(".log")?
        .parse()
        .ok()
}
