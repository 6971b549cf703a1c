//! `ReplyTo<T>`: the token a call carries, and the rule that settles it exactly once.
//!
//! A token dropped without an answer must tell *why*: its holder may live on (`NoReply`), may be dying (`Exited`), or a full
//! mailbox may have thrown the message away (`Full`). The thread that drops knows, so the fate of dropped tokens is a
//! thread-local that `process/run.rs` sets. Inside a process a dropped token waits in a list until the
//! handler has ended, because only then it is known whether the process lives on. Once it is to end, the list waits for the end of the
//! life: whoever is told `Exited` and calls again must not meet the mailbox of the dead.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::CallError;
use crate::sync::Mutex;
use crate::telemetry::{Counters, LostTo};

/// Answers one call. Carried by the call's message; may be kept and used later, from anywhere.
///
/// One pointer wide. Dropped without [`ReplyTo::reply`], the caller gets [`CallError::NoReply`] if the holder lives and
/// [`CallError::Exited`] if it was dropped because its holder died.
pub struct ReplyTo<T: Send + 'static>(Option<Arc<Slot<T>>>);

pub(crate) struct Slot<T> {
    state: Mutex<State<T>>,
    counters: Arc<Counters>,
}

enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, CallError>),
    Over,
}

impl<T: Send + 'static> ReplyTo<T> {
    pub(crate) fn new(counters: &Arc<Counters>) -> (ReplyTo<T>, Arc<Slot<T>>) {
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Waiting(None)),
            counters: counters.clone(),
        });
        (ReplyTo(Some(slot.clone())), slot)
    }

    /// Answers. An answer nobody waits for any more is dropped and counted.
    pub fn reply(mut self, value: T) {
        if let Some(slot) = self.0.take()
            && !slot.settle(Ok(value))
        {
            slot.counters.dead_letter::<T>(None, LostTo::LateReply);
        }
    }
}

impl<T: Send + 'static> Drop for ReplyTo<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            drop_unanswered(slot);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for ReplyTo<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReplyTo")
    }
}

impl<T> Slot<T> {
    /// Settles the call if nobody has yet. The value is never dropped, and nobody woken, under the lock.
    fn settle(&self, result: Result<T, CallError>) -> bool {
        let mut state = self.state.lock();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Done(result);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            return true;
        }
        drop(state);
        false
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Result<T, CallError>> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Waiting(waker) => {
                let old = match waker {
                    Some(known) if known.will_wake(context.waker()) => None,
                    slot => slot.replace(context.waker().clone()),
                };
                drop(state);
                drop(old);
                Poll::Pending
            }
            State::Done(_) => match std::mem::replace(&mut *state, State::Over) {
                State::Done(result) => Poll::Ready(result),
                State::Waiting(_) | State::Over => {
                    unreachable!("the state was Done under the same lock")
                }
            },
            State::Over => Poll::Ready(Err(CallError::Timeout)),
        }
    }

    /// The caller waits no longer; whatever comes now is late.
    pub(crate) fn abandon(&self) -> Option<Result<T, CallError>> {
        // A statement of its own: the waker that is replaced must be dropped after the lock.
        let before = std::mem::replace(&mut *self.state.lock(), State::Over);
        match before {
            State::Done(result) => Some(result),
            State::Waiting(_) | State::Over => None,
        }
    }
}

pub(crate) trait Unanswered: Send + Sync {
    fn settle_unanswered(&self, error: CallError);
}

/// Tokens a life has dropped and whose callers are yet to be told. Almost always none.
#[derive(Default)]
pub(crate) struct Kept(Option<Box<[Arc<dyn Unanswered>]>>);

impl Kept {
    pub(crate) fn settle(&mut self, reason: &crate::exit::ExitReason) {
        for slot in self.0.take().into_iter().flatten() {
            slot.settle_unanswered(CallError::Exited(reason.clone()));
        }
    }
}

impl<T: Send> Unanswered for Slot<T> {
    fn settle_unanswered(&self, error: CallError) {
        self.settle(Err(error));
    }
}

