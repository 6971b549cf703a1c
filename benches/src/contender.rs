//! What each row needs of a library. The work of a row is written once, over these traits: all do the same, and counts are verified there.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::measure::Countdown;

/// Threads that work, for everyone who has a choice.
pub(crate) const WORKERS: usize = 2;

/// A library in its engine.
pub(crate) trait Library: Clone + Send + Sync + 'static {
    /// Made inside the engine.
    fn new() -> Self;

    /// Runs work in this library's engine and waits for it.
    fn enter<T, F, Fut>(work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let engine = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .expect("the machine has room for a few threads");
        let done = engine.block_on(async { tokio::spawn(async { work(Self::new()).await }).await });
        // Who is left in it does not hold the end up.
        engine.shutdown_background();
        done.expect("the work ends without a panic")
    }

    /// A bare task beside the processes: a client.
    fn task(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(work));
    }
}

/// Told once, by a process that has seen all it expected.
pub(crate) type Done = oneshot::Sender<u64>;

/// The state of a process that adds up a known count of numbers. The same for all.
pub(crate) struct Tally {
    left: u64,
    sum: u64,
    done: Option<Done>,
}

impl Tally {
    pub(crate) fn new(expected: u64, done: Done) -> Tally {
        Tally {
            left: expected,
            sum: 0,
            done: Some(done),
        }
    }

    /// Adds; whether it was the last.
    pub(crate) fn add(&mut self, number: u64) -> bool {
        self.sum += number;
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        if let Some(done) = self.done.take() {
            done.send(self.sum).expect("the row waits");
        }
        true
    }
}

/// Rows 1 and 2.
pub(crate) trait Sinks: Library {
    type Sink: Clone + Send + Sync + 'static;
    /// A process that takes the numbers of a [`Tally`] and ends with the last. Its mailbox has no bound unless the name says so.
    fn sink(&self, tally: Tally) -> impl Future<Output = Self::Sink> + Send;
    fn tell(sink: &Self::Sink, number: u64) -> impl Future<Output = ()> + Send;
}

/// Rows 3a, 3b and 10.
pub(crate) trait Echoes: Library {
    type Echo: Clone + Send + Sync + 'static;
    /// A process that answers a number with its double.
    fn echo(&self) -> impl Future<Output = Self::Echo> + Send;
    fn call(echo: &Self::Echo, number: u64) -> impl Future<Output = u64> + Send;
}

/// Row 10.
pub(crate) trait Floods: Echoes {
    /// A process that always has this many messages waiting: it sends each one it takes to itself again.
    fn flood(&self, waiting: u64, taken: Arc<AtomicU64>) -> impl Future<Output = ()> + Send;
}

/// Row 4.
pub(crate) trait Rings: Library {
    type Node: Clone + Send + Sync + 'static;
    /// A process that passes a token on, and tells when it got one with no hops left.
    fn node(
        &self,
        next: Option<Self::Node>,
        done: Option<Done>,
    ) -> impl Future<Output = Self::Node> + Send;
    /// Gives the first its next.
    fn close(first: &Self::Node, next: Self::Node) -> impl Future<Output = ()> + Send;
    fn pass(node: &Self::Node, hops: u64) -> impl Future<Output = ()> + Send;
}

/// What a spawned process holds: it says that it began, where that is asked, and that it ended.
pub(crate) struct Life {
    pub(crate) begun: Option<Countdown>,
    pub(crate) ended: Option<Countdown>,
}

impl Life {
    pub(crate) fn begin(&self) {
        if let Some(begun) = &self.begun {
            begun.count();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            ended.count();
        }
    }
}

/// Rows 5a and 5b.
pub(crate) trait Spawns: Library {
    type Process: Send + Sync + 'static;
    /// A process that says it began, waits for a message, and ends with it.
    fn spawn(&self, life: Life) -> impl Future<Output = Self::Process> + Send;
    fn stop(process: Self::Process) -> impl Future<Output = ()> + Send;
}

