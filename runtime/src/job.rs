//! `Job`: one-shot work in a process of its own, whose panic is a value and which dies with its owner.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::address::spawn_closure;
use crate::exit::ExitReason;
use crate::mailbox::Capacity;
use crate::pid::Pid;
use crate::process::Birth;
use crate::process::context::Context;
use crate::process::kernel::Kernel;
use crate::process::run;
use crate::timer;

/// A job gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// It ended without one: panicked, or was killed, or its executor is gone.
    Exited(ExitReason),
    /// It was not ready in time; it goes on and can be awaited again.
    Timeout,
}

impl fmt::Display for JobError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Exited(reason) => write!(formatter, "job exited: {reason}"),
            JobError::Timeout => formatter.write_str("job timed out"),
        }
    }
}

impl std::error::Error for JobError {}

/// Who a job belongs to: a `&System` or a `&mut Context`.
pub trait JobOwner: sealed::Owner {}

impl<T: sealed::Owner> JobOwner for T {}

pub(crate) mod sealed {
    use std::sync::Arc;

    use crate::pid::Pid;
    use crate::process::kernel::Kernel;

    /// What a job needs of its owner.
    pub trait Owner {
        #[expect(
            private_interfaces,
            reason = "sealed: nobody outside can name or call it"
        )]
        fn kernel(&self) -> Arc<Kernel>;
        fn owner(&self) -> Option<Pid>;
    }
}

impl<M: Send + 'static> sealed::Owner for &mut Context<M> {
    #[expect(
        private_interfaces,
        reason = "sealed: nobody outside can name or call it"
    )]
    fn kernel(&self) -> Arc<Kernel> {
        self.home().kernel().clone()
    }

    fn owner(&self) -> Option<Pid> {
        Some(self.pid())
    }
}

/// Work under way. Await it for its result, which it gives once (`Exited(NoProcess)` afterwards); drop it and the work is killed.
///
/// Jobs are told apart by value, so two awaited in the opposite order give each its own result.
#[must_use = "a job that is dropped is killed"]
pub struct Job<T> {
    pid: Pid,
    kernel: Arc<Kernel>,
    /// `None` once it has told, which it does once.
    value: Option<oneshot::Receiver<T>>,
    ended: oneshot::Receiver<ExitReason>,
    over: bool,
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Job")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Job<T> {
    /// Starts the work. With a context as owner it dies with that process, else with the `Job`.
    pub fn spawn<O, F>(owner: O, work: F) -> Job<T>
    where
        O: JobOwner,
        F: Future<Output = T> + Send + 'static,
    {
        let kernel = owner.kernel();
        let (witness, ended) = oneshot::channel();
        let (sender, value) = oneshot::channel();
        let parent = owner.owner();
        let birth = Birth {
            parent,
            owner: parent,
            witness: Some(witness),
            behaviour: "Job",
            ..Birth::default()
        };
        let address = spawn_closure(
            &kernel,
            Capacity::default(),
            birth,
            move |context: Context<()>| async move {
                let result = work.await;
                // Nobody may wait any more; the value is then dropped here, inside the job.
                drop(sender.send(result));
                drop(context);
            },
        );
        Job {
            pid: address.pid(),
            kernel,
            value: Some(value),
            ended,
            over: false,
        }
    }

    /// The job's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The result, or `Timeout` after `limit`; then the job goes on and may be awaited again.
    ///
    /// # Errors
    /// [`JobError`].
    ///
    /// Cancel safety: a dropped future has lost nothing.
    pub async fn await_timeout(&mut self, limit: Duration) -> Result<T, JobError> {
        let timers = self.kernel.timers().clone();
        timer::timeout(&timers, limit, &mut *self)
            .await
            .unwrap_or(Err(JobError::Timeout))
    }
}

impl<T: Send + 'static> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Result<T, JobError>> {
        if self.over {
            return Poll::Ready(Err(JobError::Exited(ExitReason::no_process())));
        }
        if let Some(value) = &mut self.value {
            let told = std::task::ready!(Pin::new(value).poll(task));
            self.value = None;
            if let Ok(value) = told {
                self.over = true;
                return Poll::Ready(Ok(value));
            }
        }
        let ended = std::task::ready!(Pin::new(&mut self.ended).poll(task));
        self.over = true;
        Poll::Ready(Err(JobError::Exited(
            ended.unwrap_or_else(|_| ExitReason::killed()),
        )))
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.kernel.kill(self.pid);
        // A result nobody took is the user's; its drop must not harm the owner.
        if let Some(Ok(value)) = self.value.as_mut().map(oneshot::Receiver::try_recv) {
            run::discard(self.pid, value);
        }
    }
}

/// Runs a closure on a blocking thread, at most 64 at a time, its panic a value.
pub(crate) async fn blocking<R: Send + 'static>(
    kernel: &Arc<Kernel>,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, JobError> {
    let root = kernel.root();
    match kernel
        .blocking()
        .run(kernel.scheduler(), move || run::contain(root, work))
        .await
    {
        Some(result) => result.map_err(JobError::Exited),
        None => Err(JobError::Exited(ExitReason::killed())),
    }
}

impl<M: Send + 'static> Context<M> {
    /// Runs a closure that may block, away from the workers; at most 64 at a time, more wait their turn.
    ///
    /// # Errors
    /// `Exited` when the closure panicked.
    ///
    /// Cancel safety: once started the closure runs to its end, its result is dropped.
    pub fn blocking<R, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<R, JobError>> + Send + use<M, R, W>
    where
        R: Send + 'static,
        W: FnOnce() -> R + Send + 'static,
    {
        let kernel = self.home().kernel().clone();
        async move { blocking(&kernel, work).await }
    }
}
