//! The mailbox: one short lock, two queues that are swapped, nothing dropped or woken under the lock.
//!
//! Senders push into `inbound`; the receiver takes the whole of it in one swap and works through its batch without the lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits::{QUEUE_SPARE_MAX, ROOM_FRAMES_MAX};
use crate::sync::{AtomicBool, AtomicU32, Short, ShortGuard};

pub(crate) mod capacity;
pub(crate) mod lanes;
mod pending;
mod save_queue;

pub(crate) use capacity::Push;
pub use capacity::{Capacity, Overflow};
use lanes::{Frame, FrameLane};
pub(crate) use pending::Pending;

/// The receiving end's shared half: what senders see.
pub(crate) struct Mailbox<M> {
    state: Short<State<M>>,
    /// Messages the receiver has taken in its batch and not yet handed out.
    batch_len: AtomicU32,
    /// Frames that wait; lets the receiver skip the lock when there are none.
    frames_len: AtomicU32,
    /// Whether nothing has come since the task's own waker was put there; lets the receiver go to sleep without the lock.
    armed: AtomicBool,
    policy: Overflow,
    bound: usize,
    /// Where `send_wait` waits for room, under the policy that lets it.
    space: Option<Box<Notify>>,
}

struct State<M> {
    inbound: VecDeque<M>,
    frames: FrameLane<M>,
    receiver: Option<Waker>,
    closed: bool,
    /// User messages ever accepted; a frame remembers it to keep its place among them.
    pushed: u64,
    high_water: u32,
}

impl<M> State<M> {
    fn take_pending(&mut self) -> Pending<M> {
        let pending = self.frames.known_pending();
        pending.map(std::mem::take).unwrap_or_default()
    }
}

/// The receiver's half: its batch, in order.
#[derive(Debug)]
pub(crate) struct Batch<M> {
    queue: VecDeque<M>,
    taken: u64,
}

/// Everything a mailbox held, to be dropped by somebody who contains panics.
pub(crate) struct Remains<M> {
    pub(crate) messages: VecDeque<M>,
    pub(crate) pending: Pending<M>,
}

/// Numbers for inspection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MailboxNumbers {
    pub(crate) len: usize,
    pub(crate) high_water: usize,
    pub(crate) dropped: u64,
    /// Timers that the wheel does not know, and those of the wheel that stand for them.
    pub(crate) timers: (usize, usize),
}

/// Whether a queue's buffer is larger than is worth keeping. Messages without a size need none.
fn is_flooded<M>(queue: &VecDeque<M>) -> bool {
    size_of::<M>() != 0 && queue.capacity() > QUEUE_SPARE_MAX
}

/// A drained queue's buffer, when a flood has left it so.
fn spare<M>(queue: &mut VecDeque<M>) -> Option<VecDeque<M>> {
    (queue.is_empty() && is_flooded(queue)).then(|| std::mem::take(queue))
}

/// A length in four bytes: there are many mailboxes, and few of four thousand million messages.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Whose waker the receiver is polled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Perhaps another's.
    No,
    /// The task's.
    Yes,
    /// The task's, which has taken no message in this slice.
    First,
}

/// What became of a room frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramePush {
    Delivered,
    /// It has lost so many that waited.
    Lagging(usize),
    /// Too many wait, and the member is to be disconnected.
    Overrun,
    Gone,
}

impl<M> Mailbox<M> {
    pub(crate) fn new(capacity: Capacity) -> Mailbox<M> {
        Mailbox {
            state: Short::new(State {
                inbound: VecDeque::new(),
                frames: FrameLane::new(),
                receiver: None,
                closed: false,
                pushed: 0,
                high_water: 0,
            }),
            batch_len: AtomicU32::new(0),
            frames_len: AtomicU32::new(0),
            armed: AtomicBool::new(false),
            policy: capacity.policy(),
            bound: capacity.bound(),
            space: (capacity.policy() == Overflow::Wait).then(Box::default),
        }
    }

    /// Queues a message, or says why not. `Push::Evicted` hands out what had to go.
    #[inline]
    pub(crate) fn push(&self, message: M) -> Push<M> {
        self.push_if(message, || true)
    }

    /// As [`Mailbox::push`], but gone unless `welcome`, asked under the lock.
    #[inline]
    pub(crate) fn push_if(&self, message: M, welcome: impl FnOnce() -> bool) -> Push<M> {
        self.push_where(message, |_| welcome())
    }

