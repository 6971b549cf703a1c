//! The raw form: bare tokio tasks and channels, without identity, links, monitors, deadlines or supervision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::{mpsc, oneshot};

use crate::contender::{
    Births, Broadcasts, Crashes, Done, Echoes, FLOOD, Floods, Lateness, Library, Life, Member,
    Names, Rings, Sinks, Spawns, Tally, TimerCost, Timers,
};
use crate::measure::resident_bytes;

pub(crate) mod delay_queue;

const TAKES: &str = "the task takes it";

/// Unbounded channels.
#[derive(Clone)]
pub(crate) struct Tokio {
    names: Arc<DashMap<String, mpsc::UnboundedSender<u64>>>,
}

impl Library for Tokio {
    fn new() -> Tokio {
        Tokio {
            names: Arc::new(DashMap::new()),
        }
    }
}

impl Sinks for Tokio {
    type Sink = mpsc::UnboundedSender<u64>;

    async fn sink(&self, mut tally: Tally) -> Self::Sink {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(number) = receiver.recv().await {
                if tally.add(number) {
                    break;
                }
            }
        });
        sender
    }

    async fn tell(sink: &Self::Sink, number: u64) {
        sink.send(number).expect(TAKES);
    }
}

/// Unbounded, emptied by `recv_many`.
#[derive(Clone)]
pub(crate) struct TokioMany;

impl Library for TokioMany {
    fn new() -> TokioMany {
        TokioMany
    }
}

/// As many as `recv_many` is asked for at once.
const MANY: usize = 128;

impl Sinks for TokioMany {
    type Sink = mpsc::UnboundedSender<u64>;

    async fn sink(&self, mut tally: Tally) -> Self::Sink {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MANY);
            while receiver.recv_many(&mut batch, MANY).await > 0 {
                for number in batch.drain(..) {
                    if tally.add(number) {
                        return;
                    }
                }
            }
        });
        sender
    }

    async fn tell(sink: &Self::Sink, number: u64) {
        sink.send(number).expect(TAKES);
    }
}

/// Bounded, with our default bound.
#[derive(Clone)]
pub(crate) struct TokioBounded;

impl Library for TokioBounded {
    fn new() -> TokioBounded {
        TokioBounded
    }
}

impl Sinks for TokioBounded {
    type Sink = mpsc::Sender<u64>;

    async fn sink(&self, mut tally: Tally) -> Self::Sink {
        let (sender, mut receiver) = mpsc::channel(mesh_runtime::limits::MAILBOX_MESSAGES_MAX);
        tokio::spawn(async move {
            while let Some(number) = receiver.recv().await {
                if tally.add(number) {
                    break;
                }
            }
        });
        sender
    }

    async fn tell(sink: &Self::Sink, number: u64) {
        sink.send(number).await.expect(TAKES);
    }
}

type Question = (u64, oneshot::Sender<u64>);

async fn echo() -> mpsc::UnboundedSender<Question> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Question>();
    tokio::spawn(async move {
        while let Some((number, reply)) = receiver.recv().await {
            reply.send(number * 2).expect("the caller waits");
        }
    });
    sender
}

fn ask(echo: &mpsc::UnboundedSender<Question>, number: u64) -> oneshot::Receiver<u64> {
    let (reply, answer) = oneshot::channel();
    echo.send((number, reply)).expect(TAKES);
    answer
}

impl Echoes for Tokio {
    type Echo = mpsc::UnboundedSender<Question>;

    async fn echo(&self) -> Self::Echo {
        echo().await
    }

    async fn call(echo: &Self::Echo, number: u64) -> u64 {
        ask(echo, number).await.expect("the task answers")
    }
}

/// The same call under tokio's timer.
#[derive(Clone)]
pub(crate) struct TokioTimeout;

impl Library for TokioTimeout {
    fn new() -> TokioTimeout {
        TokioTimeout
    }
}

impl Echoes for TokioTimeout {
    type Echo = mpsc::UnboundedSender<Question>;

    async fn echo(&self) -> Self::Echo {
        echo().await
    }

    async fn call(echo: &Self::Echo, number: u64) -> u64 {
        let answer = tokio::time::timeout(mesh_runtime::limits::CALL_TIMEOUT, ask(echo, number));
        let answer = answer.await.expect("the answer comes in time");
        answer.expect("the task answers")
    }
}

