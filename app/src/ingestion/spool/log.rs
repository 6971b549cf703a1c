//! The log: segments in order, appended in synced groups, recovered after any crash, reused once released.
//!
//! Everything here blocks and nothing here knows a process; [`super::serve`] runs it through the
//! runtime's blocking door. The order of writes is the proof:
//!
//! * a segment's header is synced before its first record is written, so a valid header with
//!   foreign records behind it cannot be met;
//! * a full segment is synced before the next header is written, so only the last segment can
//!   have a torn tail;
//! * a spool that is opened rewrites and syncs what it believed of that tail and stamps a new
//!   life behind it, so records of an unfinished group can never rise again later;
//! * each event tells where its group began, and a group is begun only when all before it is durable, so
//!   damage before it can be told from a torn tail, and what lies behind damage is read;
//! * the sequences of a life are provisional until the database has told its position, so a spool that
//!   remembers less than the database gives no number twice;
//! * a segment's header tells where the next one's records begin and which numbers are provisional, so a
//!   start reads the newest segment, and of the others those that the database does not have, once it
//!   has told its position;
//! * a failed write or sync poisons the log: it is opened anew, never synced again.

mod aside;
mod confirm;
mod recover;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::file::{DirectoryLock, SpoolDirectory};
use super::record::{HEADER_BYTES, Kind, Stamp, encode};
use super::segment::{DATA_OFFSET, Earlier, Segment, SegmentHeader};
use super::view::View;

/// Bounds of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    /// Bytes of one segment, header block included.
    pub(super) segment_bytes: u64,
    /// Segments that may exist.
    pub(super) segments_max: usize,
    /// Bytes of one payload.
    pub(super) payload_bytes_max: usize,
    /// Bytes one call of [`Log::append`] writes at most, headers included: what may be unsynced
    /// when a life ends.
    pub(super) group_bytes_max: u64,
}

/// Why the spool cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Another owner has the directory.
    Locked,
    /// A segment of the size asked for could not hold the largest record; the least size in bytes.
    Limits(u64),
    /// The disk has no room for the two segments a spool begins with; their size in bytes.
    NoRoom(u64),
    /// The disk refused.
    Io(io::Error),
    /// The files contradict each other in a way no crash explains.
    Corrupt(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked => write!(f, "another process owns it"),
            OpenError::Limits(bytes) => {
                write!(
                    f,
                    "a segment must have at least {bytes} bytes to hold the largest record"
                )
            }
            OpenError::NoRoom(bytes) => {
                write!(
                    f,
                    "the disk has no room for its first {bytes} bytes; free some"
                )
            }
            OpenError::Io(error) => write!(f, "{error}"),
            OpenError::Corrupt(what) => write!(f, "{what}"),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::Io(error)
    }
}

/// What an append did: payloads `0..count` are durable with sequences from `first`; the rest found
/// no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) first: u64,
    pub(super) count: usize,
}

#[derive(Debug)]
struct FreeSlot {
    slot: u32,
    file: Arc<dyn super::file::SpoolFile>,
    len_bytes: u64,
}

/// The spool's log; see the module.
#[derive(Debug)]
pub(super) struct Log {
    directory: Arc<dyn SpoolDirectory>,
    limits: LogLimits,
    spool_id: Uuid,
    /// In use, oldest first; the last one takes appends.
    segments: VecDeque<Segment>,
    free: VecDeque<FreeSlot>,
    next_slot: u32,
    generation: u64,
    next_sequence: u64,
    released: u64,
    /// The first sequence that was given since the database last told its position; `None` when it has told this life.
    provisional_from: Option<u64>,
    /// Marks the next segment begins with, since the last one had no room for them.
    marks_due: Vec<Kind>,
    buffer: Vec<u8>,
    /// Whether it was said that nothing fits, so that it is said once.
    is_refusing: bool,
    _lock: LockHolder,
}

struct LockHolder(
    #[expect(dead_code, reason = "held, never read: dropping it unlocks")] DirectoryLock,
);

impl fmt::Debug for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockHolder")
    }
}

