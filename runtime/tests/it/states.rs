//! `get_state`: an actor's state seen from outside, ahead of its messages.

use mesh_runtime::{
    Actor, ChildSpec, Context, ExitReason, Flow, StateError, Strategy, Supervisor, System,
};
use tokio::sync::oneshot;

use crate::support::{soon, supervise};

/// What `Counter` and `Other` both understand.
enum Message {
    Add(u64),
    /// Told that it is in hand, waits to be let go.
    Hold(oneshot::Sender<()>, oneshot::Receiver<()>),
    AskYourself(oneshot::Sender<Result<u64, StateError>>),
    Stop,
}

struct Counter(u64);

impl Actor for Counter {
    type Args = u64;
    type Message = Message;

    async fn init(start: u64, _cx: &mut Context<Message>) -> Result<Self, ExitReason> {
        Ok(Counter(start))
    }

    async fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Flow {
        match message {
            Message::Add(n) => self.0 += n,
            Message::Hold(held, go) => {
                let _ = held.send(());
                let _ = go.await;
            }
            Message::AskYourself(answer) => {
                let me = cx.address();
                let _ = answer.send(me.get_state(|counter: &Counter| counter.0).await);
            }
            Message::Stop => return Flow::Stop(ExitReason::normal()),
        }
        Flow::Continue
    }
}

struct Other;

impl Actor for Other {
    type Args = ();
    type Message = Message;

    async fn init((): (), _cx: &mut Context<Message>) -> Result<Self, ExitReason> {
        Ok(Other)
    }

    async fn handle(&mut self, _message: Message, _cx: &mut Context<Message>) -> Flow {
        Flow::Continue
    }
}

fn total(counter: &Counter) -> u64 {
    counter.0
}

#[tokio::test]
async fn state_is_seen_ahead_of_the_messages_that_wait() {
    let system = System::new();
    let counter = soon(&system, system.start::<Counter>(1)).await.unwrap();
    assert_eq!(soon(&system, counter.get_state(total)).await, Ok(1));
    let (held, is_held) = oneshot::channel();
    let (go, gone) = oneshot::channel();
    counter.send(Message::Hold(held, gone)).unwrap();
    soon(&system, is_held).await.unwrap();
    for _ in 0..100 {
        counter.send(Message::Add(1)).unwrap();
    }
    let mut seen = std::pin::pin!(counter.get_state(total));
    std::future::poll_fn(|task| {
        // Asks, and finds the actor busy.
        assert!(seen.as_mut().poll(task).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    go.send(()).unwrap();
    assert_eq!(
        soon(&system, seen).await,
        Ok(1),
        "none of the hundred was handled"
    );
    crate::support::until(&system, || counter.is_empty()).await;
    assert_eq!(soon(&system, counter.get_state(total)).await, Ok(101));
}

#[tokio::test]
async fn state_that_cannot_be_seen_is_a_named_error() {
    let system = System::new();
    let counter = soon(&system, system.start::<Counter>(1)).await.unwrap();
    let other = soon(&system, system.start::<Other>(())).await.unwrap();
    let closure = system.spawn(|mut cx: Context<Message>| async move {
        cx.receive().await;
    });
    assert_eq!(
        soon(&system, other.get_state(total)).await,
        Err(StateError::WrongType)
    );
    assert_eq!(
        soon(&system, closure.get_state(total)).await,
        Err(StateError::NotAnActor)
    );
    let (answer, answered) = oneshot::channel();
    counter.send(Message::AskYourself(answer)).unwrap();
    assert_eq!(
        soon(&system, answered).await.unwrap(),
        Err(StateError::CallingSelf)
    );
    let panicked = counter.get_state(|counter: &Counter| {
        assert!(counter.0 > 1_000, "in the look");
    });
    let Err(StateError::Panicked(reason)) = soon(&system, panicked).await else {
        panic!("the look panicked");
    };
    assert!(reason.to_string().contains("in the look"), "{reason}");
    assert_eq!(
        soon(&system, counter.get_state(total)).await,
        Ok(1),
        "it lives on"
    );
    let ended = system.wait_for_exit(counter.pid());
    counter.send(Message::Stop).unwrap();
    soon(&system, ended).await;
    assert_eq!(
        soon(&system, counter.get_state(total)).await,
        Err(StateError::Gone)
    );
}

#[tokio::test]
async fn state_of_one_that_ends_while_it_is_asked_is_gone() {
    let system = System::new();
    let counter = soon(&system, system.start::<Counter>(1)).await.unwrap();
    let (held, is_held) = oneshot::channel();
    let (_go, gone) = oneshot::channel();
    counter.send(Message::Hold(held, gone)).unwrap();
    soon(&system, is_held).await.unwrap();
    let mut seen = std::pin::pin!(counter.get_state(total));
    std::future::poll_fn(|task| {
        assert!(seen.as_mut().poll(task).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    system.kill(counter.pid());
    assert_eq!(soon(&system, seen).await, Err(StateError::Gone));
}

#[tokio::test]
async fn state_of_the_next_life_is_seen_behind_the_same_address() {
    let system = System::new();
    let tree =
        Supervisor::new(Strategy::OneForOne).child(ChildSpec::worker::<Counter>("counter", 7));
    supervise(&system, tree).await;
    let counter = system.whereis::<Message>("counter").unwrap();
    let first = counter.pid();
    counter.send(Message::Add(1)).unwrap();
    assert_eq!(
        soon(&system, counter.get_state(total)).await.unwrap() / 7,
        1
    );
    system.kill(first);
    crate::support::until(&system, || counter.is_alive() && counter.pid() != first).await;
    assert_eq!(soon(&system, counter.get_state(total)).await, Ok(7));
}
