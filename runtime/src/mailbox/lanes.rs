//! The lanes beside the user's messages: signals, which pass them, and room frames, which keep their place among them.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use crate::exit::ExitReason;
use crate::pid::Pid;
use crate::reference::Ref;
use crate::signal::Signal;

use super::pending::Pending;

/// What somebody wants to know of an actor's state: run by the actor, with its state, between two messages.
pub(crate) struct Question(Box<Ask>);

type Ask = dyn FnOnce(&dyn Any) + Send;

impl Question {
    pub(crate) fn new(ask: impl FnOnce(&dyn Any) + Send + 'static) -> Question {
        Question(Box::new(ask))
    }

    pub(crate) fn ask(self, state: &dyn Any) {
        (self.0)(state);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Question")
    }
}

/// What waits in a system lane.
pub(crate) enum LaneItem {
    Signal(Signal),
    Question(Question),
}

/// The system lane of one life: what must get through a flooded mailbox.
#[derive(Debug, Default)]
pub(crate) struct SystemLane {
    /// There once something has come: most lives see nothing.
    waiting: Option<Box<Waiting>>,
    /// The task, woken to be interrupted.
    pub(crate) task: Option<Waker>,
}

#[derive(Debug, Default)]
struct Waiting {
    signals: VecDeque<(Signal, bool)>,
    questions: VecDeque<Question>,
    interrupt: Option<ExitReason>,
    /// Whoever awaits a signal inside the task.
    receiver: Option<Waker>,
}

impl SystemLane {
    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// Queues a signal; `linked` tells a link's exit signal from one that was sent. Returns whom to wake.
    pub(crate) fn push(&mut self, signal: Signal, linked: bool) -> [Option<Waker>; 2] {
        self.waiting().signals.push_back((signal, linked));
        self.listeners()
    }

    /// Whoever awaits the lane: the task, unless it listens through a waker of its own; the task is then woken as well, for it may have
    /// stopped to.
    fn listeners(&mut self) -> [Option<Waker>; 2] {
        [self.take_receiver(), self.task.clone()]
    }

    fn take_receiver(&mut self) -> Option<Waker> {
        self.waiting.as_mut()?.receiver.take()
    }

    /// Keeps the waker of one who awaits the lane inside the task; gives the one before.
    pub(crate) fn listen(&mut self, waker: Waker) -> Option<Waker> {
        self.waiting().receiver.replace(waker)
    }

    /// Nobody is to be woken any more. The wakers, to be dropped outside the lock.
    pub(crate) fn take_wakers(&mut self) -> [Option<Waker>; 2] {
        [self.task.take(), self.take_receiver()]
    }

    /// Queues a question, behind the signals. Returns whom to wake.
    pub(crate) fn push_question(&mut self, question: Question) -> [Option<Waker>; 2] {
        self.waiting().questions.push_back(question);
        self.listeners()
    }

    /// The next signal or, for one who `answers`, the next question.
    pub(crate) fn next(&mut self, answers: bool) -> Option<LaneItem> {
        let waiting = self.waiting.as_mut()?;
        if let Some((signal, _)) = waiting.signals.pop_front() {
            return Some(LaneItem::Signal(signal));
        }
        if !answers {
            return None;
        }
        let question = waiting.questions.pop_front();
        if waiting.questions.is_empty() {
            waiting.questions = VecDeque::new();
        }
        question.map(LaneItem::Question)
    }

    /// Nobody will answer: what was asked, to be dropped outside the lock.
    pub(crate) fn take_questions(&mut self) -> Option<impl Sized + use<>> {
        let waiting = self.waiting.as_mut()?;
        let questions = std::mem::take(&mut waiting.questions);
        (!questions.is_empty()).then_some(questions)
    }

    /// Whether there is neither a signal nor a question.
    pub(crate) fn is_empty(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_none_or(|waiting| waiting.signals.is_empty() && waiting.questions.is_empty())
    }

    /// Ends the process at its next suspension. The first reason wins: a process dies once.
    pub(crate) fn interrupt(&mut self, reason: ExitReason) -> [Option<Waker>; 2] {
        self.waiting().interrupt.get_or_insert(reason);
        self.take_wakers()
    }

    pub(crate) fn interruption(&self) -> Option<&ExitReason> {
        self.waiting.as_ref()?.interrupt.as_ref()
    }

    /// Takes back the exit signals a link has left, as `unlink` promises.
    pub(crate) fn forget_link(&mut self, peer: Pid) {
        self.retain(|signal, linked| {
            !(linked && matches!(signal, Signal::Exit { from, .. } if *from == peer))
        });
    }

    /// Takes back the `Down` of a monitor, as `demonitor` promises.
    pub(crate) fn forget_monitor(&mut self, monitor: Ref) {
        self.retain(
            |signal, _| !matches!(signal, Signal::Down { reference, .. } if *reference == monitor),
        );
    }

    fn retain(&mut self, keep: impl Fn(&Signal, bool) -> bool) {
        if let Some(waiting) = &mut self.waiting {
            waiting
                .signals
                .retain(|(signal, linked)| keep(signal, *linked));
        }
    }
}

