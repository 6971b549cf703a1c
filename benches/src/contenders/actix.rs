//! actix 0.13: actors live on the thread they were started on; here two threads, as two workers. `do_send` knows no bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, Addr, Arbiter, ArbiterHandle, AsyncContext, Context, Handler, Message,
};
use bytes::Bytes;

use crate::contender::{
    Broadcasts, Done, Echoes, FLOOD, Floods, Library, Life, Member, Rings, Sinks, Spawns, Tally,
    TimerCost, Timers,
};
use crate::measure::resident_bytes;

/// The thread of the clients is the system's own; this is the other.
#[derive(Clone)]
pub(crate) struct Actix {
    other: ArbiterHandle,
    floods: Arc<AtomicU64>,
}

impl Library for Actix {
    fn new() -> Actix {
        Actix {
            other: Arbiter::new().handle(),
            floods: Arc::default(),
        }
    }

    fn enter<T, F, Fut>(work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        actix::System::new().block_on(async { work(Self::new()).await })
    }

    fn task(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(actix::spawn(work));
    }
}

macro_rules! actor {
    ($($name:ty),*) => {$(
        impl Actor for $name {
            type Context = Context<Self>;
        }
    )*};
}

actor!(Sink, Echo, Flooded, Node, Mortal, Listener);

macro_rules! message {
    ($($name:ty => $result:ty),*) => {$(
        impl Message for $name {
            type Result = $result;
        }
    )*};
}

pub(crate) struct Number(u64);

pub(crate) struct Question(u64);

struct Close(Addr<Node>);

struct Token(u64);

struct Stop;

struct Frame(Bytes);

struct Set(Vec<Duration>);

message!(Number => (), Question => u64, Close => (), Token => (), Stop => (), Frame => (), Set => Cost);

type Cost = Result<TimerCost, ()>;

pub(crate) struct Sink(Tally);

impl Handler<Number> for Sink {
    type Result = ();

    fn handle(&mut self, Number(number): Number, cx: &mut Context<Self>) {
        if self.0.add(number) {
            cx.stop();
        }
    }
}

impl Sinks for Actix {
    type Sink = Addr<Sink>;

    async fn sink(&self, tally: Tally) -> Addr<Sink> {
        Sink::start_in_arbiter(&self.other, move |_| Sink(tally))
    }

    async fn tell(sink: &Addr<Sink>, number: u64) {
        sink.do_send(Number(number));
    }
}

pub(crate) struct Echo;

impl Handler<Question> for Echo {
    type Result = u64;

    fn handle(&mut self, Question(number): Question, _cx: &mut Context<Self>) -> u64 {
        number * 2
    }
}

impl Echoes for Actix {
    type Echo = Addr<Echo>;

    async fn echo(&self) -> Addr<Echo> {
        Echo.start()
    }

    async fn call(echo: &Addr<Echo>, number: u64) -> u64 {
        echo.send(Question(number))
            .await
            .expect("the actor answers")
    }
}

pub(crate) struct Flooded(Arc<AtomicU64>);

impl Handler<Number> for Flooded {
    type Result = ();

    fn handle(&mut self, number: Number, cx: &mut Context<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        if FLOOD.load(Ordering::Relaxed) {
            cx.address().do_send(number);
        }
    }
}

impl Floods for Actix {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        // Two on each thread.
        let flooded = match self.floods.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Flooded::start_in_arbiter(&self.other, move |_| Flooded(taken)),
            _ => Flooded(taken).start(),
        };
        for number in 0..waiting {
            flooded.do_send(Number(number));
        }
    }
}

pub(crate) struct Node {
    next: Option<Addr<Node>>,
    done: Option<Done>,
}

impl Handler<Close> for Node {
    type Result = ();

    fn handle(&mut self, Close(next): Close, _cx: &mut Context<Self>) {
        self.next = Some(next);
    }
}

impl Handler<Token> for Node {
    type Result = ();

    fn handle(&mut self, Token(hops): Token, _cx: &mut Context<Self>) {
        if hops == 0 {
            let done = self.done.take().expect("the token ends where it began");
            done.send(0).expect("the row waits");
        } else {
            let next = self.next.as_ref().expect("the ring is closed");
            next.do_send(Token(hops - 1));
        }
    }
}

/// All on one thread.
impl Rings for Actix {
    type Node = Addr<Node>;

    async fn node(&self, next: Option<Addr<Node>>, done: Option<Done>) -> Addr<Node> {
        Node { next, done }.start()
    }

    async fn close(first: &Addr<Node>, next: Addr<Node>) {
        first.do_send(Close(next));
    }

    async fn pass(node: &Addr<Node>, hops: u64) {
        node.do_send(Token(hops));
    }
}

/// Ends with its first message; holds timers that never fire.
pub(crate) struct Mortal(Option<Life>);

impl Handler<Stop> for Mortal {
    type Result = ();

    fn handle(&mut self, Stop: Stop, cx: &mut Context<Self>) {
        cx.stop();
        self.0 = None;
    }
}

impl Handler<Set> for Mortal {
    type Result = Cost;

    fn handle(&mut self, Set(delays): Set, cx: &mut Context<Self>) -> Cost {
        let before = resident_bytes();
        let start = Instant::now();
        for delay in delays {
            cx.notify_later(Stop, delay);
        }
        Ok(TimerCost {
            insert: start.elapsed(),
            cancel: Duration::ZERO,
            bytes: resident_bytes().saturating_sub(before),
        })
    }
}

impl Spawns for Actix {
    type Process = Addr<Mortal>;

    async fn spawn(&self, life: Life) -> Addr<Mortal> {
        life.begin();
        Mortal(Some(life)).start()
    }

    async fn stop(process: Addr<Mortal>) {
        process.do_send(Stop);
    }
}

/// A future in the actor's list for each timer; cancelling searches the list.
impl Timers for Actix {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let mortal = Mortal(None).start();
        let cost = mortal.send(Set(delays)).await.expect("the actor answers");
        mortal.do_send(Stop);
        cost.expect("it always can")
    }

    async fn lateness(&self, _delays: Vec<Duration>) -> Vec<Duration> {
        Vec::new()
    }
}

pub(crate) struct Listener(Member);

impl Handler<Frame> for Listener {
    type Result = ();

    fn handle(&mut self, Frame(frame): Frame, _cx: &mut Context<Self>) {
        self.0.take(&frame);
    }
}

impl Broadcasts for Actix {
    type Room = Vec<Addr<Listener>>;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> Self::Room {
        let join = |at| match at % 2 {
            0 => Listener(member()).start(),
            _ => {
                let member = member();
                Listener::start_in_arbiter(&self.other, move |_| Listener(member))
            }
        };
        (0..members).map(join).collect()
    }

    async fn broadcast(room: &Self::Room, frame: Bytes) {
        for member in room {
            member.do_send(Frame(frame.clone()));
        }
    }
}
