//! Blocking work: away from the workers, and at most so much at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Scheduler;

/// The bounded way to the blocking threads.
#[derive(Debug)]
pub(crate) struct Blocking {
    permits: Arc<Semaphore>,
}

impl Blocking {
    pub(crate) fn new(threads_max: usize) -> Blocking {
        Blocking {
            permits: Arc::new(Semaphore::new(threads_max)),
        }
    }

    /// Waits for its turn, then runs `work` on a blocking thread. `None` when `work` was lost: it panicked or the executor is gone.
    ///
    /// Cancel safety: before its turn nothing has run; afterwards `work` runs to its end and its result is dropped.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        scheduler: &dyn Scheduler,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (sender, receiver) = tokio::sync::oneshot::channel();
        scheduler.spawn_blocking(Box::new(move || {
            let result = work();
            drop(permit);
            drop(sender.send(result));
        }));
        receiver.await.ok()
    }
}
