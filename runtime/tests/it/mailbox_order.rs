//! Mailboxes: order, lanes, bounds, selective receive, fairness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mesh_runtime::{
    Capacity, Context, Event, ExitKind, ExitReason, Overflow, ReplyTo, SendError, Signal, System,
};

use crate::support::{PATIENCE, journal, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_sender_arrive_in_order() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let count = 2_000;
    let receiver = system.spawn_with(
        Capacity::unbounded(),
        move |mut cx: Context<(usize, usize)>| async move {
            let mut next = [0; 4];
            for _ in 0..4 * count {
                let (from, number) = cx.receive().await;
                if next[from] != number {
                    let _ = sender.send(false);
                    return;
                }
                next[from] += 1;
            }
            let _ = sender.send(true);
        },
    );
    for from in 0..4 {
        let receiver = receiver.clone();
        system.spawn(move |cx: Context<()>| async move {
            for number in 0..count {
                receiver.send((from, number)).expect("unbounded");
                cx.consume_budget(100).await;
            }
        });
    }
    assert!(seen.next(&system).await);
}

#[tokio::test]
async fn selective_receive_keeps_the_order_of_what_it_skips() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let receiver = system.spawn_with(
        Capacity::unbounded(),
        move |mut cx: Context<u32>| async move {
            let mut order = vec![cx.receive_match(|number| *number == 5).await];
            order.push(cx.receive_match(|number| number % 2 == 0).await);
            for _ in 0..4 {
                order.push(cx.receive().await);
            }
            let _ = sender.send(order);
        },
    );
    for number in 1..=3 {
        receiver.send(number).unwrap();
    }
    until(&system, || receiver.len() == 3).await;
    tokio::task::yield_now().await;
    for number in 4..=6 {
        receiver.send(number).unwrap();
    }
    assert_eq!(seen.next(&system).await, [5, 2, 1, 3, 4, 6]);
}

#[tokio::test]
async fn overflow_policies_hold() {
    let system = System::new();
    for (policy, kept) in [
        (Overflow::Reject, [1, 2]),
        (Overflow::Wait, [1, 2]),
        (Overflow::DropNewest, [1, 2]),
        (Overflow::DropOldest, [2, 3]),
    ] {
        let (sender, mut seen) = journal();
        let process = system.spawn_with(
            Capacity::bounded(2).overflow(policy),
            move |mut cx: Context<u8>| async move {
                let _ = sender.send([cx.receive().await, cx.receive().await]);
            },
        );
        process.send(1).unwrap();
        process.send(2).unwrap();
        let third = process.send(3);
        match policy {
            Overflow::Reject | Overflow::Wait => {
                assert_eq!(third, Err(SendError::Full(3)), "{policy:?}")
            }
            _ => assert_eq!(third, Ok(()), "{policy:?}"),
        }
        assert_eq!(process.len(), 2);
        assert_eq!(seen.next(&system).await, kept, "{policy:?}");
    }
    assert_eq!(system.inspect().counts.messages_dropped, 2);
}

#[tokio::test]
async fn send_wait_waits_for_room_and_no_longer_than_its_deadline() {
    let system = System::new();
    let process = system.spawn_with(
        Capacity::bounded(1).overflow(Overflow::Wait),
        |mut cx: Context<u8>| async move { while cx.receive().await != 3 {} },
    );
    process.send(1).unwrap();
    soon(&system, process.send_wait(2, PATIENCE)).await.unwrap();
    let ended = system.wait_for_exit(process.pid());
    soon(&system, process.send_wait(3, PATIENCE)).await.unwrap();
    assert_eq!(soon(&system, ended).await, ExitKind::Normal);
    let deaf = system.spawn_with(
        Capacity::bounded(1).overflow(Overflow::Wait),
        |cx: Context<u8>| async move {
            cx.sleep(PATIENCE).await;
        },
    );
    deaf.send(1).unwrap();
    assert_eq!(
        soon(&system, deaf.send_wait(2, Duration::from_millis(2))).await,
        Err(SendError::Full(2))
    );
}

