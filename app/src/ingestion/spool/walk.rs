//! The walk: record after record of one segment, and over damage to the next whole one.

use std::io;

use bytes::Bytes;

use super::file::SpoolFile;
use super::record::{GENERATION_OFFSET, HEADER_BYTES, Header, Kind, Stamp, fixed};

/// How much is read from the file at once.
const WINDOW_BYTES: usize = 256 * 1024;

/// How much of a damaged payload is told: who it belonged to stands in front.
const REMAINS_BYTES_MAX: usize = 64;

/// Walks over the records of a segment from an offset, believing only what carries the right
/// generation, life, sequence and checksum.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    file: &'a dyn SpoolFile,
    limit: u64,
    /// Stamp the next record must carry.
    pub(super) stamp: Stamp,
    /// Sequence the next record must carry.
    pub(super) sequence: u64,
    /// Where the next record must begin.
    pub(super) offset: u64,
    /// What it has seen of marks about numbers.
    pub(super) provisional: Provisional,
    window: Bytes,
    window_offset: u64,
}

/// Which numbers are provisional, by the marks a walk has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Provisional {
    /// The first sequence that no [`Kind::Confirmed`] follows yet.
    from: Option<u64>,
    /// Whether there was such a mark, so that all numbers before it are settled.
    is_settled: bool,
}

impl Provisional {
    const CONFIRMED: Provisional = Provisional {
        from: None,
        is_settled: true,
    };

    /// The first sequence that is provisional behind a walk, where `before` was the first one before it.
    pub(super) fn behind(self, before: Option<u64>) -> Option<u64> {
        before.filter(|_| !self.is_settled).or(self.from)
    }
}

