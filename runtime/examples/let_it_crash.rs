//! A supervised worker panics in the middle of a call, and comes back with fresh state behind the same address.

use mesh_runtime::{
    Actor, ChildSpec, Context, ExitReason, Flow, ReplyTo, Strategy, Supervisor, System,
};

enum Message {
    Divide(u64, ReplyTo<u64>),
    Count(ReplyTo<u64>),
}

struct Divider {
    divisions: u64,
}

impl Actor for Divider {
    type Args = ();
    type Message = Message;

    async fn init((): (), _cx: &mut Context<Message>) -> Result<Self, ExitReason> {
        Ok(Divider { divisions: 0 })
    }

    async fn handle(&mut self, message: Message, _cx: &mut Context<Message>) -> Flow {
        match message {
            Message::Divide(by, to) => {
                self.divisions += 1;
                to.reply(100 / by);
            }
            Message::Count(to) => to.reply(self.divisions),
        }
        Flow::Continue
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let tree =
        Supervisor::new(Strategy::OneForOne).child(ChildSpec::worker::<Divider>("divider", ()));
    system.supervise(tree).await?;
    let divider = system.whereis::<Message>("divider")?;
    println!(
        "100 / 4 = {:?}",
        divider.call(|to| Message::Divide(4, to)).await
    );
    println!(
        "100 / 0 = {:?}",
        divider.call(|to| Message::Divide(0, to)).await
    );
    println!(
        "divisions of the new life: {:?}",
        divider.call(Message::Count).await
    );
    println!("{}", system.inspect());
    system.shutdown(std::time::Duration::from_secs(5)).await?;
    Ok(())
}
