//! What a user wrote about what went wrong.

use super::ids::EventId;

/// A user's words, about an event or by themselves. Texts that nobody gave are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserReport {
    /// Who it is: of a report about an event, that event; of one that stands alone, its own id.
    pub id: EventId,
    /// The event it is about, if there is one.
    pub event_id: Option<EventId>,
    /// Who wrote it.
    pub name: String,
    /// How to answer.
    pub email: String,
    /// What was written; never empty.
    pub message: String,
    /// The page it was written on.
    pub url: String,
}
