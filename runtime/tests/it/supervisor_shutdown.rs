//! Stopping: in reverse order, each child within its own time; roll-back; the whole system.

use std::time::Duration;

use mesh_runtime::{
    Actor, ChildSpec, Context, ExitKind, ExitReason, Flow, ShutdownType, Signal, StartError,
    Strategy, Supervisor, System,
};

use crate::support::{
    Args, Life, PATIENCE, Worker, address, journal, soon, supervise, until, worker,
};

#[tokio::test]
async fn children_stop_in_reverse_order() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let inner = sender.clone();
    let tree = Supervisor::new(Strategy::OneForOne)
        .child(worker("a", &sender))
        .child(ChildSpec::supervisor("nested", move || {
            Supervisor::new(Strategy::OneForOne)
                .child(worker("b", &inner))
                .child(worker("c", &inner))
        }))
        .child(worker("d", &sender));
    let handle = supervise(&system, tree).await;
    assert_eq!(seen.rest(), ["a", "b", "c", "d"].map(Life::Started));
    soon(&system, handle.stop()).await.unwrap();
    let expected = ["d", "c", "b", "a"].map(|name| Life::Terminated(name, "shutdown".into()));
    assert_eq!(seen.rest(), expected);
    assert!(system.inspect().processes.is_empty());
    assert_eq!(system.names(), []);
}

#[tokio::test]
async fn failed_start_rolls_back_in_reverse() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let fails = Args {
        name: "fails",
        journal: journal().0,
        trap: true,
    };
    let tree = Supervisor::new(Strategy::OneForOne)
        .child(worker("a", &sender))
        .child(worker("b", &sender))
        .child(ChildSpec::worker::<Worker>("fails", fails))
        .child(worker("never", &sender));
    let error = soon(&system, system.supervise(tree)).await.unwrap_err();
    assert!(matches!(error, StartError::Failed { child: Some(id), .. } if id == "fails"));
    let shutdown = "shutdown".to_owned();
    let expected = [
        Life::Started("a"),
        Life::Started("b"),
        Life::Terminated("b", shutdown.clone()),
        Life::Terminated("a", shutdown),
    ];
    assert_eq!(seen.rest(), expected);
    assert_eq!(system.names(), []);
    assert!(system.inspect().processes.is_empty());
}

/// Ignores every wish to stop.
struct Stubborn;

impl Actor for Stubborn {
    type Args = ();
    type Message = ();

    async fn init((): (), cx: &mut Context<()>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(Stubborn)
    }

    async fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Flow {
        Flow::Continue
    }

    async fn handle_signal(&mut self, _signal: Signal, _cx: &mut Context<()>) -> Flow {
        Flow::Continue
    }

    async fn terminate(&mut self, _reason: &ExitReason, cx: &mut Context<()>) {
        cx.sleep(PATIENCE * 10).await;
    }
}

#[tokio::test]
async fn child_that_does_not_stop_in_time_is_killed() {
    let system = System::new();
    let spec = ChildSpec::worker::<Stubborn>("stubborn", ())
        .shutdown(ShutdownType::Timeout(Duration::from_millis(2)));
    let handle = supervise(&system, Supervisor::new(Strategy::OneForOne).child(spec)).await;
    let ended = system.wait_for_exit(system.whereis_pid("stubborn").unwrap());
    soon(&system, handle.stop()).await.unwrap();
    assert_eq!(soon(&system, ended).await, ExitKind::Killed);
}

#[tokio::test]
async fn brutal_kill_does_not_ask() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let spec = worker("a", &sender).shutdown(ShutdownType::BrutalKill);
    let handle = supervise(&system, Supervisor::new(Strategy::OneForOne).child(spec)).await;
    soon(&system, handle.stop()).await.unwrap();
    assert_eq!(seen.rest(), [Life::Started("a")]);
}

#[tokio::test]
async fn killed_supervisor_takes_its_children_and_names_along() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let handle = supervise(
        &system,
        Supervisor::new(Strategy::OneForOne)
            .named("top")
            .child(worker("a", &sender)),
    )
    .await;
    let a = address(&system, "a");
    system.kill(handle.pid());
    until(&system, || system.inspect().processes.is_empty()).await;
    assert_eq!(
        seen.rest(),
        [Life::Started("a"), Life::Terminated("a", "killed".into())]
    );
    assert!(!a.is_alive());
    assert_eq!(system.names(), []);
}

#[tokio::test]
async fn system_stops_trees_in_reverse_and_then_the_rest() {
    let system = System::new();
    let (sender, mut seen) = journal();
    supervise(
        &system,
        Supervisor::new(Strategy::OneForOne).child(worker("a", &sender)),
    )
    .await;
    supervise(
        &system,
        Supervisor::new(Strategy::OneForOne).child(worker("b", &sender)),
    )
    .await;
    system.spawn(|mut cx: Context<()>| async move { cx.receive().await });
    let started = system
        .start::<Worker>(Args {
            name: "lone",
            journal: sender,
            trap: true,
        })
        .await
        .unwrap();
    system.send_after(&started, PATIENCE, crate::support::Message::Add(1));
    assert_eq!(seen.rest().len(), 3);
    soon(&system, system.shutdown(PATIENCE)).await.unwrap();
    let expected = ["b", "a", "lone"].map(|name| Life::Terminated(name, "shutdown".into()));
    assert_eq!(seen.rest(), expected);
    assert!(system.inspect().processes.is_empty());
}

#[tokio::test]
async fn system_kills_what_is_left_at_the_deadline() {
    let system = System::new();
    let stubborn = system.start::<Stubborn>(()).await.unwrap();
    let error = soon(&system, system.shutdown(Duration::from_millis(2)))
        .await
        .unwrap_err();
    assert_eq!(error.killed, [stubborn.pid()]);
    assert!(system.inspect().processes.is_empty());
}

/// Starts another process while it ends.
struct Parting;

impl Actor for Parting {
    type Args = ();
    type Message = ();

    async fn init((): (), cx: &mut Context<()>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(Parting)
    }

    async fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Flow {
        Flow::Continue
    }

    async fn terminate(&mut self, _reason: &ExitReason, cx: &mut Context<()>) {
        cx.spawn(|cx: Context<()>| async move { cx.sleep(PATIENCE * 10).await });
    }
}

#[tokio::test]
async fn system_stops_what_was_started_while_it_stopped() {
    let system = System::new();
    system.start::<Parting>(()).await.unwrap();
    soon(&system, system.shutdown(PATIENCE)).await.unwrap();
    assert!(system.inspect().processes.is_empty());
}