#[tokio::test]
async fn signal_passes_a_flooded_mailbox() {
    let system = System::new();
    let (sender, mut seen) = journal();
    let target = system.spawn(|mut cx: Context<()>| async move { cx.receive().await });
    let pid = target.pid();
    let flooded = system.spawn(move |mut cx: Context<u32>| async move {
        cx.trap_exit(true);
        let monitor = cx.monitor(pid);
        let ended = cx.system().wait_for_exit(pid);
        let _ = target.send(());
        ended.await;
        let first = cx.receive_event().await;
        let passed =
            matches!(first, Event::Signal(Signal::Down { reference, .. }) if reference == monitor);
        let _ = sender.send((passed, cx.address().len()));
    });
    for number in 0..1_000 {
        flooded.send(number).unwrap();
    }
    assert_eq!(seen.next(&system).await, (true, 1_000));
}

#[tokio::test]
async fn flooded_process_can_be_killed() {
    let system = System::new();
    let busy = system.spawn(|mut cx: Context<()>| async move {
        loop {
            cx.receive().await;
            cx.address().send(()).expect("alive");
        }
        #[expect(unreachable_code, reason = "the closure must have an output")]
        ExitReason::normal()
    });
    for _ in 0..1_000 {
        busy.send(()).unwrap();
    }
    tokio::task::yield_now().await;
    let ended = system.wait_for_exit(busy.pid());
    system.kill(busy.pid());
    assert_eq!(soon(&system, ended).await, ExitKind::Killed);
}

#[tokio::test]
async fn hog_does_not_starve_others_on_its_worker() {
    let system = System::new();
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let hog = system.spawn(move |mut cx: Context<()>| async move {
        while !told.load(Ordering::Relaxed) {
            cx.address().send(()).expect("alive");
            cx.receive().await;
        }
    });
    hog.send(()).unwrap();
    let (sender, mut seen) = journal();
    for _ in 0..10 {
        let sender = sender.clone();
        system.spawn(move |_cx: Context<()>| async move {
            let _ = sender.send(());
        });
        seen.next(&system).await;
    }
    assert!(hog.is_alive());
    stop.store(true, Ordering::Relaxed);
    soon(&system, system.wait_for_exit(hog.pid())).await;
}

#[tokio::test]
async fn who_waits_for_an_answer_does_not_wait_for_hogs_too() {
    const ROUND_TRIPS: u64 = 200;
    let system = System::new();
    let slices = Arc::new(AtomicU64::new(0));
    for _ in 0..2 {
        let slices = slices.clone();
        system.spawn(async move |cx: Context<()>| -> ExitReason {
            loop {
                slices.fetch_add(1, Ordering::Relaxed);
                // A whole slice.
                cx.consume_budget(u32::MAX).await;
            }
        });
    }
    let echo = system.spawn(async move |mut cx: Context<ReplyTo<()>>| -> ExitReason {
        loop {
            cx.receive().await.reply(());
        }
    });
    let (sender, mut seen) = journal();
    let hogged = slices.clone();
    system.spawn(move |_cx: Context<()>| async move {
        let before = hogged.load(Ordering::Relaxed);
        for _ in 0..ROUND_TRIPS {
            echo.call(|to| to).await.expect("it answers");
        }
        let _ = sender.send(hogged.load(Ordering::Relaxed) - before);
    });
    let meanwhile = seen.next(&system).await;
    assert!(
        meanwhile < ROUND_TRIPS,
        "{meanwhile} slices of hogs: two for each round trip, as if they waited for each other"
    );
    // And the hogs go on.
    let before = slices.load(Ordering::Relaxed);
    until(&system, || slices.load(Ordering::Relaxed) > before + 10).await;
}

#[tokio::test]
async fn high_water_is_remembered() {
    let system = System::new();
    let process = system.spawn(|mut cx: Context<bool>| async move { while cx.receive().await {} });
    for _ in 0..10 {
        process.send(true).unwrap();
    }
    until(&system, || process.is_empty()).await;
    let info = system.inspect().processes.remove(0);
    assert_eq!(
        (
            info.mailbox_len,
            info.mailbox_high_water,
            info.messages_handled
        ),
        (0, 10, 10)
    );
}

#[tokio::test]
async fn skipped_messages_cannot_grow_past_the_bound() {
    let system = System::new();
    let capacity = Capacity::bounded(4).overflow(Overflow::DropOldest);
    let picky = system.spawn_with(capacity, |mut cx: Context<u32>| async move {
        cx.receive_match(|number| *number == u32::MAX).await;
    });
    for number in 0..20 {
        picky.send(number).unwrap();
        // Lets the process look at each, so that it has skipped it.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        assert!(picky.len() <= 4, "{} messages wait", picky.len());
    }
}
