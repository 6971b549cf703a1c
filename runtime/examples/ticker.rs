//! Timers: a message later, a message again and again, and one taken back.

use std::time::Duration;

use mesh_runtime::{Context, System};

#[derive(Clone)]
enum Message {
    Once,
    Tick,
    Never,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let system = System::new();
    let ticker = system.spawn(|mut cx: Context<Message>| async move {
        let me = cx.address();
        cx.send_after(&me, Duration::from_millis(25), Message::Once);
        let interval = cx
            .send_interval(&me, Duration::from_millis(10), Message::Tick)
            .expect("the period is not zero");
        let never = cx.send_after(&me, Duration::from_secs(3_600), Message::Never);
        let mut ticks = 0;
        while ticks < 5 {
            match cx.receive().await {
                Message::Once => println!("once, after 25 ms"),
                Message::Tick => {
                    ticks += 1;
                    println!("tick {ticks}");
                }
                Message::Never => println!("an hour has passed"),
            }
        }
        cx.cancel(interval);
        println!("left of the hour: {:?}", cx.cancel(never));
    });
    println!(
        "the ticker ended: {}",
        system.wait_for_exit(ticker.pid()).await
    );
}
