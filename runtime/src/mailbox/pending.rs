//! Messages of timers: they wait in the mailbox of the life they are for, and go with it.
//!
//! Most timers are cancelled long before they are due. So a new one is only listed here, which takes the lock of the mailbox and no other, and
//! one timer of the wheel stands for the whole list, at the first deadline in it. When that comes, those that still wait go to the wheel, each
//! once.

use std::collections::VecDeque;

use crate::timer::{Held, TimerRef};

use super::{Mailbox, Push};

/// Places without a message that are worth keeping; what a flood has left beyond is given back.
const SPARE_MAX: usize = 64;

/// How many of a list are looked at under one lock.
const BATCH: usize = if cfg!(all(test, mesh_loom)) { 1 } else { 256 };

/// No place.
const NIL: u32 = u32::MAX;

/// What waits for the timers of one life.
pub(crate) struct Pending<M> {
    places: Vec<Place<M>>,
    free: u32,
    len: u32,
    /// Taken since somebody looked at what the end of `places` is good for.
    taken: u32,
    /// The number of the last timer.
    number: u32,
    /// Timers that the wheel does not know, in the order they were set, and some that are over.
    listed: VecDeque<Held>,
    /// How many of those are not over.
    waiting: u32,
    /// The timer that stands for the list: when it is due, and its number in the wheel.
    look: Option<(u64, u64)>,
}

enum Place<M> {
    /// With the next one that is free.
    Free(u32),
    Used(Used<M>),
}

struct Used<M> {
    number: u32,
    /// Whether the wheel does not know of it.
    listed: bool,
    /// The tick it is due at or, when it is not listed, its number in the wheel.
    when: u64,
    /// Its message, unless it is an interval's.
    message: Option<M>,
}

impl<M> Used<M> {
    fn is_entry(&self, timer: u64) -> bool {
        !self.listed && self.when == timer
    }
}

/// What was kept for a timer that is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<M> {
    /// When it would have been due, of one that the wheel does not know.
    pub(crate) tick: Option<u64>,
    /// Its number in the wheel otherwise.
    pub(crate) timer: u64,
    pub(crate) message: Option<M>,
}

impl<M> Default for Pending<M> {
    fn default() -> Pending<M> {
        Pending {
            places: Vec::new(),
            free: NIL,
            len: 0,
            taken: 0,
            number: 0,
            listed: VecDeque::new(),
            waiting: 0,
            look: None,
        }
    }
}

