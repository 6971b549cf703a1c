//! Monitors: one way, exactly one `Down` each.

use mesh_runtime::{Context, Event, ExitKind, ExitReason, Signal, System};

use crate::support::{journal, soon};

#[tokio::test]
async fn down_comes_exactly_once_per_monitor() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let target = cx.spawn(|mut cx: Context<ExitReason>| async move { cx.receive().await });
        let first = cx.monitor(target.pid());
        let second = cx.monitor(target.pid());
        target.send(ExitReason::error("gone")).expect("alive");
        cx.system().wait_for_exit(target.pid()).await;
        let mut downs = Vec::new();
        while downs.len() < 2 {
            if let Event::Signal(signal) = cx.receive_event().await {
                downs.push(signal);
            }
        }
        cx.address().send(()).expect("alive");
        let last = matches!(cx.receive_event().await, Event::Message(()));
        let _ = sender.send((target.pid(), [first, second], downs, last));
    });
    let (pid, references, mut downs, last) = seen.next(&system).await;
    let reason = ExitReason::error("gone");
    let expected = references.map(|reference| Signal::Down {
        reference,
        pid,
        reason: reason.clone(),
    });
    downs.sort_by_key(
        |signal| matches!(signal, Signal::Down { reference, .. } if *reference == references[1]),
    );
    assert_eq!(downs, expected);
    assert!(last, "and no third");
}

#[tokio::test]
async fn down_of_the_dead_comes_at_once() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let dead = system.spawn(|_cx: Context<()>| async {});
    soon(&system, system.wait_for_exit(dead.pid())).await;
    system.spawn(move |mut cx: Context<()>| async move {
        let monitor = cx.monitor(dead.pid());
        if let Event::Signal(signal) = cx.receive_event().await {
            let _ = sender.send((monitor, signal));
        }
    });
    let (monitor, signal) = seen.next(&system).await;
    assert!(
        matches!(signal, Signal::Down { reference, reason, .. } if reference == monitor && reason == ExitKind::NoProcess)
    );
}

#[tokio::test]
async fn demonitor_takes_the_down_back() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let target = cx.spawn(|mut cx: Context<()>| async move { cx.receive().await });
        let monitor = cx.monitor(target.pid());
        let ended = cx.system().wait_for_exit(target.pid());
        target.send(()).expect("alive");
        ended.await;
        cx.demonitor(monitor);
        cx.address().send(()).expect("alive");
        let _ = sender.send(matches!(cx.receive_event().await, Event::Message(())));
    });
    assert!(seen.next(&system).await);
}

#[tokio::test]
async fn monitor_does_not_share_fate() {
    let system = System::new();
    let (sender, mut seen) = journal();
    system.spawn(move |mut cx: Context<()>| async move {
        let (target, monitor) =
            cx.spawn_monitor(|_cx: Context<()>| async { ExitReason::error("alone") });
        if let Event::Signal(signal) = cx.receive_event().await {
            let expected = Signal::Down {
                reference: monitor,
                pid: target.pid(),
                reason: ExitReason::error("alone"),
            };
            let _ = sender.send(signal == expected);
        }
    });
    assert!(seen.next(&system).await);
}

#[tokio::test]
async fn wait_for_exit_is_a_monitor_for_outsiders() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<ExitReason>| async move { cx.receive().await });
    let wait = system.wait_for_exit(process.pid());
    process.send(ExitReason::error("told")).unwrap();
    assert_eq!(soon(&system, wait).await, ExitReason::error("told"));
    assert_eq!(
        soon(&system, system.wait_for_exit(process.pid())).await,
        ExitKind::NoProcess
    );
}
