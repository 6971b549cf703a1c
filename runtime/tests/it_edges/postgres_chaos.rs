//! The pool behind a bad network, on one worker (scenarios R9 and the chaos proxy).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh_runtime::postgres::{self, Options, Pool, PoolError};
use mesh_runtime::{Context, Job, Strategy, Supervisor, System};
use tokio::sync::Notify;

use crate::support::database::Database;
use crate::support::proxy::{Proxy, Weather};
use crate::support::site::{PATIENCE, eventually};

struct Stage {
    system: System,
    pool: Pool,
    proxy: Proxy,
    _database: Database,
}

async fn stage(options: Options) -> Stage {
    let database = Database::started();
    let proxy = Proxy::before(database.socket()).await;
    let system = System::new();
    let child = postgres::pool("database", proxy.config(), options);
    system
        .supervise(Supervisor::new(Strategy::OneForOne).child(child))
        .await
        .unwrap();
    Stage {
        pool: Pool::named(&system, "database"),
        system,
        proxy,
        _database: database,
    }
}

fn connections(count: u32) -> Options {
    Options {
        size_max: count,
        checkout_timeout: PATIENCE,
        ..Options::default()
    }
}

async fn one(pool: &Pool) -> Result<i32, PoolError> {
    Ok(pool.get().await?.query_one("SELECT 1", &[]).await?.get(0))
}

/// Counts its own turns, so that a test sees whether the only worker is free.
fn ticking(system: &System) -> Arc<AtomicU64> {
    let turns = Arc::new(AtomicU64::new(0));
    let count = turns.clone();
    system.spawn(move |cx: Context<()>| async move {
        while count.fetch_add(1, Ordering::Relaxed) < u64::MAX {
            cx.sleep(Duration::from_millis(1)).await;
        }
    });
    turns
}

