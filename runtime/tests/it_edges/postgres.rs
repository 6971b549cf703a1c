//! The pool against a real server.

use std::sync::Arc;
use std::time::Duration;

use mesh_runtime::postgres::{self, Options, Pool, PoolError};
use mesh_runtime::{Job, Strategy, Supervisor, System};
use tokio::sync::Notify;

use crate::support::database::Database;
use crate::support::site::{PATIENCE, eventually};

async fn pool(database: &Database, options: Options) -> (System, Pool) {
    let system = System::new();
    let child = postgres::pool("database", database.config(), options);
    system
        .supervise(Supervisor::new(Strategy::OneForOne).child(child))
        .await
        .unwrap();
    let pool = Pool::named(&system, "database");
    (system, pool)
}

fn one_connection() -> Options {
    Options {
        size_max: 1,
        checkout_timeout: PATIENCE,
        ..Options::default()
    }
}

async fn count(pool: &Pool) -> i64 {
    pool.get()
        .await
        .unwrap()
        .query_one("SELECT count(*) FROM notes", &[])
        .await
        .unwrap()
        .get(0)
}

async fn make_table(pool: &Pool) {
    pool.get()
        .await
        .unwrap()
        .batch_execute("CREATE TABLE notes (text TEXT)")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_is_lent_and_comes_back() {
    let database = Database::started();
    let (_system, pool) = pool(&database, one_connection()).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let client = pool.get().await.unwrap();
        let first = client.prepare_cached("SELECT 1 + $1::INT").await.unwrap();
        let row = client.query_one(&first, &[&1i32]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 2);
        let named = "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 +%'";
        let row = client.query_one(named, &[]).await.unwrap();
        names.push(row.get::<_, String>(0));
    }
    names.dedup();
    assert_eq!(names.len(), 1, "prepared once, on the one connection");
    let state = pool.state().await.unwrap();
    assert_eq!(
        (state.size, state.idle, state.waiting, state.healthy),
        (1, 1, 0, true)
    );
}

