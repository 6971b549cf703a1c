//! `call`: one slot, one deadline, resolved exactly once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::address::Address;
use crate::error::{CallError, SendError};
use crate::limits::CALL_TIMEOUT;
use crate::process::kernel::Kernel;
use crate::process::{current, run};
use crate::reply_to::{ReplyTo, Slot};
use crate::telemetry::Counters;
use crate::timer::TimerRef;
use crate::timer::awaited::Awaited;

impl<M: Send + 'static> Address<M> {
    /// Sends a message with a reply token in it and waits for the answer, at most 5 s.
    ///
    /// # Errors
    /// Exactly one [`CallError`] per call that is not answered.
    ///
    /// Cancel safety: a dropped future leaks nothing; the callee may still do the work, its answer is dropped and counted.
    pub async fn call<T: Send + 'static>(
        &self,
        make: impl FnOnce(ReplyTo<T>) -> M,
    ) -> Result<T, CallError> {
        self.call_timeout(CALL_TIMEOUT, make).await
    }

    /// As [`Address::call`], waiting at most `limit`.
    ///
    /// # Errors
    /// Exactly one [`CallError`] per call that is not answered.
    ///
    /// Cancel safety: as [`Address::call`].
    pub async fn call_timeout<T: Send + 'static>(
        &self,
        limit: Duration,
        make: impl FnOnce(ReplyTo<T>) -> M,
    ) -> Result<T, CallError> {
        if current::pid() == Some(self.pid()) {
            return Err(CallError::CallingSelf);
        }
        let waker = std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let (reply_to, slot) = ReplyTo::new(waker);
        if let Err(error) = self.send(make(reply_to)) {
            return Err(match error {
                SendError::Full(_) => CallError::Full,
                SendError::Gone(_) => CallError::NoProcess,
                SendError::NoConnection(_) | SendError::Encode(_) => CallError::NoConnection,
                SendError::NoPeriod(_) => unreachable!("a call is no interval"),
            });
        }
        let kernel = self.kernel();
        kernel.timers().expect_within(limit, slot.clone());
        Answer {
            slot,
            kernel,
            fresh: true,
            over: false,
        }
        .await
    }
}

impl<T: Send> Awaited for Slot<T> {
    fn is_over(&self) -> bool {
        Slot::is_over(self)
    }

    fn expire(&self, counters: &Arc<Counters>) {
        Slot::expire(self, counters);
    }

    fn keep(&self, timer: TimerRef) -> bool {
        Slot::keep(self, timer.to_raw())
    }
}

/// Waits for the slot, which the callee or the deadline settles.
struct Answer<'a, T: Send + 'static> {
    slot: Arc<Slot<T>>,
    kernel: &'a Kernel,
    /// Not polled yet. The task whose waker is in the slot is being polled just now, so that an answer that is there already has woken it.
    fresh: bool,
    over: bool,
}

impl<T: Send + 'static> Future for Answer<'_, T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, CallError>> {
        if std::mem::replace(&mut self.fresh, false) {
            return Poll::Pending;
        }
        let Poll::Ready((result, timer)) = self.slot.poll(context) else {
            return Poll::Pending;
        };
        self.over = true;
        self.cancel(timer);
        Poll::Ready(result)
    }
}

impl<T: Send + 'static> Answer<'_, T> {
    fn cancel(&self, timer: Option<u64>) {
        if let Some(timer) = timer {
            self.kernel.timers().cancel(TimerRef::from_raw(timer));
        }
    }
}

impl<T: Send + 'static> Drop for Answer<'_, T> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (unclaimed, timer) = self.slot.abandon(self.kernel.counters());
        self.cancel(timer);
        if let (Some(unclaimed), Some(pid)) = (unclaimed, current::pid()) {
            run::discard(pid, unclaimed);
        }
    }
}

#[cfg(all(test, mesh_loom))]
mod every_order;