/// How long a batch of timers took, and how much memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimerCost {
    pub(crate) insert: Duration,
    pub(crate) cancel: Duration,
    /// Resident bytes more, with all of them pending.
    pub(crate) bytes: u64,
}

/// Rows 6a to 6d.
pub(crate) trait Timers: Library {
    /// Sets all, then cancels all; none may fire meanwhile.
    fn set_and_cancel(&self, delays: Vec<Duration>) -> impl Future<Output = TimerCost> + Send;
    /// Sets all, each to deliver the instant it is due to one process, and waits for all; how late each was.
    fn lateness(&self, delays: Vec<Duration>) -> impl Future<Output = Vec<Duration>> + Send;
}

/// The state of the process that takes expired timers. The same for all.
pub(crate) struct Lateness {
    seen: Vec<Duration>,
    left: usize,
    done: Option<oneshot::Sender<Vec<Duration>>>,
}

impl Lateness {
    pub(crate) fn new(expected: usize, done: oneshot::Sender<Vec<Duration>>) -> Lateness {
        Lateness {
            seen: Vec::with_capacity(expected),
            left: expected,
            done: Some(done),
        }
    }

    /// Notes a timer that has fired; whether it was the last.
    pub(crate) fn note(&mut self, due: Instant) -> bool {
        let late = Instant::now().checked_duration_since(due);
        self.seen.push(late.expect("no timer is early"));
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        if let Some(done) = self.done.take() {
            let sent = done.send(std::mem::take(&mut self.seen));
            sent.expect("the row waits");
        }
        true
    }
}

/// What every life of row 7 shares: how many are to come, and who is told of the last.
#[derive(Clone)]
pub(crate) struct Births(Arc<(AtomicU64, Mutex<Option<Done>>)>);

impl Births {
    pub(crate) fn new(lives: u64, done: Done) -> Births {
        Births(Arc::new((AtomicU64::new(lives), Mutex::new(Some(done)))))
    }

    /// Counts a life; whether it is to crash. The last one tells, and lives.
    pub(crate) fn crashes(&self) -> bool {
        let left = self.0.0.fetch_sub(1, Ordering::Relaxed);
        if left > 1 {
            return true;
        }
        assert_eq!(left, 1, "a life more than there were crashes");
        let done = self.0.1.lock().expect("nobody panics with it").take();
        done.expect("the last life is one")
            .send(0)
            .expect("the row waits");
        false
    }
}

/// Row 7.
pub(crate) trait Crashes: Library {
    /// A supervised process each life of which sends itself a message and panics on it, until [`Births::crashes`] says no.
    fn crash(&self, births: Births) -> impl Future<Output = ()> + Send;
}

/// The state of a member of row 8: counts once for every burst it has seen.
pub(crate) struct Member {
    burst: u64,
    left: u64,
    seen: Countdown,
}

impl Member {
    pub(crate) fn new(burst: u64, seen: Countdown) -> Member {
        Member {
            burst,
            left: burst,
            seen,
        }
    }

    pub(crate) fn take(&mut self, frame: &Bytes) {
        debug_assert!(!frame.is_empty());
        self.left -= 1;
        if self.left == 0 {
            self.left = self.burst;
            self.seen.count();
        }
    }
}

/// Row 8.
pub(crate) trait Broadcasts: Library {
    type Room: Send + Sync + 'static;
    fn room(
        &self,
        members: usize,
        member: impl Fn() -> Member + Send + Sync + 'static,
    ) -> impl Future<Output = Self::Room> + Send;
    fn broadcast(room: &Self::Room, frame: Bytes) -> impl Future<Output = ()> + Send;
}

/// Row 9.
pub(crate) trait Names: Library {
    /// Processes, each under one of the names.
    fn register(&self, names: Vec<String>) -> impl Future<Output = ()> + Send;
    /// Finds the address with a name, as one would to send to it; whether it is there.
    fn lookup(&self, name: &str) -> bool;
}

/// Tells the flooded of row 10 to stop.
pub(crate) static FLOOD: AtomicBool = AtomicBool::new(true);
