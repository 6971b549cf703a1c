//! Ours, through its public face: actors with an address, all semantics on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_runtime::{
    Actor, Address, Capacity, ChildSpec, Context, ExitReason, Flow, Overflow, ReplyTo, RoomMessage,
    Strategy, Supervisor, System,
};
use tokio::sync::oneshot;

use crate::contender::{
    Births, Broadcasts, Crashes, Done, Echoes, FLOOD, Floods, Lateness, Library, Life, Member,
    Names, Rings, Sinks, Spawns, Tally, TimerCost, Timers,
};
use crate::measure::resident_bytes;

const STARTS: &str = "the process starts";
const LIVES: &str = "the process lives and has room";

#[derive(Clone)]
pub(crate) struct Mesh(System);

impl Library for Mesh {
    fn new() -> Mesh {
        Mesh(System::new())
    }
}

struct Sink(Tally);

impl Actor for Sink {
    type Args = Tally;
    type Message = u64;

    async fn init(tally: Tally, _cx: &mut Context<u64>) -> Result<Sink, ExitReason> {
        Ok(Sink(tally))
    }

    async fn handle(&mut self, number: u64, _cx: &mut Context<u64>) -> Flow {
        if self.0.add(number) {
            return Flow::Stop(ExitReason::normal());
        }
        Flow::Continue
    }

    fn mailbox() -> Capacity {
        Capacity::unbounded()
    }
}

impl Sinks for Mesh {
    type Sink = Address<u64>;

    async fn sink(&self, tally: Tally) -> Address<u64> {
        self.0.start::<Sink>(tally).await.expect(STARTS)
    }

    async fn tell(sink: &Address<u64>, number: u64) {
        sink.send(number).expect(LIVES);
    }
}

/// The same work by a closure process.
#[derive(Clone)]
pub(crate) struct MeshClosure(System);

impl Library for MeshClosure {
    fn new() -> MeshClosure {
        MeshClosure(System::new())
    }
}

impl Sinks for MeshClosure {
    type Sink = Address<u64>;

    async fn sink(&self, mut tally: Tally) -> Address<u64> {
        let body =
            move |mut cx: Context<u64>| async move { while !tally.add(cx.receive().await) {} };
        self.0.spawn_with(Capacity::unbounded(), body)
    }

    async fn tell(sink: &Address<u64>, number: u64) {
        sink.send(number).expect(LIVES);
    }
}

/// The same work through the default bound, whose senders wait for room.
#[derive(Clone)]
pub(crate) struct MeshBounded(System);

impl Library for MeshBounded {
    fn new() -> MeshBounded {
        MeshBounded(System::new())
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Sinks for MeshBounded {
    type Sink = Address<u64>;

    async fn sink(&self, mut tally: Tally) -> Address<u64> {
        let body =
            move |mut cx: Context<u64>| async move { while !tally.add(cx.receive().await) {} };
        self.0
            .spawn_with(Capacity::default().overflow(Overflow::Wait), body)
    }

    async fn tell(sink: &Address<u64>, number: u64) {
        sink.send_wait(number, PATIENCE).await.expect(LIVES);
    }
}

pub(crate) struct Double(u64, ReplyTo<u64>);

struct Echo;

impl Actor for Echo {
    type Args = ();
    type Message = Double;

    async fn init((): (), _cx: &mut Context<Double>) -> Result<Echo, ExitReason> {
        Ok(Echo)
    }

    async fn handle(&mut self, message: Double, _cx: &mut Context<Double>) -> Flow {
        let Double(number, reply_to) = message;
        reply_to.reply(number * 2);
        Flow::Continue
    }
}

impl Echoes for Mesh {
    type Echo = Address<Double>;

    async fn echo(&self) -> Address<Double> {
        self.0.start::<Echo>(()).await.expect(STARTS)
    }

    async fn call(echo: &Address<Double>, number: u64) -> u64 {
        let answer = echo.call(|reply_to| Double(number, reply_to)).await;
        answer.expect("the process answers")
    }
}

struct Flooded(Arc<AtomicU64>);

impl Actor for Flooded {
    type Args = Arc<AtomicU64>;
    type Message = u64;

    async fn init(taken: Arc<AtomicU64>, _cx: &mut Context<u64>) -> Result<Flooded, ExitReason> {
        Ok(Flooded(taken))
    }

    async fn handle(&mut self, number: u64, cx: &mut Context<u64>) -> Flow {
        self.0.fetch_add(1, Ordering::Relaxed);
        if FLOOD.load(Ordering::Relaxed) {
            cx.address().send(number).expect(LIVES);
        }
        Flow::Continue
    }
}

impl Floods for Mesh {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        let flooded = self.0.start::<Flooded>(taken).await.expect(STARTS);
        for number in 0..waiting {
            flooded.send(number).expect(LIVES);
        }
    }
}

pub(crate) enum Hop {
    Close(Address<Hop>),
    Token(u64),
}

struct Node {
    next: Option<Address<Hop>>,
    done: Option<Done>,
}

impl Actor for Node {
    type Args = Node;
    type Message = Hop;

    async fn init(node: Node, _cx: &mut Context<Hop>) -> Result<Node, ExitReason> {
        Ok(node)
    }

    async fn handle(&mut self, message: Hop, _cx: &mut Context<Hop>) -> Flow {
        match (message, &self.next) {
            (Hop::Close(next), _) => self.next = Some(next),
            (Hop::Token(0), _) => {
                let done = self.done.take().expect("the token ends where it began");
                done.send(0).expect("the row waits");
            }
            (Hop::Token(hops), next) => {
                let next = next.as_ref().expect("the ring is closed");
                next.send(Hop::Token(hops - 1)).expect(LIVES);
            }
        }
        Flow::Continue
    }
}

impl Rings for Mesh {
    type Node = Address<Hop>;

