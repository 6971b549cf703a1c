//! One for one: the child alone is started anew.

use std::time::Duration;

use mesh_runtime::{
    CallError, ChildSpec, Context, DynamicSupervisor, ExitReason, ReplyTo, RestartType, SendError,
    StartError, Strategy, Supervisor, System,
};

use crate::support::{
    Args, Life, Message, PATIENCE, Worker, address, crash, journal, soon, supervise, total, until,
    worker,
};

fn boom() -> Message {
    Message::Panic("boom".into())
}

#[tokio::test]
async fn crashed_child_comes_back_fresh_and_alone() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let tree = Supervisor::new(Strategy::OneForOne)
        .child(worker("a", &sender))
        .child(worker("b", &sender));
    supervise(&system, tree).await;
    let (a, b) = (address(&system, "a"), address(&system, "b").pid());
    let before = a.pid();
    a.send(Message::Add(5)).unwrap();
    assert!(crash(&system, "a", boom()).await.is_panic());
    assert_eq!(
        total(&system, "a").await,
        Ok(0),
        "fresh state behind the same address"
    );
    assert_ne!(a.pid(), before);
    assert_eq!(address(&system, "b").pid(), b);
    assert_eq!(seen.next(&system).await, Life::Started("a"));
    assert_eq!(seen.next(&system).await, Life::Started("b"));
    assert!(matches!(seen.next(&system).await, Life::Terminated("a", why) if why.contains("boom")));
    assert_eq!(seen.next(&system).await, Life::Started("a"));
}

#[tokio::test]
async fn restart_type_decides() {
    let reasons = [
        ExitReason::normal(),
        ExitReason::shutdown(),
        ExitReason::error("x"),
        ExitReason::killed(),
    ];
    for (restart, expected) in [
        (RestartType::Permanent, [true, true, true, true]),
        (RestartType::Transient, [false, false, true, true]),
        (RestartType::Temporary, [false, false, false, false]),
    ] {
        for (reason, restarted) in reasons.iter().zip(expected) {
            let system = System::new();
            let (sender, _seen) = journal();
            let tree =
                Supervisor::new(Strategy::OneForOne).child(worker("a", &sender).restart(restart));
            let handle = supervise(&system, tree).await;
            let a = address(&system, "a");
            crash(&system, "a", Message::Stop(reason.clone())).await;
            // The supervisor has the exit signal before this question.
            let children = soon(&system, handle.which_children()).await.unwrap();
            let running = children.first().is_some_and(|child| child.pid.is_some());
            assert_eq!(running, restarted, "{restart:?} {reason:?}");
            assert_eq!(
                children.len(),
                usize::from(restart != RestartType::Temporary),
                "{restart:?} {reason:?}"
            );
            if !restarted {
                assert!(matches!(a.send(Message::Add(1)), Err(SendError::Gone(_))));
            }
        }
    }
}

#[tokio::test]
async fn queue_is_dropped_and_its_calls_end_as_exited() {
    let system = System::new();
    let (sender, _seen) = journal();
    supervise(
        &system,
        Supervisor::new(Strategy::OneForOne).child(worker("a", &sender)),
    )
    .await;
    let a = address(&system, "a");
    a.send(boom()).unwrap();
    a.send(Message::Add(7)).unwrap();
    let queued = soon(&system, a.call(Message::Total)).await;
    assert!(matches!(queued, Err(CallError::Exited(reason)) if reason.is_panic()));
    assert_eq!(total(&system, "a").await, Ok(0));
}

#[tokio::test]
async fn kept_mailbox_loses_only_the_message_in_hand() {
    let system = System::new();
    let (sender, _seen) = journal();
    supervise(
        &system,
        Supervisor::new(Strategy::OneForOne).child(worker("a", &sender).keep_mailbox()),
    )
    .await;
    let a = address(&system, "a");
    let in_hand = a.call(Message::PanicInCall);
    let queued = async {
        a.send(Message::Add(7)).unwrap();
        a.call(Message::Total).await
    };
    let mut in_hand = std::pin::pin!(in_hand);
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(in_hand.as_mut().poll(cx).is_pending()))
            .await
    );
    assert_eq!(
        soon(&system, queued).await,
        Ok(7),
        "the next life answers what waited"
    );
    assert!(
        matches!(soon(&system, in_hand).await, Err(CallError::Exited(reason)) if reason.is_panic())
    );
}