impl Log {
    /// Opens the directory and recovers what it holds. A directory without a segment becomes the
    /// spool `fresh_id`: identity and position live and die together, so that a spool whose files
    /// were lost can never be taken for one that is further on.
    pub(super) fn open(
        directory: Arc<dyn SpoolDirectory>,
        limits: LogLimits,
        fresh_id: Uuid,
    ) -> Result<Log, OpenError> {
        let smallest = DATA_OFFSET + (3 * HEADER_BYTES + limits.payload_bytes_max) as u64;
        if limits.segment_bytes < smallest {
            return Err(OpenError::Limits(smallest));
        }
        let lock = directory.lock()?.ok_or(OpenError::Locked)?;
        let mut log = Log {
            directory,
            limits,
            spool_id: fresh_id,
            segments: VecDeque::new(),
            free: VecDeque::new(),
            next_slot: 0,
            generation: 0,
            next_sequence: 0,
            released: 0,
            provisional_from: None,
            marks_due: Vec::new(),
            buffer: Vec::new(),
            is_refusing: false,
            _lock: LockHolder(lock),
        };
        let found = log.find_segments()?;
        let provisional_before = log.recover(found)?;
        log.begin_life(provisional_before)?;
        // The last segment is never reused, so with one alone nothing that is released would make
        // room. A spool that holds something is opened on a full disk all the same, to be emptied.
        let has_spare = log.segments.len() > 1 || log.make_spare()?;
        if log.segments.is_empty() && !(has_spare && log.roll()? && log.make_spare()?) {
            return Err(OpenError::NoRoom(2 * limits.segment_bytes));
        }
        Ok(log)
    }

    /// The spool's own name, kept in its segments.
    pub(super) fn spool_id(&self) -> Uuid {
        self.spool_id
    }

    /// Sequence the next payload will get; everything before it is durable.
    #[cfg(test)]
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// What a reader needs; cheap to hand on.
    pub(super) fn view(&self) -> View {
        View::new(self.segments.iter().cloned().collect(), self.next_sequence)
    }

