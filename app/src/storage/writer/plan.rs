//! Pure: what a chunk of events does to the issues of its projects, and how each event ends.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{EventKind, StoredEvent};
use crate::domain::issue::on_event;
use crate::domain::{Arrival, GroupedEvent, IssueId, Outcome, ProjectId, TransitionKind};
use crate::storage::issues::record::IssueRecord;
use crate::storage::outcomes::{self, OutcomeCount};

/// How far apart two copies of an event may come and still be one.
pub(super) const DUPLICATE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// How far ahead of the database's clock a door's clock may be before its times are not believed.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// What the plan needs to know of a project.
#[derive(Clone, Debug)]
pub(super) struct ProjectFacts {
    pub(super) slug: String,
    pub(super) retention: SignedDuration,
    pub(super) last_issue_number: i64,
    pub(super) last_change: i64,
}

/// What the database said, under the locks.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) now: Timestamp,
    pub(super) projects: HashMap<ProjectId, ProjectFacts>,
    /// Every candidate that exists, and what it is merged into.
    pub(super) issues: HashMap<Uuid, IssueRecord>,
    /// Places in the chunk of the events that are stored already.
    pub(super) duplicates: HashSet<usize>,
}

/// An event that becomes a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewRow {
    pub(super) event: usize,
    pub(super) issue_id: IssueId,
    pub(super) received_at: Timestamp,
}

/// An issue that the chunk made or changed.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    pub(super) record: IssueRecord,
    pub(super) is_new: bool,
}

/// One line of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) project_id: ProjectId,
    pub(super) sequence: i64,
    pub(super) issue_id: IssueId,
    pub(super) kind: TransitionKind,
    pub(super) event_id: Uuid,
    pub(super) quantity: i64,
}

/// The counters of a project after the chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) last_issue_number: i64,
    pub(super) last_change: i64,
    /// Events to add to the project's.
    pub(super) stored: i64,
}

/// Everything the chunk writes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) rows: Vec<NewRow>,
    pub(super) touched: BTreeMap<Uuid, Touched>,
    pub(super) changes: Vec<Change>,
    pub(super) counters: BTreeMap<ProjectId, Counters>,
    pub(super) outcomes: Vec<OutcomeCount>,
    pub(super) fates: Vec<StoredEvent>,
}

/// Decides everything.
pub(super) fn plan(events: &[&GroupedEvent], known: Known) -> Plan {
    let mut planner = Planner {
        plan: Plan::default(),
        stored: Copies::with_capacity(events.len()),
        changes: BTreeMap::new(),
        known,
    };
    for (place, event) in events.iter().enumerate() {
        let fate = planner.take(place, event);
        planner.settle(event, &fate);
        planner.plan.fates.push(fate);
    }
    planner.finish()
}

/// The rows of a chunk as they will most likely be, told without the locks: every event is new, and its issue takes it. `None` where it takes
/// a look at the issues to tell which one is meant.
pub(super) fn guess(
    events: &[&GroupedEvent],
    projects: &HashMap<ProjectId, ProjectFacts>,
    now: Timestamp,
) -> Option<Vec<NewRow>> {
    let mut stored = Copies::with_capacity(events.len());
    let mut rows = Vec::with_capacity(events.len());
    for (place, event) in events.iter().enumerate() {
        let [issue_id] = event.candidates[..] else {
            return None;
        };
        let received_at = believed(event.received_at, now);
        let is_taken = projects
            .get(&event.project_id)
            .is_some_and(|project| received_at >= now - project.retention);
        if !is_taken || stored.has(event, received_at) {
            continue;
        }
        stored.add(event, received_at);
        rows.push(NewRow {
            event: place,
            issue_id,
            received_at,
        });
    }
    Some(rows)
}

/// Events of a chunk that become rows, by when they came, to find second copies.
#[derive(Debug, Default)]
struct Copies {
    first: HashMap<(ProjectId, Uuid), Timestamp, RandomState>,
    /// Of ids that came again, and so late that they are stored again: hardly any.
    later: Vec<(ProjectId, Uuid, Timestamp)>,
}

impl Copies {
    fn with_capacity(events: usize) -> Copies {
        Copies {
            first: HashMap::with_capacity_and_hasher(events, RandomState::default()),
            later: Vec::new(),
        }
    }