    /// As [`Mailbox::push_if`], with what the mailbox keeps.
    #[inline]
    fn push_where(&self, message: M, welcome: impl FnOnce(&mut State<M>) -> bool) -> Push<M> {
        let mut state = self.state.lock();
        if state.closed || !welcome(&mut state) {
            return Push::Gone(message);
        }
        let len = state.inbound.len() + self.batched();
        let mut evicted = None;
        if len >= self.bound {
            match self.policy {
                Overflow::Reject | Overflow::Wait => return Push::Full(message),
                Overflow::DropNewest => {
                    state.frames.note_loss(false);
                    return Push::Evicted(message);
                }
                Overflow::DropOldest => {
                    evicted = state.inbound.pop_front();
                    state.frames.note_loss(evicted.is_some());
                    if evicted.is_none() {
                        // A selective receive has skipped and kept all that wait; the new one is all there is to drop.
                        return Push::Evicted(message);
                    }
                }
            }
        }
        state.inbound.push_back(message);
        state.pushed += 1;
        let high = short(len + usize::from(evicted.is_none()));
        if high > state.high_water {
            state.high_water = high;
        }
        let waker = self.disarm(&mut state);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match evicted {
            Some(old) => Push::Evicted(old),
            None => Push::Queued,
        }
    }

    /// Queues a room frame, gone unless `welcome`, asked under the lock. When the member is too far behind, `policy` decides.
    pub(crate) fn push_frame(
        &self,
        room: &Arc<str>,
        payload: &Bytes,
        wrap: lanes::Wrap<M>,
        policy: lanes::RoomPolicy,
        welcome: impl FnOnce() -> bool,
    ) -> FramePush {
        let mut state = self.state.lock();
        if state.closed || !welcome() {
            return FramePush::Gone;
        }
        let position = state.pushed;
        let frame = Frame {
            position,
            room: room.clone(),
            payload: payload.clone(),
            wrap,
        };
        let pushed = state.frames.push(frame, ROOM_FRAMES_MAX, policy);
        if pushed.is_err() {
            drop(state);
            return FramePush::Overrun;
        }
        self.frames_len
            .store(short(state.frames.len()), Ordering::Relaxed);
        let waker = self.disarm(&mut state);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match pushed {
            Ok(None) => FramePush::Delivered,
            Ok(Some(_)) => FramePush::Lagging(1),
            Err(_) => FramePush::Overrun,
        }
    }

    /// The next message in order, without waiting. Registers `context` to be woken when there is none; `own` says that its waker is the
    /// task's, the same at every poll.
    #[inline]
    pub(crate) fn poll_next(
        &self,
        batch: &mut Batch<M>,
        context: &Context<'_>,
        own: impl FnOnce() -> Own,
    ) -> Poll<M> {
        if self.frames_len.load(Ordering::Relaxed) == 0
            && let Some(message) = self.pop_batch(batch)
        {
            return Poll::Ready(message);
        }
        let own = own();
        if own != Own::No && self.armed.load(Ordering::Acquire) {
            // Whoever puts something there takes the waker first, and wakes the task after it.
            return Poll::Pending;
        }
        self.poll_state(batch, context, own)
    }

    /// As [`Mailbox::poll_next`], with what others have put there.
    fn poll_state(&self, batch: &mut Batch<M>, context: &Context<'_>, own: Own) -> Poll<M> {
        let mut state = self.state.lock();
        if !state.frames.is_empty()
            && let Some(due) = self.due_frame(&mut state, batch)
        {
            drop(state);
            return Poll::Ready(due.into_message());
        }
        if batch.queue.is_empty() {
            self.refill(&mut state, batch);
            let Some(message) = state.inbound.pop_front() else {
                if batch.queue.is_empty() {
                    return self.wait(state, batch, context, own);
                }
                drop(state);
                return self.take_batched(batch);
            };
            let plain = state.inbound.is_empty() && state.frames.is_empty();
            let flooded = is_flooded(&state.inbound) || is_flooded(&batch.queue);
            if own == Own::First && plain && !flooded {
                // Most who take one message wait for the next: so the lock need not be taken again. It is, once, after a flood.
                let old = state.receiver.replace(context.waker().clone());
                self.armed.store(true, Ordering::Relaxed);
                drop(state);
                drop(old);
            } else {
                drop(state);
            }
            batch.taken += 1;
            self.tell_of_space();
            return Poll::Ready(message);
        }
        drop(state);
        self.take_batched(batch)
    }

    /// How many the receiver has in hand.
    fn batched(&self) -> usize {
        self.batch_len.load(Ordering::Relaxed) as usize
    }

    fn take_batched(&self, batch: &mut Batch<M>) -> Poll<M> {
        match self.pop_batch(batch) {
            Some(message) => Poll::Ready(message),
            None => unreachable!("the batch belongs to the receiver alone and was not empty"),
        }
    }

    /// A frame's turn has come when every message sent before it is out.
    #[cold]
    fn due_frame(&self, state: &mut State<M>, batch: &Batch<M>) -> Option<lanes::DueFrame<M>> {
        let done = if batch.queue.is_empty() && state.inbound.is_empty() {
            u64::MAX
        } else {
            batch.taken + state.frames.evicted()
        };
        let due = state.frames.pop_due(done);
        self.frames_len
            .store(short(state.frames.len()), Ordering::Relaxed);
        due
    }

