//! Ten workers share three connections to PostgreSQL; one of them panics in a transaction, which rolls back.
//!
//! Run it with how to reach a database: `cargo run -p mesh-runtime --features postgres --example pool -- "host=localhost user=postgres"`.
//! Stop and start the database while it runs, and see it heal.

use std::time::Duration;

use mesh_runtime::postgres::{self, Options, Pool, PoolError};
use mesh_runtime::{Job, Strategy, Supervisor, System};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(database) = std::env::args().nth(1) else {
        return Err("say how to reach a database, as \"host=localhost user=postgres\"".into());
    };
    let system = System::new();
    let options = Options {
        size_max: 3,
        ..Options::default()
    };
    let child = postgres::pool("database", database.parse()?, options);
    system
        .supervise(Supervisor::new(Strategy::OneForOne).child(child))
        .await?;
    let pool = Pool::named(&system, "database");

    for round in 0..10 {
        let results = Job::map(&system, 10, 0..10, {
            let pool = pool.clone();
            move |worker| work(pool.clone(), worker)
        })
        .await;
        let answered = results
            .iter()
            .filter(|result| matches!(result, Ok(Ok(_))))
            .count();
        println!(
            "round {round}: {answered} of 10 answered; {:?}",
            pool.state().await?
        );
        system.sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn work(pool: Pool, worker: i32) -> Result<i32, PoolError> {
    pool.transaction(move |tx| {
        Box::pin(async move {
            let row = tx.query_one("SELECT 2 * $1::INT", &[&worker]).await?;
            assert!(
                worker != 7,
                "this worker crashes; its transaction rolls back, its connection is replaced"
            );
            Ok(row.get(0))
        })
    })
    .await
}
