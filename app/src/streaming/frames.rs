//! Pure: what a dashboard receives, one JSON object a frame, each with its `type`.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::topics::Topic;
use crate::domain::ids::{EventId, IssueId, ProjectId};
use crate::domain::severity::Severity;

/// One stored event, as far as a list of live events shows it.
#[derive(Clone, Debug, Serialize)]
pub struct LiveEvent {
    /// The SDK's event id.
    pub id: EventId,
    /// The canonical issue it belongs to.
    pub issue_id: IssueId,
    /// Its project.
    pub project_id: ProjectId,
    /// The title its issue would take from it.
    pub title: String,
    /// Where it happened, in a few words.
    pub culprit: String,
    /// The formatted message, shortened.
    pub message: String,
    /// How bad it is.
    pub level: Severity,
    /// The client's time.
    pub occurred_at: Timestamp,
    /// Our time.
    pub received_at: Timestamp,
    /// The deployment it came from.
    pub environment: String,
    /// The SDK's platform.
    pub platform: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a, Issue: Serialize> {
    Event {
        topic: &'a str,
        event: &'a LiveEvent,
    },
    Issue {
        topic: &'a str,
        kind: &'a str,
        issue: &'a Issue,
    },
    Snapshot {
        topic: &'a str,
        issues: &'a [Issue],
    },
    Missed {
        topic: &'a str,
        count: u64,
    },
    Error {
        message: &'a str,
    },
}

fn encode<Issue: Serialize>(frame: &Frame<'_, Issue>) -> Bytes {
    serde_json::to_vec(frame)
        .expect("frames hold strings, numbers and string-keyed maps only")
        .into()
}

/// A stored event.
pub(crate) fn event(topic: Topic, event: &LiveEvent) -> Bytes {
    encode::<()>(&Frame::Event {
        topic: &topic.to_string(),
        event,
    })
}

/// An issue as it is now, and what happened to it: `new`, `regressed`, `counted` or `changed`.
pub(crate) fn issue(topic: Topic, kind: &str, issue: &impl Serialize) -> Bytes {
    encode(&Frame::Issue {
        topic: &topic.to_string(),
        kind,
        issue,
    })
}

/// The newest issues of a topic at the moment of subscribing.
pub(crate) fn snapshot<Issue: Serialize>(topic: Topic, issues: &[Issue]) -> Bytes {
    encode(&Frame::Snapshot {
        topic: &topic.to_string(),
        issues,
    })
}

/// Events that were stored but left out of the stream, because more came than a person can read.
pub(crate) fn missed(topic: Topic, count: u64) -> Bytes {
    encode::<()>(&Frame::Missed {
        topic: &topic.to_string(),
        count,
    })
}

/// A request that was not understood or not allowed.
pub(crate) fn error(message: &str) -> Bytes {
    encode::<()>(&Frame::Error { message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn frames_are_valid_json_whatever_the_user_typed() {
        let topic = Topic::Project(ProjectId::from_uuid(Uuid::from_u128(1)));
        let live = LiveEvent {
            id: EventId::from_uuid(Uuid::from_u128(2)),
            issue_id: IssueId::from_uuid(Uuid::from_u128(3)),
            project_id: ProjectId::from_uuid(Uuid::from_u128(1)),
            title: "say \"hi\"\n\u{1F600}\u{0}".to_owned(),
            culprit: String::new(),
            message: "</script>".to_owned(),
            level: Severity::Error,
            occurred_at: Timestamp::UNIX_EPOCH,
            received_at: Timestamp::UNIX_EPOCH,
            environment: "production".to_owned(),
            platform: "python".to_owned(),
        };
        let value: serde_json::Value = serde_json::from_slice(&event(topic, &live)).unwrap();
        assert_eq!(value["type"], "event");
        assert_eq!(value["topic"], topic.to_string());
        assert_eq!(value["event"]["title"], live.title);
        let value: serde_json::Value = serde_json::from_slice(&error("no \"such\" topic")).unwrap();
        assert_eq!(value["message"], "no \"such\" topic");
    }
}
