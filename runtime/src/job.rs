//! `Job`: one-shot work in a process of its own, whose panic is a value and which dies with its owner.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

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
    /// It was not started: [`Job::map`] was given a limit of zero.
    NoLimit,
}

impl fmt::Display for JobError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Exited(reason) => write!(formatter, "job exited: {reason}"),
            JobError::Timeout => formatter.write_str("job timed out"),
            JobError::NoLimit => formatter.write_str("job was not started: the limit is zero"),
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
        Job::begin(owner.kernel(), owner.owner(), work)
    }

    fn begin<F>(kernel: Arc<Kernel>, parent: Option<Pid>, work: F) -> Job<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (witness, ended) = oneshot::channel();
        let (sender, value) = oneshot::channel();
        let birth = Birth {
            parent,
            owner: parent,
            witness: Some(witness),
            behaviour: Some(|| "Job"),
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

    /// Runs `work` on each item in a job of its own, at most `limit` of them at a time. The results are in the order of the items; a
    /// panic is the result of its item alone. With a limit of zero each result is `NoLimit`.
    ///
    /// Cancel safety: a dropped future kills what it has started.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let system = mesh_runtime::System::new();
    /// use mesh_runtime::Job;
    ///
    /// let doubled = Job::map(&system, 4, 1..=3, |number| async move { number * 2 }).await;
    /// assert_eq!(doubled, [Ok(2), Ok(4), Ok(6)]);
    /// # }
    /// ```
    pub async fn map<O, I, F, Fut>(
        owner: O,
        limit: usize,
        items: I,
        work: F,
    ) -> Vec<Result<T, JobError>>
    where
        O: JobOwner,
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let (kernel, owner) = (owner.kernel(), owner.owner());
        if limit == 0 {
            return items.into_iter().map(|_| Err(JobError::NoLimit)).collect();
        }
        let work = Arc::new(work);
        let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let mut jobs = Vec::new();
        for item in items {
            let place = places.clone().acquire_owned().await;
            let work = work.clone();
            jobs.push(Job::begin(kernel.clone(), owner, async move {
                // Given back however the job ends. The semaphore is never closed.
                let _place = place;
                work(item).await
            }));
        }
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(job.await);
        }
        results
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
