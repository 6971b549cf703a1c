//! The mailbox: one short lock, two queues that are swapped, nothing dropped or woken under the lock.
//!
//! Senders push into `inbound`; the receiver takes the whole of it in one swap and works through its batch without the lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::{QUEUE_SPARE_MAX, ROOM_FRAMES_MAX};

pub(crate) mod capacity;
pub(crate) mod lanes;
mod save_queue;

pub(crate) use capacity::Push;
pub use capacity::{Capacity, Overflow};
use lanes::{Frame, FrameLane};

/// The receiving end's shared half: what senders see.
pub(crate) struct Mailbox<M> {
    state: Mutex<State<M>>,
    /// Messages the receiver has taken in its batch and not yet handed out.
    batch_len: AtomicUsize,
    /// Frames that wait; lets the receiver skip the lock when there are none.
    frames_len: AtomicUsize,
    space: Notify,
    capacity: Capacity,
}

struct State<M> {
    inbound: VecDeque<M>,
    frames: FrameLane<M>,
    receiver: Option<Waker>,
    closed: bool,
    /// User messages ever accepted; a frame remembers it to keep its place among them.
    pushed: u64,
    /// User messages the overflow policy threw out.
    evicted: u64,
    /// What the receiver had handed out when it last gave its batch back.
    taken: u64,
    high_water: usize,
    dropped: u64,
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
}

/// Numbers for inspection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MailboxNumbers {
    pub(crate) len: usize,
    pub(crate) high_water: usize,
    pub(crate) dropped: u64,
}

/// What became of a room frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramePush {
    Delivered,
    Lagging,
    Gone,
}

impl<M> Mailbox<M> {
    pub(crate) fn new(capacity: Capacity) -> Mailbox<M> {
        Mailbox {
            state: Mutex::new(State {
                inbound: VecDeque::new(),
                frames: FrameLane::new(),
                receiver: None,
                closed: false,
                pushed: 0,
                evicted: 0,
                taken: 0,
                high_water: 0,
                dropped: 0,
            }),
            batch_len: AtomicUsize::new(0),
            frames_len: AtomicUsize::new(0),
            space: Notify::new(),
            capacity,
        }
    }

    /// Queues a message, or says why not. `Push::Evicted` hands out what had to go.
    pub(crate) fn push(&self, message: M) -> Push<M> {
        let mut state = self.state.lock();
        if state.closed {
            return Push::Gone(message);
        }
        let len = state.inbound.len() + self.batch_len.load(Ordering::Relaxed);
        let mut evicted = None;
        if len >= self.capacity.bound() {
            match self.capacity.policy() {
                Overflow::Reject | Overflow::Wait => return Push::Full(message),
                Overflow::DropNewest => {
                    state.dropped += 1;
                    return Push::Evicted(message);
                }
                Overflow::DropOldest => {
                    evicted = state.inbound.pop_front();
                    if evicted.is_some() {
                        state.evicted += 1;
                        state.dropped += 1;
                    }
                }
            }
        }
        state.inbound.push_back(message);
        state.pushed += 1;
        let high = len + usize::from(evicted.is_none());
        if high > state.high_water {
            state.high_water = high;
        }
        let waker = state.receiver.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match evicted {
            Some(old) => Push::Evicted(old),
            None => Push::Queued,
        }
    }

    /// Queues a room frame; drops the oldest waiting frame when the member is too far behind.
    pub(crate) fn push_frame(
        &self,
        room: &Arc<str>,
        payload: &Bytes,
        wrap: lanes::Wrap<M>,
    ) -> FramePush {
        let mut state = self.state.lock();
        if state.closed {
            return FramePush::Gone;
        }
        let position = state.pushed;
        let frame = Frame {
            position,
            room: room.clone(),
            payload: payload.clone(),
            wrap,
        };
        let dropped = state.frames.push(frame, ROOM_FRAMES_MAX);
        self.frames_len.store(state.frames.len(), Ordering::Relaxed);
        let waker = state.receiver.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match dropped {
            None => FramePush::Delivered,
            Some(_frame) => FramePush::Lagging,
        }
    }