    /// Nothing is there: keeps the waker, and gives back what a flood has left.
    fn wait(
        &self,
        mut state: ShortGuard<'_, State<M>>,
        batch: &mut Batch<M>,
        context: &Context<'_>,
        own: Own,
    ) -> Poll<M> {
        let old = match &mut state.receiver {
            Some(known) if known.will_wake(context.waker()) => None,
            slot => slot.replace(context.waker().clone()),
        };
        let spare = spare(&mut state.inbound);
        self.armed.store(own != Own::No, Ordering::Relaxed);
        drop(state);
        drop((old, spare, self::spare(&mut batch.queue)));
        Poll::Pending
    }

    #[inline]
    fn pop_batch(&self, batch: &mut Batch<M>) -> Option<M> {
        let message = batch.queue.pop_front()?;
        batch.taken += 1;
        self.batch_len
            .store(short(batch.queue.len()), Ordering::Relaxed);
        self.tell_of_space();
        Some(message)
    }

    /// A message has left: whoever waits in `send_wait` may look again.
    fn tell_of_space(&self) {
        if let Some(space) = &self.space {
            space.notify_one();
        }
    }

    /// Moves what has arrived into the receiver's empty batch, unless that is one message, which is as well taken at once. Under `DropOldest` it
    /// stays where the senders can still drop the oldest.
    fn refill(&self, state: &mut State<M>, batch: &mut Batch<M>) {
        if state.inbound.len() > 1 && self.policy != Overflow::DropOldest {
            std::mem::swap(&mut batch.queue, &mut state.inbound);
            self.batch_len
                .store(short(batch.queue.len()), Ordering::Relaxed);
        }
    }

    /// The receiver is going: what it had taken and not handed out goes back to the front.
    pub(crate) fn give_back(&self, batch: &mut Batch<M>) {
        if batch.queue.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let mut queue = std::mem::take(&mut batch.queue);
        queue.append(&mut state.inbound);
        state.inbound = queue;
        self.batch_len.store(0, Ordering::Relaxed);
    }

    /// Nobody receives any more: nobody is to be woken. What waits for the timers of this life is not for the next.
    pub(crate) fn forget_receiver(&self) -> Pending<M> {
        let mut state = self.state.lock();
        let waker = self.disarm(&mut state);
        let pending = state.take_pending();
        drop(state);
        drop(waker);
        pending
    }

    /// Whom to wake, once: from here on the receiver looks under the lock.
    fn disarm(&self, state: &mut State<M>) -> Option<Waker> {
        let waker = state.receiver.take()?;
        self.armed.store(false, Ordering::Relaxed);
        Some(waker)
    }

    /// The task has a new waker: its own one that was put there is its own no more. Where none was, another's stays, who may never ask again.
    #[cold]
    pub(crate) fn forget_waker(&self) {
        let mut state = self.state.lock();
        let armed = self.armed.load(Ordering::Relaxed);
        let waker = armed.then(|| self.disarm(&mut state));
        drop(state);
        drop(waker);
    }

    /// The first life begins to receive: nobody has taken anything yet.
    pub(crate) fn first_batch() -> Batch<M> {
        Batch {
            queue: VecDeque::new(),
            taken: 0,
        }
    }

    /// A new life begins to receive.
    pub(crate) fn batch(&self) -> Batch<M> {
        let state = self.state.lock();
        Batch {
            queue: VecDeque::new(),
            taken: state.pushed - state.frames.evicted() - state.inbound.len() as u64,
        }
    }

    /// Empties the mailbox, and closes it if so told. The caller drops the remains where a panic is contained.
    pub(crate) fn clear(&self, close: bool) -> Remains<M> {
        let mut state = self.state.lock();
        state.closed |= close;
        let messages = std::mem::take(&mut state.inbound);
        let frames = state.frames.clear();
        let pending = state.take_pending();
        let waker = self.disarm(&mut state);
        self.frames_len.store(0, Ordering::Relaxed);
        drop(state);
        drop((frames, waker));
        if let Some(space) = &self.space {
            space.notify_waiters();
        }
        Remains { messages, pending }
    }

    /// Takes messages again after a `clear(true)`.
    pub(crate) fn reopen(&self) {
        self.state.lock().closed = false;
    }

    pub(crate) fn len(&self) -> usize {
        let state = self.state.lock();
        state.inbound.len() + self.batched() + state.frames.len()
    }

    pub(crate) fn numbers(&self) -> MailboxNumbers {
        let mut state = self.state.lock();
        let len = state.inbound.len() + self.batched() + state.frames.len();
        let pending = state.frames.known_pending();
        MailboxNumbers {
            len,
            timers: pending.map_or((0, 0), |pending| pending.listed()),
            high_water: state.high_water as usize,
            dropped: state.frames.lost(),
        }
    }

    /// Where `send_wait` waits for room, if it may.
    pub(crate) fn space(&self) -> Option<&Notify> {
        self.space.as_deref()
    }
}

#[cfg(all(test, mesh_loom))]
mod every_order;
#[cfg(all(test, not(mesh_loom)))]
mod tests;
