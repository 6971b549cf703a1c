//! How processes end, and in which order they let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_runtime::{
    Actor, Address, Capacity, Context, ExitKind, ExitReason, Flow, Job, JobError, Overflow,
    StartError, System,
};

use crate::support::{Args, Life, Log, Message, PATIENCE, Pen, Worker, journal, soon, until};

#[test]
fn exit_reason_is_one_pointer_wide() {
    assert_eq!(size_of::<ExitReason>(), size_of::<usize>());
    assert_eq!(size_of::<Option<mesh_runtime::Pid>>(), 8);
    assert_eq!(
        size_of::<mesh_runtime::ReplyTo<[u64; 16]>>(),
        size_of::<usize>()
    );
}

/// A process that waits to be told to go on, so that a monitor is set before it ends.
pub(crate) fn gated<F>(system: &System, end: F) -> Address<()>
where
    F: FnOnce() -> ExitReason + Send + 'static,
{
    system.spawn(move |mut cx: Context<()>| async move {
        cx.receive().await;
        end()
    })
}

pub(crate) async fn ended(system: &System, address: &Address<()>) -> ExitReason {
    let pid = address.pid();
    let wait = system.wait_for_exit(pid);
    address.send(()).expect("the process waits");
    soon(system, wait).await
}

#[tokio::test]
async fn closure_output_is_the_reason() {
    let system = System::new();
    let normal = gated(&system, ExitReason::normal);
    assert_eq!(ended(&system, &normal).await, ExitKind::Normal);
    let error = gated(&system, || ExitReason::error("no luck"));
    assert_eq!(ended(&system, &error).await, ExitReason::error("no luck"));
}

#[tokio::test]
async fn panic_is_a_reason_with_message_and_location() {
    let system = System::new();
    let panics = gated(&system, || panic!("boom {}", 7));
    let reason = ended(&system, &panics).await;
    let ExitKind::Panic { message, location } = reason.kind() else {
        panic!("{reason:?}")
    };
    assert_eq!(&**message, "boom 7");
    assert!(location.contains("exit_reasons.rs:"), "{location}");
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[tokio::test]
async fn panic_in_the_drop_of_the_state_is_contained() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<()>| async move {
        let _bomb = Bomb;
        cx.receive().await;
        cx.sleep(PATIENCE).await;
    });
    process.send(()).unwrap();
    until(&system, || process.is_empty()).await;
    let wait = system.wait_for_exit(process.pid());
    system.kill(process.pid());
    let reason = soon(&system, wait).await;
    assert!(reason.is_panic(), "{reason:?}");
}

#[tokio::test]
async fn panic_in_the_drop_of_queued_messages_is_contained() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<Option<Bomb>>| async move {
        while let Some(bomb) = cx.receive().await {
            std::mem::forget(bomb);
        }
    });
    let wait = system.wait_for_exit(process.pid());
    process.send(None).unwrap();
    for _ in 0..3 {
        process.send(Some(Bomb)).unwrap();
    }
    assert_eq!(soon(&system, wait).await, ExitKind::Normal);
    let message = process.send(None).unwrap_err().into_message();
    assert!(message.is_none(), "the mailbox is closed and gives back");
}

#[tokio::test]
async fn panic_in_the_drop_of_an_evicted_message_is_contained() {
    let system = System::new();
    let capacity = Capacity::bounded(1).overflow(Overflow::DropOldest);
    let process = system.spawn_with(capacity, |cx: Context<Option<Bomb>>| async move {
        cx.sleep(PATIENCE).await
    });
    process.send(Some(Bomb)).unwrap();
    process.send(None).unwrap();
    assert_eq!(system.inspect().counts.messages_dropped, 1);
    assert!(process.is_alive());
}

/// Panics where it is told to.
struct Fragile {
    place: &'static str,
}

impl Actor for Fragile {
    type Args = &'static str;
    type Message = ();

    async fn init(place: &'static str, _cx: &mut Context<()>) -> Result<Self, ExitReason> {
        assert_ne!(place, "init");
        if place == "init error" {
            return Err(ExitReason::error("not today"));
        }
        Ok(Fragile { place })
    }

    async fn started(&mut self, _cx: &mut Context<()>) -> Flow {
        assert_ne!(self.place, "started");
        Flow::Continue
    }

    async fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Flow {
        assert_ne!(self.place, "handle");
        Flow::Stop(ExitReason::normal())
    }

    async fn terminate(&mut self, _reason: &ExitReason, _cx: &mut Context<()>) {
        assert_ne!(self.place, "terminate");
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert_ne!(self.place, "drop");
    }
}