/// What becomes of tokens this thread drops.
enum Fate {
    /// Outside any process: the holder lives.
    NoReply,
    /// Inside a process whose fate is open: collect.
    Open(Vec<Arc<dyn Unanswered>>),
    /// Inside a process that only cleans up before its end: collect until it is over.
    Ending(Vec<Arc<dyn Unanswered>>),
    /// Settle at once with this.
    As(CallError),
}

#[cfg(not(all(test, mesh_loom)))]
thread_local! {
    static FATE: RefCell<Fate> = const { RefCell::new(Fate::NoReply) };
}

#[cfg(all(test, mesh_loom))]
loom::thread_local! {
    static FATE: RefCell<Fate> = RefCell::new(Fate::NoReply);
}

fn drop_unanswered<T: Send + 'static>(slot: Arc<Slot<T>>) {
    let error = FATE.try_with(|fate| match &mut *fate.borrow_mut() {
        Fate::NoReply => Some(CallError::NoReply),
        Fate::Open(waiting) | Fate::Ending(waiting) => {
            waiting.push(slot.clone());
            None
        }
        Fate::As(error) => Some(error.clone()),
    });
    if let Some(error) = error.unwrap_or(Some(CallError::NoReply)) {
        slot.settle(Err(error));
    }
}

/// A stretch of a process's own code. Tokens dropped inside wait for [`Holder::living`] or [`Holder::dead`].
pub(crate) struct Holder {
    outer: Option<Fate>,
}

impl Holder {
    /// Goes on where [`Holder::living`] left off: a life that has begun to end keeps what it drops.
    pub(crate) fn enter(kept: &mut Kept) -> Holder {
        let fate = match kept.0.take() {
            Some(waiting) => Fate::Ending(waiting.into_vec()),
            None => Fate::Open(Vec::new()),
        };
        Holder {
            outer: Some(FATE.with(|current| current.replace(fate))),
        }
    }

    fn leave(&mut self) -> Option<Fate> {
        let outer = self.outer.take()?;
        Some(FATE.with(|fate| fate.replace(outer)))
    }

    /// The process lives on: what it dropped is not answered, unless it is ending.
    pub(crate) fn living(mut self, kept: &mut Kept) {
        match self.leave() {
            Some(Fate::Open(waiting)) => settle_all(waiting),
            Some(Fate::Ending(waiting)) => kept.0 = Some(waiting.into_boxed_slice()),
            _ => {}
        }
    }

    /// The process is over: what it dropped is told when the life has been let go.
    pub(crate) fn dead(mut self, kept: &mut Kept) {
        if let Some(Fate::Open(waiting) | Fate::Ending(waiting)) = self.leave()
            && !waiting.is_empty()
        {
            kept.0 = Some(waiting.into_boxed_slice());
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(Fate::Open(waiting) | Fate::Ending(waiting)) = self.leave() {
            settle_all(waiting);
        }
    }
}

fn settle_all(waiting: Vec<Arc<dyn Unanswered>>) {
    for slot in waiting {
        slot.settle_unanswered(CallError::NoReply);
    }
}

/// Between two messages of one poll: the process lives, so what it dropped is not answered.
pub(crate) fn settle_living() {
    let waiting = FATE.with(|fate| match &mut *fate.borrow_mut() {
        Fate::Open(waiting) if !waiting.is_empty() => std::mem::take(waiting),
        _ => Vec::new(),
    });
    settle_all(waiting);
}

/// This process goes on only to clean up: what it has dropped, and from here on drops, is told at its end.
pub(crate) fn begin_to_end() {
    FATE.with(|fate| {
        let mut fate = fate.borrow_mut();
        if let Fate::Open(waiting) = &mut *fate {
            *fate = Fate::Ending(std::mem::take(waiting));
        }
    });
}

/// Runs `work`, settling every token it drops with `error`.
pub(crate) fn settling<R>(error: CallError, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Fate>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(outer) = self.0.take() {
                drop(FATE.with(|fate| fate.replace(outer)));
            }
        }
    }
    let _restore = Restore(Some(FATE.with(|fate| fate.replace(Fate::As(error)))));
    work()
}

#[cfg(all(test, mesh_loom))]
mod every_order;
