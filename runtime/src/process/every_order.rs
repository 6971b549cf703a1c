//! Whole lives in every order with what others send them: the polls take no lock, and still no signal is lost, nobody is left asleep, and
//! nothing is left behind.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use loom::future::block_on;
use loom::sync::Notify;
use loom::thread;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::entropy::SeededEntropy;
use crate::exit::{ExitKind, ExitReason};
use crate::mailbox::lanes::Question;
use crate::mailbox::{Capacity, Push};
use crate::pid::Pid;
use crate::scheduler::{Scheduler, Task};
use crate::signal::Signal;
use crate::sync::AtomicBool;
use crate::timer::every_order::Hands;

use super::context::{Context, Event, Work};
use super::home::Home;
use super::kernel::Kernel;
use super::{Birth, Process, exit_signal, spawn};

/// Every order with at most three moments in which a thread is set aside though it could go on, as for the mailbox.
pub(crate) fn model(orders: impl Fn() + Send + Sync + 'static) {
    model_within(3, orders);
}

/// Every order with at most so many such moments.
pub(crate) fn model_within(preemptions: usize, orders: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(orders);
}

/// When a task is polled, as tokio has it: a wake before or during a poll leads to another, and who only lends its waker to a task that is to
/// be polled anyway writes nothing.
pub(crate) struct Turn {
    due: AtomicBool,
    bell: Notify,
}

impl Turn {
    /// A task that was spawned is to be polled.
    pub(crate) fn new() -> Arc<Turn> {
        Arc::new(Turn {
            due: AtomicBool::new(true),
            bell: Notify::new(),
        })
    }

    fn is_due(&self) -> bool {
        self.due.swap(false, Ordering::AcqRel)
    }

    fn wait(&self) {
        while !self.is_due() {
            self.bell.wait();
        }
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Turn>) {
        self.due.swap(true, Ordering::AcqRel);
        self.bell.notify();
    }

    fn wake_by_ref(self: &Arc<Turn>) {
        if !self.due.load(Ordering::Acquire) {
            self.clone().wake();
        }
    }
}

/// Hands out the task it was given last.
#[derive(Default)]
pub(crate) struct Hand(Mutex<Option<Task>>);

impl fmt::Debug for Hand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hand")
    }
}

impl Scheduler for Hand {
    fn spawn(&self, task: Task) {
        let last = self.0.lock().replace(task);
        drop(last);
    }

    fn spawn_blocking(&self, _work: Box<dyn FnOnce() + Send + 'static>) {
        unreachable!("no model blocks")
    }

    fn sleep(&self, _duration: Duration) -> Task {
        unreachable!("nobody drives the timers")
    }
}

/// One process that was spawned, with its task in hand.
pub(crate) struct Born {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) home: Arc<Home<u64>>,
    process: Arc<Process>,
    pid: Pid,
    pub(crate) task: Task,
    end: oneshot::Receiver<ExitReason>,
}

/// A system's heart, whose tasks `hand` takes.
pub(crate) fn kernel(clock: Arc<Hands>, hand: Arc<Hand>) -> Arc<Kernel> {
    let entropy = Arc::new(SeededEntropy::new(1));
    Kernel::new("model", clock, entropy, hand, Vec::new())
}

pub(crate) fn born<F, Fut>(body: F) -> Born
where
    F: FnOnce(Context<u64>) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<ExitReason>,
{
    born_at(Hands::at(0), body)
}

/// As [`born`], by this clock.
pub(crate) fn born_at<F, Fut>(clock: Arc<Hands>, body: F) -> Born
where
    F: FnOnce(Context<u64>) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<ExitReason>,
{
    let hand = Arc::new(Hand::default());
    let kernel = kernel(clock, hand.clone());
    let home = Home::new(&kernel, Capacity::unbounded());
    let (witness, end) = oneshot::channel();
    let birth = Birth {
        witness: Some(witness),
        ..Birth::default()
    };
    let pid = spawn(&home, birth, body);
    let process = kernel.table().get(pid).expect("it has just been spawned");
    let task = hand.0.lock().take().expect("it has just been spawned");
    Born {
        kernel,
        home,
        process,
        pid,
        task,
        end,
    }
}

