//! Beyond restarting at once: back-off, significant children and auto-shutdown.

use std::time::Duration;

use mesh_runtime::{
    AutoShutdown, ExitKind, ExitReason, RestartType, StartError, Strategy, Supervisor, System,
};

use crate::support::{
    Life, Message, PATIENCE, address, crash, journal, soon, supervise, total, worker,
};

const PAUSE: Duration = Duration::from_millis(40);

fn boom() -> Message {
    Message::Stop(ExitReason::error("boom"))
}

#[tokio::test]
async fn restart_waits_for_its_back_off_and_the_siblings_with_it() {
    let system = System::new();
    let (pen, mut seen) = journal();
    let tree = Supervisor::new(Strategy::RestForOne)
        .child(worker("a", &pen))
        .child(worker("b", &pen).back_off(PAUSE, PAUSE))
        .child(worker("c", &pen));
    let handle = supervise(&system, tree).await;
    assert_eq!(seen.rest().len(), 3);
    let before = system.clock().now();
    let a = address(&system, "a").pid();
    crash(&system, "b", boom()).await;
    let children = soon(&system, handle.which_children()).await.unwrap();
    let running = |id: &str| {
        children
            .iter()
            .any(|child| child.id == id && child.pid.is_some())
    };
    assert_eq!(
        [running("a"), running("b"), running("c")],
        [true, false, false]
    );
    assert_eq!(
        soon(&system, handle.restart_child("b")).await,
        Err(StartError::AlreadyStarted)
    );
    // What is sent meanwhile is for the next life.
    address(&system, "b").send(Message::Add(3)).unwrap();
    assert_eq!(total(&system, "b").await, Ok(3));
    assert_eq!(total(&system, "c").await, Ok(0));
    assert!(system.clock().now() - before >= PAUSE / 2);
    assert_eq!(address(&system, "a").pid(), a);
    let expected = [
        Life::Terminated("b", "error: boom".into()),
        Life::Terminated("c", "shutdown".into()),
        Life::Started("b"),
        Life::Started("c"),
    ];
    assert_eq!(seen.rest(), expected);
}

#[tokio::test]
async fn child_terminated_while_it_waits_stays_down_and_others_come() {
    let system = System::new();
    let (pen, _seen) = journal();
    let tree = Supervisor::new(Strategy::OneForAll)
        .child(worker("a", &pen))
        .child(worker("b", &pen).back_off(PAUSE, PAUSE));
    let handle = supervise(&system, tree).await;
    crash(&system, "b", boom()).await;
    assert_eq!(soon(&system, handle.terminate_child("b")).await, Ok(()));
    assert_eq!(total(&system, "a").await, Ok(0));
    assert_eq!(
        soon(&system, handle.count_children()).await.unwrap().active,
        1
    );
    assert!(soon(&system, handle.restart_child("b")).await.is_ok());
    assert_eq!(total(&system, "b").await, Ok(0));
}

#[tokio::test]
async fn supervisor_stops_while_a_child_waits() {
    let system = System::new();
    let (pen, _seen) = journal();
    let child = worker("a", &pen).back_off(10 * PATIENCE, 10 * PATIENCE);
    let tree = Supervisor::new(Strategy::OneForOne).child(child);
    let handle = supervise(&system, tree).await;
    crash(&system, "a", boom()).await;
    soon(&system, handle.stop()).await.unwrap();
    assert_eq!(system.names(), []);
    assert!(system.inspect().processes.is_empty());
}

#[tokio::test]
async fn significant_end_is_the_end_of_the_supervisor() {
    for (auto_shutdown, ends) in [
        (AutoShutdown::AnySignificant, 1),
        (AutoShutdown::AllSignificant, 2),
    ] {
        let system = System::new();
        let (pen, mut seen) = journal();
        let significant = |name| {
            worker(name, &pen)
                .restart(RestartType::Transient)
                .significant()
        };
        let tree = Supervisor::new(Strategy::OneForOne)
            .auto_shutdown(auto_shutdown)
            .child(worker("other", &pen))
            .child(significant("s1"))
            .child(significant("s2"));
        let handle = supervise(&system, tree).await;
        let ended = system.wait_for_exit(handle.pid());
        // A restart is no end, and what the supervisor is asked to stop does not end by itself.
        crash(&system, "s1", boom()).await;
        assert_eq!(total(&system, "s1").await, Ok(0));
        assert_eq!(soon(&system, handle.terminate_child("s2")).await, Ok(()));
        assert!(soon(&system, handle.restart_child("s2")).await.is_ok());
        for name in ["s1", "s2"].into_iter().take(ends) {
            assert!(handle.is_alive(), "{auto_shutdown:?}");
            crash(&system, name, Message::Stop(ExitReason::normal())).await;
        }
        assert_eq!(
            soon(&system, ended).await,
            ExitKind::Shutdown,
            "{auto_shutdown:?}"
        );
        assert!(
            seen.rest()
                .contains(&Life::Terminated("other", "shutdown".into()))
        );
    }
}

#[tokio::test]
async fn significant_child_that_makes_no_sense_is_refused() {
    let system = System::new();
    let (pen, _seen) = journal();
    let permanent = Supervisor::new(Strategy::OneForOne)
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(worker("a", &pen).significant());
    assert_eq!(
        soon(&system, system.supervise(permanent))
            .await
            .unwrap_err(),
        StartError::Significant
    );
    let never = worker("a", &pen)
        .restart(RestartType::Temporary)
        .significant();
    let never = Supervisor::new(Strategy::OneForOne).child(never);
    assert_eq!(
        soon(&system, system.supervise(never)).await.unwrap_err(),
        StartError::Significant
    );
}
