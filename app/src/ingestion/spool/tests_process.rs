//! The spool as a process: groups, the one reader, a disk that breaks, a life that is killed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use mesh_runtime::{CallError, ChildSpec, Strategy, Supervisor, System};

use super::faulty::FaultyDisk;
use super::file::SpoolDirectory as _;
use super::serve::Spool;
use super::{AppendError, DirectoryChoice, SPOOL, SpoolArgs, SpoolHandle, SpoolOptions};

const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> SpoolOptions {
    SpoolOptions {
        segment_bytes: 64 << 10,
        segments_max: 3,
        record_bytes_max: 8 << 10,
        chunk_records_max: 50,
        ..SpoolOptions::new("nowhere")
    }
}

async fn start(disk: &FaultyDisk, options: SpoolOptions) -> (System, SpoolHandle) {
    let system = System::new();
    let args = SpoolArgs {
        options,
        directory: DirectoryChoice::Given(Arc::new(disk.clone())),
    };
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(100, Duration::from_secs(10))
        .child(ChildSpec::worker::<Spool>(SPOOL, args));
    system.supervise(tree).await.unwrap();
    let handle = SpoolHandle::new(&system);
    (system, handle)
}

async fn append(spool: &SpoolHandle, text: &str) -> Result<u64, AppendError> {
    spool.append(Bytes::from(text.to_owned()), PATIENCE).await
}

#[tokio::test]
async fn many_appenders_share_syncs_and_each_gets_its_place() {
    let disk = FaultyDisk::default();
    let (_system, spool) = start(&disk, options()).await;
    let before = disk.operations();
    let texts: Vec<String> = (0..500).map(|n| format!("record {n}")).collect();
    let appended = join_all(texts.iter().map(|text| append(&spool, text))).await;
    let sequences: Vec<u64> = appended.into_iter().map(Result::unwrap).collect();
    assert_eq!(sequences, (0..500).collect::<Vec<_>>());
    let operations = disk.operations() - before;
    assert!(
        operations < 200,
        "{operations} writes and syncs for 500 appends"
    );
    let mut from = 0;
    let mut read = Vec::new();
    while from < 500 {
        let chunk = spool.read(from, PATIENCE).await.unwrap();
        assert!(chunk.records.len() <= 50 && chunk.from == from);
        from = chunk.next;
        read.extend(chunk.records.into_iter().map(|(_, bytes)| bytes));
    }
    assert_eq!(read, texts);
}

#[tokio::test]
async fn a_reader_waits_for_the_first_record_and_lingers_for_more() {
    let disk = FaultyDisk::default();
    let (_system, spool) = start(&disk, options()).await;
    let none = spool.read(0, Duration::from_millis(1)).await;
    assert_eq!(none, Err(CallError::Timeout));
    let read = spool.read(0, PATIENCE);
    let appends = async {
        for n in 0..5 {
            append(&spool, &format!("{n}")).await.unwrap();
        }
    };
    let (read, ()) = futures_util::future::join(read, appends).await;
    let read = read.unwrap();
    assert_eq!((read.from, read.lost), (0, 0));
    assert!(!read.records.is_empty() && read.next == read.records.len() as u64);
}

#[tokio::test]
async fn no_append_waits_for_a_reader_and_one_that_cannot_read_ends_the_spool() {
    let disk = FaultyDisk::default();
    let (system, spool) = start(&disk, options()).await;
    for n in 0..10 {
        append(&spool, &format!("record {n}")).await.unwrap();
    }
    disk.hold_reads(true);
    let appended_meanwhile = async {
        while disk.reads_waiting() == 0 {
            system.sleep(Duration::from_millis(1)).await;
        }
        let appended = append(&spool, "meanwhile").await;
        disk.hold_reads(false);
        appended
    };
    let (read, appended) = join(spool.read(0, PATIENCE), appended_meanwhile).await;
    assert_eq!(appended, Ok(10));
    assert_eq!(read.unwrap().next, 10, "what was durable when it began");
    let rest = spool.read(10, PATIENCE).await.unwrap();
    assert_eq!(&rest.records[0].1[..], b"meanwhile");

    let life = system.whereis_pid(SPOOL).unwrap();
    disk.fail_next_read();
    let read = spool.read(0, PATIENCE).await;
    assert!(matches!(read, Err(CallError::Exited(_))), "{read:?}");
    let ended = Box::pin(system.wait_for_exit(life));
    system.timeout(PATIENCE, ended).await.expect("its end");
    while append(&spool, "again").await.is_err() {}
}

