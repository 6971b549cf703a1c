//! What a connection shares with those who send to it: the queue towards the peer, and the bell that wakes its process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Wake, Waker};

use tokio_websockets::Message;

use super::Options;
use super::frame::framed;
use super::outgoing::{Outgoing, Waiting};
use crate::RoomPolicy;
use crate::mailbox::FramePush;
use crate::room::{Letter, Member};
use crate::sync::Short;

/// The queue of one connection. It is the member of the rooms that the connection joins: a broadcast puts the frame where the process takes it to
/// the socket. And it is the waker of all that is no frame: who wakes the process by it rings, so that the process looks at the peer and the
/// clock when there is something to see.
pub(super) struct Outbox {
    state: Short<State>,
    /// Whether there is something to look for besides frames.
    rung: AtomicBool,
    slow_peer: RoomPolicy,
}

struct State {
    outgoing: Outgoing,
    task: Option<Waker>,
    /// Whether the task has found nothing here, and is to be woken for the next frame.
    waits: bool,
    /// Takes nothing of the rooms.
    closed: bool,
    /// Whether a room has put the connection out, and counted it.
    put_out: bool,
}

impl Outbox {
    pub(super) fn new(options: &Options) -> Arc<Outbox> {
        Arc::new(Outbox {
            state: Short::new(State {
                outgoing: Outgoing::new(options.queue_max, options.queue_bytes_max),
                task: None,
                waits: false,
                closed: false,
                put_out: false,
            }),
            rung: AtomicBool::new(true),
            slow_peer: options.slow_peer,
        })
    }

    /// Queues what the connection's own process sends, which looks here before it sleeps.
    pub(super) fn send(&self, message: Message) {
        let dropped = self.state.lock().outgoing.push(Waiting::Message(message));
        drop(dropped);
    }

    /// Whose task takes from here, to be woken. Asked for only when it may have changed.
    pub(super) fn is_taken_by(&self, task: Waker) {
        let old = self.state.lock().task.replace(task);
        drop(old);
    }

    /// Whether there is something to look for besides frames, since this was asked last.
    pub(super) fn was_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// The next frame, and whether more wait. When there is none, the next to come wakes the task.
    pub(super) fn next(&self) -> Option<(Waiting, bool)> {
        let mut state = self.state.lock();
        let next = state.outgoing.pop();
        state.waits = next.is_none();
        let more = !state.outgoing.is_empty();
        drop(state);
        next.map(|next| (next, more))
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().outgoing.is_empty()
    }

    /// Whether more than may wait does, for a peer for whom it may not, and whether a room has counted that. Nothing more comes of the rooms then.
    pub(super) fn overrun(&self) -> Option<Overrun> {
        if self.slow_peer != RoomPolicy::Disconnect {
            return None;
        }
        let mut state = self.state.lock();
        let overrun = if state.put_out {
            Overrun::Counted
        } else if state.outgoing.has_missed() {
            Overrun::Uncounted
        } else {
            return None;
        };
        state.closed = true;
        Some(overrun)
    }

    /// Forgets what waits.
    pub(super) fn clear(&self) {
        let waiting = self.state.lock().outgoing.take();
        drop(waiting);
    }

    /// Hears nothing more of the rooms. What waits stays.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// The process is gone: nothing waits for anybody.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let left = (state.outgoing.take(), state.task.take());
        drop(state);
        drop(left);
    }
}

impl Member for Outbox {
    fn deliver(&self, letter: &Letter<'_>) -> FramePush {
        let frame = Waiting::Framed(letter.framed(framed).clone());
        let mut state = self.state.lock();
        if state.closed {
            return FramePush::Gone;
        }
        if self.slow_peer == RoomPolicy::Disconnect && !state.outgoing.has_room(&frame) {
            return FramePush::Overrun;
        }
        let dropped = state.outgoing.push(frame);
        let waits = std::mem::replace(&mut state.waits, false);
        let task = if waits { state.task.clone() } else { None };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        let shared = |frame: &&Waiting| matches!(frame, Waiting::Framed(_));
        match dropped.iter().filter(shared).count() {
            0 => FramePush::Delivered,
            missed => FramePush::Lagging(missed),
        }
    }

