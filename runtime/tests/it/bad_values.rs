//! Bad input is a named error, or has a meaning that is written down; never a panic of the runtime and never a hang.

use std::time::Duration;

use mesh_runtime::{
    Actor, CallError, Capacity, ChildSpec, Context, DynamicSupervisor, ExitKind, ExitReason, Flow,
    Job, JobError, NameError, Overflow, ReplyTo, SendError, StartError, Strategy, Supervisor,
    System,
};

use crate::support::{Message, PATIENCE, crash, journal, soon, supervise, worker};

const ZERO: Duration = Duration::ZERO;

/// Cannot start, in the way it is told.
struct Stillborn;

impl Actor for Stillborn {
    type Args = &'static str;
    type Message = ();

    async fn init(how: &'static str, _cx: &mut Context<()>) -> Result<Self, ExitReason> {
        assert_ne!(how, "panic", "on purpose");
        Err(ExitReason::error(how))
    }

    async fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Flow {
        Flow::Continue
    }
}

fn sleeper(system: &System, capacity: Capacity) -> mesh_runtime::Address<u8> {
    system.spawn_with(capacity, |cx: Context<u8>| async move {
        cx.sleep(PATIENCE).await
    })
}

#[tokio::test]
async fn interval_of_zero_gives_the_message_back() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<u8>| async move {
        let me = cx.address();
        sender.send(cx.send_interval(&me, ZERO, 7)).unwrap();
        // The longest there is does not overflow.
        assert!(cx.send_interval(&me, Duration::MAX, 8).is_ok());
        cx.send_after(&me, Duration::MAX, 9);
        cx.sleep(PATIENCE).await;
    });
    let refused = seen.next(&system).await;
    assert_eq!(refused, Err(SendError::NoPeriod(7)));
    assert_eq!(refused.unwrap_err().into_message(), 7);
}

#[tokio::test]
async fn waits_of_zero_end_at_once_and_by_name() {
    let system = System::new();
    let deaf = sleeper(&system, Capacity::bounded(1).overflow(Overflow::Wait));
    deaf.send(1).unwrap();
    assert_eq!(
        soon(&system, deaf.send_wait(2, ZERO)).await,
        Err(SendError::Full(2))
    );
    let silent = system.spawn(|mut cx: Context<ReplyTo<u8>>| async move {
        let _held = cx.receive().await;
        cx.sleep(PATIENCE).await;
    });
    assert_eq!(
        soon(&system, silent.call_timeout(ZERO, |to| to)).await,
        Err(CallError::Timeout)
    );
    soon(&system, system.sleep(ZERO)).await;
    assert!(
        soon(&system, system.timeout(ZERO, std::future::pending::<()>()))
            .await
            .is_err()
    );
    let mut job = Job::spawn(&system, std::future::pending::<()>());
    assert_eq!(
        soon(&system, job.await_timeout(ZERO)).await,
        Err(JobError::Timeout)
    );
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<u8>| async move {
        sender.send(cx.receive_timeout(ZERO).await).unwrap();
        let me = cx.address();
        cx.send_after(&me, ZERO, 1);
        sender.send(Some(cx.receive().await)).unwrap();
    });
    assert_eq!(seen.next(&system).await, None);
    assert_eq!(seen.next(&system).await, Some(1));
    let timeout = soon(&system, system.shutdown(ZERO)).await.unwrap_err();
    assert!(
        timeout.killed.contains(&deaf.pid()),
        "asked and killed at once"
    );
    assert!(!system.is_alive(deaf.pid()));
}

#[tokio::test]
async fn mailbox_of_zero_takes_no_message() {
    let system = System::new();
    for policy in [Overflow::Reject, Overflow::Wait] {
        let process = sleeper(&system, Capacity::bounded(0).overflow(policy));
        assert_eq!(process.send(1), Err(SendError::Full(1)), "{policy:?}");
        assert_eq!(
            soon(&system, process.send_wait(1, ZERO)).await,
            Err(SendError::Full(1))
        );
    }
    for policy in [Overflow::DropOldest, Overflow::DropNewest] {
        let process = sleeper(&system, Capacity::bounded(0).overflow(policy));
        assert_eq!(process.send(1), Ok(()), "{policy:?}");
        assert!(process.is_empty());
    }
    assert_eq!(system.inspect().counts.messages_dropped, 2);
    let callee = system.spawn_with(
        Capacity::bounded(0),
        |cx: Context<ReplyTo<u8>>| async move {
            cx.sleep(PATIENCE).await;
        },
    );
    assert_eq!(
        soon(&system, callee.call(|to| to)).await,
        Err(CallError::Full)
    );
}

