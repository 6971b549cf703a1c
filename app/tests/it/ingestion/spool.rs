//! The spool on a real disk: it comes back whole, has one owner, and says clearly why it cannot open.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use mesh_runtime::{StartError, Strategy, Supervisor, System};
use mesher::ingestion::{SpoolHandle, SpoolOptions, spool};

const PATIENCE: Duration = Duration::from_secs(30);

fn options(directory: &Path) -> SpoolOptions {
    SpoolOptions {
        segment_bytes: 256 << 10,
        record_bytes_max: 64 << 10,
        owner_timeout: Duration::from_millis(100),
        ..SpoolOptions::new(directory)
    }
}

async fn start(options: SpoolOptions) -> Result<(System, SpoolHandle), StartError> {
    let system = System::new();
    let tree = Supervisor::new(Strategy::OneForOne).child(spool::child(options));
    system.supervise(tree).await?;
    let spool = SpoolHandle::new(&system);
    Ok((system, spool))
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_and_the_name_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (system, spool) = start(options(directory.path())).await.unwrap();
    let id = spool.status().await.unwrap().spool_id;
    for number in 0..50_u8 {
        let record = Bytes::from(vec![number; 20_000]);
        assert_eq!(spool.append(record, PATIENCE).await, Ok(number.into()));
    }
    spool.released(12).await.unwrap();
    system.shutdown(PATIENCE).await.unwrap();
    let (_system, spool) = start(options(directory.path())).await.unwrap();
    let status = spool.status().await.unwrap();
    assert_eq!((status.spool_id, status.end), (id, 50));
    let mut from = 12;
    while from < 50 {
        let chunk = spool.read(from, PATIENCE).await.unwrap();
        for (sequence, record) in &chunk.records {
            assert_eq!(*sequence, from);
            assert!(record.iter().all(|&byte| u64::from(byte) == from));
            from += 1;
        }
        assert_eq!((chunk.next, chunk.lost), (from, 0));
    }
}

#[tokio::test]
async fn a_directory_has_one_owner_and_what_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("spool");
    let _owner = start(options(&place)).await.unwrap();
    let error = start(options(&place)).await.unwrap_err().to_string();
    assert!(error.contains(place.to_str().unwrap()), "{error}");
    assert!(error.contains("another process owns it"), "{error}");
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = start(options(&file)).await.unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    let small = SpoolOptions {
        segment_bytes: 64 << 10,
        ..options(&directory.path().join("small"))
    };
    let error = start(small).await.unwrap_err().to_string();
    assert!(error.contains("at least"), "{error}");
}
