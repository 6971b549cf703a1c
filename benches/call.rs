//! How long does one call take when one caller waits for each answer? Raw limit: a tokio channel and a oneshot, without a deadline.

use benches::{Comparison, runtime};
use mesh_runtime::{Context, ReplyTo, System};
use tokio::sync::{mpsc, oneshot};

const CALLS: u32 = 100_000;

struct Double(u32, ReplyTo<u32>);

async fn ours() {
    let system = System::new();
    let doubler = system.spawn(|mut cx: Context<Double>| async move {
        for _ in 0..CALLS {
            let Double(number, reply) = cx.receive().await;
            reply.reply(number.wrapping_mul(2));
        }
    });
    let caller = tokio::spawn(async move {
        for number in 0..CALLS {
            doubler
                .call(|reply| Double(number, reply))
                .await
                .expect("the process answers");
        }
    });
    caller.await.expect("the caller ends");
}

async fn raw() {
    let (sender, mut receiver) = mpsc::channel::<(u32, oneshot::Sender<u32>)>(1024);
    tokio::spawn(async move {
        while let Some((number, reply)) = receiver.recv().await {
            reply
                .send(number.wrapping_mul(2))
                .expect("the caller waits");
        }
    });
    let caller = tokio::spawn(async move {
        for number in 0..CALLS {
            let (reply, answer) = oneshot::channel();
            sender
                .send((number, reply))
                .await
                .expect("the task takes it");
            answer.await.expect("the task answers");
        }
    });
    caller.await.expect("the caller ends");
}

fn main() {
    Comparison::run(&runtime(), CALLS, ours, raw).print("call, one caller");
}