/// What lies behind the place where a walk came to its end.
#[derive(Debug)]
pub(super) enum Behind<'a> {
    /// Nothing whole: the end of what was written, or a torn tail.
    Nothing,
    /// Whole records which do not prove that what is missing before them was ever durable: a group that a power cut left unfinished,
    /// or damage to the newest group. They end before this offset.
    Unproven(u64),
    /// Whole records, and what is missing before them was durable: the walk goes on there.
    Damage(Walk<'a>),
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
            provisional: Provisional::default(),
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
            self.step(&header);
            if let Kind::Event(_) = header.kind {
                return Ok(Some((header.sequence, payload)));
            }
        }
    }

    /// Steps over the marks that stand here.
    pub(super) fn pass_marks(&mut self) -> io::Result<()> {
        while let Some((header, _)) = self.peek()?
            && !matches!(header.kind, Kind::Event(_))
        {
            self.step(&header);
        }
        Ok(())
    }

    /// The first bytes of the damaged records that stand here, with their sequences, for as long as their headers fit what is expected.
    pub(super) fn remains(&self) -> io::Result<Vec<(u64, Bytes)>> {
        let mut probe = self.clone();
        let mut remains = Vec::new();
        while probe.peek()?.is_none()
            && let Some(head) = probe.take(probe.offset, HEADER_BYTES)?
            && let Some(header) = Header::decode(&fixed(&head, 0))
            && matches!(header.kind, Kind::Event(_))
            && (header.stamp, header.sequence) == (probe.stamp, probe.sequence)
        {
            let len = (header.payload_bytes as usize).min(REMAINS_BYTES_MAX);
            let payload = probe.offset + HEADER_BYTES as u64;
            if let Some(bytes) = probe.take(payload, len)? {
                // The window it lies in is not kept for it.
                remains.push((header.sequence, Bytes::copy_from_slice(&bytes)));
            }
            probe.step(&header);
        }
        Ok(remains)
    }

    /// Goes over damage to the next whole record before the limit; `false`, and nothing is changed, when there is none. For a walk
    /// over what is known to have been durable.
    pub(super) fn skip_damage(&mut self) -> io::Result<bool> {
        let Some((offset, header)) = self.find_whole(self.limit)? else {
            return Ok(false);
        };
        self.jump(offset, &header);
        Ok(true)
    }

    /// Looks what lies behind the end of this walk, and finds what begins within `reach_bytes`. All of one group lies within the
    /// reach of its largest size, so that it meets the next group if there is one.
    pub(super) fn behind(&self, reach_bytes: u64) -> io::Result<Behind<'a>> {
        let end = self.limit.min(self.offset + reach_bytes);
        let mut probe = self.clone();
        let mut first = None;
        while probe.offset < end
            && let Some((offset, header)) = probe.find_whole(end)?
        {
            probe.jump(offset, &header);
            let first = first.get_or_insert_with(|| probe.clone());
            while let Some((header, _)) = probe.peek()? {
                // An event of a later life was written after that life had found its place and synced it.
                let is_later = header.stamp.life > self.stamp.life;
                let proof = header.durable_below();
                if proof.is_some_and(|below| below > self.sequence || is_later)
                    // What is missing was no event but a mark.
                    || first.sequence == self.sequence
                {
                    return Ok(Behind::Damage(first.clone()));
                }
                probe.step(&header);
            }
        }
        Ok(match first {
            None => Behind::Nothing,
            Some(_) => Behind::Unproven(probe.offset),
        })
    }

    fn step(&mut self, header: &Header) {
        self.offset += header.record_bytes();
        match header.kind {
            Kind::Event(_) => self.sequence += 1,
            Kind::Resume { is_provisional } => {
                self.stamp = header.stamp;
                if is_provisional {
                    self.provisional.from.get_or_insert(self.sequence);
                }
            }
            Kind::Confirmed => self.provisional = Provisional::CONFIRMED,
        }
    }

    /// Stands before a whole record behind damage.
    fn jump(&mut self, offset: u64, header: &Header) {
        let life = match header.kind {
            Kind::Resume { .. } => header.stamp.life.saturating_sub(1),
            Kind::Event(_) | Kind::Confirmed => header.stamp.life,
        };
        if life > self.stamp.life {
            // The mark that began this life is gone.
            self.provisional.from.get_or_insert(self.sequence);
        }
        self.stamp.life = life;
        self.sequence = header.sequence;
        self.offset = offset;
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
            Kind::Event(_) | Kind::Confirmed => self.stamp.life,
            Kind::Resume { .. } => self.stamp.life + 1,
        };
        if header.stamp.generation != self.stamp.generation
            || header.stamp.life != expected_life
            || header.sequence != self.sequence
        {
            return Ok(None);
        }
        let payload = self.payload(self.offset, &head, &header)?;
        Ok(payload.map(|payload| (header, payload)))
    }

    /// The payload of a record whose checksum holds.
    fn payload(
        &mut self,
        offset: u64,
        head: &[u8; HEADER_BYTES],
        header: &Header,
    ) -> io::Result<Option<Bytes>> {
        let at = offset + HEADER_BYTES as u64;
        let payload = self.take(at, header.payload_bytes as usize)?;
        Ok(payload.filter(|payload| header.covers(head, payload)))
    }

    /// The first whole record that begins here or behind, and before `end`, and may follow what the walk has seen.
    fn find_whole(&mut self, end: u64) -> io::Result<Option<(u64, Header)>> {
        // Numbers may have been skipped.
        if let Some(header) = self.whole_at(self.offset)? {
            return Ok(Some((self.offset, header)));
        }
        // When only a payload is damaged its header leads to the next record; so nothing within a payload is taken for a record.
        if let Some(next) = self.next_by_length()?
            && let Some(header) = self.whole_at(next)?
        {
            return Ok(Some((next, header)));
        }
        let pattern = self.stamp.generation.to_le_bytes();
        let mut offset = self.offset + 1;
        while offset < end {
            let left = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
            let Some(window) = self.take(offset, left.min(WINDOW_BYTES))? else {
                return Ok(None);
            };
            for place in memchr::memmem::find_iter(&window, &pattern) {
                let Some(at) = place.checked_sub(GENERATION_OFFSET) else {
                    continue;
                };
                let at = offset + at as u64;
                if at >= end {
                    return Ok(None);
                }
                if let Some(header) = self.whole_at(at)? {
                    return Ok(Some((at, header)));
                }
            }
            // A header that begins in the last bytes of this window is found in the next one.
            let overlap = GENERATION_OFFSET + pattern.len() - 1;
            if window.len() <= overlap || offset + window.len() as u64 >= self.limit {
                return Ok(None);
            }
            offset += (window.len() - overlap) as u64;
        }
        Ok(None)
    }

    fn next_by_length(&mut self) -> io::Result<Option<u64>> {
        let head = self.take(self.offset, HEADER_BYTES)?;
        let header = head.and_then(|head| Header::decode(&fixed(&head, 0)));
        let header = header.filter(|header| {
            header.stamp.generation == self.stamp.generation && header.sequence == self.sequence
        });
        Ok(header.map(|header| self.offset + header.record_bytes()))
    }

    /// The header of a whole record that may follow what the walk has seen.
    fn whole_at(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let Some(head) = self.take(offset, HEADER_BYTES)? else {
            return Ok(None);
        };
        let head: [u8; HEADER_BYTES] = fixed(&head, 0);
        let header = Header::decode(&head).filter(|header| {
            let life = header.stamp.life;
            let may_follow = match header.kind {
                Kind::Resume { .. } => life > self.stamp.life,
                Kind::Event(_) | Kind::Confirmed => life >= self.stamp.life,
            };
            may_follow
                && header.stamp.generation == self.stamp.generation
                && header.sequence >= self.sequence
        });
        let Some(header) = header else {
            return Ok(None);
        };
        let payload = self.payload(offset, &head, &header)?;
        Ok(payload.map(|_| header))
    }

    /// `len` bytes from `offset`, `None` when they reach beyond the limit.
    fn take(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        if offset + len as u64 > self.limit {
            return Ok(None);
        }
        let window_end = self.window_offset + self.window.len() as u64;
        if offset < self.window_offset || offset + len as u64 > window_end {
            let left = usize::try_from(self.limit - offset).unwrap_or(usize::MAX);
            // Where nobody keeps a record of the last window its room is taken again: a start may walk over a gigabyte.
            let mut window = std::mem::take(&mut self.window)
                .try_into_mut()
                .unwrap_or_default();
            window.resize(left.min(WINDOW_BYTES).max(len), 0);
            self.file.read_at(offset, &mut window)?;
            self.window = window.freeze();
            self.window_offset = offset;
        }
        let start = usize::try_from(offset - self.window_offset)
            .expect("an offset within a window fits usize");
        Ok(Some(self.window.slice(start..start + len)))
    }
}
