//! One for all: everybody is stopped in reverse order and started in order.

use mesh_runtime::{ExitReason, RestartType, Strategy, Supervisor, System};

use crate::support::{Life, Message, crash, journal, soon, supervise, total, worker};

#[tokio::test]
async fn all_are_stopped_in_reverse_and_started_in_order() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let tree = Supervisor::new(Strategy::OneForAll)
        .child(worker("a", &sender))
        .child(worker("b", &sender))
        .child(worker("c", &sender));
    supervise(&system, tree).await;
    assert_eq!(seen.rest(), ["a", "b", "c"].map(Life::Started));
    crash(&system, "b", Message::Stop(ExitReason::error("x"))).await;
    assert_eq!(total(&system, "c").await, Ok(0));
    let shutdown = "shutdown".to_owned();
    let expected = [
        Life::Terminated("b", "error: x".into()),
        Life::Terminated("c", shutdown.clone()),
        Life::Terminated("a", shutdown),
        Life::Started("a"),
        Life::Started("b"),
        Life::Started("c"),
    ];
    for expected in expected {
        assert_eq!(seen.next(&system).await, expected);
    }
}

#[tokio::test]
async fn temporary_siblings_are_stopped_and_forgotten() {
    let system = System::new();
    let (sender, _seen) = journal();
    let tree = Supervisor::new(Strategy::OneForAll)
        .child(worker("a", &sender))
        .child(worker("t", &sender).restart(RestartType::Temporary));
    let handle = supervise(&system, tree).await;
    crash(&system, "a", Message::Stop(ExitReason::error("x"))).await;
    let children = soon(&system, handle.which_children()).await.unwrap();
    let ids: Vec<_> = children.iter().map(|child| child.id.as_str()).collect();
    assert_eq!(ids, ["a"]);
    assert!(system.whereis_pid("t").is_none());
}