#[tokio::test]
async fn closure_child_runs_again() {
    let system = System::new();
    let spec = ChildSpec::process("echo", |mut cx: Context<Option<ReplyTo<u64>>>| async move {
        while let Some(to) = cx.receive().await {
            to.reply(1);
        }
    });
    supervise(&system, Supervisor::new(Strategy::OneForOne).child(spec)).await;
    let echo = system.whereis::<Option<ReplyTo<u64>>>("echo").unwrap();
    let first = echo.pid();
    let ended = system.wait_for_exit(first);
    echo.send(None).unwrap();
    soon(&system, ended).await;
    assert_eq!(soon(&system, echo.call(Some)).await, Ok(1));
    assert_ne!(echo.pid(), first);
}

#[tokio::test]
async fn children_are_managed_at_run_time() {
    let system = System::new();
    let (sender, _seen) = journal();
    let handle = supervise(
        &system,
        Supervisor::new(Strategy::OneForOne)
            .named("top")
            .child(worker("a", &sender)),
    )
    .await;
    let again = system.supervisor("top").unwrap();
    assert_eq!(again.pid(), handle.pid());
    let b = handle.start_child(worker("b", &sender)).await.unwrap();
    assert_eq!(
        handle.start_child(worker("b", &sender)).await,
        Err(StartError::AlreadyStarted)
    );
    assert_eq!(address(&system, "b").pid(), b);
    let counts = handle.count_children().await.unwrap();
    assert_eq!(
        (
            counts.specs,
            counts.active,
            counts.workers,
            counts.supervisors
        ),
        (2, 2, 2, 0)
    );
    assert_eq!(
        handle.delete_child("b").await,
        Err(StartError::AlreadyStarted)
    );
    let gone = address(&system, "b");
    handle.terminate_child("b").await.unwrap();
    assert!(matches!(
        gone.send(Message::Add(1)),
        Err(SendError::Gone(_))
    ));
    assert_eq!(
        handle.start_child(worker("b", &sender)).await,
        Err(StartError::AlreadyPresent)
    );
    assert_eq!(handle.count_children().await.unwrap().active, 1);
    let anew = handle.restart_child("b").await.unwrap();
    assert_ne!(anew, b);
    gone.send(Message::Add(1))
        .expect("the address is good again");
    assert_eq!(
        handle.restart_child("b").await,
        Err(StartError::AlreadyStarted)
    );
    handle.terminate_child("b").await.unwrap();
    handle.delete_child("b").await.unwrap();
    assert_eq!(handle.delete_child("b").await, Err(StartError::NotFound));
    assert_eq!(system.whereis_pid("b"), None);
}

#[tokio::test]
async fn dynamic_children_come_and_go() {
    let system = System::new();
    let (sender, _seen) = journal();
    let tree = Supervisor::new(Strategy::OneForOne).child(ChildSpec::dynamic(
        "pool",
        DynamicSupervisor::new().max_children(2),
    ));
    supervise(&system, tree).await;
    let pool = system.supervisor("pool").unwrap();
    let args = Args {
        name: "w",
        journal: sender,
        trap: false,
    };
    let spec = |restart| ChildSpec::worker::<Worker>("", args.clone()).restart(restart);
    let first = pool
        .start_child(spec(RestartType::Temporary))
        .await
        .unwrap();
    pool.start_child(spec(RestartType::Permanent))
        .await
        .unwrap();
    assert_eq!(
        pool.start_child(spec(RestartType::Temporary)).await,
        Err(StartError::MaxChildren)
    );
    let ended = system.wait_for_exit(first);
    system.kill(first);
    soon(&system, ended).await;
    assert_eq!(
        pool.count_children().await.unwrap().specs,
        1,
        "a temporary child is forgotten"
    );
    pool.start_child(spec(RestartType::Transient))
        .await
        .unwrap();
    pool.terminate_child("child-2").await.unwrap();
    assert_eq!(pool.count_children().await.unwrap().specs, 1);
}

