//! Pure: what a supervisor will start later, because a start failed or a back-off waits.

use std::time::Duration;

use super::children::Place;

/// One thing to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A child whose restart failed; trying it again is another restart.
    Again(Place),
    /// Children of one restart that has been counted, in this order.
    Those(Vec<Place>),
}

impl Start {
    fn contains(&self, place: Place) -> bool {
        match self {
            Start::Again(one) => *one == place,
            Start::Those(places) => places.contains(&place),
        }
    }
}

/// What is to be started, and when. At most one entry for each child.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<(Duration, Start)>);

impl Pending {
    pub(super) fn add(&mut self, due: Duration, start: Start) {
        self.0.push((due, start));
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        self.0.iter().any(|(_, start)| start.contains(place))
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.0.iter().map(|(due, _)| *due).min()
    }

    /// Takes out what is due first; of those due together, what was added first.
    pub(super) fn take_next(&mut self) -> Option<Start> {
        let due = self.next_due()?;
        let at = self.0.iter().position(|(other, _)| *other == due)?;
        Some(self.0.remove(at).1)
    }

    /// Takes these children out. When the last of them was due, or zero.
    pub(super) fn forget(&mut self, places: &[Place]) -> Duration {
        let mut latest = Duration::ZERO;
        self.0.retain_mut(|(due, start)| {
            if !places.iter().any(|place| start.contains(*place)) {
                return true;
            }
            latest = latest.max(*due);
            match start {
                Start::Again(_) => false,
                Start::Those(waiting) => {
                    waiting.retain(|place| !places.contains(place));
                    !waiting.is_empty()
                }
            }
        });
        latest
    }
}
