//! What the door turned away or threw away, counted in memory until the router hands it to the database.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::domain::{Outcome, ProjectId};

/// Counters of refusals by project and outcome; clones are the same counters. A refusal without a
/// known key belongs to no project and is counted for this run only, see [`DoorCounts::strangers`].
#[derive(Clone, Debug, Default)]
pub struct DoorCounts {
    counts: Arc<Mutex<Counts>>,
    strangers: Arc<AtomicU64>,
}

/// By project, outcome and reason; the reasons are from closed lists.
type Counts = HashMap<(ProjectId, Outcome, Reason), u64, RandomState>;

/// Why, in a word or two; empty where the outcome says it all.
pub type Reason = Cow<'static, str>;

/// Events of one project that ended one way for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorCount {
    /// Whose they are.
    pub project_id: ProjectId,
    /// How they ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub quantity: u64,
}

impl DoorCounts {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> DoorCounts {
        DoorCounts::default()
    }

    /// Counts refusals.
    pub fn add(&self, project_id: Option<ProjectId>, outcome: Outcome, count: u64) {
        match project_id {
            Some(project_id) => self.count(DoorCount {
                project_id,
                outcome,
                reason: Reason::Borrowed(""),
                quantity: count,
            }),
            None => {
                self.strangers.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Counts what a known project's request came to.
    pub fn count(&self, count: DoorCount) {
        let key = (count.project_id, count.outcome, count.reason);
        let mut counts = self.counts.lock();
        let sum = counts.entry(key).or_default();
        *sum = sum.saturating_add(count.quantity);
    }

    /// Takes what was counted since the last time.
    #[must_use]
    pub fn take(&self) -> TakenCounts {
        let taken = std::mem::take(&mut *self.counts.lock())
            .into_iter()
            .map(|((project_id, outcome, reason), quantity)| DoorCount {
                project_id,
                outcome,
                reason,
                quantity,
            })
            .collect();
        TakenCounts {
            counts: self.clone(),
            taken,
        }
    }

    /// Refusals of requests that showed no known key, since the start.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }
}

/// Counts on their way to the database; dropped before somebody answers for them, they go back.
#[derive(Debug)]
pub struct TakenCounts {
    counts: DoorCounts,
    taken: Vec<DoorCount>,
}

impl TakenCounts {
    /// What was counted.
    #[must_use]
    pub fn get(&self) -> &[DoorCount] {
        &self.taken
    }

    /// Answers for them: they may be stored and do not go back by themselves.
    #[must_use]
    pub fn answer_for(mut self) -> Vec<DoorCount> {
        std::mem::take(&mut self.taken)
    }
}

impl Drop for TakenCounts {
    fn drop(&mut self) {
        for count in self.taken.drain(..) {
            self.counts.count(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DoorCount, DoorCounts};
    use crate::domain::Outcome;
    use uuid::Uuid;

    #[test]
    fn counts_add_up_and_are_taken_once() {
        let counts = DoorCounts::new();
        let project = Uuid::from_u128(1).into();
        counts.clone().add(Some(project), Outcome::Invalid, 1);
        counts.add(Some(project), Outcome::Invalid, 2);
        counts.add(None, Outcome::Unauthorised, 5);
        let expected = [DoorCount {
            project_id: project,
            outcome: Outcome::Invalid,
            reason: "".into(),
            quantity: 3,
        }];
        drop(counts.take());
        assert_eq!(counts.take().get(), expected, "what is dropped goes back");
        assert_eq!(counts.take().answer_for(), expected);
        assert!(counts.take().get().is_empty());
        assert_eq!(counts.strangers(), 5);
    }
}
