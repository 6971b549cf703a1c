//! Intensity: a supervisor that restarts too often gives up, and its parent decides.

use mesh_runtime::{ChildSpec, ExitKind, ExitReason, SendError, Strategy, Supervisor, System};

use crate::support::{
    Life, Message, PATIENCE, address, crash, journal, soon, supervise, until, worker,
};

#[tokio::test]
async fn one_restart_too_many_ends_the_supervisor() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let tree = Supervisor::new(Strategy::OneForOne)
        .intensity(2, PATIENCE)
        .child(worker("a", &sender))
        .child(worker("b", &sender));
    let handle = supervise(&system, tree).await;
    let ended = system.wait_for_exit(handle.pid());
    let b = address(&system, "b");
    for _ in 0..2 {
        crash(&system, "a", Message::Panic("again".into())).await;
    }
    assert!(handle.is_alive());
    crash(&system, "a", Message::Panic("once too often".into())).await;
    assert_eq!(soon(&system, ended).await, ExitKind::RestartIntensity);
    assert!(
        seen.rest()
            .contains(&Life::Terminated("b", "shutdown".into()))
    );
    assert!(
        matches!(b.send(Message::Add(1)), Err(SendError::Gone(_))),
        "the mailbox closes"
    );
    assert_eq!(system.names(), []);
    until(&system, || system.inspect().processes.is_empty()).await;
}

#[tokio::test]
async fn parent_restarts_a_supervisor_that_gave_up() {
    let system = System::new();
    let (sender, _seen) = journal();
    let nested = ChildSpec::supervisor("nested", move || {
        Supervisor::new(Strategy::OneForOne)
            .intensity(0, PATIENCE)
            .child(worker("a", &sender))
    });
    let top = supervise(&system, Supervisor::new(Strategy::OneForOne).child(nested)).await;
    let nested = system.supervisor("nested").unwrap();
    let first = nested.pid();
    let ended = system.wait_for_exit(first);
    let _ = address(&system, "a").send(Message::Stop(ExitReason::error("x")));
    assert_eq!(soon(&system, ended).await, ExitKind::RestartIntensity);
    until(&system, || {
        nested.pid() != first
            && system
                .whereis_pid("a")
                .is_some_and(|pid| system.is_alive(pid))
    })
    .await;
    assert!(top.is_alive());
    assert_eq!(
        soon(&system, nested.count_children()).await.unwrap().active,
        1
    );
}
