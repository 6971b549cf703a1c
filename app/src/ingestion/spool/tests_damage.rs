//! The log on a disk that damages what it had kept, and beside a database that knows more than the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::faulty::FaultyDisk;
use super::file::SpoolDirectory as _;
use super::log::{Log, LogLimits};
use super::record::HEADER_BYTES;
use super::segment::DATA_OFFSET;
use super::tests::{ALL, ID, LIMITS, open, payload, read_all};
use super::view::ReadLimits;

/// A log of so many groups of one record of 40 bytes each; the last life is told that nothing is stored.
fn with_singles(disk: &FaultyDisk, count: u64) -> Log {
    let mut log = open(disk);
    assert!(log.confirm(0).unwrap());
    for number in 0..count {
        log.append(&[payload(number, 40)]).unwrap();
    }
    log
}

/// Where the record with that number begins in the first file, when all have 40 bytes.
fn place(number: usize) -> usize {
    DATA_OFFSET as usize + number * (HEADER_BYTES + 40)
}

fn copies(disk: &FaultyDisk) -> usize {
    let names = disk.names().unwrap();
    names
        .iter()
        .filter(|name| name.starts_with("damaged-"))
        .count()
}

fn numbers(log: &Log, from: u64) -> (Vec<u64>, u64) {
    let out = log.view().read(from, ALL, None).unwrap();
    let numbers = out.records.iter().map(|(number, _)| *number);
    (numbers.collect(), out.lost)
}

#[test]
fn damage_in_the_newest_segment_costs_only_what_it_hits() {
    for byte in 0..HEADER_BYTES + 40 {
        let disk = FaultyDisk::default();
        drop(with_singles(&disk, 4));
        disk.edit("segment-0000.log", |bytes| bytes[place(1) + byte] ^= 0x10);
        let mut log = open(&disk);
        assert_eq!(numbers(&log, 0), (vec![0, 2, 3], 1), "byte {byte}");
        assert_eq!(log.append(&[payload(4, 40)]).unwrap().first, 4);
        assert_eq!(copies(&disk), 1);
        drop(log);
        let log = open(&disk);
        assert_eq!(numbers(&log, 0), (vec![0, 2, 3, 4], 1), "byte {byte}");
        assert_eq!(copies(&disk), 1, "once is enough");
    }
}

#[test]
fn what_is_left_of_damaged_records_is_told_while_their_headers_hold() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 6));
    disk.edit("segment-0000.log", |bytes| {
        for number in [1, 2, 4] {
            bytes[place(number) + HEADER_BYTES + 39] ^= 0x10;
        }
        // The number itself.
        bytes[place(4) + 16] ^= 1;
    });
    let log = open(&disk);
    let damaged = |number: u64| {
        let mut bytes = payload(number, 40).to_vec();
        bytes[39] ^= 0x10;
        (number, Bytes::from(bytes))
    };
    let read = |from| log.view().read(from, ALL, None).unwrap();
    assert_eq!(
        (read(0).lost, read(0).remains),
        (3, vec![damaged(1), damaged(2)])
    );
    // None of them keeps what was read around it.
    assert!(read(0).remains.iter().all(|(_, bytes)| bytes.is_unique()));
    assert_eq!((read(2).lost, read(2).remains), (2, vec![damaged(2)]));
    let few = ReadLimits {
        records_max: 1,
        ..ALL
    };
    let first = log.view().read(0, few, None).unwrap();
    assert_eq!((first.next, first.lost, first.remains), (1, 0, vec![]));
    let next = log.view().read(1, few, first.cursor).unwrap();
    assert_eq!(
        (next.next, next.lost, next.remains),
        (4, 2, vec![damaged(1), damaged(2)])
    );
}

/// A mark carries the number of the event that follows it.
#[test]
fn a_damaged_mark_is_not_told_as_what_is_left_of_the_event_behind_it() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 2));
    let mut log = open(&disk);
    assert!(log.confirm(0).unwrap());
    for number in 2..4 {
        log.append(&[payload(number, 40)]).unwrap();
    }
    // The kind of the mark behind the mark of the new life; now it reads as an event's.
    let kind = place(2) + HEADER_BYTES + 28;
    disk.edit("segment-0000.log", |bytes| {
        assert_eq!(bytes[kind], 5);
        bytes[kind] = 3;
    });
    assert_eq!(numbers(&log, 0), (vec![0, 1, 2, 3], 0));
    let out = log.view().read(0, ALL, None).unwrap();
    assert_eq!(out.remains, vec![]);
}

