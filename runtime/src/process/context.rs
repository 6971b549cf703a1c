//! `Context`: what a process may do. It belongs to one life and is never shared.

use std::future::Future;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::exit::ExitReason;
use crate::mailbox::lanes::{LaneItem, Question};
use crate::mailbox::{Batch, Mailbox, Own};
use crate::pid::Pid;
use crate::reference::Ref;
use crate::reply_to;
use crate::scheduler::budget;
use crate::signal::Signal;
use crate::timer::driver::yield_by;
use crate::timer::{self, TimerRef};

use super::home::Home;
use super::{MailboxView, Process, links, monitors};

/// A process's hands: its mailbox, its links and monitors, its timers.
pub struct Context<M: Send + 'static> {
    home: Arc<Home<M>>,
    process: Arc<Process>,
    batch: Batch<M>,
}

/// What a closure process that wants signals too receives.
#[derive(Debug)]
pub enum Event<M> {
    /// A message of its own type.
    Message(M),
    /// An exit it trapped, or the `Down` of a monitor.
    Signal(Signal),
}

/// What an actor has to do next.
pub(crate) enum Work<M> {
    Event(Event<M>),
    Question(Question),
}

impl<M> From<LaneItem> for Work<M> {
    fn from(item: LaneItem) -> Work<M> {
        match item {
            LaneItem::Signal(signal) => Work::Event(Event::Signal(signal)),
            LaneItem::Question(question) => Work::Question(question),
        }
    }
}

impl<M: Send + 'static> std::fmt::Debug for Context<M> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("pid", &self.process.pid)
            .finish_non_exhaustive()
    }
}

impl<M: Send + 'static> Drop for Context<M> {
    fn drop(&mut self) {
        self.home.mailbox.give_back(&mut self.batch);
    }
}

