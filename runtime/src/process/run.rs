//! The life of a process: poll its body, contain its panics, and end it in order. The only file that catches.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::exit::{ExitKind, ExitReason};
use crate::pid::Pid;
use crate::reply_to::{Holder, Kept};
use crate::scheduler::budget;
use crate::telemetry::{PROCESS_PANICKED, count};

use super::context::Context;
use super::current::{self, Running};
use super::home::Home;
use super::{Process, info};

/// How a life treats its mailbox when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) supervised: bool,
    pub(crate) keeps_mailbox: bool,
}

/// Ends the life exactly once, also when the executor drops the task before it is done.
pub(crate) struct Death<M: Send + 'static> {
    home: Arc<Home<M>>,
    process: Arc<Process>,
    mode: Mode,
    reason: Option<ExitReason>,
    /// Callers to tell, after the mailbox is cleared: what they send then is for the next life.
    kept: Kept,
}

impl<M: Send + 'static> Death<M> {
    pub(crate) fn new(home: Arc<Home<M>>, process: Arc<Process>, mode: Mode) -> Death<M> {
        Death {
            home,
            process,
            mode,
            reason: None,
            kept: Kept::default(),
        }
    }
}

impl<M: Send + 'static> Drop for Death<M> {
    fn drop(&mut self) {
        let reason = self.reason.take().unwrap_or_else(ExitReason::killed);
        let Mode {
            supervised,
            keeps_mailbox,
        } = self.mode;
        self.home.end_life();
        if !(supervised && keeps_mailbox) {
            self.home.clear(&reason, !supervised);
        }
        self.kept.settle(&reason);
        self.home.kernel().bury(&self.process, &reason);
    }
}

/// Runs one life from its first poll to its burial. The burial comes after `body` in the arguments, so that a task which the executor drops
/// unpolled lets go of its body first.
pub(crate) async fn live<M, F, Fut>(body: F, context: Context<M>, death: Death<M>)
where
    M: Send + 'static,
    F: FnOnce(Context<M>) -> Fut + Send + 'static,
    Fut: Future<Output = ExitReason> + Send + 'static,
{
    let mut death = death;
    let process = death.process.clone();
    let kernel = death.home.kernel().clone();
    let mut body = pin!(Some(async move { body(context).await }));
    let reason = std::future::poll_fn(|task| {
        let running = Running::enter(process.pid);
        let holder = Holder::enter(&mut death.kept);
        if let Some(reason) = process.enter_poll(task.waker()) {
            let end = contain(process.pid, || body.as_mut().set(None));
            let reason = end.err().unwrap_or(reason);
            holder.dead(&mut death.kept);
            drop(running);
            return Poll::Ready(reason);
        }
        let began = kernel.measures_busy().then(|| kernel.clock().now());
        let slice = budget::begin();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let body = body
                .as_mut()
                .as_pin_mut()
                .expect("a finished body is not polled again");
            body.poll(task)
        }));
        let spent = budget::end(slice);
        if let Some(began) = began {
            process.was_busy(kernel.clock().now().saturating_sub(began));
        }
        let interruption = process.leave_poll(spent);
        let reason = match (polled, interruption) {
            (Ok(Poll::Pending), None) => {
                holder.living(&mut death.kept);
                return Poll::Pending;
            }
            (Ok(Poll::Pending), Some(reason)) => reason,
            (Ok(Poll::Ready(reason)), _) => reason,
            (Err(payload), _) => described(payload),
        };
        // The state goes while the reason is known but not yet told: a token dropped with it ends as this reason.
        let dropped = contain(process.pid, || body.as_mut().set(None));
        let reason = dropped.err().unwrap_or(reason);
        holder.dead(&mut death.kept);
        drop(running);
        Poll::Ready(reason)
    })
    .await;
    if reason.is_panic() {
        count(&kernel.counters().panicked);
        log_panic(process.pid, &info::label_of(&process), &reason);
    }
    death.reason = Some(reason);
}

/// Runs one future and makes a panic in it, or in its drop, a value. The process around it lives on.
pub(crate) async fn isolate<F: Future>(future: F) -> Result<F::Output, ExitReason> {
    let mut future = pin!(Some(future));
    let result = std::future::poll_fn(|task| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let future = future
                .as_mut()
                .as_pin_mut()
                .expect("a finished future is not polled again");
            future.poll(task)
        }));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(described(payload))),
        }
    })
    .await;
    let dropped = catch_unwind(AssertUnwindSafe(|| future.set(None))).map_err(described);
    dropped.and(result)
}

/// Drops a value of the user's outside its process; a panic in that is logged and goes no further.
pub(crate) fn discard<T>(pid: Pid, value: T) {
    if let Err(reason) = contain(pid, move || drop(value)) {
        log_panic(pid, "a value dropped outside its process", &reason);
    }
}

/// Runs a closure in the name of a process and makes a panic in it a value.
pub(crate) fn contain<R>(pid: Pid, work: impl FnOnce() -> R) -> Result<R, ExitReason> {
    let _running = Running::enter(pid);
    catch_unwind(AssertUnwindSafe(work)).map_err(described)
}

/// Runs what is no process's and makes a panic in it a value, which is the caller's to report.
#[cfg(feature = "sim")]
pub(crate) fn outside<R>(work: impl FnOnce() -> R) -> Result<R, ExitReason> {
    let _quiet = current::Quiet::enter();
    catch_unwind(AssertUnwindSafe(work)).map_err(described)
}

/// The reason of a caught panic: what the hook saw, or the payload's text where the hook was replaced.
fn described(payload: Box<dyn std::any::Any + Send>) -> ExitReason {
    let message = current::message_of(&*payload);
    let reason = match current::take_panic() {
        // What the hook saw may be an earlier panic that somebody caught, when this one was resumed and passed the hook by.
        Some(seen) if seen.message == message => ExitReason::panic(message, seen.location),
        _ => ExitReason::panic(message, "unknown"),
    };
    // The payload is the user's and may panic in being dropped; then it is leaked rather than fought with.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    reason
}

fn log_panic(pid: Pid, label: &str, reason: &ExitReason) {
    if let ExitKind::Panic { message, location } = reason.kind() {
        tracing::error!(
            target: PROCESS_PANICKED,
            { process.pid = %pid, process.label = label, panic.message = %message, panic.location = %location },
            "process panicked"
        );
    }
}