#[tokio::test]
async fn connections_cut_one_by_one_are_replaced() {
    let Stage {
        system,
        pool,
        proxy,
        _database,
    } = stage(connections(4)).await;
    let workers = (0..8).map(|_| {
        let pool = pool.clone();
        Job::spawn(&system, async move {
            let (mut answered, mut failed) = (0, 0);
            while answered < 100 {
                match one(&pool).await {
                    Ok(1) => answered += 1,
                    Ok(other) => panic!("{other} is not what was asked for"),
                    Err(PoolError::Database(_)) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (answered, failed)
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut cuts = 0;
    for n in 0..40 {
        cuts += usize::from(proxy.cut_one(n * 7));
        system.sleep(Duration::from_millis(2)).await;
    }
    let mut failures = 0;
    for worker in workers {
        let (answered, failed) = worker.await.unwrap();
        assert_eq!(answered, 100);
        failures += failed;
    }
    assert!(cuts > 0);
    assert!(
        failures <= cuts,
        "a cut costs one statement at most: {failures} of {cuts}"
    );
    assert!(pool.state().await.unwrap().healthy);
}

#[tokio::test]
async fn a_half_open_connection_costs_only_whom_it_holds() {
    let Stage {
        system,
        pool,
        proxy,
        _database,
    } = stage(connections(1)).await;
    assert_eq!(one(&pool).await.unwrap(), 1);
    let turns = ticking(&system);
    proxy.open(Weather::Silent);
    let stuck = pool.transaction(|tx| {
        Box::pin(async move {
            Ok::<_, PoolError>(tx.query_one("SELECT 1", &[]).await?.get::<_, i32>(0))
        })
    });
    let others = {
        let pool = pool.clone();
        Job::spawn(&system, async move { one(&pool).await.unwrap() })
    };
    let before = turns.load(Ordering::Relaxed);
    tokio::select! {
        outcome = stuck => panic!("nothing comes through: {outcome:?}"),
        () = eventually(&system, "others go on meanwhile", async || turns.load(Ordering::Relaxed) > before + 5) => {}
    }
    // Given up with its transaction, the connection is discarded, and the next in line gets a new one.
    assert_eq!(system.timeout(PATIENCE, others).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn statements_that_cannot_be_stopped_do_not_gather() {
    const ROUNDS: usize = 12;
    let Stage {
        system,
        pool,
        proxy,
        _database,
    } = stage(connections(1)).await;
    assert_eq!(one(&pool).await.unwrap(), 1);
    let proxy = Arc::new(proxy);
    let before = system.inspect().processes.len();
    for _ in 0..ROUNDS {
        let (told, weather) = (Arc::new(Notify::new()), proxy.clone());
        let tell = told.clone();
        let stuck = pool.transaction(|tx| {
            Box::pin(async move {
                tx.query_one("SELECT 1", &[]).await?;
                weather.open(Weather::Silent);
                tell.notify_one();
                Ok::<_, PoolError>(tx.query_one("SELECT 1", &[]).await?.get::<_, i32>(0))
            })
        });
        tokio::select! {
            outcome = stuck => panic!("nothing comes through: {outcome:?}"),
            () = told.notified() => {}
        }
    }
    // A handle that is new asks the pool process, which has then read what was sent before.
    Pool::named(&system, "database").state().await.unwrap();
    let stopping = system.inspect().processes.len() - before;
    assert!(stopping <= 4, "{stopping} at a time");
    assert_eq!(one(&pool).await.unwrap(), 1, "the pool goes on");
}

#[tokio::test]
async fn a_database_that_accepts_and_says_nothing_is_away() {
    let options = Options {
        connect_timeout: Duration::from_millis(50),
        ..connections(2)
    };
    let Stage {
        system,
        pool,
        proxy,
        _database,
    } = stage(options).await;
    assert_eq!(one(&pool).await.unwrap(), 1);
    proxy.newcomers(Weather::Silent);
    proxy.open(Weather::Cut);
    let hasty = pool.with_checkout_timeout(Duration::from_millis(300));
    let turns = ticking(&system);
    eventually(&system, "it is known to be away", async || {
        matches!(hasty.get().await, Err(PoolError::Unavailable(_)))
    })
    .await;
    let state = pool.state().await.unwrap();
    assert!(!state.healthy && state.last_error.is_some());
    assert!(
        turns.load(Ordering::Relaxed) > 5,
        "the only worker was free"
    );
    proxy.newcomers(Weather::Fair);
    eventually(&system, "and to be back", async || one(&pool).await.is_ok()).await;
    assert!(pool.state().await.unwrap().healthy);
}

#[tokio::test]
async fn a_slow_network_makes_answers_late_and_nothing_else() {
    let Stage {
        system,
        pool,
        proxy,
        _database,
    } = stage(connections(2)).await;
    assert_eq!(one(&pool).await.unwrap(), 1);
    proxy.newcomers(Weather::Slow);
    proxy.open(Weather::Slow);
    let turns = ticking(&system);
    let before = turns.load(Ordering::Relaxed);
    let asking: Vec<_> = (0..6)
        .map(|_| {
            let pool = pool.clone();
            Job::spawn(&system, async move { one(&pool).await.unwrap() })
        })
        .collect();
    let hasty = pool.with_checkout_timeout(Duration::from_millis(1));
    eventually(&system, "one is too hasty", async || {
        matches!(hasty.get().await, Err(PoolError::Timeout))
    })
    .await;
    for job in asking {
        assert_eq!(job.await.unwrap(), 1);
    }
    assert!(
        turns.load(Ordering::Relaxed) > before,
        "the only worker was free"
    );
    assert!(pool.state().await.unwrap().healthy);
}

#[tokio::test]
async fn an_exhausted_pool_does_not_stop_its_only_worker() {
    let Stage {
        system,
        pool,
        proxy: _proxy,
        _database,
    } = stage(connections(2)).await;
    let lent = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let turns = ticking(&system);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            Job::spawn(&system, async move { one(&pool).await.unwrap() })
        })
        .collect();
    eventually(&system, "all of them wait", async || {
        pool.state().await.unwrap().waiting == 20
    })
    .await;
    let before = turns.load(Ordering::Relaxed);
    eventually(&system, "others go on", async || {
        turns.load(Ordering::Relaxed) > before + 5
    })
    .await;
    drop(lent);
    for job in waiting {
        assert_eq!(job.await.unwrap(), 1);
    }
}
