//! The life of a process: poll its body, contain its panics, and end it in order. The only file that catches.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use pin_project_lite::pin_project;

use crate::exit::{ExitKind, ExitReason};
use crate::pid::Pid;
use crate::reply_to::{Holder, Kept};
use crate::scheduler::budget;
use crate::telemetry::{PROCESS_PANICKED, count};

use super::context::Context;
use super::current::{self, Running};
use super::home::Home;
use super::kernel::Kernel;
use super::{Process, info};

/// How a life treats its mailbox when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) supervised: bool,
    pub(crate) keeps_mailbox: bool,
    /// Whether it is the first behind its mailbox.
    pub(crate) first: bool,
}

/// Ends the life exactly once, also when the executor drops the task before it is done.
pub(crate) struct Death<M: Send + 'static> {
    home: Arc<Home<M>>,
    process: Arc<Process>,
    mode: Mode,
    /// Whether the reason is known; if not, the executor has dropped the task.
    over: bool,
    reason: ExitReason,
    /// Callers to tell, after the mailbox is cleared: what they send then is for the next life.
    kept: Kept,
}

impl<M: Send + 'static> Death<M> {
    pub(crate) fn new(home: Arc<Home<M>>, process: Arc<Process>, mode: Mode) -> Death<M> {
        Death {
            home,
            process,
            mode,
            over: false,
            reason: ExitReason::normal(),
            kept: Kept::default(),
        }
    }
}

impl<M: Send + 'static> Drop for Death<M> {
    fn drop(&mut self) {
        let reason = if self.over {
            std::mem::replace(&mut self.reason, ExitReason::normal())
        } else {
            ExitReason::killed()
        };
        let Mode {
            supervised,
            keeps_mailbox,
            ..
        } = self.mode;
        self.home.end_life();
        let pending = if supervised && keeps_mailbox {
            self.home.mailbox.forget_receiver()
        } else {
            self.home.clear(&reason, !supervised)
        };
        self.kept.settle(&reason);
        let mut pending = Some(pending);
        let mut end_timers = || {
            if let Some(pending) = pending.take() {
                self.home.cancel(pending, &reason);
            }
        };
        let kernel = self.home.kernel();
        kernel.bury(&self.process, &mut end_timers, &reason);
    }
}

pin_project! {
    /// What a life is at: what it begins with and what it runs lie in one place.
    #[project = At]
    #[project_replace = Left]
    enum Stage<F, Fut> {
        Born { body: F },
        Lives { #[pin] future: Fut },
        Over,
    }
}

pin_project! {
    /// One life, from its first poll to its burial, which is the last field: whoever drops it before its end lets go of its body first.
    pub(crate) struct Life<M, F, Fut>
    where
        M: Send,
        M: 'static,
    {
        #[pin]
        stage: Stage<F, Fut>,
        death: Death<M>,
    }
}

impl<M: Send + 'static, F, Fut> Life<M, F, Fut> {
    pub(crate) fn new(body: F, death: Death<M>) -> Life<M, F, Fut> {
        Life {
            stage: Stage::Born { body },
            death,
        }
    }
}

impl<M, F, Fut> Future for Life<M, F, Fut>
where
    M: Send + 'static,
    F: FnOnce(Context<M>) -> Fut,
    Fut: Future,
    Fut::Output: Into<ExitReason>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut std::task::Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if matches!(*this.stage, Stage::Born { .. }) {
            let born = this.stage.as_mut().project_replace(Stage::Over);
            // Calls the body, in the name of the process; nothing comes of it when it panics, or when the process was interrupted before.
            if let Left::Born { body } = born
                && let Some(future) = this.death.begin(body)
            {
                this.stage.set(Stage::Lives { future });
            }
        }
        this.death.poll(this.stage, task)
    }
}