    fn disconnect(&self) {
        let mut state = self.state.lock();
        (state.closed, state.put_out) = (true, true);
        let task = state.task.clone();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for Outbox {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.state.lock().task.clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// More waits than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overrun {
    /// A room has put the connection out, and counted it.
    Counted,
    /// By what the connection sends itself.
    Uncounted,
}

/// The connection's hold of its queue, which ends with it.
pub(super) struct Hold(pub(super) Arc<Outbox>);

impl Drop for Hold {
    fn drop(&mut self) {
        // A broadcast under way may still hold the queue; what it sends must not pile up.
        self.0.end();
    }
}

/// Asks the queue what task it wakes; only who is polled by another than before tells it.
#[derive(Default)]
pub(super) struct Known(Option<Waker>);

impl Known {
    pub(super) fn tell(&mut self, task: &Task<'_>, outbox: &Outbox) {
        if !self
            .0
            .as_ref()
            .is_some_and(|known| known.will_wake(task.waker()))
        {
            self.0 = Some(task.waker().clone());
            outbox.is_taken_by(task.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn outbox(slow_peer: RoomPolicy) -> (Arc<Outbox>, Arc<Woken>) {
        let options = Options {
            queue_max: 2,
            slow_peer,
            ..Options::default()
        };
        let outbox = Outbox::new(&options);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        Known::default().tell(&Task::from_waker(&waker), &outbox);
        (outbox, woken)
    }

    fn deliver(outbox: &Outbox) -> FramePush {
        outbox.deliver(&Letter::of(
            &Arc::from("room"),
            &Bytes::from_static(b"text"),
        ))
    }

    #[test]
    fn who_found_nothing_is_woken_once_and_who_rings_is_heard() {
        let (outbox, woken) = outbox(RoomPolicy::DropOldest);
        let times = || woken.0.load(Ordering::Relaxed);
        assert!(outbox.was_rung(), "at first there is all to look for");
        assert!(!outbox.was_rung());
        assert_eq!((deliver(&outbox), times()), (FramePush::Delivered, 0));
        assert!(matches!(outbox.next(), Some((Waiting::Framed(_), false))));
        assert!(outbox.next().is_none());
        assert_eq!((deliver(&outbox), times()), (FramePush::Delivered, 1));
        assert_eq!((deliver(&outbox), times()), (FramePush::Delivered, 1));
        assert_eq!((deliver(&outbox), times()), (FramePush::Lagging(1), 1));
        assert!(!outbox.was_rung(), "a frame does not ring");
        Waker::from(outbox.clone()).wake();
        assert!(outbox.was_rung() && times() == 2);
        outbox.close();
        assert_eq!(deliver(&outbox), FramePush::Gone);
        assert!(!outbox.is_empty(), "what waits stays");
    }

    #[test]
    fn who_may_lose_nothing_loses_nothing() {
        let (outbox, woken) = outbox(RoomPolicy::Disconnect);
        let pushed = [(); 3].map(|()| deliver(&outbox));
        let [first, second, third] = pushed;
        assert_eq!(
            (first, second),
            (FramePush::Delivered, FramePush::Delivered)
        );
        assert_eq!(third, FramePush::Overrun);
        assert_eq!(outbox.overrun(), None, "nobody has told it");
        outbox.disconnect();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(outbox.overrun(), Some(Overrun::Counted));
        assert_eq!(deliver(&outbox), FramePush::Gone);
    }

    #[test]
    fn who_sends_too_much_itself_is_no_member_any_more() {
        let (outbox, _) = outbox(RoomPolicy::Disconnect);
        for text in ["one", "two", "three"] {
            outbox.send(Message::text(text));
        }
        assert_eq!(outbox.overrun(), Some(Overrun::Uncounted));
        assert_eq!(deliver(&outbox), FramePush::Gone, "no room counts it, too");
    }
}
