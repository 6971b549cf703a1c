//! Selective receive: takes the first message that fits, and keeps the order of what it skips.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::{Batch, Mailbox, short};

impl<M> Mailbox<M> {
    /// The first message from `*seen` on that fits. `*seen` counts the messages already looked at, which stay in the batch.
    pub(crate) fn poll_match<F>(
        &self,
        batch: &mut Batch<M>,
        seen: &mut usize,
        fits: &mut F,
        context: &Context<'_>,
    ) -> Poll<M>
    where
        F: FnMut(&M) -> bool,
    {
        loop {
            while *seen < batch.queue.len() {
                if fits(&batch.queue[*seen]) {
                    let message = batch.queue.remove(*seen).expect("the index was checked");
                    batch.taken += 1;
                    self.batch_len
                        .store(short(batch.queue.len()), Ordering::Relaxed);
                    self.tell_of_space();
                    return Poll::Ready(message);
                }
                *seen += 1;
            }
            if !self.gather(batch, context) {
                return Poll::Pending;
            }
        }
    }

    /// Appends everything that has arrived, frames at their places, to the batch; registers the waker when nothing has.
    fn gather(&self, batch: &mut Batch<M>, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.inbound.is_empty() && state.frames.is_empty() {
            let old = state.receiver.replace(context.waker().clone());
            self.armed.store(false, Ordering::Relaxed);
            drop(state);
            drop(old);
            return false;
        }
        let mut due = Vec::new();
        let mut inbound = std::mem::take(&mut state.inbound);
        let before = batch.taken + state.frames.evicted() + batch.queue.len() as u64;
        for offset in 0..=inbound.len() as u64 {
            let done = if offset == inbound.len() as u64 {
                u64::MAX
            } else {
                before + offset
            };
            while let Some(frame) = state.frames.pop_due(done) {
                due.push((offset, frame));
            }
        }
        self.frames_len
            .store(short(state.frames.len()), Ordering::Relaxed);
        // Frames become messages of the batch, so later frames must count them as sent before.
        state.pushed += due.len() as u64;
        self.batch_len.store(
            short(batch.queue.len() + inbound.len() + due.len()),
            Ordering::Relaxed,
        );
        drop(state);
        let mut due = due.into_iter().peekable();
        let mut offset = 0;
        loop {
            while let Some((_, frame)) = due.next_if(|(at, _)| *at <= offset) {
                batch.queue.push_back(frame.into_message());
            }
            match inbound.pop_front() {
                Some(message) => batch.queue.push_back(message),
                None => return true,
            }
            offset += 1;
        }
    }
}
