//! The log against a model, on a disk that loses unsynced writes.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use uuid::Uuid;

use super::faulty::FaultyDisk;
use super::file::SpoolDirectory as _;
use super::log::{Log, LogLimits, OpenError};
use super::record::HEADER_BYTES;
use super::segment::DATA_OFFSET;
use super::view::ReadLimits;

pub(super) const LIMITS: LogLimits = LogLimits {
    segment_bytes: DATA_OFFSET + 600,
    segments_max: 4,
    payload_bytes_max: 256,
    // Five payloads of 200 bytes at most, see `step`.
    group_bytes_max: 5 * (200 + HEADER_BYTES as u64),
};
pub(super) const ID: Uuid = Uuid::from_u128(1);
pub(super) const ALL: ReadLimits = ReadLimits {
    records_max: usize::MAX,
    bytes_max: usize::MAX,
};

pub(super) fn open(disk: &FaultyDisk) -> Log {
    Log::open(Arc::new(disk.clone()), LIMITS, ID).unwrap()
}

/// Opens a disk that may break in the middle of it; then the power fails and it is opened again.
fn open_somehow(disk: &FaultyDisk) -> Log {
    match Log::open(Arc::new(disk.clone()), LIMITS, ID) {
        Ok(log) => log,
        Err(OpenError::Io(_)) => {
            disk.crash();
            open(disk)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Opens it, and tells it how far the database is; what breaks meanwhile is opened again.
fn open_and_confirm(disk: &FaultyDisk, released: u64) -> Log {
    let mut log = open_somehow(disk);
    if let Err(_broken) = log.confirm(released) {
        drop(log);
        disk.crash();
        log = open(disk);
        assert!(log.confirm(released).unwrap());
    }
    log
}

pub(super) fn payload(number: u64, len: usize) -> Bytes {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len.max(8), number as u8);
    bytes.into()
}

pub(super) fn read_all(log: &Log, from: u64) -> Vec<(u64, Bytes)> {
    let out = log.view().read(from, ALL, None).unwrap();
    assert_eq!(out.lost, 0, "records were lost");
    assert_eq!(out.next, log.next_sequence());
    out.records
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    ReadSome(usize, usize),
    Release,
    Reopen,
    Crash,
    BreakAfter(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(8_usize..200, 1..6).prop_map(Step::Append),
        3 => (1_usize..5, 1_usize..400).prop_map(|(records, bytes)| Step::ReadSome(records, bytes)),
        2 => proptest::strategy::Just(Step::Release),
        1 => proptest::strategy::Just(Step::Reopen),
        2 => proptest::strategy::Just(Step::Crash),
        2 => (1_u64..8).prop_map(Step::BreakAfter),
    ]
}

/// What must be true, kept beside the log.
#[derive(Default)]
struct Model {
    /// Payloads that were acknowledged and not yet released, by sequence.
    acknowledged: Vec<(u64, Bytes)>,
    released: u64,
    read: u64,
    cursor: Option<super::view::Cursor>,
}

impl Model {
    /// Called after every opening: all acknowledged are there, and behind them only whole payloads
    /// of the group that was cut.
    fn check(&mut self, log: &Log, in_flight: &[Bytes]) {
        let found = read_all(log, self.released);
        let known = self.acknowledged.len();
        assert!(found.len() >= known, "acknowledged records are missing");
        assert_eq!(found[..known], self.acknowledged[..]);
        let extra: Vec<&Bytes> = found[known..].iter().map(|(_, bytes)| bytes).collect();
        let allowed: Vec<&Bytes> = in_flight.iter().take(extra.len()).collect();
        assert_eq!(extra, allowed, "something rose that nobody just wrote");
        // What was read once stays: from here on the extra ones are as good as acknowledged.
        self.acknowledged = found;
        self.cursor = None;
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 600, ..Default::default() })]

    #[test]
    fn acknowledged_records_survive_and_nothing_else_rises(
        seed in proptest::num::u64::ANY,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let disk = FaultyDisk::with_seed(seed);
        let mut log = open(&disk);
        let mut model = Model::default();
        let mut counter = 0;
        for step in steps {
            match step {
                Step::Append(lens) => {
                    let group: Vec<Bytes> = lens.iter().map(|&len| {
                        counter += 1;
                        payload(counter, len)
                    }).collect();
                    match log.append(&group) {
                        Ok(done) => {
                            prop_assert_eq!(done.first, model.released + model.acknowledged.len() as u64);
                            for (index, bytes) in group.iter().take(done.count).enumerate() {
                                model.acknowledged.push((done.first + index as u64, bytes.clone()));
                            }
                        }
                        Err(_) => {
                            // Fatal: the process dies and starts again on the same page cache;
                            // after that the power fails too.
                            drop(log);
                            log = open(&disk);
                            model.check(&log, &group);
                            drop(log);
                            disk.crash();
                            log = open_and_confirm(&disk, model.released);
                            model.check(&log, &[]);
                        }
                    }
                }
                Step::ReadSome(records_max, bytes_max) => {
                    model.read = model.read.max(model.released);
                    let limits = ReadLimits { records_max, bytes_max };
                    let out = log.view().read(model.read, limits, model.cursor).unwrap();
                    prop_assert_eq!(out.lost, 0);
                    let start = (model.read - model.released) as usize;
                    let expected = &model.acknowledged[start..start + out.records.len()];
                    prop_assert_eq!(&out.records[..], expected);
                    prop_assert!(!out.records.is_empty() || start == model.acknowledged.len());
                    model.read = out.next;
                    model.cursor = out.cursor;
                }
                Step::Release => {
                    let done = (model.read.max(model.released) - model.released) as usize;
                    model.acknowledged.drain(..done);
                    model.released += done as u64;
                    log.release(model.released);
                }
                Step::Reopen => {
                    drop(log);
                    log = open_and_confirm(&disk, model.released);
                    model.check(&log, &[]);
                }
                Step::Crash => {
                    drop(log);
                    disk.crash();
                    log = open_and_confirm(&disk, model.released);
                    model.check(&log, &[]);
                }
                Step::BreakAfter(operations) => disk.fail_after(operations),
            }
        }
    }
}

