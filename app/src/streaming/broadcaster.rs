//! The Broadcaster: turns what a transaction stored into frames, and each frame into one room's broadcast.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mesh_runtime::{Actor, Address, Context, ExitReason, Flow, SendError, System};

use super::frames::{self, LiveEvent};
use super::topics::Topic;
use crate::domain::ids::ProjectId;
use crate::domain::severity::Severity;
use crate::storage::issues::IssueRow;

/// The name under which the Broadcaster is registered.
pub const NAME: &str = "Broadcaster";

/// How many single events of one project a batch may stream; a person cannot read more, so the rest is only counted.
pub const EVENTS_PER_BATCH_MAX: usize = 100;

/// What happened to an issue in one transaction.
#[derive(Clone, Debug)]
pub struct LiveIssue {
    /// `new`, `regressed`, `escalated`, `counted` or `changed`.
    pub kind: &'static str,
    /// The issue as the transaction left it.
    pub issue: IssueRow,
}

/// What one transaction stored.
#[derive(Clone, Debug, Default)]
pub struct LiveBatch {
    /// The stored events, oldest first.
    pub events: Vec<LiveEvent>,
    /// The issues that changed, each once.
    pub issues: Vec<LiveIssue>,
}

/// What the Broadcaster is told.
#[derive(Clone, Debug)]
pub enum BroadcasterMessage {
    /// A transaction committed.
    BroadcastEvents(Arc<LiveBatch>),
}

/// The client side of the Broadcaster: finds it by name, so that it may restart at any time.
#[derive(Clone, Debug)]
pub struct BroadcasterHandle {
    system: System,
}

impl BroadcasterHandle {
    /// A handle on the Broadcaster of `system`.
    #[must_use]
    pub fn new(system: &System) -> BroadcasterHandle {
        BroadcasterHandle {
            system: system.clone(),
        }
    }

    /// Casts what a transaction stored; dashboards may miss it while the Broadcaster restarts, the database does not.
    pub fn broadcast(&self, batch: LiveBatch) {
        let Ok(address) = self.system.whereis::<BroadcasterMessage>(NAME) else {
            tracing::debug!("no broadcaster right now; dashboards miss a batch");
            return;
        };
        if let Err(error) = cast(&address, batch) {
            tracing::debug!(%error, "dashboards miss a batch");
        }
    }
}

fn cast(
    address: &Address<BroadcasterMessage>,
    batch: LiveBatch,
) -> Result<(), SendError<BroadcasterMessage>> {
    address.send(BroadcasterMessage::BroadcastEvents(Arc::new(batch)))
}

/// The process.
#[derive(Debug)]
pub struct Broadcaster;

impl Actor for Broadcaster {
    type Args = ();
    type Message = BroadcasterMessage;

    async fn init((): (), _cx: &mut Context<BroadcasterMessage>) -> Result<Self, ExitReason> {
        Ok(Broadcaster)
    }

    async fn handle(
        &mut self,
        message: BroadcasterMessage,
        cx: &mut Context<BroadcasterMessage>,
    ) -> Flow {
        let BroadcasterMessage::BroadcastEvents(batch) = message;
        let system = cx.system();
        let rooms = system.rooms();
        for (topic, payload) in plan(&batch, |topic| {
            !rooms.members(&topic.to_string()).is_empty()
        }) {
            rooms.broadcast(&topic.to_string(), payload);
        }
        Flow::Continue
    }
}

/// Pure: the frames of one batch, in order, for the topics that somebody follows.
fn plan(batch: &LiveBatch, followed: impl Fn(Topic) -> bool) -> Vec<(Topic, Bytes)> {
    let mut memo: HashMap<Topic, bool> = HashMap::new();
    let mut followed = |topic: Topic| *memo.entry(topic).or_insert_with(|| followed(topic));
    let mut frames = Vec::new();
    for LiveIssue { kind, issue } in &batch.issues {
        for topic in [Topic::Project(issue.project_id), Topic::Issue(issue.id)] {
            if followed(topic) {
                frames.push((topic, frames::issue(topic, kind, issue)));
            }
        }
    }
    let mut per_project: HashMap<ProjectId, usize> = HashMap::new();
    for event in &batch.events {
        *per_project.entry(event.project_id).or_default() += 1;
    }
    let mut seen: HashMap<ProjectId, usize> = HashMap::new();
    for event in &batch.events {
        let seen = seen.entry(event.project_id).or_default();
        *seen += 1;
        // The newest are shown: the ones before them are only counted.
        if per_project[&event.project_id] - *seen >= EVENTS_PER_BATCH_MAX {
            continue;
        }
        let mut topics = vec![
            Topic::Project(event.project_id),
            Topic::Issue(event.issue_id),
        ];
        if matches!(event.level, Severity::Error | Severity::Fatal) {
            topics.push(Topic::Errors(event.project_id));
        }
        for topic in topics {
            if followed(topic) {
                frames.push((topic, frames::event(topic, event)));
            }
        }
    }
    for (project, count) in per_project {
        let topic = Topic::Project(project);
        if count > EVENTS_PER_BATCH_MAX && followed(topic) {
            let missed = (count - EVENTS_PER_BATCH_MAX) as u64;
            frames.push((topic, frames::missed(topic, missed)));
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{EventId, IssueId};
    use uuid::Uuid;

    fn event(project: u128, level: Severity) -> LiveEvent {
        LiveEvent {
            id: EventId::from_uuid(Uuid::from_u128(1)),
            issue_id: IssueId::from_uuid(Uuid::from_u128(2)),
            project_id: ProjectId::from_uuid(Uuid::from_u128(project)),
            title: "t".to_owned(),
            culprit: String::new(),
            message: String::new(),
            level,
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            environment: String::new(),
            platform: String::new(),
        }
    }

    #[test]
    fn nothing_is_encoded_for_rooms_without_members() {
        let batch = LiveBatch {
            events: vec![event(1, Severity::Error)],
            issues: Vec::new(),
        };
        assert!(plan(&batch, |_| false).is_empty());
        let errors = plan(&batch, |topic| matches!(topic, Topic::Errors(_)));
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn errors_rooms_get_errors_only() {
        let batch = LiveBatch {
            events: vec![event(1, Severity::Info), event(1, Severity::Fatal)],
            issues: Vec::new(),
        };
        let errors = plan(&batch, |topic| matches!(topic, Topic::Errors(_)));
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn a_flood_is_cut_and_counted_per_project() {
        let mut events: Vec<_> = (0..EVENTS_PER_BATCH_MAX + 7)
            .map(|_| event(1, Severity::Info))
            .collect();
        events.push(event(2, Severity::Info));
        let batch = LiveBatch {
            events,
            issues: Vec::new(),
        };
        let frames = plan(&batch, |topic| matches!(topic, Topic::Project(_)));
        assert_eq!(frames.len(), EVENTS_PER_BATCH_MAX + 1 + 1);
        let last: serde_json::Value = serde_json::from_slice(&frames.last().unwrap().1).unwrap();
        assert_eq!(
            (&last["type"], &last["count"]),
            (&"missed".into(), &7.into())
        );
    }
}
