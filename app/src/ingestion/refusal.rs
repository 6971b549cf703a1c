//! Why the door turns a request away, and what that means: one function to its status, one to its outcome.

use std::fmt;
use std::time::Duration;

use warp::http::StatusCode;

use crate::domain::Outcome;
use crate::domain::ProjectId;
use crate::processing::normalize::InvalidEvent;
use crate::protocol::auth_header::AuthError;
use crate::protocol::compression::DecodeError;
use crate::protocol::envelope::EnvelopeError;

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No key, or something that is none in its place.
    NoKey(AuthError),
    /// The key is unknown or revoked.
    UnknownKey,
    /// The key belongs to another project than the path or the body names.
    ForeignKey,
    /// The keys have not been read from the database since the start.
    KeysUnknown,
    /// The bytes are not what they should be.
    Invalid(String),
    /// More bytes than allowed; the limit in bytes.
    TooLarge(usize),
    /// The key sends faster than it may.
    RateLimited(Duration),
    /// All keys of the project together send faster than they may.
    ProjectLimited(Duration),
    /// Nothing more fits until the database has taken some.
    Full,
    /// It could not be made durable in time.
    NotDurable,
    /// The path takes another method.
    WrongMethod,
}

/// How long a client that was refused for want of room stays away.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(10);

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NoKey(_) => StatusCode::UNAUTHORIZED,
            Refusal::UnknownKey | Refusal::ForeignKey => StatusCode::FORBIDDEN,
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::KeysUnknown
            | Refusal::RateLimited(_)
            | Refusal::ProjectLimited(_)
            | Refusal::Full
            | Refusal::NotDurable => StatusCode::TOO_MANY_REQUESTS,
            Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The outcome to count; `None` where no event was meant.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Refusal::NoKey(_) | Refusal::UnknownKey | Refusal::ForeignKey => {
                Some(Outcome::Unauthorised)
            }
            Refusal::Invalid(_) => Some(Outcome::Invalid),
            Refusal::TooLarge(_) => Some(Outcome::TooLarge),
            Refusal::KeysUnknown
            | Refusal::RateLimited(_)
            | Refusal::ProjectLimited(_)
            | Refusal::Full
            | Refusal::NotDurable => Some(Outcome::RateLimited),
            Refusal::WrongMethod => None,
        }
    }

    /// The word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoKey(_) => "unauthorised",
            Refusal::UnknownKey | Refusal::ForeignKey => "forbidden",
            Refusal::Invalid(_) => "invalid",
            Refusal::TooLarge(_) => "too_large",
            Refusal::RateLimited(_) | Refusal::ProjectLimited(_) => "rate_limited",
            Refusal::KeysUnknown | Refusal::Full | Refusal::NotDurable => "overloaded",
            Refusal::WrongMethod => "method_not_allowed",
        }
    }

    /// When to try again, where trying again helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::RateLimited(wait) | Refusal::ProjectLimited(wait) => {
                Some((*wait).max(Duration::from_secs(1)))
            }
            Refusal::KeysUnknown | Refusal::Full | Refusal::NotDurable => Some(FULL_RETRY_AFTER),
            _ => None,
        }
    }

    /// Scope and reason in the words of `X-Sentry-Rate-Limits`.
    pub(crate) fn scope_and_reason(&self) -> (&'static str, &'static str) {
        match self {
            Refusal::RateLimited(_) => ("key", "rate_limited"),
            Refusal::ProjectLimited(_) => ("project", "rate_limited"),
            _ => ("organization", "overloaded"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoKey(error) => write!(f, "{error}"),
            Refusal::UnknownKey => f.write_str("unknown or revoked key"),
            Refusal::ForeignKey => f.write_str("the key belongs to another project"),
            Refusal::KeysUnknown => f.write_str("the keys are not loaded yet, try again"),
            Refusal::Invalid(what) => f.write_str(what),
            Refusal::TooLarge(limit) => write!(f, "larger than the limit of {limit} bytes"),
            Refusal::RateLimited(_) => f.write_str("the key sends more events than it may"),
            Refusal::ProjectLimited(_) => {
                f.write_str("the project's keys together send more events than they may")
            }
            Refusal::Full => f.write_str("no room for more events, try again"),
            Refusal::NotDurable => f.write_str("the event could not be made durable, try again"),
            Refusal::WrongMethod => f.write_str("this path takes POST only"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Refusal {
        Refusal::NoKey(error)
    }
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Refusal {
        Refusal::Invalid(error.to_string())
    }
}

impl From<InvalidEvent> for Refusal {
    fn from(error: InvalidEvent) -> Refusal {
        match error {
            InvalidEvent::ForeignProject => Refusal::ForeignKey,
            error => Refusal::Invalid(error.to_string()),
        }
    }
}

impl Refusal {
    /// What a failure to decode under `ceiling` bytes means.
    pub(crate) fn of_decoding(error: DecodeError, ceiling: usize) -> Refusal {
        match error {
            DecodeError::TooLarge => Refusal::TooLarge(ceiling),
            error => Refusal::Invalid(error.to_string()),
        }
    }
}

/// A refusal and the project it counts for, where the key told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) project_id: Option<ProjectId>,
}

impl Refused {
    /// A refusal before any key was believed.
    pub(crate) fn unknown(refusal: impl Into<Refusal>) -> Refused {
        Refused {
            refusal: refusal.into(),
            project_id: None,
        }
    }

    /// A refusal after the key told the project.
    pub(crate) fn of(project_id: ProjectId, refusal: impl Into<Refusal>) -> Refused {
        Refused {
            refusal: refusal.into(),
            project_id: Some(project_id),
        }
    }
}
