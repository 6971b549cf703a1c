//! Deadlines of what is nearly always over long before: calls. The wheel is touched for few of them.
//!
//! A call's deadline is pushed to a list and never taken back. When the list is full, those that are over are forgotten, and it may grow to
//! twice what is left. One timer stands for a whole list, at the earliest deadline in it; when it fires, those that still wait go to the
//! wheel, each once. So a call that is answered soon costs a push, and a list holds few of what is over.
//!
//! A list that fills fast is *hot*: who pushes reads no clock, and a reading that comes after, when the list is next full or at the
//! latest after [`STAMP_EVERY`], stands for all since the one before. So a deadline is never early, and late by no more than that.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::{AtomicBool, Short};
use crate::telemetry::Counters;

use super::{Fire, Payload, TimerRef, Timers};

/// Lists, so that threads do not meet at one lock.
const LISTS: usize = 8;

/// Calls in a list before it is first looked through: few beside what a cache holds.
const LIST_MIN: usize = if cfg!(all(test, mesh_loom)) { 3 } else { 64 };

/// How long a hot list goes without a reading of the clock; one that takes longer to be filled is not hot.
const STAMP_EVERY: Duration = Duration::from_millis(4);

/// Shorter limits are exact in a hot list, too: what comes late comes late by a hundredth at most.
const EXACT_BELOW: Duration =
    Duration::from_millis(if cfg!(all(test, mesh_loom)) { 0 } else { 400 });

/// Something that ends by itself, or at its deadline.
pub(crate) trait Awaited: Send + Sync {
    /// Whether nobody waits any more. May say no for a moment too long.
    fn is_over(&self) -> bool;
    /// The deadline has passed.
    fn expire(&self, counters: &Arc<Counters>);
    /// A timer of its own stands for it from here on, to be cancelled by whoever waits; `false` when nobody does.
    fn keep(&self, timer: TimerRef) -> bool;
}

/// When what is awaited expires.
#[derive(Clone, Copy, Debug)]
enum Due {
    At(Duration),
    /// So long after the next reading of the clock.
    Within(Duration),
}

impl Due {
    /// The deadline, by a clock that was read after this was put into the list.
    fn by(self, now: Duration) -> Duration {
        match self {
            Due::At(deadline) => deadline,
            Due::Within(limit) => now.saturating_add(limit),
        }
    }
}

type Waiting = Vec<(Due, Arc<dyn Awaited>)>;

/// Those that still wait, with their deadlines.
fn stamp(waiting: &mut Waiting, now: Duration) -> Option<Duration> {
    let mut earliest = None;
    waiting.retain_mut(|(due, awaited)| {
        let deadline = due.by(now);
        *due = Due::At(deadline);
        let waits = !awaited.is_over();
        if waits && earliest.is_none_or(|earliest| deadline < earliest) {
            earliest = Some(deadline);
        }
        waits
    });
    earliest
}

#[derive(Default)]
struct List {
    waiting: Waiting,
    /// How many it holds when it is next looked through, unless fewer than [`LIST_MIN`].
    full: usize,
    /// When the list's next timer fires, if there is one.
    armed: Option<Duration>,
    /// Timers of the list that have not fired.
    looks: usize,
    /// When it was last looked through because it was full.
    filled: Duration,
    /// How many have come without a reading of the clock since it was last stamped.
    unread: usize,
}

impl List {
    /// What it holds, if it is to be looked through.
    fn take_full(&mut self) -> Option<Waiting> {
        let full = self.waiting.len() >= self.full.max(LIST_MIN);
        full.then(|| std::mem::take(&mut self.waiting))
    }

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
struct Padded {
    list: Short<List>,
    /// Whether who pushes leaves the clock to others. Written under the lock, and asked again there.
    hot: AtomicBool,
}

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
    /// Sees to it that something awaited expires after `limit`, and not before.
    pub(crate) fn expect_within(self: &Arc<Timers>, limit: Duration, awaited: Arc<dyn Awaited>) {
        let place = place();
        let Padded { list, hot } = &self.lists.0[place];
        if limit >= EXACT_BELOW && hot.load(Ordering::Relaxed) {
            let mut list = list.lock();
            if hot.load(Ordering::Relaxed) {
                list.unread += 1;
                list.waiting.push((Due::Within(limit), awaited));
                let full = list.take_full();
                drop(list);
                if let Some(full) = full {
                    self.forget_over(full, place);
                }
                return;
            }
        }
        self.expect(self.now().saturating_add(limit), awaited);
    }