fn poll(task: &mut Task, waker: &Waker) -> Poll<()> {
    task.as_mut().poll(&mut TaskContext::from_waker(waker))
}

/// A worker: polls the task whenever its turn has come, until it is over.
pub(crate) fn work(mut task: Task, turn: Arc<Turn>) {
    let waker = Waker::from(turn.clone());
    loop {
        turn.wait();
        if poll(&mut task, &waker).is_ready() {
            return;
        }
    }
}

fn is_killed(mut end: oneshot::Receiver<ExitReason>) -> bool {
    end.try_recv()
        .is_ok_and(|reason| matches!(reason.kind(), ExitKind::Killed))
}

fn is_normal(mut end: oneshot::Receiver<ExitReason>) -> bool {
    end.try_recv().is_ok_and(|reason| reason.is_normal())
}

#[test]
fn every_order_of_a_kill_and_the_polls_ends_the_process() {
    model(|| {
        let born = born(async |mut cx: Context<u64>| -> ExitReason {
            loop {
                cx.receive().await;
            }
        });
        let (task, turn) = (born.task, Turn::new());
        let ours = turn.clone();
        let worker = thread::spawn(move || work(task, ours));
        assert!(born.kernel.kill(born.pid));
        worker.join().unwrap();
        assert!(is_killed(born.end));
        assert_eq!(Arc::strong_count(&turn), 1, "nobody keeps its waker");
        assert!(born.kernel.table().get(born.pid).is_none());
    });
}

#[test]
fn every_order_of_a_kill_and_a_message_lets_no_more_of_the_body_run() {
    model(|| {
        // Whether the kill has returned, and how often the body was polled before and after it had.
        let killed = Arc::new(AtomicBool::new(false));
        let (told, asks) = (killed.clone(), killed.clone());
        let polls = Arc::new([(); 2].map(|()| AtomicUsize::new(0)));
        let counts = polls.clone();
        let born = born(async move |mut cx: Context<u64>| -> ExitReason {
            loop {
                let mut receive = pin!(cx.receive());
                poll_fn(|task| {
                    let polled = receive.as_mut().poll(task);
                    let late = usize::from(told.load(Ordering::Acquire));
                    counts[late].fetch_add(1, Ordering::Relaxed);
                    polled
                })
                .await;
            }
        });
        let (mut task, turn) = (born.task, Turn::new());
        let worker = thread::spawn(move || {
            let waker = Waker::from(turn.clone());
            let seen = || [0, 1].map(|late: usize| polls[late].load(Ordering::Relaxed));
            loop {
                turn.wait();
                let (late, before) = (asks.load(Ordering::Acquire), seen());
                let polled = poll(&mut task, &waker);
                let after = seen();
                assert!(!late || before == after, "it was killed before this poll");
                if polled.is_ready() {
                    return;
                }
                assert_eq!(after[1], 0, "it was killed before this poll was over");
            }
        });
        assert!(matches!(born.home.mailbox.push(1), Push::Queued));
        assert!(born.kernel.kill(born.pid));
        killed.store(true, Ordering::Release);
        worker.join().unwrap();
        assert!(is_killed(born.end));
    });
}

#[test]
fn every_order_of_signals_and_the_polls_hands_out_each_in_order() {
    model(|| {
        let born = born(async |mut cx: Context<u64>| {
            for number in ["first", "second"] {
                let Event::Signal(Signal::Exit { reason, .. }) = cx.receive_event().await else {
                    panic!("nobody sends messages or ends");
                };
                assert_eq!(reason, ExitReason::error(number));
            }
        });
        born.process.set_trap_exit(true);
        let (task, turn) = (born.task, Turn::new());
        let worker = thread::spawn(move || work(task, turn));
        for number in ["first", "second"] {
            let from = born.kernel.root();
            let arrived = born.kernel.exit(from, born.pid, ExitReason::error(number));
            assert!(arrived);
        }
        worker.join().unwrap();
        assert!(is_normal(born.end));
    });
}

