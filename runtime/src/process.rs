//! Processes: one life each, with a pid, a system lane, links and monitors.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Instrument;

use crate::exit::ExitReason;
use crate::mailbox::MailboxNumbers;
use crate::mailbox::lanes::{LaneItem, Question, SystemLane, wake_all};
use crate::pid::Pid;
use crate::reference::Ref;
use crate::scheduler::Task;
use crate::sync::Mutex;
use crate::telemetry::{PROCESS_PANICKED, count};

pub(crate) mod context;
pub(crate) mod current;
pub(crate) mod exit_signal;
pub(crate) mod home;
pub(crate) mod info;
pub(crate) mod kernel;
pub(crate) mod links;
pub(crate) mod monitors;
pub(crate) mod run;
pub(crate) mod table;

use context::Context;
use home::Home;

/// One life of one process, without its message type.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Whom to obey: an exit signal from here stops even a process that traps exits, as OTP.
    pub(crate) parent: Option<Pid>,
    /// What inspection calls it: the behaviour's type.
    pub(crate) behaviour: &'static str,
    /// Whether it is an actor, which answers questions about its state.
    pub(crate) answers: bool,
    pub(crate) started: Duration,
    pub(crate) restarts: u32,
    pub(crate) handled: AtomicU64,
    pub(crate) reductions: AtomicU64,
    /// Time on a worker in microseconds; stays zero unless the system measures it.
    pub(crate) busy_us: AtomicU64,
    /// The panic that ended the last life of this child that panicked; normal when none did.
    pub(crate) last_panic: ExitReason,
    /// Odd while a worker polls it. Only its own worker writes.
    poll_phase: AtomicU64,
    /// Whether it has taken a message and not yet asked for the next.
    in_message: AtomicBool,
    mailbox: Arc<dyn MailboxView>,
    /// Signals and questions that wait; lets the process skip the lock between messages.
    signals: AtomicUsize,
    interrupted: AtomicBool,
    inner: Mutex<Inner>,
}

/// What inspection may know of a mailbox.
pub(crate) trait MailboxView: Send + Sync {
    fn numbers(&self) -> MailboxNumbers;
    fn message_type(&self) -> &'static str;
}

/// Everything about a process that others touch, under one lock.
struct Inner {
    lane: SystemLane,
    traps_exits: bool,
    /// Set when the process is over: it takes no signal and holds nothing new. Those who watch it and those it is linked to wait on.
    over: bool,
    /// Why, once everything it held is let go and those who watch it are told; nobody is added afterwards.
    ended: Option<ExitReason>,
    running: bool,
    label: Option<Box<str>>,
    links: HashSet<Pid>,
    /// Monitors this process has set.
    watching: HashMap<Ref, Pid>,
    /// Monitors set on this process.
    watchers: HashMap<Ref, Watcher>,
}

/// Who hears that a process ended.
pub(crate) enum Watcher {
    /// A process, as a `Down` signal.
    Process(Pid),
    /// Somebody outside any process.
    Outside(oneshot::Sender<ExitReason>),
    /// A process that must not outlive this one.
    Dependent(Pid),
}

/// How a life begins.
#[derive(Default)]
pub(crate) struct Birth {
    pub(crate) parent: Option<Pid>,
    pub(crate) behaviour: &'static str,
    /// Whether it is an actor.
    pub(crate) answers: bool,
    /// Linked from the first moment.
    pub(crate) linked: bool,
    /// The parent monitors it from the first moment.
    pub(crate) monitor: Option<Ref>,
    /// The mailbox outlives the life; its owner closes it.
    pub(crate) supervised: bool,
    /// What waits in the mailbox is for the next life.
    pub(crate) keeps_mailbox: bool,
    pub(crate) restarts: u32,
    /// How the last of the lives before it that panicked did.
    pub(crate) last_panic: Option<ExitReason>,
    /// Told the exit reason, whatever it is.
    pub(crate) witness: Option<oneshot::Sender<ExitReason>>,
    /// The life must not outlive this process.
    pub(crate) owner: Option<Pid>,
}

/// What a life leaves behind: its links, the monitors it had set, and those who watched it.
pub(crate) type Farewell = (HashSet<Pid>, HashMap<Ref, Pid>, HashMap<Ref, Watcher>);