    fn has(&self, event: &GroupedEvent, received_at: Timestamp) -> bool {
        let (project, id) = (event.project_id, event.event_id.into_uuid());
        let is_near = |at: &Timestamp| at.duration_since(received_at).abs() <= DUPLICATE_WINDOW;
        let Some(first) = self.first.get(&(project, id)) else {
            return false;
        };
        let mut later = self.later.iter();
        is_near(first) || later.any(|(of, copy, at)| (*of, *copy) == (project, id) && is_near(at))
    }

    fn add(&mut self, event: &GroupedEvent, received_at: Timestamp) {
        let (project, id) = (event.project_id, event.event_id.into_uuid());
        match self.first.entry((project, id)) {
            Entry::Vacant(entry) => {
                entry.insert(received_at);
            }
            Entry::Occupied(_) => self.later.push((project, id, received_at)),
        }
    }
}

/// What happened to one issue in this chunk, for the outbox.
struct Summary {
    kind: TransitionKind,
    event_id: Uuid,
    quantity: i64,
}

struct Planner {
    plan: Plan,
    known: Known,
    stored: Copies,
    /// By project and canonical issue.
    changes: BTreeMap<(ProjectId, IssueId), Summary>,
}

impl Planner {
    fn take(&mut self, place: usize, event: &GroupedEvent) -> StoredEvent {
        let birth = self.birth(event);
        let canonical = self.canonical(birth);
        let ended = |kind| StoredEvent {
            event: place,
            issue_id: birth,
            canonical,
            kind,
        };
        let Some(project) = self.known.projects.get(&event.project_id) else {
            return ended(EventKind::Expired);
        };
        let received_at = believed(event.received_at, self.known.now);
        if self.known.duplicates.contains(&place) || self.stored.has(event, received_at) {
            return ended(EventKind::Duplicate);
        }
        if received_at < self.known.now - project.retention {
            return ended(EventKind::Expired);
        }
        let Some(kind) = self.count(event, birth, canonical, received_at) else {
            return ended(EventKind::Discarded);
        };
        self.stored.add(event, received_at);
        self.plan.rows.push(NewRow {
            event: place,
            issue_id: birth,
            received_at,
        });
        self.note(event, canonical, kind);
        ended(kind.into())
    }

    /// The first candidate that exists, else the first.
    fn birth(&self, event: &GroupedEvent) -> IssueId {
        let exists = |id: &&IssueId| {
            self.plan.touched.contains_key(id.as_uuid())
                || self.known.issues.contains_key(id.as_uuid())
        };
        event
            .candidates
            .iter()
            .find(exists)
            .or(event.candidates.first())
            .copied()
            .unwrap_or_else(|| event.fingerprint.issue_id(event.project_id))
    }

    fn canonical(&self, birth: IssueId) -> IssueId {
        self.record(birth.into_uuid())
            .and_then(|record| record.merged_into)
            .map_or(birth, IssueId::from_uuid)
    }

    fn record(&self, id: Uuid) -> Option<&IssueRecord> {
        self.plan
            .touched
            .get(&id)
            .map(|touched| &touched.record)
            .or_else(|| self.known.issues.get(&id))
    }

    /// Applies the pure rule to the canonical issue and counts the event; `None` when it is to be dropped.
    fn count(
        &mut self,
        event: &GroupedEvent,
        birth: IssueId,
        canonical: IssueId,
        received_at: Timestamp,
    ) -> Option<TransitionKind> {
        let arrival = Arrival {
            occurred_at: event.occurred_at,
            received_at,
            level: event.level,
        };
        let existing = self.record(canonical.into_uuid()).map(IssueRecord::state);
        let transition = on_event(existing.as_ref(), &arrival);
        if transition.kind == TransitionKind::Discarded {
            return None;
        }
        if existing.is_none() {
            self.give_birth(event, birth);
        }
        let canonical = self.touch(canonical.into_uuid());
        if event.occurred_at >= canonical.last_seen {
            canonical.latest_event_id = event.event_id.into_uuid();
            canonical.last_release = event.release.clone().or(canonical.last_release.take());
        }
        if canonical.first_release.is_none() {
            canonical.first_release.clone_from(&event.release);
        }
        canonical.set_state(&transition.state);
        if canonical.id == birth.into_uuid() {
            canonical.event_count += 1;
        } else {
            canonical.merged_event_count += 1;
            let born = self.touch(birth.into_uuid());
            born.event_count += 1;
            born.first_seen = born.first_seen.min(event.occurred_at);
            if event.occurred_at >= born.last_seen {
                born.last_seen = event.occurred_at;
                born.latest_event_id = event.event_id.into_uuid();
            }
        }
        Some(transition.kind)
    }