#[tokio::test]
async fn panic_in_any_callback_ends_that_process_alone() {
    let system = System::new();
    for place in ["started", "handle", "terminate", "drop"] {
        let actor = system.start::<Fragile>(place).await.unwrap();
        let wait = system.wait_for_exit(actor.pid());
        let _ = actor.send(());
        let reason = soon(&system, wait).await;
        assert!(
            reason.is_panic() || reason == ExitKind::NoProcess,
            "{place}: {reason:?}"
        );
        until(&system, || !actor.is_alive()).await;
    }
    assert_eq!(system.inspect().counts.panicked, 4);
    let error = system.start::<Fragile>("init").await.unwrap_err();
    assert!(matches!(error, StartError::Failed { reason, .. } if reason.is_panic()));
    let error = system.start::<Fragile>("init error").await.unwrap_err();
    assert_eq!(
        error,
        StartError::Failed {
            child: None,
            reason: ExitReason::error("not today")
        }
    );
}

#[tokio::test]
async fn many_panics_leave_nothing_behind() {
    let system = System::new();
    for _ in 0..2_000 {
        let process = system.spawn(|_cx: Context<()>| async {
            assert!(all_is_well(), "again");
        });
        let reason = soon(&system, system.wait_for_exit(process.pid())).await;
        assert!(reason.is_panic());
    }
    until(&system, || system.inspect().processes.is_empty()).await;
    let inspection = system.inspect();
    // One timer may be that of the storm in the log, which ends by itself.
    assert_eq!(
        (inspection.counts.panicked, inspection.counts.timers <= 2),
        (2_000, true)
    );
}

#[tokio::test]
async fn who_is_taken_along_by_a_panic_has_not_panicked() {
    let log = Log::of_all();
    let system = System::new();
    let panics = gated(&system, || panic!("fell with five others"));
    let others: Vec<_> = (0..5)
        .map(|_| {
            let pid = panics.pid();
            system.spawn(move |mut cx: Context<u8>| async move {
                cx.link(pid);
                while cx.receive().await == 0 {}
            })
        })
        .collect();
    for other in &others {
        other.send(0).unwrap();
    }
    until(&system, || others.iter().all(Address::is_empty)).await;
    let ends: Vec<_> = others
        .iter()
        .map(|other| system.wait_for_exit(other.pid()))
        .collect();
    assert!(ended(&system, &panics).await.is_panic());
    for end in ends {
        assert!(soon(&system, end).await.is_panic());
    }
    until(&system, || system.inspect().processes.is_empty()).await;
    assert_eq!(log.lines(&["fell with five others"]).len(), 1);
    assert_eq!(system.inspect().counts.panicked, 1);
}

#[tokio::test]
async fn panic_is_logged_once_with_its_location() {
    let log = Log::of_all();
    let system = System::new();
    let panics = gated(&system, || {
        tracing::info!("said inside");
        panic!("heard once")
    });
    assert!(ended(&system, &panics).await.is_panic());
    let text = log.text();
    assert_eq!(text.matches("heard once").count(), 1, "{text}");
    let line = text
        .lines()
        .find(|line| line.contains("heard once"))
        .unwrap();
    assert!(
        line.contains("exit_reasons.rs:") && line.contains(&panics.pid().to_string()),
        "{line}"
    );
    let said = text.lines().find(|line| line.contains("said inside"));
    let span = format!("process{{process.pid={} process.behaviour=", panics.pid());
    assert!(said.is_some_and(|line| line.contains(&span)), "{said:?}");
}

#[tokio::test]
async fn kill_wakes_an_await_and_skips_terminate() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let worker = system
        .start::<Worker>(Args {
            name: "w",
            journal: sender,
            trap: true,
        })
        .await
        .unwrap();
    assert_eq!(seen.next(&system).await, Life::Started("w"));
    let wait = system.wait_for_exit(worker.pid());
    assert!(system.kill(worker.pid()));
    assert_eq!(soon(&system, wait).await, ExitKind::Killed);
    assert_eq!(seen.rest(), []);
}

#[tokio::test]
async fn kill_takes_effect_at_consume_budget() {
    let system = System::new();
    let rounds = Arc::new(AtomicUsize::new(0));
    let count = rounds.clone();
    let busy = system.spawn(move |cx: Context<()>| async move {
        loop {
            count.fetch_add(1, Ordering::Relaxed);
            cx.consume_budget(1).await;
        }
        #[expect(unreachable_code, reason = "the closure must have an output")]
        ExitReason::normal()
    });
    until(&system, || rounds.load(Ordering::Relaxed) > 10).await;
    let wait = system.wait_for_exit(busy.pid());
    system.kill(busy.pid());
    assert_eq!(soon(&system, wait).await, ExitKind::Killed);
}

