//! The smallest service: casts and calls, with its client verbs beside it.

use mesh_runtime::{
    Actor, Address, CallError, Context, ExitReason, Flow, ReplyTo, SendError, System,
};

enum Message {
    Add(u64),
    Total(ReplyTo<u64>),
}

struct Counter {
    total: u64,
}

impl Actor for Counter {
    type Args = u64;
    type Message = Message;

    async fn init(start: u64, _cx: &mut Context<Message>) -> Result<Self, ExitReason> {
        Ok(Counter { total: start })
    }

    async fn handle(&mut self, message: Message, _cx: &mut Context<Message>) -> Flow {
        match message {
            Message::Add(n) => self.total += n,
            Message::Total(to) => to.reply(self.total),
        }
        Flow::Continue
    }
}

/// What clients hold.
#[derive(Clone)]
struct CounterHandle(Address<Message>);

impl CounterHandle {
    fn add(&self, n: u64) -> Result<(), SendError<Message>> {
        self.0.send(Message::Add(n))
    }

    async fn total(&self) -> Result<u64, CallError> {
        self.0.call(Message::Total).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let counter = CounterHandle(system.start::<Counter>(40).await?);
    counter.add(1)?;
    counter.add(1)?;
    println!("total: {}", counter.total().await?);
    Ok(())
}
