//! Keys that are known, remembered and noted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use mesh_runtime::{Strategy, Supervisor, System};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{Grant, KeyCache, KeyKeeperArgs, child, refresh};
use crate::domain::ProjectNumber;
use crate::ingestion::refusal::Refusal;
use crate::storage::key_memory::KeyMemory;

const PATIENCE: Duration = Duration::from_secs(30);

fn grant(digit: &str, rate_limit: Option<u32>) -> Grant {
    Grant {
        public_key: digit.repeat(32).parse().unwrap(),
        project_id: Uuid::from_u128(1).into(),
        number: ProjectNumber::new(1),
        rate_limit,
        project_rate_limit: Some(9),
        kept_per_million: 500_000,
    }
}

#[test]
fn remembered_keys_open_until_the_database_says_which_do() {
    let (old, new) = (grant("1", Some(3)), grant("2", None));
    let cache = KeyCache::new();
    cache.recall(Vec::new());
    assert!(!cache.is_filled(), "no memory is no knowledge");
    assert_eq!(cache.find(&old.public_key), Err(Refusal::KeysUnknown));

    cache.recall(vec![old.to_remembered()]);
    assert!(cache.is_filled() && !cache.is_read());
    assert_eq!(cache.find(&old.public_key), Ok(old), "with all its limits");
    // It may have been made since: whoever sends with it is to come again.
    assert_eq!(cache.find(&new.public_key), Err(Refusal::KeysUnknown));

    cache.replace([new]);
    assert!(cache.is_read());
    assert_eq!(cache.find(&old.public_key), Err(Refusal::UnknownKey));
    cache.recall(vec![old.to_remembered()]);
    assert_eq!(cache.find(&old.public_key), Err(Refusal::UnknownKey));
    assert_eq!(cache.find(&new.public_key), Ok(new));
}

/// Waits until the memory holds what these grants come to.
async fn until_noted(system: &System, memory: &KeyMemory, grants: &[Grant]) {
    let wanted: Vec<_> = grants.iter().map(|grant| grant.to_remembered()).collect();
    let noted = async {
        while memory.recall().unwrap() != wanted {
            system.sleep(Duration::from_millis(2)).await;
        }
    };
    system
        .timeout(PATIENCE, Box::pin(noted))
        .await
        .expect("noted in time");
}

#[tokio::test]
async fn the_keeper_notes_what_the_database_says_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let memory = KeyMemory::new(directory.path(), None);
    let answer: Arc<Mutex<Result<Vec<Grant>, String>>> =
        Arc::new(Mutex::new(Ok(vec![grant("1", None), grant("2", None)])));
    let (cache, asked) = (KeyCache::new(), answer.clone());
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = loads.clone();
    let system = System::new();
    let keeper = child(KeyKeeperArgs {
        cache: cache.clone(),
        load: Arc::new(move |_| {
            let answer = asked.lock().clone();
            counted.fetch_add(1, Ordering::Relaxed);
            async move { answer }.boxed()
        }),
        interval: PATIENCE,
        memory: Some(memory.clone()),
    });
    let tree = Supervisor::new(Strategy::OneForOne).child(keeper);
    system.supervise(tree).await.unwrap();
    until_noted(&system, &memory, &[grant("1", None), grant("2", None)]).await;

    // A database that is away takes nothing from what is known.
    *answer.lock() = Err("away".to_owned());
    let before = loads.load(Ordering::Relaxed);
    // The keeper asks again only when it is done with what it was told before.
    refresh(&system);
    refresh(&system);
    let asked_again = async {
        while loads.load(Ordering::Relaxed) < before + 2 {
            system.sleep(Duration::from_millis(2)).await;
        }
    };
    let asked_again = system.timeout(PATIENCE, Box::pin(asked_again)).await;
    asked_again.expect("asked again in time");
    let kept = [grant("1", None), grant("2", None)];
    until_noted(&system, &memory, &kept).await;
    assert_eq!(cache.find(&kept[0].public_key), Ok(kept[0]));
    *answer.lock() = Ok(vec![grant("2", Some(5))]);
    refresh(&system);
    until_noted(&system, &memory, &[grant("2", Some(5))]).await;
    let revoked = cache.find(&grant("1", None).public_key);
    assert_eq!(revoked, Err(Refusal::UnknownKey));
    system.shutdown(PATIENCE).await.unwrap();
}
