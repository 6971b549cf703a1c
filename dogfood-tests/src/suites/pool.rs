//! The pool under contention: more processes than connections, transactions that break off, a server that goes away. Attacks H1 to H4 and H8.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mesh_runtime::postgres::{self, Options, Pool, PoolError};
use mesh_runtime::{Job, Strategy, Supervisor, System};

use crate::postgres::Postgres;
use crate::seed::Seed;
use crate::stage::{Stage, Tally, now, pause, within};
use crate::wait::PATIENCE;

mod break_off;
mod queue;
mod restart;

/// Connections of a contended pool.
const SIZE: u32 = 4;

/// Processes that want one at once.
const PROCESSES: usize = 32;

/// Enters a ticket, which nobody else may enter.
const ENTRY: &str = "INSERT INTO ledger VALUES ($1)";

pub(super) fn play(stage: &Stage) {
    let server = match Postgres::start_new() {
        Ok(server) => Arc::new(server),
        Err(fault) => return stage.row("not played", fault.to_string()),
    };
    let (workers, url) = (stage.workers(), server.url());
    let ground = |stage: &Stage, system: System, options| {
        let (stage, url) = (stage.clone(), url.clone());
        async move { Ground::new(stage, system, &url, options).await }
    };
    stage.scene("contention", workers, |stage, system| async move {
        contention(ground(&stage, system, of_size(SIZE)).await).await;
    });
    stage.scene("the queue", workers, |stage, system| async move {
        queue::queue(ground(&stage, system, of_size(1)).await).await;
    });
    stage.scene("one worker", 0, |stage, system| async move {
        queue::one_worker(ground(&stage, system, of_size(2)).await).await;
    });
    stage.scene(
        "transactions that break off",
        workers,
        |stage, system| async move {
            break_off::break_off(ground(&stage, system, of_size(SIZE)).await).await;
        },
    );
    stage.scene(
        "a server that restarts",
        workers,
        |stage, system| async move {
            let options = Options {
                checkout_timeout: Duration::from_millis(500),
                ..of_size(SIZE)
            };
            restart::restart(ground(&stage, system, options).await, server).await;
        },
    );
}

fn of_size(size: u32) -> Options {
    Options {
        size_max: size,
        checkout_timeout: PATIENCE,
        ..Options::default()
    }
}

/// A contended pool, one connection beside it to look on, and an empty ledger.
struct Ground {
    stage: Stage,
    system: System,
    pool: Pool,
    onlooker: Pool,
}

impl Ground {
    async fn new(stage: Stage, system: System, url: &str, options: Options) -> Ground {
        let named = |name: &str| format!("{url}?application_name={name}");
        let [contended, onlooker] = ["contended", "onlooker"].map(|name| {
            let url = named(name)
                .parse()
                .expect("the suite's own server has a URL");
            let options = if name == "contended" {
                options.clone()
            } else {
                of_size(1)
            };
            postgres::pool(name, url, options)
        });
        let tree = Supervisor::new(Strategy::OneForOne)
            .child(contended)
            .child(onlooker);
        let supervised = system.supervise(tree).await;
        supervised.expect("a pool always starts");
        let ground = Ground {
            pool: Pool::named(&system, "contended"),
            onlooker: Pool::named(&system, "onlooker"),
            stage,
            system,
        };
        let made = ground
            .onlooker
            .get()
            .await
            .expect("the server has just started");
        made.batch_execute(
            "DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (ticket BIGINT PRIMARY KEY);
             DROP TABLE IF EXISTS accounts; CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL);
             INSERT INTO accounts SELECT id, 1000 FROM generate_series(0, 9) AS id",
        )
        .await
        .expect("tables can be made");
        ground
    }

    /// The tickets that were committed.
    async fn ledger(&self) -> BTreeSet<i64> {
        let asked = async {
            let rows = self
                .onlooker
                .get()
                .await?
                .query("SELECT ticket FROM ledger", &[])
                .await?;
            Ok::<_, PoolError>(rows.iter().map(|row| row.get(0)).collect())
        };
        asked.await.expect("the server answers")
    }

    /// What the server knows of the pool's connections: how many there are, are within a transaction, and run a statement.
    async fn sessions(&self) -> Result<[i64; 3], PoolError> {
        let client = self.onlooker.get().await?;
        let row = client
            .query_one(
                "SELECT count(*), count(*) FILTER (WHERE xact_start IS NOT NULL), count(*) FILTER (WHERE state = 'active')
                 FROM pg_stat_activity WHERE application_name = 'contended'",
                &[],
            )
            .await?;
        Ok([row.get(0), row.get(1), row.get(2)])
    }

    /// Waits until nothing of the pool's runs or is open; what was seen last.
    async fn settled(&self) -> (bool, String) {
        let start = now();
        loop {
            let (state, sessions) = (self.pool.state().await, self.sessions().await);
            let seen = format!("{sessions:?} sessions, in transactions, active; {state:?}");
            if let (Ok(state), Ok([_, 0, 0])) = (&state, &sessions)
                && state.waiting == 0
                && state.idle == state.size
            {
                return (true, seen);
            }
            if start.elapsed() > PATIENCE {
                return (false, seen);
            }
            pause(Duration::from_millis(5)).await;
        }
    }

    /// Whether all connections can be had at once.
    async fn all_can_be_had(&self) -> bool {
        let all = async {
            let mut clients = Vec::new();
            for _ in 0..SIZE {
                clients.push(self.pool.get().await?);
            }
            Ok::<_, PoolError>(clients.len())
        };
        matches!(within(all).await, Some(Ok(clients)) if clients == SIZE as usize)
    }
}

