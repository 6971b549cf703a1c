//! Processes: one life each, with a pid, a system lane, links and monitors.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Instrument;

use crate::exit::ExitReason;
use crate::mailbox::MailboxNumbers;
use crate::mailbox::lanes::{LaneItem, Question, SystemLane, wake_all};
use crate::pid::Pid;
use crate::reference::Ref;
use crate::scheduler::Task;
use crate::sync::{AtomicBool, AtomicUsize, Mutex};
use crate::telemetry::{PROCESS_PANICKED, count};
use crate::timer::Held;

pub(crate) mod context;
pub(crate) mod current;
pub(crate) mod exit_signal;
pub(crate) mod home;
pub(crate) mod info;
pub(crate) mod kernel;
pub(crate) mod links;
pub(crate) mod monitors;
pub(crate) mod run;
pub(crate) mod storms;
pub(crate) mod table;
pub(crate) mod ties;

use context::Context;
use home::Home;
use ties::Few;

/// What inspection calls a process: the behaviour's type. A function, because its name is twice as large.
pub(crate) type Behaviour = fn() -> &'static str;

/// One life of one process, without its message type.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Whom to obey: an exit signal from here stops even a process that traps exits, as OTP.
    pub(crate) parent: Option<Pid>,
    behaviour: Option<Behaviour>,
    /// Whether it is an actor, which answers questions about its state.
    pub(crate) answers: bool,
    /// When it began, in nanoseconds of the system's clock.
    started: u64,
    pub(crate) handled: AtomicU64,
    pub(crate) reductions: AtomicU64,
    /// Time on a worker in microseconds; stays zero unless the system measures it.
    pub(crate) busy_us: AtomicU64,
    /// Odd while a worker polls it, zero before the first poll. Only its own worker writes.
    poll_phase: AtomicU32,
    /// The waker of its task, which stands in the lane, so that its own worker can tell it from others without the lock.
    task: [AtomicUsize; 2],
    /// Whether it has taken a message and not yet asked for the next.
    in_message: atomic::AtomicBool,
    mailbox: Arc<dyn MailboxView>,
    /// Whether signals or questions wait; lets the process skip the lock between messages.
    signals: AtomicBool,
    interrupted: AtomicBool,
    inner: Mutex<Inner>,
}

/// What inspection may know of a mailbox.
pub(crate) trait MailboxView: Send + Sync {
    fn numbers(&self) -> MailboxNumbers;
    fn message_type(&self) -> &'static str;
    /// Cancels a timer that was set for this life, and drops its message; when it would have been due, `None` when it has fired.
    fn cancel_timer(&self, life: Pid, held: Held) -> Option<u64>;
}

/// Everything about a process that others touch, under one lock.
struct Inner {
    lane: SystemLane,
    traps_exits: bool,
    /// Set when the process is over: it takes no signal and holds nothing new. Those who watch it and those it is linked to wait on.
    over: bool,
    /// Whether everything it held is let go and those who watch it are told; nobody is added afterwards.
    ended: bool,
    /// Whether a part holds something for it: a name, a room, a group, a place among the trees.
    held: bool,
    /// Why it has ended; normal until then.
    reason: ExitReason,
    /// Whom it knows, once there is somebody, and its label.
    ties: Option<Box<Ties>>,
}

/// Links and monitors of one process, and what else few have.
#[derive(Default)]
pub(crate) struct Ties {
    label: Option<Box<str>>,
    /// How often its supervisor has restarted it.
    restarts: u32,
    /// The panic that ended the last life of this child that panicked.
    last_panic: Option<ExitReason>,
    /// Told first how it ended, whatever the reason.
    witness: Option<oneshot::Sender<ExitReason>>,
    links: Few<Pid, ()>,
    /// Monitors this process has set.
    watching: Few<Ref, Pid>,
    /// Monitors set on this process.
    watchers: Few<Ref, Watcher>,
}

impl Ties {
    fn is_empty(&self) -> bool {
        self.label.is_none()
            && self.restarts == 0
            && self.last_panic.is_none()
            && self.witness.is_none()
            && self.links.is_empty()
            && self.watching.is_empty()
            && self.watchers.is_empty()
    }
}

impl Inner {
    fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }

    fn is_linked(&self, pid: Pid) -> bool {
        self.ties
            .as_ref()
            .is_some_and(|ties| ties.links.contains(&pid))
    }

    /// Whether there was a link.
    fn unlink(&mut self, pid: Pid) -> bool {
        let ties = self.ties.as_mut();
        ties.is_some_and(|ties| ties.links.remove(&pid).is_some())
    }

    /// Whom it watched under this reference.
    fn unwatch(&mut self, reference: Ref) -> Option<Pid> {
        self.ties.as_mut()?.watching.remove(&reference)
    }
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
    pub(crate) behaviour: Option<Behaviour>,
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

