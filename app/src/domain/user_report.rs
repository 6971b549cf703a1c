//! What a user wrote about what went wrong.

use uuid::Uuid;

use super::ids::EventId;

/// A user's words, about an event or by themselves. Texts that nobody gave are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserReport {
    /// Who it is: its own id, or one that is derived for what has none, see [`UserReport::derive_id`].
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

impl UserReport {
    /// The id of words that came with `id` and have none of their own, of a `kind` and the `nth` of what came: UUID version 5, so that a retry computes the
    /// same, and what is of another kind, or is the event itself, has another.
    #[must_use]
    pub fn derive_id(id: EventId, kind: &str, nth: usize) -> EventId {
        let name = format!("{kind} {nth}");
        EventId::from_uuid(Uuid::new_v5(id.as_uuid(), name.as_bytes()))
    }
}
