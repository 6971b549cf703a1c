//! What a stored chunk looks like to the dashboards.

use crate::processing::StoredChunk;
use crate::streaming::{LiveBatch, LiveEvent, LiveIssue};

/// The longest message a frame carries, in characters; the issue page shows the rest.
const MESSAGE_CHARACTERS_MAX: usize = 300;

/// Stored events and changed issues; what was a duplicate or dropped is not shown.
pub(super) fn batch(chunk: &StoredChunk) -> LiveBatch {
    let events = chunk
        .committed
        .events
        .iter()
        .filter(|stored| stored.kind.is_stored())
        .filter_map(|stored| {
            let event = chunk.events().get(stored.event)?;
            Some(LiveEvent {
                id: event.event_id,
                issue_id: stored.canonical,
                project_id: event.project_id,
                title: event.title.clone(),
                culprit: event.culprit.clone(),
                message: event.message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
                level: event.level,
                occurred_at: event.occurred_at,
                received_at: event.received_at,
                environment: event.environment.clone(),
                platform: event.platform.clone(),
            })
        })
        .collect();
    let issues = chunk
        .committed
        .issues
        .iter()
        .map(|change| LiveIssue {
            kind: change.kind.as_str(),
            issue: change.issue.clone(),
        })
        .collect();
    LiveBatch { events, issues }
}