/// Starts a life behind a mailbox.
pub(crate) fn spawn<M, F, Fut>(home: &Arc<Home<M>>, birth: Birth, body: F) -> Pid
where
    M: Send + 'static,
    F: FnOnce(Context<M>) -> Fut + Send + 'static,
    Fut: Future<Output = ExitReason> + Send + 'static,
{
    let kernel = home.kernel().clone();
    let process = Arc::new(Process {
        pid: Pid::next(),
        parent: birth.parent,
        behaviour: birth.behaviour,
        answers: birth.answers,
        started: kernel.clock().now(),
        restarts: birth.restarts,
        handled: AtomicU64::new(0),
        reductions: AtomicU64::new(0),
        busy_us: AtomicU64::new(0),
        last_panic: birth.last_panic.unwrap_or_else(ExitReason::normal),
        poll_phase: AtomicU64::new(0),
        in_message: AtomicBool::new(false),
        mailbox: home.clone(),
        signals: AtomicUsize::new(0),
        interrupted: AtomicBool::new(false),
        inner: Mutex::new(Inner {
            lane: SystemLane::default(),
            traps_exits: false,
            over: false,
            ended: None,
            running: true,
            label: None,
            links: HashSet::new(),
            watching: HashMap::new(),
            watchers: HashMap::new(),
        }),
    });
    let pid = process.pid;
    count(&kernel.counters().spawned);
    home.begin_life(pid);
    kernel.table().insert(process.clone());
    if let Some(witness) = birth.witness {
        // A process that has not run cannot be over.
        drop(process.add_watcher(Ref::next(), Watcher::Outside(witness)));
    }
    if let Some(owner) = birth.owner {
        monitors::depend(&kernel, &process, owner);
    }
    if let Some(parent) = birth.parent {
        if let Some(reference) = birth.monitor {
            monitors::watch_as(&kernel, parent, pid, reference);
        }
        if birth.linked {
            links::link(&kernel, parent, pid);
        }
    }
    let context = Context::new(home.clone(), process.clone());
    let mode = run::Mode {
        supervised: birth.supervised,
        keeps_mailbox: birth.keeps_mailbox,
    };
    let behaviour = process.behaviour;
    let death = run::Death::new(home.clone(), process, mode);
    let life = run::live(body, context, death);
    let span = tracing::debug_span!(target: PROCESS_PANICKED, "process", process.pid = %pid, process.behaviour = behaviour);
    // Without a subscriber that wants it, a task carries no span.
    let task: Task = if span.is_disabled() {
        Box::pin(life)
    } else {
        Box::pin(life.instrument(span))
    };
    kernel.scheduler().spawn_process(pid, behaviour, task);
    pid
}

impl Process {
    pub(crate) fn set_trap_exit(&self, traps: bool) -> bool {
        std::mem::replace(&mut self.inner.lock().traps_exits, traps)
    }

    pub(crate) fn set_label(&self, label: &str) {
        self.inner.lock().label = Some(label.into());
    }

    /// A signal that is already here, or a question for one who `answers`.
    pub(crate) fn next_item(&self, answers: bool) -> Option<LaneItem> {
        if self.signals.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.take_item(&mut self.inner.lock(), answers)
    }

    /// The next item of the system lane, or the waker is kept.
    pub(crate) fn poll_item(
        &self,
        context: &std::task::Context<'_>,
        answers: bool,
    ) -> Option<LaneItem> {
        let mut inner = self.inner.lock();
        if let Some(item) = self.take_item(&mut inner, answers) {
            return Some(item);
        }
        let old = inner.lane.receiver.replace(context.waker().clone());
        drop(inner);
        drop(old);
        None
    }

    fn take_item(&self, inner: &mut Inner, answers: bool) -> Option<LaneItem> {
        let item = inner.lane.next(answers);
        self.signals.store(inner.lane.len(), Ordering::Release);
        item
    }

    /// Puts a question to an actor, ahead of its messages. `false` when the process is over.
    pub(crate) fn ask(&self, question: Question) -> bool {
        self.with_lane(|inner| (inner.lane.push_question(question), ()))
            .is_some()
    }

    /// Changes the system lane, then wakes whom the change concerns, outside the lock. `None` when the process is over.
    fn with_lane<R>(
        &self,
        change: impl FnOnce(&mut Inner) -> ([Option<std::task::Waker>; 2], R),
    ) -> Option<R> {
        let mut inner = self.inner.lock();
        if inner.over {
            return None;
        }
        let (wakers, result) = change(&mut inner);
        self.signals.store(inner.lane.len(), Ordering::Release);
        self.interrupted
            .store(inner.lane.interruption().is_some(), Ordering::Release);
        drop(inner);
        wake_all(wakers);
        Some(result)
    }

    /// Keeps the task's waker for an interruption; the reason when it has been interrupted already.
    fn enter_poll(&self, waker: &std::task::Waker) -> Option<ExitReason> {
        let mut inner = self.inner.lock();
        if let Some(reason) = inner.lane.interruption() {
            return Some(reason.clone());
        }
        self.turn_poll_phase();
        inner.running = true;
        let old = match &mut inner.lane.task {
            Some(known) if known.will_wake(waker) => None,
            slot => slot.replace(waker.clone()),
        };
        drop(inner);
        drop(old);
        None
    }

    /// Notes that the process waits; the reason when it was interrupted during the poll.
    fn leave_poll(&self, spent: u64) -> Option<ExitReason> {
        self.reductions.fetch_add(spent, Ordering::Relaxed);
        self.turn_poll_phase();
        let mut inner = self.inner.lock();
        inner.running = false;
        inner.lane.interruption().cloned()
    }

    /// Notes time on a worker.
    fn was_busy(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(us, Ordering::Relaxed);
    }

    fn turn_poll_phase(&self) {
        let phase = self.poll_phase.load(Ordering::Relaxed);
        self.poll_phase
            .store(phase.wrapping_add(1), Ordering::Relaxed);
    }

    /// Which poll a worker is in just now, if any.
    pub(crate) fn poll_in_hand(&self) -> Option<u64> {
        let phase = self.poll_phase.load(Ordering::Relaxed);
        (phase % 2 == 1).then_some(phase)
    }

    /// Which message it is working on, if any.
    pub(crate) fn message_in_hand(&self) -> Option<u64> {
        let busy = self.in_message.load(Ordering::Relaxed);
        busy.then(|| self.handled.load(Ordering::Relaxed))
    }

    pub(crate) fn message_type(&self) -> &'static str {
        self.mailbox.message_type()
    }

    fn asked_for_message(&self) {
        self.in_message.store(false, Ordering::Relaxed);
    }

    fn took_message(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.in_message.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}
