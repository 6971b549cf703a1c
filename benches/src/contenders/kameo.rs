//! kameo 0.22: an actor is a type, each of its messages another; mailboxes here unbounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::supervision::RestartPolicy;
use tokio::sync::oneshot;

use crate::contender::{
    Births, Broadcasts, Crashes, Done, Echoes, FLOOD, Floods, Lateness, Library, Life, Member,
    Names, Rings, Sinks, Spawns, Tally, TimerCost, Timers,
};
use crate::measure::resident_bytes;

const LIVES: &str = "the actor lives";

#[derive(Clone)]
pub(crate) struct Kameo;

impl Library for Kameo {
    fn new() -> Kameo {
        Kameo
    }
}

/// An actor that is its state.
macro_rules! actor {
    ($($name:ty),*) => {$(
        impl Actor for $name {
            type Args = Self;
            type Error = Infallible;

            async fn on_start(state: Self, _me: ActorRef<Self>) -> Result<Self, Infallible> {
                Ok(state)
            }
        }
    )*};
}

actor!(Sink, Echo, Flooded, Node, Late, Listener);

fn start<A: Actor<Args = A>>(actor: A) -> ActorRef<A> {
    A::spawn_with_mailbox(actor, mailbox::unbounded())
}

pub(crate) struct Sink(Tally);

impl Message<u64> for Sink {
    type Reply = ();

    async fn handle(&mut self, number: u64, cx: &mut Context<Self, ()>) {
        if self.0.add(number) {
            cx.stop();
        }
    }
}

impl Sinks for Kameo {
    type Sink = ActorRef<Sink>;

    async fn sink(&self, tally: Tally) -> ActorRef<Sink> {
        start(Sink(tally))
    }

    async fn tell(sink: &ActorRef<Sink>, number: u64) {
        sink.tell(number).try_send().expect(LIVES);
    }
}

pub(crate) struct Echo;

impl Message<u64> for Echo {
    type Reply = u64;

    async fn handle(&mut self, number: u64, _cx: &mut Context<Self, u64>) -> u64 {
        number * 2
    }
}

impl Echoes for Kameo {
    type Echo = ActorRef<Echo>;

    async fn echo(&self) -> ActorRef<Echo> {
        start(Echo)
    }

    async fn call(echo: &ActorRef<Echo>, number: u64) -> u64 {
        echo.ask(number).send().await.expect("the actor answers")
    }
}

pub(crate) struct Flooded(Arc<AtomicU64>);

impl Message<u64> for Flooded {
    type Reply = ();

    async fn handle(&mut self, number: u64, cx: &mut Context<Self, ()>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        if FLOOD.load(Ordering::Relaxed) {
            cx.actor_ref().tell(number).try_send().expect(LIVES);
        }
    }
}

impl Floods for Kameo {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        let flooded = start(Flooded(taken));
        for number in 0..waiting {
            flooded.tell(number).try_send().expect(LIVES);
        }
    }
}

pub(crate) struct Node {
    next: Option<ActorRef<Node>>,
    done: Option<Done>,
}

struct Close(ActorRef<Node>);

struct Token(u64);

impl Message<Close> for Node {
    type Reply = ();

    async fn handle(&mut self, Close(next): Close, _cx: &mut Context<Self, ()>) {
        self.next = Some(next);
    }
}

impl Message<Token> for Node {
    type Reply = ();

    async fn handle(&mut self, Token(hops): Token, _cx: &mut Context<Self, ()>) {
        if hops == 0 {
            let done = self.done.take().expect("the token ends where it began");
            done.send(0).expect("the row waits");
        } else {
            let next = self.next.as_ref().expect("the ring is closed");
            next.tell(Token(hops - 1)).try_send().expect(LIVES);
        }
    }
}

impl Rings for Kameo {
    type Node = ActorRef<Node>;

    async fn node(&self, next: Option<ActorRef<Node>>, done: Option<Done>) -> ActorRef<Node> {
        start(Node { next, done })
    }

    async fn close(first: &ActorRef<Node>, next: ActorRef<Node>) {
        first.tell(Close(next)).try_send().expect(LIVES);
    }

    async fn pass(node: &ActorRef<Node>, hops: u64) {
        node.tell(Token(hops)).try_send().expect(LIVES);
    }
}

/// Ends with its first message.
pub(crate) struct Mortal {
    _life: Life,
}

impl Actor for Mortal {
    type Args = Life;
    type Error = Infallible;

