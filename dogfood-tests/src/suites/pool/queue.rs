//! The queue before a pool: who waits longest is served first, who gives up is out of it, and waiting holds no worker.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_runtime::postgres::PoolError;
use mesh_runtime::{Context, Job, ReplyTo};

use crate::stage::{Tally, now, until, within};

use super::Ground;
use super::break_off::sleeps;

/// Longest wait of the hasty.
const HASTE: Duration = Duration::from_millis(20);

impl Ground {
    /// Waits until so many wait for a connection.
    async fn waiting(&self, many: usize) -> bool {
        let start = now();
        while self
            .pool
            .state()
            .await
            .is_ok_and(|state| state.waiting != many)
        {
            if start.elapsed() > crate::wait::PATIENCE {
                return false;
            }
            tokio::task::yield_now().await;
        }
        true
    }
}

/// One connection is held; patient, hasty and cancelled ones line up; then it is let go.
pub(super) async fn queue(ground: Ground) {
    let (stage, count) = (&ground.stage, ground.stage.count(100, 20).min(500));
    let held = ground.pool.get().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let (mut patient, mut cancelled, mut lined_up) = (Vec::new(), Vec::new(), true);
    let (mut early, mut untold) = (0, 0);
    for number in 0..count {
        stage.progress("the queue", number, count);
        let (pool, order) = (ground.pool.clone(), order.clone());
        let job = Job::spawn(&ground.system, async move {
            // Once served each asks again, as a newcomer whom nobody who waits may have to wait for.
            for turn in 0..2 {
                let client = pool.get().await;
                let served = client.is_ok().then_some(number + turn * count);
                order
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(served);
            }
        });
        // Each fourth is let go of while it stands among the others.
        if number % 4 == 3 {
            cancelled.push(job);
        } else {
            patient.push((number, job));
        }
        lined_up &= ground.waiting(number + 1).await;
        if number % 4 == 0 {
            let began = now();
            let hasty = ground.pool.with_checkout_timeout(HASTE).get().await;
            early += usize::from(began.elapsed() < HASTE);
            untold += usize::from(!matches!(hasty, Err(PoolError::Timeout)));
        }
    }
    stage.judge(
        "H1 E1",
        "who is not served in time is told so, at the deadline and not before",
        early + untold == 0 && held.is_ok(),
        format!("{early} early, {untold} not told, of {}", count.div_ceil(4)),
    );
    drop(cancelled);
    let gone = ground.waiting(patient.len()).await;
    drop(held);
    let expected: Vec<usize> = patient.iter().map(|(number, _)| *number).collect();
    for (_, job) in patient {
        drop(within(job).await);
    }
    let order = order.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let in_order = order.starts_with(&expected);
    stage.judge(
        "H1",
        "waiters are served in the order they came and before newcomers; who gives up is out of the queue",
        lined_up && gone && in_order && order.len() == expected.len() * 2,
        format!(
            "{} served of {}, in order {in_order}, lined up {lined_up}, gone {gone}",
            order.len(),
            expected.len() * 2
        ),
    );
}

/// On one worker: all connections run statements that do not end, and many wait for them.
pub(super) async fn one_worker(ground: Ground) {
    let (stage, pings) = (&ground.stage, ground.stage.count(10, 200));
    let waiters = 50;
    let (mut busy, mut begun) = (Vec::new(), true);
    for ticket in 0..2 {
        let (sleeps, inside) = sleeps(ground.pool.clone(), ticket);
        busy.push(Job::spawn(&ground.system, sleeps));
        begun &= until(|| inside.get() > 0).await;
    }
    let served = Tally::default();
    let jobs: Vec<_> = (0..waiters)
        .map(|_| {
            let (pool, served) = (ground.pool.clone(), served.clone());
            Job::spawn(&ground.system, async move {
                if pool.get().await.is_ok() {
                    served.add();
                }
            })
        })
        .collect();
    begun &= ground.waiting(waiters).await;
    let echo = ground.system.spawn(async |mut cx: Context<ReplyTo<()>>| {
        for _ in 0..u64::MAX {
            cx.receive().await.reply(());
        }
    });
    let (mut answered, mut taken) = (0, Vec::new());
    for done in 0..pings {
        stage.progress("one worker", done, pings);
        let asked = now();
        if echo.call(|to| to).await.is_ok() {
            answered += 1;
            taken.push(asked.elapsed());
        }
    }
    let waiting = ground.pool.state().await.map(|state| state.waiting);
    stage.durations("a ping while all connections are busy", taken);
    stage.judge(
        "H8",
        "on one worker pings are answered while every connection is busy and others wait",
        begun && answered == pings && matches!(waiting, Ok(still) if still == waiters),
        format!("{answered} of {pings} answered, {waiting:?} waited on, begun {begun}"),
    );
    drop(busy);
    for job in jobs {
        drop(within(job).await);
    }
    let (settled, last) = ground.settled().await;
    stage.judge(
        "H1 H2",
        "those who wait are served when what is busy is cancelled",
        served.get() == waiters as u64 && settled,
        format!("{} of {waiters} served; {last}", served.get()),
    );
}
