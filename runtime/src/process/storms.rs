//! What is told of many alike: the first of a second line by line, the others together, as one line with their number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::exit::{ExitKind, ExitReason};
use crate::pid::Pid;
use crate::telemetry::PROCESS_PANICKED;
use crate::telemetry::storm::{Heard, Storm};
use crate::timer::{Fire, Timers};

use super::run;

/// The last of those that are told together.
pub(crate) trait Last: Default + Send + 'static {
    /// Tells of so many, of which this was the last.
    fn tell(&self, count: u64);
}

/// Many alike, and in whose name they are told.
pub(crate) struct Told<L> {
    teller: Pid,
    storm: Mutex<(Storm, L)>,
}

impl<L: Last> Told<L> {
    pub(crate) fn new(teller: Pid) -> Arc<Told<L>> {
        Arc::new(Told {
            teller,
            storm: Mutex::default(),
        })
    }

    /// Whether one more is to be told by itself. If not it is counted, and kept as the last of those.
    pub(crate) fn admits(
        self: &Arc<Told<L>>,
        timers: &Timers,
        now: Duration,
        keep: impl FnOnce(&mut L),
    ) -> bool {
        let mut guard = self.storm.lock();
        let (storm, last) = &mut *guard;
        let heard = storm.note(now);
        if heard == Heard::Told {
            return true;
        }
        keep(last);
        drop(guard);
        if let Heard::First(due) = heard {
            timers.once(due, Box::new(Sum(self.clone())));
        }
        false
    }

    /// Tells of those that are counted, if any.
    pub(crate) fn settle(&self) {
        let mut guard = self.storm.lock();
        let (storm, last) = &mut *guard;
        let (count, last) = (storm.settle(), std::mem::take(last));
        drop(guard);
        if count > 0 {
            // A subscriber that panics must not end the driver of the timers.
            drop(run::contain(self.teller, || last.tell(count)));
        }
    }

    fn is_calm(&self, now: Duration) -> bool {
        self.storm.lock().0.is_calm(now)
    }
}

/// Settles when it is due, or when the timers go.
struct Sum<L: Last>(Arc<Told<L>>);

impl<L: Last> Fire for Sum<L> {
    fn fire(&mut self) {}
}

impl<L: Last> Drop for Sum<L> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// The last panic at a place.
#[derive(Default)]
struct Panicked(Option<(Pid, ExitReason)>);

impl Last for Panicked {
    fn tell(&self, count: u64) {
        if let Some((pid, reason)) = &self.0
            && let ExitKind::Panic { message, location } = reason.kind()
        {
            tracing::error!(
                target: PROCESS_PANICKED,
                { panic.count = count, process.pid = %pid, panic.message = %message, panic.location = %location },
                "so many more panicked here, too often to be told one by one; this was the last"
            );
        }
    }
}

/// Places that are kept. When there are so many, those that are calm make room; without room the rest share one.
const PLACES_KEPT: usize = 64;

/// The place of those for which there is no room.
const ELSEWHERE: &str = "elsewhere";

/// The panics of one system, by place.
pub(crate) struct Panics {
    teller: Pid,
    places: Mutex<BTreeMap<Box<str>, Arc<Told<Panicked>>>>,
}

impl Panics {
    pub(crate) fn new(teller: Pid) -> Panics {
        Panics {
            teller,
            places: Mutex::default(),
        }
    }

    /// Whether the panic of a process is to be told by itself.
    pub(super) fn admits(
        &self,
        timers: &Timers,
        now: Duration,
        pid: Pid,
        reason: &ExitReason,
    ) -> bool {
        let ExitKind::Panic { location, .. } = reason.kind() else {
            return false;
        };
        let mut places = self.places.lock();
        let told = match places.get(location) {
            Some(told) => told.clone(),
            None => {
                if places.len() >= PLACES_KEPT {
                    places.retain(|_, told| !told.is_calm(now));
                }
                let has_room = places.len() < PLACES_KEPT;
                let place = if has_room { location } else { ELSEWHERE };
                let fresh = || Told::new(self.teller);
                places.entry(place.into()).or_insert_with(fresh).clone()
            }
        };
        drop(places);
        told.admits(timers, now, |last| last.0 = Some((pid, reason.clone())))
    }

    /// Tells of those that are counted.
    pub(crate) fn settle(&self) {
        let places: Vec<_> = self.places.lock().values().cloned().collect();
        for told in places {
            told.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{STORM_LINES_MAX, STORM_WITHIN};
    use crate::system::System;

    #[tokio::test]
    async fn places_without_end_share_one_entry() {
        let system = System::new();
        let kernel = system.kernel();
        let panics = Panics::new(kernel.root());
        let start = Duration::from_secs(3_600);
        let admits = |place: usize, now| {
            let reason = ExitReason::panic("fell", place.to_string());
            panics.admits(kernel.timers(), now, kernel.root(), &reason)
        };
        let told = (0..1_000).filter(|place| admits(*place, start)).count();
        assert_eq!(told, PLACES_KEPT + STORM_LINES_MAX as usize);
        assert_eq!(panics.places.lock().len(), PLACES_KEPT + 1);
        assert!(admits(0, start), "a place that is known has its own count");
        // When it is calm again, each has its own.
        panics.settle();
        assert!(admits(2_000, start + STORM_WITHIN));
        assert_eq!(panics.places.lock().len(), 1);
    }
}