#[tokio::test]
async fn untrapped_exit_signal_interrupts_without_terminate() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let worker = system
        .start::<Worker>(Args {
            name: "w",
            journal: sender,
            trap: false,
        })
        .await
        .unwrap();
    let wait = system.wait_for_exit(worker.pid());
    assert!(system.exit(worker.pid(), ExitReason::shutdown()));
    assert_eq!(soon(&system, wait).await, ExitKind::Shutdown);
    assert_eq!(seen.rest(), [Life::Started("w")]);
}

#[tokio::test]
async fn trapped_exit_signal_runs_terminate_and_killed_cannot_be_trapped() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let worker = system
        .start::<Worker>(Args {
            name: "w",
            journal: sender.clone(),
            trap: true,
        })
        .await
        .unwrap();
    let wait = system.wait_for_exit(worker.pid());
    system.exit(worker.pid(), ExitReason::error("please"));
    assert_eq!(soon(&system, wait).await, ExitReason::error("please"));
    assert_eq!(
        seen.rest(),
        [
            Life::Started("w"),
            Life::Terminated("w", "error: please".into())
        ]
    );

    let worker = system
        .start::<Worker>(Args {
            name: "k",
            journal: sender,
            trap: true,
        })
        .await
        .unwrap();
    let wait = system.wait_for_exit(worker.pid());
    system.exit(worker.pid(), ExitReason::killed());
    assert_eq!(soon(&system, wait).await, ExitKind::Killed);
    assert_eq!(seen.rest(), [Life::Started("k")]);
}

#[tokio::test]
async fn normal_exit_signal_is_ignored_unless_trapped() {
    let system = System::new();
    let (sender, _seen) = journal();
    let worker = system
        .start::<Worker>(Args {
            name: "w",
            journal: sender,
            trap: false,
        })
        .await
        .unwrap();
    system.exit(worker.pid(), ExitReason::normal());
    worker.send(Message::Add(1)).unwrap();
    assert_eq!(soon(&system, worker.call(Message::Total)).await, Ok(1));
}

/// Notes its own drop, and whether its name was still there.
struct Witness {
    system: System,
    journal: Pen<(&'static str, bool)>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.journal.send((
            "state dropped, name",
            self.system.whereis_pid("witness").is_some(),
        ));
    }
}

#[tokio::test]
async fn exit_lets_go_in_order() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let state = Witness {
        system: system.clone(),
        journal: sender.clone(),
    };
    let process = system.spawn(move |mut cx: Context<()>| async move {
        let _state = state;
        cx.register("witness").expect("the name is free");
        cx.system()
            .rooms()
            .join("room", &cx.address(), |_| ())
            .expect("alive");
        let me = cx.address();
        cx.send_after(&me, PATIENCE, ());
        cx.receive().await;
    });
    let observer = system.clone();
    let pid = process.pid();
    let told = sender.clone();
    let watcher = system.spawn(move |mut cx: Context<()>| async move {
        let _monitor = cx.monitor(pid);
        cx.address().send(()).expect("alive");
        while let mesh_runtime::Event::Message(()) = cx.receive_event().await {
            process.send(()).expect("the process waits");
        }
        let _ = told.send(("down, name", observer.whereis_pid("witness").is_some()));
        let _ = told.send(("down, member", !observer.rooms().members("room").is_empty()));
        let _ = told.send(("down, timers", observer.inspect().counts.timers > 1));
    });
    assert_eq!(seen.next(&system).await, ("state dropped, name", true));
    assert_eq!(seen.next(&system).await, ("down, name", false));
    assert_eq!(seen.next(&system).await, ("down, member", false));
    assert_eq!(seen.next(&system).await, ("down, timers", false));
    drop(watcher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawning_and_ending_leaves_nothing_behind() {
    let system = System::new();
    for _ in 0..100 {
        let lives: Vec<_> = (0..100)
            .map(|_| system.spawn(|_cx: Context<()>| async {}))
            .collect();
        for life in lives {
            soon(&system, system.wait_for_exit(life.pid())).await;
        }
    }
    until(&system, || system.inspect().processes.is_empty()).await;
    let counts = system.inspect().counts;
    assert_eq!((counts.spawned, counts.exited), (10_000, 10_000));
}

#[tokio::test]
async fn blocking_panic_is_a_value() {
    let system = System::new();
    assert_eq!(soon(&system, system.blocking(|| 6 * 7)).await, Ok(42));
    let error = soon(&system, system.blocking(|| panic!("in the back room"))).await;
    let Err(JobError::Exited(reason)) = error else {
        panic!("{error:?}")
    };
    let reason: ExitReason = reason;
    assert!(reason.is_panic());
    let mut job = Job::spawn(&system, async { 1 });
    assert_eq!(job.await_timeout(Duration::from_secs(30)).await, Ok(1));
}

fn all_is_well() -> bool {
    false
}