/// All of the newest group that is not whole is given up from the gap on, for a power cut leaves the same behind.
#[test]
fn of_the_newest_group_nothing_behind_a_gap_is_believed_or_counted() {
    let disk = FaultyDisk::default();
    let mut log = with_singles(&disk, 2);
    log.append(&vec![payload(7, 40); 3]).unwrap();
    drop(log);
    disk.edit("segment-0000.log", |bytes| bytes[place(3)] ^= 1);
    let log = open(&disk);
    assert_eq!(numbers(&log, 0), (vec![0, 1, 2], 0));
    assert_eq!(copies(&disk), 1);
}

#[test]
fn a_damaged_header_does_not_hide_the_records() {
    for slot in 0..2 {
        let disk = FaultyDisk::default();
        drop(with_singles(&disk, 14));
        disk.edit(&format!("segment-000{slot}.log"), |bytes| bytes[20] ^= 1);
        let mut log = open(&disk);
        assert_eq!(read_all(&log, 0).len(), 14, "slot {slot}");
        assert_eq!(log.append(&[payload(14, 40)]).unwrap().first, 14);
    }
}

/// The disk forgets the end of the newest segment, and nothing there tells of it; the database had it all.
#[test]
fn what_is_taken_before_the_database_speaks_is_never_taken_for_what_it_has() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 5));
    disk.edit("segment-0000.log", |bytes| bytes[place(2)..].fill(0));
    let mut log = open(&disk);
    assert_eq!(log.append(&[payload(10, 40)]).unwrap().first, 2);
    // It is killed before the database is there, and goes on taking.
    drop(log);
    let mut log = open(&disk);
    assert_eq!(log.append(&[payload(11, 40)]).unwrap().first, 3);
    assert!(log.confirm(5).unwrap());
    log.append(&[payload(12, 40)]).unwrap();
    let expected = [
        (5, payload(10, 40)),
        (6, payload(11, 40)),
        (7, payload(12, 40)),
    ];
    assert_eq!(read_all(&log, 5), expected);
    drop(log);
    let mut log = open(&disk);
    assert!(log.confirm(6).unwrap(), "the database took one");
    assert_eq!(read_all(&log, 6), expected[1..], "and nothing came back");
}

/// Three segments full of a life without a database, of which the newest says nothing of where it began; the one behind it knows.
#[test]
fn numbers_stay_provisional_over_segments_and_lives() {
    for is_header_of_before in [false, true] {
        let disk = FaultyDisk::default();
        drop(with_singles(&disk, 1));
        disk.edit("segment-0000.log", |bytes| bytes[place(0)..].fill(0));
        let mut log = open(&disk);
        let taken: Vec<Bytes> = (0..17).map(|number| payload(number, 40)).collect();
        for payload in &taken {
            log.append(std::slice::from_ref(payload)).unwrap();
        }
        drop(log);
        if is_header_of_before {
            for slot in 0..3 {
                disk.edit(&format!("segment-000{slot}.log"), |bytes| {
                    header_of_before(bytes);
                });
            }
        }
        let mut log = roomy(&disk);
        assert!(log.confirm(1).unwrap());
        let found: BTreeSet<Bytes> = read_all(&log, 1).into_iter().map(|(_, p)| p).collect();
        assert_eq!(
            found,
            taken.iter().cloned().collect(),
            "{is_header_of_before}"
        );
        // That they are its own is known to the next life, too.
        drop(log);
        let mut log = roomy(&disk);
        assert!(log.confirm(8).unwrap());
        assert_eq!(read_all(&log, 8).first().unwrap().0, 8);
        assert_eq!(log.append(&[payload(20, 40)]).unwrap().first, 18);
    }
}

/// Makes the header one of the version that did not tell of numbers.
fn header_of_before(bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(b"MESHSPL1");
    let checksum = crc32fast::hash(&bytes[..48]);
    bytes[48..52].copy_from_slice(&checksum.to_le_bytes());
    bytes[52..60].fill(0);
}

