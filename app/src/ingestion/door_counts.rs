//! What the door turned away, counted in memory until the router hands it to the database.

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

type Counts = HashMap<(ProjectId, Outcome), u64, RandomState>;

impl DoorCounts {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> DoorCounts {
        DoorCounts::default()
    }

    /// Counts refusals.
    pub fn add(&self, project_id: Option<ProjectId>, outcome: Outcome, count: u64) {
        match project_id {
            Some(project_id) => {
                *self.counts.lock().entry((project_id, outcome)).or_default() += count;
            }
            None => {
                self.strangers.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Takes what was counted since the last time.
    #[must_use]
    pub fn take(&self) -> TakenCounts {
        let taken = std::mem::take(&mut *self.counts.lock())
            .into_iter()
            .map(|((project_id, outcome), count)| (project_id, outcome, count))
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
    taken: Vec<(ProjectId, Outcome, u64)>,
}

impl TakenCounts {
    /// What was counted.
    #[must_use]
    pub fn get(&self) -> &[(ProjectId, Outcome, u64)] {
        &self.taken
    }

    /// Answers for them: from here on they may be stored and do not go back by themselves.
    #[must_use]
    pub fn answer_for(mut self) -> Vec<(ProjectId, Outcome, u64)> {
        std::mem::take(&mut self.taken)
    }
}

impl Drop for TakenCounts {
    fn drop(&mut self) {
        for (project_id, outcome, count) in self.taken.drain(..) {
            self.counts.add(Some(project_id), outcome, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DoorCounts;
    use crate::domain::Outcome;
    use uuid::Uuid;

    #[test]
    fn counts_add_up_and_are_taken_once() {
        let counts = DoorCounts::new();
        let project = Uuid::from_u128(1).into();
        counts.clone().add(Some(project), Outcome::Invalid, 1);
        counts.add(Some(project), Outcome::Invalid, 2);
        counts.add(None, Outcome::Unauthorised, 5);
        let expected = [(project, Outcome::Invalid, 3)];
        drop(counts.take());
        assert_eq!(counts.take().get(), expected, "what is dropped goes back");
        assert_eq!(counts.take().answer_for(), expected);
        assert!(counts.take().get().is_empty());
        assert_eq!(counts.strangers(), 5);
    }
}
