//! The life of an issue: pure rules for what an event and what a user do to it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::severity::Severity;

/// Where an issue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssueStatus {
    /// Somebody should look at it.
    #[default]
    Unresolved,
    /// Mended; a new event makes it regress.
    Resolved,
    /// Put aside, for ever or until something happens.
    Archived,
    /// Its future events are dropped.
    Discarded,
}

/// A text that names no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownStatus;

impl fmt::Display for UnknownStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an issue status")
    }
}

impl std::error::Error for UnknownStatus {}

impl IssueStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [
        Self::Unresolved,
        Self::Resolved,
        Self::Archived,
        Self::Discarded,
    ];

    /// The word the database and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Archived => "archived",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for IssueStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for IssueStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

/// What wakes an archived issue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchivedUntil {
    /// Nothing.
    #[default]
    Forever,
    /// The first event received at this time or later.
    Time(Timestamp),
    /// The event that brings the issue's total count of events to this number.
    EventCount(u64),
}

/// What the rules need to know of an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueState {
    /// Where it stands.
    pub status: IssueStatus,
    /// What wakes it; meaningful only while archived.
    pub archived_until: ArchivedUntil,
    /// When it was resolved; events received before do not make it regress. `None`: any event does.
    pub resolved_at: Option<Timestamp>,
    /// Whether it came back after it was resolved; a mark on `Unresolved`.
    pub regressed: bool,
    /// How many events it has.
    pub event_count: u64,
    /// When its earliest event happened, by the client's clock.
    pub first_seen: Timestamp,
    /// When its latest event happened.
    pub last_seen: Timestamp,
    /// The level of its latest event.
    pub level: Severity,
}

/// What the rules need to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When the door took it.
    pub received_at: Timestamp,
    /// How bad it is.
    pub level: Severity,
}

/// What an event did to its issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransitionKind {
    /// It made the issue.
    New,
    /// It brought a resolved issue back.
    Regressed,
    /// It woke an archived issue.
    Escalated,
    /// It was one more.
    Counted,
    /// It was dropped, for the issue is discarded.
    Discarded,
}

impl TransitionKind {
    /// The word the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Regressed => "regressed",
            Self::Escalated => "escalated",
            Self::Counted => "counted",
            Self::Discarded => "discarded",
        }
    }
}

/// What an event did, and how the issue stands after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it did.
    pub kind: TransitionKind,
    /// The issue after it.
    pub state: IssueState,
}

/// What one event does to its issue; `existing` is `None` if there is none yet.
#[must_use]
pub fn on_event(existing: Option<&IssueState>, arrival: &Arrival) -> Transition {
    let Some(existing) = existing else {
        let state = IssueState {
            status: IssueStatus::Unresolved,
            archived_until: ArchivedUntil::Forever,
            resolved_at: None,
            regressed: false,
            event_count: 1,
            first_seen: arrival.occurred_at,
            last_seen: arrival.occurred_at,
            level: arrival.level,
        };
        return Transition {
            kind: TransitionKind::New,
            state,
        };
    };
    if existing.status == IssueStatus::Discarded {
        return Transition {
            kind: TransitionKind::Discarded,
            state: existing.clone(),
        };
    }
    let mut state = existing.clone();
    state.event_count = state.event_count.saturating_add(1);
    state.first_seen = state.first_seen.min(arrival.occurred_at);
    if arrival.occurred_at >= state.last_seen {
        state.last_seen = arrival.occurred_at;
        state.level = arrival.level;
    }
    let kind = match state.status {
        IssueStatus::Resolved if state.resolved_at.is_none_or(|at| arrival.received_at >= at) => {
            state.regressed = true;
            TransitionKind::Regressed
        }
        IssueStatus::Archived if wakes(&state, arrival) => TransitionKind::Escalated,
        _ => {
            return Transition {
                kind: TransitionKind::Counted,
                state,
            };
        }
    };
    state.status = IssueStatus::Unresolved;
    state.archived_until = ArchivedUntil::Forever;
    state.resolved_at = None;
    Transition { kind, state }
}

/// Whether `arrival`, already counted in `state`, ends the archiving.
fn wakes(state: &IssueState, arrival: &Arrival) -> bool {
    match state.archived_until {
        ArchivedUntil::Forever => false,
        ArchivedUntil::Time(time) => arrival.received_at >= time,
        ArchivedUntil::EventCount(count) => state.event_count >= count,
    }
}

impl IssueState {
    /// The issue after a user resolved it at `now`.
    #[must_use]
    pub fn resolved(&self, now: Timestamp) -> Self {
        Self {
            status: IssueStatus::Resolved,
            resolved_at: Some(now),
            regressed: false,
            archived_until: ArchivedUntil::Forever,
            ..self.clone()
        }
    }

    /// The issue after a user took it up again.
    #[must_use]
    pub fn unresolved(&self) -> Self {
        Self {
            status: IssueStatus::Unresolved,
            resolved_at: None,
            regressed: false,
            archived_until: ArchivedUntil::Forever,
            ..self.clone()
        }
    }

    /// The issue after a user put it aside.
    #[must_use]
    pub fn archived(&self, until: ArchivedUntil) -> Self {
        Self {
            status: IssueStatus::Archived,
            resolved_at: None,
            regressed: false,
            archived_until: until,
            ..self.clone()
        }
    }

    /// The issue after a user asked for its future events to be dropped.
    #[must_use]
    pub fn discarded(&self) -> Self {
        Self {
            status: IssueStatus::Discarded,
            resolved_at: None,
            regressed: false,
            archived_until: ArchivedUntil::Forever,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