/// Puts a ticket into the ledger, in a transaction of its own.
async fn enter(pool: &Pool, ticket: i64) -> Result<(), PoolError> {
    pool.transaction(|tx| {
        Box::pin(async move {
            tx.execute(ENTRY, &[&ticket]).await?;
            Ok(())
        })
    })
    .await
}

async fn contention(ground: Ground) {
    let (stage, count) = (&ground.stage, ground.stage.count(1, 200));
    let (tickets, lent) = (Tally::default(), Lent::default());
    let jobs: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let (pool, tickets, lent) = (ground.pool.clone(), tickets.clone(), lent.clone());
            let mut seed = stage.seed();
            Job::spawn(&ground.system, async move {
                let (mut waits, mut refused) = (Vec::new(), Vec::new());
                loop {
                    let ticket = tickets.add() as i64;
                    if ticket >= count as i64 {
                        return (waits, refused);
                    }
                    let asked = now();
                    match transfer(&pool, &mut seed, &lent, ticket).await {
                        Ok(got) => waits.push(got - asked),
                        Err(error) => refused.push(error.to_string()),
                    }
                }
            })
        })
        .collect();
    let (mut waits, mut refused, mut sessions_max) = (Vec::new(), Vec::new(), 0);
    for job in jobs {
        if let Ok([sessions, ..]) = ground.sessions().await {
            sessions_max = sessions_max.max(sessions);
        }
        stage.progress("contention", waits.len(), count);
        if let Ok((taken, errors)) = job.await {
            waits.extend(taken);
            refused.extend(errors);
        }
    }
    let sums = async {
        let client = ground.onlooker.get().await?;
        let row = client
            .query_one(
                "SELECT (SELECT count(*) FROM ledger), sum(balance)::BIGINT FROM accounts",
                &[],
            )
            .await?;
        Ok::<_, PoolError>((row.get::<_, i64>(0), row.get::<_, i64>(1)))
    };
    let sums = sums.await;
    let committed = waits.len();
    stage.durations("from asking to being within a transaction", waits);
    stage.row("most sessions at the server", sessions_max);
    stage.judge(
        "H1",
        "no more connections are lent at once than the pool may have",
        (2..=u64::from(SIZE)).contains(&lent.most()),
        format!("{} of {SIZE} at most", lent.most()),
    );
    stage.judge(
        "H1 H2",
        "each transaction is committed once, whoever contends, and the books agree",
        committed == count && matches!(sums, Ok((rows, 10_000)) if rows == count as i64),
        format!("{committed} of {count} committed, rows and sum {sums:?}, {refused:?}"),
    );
}

/// How many are lent just now, and were at most.
#[derive(Clone, Default)]
struct Lent(Arc<[AtomicU64; 2]>);

impl Lent {
    fn more(&self) {
        let [now, most] = &*self.0;
        most.fetch_max(now.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
    }

    fn less(&self) {
        self.0[0].fetch_sub(1, Ordering::AcqRel);
    }

    fn most(&self) -> u64 {
        self.0[1].load(Ordering::Acquire)
    }
}

/// Moves one from an account to another and notes it in the ledger; when the transaction had begun.
async fn transfer(
    pool: &Pool,
    seed: &mut Seed,
    lent: &Lent,
    ticket: i64,
) -> Result<Instant, PoolError> {
    let amount = 1 + seed.below(5) as i64;
    let (low, high) = (seed.below(9) as i64, 9_i64);
    pool.transaction(|tx| {
        let lent = lent.clone();
        Box::pin(async move {
            let got = now();
            lent.more();
            let moved = async {
                // In the order of the ids, so that two never wait for each other.
                let sql = "UPDATE accounts SET balance = balance + $2 WHERE id = $1";
                tx.execute(sql, &[&low, &-amount]).await?;
                tx.execute(sql, &[&high, &amount]).await?;
                tx.execute(ENTRY, &[&ticket]).await
            };
            let moved = moved.await;
            lent.less();
            moved?;
            Ok(got)
        })
    })
    .await
}
