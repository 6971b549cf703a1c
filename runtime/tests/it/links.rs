//! Links: fate shared both ways.

use mesh_runtime::{Address, Context, Event, ExitKind, ExitReason, Signal, System};

use crate::support::{PATIENCE, journal, soon};

/// Ends with the reason it is sent.
fn peer(system: &System) -> Address<ExitReason> {
    system.spawn(|mut cx: Context<ExitReason>| async move { cx.receive().await })
}

#[tokio::test]
async fn abnormal_exit_takes_the_linked_process_along() {
    let system = System::new();
    let first = peer(&system);
    let other = first.pid();
    let second = system.spawn(move |mut cx: Context<()>| async move {
        cx.link(other);
        cx.receive().await;
        cx.sleep(PATIENCE).await;
    });
    let linked = second.clone();
    second.send(()).unwrap();
    crate::support::until(&system, || second.is_empty()).await;
    let wait = system.wait_for_exit(linked.pid());
    first.send(ExitReason::error("together")).unwrap();
    assert_eq!(soon(&system, wait).await, ExitReason::error("together"));
}

#[tokio::test]
async fn link_works_in_the_other_direction_too() {
    let system = System::new();
    let first = peer(&system);
    let other = first.pid();
    let second = system.spawn(move |mut cx: Context<()>| async move {
        cx.link(other);
        cx.receive().await;
        ExitReason::error("back")
    });
    let wait = system.wait_for_exit(first.pid());
    second.send(()).unwrap();
    assert_eq!(soon(&system, wait).await, ExitReason::error("back"));
}

#[tokio::test]
async fn normal_exit_leaves_the_linked_process_alone() {
    let system = System::new();
    let first = peer(&system);
    let other = first.pid();
    let second = system.spawn(move |mut cx: Context<u8>| async move {
        cx.link(other);
        while cx.receive().await == 0 {}
    });
    second.send(0).unwrap();
    crate::support::until(&system, || second.is_empty()).await;
    let first_ended = system.wait_for_exit(first.pid());
    first.send(ExitReason::normal()).unwrap();
    soon(&system, first_ended).await;
    let wait = system.wait_for_exit(second.pid());
    second.send(1).unwrap();
    assert_eq!(soon(&system, wait).await, ExitKind::Normal);
}

#[tokio::test]
async fn trapped_exit_arrives_as_a_signal() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let first = peer(&system);
    let other = first.pid();
    system.spawn(move |mut cx: Context<()>| async move {
        cx.trap_exit(true);
        cx.link(other);
        loop {
            let event = cx.receive_event().await;
            if let Event::Signal(signal) = event {
                let _ = sender.send(signal);
            }
        }
        #[expect(unreachable_code, reason = "the closure must have an output")]
        ExitReason::normal()
    });
    first.send(ExitReason::error("x")).unwrap();
    let reason = ExitReason::error("x");
    // Either the link stood when the peer ended, or the link was refused because it had ended.
    match seen.next(&system).await {
        Signal::Exit { from, reason: seen } => {
            assert_eq!(from, other);
            assert!(seen == reason || seen == ExitKind::NoProcess, "{seen:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn link_to_the_dead_gives_no_process_at_once() {
    let system = System::new();
    let dead = peer(&system);
    let dead_pid = dead.pid();
    let wait = system.wait_for_exit(dead_pid);
    dead.send(ExitReason::normal()).unwrap();
    soon(&system, wait).await;
    let second = system.spawn(move |mut cx: Context<()>| async move {
        cx.link(dead_pid);
        cx.sleep(PATIENCE).await;
    });
    assert_eq!(
        soon(&system, system.wait_for_exit(second.pid())).await,
        ExitKind::NoProcess
    );
}

#[tokio::test]
async fn unlink_leaves_no_late_signal() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let first = peer(&system);
    let other = first.pid();
    let inside = system.clone();
    system.spawn(move |mut cx: Context<()>| async move {
        cx.trap_exit(true);
        cx.link(other);
        let ended = inside.wait_for_exit(other);
        let _ = first.send(ExitReason::error("late"));
        ended.await;
        // The exit signal waits in the lane, or is about to arrive; unlink takes it back either way.
        cx.unlink(other);
        cx.address().send(()).expect("alive");
        let _ = sender.send(matches!(cx.receive_event().await, Event::Message(())));
    });
    assert!(
        seen.next(&system).await,
        "no signal comes before the message"
    );
}

#[tokio::test]
async fn spawn_link_links_from_the_first_moment() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        cx.trap_exit(true);
        let child = cx.spawn_link(|_cx: Context<()>| async { ExitReason::error("at once") });
        let Event::Signal(signal) = cx.receive_event().await else {
            return;
        };
        let _ = sender.send((child.pid(), signal));
    });
    let (child, signal) = seen.next(&system).await;
    assert_eq!(
        signal,
        Signal::Exit {
            from: child,
            reason: ExitReason::error("at once")
        }
    );
}

#[tokio::test]
async fn killed_reaches_links_as_killed_and_can_be_trapped_there() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let first = peer(&system);
    let other = first.pid();
    let second = system.spawn(move |mut cx: Context<()>| async move {
        cx.trap_exit(true);
        cx.link(other);
        cx.receive().await;
        let Event::Signal(signal) = cx.receive_event().await else {
            return;
        };
        let _ = sender.send(signal);
    });
    second.send(()).unwrap();
    crate::support::until(&system, || second.is_empty()).await;
    system.kill(other);
    assert_eq!(
        seen.next(&system).await,
        Signal::Exit {
            from: other,
            reason: ExitReason::killed()
        }
    );
}
