//! Finding 1: awaiting a job that panics panicked the one who awaited it.
//!
//! Between the moment a dying job lets go of its result's channel and the moment its end is told, a second poll of the `Job` polled the
//! finished channel again, and tokio panics at that. The runtime logs the panic in that gap: whoever listens can hold the gap open.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use mesh_runtime::{Job, JobError, System};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static POLLS: AtomicU64 = AtomicU64::new(0);

/// Listens to the log slowly: an event takes until the job has been polled three times more.
struct SlowListener;

impl Subscriber for SlowListener {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {
        let before = POLLS.load(Ordering::Acquire);
        while POLLS.load(Ordering::Acquire) < before + 3 {
            std::thread::yield_now();
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[test]
fn job_awaited_while_it_dies_gives_its_panic_as_a_value() {
    tracing::subscriber::set_global_default(SlowListener).expect("no other repro sets one");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async {
        let system = System::new();
        let mut job = pin!(Job::<()>::spawn(&system, async { panic!("a job panics") }));
        std::future::poll_fn(|task| {
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                job.as_mut().poll(task).map_err(Some)
            }));
            // The listener is let go whatever happens here, or the job's worker would wait for ever.
            POLLS.fetch_add(1, Ordering::AcqRel);
            match polled {
                Ok(Poll::Ready(outcome)) => Poll::Ready(outcome),
                Ok(Poll::Pending) => {
                    task.waker().wake_by_ref();
                    Poll::Pending
                }
                Err(_) => {
                    POLLS.fetch_add(3, Ordering::AcqRel);
                    Poll::Ready(Err(None))
                }
            }
        })
        .await
    });
    POLLS.fetch_add(3, Ordering::AcqRel);
    assert!(
        matches!(&outcome, Err(Some(JobError::Exited(reason))) if reason.is_panic()),
        "{outcome:?}"
    );
}