    async fn node(&self, next: Option<Address<Hop>>, done: Option<Done>) -> Address<Hop> {
        let started = self.0.start::<Node>(Node { next, done }).await;
        started.expect(STARTS)
    }

    async fn close(first: &Address<Hop>, next: Address<Hop>) {
        first.send(Hop::Close(next)).expect(LIVES);
    }

    async fn pass(node: &Address<Hop>, hops: u64) {
        node.send(Hop::Token(hops)).expect(LIVES);
    }
}

impl Spawns for Mesh {
    type Process = Address<()>;

    async fn spawn(&self, life: Life) -> Address<()> {
        self.0.spawn(move |mut cx: Context<()>| async move {
            life.begin();
            cx.receive().await;
            drop(life);
        })
    }

    async fn stop(process: Address<()>) {
        process.send(()).expect(LIVES);
    }
}

impl Timers for Mesh {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let (done, cost) = oneshot::channel();
        let body = move |mut cx: Context<u64>| async move {
            let own = cx.address();
            let mut timers = Vec::with_capacity(delays.len());
            let blank = cx.send_after(&own, Duration::from_secs(3_600), 0);
            timers.resize(delays.len(), blank);
            let before = resident_bytes();
            let start = Instant::now();
            for (timer, delay) in timers.iter_mut().zip(delays) {
                *timer = cx.send_after(&own, delay, 7);
            }
            let insert = start.elapsed();
            let bytes = resident_bytes().saturating_sub(before);
            let start = Instant::now();
            let cancelled = timers.iter().filter(|timer| cx.cancel(**timer).is_some());
            assert_eq!(cancelled.count(), timers.len());
            let cancel = start.elapsed();
            let told = done.send(TimerCost {
                insert,
                cancel,
                bytes,
            });
            assert!(told.is_ok(), "the row waits");
        };
        self.0.spawn(body);
        cost.await.expect("the process lives")
    }

    async fn lateness(&self, delays: Vec<Duration>) -> Vec<Duration> {
        let (done, seen) = oneshot::channel();
        let mut lateness = Lateness::new(delays.len(), done);
        let target = self.0.spawn(move |mut cx: Context<Instant>| async move {
            while !lateness.note(cx.receive().await) {}
        });
        for delay in delays {
            let due = Instant::now() + delay;
            self.0.send_after(&target, delay, due);
        }
        seen.await.expect("all timers fire")
    }
}

/// The same timers, set and cancelled by somebody outside any process.
#[derive(Clone)]
pub(crate) struct MeshOutside(System);

impl Library for MeshOutside {
    fn new() -> MeshOutside {
        MeshOutside(System::new())
    }
}

impl Timers for MeshOutside {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let target = self.0.spawn(|mut cx: Context<u64>| async move {
            let early = cx.receive().await;
            assert_eq!(early, 0, "no timer was to fire");
        });
        let mut timers = Vec::with_capacity(delays.len());
        let blank = self.0.send_after(&target, Duration::from_secs(3_600), 0);
        timers.resize(delays.len(), blank);
        let before = resident_bytes();
        let start = Instant::now();
        for (timer, delay) in timers.iter_mut().zip(delays) {
            *timer = self.0.send_after(&target, delay, 7);
        }
        let insert = start.elapsed();
        let bytes = resident_bytes().saturating_sub(before);
        let start = Instant::now();
        let cancelled = timers
            .iter()
            .filter(|timer| self.0.cancel(**timer).is_some());
        assert_eq!(cancelled.count(), timers.len());
        TimerCost {
            insert,
            cancel: start.elapsed(),
            bytes,
        }
    }

    async fn lateness(&self, delays: Vec<Duration>) -> Vec<Duration> {
        Mesh(self.0.clone()).lateness(delays).await
    }
}

struct Crasher;

impl Actor for Crasher {
    type Args = Births;
    type Message = ();

    async fn init(births: Births, cx: &mut Context<()>) -> Result<Crasher, ExitReason> {
        if births.crashes() {
            cx.address().send(()).expect(LIVES);
        }
        Ok(Crasher)
    }

    async fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Flow {
        panic!("as it was told");
    }
}

impl Crashes for Mesh {
    async fn crash(&self, births: Births) {
        let tree = Supervisor::new(Strategy::OneForOne)
            .intensity(u32::MAX, Duration::from_secs(1))
            .child(
                ChildSpec::worker_with::<Crasher>("crasher", move || births.clone()).unregistered(),
            );
        self.0.supervise(tree).await.expect(STARTS);
    }
}

impl Broadcasts for Mesh {
    type Room = System;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> System {
        for _ in 0..members {
            let mut member = member();
            let body = move |mut cx: Context<RoomMessage>| async move {
                // An empty frame would end it.
                while let message = cx.receive().await
                    && !message.payload.is_empty()
                {
                    assert_eq!(message.missed, 0, "a member lags");
                    member.take(&message.payload);
                }
            };
            let address = self.0.spawn::<RoomMessage, _, _>(body);
            let joined = self.0.rooms().join("bench", &address, |message| message);
            joined.expect("the member lives");
        }
        self.0.clone()
    }

    async fn broadcast(room: &System, frame: Bytes) {
        room.rooms().broadcast("bench", frame);
    }
}

impl Names for Mesh {
    async fn register(&self, names: Vec<String>) {
        for name in names {
            let idle = self.0.spawn(|mut cx: Context<u64>| async move {
                cx.receive().await;
            });
            self.0.register(&name, &idle).expect("the name is free");
        }
    }

    fn lookup(&self, name: &str) -> bool {
        self.0.whereis::<u64>(name).is_ok()
    }
}