    async fn on_start(life: Life, _me: ActorRef<Self>) -> Result<Self, Infallible> {
        life.begin();
        Ok(Mortal { _life: life })
    }
}

impl Message<()> for Mortal {
    type Reply = ();

    async fn handle(&mut self, (): (), cx: &mut Context<Self, ()>) {
        cx.stop();
    }
}

fn idle() -> ActorRef<Mortal> {
    let life = Life {
        begun: None,
        ended: None,
    };
    Mortal::spawn_with_mailbox(life, mailbox::unbounded())
}

impl Spawns for Kameo {
    type Process = ActorRef<Mortal>;

    async fn spawn(&self, life: Life) -> ActorRef<Mortal> {
        Mortal::spawn_with_mailbox(life, mailbox::unbounded())
    }

    async fn stop(process: ActorRef<Mortal>) {
        process.tell(()).try_send().expect(LIVES);
    }
}

pub(crate) struct Late(Lateness);

impl Message<Instant> for Late {
    type Reply = ();

    async fn handle(&mut self, due: Instant, _cx: &mut Context<Self, ()>) {
        self.0.note(due);
    }
}

/// A task for each timer.
impl Timers for Kameo {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let target = idle();
        let mut timers = Vec::with_capacity(delays.len());
        timers.resize_with(delays.len(), || None);
        let before = resident_bytes();
        let start = Instant::now();
        for (timer, delay) in timers.iter_mut().zip(delays) {
            *timer = Some(target.tell(()).send_after(delay));
        }
        let insert = start.elapsed();
        let bytes = resident_bytes().saturating_sub(before);
        let start = Instant::now();
        for timer in timers.iter().flatten() {
            timer.abort();
        }
        let cancel = start.elapsed();
        for timer in timers.into_iter().flatten() {
            let ended = timer.await;
            assert!(ended.is_err_and(|error| error.is_cancelled()));
        }
        TimerCost {
            insert,
            cancel,
            bytes,
        }
    }

    async fn lateness(&self, delays: Vec<Duration>) -> Vec<Duration> {
        let (done, seen) = oneshot::channel();
        let target = start(Late(Lateness::new(delays.len(), done)));
        for delay in delays {
            drop(target.tell(Instant::now() + delay).send_after(delay));
        }
        seen.await.expect("all timers fire")
    }
}

struct Crasher;

impl Actor for Crasher {
    type Args = Births;
    type Error = Infallible;

    async fn on_start(births: Births, me: ActorRef<Self>) -> Result<Self, Infallible> {
        if births.crashes() {
            me.tell(()).try_send().expect(LIVES);
        }
        Ok(Crasher)
    }
}

impl Message<()> for Crasher {
    type Reply = ();

    async fn handle(&mut self, (): (), _cx: &mut Context<Self, ()>) {
        panic!("as it was told");
    }
}

/// The supervisor.
struct Boss;

impl Actor for Boss {
    type Args = Births;
    type Error = Infallible;

    async fn on_start(births: Births, me: ActorRef<Self>) -> Result<Self, Infallible> {
        Crasher::supervise(&me, births)
            .restart_policy(RestartPolicy::Permanent)
            .restart_limit(u32::MAX, Duration::from_secs(1))
            .spawn_with_mailbox(mailbox::unbounded())
            .await;
        Ok(Boss)
    }
}

impl Crashes for Kameo {
    async fn crash(&self, births: Births) {
        let boss = Boss::spawn_with_mailbox(births, mailbox::unbounded());
        boss.wait_for_startup().await;
        // It ends with the last of its addresses.
        std::mem::forget(boss);
    }
}

pub(crate) struct Listener(Member);

impl Message<Bytes> for Listener {
    type Reply = ();

    async fn handle(&mut self, frame: Bytes, _cx: &mut Context<Self, ()>) {
        self.0.take(&frame);
    }
}

impl Broadcasts for Kameo {
    type Room = Vec<ActorRef<Listener>>;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> Self::Room {
        (0..members).map(|_| start(Listener(member()))).collect()
    }

    async fn broadcast(room: &Self::Room, frame: Bytes) {
        for member in room {
            member.tell(frame.clone()).try_send().expect(LIVES);
        }
    }
}

impl Names for Kameo {
    async fn register(&self, names: Vec<String>) {
        for name in names {
            idle().register(name).expect("the name is free");
        }
    }

    fn lookup(&self, name: &str) -> bool {
        ActorRef::<Mortal>::lookup(name).is_ok_and(|found| found.is_some())
    }
}
