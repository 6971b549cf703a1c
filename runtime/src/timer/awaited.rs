//! Deadlines of what is nearly always over long before: calls. The wheel is touched for few of them.
//!
//! A call's deadline is pushed to a list and never taken back. When the list is full, those that are over are forgotten, and it may grow to
//! twice what is left. One timer stands for a whole list, at the earliest deadline in it; when it fires, those that still wait go to the
//! wheel, each once. So a call that is answered soon costs a push, none is ever late, and a list holds few of what is over.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::Short;
use crate::telemetry::Counters;

use super::{Fire, Payload, TimerRef, Timers};

/// Lists, so that threads do not meet at one lock.
const LISTS: usize = 8;

/// Calls in a list before it is first looked through: few beside what a cache holds.
const LIST_MIN: usize = if cfg!(all(test, mesh_loom)) { 3 } else { 64 };

/// Something that ends by itself, or at its deadline.
pub(crate) trait Awaited: Send + Sync {
    /// Whether nobody waits any more. May say no for a moment too long.
    fn is_over(&self) -> bool;
    /// The deadline has passed.
    fn expire(&self, counters: &Arc<Counters>);
    /// A timer of its own stands for it from here on, to be cancelled by whoever waits; `false` when nobody does.
    fn keep(&self, timer: TimerRef) -> bool;
}

type Waiting = Vec<(Duration, Arc<dyn Awaited>)>;

#[derive(Default)]
struct List {
    waiting: Waiting,
    /// How many it holds when it is next looked through, unless fewer than [`LIST_MIN`].
    full: usize,
    /// When the list's next timer fires, if there is one.
    armed: Option<Duration>,
    /// Timers of the list that have not fired.
    looks: usize,
}

impl List {
    /// Whether the list needs a timer at this deadline, which counts as set from here on.
    fn arm(&mut self, deadline: Duration) -> bool {
        let earlier = self.armed.is_none_or(|armed| deadline < armed);
        if earlier {
            self.armed = Some(deadline);
            self.looks += 1;
        }
        earlier
    }
}

/// A list in a cache line pair of its own.
#[derive(Default)]
#[repr(align(128))]
struct Padded(Short<List>);

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
        let arm = list.arm(deadline);
        let full = (list.waiting.len() >= list.full.max(LIST_MIN))
            .then(|| std::mem::take(&mut list.waiting));
        drop(list);
        if arm {
            self.look_at(deadline, place);
        }
        if let Some(full) = full {
            self.forget_over(full, place);
        }
    }

    /// Sets the timer of a whole list.
    #[cold]
    fn look_at(self: &Arc<Timers>, deadline: Duration, place: usize) {
        let timers = Arc::downgrade(self);
        self.insert(deadline, Payload::Once(Box::new(Look { timers, place })));
    }

    /// Puts back those of a full list that still wait. The others are dropped without the lock.
    #[cold]
    fn forget_over(self: &Arc<Timers>, mut waiting: Waiting, place: usize) {
        waiting.retain(|(_, awaited)| !awaited.is_over());
        let full = waiting.len() * 2;
        waiting.shrink_to(full.max(LIST_MIN));
        let earliest = waiting.iter().map(|(deadline, _)| *deadline).min();
        let mut list = self.lists.0[place].0.lock();
        let newer = std::mem::replace(&mut list.waiting, waiting);
        list.waiting.extend(newer);
        list.full = full;
        // The list's timer may have fired meanwhile, and have seen none of these.
        let arm = earliest.filter(|deadline| list.arm(*deadline));
        drop(list);
        if let Some(deadline) = arm {
            self.look_at(deadline, place);
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
    fn look_through(&self, waiting: Waiting) {
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
            let timer = self.insert(deadline, Payload::Once(Box::new(expiry)));
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
    fn fire(&mut self) {
        if let Some(timers) = self.timers.upgrade() {
            let mut list = timers.lists.0[self.place].0.lock();
            // An earlier deadline may have come, and with it a timer of its own; then this one looks a second time, in vain.
            list.armed = None;
            list.looks -= 1;
            let waiting = std::mem::take(&mut list.waiting);
            drop(list);
            timers.look_through(waiting);
        }
    }
}

/// The timer of one call that has waited for long.
struct Expiry {
    awaited: Arc<dyn Awaited>,
    counters: Arc<Counters>,
}

impl Fire for Expiry {
    fn fire(&mut self) {
        self.awaited.expire(&self.counters);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use crate::clock::Clock;
    use crate::telemetry::Counters;
    use crate::timer::{TimerRef, Timers};

    use super::{Awaited, LIST_MIN, place};

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    #[derive(Default)]
    struct Waits {
        over: AtomicBool,
        expired: AtomicBool,
    }

    impl Awaited for Waits {
        fn is_over(&self) -> bool {
            self.over.load(Ordering::Relaxed)
        }

        fn expire(&self, _counters: &Arc<Counters>) {
            self.expired.store(true, Ordering::Relaxed);
        }

        fn keep(&self, _timer: TimerRef) -> bool {
            true
        }
    }

    #[test]
    fn list_forgets_what_is_over_and_what_waits_expires_at_its_deadline() {
        let clock = Arc::new(Hand::default());
        let timers = Arc::new(Timers::new(clock.clone(), Arc::default()));
        let due = |number: usize| 1_000 - number as u64 % 7 * 100;
        let mut waiting = Vec::new();
        for number in 0..LIST_MIN * 20 {
            let awaited = Arc::new(Waits::default());
            let deadline = Duration::from_millis(due(number));
            timers.expect(deadline, awaited.clone());
            if number % 10 == 0 {
                waiting.push((due(number), awaited));
            } else {
                awaited.over.store(true, Ordering::Relaxed);
            }
            let held = timers.lists.0[place()].0.lock().waiting.len();
            assert!(held <= LIST_MIN.max(waiting.len() * 2), "it holds {held}");
        }
        assert_eq!(timers.len(), waiting.len());
        for now in [399, 400, 401, 650, 999, 1_000] {
            clock.0.store(now, Ordering::Relaxed);
            while timers.fire_due() == Some(Duration::ZERO) {}
            for (due, awaited) in &waiting {
                let expired = awaited.expired.load(Ordering::Relaxed);
                assert_eq!(expired, *due <= now, "due at {due}, now {now}");
            }
        }
        assert_eq!(timers.len(), 0);
    }
}
