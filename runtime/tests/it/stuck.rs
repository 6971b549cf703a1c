//! The watchdog: who holds a worker or a message too long is seen, who waits is not.

use std::time::Duration;

use mesh_runtime::{Context, ReplyTo, System};

use crate::support::{PATIENCE, soon, until};

const LIMIT: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_holds_its_worker_is_reported_once() {
    let system = System::builder().stuck_after(LIMIT).build();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let hog = system.spawn(move |_cx: Context<()>| async move {
        let _ = released.recv();
    });
    until(&system, || system.inspect().counts.stuck == 1).await;
    // Each is one look of the watchdog or more, which sleeps as long.
    for _ in 0..5 {
        soon(&system, system.sleep(LIMIT)).await;
    }
    assert_eq!(system.inspect().counts.stuck, 1);
    let ended = system.wait_for_exit(hog.pid());
    release.send(()).unwrap();
    soon(&system, ended).await;
}

#[tokio::test]
async fn process_that_keeps_one_message_is_reported_and_one_that_waits_is_not() {
    let system = System::builder().stuck_after(LIMIT).build();
    let waits = system.spawn(|mut cx: Context<ReplyTo<()>>| async move {
        cx.receive().await.reply(());
        cx.receive().await;
    });
    assert_eq!(soon(&system, waits.call(|to| to)).await, Ok(()));
    let slow = system.spawn(|mut cx: Context<()>| async move {
        cx.receive().await;
        cx.sleep(PATIENCE).await;
    });
    slow.send(()).unwrap();
    until(&system, || system.inspect().counts.stuck > 0).await;
    // Whoever was seen with `slow` at two looks was seen with it at both.
    assert_eq!(system.inspect().counts.stuck, 1, "one waits");
}
