//! The nouns of error monitoring: plain values, no IO, no clock, no process.

pub mod event;
pub mod fingerprint;
pub mod grouping;
pub mod ids;
pub mod issue;
pub mod outcome;
pub mod payload;
pub mod project;
pub mod severity;
pub mod stacktrace;
pub mod timestamps;
pub mod user_report;
pub mod wall;

pub use event::{GroupedEvent, NormalEvent, RawEvent, RawEventError};
pub use fingerprint::Fingerprint;
pub use grouping::{Contribution, Contributions, Grouping, OwnText};
pub use ids::{EventId, IssueId, OrganizationId, ProjectId, ProjectNumber, UserId};
pub use issue::{ArchivedUntil, Arrival, IssueState, IssueStatus, Transition, TransitionKind};
pub use outcome::Outcome;
pub use project::{Project, ProjectKey, PublicKey};
pub use severity::Severity;
pub use stacktrace::{Exception, Frame, Stacktrace};
