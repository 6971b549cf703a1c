//! Jobs: a process for one result.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_runtime::{Context, ExitKind, ExitReason, Job, JobError, System};

use crate::support::{PATIENCE, journal, soon, until};

#[tokio::test]
async fn job_gives_its_result() {
    let system = System::new();
    assert_eq!(
        soon(&system, Job::spawn(&system, async { 42 })).await,
        Ok(42)
    );
}

#[tokio::test]
async fn jobs_awaited_in_the_opposite_order_keep_their_results() {
    let system = System::new();
    let first = Job::spawn(&system, async { "first" });
    let second = Job::spawn(&system, async { "second" });
    assert_eq!(soon(&system, second).await, Ok("second"));
    assert_eq!(soon(&system, first).await, Ok("first"));
}

#[tokio::test]
async fn panic_of_a_job_is_a_value() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let job = Job::spawn(&mut cx, async {
            assert_eq!(1, 2, "no");
        });
        let _ = sender.send(job.await);
    });
    let Err(JobError::Exited(reason)) = seen.next(&system).await else {
        panic!("the job gives no result")
    };
    assert!(
        matches!(reason.kind(), ExitKind::Panic { location, .. } if location.contains("jobs.rs"))
    );
}

#[tokio::test]
async fn job_that_is_late_can_be_awaited_again() {
    let system = System::new();
    let gate = system.spawn(|cx: Context<()>| async move { cx.sleep(PATIENCE).await });
    let waits = system.wait_for_exit(gate.pid());
    let mut job = Job::spawn(&system, waits);
    assert_eq!(
        job.await_timeout(Duration::from_millis(2)).await,
        Err(JobError::Timeout)
    );
    system.exit(gate.pid(), ExitReason::error("open"));
    assert_eq!(
        job.await_timeout(PATIENCE).await,
        Ok(ExitReason::error("open"))
    );
}

#[tokio::test]
async fn job_dies_with_its_owner() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let inside = system.clone();
    let owner = system.spawn(move |mut cx: Context<()>| async move {
        let job = Job::spawn(&mut cx, async move { inside.sleep(PATIENCE).await });
        let _ = sender.send(job.pid());
        // Forgotten, so that only the death of the owner can end it.
        std::mem::forget(job);
        cx.receive().await;
    });
    let job = seen.next(&system).await;
    let wait = system.wait_for_exit(job);
    assert!(system.is_alive(job));
    owner.send(()).unwrap();
    assert_eq!(soon(&system, wait).await, ExitKind::Killed);
}

#[tokio::test]
async fn dropped_job_is_killed() {
    let system = System::new();
    let inside = system.clone();
    let job = Job::spawn(&system, async move { inside.sleep(PATIENCE).await });
    let pid = job.pid();
    drop(job);
    until(&system, || !system.is_alive(pid)).await;
}

#[tokio::test]
async fn result_is_given_once() {
    let system = System::new();
    let mut job = Job::spawn(&system, async { 42 });
    assert_eq!(job.await_timeout(PATIENCE).await, Ok(42));
    assert_eq!(
        job.await_timeout(PATIENCE).await,
        Err(JobError::Exited(ExitReason::no_process()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_that_is_watched_while_it_panics_is_a_value() {
    let system = System::new();
    for _ in 0..2_000 {
        let job = Job::spawn(&system, async { panic!("watched") });
        let watched = soon(
            &system,
            Job::<()>::spawn(&system, async move {
                assert!(
                    matches!(job.await, Err::<(), _>(JobError::Exited(reason)) if reason.is_panic())
                );
            }),
        );
        assert_eq!(watched.await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn map_keeps_its_limit_and_the_order() {
    let system = System::new();
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak, inside) = (running.clone(), most.clone(), system.clone());
    let work = move |number: u32| {
        let (now, peak, inside) = (now.clone(), peak.clone(), inside.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if number.is_multiple_of(7) {
                inside.sleep(Duration::from_millis(1)).await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            assert_ne!(number, 500, "one of many");
            number
        }
    };
    let results = soon(&system, Job::map(&system, 8, 0..2_000, work)).await;
    assert_eq!(results.len(), 2_000);
    for (number, result) in results.into_iter().enumerate() {
        match result {
            Ok(same) => assert_eq!(same as usize, number),
            Err(JobError::Exited(reason)) => assert!(number == 500 && reason.is_panic()),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(most.load(Ordering::SeqCst) <= 8);
    assert_eq!(running.load(Ordering::SeqCst), 0);
    until(&system, || system.inspect().processes.is_empty()).await;
}

#[tokio::test]
async fn map_that_is_dropped_or_whose_owner_dies_leaves_no_job() {
    let system = System::new();
    let inside = system.clone();
    let sleeps = move |_: u32| {
        let inside = inside.clone();
        async move { inside.sleep(PATIENCE).await }
    };
    let map = Job::map(&system, 3, 0..10, sleeps.clone());
    assert!(system.timeout(Duration::from_millis(2), map).await.is_err());
    until(&system, || system.inspect().processes.is_empty()).await;
    let owner = system.spawn(move |mut cx: Context<()>| async move {
        Job::map(&mut cx, 1, 0..10, sleeps).await;
    });
    until(&system, || system.inspect().processes.len() == 2).await;
    system.kill(owner.pid());
    until(&system, || system.inspect().processes.is_empty()).await;
}
