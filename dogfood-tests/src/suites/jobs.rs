//! R11: jobs awaited in any order, late, panicking, dropped and orphaned. Attacks F7 to F9.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_runtime::{Context, Job, JobError, System};

use crate::stage::{Census, Stage, Tally, until, within};

pub(super) fn play(stage: &Stage) {
    let workers = stage.workers();
    stage.scene("jobs in any order", workers, any_order);
    stage.scene("late, dropped and orphaned jobs", workers, orphans);
}

async fn any_order(stage: Stage, system: System) {
    let count = stage.count(1, 200);
    let mut seed = stage.seed();
    let (mut wrong, mut panics) = (0, 0);
    let mut open: Vec<(usize, bool, Job<usize>)> = Vec::new();
    let mut next = 0;
    while next < count || !open.is_empty() {
        stage.progress("jobs in any order", next, count);
        if next < count && open.len() < 1000 {
            let (index, panics, pause) = (next, seed.below(10) == 0, seed.below(50));
            let clock = system.clone();
            let job = Job::spawn(&system, async move {
                if pause == 0 {
                    clock.sleep(Duration::from_millis(1)).await;
                }
                assert!(!panics, "a job panics on purpose");
                index
            });
            open.push((index, panics, job));
            next += 1;
            continue;
        }
        let at = usize::try_from(seed.below(open.len() as u64)).unwrap_or(0);
        let (index, panicking, job) = open.swap_remove(at);
        match within(job).await {
            Some(Ok(result)) if result == index && !panicking => {}
            Some(Err(JobError::Exited(reason))) if reason.is_panic() && panicking => panics += 1,
            _ => wrong += 1,
        }
    }
    stage.row("jobs and panics among them", format!("{count} / {panics}"));
    stage.judge(
        "F7",
        "each job gives its own result, whatever the order of awaiting; a panic is a value",
        wrong == 0 && panics > 0,
        format!("{wrong} of {count} wrong"),
    );
}

async fn orphans(stage: Stage, system: System) {
    let count = stage.count(10, 100);
    let census = Census::default();
    let mut again = 0;
    for _ in 0..20 {
        let gate = Tally::default();
        let opened = gate.clone();
        let clock = system.clone();
        let mut job = Job::spawn(&system, async move {
            while opened.get() == 0 {
                clock.sleep(Duration::from_millis(1)).await;
            }
            7
        });
        let late = within(job.await_timeout(Duration::from_millis(2))).await;
        gate.add();
        let then = within(job).await;
        again += usize::from(late == Some(Err(JobError::Timeout)) && then == Some(Ok(7)));
    }
    stage.judge(
        "F9",
        "a job that was late can be awaited again",
        again == 20,
        format!("{again} of 20"),
    );
    for _ in 0..count {
        let held = census.enter();
        drop(Job::spawn(&system, async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
    }
    let dropped = until(|| census.living() == 0).await;
    stage.judge(
        "F8",
        "a job that is dropped ends",
        dropped,
        format!("{} of {count} live", census.living()),
    );
    let mut owners = Vec::new();
    let kept = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..count {
        let (counted, kept) = (census.clone(), kept.clone());
        owners.push(system.spawn(async move |mut cx: Context<()>| {
            let (first, second) = (counted.enter(), counted.enter());
            let job = Job::spawn(&mut cx, async move {
                std::future::pending::<()>().await;
                drop(first);
            });
            // One whose value outlives the owner, and does not keep the job.
            let other = Job::spawn(&mut cx, async move {
                std::future::pending::<()>().await;
                drop(second);
            });
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(other);
            drop(job.await);
        }));
    }
    let begun = until(|| census.living() == count as isize * 2).await;
    for owner in &owners {
        system.kill(owner.pid());
    }
    let gone = until(|| census.living() == 0).await;
    stage.judge(
        "F8",
        "jobs die with their owner",
        begun && gone,
        format!("{} of {} live", census.living(), count * 2),
    );
}