/// Wakes after the lock is gone. By value: a poll takes no lock, and is ordered after what was put into the lane by the wake alone; tokio's
/// `wake_by_ref` of a task that is to be polled anyway writes nothing.
pub(crate) fn wake_all(wakers: [Option<Waker>; 2]) {
    for waker in wakers.into_iter().flatten() {
        waker.wake();
    }
}

/// How a member turns a room's message into its own.
pub(crate) type Wrap<M> = fn(RoomMessage) -> M;

/// What a member of a room receives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomMessage {
    /// The room it was sent to.
    pub room: Arc<str>,
    /// The bytes, encoded once for all members.
    pub payload: Bytes,
    /// How many earlier frames this member has missed since the last one it got.
    pub missed: u64,
}

/// What becomes of a member of a room that is too slow: one for whom [`ROOM_FRAMES_MAX`](crate::limits::ROOM_FRAMES_MAX) frames wait when
/// the next one comes; for a WebSocket, as many as its `ws::Options` let wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomPolicy {
    /// It loses the frame that waits longest, and the next one it gets says how many it has missed.
    #[default]
    DropOldest,
    /// It leaves the room and is told by an exit signal with the reason [`ExitKind::TooSlow`](crate::ExitKind::TooSlow), which ends a process
    /// that does not trap exits. A WebSocket is closed 1013.
    Disconnect,
}

/// One broadcast on its way to one member.
pub(crate) struct Frame<M> {
    pub(crate) position: u64,
    pub(crate) room: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) wrap: Wrap<M>,
}

/// A frame whose turn has come, with what was missed before it.
pub(crate) struct DueFrame<M> {
    frame: Frame<M>,
    missed: u64,
}

impl<M> DueFrame<M> {
    pub(crate) fn into_message(self) -> M {
        let Frame {
            room,
            payload,
            wrap,
            ..
        } = self.frame;
        wrap(RoomMessage {
            room,
            payload,
            missed: self.missed,
        })
    }
}

/// What few mailboxes have: the bounded lane of room frames, the messages of timers, and a count of what was lost. There once there is any.
pub(crate) struct FrameLane<M>(Option<Box<Frames<M>>>);

struct Frames<M> {
    queue: VecDeque<Frame<M>>,
    missed: u64,
    missed_total: u64,
    pending: Pending<M>,
    /// User messages the overflow policy threw out of the queue.
    evicted: u64,
    /// User messages the overflow policy dropped, the new ones too.
    dropped: u64,
}

impl<M> Default for Frames<M> {
    fn default() -> Frames<M> {
        Frames {
            queue: VecDeque::new(),
            missed: 0,
            missed_total: 0,
            pending: Pending::default(),
            evicted: 0,
            dropped: 0,
        }
    }
}

impl<M> fmt::Debug for FrameLane<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FrameLane")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<M> FrameLane<M> {
    pub(crate) fn new() -> FrameLane<M> {
        FrameLane(None)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |frames| frames.queue.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits for timers.
    pub(super) fn pending(&mut self) -> &mut Pending<M> {
        &mut self.0.get_or_insert_default().pending
    }

    /// What waits for timers, if any ever did.
    pub(super) fn known_pending(&mut self) -> Option<&mut Pending<M>> {
        Some(&mut self.0.as_mut()?.pending)
    }

    /// User messages and frames that were dropped.
    pub(crate) fn lost(&self) -> u64 {
        let frames = self.0.as_ref();
        frames.map_or(0, |frames| frames.dropped + frames.missed_total)
    }

    /// User messages that were thrown out of the queue.
    pub(crate) fn evicted(&self) -> u64 {
        self.0.as_ref().map_or(0, |frames| frames.evicted)
    }

    /// The overflow policy has dropped a user message, which may have stood in the queue.
    #[cold]
    pub(crate) fn note_loss(&mut self, queued: bool) {
        let frames = self.0.get_or_insert_default();
        frames.dropped += 1;
        frames.evicted += u64::from(queued);
    }

    /// Takes out all frames, to be dropped outside the lock, and forgets what was missed.
    pub(crate) fn clear(&mut self) -> VecDeque<Frame<M>> {
        let Some(frames) = &mut self.0 else {
            return VecDeque::new();
        };
        frames.missed = 0;
        frames.missed_total = 0;
        std::mem::take(&mut frames.queue)
    }

    /// Adds a frame. Over its bound a lane gives up its oldest, or the frame itself, as `policy` says.
    pub(crate) fn push(
        &mut self,
        frame: Frame<M>,
        bound: usize,
        policy: RoomPolicy,
    ) -> Result<Option<Frame<M>>, Frame<M>> {
        let frames = self.0.get_or_insert_default();
        let full = frames.queue.len() >= bound;
        if full && policy == RoomPolicy::Disconnect {
            return Err(frame);
        }
        let dropped = if full { frames.queue.pop_front() } else { None };
        if dropped.is_some() {
            frames.missed += 1;
            frames.missed_total += 1;
        }
        frames.queue.push_back(frame);
        Ok(dropped)
    }

    /// The first frame, if `done` user messages are enough for its turn.
    pub(crate) fn pop_due(&mut self, done: u64) -> Option<DueFrame<M>> {
        let frames = self.0.as_mut()?;
        if frames.queue.front()?.position > done {
            return None;
        }
        let frame = frames.queue.pop_front()?;
        Some(DueFrame {
            frame,
            missed: std::mem::take(&mut frames.missed),
        })
    }
}