impl<M> Pending<M> {
    /// Keeps a message for a timer that is only listed.
    fn list(&mut self, tick: u64, message: M) -> Held {
        if self.listed.len() >= 2 * self.waiting as usize + SPARE_MAX {
            self.forget_over();
        }
        let number = self.next_number();
        let place = self.keep(Used {
            number,
            listed: true,
            when: tick,
            message: Some(message),
        });
        let held = Held { place, number };
        self.listed.push_back(held);
        self.waiting += 1;
        held
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Half the list is over, or more: each that was put there pays for looking at it once.
    #[cold]
    fn forget_over(&mut self) {
        let places = &self.places;
        self.listed.retain(|held| {
            matches!(places.get(held.place as usize), Some(Place::Used(used)) if used.number == held.number && used.listed)
        });
        self.listed.shrink_to(2 * self.listed.len() + SPARE_MAX);
    }

    fn keep(&mut self, used: Used<M>) -> u32 {
        let used = Place::Used(used);
        let at = if self.free == NIL {
            let at =
                u32::try_from(self.places.len()).expect("fewer than 2^32 timers fit in memory");
            self.places.push(used);
            at
        } else {
            let at = self.free;
            if let Some(place) = self.places.get_mut(at as usize)
                && let Place::Free(next) = std::mem::replace(place, used)
            {
                self.free = next;
            }
            at
        };
        self.len += 1;
        at
    }

    /// Takes what was kept at a place, if it is for the timer in question; `None` when that is gone.
    #[inline]
    fn take(&mut self, at: u32, fits: impl FnOnce(&Used<M>) -> bool) -> Option<Taken<M>> {
        let place = self.places.get_mut(at as usize)?;
        match place {
            Place::Used(used) if fits(used) => {}
            _ => return None,
        }
        let Place::Used(used) = std::mem::replace(place, Place::Free(self.free)) else {
            return None;
        };
        self.free = at;
        self.len -= 1;
        self.taken = self.taken.saturating_add(1);
        if used.listed {
            self.waiting -= 1;
        }
        // Once for as many as there are places, so that looking costs each of them one.
        if self.places.len() > SPARE_MAX
            && (self.len == 0 || self.taken as usize >= self.places.len())
        {
            self.trim();
        }
        Some(Taken {
            tick: used.listed.then_some(used.when),
            timer: used.when,
            message: used.message,
        })
    }

    /// Gives back the places behind the last that is used. What is free before it is used from the front, so that the end comes free.
    #[cold]
    fn trim(&mut self) {
        let used = |place: &Place<M>| matches!(place, Place::Used(_));
        let end = self
            .places
            .iter()
            .rposition(used)
            .map_or(0, |last| last + 1);
        self.places.truncate(end);
        self.places.shrink_to(end);
        self.free = NIL;
        self.taken = 0;
        for (at, place) in self.places.iter_mut().enumerate().rev() {
            if let Place::Free(next) = place {
                *next = self.free;
                self.free = at as u32;
            }
        }
        self.forget_over();
    }

    /// Looks at so many of the list, the first first: hands out what is due at `tick`, and gives the rest to the wheel, which is told the place
    /// and when.
    fn unlist(
        &mut self,
        count: usize,
        tick: Option<u64>,
        mut deliver: impl FnMut(u32, u64) -> TimerRef,
        due: &mut Vec<M>,
    ) {
        for _ in 0..count {
            let Some(held) = self.listed.pop_front() else {
                return;
            };
            let Some(Place::Used(used)) = self.places.get_mut(held.place as usize) else {
                continue;
            };
            if used.number != held.number || !used.listed {
                continue;
            }
            if tick.is_some_and(|tick| used.when <= tick) {
                let taken = self.take(held.place, |_| true);
                due.extend(taken.and_then(|taken| taken.message));
            } else {
                used.when = deliver(held.place, used.when).to_raw();
                used.listed = false;
                self.waiting -= 1;
            }
        }
    }

    /// The wheel's timer for the list, if there is one, which is not its from here on.
    pub(crate) fn take_look(&mut self) -> Option<TimerRef> {
        let (_, look) = self.look.take()?;
        Some(TimerRef::from_raw(look))
    }

    /// Timers that the wheel does not know, and those of the wheel that stand for them.
    pub(crate) fn listed(&self) -> (usize, usize) {
        (self.waiting as usize, usize::from(self.look.is_some()))
    }

    /// Whether there is nothing of any timer.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && self.look.is_none()
    }

    /// What waits.
    pub(crate) fn into_held(self) -> impl Iterator<Item = Taken<M>> {
        self.places.into_iter().filter_map(|place| match place {
            Place::Used(used) => Some(Taken {
                tick: used.listed.then_some(used.when),
                timer: used.when,
                message: used.message,
            }),
            Place::Free(_) => None,
        })
    }
}

impl<M> Mailbox<M> {
    /// Keeps a message for a timer that is due at a tick. Where that is the first of all, `look` sets the wheel's timer for it, in place of the
    /// one it is told, and says whether the driver must be woken. Gives the message back unless `welcome`, asked under the lock: what is kept
    /// then is there for whoever clears the mailbox.
    pub(crate) fn hold(
        &self,
        message: M,
        tick: u64,
        welcome: impl FnOnce() -> bool,
        look: impl FnOnce(Option<TimerRef>) -> (TimerRef, bool),
    ) -> Result<(Held, bool), M> {
        let mut state = self.state.lock();
        if !welcome() {
            return Err(message);
        }
        let pending = state.frames.pending();
        let held = pending.list(tick, message);
        if pending.look.is_some_and(|(first, _)| first <= tick) {
            return Ok((held, false));
        }
        let (timer, first) = look(pending.take_look());
        pending.look = Some((tick, timer.to_raw()));
        Ok((held, first))
    }

