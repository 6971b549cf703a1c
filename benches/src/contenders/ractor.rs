//! ractor 0.16: an actor is a type with a state beside it; mailboxes are unbounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::oneshot;

use crate::contender::{
    Births, Broadcasts, Crashes, Done, Echoes, FLOOD, Floods, Lateness, Library, Life, Member,
    Names, Rings, Sinks, Spawns, Tally, TimerCost, Timers,
};
use crate::measure::resident_bytes;

type Failure = ActorProcessingErr;

const STARTS: &str = "the actor starts";
const LIVES: &str = "the actor lives";

#[derive(Clone)]
pub(crate) struct Ractor;

impl Library for Ractor {
    fn new() -> Ractor {
        Ractor
    }
}

async fn start<A: Actor>(actor: A, args: A::Arguments) -> ActorRef<A::Msg> {
    Actor::spawn(None, actor, args).await.expect(STARTS).0
}

struct Sink;

impl Actor for Sink {
    type Msg = u64;
    type State = Tally;
    type Arguments = Tally;

    async fn pre_start(&self, _me: ActorRef<u64>, tally: Tally) -> Result<Tally, Failure> {
        Ok(tally)
    }

    async fn handle(
        &self,
        me: ActorRef<u64>,
        number: u64,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        if tally.add(number) {
            me.stop(None);
        }
        Ok(())
    }
}

impl Sinks for Ractor {
    type Sink = ActorRef<u64>;

    async fn sink(&self, tally: Tally) -> ActorRef<u64> {
        start(Sink, tally).await
    }

    async fn tell(sink: &ActorRef<u64>, number: u64) {
        sink.cast(number).expect(LIVES);
    }
}

pub(crate) struct Double(u64, RpcReplyPort<u64>);

struct Echo;

impl Actor for Echo {
    type Msg = Double;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _me: ActorRef<Double>, (): ()) -> Result<(), Failure> {
        Ok(())
    }

    async fn handle(
        &self,
        _me: ActorRef<Double>,
        message: Double,
        (): &mut (),
    ) -> Result<(), Failure> {
        let Double(number, port) = message;
        Ok(port.send(number * 2)?)
    }
}

impl Echoes for Ractor {
    type Echo = ActorRef<Double>;

    async fn echo(&self) -> ActorRef<Double> {
        start(Echo, ()).await
    }

    async fn call(echo: &ActorRef<Double>, number: u64) -> u64 {
        let answer = echo.call(|port| Double(number, port), None).await;
        match answer.expect(LIVES) {
            CallResult::Success(double) => double,
            CallResult::Timeout | CallResult::SenderError => panic!("no answer"),
        }
    }
}

struct Flooded;

impl Actor for Flooded {
    type Msg = u64;
    type State = Arc<AtomicU64>;
    type Arguments = Arc<AtomicU64>;

    async fn pre_start(
        &self,
        _me: ActorRef<u64>,
        taken: Arc<AtomicU64>,
    ) -> Result<Arc<AtomicU64>, Failure> {
        Ok(taken)
    }

    async fn handle(
        &self,
        me: ActorRef<u64>,
        number: u64,
        taken: &mut Arc<AtomicU64>,
    ) -> Result<(), Failure> {
        taken.fetch_add(1, Ordering::Relaxed);
        if FLOOD.load(Ordering::Relaxed) {
            me.cast(number)?;
        }
        Ok(())
    }
}

impl Floods for Ractor {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        let flooded = start(Flooded, taken).await;
        for number in 0..waiting {
            flooded.cast(number).expect(LIVES);
        }
    }
}

pub(crate) enum Hop {
    Close(ActorRef<Hop>),
    Token(u64),
}

struct Node;

type NodeState = (Option<ActorRef<Hop>>, Option<Done>);

impl Actor for Node {
    type Msg = Hop;
    type State = NodeState;
    type Arguments = NodeState;

    async fn pre_start(&self, _me: ActorRef<Hop>, state: NodeState) -> Result<NodeState, Failure> {
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<Hop>,
        hop: Hop,
        state: &mut NodeState,
    ) -> Result<(), Failure> {
        match hop {
            Hop::Close(next) => state.0 = Some(next),
            Hop::Token(0) => {
                let done = state.1.take().expect("the token ends where it began");
                done.send(0).expect("the row waits");
            }
            Hop::Token(hops) => {
                let next = state.0.as_ref().expect("the ring is closed");
                next.cast(Hop::Token(hops - 1))?;
            }
        }
        Ok(())
    }
}

impl Rings for Ractor {
    type Node = ActorRef<Hop>;

    async fn node(&self, next: Option<ActorRef<Hop>>, done: Option<Done>) -> ActorRef<Hop> {
        start(Node, (next, done)).await
    }

