//! The hot paths, each a function of how often: on one thread, under a clock that stands still, with a subscriber of INFO.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mesh_runtime::{
    Actor, Address, Capacity, ChildSpec, Clock, Context, ExitReason, Flow, ReplyTo, Strategy,
    Supervisor, System,
};
use tokio::sync::oneshot;

/// A path by its name in the baseline, and what does it so many times.
pub(crate) type Named = (&'static str, fn(u64));

pub(crate) const PATHS: [Named; 8] = [
    ("send", send),
    ("send_receive", send_receive),
    ("send_handle", send_handle),
    ("call", call),
    ("timer_insert", timer_insert),
    ("timer_cancel", timer_cancel),
    ("spawn_stop", spawn_stop),
    ("crash_restart", crash_restart),
];

/// A slice never ends by its time here: whether it does would be chance.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

fn within<F: Future>(work: impl FnOnce(System) -> F) {
    // A second path in one process, in the tests, finds it set.
    drop(
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(std::io::sink)
            .try_init(),
    );
    let engine = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let engine = engine.expect("one thread is there");
    engine.block_on(async {
        let system = System::builder().clock(Arc::new(Still)).build();
        work(system).await;
    });
}

/// Into a mailbox nobody empties.
fn send(times: u64) {
    within(|system| async move {
        let idle = system.spawn_with(Capacity::unbounded(), |cx: Context<u64>| async move {
            std::future::pending::<()>().await;
            drop(cx);
        });
        for number in 0..times {
            idle.send(number).expect("it lives");
        }
        assert_eq!(idle.len() as u64, times);
    });
}

/// How many are sent before the receiver runs.
const BURST: u64 = 64;

async fn pour(sink: Address<u64>, times: u64, done: oneshot::Receiver<()>) {
    for number in 0..times {
        sink.send(number).expect("it lives");
        if number % BURST == BURST - 1 {
            tokio::task::yield_now().await;
        }
    }
    done.await.expect("all are taken");
}

fn send_receive(times: u64) {
    within(|system| async move {
        let (done, taken) = oneshot::channel();
        let sink = system.spawn(move |mut cx: Context<u64>| async move {
            for _ in 0..times {
                cx.receive().await;
            }
            done.send(()).expect("the sender waits");
        });
        pour(sink, times, taken).await;
    });
}

struct Sink {
    left: u64,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Sink {
    type Args = Sink;
    type Message = u64;

    async fn init(sink: Sink, _cx: &mut Context<u64>) -> Result<Sink, ExitReason> {
        Ok(sink)
    }

    async fn handle(&mut self, _number: u64, _cx: &mut Context<u64>) -> Flow {
        self.left -= 1;
        if self.left == 0
            && let Some(done) = self.done.take()
        {
            done.send(()).expect("the sender waits");
        }
        Flow::Continue
    }
}

fn send_handle(times: u64) {
    within(|system| async move {
        let (done, taken) = oneshot::channel();
        let sink = Sink {
            left: times,
            done: Some(done),
        };
        let sink = system.start::<Sink>(sink).await.expect("it starts");
        pour(sink, times, taken).await;
    });
}

struct Echo;

impl Actor for Echo {
    type Args = ();
    type Message = (u64, ReplyTo<u64>);

    async fn init((): (), _cx: &mut Context<Self::Message>) -> Result<Echo, ExitReason> {
        Ok(Echo)
    }

    async fn handle(&mut self, message: Self::Message, _cx: &mut Context<Self::Message>) -> Flow {
        let (number, reply_to) = message;
        reply_to.reply(number);
        Flow::Continue
    }
}

fn call(times: u64) {
    within(|system| async move {
        let echo = system.start::<Echo>(()).await.expect("it starts");
        for number in 0..times {
            let answer = echo.call(|reply_to| (number, reply_to)).await;
            assert_eq!(answer, Ok(number));
        }
    });
}

fn set(system: &System, times: u64) -> Vec<mesh_runtime::TimerRef> {
    let idle = system.spawn(|mut cx: Context<u64>| async move {
        cx.receive().await;
    });
    let delay = |at: u64| Duration::from_millis(60_000 + at * 7_919 % 540_000);
    let set = |at| system.send_after(&idle, delay(at), at);
    (0..times).map(set).collect()
}

fn timer_insert(times: u64) {
    within(|system| async move {
        assert_eq!(set(&system, times).len() as u64, times);
        // Dropping them is not what is counted.
        std::mem::forget(system);
    });
}

/// Set and cancelled.
fn timer_cancel(times: u64) {
    within(|system| async move {
        for timer in set(&system, times) {
            assert!(system.cancel(timer).is_some());
        }
    });
}

fn spawn_stop(times: u64) {
    within(|system| async move {
        for _ in 0..times {
            let process = system.spawn(|mut cx: Context<()>| async move {
                cx.receive().await;
            });
            let ended = system.wait_for_exit(process.pid());
            process.send(()).expect("it lives");
            assert!(ended.await.is_normal());
        }
    });
}

/// Panics on the message it sends itself, until it has lived so often.
struct Crasher;

type Lives = Arc<Mutex<(u64, Option<oneshot::Sender<()>>)>>;

impl Actor for Crasher {
    type Args = Lives;
    type Message = ();

    async fn init(lives: Lives, cx: &mut Context<()>) -> Result<Crasher, ExitReason> {
        let mut lives = lives.lock().expect("nobody panics with it");
        if lives.0 > 0 {
            lives.0 -= 1;
            cx.address().send(()).expect("it lives");
        } else if let Some(done) = lives.1.take() {
            done.send(()).expect("the end is waited for");
        }
        Ok(Crasher)
    }

    async fn handle(&mut self, (): (), _cx: &mut Context<()>) -> Flow {
        panic!("as it was told");
    }
}

/// A supervised process panics and lives again; nearly all of it is told together, see `telemetry`.
fn crash_restart(times: u64) {
    within(|system| async move {
        let (done, lived) = oneshot::channel();
        let lives: Lives = Arc::new(Mutex::new((times, Some(done))));
        let child = ChildSpec::worker::<Crasher>("crasher", lives).unregistered();
        let tree = Supervisor::new(Strategy::OneForOne)
            .intensity(u32::MAX, Duration::from_secs(1))
            .child(child);
        system.supervise(tree).await.expect("it starts");
        lived.await.expect("the last life tells");
        assert_eq!(system.inspect().counts.restarts, times);
    });
}