#[tokio::test]
async fn limit_of_zero_starts_no_job() {
    let system = System::new();
    let results = soon(
        &system,
        Job::map(&system, 0, 0..3, |number| async move { number }),
    )
    .await;
    assert_eq!(results, [const { Err(JobError::NoLimit) }; 3]);
    assert_eq!(system.inspect().counts.spawned, 0);
}

#[tokio::test]
async fn intensity_of_zero_restarts_is_legal_and_of_no_time_is_not() {
    let system = System::new();
    let (sender, _seen) = journal();
    let strict = Supervisor::new(Strategy::OneForOne)
        .intensity(0, PATIENCE)
        .child(worker("till", &sender));
    let strict = supervise(&system, strict).await;
    let ended = system.wait_for_exit(strict.pid());
    crash(&system, "till", Message::Panic("x".into())).await;
    assert_eq!(soon(&system, ended).await, ExitKind::RestartIntensity);

    let endless = || {
        Supervisor::new(Strategy::OneForOne)
            .named("endless")
            .intensity(3, ZERO)
    };
    let refused = soon(&system, system.supervise(endless())).await;
    assert_eq!(refused.unwrap_err(), StartError::Intensity);
    assert!(system.names().is_empty());
    let nested = Supervisor::new(Strategy::OneForOne).child(ChildSpec::dynamic(
        "inner",
        DynamicSupervisor::new().intensity(3, ZERO),
    ));
    assert_eq!(
        soon(&system, system.supervise(nested)).await.unwrap_err(),
        StartError::Intensity
    );
    assert!(system.inspect().processes.is_empty());
}

#[tokio::test]
async fn child_that_cannot_start_is_a_named_error() {
    let system = System::new();
    let top = supervise(&system, DynamicSupervisor::new().max_children(1).into()).await;
    let child = |how| ChildSpec::worker::<Stillborn>("child", how);
    let failed = soon(&system, top.start_child(child("no disk")))
        .await
        .unwrap_err();
    assert_eq!(
        failed,
        StartError::Failed {
            child: None,
            reason: ExitReason::error("no disk")
        }
    );
    let Err(StartError::Failed { reason, .. }) =
        soon(&system, top.start_child(child("panic"))).await
    else {
        panic!("it cannot start");
    };
    assert!(reason.is_panic());
    let (sender, _seen) = journal();
    soon(&system, top.start_child(worker("first", &sender)))
        .await
        .unwrap();
    assert_eq!(
        soon(&system, top.start_child(worker("second", &sender))).await,
        Err(StartError::MaxChildren)
    );
    let none = supervise(&system, DynamicSupervisor::new().max_children(0).into()).await;
    assert_eq!(
        soon(&system, none.start_child(worker("third", &sender))).await,
        Err(StartError::MaxChildren)
    );
    assert_eq!(
        soon(&system, top.restart_child("nobody")).await,
        Err(StartError::NotFound)
    );
    assert_eq!(
        soon(&system, top.terminate_child("nobody")).await,
        Err(StartError::NotFound)
    );
}

#[tokio::test]
async fn name_that_cannot_be_one_is_refused_everywhere() {
    let system = System::new();
    let process = sleeper(&system, Capacity::default());
    let (sender, _seen) = journal();
    for name in [String::new(), "x".repeat(256), "line\nbreak".to_owned()] {
        assert_eq!(
            system.register(&name, &process),
            Err(NameError::Invalid),
            "{name:?}"
        );
        assert_eq!(
            system.groups().join(&name, &process),
            Err(NameError::Invalid)
        );
        assert_eq!(
            system.rooms().join(&name, &process, |_| 0),
            Err(NameError::Invalid)
        );
        assert_eq!(
            system.whereis::<u8>(&name).unwrap_err(),
            NameError::NotFound
        );
        let named = Supervisor::new(Strategy::OneForOne).named(&name);
        let invalid = StartError::Name {
            name: name.clone(),
            error: NameError::Invalid,
        };
        assert_eq!(
            soon(&system, system.supervise(named)).await.unwrap_err(),
            invalid
        );
        if !name.is_empty() {
            let leaked: &'static str = Box::leak(name.clone().into_boxed_str());
            let tree = Supervisor::new(Strategy::OneForOne).child(worker(leaked, &sender));
            assert_eq!(
                soon(&system, system.supervise(tree)).await.unwrap_err(),
                invalid
            );
        }
    }
    let longest = "x".repeat(255);
    assert_eq!(system.register(&longest, &process), Ok(()));
    assert_eq!(system.names(), [(longest, process.pid())]);
}