#[test]
fn every_order_of_a_question_and_the_polls_asks_it() {
    model(|| {
        let born = born(
            async |mut cx: Context<u64>| match cx.receive_work(true).await {
                Work::Question(question) => question.ask(&7_u64),
                Work::Event(_) => panic!("nobody sends anything else"),
            },
        );
        let (task, turn, asked) = (born.task, Turn::new(), Arc::new(AtomicBool::new(false)));
        let (worker, done) = (thread::spawn(move || work(task, turn)), asked.clone());
        let ask = Question::new(move |_| done.store(true, Ordering::Release));
        assert!(born.process.ask(ask));
        worker.join().unwrap();
        assert!(asked.load(Ordering::Acquire) && is_normal(born.end));
    });
}

#[test]
fn every_order_of_a_kill_and_a_move_to_another_worker_wakes_the_newest() {
    model(|| {
        let born = born(async |mut cx: Context<u64>| -> ExitReason {
            loop {
                cx.receive().await;
            }
        });
        let (mut task, pid) = (born.task, born.pid);
        let worker = thread::spawn(move || {
            // Its first executor polls it once and gives it away; the next one has a waker of its own.
            let (first, next) = (Turn::new(), Turn::new());
            if poll(&mut task, &Waker::from(first)).is_pending() {
                work(task, next);
            }
        });
        assert!(born.kernel.kill(pid));
        worker.join().unwrap();
        assert!(is_killed(born.end));
    });
}

#[test]
fn every_order_of_a_signal_and_a_waker_within_the_task_wakes_it() {
    /// As what joins futures does: polls the one inside when it was woken itself, by a waker of its own.
    struct Inside {
        turn: Arc<Turn>,
        task: Mutex<Option<Waker>>,
    }
    impl Wake for Inside {
        fn wake(self: Arc<Inside>) {
            self.turn.due.swap(true, Ordering::AcqRel);
            let task = self.task.lock().clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
    model(|| {
        let born = born(async |mut cx: Context<u64>| {
            let inside = Arc::new(Inside {
                turn: Turn::new(),
                task: Mutex::new(None),
            });
            let waker = Waker::from(inside.clone());
            let mut event = pin!(cx.receive_event());
            poll_fn(|task| {
                let known = inside.task.lock().replace(task.waker().clone());
                drop(known);
                if !inside.turn.is_due() {
                    return Poll::Pending;
                }
                let inner = &mut TaskContext::from_waker(&waker);
                event.as_mut().poll(inner).map(|_| ())
            })
            .await;
        });
        born.process.set_trap_exit(true);
        let (task, turn) = (born.task, Turn::new());
        let worker = thread::spawn(move || work(task, turn));
        let (from, reason) = (born.kernel.root(), ExitReason::error("told"));
        assert!(born.kernel.exit(from, born.pid, reason));
        worker.join().unwrap();
        assert!(is_normal(born.end));
    });
}

#[test]
fn every_order_of_a_signal_and_the_end_leaves_nothing() {
    model(|| {
        let born = born(async |_: Context<u64>| {});
        let (task, turn) = (born.task, Turn::new());
        let ours = turn.clone();
        let worker = thread::spawn(move || work(task, ours));
        // Gone already, ended by this before it began, or over while this was on its way.
        let arrived = born.kernel.kill(born.pid);
        worker.join().unwrap();
        assert!(arrived || is_normal(born.end));
        assert_eq!(Arc::strong_count(&turn), 1, "nobody keeps its waker");
        assert!(born.process.inner.lock().over);
        assert!(!exit_signal::kill(&born.process), "it is no more");
    });
}

#[test]
fn every_order_of_a_monitor_and_the_end_tells_it_once() {
    model(|| {
        let born = born(async |_: Context<u64>| {});
        let task = born.task;
        let worker = thread::spawn(move || work(task, Turn::new()));
        let reason = block_on(born.kernel.wait_for_exit(born.pid));
        assert!(reason.is_normal() || matches!(reason.kind(), ExitKind::NoProcess));
        worker.join().unwrap();
    });
}