#[tokio::test]
async fn init_that_fails_during_a_restart_counts_as_another() {
    let system = System::new();
    let starts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = starts.clone();
    let (sender, _seen) = journal::<Life>();
    let spec = ChildSpec::worker_with::<Worker>("flaky", move || {
        let start = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        // The second and third start find a closed journal, so that init fails.
        let journal = if start == 1 || start == 2 {
            journal().0
        } else {
            sender.clone()
        };
        Args {
            name: "flaky",
            journal,
            trap: false,
        }
    });
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(3, PATIENCE)
        .child(spec);
    let handle = supervise(&system, tree).await;
    crash(&system, "flaky", boom()).await;
    assert_eq!(total(&system, "flaky").await, Ok(0));
    assert_eq!(starts.load(std::sync::atomic::Ordering::SeqCst), 4);
    assert!(handle.is_alive());
    // Three restarts are spent; one more is too many.
    let ended = system.wait_for_exit(handle.pid());
    let _ = address(&system, "flaky").send(boom());
    assert_eq!(soon(&system, ended).await, ExitReason::restart_intensity());
    until(&system, || system.inspect().processes.is_empty()).await;
}

#[tokio::test]
async fn message_sent_between_two_lives_is_for_the_next() {
    let system = System::new();
    let (sender, mut seen) = journal();
    // The back-off makes sure that there is a time between two lives.
    let pause = Duration::from_millis(50);
    let child = worker("a", &sender).back_off(pause, pause);
    supervise(&system, Supervisor::new(Strategy::OneForOne).child(child)).await;
    let a = address(&system, "a");
    let ended = system.wait_for_exit(a.pid());
    system.kill(a.pid());
    soon(&system, ended).await;
    a.send(Message::Add(4)).unwrap();
    assert_eq!(
        soon(
            &system,
            a.call_timeout(Duration::from_secs(30), Message::Total)
        )
        .await,
        Ok(4)
    );
    assert_eq!(seen.next(&system).await, Life::Started("a"));
}

#[tokio::test]
async fn panic_while_arguments_are_made_is_a_failed_start() {
    let system = System::new();
    let (sender, _seen) = journal();
    let makes = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = makes.clone();
    let spec = ChildSpec::worker_with::<Worker>("a", move || {
        let make = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert_ne!(make, 1, "the second start has no arguments");
        Args {
            name: "a",
            journal: sender.clone(),
            trap: true,
        }
    });
    let handle = supervise(&system, Supervisor::new(Strategy::OneForOne).child(spec)).await;
    crash(&system, "a", boom()).await;
    assert_eq!(total(&system, "a").await, Ok(0));
    assert!(handle.is_alive());
    assert_eq!(makes.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[tokio::test]
async fn supervisor_answers_while_a_restart_fails_again_and_again() {
    let system = System::new();
    let (sender, _seen) = journal();
    let starts = std::sync::atomic::AtomicU32::new(0);
    let spec = ChildSpec::worker_with::<Worker>("a", move || Args {
        name: "a",
        journal: if starts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            sender.clone()
        } else {
            journal().0
        },
        trap: true,
    });
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(u32::MAX, PATIENCE)
        .child(spec);
    let handle = supervise(&system, tree).await;
    crash(&system, "a", boom()).await;
    until(&system, || system.inspect().counts.restarts > 10).await;
    assert_eq!(
        soon(&system, handle.count_children()).await.unwrap().active,
        0
    );
    assert_eq!(soon(&system, handle.terminate_child("a")).await, Ok(()));
    soon(&system, handle.stop()).await.unwrap();
}
