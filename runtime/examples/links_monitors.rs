//! The difference between `Exit` and `Down`: a link shares fate unless it is trapped, a monitor only tells.

use mesh_runtime::{Context, Event, ExitReason, System};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let system = System::new();

    let watcher = system.spawn(|mut cx: Context<()>| async move {
        let (_child, _monitor) =
            cx.spawn_monitor(|_cx: Context<()>| async { ExitReason::error("watched") });
        if let Event::Signal(signal) = cx.receive_event().await {
            println!("the watcher lives and is told: {signal:?}");
        }
    });
    system.wait_for_exit(watcher.pid()).await;

    let linked = system.spawn(|mut cx: Context<()>| async move {
        cx.spawn_link(|_cx: Context<()>| async { ExitReason::error("linked") });
        cx.receive().await;
    });
    println!(
        "the linked process ended with it: {}",
        system.wait_for_exit(linked.pid()).await
    );

    let trapping = system.spawn(|mut cx: Context<()>| async move {
        cx.trap_exit(true);
        cx.spawn_link(|_cx: Context<()>| async { ExitReason::error("trapped") });
        if let Event::Signal(signal) = cx.receive_event().await {
            println!("the trapping process lives and is told: {signal:?}");
        }
    });
    println!(
        "it ended on its own: {}",
        system.wait_for_exit(trapping.pid()).await
    );
}