impl Floods for Tokio {
    async fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let again = sender.clone();
        tokio::spawn(async move {
            while let Some(number) = receiver.recv().await {
                taken.fetch_add(1, Ordering::Relaxed);
                if FLOOD.load(Ordering::Relaxed) {
                    again.send(number).expect(TAKES);
                }
            }
        });
        for number in 0..waiting {
            sender.send(number).expect(TAKES);
        }
    }
}

pub(crate) enum Hop {
    Close(mpsc::UnboundedSender<Hop>),
    Token(u64),
}

impl Rings for Tokio {
    type Node = mpsc::UnboundedSender<Hop>;

    async fn node(&self, mut next: Option<Self::Node>, mut done: Option<Done>) -> Self::Node {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(hop) = receiver.recv().await {
                match hop {
                    Hop::Close(first) => next = Some(first),
                    Hop::Token(0) => {
                        let done = done.take().expect("the token ends where it began");
                        done.send(0).expect("the row waits");
                    }
                    Hop::Token(hops) => {
                        let next = next.as_ref().expect("the ring is closed");
                        next.send(Hop::Token(hops - 1)).expect(TAKES);
                    }
                }
            }
        });
        sender
    }

    async fn close(first: &Self::Node, next: Self::Node) {
        first.send(Hop::Close(next)).expect(TAKES);
    }

    async fn pass(node: &Self::Node, hops: u64) {
        node.send(Hop::Token(hops)).expect(TAKES);
    }
}

impl Spawns for Tokio {
    type Process = mpsc::UnboundedSender<()>;

    async fn spawn(&self, life: Life) -> Self::Process {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            life.begin();
            receiver.recv().await;
            drop(life);
        });
        sender
    }

    async fn stop(process: Self::Process) {
        process.send(()).expect(TAKES);
    }
}

/// A task that sleeps and then sends, for each timer.
impl Timers for Tokio {
    async fn set_and_cancel(&self, delays: Vec<Duration>) -> TimerCost {
        let (sender, _receiver) = mpsc::unbounded_channel::<u64>();
        let mut timers = Vec::with_capacity(delays.len());
        timers.resize_with(delays.len(), || None);
        let before = resident_bytes();
        let start = Instant::now();
        for (timer, delay) in timers.iter_mut().zip(delays) {
            let sender = sender.clone();
            *timer = Some(tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                // The target may have gone.
                sender.send(7).ok();
            }));
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
        let mut lateness = Lateness::new(delays.len(), done);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(due) = receiver.recv().await {
                lateness.note(due);
            }
        });
        for delay in delays {
            let (due, sender) = (Instant::now() + delay, sender.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                sender.send(due).expect(TAKES);
            });
        }
        drop(sender);
        seen.await.expect("all timers fire")
    }
}

/// A task that is spawned again when it has panicked; nobody counts how often.
impl Crashes for Tokio {
    async fn crash(&self, births: Births) {
        tokio::spawn(async move {
            while births.crashes() {
                let (me, mut receiver) = mpsc::unbounded_channel();
                me.send(()).expect(TAKES);
                let life = tokio::spawn(async move {
                    receiver.recv().await;
                    panic!("as it was told");
                });
                assert!(life.await.is_err_and(|error| error.is_panic()));
            }
        });
    }
}

impl Broadcasts for Tokio {
    type Room = Vec<mpsc::UnboundedSender<Bytes>>;

    async fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> Self::Room {
        let join = |_| {
            let mut member = member();
            let (sender, mut receiver) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                while let Some(frame) = receiver.recv().await {
                    member.take(&frame);
                }
            });
            sender
        };
        (0..members).map(join).collect()
    }

    async fn broadcast(room: &Self::Room, frame: Bytes) {
        for member in room {
            member.send(frame.clone()).expect(TAKES);
        }
    }
}

/// A `DashMap` of senders.
impl Names for Tokio {
    async fn register(&self, names: Vec<String>) {
        for name in names {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            tokio::spawn(async move { receiver.recv().await });
            self.names.insert(name, sender);
        }
    }

    fn lookup(&self, name: &str) -> bool {
        let found = self.names.get(name).map(|sender| sender.value().clone());
        found.is_some()
    }
}