/// Starts a life behind a mailbox.
pub(crate) fn spawn<M, F, Fut>(home: &Arc<Home<M>>, birth: Birth, body: F) -> Pid
where
    M: Send + 'static,
    F: FnOnce(Context<M>) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<ExitReason>,
{
    let kernel = home.kernel();
    let process = Arc::new(Process::new(&birth, kernel.clock().now(), home.clone()));
    let pid = process.pid;
    count(&kernel.counters().spawned);
    // Who learns of the life finds it.
    kernel.table().insert(process.clone());
    let first = home.begin_life(pid);
    if birth.witness.is_some() || birth.restarts > 0 || birth.last_panic.is_some() {
        let mut inner = process.inner.lock();
        let ties = inner.ties();
        ties.witness = birth.witness;
        ties.restarts = birth.restarts;
        ties.last_panic = birth.last_panic;
    }
    if let Some(owner) = birth.owner {
        monitors::depend(kernel, &process, owner);
    }
    if let Some(parent) = birth.parent {
        if let Some(reference) = birth.monitor {
            monitors::watch_as(kernel, parent, pid, reference);
        }
        if birth.linked {
            links::link(kernel, parent, pid);
        }
    }
    let mode = run::Mode {
        supervised: birth.supervised,
        keeps_mailbox: birth.keeps_mailbox,
        first,
    };
    let behaviour = process.behaviour();
    let death = run::Death::new(home.clone(), process, mode);
    let span = tracing::debug_span!(target: PROCESS_PANICKED, "process", process.pid = %pid, process.behaviour = behaviour);
    let life = run::Life::new(body, death);
    // Without a subscriber that wants it, a task carries no span.
    let task: Task = if span.is_disabled() {
        Box::pin(life)
    } else {
        Box::pin(life.instrument(span))
    };
    kernel.scheduler().spawn_process(pid, behaviour, task);
    pid
}

/// Adds to a number that only the process's own worker writes.
fn add(number: &AtomicU64, more: u64) {
    let sum = number.load(Ordering::Relaxed).wrapping_add(more);
    number.store(sum, Ordering::Relaxed);
}

/// What tells one waker from another, as `Waker::will_wake` does.
fn identity(waker: &Waker) -> [usize; 2] {
    [
        waker.data() as usize,
        std::ptr::from_ref(waker.vtable()) as usize,
    ]
}