    /// Keeps a place for an interval, which `arm` sets and is told the place of, behind all that was set before, which goes to the wheel by
    /// `deliver`. Also gives what then stands for nothing any more. `None` unless `welcome`, as with [`Mailbox::hold`].
    pub(crate) fn hold_interval(
        &self,
        welcome: impl FnOnce() -> bool,
        deliver: impl FnMut(u32, u64) -> TimerRef,
        arm: impl FnOnce(u32) -> (TimerRef, bool),
    ) -> Option<((TimerRef, bool), Option<TimerRef>)> {
        let mut state = self.state.lock();
        if !welcome() {
            return None;
        }
        let pending = state.frames.pending();
        pending.unlist(usize::MAX, None, deliver, &mut Vec::new());
        let look = pending.take_look();
        let number = pending.next_number();
        let place = pending.keep(Used {
            number,
            listed: false,
            when: TimerRef::none().to_raw(),
            message: None,
        });
        let (timer, first) = arm(place);
        if let Some(Place::Used(used)) = pending.places.get_mut(place as usize) {
            used.when = timer.to_raw();
        }
        Some(((timer, first), look))
    }

    /// The timer that stands for the list has fired, at this tick: see [`Target::look`](crate::timer::Target::look). Hands out what is due, to be
    /// queued without the lock, in the order it was set.
    pub(crate) fn unlist(
        &self,
        look: TimerRef,
        tick: u64,
        deliver: impl FnMut(u32, u64) -> TimerRef,
        due: &mut Vec<M>,
    ) -> bool {
        let mut state = self.state.lock();
        let Some(pending) = state.frames.known_pending() else {
            return false;
        };
        if pending.look.is_none_or(|(_, known)| known != look.to_raw()) {
            // Another took its place.
            return false;
        }
        pending.unlist(BATCH, Some(tick), deliver, due);
        let more = !pending.listed.is_empty();
        if !more {
            pending.look = None;
        }
        more
    }

    /// Queues the message of an interval, gone unless its place is kept and `welcome`, both asked under the lock.
    pub(crate) fn push_held(
        &self,
        message: M,
        at: u32,
        timer: u64,
        welcome: impl FnOnce() -> bool,
    ) -> Push<M> {
        self.push_where(message, |state| {
            let pending = state.frames.known_pending();
            let place = pending.and_then(|pending| pending.places.get(at as usize));
            matches!(place, Some(Place::Used(used)) if used.is_entry(timer)) && welcome()
        })
    }

    /// Takes what was kept for a timer of the wheel; `None` when the life it was for has ended, or somebody else took it.
    pub(crate) fn take_held(&self, at: u32, timer: u64) -> Option<Option<M>> {
        let mut state = self.state.lock();
        let pending = state.frames.known_pending()?;
        let taken = pending.take(at, |used| used.is_entry(timer))?;
        Some(taken.message)
    }

    /// Takes what was kept for a timer of this life; see [`Mailbox::take_held`].
    #[inline]
    pub(crate) fn cancel_held(&self, held: Held, lives: impl FnOnce() -> bool) -> Option<Taken<M>> {
        let mut state = self.state.lock();
        if !lives() {
            return None;
        }
        let pending = state.frames.known_pending()?;
        pending.take(held.place, |used| used.number == held.number)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, SPARE_MAX, Taken};
    use crate::timer::{Held, TimerRef};

    fn cancel(pending: &mut Pending<u64>, held: Held) -> Option<u64> {
        let taken = pending.take(held.place, |used| used.number == held.number)?;
        taken.message
    }