/// Cut the last record at each of its bytes: what stands before it is read, the cut one is not.
#[test]
fn a_tail_torn_at_any_byte_ends_the_log_before_it() {
    let last = payload(3, 60);
    let start = (DATA_OFFSET as usize) + 2 * (HEADER_BYTES + 40);
    let end = start + HEADER_BYTES + last.len();
    for cut in start..end {
        let disk = FaultyDisk::default();
        let mut log = open(&disk);
        log.append(&[payload(1, 40), payload(2, 40), last.clone()])
            .unwrap();
        drop(log);
        disk.edit("segment-0000.log", |bytes| bytes[cut..].fill(0));
        // A record may end in bytes that were zero anyway.
        let mut log = open(&disk);
        let found = read_all(&log, 0);
        assert_eq!(found.len(), 2, "cut at byte {cut}");
        assert_eq!(log.append(&[payload(9, 60)]).unwrap().first, 2);
        drop(log);
        let found = read_all(&open(&disk), 0);
        assert_eq!(found[2], (2, payload(9, 60)), "cut at byte {cut}");
    }
}

/// The group's first record is torn, its second is whole on disk: after a new record of the same
/// length took the first one's place, the second must not follow it.
#[test]
fn a_record_of_an_unfinished_group_never_rises_behind_a_later_one() {
    let disk = FaultyDisk::default();
    let mut log = open(&disk);
    log.append(&[payload(1, 40), payload(2, 40), payload(3, 40)])
        .unwrap();
    drop(log);
    let second = DATA_OFFSET as usize + HEADER_BYTES + 40;
    disk.edit("segment-0000.log", |bytes| bytes[second] ^= 1);
    let mut log = open(&disk);
    assert_eq!(read_all(&log, 0).len(), 1);
    log.append(&[payload(7, 8)]).unwrap();
    drop(log);
    let found = read_all(&open(&disk), 0);
    assert_eq!(found, [(0, payload(1, 40)), (1, payload(7, 8))]);
}

#[test]
fn a_full_log_refuses_and_takes_again_after_a_release() {
    let disk = FaultyDisk::default();
    let mut log = open(&disk);
    let mut accepted = 0;
    loop {
        let done = log.append(&[payload(accepted, 150)]).unwrap();
        if done.count == 0 {
            break;
        }
        accepted += 1;
    }
    assert_eq!(accepted, 12, "three records in each of four segments");
    assert_eq!(read_all(&log, 0).len(), 12);
    log.release(3);
    let done = log.append(&vec![payload(99, 150); 5]).unwrap();
    assert_eq!((done.first, done.count), (12, 3), "one segment came back");
    assert_eq!(read_all(&log, 3).len(), 12);
}