impl Process {
    fn new(birth: &Birth, started: Duration, mailbox: Arc<dyn MailboxView>) -> Process {
        Process {
            pid: Pid::next(),
            parent: birth.parent,
            behaviour: birth.behaviour,
            answers: birth.answers,
            started: u64::try_from(started.as_nanos()).unwrap_or(u64::MAX),
            handled: AtomicU64::new(0),
            reductions: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            poll_phase: AtomicU32::new(0),
            task: [AtomicUsize::new(0), AtomicUsize::new(0)],
            in_message: atomic::AtomicBool::new(false),
            mailbox,
            signals: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                lane: SystemLane::default(),
                traps_exits: false,
                over: false,
                ended: false,
                held: false,
                reason: ExitReason::normal(),
                ties: None,
            }),
        }
    }

    pub(crate) fn set_trap_exit(&self, traps: bool) -> bool {
        std::mem::replace(&mut self.inner.lock().traps_exits, traps)
    }

    /// What inspection calls it.
    pub(crate) fn behaviour(&self) -> &'static str {
        self.behaviour.map_or("", |behaviour| behaviour())
    }

    /// Since when it lives, by the system's clock.
    pub(crate) fn started(&self) -> Duration {
        Duration::from_nanos(self.started)
    }

    pub(crate) fn set_label(&self, label: &str) {
        let old = self.inner.lock().ties().label.replace(label.into());
        drop(old);
    }

    /// It has started well: whoever started it need not be told of its end.
    pub(crate) fn forget_witness(&self) {
        let mut inner = self.inner.lock();
        let witness = inner.ties.as_mut().and_then(|ties| ties.witness.take());
        let empty = inner.ties.take_if(|ties| ties.is_empty());
        drop(inner);
        drop((witness, empty));
    }

    /// A signal that is already here, or a question for one who `answers`.
    #[inline]
    pub(crate) fn next_item(&self, answers: bool) -> Option<LaneItem> {
        if self.signals.load(Ordering::Acquire) {
            self.take_next(answers)
        } else {
            None
        }
    }

    #[cold]
    fn take_next(&self, answers: bool) -> Option<LaneItem> {
        self.take_item(&mut self.inner.lock(), answers)
    }

    /// The next item of the system lane, or the waker is kept.
    pub(crate) fn poll_item(
        &self,
        context: &std::task::Context<'_>,
        answers: bool,
    ) -> Option<LaneItem> {
        if self.is_task(context.waker()) {
            // Whoever puts something into the lane wakes the task after it.
            return self.next_item(answers);
        }
        let mut inner = self.inner.lock();
        if let Some(item) = self.take_item(&mut inner, answers) {
            return Some(item);
        }
        let old = inner.lane.listen(context.waker().clone());
        drop(inner);
        drop(old);
        None
    }

    fn take_item(&self, inner: &mut Inner, answers: bool) -> Option<LaneItem> {
        let item = inner.lane.next(answers);
        self.note_signals(inner);
        item
    }

    fn note_signals(&self, inner: &Inner) {
        self.signals
            .store(!inner.lane.is_empty(), Ordering::Release);
    }

    /// Puts a question to an actor, ahead of its messages. `false` when the process is over.
    pub(crate) fn ask(&self, question: Question) -> bool {
        self.with_lane(|inner| (inner.lane.push_question(question), ()))
            .is_some()
    }

    /// Changes the system lane, then wakes whom the change concerns, outside the lock. `None` when the process is over.
    fn with_lane<R>(
        &self,
        change: impl FnOnce(&mut Inner) -> ([Option<Waker>; 2], R),
    ) -> Option<R> {
        let mut inner = self.inner.lock();
        if inner.over {
            return None;
        }
        let (wakers, result) = change(&mut inner);
        self.note_signals(&inner);
        self.interrupted
            .store(inner.lane.interruption().is_some(), Ordering::Release);
        drop(inner);
        wake_all(wakers);
        Some(result)
    }

    /// Whether this waker wakes the task, which the lane knows.
    fn is_task(&self, waker: &Waker) -> bool {
        let [data, table] = &self.task;
        identity(waker) == [data.load(Ordering::Relaxed), table.load(Ordering::Relaxed)]
    }

    /// Whether this waker takes the place of another that woke the task.
    fn changes_task(&self, waker: &Waker) -> bool {
        self.task[1].load(Ordering::Relaxed) != 0 && !self.is_task(waker)
    }

    /// A poll begins; the reason when the process has been interrupted already.
    fn enter_poll(&self, waker: &Waker) -> Option<ExitReason> {
        if !self.is_task(waker) {
            self.meet_task(waker);
        }
        if self.is_interrupted() {
            return self.interruption();
        }
        self.turn_poll_phase();
        None
    }

    /// Keeps the task's waker, for signals and for an interruption.
    #[cold]
    fn meet_task(&self, waker: &Waker) {
        let mut inner = self.inner.lock();
        let old = inner.lane.task.replace(waker.clone());
        for (place, part) in self.task.iter().zip(identity(waker)) {
            place.store(part, Ordering::Relaxed);
        }
        drop(inner);
        drop(old);
    }

    /// Notes that the process waits; the reason when it was interrupted during the poll.
    fn leave_poll(&self, spent: u64) -> Option<ExitReason> {
        add(&self.reductions, spent);
        self.turn_poll_phase();
        // One who interrupts after this look wakes the task after it.
        if self.is_interrupted() {
            return self.interruption();
        }
        None
    }

    #[cold]
    fn interruption(&self) -> Option<ExitReason> {
        self.inner.lock().lane.interruption().cloned()
    }

    /// Notes time on a worker.
    fn was_busy(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        add(&self.busy_us, us);
    }

    fn turn_poll_phase(&self) {
        let phase = self.poll_phase.load(Ordering::Relaxed);
        // Never zero again.
        let next = phase.checked_add(1).unwrap_or(2);
        self.poll_phase.store(next, Ordering::Relaxed);
    }

    /// Whether it is on a worker, or about to be for the first time.
    fn is_running(&self) -> bool {
        let phase = self.poll_phase.load(Ordering::Relaxed);
        phase == 0 || phase % 2 == 1
    }

    /// Which poll a worker is in just now, if any.
    pub(crate) fn poll_in_hand(&self) -> Option<u64> {
        let phase = self.poll_phase.load(Ordering::Relaxed);
        (phase % 2 == 1).then_some(phase.into())
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
        add(&self.handled, 1);
        self.in_message.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}

#[cfg(all(test, mesh_loom))]
pub(crate) mod every_order;