    async fn close(first: &ActorRef<Hop>, next: ActorRef<Hop>) {
        first.cast(Hop::Close(next)).expect(LIVES);
    }

    async fn pass(node: &ActorRef<Hop>, hops: u64) {
        node.cast(Hop::Token(hops)).expect(LIVES);
    }
}

/// Ends with its first message.
struct Mortal;

impl Actor for Mortal {
    type Msg = ();
    type State = Life;
    type Arguments = Life;

    async fn pre_start(&self, _me: ActorRef<()>, life: Life) -> Result<Life, Failure> {
        life.begin();
        Ok(life)
    }

    async fn handle(&self, me: ActorRef<()>, (): (), _life: &mut Life) -> Result<(), Failure> {
        me.stop(None);
        Ok(())
    }
}

impl Spawns for Ractor {
    type Process = ActorRef<()>;

    async fn spawn(&self, life: Life) -> ActorRef<()> {
        start(Mortal, life).await
    }

    async fn stop(process: ActorRef<()>) {
        process.cast(()).expect(LIVES);
    }
}

struct Late;

impl Actor for Late {
    type Msg = Instant;
    type State = Lateness;
    type Arguments = Lateness;

    async fn pre_start(
        &self,
        _me: ActorRef<Instant>,
        lateness: Lateness,
    ) -> Result<Lateness, Failure> {
        Ok(lateness)
    }

    async fn handle(
        &self,
        _me: ActorRef<Instant>,
        due: Instant,
        lateness: &mut Lateness,
    ) -> Result<(), Failure> {
        lateness.note(due);
        Ok(())
    }
}

/// A task for each timer.
impl Timers for Ractor {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let target = start(
            Mortal,
            Life {
                begun: None,
                ended: None,
            },
        )
        .await;
        let mut timers = Vec::with_capacity(delays.len());
        timers.resize_with(delays.len(), || None);
        let before = resident_bytes();
        let start = Instant::now();
        for (timer, delay) in timers.iter_mut().zip(delays) {
            *timer = Some(target.send_after(delay, || ()));
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
        let target = start(Late, Lateness::new(delays.len(), done)).await;
        for delay in delays {
            let due = Instant::now() + delay;
            drop(target.send_after(delay, move || due));
        }
        seen.await.expect("all timers fire")
    }
}

struct Crasher;

impl Actor for Crasher {
    type Msg = ();
    type State = ();
    type Arguments = Births;

    async fn pre_start(&self, me: ActorRef<()>, births: Births) -> Result<(), Failure> {
        if births.crashes() {
            me.cast(())?;
        }
        Ok(())
    }

    async fn handle(&self, _me: ActorRef<()>, (): (), (): &mut ()) -> Result<(), Failure> {
        panic!("as it was told");
    }
}

/// ractor tells a supervisor of a crash; starting anew is its author's work, who here does not count how often.
struct Boss;

impl Actor for Boss {
    type Msg = ();
    type State = Births;
    type Arguments = Births;

    async fn pre_start(&self, me: ActorRef<()>, births: Births) -> Result<Births, Failure> {
        Actor::spawn_linked(None, Crasher, births.clone(), me.get_cell()).await?;
        Ok(births)
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        births: &mut Births,
    ) -> Result<(), Failure> {
        if let SupervisionEvent::ActorFailed(..) = event {
            Actor::spawn_linked(None, Crasher, births.clone(), me.get_cell()).await?;
        }
        Ok(())
    }
}

impl Crashes for Ractor {
    async fn crash(&self, births: Births) {
        start(Boss, births).await;
    }
}

struct Listener;

impl Actor for Listener {
    type Msg = Bytes;
    type State = Member;
    type Arguments = Member;

    async fn pre_start(&self, _me: ActorRef<Bytes>, member: Member) -> Result<Member, Failure> {
        Ok(member)
    }

    async fn handle(
        &self,
        _me: ActorRef<Bytes>,
        frame: Bytes,
        member: &mut Member,
    ) -> Result<(), Failure> {
        member.take(&frame);
        Ok(())
    }
}

impl Broadcasts for Ractor {
    type Room = Vec<ActorRef<Bytes>>;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> Self::Room {
        let mut room = Vec::with_capacity(members);
        for _ in 0..members {
            room.push(start(Listener, member()).await);
        }
        room
    }

    async fn broadcast(room: &Self::Room, frame: Bytes) {
        for member in room {
            member.cast(frame.clone()).expect(LIVES);
        }
    }
}

impl Names for Ractor {
    async fn register(&self, names: Vec<String>) {
        for name in names {
            let life = Life {
                begun: None,
                ended: None,
            };
            Actor::spawn(Some(name), Mortal, life).await.expect(STARTS);
        }
    }

    fn lookup(&self, name: &str) -> bool {
        ActorRef::<()>::where_is(name).is_some()
    }
}
