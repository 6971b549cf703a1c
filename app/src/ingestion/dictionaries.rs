//! Payload dictionaries at the door: one a project, learned from its own events, so that what they have in common is packed once and not in
//! each event.
//!
//! The door counts what packs badly (`waste`), and when that is enough it offers such events to one process, the `learner`, which
//! decides by trial (`learning`), makes a new dictionary durable in the database, and only then hands it to the door. The door waits for
//! none of this: an offer that finds the learner busy, away or dead is dropped.

mod learner;
mod learning;
mod waste;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use mesh_runtime::System;
use parking_lot::RwLock;

pub use self::learner::{LEARNER, LearnerArgs, LearnerMessage, child};
use self::waste::Waste;
use crate::domain::ProjectId;
use crate::domain::payload::{self, Dictionary};

/// Dictionaries in memory at most, each of 192 KiB at most; beyond, the one used least lately leaves, if it was not used for
/// a minute.
pub const DICTIONARIES_MAX: usize = 32;

/// Projects looked at, at most; those beyond pack without a dictionary. Each takes about 150 bytes.
const PROJECTS_MAX: usize = 10_000;

/// A dictionary that was used less long ago stays; a project that finds only such ones goes without.
const IDLE_SECONDS: i64 = 60;

/// A larger payload is no sample: what waits for the learner is bounded by its mailbox times this.
const SAMPLE_PACKED_BYTES_MAX: usize = 64 * 1024;

