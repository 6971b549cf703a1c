//! Transactions that break off: refused, panicked, cancelled, killed. Nothing of them is left, and no connection is lost.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use mesh_runtime::postgres::{Pool, PoolError};
use mesh_runtime::{Context, Job, JobError, System};

use crate::stage::{Tally, until, within};

use super::{ENTRY, Ground, PROCESSES, SIZE, enter};

/// A statement that ends only by being cancelled.
const SLEEPS: &str = "SELECT pg_sleep(600)";

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Commits,
    Fails,
    Panics,
    IsCancelled,
    IsKilled,
}

const FATES: [Fate; 5] = [
    Fate::Commits,
    Fate::Fails,
    Fate::Panics,
    Fate::IsCancelled,
    Fate::IsKilled,
];

/// Enters a ticket in a transaction that ends so; whether it ended as it was to.
async fn ends_so(system: &System, pool: &Pool, fate: Fate, ticket: i64) -> bool {
    match fate {
        Fate::Commits => enter(pool, ticket).await.is_ok(),
        Fate::Fails => {
            let refused = pool
                .transaction(|tx| {
                    Box::pin(async move {
                        tx.execute(ENTRY, &[&ticket]).await?;
                        Err::<(), _>(PoolError::Unavailable("on purpose".to_owned()))
                    })
                })
                .await;
            matches!(refused, Err(PoolError::Unavailable(text)) if text == "on purpose")
        }
        Fate::Panics => {
            let pool = pool.clone();
            let job = Job::spawn(system, async move {
                let body = pool.transaction::<(), PoolError, _>(|tx| {
                    Box::pin(async move {
                        tx.execute(ENTRY, &[&ticket]).await?;
                        panic!("on purpose")
                    })
                });
                body.await.is_ok()
            });
            matches!(within(job).await, Some(Err(JobError::Exited(reason))) if reason.is_panic())
        }
        Fate::IsCancelled => {
            let (sleeps, _inside) = sleeps(pool.clone(), ticket);
            let limit = Duration::from_millis(1 + ticket.unsigned_abs() % 20);
            system.timeout(limit, sleeps).await.is_err()
        }
        Fate::IsKilled => {
            let (sleeps, inside) = sleeps(pool.clone(), ticket);
            let victim = system.spawn(async move |_: Context<()>| {
                let _ = sleeps.await;
            });
            until(|| inside.get() > 0).await && system.kill(victim.pid())
        }
    }
}

/// A transaction in which a statement runs that does not end; the tally tells when it is about to.
pub(super) fn sleeps(
    pool: Pool,
    ticket: i64,
) -> (impl Future<Output = Result<(), PoolError>> + Send, Tally) {
    let inside = Tally::default();
    let told = inside.clone();
    let sleeps = async move {
        pool.transaction(|tx| {
            Box::pin(async move {
                tx.execute(ENTRY, &[&ticket]).await?;
                let sleeps = tx.prepare(SLEEPS).await?;
                told.add();
                tx.execute(&sleeps, &[]).await?;
                Ok(())
            })
        })
        .await
    };
    (sleeps, inside)
}

pub(super) async fn break_off(ground: Ground) {
    let (stage, count) = (&ground.stage, ground.stage.count(10, 60));
    let tickets = Tally::default();
    let jobs: Vec<_> = (0..PROCESSES / 2)
        .map(|_| {
            let (system, pool, tickets) =
                (ground.system.clone(), ground.pool.clone(), tickets.clone());
            let mut seed = stage.seed();
            Job::spawn(&ground.system, async move {
                let mut seen = Vec::new();
                loop {
                    let ticket = tickets.add() as i64;
                    if ticket >= count as i64 {
                        return seen;
                    }
                    let fate = FATES[seed.below(5) as usize];
                    seen.push((ticket, fate, ends_so(&system, &pool, fate, ticket).await));
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for job in jobs {
        stage.progress("transactions that break off", seen.len(), count);
        seen.extend(job.await.unwrap_or_default());
    }
    let otherwise: Vec<_> = seen.iter().filter(|(.., as_told)| !as_told).collect();
    let committed: BTreeSet<i64> = seen
        .iter()
        .filter(|(_, fate, as_told)| *fate == Fate::Commits && *as_told)
        .map(|(ticket, ..)| *ticket)
        .collect();
    let (settled, last) = ground.settled().await;
    let ledger = ground.ledger().await;
    for fate in FATES {
        let so = seen.iter().filter(|(_, other, _)| *other == fate).count();
        stage.row(&format!("transactions: {fate:?}"), so);
    }
    stage.judge(
        "H2",
        "transactions end as their bodies do: committed, refused, panicked, cancelled, killed",
        otherwise.is_empty() && seen.len() == count,
        format!("{} of {count}, otherwise {otherwise:?}", seen.len()),
    );
    stage.judge(
        "H2",
        "what was committed is there, and nothing of what broke off",
        ledger == committed,
        format!("{} rows, {} committed", ledger.len(), committed.len()),
    );
    stage.judge(
        "H2",
        "no transaction stays open and no statement runs on after it was given up",
        settled,
        last,
    );
    let all = ground.all_can_be_had().await;
    stage.judge(
        "H1 H2",
        "no connection is lost: all can be had at once afterwards",
        all,
        format!("{SIZE} asked for: {all}"),
    );
}
