//! Rest for one: those started after the child go with it.

use mesh_runtime::{ExitReason, Strategy, Supervisor, System};

use crate::support::{Life, Message, address, crash, journal, supervise, total, worker};

#[tokio::test]
async fn later_children_are_restarted_with_it() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let tree = Supervisor::new(Strategy::RestForOne)
        .child(worker("a", &sender))
        .child(worker("b", &sender))
        .child(worker("c", &sender));
    supervise(&system, tree).await;
    assert_eq!(seen.rest(), ["a", "b", "c"].map(Life::Started));
    let a = address(&system, "a").pid();
    crash(&system, "b", Message::Stop(ExitReason::error("x"))).await;
    assert_eq!(total(&system, "c").await, Ok(0));
    let expected = [
        Life::Terminated("b", "error: x".into()),
        Life::Terminated("c", "shutdown".into()),
        Life::Started("b"),
        Life::Started("c"),
    ];
    for expected in expected {
        assert_eq!(seen.next(&system).await, expected);
    }
    assert_eq!(address(&system, "a").pid(), a);
}
