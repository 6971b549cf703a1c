//! Jobs: a process for one result.

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