/// Damage that the database has behind it is nobody's business; and a start need not read what may be.
#[test]
fn older_segments_are_read_when_the_database_has_told_what_it_has() {
    for (released, expected) in [(0, 1), (5, 1), (14, 0)] {
        let disk = FaultyDisk::default();
        drop(with_singles(&disk, 15));
        disk.edit("segment-0000.log", |bytes| bytes[place(5) + 30] ^= 1);
        let mut log = open(&disk);
        assert_eq!(copies(&disk), 0);
        let whole = (released..15).filter(|number| *number != 5);
        let is_missing = u64::from(released <= 5);
        assert_eq!(
            numbers(&log, released),
            (whole.clone().collect(), is_missing)
        );
        assert!(log.confirm(released).unwrap());
        while log.examine_next() {}
        assert_eq!(copies(&disk), expected, "{released}");
        assert_eq!(numbers(&log, released), (whole.collect(), is_missing));
    }
}

/// The spool is behind the database, and each write on the way to a settled position fails once: what the database has is not lost.
#[test]
fn a_position_that_is_not_noted_to_the_end_loses_nothing() {
    let mut failed = 0;
    for operation in 1.. {
        let disk = FaultyDisk::default();
        drop(with_singles(&disk, 3));
        let mut log = open(&disk);
        disk.fail_after(operation);
        let is_noted = log.confirm(500).is_ok();
        drop(log);
        if is_noted {
            break;
        }
        failed += 1;
        disk.crash();
        let mut log = open(&disk);
        assert!(log.confirm(500).unwrap());
        assert_eq!(log.append(&[payload(1, 40)]).unwrap().first, 500);
        assert_eq!(numbers(&log, 500), (vec![500], 0), "{operation}");
    }
    assert!(failed > 2);
}

#[test]
fn of_the_last_record_of_an_older_segment_is_told_what_is_left() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 15));
    let mut last = 0;
    disk.edit("segment-0001.log", |bytes| {
        last = u64::from_le_bytes(bytes[32..40].try_into().unwrap()) - 1;
    });
    let at = place(usize::try_from(last).unwrap()) + HEADER_BYTES + 39;
    disk.edit("segment-0000.log", |bytes| bytes[at] ^= 1);
    let mut log = open(&disk);
    for _ in 0..2 {
        let out = log.view().read(0, ALL, None).unwrap();
        let left: Vec<u64> = out.remains.iter().map(|(number, _)| *number).collect();
        assert_eq!((out.lost, left), (1, vec![last]));
        while log.examine_next() {}
    }
}

/// Only the numbers that are taken are given again.
#[test]
fn a_number_the_database_has_not_seen_is_kept() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 4));
    disk.edit("segment-0000.log", |bytes| bytes[place(2)..].fill(0));
    let mut log = open(&disk);
    for number in 10..15 {
        log.append(&[payload(number, 40)]).unwrap();
    }
    assert!(log.confirm(4).unwrap());
    let found: Vec<u64> = read_all(&log, 4)
        .iter()
        .map(|(_, p)| u64::from(p[0]))
        .collect();
    assert_eq!(found, [12, 13, 14, 10, 11]);
}

#[test]
fn a_directory_restored_from_an_older_copy_goes_on_behind_what_was_released() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 1));
    let mut log = open(&disk);
    assert!(log.confirm(500).unwrap());
    assert_eq!(log.append(&[payload(2, 40)]).unwrap().first, 500);
    drop(log);
    let mut log = open(&disk);
    assert!(log.confirm(500).unwrap());
    assert_eq!(read_all(&log, 500), [(500, payload(2, 40))]);
}

#[test]
fn without_room_for_new_numbers_nothing_is_noted_and_nothing_is_lost() {
    let disk = FaultyDisk::default();
    drop(with_singles(&disk, 1));
    let mut log = open(&disk);
    let mut taken = 0;
    while log.append(&[payload(taken, 150)]).unwrap().count == 1 {
        taken += 1;
    }
    assert!(!log.confirm(500).unwrap());
    drop(log);
    let limits = LogLimits {
        segments_max: 16,
        ..LIMITS
    };
    let mut log = Log::open(Arc::new(disk.clone()), limits, ID).unwrap();
    assert!(log.confirm(500).unwrap());
    let found: Vec<Bytes> = read_all(&log, 500).into_iter().map(|(_, p)| p).collect();
    let expected: Vec<Bytes> = (0..taken).map(|number| payload(number, 150)).collect();
    assert_eq!(found, expected);
}