    /// Bytes in segments that hold something not yet released.
    pub(super) fn used_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.end_offset).sum()
    }

    /// Appends payloads as one durable group. An error poisons the log: nothing of the group may
    /// be acknowledged, and the log must be opened anew.
    pub(super) fn append(&mut self, payloads: &[Bytes]) -> io::Result<Appended> {
        let first = self.next_sequence;
        let mut count = 0;
        let mut index = 0;
        self.buffer.clear();
        for payload in payloads {
            debug_assert!(payload.len() <= self.limits.payload_bytes_max);
            let needed = (HEADER_BYTES + payload.len()) as u64;
            let buffered = self.buffer.len() as u64;
            let fits = self
                .segments
                .back()
                .is_some_and(|active| buffered + needed <= active.room_bytes());
            if !fits {
                self.flush(first + count as u64)?;
                index = 0;
                if !self.roll()? {
                    break;
                }
            }
            let stamp = self.active().stamp;
            encode(
                &mut self.buffer,
                stamp,
                first + count as u64,
                Kind::event(index),
                payload,
            );
            count += 1;
            index += 1;
        }
        self.flush(first + count as u64)?;
        Ok(Appended { first, count })
    }

    /// Everything below `released` is done: segments that hold nothing else become free. The last
    /// one stays, since its header is what remembers the position.
    pub(super) fn release(&mut self, released: u64) {
        self.released = self.released.max(released);
        while self.segments.len() > 1 && self.segments[0].end <= self.released {
            let segment = self.segments.pop_front().expect("there is more than one");
            self.free.push_back(FreeSlot {
                slot: segment.slot,
                file: segment.file,
                len_bytes: segment.len_bytes,
            });
        }
        self.drop_surplus();
    }

    /// Deletes the free files that are beyond the bounds, as after these were lowered: those too large, and those too many.
    fn drop_surplus(&mut self) {
        let segment_bytes = self.limits.segment_bytes;
        let room = self.limits.segments_max.saturating_sub(self.segments.len());
        let mut kept = VecDeque::new();
        for free in std::mem::take(&mut self.free) {
            if free.len_bytes <= segment_bytes && kept.len() < room {
                kept.push_back(free);
                continue;
            }
            let name = segment_name(free.slot);
            // It is tried again at the next opening.
            if let Err(error) = self.directory.remove(&name) {
                tracing::warn!(
                    spool.directory = %self.directory.place(),
                    spool.file = name,
                    spool.error = %error,
                    "a file beyond the spool's bound cannot be deleted"
                );
            }
        }
        self.free = kept;
    }

    fn active(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("an open log has a segment, and the last one is never freed")
    }

    /// Writes and syncs the buffer; afterwards everything below `end` is durable.
    fn flush(&mut self, end: u64) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let active = self.active();
        active.file.write_at(active.end_offset, &buffer)?;
        active.file.sync()?;
        active.end_offset += buffer.len() as u64;
        active.end = end;
        self.next_sequence = end;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    /// Begins the next segment, with the marks that are due in the buffer; `false` when the bound or the disk has no room for one.
    fn roll(&mut self) -> io::Result<bool> {
        let released = self.released;
        self.release(released);
        let Some(slot) = self.take_slot()? else {
            return Ok(false);
        };
        self.generation += 1;
        let header = SegmentHeader {
            spool_id: self.spool_id,
            generation: self.generation,
            first: self.next_sequence,
            released,
            earlier: Earlier::Provisional(self.provisional_from),
        };
        slot.file.write_at(0, &header.encode())?;
        slot.file.sync()?;
        self.segments.push_back(Segment {
            slot: slot.slot,
            file: slot.file,
            len_bytes: slot.len_bytes,
            stamp: Stamp {
                generation: self.generation,
                life: 0,
            },
            first: self.next_sequence,
            end: self.next_sequence,
            end_offset: DATA_OFFSET,
            is_sealed: false,
            is_examined: true,
        });
        for mark in std::mem::take(&mut self.marks_due) {
            self.push_mark(mark);
        }
        Ok(true)
    }

    /// Puts a mark into the buffer.
    fn push_mark(&mut self, mark: Kind) {
        let sequence = self.next_sequence;
        let active = self.active();
        if let Kind::Resume { .. } = mark {
            active.stamp.life += 1;
        }
        let stamp = active.stamp;
        encode(&mut self.buffer, stamp, sequence, mark, &[]);
    }

    /// A segment's file to write to; `None`, said once, when the bound or the disk has no room.
    fn take_slot(&mut self) -> io::Result<Option<FreeSlot>> {
        let why = if self.make_spare()? {
            if std::mem::take(&mut self.is_refusing) {
                tracing::info!("the spool takes events again");
            }
            return Ok(self.free.pop_front());
        } else if self.segments.len() >= self.limits.segments_max {
            "it is at its bound; the database must take some of what it holds"
        } else {
            "the disk has no room for another segment; free some, or let the database take what it holds"
        };
        if !std::mem::replace(&mut self.is_refusing, true) {
            tracing::error!(
                spool.directory = %self.directory.place(),
                spool.used_bytes = self.used_bytes(),
                spool.reason = why,
                "the spool is full; events are refused"
            );
        }
        Ok(None)
    }

    /// Sees to it that the first free slot has its full size; `false` when there is no room for it.
    fn make_spare(&mut self) -> io::Result<bool> {
        if self.segments.len() >= self.limits.segments_max {
            return Ok(false);
        }
        let bytes = self.limits.segment_bytes;
        if let Some(whole) = self.free.iter().position(|slot| slot.len_bytes >= bytes) {
            self.free.swap(0, whole);
            return Ok(true);
        }
        // One that was left short by a full disk is brought to size before another is made.
        let short = self.free.front().map(|slot| slot.slot);
        let slot = short.unwrap_or(self.next_slot);
        let file = match self.directory.create(&segment_name(slot), bytes) {
            Err(error) if is_out_of_space(&error) => return Ok(false),
            made => made?,
        };
        self.next_slot = self.next_slot.max(slot + 1);
        if short.is_some() {
            self.free.pop_front();
        }
        self.free.push_front(FreeSlot {
            slot,
            len_bytes: file.len_bytes()?,
            file,
        });
        Ok(true)
    }
}

fn segment_name(slot: u32) -> String {
    format!("segment-{slot:04}.log")
}

fn is_out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
