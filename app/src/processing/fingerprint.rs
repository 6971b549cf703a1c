//! Which algorithm groups an event: the client's own fingerprint first, and the current version of ours for the rest.

mod client;
mod frames;
mod memo;
pub mod v1;

pub use self::memo::Memo;
pub(crate) use self::memo::Stacks;
use crate::domain::{Fingerprint, Grouping, NormalEvent};

/// What an algorithm makes of an event: the fingerprint, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    /// What groups the event.
    pub fingerprint: Fingerprint,
    /// What contributed, what did not, and why.
    pub explanation: Grouping,
}

/// Fingerprints of one event, best first: the current algorithm's, then those of older ones, so that a new algorithm never splits an issue.
#[must_use]
pub fn fingerprints(event: &NormalEvent) -> Vec<Grouped> {
    vec![v1::fingerprint(event)]
}