impl<M: Send + 'static> Death<M> {
    fn begin<F, Fut>(&mut self, body: F) -> Option<Fut>
    where
        F: FnOnce(Context<M>) -> Fut,
    {
        let process = &*self.process;
        let running = Running::enter(process.pid);
        let holder = Holder::enter(&mut self.kept);
        let mut own = true;
        let begun = if process.is_interrupted()
            && let Some(reason) = process.interruption()
        {
            let dropped = contain(process.pid, || drop(body));
            own = dropped.is_err();
            Err(dropped.err().unwrap_or(reason))
        } else {
            process.turn_poll_phase();
            let context = Context::new(self.home.clone(), self.process.clone(), self.mode.first);
            let begun = catch_unwind(AssertUnwindSafe(|| body(context))).map_err(described);
            process.turn_poll_phase();
            begun
        };
        match begun {
            Ok(future) => {
                holder.living(&mut self.kept);
                Some(future)
            }
            Err(reason) => {
                holder.dead(&mut self.kept);
                drop(running);
                self.is_over(reason, own);
                None
            }
        }
    }

    /// The reason is known, and whether it is the process's `own`: who is taken along by another's panic has not panicked.
    fn is_over(&mut self, reason: ExitReason, own: bool) {
        if own && reason.is_panic() {
            self.tell_panic(&reason);
        }
        self.reason = reason;
        self.over = true;
    }

    /// One poll, in the name of the process. When that is over, the state goes as well.
    fn poll<F, Fut>(
        &mut self,
        mut stage: Pin<&mut Stage<F, Fut>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()>
    where
        Fut: Future,
        Fut::Output: Into<ExitReason>,
    {
        let At::Lives { future } = stage.as_mut().project() else {
            return Poll::Ready(());
        };
        let process = &*self.process;
        let kernel = self.home.kernel();
        if process.changes_task(task.waker()) {
            self.home.mailbox.forget_waker();
        }
        let running = Running::enter(process.pid);
        let holder = Holder::enter(&mut self.kept);
        let mut own = true;
        let reason = if let Some(reason) = process.enter_poll(task.waker()) {
            own = false;
            reason
        } else {
            let began = kernel.measures_busy().then(|| kernel.clock().now());
            let slice = budget::begin();
            let polled = polled(future, task);
            let spent = budget::end(slice);
            if let Some(began) = began {
                process.was_busy(kernel.clock().now().saturating_sub(began));
            }
            let interruption = process.leave_poll(spent);
            match (polled, interruption) {
                (Ok(Poll::Pending), None) => {
                    holder.living(&mut self.kept);
                    return Poll::Pending;
                }
                (Ok(Poll::Pending), Some(reason)) => {
                    own = false;
                    reason
                }
                (Ok(Poll::Ready(output)), _) => {
                    contain(process.pid, || output.into()).unwrap_or_else(|panic| panic)
                }
                (Err(reason), _) => reason,
            }
        };
        // The state goes while the reason is known but not yet told: a token dropped with it ends as this reason.
        let dropped = contain(process.pid, || stage.set(Stage::Over));
        own |= dropped.is_err();
        let reason = dropped.err().unwrap_or(reason);
        holder.dead(&mut self.kept);
        drop(running);
        self.is_over(reason, own);
        Poll::Ready(())
    }

    #[cold]
    fn tell_panic(&self, reason: &ExitReason) {
        let kernel = self.home.kernel();
        count(&kernel.counters().panicked);
        let pid = self.process.pid;
        if admits_panic(kernel, pid, reason) {
            log_panic(pid, &info::label_of(&self.process), reason);
        }
    }
}

/// Whether a caught panic is to be told by itself; if not it is counted, and told with others of its place.
pub(crate) fn admits_panic(kernel: &Kernel, pid: Pid, reason: &ExitReason) -> bool {
    // A laboratory's clock panics once, where it is told to; one that always does leaves each panic told.
    let now = || contain(pid, || kernel.clock().now());
    let admits = |now| kernel.panics().admits(kernel.timers(), now, pid, reason);
    now().or_else(|_| now()).map_or(true, admits)
}

/// One poll of a future, and a panic in it as a value.
fn polled<F: Future>(
    future: Pin<&mut F>,
    task: &mut std::task::Context<'_>,
) -> Result<Poll<F::Output>, ExitReason> {
    attempt(|| future.poll(task))
}

/// The same in a frame of its own: to unwind through a frame is to read the list of its calls up to the one that panicked, twice, and the list
/// of a whole life is long.
#[inline(never)]
fn polled_apart<F: Future>(
    future: Pin<&mut F>,
    task: &mut std::task::Context<'_>,
) -> Result<Poll<F::Output>, ExitReason> {
    polled(future, task)
}

/// Runs a part of a process and makes a panic in it a value.
pub(crate) fn attempt<R>(work: impl FnOnce() -> R) -> Result<R, ExitReason> {
    catch_unwind(AssertUnwindSafe(work)).map_err(described)
}

/// Runs one future and makes a panic in it, or in its drop, a value. The process around it lives on. Its place is the caller's, so that it
/// is not kept twice.
pub(crate) async fn isolate<F: Future>(
    mut future: Pin<&mut Option<F>>,
) -> Result<F::Output, ExitReason> {
    let result = std::future::poll_fn(|task| {
        let future = future.as_mut().as_pin_mut();
        match polled_apart(future.expect("a finished future is not polled again"), task) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(reason) => Poll::Ready(Err(reason)),
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
    let text = current::text_of(&*payload);
    // What the hook saw may be an earlier panic that somebody caught, when this one was resumed and passed the hook by.
    let reason = current::take_panic(text).unwrap_or_else(|| ExitReason::panic(text, "unknown"));
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