    /// Gives all that is listed to a wheel that numbers its timers as the ticks.
    fn unlist(pending: &mut Pending<u64>, tick: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut due, mut later) = (Vec::new(), Vec::new());
        let deliver = |_, tick| {
            later.push(tick);
            TimerRef::from_raw(tick)
        };
        pending.unlist(usize::MAX, Some(tick), deliver, &mut due);
        (due, later)
    }

    #[test]
    fn each_timer_finds_its_own_message_once() {
        let mut pending = Pending::default();
        let count = SPARE_MAX as u64 + 2;
        let mut held: Vec<_> = (0..count)
            .map(|tick| (pending.list(tick, tick * 2), tick * 2))
            .collect();
        let (first, _) = held.remove(0);
        assert_eq!(cancel(&mut pending, held[0].0), Some(2));
        assert_eq!(cancel(&mut pending, held[0].0), None, "it is taken once");
        let again = pending.list(7, 77);
        assert_eq!(again.place, held[0].0.place, "the place is used again");
        assert_eq!(cancel(&mut pending, held[0].0), None, "by another");
        assert_eq!(cancel(&mut pending, again), Some(77));
        for (held, message) in held.drain(1..) {
            assert_eq!(cancel(&mut pending, held), Some(message));
        }
        assert_eq!(cancel(&mut pending, first), Some(0));
        assert!(pending.is_empty());
        assert!(
            pending.places.capacity() <= SPARE_MAX && pending.listed.capacity() <= 2 * SPARE_MAX,
            "what a flood has left is given back"
        );
    }

    #[test]
    fn what_a_flood_has_left_goes_though_one_is_always_held() {
        let mut pending = Pending::default();
        let always = pending.list(9, 0);
        let flood: Vec<_> = (1..1_000).map(|tick| pending.list(tick, tick)).collect();
        for held in flood {
            assert!(cancel(&mut pending, held).is_some());
        }
        // From here on two at a time.
        for tick in 1_000..3_000 {
            let two = [0, 1].map(|message| pending.list(tick, message));
            assert!(pending.listed.len() <= 3 * SPARE_MAX, "some are over");
            for (held, message) in two.into_iter().zip(0..) {
                assert_eq!(cancel(&mut pending, held), Some(message));
            }
        }
        assert!(pending.places.capacity() <= SPARE_MAX, "it is given back");
        assert!(pending.listed.capacity() <= 4 * SPARE_MAX, "the list, too");
        assert_eq!(cancel(&mut pending, always), Some(0));
        assert!(pending.is_empty());
    }

    #[test]
    fn what_is_due_comes_in_order_and_what_is_later_goes_to_the_wheel_once() {
        let mut pending = Pending::default();
        let held = [(5, 15), (3, 23), (9, 39), (5, 45), (4, 54)]
            .map(|(tick, message)| pending.list(tick, message));
        assert_eq!(cancel(&mut pending, held[4]), Some(54));
        assert_eq!(pending.listed(), (4, 0));
        assert_eq!(unlist(&mut pending, 5), (vec![15, 23, 45], vec![9]));
        assert_eq!(pending.listed(), (0, 0));
        assert_eq!(unlist(&mut pending, 100), (vec![], vec![]), "once");
        let taken = pending.take(held[2].place, |used| used.is_entry(9));
        let wheel = Taken {
            tick: None,
            timer: 9,
            message: Some(39),
        };
        assert_eq!(taken, Some(wheel), "the wheel's timer finds it");
        assert!(pending.is_empty());
    }

    #[test]
    fn what_is_held_is_handed_out_at_the_end() {
        let mut pending = Pending::default();
        let held = [7, 8, 9].map(|tick| pending.list(tick, tick));
        assert_eq!(unlist(&mut pending, 7), (vec![7], vec![8, 9]));
        cancel(&mut pending, held[1]);
        pending.list(10, 10);
        let mut left: Vec<_> = pending
            .into_held()
            .map(|taken| (taken.tick, taken.message))
            .collect();
        left.sort();
        assert_eq!(left, [(None, Some(9)), (Some(10), Some(10))]);
    }
}