#[tokio::test]
async fn exhaustion_ends_at_the_deadline_and_the_queue_is_fair() {
    let database = Database::started();
    let (system, pool) = pool(&database, one_connection()).await;
    let held = pool.get().await.unwrap();
    let hasty = pool.with_checkout_timeout(Duration::from_millis(20));
    assert!(matches!(hasty.get().await, Err(PoolError::Timeout)));

    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut jobs = Vec::new();
    for number in 0..3 {
        let (pool, order) = (pool.clone(), order.clone());
        jobs.push(Job::spawn(&system, async move {
            let _client = pool.get().await.unwrap();
            order.lock().unwrap().push(number);
        }));
        let before = hasty.clone();
        eventually(&system, "the caller waits", async || {
            before.state().await.unwrap().waiting == number + 1
        })
        .await;
    }
    drop(held);
    for mut job in jobs {
        job.await_timeout(PATIENCE).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn a_transaction_commits_and_rolls_back_on_error() {
    let database = Database::started();
    let (_system, pool) = pool(&database, one_connection()).await;
    make_table(&pool).await;
    let stored: u64 = pool
        .transaction(|tx| {
            Box::pin(async move {
                Ok::<_, PoolError>(tx.execute("INSERT INTO notes VALUES ('kept')", &[]).await?)
            })
        })
        .await
        .unwrap();
    assert_eq!(stored, 1);
    let failed: Result<(), PoolError> = pool
        .transaction(|tx| {
            Box::pin(async move {
                tx.execute("INSERT INTO notes VALUES ('lost')", &[]).await?;
                tx.execute("INSERT INTO nowhere VALUES (1)", &[]).await?;
                Ok(())
            })
        })
        .await;
    assert!(matches!(failed, Err(PoolError::Database(_))), "{failed:?}");
    // The server itself undoes what failed there; an error of ours it does not know.
    let refused: Result<(), PoolError> = pool
        .transaction(|tx| {
            Box::pin(async move {
                tx.execute("INSERT INTO notes VALUES ('lost')", &[]).await?;
                Err(PoolError::Closed)
            })
        })
        .await;
    assert!(matches!(refused, Err(PoolError::Closed)), "{refused:?}");
    assert_eq!(count(&pool).await, 1);
}

#[tokio::test]
async fn a_transaction_rolls_back_on_panic() {
    let database = Database::started();
    let (system, pool) = pool(&database, one_connection()).await;
    make_table(&pool).await;
    let inside = pool.clone();
    let mut job = Job::spawn(&system, async move {
        let _: Result<(), PoolError> = inside
            .transaction(|tx| {
                Box::pin(async move {
                    tx.execute("INSERT INTO notes VALUES ('lost')", &[]).await?;
                    panic!("on purpose");
                })
            })
            .await;
    });
    assert!(job.await_timeout(PATIENCE).await.is_err());
    assert_eq!(
        count(&pool).await,
        0,
        "and the only connection is there again"
    );
}

#[tokio::test]
async fn a_cancelled_transaction_rolls_back_and_its_statement_stops() {
    let database = Database::started();
    let (system, pool) = pool(&database, one_connection()).await;
    make_table(&pool).await;
    let begun = Arc::new(Notify::new());
    let (inside, told) = (pool.clone(), begun.clone());
    let victim = system.spawn(move |_: mesh_runtime::Context<()>| async move {
        let _: Result<(), PoolError> = inside
            .transaction(|tx| {
                Box::pin(async move {
                    tx.execute("INSERT INTO notes VALUES ('lost')", &[]).await?;
                    told.notify_one();
                    tx.batch_execute("SELECT pg_sleep(3600)").await?;
                    Ok(())
                })
            })
            .await;
    });
    begun.notified().await;
    system.kill(victim.pid());
    let counted = system
        .timeout(PATIENCE, count(&pool))
        .await
        .expect("the connection is replaced");
    assert_eq!(counted, 0);
    eventually(&system, "the statement is cancelled", async || {
        let client = pool.get().await.unwrap();
        let sleepers = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
        client
            .query_one(sleepers, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
    })
    .await;
}

#[tokio::test]
async fn a_statement_given_up_as_it_begins_stops_too() {
    let database = Database::started();
    let (system, pool) = pool(&database, one_connection()).await;
    let sleepers = async || -> i64 {
        let client = pool.get().await.unwrap();
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
        client.query_one(sql, &[]).await.unwrap().get(0)
    };
    for _ in 0..20 {
        let begun = Arc::new(Notify::new());
        let (inside, told) = (pool.clone(), begun.clone());
        let victim = Job::spawn(&system, async move {
            let slept: Result<(), PoolError> = inside
                .transaction(|tx| {
                    Box::pin(async move {
                        let sleeps = tx.prepare("SELECT pg_sleep(3600)").await?;
                        told.notify_one();
                        tx.execute(&sleeps, &[]).await?;
                        Ok(())
                    })
                })
                .await;
            slept
        });
        begun.notified().await;
        // On its way: a request to cancel it, by another connection, may be there before it.
        drop(victim);
        eventually(&system, "it has stopped", async || sleepers().await == 0).await;
    }
}

#[tokio::test]
async fn a_server_restart_is_survived() {
    let database = Database::started();
    let (system, pool) = pool(&database, one_connection()).await;
    make_table(&pool).await;
    let lent = pool.get().await.unwrap();
    database.stop();
    assert!(lent.query_one("SELECT 1", &[]).await.is_err());
    drop(lent);
    let hasty = pool.with_checkout_timeout(Duration::from_millis(100));
    eventually(
        &system,
        "the pool knows that the database is away",
        async || matches!(hasty.get().await, Err(PoolError::Unavailable(_))),
    )
    .await;
    assert!(!pool.state().await.unwrap().healthy);
    database.start();
    assert_eq!(count(&pool).await, 0);
    assert!(pool.state().await.unwrap().healthy);
}

#[tokio::test]
async fn the_pool_starts_degraded_and_heals_by_itself() {
    let database = Database::stopped();
    let options = Options {
        // The first attempt is over before the database comes.
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let (system, pool) = pool(&database, options).await;
    eventually(&system, "the pool tells what is wrong", async || {
        let state = pool.state().await.unwrap();
        !state.healthy && state.last_error.is_some()
    })
    .await;
    database.start();
    eventually(
        &system,
        "the pool is healthy though nobody asked for a connection",
        async || pool.state().await.unwrap().healthy,
    )
    .await;
}

#[tokio::test]
async fn a_handle_outlives_the_pool_process() {
    let database = Database::started();
    let (system, pool) = pool(&database, one_connection()).await;
    make_table(&pool).await;
    let first = system.whereis_pid("database").unwrap();
    system.kill(first);
    eventually(&system, "the next life begins", async || {
        let now = system.whereis_pid("database");
        now.is_some_and(|now| now != first)
    })
    .await;
    assert_eq!(count(&pool).await, 0);
}