/// A router that gives up waiting and asks again must not have the same bytes read many times at once.
#[tokio::test]
async fn who_asks_again_for_what_is_being_read_gets_that() {
    let disk = FaultyDisk::default();
    let (system, spool) = start(&disk, options()).await;
    append(&spool, "slow").await.unwrap();
    disk.hold_reads(true);
    for _ in 0..3 {
        let read = spool.read(0, Duration::from_millis(50)).await;
        assert_eq!(read, Err(CallError::Timeout));
    }
    let released = async {
        while disk.reads_waiting() == 0 {
            system.sleep(Duration::from_millis(1)).await;
        }
        // Whatever was asked before has been taken up by then.
        spool.status().await.unwrap();
        let waiting = disk.reads_waiting();
        disk.hold_reads(false);
        waiting
    };
    let (read, waiting) = join(spool.read(0, PATIENCE), released).await;
    assert_eq!(waiting, 1, "the bytes are read once");
    assert_eq!(&read.unwrap().records[0].1[..], b"slow");
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_and_is_not_repeated() {
    for operation in 1..=2 {
        let disk = FaultyDisk::with_seed(operation);
        let (_system, spool) = start(&disk, options()).await;
        append(&spool, "first").await.unwrap();
        disk.fail_after(operation);
        let failed = append(&spool, "second").await;
        assert!(
            matches!(failed, Err(AppendError::Call(CallError::Exited(_)))),
            "{failed:?}"
        );
        while let Err(AppendError::Call(_)) = append(&spool, "third").await {}
        let texts: Vec<Bytes> = spool
            .read(0, PATIENCE)
            .await
            .unwrap()
            .records
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect();
        assert_eq!(texts.first().unwrap(), "first");
        assert_eq!(texts.last().unwrap(), "third");
        assert!(texts.len() <= 3);
    }
}

#[tokio::test]
async fn full_is_said_and_ends_with_a_release() {
    let disk = FaultyDisk::default();
    let options = SpoolOptions {
        full_pause: PATIENCE,
        ..options()
    };
    let pressure = options.pressure.clone();
    let (_system, spool) = start(&disk, options).await;
    let record = Bytes::from(vec![7; 8 << 10]);
    let mut end = 0;
    loop {
        match spool.append(record.clone(), PATIENCE).await {
            Ok(sequence) => end = sequence + 1,
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                break;
            }
        }
    }
    let status = spool.status().await.unwrap();
    assert_eq!(status.end, end);
    assert!(status.used_bytes <= status.bytes_max);
    assert!(pressure.is_full(), "the door is told");
    assert!(pressure.is_refusing());
    spool.released(end).await.unwrap();
    assert!(!pressure.is_full() && !pressure.is_refusing());
    assert_eq!(spool.append(record, PATIENCE).await, Ok(end));
    let too_large = Bytes::from(vec![7; (8 << 10) + 1]);
    let refused = spool.append(too_large, PATIENCE).await;
    assert_eq!(refused, Err(AppendError::TooLarge(8 << 10)));
}

/// Room may come from elsewhere than a release, and a shut door lets nobody find out.
#[tokio::test]
async fn a_full_spool_is_tried_again_after_a_while() {
    let disk = FaultyDisk::default();
    let options = SpoolOptions {
        full_pause: Duration::from_millis(5),
        ..options()
    };
    let pressure = options.pressure.clone();
    let (system, spool) = start(&disk, options).await;
    let record = Bytes::from(vec![7; 8 << 10]);
    while spool.append(record.clone(), PATIENCE).await.is_ok() {}
    let opened = async {
        while pressure.is_full() {
            system.sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(system.timeout(PATIENCE, opened).await.is_ok());
    assert!(pressure.is_refusing(), "nothing has been taken yet");
}

#[tokio::test]
async fn a_killed_life_is_followed_by_one_that_knows_everything() {
    let disk = FaultyDisk::default();
    let (system, spool) = start(&disk, options()).await;
    let id = spool.status().await.unwrap().spool_id;
    spool.released(0).await.unwrap();
    append(&spool, "kept").await.unwrap();
    assert_eq!(spool.status().await.unwrap().waiting(), Some(1));
    let pid = system.whereis_pid(SPOOL).unwrap();
    system.kill(pid);
    system.wait_for_exit(pid).await;
    while let Err(AppendError::Call(_)) = append(&spool, "after").await {}
    let status = spool.status().await.unwrap();
    assert_eq!(status.spool_id, id);
    assert_eq!(status.waiting(), None, "the database has told it nothing");
    spool.released(0).await.unwrap();
    assert_eq!(spool.status().await.unwrap().waiting(), Some(status.end));
    let read = spool.read(0, PATIENCE).await.unwrap();
    spool.released(read.next).await.unwrap();
    assert_eq!(spool.status().await.unwrap().waiting(), Some(0));
    let texts: Vec<&[u8]> = read.records.iter().map(|(_, bytes)| &bytes[..]).collect();
    assert_eq!(texts.first(), Some(&&b"kept"[..]));
    assert_eq!(texts.last(), Some(&&b"after"[..]));
}

#[tokio::test]
async fn a_spool_is_looked_over_for_damage_once_it_knows_its_position() {
    let disk = FaultyDisk::default();
    let (system, spool) = start(&disk, options()).await;
    let text = "t".repeat(8000);
    while append(&spool, &text).await.is_ok() {}
    system.shutdown(PATIENCE).await.unwrap();
    disk.edit("segment-0000.log", |bytes| bytes[20_000] ^= 1);
    let (_system, spool) = start(&disk, options()).await;
    let is_kept = |names: Vec<String>| names.iter().any(|name| name.starts_with("damaged-"));
    assert!(!is_kept(disk.names().unwrap()));
    spool.released(0).await.unwrap();
    // Each answer comes behind another segment.
    for _segment in 0..3 {
        spool.status().await.unwrap();
    }
    assert!(is_kept(disk.names().unwrap()));
}
