//! Deadlines of what is nearly always over long before: calls. The wheel is touched for few of them.
//!
//! A call's deadline is pushed to a list and never taken back. One timer stands for a whole list, at the earliest deadline in it; when
//! it fires, or when the list is full, those that are over are forgotten and the others go to the wheel, each once. So a call
//! that is answered soon costs a push, none is ever late, and the list holds a bounded number of what is over.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::pid::Pid;
use crate::sync::Mutex;
use crate::telemetry::Counters;

use super::{Fire, Payload, TimerRef, Timers};

/// Lists, so that threads do not meet at one lock.
const LISTS: usize = 8;

/// Calls in a list before it is looked through: many beside those that usually wait at once, few beside what a cache holds.
const LIST_MAX: usize = if cfg!(all(test, mesh_loom)) { 3 } else { 512 };

/// Something that ends by itself, or at its deadline.
pub(crate) trait Awaited: Send + Sync {
    /// Whether nobody waits any more. May say no for a moment too long.
    fn is_over(&self) -> bool;
    /// The deadline has passed.
    fn expire(&self, counters: &Arc<Counters>);
    /// A timer of its own stands for it from here on, to be cancelled by whoever waits; `false` when nobody does.
    fn keep(&self, timer: TimerRef) -> bool;
}

#[derive(Default)]
struct List {
    waiting: Vec<(Duration, Arc<dyn Awaited>)>,
    /// When the list's next timer fires, if there is one.
    armed: Option<Duration>,
    /// Timers of the list that have not fired.
    looks: usize,
}

/// A list in a cache line pair of its own.
#[derive(Default)]
#[repr(align(128))]
struct Padded(Mutex<List>);

#[derive(Default)]
pub(super) struct Lists([Padded; LISTS]);

/// This thread's list.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    PLACE.with(|place| {
        if place.get() == usize::MAX {
            place.set(NEXT.fetch_add(1, Ordering::Relaxed) % LISTS);
        }
        place.get()
    })
}

impl Timers {
    /// Sees to it that something awaited expires at its deadline, and not before.
    pub(crate) fn expect(self: &Arc<Timers>, deadline: Duration, awaited: Arc<dyn Awaited>) {
        let place = place();
        let mut list = self.lists.0[place].0.lock();
        list.waiting.push((deadline, awaited));
        let arm = list.armed.is_none_or(|armed| deadline < armed);
        if arm {
            list.armed = Some(deadline);
            list.looks += 1;
        }
        let full = (list.waiting.len() >= LIST_MAX).then(|| std::mem::take(&mut list.waiting));
        drop(list);
        if arm {
            let timers = Arc::downgrade(self);
            self.insert(
                deadline,
                None,
                Payload::Once(Box::new(Look { timers, place })),
            );
        }
        if let Some(full) = full {
            self.look_through(full);
        }
    }

    /// How many wait in the lists, and how many timers stand for the lists themselves.
    pub(super) fn awaited_len(&self) -> (usize, usize) {
        let (mut waiting, mut looks) = (0, 0);
        for list in &self.lists.0 {
            let list = list.0.lock();
            waiting += list
                .waiting
                .iter()
                .filter(|(_, awaited)| !awaited.is_over())
                .count();
            looks += list.looks;
        }
        (waiting, looks)
    }

    #[cold]
    fn look_through(&self, waiting: Vec<(Duration, Arc<dyn Awaited>)>) {
        let now = self.clock.now();
        for (deadline, awaited) in waiting {
            if awaited.is_over() {
                continue;
            }
            if deadline <= now {
                awaited.expire(&self.counters);
                continue;
            }
            let expiry = Expiry {
                awaited: awaited.clone(),
                counters: self.counters.clone(),
            };
            let timer = self.insert(deadline, None, Payload::Once(Box::new(expiry)));
            if !awaited.keep(timer) {
                self.cancel(timer);
            }
        }
    }
}

/// The timer of a whole list.
struct Look {
    timers: Weak<Timers>,
    place: usize,
}

impl Fire for Look {
    fn fire(&mut self, _owner: Option<Pid>) -> bool {
        if let Some(timers) = self.timers.upgrade() {
            let mut list = timers.lists.0[self.place].0.lock();
            // An earlier deadline may have come, and with it a timer of its own; then this one looks a second time, in vain.
            list.armed = None;
            list.looks -= 1;
            let waiting = std::mem::take(&mut list.waiting);
            drop(list);
            timers.look_through(waiting);
        }
        false
    }
}

/// The timer of one call that has waited for long.
struct Expiry {
    awaited: Arc<dyn Awaited>,
    counters: Arc<Counters>,
}

impl Fire for Expiry {
    fn fire(&mut self, _owner: Option<Pid>) -> bool {
        self.awaited.expire(&self.counters);
        false
    }
}
