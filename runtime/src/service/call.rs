//! `call`: one slot, one deadline, resolved exactly once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::address::Address;
use crate::error::{CallError, SendError};
use crate::limits::CALL_TIMEOUT;
use crate::process::{current, run};
use crate::reply_to::{ReplyTo, Slot};
use crate::timer::Sleep;

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
        let (reply_to, slot) = ReplyTo::new(self.kernel().counters());
        if let Err(error) = self.send(make(reply_to)) {
            return Err(match error {
                SendError::Full(_) => CallError::Full,
                SendError::Gone(_) => CallError::NoProcess,
                SendError::NoConnection(_) | SendError::Encode(_) => CallError::NoConnection,
                SendError::NoPeriod(_) => unreachable!("a call is no interval"),
            });
        }
        Answer {
            slot,
            deadline: self.kernel().timers().sleep(limit),
        }
        .await
    }
}

/// Waits for the slot or the deadline. The wheel is only touched when the answer is not there at the first look.
struct Answer<T: Send + 'static> {
    slot: Arc<Slot<T>>,
    deadline: Sleep,
}

impl<T: Send + 'static> Future for Answer<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, CallError>> {
        if let Poll::Ready(result) = self.slot.poll(context) {
            return Poll::Ready(result);
        }
        if Pin::new(&mut self.deadline).poll(context).is_pending() {
            return Poll::Pending;
        }
        // The answer may have come between the two looks; then it wins.
        Poll::Ready(self.slot.abandon().unwrap_or(Err(CallError::Timeout)))
    }
}

impl<T: Send + 'static> Drop for Answer<T> {
    fn drop(&mut self) {
        let unclaimed = self.slot.abandon();
        if let (Some(unclaimed), Some(pid)) = (unclaimed, current::pid()) {
            run::discard(pid, unclaimed);
        }
    }
}