/// What is held is kept; what is released is deleted, and not written to again.
#[test]
fn a_lowered_bound_holds_for_a_spool_that_is_there_already() {
    let smaller = LogLimits {
        segment_bytes: DATA_OFFSET + 400,
        segments_max: 2,
        ..LIMITS
    };
    let bytes = |disk: &FaultyDisk| -> u64 {
        let names = disk.names().unwrap();
        let files = names.iter().map(|name| disk.open(name).unwrap());
        files.map(|file| file.len_bytes().unwrap()).sum()
    };
    let open = |disk: &FaultyDisk| Log::open(Arc::new(disk.clone()), smaller, ID).unwrap();
    let disk = FaultyDisk::default();
    let mut log = self::open(&disk);
    assert_eq!(log.append(&vec![payload(1, 150); 12]).unwrap().count, 12);
    assert_eq!(bytes(&disk), 4 * LIMITS.segment_bytes);
    drop(log);
    let mut log = open(&disk);
    assert_eq!(read_all(&log, 0).len(), 12, "what is held is kept");
    assert_eq!(log.append(&[payload(2, 150)]).unwrap().count, 0);
    log.release(6);
    assert_eq!(bytes(&disk), 2 * LIMITS.segment_bytes);
    assert_eq!(log.append(&[payload(2, 150)]).unwrap().count, 0);
    drop(log);
    let mut log = open(&disk);
    assert_eq!(read_all(&log, 6).len(), 6);
    log.release(12);
    let done = log.append(&vec![payload(3, 150); 9]).unwrap();
    assert_eq!((done.first, done.count), (12, 4), "two small segments");
    assert_eq!(bytes(&disk), 2 * smaller.segment_bytes);
    log.release(14);
    assert_eq!(log.append(&vec![payload(4, 150); 9]).unwrap().count, 2);
    assert_eq!(bytes(&disk), 2 * smaller.segment_bytes, "reused");
    drop(log);
    assert_eq!(read_all(&open(&disk), 14).len(), 4);
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let disk = FaultyDisk::default();
    let mut log = open(&disk);
    log.append(&vec![payload(1, 150); 3]).unwrap();
    disk.fill_up(true);
    assert_eq!(log.append(&vec![payload(2, 150); 4]).unwrap().count, 3);
    disk.fill_up(false);
    assert_eq!(log.append(&[payload(2, 150)]).unwrap().count, 1);
    assert_eq!(read_all(&log, 0).len(), 7);
}

/// The segment that found no room lies about empty; what is in the others is read all the same.
#[test]
fn a_full_disk_does_not_keep_a_spool_from_opening() {
    let disk = FaultyDisk::default();
    let mut log = open(&disk);
    disk.fill_up(true);
    let mut accepted = 0;
    while log.append(&[payload(accepted, 150)]).unwrap().count == 1 {
        accepted += 1;
    }
    drop(log);
    let mut log = open(&disk);
    assert_eq!(read_all(&log, 0).len() as u64, accepted);
    disk.fill_up(false);
    assert_eq!(log.append(&vec![payload(9, 150); 2]).unwrap().count, 2);
    drop(log);
    assert_eq!(read_all(&open(&disk), 0).len() as u64, accepted + 2);
}

/// There are two segments from the start: with one alone, a full disk would end acceptance for
/// good, since the last segment is never reused.
#[test]
fn on_a_full_disk_what_is_released_makes_room() {
    let disk = FaultyDisk::default();
    let mut log = open(&disk);
    disk.fill_up(true);
    let mut accepted = 0;
    for round in 0..3 {
        while log.append(&[payload(accepted, 150)]).unwrap().count == 1 {
            accepted += 1;
        }
        assert!(accepted >= 3 * (round + 2), "nothing fits in round {round}");
        log.release(accepted);
    }
}

#[test]
fn a_spool_is_not_begun_on_a_full_disk() {
    let disk = FaultyDisk::default();
    disk.fill_up(true);
    let refused = Log::open(Arc::new(disk), LIMITS, ID);
    assert!(matches!(refused, Err(OpenError::NoRoom(_))));
}

#[test]
fn two_owners_are_refused() {
    let disk = FaultyDisk::default();
    let log = open(&disk);
    let second = Log::open(Arc::new(disk.clone()), LIMITS, ID);
    assert!(matches!(second, Err(OpenError::Locked)));
    drop(log);
    open(&disk);
}

#[test]
fn a_hole_in_the_middle_is_reported_and_passed_over() {
    let disk = FaultyDisk::default();
    let mut log = open(&disk);
    log.append(&vec![payload(1, 150); 5]).unwrap();
    drop(log);
    let second = DATA_OFFSET as usize + HEADER_BYTES + 150;
    disk.edit("segment-0000.log", |bytes| bytes[second + 40] ^= 1);
    let log = open(&disk);
    let out = log.view().read(0, ALL, None).unwrap();
    let sequences: Vec<u64> = out.records.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!((sequences, out.lost), (vec![0, 2, 3, 4], 1));
}
