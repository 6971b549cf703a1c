//! `ReplyTo<T>`: the token a call carries, and the rule that settles it exactly once.
//!
//! A token dropped without an answer must tell *why*: its holder may live on (`NoReply`), may be dying (`Exited`), or a full
//! mailbox may have thrown the message away (`Full`). The thread that drops knows, so the fate of dropped tokens is a
//! thread-local that `process/run.rs` sets. Inside a process a dropped token waits in a list until the
//! handler has ended, because only then it is known whether the process lives on. Once it is to end, the list waits for the end of the
//! life: whoever is told `Exited` and calls again must not meet the mailbox of the dead.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use crate::error::CallError;
use crate::sync::{AtomicBool, Short};
use crate::telemetry::{Counters, LostTo};

/// Answers one call. Carried by the call's message; may be kept and used later, from anywhere.
///
/// One pointer wide. Dropped without [`ReplyTo::reply`], the caller gets [`CallError::NoReply`] if the holder lives and
/// [`CallError::Exited`] if it was dropped because its holder died.
pub struct ReplyTo<T: Send + 'static>(Option<Arc<Slot<T>>>);

pub(crate) struct Slot<T> {
    state: Short<Held<T>>,
    /// Whether nobody waits any more; told late to those who do not take the lock.
    over: AtomicBool,
}

struct Held<T> {
    state: State<T>,
    /// The timer of a call that has waited for long, as a number: the caller's affair.
    timer: Option<u64>,
    /// Where a reply that comes too late is counted.
    late: Option<Arc<Counters>>,
}

enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, CallError>),
    Over,
}

