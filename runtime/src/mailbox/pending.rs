//! Messages of timers: they wait in the mailbox of the life they are for, and go with it. Of the timer itself there is a number.

use super::{Mailbox, Push};

/// Places without a message that are worth keeping; what a flood has left beyond is given back.
const SPARE_MAX: usize = 64;

/// No place.
const NIL: u32 = u32::MAX;

/// What waits for the timers of one life.
pub(crate) struct Pending<M> {
    places: Vec<Place<M>>,
    free: u32,
    len: u32,
    /// Taken since somebody looked at what the end of `places` is good for.
    taken: u32,
}

enum Place<M> {
    /// With the next one that is free.
    Free(u32),
    /// The number of the timer, and its message unless it is an interval's.
    Held(u64, Option<M>),
}

impl<M> Default for Pending<M> {
    fn default() -> Pending<M> {
        Pending {
            places: Vec::new(),
            free: NIL,
            len: 0,
            taken: 0,
        }
    }
}

impl<M> Pending<M> {
    /// Keeps a message at the place that `arm` is told, for the timer that it sets.
    fn hold<R>(&mut self, message: Option<M>, arm: impl FnOnce(u32) -> (u64, R)) -> (u64, R) {
        let at = if self.free == NIL {
            u32::try_from(self.places.len()).expect("fewer than 2^32 timers fit in memory")
        } else {
            self.free
        };
        let (timer, armed) = arm(at);
        let held = Place::Held(timer, message);
        match self.places.get_mut(at as usize) {
            None => self.places.push(held),
            Some(place) => {
                if let Place::Free(next) = std::mem::replace(place, held) {
                    self.free = next;
                }
            }
        }
        self.len += 1;
        (timer, armed)
    }

    /// Takes what was kept for a timer; `None` when it is gone.
    fn take(&mut self, at: u32, timer: u64) -> Option<Option<M>> {
        if !self.keeps(at, timer) {
            return None;
        }
        let place = self.places.get_mut(at as usize)?;
        let Place::Held(_, message) = std::mem::replace(place, Place::Free(self.free)) else {
            return None;
        };
        self.free = at;
        self.len -= 1;
        self.taken = self.taken.saturating_add(1);
        // Once for as many as there are places, so that looking costs each of them one.
        if self.places.len() > SPARE_MAX
            && (self.len == 0 || self.taken as usize >= self.places.len())
        {
            self.trim();
        }
        Some(message)
    }

    /// Gives back the places behind the last that is used. What is free before it is used from the front, so that the end comes free.
    #[cold]
    fn trim(&mut self) {
        let used = |place: &Place<M>| matches!(place, Place::Held(..));
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
    }

    /// Whether a timer's place is kept.
    fn keeps(&self, at: u32, timer: u64) -> bool {
        matches!(self.places.get(at as usize), Some(Place::Held(holder, _)) if *holder == timer)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Each timer with its message.
    pub(crate) fn into_held(self) -> impl Iterator<Item = (u64, Option<M>)> {
        self.places.into_iter().filter_map(|place| match place {
            Place::Held(timer, message) => Some((timer, message)),
            Place::Free(_) => None,
        })
    }
}

impl<M> Mailbox<M> {
    /// Keeps a message for a timer, which `arm` sets and is told the place of. Gives the message back unless `welcome`, asked under the
    /// lock: what is kept then is there for whoever clears the mailbox.
    pub(crate) fn hold<R>(
        &self,
        message: Option<M>,
        welcome: impl FnOnce() -> bool,
        arm: impl FnOnce(u32) -> (u64, R),
    ) -> Result<(u64, R), Option<M>> {
        let mut state = self.state.lock();
        if !welcome() {
            return Err(message);
        }
        Ok(state.frames.pending().hold(message, arm))
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
            pending.is_some_and(|pending| pending.keeps(at, timer)) && welcome()
        })
    }

    /// Takes what was kept for a timer; `None` when the life it was for has ended, or somebody else took it.
    pub(crate) fn take_held(&self, at: u32, timer: u64) -> Option<Option<M>> {
        let mut state = self.state.lock();
        state.frames.known_pending()?.take(at, timer)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, SPARE_MAX};

    #[test]
    fn each_timer_finds_its_own_message_once() {
        let mut pending = Pending::default();
        let count = SPARE_MAX as u64 + 2;
        let mut held: Vec<_> = (0..count)
            .map(|timer| {
                let (_, at) = pending.hold(Some(timer * 2), |at| (timer, at));
                (timer, at)
            })
            .collect();
        let (first, at) = held.remove(0);
        assert_eq!(pending.take(at, first + 1), None, "the place of another");
        assert_eq!(pending.take(at, first), Some(Some(0)));
        assert_eq!(pending.take(at, first), None, "it is taken once");
        let (_, again) = pending.hold(None, |at| (count, at));
        assert_eq!(again, at, "the place is used again");
        assert_eq!(pending.take(at, first), None, "by another");
        assert_eq!(pending.take(at, count), Some(None));
        let (last, at) = held.remove(0);
        for (timer, at) in held {
            assert_eq!(pending.take(at, timer), Some(Some(timer * 2)));
        }
        assert_eq!(pending.take(at, last), Some(Some(last * 2)));
        assert!(
            pending.places.capacity() <= SPARE_MAX,
            "what a flood has left is given back"
        );
    }

    #[test]
    fn what_a_flood_has_left_goes_though_one_is_always_held() {
        let mut pending = Pending::default();
        let hold =
            |pending: &mut Pending<u64>, timer| pending.hold(Some(timer), |at| (timer, at)).1;
        let always = hold(&mut pending, 0);
        let flood: Vec<_> = (1..1_000)
            .map(|timer| (timer, hold(&mut pending, timer)))
            .collect();
        for (timer, at) in flood {
            assert_eq!(pending.take(at, timer), Some(Some(timer)));
        }
        // From here on two at a time.
        for timer in 1_000..3_000 {
            let ats = [timer, timer + 5_000].map(|timer| (timer, hold(&mut pending, timer)));
            for (timer, at) in ats {
                assert_eq!(pending.take(at, timer), Some(Some(timer)));
            }
        }
        assert!(pending.places.capacity() <= SPARE_MAX, "it is given back");
        assert_eq!(pending.take(always, 0), Some(Some(0)));
        assert!(pending.is_empty());
    }

    #[test]
    fn what_is_held_is_handed_out_at_the_end() {
        let mut pending = Pending::default();
        let ats = [7, 8, 9].map(|timer| pending.hold(Some(timer), |at| (timer, at)).1);
        pending.take(ats[1], 8);
        let held: Vec<_> = pending.into_held().collect();
        assert_eq!(held, [(7, Some(7)), (9, Some(9))]);
    }
}
