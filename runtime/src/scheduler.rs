//! The seam through which processes get to run: tokio behind it, the laboratory's executor in its place.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::exit::ExitReason;
use crate::pid::Pid;

pub(crate) mod blocking;
pub(crate) mod budget;

/// A process as its executor sees it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// The executor behind a system. Must run every task it is given until it ends.
pub trait Scheduler: fmt::Debug + Send + Sync + 'static {
    /// Runs a task.
    fn spawn(&self, task: Task);

    /// Runs the task of a process. An executor that tells processes apart, as the laboratory does, overrides it.
    fn spawn_process(&self, process: Pid, behaviour: &'static str, task: Task) {
        let (_, _) = (process, behaviour);
        self.spawn(task);
    }

    /// Wakes the task that is being polled and has used up its slice: no sooner than the executor lets the others that are ready run. An
    /// executor whose woken tasks go to the back of a queue need do nothing else.
    fn defer(&self, task: &Waker) {
        task.wake_by_ref();
    }

    /// A process has ended. For an executor that keeps a record.
    fn ended(&self, process: Pid, reason: &ExitReason) {
        let (_, _) = (process, reason);
    }

    /// Runs a closure that may block its thread, away from the workers.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>);

    /// A future that is ready after `duration`. Used by the one task that drives the timer wheel.
    fn sleep(&self, duration: Duration) -> Task;
}

/// Runs processes as tasks of a tokio runtime, multi-threaded or current-thread, with its time driver enabled.
#[derive(Clone, Debug)]
pub struct TokioScheduler {
    runtime: tokio::runtime::Handle,
}

impl TokioScheduler {
    /// The runtime this is called in.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn current() -> TokioScheduler {
        TokioScheduler {
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// A given runtime.
    #[must_use]
    pub fn new(runtime: tokio::runtime::Handle) -> TokioScheduler {
        TokioScheduler { runtime }
    }
}

impl Scheduler for TokioScheduler {
    fn spawn(&self, task: Task) {
        drop(self.runtime.spawn(task));
    }

    /// As tokio treats its own tasks whose budget is spent: they are woken when their worker has nothing else that is ready, or when it next
    /// polls its I/O: after 61 turns by tokio's default, which the runtime's `event_interval` changes. At the back of the queue they would come
    /// before whoever answers whom they keep waiting.
    fn defer(&self, task: &Waker) {
        let turn = pin!(tokio::task::yield_now());
        if turn.poll(&mut Context::from_waker(task)).is_ready() {
            task.wake_by_ref();
        }
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        drop(self.runtime.spawn_blocking(work));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the door of the wheel's driver; everything else sleeps on the wheel"
    )]
    fn sleep(&self, duration: Duration) -> Task {
        let _guard = self.runtime.enter();
        Box::pin(tokio::time::sleep(duration))
    }
}
