//! How many small messages a second does one process take from one sender? Raw limit: a bounded tokio channel of the same size.

use benches::{Comparison, runtime};
use mesh_runtime::System;
use tokio::sync::{mpsc, oneshot};

const MESSAGES: u32 = 500_000;
/// The default bound of our mailbox.
const BOUND: usize = 65_536;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

async fn ours() {
    let system = System::new();
    let (done, finished) = oneshot::channel();
    let sink = system.spawn(move |mut cx: mesh_runtime::Context<u32>| async move {
        for _ in 0..MESSAGES {
            cx.receive().await;
        }
        done.send(()).expect("the bench waits");
    });
    let sender = tokio::spawn(async move {
        for number in 0..MESSAGES {
            sink.send_wait(number, PATIENCE)
                .await
                .expect("the sink takes all");
        }
    });
    finished.await.expect("the sink ends");
    sender.await.expect("the sender ends");
}

async fn raw() {
    let (sender, mut receiver) = mpsc::channel(BOUND);
    let sink = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            receiver.recv().await;
        }
    });
    let sender = tokio::spawn(async move {
        for number in 0..MESSAGES {
            sender.send(number).await.expect("the sink takes all");
        }
    });
    sink.await.expect("the sink ends");
    sender.await.expect("the sender ends");
}

fn main() {
    Comparison::run(&runtime(), MESSAGES, ours, raw).print("send, one to one");
}