    /// The next message in order, without waiting. Registers `context` to be woken when there is none.
    pub(crate) fn poll_next(&self, batch: &mut Batch<M>, context: &Context<'_>) -> Poll<M> {
        if let Some(message) = self.next_frame(batch) {
            return Poll::Ready(message);
        }
        if let Some(message) = self.pop_batch(batch) {
            return Poll::Ready(message);
        }
        let mut state = self.state.lock();
        self.refill(&mut state, batch);
        if batch.queue.is_empty() && state.frames.is_empty() {
            let old = match &mut state.receiver {
                Some(known) if known.will_wake(context.waker()) => None,
                slot => slot.replace(context.waker().clone()),
            };
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        drop(state);
        match self.next_frame(batch).or_else(|| self.pop_batch(batch)) {
            Some(message) => Poll::Ready(message),
            None => unreachable!("a frame or a message was there and only the receiver takes them"),
        }
    }

    fn pop_batch(&self, batch: &mut Batch<M>) -> Option<M> {
        let message = batch.queue.pop_front()?;
        batch.taken += 1;
        self.batch_len.store(batch.queue.len(), Ordering::Relaxed);
        self.tell_of_space();
        Some(message)
    }

    /// A message has left: whoever waits in `send_wait` may look again.
    fn tell_of_space(&self) {
        if self.waits() {
            self.space.notify_one();
        }
    }

    /// Moves what has arrived into the receiver's empty batch.
    fn refill(&self, state: &mut State<M>, batch: &mut Batch<M>) {
        if !batch.queue.is_empty() || state.inbound.is_empty() {
            return;
        }
        if self.capacity.policy() == Overflow::DropOldest {
            // The oldest must stay where the senders can still drop it.
            batch.queue.extend(state.inbound.pop_front());
        } else {
            if batch.queue.capacity() > QUEUE_SPARE_MAX {
                batch.queue = VecDeque::new();
            }
            std::mem::swap(&mut batch.queue, &mut state.inbound);
        }
        self.batch_len.store(batch.queue.len(), Ordering::Relaxed);
    }

    /// The first frame whose turn has come: every message sent before it is out.
    fn next_frame(&self, batch: &Batch<M>) -> Option<M> {
        if self.frames_len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut state = self.state.lock();
        let done = batch.taken + state.evicted;
        let due = state.frames.pop_due(done)?;
        self.frames_len.store(state.frames.len(), Ordering::Relaxed);
        drop(state);
        Some(due.into_message())
    }

    /// The receiver is going: what it had taken and not handed out goes back to the front.
    pub(crate) fn give_back(&self, batch: &mut Batch<M>) {
        let mut state = self.state.lock();
        let mut queue = std::mem::take(&mut batch.queue);
        queue.append(&mut state.inbound);
        state.inbound = queue;
        state.taken = batch.taken;
        let waker = state.receiver.take();
        self.batch_len.store(0, Ordering::Relaxed);
        drop(state);
        drop(waker);
    }

    /// A new life begins to receive.
    pub(crate) fn batch(&self) -> Batch<M> {
        Batch {
            queue: VecDeque::new(),
            taken: self.state.lock().taken,
        }
    }

    /// Empties the mailbox, and closes it if so told. The caller drops the remains where a panic is contained.
    pub(crate) fn clear(&self, close: bool) -> Remains<M> {
        let mut state = self.state.lock();
        state.closed |= close;
        let messages = std::mem::take(&mut state.inbound);
        state.taken += messages.len() as u64;
        let frames = std::mem::replace(&mut state.frames, FrameLane::new());
        self.frames_len.store(0, Ordering::Relaxed);
        drop(state);
        drop(frames);
        self.space.notify_waiters();
        Remains { messages }
    }

    /// Takes messages again after a `clear(true)`.
    pub(crate) fn reopen(&self) {
        self.state.lock().closed = false;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(crate) fn len(&self) -> usize {
        let state = self.state.lock();
        state.inbound.len() + self.batch_len.load(Ordering::Relaxed) + state.frames.len()
    }

    pub(crate) fn numbers(&self) -> MailboxNumbers {
        let state = self.state.lock();
        let len = state.inbound.len() + self.batch_len.load(Ordering::Relaxed) + state.frames.len();
        MailboxNumbers {
            len,
            high_water: state.high_water,
            dropped: state.dropped + state.frames.missed_total(),
        }
    }

    /// Where `send_wait` waits for room.
    pub(crate) fn space(&self) -> &Notify {
        &self.space
    }

    pub(crate) fn waits(&self) -> bool {
        self.capacity.policy() == Overflow::Wait
    }
}