    /// Sees to it that something awaited expires at its deadline, and not before.
    pub(crate) fn expect(self: &Arc<Timers>, deadline: Duration, awaited: Arc<dyn Awaited>) {
        let place = place();
        let mut list = self.lists.0[place].list.lock();
        list.waiting.push((Due::At(deadline), awaited));
        let arm = list.arm(deadline);
        let full = list.take_full();
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
        let now = self.now();
        let earliest = stamp(&mut waiting, now);
        let full = waiting.len() * 2;
        waiting.shrink_to(full.max(LIST_MIN));
        let Padded { list, hot } = &self.lists.0[place];
        let mut list = list.lock();
        let newer = std::mem::replace(&mut list.waiting, waiting);
        list.waiting.extend(newer);
        list.full = full;
        let since = now.saturating_sub(std::mem::replace(&mut list.filled, now));
        let heats = since < STAMP_EVERY && !hot.load(Ordering::Relaxed);
        if heats {
            hot.store(true, Ordering::Relaxed);
            list.looks += 1;
        }
        // The list's timer may have fired meanwhile, and have seen none of these.
        let arm = earliest.filter(|deadline| list.arm(*deadline));
        drop(list);
        if let Some(deadline) = arm {
            self.look_at(deadline, place);
        }
        if heats {
            self.stamp_at(now.saturating_add(STAMP_EVERY), place);
        }
    }

    /// Sets the timer that stamps a hot list.
    #[cold]
    fn stamp_at(self: &Arc<Timers>, time: Duration, place: usize) {
        let timers = Arc::downgrade(self);
        self.insert(time, Payload::Once(Box::new(Stamp { timers, place })));
    }

    /// Gives what has come to a hot list its deadlines, and lets it cool down when that was little.
    #[cold]
    fn stamp_list(self: &Arc<Timers>, place: usize) {
        let Padded { list, hot } = &self.lists.0[place];
        let mut held = list.lock();
        let mut waiting = std::mem::take(&mut held.waiting);
        let stays = std::mem::take(&mut held.unread) >= LIST_MIN;
        if !stays {
            hot.store(false, Ordering::Relaxed);
            held.looks -= 1;
        }
        drop(held);
        // Read after all of these have come.
        let now = self.now();
        let earliest = stamp(&mut waiting, now);
        let mut held = list.lock();
        let newer = std::mem::replace(&mut held.waiting, waiting);
        held.waiting.extend(newer);
        let arm = earliest.filter(|deadline| held.arm(*deadline));
        drop(held);
        if let Some(deadline) = arm {
            self.look_at(deadline, place);
        }
        if stays {
            self.stamp_at(now.saturating_add(STAMP_EVERY), place);
        }
    }

    /// How many wait in the lists, and how many timers stand for the lists themselves.
    pub(super) fn awaited_len(&self) -> (usize, usize) {
        let (mut waiting, mut looks) = (0, 0);
        for list in &self.lists.0 {
            let list = list.list.lock();
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
        let now = self.now();
        for (due, awaited) in waiting {
            if awaited.is_over() {
                continue;
            }
            let deadline = due.by(now);
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
            let mut list = timers.lists.0[self.place].list.lock();
            // An earlier deadline may have come, and with it a timer of its own; then this one looks a second time, in vain.
            list.armed = None;
            list.looks -= 1;
            let waiting = std::mem::take(&mut list.waiting);
            drop(list);
            timers.look_through(waiting);
        }
    }
}

/// The timer of a hot list.
struct Stamp {
    timers: Weak<Timers>,
    place: usize,
}

impl Fire for Stamp {
    fn fire(&mut self) {
        if let Some(timers) = self.timers.upgrade() {
            timers.stamp_list(self.place);
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
            let held = timers.lists.0[place()].list.lock().waiting.len();
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

    #[test]
    fn hot_list_is_never_early_and_late_by_one_stamp_at_most() {
        let clock = Arc::new(Hand::default());
        let timers = Arc::new(Timers::new(clock.clone(), Arc::default()));
        let within = |ms| {
            let awaited = Arc::new(Waits::default());
            timers.expect_within(Duration::from_millis(ms), awaited.clone());
            awaited
        };
        let fire_at = |ms| {
            clock.0.store(ms, Ordering::Relaxed);
            while timers.fire_due() == Some(Duration::ZERO) {}
        };
        let is_hot = || timers.lists.0[place()].hot.load(Ordering::Relaxed);
        for _ in 0..LIST_MIN {
            within(50).over.store(true, Ordering::Relaxed);
        }
        assert!(is_hot(), "so many came at once");
        fire_at(1);
        let waits = within(500);
        let short = within(100);
        fire_at(3);
        assert_eq!(timers.len(), 2);
        fire_at(4);
        assert!(!is_hot(), "no more came");
        fire_at(100);
        assert!(!short.expired.load(Ordering::Relaxed), "due at 101");
        fire_at(101);
        assert!(short.expired.load(Ordering::Relaxed), "short and exact");
        fire_at(500);
        assert!(!waits.expired.load(Ordering::Relaxed), "due at 501");
        fire_at(504);
        assert!(waits.expired.load(Ordering::Relaxed), "3 ms late");
        let exact = within(10);
        fire_at(513);
        assert!(!exact.expired.load(Ordering::Relaxed));
        fire_at(514);
        assert!(exact.expired.load(Ordering::Relaxed), "the list is cold");
        assert_eq!(timers.len(), 0);
    }
}