impl<M: Send + 'static> Context<M> {
    pub(crate) fn new(home: Arc<Home<M>>, process: Arc<Process>, first: bool) -> Context<M> {
        let batch = if first {
            Mailbox::first_batch()
        } else {
            home.mailbox.batch()
        };
        Context {
            home,
            process,
            batch,
        }
    }

    pub(crate) fn home(&self) -> &Arc<Home<M>> {
        &self.home
    }

    /// This life's identity.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// The process that started this one; an exit signal from it stops an actor even when it traps exits.
    #[must_use]
    pub fn parent(&self) -> Option<Pid> {
        self.process.parent
    }

    /// Shares fate with another process. Gives the `NoProcess` exit signal at once when it is gone.
    pub fn link(&mut self, pid: Pid) {
        links::link(self.home.kernel(), self.process.pid, pid);
    }

    /// Undoes a link; no exit signal of it arrives afterwards.
    pub fn unlink(&mut self, pid: Pid) {
        links::unlink(self.home.kernel(), &self.process, pid);
    }

    /// Watches another process: exactly one `Signal::Down`, also for one already dead.
    #[must_use = "the reference tells the Down of this monitor from others"]
    pub fn monitor(&mut self, pid: Pid) -> Ref {
        let reference = Ref::next();
        monitors::watch_as(self.home.kernel(), self.process.pid, pid, reference);
        reference
    }

    /// Ends a monitor; no `Down` of it arrives afterwards.
    pub fn demonitor(&mut self, monitor: Ref) {
        monitors::unwatch(self.home.kernel(), &self.process, monitor);
    }

    /// Whether exit signals become `Signal::Exit` instead of ending this process. Returns what it was.
    pub fn trap_exit(&mut self, traps: bool) -> bool {
        self.process.set_trap_exit(traps)
    }

    /// Sends an exit signal in this process's name. `false` when the process does not exist.
    pub fn exit(&mut self, pid: Pid, reason: ExitReason) -> bool {
        self.home.kernel().exit(self.process.pid, pid, reason)
    }

    /// A name for inspection and logs; no address.
    pub fn set_label(&mut self, label: &str) {
        self.process.set_label(label);
    }

    /// Cancels a timer; the time that was left, or `None` when it has fired.
    ///
    /// Of timers that were set for this process itself, one reading of the clock may serve 32 cancels in a row, as long as the process does not
    /// suspend in between.
    pub fn cancel(&mut self, timer: TimerRef) -> Option<Duration> {
        let kernel = self.home.kernel();
        match timer.at() {
            Some((life, held)) if life == self.process.pid => {
                let tick = self.home.cancel_timer(life, held)?;
                Some(timer::left(tick, budget::recently(kernel.clock())))
            }
            _ => kernel.cancel_timer(timer),
        }
    }

    /// Waits on the system's timer wheel; never early.
    ///
    /// Cancel safety: dropping the future cancels the timer.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.home.kernel().timers().sleep(duration)
    }

    /// Charges work to this process's budget and yields when it is spent. A long handler calls this in its loop: it keeps others
    /// running, and it is where a kill takes effect.
    pub fn consume_budget(&self, reductions: u32) -> impl Future<Output = ()> + Send + use<M> {
        let (home, process) = (self.home.clone(), self.process.clone());
        async move {
            if budget::charge(reductions) || process.is_interrupted() {
                yield_by(|task| home.kernel().scheduler().defer(task)).await;
            }
        }
    }

    /// The next message. Signals wait until [`Context::receive_event`] takes them.
    ///
    /// Cancel safety: a dropped future has taken no message.
    pub fn receive(&mut self) -> impl Future<Output = M> + Send + '_ {
        let mut began = false;
        std::future::poll_fn(move |context| {
            ready!(self.ready(&mut began, context));
            let message = ready!(self.poll_message(context));
            self.took_message();
            Poll::Ready(message)
        })
    }

    /// The next message, or `None` when none came in time; also in an idle process.
    ///
    /// Cancel safety: a dropped future has taken no message.
    pub async fn receive_timeout(&mut self, limit: Duration) -> Option<M> {
        let timers = self.home.kernel().timers().clone();
        timer::timeout(&timers, limit, self.receive()).await.ok()
    }

    /// Selective receive: the first message that fits. What is skipped stays, in order, and counts against the mailbox's
    /// bound: choose [`Capacity::unbounded`](crate::Capacity::unbounded) for a process that skips much.
    ///
    /// Cancel safety: a dropped future has taken no message.
    pub async fn receive_match<F: FnMut(&M) -> bool + Send>(&mut self, mut fits: F) -> M {
        let mut began = false;
        let mut seen = 0;
        let message = std::future::poll_fn(|context| {
            ready!(self.ready(&mut began, context));
            self.home
                .mailbox
                .poll_match(&mut self.batch, &mut seen, &mut fits, context)
        })
        .await;
        self.took_message();
        message
    }

    /// The next signal or, when there is none, the next message.
    ///
    /// Cancel safety: a dropped future has taken nothing.
    pub fn receive_event(&mut self) -> impl Future<Output = Event<M>> + Send + '_ {
        let mut began = false;
        std::future::poll_fn(move |context| {
            match ready!(self.poll_charged(&mut began, false, context)) {
                Work::Event(event) => Poll::Ready(event),
                Work::Question(_) => unreachable!("it was not asked for one"),
            }
        })
    }

    /// As [`Context::receive_event`]; for one who `answers` also the next question, after the signals.
    pub(crate) fn receive_work(
        &mut self,
        answers: bool,
    ) -> impl Future<Output = Work<M>> + Send + '_ {
        let mut began = false;
        std::future::poll_fn(move |context| self.poll_charged(&mut began, answers, context))
    }

    /// One event of a process's own life, charged to its budget.
    fn poll_charged(
        &mut self,
        began: &mut bool,
        answers: bool,
        context: &std::task::Context<'_>,
    ) -> Poll<Work<M>> {
        ready!(self.ready(began, context));
        let work = ready!(self.poll_work(context, answers));
        budget::charge_message(self.home.kernel().clock());
        Poll::Ready(work)
    }

    /// The next message in the mailbox.
    fn poll_message(&mut self, context: &std::task::Context<'_>) -> Poll<M> {
        let process = &self.process;
        let whose = || {
            if !process.is_task(context.waker()) {
                Own::No
            } else if budget::is_untouched() {
                Own::First
            } else {
                Own::Yes
            }
        };
        self.home.mailbox.poll_next(&mut self.batch, context, whose)
    }

    /// What is here, or the task is kept to be woken.
    pub(crate) fn poll_work(
        &mut self,
        context: &std::task::Context<'_>,
        answers: bool,
    ) -> Poll<Work<M>> {
        if let Some(item) = self.process.next_item(answers) {
            return Poll::Ready(item.into());
        }
        if let Poll::Ready(message) = self.poll_message(context) {
            self.process.took_message();
            return Poll::Ready(Work::Event(Event::Message(message)));
        }
        self.process
            .poll_item(context, answers)
            .map_or(Poll::Pending, |item| Poll::Ready(item.into()))
    }

    /// A message is out: it is charged, and counted.
    fn took_message(&self) {
        budget::charge_message(self.home.kernel().clock());
        self.process.took_message();
    }

    /// Before a message is taken, once: what the last one dropped is settled. Yields when the slice is over or the process is to end.
    fn ready(&self, began: &mut bool, context: &std::task::Context<'_>) -> Poll<()> {
        if std::mem::replace(began, true) {
            return Poll::Ready(());
        }
        reply_to::settle_living();
        self.process.asked_for_message();
        if budget::is_spent() || self.process.is_interrupted() {
            self.home.kernel().scheduler().defer(context.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// It has started well: whoever started it need not be told of its end.
    pub(crate) fn forget_witness(&self) {
        self.process.forget_witness();
    }

    /// A signal that is already here.
    pub(crate) fn try_signal(&self) -> Option<Signal> {
        match self.process.next_item(false)? {
            LaneItem::Signal(signal) => Some(signal),
            LaneItem::Question(_) => None,
        }
    }
}