    fn give_birth(&mut self, event: &GroupedEvent, id: IssueId) {
        let project = self
            .known
            .projects
            .get_mut(&event.project_id)
            .expect("an event of an unknown project ended before");
        project.last_issue_number += 1;
        let record = IssueRecord::born(event, id, project.last_issue_number);
        self.plan.touched.insert(
            record.id,
            Touched {
                record,
                is_new: true,
            },
        );
    }

    fn touch(&mut self, id: Uuid) -> &mut IssueRecord {
        let known = &self.known.issues;
        &mut self
            .plan
            .touched
            .entry(id)
            .or_insert_with(|| Touched {
                record: known
                    .get(&id)
                    .expect("an issue is known or was born before it is touched")
                    .clone(),
                is_new: false,
            })
            .record
    }

    fn note(&mut self, event: &GroupedEvent, canonical: IssueId, kind: TransitionKind) {
        let summary = self
            .changes
            .entry((event.project_id, canonical))
            .or_insert(Summary {
                kind,
                event_id: event.event_id.into_uuid(),
                quantity: 0,
            });
        summary.quantity += 1;
        summary.event_id = event.event_id.into_uuid();
        if rank(kind) > rank(summary.kind) {
            summary.kind = kind;
        }
        self.plan
            .counters
            .entry(event.project_id)
            .or_default()
            .stored += 1;
    }

    fn settle(&mut self, event: &GroupedEvent, fate: &StoredEvent) {
        let gone = !self.known.projects.contains_key(&event.project_id);
        let reason = if gone { "project_deleted" } else { "" };
        let at = believed(event.received_at, self.known.now);
        let outcome = fate.kind.outcome();
        // Mostly it is as the one before.
        if let Some(last) = self.plan.outcomes.last_mut()
            && (last.project_id, last.outcome, last.reason.as_str())
                == (event.project_id, outcome, reason)
            && outcomes::hour(last.at) == outcomes::hour(at)
        {
            last.quantity += 1;
            return;
        }
        self.plan.outcomes.push(OutcomeCount {
            project_id: event.project_id,
            at,
            outcome,
            reason: reason.to_owned(),
            quantity: 1,
        });
    }

    fn finish(mut self) -> Plan {
        for ((project_id, issue_id), summary) in std::mem::take(&mut self.changes) {
            let project = self
                .known
                .projects
                .get_mut(&project_id)
                .expect("only known projects have changes");
            project.last_change += 1;
            self.plan.changes.push(Change {
                project_id,
                sequence: project.last_change,
                issue_id,
                kind: summary.kind,
                event_id: summary.event_id,
                quantity: summary.quantity,
            });
        }
        for (project_id, counters) in &mut self.plan.counters {
            if let Some(project) = self.known.projects.get(project_id) {
                counters.last_issue_number = project.last_issue_number;
                counters.last_change = project.last_change;
            }
        }
        self.plan
    }
}

/// The time to store: a clock that is more than a day ahead is not believed.
pub(super) fn believed(received_at: Timestamp, now: Timestamp) -> Timestamp {
    if received_at > now + AHEAD_MAX {
        now
    } else {
        received_at
    }
}

/// Of several changes of one issue in one chunk, the outbox and the dashboard hear of the strongest.
fn rank(kind: TransitionKind) -> u8 {
    match kind {
        TransitionKind::New => 3,
        TransitionKind::Regressed => 2,
        TransitionKind::Escalated => 1,
        TransitionKind::Counted | TransitionKind::Discarded => 0,
    }
}

impl From<TransitionKind> for EventKind {
    fn from(kind: TransitionKind) -> EventKind {
        match kind {
            TransitionKind::New => EventKind::New,
            TransitionKind::Regressed => EventKind::Regressed,
            TransitionKind::Escalated => EventKind::Escalated,
            TransitionKind::Counted => EventKind::Counted,
            TransitionKind::Discarded => EventKind::Discarded,
        }
    }
}

impl EventKind {
    fn outcome(self) -> Outcome {
        match self {
            EventKind::New | EventKind::Regressed | EventKind::Escalated | EventKind::Counted => {
                Outcome::Stored
            }
            EventKind::Duplicate => Outcome::Duplicate,
            EventKind::Discarded => Outcome::Discarded,
            EventKind::Expired => Outcome::Expired,
            EventKind::Quarantined => Outcome::Quarantined,
        }
    }
}
