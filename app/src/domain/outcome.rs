//! The closed list of what can become of an event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The fate of one event. Every event the door has seen ends in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The door made it durable: counted from what lies in the spool, before anything is decided about it. No end, but what the ends of a
    /// project's records add up to.
    Accepted,
    /// It is a row in the database.
    Stored,
    /// Its id was already stored: a client's retry.
    Duplicate,
    /// Its issue is discarded: users want no more of it.
    Discarded,
    /// A filter of the project dropped it.
    Filtered,
    /// The project's sampling dropped it.
    Sampled,
    /// It was older than the retention when it came to be stored.
    Expired,
    /// It could not be processed or stored and lies in quarantine with the reason.
    Quarantined,
    /// The spool's disk no longer holds it; where not even its project can be read any more, it belongs to none.
    Lost,
    /// It was in quarantine and went back into the spool, where it counts anew. No end.
    Replayed,
    /// Refused at the door: over a limit of rate, or no room.
    RateLimited,
    /// Refused at the door: not an event.
    Invalid,
    /// Refused at the door: larger than allowed.
    TooLarge,
    /// Refused at the door: no key, an unknown one, or one of another project.
    Unauthorised,
    /// Taken and thrown away at the door: an item that is no event and that nothing here shows (a session, a span). No event.
    Unsupported,
    /// Dropped by the SDK before it was sent, as its report says. Never seen by the door.
    ClientDropped,
}

/// A text that names no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownOutcome;

impl fmt::Display for UnknownOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an outcome")
    }
}

impl std::error::Error for UnknownOutcome {}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 16] = [
        Self::Accepted,
        Self::Stored,
        Self::Duplicate,
        Self::Discarded,
        Self::Filtered,
        Self::Sampled,
        Self::Expired,
        Self::Quarantined,
        Self::Lost,
        Self::Replayed,
        Self::RateLimited,
        Self::Invalid,
        Self::TooLarge,
        Self::Unauthorised,
        Self::Unsupported,
        Self::ClientDropped,
    ];

    /// The word the database and the API use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Discarded => "discarded",
            Self::Filtered => "filtered",
            Self::Sampled => "sampled",
            Self::Expired => "expired",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
            Self::Replayed => "replayed",
            Self::RateLimited => "rate_limited",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Unauthorised => "unauthorised",
            Self::Unsupported => "unsupported",
            Self::ClientDropped => "client_dropped",
        }
    }

    /// Whether the event was turned away at the door, so that it was never accepted.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Invalid | Self::TooLarge | Self::Unauthorised
        )
    }

    /// Whether it is the end of an accepted event: those of all of these add up to what was accepted.
    #[must_use]
    pub const fn is_of_accepted(self) -> bool {
        !self.is_refusal()
            && !matches!(
                self,
                Self::Accepted | Self::Replayed | Self::Unsupported | Self::ClientDropped
            )
    }

    /// Whether it is what became of one record of the spool: the counts of all of these add up to the records that the spools have
    /// released, and for each project to those [`Outcome::Accepted`], at every moment and whatever dies, since all move in one transaction.
    #[must_use]
    pub const fn is_of_record(self) -> bool {
        matches!(self, Self::Replayed) || (self.is_of_accepted() && !matches!(self, Self::Sampled))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or(UnknownOutcome)
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn words_read_back_and_match_serde() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }

    #[test]
    fn what_becomes_of_records_is_all_that_is_accepted_but_what_never_became_one() {
        let of_records: Vec<Outcome> = Outcome::ALL
            .into_iter()
            .filter(|outcome| outcome.is_of_record() != outcome.is_of_accepted())
            .collect();
        assert_eq!(of_records, [Outcome::Sampled, Outcome::Replayed]);
    }

    #[test]
    fn four_outcomes_are_refusals() {
        assert_eq!(
            Outcome::ALL
                .into_iter()
                .filter(|outcome| outcome.is_refusal())
                .count(),
            4
        );
    }
}
