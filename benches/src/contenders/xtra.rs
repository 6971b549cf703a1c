//! xtra 0.6: an actor is a type, each of its messages another; mailboxes here unbounded. No timers, names or supervision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use xtra::{Actor, Address, Context, Handler, Mailbox};

use crate::contender::{
    Broadcasts, Done, Echoes, FLOOD, Floods, Library, Life, Member, Rings, Sinks, Spawns, Tally,
};

const LIVES: &str = "the actor lives";

#[derive(Clone)]
pub(crate) struct Xtra;

impl Library for Xtra {
    fn new() -> Xtra {
        Xtra
    }
}

macro_rules! actor {
    ($($name:ty),*) => {$(
        impl Actor for $name {
            type Stop = ();

            async fn stopped(self) {}
        }
    )*};
}

actor!(Sink, Echo, Flooded, Node, Mortal, Listener);

fn start<A: Actor<Stop = ()>>(actor: A) -> Address<A> {
    xtra::spawn_tokio(actor, Mailbox::unbounded())
}

/// Queued, and nobody waits for what becomes of it.
async fn tell<A: Handler<M>, M: Send + 'static>(address: &Address<A>, message: M) {
    drop(address.send(message).detach().await.expect(LIVES));
}

pub(crate) struct Sink(Tally);

impl Handler<u64> for Sink {
    type Return = ();

    async fn handle(&mut self, number: u64, cx: &mut Context<Self>) {
        if self.0.add(number) {
            cx.stop_self();
        }
    }
}

impl Sinks for Xtra {
    type Sink = Address<Sink>;

    async fn sink(&self, tally: Tally) -> Address<Sink> {
        start(Sink(tally))
    }

    async fn tell(sink: &Address<Sink>, number: u64) {
        tell(sink, number).await;
    }
}

pub(crate) struct Echo;

impl Handler<u64> for Echo {
    type Return = u64;

    async fn handle(&mut self, number: u64, _cx: &mut Context<Self>) -> u64 {
        number * 2
    }
}

impl Echoes for Xtra {
    type Echo = Address<Echo>;

    async fn echo(&self) -> Address<Echo> {
        start(Echo)
    }

    async fn call(echo: &Address<Echo>, number: u64) -> u64 {
        echo.send(number).await.expect("the actor answers")
    }
}

pub(crate) struct Flooded {
    me: Address<Flooded>,
    taken: Arc<AtomicU64>,
}

impl Handler<u64> for Flooded {
    type Return = ();

    async fn handle(&mut self, number: u64, _cx: &mut Context<Self>) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if FLOOD.load(Ordering::Relaxed) {
            tell(&self.me, number).await;
        }
    }
}

impl Floods for Xtra {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        let (me, mailbox) = Mailbox::unbounded();
        let flooded = Flooded {
            me: me.clone(),
            taken,
        };
        let me = xtra::spawn_tokio(flooded, (me, mailbox));
        for number in 0..waiting {
            tell(&me, number).await;
        }
    }
}

pub(crate) struct Node {
    next: Option<Address<Node>>,
    done: Option<Done>,
}

struct Close(Address<Node>);

struct Token(u64);

impl Handler<Close> for Node {
    type Return = ();

    async fn handle(&mut self, Close(next): Close, _cx: &mut Context<Self>) {
        self.next = Some(next);
    }
}

impl Handler<Token> for Node {
    type Return = ();

    async fn handle(&mut self, Token(hops): Token, _cx: &mut Context<Self>) {
        if hops == 0 {
            let done = self.done.take().expect("the token ends where it began");
            done.send(0).expect("the row waits");
        } else {
            let next = self.next.as_ref().expect("the ring is closed");
            tell(next, Token(hops - 1)).await;
        }
    }
}

impl Rings for Xtra {
    type Node = Address<Node>;

    async fn node(&self, next: Option<Address<Node>>, done: Option<Done>) -> Address<Node> {
        start(Node { next, done })
    }

    async fn close(first: &Address<Node>, next: Address<Node>) {
        tell(first, Close(next)).await;
    }

    async fn pass(node: &Address<Node>, hops: u64) {
        tell(node, Token(hops)).await;
    }
}

/// Ends with its first message.
pub(crate) struct Mortal {
    _life: Life,
}

impl Handler<()> for Mortal {
    type Return = ();

    async fn handle(&mut self, (): (), cx: &mut Context<Self>) {
        cx.stop_self();
    }
}

impl Spawns for Xtra {
    type Process = Address<Mortal>;

    async fn spawn(&self, life: Life) -> Address<Mortal> {
        life.begin();
        start(Mortal { _life: life })
    }

    async fn stop(process: Address<Mortal>) {
        tell(&process, ()).await;
    }
}

pub(crate) struct Listener(Member);

impl Handler<Bytes> for Listener {
    type Return = ();

    async fn handle(&mut self, frame: Bytes, _cx: &mut Context<Self>) {
        self.0.take(&frame);
    }
}

impl Broadcasts for Xtra {
    type Room = Vec<Address<Listener>>;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> Self::Room {
        (0..members).map(|_| start(Listener(member()))).collect()
    }

    async fn broadcast(room: &Self::Room, frame: Bytes) {
        for member in room {
            tell(member, frame.clone()).await;
        }
    }
}