impl<T: Send + 'static> ReplyTo<T> {
    /// A token and its slot, whose answer wakes `waker`.
    pub(crate) fn new(waker: Waker) -> (ReplyTo<T>, Arc<Slot<T>>) {
        let slot = Arc::new(Slot {
            state: Short::new(Held {
                state: State::Waiting(Some(waker)),
                timer: None,
                late: None,
            }),
            over: AtomicBool::new(false),
        });
        (ReplyTo(Some(slot.clone())), slot)
    }

    /// Answers. An answer nobody waits for any more is dropped and counted.
    pub fn reply(mut self, value: T) {
        if let Some(slot) = self.0.take()
            && !slot.settle(Ok(value))
        {
            slot.count_late();
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
        let mut held = self.state.lock();
        if let State::Waiting(waker) = &mut held.state {
            let waker = waker.take();
            held.state = State::Done(result);
            drop(held);
            if let Some(waker) = waker {
                waker.wake();
            }
            return true;
        }
        drop(held);
        false
    }

    #[cold]
    fn count_late(&self) {
        let late = self.state.lock().late.take();
        if let Some(counters) = late {
            counters.dead_letter::<T>(None, LostTo::LateReply);
        }
    }

    /// The result, and the timer that was kept, for the caller to cancel.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<(Result<T, CallError>, Option<u64>)> {
        let mut held = self.state.lock();
        match &mut held.state {
            State::Waiting(waker) => {
                let old = match waker {
                    Some(known) if known.will_wake(context.waker()) => None,
                    slot => slot.replace(context.waker().clone()),
                };
                drop(held);
                drop(old);
                Poll::Pending
            }
            State::Done(_) => match std::mem::replace(&mut held.state, State::Over) {
                State::Done(result) => {
                    let timer = held.timer.take();
                    drop(held);
                    self.over.store(true, Ordering::Relaxed);
                    Poll::Ready((result, timer))
                }
                State::Waiting(_) | State::Over => {
                    unreachable!("the state was Done under the same lock")
                }
            },
            State::Over => Poll::Ready((Err(CallError::Timeout), None)),
        }
    }

    /// The caller waits no longer; whatever comes now is late, and counted. Gives the result that was not fetched, and the timer that was kept.
    pub(crate) fn abandon(
        &self,
        counters: &Arc<Counters>,
    ) -> (Option<Result<T, CallError>>, Option<u64>) {
        let mut held = self.state.lock();
        // What is replaced must be dropped after the lock.
        let before = std::mem::replace(&mut held.state, State::Over);
        if matches!(before, State::Waiting(_)) {
            held.late = Some(counters.clone());
        }
        let timer = held.timer.take();
        drop(held);
        self.over.store(true, Ordering::Relaxed);
        match before {
            State::Done(result) => (Some(result), timer),
            State::Waiting(_) | State::Over => (None, timer),
        }
    }

    /// Whether nobody waits any more. May say no for a moment too long.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The deadline has passed: whatever comes now is late, and counted.
    pub(crate) fn expire(&self, counters: &Arc<Counters>) {
        let mut held = self.state.lock();
        if let State::Waiting(waker) = &mut held.state {
            let waker = waker.take();
            held.state = State::Done(Err(CallError::Timeout));
            held.late = Some(counters.clone());
            drop(held);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Keeps the number of a timer for whoever fetches the result. `false` when there is one already.
    pub(crate) fn keep(&self, timer: u64) -> bool {
        let mut held = self.state.lock();
        let waits = matches!(held.state, State::Waiting(_));
        if waits {
            held.timer = Some(timer);
        }
        waits
    }
}

pub(crate) trait Unanswered: Send + Sync {
    fn settle_unanswered(&self, error: CallError);
}

/// Tokens a life has dropped and whose callers are yet to be told. Almost always none.
#[derive(Default)]
pub(crate) struct Kept(Option<Box<Waiting>>);

impl Kept {
    pub(crate) fn settle(&mut self, reason: &crate::exit::ExitReason) {
        for slot in self.0.take().into_iter().flat_map(|kept| *kept) {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Outside any process: the holder lives.
    NoReply,
    /// Inside a process whose fate is open: collect.
    Open,
    /// Inside a process that only cleans up before its end: collect until it is over.
    Ending,
    /// Settle at once with what `AS` says.
    As,
}

type Waiting = Vec<Arc<dyn Unanswered>>;

/// Cells without a destructor, because every poll and every message looks at them; the rest is touched when a token was dropped.
struct Fates {
    fate: Cell<Fate>,
    /// Whether `WAITING` holds anything.
    waits: Cell<bool>,
}

impl Fates {
    const fn new() -> Fates {
        Fates {
            fate: Cell::new(Fate::NoReply),
            waits: Cell::new(false),
        }
    }

    #[cold]
    fn wait_for(&self, waiting: Waiting) {
        self.waits.set(!waiting.is_empty());
        let before = WAITING.with(|own| own.replace(waiting));
        drop(before);
    }
}

#[cfg(not(all(test, mesh_loom)))]
thread_local! {
    static FATES: Fates = const { Fates::new() };
    static WAITING: RefCell<Waiting> = const { RefCell::new(Vec::new()) };
    /// What waited in the stretches around a nested one.
    static STASH: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static AS: RefCell<Option<CallError>> = const { RefCell::new(None) };
}

#[cfg(all(test, mesh_loom))]
loom::thread_local! {
    static FATES: Fates = Fates::new();
    static WAITING: RefCell<Waiting> = RefCell::new(Vec::new());
    static STASH: RefCell<Vec<Waiting>> = RefCell::new(Vec::new());
    static AS: RefCell<Option<CallError>> = RefCell::new(None);
}

#[cold]
fn drop_unanswered<T: Send + 'static>(slot: Arc<Slot<T>>) {
    let error = match FATES.try_with(|fates| fates.fate.get()) {
        Ok(Fate::Open | Fate::Ending) => {
            let mut slot = Some(slot.clone());
            let kept = WAITING.try_with(|waiting| {
                if let Some(slot) = slot.take() {
                    waiting.borrow_mut().push(slot);
                }
            });
            if kept.is_ok() {
                FATES.with(|fates| fates.waits.set(true));
                return;
            }
            CallError::NoReply
        }
        Ok(Fate::As) => AS
            .try_with(|error| error.borrow().clone())
            .ok()
            .flatten()
            .unwrap_or(CallError::NoReply),
        Ok(Fate::NoReply) | Err(_) => CallError::NoReply,
    };
    slot.settle(Err(error));
}

/// What waits on this thread.
fn take_waiting(fates: &Fates) -> Waiting {
    if fates.waits.replace(false) {
        WAITING.with(RefCell::take)
    } else {
        Vec::new()
    }
}

/// A stretch of a process's own code. Tokens dropped inside wait for [`Holder::living`] or [`Holder::dead`].
pub(crate) struct Holder {
    outer: Fate,
    /// Whether what waited around this stretch is in `STASH`.
    stashed: bool,
}

impl Holder {
    /// Goes on where [`Holder::living`] left off: a life that has begun to end keeps what it drops.
    #[inline]
    pub(crate) fn enter(kept: &mut Kept) -> Holder {
        FATES.with(|fates| {
            let stashed = fates.waits.get();
            if stashed {
                let waiting = take_waiting(fates);
                STASH.with(|stash| stash.borrow_mut().push(waiting));
            }
            let fate = match kept.0.take() {
                Some(waiting) => {
                    fates.wait_for(*waiting);
                    Fate::Ending
                }
                None => Fate::Open,
            };
            Holder {
                outer: fates.fate.replace(fate),
                stashed,
            }
        })
    }

    /// What was dropped, and whether the life is ending. The stretch around goes on.
    #[cold]
    fn leave(&self) -> (Fate, Waiting) {
        FATES.with(|fates| {
            let waiting = take_waiting(fates);
            if self.stashed {
                let outer = STASH.with(|stash| stash.borrow_mut().pop());
                fates.wait_for(outer.unwrap_or_default());
            }
            (fates.fate.replace(self.outer), waiting)
        })
    }

    /// The process lives on: what it dropped is not answered, unless it is ending.
    #[inline]
    pub(crate) fn living(self, kept: &mut Kept) {
        let plain = FATES.with(|fates| {
            let plain = !fates.waits.get() && !self.stashed && fates.fate.get() == Fate::Open;
            if plain {
                fates.fate.set(self.outer);
            }
            plain
        });
        if !plain {
            match self.leave() {
                (Fate::Ending, waiting) => kept.0 = Some(Box::new(waiting)),
                (_, waiting) => settle_all(waiting),
            }
        }
        std::mem::forget(self);
    }

    /// The process is over: what it dropped is told when the life has been let go.
    pub(crate) fn dead(self, kept: &mut Kept) {
        let (_, waiting) = self.leave();
        if !waiting.is_empty() {
            kept.0 = Some(Box::new(waiting));
        }
        std::mem::forget(self);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let (_, waiting) = self.leave();
        settle_all(waiting);
    }
}

#[cold]
fn settle_all(waiting: Waiting) {
    for slot in waiting {
        slot.settle_unanswered(CallError::NoReply);
    }
}

/// Between two messages of one poll: the process lives, so what it dropped is not answered.
#[inline]
pub(crate) fn settle_living() {
    FATES.with(|fates| {
        if fates.waits.get() && fates.fate.get() == Fate::Open {
            settle_all(take_waiting(fates));
        }
    });
}

/// This process goes on only to clean up: what it has dropped, and from here on drops, is told at its end.
pub(crate) fn begin_to_end() {
    FATES.with(|fates| {
        if fates.fate.get() == Fate::Open {
            fates.fate.set(Fate::Ending);
        }
    });
}

/// Runs `work`, settling every token it drops with `error`.
pub(crate) fn settling<R>(error: CallError, work: impl FnOnce() -> R) -> R {
    struct Restore(Fate, Option<CallError>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FATES.with(|fates| fates.fate.set(self.0));
            let inner = AS.with(|error| error.replace(self.1.take()));
            drop(inner);
        }
    }
    let outer = AS.with(|current| current.replace(Some(error)));
    let _restore = Restore(FATES.with(|fates| fates.fate.replace(Fate::As)), outer);
    work()
}

#[cfg(all(test, mesh_loom))]
mod every_order;