/// Where dictionaries are kept: the database, or a test's double. An error is a text for the log.
pub trait DictionaryStore: fmt::Debug + Send + Sync + 'static {
    /// The newest dictionary of each project made after a time, at most [`DICTIONARIES_MAX`].
    fn newest(
        &self,
        after: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<(ProjectId, Dictionary)>, String>>;

    /// The newest dictionary of one project, if it was made after a time.
    fn newest_of(
        &self,
        project: ProjectId,
        after: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Dictionary>, String>>;

    /// Returns once a dictionary outlives any crash: it is made durable, unless it is already. `false` if there is no such project.
    fn add(
        &self,
        project: ProjectId,
        dictionary: Arc<Dictionary>,
    ) -> BoxFuture<'_, Result<bool, String>>;
}

/// The dictionaries in use; clones share them. They outlive the process that learns them, so that the door goes on packing while that one,
/// or the database, is away.
#[derive(Clone, Debug, Default)]
pub struct Dictionaries {
    projects: Arc<RwLock<HashMap<ProjectId, Arc<Packing>, RandomState>>>,
}

impl Dictionaries {
    /// None yet.
    #[must_use]
    pub fn new() -> Dictionaries {
        Dictionaries::default()
    }

    /// The dictionary in use for a project's events.
    #[must_use]
    pub fn of(&self, project: ProjectId) -> Option<Arc<Dictionary>> {
        self.projects.read().get(&project)?.dictionary()
    }

    /// How many dictionaries are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        let projects = self.projects.read();
        projects.values().filter(|it| it.has_dictionary()).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a project's events are packed; `None` for one beyond the bound.
    pub(super) fn packing(&self, project: ProjectId) -> Option<Arc<Packing>> {
        {
            let projects = self.projects.read();
            let known = projects.get(&project);
            if known.is_some() || projects.len() >= PROJECTS_MAX {
                return known.cloned();
            }
        }
        let mut projects = self.projects.write();
        if projects.len() >= PROJECTS_MAX && !projects.contains_key(&project) {
            return None;
        }
        Some(projects.entry(project).or_default().clone())
    }

    /// Takes a durable dictionary into use. Where there are too many in memory, another leaves that is idle; if none is, nothing changes.
    fn publish(&self, project: ProjectId, dictionary: Arc<Dictionary>, now: Timestamp) {
        let Some(packing) = self.packing(project) else {
            return;
        };
        let projects = self.projects.read();
        let others = projects
            .iter()
            .filter(|(other, it)| **other != project && it.has_dictionary());
        if others.clone().count() >= DICTIONARIES_MAX {
            let used_at = |it: &Packing| it.used_at.load(Ordering::Relaxed);
            let idle = others
                .map(|(_, it)| it)
                .filter(|it| used_at(it) <= now.as_second() - IDLE_SECONDS)
                .min_by_key(|it| used_at(it));
            let Some(idle) = idle else {
                return;
            };
            *idle.dictionary.write() = None;
        }
        *packing.dictionary.write() = Some(dictionary);
    }

    /// Lets those go that are at their life's end: their projects look for a dictionary, or learn one, as new projects do.
    fn expire(&self, now: Timestamp) {
        for packing in self.projects.read().values() {
            let mut dictionary = packing.dictionary.write();
            if dictionary.as_ref().is_some_and(|it| !it.is_live(now)) {
                *dictionary = None;
                packing.waste.begin_anew();
            }
        }
    }

    /// Those in use.
    fn in_use(&self) -> Vec<(ProjectId, Arc<Dictionary>)> {
        let projects = self.projects.read();
        let used = projects
            .iter()
            .filter_map(|(project, it)| Some((*project, it.dictionary()?)));
        used.collect()
    }

    /// Lets a project's dictionary go.
    fn forget(&self, project: ProjectId) {
        if let Some(packing) = self.projects.read().get(&project) {
            *packing.dictionary.write() = None;
        }
    }
}

/// How the events of one project are packed.
#[derive(Debug, Default)]
pub(super) struct Packing {
    dictionary: RwLock<Option<Arc<Dictionary>>>,
    waste: Waste,
    /// When the door last asked, in seconds since 1970.
    used_at: AtomicI64,
}

impl Packing {
    fn dictionary(&self) -> Option<Arc<Dictionary>> {
        self.dictionary.read().clone()
    }

    fn has_dictionary(&self) -> bool {
        self.dictionary.read().is_some()
    }

    /// The dictionary for an event received at that time.
    pub(super) fn dictionary_at(&self, received_at: Timestamp) -> Option<Arc<Dictionary>> {
        self.used_at
            .store(received_at.as_second(), Ordering::Relaxed);
        self.dictionary()
    }

    /// Counts a payload that was packed with `dictionary`, if with any, and offers it to the learner if that is what it waits for.
    pub(super) fn observe(
        &self,
        system: &System,
        project: ProjectId,
        payload: &Bytes,
        dictionary: Option<Arc<Dictionary>>,
    ) {
        let json_len = payload::json_len(payload).unwrap_or_default();
        if self.waste.add(payload.len(), json_len) && payload.len() <= SAMPLE_PACKED_BYTES_MAX {
            learner::offer(system, project, payload.clone(), dictionary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DICTIONARIES_MAX, Dictionaries, PROJECTS_MAX};
    use crate::domain::ProjectId;
    use crate::domain::payload::Dictionary;
    use jiff::Timestamp;
    use std::sync::Arc;
    use uuid::Uuid;

    fn project(number: usize) -> ProjectId {
        Uuid::from_u128(number as u128).into()
    }

    fn dictionary(number: usize) -> Arc<Dictionary> {
        let content = format!("{{\"number\":{number}}}");
        Arc::new(Dictionary::new(content, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn the_dictionary_used_least_lately_leaves() {
        let all = Dictionaries::new();
        let use_at = |number: usize, second| {
            let at = Timestamp::from_second(second).unwrap();
            drop(all.packing(project(number)).unwrap().dictionary_at(at));
        };
        for number in 0..DICTIONARIES_MAX {
            all.publish(project(number), dictionary(number), Timestamp::UNIX_EPOCH);
            use_at(number, 100 + number as i64);
        }
        use_at(0, 1_000);
        let at = |second| Timestamp::from_second(second).unwrap();
        // None is idle: the new one goes without.
        all.publish(project(1_000), dictionary(1_000), at(160));
        assert!(all.of(project(1_000)).is_none());
        all.publish(project(1_000), dictionary(1_000), at(161));
        assert_eq!(all.len(), DICTIONARIES_MAX);
        assert!(all.of(project(1)).is_none());
        for kept in [0, 2, 1_000] {
            assert_eq!(all.of(project(kept)).unwrap().id(), dictionary(kept).id());
        }
        // One in place of a project's own: nobody leaves.
        all.publish(project(1_000), dictionary(7), at(0));
        assert_eq!(all.len(), DICTIONARIES_MAX);
        assert_eq!(all.of(project(1_000)).unwrap().id(), dictionary(7).id());
    }

    #[test]
    fn projects_have_a_bound() {
        let all = Dictionaries::new();
        for number in 0..PROJECTS_MAX {
            assert!(all.packing(project(number)).is_some());
        }
        assert!(all.packing(project(PROJECTS_MAX)).is_none());
        assert!(all.packing(project(3)).is_some());
        all.publish(project(PROJECTS_MAX), dictionary(1), Timestamp::UNIX_EPOCH);
        assert!(all.is_empty());
    }
}