/// Whatever write or sync fails, a life that goes on with what the machine remembers acknowledges nothing that the disk does not have.
#[test]
fn what_a_life_after_a_broken_one_acknowledges_survives_a_power_cut() {
    for operation in 1..=6 {
        for seed in 0..8 {
            let disk = FaultyDisk::with_seed(seed);
            let mut log = with_singles(&disk, 5);
            disk.fail_after(operation);
            if log.append(&vec![payload(9, 150); 4]).is_ok() {
                continue;
            }
            drop(log);
            let mut log = open(&disk);
            let first = log.append(&[payload(10, 40)]).unwrap().first;
            drop(log);
            disk.crash();
            let found = read_all(&open(&disk), 0);
            let kept = found.iter().find(|(number, _)| *number == first);
            assert_eq!(kept, Some(&(first, payload(10, 40))), "{operation} {seed}");
        }
    }
}

/// With room for all that a test writes.
fn roomy(disk: &FaultyDisk) -> Log {
    let limits = LogLimits {
        segments_max: 64,
        ..LIMITS
    };
    Log::open(Arc::new(disk.clone()), limits, ID).unwrap()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 600, ..Default::default() })]

    /// Lives of a spool, a database that takes what it is told of, and then one bit flips anywhere: nothing is read that was not written
    /// under that number, what is missing is explained by the bit, and all that is taken from then on is read exactly once.
    #[test]
    fn one_damaged_byte_costs_one_record_or_a_part_of_the_newest_group(
        lives in proptest::collection::vec(
            (proptest::bool::ANY, proptest::collection::vec(proptest::collection::vec(8_usize..150, 1..5), 0..4), 0_u64..100),
            1..4,
        ),
        file in proptest::num::usize::ANY,
        at in 0_usize..600,
        bit in 0_u8..8,
        after in (1_usize..5, 1_usize..5),
    ) {
        let disk = FaultyDisk::default();
        let (mut stored, mut counter, mut newest_group) = (0, 0, 0);
        let mut written: BTreeMap<u64, Bytes> = BTreeMap::new();
        for (is_told, groups, percent) in lives {
            let mut log = roomy(&disk);
            if is_told {
                prop_assert!(log.confirm(stored).unwrap());
            }
            for lens in groups {
                let group: Vec<Bytes> = lens.iter().map(|&len| {
                    counter += 1;
                    payload(counter, len)
                }).collect();
                let done = log.append(&group).unwrap();
                for (number, bytes) in (done.first..).zip(group.into_iter().take(done.count)) {
                    written.insert(number, bytes);
                }
                newest_group = done.count.max(1);
            }
            if is_told {
                stored += (log.next_sequence() - stored) * percent / 100;
            }
            prop_assert_eq!(read_all(&log, stored).len() as u64, log.next_sequence() - stored);
        }
        let names: Vec<String> = disk.names().unwrap();
        let name = &names[file % names.len()];
        let at = DATA_OFFSET as usize + at;
        disk.edit(name, |bytes| bytes[at] ^= 1 << bit);

        let mut log = roomy(&disk);
        let out = log.view().read(stored, ALL, None).unwrap();
        for (number, bytes) in &out.records {
            prop_assert_eq!(written.get(number), Some(bytes));
        }
        let waiting = written.range(stored..).count();
        let missing = waiting - out.records.len();
        prop_assert!(missing <= newest_group, "{} of {} are missing", missing, waiting);
        prop_assert!(out.lost <= 1);

        let (early, late) = after;
        let mut expected = BTreeSet::new();
        let mut make = |count: usize| -> Vec<Bytes> {
            (0..count).map(|_| {
                counter += 1;
                payload(counter, 20)
            }).collect()
        };
        let early = make(early);
        let done = log.append(&early).unwrap();
        expected.extend(early.into_iter().take(done.count));
        prop_assert!(log.confirm(stored).unwrap());
        let late = make(late);
        let done = log.append(&late).unwrap();
        expected.extend(late.into_iter().take(done.count));
        let mut earlier = None;
        for _ in 0..2 {
            let out = log.view().read(stored, ALL, None).unwrap();
            prop_assert_eq!(out.records.len() as u64 + out.lost, log.next_sequence() - stored);
            let mut found: Vec<Bytes> = out.records.iter().map(|(_, bytes)| bytes.clone()).collect();
            found.retain(|bytes| expected.contains(bytes));
            prop_assert_eq!(found.len(), expected.len(), "each once");
            found.sort();
            prop_assert_eq!(&found, &expected.iter().cloned().collect::<Vec<_>>());
            if let Some(earlier) = earlier.replace(out.records.clone()) {
                prop_assert_eq!(&earlier, &out.records, "the next life reads the same");
            }
            drop(log);
            log = roomy(&disk);
            prop_assert!(log.confirm(stored).unwrap());
        }
    }
}
